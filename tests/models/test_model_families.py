"""Every stream of every model family against transformers' hidden states and transformer-lens's own implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.models.model_activations import load_model, row_streams, stream_width, streams, transformer_blocks
from semconv.suite.hooks import STREAMS, Hook, hook_layer, hook_name, parse_hook
from semconv.text.token_blocks import TokenBlocks
from tests._helpers.lens_models import lens_model
from tests._helpers.tiny_models import CONFIGS, save, tiny_llava, tiny_model, tiny_multimodal
from tests.conftest import requires_models

pytestmark = requires_models

CLOSE = {"rtol": 0.0, "atol": 1e-5}  # some ten roundings of streams that reach 6
IDS = torch.randint(3, 48, (2, 12), generator=torch.Generator().manual_seed(1))
BLOCKS = range(3)

LENS_HAS_NOT = ("mamba", "bert", "opt_post_norm")  # HookedTransformer has none, or another order of norms

NO_STREAM = {
    "gpt_neox": {"hook_resid_mid"},
    "mixtral": {"mlp.hook_post"},
    "opt_post_norm": {"hook_resid_mid", "hook_mlp_in", "ln1.hook_normalized", "ln2.hook_normalized"},
    "mamba": {*STREAMS} - {"hook_resid_pre", "hook_resid_post"},
    "bert": {*STREAMS} - {"hook_resid_pre", "hook_resid_post"},
}
"""Streams that a family does not have; all others are read."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory):
    """Family -> the model as our loader reads it from a folder, made when first asked for."""
    kept: dict[str, Any] = {}

    def load(family: str) -> Any:
        if family not in kept:
            folder = save(tiny_model(family), tmp_path_factory.mktemp(family))
            kept[family] = load_model(folder, bidirectional=family == "bert")
        return kept[family]

    return load


def final_norm(model: Any) -> Any:
    """What transformers applies to the last block's output before it becomes the last hidden state."""
    decoder = model.get_decoder()
    names = ("norm", "ln_f", "final_layer_norm", "norm_f")
    return next((getattr(decoder, name) for name in names if getattr(decoder, name, None) is not None), lambda x: x)


@torch.no_grad()
def check_against_hidden_states(model: Any, family: str) -> None:
    hidden = model(input_ids=IDS, output_hidden_states=True).hidden_states
    if family == "mamba":  # its hidden states leave out the embeddings
        hidden = (model.get_input_embeddings()(IDS), *hidden[: len(BLOCKS) - 1], hidden[-1])
    read = streams(model, IDS, [f"blocks.{i}.hook_resid_{end}" for i in BLOCKS for end in ("pre", "post")])
    for i in BLOCKS:
        before, after = read[f"blocks.{i}.hook_resid_pre"], read[f"blocks.{i}.hook_resid_post"]
        torch.testing.assert_close(before, hidden[i], **CLOSE)
        expected = after if i + 1 < len(BLOCKS) else final_norm(model)(after)
        torch.testing.assert_close(expected, hidden[i + 1], **CLOSE)


@pytest.mark.parametrize("family", CONFIGS)
def test_blocks_receive_and_give_the_hidden_states_of_transformers(loaded, family: str):
    check_against_hidden_states(loaded(family), family)


@pytest.mark.parametrize("family", [family for family in CONFIGS if family not in LENS_HAS_NOT])
def test_every_stream_is_that_of_transformer_lens(loaded, family: str):
    model = loaded(family)
    names = [f"blocks.{i}.{s}" for i in BLOCKS for s in STREAMS if s not in NO_STREAM.get(family, set())]
    with torch.no_grad():
        _, cache = lens_model(model).run_with_cache(IDS)
    read = streams(model, IDS, names)
    for name in names:
        torch.testing.assert_close(read[name], cache[name].reshape(*IDS.shape, -1), **CLOSE, msg=name)
    for name in NO_STREAM.get(family, set()):
        assert f"blocks.1.{name}" not in cache or family == "mixtral"


@pytest.mark.parametrize("family", CONFIGS)
def test_streams_that_a_family_does_not_have_are_refused(loaded, family: str):
    for stream in STREAMS:
        if stream in NO_STREAM.get(family, set()):
            has_none = rf" (has|have) no blocks\.1\.{stream}\b|blocks\.1\.{stream} is not known"
            with pytest.raises(InputError, match=has_none):
                stream_width(loaded(family), f"blocks.1.{stream}")
        else:
            assert stream_width(loaded(family), f"blocks.1.{stream}") in (16, 24, 32)


@torch.no_grad()
def test_post_norm_opt_adds_what_its_hooks_say(loaded):
    """transformer-lens has no OPT with the norms after: the sums are done here."""
    model = loaded("opt_post_norm")
    block = model.model.decoder.layers[1]
    names = ["hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post", "attn.hook_z", "mlp.hook_post"]
    pre, attn, mlp, post, z, neurons = (
        streams(model, IDS, [f"blocks.1.{n}" for n in names])[f"blocks.1.{n}"] for n in names
    )
    middle = block.self_attn_layer_norm(pre + attn)
    torch.testing.assert_close(post, block.final_layer_norm(middle + mlp), **CLOSE)
    torch.testing.assert_close(attn, block.self_attn.out_proj(z), **CLOSE)
    torch.testing.assert_close(neurons, block.fc1(middle).relu(), **CLOSE)
    torch.testing.assert_close(mlp, block.fc2(neurons), **CLOSE)


@pytest.mark.parametrize("make", [tiny_multimodal, tiny_llava])
@pytest.mark.parametrize("vision_layers", [2, 3])
def test_of_a_multimodal_checkpoint_the_language_model_is_read(tmp_path: Path, make: Any, vision_layers: int):
    check_against_hidden_states(load_model(save(make(vision_layers), tmp_path)), "multimodal")


def test_every_stream_of_a_multimodal_gemma_is_that_of_transformer_lens(tmp_path: Path):
    model = load_model(save(tiny_multimodal(vision_layers=3), tmp_path))
    with torch.no_grad():
        _, cache = lens_model(model).run_with_cache(IDS)
    names = [f"blocks.{i}.{stream}" for i in BLOCKS for stream in STREAMS]
    read = streams(model, IDS, names)
    for name in names:
        torch.testing.assert_close(read[name], cache[name].reshape(*IDS.shape, -1), **CLOSE, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "mixtral", "mamba", "bert"])
def test_modules_of_transformers_give_what_they_return(loaded, family: str):
    model = loaded(family)
    module = {"gpt2": "mlp", "mamba": "mixer", "bert": "attention.output.dense"}.get(family, "mlp")
    block = transformer_blocks(model)[2]
    seen: dict[str, Any] = {}
    handle = block.get_submodule(module).register_forward_hook(lambda _m, args, out: seen.update(x=args[0], y=out))
    model(input_ids=IDS)
    handle.remove()
    read = streams(model, IDS, [f"layers.2.{module}", f"layers.2.{module}.input", f"model.layers.2.{module}.output"])
    assert torch.equal(read[f"layers.2.{module}"], seen["y"])
    assert torch.equal(read[f"layers.2.{module}.input"], seen["x"])
    assert torch.equal(read[f"model.layers.2.{module}.output"], seen["y"])


def test_gemma_adds_what_comes_after_its_post_norm_and_not_what_the_module_gives(loaded):
    model = loaded("gemma2")
    read = streams(model, IDS, ["blocks.1.hook_mlp_out", "layers.1.mlp"])
    assert not torch.isclose(read["blocks.1.hook_mlp_out"], read["layers.1.mlp"]).all(-1).any()


def test_the_pass_stops_at_the_last_stream_that_is_wanted(loaded):
    model = loaded("llama")
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.named_modules()
        if name in ("model.layers.1.self_attn", "model.layers.1.mlp", "model.layers.2", "model.norm", "lm_head")
    ]
    streams(model, IDS, ["blocks.1.hook_resid_mid", "blocks.0.hook_mlp_out"])
    for handle in handles:
        handle.remove()
    assert ran == ["model.layers.1.self_attn"]


def test_modules_that_give_no_vector_per_position_are_refused(loaded):
    class Transposed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(1, 2)

    model = tiny_model("llama")
    model.model.layers[1].mlp.act_fn = Transposed()
    with pytest.raises(InputError, match=r"gives no vector per position: \(2, 24, 12\) for text of shape \(2, 12\)"):
        streams(model, IDS, ["layers.1.mlp.act_fn"])
    with pytest.raises(InputError, match="is never reached when the model reads text"):
        streams(loaded("mamba"), IDS, ["layers.1.mixer.conv1d"])
    with pytest.raises(InputError, match=r"no module 'mpl' \(did you mean 'mlp'\?\)"):
        streams(loaded("llama"), IDS, ["layers.1.mpl"])


@pytest.mark.parametrize(("family", "changes"), [("bert", False), ("llama", False), ("bert_unmasked", True)])
def test_what_fills_a_row_up_is_read_by_no_model(loaded, family: str, changes: bool):
    model = loaded(family.removesuffix("_unmasked"))
    ids = torch.cat([IDS[:, :8], torch.tensor([[2, 0, 0, 0]]).expand(2, 4)], dim=1).int()  # text, [SEP], padding
    mask = torch.tensor([False, *[True] * 7, *[False] * 4]).expand(2, 12)
    others = ids.clone()
    others[:, 9:] = 40
    hook = "blocks.2.hook_resid_post"
    first, second = (
        streams(model, x, [hook])[hook][mask]
        if family.endswith("_unmasked")
        else row_streams(model, TokenBlocks(x, mask.contiguous(), ids * 0), slice(0, 2), [hook])[hook][mask]
        for x in (ids, others)
    )
    assert torch.equal(first, second) is not changes


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        *((f"blocks.4.{stream}", f"blocks.4.{stream}") for stream in STREAMS),
        ("blocks.4.hook_in", "blocks.4.hook_resid_pre"),
        ("blocks.4.hook_out", "blocks.4.hook_resid_post"),
        ("blocks.4.mlp.hook_in", "layers.4.mlp.input"),
        *(
            (f"{begin}.4", "blocks.4.hook_resid_post")
            for begin in (
                "layers",
                "model.layers",
                "gpt_neox.layers",
                "transformer.h",
                "h",
                "model.decoder.layers",
                "model.language_model.layers",
                "backbone.layers",
                "bert.encoder.layer",
            )
        ),
        ("model.layers.4.output", "blocks.4.hook_resid_post"),
        ("model.layers.4.input", "blocks.4.hook_resid_pre"),
        ("layers.4.mlp", "layers.4.mlp"),
        ("model.layers.4.self_attn.o_proj.input", "layers.4.self_attn.o_proj.input"),
        ("model.layers.4.pre_feedforward_layernorm.output", "layers.4.pre_feedforward_layernorm"),
        ("blocks.04.hook_resid_pre", "blocks.4.hook_resid_pre"),
    ],
)
def test_both_libraries_names_are_read_and_kept_by_one(name: str, canonical: str):
    hook = parse_hook(name)
    assert str(hook) == canonical
    assert hook.layer == hook_layer(name) == 4
    assert parse_hook(str(hook)) == hook
    assert parse_hook(hook_name(4)) == Hook(4, "hook_resid_post")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("blocks.x.hook_resid_post", "must look like 'blocks.3.hook_resid_post'"),
        ("blocks.2.hook_resid_pos", r"did you mean 'blocks\.2\.hook_resid_post'"),
        ("blocks.2.attn.hook_q", "read of a block are hook_resid_pre, .*attn.hook_z"),
        ("blocks.2.attn.hook_pattern", "read of a block are"),
        ("hook_embed", "read of a block are"),
        ("ln_final.hook_normalized", "read of a block are"),
        ("blocks.-1.hook_resid_post", "must look like"),
        ("vision_tower.vision_model.encoder.layers.3", "must look like"),
        ("model.visual.layers.3.mlp", "must look like"),
        ("model.norm", "must look like"),
        ("", "must look like"),
    ],
)
def test_other_names_are_refused_in_one_sentence(name: str, says: str):
    with pytest.raises(InputError, match=says) as error:
        parse_hook(name)
    assert "\n" not in str(error.value)
