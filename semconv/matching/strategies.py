"""Chooses which features are paired, among the best partners of every feature; filters come after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.core.correlate import BestMatches


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs to choose from, every pair once, by ascending B feature and then A feature.

    Attributes:
        a: int64 [n] features of model A.
        b: int64 [n] features of model B.
        r: float64 [n] Pearson correlation, finite.
        n_a: number of A features.
        n_b: number of B features.
    """

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    r: Float[ndarray, " n"]
    n_a: int
    n_b: int

    def __len__(self) -> int:
        return len(self.a)

    def take(self, kept: Bool[ndarray, " n"]) -> Candidates:
        return Candidates(self.a[kept], self.b[kept], self.r[kept], self.n_a, self.n_b)


def best_candidates(matches: BestMatches) -> Candidates:
    """Returns for every B feature its best A feature, where there is one."""
    a, r = matches.b_to_a.index[:, 0].numpy(), matches.b_to_a.r[:, 0].numpy()
    b = np.flatnonzero(a >= 0)
    return Candidates(a[b], b, r[b], len(matches.a_to_b.index), len(a))


def top_candidates(matches: BestMatches, k: int) -> Candidates:
    """Returns the k best partners of every feature of either side; a pair that both sides name is there once."""
    n_a, n_b = len(matches.a_to_b.index), len(matches.b_to_a.index)
    of_b, of_a = matches.b_to_a.index[:, :k].numpy(), matches.a_to_b.index[:, :k].numpy()
    a = np.concatenate([of_b.ravel(), np.repeat(np.arange(n_a), of_a.shape[1])])
    b = np.concatenate([np.repeat(np.arange(n_b), of_b.shape[1]), of_a.ravel()])
    r = np.concatenate([matches.b_to_a.r[:, :k].numpy().ravel(), matches.a_to_b.r[:, :k].numpy().ravel()])
    there = np.flatnonzero((a >= 0) & (b >= 0))
    _, first = np.unique(b[there] * n_a + a[there], return_index=True)
    kept = there[first]
    return Candidates(a[kept], b[kept], r[kept], n_a, n_b)


def mutual(matches: BestMatches) -> Candidates:
    """Returns the pairs whose features are each other's best."""
    best = best_candidates(matches)
    return best.take(matches.a_to_b.index[:, 0].numpy()[best.a] == best.b)


def greedy(candidates: Candidates) -> Candidates:
    """Takes candidates by falling r, every feature at most once; ties to the lowest (b, a).

    In each round every candidate that stands first in the order for both of its features is taken: whatever comes
    before it in the order touches neither, so that taking one candidate at a time ends in the same pairs.
    """
    order = np.lexsort((candidates.a, candidates.b, -candidates.r))
    a, b = candidates.a[order], candidates.b[order]
    first_a, first_b = np.empty(candidates.n_a, dtype=np.int64), np.empty(candidates.n_b, dtype=np.int64)
    free_a, free_b = np.ones(candidates.n_a, dtype=bool), np.ones(candidates.n_b, dtype=bool)
    chosen, left = np.zeros(len(candidates), dtype=bool), np.arange(len(order))
    while len(left):
        backwards = left[::-1]  # so that the earliest candidate of a feature is written last and stays
        first_a[a[backwards]], first_b[b[backwards]] = backwards, backwards
        won = left[(first_a[a[left]] == left) & (first_b[b[left]] == left)]
        chosen[order[won]] = True
        free_a[a[won]], free_b[b[won]] = False, False
        left = left[free_a[a[left]] & free_b[b[left]]]
    return candidates.take(chosen)


def optimal(candidates: Candidates) -> Candidates:
    """Returns the one-to-one pairs of the highest total r; a pair with r <= 0 adds nothing and is never one of them.

    Every B feature also has an empty place of its own, as a partner that stands for staying unpaired, so that SciPy's
    LAPJVsp (Jonker & Volgenant 1987, doi 10.1007/BF02278710), which needs a full matching, always finds one. All
    weights are r + 1 and that of an empty place 1: one per B feature whatever the pairing, and never an unstored zero.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    useful = candidates.take(candidates.r > 0)
    n_a, n_b = useful.n_a, useful.n_b
    row = np.concatenate([useful.b, np.arange(n_b)])
    column = np.concatenate([useful.a, n_a + np.arange(n_b)])
    weight = np.concatenate([useful.r + 1, np.ones(n_b)])
    graph = coo_array((weight, (row, column)), shape=(n_b, n_a + n_b)).tocsr()
    paired_b, partner = min_weight_full_bipartite_matching(graph, maximize=True)
    partner_of = np.empty(n_b, dtype=np.int64)
    partner_of[paired_b] = partner
    return useful.take(partner_of[useful.b] == useful.a)
