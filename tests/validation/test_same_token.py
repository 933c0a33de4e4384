"""Models that share what tokens say and nothing else: `same_token` does not take that for more, `rematch` does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import kstest

from semconv.validation.token_cases import TokenText, token_case

DATA_SETS = 60


def found(text: TokenText, seeds: Sequence[int]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """p and its form u that is spread over steps, of every null and statistic."""
    tests = [token_case(text)(np.random.default_rng(seed)) for seed in seeds]
    p, u = ({name: np.array([one[name][i] for one in tests if name in one]) for name in tests[0]} for i in range(2))
    return p, u


@pytest.mark.slow
def test_same_token_is_uniform_where_models_share_tokens_alone_and_rematch_is_not():
    p, u = found(TokenText(), range(DATA_SETS))
    for name in ("same_token.pairs", "same_token.rsa", "same_bigram.pairs", "same_bigram.rsa"):
        assert len(u[name]) > 0.9 * DATA_SETS
        assert kstest(u[name], "uniform").pvalue > 0.01, name
    assert kstest(u["rematch.pairs"], "uniform").pvalue < 1e-9
    assert np.mean(p["rematch.pairs"] <= 0.05) > 0.3  # though half of all tests draw the one of 25 shifts that is none


@pytest.mark.slow
def test_same_bigram_is_uniform_where_models_share_two_tokens_and_same_token_is_not():
    p, u = found(TokenText("bigram", 5), range(DATA_SETS))
    for name in ("same_bigram.pairs", "same_bigram.rsa"):
        assert kstest(u[name], "uniform").pvalue > 0.01, name
    assert kstest(u["same_token.pairs"], "uniform").pvalue < 1e-6
    assert np.mean(p["same_token.pairs"] <= 0.05) > 0.15


@pytest.mark.slow
def test_what_two_models_share_beyond_the_tokens_is_found():
    p, _ = found(TokenText(common=0.08), range(20))
    assert np.mean(p["same_token.pairs"] <= 0.05) > 0.9
