"""The logit lens against NumPy, and what final norm and head make of a stream against the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.models.logit_lens import _Correlation, lens_of_pairs, lens_tokens, why_no_lens
from semconv.models.readout import Readout
from semconv.text.shared_tokens import SharedTokens
from tests._helpers.tiny_models import CONFIGS, tiny_model
from tests.conftest import requires_models

pytestmark = requires_models

ROWS = torch.randn(7, 16, generator=torch.Generator().manual_seed(0))


def expected_lens(model: Any, family: str, rows: np.ndarray) -> np.ndarray:
    """Norm and head written out."""
    norm = {"gemma2": "norm", "llama": "norm", "gpt2": "ln_f", "gpt_neox": "final_layer_norm"}[family]
    weight = getattr(model.get_decoder(), norm).weight.detach().double().numpy()
    head = model.get_output_embeddings().weight.detach().double().numpy()
    if family in ("gpt2", "gpt_neox"):
        centred = rows - rows.mean(axis=1, keepdims=True)
        return (weight * centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)) @ head.T
    gain = 1 + weight if family == "gemma2" else weight
    return (gain * rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-6)) @ head.T


@pytest.mark.parametrize("family", ["gemma2", "llama", "gpt2", "gpt_neox"])
def test_top_tokens_are_those_of_the_norm_and_the_head_written_out(family: str, monkeypatch: pytest.MonkeyPatch):
    model = tiny_model(family)
    monkeypatch.setattr("semconv.models.logit_lens._LOGITS", 3 * 48)
    found, expected = lens_tokens(Readout(model), ROWS, k=4), expected_lens(model, family, ROWS.double().numpy())
    order = np.argsort(-expected, axis=1)
    np.testing.assert_array_equal(found.promoted.numpy(), order[:, :4])
    np.testing.assert_array_equal(found.suppressed.numpy(), order[:, ::-1][:, :4])
    best = np.take_along_axis(expected, order[:, :4], axis=1)
    np.testing.assert_allclose(found.promoted_logits.numpy(), best, atol=1e-5)


def test_agreement_is_the_correlation_and_the_overlap_over_shared_tokens(monkeypatch: pytest.MonkeyPatch):
    models = tiny_model("gemma2"), tiny_model("gpt2")
    shared = SharedTokens(torch.arange(5, 45), torch.arange(40).flip(0), 48, 48)
    monkeypatch.setattr("semconv.models.logit_lens._LOGITS", 2 * 48)
    lenses = lens_of_pairs((Readout(models[0]), Readout(models[1])), (ROWS, ROWS.flip(0)), shared, k=6)
    found = lenses.agreement
    a = expected_lens(models[0], "gemma2", ROWS.double().numpy())[:, shared.a.numpy()]
    b = expected_lens(models[1], "gpt2", ROWS.flip(0).double().numpy())[:, shared.b.numpy()]
    correlation = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found.correlation.numpy(), correlation, atol=1e-5)
    for sign, share in ((-1, found.promoted), (1, found.suppressed)):
        tops = [(set(np.argsort(sign * x)[:6]), set(np.argsort(sign * y)[:6])) for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(share.numpy(), [len(x & y) / 6 for x, y in tops])
    assert found.chance == 6 / 40
    for side, logits, ids in ((lenses.a, a, shared.a), (lenses.b, b, shared.b)):
        order = np.argsort(-logits, axis=1)
        np.testing.assert_array_equal(side.promoted.numpy(), ids.numpy()[order[:, :6]])
        np.testing.assert_array_equal(side.suppressed.numpy(), ids.numpy()[order[:, ::-1][:, :6]])
        np.testing.assert_allclose(side.promoted_logits.numpy(), -np.sort(-logits)[:, :6], atol=1e-5)
        np.testing.assert_allclose(side.suppressed_logits.numpy(), np.sort(logits)[:, :6], atol=1e-5)


def test_the_head_is_read_once_whatever_the_number_of_pairs(monkeypatch: pytest.MonkeyPatch):
    models = Readout(tiny_model("gemma2")), Readout(tiny_model("llama"))
    taken: dict[int, list[int]] = {id(model): [] for model in models}

    for model in models:
        product = model._product

        def counted(x: torch.Tensor, tokens: slice, of: Any = model, product: Any = product) -> torch.Tensor:
            taken[id(of)] += range(48)[tokens]
            return product(x, tokens)

        monkeypatch.setattr(model, "_product", counted)
    monkeypatch.setattr("semconv.models.logit_lens._LOGITS", 5 * 70)
    rows = ROWS.repeat(10, 1)
    lens_of_pairs(models, (rows, rows), SharedTokens.same(48), k=3)
    assert all(tokens == list(range(48)) for tokens in taken.values())


def test_a_row_of_zeros_has_no_correlation_and_a_mean_far_from_zero_costs_no_digits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("semconv.models.logit_lens._LOGITS", 7 * 5)
    readout = Readout(tiny_model("llama"))
    none = ROWS.clone()
    none[2] = 0
    found = lens_of_pairs((readout, readout), (ROWS, none), SharedTokens.same(48), k=3).agreement.correlation
    assert found.isnan().tolist() == [number == 2 for number in range(7)]
    rng, sums = np.random.default_rng(0), _Correlation()
    x = rng.standard_normal((3, 60)).astype(np.float32) + np.float32(1000)
    y = x + rng.standard_normal((3, 60)).astype(np.float32)
    for part in (slice(0, 7), slice(7, 60)):
        sums.add(torch.from_numpy(x[:, part]), torch.from_numpy(y[:, part]))
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(x.astype(float), y.astype(float), strict=True)]
    np.testing.assert_allclose(sums.result().numpy(), expected, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "bert"])
def test_the_last_stream_gives_the_logits_of_the_model(family: str):
    Readout(tiny_model(family))  # compares them


def test_heads_that_are_not_understood_and_rows_of_another_width_are_refused():
    model = tiny_model("llama")
    readout = Readout(model)
    with pytest.raises(InputError, match=r"must be \[n, 16\], as wide as the residual stream, got \[7, 5\]"):
        lens_tokens(readout, ROWS[:, :5])
    with pytest.raises(InputError, match="between 1 and 48 tokens, got 49"):
        lens_tokens(readout, ROWS, k=49)

    def halved(_model: Any, _args: Any, out: Any) -> Any:
        out.logits = out.logits / 2
        return out

    model.register_forward_hook(halved)
    with pytest.raises(InputError, match="are not its final norm and head of the last block's output"):
        Readout(model)
    assert "not directions of the residual stream" in why_no_lens("blocks.1.attn.hook_z")
    assert why_no_lens("blocks.1.hook_mlp_out") == ""
