"""Relations between categories of one model: the right cosines, and what must not change them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from semconv import InputError
from semconv.compare.categories import category_similarity, rank_correlations, ranked


def some_members(seed: int, n_features: int, sizes: list[int]) -> dict[str, np.ndarray]:
    """Disjoint categories of these sizes."""
    order = np.random.default_rng(seed).permutation(n_features)
    edges = np.cumsum([0, *sizes])
    return {f"c{i}": order[first:last] for i, (first, last) in enumerate(pairwise(edges))}


def test_similarities_equal_cosines_of_means_by_scipy():
    X = np.random.default_rng(0).normal(size=(60, 7)) * np.linspace(1, 9, 60)[:, None]
    members = some_members(1, 60, [3, 8, 1, 20])
    members["both"] = np.concatenate([members["c0"][:2], members["c1"][:5]])
    unit = X / np.sqrt((X**2).sum(axis=1))[:, None]
    S = category_similarity(X, members)
    for i, one in enumerate(members):
        assert S[i, i] == 1
        for j, other in enumerate(members):
            if i != j:
                x = unit[[f for f in members[one] if f not in members[other]]].mean(axis=0)
                y = unit[[f for f in members[other] if f not in members[one]]].mean(axis=0)
                rest = [f for f in range(60) if f not in members[one] and f not in members[other]]
                even, odd = unit[rest[::2]].mean(axis=0), unit[rest[1::2]].mean(axis=0)
                wanted = (2 - cosine(x - even, y - odd) - cosine(x - odd, y - even)) / 2
                # Sums of 60 numbers of size 1 in another order: 60 eps, and means as short as 0.1.
                assert S[i, j] == pytest.approx(wanted, abs=60 * 2.2e-16 / 0.1**2)
    assert (S == S.T).all()


def test_shared_features_do_not_make_categories_similar():
    # In 400 dimensions unrelated means are orthogonal to 3 / sqrt(400); sharing half the features would give 0.5.
    X = np.random.default_rng(0).normal(size=(200, 400))
    S = category_similarity(X, {"a": np.arange(20), "b": np.arange(10, 30)})
    assert abs(S[0, 1]) < 3 / np.sqrt(400)


def test_a_direction_common_to_all_features_does_not_count():
    g = np.random.default_rng(0)
    X = g.normal(size=(200, 400))
    X += 3 * g.normal(size=400)
    members = some_members(2, 200, [20, 20])
    assert abs(category_similarity(X, members)[0, 1]) < 3 / np.sqrt(400)


def test_size_is_not_relation():
    # Centring two categories of 30 on one estimate from the other 40 features would give (1/40) / (1/30 + 1/40) = 0.43,
    # on the mean over all 100 features -(1/100) / (1/30 - 1/100) = -0.43.
    g = np.random.default_rng(0)
    members = {"a": np.arange(30), "b": np.arange(30, 60)}
    found = [category_similarity(g.normal(size=(100, 20)), members)[0, 1] for _ in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200)
    assert np.std(found) < 0.3


def test_breadth_is_not_relation():
    # Two pairs of categories whose means meet at the same angle; one pair is tight, the other broad.
    g = np.random.default_rng(0)
    d, n = 500, 200
    E = np.linalg.qr(g.normal(size=(d, 4)))[0].T
    means = [E[0], 0.6 * E[0] + 0.8 * E[1], E[2], 0.6 * E[2] + 0.8 * E[3]]
    spreads = [0.3, 0.3, 2, 2]
    parts = [m + s * g.normal(size=(n, d)) / np.sqrt(d) for m, s in zip(means, spreads, strict=True)]
    X = np.concatenate([*parts, g.normal(size=(2000, d))])
    members = {str(i): np.arange(i * n, (i + 1) * n) for i in range(4)}
    S = category_similarity(X, members)
    # Noise left in a mean of n rows: spread / sqrt(n) = 0.14 of it for the broad ones, which lowers their cosine by 2%.
    assert S[0, 1] == pytest.approx(0.6, abs=0.03)
    assert S[2, 3] == pytest.approx(0.6, abs=0.03)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert (unit[members["2"]] @ unit[members["3"]].T).mean() < 0.2  # what the mean cosine between members would say


def test_similarities_do_not_change_under_rotation_and_scaling_of_rows():
    g = np.random.default_rng(0)
    X, members = g.normal(size=(50, 6)), some_members(0, 50, [10, 10, 10])
    Q = np.linalg.qr(g.normal(size=(6, 6)))[0]
    moved = (X @ Q) * g.uniform(0.1, 10, 50)[:, None]
    np.testing.assert_allclose(category_similarity(moved, members), category_similarity(X, members), atol=1e-13)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": [0]}, "at least 2 categories are needed, got 1"),
        ({"a": [0], "b": []}, "category 'b' has no feature"),
        ({"a": [0], "b": [1, 1]}, "category 'b' names a feature twice"),
        ({"a": [0], "b": [10]}, r"features of category 'b' must be in \[0, 10\), got 10"),
        ({"a": [0], "b": [-1]}, r"features of category 'b' must be in \[0, 10\), got -1"),
        ({"a": [0, 1], "b": [1]}, "category 'b' has no feature that is not in 'a' too"),
        ({"a": [0, 1, 2], "b": [4], "c": [0, 1, 2, 3]}, "category 'a' has no feature that is not in 'c' too"),
    ],
)
def test_bad_members_are_refused(members: dict[str, list[int]], message: str):
    X = np.random.default_rng(0).normal(size=(10, 4))
    with pytest.raises(InputError, match=message):
        category_similarity(X, {name: np.array(rows, dtype=np.int64) for name, rows in members.items()})


def test_rows_without_direction_are_refused():
    X = np.random.default_rng(0).normal(size=(10, 4))
    X[3] = 0
    members = {"a": np.array([0]), "b": np.array([1])}
    with pytest.raises(InputError, match="at least 2 features must be in neither 'b' nor 'a', got 1"):
        category_similarity(X[:3], members)
    with pytest.raises(InputError, match="rows must have a direction, and row 3 is zero"):
        category_similarity(X, members)
    X[3] = np.inf
    with pytest.raises(InputError, match="must be finite"):
        category_similarity(X, members)
    opposite = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 1], [0, 1], [0, -1]])
    with pytest.raises(InputError, match="category 'a' has no direction: its features cancel out"):
        category_similarity(opposite, {"a": np.array([0, 1]), "b": np.array([2])})


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_equal_spearman_of_scipy(ties: bool):
    g = np.random.default_rng(0)

    def symmetric() -> np.ndarray:
        S = g.integers(0, 4, (7, 7)).astype(float) if ties else g.normal(size=(7, 7))
        return S + S.T

    S, T = symmetric(), symmetric()
    orders = np.stack([g.permutation(7) for _ in range(20)])
    lower = np.tril_indices(7, -1)
    wanted = [spearmanr(S[lower], T[np.ix_(p, p)][lower]).statistic for p in orders]
    # Two sums of 21 products below 1.
    np.testing.assert_allclose(rank_correlations(ranked(S), ranked(T), orders), wanted, rtol=0, atol=2 * 21 * 2.2e-16)


def test_matrices_that_cannot_be_ranked_are_refused():
    for S, message in (
        (np.eye(2), "at least 3 pairs, got 2"),
        (np.ones((3, 4)), r"must be symmetric, got a matrix \[3, 4\]"),
        (np.arange(9.0).reshape(3, 3), "must be symmetric"),
        (np.eye(3), "must differ to be ranked, got one value"),
    ):
        with pytest.raises(InputError, match=message):
            ranked(S)
