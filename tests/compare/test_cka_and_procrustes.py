"""CKA and Procrustes against their definitions, SciPy and a published package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes as scipy_procrustes

from semconv.compare import CKA, cka, procrustes
from tests._helpers.spaces import spaces

SHAPES = [{}, {"n": 300, "d_x": 5, "d_y": 4}, {"n": 12, "d_x": 60, "d_y": 70}]  # Gram form, features form, wide


def gram(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(axis=0)) @ (X - X.mean(axis=0)).T


def hsic_of_song(K: np.ndarray, L: np.ndarray) -> float:
    """Song et al. 2012, equation 5, term by term."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    terms = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ K @ L @ one
    return float(terms / (n * (n - 3)))


@pytest.mark.filterwarnings("ignore::semconv.compare.SaturationWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_cka_equals_its_definition(shape: dict):
    X, Y = spaces(**shape)
    K, L = gram(X), gram(Y)
    assert cka(X, Y) == pytest.approx(np.sum(K * L) / np.linalg.norm(K) / np.linalg.norm(L), abs=1e-12)
    K, L = X @ X.T, Y @ Y.T  # the unbiased estimate centres by itself
    expected = hsic_of_song(K, L) / np.sqrt(hsic_of_song(K, K) * hsic_of_song(L, L))
    assert cka(X, Y, unbiased=True) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_unbiased_cka_equals_pytorch_cka(shape: dict):
    peer = pytest.importorskip("cka.hsic", reason="pytorch-cka is not installed")
    X, Y = spaces(**shape)
    xy, xx, yy = peer.hsic(*(torch.from_numpy(M @ M.T)[None] for M in (X, Y)))
    assert cka(X, Y, unbiased=True) == pytest.approx(float(xy / (xx * yy).sqrt()), abs=1e-11)


def test_unbiased_cka_has_mean_zero_under_random_pairing_and_the_biased_one_has_not():
    X, Y = np.random.default_rng(0).normal(size=(2, 60, 50))
    permutations = np.stack([np.random.default_rng(i).permutation(60) for i in range(2000)])
    nulls = [m.null_scores(m.prepare(X), m.prepare(Y), permutations) for m in (CKA(), CKA(unbiased=True))]
    assert nulls[0].mean() > 0.4
    assert abs(nulls[1].mean()) < 4 * nulls[1].std() / np.sqrt(2000)  # four standard errors


@pytest.mark.parametrize("n", [200, 30])
@pytest.mark.parametrize(("d_x", "d_y"), [(24, 24), (24, 40), (40, 24)])
@pytest.mark.filterwarnings("ignore::semconv.compare.SaturationWarning")
def test_procrustes_equals_scipy(n: int, d_x: int, d_y: int):
    X, Y = spaces(n=n, d_x=d_x, d_y=d_y)
    A, B = (M - M.mean(axis=0) for M in (X, Y))
    A, B = (np.pad(M / np.linalg.norm(M), ((0, 0), (0, max(d_x, d_y) - M.shape[1]))) for M in (A, B))
    rotation, scale = orthogonal_procrustes(A, B)
    assert procrustes(X, Y) == pytest.approx(scale, abs=1e-11)
    # What the score means: the distance that is left after the best rotation.
    assert np.linalg.norm(A @ rotation - B) ** 2 == pytest.approx(2 - 2 * procrustes(X, Y), abs=1e-10)
    # SciPy's disparity also fits the scale.
    assert scipy_procrustes(A, B)[2] == pytest.approx(1 - procrustes(X, Y) ** 2, abs=1e-10)


def test_procrustes_of_spaces_without_full_rank_is_as_accurate():
    """Zero singular values of X'Y must not come back as the square root of a rounding (1e-8 each)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 40))
    Y = X[:, :10] + 1e-7 * rng.normal(size=(200, 10))
    A, B = (M - M.mean(axis=0) for M in (X, Y))
    expected = np.linalg.svd(A.T @ B, compute_uv=False).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert procrustes(X, Y) == pytest.approx(expected, abs=1e-11)


def test_huge_and_tiny_numbers_are_only_another_unit():
    X, Y = spaces()
    for factor in (1e200, 1e-200):
        assert cka(factor * X, Y) == pytest.approx(cka(X, Y), abs=1e-12)
        assert procrustes(factor * X, Y) == pytest.approx(procrustes(X, Y), abs=1e-12)
