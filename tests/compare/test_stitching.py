"""Ridge regression from products alone, against scikit-learn and plain NumPy; assignments; partial correlations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from semconv.compare import stitching
from semconv.compare.stitching import PENALTIES, Moments, Ridge, assigned, cosines, partial_correlation, product_at
from semconv.compare.tall import TallRows


def two_spaces(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)) * np.logspace(0, 1.5, 6) + 7
    return X, X @ rng.normal(size=(6, 4)) * 0.1 + 0.5 * rng.normal(size=(n, 4)) - 3


def ridge_by_hand(X: np.ndarray, Y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and both means, by the normal equations."""
    x, y = X - X.mean(0), Y - Y.mean(0)
    S = x.T @ x
    return np.linalg.solve(S + penalty * np.trace(S) / len(S) * np.eye(len(S)), x.T @ y), X.mean(0), Y.mean(0)


def test_ridge_is_that_of_the_normal_equations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stitching, "_ROWS", 64)
    X, Y = two_spaces()
    x, y = (TallRows.centred(torch.from_numpy(rows)) for rows in (X, Y))
    train, test = torch.arange(0, 400, 2), torch.arange(1, 400, 2)
    of = {
        name: (Moments.of(x, at), Moments.of(y, at), product_at(x, at, y, at))
        for name, at in (("fit", train), ("test", test))
    }
    ridge = Ridge(*of["fit"])
    found = ridge.r2(*of["test"], PENALTIES)
    for penalty, r2 in zip(PENALTIES, found, strict=True):
        W, mean_x, mean_y = ridge_by_hand(X[train], Y[train], penalty)
        np.testing.assert_allclose(ridge.weights(penalty), W, rtol=1e-7, atol=1e-10)
        left = Y[test] - mean_y - (X[test] - mean_x) @ W
        wanted = 1 - np.square(left).sum() / np.square(Y[test] - Y[test].mean(0)).sum()
        assert r2 == pytest.approx(wanted, abs=1e-9)
    assert 0.3 < found.max() < 1


def test_moments_of_two_parts_are_those_of_both():
    X, _ = two_spaces(100)
    x = TallRows.centred(torch.from_numpy(X))
    both = Moments.of(x, torch.arange(30)) + Moments.of(x, torch.arange(30, 100))
    np.testing.assert_allclose(both.about(both.mean), (X - X.mean(0)).T @ (X - X.mean(0)), rtol=1e-10, atol=1e-8)
    values, vectors = both.spectrum
    np.testing.assert_allclose(vectors @ torch.diag(values) @ vectors.mT, both.about(both.mean), atol=1e-8)


def test_cosines_and_the_best_assignment():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(6, 3))
    y[2] = 0
    found = cosines(torch.from_numpy(x), torch.from_numpy(y))
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.maximum(np.linalg.norm(y, axis=1), 1e-300)
    np.testing.assert_allclose(found, x @ y.T / lengths, atol=1e-12)
    rows, columns = assigned(found)
    assert rows.tolist() == list(range(5))
    best = max(permutations(range(6), 5), key=lambda p: sum(found[i, j] for i, j in enumerate(p)))
    assert columns.tolist() == list(best)


def test_partial_correlation_is_that_of_residuals():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    x, y, given = data[:, 0], data[:, 1], np.column_stack([np.ones(200), data[:, 2:]])
    left = [v - given @ np.linalg.lstsq(given, v, rcond=None)[0] for v in (x, y)]
    wanted = np.corrcoef(*left)[0, 1]
    r = np.corrcoef(data.T)
    np.testing.assert_allclose(partial_correlation(np.stack([r, r])), [wanted] * 2, rtol=1e-9)
    assert partial_correlation(r[:2, :2]) == pytest.approx(r[0, 1])
    twice = np.corrcoef(np.column_stack([data[:, :3], data[:, 2]]).T)
    assert np.isnan(partial_correlation(twice))
