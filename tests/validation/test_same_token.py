"""Models that share what tokens say and nothing else: `same_token` does not take that for more, `rematch` does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from semconv import SparseActivations, best_matches
from semconv.compare import make_measures
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import ranked_pairs, rematch, score_strongest, swapped
from semconv.study.sides import Side, match_sides
from semconv.suite.config import MatchConfig
from semconv.text.top_tokens import TopTokens
from semconv.validation.uniformity import p_and_u

DATA_SETS, DRAWS = 60, 19
DOCUMENTS, LENGTH, VOCABULARY, FEATURES = 25, 24, 12, 40
MATCH = MatchConfig(need_shared_token=False, min_r=0.1)
MEASURES = make_measures(["rsa"])


def sides(rng: np.random.Generator, ids: np.ndarray, context: float) -> tuple[Side, Side]:
    """Features of both models fire by the same probabilities of tokens; `context` of the positions are common too."""
    by_token = 0.25 * rng.random((VOCABULARY, FEATURES)) ** 2  # so weakly that partners are mistaken
    latent = rng.normal(size=(FEATURES, 6))
    common = rng.random((len(ids), FEATURES)) < context
    tokens = TopTokens.of_sides([[["x"]] * FEATURES], ())[0]

    def side(name: str, d: int) -> Side:
        fires = (rng.random((len(ids), FEATURES)) < by_token[ids]) | common
        values = np.where(fires, rng.uniform(0.5, 2.0, fires.shape), 0).astype(np.float32)
        acts = SparseActivations.from_dense(torch.from_numpy(values))
        decoder = latent @ rng.normal(size=(6, d)) + rng.normal(size=(FEATURES, d))
        return Side(name, 0, acts, acts.sha256, decoder, tokens)

    return side("a", 10), side("b", 12)


def p_values(rng: np.random.Generator, context: float = 0.0) -> dict[str, tuple[float, float]]:
    """p, and p spread over its step, of the number of pairs and of RSA under both nulls."""
    ids = rng.integers(0, VOCABULARY, DOCUMENTS * LENGTH)
    document = np.repeat(np.arange(DOCUMENTS), LENGTH)
    a, b = sides(rng, ids, context)
    pairs, ranked = match_sides(a, b, MATCH), ranked_pairs(best_matches(a.acts, b.acts), a, b, MATCH)
    swaps = TokenSwaps(ids, document)
    found = {
        "same_token": swapped(a, b, MATCH, swaps.draws(1, range(DRAWS))),
        "rematch": rematch(a, b, MATCH, np.arange(DOCUMENTS) * LENGTH, 1, range(DRAWS)),
    }
    out = dict[str, tuple[float, float]]()
    for null, (passed, of_draws) in found.items():
        out[f"{null}.pairs"] = p_and_u(float(len(pairs)), passed.astype(np.float64), rng)
        n = min(len(pairs), len(ranked[0]), *(len(rows[0]) for rows in of_draws))
        if n >= 5:
            score = score_strongest(MEASURES, a, b, ranked, n)[0]
            null_scores = np.array([score_strongest(MEASURES, a, b, rows, n)[0] for rows in of_draws])
            out[f"{null}.rsa"] = p_and_u(float(score), null_scores, rng)
    return out


@pytest.mark.slow
def test_same_token_is_uniform_where_models_share_tokens_alone_and_rematch_is_not():
    found = [p_values(np.random.default_rng(seed)) for seed in range(DATA_SETS)]
    p, u = ({name: np.array([one[name][i] for one in found if name in one]) for name in found[0]} for i in range(2))
    for name in ("same_token.pairs", "same_token.rsa"):
        assert len(u[name]) > 0.9 * DATA_SETS
        assert kstest(u[name], "uniform").pvalue > 0.01, name
    assert kstest(u["rematch.pairs"], "uniform").pvalue < 1e-9
    assert np.median(p["rematch.pairs"]) <= 0.1  # one of 25 shifts is none, and half of all tests draw it


@pytest.mark.slow
def test_same_token_finds_what_two_models_share_beyond_the_token():
    found = [p_values(np.random.default_rng(seed), context=0.08) for seed in range(20)]
    assert np.mean([one["same_token.pairs"][0] <= 0.05 for one in found]) > 0.9
