"""One layer pair through the protocol: its numbers, and the reasons that stand where there can be none."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import semconv.study.observe
import semconv.study.task_names
from semconv import best_matches
from semconv.compare import MutualKNN
from semconv.results.schema import FilterStep, LayerPair, NullTest, Reason, RematchCounts, Score, SplitHalf
from semconv.statistics.permutation import calibrated_score
from semconv.statistics.resampling import bootstrap_positions, halves
from semconv.statistics.stopping import Stopping
from semconv.study.nulls import pairing_nulls, ranked_pairs, rematch, score_strongest, swapped
from semconv.study.observe import Progress
from semconv.study.observe_pair import observe_pair, resamples
from semconv.study.settings import StudySettings
from semconv.study.sides import match_sides, prepare_pairs, scores_of
from semconv.study.tell_pair import null_test
from semconv.suite.config import NullConfig
from semconv.system.shape import plain
from semconv.text.top_tokens import TopTokens
from tests._helpers.worlds import ByNumber, Studied, World, make_world, study

WORLD = make_world()


def as_json(studied: Studied) -> str:
    draws = {null: draws.tolist() for null, draws in studied.observed.draws().items()}
    return json.dumps([plain(studied.pair), draws], sort_keys=True)


def test_null_test_by_hand():
    null = np.array([0.0, 0.1, 0.2, 0.7])
    test = defined(0.5, null)
    assert test.mean == pytest.approx(0.25)
    assert test.sd == pytest.approx(math.sqrt((0.0625 + 0.0225 + 0.0025 + 0.2025) / 3))
    assert test.z == pytest.approx((0.5 - 0.25) / test.sd)
    assert test.p == 2 / 5
    assert test.calibrated == calibrated_score(0.5, null)
    assert defined(0.5, np.array([0.2])).sd is None


def defined(score: float, null: np.ndarray) -> NullTest:
    """The test of a score that has one."""
    test = null_test(score, null)
    assert isinstance(test, NullTest)
    return test


def score_of(pair: LayerPair, measure: str) -> Score:
    """The score of a measure that has one."""
    score = pair.measures[measure]
    assert isinstance(score, Score)
    return score


def test_a_null_with_a_draw_that_has_no_score_gives_a_reason_and_no_number():
    assert null_test(0.5, np.array([0.1, np.nan, np.nan])) == Reason(reason="2 of 3 draws have no score")
    assert null_test(math.nan, np.array([0.1, 0.2])) == Reason(reason="the score is undefined")


def test_study_is_match_then_score_then_nulls(tmp_path: Path):
    settings = WORLD.settings()
    studied = study(settings, tmp_path, WORLD.a, WORLD.b)
    pair, pairs = studied.pair, match_sides(WORLD.a, WORLD.b, settings.match)
    assert pair.pairs == len(pairs) > 15
    assert pair.mean_r == pytest.approx(pairs.r.mean())
    assert [step.after for step in pair.filters] == [count.after for count in pairs.counts]
    assert (pair.layer_a, pair.layer_b) == (1, 2)
    counts = WORLD.b.active_counts()[pairs.b]
    for place, measure in enumerate(settings.measures):
        prepared = prepare_pairs(measure, WORLD.a, WORLD.b, pairs.a, pairs.b)
        nulls = pairing_nulls(prepared, counts, Stopping(19), 5, 3)
        found = score_of(pair, measure.name)
        assert found.score == prepared.score
        assert set(found.nulls) == {"shuffle", "frequency"}
        for name, null in nulls.items():
            assert (studied.draws(name, place) == null).all()
            assert found.nulls[name] == null_test(prepared.score, null)
    assert pair.rematch is None
    assert "rematch" not in plain(pair)


def test_study_with_rematch_adds_that_null_and_changes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.task_names, "CHUNK", 4)
    without = study(WORLD.settings(), tmp_path / "0", WORLD.a, WORLD.b)
    settings = WORLD.settings(n_rematch=10)
    studied = study(settings, tmp_path / "1", WORLD.a, WORLD.b)
    pair = studied.pair
    passed, ranked, _ = rematch(WORLD.a, WORLD.b, settings.match, WORLD.starts, 5, range(10))
    observed = ranked_pairs(best_matches(WORLD.a.acts, WORLD.b.acts), WORLD.a, WORLD.b, settings.match)
    n = min(pair.pairs, len(observed[0]), *(len(pairs[0]) for pairs in ranked))
    scores = np.stack([score_strongest(settings.measures, WORLD.a, WORLD.b, pairs, n) for pairs in ranked])
    strongest = score_strongest(settings.measures, WORLD.a, WORLD.b, observed, n)
    least = sum(int(p) >= pair.pairs for p in passed)
    assert pair.rematch == RematchCounts(
        pairs_mean=passed.mean(), pairs_max=passed.max(), pairs_p=(least + 1) / 11, scored_pairs=n
    )
    measures = dict(pair.measures)
    for place, measure in enumerate(settings.measures):
        assert (studied.draws("rematch", place) == scores[:, place]).all()
        found = score_of(pair, measure.name)
        assert found.strongest_pairs_score == strongest[place]
        assert found.nulls["rematch"] == null_test(float(strongest[place]), scores[:, place])
        others = {null: test for null, test in found.nulls.items() if null != "rematch"}
        measures[measure.name] = replace(found, strongest_pairs_score=None, nulls=others)
    alone = replace(studied.observed, matched_again={})
    assert as_json(Studied(alone, replace(pair, measures=measures, rematch=None))) == as_json(without)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 6, 8])
def test_an_interrupted_study_ends_in_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
):
    monkeypatch.setattr(semconv.study.task_names, "CHUNK", 4)
    whole = study(WORLD.settings(n_rematch=10), tmp_path / "whole", WORLD.a, WORLD.b)
    ended: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        ended.append(stage)
        if len(ended) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(WORLD.settings(n_rematch=10), tmp_path / "cut", WORLD.a, WORLD.b, stop)
    # The pair and both sides with themselves, three chunks of matches, their three scores and those of the true text.
    kept = len(list((tmp_path / "cut").iterdir()))
    assert stop_after <= kept <= 10
    # Tasks that run beside the one that stops still end; none of the next stage begins.
    stages = [*["compare"] * 3, *["rematch"] * 3, *["rematch scores"] * 4]
    assert ended == stages[: len(ended)]
    assert set(ended) == set(stages[:stop_after])

    def refuse(*_: object) -> None:
        raise AssertionError("a finished task was done again")

    if stop_after > 3:
        monkeypatch.setattr(semconv.study.observe, "observe_pair", refuse)
    again = study(WORLD.settings(n_rematch=10), tmp_path / "cut", WORLD.a, WORLD.b)
    assert as_json(again) == as_json(whole)


def test_the_progress_of_every_stage_ends_at_the_length_of_its_list(tmp_path: Path):
    for match, n_rematch, chunks in (({}, 45, 3), ({"min_pairs": 40}, 45, 0), ({}, 0, 0)):
        told: dict[str, list[tuple[int, int]]] = {}
        settings = WORLD.settings(match=match, n_rematch=n_rematch)
        progress: Progress = lambda stage, *of, told=told: told.setdefault(stage, []).append(of)  # noqa: E731
        study(settings, tmp_path / f"{len(match)}{n_rematch}", WORLD.a, WORLD.b, progress)
        wanted = {"compare": 3, **({"rematch": chunks, "rematch scores": chunks + 1} if chunks else {})}
        assert told == {stage: [(i + 1, n) for i in range(n)] for stage, n in wanted.items()}


def changed_tokens(world: World) -> World:
    texts = tuple(f"other {text}" for text in world.a.tokens.texts)
    return replace(
        world,
        a=replace(world.a, tokens=replace(world.a.tokens, texts=texts)),
        b=replace(world.b, tokens=replace(world.b.tokens, texts=texts)),
    )


CHANGES: dict[str, Callable[[World], tuple[World, StudySettings]]] = {
    "store": lambda w: (replace(w, a=replace(w.a, store_sha256="x")), w.settings()),
    "decoder": lambda w: (replace(w, b=replace(w.b, decoder=2 * w.b.decoder)), w.settings()),
    "top tokens": lambda w: (changed_tokens(w), w.settings()),
    "documents": lambda w: (w, replace(w.settings(), starts=w.starts[::2])),
    "measures": lambda w: (w, w.settings(("rsa",))),
    "filters": lambda w: (w, w.settings(match={"min_r": 0.2})),
    "seed": lambda w: (w, w.settings(seed=6)),
    "permutations": lambda w: (w, w.settings(n_permutations=20)),
    "strata": lambda w: (w, w.settings(n_strata=4)),
}
KINDS = ("observe_pair", "self_match", "rematch_chunk", "strongest_scores", "resamples")


def done_by(world: World, settings: StudySettings, folder: Path) -> Counter[str]:
    """Does every kind of task and returns how many of each kind were not kept already."""
    done = Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        for name in KINDS:
            real = getattr(semconv.study.observe, name)

            def noted(*arguments: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
                done[name] += 1
                return real(*arguments)

            patch.setattr(semconv.study.observe, name, noted)
        study(settings, folder, world.a, world.b)
    return done


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_kept_task_is_not_used_for_other_inputs(what: str, tmp_path: Path):
    every = dict(zip(KINDS, (1, 2, 1, 2, 1), strict=True))
    first = WORLD.settings(n_rematch=2, n_bootstrap=1)
    assert done_by(WORLD, first, tmp_path) == every
    assert done_by(WORLD, first, tmp_path) == {}
    world, settings = CHANGES[what](WORLD)
    settings = replace(settings, null=replace(settings.null, n_rematch=2, n_bootstrap=1))
    # One side alone may be what it was.
    expected = {**every, "self_match": 1} if what in ("store", "decoder") else every
    assert done_by(world, settings, tmp_path) == expected
    assert done_by(world, settings, tmp_path) == {}


def test_more_shifts_and_resamples_leave_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.task_names, "CHUNK", 4)
    done_by(WORLD, WORLD.settings(n_rematch=8), tmp_path)
    more = done_by(WORLD, WORLD.settings(n_rematch=12, n_bootstrap=9), tmp_path)
    assert (more["observe_pair"], more["rematch_chunk"], more["resamples"]) == (0, 1, 3)  # the third chunk
    last = done_by(WORLD, WORLD.settings(n_rematch=10), tmp_path)
    assert (last["observe_pair"], last["rematch_chunk"]) == (0, 1)  # a last chunk of two


def test_too_few_pairs_give_a_reason_and_never_a_number(tmp_path: Path):
    studied = study(WORLD.settings(match={"min_pairs": 25}, n_rematch=5), tmp_path, WORLD.a, WORLD.b)
    assert studied.pair.pairs == 24
    reason = Reason(reason="24 pairs, at least 25 are needed")
    assert studied.pair.measures == {"svcca_pc1": reason, "rsa": reason}
    assert np.isnan(studied.observed.pair.draws).all()
    assert studied.pair.rematch is None
    pair = study(WORLD.settings(match={"min_pairs": 24}, n_rematch=5), tmp_path, WORLD.a, WORLD.b).pair
    assert score_of(pair, "rsa").score > 0  # just enough
    assert pair.rematch is not None
    pair = study(WORLD.settings(match={"min_r": 0.99}), tmp_path, WORLD.a, WORLD.b).pair
    assert pair.pairs == 0
    assert pair.mean_r is None
    json.dumps(plain(pair), allow_nan=False)


def test_a_measure_that_refuses_or_has_no_score_gives_a_reason_beside_the_others(tmp_path: Path):
    fine = ByNumber(0.5, lambda m: np.zeros(m))
    silent = ByNumber(math.nan, lambda m: np.zeros(m), "silent")
    gaps = ByNumber(0.5, lambda m: np.full(m, np.nan), "gaps")
    settings = WORLD.settings(measures=(fine, silent, gaps, MutualKNN(24)))
    pair = study(settings, tmp_path, WORLD.a, WORLD.b).pair
    test, refused = score_of(pair, "told").nulls["shuffle"], pair.measures["mutual_knn"]
    assert isinstance(test, NullTest)
    assert test.p == 1 / 20
    assert pair.measures["silent"] == Reason(reason="the score is undefined")
    assert score_of(pair, "gaps").score == 0.5
    assert score_of(pair, "gaps").nulls["shuffle"] == Reason(reason="19 of 19 draws have no score")
    assert isinstance(refused, Reason)
    assert "more pairs than k = 24" in refused.reason
    json.dumps(plain(pair), allow_nan=False)


def test_a_suite_may_draw_both_nulls_that_match_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.task_names, "CHUNK", 4)
    alone = study(WORLD.settings(n_rematch=5), tmp_path / "0", WORLD.a, WORLD.b)
    settings = WORLD.settings(n_rematch=5, n_same_token=6)
    studied = study(settings, tmp_path / "1", WORLD.a, WORLD.b)
    draws = settings.swaps["same_token"].draws(5, range(6))
    passed, ranked, _ = swapped(WORLD.a, WORLD.b, settings.match, draws)
    counts, n = studied.pair.same_token, studied.observed.matched_again["same_token"].n
    assert counts == RematchCounts(
        pairs_mean=passed.mean(),
        pairs_max=int(passed.max()),
        pairs_p=(sum(int(p) >= studied.pair.pairs for p in passed) + 1) / 7,
        scored_pairs=n,
        moved_mean=float(np.mean([(draw != np.arange(len(draw))).sum() for draw in draws])),
    )
    scores = np.stack([score_strongest(settings.measures, WORLD.a, WORLD.b, pairs, n) for pairs in ranked])
    assert (studied.observed.draws()["same_token"] == scores.T).all()
    assert studied.pair.rematch == alone.pair.rematch
    for name, before in alone.pair.measures.items():
        after = score_of(studied.pair, name)
        assert isinstance(before, Score)
        assert {null: test for null, test in after.nulls.items() if null != "same_token"} == before.nulls
        assert list(after.nulls) == ["shuffle", "frequency", "rematch", "same_token"]
    assert score_of(studied.pair, "rsa").nulls["same_token"].p > 0.1  # WORLD's features fire on tokens


def test_a_strongest_score_of_exactly_0_is_tested_as_it_is(tmp_path: Path):
    """Not taken for one that is missing, in whose place another would be tested."""
    counts = {"pairs": 0}

    class Halved(ByNumber):
        def score(self, x: np.ndarray, y: np.ndarray) -> float:
            counts["pairs"] += 1
            return 0.5 if counts["pairs"] == 1 else 0.0

    settings = WORLD.settings(measures=(Halved(0.5, lambda m: np.zeros(m)),), n_rematch=2)
    studied = study(settings, tmp_path, WORLD.a, WORLD.b)
    assert studied.observed.matched_again["rematch"].strongest.tolist() == [0.0]
    test = score_of(studied.pair, "told").nulls["rematch"]
    assert isinstance(test, NullTest)
    assert test.score == 0.0


def test_r_on_the_other_half_equals_dense_numpy(tmp_path: Path):
    settings = WORLD.settings(match={"separate_halves": True})
    pair = study(settings, tmp_path, WORLD.a, WORLD.b).pair
    first, second = halves(WORLD.starts, WORLD.a.acts.n_tokens, 5)
    pairs = match_sides(WORLD.a.at(first), WORLD.b.at(first), settings.match)
    x, y = (side.acts.to_dense().double().numpy()[second] for side in (WORLD.a, WORLD.b))
    r = np.array([np.corrcoef(x[:, i], y[:, j])[0, 1] for i, j in zip(pairs.a, pairs.b, strict=True)])
    assert np.abs(r - 0.1).min() > 1e-3  # so that 16-bit codes cannot move a pair across the bar
    assert pair.pairs == (r > 0.1).sum()
    assert pair.mean_r == pytest.approx(r[r > 0.1].mean(), abs=1e-4)
    step = "r > 0.1 on the other half"
    assert pair.filters[-1] == FilterStep(step=step, before=len(pairs), after=int((r > 0.1).sum()))


def test_split_half_by_hand(tmp_path: Path):
    split = study(WORLD.settings(), tmp_path, WORLD.a, WORLD.b).pair.split_half
    found = []
    for part in halves(WORLD.starts, WORLD.a.acts.n_tokens, 5):
        found.append(best_matches(WORLD.a.acts.tokens(part), WORLD.b.acts.tokens(part)).b_to_a)
    one, other = (m.index[:, 0].numpy() for m in found)
    r = [m.r[one == other, 0].numpy() for m in found]
    assert split.features == len(one)
    assert split.same_partner == (one == other).mean()
    assert split.r_reliability == pytest.approx(np.corrcoef(*r)[0, 1])


def test_a_split_half_without_features_claims_nothing():
    nothing = replace(WORLD.a, acts=WORLD.a.acts.tokens(torch.zeros(730, dtype=torch.int64)))  # one token over again
    facts = observe_pair(WORLD.settings(), nothing, WORLD.b).facts
    assert facts.split_half == SplitHalf(features=0, same_partner=None, r_reliability=None)
    assert facts.undefined_a == 30


def test_a_resample_is_the_protocol_on_the_drawn_documents():
    settings = WORLD.settings(match={"min_r": 0.55})  # so that resamples leave different pairs
    found = resamples(settings, WORLD.a, WORLD.b, range(3, 5))
    for i, number in enumerate((3, 4)):
        drawn = bootstrap_positions(WORLD.starts, WORLD.a.acts.n_tokens, 5, number)
        x, y = WORLD.a.at(drawn), WORLD.b.at(drawn)
        pairs = match_sides(x, y, settings.match)
        assert found.counts[i] == len(pairs)
        assert (found.scores[i] == scores_of(settings.measures, x, y, pairs.a, pairs.b)).all()
    assert found.scores.shape == (2, 2)
    assert not (found.scores[0] == found.scores[1]).all()


def test_a_resample_with_too_few_pairs_has_no_score():
    found = resamples(WORLD.settings(match={"min_r": 0.99}), WORLD.a, WORLD.b, range(1))
    assert found.counts.tolist() == [0]
    assert np.isnan(found.scores).all()


def test_every_setting_that_draws_is_an_input():
    # What is not drawn per task (numbers of shifts and resamples) may change without doing a task again, and a tail is
    # fitted to draws that are there.
    drawn = {"n_permutations", "n_strata", "seed", "draws", "stop_after", "stop_from"}
    inputs = json.dumps(WORLD.settings(seed=77).inputs(WORLD.a, WORLD.b))
    for name in NullConfig.__dataclass_fields__:
        assert (f'"{name}"' in inputs) == (name in drawn)
    assert TopTokens.of_sides([[["x"]]], ())[0].sha256 != TopTokens.of_sides([[["y"]]], ())[0].sha256
