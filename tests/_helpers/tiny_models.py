"""Tiny random checkpoints of every model family that is read, as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_SHARED: dict[str, Any] = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HEADS = {"head_dim": 8}  # wider than hidden_size / heads, as in Gemma and Qwen3
_MIXED = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_GPT2 = {"n_embd": 16, "n_inner": 24, "n_layer": 3, "n_head": 4, "n_positions": 32}
_PLAIN = {name: _SHARED[name] for name in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _SHARED,
    "mistral": _SHARED | {"sliding_window": None} | {"head_dim": 4},
    "mixtral": _SHARED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen2": _SHARED,
    "qwen3": _SHARED | _HEADS,
    "gemma": _SHARED | _HEADS,
    "gemma2": _SHARED | _HEADS | _MIXED | {"query_pre_attn_scalar": 8},
    "gemma3_text": _SHARED | _HEADS | _MIXED | {"query_pre_attn_scalar": 8},
    "gpt2": _PLAIN | _GPT2,
    "gpt_neox": _SHARED | {"rotary_pct": 0.5},
    "gpt_neox_sequential": _SHARED | {"rotary_pct": 0.5, "use_parallel_residual": False},
    "opt": _SHARED | {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "opt_post_norm": _SHARED | {"ffn_dim": 24, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "mamba": _PLAIN | {"hidden_size": 16, "num_hidden_layers": 3, "state_size": 4},
    "bert": _SHARED,
}
"""Settings by family; a name may say more than the `model_type` it begins with."""

VISION = {"hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}


def model_type(family: str) -> str:
    """Returns transformers' name of a family."""
    return next(kind for kind in ("gpt_neox", "opt", family) if family.startswith(kind))


def randomise(model: Any, seed: int = 0) -> Any:
    """Moves every parameter off the values it starts with, so that no norm is the identity and no bias zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=g))
    return model.eval()


def tiny_model(family: str, seed: int = 0) -> Any:
    """Returns a tiny random model of a family, with the head that the family has."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    config = AutoConfig.for_model(model_type(family), **CONFIGS[family])
    kind = AutoModelForMaskedLM if family == "bert" else AutoModelForCausalLM
    torch.manual_seed(seed)
    return randomise(kind.from_config(config, attn_implementation="eager"), seed)


def tiny_multimodal(vision_layers: int, seed: int = 0) -> Any:
    """Returns a tiny Gemma 3 with a vision tower of so many blocks; the language model has 3."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = CONFIGS["gemma3_text"] | {"vocab_size": 64}
    config = Gemma3Config(
        text_config=text,
        vision_config=VISION | {"num_hidden_layers": vision_layers},
        mm_tokens_per_image=4,
        image_token_index=60,
        boi_token_index=61,
        eoi_token_index=62,
        attn_implementation="eager",
    )
    torch.manual_seed(seed)
    return randomise(Gemma3ForConditionalGeneration(config), seed)


def tiny_llava(vision_layers: int, seed: int = 0) -> Any:
    """Returns a tiny Llava: a Llama of 3 blocks beside a vision tower of so many."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(**VISION, num_hidden_layers=vision_layers, projection_dim=8)
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**CONFIGS["llama"]),
        image_token_id=47,
        attn_implementation="eager",
    )
    torch.manual_seed(seed)
    return randomise(LlavaForConditionalGeneration(config), seed)


def save(model: Any, folder: Path) -> Path:
    """Writes a checkpoint and returns its folder."""
    model.save_pretrained(folder)
    return folder
