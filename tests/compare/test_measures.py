"""SVCCA and RSA against independent forms, known answers and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group, spearmanr

from semconv import InputError
from semconv.compare import RSA, SVCCA, rsa, svcca
from semconv.compare.svcca import SaturationWarning

MEASURES = [SVCCA("pc1"), SVCCA("variance"), SVCCA("fixed_k", k=5), RSA()]


def spaces(n: int = 200, latent: int = 10, d_x: int = 24, d_y: int = 40, noise: float = 0.3, seed: int = 0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, latent))
    X = Z @ rng.normal(size=(latent, d_x)) + noise * rng.normal(size=(n, d_x))
    Y = Z @ rng.normal(size=(latent, d_y)) + noise * rng.normal(size=(n, d_y))
    return X, Y


def unit_rows(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def svcca_by_definition(X: np.ndarray, Y: np.ndarray, k_x: int, k_y: int) -> float:
    """SVD of each space, then CCA by whitening both covariances: the textbook form, no shortcut shared with ours."""

    def reduced(M: np.ndarray, k: int) -> np.ndarray:
        M = M - M.mean(axis=0)
        U, s, _ = np.linalg.svd(M, full_matrices=False)
        return U[:, :k] * s[:k]

    def inverse_root(C: np.ndarray) -> np.ndarray:
        w, V = np.linalg.eigh(C)
        return V @ np.diag(w**-0.5) @ V.T

    P, Q = reduced(X, k_x), reduced(Y, k_y)
    M = inverse_root(P.T @ P) @ (P.T @ Q) @ inverse_root(Q.T @ Q)
    return float(np.linalg.svd(M, compute_uv=False).mean())


def directions_for(X: np.ndarray, threshold: float) -> int:
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    return int(np.argmax(np.cumsum(s**2) >= threshold * np.sum(s**2))) + 1


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99])
def test_svcca_variance_equals_its_definition(threshold: float):
    X, Y = spaces()
    expected = svcca_by_definition(X, Y, directions_for(X, threshold), directions_for(Y, threshold))
    # Whitening loses about the square root of eps where directions are weak; ours never whitens.
    assert svcca(X, Y, threshold=threshold) == pytest.approx(expected, abs=1e-9)


def test_svcca_fixed_k_and_pc1_equal_their_definitions():
    X, Y = spaces()
    assert svcca(X, Y, "fixed_k", k=7) == pytest.approx(svcca_by_definition(X, Y, 7, 7), abs=1e-9)

    def first(M: np.ndarray) -> np.ndarray:
        M = M - M.mean(axis=0)
        return M @ np.linalg.svd(M)[2][0]

    assert svcca(X, Y, "pc1") == pytest.approx(abs(np.corrcoef(first(X), first(Y))[0, 1]), abs=1e-12)


def test_the_three_variants_on_unit_rows_that_share_a_latent():
    """The published code's variant misses what the stated method sees (METHOD: 0.08 against 0.998)."""
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(1500, 40))
    # Both spaces hold the whole latent, but another direction of it is the strongest in each. They are wide, so that
    # scaling rows to unit length is nearly linear in the latent and the exact answer of `variance` nearly 1.
    stretch_x, stretch_y = np.ones(40), np.ones(40)
    stretch_x[0] = stretch_y[1] = 2.0
    X = unit_rows(Z * stretch_x @ rng.normal(size=(40, 1000)))
    Y = unit_rows(Z * stretch_y @ rng.normal(size=(40, 1500)))
    assert svcca(X, Y, "pc1") < 0.15
    assert svcca(X, Y, "variance") > 0.95
    assert 0.3 < svcca(X, Y, "fixed_k", k=20) < 0.95


def test_rsa_equals_scipy():
    X, Y = spaces()
    lower = np.tril_indices(len(X), -1)
    assert rsa(X, Y) == pytest.approx(spearmanr(np.corrcoef(X)[lower], np.corrcoef(Y)[lower]).statistic, abs=1e-12)


def test_rsa_with_ties_equals_scipy():
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 3, (40, 4)).astype(float), rng.integers(0, 3, (40, 4)).astype(float)
    X[X.std(axis=1) == 0, 0] += 1
    Y[Y.std(axis=1) == 0, 0] += 1
    lower = np.tril_indices(40, -1)
    # Correlations that are equal in exact arithmetic may differ in the last bit, so ranks of ties may: round both.
    expected = spearmanr(np.corrcoef(X)[lower].round(12), np.corrcoef(Y)[lower].round(12)).statistic
    assert rsa(X, Y) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_a_space_equals_itself(measure):
    X, _ = spaces()
    x = measure.prepare(X)
    assert measure.score(x, x) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_null_scores_equal_permuting_the_rows_first(measure):
    X, Y = spaces()
    rng = np.random.default_rng(1)
    permutations = np.stack([rng.permutation(len(X)) for _ in range(4)])
    expected = [measure.score(measure.prepare(X), measure.prepare(Y[p])) for p in permutations]
    found = measure.null_scores(measure.prepare(X), measure.prepare(Y), permutations)
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("measure", MEASURES[:3], ids=lambda m: m.name)
def test_svcca_ignores_rotation_scale_and_shift(measure):
    X, Y = spaces()
    rotation = ortho_group.rvs(X.shape[1], random_state=0)
    moved = 3.7 * X @ rotation + 5
    expected = measure.score(measure.prepare(X), measure.prepare(Y))
    assert measure.score(measure.prepare(moved), measure.prepare(Y)) == pytest.approx(expected, abs=1e-9)


def test_rsa_ignores_scale_and_shift_of_rows():
    X, Y = spaces()
    rng = np.random.default_rng(2)
    moved = X * rng.uniform(0.5, 2, (len(X), 1)) + rng.normal(size=(len(X), 1))
    assert rsa(moved, Y) == pytest.approx(rsa(X, Y), abs=1e-9)


def test_saturation_is_named():
    X, Y = spaces(n=50, noise=30.0)
    with pytest.warns(SaturationWarning, match="saturated"):
        svcca(X, Y)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_bad_spaces_are_refused(measure):
    X, Y = spaces()
    with pytest.raises(InputError, match=r"shape \[n, d\], got \[200\]"):
        measure.prepare(X[:, 0])
    with pytest.raises(InputError, match="at least 3 pairs, got 2"):
        measure.prepare(X[:2])
    with pytest.raises(InputError, match="finite"):
        measure.prepare(np.where(X > 0, X, np.nan))
    with pytest.raises(InputError, match="same number of rows, got 200 and 100"):
        measure.score(measure.prepare(X), measure.prepare(Y[:100]))


def test_degenerate_spaces_are_refused():
    X, _ = spaces()
    flat = X.copy()
    flat[17] = 2.0
    with pytest.raises(InputError, match="row 17 is constant"):
        RSA().prepare(flat)
    with pytest.raises(InputError, match="identical rows"):
        SVCCA().prepare(np.ones((10, 4)))
    with pytest.raises(InputError, match="needs 30 directions, the space has 24"):
        SVCCA("fixed_k", k=30).prepare(X)
    with pytest.raises(InputError, match="variant must be"):
        SVCCA("pca")  # pyright: ignore
    with pytest.raises(InputError, match="threshold must be"):
        SVCCA(threshold=0.0)
