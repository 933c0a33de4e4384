"""What an SAE takes of a stream: centred as transformer-lens centres a model, or the part of one head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from semconv import InputError
from semconv.models.model_activations import streams
from semconv.models.sae_encode import encode, has_layer_norm, part_of_stream
from semconv.text.token_blocks import TokenBlocks
from tests.conftest import requires_models

pytestmark = requires_models

D, HEADS, LAYERS, VOCABULARY, CONTEXT = 16, 2, 3, 50, 12
IDS = torch.randint(VOCABULARY, (4, CONTEXT), generator=torch.Generator().manual_seed(0))
CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}


def an_sae(d_in: int = D, **told: Any) -> Any:
    from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig

    config = StandardSAEConfig(d_in=d_in, d_sae=3 * d_in, apply_b_dec_to_input=False)
    for key, value in told.items():
        config.metadata[key] = value
    torch.manual_seed(0)
    return StandardSAE(config)


@pytest.fixture(scope="module")
def gpt2() -> Any:
    """A GPT-2 none of whose weights is at its start, so that nothing is centred by chance."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    size = {"n_embd": D, "n_head": HEADS, "n_layer": LAYERS, "vocab_size": VOCABULARY, "n_positions": 2 * CONTEXT}
    model = GPT2LMHeadModel(GPT2Config(**size, attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) + 0.1)
    return model


@pytest.fixture(scope="module")
def of_transformer_lens(gpt2: Any) -> dict[str, Tensor]:
    """What transformer-lens sees of the same model after it has centred the weights that write to the stream."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    config = HookedTransformerConfig(
        n_layers=LAYERS,
        d_model=D,
        n_ctx=2 * CONTEXT,
        d_head=D // HEADS,
        n_heads=HEADS,
        d_vocab=VOCABULARY,
        act_fn="gelu_new",
        normalization_type="LN",
        default_prepend_bos=False,
        device="cpu",
    )
    lens = HookedTransformer(config)
    lens.load_and_process_state_dict(
        convert_gpt2_weights(gpt2, config),
        fold_ln=False,
        center_writing_weights=True,
        center_unembed=False,
        fold_value_biases=False,
    )
    with torch.no_grad():
        return dict(lens.run_with_cache(IDS)[1])


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize(
    "stream",
    [
        "hook_resid_pre",
        "hook_resid_mid",
        "hook_resid_post",
        "hook_attn_out",
        "hook_mlp_out",
        "ln1.hook_normalized",
        "ln2.hook_normalized",
        "attn.hook_z",
        "mlp.hook_post",
    ],
)
def test_a_centred_model_is_read_as_transformer_lens_reads_it(
    gpt2: Any, of_transformer_lens: dict[str, Tensor], layer: int, stream: str
):
    hook = f"blocks.{layer}.{stream}"
    read = streams(gpt2, IDS, [hook])[hook]
    expected = of_transformer_lens[hook].flatten(2)
    found = part_of_stream(an_sae(read.shape[-1], hook_name=hook, **CENTRED), read, hook, has_layer_norm(gpt2))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    if stream.startswith("hook_"):
        assert (read - expected).abs().max() > 0.1, "without centring it is another stream"


def test_a_model_without_layer_norm_is_not_centred(gpt2: Any):
    """transformer-lens skips it there, with a warning."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": D, "intermediate_size": D, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=VOCABULARY))
    hook = "blocks.0.hook_resid_post"
    read = streams(llama, IDS, [hook])[hook]
    assert has_layer_norm(gpt2)
    assert torch.equal(part_of_stream(an_sae(hook_name=hook, **CENTRED), read, hook, has_layer_norm(llama)), read)


@pytest.mark.parametrize("head", [0, 1, None])
def test_an_sae_of_one_head_takes_the_part_of_that_head(
    gpt2: Any, of_transformer_lens: dict[str, Tensor], head: int | None
):
    hook = "blocks.1.attn.hook_z"
    sae = an_sae(D if head is None else D // HEADS, hook_name=hook, hook_head_index=head)
    z = of_transformer_lens[hook]
    expected = z.flatten(2) if head is None else z[:, :, head]
    blocks = TokenBlocks(IDS.int(), torch.ones_like(IDS, dtype=torch.bool), torch.zeros_like(IDS).int())
    chunks, *_ = encode(gpt2, {hook: sae}, blocks, batch=4, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(
            chunks[hook].acts.to_dense(), sae.encode(expected.flatten(0, 1)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("d_in", "head", "told"),
    [
        (24, None, "takes vectors of 24, and blocks.1.attn.hook_z gives 16"),
        (8, 2, "takes head 2, of width 8, and blocks.1.attn.hook_z gives 16 for all heads"),
        (6, 0, "takes head 0, of width 6"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused(gpt2: Any, d_in: int, head: int | None, told: str):
    hook = "blocks.1.attn.hook_z"
    sae = an_sae(d_in, hook_name=hook, hook_head_index=head)
    with pytest.raises(InputError, match=told):
        part_of_stream(sae, streams(gpt2, IDS, [hook])[hook], hook, True)
