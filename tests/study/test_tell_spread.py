"""Intervals and what they cover: from resamples, halves of the pairs and other seeds to the results."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from semconv.compare import MEASURES
from semconv.compare.registry import score_range
from semconv.results.schema import Score, Spread
from semconv.study.facts import NoFacts
from semconv.study.observations import Observations
from semconv.study.spread_observations import AcrossSeeds, Resamples, ScoredFacts, ScoredObservation
from semconv.study.tell_spread import best_interval, interval, seed_ceilings, seed_range, with_intervals
from tests._helpers.worlds import pair_of

T = scipy.stats.t.ppf


def spread_of(sd: float, dof: float) -> Spread:
    return Spread(total=sd, dof=dof)


def test_an_interval_that_leaves_the_range_of_its_score_is_none():
    low, high = interval(5.0, spread_of(1.0, 2), 0.05) or (0.0, 0.0)
    assert (low, high) == (pytest.approx(5 - T(0.975, 2)), pytest.approx(5 + T(0.975, 2)))
    assert interval(5.0, None, 0.05) is None
    assert interval(0.25, spread_of(0.0, 1e9), 0.05) == (0.25, 0.25)
    assert interval(5.0, spread_of(1.0, 2), 0.05, (0.0, 10.0)) == (low, high)
    assert interval(5.0, spread_of(1.0, 2), 0.05, (0.0, 9.0)) is None
    assert interval(5.0, spread_of(1.0, 2), 0.05, (1.0, 10.0)) is None
    ranges = {name: score_range(name) for name in (*MEASURES, "other")}
    assert {name for name, (low, _) in ranges.items() if low == 0} == {
        *("svcca_pc1", "svcca_variance", "svcca_fixed_k", "pwcca", "mean_squared_cc", "cka", "procrustes", "mutual_knn")
    }
    assert {high for name, (_, high) in ranges.items() if name != "other"} == {1.0}


def test_the_best_of_several_has_a_wider_interval():
    best = Score(score=0.5, nulls={}, spread=spread_of(0.01, 4))
    half = 0.01 * T(1 - 0.05 / 16 / 2, 4)
    assert best_interval(best, 16, "rsa") == pytest.approx((0.5 - half, 0.5 + half))
    assert best_interval(replace(best, spread=None), 16, "rsa") is None


def observed(**more: object) -> Observations:
    return replace(Observations({}, {}, {}, {}), **more)  # pyright: ignore


def test_every_source_is_named_and_all_are_summed():
    pair = replace(pair_of(Score(score=0.5, nulls={})), pairs=40)
    rng = np.random.default_rng(0)
    draws, halves, table = rng.normal(size=(9, 1)), rng.normal(size=(30, 1)), rng.normal(size=(3, 2, 1))
    counts, seeds = rng.integers(30, 50, 9), rng.integers(30, 50, (3, 2))
    found = with_intervals(
        {"0x0": pair},
        observed(
            resamples={"0x0": Resamples(NoFacts(), counts, draws)},
            halves={"0x0": halves},
            seeds={"0x0": AcrossSeeds(seeds, table)},
        ),
    )["0x0"]
    (score,) = found.measures.values()
    assert isinstance(score, Score)
    spread = score.spread
    assert spread is not None
    assert None not in (spread.documents, spread.features, spread.seeds)
    assert spread.documents == pytest.approx(draws.std(ddof=1))
    assert spread.features == pytest.approx(halves.std(ddof=1))  # half of an even number: the factor is 1
    assert spread.total == pytest.approx(math.hypot(spread.documents or 0, spread.features or 0, spread.seeds or 0))
    half = spread.total * T(0.975, spread.dof)
    if score.interval is not None:
        assert score.interval == pytest.approx((0.5 - half, 0.5 + half))
    assert score.across_seeds is not None
    assert (score.across_seeds.n, score.across_seeds.highest) == (6, table.max())
    assert found.pairs_interval is None or found.pairs_interval[0] < 40 < found.pairs_interval[1]


def test_without_draws_there_is_no_interval_and_what_has_no_score_is_left_out():
    pair = pair_of(Score(score=0.5, nulls={}))
    (score,) = with_intervals({"0x0": pair}, observed())["0x0"].measures.values()
    assert isinstance(score, Score)
    assert (score.interval, score.spread, score.across_seeds) == (None, None, None)
    draws = np.array([[0.4], [0.5], [0.6]])
    missing = np.array([[0.4], [math.nan], [0.6]])
    resamples = {"0x0": Resamples(NoFacts(), np.array([3, 4, 5]), draws)}
    (score,) = with_intervals({"0x0": pair}, observed(resamples=resamples, halves={"0x0": missing}))[
        "0x0"
    ].measures.values()
    assert isinstance(score, Score)
    assert score.spread is not None
    assert (score.spread.documents, score.spread.features) == (pytest.approx(0.1), None)
    assert (score.spread.total, score.spread.dof) == (score.spread.documents, 2)


def test_ceilings_are_ranges_over_the_seeds_of_one_sae():
    def scored(pairs: int, *scores: float) -> ScoredObservation:
        return ScoredObservation(ScoredFacts(pairs=pairs), np.array(scores))

    found = seed_ceilings(
        ("m", "n"), {"a/0": [scored(9, 0.2, math.nan), scored(7, 0.4, math.nan), scored(8, 0.6, 0.1)]}
    )
    assert (found["a/0"].pairs_lowest, found["a/0"].pairs_highest) == (7, 9)
    m, n = found["a/0"].measures["m"], found["a/0"].measures["n"]
    assert m is not None
    assert n is not None
    assert (m.n, m.lowest, m.mean, m.highest) == (3, 0.2, pytest.approx(0.4), 0.6)
    assert (n.n, n.lowest, n.highest) == (1, 0.1, 0.1)
    assert seed_range(np.array([math.nan])) is None
