"""Directions, singular values and complements against SciPy, on spectra from the benign to the hostile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from semconv.compare import (
    SVCCA,
    MeanSquaredCC,
    SharedRows,
    cross,
    leading_subspace,
    make_measures,
    mean_squared_cc,
    procrustes,
    row_products,
    svcca,
)
from semconv.compare.cross import Basis, mean_correlations, singular_values
from semconv.compare.directions import Directions
from semconv.compare.leading_subspace import leading_eigenvectors
from semconv.compare.ranks import average_ranks, dense_ranks, sorted_ranks
from semconv.compare.row_products import RowProducts
from semconv.compare.symmetric_product import symmetric_product
from tests._helpers.spaces import spaces
from tests._helpers.spectra import SPECTRA, centred, scaled


def directions(X: np.ndarray) -> Directions:
    return Directions(torch.from_numpy(X))


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[int, ...]]:
    """The shapes that a routine of torch.linalg is called with from here on."""
    calls, original = list[tuple[int, ...]](), getattr(torch.linalg, name)

    def call(A: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        calls.append(tuple(A.shape))
        return original(A, *args, **kwargs)

    monkeypatch.setattr(torch.linalg, name, call)
    return calls


@pytest.mark.parametrize("n", [15, 60])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("keep", [{}, {"threshold": 0.9}, {"k": 3}], ids=["all", "share", "k"])
def test_directions_equal_an_svd(spectrum: np.ndarray, n: int, keep: dict):
    X = scaled(spectrum[: n - 1], n)
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s[0] * 1e-13).sum())
    kept = keep.get("k", rank)
    if "threshold" in keep:
        kept = int(np.argmax(np.cumsum(s**2) / np.sum(s**2) >= keep["threshold"])) + 1
    found, values = directions(X).leading("test", **keep)
    found = found.numpy()
    assert found.shape == (n, kept)
    np.testing.assert_allclose(values, s[:kept], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.T @ found, np.eye(kept), atol=1e-10)
    # The subspace, not the vectors, whose signs and order among equal values are free. X is known to its rounding,
    # and a subspace to that divided by the distance of the last singular value kept to the next one, or to zero.
    off = 1e-15 / ((s[kept - 1] - (s[kept] if kept < rank else 0)) / s[0])
    np.testing.assert_allclose(found @ found.T, U[:, :kept] @ U[:, :kept].T, atol=max(1e-9, 10 * off))


def test_directions_asked_for_one_after_another_are_those_of_one_call():
    X, _ = spaces()
    together = directions(centred(X))
    for keep in ({"k": 1}, {"threshold": 0.9}, {"k": 3}, {}):
        found, values = together.leading("test", **keep)
        alone, expected = directions(centred(X)).leading("test", **keep)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_allclose(found.numpy(), alone.numpy(), rtol=0, atol=1e-14)
        assert found.is_contiguous()


def test_the_svd_is_taken_only_where_a_gram_matrix_is_not_accurate(monkeypatch: pytest.MonkeyPatch):
    calls = counted(monkeypatch, "svd")
    directions(scaled(SPECTRA["power law"], 60)).leading("test")
    directions(scaled(SPECTRA["steep"], 60)).leading("test", threshold=0.9)
    assert not calls
    directions(scaled(SPECTRA["steep"], 60)).leading("test")
    directions(scaled(SPECTRA["close pair at the cut"], 60)).leading("test", k=3)
    directions(scaled(SPECTRA["rank 3"], 60)).leading("test")
    assert len(calls) == 3


LARGE = {
    "power law": np.arange(1, 1101.0) ** -1,
    "steep": np.geomspace(1, 1e-9, 1100),
    "rank 25": np.append(np.linspace(2, 1, 25), np.zeros(1075)),
}


def with_eigenvalues(values: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    V = np.linalg.qr(np.random.default_rng(0).normal(size=(len(values), len(values))))[0]
    G = (V * values) @ V.T
    return torch.from_numpy((G + G.T) / 2), V


@pytest.mark.parametrize("k", [1, 18])
@pytest.mark.parametrize("values", LARGE.values(), ids=LARGE)
def test_a_few_leading_eigenvectors_are_those_of_the_whole_decomposition(values: np.ndarray, k: int):
    G, V = with_eigenvalues(values)
    found = leading_eigenvectors(G, k)
    assert found is not None
    np.testing.assert_allclose(found[0].numpy(), values[:k], rtol=1e-13)
    assert values[k] < found[2] < values[k - 1]
    Q = found[1].numpy()
    np.testing.assert_allclose(Q.T @ Q, np.eye(k), rtol=0, atol=1e-13)
    off = 1e-15 * values[0] / (values[k - 1] - values[k])  # G is known to its rounding
    assert np.linalg.norm(Q - V[:, :k] @ (V[:, :k].T @ Q), 2) < 100 * off


def test_a_flat_spectrum_is_left_to_the_whole_decomposition():
    assert leading_eigenvectors(with_eigenvalues(np.linspace(2, 1, 1100))[0], 18) is None


def test_an_eigenvector_that_was_missed_is_noticed(monkeypatch: pytest.MonkeyPatch):
    G = torch.diag(torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64))
    axes = torch.eye(5, dtype=torch.float64)
    for found, is_right in (([0, 1, 2], True), ([1, 2, 3], False), ([0, 2, 3], False)):
        pairs = G.diagonal()[found], axes[:, found], 0.0
        monkeypatch.setattr(leading_subspace, "_ritz_pairs", lambda *_, pairs=pairs: iter([pairs]))
        assert (leading_eigenvectors(G, 2) is not None) == is_right


@pytest.mark.parametrize("wide", [False, True])
def test_a_few_directions_alone_need_no_whole_decomposition(wide: bool, monkeypatch: pytest.MonkeyPatch):
    X = np.random.default_rng(0).normal(size=(1200, 1100)) * np.arange(1, 1101.0) ** -0.5
    X = centred(X.T if wide else X)
    X /= np.linalg.norm(X)
    whole, s = Directions(torch.from_numpy(X), all_needed=True).leading("test", k=10)
    eigs = counted(monkeypatch, "eigh")
    few, values = directions(X).leading("test", k=10)
    assert eigs
    assert max(shape[0] for shape in eigs) <= 550
    np.testing.assert_allclose(values, s, rtol=1e-13)
    np.testing.assert_allclose((few @ few.T).numpy(), (whole @ whole.T).numpy(), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_few_directions_that_are_not_apart_from_the_next_get_the_svd(monkeypatch: pytest.MonkeyPatch):
    X = np.linalg.qr(centred(np.random.default_rng(0).normal(size=(1200, 1100))))[0] * np.append(
        np.full(20, 2.0), np.ones(1080)
    )
    svds = counted(monkeypatch, "svd")
    directions(X / np.linalg.norm(X)).leading("test", k=10)
    assert len(svds) == 1


def test_no_few_directions_are_looked_for_where_a_measure_needs_all(monkeypatch: pytest.MonkeyPatch):
    X = np.random.default_rng(0).normal(size=(1200, 1100)) * np.arange(1, 1101.0) ** -1
    eigs = counted(monkeypatch, "eigh")
    rows = SharedRows(X, all_directions=True)
    measures = make_measures(["svcca_pc1", "svcca_variance"])
    for measure in measures:
        measure.prepare_shared(rows)
    assert eigs == [(1100, 1100)]
    assert [measure.needs_all_directions for measure in measures] == [False, True]


@pytest.mark.parametrize("n", [15, 21, 60])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("decomposed", [False, True])
def test_a_column_space_is_that_of_an_svd(spectrum: np.ndarray, n: int, decomposed: bool):
    X = scaled(spectrum[: n - 1], n)
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s[0] * 1e-13).sum())
    shared = directions(X)
    if decomposed:
        shared.leading("test", k=1)
    Q = shared.column_space().numpy()
    np.testing.assert_allclose(Q.T @ Q, np.eye(rank), atol=1e-10)
    off = 1e-15 / (s[rank - 1] / s[0])
    np.testing.assert_allclose(Q @ Q.T, U[:, :rank] @ U[:, :rank].T, atol=max(1e-10, 10 * off))


def test_a_column_space_of_full_rank_needs_no_svd_however_weak_a_direction(monkeypatch: pytest.MonkeyPatch):
    svds, eigs = counted(monkeypatch, "svd"), counted(monkeypatch, "eigh")
    directions(scaled(SPECTRA["steep"], 60)).column_space()
    assert not svds
    assert not eigs
    directions(scaled(SPECTRA["rank 3"], 60)).column_space()
    assert svds


@pytest.mark.filterwarnings("ignore::semconv.compare.SaturationWarning")
def test_measures_that_share_rows_decompose_them_once(monkeypatch: pytest.MonkeyPatch):
    X, Y = spaces(n=80, d_x=24, d_y=60)
    measures = make_measures(["svcca_pc1", "svcca_variance", "svcca_fixed_k", "mean_squared_cc", "pwcca"], svcca_k=5)
    alone = [[m.prepare(X), m.prepare(Y)] for m in measures]
    eigs, others = counted(monkeypatch, "eigh"), [counted(monkeypatch, name) for name in ("svd", "qr")]
    rows = SharedRows(X), SharedRows(Y)
    together = [[m.prepare_shared(one) for one in rows] for m in measures]
    assert eigs == [(24, 24), (60, 60)]
    assert others == [[], []]
    for measure, (x, y), (x_alone, y_alone) in zip(measures[:-1], together, alone, strict=False):
        assert measure.score(x, y) == pytest.approx(measure.score(x_alone, y_alone), abs=1e-12)


@pytest.mark.parametrize("n", [20, 21, 40, 300])
@pytest.mark.parametrize("of_y", SPECTRA)
@pytest.mark.parametrize("of_x", SPECTRA)
@pytest.mark.filterwarnings("ignore::semconv.compare.SaturationWarning")
def test_scores_of_shared_rows_are_those_of_each_measure_alone(of_x: str, of_y: str, n: int):
    """n below, at and above the 20 columns, and one more than them; every row of the last 5 stands there twice."""
    X, Y = (scaled(SPECTRA[name][: n - 6], n - 5, seed) for seed, name in enumerate((of_x, of_y)))
    X, Y = (np.concatenate([M, M[-5:]]) for M in (X, Y))
    names = ["svcca_pc1", "svcca_variance", "svcca_fixed_k", "mean_squared_cc", "rsa", "cka_unbiased", "procrustes"]
    measures = make_measures([*names, "mutual_knn"], svcca_k=2, knn_k=5)
    rows = SharedRows(X), SharedRows(Y)
    for measure in measures:
        together = measure.score(*(measure.prepare_shared(one) for one in rows))
        alone = measure.score(measure.prepare(X), measure.prepare(Y))
        # The column space of a weak direction is known to rounding over its singular value, whichever way it is found.
        known_to = 1e-12
        if measure.name == "mean_squared_cc":
            known_to += 1e-14 / min(s[s > 1e-13].min() for s in (SPECTRA[of_x], SPECTRA[of_y]))
        assert together == pytest.approx(alone, abs=known_to), measure.name


def test_a_tensor_is_prepared_like_the_array():
    """On the CPU; on CUDA this was not run."""
    X, Y = spaces()
    names = ["svcca_variance", "pwcca", "mean_squared_cc", "rsa", "rsa_kendall", "cka", "procrustes", "mutual_knn"]
    permutations = np.stack([np.random.default_rng(i).permutation(len(X)) for i in range(3)])
    for measure in make_measures(names):
        of_tensors = [measure.prepare(torch.from_numpy(M)) for M in (X, Y)]
        of_arrays = [measure.prepare(M) for M in (X, Y)]
        found, expected = measure.null_scores(*of_tensors, permutations), measure.null_scores(*of_arrays, permutations)
        np.testing.assert_array_equal(found, expected)


def test_rows_of_any_layout_and_type_are_rows_too(recwarn: pytest.WarningsRecorder):
    X = np.random.default_rng(0).integers(-3, 4, (30, 5))
    fixed = X.astype(np.float64)
    fixed.flags.writeable = False
    expected = SVCCA("pc1").prepare(X.astype(np.float64)).features
    for given in (
        X,
        fixed,
        X.astype(np.float32),
        np.asfortranarray(X),
        X[::-1].copy()[::-1],
        fixed.astype(">f8"),
        X.tolist(),
    ):
        assert torch.equal(SVCCA("pc1").prepare(given).features, expected)
    assert not recwarn.list


def off_at_most(spectrum: np.ndarray) -> np.ndarray:
    """By how much a square root of a computed eigenvalue may be off: the eigenvalue is, by 4 eps of the largest."""
    off = 4 * np.finfo(np.float64).eps * spectrum.max() ** 2
    with np.errstate(divide="ignore"):
        return np.minimum(off / (2 * spectrum), off**0.5)


def test_singular_values_are_accurate_for_every_condition():
    rng = np.random.default_rng(0)
    U, V = np.linalg.qr(rng.normal(size=(8, 8)))[0], np.linalg.qr(rng.normal(size=(12, 8)))[0]
    spectra = [np.geomspace(1, smallest, 8) for smallest in (0.5, 1e-4, 2e-5, 5e-6, 1e-12)] + [np.eye(8)[0]]
    M = np.stack([U * s @ V.T for s in spectra])
    for matrices in (M, M.transpose(0, 2, 1)):
        found = singular_values(torch.from_numpy(np.ascontiguousarray(matrices))).numpy()
        for s, spectrum in zip(found, spectra, strict=True):
            bound = off_at_most(spectrum).sum()
            if bound > 1e-9 * spectrum.sum():  # then it is an SVD
                bound = 1e-13
            assert np.abs(s - np.sort(spectrum)).max() < bound
            assert abs(s.sum() - spectrum.sum()) < bound


@pytest.mark.parametrize("of_y", SPECTRA)
@pytest.mark.parametrize("of_x", SPECTRA)
def test_nuclear_norms_equal_an_svd_on_every_pair_of_spectra(of_x: str, of_y: str):
    X, Y = scaled(SPECTRA[of_x], 60, 0), scaled(SPECTRA[of_y], 60, 1)
    A, B = centred(X), centred(Y)
    expected = np.linalg.svd(A.T @ B, compute_uv=False).sum() / np.linalg.norm(A) / np.linalg.norm(B)
    assert procrustes(X, Y) == pytest.approx(expected, rel=1e-12)


def test_only_sums_that_may_be_off_get_an_svd(monkeypatch: pytest.MonkeyPatch):
    calls = counted(monkeypatch, "svdvals")
    rng = np.random.default_rng(0)
    U, V = np.linalg.qr(rng.normal(size=(200, 200)))[0], np.linalg.qr(rng.normal(size=(300, 200)))[0]
    one_weak = np.append(np.ones(199), 1e-7)
    many_weak = np.append(np.ones(20), np.full(180, 1e-7))
    M = torch.from_numpy(np.stack([U * s @ V.T for s in (one_weak, many_weak)]))
    found = singular_values(M).sum(dim=1).numpy()
    assert calls == [(1, 200, 200)]  # of the triangle, not of 200 x 300
    assert off_at_most(one_weak).sum() < 1e-9 * 199
    assert found[0] == pytest.approx(one_weak.sum(), abs=off_at_most(one_weak).sum())
    assert found[1] == pytest.approx(many_weak.sum(), rel=1e-13)


def basis(X: np.ndarray) -> Basis:
    return Basis(torch.from_numpy(np.linalg.qr(centred(X))[0]))


@pytest.mark.parametrize(("n", "k_x", "k_y"), [(50, 30, 30), (50, 20, 48), (50, 48, 20), (50, 5, 45), (50, 40, 10)])
def test_correlations_through_the_complement_equal_principal_angles(n: int, k_x: int, k_y: int):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, k_x)), rng.normal(size=(n, k_y))
    x, y = basis(X), basis(Y)
    rest = y.complement.numpy()
    assert rest.shape == (n, n - 1 - k_y)
    whole = np.hstack([np.full((n, 1), n**-0.5), y.features.numpy(), rest])
    np.testing.assert_allclose(whole.T @ whole, np.eye(n), atol=1e-13)
    permutations = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(5))])
    expected = [np.cos(subspace_angles(x.features.numpy(), y.features.numpy()[p])).mean() for p in permutations]
    np.testing.assert_allclose(mean_correlations(x, y, permutations).numpy(), expected, rtol=0, atol=1e-13)


def test_correlations_of_zero_are_found_through_the_complement_too():
    """1 - sin^2 keeps half of the digits of a small cosine; those pairs are taken directly."""
    Q = np.linalg.qr(centred(np.random.default_rng(0).normal(size=(40, 39))))[0][:, :39]
    for cosine in (0.0, 1e-12, 1e-7, 1e-3):
        # 20 and 25 directions of 39: six are shared, and the first of the rest meets at this cosine.
        first = cosine * Q[:, 20] + np.sqrt(1 - cosine**2) * Q[:, 25]
        X, Y = np.hstack([first[:, None], Q[:, 1:20]]), np.hstack([Q[:, 14:24], Q[:, 26:39], Q[:, 24:25], Q[:, 0:1]])
        x, y = Basis(torch.from_numpy(X)), Basis(torch.from_numpy(np.ascontiguousarray(Y)))
        expected = np.linalg.svd(X.T @ Y, compute_uv=False).mean()
        found = mean_correlations(x, y, np.arange(40)[None])
        assert float(found[0]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("n", [10, 24, 25])
@pytest.mark.filterwarnings("ignore::semconv.compare.SaturationWarning")
def test_a_space_that_holds_every_direction_scores_exactly_1(n: int):
    """Not 1 +- 4e-16, by which draws that are all the same would differ."""
    X, Y = spaces(n=n, d_x=24, d_y=5)
    permutations = np.stack([np.random.default_rng(i).permutation(n) for i in range(9)])
    for measure in (MeanSquaredCC(), SVCCA(threshold=1.0)):
        for one, other in ((X, Y), (Y, X), (X, X)):
            x, y = measure.prepare(one), measure.prepare(other)
            assert measure.score(x, y) == 1.0
            assert set(measure.null_scores(x, y, permutations)) == {1.0}
    assert mean_squared_cc(X, Y) == svcca(X, Y, threshold=1.0) == 1.0


@pytest.mark.parametrize("shape", [(1, 3), (7, 4), (512, 9), (513, 9), (1100, 30), (3, 600, 5), (2, 5, 7)])
def test_a_symmetric_product_is_the_product_and_symmetric(shape: tuple[int, ...]):
    A = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    product = symmetric_product(A)
    assert torch.equal(product, product.mT)
    np.testing.assert_allclose(product.numpy(), (A @ A.mT).numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 0.3, 1e3, 1e6], ids=["none", "some", "much", "nearly all"])
def test_similarities_from_inner_products_equal_numpy_whatever_the_mean(offset: float):
    """Without a second product, cosines of 1 - 1e-12 would leave four digits of the rest."""
    X = np.random.default_rng(0).normal(size=(30, 12)) + offset
    products = RowProducts(torch.from_numpy(X))
    correlations, lengths = products.correlations()
    centred_rows = X - X.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(correlations.numpy(), np.corrcoef(X), rtol=0, atol=1e-15 * max(offset, 10))
    np.testing.assert_allclose(lengths.numpy() * np.abs(X).max(), np.linalg.norm(centred_rows, axis=1), rtol=1e-9)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(products.cosines().numpy(), unit @ unit.T, rtol=0, atol=1e-15)
    A = centred(X) / np.linalg.norm(centred(X))
    gram = products.centred_gram(torch.from_numpy(A))
    np.testing.assert_allclose(gram.numpy(), A @ A.T, rtol=0, atol=1e-15)
    for matrix in (correlations, products.cosines(), gram, products.products):
        assert torch.equal(matrix, matrix.T)


def test_measures_that_compare_rows_share_one_product(monkeypatch: pytest.MonkeyPatch):
    X, _ = spaces(d_x=60)
    shapes = list[tuple[int, ...]]()
    for module in (row_products, cross):
        monkeypatch.setattr(
            module, "symmetric_product", lambda A: shapes.append(tuple(A.shape)) or symmetric_product(A)
        )
    rows = SharedRows(X)
    for measure in make_measures(["rsa", "rsa_cosine", "rsa_kendall", "mutual_knn", "cka", "cka_unbiased"]):
        space = measure.prepare_shared(rows)
        assert measure.score(space, space) == pytest.approx(1, abs=1e-12)
    assert shapes == [(200, 60)]


@pytest.mark.parametrize(
    "values", [np.zeros(7), np.arange(9.0)[::-1], np.random.default_rng(0).integers(0, 9, 100) / 8]
)
def test_ranks_by_torch_alone_are_those_of_numpy(values: np.ndarray):
    given = torch.from_numpy(values.copy())
    np.testing.assert_array_equal(sorted_ranks(given, dense=False).numpy(), average_ranks(values))
    np.testing.assert_array_equal(sorted_ranks(given, dense=True).numpy(), dense_ranks(values))
