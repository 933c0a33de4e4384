"""The logit lens against NumPy, and what final norm and head make of a stream against the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError
from semconv.models.logit_lens import lens_agreement, lens_tokens, why_no_lens
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
    found = lens_agreement((Readout(models[0]), Readout(models[1])), (ROWS, ROWS.flip(0)), shared, k=6)
    a = expected_lens(models[0], "gemma2", ROWS.double().numpy())[:, shared.a.numpy()]
    b = expected_lens(models[1], "gpt2", ROWS.flip(0).double().numpy())[:, shared.b.numpy()]
    correlation = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found.correlation.numpy(), correlation, atol=1e-5)
    for sign, share in ((-1, found.promoted), (1, found.suppressed)):
        tops = [(set(np.argsort(sign * x)[:6]), set(np.argsort(sign * y)[:6])) for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(share.numpy(), [len(x & y) / 6 for x, y in tops])
    assert found.chance == 6 / 40


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
