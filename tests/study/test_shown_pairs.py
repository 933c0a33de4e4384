"""What is shown of a layer pair: partners, counts and histograms, against the dense correlation matrix."""

from __future__ import annotations

import numpy as np
import torch

from semconv import SparseActivations
from semconv.statistics.resampling import document_shift
from semconv.study.shown_pairs import BINS, Places, shown_pairs
from semconv.study.sides import Side
from semconv.text.top_tokens import TopTokens

STARTS = np.arange(0, 300, 10)
PLACES = Places(np.repeat(np.arange(30), 10), np.repeat(np.arange(30), 10), STARTS)


def side(dense: np.ndarray, name: str) -> Side:
    tokens = TopTokens.of_sides([[[] for _ in range(dense.shape[1])]], ())[0]
    acts = SparseActivations.from_dense(torch.from_numpy(dense))
    return Side(name, 0, acts, name, np.eye(dense.shape[1], dtype=np.float32), tokens)


def drawn(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((300, n)) * (rng.random((300, n)) < 0.4)).astype(np.float32)


A, B = drawn(0, 5), drawn(1, 6)
B[:, 2] += A[:, 4]
R = np.corrcoef(A.T, B.T)[:5, 5:]
PAIRS = np.array([4, 0, 1]), np.array([2, 5, 5])
"""The first is the best of both; two have the same B feature."""


def test_partners_and_histograms_are_those_of_the_dense_correlations():
    shown = shown_pairs(side(A, "a"), side(B, "b"), PAIRS, R[PAIRS], PLACES, most=2, seed=0, shifted=True)
    assert shown.mutual.tolist() == [R[a].argmax() == b and R[:, b].argmax() == a for a, b in zip(*PAIRS, strict=True)]
    assert shown.mutual[0]
    for i, (a, b) in enumerate(zip(*PAIRS, strict=True)):
        others = np.delete(np.arange(5), a), np.delete(np.arange(6), b)
        expected = others[0][R[others[0], b].argmax()]
        assert shown.next_a[i] == expected
        np.testing.assert_allclose(shown.next_r_a[i], R[expected, b], atol=1e-4)
        assert shown.next_b[i] == others[1][R[a, others[1]].argmax()]
    np.testing.assert_allclose(shown.best_r_a, R.max(axis=1), atol=1e-4)  # 16-bit codes
    assert shown.best_b.tolist() == R.argmax(axis=0).tolist()
    shift = document_shift(STARTS, 0, 0)
    moved = np.corrcoef(A.T, np.roll(B, -shift, axis=0).T)[:5, 5:]
    for row, r in enumerate((R, moved)):
        for column, axis in enumerate((1, 0)):
            best = r.max(axis=axis)
            np.testing.assert_allclose(shown.means[row, column], best.mean(), atol=1e-4)
            counts = np.histogram(best, BINS, (-1, 1))[0]
            assert np.abs(shown.histograms[row, column] - counts).sum() <= 2  # one at an edge of a bin
    assert len(set(shown.pair.tolist())) == 2  # pairs with examples


def test_without_a_shift_and_without_another_partner():
    one = side(A[:, :1], "a")
    alone = np.array([0]), np.array([0])
    shown = shown_pairs(one, side(B[:, :1], "b"), alone, np.array([0.1]), PLACES, most=5, seed=0, shifted=False)
    assert (shown.next_a.tolist(), shown.next_b.tolist()) == ([-1], [-1])
    assert np.isnan(shown.next_r_a).all()
    assert shown.histograms[1].sum() == 0
    assert np.isnan(shown.means[1]).all()
    none = np.array([], dtype=np.int64)
    empty = shown_pairs(one, one, (none, none), np.zeros(0), PLACES, most=5, seed=0, shifted=False)
    assert (empty.firing.shape, len(empty.place)) == ((3, 0), 0)
