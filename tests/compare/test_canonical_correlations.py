"""The bases, PWCCA and the mean squared canonical correlation against SciPy and textbook forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import eigh, subspace_angles

from semconv.compare import PWCCA, SVCCA, SaturationWarning, cross, mean_squared_cc, pwcca, svcca
from semconv.compare.cross import Linear, squared_norms
from tests._helpers.spaces import spaces


def centred(X: np.ndarray) -> np.ndarray:
    return X - X.mean(axis=0)


def canonical_correlations(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Cosines of SciPy's principal angles between the column spaces, descending."""
    return np.sort(np.cos(subspace_angles(centred(X), centred(Y))))[::-1]


@pytest.mark.parametrize(("d_x", "d_y"), [(24, 40), (40, 24), (30, 30), (1, 40), (24, 1)])
def test_mean_squared_cc_equals_principal_angles(d_x: int, d_y: int):
    X, Y = spaces(d_x=d_x, d_y=d_y)
    assert mean_squared_cc(X, Y) == pytest.approx(np.mean(canonical_correlations(X, Y) ** 2), abs=1e-10)


def test_mean_squared_cc_of_nested_and_of_orthogonal_spaces():
    Q = np.linalg.qr(centred(np.random.default_rng(0).normal(size=(50, 12))))[0]
    A = np.random.default_rng(1).normal(size=(4, 4))
    assert mean_squared_cc(Q[:, :4] @ A, Q) == pytest.approx(1, abs=1e-10)
    assert mean_squared_cc(Q[:, :4] @ A, Q[:, 4:]) == pytest.approx(0, abs=1e-10)
    assert mean_squared_cc(Q[:, :4] @ A, Q[:, 2:6]) == pytest.approx(0.5, abs=1e-10)


def test_mean_squared_cc_of_random_pairing_is_the_share_of_dimensions():
    X, Y = np.random.default_rng(0).normal(size=(2, 300, 30))
    # k_y / (n - 1) = 0.1; the sum of 900 nearly independent beta variables has a relative sd of 5%.
    assert mean_squared_cc(X, Y) == pytest.approx(30 / 299, rel=0.25)


def pwcca_by_definition(X: np.ndarray, Y: np.ndarray, weights_of_y: bool) -> float:
    """CCA as a generalised eigenproblem of covariances; nothing shared with ours, which forms none."""
    X, Y = centred(X), centred(Y)
    k = min(X.shape[1], Y.shape[1])
    if weights_of_y:
        X, Y = Y, X
    within, cross = X.T @ X, X.T @ Y
    rho2, directions = eigh(cross @ np.linalg.solve(Y.T @ Y, cross.T), within)
    rho, H = np.sqrt(rho2[::-1][:k].clip(0)), (X @ directions[:, ::-1])[:, :k]
    H = H / np.linalg.norm(H, axis=0)
    weights = np.abs(H.T @ X).sum(axis=1)
    return float(weights @ rho / weights.sum())


@pytest.mark.parametrize(("d_x", "d_y"), [(24, 40), (40, 24), (30, 30), (1, 20)])
def test_pwcca_equals_its_definition(d_x: int, d_y: int):
    X, Y = spaces(d_x=d_x, d_y=d_y)
    of_x, of_y = pwcca_by_definition(X, Y, False), pwcca_by_definition(X, Y, True)
    # The oracle squares the condition of the covariances (about 1e4) and the weak correlations.
    assert pwcca(X, Y) == pytest.approx(of_x, abs=1e-8)
    assert pwcca(X, Y, "y") == pytest.approx(of_y, abs=1e-8)
    assert pwcca(X, Y, "mean") == pytest.approx((of_x + of_y) / 2, abs=1e-8)


def test_pwcca_weights_tell_strong_shared_directions_from_weak_ones():
    """Two of four dimensions are shared; PWCCA is high when those are the strong ones, the plain mean is not."""
    rng = np.random.default_rng(0)
    Z, N, M = rng.normal(size=(3, 2000, 2))
    Y = np.hstack([Z + 0.1 * rng.normal(size=Z.shape), M])
    assert pwcca(np.hstack([10 * Z, N]), Y) > 0.85
    assert pwcca(np.hstack([Z, 10 * N]), Y) < 0.25
    for X in (np.hstack([10 * Z, N]), np.hstack([Z, 10 * N])):
        assert mean_squared_cc(X, Y) == pytest.approx(0.5, abs=0.02)


def test_pwcca_with_zero_correlations_keeps_its_weights_finite():
    """The vectors of zero correlations on the larger side cannot be had from M'u / s."""
    Q = np.linalg.qr(centred(np.random.default_rng(0).normal(size=(60, 9))))[0]
    X, Y = Q[:, :2], Q[:, 1:]
    assert pwcca(X, Y) == pytest.approx(1 / 2, abs=1e-9)
    assert 0 < pwcca(X, Y, "y") < 1


@pytest.mark.parametrize("rho", [2e-3, 5e-4, 1e-7])
def test_pwcca_of_known_canonical_vectors_however_weak(rho: float):
    """Spans with correlations 1 and rho; which of two ways finds the vectors depends on rho."""
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(centred(rng.normal(size=(300, 12))))[0]
    of_x = Q[:, :2]
    of_y = np.stack([Q[:, 0], rho * Q[:, 1] + np.sqrt(1 - rho**2) * Q[:, 2]], axis=1)
    X = of_x @ np.array([[2.0, 1.0], [0.5, 1.0]])
    Y = np.hstack([of_y, Q[:, 3:]]) @ rng.normal(size=(11, 11))
    for weights, vectors, space in (("x", of_x, X), ("y", of_y, Y)):
        a = np.abs(vectors.T @ space).sum(axis=1)
        # The bases are good to about 1e-13, and a vector that is found through rho to 1 / rho times that.
        assert pwcca(X, Y, weights) == pytest.approx((a[0] + rho * a[1]) / a.sum(), abs=1e-12 / rho)


@pytest.mark.parametrize(("d_x", "d_y"), [(3, 4), (30, 50), (20, 100)])
def test_both_forms_of_the_squared_norm_agree_with_numpy(d_x: int, d_y: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    X, Y = centred(rng.normal(size=(70, d_x))), centred(rng.normal(size=(70, d_y)))
    permutations = np.stack([rng.permutation(70) for _ in range(5)])
    expected = [np.linalg.norm(X.T @ Y[p]) ** 2 for p in permutations]
    for below in (0, 10**9):
        monkeypatch.setattr("semconv.compare.cross.features_form_below", lambda n, below=below: below)
        np.testing.assert_allclose(
            squared_norms(Linear(torch.from_numpy(X)), Linear(torch.from_numpy(Y)), permutations), expected, rtol=1e-12
        )


def test_svcca_ignores_how_many_directions_a_chunk_holds(monkeypatch: pytest.MonkeyPatch):
    X, Y = spaces()
    measure, permutations = SVCCA(), np.stack([np.random.default_rng(i).permutation(200) for i in range(9)])
    x, y = measure.prepare(X), measure.prepare(Y)
    expected = measure.null_scores(x, y, permutations)
    monkeypatch.setitem(cross._CHUNK_ENTRIES, "cpu", 1)
    np.testing.assert_allclose(measure.null_scores(x, y, permutations), expected, rtol=0, atol=1e-13)


def test_saturated_measures_still_beat_nothing():
    """As many directions as pairs: SVCCA and the mean squared CC say 1 of noise, and warn; PWCCA refuses."""
    X, Y = np.random.default_rng(0).normal(size=(2, 30, 40))
    with pytest.warns(SaturationWarning):
        assert svcca(X, Y, threshold=1.0) == pytest.approx(1, abs=1e-9)
    with pytest.warns(SaturationWarning):
        assert mean_squared_cc(X, Y) == pytest.approx(1, abs=1e-9)
    with pytest.raises(ValueError, match="PWCCA needs more pairs"):
        PWCCA().score(PWCCA().prepare(X), PWCCA().prepare(Y))
