"""Effects of features against a full forward pass for each, for every model family."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from semconv import InputError
from semconv.models.branches import Layout
from semconv.models.interventions import Edits, Interventions, directions_of, naive_change
from semconv.models.model_activations import load_model
from semconv.models.sae_fit import Reader
from tests._helpers.tiny_models import CONFIGS, save, tiny_llava, tiny_model, tiny_multimodal
from tests.conftest import requires_models

pytestmark = requires_models

CLOSE = {"rtol": 0.0, "atol": 1e-5}
IDS = torch.randint(3, 47, (3, 14), generator=torch.Generator().manual_seed(1))
"""Longer than the sliding windows, of 4."""
REFUSED = {"mamba": "does not read a position|cannot be read with branches", "bert": "need a model with a head"}
HOOKS = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_pre", "blocks.1.hook_mlp_out", "blocks.1.attn.hook_z")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory):
    kept: dict[str, Any] = {}

    def load(family: str) -> Any:
        if family not in kept:
            folder = save(tiny_model(family), tmp_path_factory.mktemp(family))
            kept[family] = load_model(folder, bidirectional=family == "bert")
        return kept[family]

    return load


def directions(model: Any, width: int | None = None) -> torch.Tensor:
    width = width or int(model.config.get_text_config().hidden_size)
    return torch.randn(5, width, generator=torch.Generator().manual_seed(2))


def edits() -> Edits:
    """More than one at a position, none in the second row, rows out of order, different numbers per row."""
    row, position = torch.tensor([2, 0, 0, 2, 0, 0]), torch.tensor([3, 9, 9, 11, 0, 5])
    return Edits(row, position, torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([-1.5, 2, -0.7, 1, -1, 3.0]))


def compare(model: Any, hook: str, along: torch.Tensor, n_next: int) -> None:
    found = Interventions(model, hook, along, n_next).effects(IDS, edits())
    expected = naive_change(model, hook, along, IDS, edits(), n_next=n_next)
    assert found.change.shape == (6, 1 + n_next, expected.shape[-1])
    assert float(expected.abs().amax(dim=(1, 2)).min()) > 1e-2  # every edit does something
    torch.testing.assert_close(found.change, expected, **CLOSE)


@pytest.mark.parametrize("family", [family for family in CONFIGS if family not in REFUSED])
@pytest.mark.parametrize(("hook", "n_next"), [(HOOKS[0], 2), ("blocks.2.hook_resid_post", 0)])
def test_an_effect_is_that_of_a_full_forward_pass(loaded, family: str, hook: str, n_next: int):
    model = loaded(family)
    compare(model, hook, directions(model), n_next)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_neox", "opt"])
@pytest.mark.parametrize("hook", HOOKS[1:])
def test_inside_a_block_too(loaded, family: str, hook: str):
    model = loaded(family)
    compare(model, hook, directions(model, 32 if hook.endswith("z") and family == "gemma2" else None), n_next=1)


@pytest.mark.parametrize("make", [tiny_multimodal, tiny_llava])
def test_of_a_multimodal_model_the_language_model_is_changed(tmp_path: Path, make: Any):
    model = load_model(save(make(2), tmp_path))
    compare(model, HOOKS[0], directions(model), n_next=1)


@pytest.mark.parametrize("family", REFUSED)
def test_families_without_keys_and_values_or_head_are_refused(loaded, family: str):
    model = loaded(family)
    with pytest.raises(InputError, match=REFUSED[family]):
        Interventions(model, HOOKS[0], directions(model))


def test_soft_caps_that_bend_the_logits_are_followed():
    model = tiny_model("gemma2")
    model.config.final_logit_softcapping, model.config.attn_logit_softcapping = 2.0, 1.0
    for block in model.model.layers:
        block.self_attn.attn_logit_softcapping = 1.0
    assert float(model(input_ids=IDS).logits.detach().abs().max()) > 1.5  # near the cap
    compare(model, HOOKS[0], directions(model), n_next=2)


def test_pieces_give_every_edit_once_and_kl_is_that_of_the_definition(loaded, monkeypatch: pytest.MonkeyPatch):
    taken = Interventions(loaded("llama"), HOOKS[0], directions(loaded("llama")), n_next=1)
    whole, read = taken.effects(IDS, edits()), taken.read(IDS, edits())
    monkeypatch.setattr("semconv.models.interventions._LOGITS", 4 * taken.readout.vocab_size)
    parts = [taken.predicted(read, some) for some in torch.arange(len(edits())).split(taken.per_pass())]
    assert [len(part.edit) for part in parts] == [2, 2, 2]
    order = torch.argsort(torch.cat([part.edit for part in parts]))
    torch.testing.assert_close(torch.cat([part.change for part in parts])[order], whole.change, **CLOSE)
    with torch.no_grad():
        before = loaded("llama")(input_ids=IDS).logits[0, 9].double().softmax(-1)
    after = before * whole.change[1, 0].double().exp()
    assert float(after.sum()) == pytest.approx(1, abs=1e-5)
    assert float(whole.kl[1, 0]) == pytest.approx(float((before * (before / after).log()).sum()), abs=1e-5)


def test_a_longer_row_is_read_with_fewer_edits_so_that_its_scores_stay_within_a_bound(loaded):
    taken = Interventions(loaded("llama"), HOOKS[0], directions(loaded("llama")))  # four heads
    for length in (256, 1024, 2000):
        n = taken.per_row(length)
        assert 4 * (length + n) ** 2 <= 2**25 < 4 * (length + n + 1) ** 2
    assert taken.per_row(100_000) == 64
    assert taken.along(taken.directions, n_next=1).per_row(1024) == taken.per_row(1024) // 2


def test_no_change_has_no_effect(loaded):
    one = Edits(torch.tensor([0]), torch.tensor([4]), torch.tensor([1]), torch.tensor([0.0]))
    found = Interventions(loaded("gemma2"), HOOKS[0], directions(loaded("gemma2"))).effects(IDS, one)
    torch.testing.assert_close(found.change, torch.zeros_like(found.change), **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": [3]}, r"the row of an edit must be in \[0, 3\), got 3"),
        ({"position": [13]}, r"the position of an edit must be in \[0, 13\), got 13"),
        ({"position": [-1]}, r"the position of an edit must be in \[0, 13\), got -1"),
        ({"direction": [5]}, r"the direction of an edit must be in \[0, 5\), got 5"),
        ({"row": [], "position": [], "direction": [], "amount": []}, "at least one edit is needed"),
        ({"row": [0, 1]}, r"of one length, got \[2, 1, 1, 1\]"),
    ],
)
def test_edits_outside_the_text_are_refused(loaded, change: dict[str, list[int]], message: str):
    given = {"row": [0], "position": [0], "direction": [0], "amount": [1]} | change
    taken = Interventions(loaded("llama"), HOOKS[0], directions(loaded("llama")), n_next=1)
    with pytest.raises(InputError, match=message):
        taken.effects(IDS, Edits(*(torch.tensor(part, dtype=torch.int64) for part in given.values())))


def test_hooks_that_cannot_be_changed_and_directions_of_another_width_are_refused(loaded):
    model = loaded("llama")
    with pytest.raises(InputError, match="blocks.1.hook_resid_mid: the stream is read at the norm before the MLP"):
        Interventions(model, "blocks.1.hook_resid_mid", directions(model))
    with pytest.raises(InputError, match="it has 3 blocks"):
        Interventions(model, "blocks.3.hook_resid_post", directions(model))
    with pytest.raises(InputError, match=r"must be \[n, 16\], the width of blocks.0.hook_resid_post, got \[5, 7\]"):
        Interventions(model, HOOKS[0], directions(model, 7))


@pytest.mark.parametrize("family", ["gemma2", "llama", "gpt2"])
def test_a_model_that_is_read_wrongly_is_refused(family: str, monkeypatch: pytest.MonkeyPatch):
    """The comparison before the first effect can fail: here branches read what they replace as well."""
    model, right = tiny_model(family), Layout.mask

    def wrong(self: Layout, given: torch.Tensor, n_rows: int) -> torch.Tensor:
        return right(Layout(self.position, self.branch, self.first + 2), given, n_rows)

    monkeypatch.setattr(Layout, "mask", wrong)
    with pytest.raises(InputError, match=f"type '{family}' does not read a position by the keys and values"):
        Interventions(model, HOOKS[0], directions(model))


def test_sixteen_bits_are_taken_and_rounded():
    model = tiny_model("gemma2").to(torch.bfloat16)
    found = Interventions(model, HOOKS[0], directions(model)).effects(IDS, edits()).change
    expected = naive_change(model.float(), HOOKS[0], directions(model), IDS, edits())
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.1


def test_directions_are_decoder_rows_at_their_place_in_the_stream():
    rows = torch.arange(6.0).reshape(2, 3)
    sae: Any = SimpleNamespace(W_dec=rows, cfg=SimpleNamespace(normalize_activations="none"))
    found = directions_of(Reader(sae, "blocks.0.attn.hook_z", "blocks.0.attn.hook_z", first=3), width=9)
    assert found.tolist() == [[0, 0, 0, 0, 1, 2, 0, 0, 0], [0, 0, 0, 3, 4, 5, 0, 0, 0]]
    sae.cfg.normalize_activations = "layer_norm"
    with pytest.raises(InputError, match=r"scales its output anew at every token \(layer_norm\)"):
        directions_of(Reader(sae, "blocks.0.hook_resid_post", "blocks.0.hook_resid_post"), width=3)
