"""Second-order comparison: finds planted relations, and is honest where there are none."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from semconv import InputError
from semconv.statistics.category_relations import label_permutation_test, relate_categories
from semconv.statistics.permutation import permutation_ids


def symmetric(g: np.random.Generator, n: int) -> np.ndarray:
    S = g.normal(size=(n, n))
    return S + S.T


def rho(S: np.ndarray, T: np.ndarray, order: tuple[int, ...] | np.ndarray) -> float:
    lower = np.tril_indices(len(S), -1)
    return float(spearmanr(S[lower], T[np.ix_(order, order)][lower]).statistic)


def test_few_labels_are_enumerated_and_p_is_exact():
    g = np.random.default_rng(0)
    for _ in range(5):
        S, T = symmetric(g, 5), symmetric(g, 5)
        result, exact = label_permutation_test(S, T, n_permutations=120)
        every = np.array([rho(S, T, order) for order in permutations(range(5))])
        assert exact
        np.testing.assert_allclose(np.sort(result.null), np.sort(every[1:]), rtol=0, atol=1e-14)
        assert result.statistic == pytest.approx(every[0], abs=1e-14)
        assert result.p_value == (every >= every[0] - 1e-12).sum() / 120


def test_many_labels_are_drawn_by_the_counter_based_generator():
    g = np.random.default_rng(0)
    S, T = symmetric(g, 5), symmetric(g, 5)
    result, exact = label_permutation_test(S, T, n_permutations=119, seed=3)
    wanted = [rho(S, T, order) for order in permutation_ids(5, 119, seed=3)]
    assert not exact
    np.testing.assert_allclose(result.null, wanted, rtol=0, atol=1e-14)
    assert result.p_value == (np.sum(np.array(wanted) >= result.statistic - 1e-12) + 1) / 120


@pytest.mark.parametrize(("n", "n_permutations"), [(5, 120), (7, 99)])
def test_p_values_are_uniform_when_labels_mean_nothing(n: int, n_permutations: int):
    g = np.random.default_rng(0)
    p = np.array(
        [label_permutation_test(symmetric(g, n), symmetric(g, n), n_permutations, i)[0].p_value for i in range(400)]
    )
    step = 1 / 120 if n == 5 else 1 / 100
    # p is a multiple of the step; uniform noise of one step makes it continuous for the test.
    assert kstest(p - g.uniform(0, step, len(p)), "uniform").pvalue > 0.01
    assert p.min() >= step - 1e-12


def planted(
    g: np.random.Generator, n_features: int, d: int, shape: np.ndarray, sizes: list[int]
) -> tuple[np.ndarray, dict]:
    """A dictionary whose categories point where `shape` [C, h] says, in a basis of its own, and other features."""
    basis = np.linalg.qr(g.normal(size=(d, shape.shape[1])))[0].T
    X = g.normal(size=(n_features, d)) / np.sqrt(d)
    order, members, first = g.permutation(n_features), {}, 0
    for number, size in enumerate(sizes):
        rows = order[first : first + size]
        X[rows] += shape[number] @ basis
        members[f"c{number}"], first = np.sort(rows), first + size
    return X, members


def test_planted_relations_are_found_without_any_pairing_of_features():
    g = np.random.default_rng(0)
    shape = g.normal(size=(8, 4))
    X, members_a = planted(g, 400, 60, shape, [12] * 8)
    Y, members_b = planted(g, 500, 90, shape, [15] * 8)
    result = relate_categories(X, Y, members_a, members_b, n_permutations=999)
    assert not result.exact
    assert result.test.statistic > 0.9
    assert result.test.p_value == 1 / 1000
    assert result.names == tuple(members_a)
    assert result.left_out == ()
    # The same with the labels of one side shifted by one finds nothing.
    shifted = dict(zip(members_b, [*list(members_b.values())[1:], members_b["c0"]], strict=True))
    assert relate_categories(X, Y, members_a, shifted, n_permutations=999).test.p_value > 0.05


def test_p_values_are_uniform_for_unrelated_models_with_equal_sizes_of_categories():
    # Both models have a common direction, and the same sizes and overlaps of categories: none may look like relation.
    g = np.random.default_rng(0)
    p: list[float] = []
    for _ in range(150):
        sides = []
        for n_features, d in ((200, 20), (250, 30)):
            X = g.normal(size=(n_features, d)) + 1
            members = {f"c{i}": np.arange(20 * i, 20 * i + size) for i, size in enumerate([2, 5, 30, 10, 40])}
            sides.append((X, members))
        (X, members_a), (Y, members_b) = sides
        p.append(relate_categories(X, Y, members_a, members_b, n_permutations=120).test.p_value)
    assert kstest(np.array(p) - g.uniform(0, 1 / 120, len(p)), "uniform").pvalue > 0.01


def test_thin_categories_are_left_out_by_name():
    g = np.random.default_rng(0)
    X = g.normal(size=(50, 6))
    sizes_a, sizes_b = {"p": 4, "q": 1, "r": 5, "s": 3, "t": 0}, {"p": 3, "q": 9, "r": 3, "s": 6, "t": 5}
    a, b = ({k: np.arange(10 * i, 10 * i + n) for i, (k, n) in enumerate(s.items())} for s in (sizes_a, sizes_b))
    result = relate_categories(X, X, a, b, min_features=3)
    assert result.names == ("p", "r", "s")
    assert result.left_out == ("q", "t")
    assert result.exact
    assert len(result.test.null) == 5
    assert result.similarity_a.shape == (3, 3)
    assert relate_categories(X, X, a, dict(reversed(b.items()))).left_out == ("t",)


def test_a_category_inside_another_is_left_out():
    X = np.random.default_rng(0).normal(size=(50, 6))
    a = {
        "big": np.arange(10),
        "p": np.arange(20, 25),
        "small": np.arange(3),
        "q": np.arange(30, 35),
        "twin": np.arange(10),
    }
    b = {name: np.arange(10 * i, 10 * i + 8) for i, name in enumerate(a)}
    for sides in ((a, b), (b, a)):
        result = relate_categories(X, X, *sides)
        assert result.left_out == ("big", "small")
        assert result.names == ("p", "q", "twin")


def test_bad_input_is_refused():
    g = np.random.default_rng(0)
    X, S = g.normal(size=(10, 4)), symmetric(g, 4)
    members = {name: np.array([i]) for i, name in enumerate("abc")}
    other = {name: np.array([i]) for i, name in enumerate("abd")}
    with pytest.raises(InputError, match="the same categories, got c, d on one side only"):
        relate_categories(X, X, members, other)
    with pytest.raises(InputError, match="at least 3 categories with 2 features in both models are needed, got 0"):
        relate_categories(X, X, members, members, min_features=2)
    with pytest.raises(InputError, match="n_permutations must be at least 1, got 0"):
        label_permutation_test(S, S, 0)
    with pytest.raises(InputError, match="seed must be at least 0 .*got -1"):
        label_permutation_test(S, S, 10, seed=-1)
    with pytest.raises(InputError, match=r"same shape, got \[4, 4\] and \[3, 3\]"):
        label_permutation_test(S, S[:3, :3])
