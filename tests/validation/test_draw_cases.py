"""p of draws that end early and of fitted tails, on spaces that share nothing: the study of them in small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.statistics.permutation import generator
from semconv.statistics.stopping import Stopping
from semconv.statistics.tail import fit_tail
from semconv.validation import draw_cases
from semconv.validation.draw_cases import early_ends, fitted_p, tail_levels


@pytest.mark.parametrize("rule", [Stopping(59, 5), Stopping(59, 5, 20)], ids=str)
def test_p_is_uniform_where_draws_end_early_and_fewer_are_taken(rule: Stopping):
    found = early_ends("procrustes", rule, 150)
    assert found.ks_p > 0.01
    assert found.rate < 0.1
    assert rule.common <= found.draws < 40


def test_a_p_that_is_too_small_is_seen(monkeypatch: pytest.MonkeyPatch):
    class Greedy(Stopping):
        def randomised(self, statistic: float, null: np.ndarray, uniform: float) -> float:
            return super().randomised(statistic, null, uniform) ** 1.5

    assert early_ends("procrustes", Greedy(59, 5), 150).ks_p < 0.01


@pytest.mark.slow
def test_a_p_from_a_tail_is_no_smaller_than_it_should_be_and_the_fitted_value_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draw_cases, "LEVELS", (1 / 2, 1 / 5))
    found = tail_levels("procrustes", 100, 1, reference=6000)
    assert max(found.told) < 1 < max(found.fitted)
    assert found.no_fit < 0.2


def test_the_fitted_value_by_hand():
    null = generator(1, 0).exponential(size=400)
    fit = fit_tail(null)
    assert fit is not None
    assert fitted_p(fit, fit.threshold) == 101 / 401
    above = fit.threshold + np.array([0.5, 2.0, 6.0])
    p = [fitted_p(fit, float(score)) for score in above]
    assert (np.diff(p) < 0).all()
    ended = replace(fit, threshold=fit.threshold - 1e9)  # a score far beyond the end of a tail that ends
    assert (fitted_p(ended, 1.0) == 0.0) == (fit.shape < 0)
