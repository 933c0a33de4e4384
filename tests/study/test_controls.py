"""Self-match: 1 wherever it is defined, and nothing where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from semconv import SparseActivations
from semconv.compare import MEASURES
from semconv.results.schema import SelfMatch
from semconv.study import controls
from semconv.study.settings import StudySettings
from semconv.study.sides import Side
from tests._helpers.worlds import ByNumber, make_world, random_side

WORLD = make_world()


def self_match(settings: StudySettings, side: Side) -> SelfMatch:
    return controls.self_match(settings, side).facts


@pytest.mark.parametrize("seed", range(3))
def test_a_random_side_finds_itself_and_scores_1_by_every_measure(seed: int):
    side = random_side(seed)  # 40 rows in 12 dimensions: enough for every measure, saturated for none
    found = self_match(WORLD.settings(tuple(MEASURES)), side)
    assert found.features == 40
    assert found.found_itself == 1.0
    assert found.lowest_r == pytest.approx(1.0, abs=1e-12)
    assert set(found.scores) == set(MEASURES)
    for name, score in found.scores.items():
        assert score == pytest.approx(1.0, abs=1e-9), name  # a chain of float64 products over 40 rows


def test_silent_features_are_left_out_of_both_the_match_and_the_scores():
    side = random_side(0)
    x = side.acts.to_dense()
    x[:, [0, 7]] = 0
    decoder = side.decoder.copy()
    decoder[[0, 7]] = float("nan")  # would spoil every score it enters
    silent = replace(side, acts=SparseActivations.from_dense(x), decoder=decoder)
    measure = ByNumber(1.0, lambda m: torch.zeros(m).numpy())
    found = self_match(WORLD.settings(measures=(measure,)), silent)
    assert found.features == 38
    assert found.found_itself == 1.0


def test_a_double_counts_as_itself():
    side = random_side(0)
    x = side.acts.to_dense()
    x[:, 5] = 2 * x[:, 3]
    found = self_match(WORLD.settings(), replace(side, acts=SparseActivations.from_dense(x)))
    assert found.found_itself == 1.0


def test_a_measure_that_refuses_is_none_beside_the_others():
    settings = WORLD.settings(("pwcca", "rsa"))
    found = self_match(settings, random_side(0, n_features=20))  # 12 + 12 directions on 20 rows
    assert found.scores["pwcca"] is None
    assert found.scores["rsa"] == pytest.approx(1.0)


def test_a_side_that_never_varies_claims_nothing():
    side = random_side(0)
    silent = replace(side, acts=SparseActivations.from_dense(torch.zeros(200, 40)))
    found = self_match(WORLD.settings(), silent)
    none = {"svcca_pc1": None, "rsa": None}
    assert found == SelfMatch(features=0, found_itself=None, lowest_r=None, scores=none)
