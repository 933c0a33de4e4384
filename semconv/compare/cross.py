"""X'PY for many permutations P of the rows: its singular values, or only its squared Frobenius norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import check_paired
from semconv.compare.symmetric_product import symmetric_product
from semconv.core import ops

_CHUNK = 64  # permutations whose small matrices are decomposed in one call
_CHUNK_ENTRIES = {"cpu": 2**24, "cuda": 2**28}  # and no more than this many float64 of them at once: 128 MiB, 2 GiB
_EIGENVALUE = 4 * torch.finfo(torch.float64).eps  # share of the largest by which a computed eigenvalue may be off
_SUM = 1e-9  # share of a sum of square roots by which it may be off in the worst case


def cross_products(
    x: Float[Tensor, "n k_x"], y: Float[Tensor, "n k_y"], permutations: Int[ndarray, "m n"]
) -> Iterator[Tensor]:
    """Yields x' y[p] for chunks of permutations, each float64 [chunk, k_x, k_y], on the device of both.

    All in torch: NumPy brings a thread pool of its own, and the two spin against each other (3x slower).

    Raises:
        InputError: other numbers of rows.
    """
    check_paired(len(x), len(y))
    left = x.T.contiguous()
    entries = _CHUNK_ENTRIES["cuda" if x.is_cuda else "cpu"]
    chunk = max(1, min(_CHUNK, entries // max(1, max(len(x), x.shape[1]) * y.shape[1])))
    for p in torch.from_numpy(permutations).to(x.device).split(chunk):
        yield left @ y[p]


def singular_values(M: Float[Tensor, "m a b"]) -> Float[Tensor, "m k"]:
    """Returns the singular values of matrices, ascending, k = min(a, b), for their sum.

    They are the square roots of the eigenvalues of the smaller Gram matrix where those give their sum: an eigenvalue is
    off by up to 4 eps s_1^2, so its root by up to 2 eps s_1^2 / s, and all of them together must stay below 1e-9 of the
    sum in the worst case (`_sums_are_accurate`). Other matrices are reduced to a triangle by a QR and get an SVD, which
    is accurate to eps s_1 for every value.
    """
    M = M if M.shape[1] <= M.shape[2] else M.mT
    squares = torch.linalg.eigvalsh(symmetric_product(M)).clamp(min=0)
    s = squares.sqrt()
    weak = ~_sums_are_accurate(squares, squares[:, -1])
    if weak.any():
        s[weak] = torch.linalg.svdvals(torch.linalg.qr(M[weak].mT, mode="r").R).flip(1)
    return s


def _sums_are_accurate(squares: Float[Tensor, "m k"], largest: Float[Tensor, " m"]) -> Tensor:
    """Whether the sum of the square roots of computed eigenvalues is accurate to `_SUM` in the worst case, bool [m].

    Args:
        squares: eigenvalues, not negative.
        largest: eigenvalue of the matrix that they were computed of, which sets their error.
    """
    off, s = _EIGENVALUE * largest[:, None], squares.sqrt()
    worst = torch.minimum(off / (2 * s), off.sqrt())  # a root near zero is off by no more than the root of the error
    return worst.sum(dim=1) <= _SUM * s.sum(dim=1)


class Linear:
    """A centred space with its Gram matrix, made when it is first asked for.

    Attributes:
        features: float64 [n, d], columns of zero mean.
    """

    def __init__(self, features: Float[Tensor, "n d"], gram: Callable[[], Tensor] | None = None) -> None:
        """`gram` gives the Gram matrix where it can be had for less than a product of the features."""
        self.features, self._gram = features, gram

    @cached_property
    def gram(self) -> Tensor:
        """float64 [n, n], symmetric."""
        gram = self._gram() if self._gram else symmetric_product(self.features)
        self._gram = None  # and with it what it was made of
        return gram

    @cached_property
    def diagonal(self) -> Tensor:
        """float64 [n], the squared lengths of the rows."""
        return self.features.square().sum(dim=1)


class Basis(Linear):
    """An orthonormal basis of centred columns, float64 [n, k] in `features`."""

    @property
    def outside(self) -> int:
        """How many dimensions of the n - 1 that centred columns have are not in the subspace."""
        return len(self.features) - 1 - self.features.shape[1]

    @cached_property
    def complement(self) -> Float[Tensor, "n outside"]:
        """An orthonormal basis of those dimensions: the rest of a Householder QR of the basis and the constant."""
        n, k = self.features.shape
        constant = self.features.new_full((n, 1), n**-0.5)
        reflectors, scales = torch.geqrf(torch.cat([constant, self.features], dim=1))
        rest = self.features.new_zeros(n, self.outside)
        rest[k + 1 :].fill_diagonal_(1)
        return torch.ormqr(reflectors, scales, rest)


def mean_correlations(x: Basis, y: Basis, permutations: Int[ndarray, "m n"]) -> Float[Tensor, " m"]:
    """Returns the mean of the min(k_x, k_y) canonical correlations between two subspaces, the second permuted.

    The correlations are the singular values of X'PY. Subspaces with k_x + k_y > n - 1 must share directions, whose
    correlations are 1. The others are the cosines of principal angles whose sines are the singular values of S'PC, with
    S a basis of the smaller subspace and C of the larger one's complement (Knyazev & Argentati 2002, doi
    10.1137/S1064827500377332), of which there are fewer. The form depends on the shapes alone.

    Raises:
        InputError: other numbers of rows.
    """
    check_paired(len(x.features), len(y.features))
    smaller, outside = min(x.features.shape[1], y.features.shape[1]), min(x.outside, y.outside)
    if outside >= smaller:
        return _direct_means(x, y, permutations)
    if not outside:
        return x.features.new_ones(len(permutations))
    if y.outside <= x.outside:
        products = cross_products(x.features, y.complement, permutations)
    else:
        products = (M.mT for M in cross_products(x.complement, y.features, permutations))
    means, accurate = list[Tensor](), list[Tensor]()
    for M in products:
        squares = (1 - torch.linalg.eigvalsh(symmetric_product(M.mT))).clamp(0, 1)
        means.append((smaller - outside + squares.sqrt().sum(dim=1)) / smaller)
        accurate.append(_sums_are_accurate(squares, torch.ones_like(squares[:, 0])))
    found, weak = torch.cat(means), (~torch.cat(accurate)).nonzero()[:, 0]
    if len(weak):
        found[weak] = _direct_means(x, y, permutations[weak.cpu().numpy()])
    return found


def _direct_means(x: Basis, y: Basis, permutations: Int[ndarray, "m n"]) -> Float[Tensor, " m"]:
    products = cross_products(x.features, y.features, permutations)
    return torch.cat([singular_values(M).clamp(max=1).mean(dim=1) for M in products])


def diagonal_products(x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Float[Tensor, " m"]:
    """Returns the inner products of the diagonals of both Gram matrices, the second permuted, as float64 [m]."""
    check_paired(len(x.features), len(y.features))
    return torch.stack([x.diagonal.dot(y.diagonal[p]) for p in torch.from_numpy(permutations).to(x.features.device)])


def squared_norms(x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Float[Tensor, " m"]:
    """Returns ||X'PY||_F^2 = <XX', P YY' P'> for every permutation, as float64 [m].

    The form depends on the shapes alone. The features form multiplies n d_x d_y pairs of numbers per permutation, the
    Gram form gathers n^2 / 2 of them in a matrix of n^2, whose result has the same bits for any number of threads.
    """
    n, d_x, d_y = len(x.features), x.features.shape[1], y.features.shape[1]
    if d_x * d_y < features_form_below(n):
        products = cross_products(x.features, y.features, permutations)
        return torch.cat([M.square().sum(dim=(1, 2)) for M in products])
    diagonals = diagonal_products(x, y, permutations)
    ids = torch.from_numpy(permutations).to(x.features.device, torch.int32)
    return 2 * ops.permuted_dot(x.gram, y.gram, ids) + diagonals


def features_form_below(n: int) -> int:
    """Product of dimensions below which the features form is the cheaper one, as measured on one core of Zen 4.

    A gathered number costs 1 ns while a matrix of n^2 is in cache and 2.5 ns beyond, a multiplied one 0.05 ns.
    """
    return 10 * n if n < 1500 else 25 * n
