"""Measures of tall spaces from their products alone: those of the whole spaces, and of plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semconv.compare import cka, svcca, tall
from semconv.compare.tall import TallRows, cross, repeated, tall_cka, tall_svcca
from semconv.system.errors import InputError


def two_spaces(n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two spaces that share three directions, far from 0 and of uneven variance, and the token of every row."""
    rng = np.random.default_rng(0)
    token, shared = rng.integers(0, 40, n), rng.normal(size=(n, 3))
    of_token = rng.normal(size=(40, 3))[token]
    X = (shared + of_token) @ rng.normal(size=(3, 7)) + rng.normal(size=(n, 7)) + 5
    Y = (shared - of_token) @ rng.normal(size=(3, 9)) * 20 + rng.normal(size=(n, 9)) * np.logspace(0, 1, 9) - 3
    return X.astype(np.float32), Y.astype(np.float32), token


def less_means(X: np.ndarray, token: np.ndarray) -> np.ndarray:
    """Rows less the mean of their token, by a loop."""
    out = X.astype(np.float64)
    for one in np.unique(token):
        out[token == one] -= out[token == one].mean(axis=0)
    return out


def of_tokens(X: np.ndarray, token: np.ndarray) -> TallRows:
    return TallRows(torch.from_numpy(X), torch.arange(len(X)), torch.from_numpy(token))


def test_scores_are_those_of_the_whole_spaces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tall, "_ROWS", 64)  # several pieces, and a rest
    X, Y, _ = two_spaces()
    x, y = (TallRows.centred(torch.from_numpy(rows)) for rows in (X, Y))
    product = cross(x, y)
    # float64 sums of the same numbers in another order
    np.testing.assert_allclose(product, (X - X.mean(0, np.float64)).T @ (Y - Y.mean(0, np.float64)), rtol=1e-10)
    assert tall_cka(x, y, product) == pytest.approx(cka(X, Y, unbiased=True), abs=1e-12)
    for threshold in (0.8, 0.99, 1.0):
        wanted = svcca(X, Y, threshold=threshold)
        assert tall_svcca(product, x.directions(threshold), y.directions(threshold)) == pytest.approx(wanted, abs=1e-9)


def test_cka_within_tokens_is_that_of_gram_matrices_without_their_diagonal():
    X, Y, token = two_spaces(300)
    x, y = (of_tokens(rows, token) for rows in (X, Y))
    K, L = (less_means(rows, token) @ less_means(rows, token).T for rows in (X, Y))
    ones, n = np.ones(len(K)), len(K)
    for gram in (K, L):
        np.fill_diagonal(gram, 0)

    def hsic(K: np.ndarray, L: np.ndarray) -> float:
        """Song et al. 2012, equation 5."""
        middle = (ones @ K @ ones) * (ones @ L @ ones) / ((n - 1) * (n - 2))
        return np.trace(K @ L) + middle - 2 / (n - 2) * (ones @ K @ L @ ones)

    wanted = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
    assert tall_cka(x, y, cross(x, y)) == pytest.approx(wanted, abs=1e-11)
    np.testing.assert_allclose(x.at(torch.tensor([5, 0])), less_means(X, token)[[5, 0]], atol=1e-12)
    np.testing.assert_allclose(x.squares, np.square(less_means(X, token)).sum(axis=1), rtol=1e-12)


def test_within_tokens_svcca_is_that_of_the_residuals():
    X, Y, token = two_spaces()
    x, y = (of_tokens(rows, token) for rows in (X, Y))
    wanted = svcca(less_means(X, token), less_means(Y, token), threshold=0.95)
    found = tall_svcca(cross(x, y), x.directions(0.95), y.directions(0.95))
    assert found == pytest.approx(wanted, abs=1e-9)


def test_spaces_that_share_nothing_within_tokens_score_about_zero_there():
    """The bias that is left of two positions a token, which have no other than each other, is below what is said."""
    rng = np.random.default_rng(1)
    token = np.repeat(np.arange(1000), 2)
    of_token = rng.normal(size=(1000, 4))[token] * 5
    X, Y = (np.concatenate([of_token + rng.normal(size=(2000, 4)), rng.normal(size=(2000, 3))], 1) for _ in range(2))
    raw = [TallRows.centred(torch.from_numpy(rows)) for rows in (X, Y)]
    within = [of_tokens(rows, token) for rows in (X, Y)]
    assert tall_cka(*raw, cross(*raw)) > 0.9
    assert abs(tall_cka(*within, cross(*within))) < 7 / 2000 + 3 * 2**0.5 / 1000  # and three standard errors


def test_positions_whose_token_occurs_once_are_left_out():
    at, token = repeated(np.array([7, 3, 7, 9, 3, 8]))
    assert (at.tolist(), token.tolist()) == ([0, 1, 2, 4], [1, 0, 1, 0])
    at, token = repeated(np.array([7, 7, 7, 7]), np.array([1, 2, 1, 3]))  # of two tokenizers
    assert (at.tolist(), token.tolist()) == ([0, 2], [0, 0])
    assert len(repeated(np.arange(5))[0]) == 0


def test_what_cannot_be_compared_is_refused():
    X, Y, _ = two_spaces(10)
    x = TallRows.centred(torch.from_numpy(X))
    with pytest.raises(InputError, match="same number of rows, got 10 and 9"):
        cross(x, TallRows.centred(torch.from_numpy(Y[:9])))
    with pytest.raises(InputError, match="at least 4 positions are needed, got 3"):
        TallRows.centred(torch.from_numpy(X[:3]))
    with pytest.raises(InputError, match="does not vary$"):
        TallRows.centred(torch.full((6, 3), 0.1))
    with pytest.raises(InputError, match="does not vary within tokens"):
        of_tokens(np.repeat(X, 2, axis=0), np.repeat(np.arange(10), 2))
    with pytest.raises(InputError, match="not finite"):
        TallRows.centred(torch.from_numpy(np.where(X[0, 0] == X, np.nan, X)))
    simplex = TallRows.centred(torch.eye(6, dtype=torch.float64))
    with pytest.raises(InputError, match="all equally far apart"):
        tall_cka(simplex, simplex, cross(simplex, simplex))
