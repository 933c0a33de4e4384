"""Draws by what they cost: fewer of the dear ones, an early end, a fitted tail, and what the results say of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import semconv.study.nulls
from semconv import InputError
from semconv.compare import MEASURES, make_measures
from semconv.compare.registry import DRAW_CLASSES
from semconv.results.schema import BestOfGrid, NullTest, Reason, Score, Tail
from semconv.runs.task_cache import FinishedTasks
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.stopping import Stopping
from semconv.statistics.tail import fit_tail
from semconv.study.check_observations import check_observations
from semconv.study.nulls import pairing_nulls, permuted_scores
from semconv.study.observations import Observations, PairObservation
from semconv.study.sides import match_sides, prepare_pairs
from semconv.study.tell_grid import summarise
from semconv.study.tell_pair import null_test, pairing_test
from semconv.suite.config import NullConfig
from semconv.system.shape import plain
from tests._helpers.worlds import MATCH, Studied, make_world, pair_of, study, suite_of

WORLD = make_world()
NAMES = ("svcca_variance", "rsa", "procrustes")
ENDING: dict[str, Any] = {"n_permutations": 60, "draws": {"singular_values": 25}, "stop_after": 4, "stop_from": 10}


def test_every_measure_is_of_one_class():
    assert sorted(name for names in DRAW_CLASSES.values() for name in names) == sorted(MEASURES)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Studied, Path]:
    """Two sides, one of which has rows in another order, so that half of the scores are those of a random pairing."""
    folder = tmp_path_factory.mktemp("ending")
    mixed = replace(WORLD.b, decoder=WORLD.b.decoder[np.random.default_rng(1).permutation(len(WORLD.b.decoder))])
    return study(WORLD.settings(NAMES, **ENDING), folder, WORLD.a, mixed), folder


def every_test(studied: Studied) -> dict[tuple[str, str], NullTest]:
    found = {name: score for name, score in studied.pair.measures.items() if isinstance(score, Score)}
    return {(name, n): t for name, score in found.items() for n, t in score.nulls.items() if isinstance(t, NullTest)}


def test_each_null_has_the_draws_that_the_suite_says_and_the_results_say_how_many(studied: tuple[Studied, Path]):
    found, _ = studied
    assert found.observed.pair.draws.shape == (2, 3, 60)
    tests = every_test(found)
    assert len(tests) == 6
    ended = 0
    for place, name in enumerate(NAMES):
        rule = Stopping(60 if name == "rsa" else 25, 4, 10)
        for null in ("shuffle", "frequency"):
            row, test = found.draws(null, place), tests[name, null]
            end = rule.ended(test.score, row)
            assert np.isfinite(row[:end]).all()
            assert np.isnan(row[end:]).all()
            assert test.draws == (None if end == 60 else end)
            assert test.p == rule.p_value(test.score, row[:end])
            assert (test.p_from == "sequential") == (end < rule.most)
            assert test.mean == pytest.approx(row[:end].mean())
            ended += end < rule.most
    assert ended


def test_a_null_that_ends_early_is_the_beginning_of_the_whole(studied: tuple[Studied, Path], tmp_path: Path):
    found, _ = studied
    whole = study(WORLD.settings(NAMES, n_permutations=60), tmp_path, WORLD.a, WORLD.b).observed.pair
    mine = study(WORLD.settings(NAMES, **ENDING), tmp_path / "1", WORLD.a, WORLD.b).observed.pair
    taken = np.isfinite(mine.draws)
    np.testing.assert_allclose(mine.draws[taken], whole.draws[taken], atol=1e-12)  # products of other sizes round apart
    assert (mine.scores == whole.scores).all()
    assert found.observed.pair.draws.shape == mine.draws.shape


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_where_a_null_ends_does_not_depend_on_how_many_are_drawn_at_once(batch: int, monkeypatch: pytest.MonkeyPatch):
    pairs, (measure,) = match_sides(WORLD.a, WORLD.b, MATCH), make_measures(["rsa"])
    prepared = prepare_pairs(measure, WORLD.a, WORLD.b, pairs.a, pairs.b)
    prepared = replace(prepared, score=0.1)  # one draw in ten or so reaches it
    rule, counts = Stopping(300, 5), WORLD.b.active_counts()[pairs.b]
    usual = pairing_nulls(prepared, counts, rule, 3, 3)
    monkeypatch.setattr(semconv.study.nulls, "_BATCH", batch)
    for name, null in pairing_nulls(prepared, counts, rule, 3, 3).items():
        assert (null == usual[name]).all()
        assert 5 < len(null) < 300
        assert rule.ended_early(0.1, null)


def test_no_more_is_drawn_than_a_batch_beyond_the_end():
    pairs, (measure,) = match_sides(WORLD.a, WORLD.b, MATCH), make_measures(["rsa"])
    prepared = replace(prepare_pairs(measure, WORLD.a, WORLD.b, pairs.a, pairs.b), score=-1.0)
    asked: list[tuple[int, int]] = []

    def permutations(first: int, n: int) -> np.ndarray:
        asked.append((first, n))
        return permutation_ids(len(pairs), n, 0, first)

    assert len(permuted_scores(prepared, Stopping(500, 5, 9), permutations)) == 9
    assert asked == [(0, 9)]


def changed(studied: Studied, change: np.ndarray) -> Observations:
    pair = replace(studied.observed.pair, draws=change)
    return Observations({"1x2": replace(studied.observed, pair=pair)}, {}, {}, {})


def test_observations_with_more_or_fewer_draws_than_the_suite_ends_with_are_refused(studied: tuple[Studied, Path]):
    found, folder = studied
    suite = suite_of(WORLD.settings(NAMES, **ENDING), WORLD.a, WORLD.b)
    kept = FinishedTasks(folder)
    draws = kept.read_as(PairObservation, "grid.1x2.observed").draws
    check_observations(suite, changed(found, draws))
    more = draws.copy()
    more[0, 2, 25] = 0.5
    with pytest.raises(InputError, match=r"draws of shuffle of layers 1x2 by procrustes: \d+ expected, got 26"):
        check_observations(suite, changed(found, more))
    with pytest.raises(InputError, match="25 draws of shuffle were kept for layers 1x2, the suite says 60"):
        check_observations(suite, changed(found, draws[:, :, :25]))


def test_a_draw_that_is_missing_before_the_end_is_said():
    null = NullConfig(n_permutations=6, stop_after=2)
    found = pairing_test(0.75, np.array([0.1, 0.9, np.nan, 0.8, 0.7, 0.3]), "rsa", null)
    assert found == Reason(reason="1 of 4 draws have no score")


TAIL = NullConfig(n_permutations=200, draws={"singular_values": 120}, tail=("singular_values",))


def test_a_score_above_every_draw_gets_the_p_of_a_tail_which_is_marked_beside_the_counted_one():
    draws = np.append(np.random.default_rng(0).normal(size=120), np.full(80, np.nan))
    test = pairing_test(9.0, draws, "procrustes", TAIL)
    assert isinstance(test, NullTest)
    assert isinstance(test.tail, Tail)
    fit = fit_tail(draws[:120])
    assert fit is not None
    assert (test.p, test.p_from, test.draws) == (fit.p_value(9.0), "tail", 120)
    assert test.tail.p == test.p == 1 / 1210
    assert test.tail.p_counted == 1 / 121
    assert (test.tail.exceedances, test.tail.fit_p) == (30, fit.fit_p)
    plainly = null_test(9.0, draws[:120])
    assert isinstance(plainly, NullTest)
    assert replace(test, p=plainly.p, p_from=None, tail=None, draws=None) == plainly


def test_no_tail_where_a_draw_reaches_the_score_or_nothing_fits_or_nobody_asked():
    draws = np.random.default_rng(0).normal(size=120)
    reached = pairing_test(float(np.sort(draws)[-1]), draws, "procrustes", TAIL)
    assert isinstance(reached, NullTest)
    assert (reached.p, reached.p_from, reached.tail) == (2 / 121, None, None)
    rsa = pairing_test(9.0, np.append(draws, draws[:80]), "rsa", TAIL)
    assert isinstance(rsa, NullTest)
    assert (rsa.p, rsa.tail) == (1 / 201, None)
    steps = pairing_test(9.0, np.repeat([0.0, 1.0], 60), "procrustes", TAIL)
    assert isinstance(steps, NullTest)
    assert (steps.p, steps.p_from) == (1 / 121, None)
    assert steps.tail == Reason(reason="no generalised Pareto distribution fits the largest draws")
    near = pairing_test(float(draws.max()) + 1e-6, draws, "procrustes", TAIL)
    assert isinstance(near, NullTest)
    assert isinstance(near.tail, Tail)
    assert near.p == 1 / 121 <= near.tail.p  # the fit says no less than the draws
    assert near.p_from is None


def grid_of(nulls: dict[str, np.ndarray], scores: dict[str, float], config: NullConfig, measure: str) -> Any:
    grid = {}
    for key, null in nulls.items():
        test = pairing_test(scores[key], null, measure, config)
        assert isinstance(test, NullTest)
        pair = pair_of(Reason(reason="none"))
        score = Score(score=scores[key], nulls={"shuffle": replace(test, q=test.p, q_by=test.p)})
        grid[key] = replace(pair, measures={measure: score})
    draws = {key: {"shuffle": null[None]} for key, null in nulls.items()}
    return summarise(grid, draws, measure, 0, config).nulls["shuffle"]


def test_the_best_of_the_grid_is_tested_on_the_draws_that_every_layer_pair_has_whatever_they_show():
    rng = np.random.default_rng(0)
    nulls, config = {f"0x{i}": rng.normal(size=99) / 10 for i in range(3)}, NullConfig(99, stop_after=5, stop_from=20)
    scores = {"0x0": 0.0, "0x1": 0.1, "0x2": 0.4}
    for key, score in scores.items():
        nulls[key][Stopping(99, 5, 20).ended(score, nulls[key]) :] = np.nan
    found = grid_of(nulls, scores, config, "rsa")
    tau = {key: np.sort([*null[:20], scores[key]])[19] for key, null in nulls.items()}  # the 95% of 21: the 20th
    best = np.max([(null[:20] - tau[key]) / (1 - tau[key]) for key, null in nulls.items()], axis=0)
    highest = max((scores[key] - tau[key]) / (1 - tau[key]) for key in nulls)
    p = (int((best >= highest).sum()) + 1) / 21
    of_grid = {"score": pytest.approx(highest), "null_mean": pytest.approx(best.mean()), "p": p, "draws": 20}
    assert plain(found.best_of_grid) == of_grid
    assert found.smallest_q == 3 / 100  # one alone takes all
    assert found.from_tail is found.significant_counted is None


def test_a_grid_says_how_much_of_it_rests_on_fitted_tails():
    rng = np.random.default_rng(1)
    nulls = {f"0x{i}": rng.normal(size=120) / 100 for i in range(8)}
    scores = {key: 0.5 if key == "0x3" else -0.09 for key in nulls}
    found = grid_of(nulls, scores, replace(TAIL, n_permutations=120), "procrustes")
    assert (found.from_tail, found.significant, found.significant_counted) == (1, 1, 0)  # 8 / 121 is above 0.05
    assert found.smallest_q == 8 / 1210
    assert isinstance(found.best_of_grid, BestOfGrid)
    assert found.best_of_grid.p == 1 / 121
    assert found.best_of_grid.draws is None


def test_a_measure_of_ones_own_takes_as_many_as_any():
    assert NullConfig(50, draws={"singular_values": 9}).most_draws("own") == 50
