"""Mutual k-nearest neighbours against scikit-learn, by hand, and with ties."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from semconv.compare import MutualKNN, mutual_knn
from tests._helpers.spaces import spaces


def by_scikit_learn(X: np.ndarray, Y: np.ndarray, k: int) -> float:
    def neighbours(M: np.ndarray) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(M).kneighbors()[1]

    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(neighbours(X), neighbours(Y), strict=True)]))


@pytest.mark.parametrize("k", [1, 10, 199])
def test_mutual_knn_equals_scikit_learn(k: int):
    X, Y = spaces(noise=1.0)
    assert mutual_knn(X, Y, k) == pytest.approx(by_scikit_learn(X, Y, k), abs=1e-14)


def test_mutual_knn_by_hand():
    """On a circle the nearest rows are the nearest angles."""
    x, y = np.radians([0, 10, 25, 90, 101]), np.radians([0, 10, 90, 97, 30])
    X, Y = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (x, y))
    assert MutualKNN(1).prepare(X).nearest[:, 0].tolist() == [1, 0, 1, 4, 3]
    assert MutualKNN(1).prepare(Y).nearest[:, 0].tolist() == [1, 0, 3, 2, 1]
    assert mutual_knn(X, Y, 1) == 2 / 5


def test_ties_go_to_the_lowest_index():
    corner = np.eye(4)
    assert MutualKNN(2).prepare(corner).nearest.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    # Rows 1, 3 and 4 are the same direction, of different length; row 0 is nearer to row 2 than to them.
    X = np.array([[1, 1, 0], [0, 0, 3], [1, 0.9, 0], [0, 0, 0.1], [0, 0, 7]], dtype=float)
    assert MutualKNN(2).prepare(X).nearest.tolist() == [[1, 2], [3, 4], [0, 1], [1, 4], [1, 3]]


def test_ties_do_not_depend_on_how_the_product_was_summed():
    """Copies of one row scaled by factors that round: their cosines with another row differ in the last bits."""
    rng = np.random.default_rng(0)
    base, others = rng.normal(size=37), rng.normal(size=(60, 37))
    copies = rng.uniform(0.1, 9, (20, 1)) * base
    X = np.concatenate([copies, others])
    cosines = (X / np.linalg.norm(X, axis=1, keepdims=True)) @ base
    assert len(np.unique(cosines[:20])) > 1, "the copies must differ in rounding"
    nearest = MutualKNN(5).prepare(X).nearest
    for i in range(20):
        assert nearest[i].tolist() == [j for j in range(6) if j != i][:5]


def test_random_pairing_scores_k_over_n_less_one():
    X, Y = spaces()
    measure = MutualKNN(10)
    permutations = np.stack([np.random.default_rng(i).permutation(200) for i in range(1000)])
    null = measure.null_scores(measure.prepare(X), measure.prepare(Y), permutations)
    assert null.mean() == pytest.approx(10 / 199, abs=4 * null.std() / np.sqrt(1000))  # four standard errors


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    X, Y = spaces()
    measure, permutations = MutualKNN(), np.stack([np.random.default_rng(i).permutation(200) for i in range(9)])
    x, y = measure.prepare(X), measure.prepare(Y)
    expected = measure.null_scores(x, y, permutations)
    monkeypatch.setattr(sys.modules["semconv.compare.mutual_knn"], "_CHUNK_ENTRIES", 1)  # the package has the function
    np.testing.assert_array_equal(measure.null_scores(x, y, permutations), expected)
