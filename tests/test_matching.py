"""Matching: every filter does what it says, in the published order, and counts what it drops."""

from __future__ import annotations

import pytest
import torch

from semconv import labels
from semconv.config import MatchConfig
from semconv.correlate import BestMatches, TopMatches
from semconv.labels import top_positions, top_tokens
from semconv.matching import match_features
from tests.conftest import random_activations


def matches(best_a: list[int], r: list[float], n_a: int) -> BestMatches:
    b_to_a = TopMatches(torch.tensor(best_a)[:, None], torch.tensor(r, dtype=torch.float64)[:, None])
    empty = TopMatches(torch.full((n_a, 1), -1), torch.full((n_a, 1), float("nan"), dtype=torch.float64))
    return BestMatches(empty, b_to_a, 10, torch.zeros(n_a), torch.zeros(len(best_a)))


def test_filters_in_order_with_counts():
    m = matches([0, 0, 1, -1, 2, 3, 4], [0.9, 0.95, 0.8, float("nan"), 0.05, 0.7, 0.6], n_a=5)
    tokens_a = [["x", "y"], ["."], ["z"], ["u"], ["v"]]
    tokens_b = [["x"], ["y"], ["w"], ["q"], ["z"], ["other"], [" v"]]
    pairs = match_features(m, tokens_a, tokens_b, MatchConfig(stop_tokens=(".",), min_r=0.1))
    assert [(c.before, c.after) for c in pairs.counts] == [(7, 6), (6, 5), (5, 4), (4, 3), (3, 2)]
    assert pairs.a.tolist() == [0, 4]
    assert pairs.b.tolist() == [1, 6]
    assert pairs.r.tolist() == [0.95, 0.6]


def test_filters_that_are_off_are_not_listed():
    m = matches([0, 0], [0.9, 0.2], n_a=1)
    config = MatchConfig(need_shared_token=False, one_to_one=False, min_r=0.5)
    pairs = match_features(m, [[]], [[], []], config)
    assert [c.step for c in pairs.counts] == ["both features vary", "r > 0.5"]
    assert pairs.b.tolist() == [0]


def test_one_to_one_breaks_ties_by_the_lower_b_feature():
    m = matches([2, 2, 2], [0.5, 0.7, 0.7], n_a=3)
    pairs = match_features(m, [[]] * 3, [[]] * 3, MatchConfig(need_shared_token=False))
    assert pairs.b.tolist() == [1]


def test_r_must_be_above_the_limit_and_not_at_it():
    m = matches([0, 1], [0.1, 0.1000001], n_a=2)
    assert match_features(m, [[]] * 2, [[]] * 2, MatchConfig(need_shared_token=False)).b.tolist() == [1]


@pytest.mark.parametrize("first_tokens", [3, 16, 1000])
def test_top_positions_equal_a_plain_sort(first_tokens: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labels, "_FIRST_TOKENS", first_tokens)
    acts = random_activations(0, 200, 17, 0.2, torch.float16)
    dense = acts.to_dense().float()
    dense[:, 3] = (dense[:, 3] > 0).float()  # ties
    acts = type(acts).from_dense(dense)
    found = top_positions(acts, 6)
    for feature in range(17):
        order = sorted((-float(v), t) for t, v in enumerate(dense[:, feature]) if v > 0)[:6]
        assert found[feature].tolist() == [t for _, t in order] + [-1] * (6 - len(order))
    ids = torch.arange(200) % 5
    texts = ["zero", "one", "two", "three", "four"]
    named = top_tokens(acts, ids, texts, 6)
    assert named[3] == [texts[t % 5] for t in found[3].tolist() if t >= 0]
