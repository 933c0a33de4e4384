"""Matching: every filter does what it says, in the published order, and counts what it drops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from semconv import InputError, best_matches
from semconv.core import oracle as reference
from semconv.core import sparse
from semconv.core.correlate import BestMatches, TopMatches
from semconv.matching.filters import Activity, FeaturePairs, match_features, match_subset, needed_partners
from semconv.suite.config import MatchConfig
from semconv.text import top_tokens as labels
from semconv.text.top_tokens import TopTokens, top_positions, top_tokens
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


TEXTS = ["", " ", ".", " .", "x", " x", "  x ", "y", "z", "\n", " \n"]


def some_tokens(seed: int, n: int) -> list[list[str]]:
    g = np.random.default_rng(seed)
    return [[TEXTS[i] for i in g.integers(0, len(TEXTS), g.integers(0, 4))] for _ in range(n)]


def plainly(best_a: list[int], r: list[float], tokens_a: list[list[str]], tokens_b: list[list[str]], c: MatchConfig):
    """The published rules, one pair at a time with sets of texts; pairs and the number left after every filter."""
    sets_a, sets_b = ([{t.strip(" ") for t in row} for row in side] for side in (tokens_a, tokens_b))
    pairs = [(b, a, r[b]) for b, a in enumerate(best_a) if a >= 0]
    left = [len(pairs)]
    if c.stop_tokens:
        pairs = [p for p in pairs if not (sets_a[p[1]] | sets_b[p[0]]) & set(c.stop_tokens)]
        left.append(len(pairs))
    if c.need_shared_token:
        pairs = [p for p in pairs if sets_a[p[1]] & sets_b[p[0]]]
        left.append(len(pairs))
    if c.one_to_one:
        pairs = [p for p in pairs if p == max((q for q in pairs if q[1] == p[1]), key=lambda q: (q[2], -q[0]))]
        left.append(len(pairs))
    pairs = [p for p in pairs if p[2] > c.min_r]
    return pairs, [*left, len(pairs)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stop", [(), (".", "\n", "", " x")])
def test_best_equals_the_published_rules_one_pair_at_a_time(seed: int, stop: tuple[str, ...]):
    g = np.random.default_rng(seed)
    n_a, n_b = 12, 60
    best_a = g.integers(-1, n_a, n_b).tolist()
    r = [float("nan") if a < 0 else float(v) for a, v in zip(best_a, g.integers(-3, 9, n_b) / 8, strict=True)]
    tokens_a, tokens_b = some_tokens(seed, n_a), some_tokens(seed + 100, n_b)
    seen = set[int]()
    for shared, one, min_r in product((True, False), (True, False), (-0.5, 0.25)):
        config = MatchConfig(stop_tokens=stop, need_shared_token=shared, one_to_one=one, min_r=min_r)
        pairs, left = plainly(best_a, r, tokens_a, tokens_b, config)
        found = match_features(matches(best_a, r, n_a), tokens_a, tokens_b, config)
        assert list(zip(found.b.tolist(), found.a.tolist(), found.r.tolist(), strict=True)) == pairs
        assert [c.after for c in found.counts] == left
        assert [c.before for c in found.counts] == [n_b, *left[:-1]]
        seen.add(len(pairs))
    assert len(seen) > 2  # the filters did something


def test_steps_have_the_names_that_were_published():
    config = MatchConfig(stop_tokens=(".",), min_r=0.25)
    assert [c.step for c in match_features(matches([0], [0.5], 1), [["x"]], [["x"]], config).counts] == [
        "both features vary",
        "no stop token among the top tokens",
        "a shared top token",
        "one pair per A feature",
        "r > 0.25",
    ]


def test_tables_give_what_lists_give():
    m = matches([0, 2, 1, -1, 2], [0.9, 0.95, 0.8, float("nan"), 0.5], n_a=3)
    tokens_a, tokens_b = some_tokens(1, 3), some_tokens(2, 5)
    config = MatchConfig(stop_tokens=("\n",), one_to_one=False)
    table_a, table_b = TopTokens.of_sides([tokens_a, tokens_b], config.stop_tokens)
    plain, fast = match_features(m, tokens_a, tokens_b, config), match_features(m, table_a, table_b, config)
    assert fast.counts == plain.counts
    assert fast.b.tolist() == plain.b.tolist()


def test_features_without_tokens_share_none():
    pairs = match_features(matches([0], [0.9], 1), [[]], [["x"]], MatchConfig())
    assert pairs.counts[1].after == 0
    pairs = match_features(matches([0, 1], [0.9, 0.9], 2), [["x"], ["y", "z"]], [["x"], ["w"]], MatchConfig())
    assert pairs.b.tolist() == [0]  # A 0 and B 1 have an empty second and first place in common with nothing


def test_features_must_be_active_often_enough():
    m = matches([0, 1, 2], [0.9, 0.8, 0.7], n_a=3)
    config = MatchConfig(need_shared_token=False, min_activations=5)
    often_a = Activity(np.array([5, 9, 4]))
    pairs = match_features(m, [[]] * 3, [[]] * 3, config, often_a, Activity(np.array([5, 4, 9])))
    assert pairs.b.tolist() == [0]
    step = pairs.counts[1]
    assert (step.step, step.before, step.after) == ("both features active on at least 5 tokens", 3, 1)
    for active_b, found in ((None, "got none"), (np.array([1, 2]), r"3 features counted, got shape \[2\]")):
        with pytest.raises(InputError, match=found):
            match_features(m, [[]] * 3, [[]] * 3, config, often_a, Activity(active_b))


def test_features_must_be_active_in_enough_documents():
    m = matches([0, 1, 2], [0.9, 0.8, 0.7], n_a=3)
    config = MatchConfig(need_shared_token=False, min_activations=5, min_documents=2)
    often = Activity(np.array([9, 9, 9]), np.array([2, 1, 2]))
    pairs = match_features(m, [[]] * 3, [[]] * 3, config, often, Activity(np.array([9, 9, 9]), np.array([3, 3, 1])))
    assert pairs.b.tolist() == [0]
    assert [(c.step, c.after) for c in pairs.counts[1:3]] == [
        ("both features active on at least 5 tokens", 3),
        ("both features active in at least 2 documents", 1),
    ]
    with pytest.raises(InputError, match="min_documents needs the documents of 3 features counted, got none"):
        match_features(m, [[]] * 3, [[]] * 3, config, often, Activity(np.array([9, 9, 9])))


@pytest.mark.parametrize("order", ["as they come", "mixed"])
@pytest.mark.parametrize("marks", [1, 40, 2**26])
def test_documents_of_features_are_counted_one_by_one(order: str, marks: int, monkeypatch: pytest.MonkeyPatch):
    acts = random_activations(0, 60, 13, 0.1)
    documents = torch.arange(60, dtype=torch.int32) // 7 * 3  # document 3, 6, ...: some numbers are missing
    if order == "mixed":
        documents = documents[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    monkeypatch.setattr(sparse, "_MARKS", marks)
    dense = acts.to_dense()
    expected = [len({int(documents[t]) for t in range(60) if dense[t, f] > 0}) for f in range(13)]
    assert acts.document_counts(documents).tolist() == expected
    assert len(set(expected)) > 2
    with pytest.raises(InputError, match=r"documents must be \[60\], one for every token, got \[59\]"):
        acts.document_counts(documents[1:])


def test_only_the_strongest_pairs_are_kept():
    m = matches([0, 1, 2, 3], [0.5, 0.9, 0.5, 0.7], n_a=4)
    config = MatchConfig(need_shared_token=False, strongest=3)
    pairs = match_features(m, [[]] * 4, [[]] * 4, config)
    assert pairs.b.tolist() == [0, 1, 3]  # of two that tie, the first B feature
    assert (pairs.counts[-1].step, pairs.counts[-1].before, pairs.counts[-1].after) == ("the 3 strongest", 4, 3)
    assert len(match_features(m, [[]] * 4, [[]] * 4, MatchConfig(need_shared_token=False, strongest=9))) == 4


@pytest.mark.parametrize(
    ("strategy", "step", "left"),
    [
        ("mutual", "each the other's best", [(0, 0)]),
        ("greedy", "one-to-one by falling r", [(0, 0)]),
        ("optimal", "one-to-one of the highest total r", [(1, 0), (0, 1)]),
    ],
)
def test_strategies_are_counted_like_filters(strategy: str, step: str, left: list[tuple[int, int]]):
    nan = float("nan")
    r_b = torch.tensor([[0.9, 0.8], [0.7, nan], [nan, nan]], dtype=torch.float64)
    r_a = torch.tensor([[0.9, 0.7], [0.8, nan]], dtype=torch.float64)
    m = BestMatches(
        TopMatches(torch.tensor([[0, 1], [0, -1]]), r_a),
        TopMatches(torch.tensor([[0, 1], [0, -1], [-1, -1]]), r_b),
        10,
        torch.zeros(2),
        torch.zeros(3),
    )
    config = MatchConfig(strategy=strategy, candidates=2, need_shared_token=False)  # pyright: ignore
    pairs = match_features(m, [[]] * 2, [[]] * 3, config)
    assert [(c.step, c.before, c.after) for c in pairs.counts] == [
        ("both features vary", 3, 2),
        (step, 2, len(left)),
        ("one pair per A feature", len(left), len(left)),
        ("r > 0.1", len(left), len(left)),
    ]
    assert list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == left


def test_as_many_partners_are_needed_as_there_are_candidates():
    config = MatchConfig(strategy="greedy", candidates=10, need_shared_token=False)
    assert [needed_partners(config, 20, 30), needed_partners(config, 4, 30), needed_partners(config, 20, 3)] == [
        10,
        4,
        3,
    ]
    assert needed_partners(MatchConfig(candidates=10), 20, 30) == 1
    with pytest.raises(InputError, match="'greedy' needs the 2 best partners of a feature, got 1"):
        match_features(matches([0, 1], [0.5, 0.5], 2), [[]] * 2, [[]] * 2, config)


def test_tables_must_belong_together_and_to_the_config():
    m, config = matches([0], [0.5], 1), MatchConfig(stop_tokens=(".",))
    a, b = TopTokens.of_sides([[["x"]], [["x"]]], (".",))
    (other,) = TopTokens.of_sides([[["y"]]], (".",))
    with pytest.raises(InputError, match="tables of two"):
        match_features(m, a, other, config)
    with pytest.raises(InputError, match="one of each"):
        match_features(m, a, [["x"]], config)
    with pytest.raises(InputError, match="made with the stop tokens"):
        match_features(m, a, b, MatchConfig(stop_tokens=("!",)))
    with pytest.raises(InputError, match="needed for 1 and 1 features, got 2 and 1"):
        match_features(m, [["x"], ["x"]], [["x"]], config)


def in_subset(strategy: str, features_a: list[int], features_b: list[int]) -> tuple[FeaturePairs, list[list[float]]]:
    a, b = random_activations(0, 50, 12, 0.3, torch.float16), random_activations(1, 50, 14, 0.3, torch.float16)
    tables = TopTokens.of_sides([[["x"]] * 12, [["x"]] * 14], ())
    config = MatchConfig(strategy=strategy, min_r=-0.9, one_to_one=False)  # pyright: ignore
    pairs = match_subset(a, b, torch.tensor(features_a), torch.tensor(features_b), *tables, config=config)
    return pairs, reference.correlation(a, b)


def test_a_subset_is_matched_as_if_there_were_no_other_features():
    features_a, features_b = [1, 4, 5, 11], [0, 3, 9, 12, 13]
    pairs, r = in_subset("best", features_a, features_b)
    wanted = [max(features_a, key=lambda i: (r[i][j], -i)) for j in features_b]
    assert pairs.b.tolist() == features_b
    assert pairs.a.tolist() == wanted
    assert pairs.r.tolist() == [r[i][j] for i, j in zip(wanted, features_b, strict=True)]
    assert any(max(range(12), key=lambda i: r[i][j]) != a for j, a in zip(features_b, wanted, strict=True))


def test_a_subset_smaller_than_the_candidates_can_be_matched_one_to_one():
    pairs, r = in_subset("greedy", [2, 3], [5, 6, 7])
    best = max((r[i][j], i, j) for i in (2, 3) for j in (5, 6, 7))
    assert best[1:] in list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert len(pairs) == 2


def test_a_subset_keeps_tokens_and_activation_counts_with_their_features():
    a = random_activations(0, 50, 6, 0.3)
    tokens = [["p"], ["q"], ["r"], ["."], ["s"], ["t"]]
    table_a, table_b = TopTokens.of_sides([tokens, tokens], (".",))
    features = torch.tensor([1, 3, 5])
    config = MatchConfig(stop_tokens=(".",), min_activations=int(a.active_counts()[5]) + 1)
    assert int(a.active_counts()[1]) > int(a.active_counts()[5])  # so that the filter tells the two apart
    pairs = match_subset(a, a, features, features, table_a, table_b, config=config)
    assert pairs.a.tolist() == pairs.b.tolist() == [1]
    full = match_features(best_matches(a, a), table_a, table_b, MatchConfig(stop_tokens=(".",)))
    assert full.b.tolist() == [0, 1, 2, 4, 5]


def test_r_must_be_above_the_limit_and_not_at_it():
    m = matches([0, 1], [0.1, 0.1000001], n_a=2)
    assert match_features(m, [[]] * 2, [[]] * 2, MatchConfig(need_shared_token=False)).b.tolist() == [1]


@pytest.mark.parametrize(("first_tokens", "most_entries"), [(3, 2**24), (3, 20), (16, 100), (1000, 2**24)])
def test_top_positions_equal_a_plain_sort(first_tokens: int, most_entries: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labels, "FIRST_TOKENS", first_tokens)
    monkeypatch.setattr(labels, "_MOST_ENTRIES", most_entries)
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
