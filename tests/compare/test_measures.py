"""What every measure must keep: known answers, invariances, the null form, refusals; SVCCA and RSA by definition."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group, spearmanr

from semconv import InputError
from semconv.compare import (
    CKA,
    PWCCA,
    RSA,
    SVCCA,
    MeanSquaredCC,
    MutualKNN,
    Procrustes,
    SaturationWarning,
    cka,
    mean_squared_cc,
    mutual_knn,
    procrustes,
    pwcca,
    rsa,
    svcca,
)
from tests._helpers.spaces import spaces

SVCCAS = [SVCCA("pc1"), SVCCA("variance"), SVCCA("fixed_k", k=5)]
RSAS = [RSA(), RSA("cosine"), RSA(rank="kendall"), RSA("cosine", "kendall")]
PWCCAS = [PWCCA(), PWCCA("y"), PWCCA("mean")]
OTHERS = [MeanSquaredCC(), CKA(), CKA(unbiased=True), Procrustes(), MutualKNN(k=7)]
MEASURES = [*SVCCAS, *RSAS, *PWCCAS, *OTHERS]


def score(measure, X: np.ndarray, Y: np.ndarray) -> float:
    return measure.score(measure.prepare(X), measure.prepare(Y))


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


@pytest.mark.slow
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
    assert score(measure, X, X) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_scores_tell_shared_structure_from_none(measure):
    """A measure that always says the same would pass every invariance below."""
    shared = score(measure, *spaces())
    X, Y = spaces()
    unrelated = score(measure, X, Y[np.random.default_rng(9).permutation(len(Y))])
    assert unrelated < shared - 0.05


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_null_scores_equal_permuting_the_rows_first(measure):
    X, Y = spaces(n=120)
    rng = np.random.default_rng(1)
    permutations = np.stack([rng.permutation(len(X)) for _ in range(70)])  # more than one chunk
    x, y = measure.prepare(X), measure.prepare(Y)
    expected = [score(measure, X, Y[p]) for p in permutations]
    # Rounding only: of the basis (1e-15), of the square roots of eigenvalues (1e-11), of PWCCA's vectors (1e-10).
    np.testing.assert_allclose(measure.null_scores(x, y, permutations), expected, rtol=0, atol=1e-9)
    assert measure.null_scores(x, y, np.arange(len(X))[None])[0] == measure.score(x, y)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_null_scores_do_not_depend_on_the_threads(measure):
    X, Y = spaces()
    permutations = np.stack([np.random.default_rng(i).permutation(len(X)) for i in range(5)])
    x, y = measure.prepare(X), measure.prepare(Y)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(measure.null_scores(x, y, permutations))
    finally:
        torch.set_num_threads(before)
    # Integer counts and permuted_dot are the same to the bit; matrix products and decompositions to their rounding.
    exact = measure in RSAS or isinstance(measure, MutualKNN)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=0 if exact else 1e-10)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_the_order_of_the_pairs_does_not_matter(measure):
    X, Y = spaces()
    p = np.random.default_rng(4).permutation(len(X))
    assert score(measure, X[p], Y[p]) == pytest.approx(score(measure, X, Y), abs=1e-9)


@pytest.mark.parametrize("measure", [m for m in MEASURES if m not in PWCCAS[:2]], ids=lambda m: m.name)
def test_swapping_the_spaces_does_not_matter(measure):
    X, Y = spaces()
    assert score(measure, Y, X) == pytest.approx(score(measure, X, Y), abs=1e-10)


@pytest.mark.parametrize("measure", [*SVCCAS, *OTHERS[:4]], ids=lambda m: m.name)
def test_rotation_scale_and_shift_do_not_matter(measure):
    X, Y = spaces()
    rotation = ortho_group.rvs(X.shape[1], random_state=0)
    moved = 3.7 * X @ rotation + 5
    assert score(measure, moved, Y) == pytest.approx(score(measure, X, Y), abs=1e-9)


@pytest.mark.parametrize("measure", [RSA("cosine"), RSA("cosine", "kendall"), MutualKNN()], ids=lambda m: m.name)
def test_cosine_measures_ignore_rotation_and_the_length_of_rows(measure):
    X, Y = spaces()
    rotation = ortho_group.rvs(X.shape[1], random_state=0)
    lengths = np.random.default_rng(2).uniform(0.5, 2, (len(X), 1))
    assert score(measure, lengths * X @ rotation, Y) == pytest.approx(score(measure, X, Y), abs=1e-9)
    assert score(measure, X + 5, Y) != pytest.approx(score(measure, X, Y), abs=1e-3)


@pytest.mark.parametrize("measure", [RSA(), RSA(rank="kendall")], ids=lambda m: m.name)
def test_correlation_rsa_ignores_scale_and_shift_of_rows(measure):
    X, Y = spaces()
    rng = np.random.default_rng(2)
    moved = X * rng.uniform(0.5, 2, (len(X), 1)) + rng.normal(size=(len(X), 1))
    assert score(measure, moved, Y) == pytest.approx(score(measure, X, Y), abs=1e-9)


def test_only_canonical_correlations_ignore_invertible_maps():
    X, Y = spaces()
    A = np.random.default_rng(5).normal(size=(Y.shape[1], Y.shape[1]))
    # A's condition number is about 100: what the maps change is rounding times its square.
    for measure in (MeanSquaredCC(), PWCCA()):  # PWCCA's weights are those of X
        assert score(measure, X, Y @ A + 3) == pytest.approx(score(measure, X, Y), abs=1e-9)
    for measure in (CKA(), Procrustes(), RSA(), MutualKNN(), PWCCA("y"), SVCCA()):
        assert score(measure, X, Y @ A + 3) != pytest.approx(score(measure, X, Y), abs=1e-4)


def test_plain_functions_are_their_measures():
    X, Y = spaces()
    assert rsa(X, Y, "cosine", "kendall") == score(RSA("cosine", "kendall"), X, Y)
    assert pwcca(X, Y, "mean") == score(PWCCA("mean"), X, Y)
    assert mean_squared_cc(X, Y) == score(MeanSquaredCC(), X, Y)
    assert cka(X, Y, unbiased=True) == score(CKA(unbiased=True), X, Y)
    assert procrustes(X, Y) == score(Procrustes(), X, Y)
    assert mutual_knn(X, Y, k=7) == score(MutualKNN(7), X, Y)


def test_names_tell_the_variants_apart():
    names = [m.name for m in MEASURES]
    assert len(set(names)) == len(names)
    assert {"rsa", "rsa_cosine", "rsa_kendall", "pwcca", "mean_squared_cc", "cka", "cka_unbiased"} < set(names)


@pytest.mark.parametrize("measure", [SVCCA(), MeanSquaredCC(), CKA(), Procrustes()], ids=lambda m: m.name)
def test_saturation_is_named(measure):
    X, Y = spaces(n=38, noise=30.0)
    with pytest.warns(SaturationWarning, match=rf"{measure.name} is saturated"):
        score(measure, X, Y)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_enough_pairs_raise_no_warning(measure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(measure, *spaces())


def test_saturated_scores_are_high_for_unrelated_spaces():
    """What the warning says; the unbiased CKA and mutual k-NN, which raise none, stay at their null."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 600)), rng.normal(size=(40, 800))
    with pytest.warns(SaturationWarning):
        assert min(cka(X, Y), procrustes(X, Y), mean_squared_cc(X, Y)) > 0.9
    assert abs(cka(X, Y, unbiased=True)) < 0.2
    assert mutual_knn(X, Y) < 0.45  # 10 of 39 by chance


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_bad_spaces_are_refused(measure):
    X, Y = spaces()
    with pytest.raises(InputError, match=r"shape \[n, d\], got \[200\]"):
        measure.prepare(X[:, 0])
    with pytest.raises(InputError, match=r"at least [34] pairs, got 2"):
        measure.prepare(X[:2])
    with pytest.raises(InputError, match="at least one column"):
        measure.prepare(X[:, :0])
    with pytest.raises(InputError, match="finite"):
        measure.prepare(np.where(X > 0, X, np.nan))
    with pytest.raises(InputError, match="same number of rows, got 200 and 100"):
        score(measure, X, Y[:100])
    with pytest.raises(InputError, match="same number of rows, got 200 and 100"):
        measure.null_scores(measure.prepare(X), measure.prepare(Y[:100]), np.arange(200)[None])


@pytest.mark.parametrize("measure", [*SVCCAS, *PWCCAS, *OTHERS[:4]], ids=lambda m: m.name)
@pytest.mark.parametrize("row", [[0.0, 0.0], [0.1, 0.1], [0.1, -0.7, 0.3], [1e9, 0.3]], ids=str)
def test_identical_rows_are_refused(measure, row: list[float]):
    """A number and the mean of copies of it may differ in the last bit, which is no variance."""
    with pytest.raises(InputError, match="identical rows"):
        measure.prepare(np.tile(row, (13, 1)))


def test_degenerate_spaces_are_refused():
    X, _ = spaces()
    flat, zero = X.copy(), X.copy()
    flat[17], zero[17] = 2.0, 0.0
    with pytest.raises(InputError, match="row 17 is constant"):
        RSA().prepare(flat)
    with pytest.raises(InputError, match="row 17 is zero"):
        RSA("cosine").prepare(zero)
    with pytest.raises(InputError, match="row 17 is zero"):
        MutualKNN().prepare(zero)
    with pytest.raises(InputError, match="RDM of one value"):
        RSA("cosine").prepare(np.eye(5))
    with pytest.raises(InputError, match="RDM of one value"):
        RSA("cosine", "kendall").prepare(np.eye(5))
    with pytest.raises(InputError, match="needs 30 directions, the space has 24"):
        SVCCA("fixed_k", k=30).prepare(X)
    with pytest.raises(InputError, match=r"more pairs than k = 10, got 10"):
        MutualKNN().prepare(X[:10])
    with pytest.raises(InputError, match=r"24 \+ 40 directions of both spaces, got 64"):
        pwcca(*spaces(n=64))
    with pytest.raises(InputError, match="rows all equally far apart"):
        cka(np.eye(6), np.eye(6), unbiased=True)
    with pytest.raises(InputError, match="at least 4 pairs, got 3"):
        CKA(unbiased=True).prepare(X[:3])


def test_unknown_choices_are_refused():
    for make, message in (
        (lambda: SVCCA("pca"), "variant must be"),  # pyright: ignore
        (lambda: SVCCA(threshold=0.0), "threshold must be"),
        (lambda: RSA("euclidean"), "rdm must be"),  # pyright: ignore
        (lambda: RSA(rank="pearson"), "rank must be"),  # pyright: ignore
        (lambda: PWCCA("both"), "weights must be"),  # pyright: ignore
        (lambda: MutualKNN(0), "k of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            make()
