"""Matching by r within tokens: pairs, filters and nulls against dense residuals, whole runs, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError, TokenBlocks
from semconv.matching.influence import INFLUENCES
from semconv.statistics.resampling import document_shift
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import rematch, swapped
from semconv.study.settings import settings_of
from semconv.study.sides import match_sides, pair_correlations
from semconv.study.subspaces import pooled, spans_of
from semconv.suite.config import AlignConfig, MatchConfig, SpanConfig, load_suite
from tests._helpers.worlds import MATCH, TEXTS, make_world, study, suite_of
from tests.conftest import requires_models, semconv_cli

WORLD = make_world(4)
BY = replace(MATCH, by="r_within_token", min_r=0.02, need_shared_token=False)
TOKENS = WORLD.blocks.ids[WORLD.blocks.mask].numpy()


def within(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """r of every pair after each token's mean is taken off, float64 [F_a, F_b]."""
    x, y = x.copy(), y.copy()
    for of in (x, y):
        for token in np.unique(TOKENS):
            of[token == TOKENS] -= of[token == TOKENS].mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


def dense() -> tuple[np.ndarray, np.ndarray]:
    x, y = (side.acts.to_dense().double().numpy() for side in (WORLD.a, WORLD.b))
    return x, y


def paired(r: np.ndarray, config: MatchConfig) -> dict[int, int]:
    """B feature -> its best A feature, of each A feature the best, r above the bar."""
    best = {j: int(np.nanargmax(r[:, j])) for j in range(r.shape[1])}
    of_a = {i: max((j for j in best if best[j] == i), key=lambda j: r[i, j]) for i in best.values()}
    return {j: i for i, j in of_a.items() if r[i, j] > config.min_r}


def test_pairs_are_those_of_the_highest_correlation_within_tokens():
    r = within(*dense())
    pairs = match_sides(WORLD.a, WORLD.b, BY)
    assert dict(zip(pairs.b.tolist(), pairs.a.tolist(), strict=True)) == paired(r, BY)
    np.testing.assert_allclose(pairs.r, r[pairs.a, pairs.b], atol=1e-4)  # activations are quantised
    assert pairs.counts[-1].step == "r within tokens > 0.02"
    usual = match_sides(WORLD.a, WORLD.b, replace(BY, by=None))
    assert usual.counts[-1].step == "r > 0.02"
    assert set(zip(usual.a, usual.b, strict=True)) != set(zip(pairs.a, pairs.b, strict=True))


def test_the_filter_on_strongest_positions_asks_for_r_over_all_positions():
    config = replace(BY, min_r=0.05, without_strongest=3)
    pairs, asked = (
        match_sides(WORLD.a, WORLD.b, replace(config, without_strongest=0)),
        match_sides(WORLD.a, WORLD.b, config),
    )
    assert 0 < len(asked) < len(pairs)
    assert (pair_correlations(WORLD.a, WORLD.b, asked.a, asked.b) > 0).all()
    assert asked.counts[-1].step == "r > 0.05 without its 3 strongest positions"


@pytest.mark.parametrize("null", ["rematch", "same_token"])
def test_draws_match_by_it_too(null: str):
    x, y = dense()
    if null == "rematch":
        shifts = [document_shift(WORLD.starts, 3, number) for number in range(3)]
        partners = [(np.arange(len(x)) + shift) % len(x) for shift in shifts]
        passed, ranked, best_r = rematch(WORLD.a, WORLD.b, BY, WORLD.starts, 3, range(3))
    else:
        partners = list(TokenSwaps.of(WORLD.blocks).draws(3, range(3)))
        passed, ranked, best_r = swapped(WORLD.a, WORLD.b, BY, np.stack(partners))
    for draw, partner in enumerate(partners):
        r = within(x, y[partner])
        assert passed[draw] == len(paired(r, BY))
        free = paired(r, replace(BY, min_r=-1.0))
        assert dict(zip(ranked[draw][1].tolist(), ranked[draw][0].tolist(), strict=True)) == free
        np.testing.assert_allclose(best_r[:, draw], [r.max(axis=1).mean(), r.max(axis=0).mean()], atol=1e-4)


def test_a_study_by_it_tells_r_within_tokens_of_every_pair(tmp_path: Path):
    settings = WORLD.settings(match={"by": "r_within_token", "min_r": 0.02, "need_shared_token": False}, n_rematch=2)
    studied = study(settings, tmp_path, WORLD.a, WORLD.b)
    pair = studied.observed.pair
    assert (pair.r == pair.influence[:, INFLUENCES.index("r_within_token")]).all()  # to the last bit
    assert studied.observed.matched_again["rematch"].passed.shape == (2,)
    other = study(WORLD.settings(match={"min_r": 0.02, "need_shared_token": False}), tmp_path, WORLD.a, WORLD.b)
    assert len(other.observed.pair.a) != len(pair.a)  # nothing of the one was taken for the other


def test_what_has_no_tokens_is_refused():
    spans = spans_of(SpanConfig("windows", 4), WORLD.blocks, TEXTS)
    a, b = (pooled(side, spans, SpanConfig("windows", 4)) for side in (WORLD.a, WORLD.b))
    with pytest.raises(InputError, match="match.by = 'r_within_token' needs the token at every position, got none"):
        match_sides(a, b, BY)


def test_a_text_in_which_no_token_repeats_is_refused_before_the_study():
    suite = suite_of(WORLD.settings(match={"by": "r_within_token"}), WORLD.a, WORLD.b)
    ids = torch.arange(24, dtype=torch.int32).reshape(2, 12)
    blocks = TokenBlocks(ids, ids >= 0, torch.zeros_like(ids))
    with pytest.raises(InputError, match="needs a token that stands at two positions, got none"):
        settings_of(suite, np.array([0]), blocks)
    assert settings_of(suite, WORLD.starts, WORLD.blocks).match.within_tokens


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": "r_within_tokens"}, "match.by must be one of r, r_within_token, got 'r_within_tokens'"),
        (
            {"by": "r_within_token", "separate_halves": True},
            "cannot stand beside match.separate_halves, which measures",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        MatchConfig(**changes)


def test_two_tokenizers_have_no_tokens_in_common():
    suite = load_suite("mini")
    suite = replace(suite, controls=(), spans=None, published=None, function=None, seeds=None)
    null = replace(suite.null, n_same_token=None)
    with pytest.raises(InputError, match="align brings two tokenizers together and cannot stand beside match.by"):
        replace(suite, null=null, align=AlignConfig("x"), match=replace(suite.match, by="r_within_token"))


@pytest.mark.slow
@requires_models
def test_a_whole_run_by_it(tiny_suite: Path, tmp_path: Path):
    suite = tmp_path / tiny_suite.name
    suite.write_text(tiny_suite.read_text().replace("[match]", '[match]\nby = "r_within_token"'))
    done = semconv_cli("reproduce", suite, "--out", tmp_path / "run", "--fast")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for pair in results["grid"].values():
        assert pair["filters"][-2]["step"] == "r within tokens > 0.1"
    assert "r within tokens > 0.1" in (tmp_path / "run" / "report.md").read_text()
    assert results["spans"]["grid"]
