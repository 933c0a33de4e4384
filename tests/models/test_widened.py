"""Models that are held in 16 bits and compute in float32, against the same models loaded whole in float32."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from semconv.models import widened
from semconv.models.families import FAMILIES
from semconv.models.interventions import Edits, Interventions
from semconv.models.logit_lens import lens_tokens
from semconv.models.model_activations import load_model, streams
from semconv.models.readout import Readout
from semconv.models.whole_models import Size, load_whole, size_of
from semconv.suite.config import ModelConfig, SaeConfig
from tests._helpers.tiny_models import CONFIGS, model_type, save, tiny_model
from tests.conftest import requires_models
from tests.models.test_model_parts import mapped_files

pytestmark = requires_models
IDS = torch.randint(3, 47, (2, 12), generator=torch.Generator().manual_seed(1))
CPU = torch.device("cpu")
HOOK = "blocks.1.hook_resid_post"
KNOWN = [family for family in CONFIGS if model_type(family) in FAMILIES]
"""Families whose blocks are known; others are held in float32."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Family and dtype -> the folder of a tiny model that is stored so, made when first asked for."""
    made: dict[tuple[str, torch.dtype], Path] = {}

    def of(family: str, dtype: torch.dtype) -> Path:
        if (family, dtype) not in made:
            made[family, dtype] = save(tiny_model(family).to(dtype), tmp_path_factory.mktemp(family))
        return made[family, dtype]

    return of


def config_of(where: Path | str, **more: Any) -> ModelConfig:
    return ModelConfig("a", str(where), (SaeConfig(HOOK, path="sae"),), **more)


def narrow(model: Any) -> bool:
    return all(weight.dtype != torch.float32 for weight in model.parameters() if weight.dim() > 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", KNOWN)
@torch.inference_mode()
def test_a_model_held_in_16_bits_gives_the_bits_of_the_one_in_float32(folder, family: str, dtype: torch.dtype):
    where = folder(family, dtype)
    whole, held = load_model(where), load_whole(config_of(where), CPU).copy()
    blocks = widened.transformer_blocks(held)
    assert narrow(blocks)
    assert torch.equal(held(input_ids=IDS).logits, whole(input_ids=IDS).logits)
    hooks = [HOOK, "blocks.1.hook_resid_pre", "blocks.2.hook_resid_post"]
    expected, found = streams(whole, IDS, hooks), streams(held, IDS, hooks)
    assert all(torch.equal(found[hook], expected[hook]) for hook in hooks)
    assert narrow(blocks)  # widened while they run alone, also where the pass ends inside
    rows = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    lens = [lens_tokens(Readout(model), rows, 4) for model in (whole, held)]
    assert torch.equal(lens[0].promoted_logits, lens[1].promoted_logits)
    edits = Edits(*(torch.tensor(part) for part in ([0, 0, 1], [3, 7, 5], [0, 1, 2])), torch.tensor([0.5, -1.0, 2.0]))
    of_whole, of_held = (Interventions(model, HOOK, rows, n_next=1).effects(IDS, edits) for model in (whole, held))
    assert torch.equal(of_held.change, of_whole.change)


def test_the_head_is_widened_in_pieces(folder, monkeypatch: pytest.MonkeyPatch):
    where = folder("gpt_neox", torch.bfloat16)
    monkeypatch.setattr(widened, "HEAD_BYTES", 4 * 16 * 10)  # ten tokens
    held = load_whole(config_of(where), CPU).copy()
    pieces = list[int]()
    linear = torch.nn.functional.linear

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        pieces.append(len(weight))
        return linear(x, weight, bias)

    monkeypatch.setattr(widened.nn.functional, "linear", counted)
    with torch.inference_mode():
        found = held(input_ids=IDS).logits
        assert pieces[-5:] == [10, 10, 10, 10, 8]
        torch.testing.assert_close(found, load_model(where)(input_ids=IDS).logits, rtol=1e-6, atol=1e-6)


def test_weights_are_shared_and_mapped_and_copies_run_at_the_same_time(folder):
    shared = load_whole(config_of(folder("gemma2", torch.bfloat16)), CPU)
    assert mapped_files(shared._network) == {"model.safetensors"}
    one, other = shared.copy(), shared.copy()
    blocks = [list(widened.transformer_blocks(model).parameters()) for model in (one, other)]
    assert all(x is y for x, y in zip(*blocks, strict=True))
    found: dict[int, list[Tensor]] = {0: [], 1: []}

    def run(number: int, model: Any) -> None:
        with torch.inference_mode():
            found[number] += [model(input_ids=IDS).logits for _ in range(20)]

    threads = [Thread(target=run, args=(number, model)) for number, model in enumerate((one, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(logits, found[0][0]) for logits in (*found[0], *found[1]))


def test_weights_come_back_when_a_pass_fails(folder):
    model = load_whole(config_of(folder("llama", torch.bfloat16)), CPU).copy()

    def fails(*_: Any) -> None:
        raise ValueError("within a block")

    handle = widened.transformer_blocks(model)[1].get_submodule("mlp").register_forward_hook(fails)
    with pytest.raises(ValueError, match="within a block"), torch.inference_mode():
        model(input_ids=IDS)
    handle.remove()
    assert narrow(widened.transformer_blocks(model))
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16


def test_what_is_not_stored_in_16_bits_or_not_known_is_held_in_float32(folder):
    numbers = sum(weight.numel() for weight in tiny_model("gemma2").parameters())
    of_block = sum(w.numel() for w in widened.transformer_blocks(tiny_model("gemma2"))[0].parameters())
    for family, dtype, size in (
        ("gemma2", torch.bfloat16, Size(0, 4 * of_block + 2 * widened.HEAD_BYTES, 48)),
        ("gemma2", torch.float32, Size(0, 0, 48)),
        ("mamba", torch.bfloat16, None),
    ):
        model = config_of(folder(family, dtype))
        assert narrow(load_whole(model, CPU).copy()) == (dtype == torch.bfloat16 and family != "mamba")
        assert size is None or size_of(model, CPU) == size
    twin = config_of(folder("gemma2", torch.bfloat16), untrained_seed=0)
    assert next(load_whole(twin, CPU).copy().parameters()).dtype == torch.float32
    assert size_of(twin, CPU).held >= 4 * numbers
    assert size_of(config_of(twin.path), torch.device("cuda")).held >= 4 * numbers


def test_a_buffer_that_cannot_be_made_again_is_a_reason(folder):
    model: Any = load_model(folder("gemma2", torch.bfloat16), dtype=torch.bfloat16)
    assert widened.why_not_widened(model) == ""
    del model.model.embed_tokens.scalar_embed_scale
    assert widened.why_not_widened(model) == "its buffer model.embed_tokens.embed_scale is rounded to 16 bits"
