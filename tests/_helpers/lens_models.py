"""transformer-lens's own model of a tiny checkpoint: every block written a second time, without transformers."""

from __future__ import annotations

from typing import Any


def lens_model(model: Any, **processing: bool) -> Any:
    """Returns a HookedTransformer with the weights of a tiny model of transformers.

    Args:
        model: of a family in `tests._helpers.tiny_models` that transformer-lens has.
        processing: `fold_ln`, `center_writing_weights` and others of `load_and_process_state_dict`; all off by default,
            as in `from_pretrained_no_processing`.
    """
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained import weight_conversions as convert

    c = model.config.get_text_config()
    kind = c.model_type
    heads = c.num_attention_heads
    settings: dict[str, Any] = {
        "d_model": c.hidden_size,
        "n_heads": heads,
        "d_head": getattr(c, "head_dim", None) or c.hidden_size // heads,
        "n_layers": c.num_hidden_layers,
        "n_ctx": c.max_position_embeddings,
        "d_vocab": c.vocab_size,
        "device": "cpu",
        "init_weights": False,
    }
    if kind in ("gpt2", "opt", "gpt_neox"):
        act = {"gpt2": "gelu_new", "opt": "relu", "gpt_neox": "gelu"}[kind]
        settings |= {"normalization_type": "LN", "d_mlp": 24, "act_fn": act, "eps": 1e-5}
    else:
        act = "gelu_pytorch_tanh" if kind.startswith("gemma") else "silu"
        settings |= {"normalization_type": "RMS", "final_rms": True, "eps": c.rms_norm_eps, "gated_mlp": True}
        settings |= {"d_mlp": c.intermediate_size, "act_fn": act, "n_key_value_heads": c.num_key_value_heads}
    if kind not in ("gpt2", "opt"):
        settings |= {"positional_embedding_type": "rotary", "rotary_adjacent_pairs": False}
        settings["rotary_dim"] = settings["d_head"] // (2 if kind == "gpt_neox" else 1)
        settings["rotary_base"] = c.rope_parameters.get("rope_theta")
    if kind == "gpt_neox":
        settings["parallel_attn_mlp"] = c.use_parallel_residual
    if kind in ("gemma2", "gemma3_text"):
        settings |= {"use_normalization_before_and_after": True, "use_local_attn": True, "window_size": 4}
        settings["attn_types"] = ["local" if t == "sliding_attention" else "global" for t in c.layer_types]
        settings |= {"use_attn_scale": True, "attn_scale": c.query_pre_attn_scalar**0.5}
    if kind == "gemma2":
        settings["attn_scores_soft_cap"] = c.attn_logit_softcapping
    if kind == "gemma3_text":
        settings |= {"rotary_base": 1_000_000, "rotary_base_local": 10_000}
    if kind in ("gemma3_text", "qwen3"):
        settings["use_qk_norm"] = True
    if kind == "mixtral":
        settings |= {"num_experts": c.num_local_experts, "experts_per_token": 2, "norm_topk_prob": True}
    name = "gemma" if kind.startswith("gemma") else {"gpt_neox": "neox"}.get(kind, kind)
    cfg = HookedTransformerConfig(**settings)
    cfg.use_hook_mlp_in = True
    lens = HookedTransformer(cfg)
    state = getattr(convert, f"convert_{name}_weights")(model, cfg)
    off = dict.fromkeys(("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), False)
    lens.load_and_process_state_dict(state, **off | processing)
    return lens.eval()
