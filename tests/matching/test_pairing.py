"""Strategies: every one against a plain loop, and the optimal one against other solvers of the same problem."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from semconv import BestMatches, TopMatches, best_matches
from semconv.core import oracle as reference
from semconv.matching.strategies import Candidates, greedy, mutual, optimal, top_candidates
from tests.conftest import random_activations


def ranked(r: np.ndarray, k: int) -> TopMatches:
    """Best partners of every row by a plain sort: highest first, ties to the lowest, NaN left out."""
    top = [reference.top_k([float(v) for v in row], k) for row in r]
    return TopMatches(torch.tensor([i for i, _ in top]), torch.tensor([s for _, s in top], dtype=torch.float64))


def from_correlation(r: np.ndarray, k: int) -> BestMatches:
    empty = torch.zeros(0)
    return BestMatches(ranked(r, k), ranked(r.T, k), 10, empty, empty)


def some_r(seed: int, n_a: int, n_b: int, levels: int) -> np.ndarray:
    """r of all pairs with many ties when `levels` is small, some features that never vary."""
    g = np.random.default_rng(seed)
    r = g.integers(-levels // 4, levels + 1, (n_a, n_b)) / levels
    r[g.random(n_a) < 0.1] = np.nan
    r[:, g.random(n_b) < 0.1] = np.nan
    return r


def pairs_of(candidates: Candidates) -> list[tuple[int, int]]:
    return list(zip(candidates.b.tolist(), candidates.a.tolist(), strict=True))


CASES = [
    (seed, n_a, n_b, levels) for seed in range(6) for n_a, n_b, levels in ((9, 14, 4), (20, 13, 1000), (15, 15, 1))
]


@pytest.mark.parametrize(("seed", "n_a", "n_b", "levels"), CASES)
def test_candidates_are_the_union_of_both_directions(seed: int, n_a: int, n_b: int, levels: int):
    r = some_r(seed, n_a, n_b, levels)
    wanted: dict[tuple[int, int], float] = {}
    for j in range(n_b):
        wanted |= {(j, i): r[i, j] for i in reference.top_k(list(r[:, j]), 3)[0] if i >= 0}
    for i in range(n_a):
        wanted |= {(j, i): r[i, j] for j in reference.top_k(list(r[i]), 3)[0] if j >= 0}
    found = top_candidates(from_correlation(r, 5), 3)
    assert pairs_of(found) == sorted(wanted)
    assert found.r.tolist() == [wanted[pair] for pair in sorted(wanted)]


def test_both_directions_give_a_pair_the_same_r():
    m = best_matches(random_activations(0, 60, 9), random_activations(1, 60, 11), k=9)
    of_b = {(j, int(i)): float(r) for j in range(11) for i, r in zip(m.b_to_a.index[j], m.b_to_a.r[j], strict=True)}
    of_a = {(int(j), i): float(r) for i in range(9) for j, r in zip(m.a_to_b.index[i], m.a_to_b.r[i], strict=True)}
    shared = of_a.keys() & of_b.keys()
    assert len(shared) == 81
    assert all(of_a[pair] == of_b[pair] for pair in shared)


@pytest.mark.parametrize(("seed", "n_a", "n_b", "levels"), CASES)
def test_mutual_pairs_are_each_others_best(seed: int, n_a: int, n_b: int, levels: int):
    r = some_r(seed, n_a, n_b, levels)
    best_a = [reference.top_k(list(r[:, j]), 1)[0][0] for j in range(n_b)]
    best_b = [reference.top_k(list(r[i]), 1)[0][0] for i in range(n_a)]
    wanted = [(j, best_a[j]) for j in range(n_b) if best_a[j] >= 0 and best_b[best_a[j]] == j]
    assert pairs_of(mutual(from_correlation(r, 1))) == wanted


@pytest.mark.parametrize(("seed", "n_a", "n_b", "levels"), CASES)
def test_greedy_equals_taking_one_pair_at_a_time(seed: int, n_a: int, n_b: int, levels: int):
    candidates = top_candidates(from_correlation(some_r(seed, n_a, n_b, levels), 4), 4)
    used_a, used_b, wanted = set[int](), set[int](), list[tuple[int, int]]()
    for _, b, a in sorted(zip((-candidates.r).tolist(), candidates.b.tolist(), candidates.a.tolist(), strict=True)):
        if a not in used_a and b not in used_b:
            used_a.add(a)
            used_b.add(b)
            wanted.append((b, a))
    assert pairs_of(greedy(candidates)) == sorted(wanted)


def test_greedy_undoes_a_chain_link_by_link():
    # Every pair shares a feature with the next lower one, so that a round settles one pair only.
    a, b, r = np.array([0, 1, 1, 2, 2, 3]), np.array([0, 0, 1, 1, 2, 2]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert pairs_of(greedy(Candidates(a, b, r, 4, 3))) == [(0, 0), (1, 1), (2, 2)]


def rounding(n: int) -> float:
    """r + 1 is rounded to 2^-53 per pair before the totals are compared, and either total once per addition."""
    return n * (2.0**-53 + 2 * n * 2.0**-53)


@pytest.mark.parametrize(("seed", "n_a", "n_b", "levels"), CASES)
def test_optimal_on_all_pairs_equals_the_dense_assignment(seed: int, n_a: int, n_b: int, levels: int):
    r = some_r(seed, n_a, n_b, levels)
    k = min(n_a, n_b)
    gain = np.nan_to_num(r).clip(0)
    total = gain[linear_sum_assignment(gain, maximize=True)].sum()
    found = optimal(top_candidates(from_correlation(r, k), k))
    assert abs(found.r.sum() - total) <= rounding(k)
    assert len(set(found.a.tolist())) == len(set(found.b.tolist())) == len(found)
    assert (found.r > 0).all()
    assert found.r.tolist() == [r[i, j] for j, i in pairs_of(found)]


@pytest.mark.parametrize(("seed", "n_a", "n_b", "levels"), CASES)
def test_optimal_on_few_candidates_equals_a_general_graph_matching(seed: int, n_a: int, n_b: int, levels: int):
    candidates = top_candidates(from_correlation(some_r(seed, n_a, n_b, levels), 2), 2)
    graph = nx.Graph()
    for (b, a), r in zip(pairs_of(candidates), candidates.r.tolist(), strict=True):
        if r > 0:
            graph.add_edge(("a", a), ("b", b), weight=r)
    total = sum(graph.edges[edge]["weight"] for edge in nx.max_weight_matching(graph))
    found = optimal(candidates)
    assert set(pairs_of(found)) <= set(pairs_of(candidates))
    assert len(set(found.a.tolist())) == len(set(found.b.tolist())) == len(found)
    assert abs(found.r.sum() - total) <= rounding(min(n_a, n_b))


def test_optimal_gives_up_the_best_pair_for_a_better_total():
    a, b, r = np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([0.9, 0.8, 0.7])
    candidates = Candidates(a, b, r, 2, 2)
    assert pairs_of(greedy(candidates)) == [(0, 0)]
    assert pairs_of(optimal(candidates)) == [(0, 1), (1, 0)]


def test_no_candidates_give_no_pairs():
    nothing = from_correlation(np.full((3, 4), np.nan), 2)
    for found in (mutual(nothing), greedy(top_candidates(nothing, 2)), optimal(top_candidates(nothing, 2))):
        assert len(found) == 0
    below = Candidates(np.array([0]), np.array([0]), np.array([-0.5]), 1, 1)
    assert len(optimal(below)) == 0
    assert len(greedy(below)) == 1
