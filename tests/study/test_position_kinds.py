"""Kinds of positions: which are ablated where, and what is told of them; models are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv.matching.hard_negatives import most_co_active
from semconv.matching.joint_positions import JointPositions, joint_positions
from semconv.results.schema import PositionDifference, PositionKinds, Reason
from semconv.statistics.clusters import clustered_error
from semconv.statistics.resampling import halves
from semconv.study.check_position_kinds import check_position_kinds
from semconv.study.effects_of_pairs import AblatedPairs
from semconv.study.position_kinds import DOCUMENTS, AblatedPositions, KindsOfPositions
from semconv.study.position_observations import BESIDE, KINDS, PositionKindsFacts, PositionKindsObservation
from semconv.study.task_names import compared_position_kinds
from semconv.study.tell_position_kinds import tell_position_kinds
from semconv.suite.config import FunctionConfig, PositionKindsConfig, load_suite
from semconv.system.errors import InputError
from tests._helpers.worlds import make_world
from tests.study.test_function import ablated

WORLD = make_world(3)
IDS = WORLD.blocks.ids[WORLD.blocks.mask].numpy()
N, POSITIONS = len(IDS), 3
UNIFORM, STRONGEST, ELSEWHERE, HERE = range(4)


class ByPosition:
    """Models whose effects agree by a number that follows from where either feature is ablated; some have none."""

    def effects(self, networks: Any, places: Any, sides: Any, pairs: Any, at: Any, alternates: Any, **of: Any) -> Any:
        self.at, self.alternates, self.random = at, alternates, of["random"]
        every = torch.from_numpy(agreement(at.token, of["tokens_a"]))
        return type("Sums", (), {"r": every[:, [0, 2, 3, 4]], "r_others": every[:, 1]})()


def agreement(token: np.ndarray, token_a: np.ndarray) -> np.ndarray:
    """With each of `BESIDE`, [..., 5]."""
    token, token_a, beside = np.asarray(token)[..., None], np.asarray(token_a)[..., None], np.arange(len(BESIDE))
    value = np.sin(1.7 * token + beside) / 2 + np.cos(0.3 * token_a) / 2
    return np.where((token + token_a + beside) % 13 == 0, np.nan, value)


def run(n_positions: int = POSITIONS, **how: Any) -> tuple[PositionKindsObservation, ByPosition]:
    models = ByPosition()
    one: AblatedPairs = replace(ablated(models=models), n_positions=n_positions, settings=WORLD.settings(), **how)
    return AblatedPositions(one).observe(WORLD.a, None, None, WORLD.b), models


def suite_with(**kinds: Any) -> Any:
    config = PositionKindsConfig(**{"positions": POSITIONS} | kinds)
    return replace(load_suite("mini"), function=FunctionConfig(position_kinds=config))


def test_every_number_is_the_mean_over_the_positions_that_plain_loops_find():
    """Uniform and strongest ones by the library; the token elsewhere by hand among four times as many."""
    found, models = run()
    settings = WORLD.settings()
    documents = settings.documents(N)
    held_out = halves(WORLD.starts, N, settings.null.seed)[1].numpy()
    how = {"contexts": WORLD.blocks.mask.nonzero()[:, 0].numpy(), "fewest": DOCUMENTS * POSITIONS, "seed": 5}
    acts, pairs = (WORLD.a.acts, WORLD.b.acts), (found.a, found.b)
    drawn, searched = (
        joint_positions(acts, pairs, documents, held_out, n_uniform=n, n_strongest=POSITIONS, **how)
        for n in (POSITIONS, 4 * POSITIONS)
    )
    wide, again = searched.kind(False), 0
    assert drawn.n_without < len(found.a)
    for pair in range(len(found.a)):
        uniform, strongest = (one.token[one.pair == pair] for one in (drawn.kind(False), drawn.kind(True)))
        values = [list[Any]() for _ in KINDS]
        values[UNIFORM], values[STRONGEST] = (list(agreement(t, t)) for t in (uniform, strongest))
        for token in uniform.tolist():
            same = [int(t) for t in wide.token[wide.pair == pair] if IDS[t] == IDS[token]]
            other = ([t for t in same if t > token] or same)[0]
            if other == token:
                continue
            assert documents[other] != documents[token]
            one, there = agreement(token, token), agreement(token, other)
            if np.isfinite(one[0]) and np.isfinite(there[0]):
                values[HERE].append(one)
                values[ELSEWHERE].append(there)
                again += 1
        for kind in range(len(KINDS)):
            known = [value for value in values[kind] if np.isfinite(value[0])]
            assert found.positions[pair, kind] == len(known)
            for beside in range(len(BESIDE)):
                some = [value[beside] for value in known if np.isfinite(value[beside])]
                np.testing.assert_allclose(found.residual[pair, kind, beside], np.mean(some) if some else np.nan)
    assert again > 10
    assert not models.random
    co_active = most_co_active(WORLD.b.acts, drawn.kind(False), found.b)
    assert models.alternates[:, 2].tolist() == co_active.tolist()
    assert not (np.diff(models.at.pair) < 0).any()
    assert found.documents.tolist() == drawn.documents.tolist()
    check_position_kinds(suite_with(), found, "x")


def test_a_token_is_looked_for_among_more_positions_than_are_ablated():
    """Of pair 1 the drawn position 4 has its token again at 9 alone, which was not drawn; 6 of pair 0 is no match."""
    none = ("", "")

    def at(pair: list[int], token: list[int]) -> JointPositions:
        return JointPositions(np.array(pair), np.array(token), np.zeros(len(pair), bool), np.array([4, 4]), none)

    ids = np.array([0, 1, 2, 3, 4, 5, 4, 7, 8, 4])
    found = KindsOfPositions.of(at([0, 1, 1], [6, 2, 4]), at([0, 1, 1, 1], [6, 2, 4, 9]), ids)
    assert found.at.pair.tolist() == [0, 1, 1, 1]
    assert found.at.token.tolist() == [6, 2, 4, 4]
    assert found.tokens_a.tolist() == [6, 2, 4, 9]
    assert found.kind.tolist() == [UNIFORM, UNIFORM, UNIFORM, ELSEWHERE]
    assert found.again.tolist() == [-1, -1, -1, 2]
    assert found.uniform.token.tolist() == [6, 2, 4]
    counts, mean = found.by_pair(np.array([[0.1, 1], [0.2, np.nan], [0.4, 3], [0.3, 4]]))
    assert counts.tolist() == [[1, 0, 0, 0], [2, 0, 1, 1]]
    np.testing.assert_allclose(mean[:, :, 0], [[0.1, np.nan, np.nan, np.nan], [0.3, np.nan, 0.3, 0.4]])
    np.testing.assert_allclose(mean[:, :, 1], [[1, np.nan, np.nan, np.nan], [3, np.nan, 4, 3]])


def test_what_is_told_is_what_was_observed():
    found = run()[0]
    told = tell_position_kinds(found, POSITIONS, seed=2)
    assert isinstance(told, PositionKinds)
    assert list(told.kinds) == list(KINDS)
    assert (told.pairs, told.positions) == (len(found.a), POSITIONS)
    assert told.too_few == sum(n < DOCUMENTS * POSITIONS for n in found.documents.tolist())
    for place, name in enumerate(KINDS):
        value = found.residual[:, place, 0]
        known = np.isfinite(value)
        one = told.kinds[name]
        negatives = np.where(np.isfinite(found.residual[:, place, 1:]), found.residual[:, place, 1:], -2).max(axis=1)
        both = known & (negatives > -2)
        assert one.beyond == pytest.approx((value - negatives)[both].mean())
        assert one.beyond_error == clustered_error((value - negatives)[both], found.token[both])
        assert (one.pairs, one.positions) == (known.sum(), found.positions[:, place].sum())
        assert one.agreement == pytest.approx(value[known].mean())
        assert one.error == clustered_error(value[known], found.token[known])
    for test, more, less in (
        (told.strongest_less_uniform, STRONGEST, UNIFORM),
        (told.here_less_elsewhere, HERE, ELSEWHERE),
    ):
        value = found.residual[:, more, 0] - found.residual[:, less, 0]
        known = np.isfinite(value)
        assert isinstance(test, PositionDifference)
        assert test.difference == pytest.approx(value[known].mean())
        assert test.error == clustered_error(value[known], found.token[known])
        assert test.pairs == known.sum()
        assert test.higher == pytest.approx((value[known] > 0).mean())


@pytest.mark.parametrize("sign", [1, -1])
def test_p_is_the_same_for_a_difference_and_its_opposite(sign: int):
    """Seven pairs of seven tokens: of all 128 flips few are as far from zero, on either side."""
    rng = np.random.default_rng(0)
    more = sign * rng.normal(0.2, 0.1, 7)
    residual = np.full((7, len(KINDS), len(BESIDE)), np.nan)
    residual[:, UNIFORM, 0], residual[:, STRONGEST, 0] = 0, more
    whole = np.arange(7)
    found = PositionKindsObservation(
        PositionKindsFacts(matched=7), whole, whole, np.zeros(7), whole, whole, np.zeros((7, 4), np.int64), residual
    )
    told = tell_position_kinds(found, 3, 0)
    assert isinstance(told, PositionKinds)
    assert isinstance(told.strongest_less_uniform, PositionDifference)
    signs = 1 - 2 * ((np.arange(128)[:, None] >> np.arange(7)) & 1)
    exact = (np.abs(signs @ more) >= abs(more.sum()) - 1e-12).mean()
    assert told.strongest_less_uniform.p == pytest.approx(exact, abs=0.01)
    assert told.here_less_elsewhere == Reason(reason="no feature pair has two positions of one token")


def test_kinds_are_compared_at_the_middle_layer_pair_or_at_all_of_matching_depth():
    assert compared_position_kinds(suite_with()) == ["2x4"]
    assert compared_position_kinds(suite_with(layers="diagonal")) == ["0x0", "1x2", "2x4", "3x6"]
    assert compared_position_kinds(replace(load_suite("mini"), function=FunctionConfig())) == []


def test_why_nothing_is_ablated_is_said(monkeypatch: pytest.MonkeyPatch):
    found = run(n_positions=250)[0]
    assert found.facts.reason == "no feature pair fires together in 500 held-out documents"
    assert found.facts.matched > 0

    def refused(*_: Any, **__: Any) -> Any:
        raise InputError("a model without a head")

    monkeypatch.setattr(ByPosition, "effects", refused)
    found = run()[0]
    check_position_kinds(suite_with(), found, "x")
    assert tell_position_kinds(found, POSITIONS, 0) == Reason(reason="a model without a head")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": lambda f: 3 + f.residual}, "correlations of x must be between -1 and 1"),
        ({"r": lambda f: 3 + f.r}, "correlations of x must be between -1 and 1"),
        ({"positions": lambda f: f.positions + 99}, "positions of x must be from 0 to 3"),
        ({"positions": lambda f: 0 * f.positions}, "an agreement just where they have positions"),
        ({"positions": lambda f: f.positions[:, :2]}, r"pairs of x: \[12, 4\] expected, got \[12, 2\]"),
        ({"b": lambda f: f.b[:2]}, r"pairs of x: \[12\] expected, got \[2\]"),
        ({"positions": lambda f: np.where(f.positions > 0, [3, 3, 1, 2], 0)}, "some of those drawn, here and there"),
        ({"facts": lambda f: replace(f.facts, matched=3)}, "some of the 3 pairs that were matched, got 12"),
        ({"facts": lambda f: replace(f.facts, reason="none")}, "must be of 1 to 100 pairs, or have a reason, got 12"),
    ],
)
def test_pairs_that_no_run_of_the_suite_ablates_are_refused(change: dict[str, Any], message: str):
    found, suite = run()[0], suite_with()
    check_position_kinds(suite, found, "x")
    with pytest.raises(InputError, match=message):
        check_position_kinds(suite, replace(found, **{name: make(found) for name, make in change.items()}), "x")
