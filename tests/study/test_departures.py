"""The published protocol turned into the corrected one: every switch changes what it says and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import semconv.study.published_protocol
from semconv import best_matches
from semconv.compare import RSA, SVCCA
from semconv.compare.measure import Measure
from semconv.statistics.permutation import calibrated_score, permutation_ids
from semconv.study.published_protocol import (
    PUBLISHED_SHUFFLES,
    STEPS,
    Departures,
    PublishedSides,
    observe_step,
    published_p,
    step_label,
    variants,
)
from semconv.study.settings import StudySettings
from semconv.study.sides import match_sides
from semconv.study.tell import tell_step
from semconv.suite.config import CompareConfig, MatchConfig
from semconv.system.shape import plain
from semconv.text.top_tokens import TopTokens
from tests._helpers.worlds import ByNumber, World, make_world

STOPS = ("w3", "w8")
COMPARE = CompareConfig(svcca_threshold=0.9)


def with_stops(world: World) -> World:
    """The same world with the first top token of every feature alone, so that both concept filters drop some pairs."""
    a, b = ([[side.tokens.texts[row[0]]] for row in side.tokens.numbers] for side in (world.a, world.b))
    one, other = TopTokens.of_sides([a, b], STOPS)
    return replace(world, a=replace(world.a, tokens=one), b=replace(world.b, tokens=other))


def settings_of(**match: Any) -> StudySettings:
    return WORLD.settings(match={"stop_tokens": STOPS, **match}, n_permutations=49)


WORLD = with_stops(make_world())
SHIFTED, EVERYWHERE = with_stops(make_world(1)), with_stops(make_world(2))


SIDES = PublishedSides((SHIFTED.a, SHIFTED.b), (EVERYWHERE.a, EVERYWHERE.b), (WORLD.a, WORLD.b))
SAME = PublishedSides(*[(WORLD.a, WORLD.b)] * 3)


def test_every_departure_has_one_step_in_the_order_of_the_table():
    assert list(STEPS) == [field.name for field in fields(Departures)]
    assert all(getattr(Departures(), name) for name in STEPS)


def step_by_step(settings: StudySettings, compare: CompareConfig, sides: PublishedSides) -> list[dict[str, Any]]:
    steps = [
        observe_step(settings, compare, name, *(side.read() for side in sides.of(departures)))
        for name, departures in variants().items()
    ]
    return [
        plain(tell_step(step, departures, step_label(name, compare), settings.null))
        for step, (name, departures) in zip(steps, variants().items(), strict=True)
    ]


def by_hand(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return rows[1 + list(STEPS).index(name)]


def test_steps_follow_each_other_from_as_published_to_the_protocol_of_the_grid():
    settings = settings_of()
    rows = step_by_step(settings, COMPARE, SIDES)
    assert [row["step"] for row in rows] == ["as published", *list(STEPS.values())[:-1], "SVCCA on 90% of the variance"]
    pairs, last = match_sides(WORLD.a, WORLD.b, settings.match), rows[-1]
    X, Y = WORLD.a.decoder[pairs.a], WORLD.b.decoder[pairs.b]
    assert last["pairs"] == len(pairs)
    ids = permutation_ids(len(pairs), 49, settings.null.seed)
    for column, measure in (("svcca", SVCCA("variance", threshold=0.9)), ("rsa", RSA())):
        score = measure.score(measure.prepare(X), measure.prepare(Y))
        null = np.array([measure.score(measure.prepare(X), measure.prepare(Y[p])) for p in ids])
        assert last[column]["score"] == pytest.approx(score, abs=1e-12)
        assert last[column]["null_mean"] == pytest.approx(null.mean(), abs=1e-10)
        assert last[column]["p"] == ((null >= score - 1e-12).sum() + 1) / 50
        assert last[column]["calibrated"] == pytest.approx(calibrated_score(score, null), abs=1e-9)


def test_as_published_by_hand():
    row = step_by_step(settings_of(), COMPARE, SIDES)[0]
    found = best_matches(SHIFTED.a.acts, SHIFTED.b.acts).b_to_a
    best, r = found.index[:, 0].numpy(), found.r[:, 0].numpy()
    n = SHIFTED.a.acts.n_tokens
    kept = [int(np.flatnonzero((best == a) & (r == r[best == a].max()))[0]) for a in np.unique(best)]
    b = np.array(sorted(j for j in kept if r[j] * (n - 1) / n > 0.1))
    assert row["pairs"] == len(b)
    X, Y = SHIFTED.a.decoder[best[b]], SHIFTED.b.decoder[b]
    ids = permutation_ids(len(b), PUBLISHED_SHUFFLES, 5)
    for column, measure in (("svcca", SVCCA("pc1")), ("rsa", RSA())):
        score = measure.score(measure.prepare(X), measure.prepare(Y))
        null = [measure.score(measure.prepare(X), measure.prepare(Y[p])) for p in ids]
        assert row[column]["score"] == pytest.approx(score, abs=1e-12)
        assert row[column]["p"] == np.mean([value >= score for value in null])
        assert "calibrated" not in row[column]


def test_sides_are_those_that_the_departures_say():
    assert list(variants()) == ["as_published", *STEPS]
    found = [SIDES.of(departures) for departures in variants().values()]
    assert found == [SIDES.shifted, SIDES.everywhere, *[SIDES.corrected] * 6]


def test_what_each_switch_leaves_alone():
    rows = step_by_step(settings_of(), COMPARE, SAME)
    published, after = rows[0], lambda name: {k: v for k, v in by_hand(rows, name).items() if k != "step"}
    plain = {k: v for k, v in published.items() if k != "step"}
    assert after("layer_shift") == after("all_positions") == plain  # the sides being the same, nothing changes
    assert after("shrunk_r") == plain  # no r lies between the two bars
    assert after("no_concept_filters")["pairs"] < plain["pairs"]
    filters, few, one = after("no_concept_filters"), after("few_shuffles"), after("one_component")
    assert few["pairs"] == one["pairs"] == filters["pairs"]
    assert after("few_positions") == filters  # these settings do not ask
    for column in ("svcca", "rsa"):
        assert few[column]["score"] == filters[column]["score"]
        assert few[column]["null_mean"] != filters[column]["null_mean"]
    assert one["rsa"] == few["rsa"]
    assert one["svcca"]["score"] != few["svcca"]["score"]


def test_the_concept_filters_drop_exactly_the_pairs_they_name():
    settings = settings_of(one_to_one=False)
    rows = step_by_step(settings, COMPARE, SAME)
    bare = MatchConfig(need_shared_token=False, one_to_one=False, min_r=0.1, min_pairs=8)
    free = WORLD.a.tokens.without_stops(), WORLD.b.tokens.without_stops()
    every = match_sides(replace(WORLD.a, tokens=free[0]), replace(WORLD.b, tokens=free[1]), bare)
    texts = [
        [{side.tokens.texts[i] for i in row if i >= 0} for row in side.tokens.numbers] for side in (WORLD.a, WORLD.b)
    ]
    kept = [
        bool(texts[0][a] & texts[1][b]) and not (texts[0][a] | texts[1][b]) & set(STOPS)
        for a, b in zip(every.a, every.b, strict=True)
    ]
    stopped = [bool((texts[0][a] | texts[1][b]) & set(STOPS)) for a, b in zip(every.a, every.b, strict=True)]
    assert 0 < sum(stopped) < len(kept) - sum(kept)  # either filter drops some that the other does not
    assert by_hand(rows, "shrunk_r")["pairs"] == len(kept)
    assert by_hand(rows, "no_concept_filters")["pairs"] == sum(kept) < len(kept)


def test_pairs_that_rest_on_few_positions_are_left_out_by_a_step_of_its_own():
    settings = settings_of(without_strongest=40)
    rows = step_by_step(settings, COMPARE, SAME)
    corrected = len(match_sides(WORLD.a, WORLD.b, settings.match))
    loose = len(match_sides(WORLD.a, WORLD.b, replace(settings.match, without_strongest=0)))
    assert by_hand(rows, "no_concept_filters")["pairs"] == loose > corrected
    assert by_hand(rows, "few_positions")["pairs"] == rows[-1]["pairs"] == corrected


def test_a_shrunk_r_moves_the_bar_only():
    n = WORLD.a.acts.n_tokens
    loose = MatchConfig(need_shared_token=False, min_r=-1.0)
    bare = [replace(side, tokens=side.tokens.without_stops()) for side in (WORLD.a, WORLD.b)]
    r = np.sort(match_sides(*bare, loose).r)
    bar = float(r[3] * (1 - 0.5 / n))  # the published r of this pair is below the bar, Pearson's above
    between = ((r > bar) & (r * (n - 1) / n <= bar)).sum()
    rows = step_by_step(settings_of(min_r=bar), COMPARE, SAME)
    assert between >= 1
    assert by_hand(rows, "all_positions")["pairs"] == (r > bar).sum() - between
    assert by_hand(rows, "shrunk_r")["pairs"] == (r > bar).sum()
    assert rows[0]["pairs"] == by_hand(rows, "all_positions")["pairs"]


def test_published_p_can_be_0_and_counts_ties():
    assert published_p(0.9, np.array([0.1, 0.5])) == 0.0
    assert published_p(0.5, np.array([0.1, 0.5])) == 0.5


def told(monkeypatch: pytest.MonkeyPatch, score: float, null: Callable[[int], np.ndarray]) -> None:
    def make(names: tuple[str, ...], threshold: float) -> list[Measure[Any]]:
        return [ByNumber(score, null, name) for name in names]

    monkeypatch.setattr(semconv.study.published_protocol, "make_measures", make)


def test_ten_shuffles_without_plus_one_print_a_p_of_0(monkeypatch: pytest.MonkeyPatch):
    drawn: list[int] = []
    told(monkeypatch, 0.5, lambda m: drawn.append(m) or np.zeros(m))
    rows = step_by_step(settings_of(), COMPARE, SAME)
    assert rows[0]["rsa"]["p"] == 0.0
    assert by_hand(rows, "no_concept_filters")["rsa"]["p"] == 0.0
    assert by_hand(rows, "few_shuffles")["rsa"]["p"] == 1 / 50
    assert drawn == [10] * 12 + [49] * 4


@pytest.mark.parametrize(
    ("score", "null", "reason"),
    [(math.nan, 0.0, "the score is undefined"), (0.5, math.nan, "of 10 draws have no score")],
)
def test_no_score_is_a_reason(monkeypatch: pytest.MonkeyPatch, score: float, null: float, reason: str):
    told(monkeypatch, score, lambda m: np.full(m, null))
    for column in ("svcca", "rsa"):
        cell = step_by_step(settings_of(), COMPARE, SAME)[0][column]
        assert list(cell) == ["reason"]
        assert reason in cell["reason"]


def test_fewer_pairs_than_min_pairs_are_a_reason_in_the_steps_too():
    rows = step_by_step(settings_of(min_pairs=20), COMPARE, SAME)
    assert rows[0]["pairs"] >= 20
    assert rows[0]["rsa"]["score"] > 0
    last = rows[-1]
    assert 0 < last["pairs"] < 20
    assert last["rsa"] == last["svcca"] == {"reason": f"{last['pairs']} pairs, at least 20 are needed"}
