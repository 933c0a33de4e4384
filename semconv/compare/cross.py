"""X'PY for many permutations P of the rows: its singular values, or only its squared Frobenius norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import check_paired
from semconv.core import ops

_CHUNK = 64  # permutations whose small matrices are decomposed in one call
_CHUNK_ENTRIES = 2**24  # and no more than this many float64 of them at once (128 MiB)
_WEAK = 1e-10  # share of the largest eigenvalue below which a square root loses more than 1e-11


def cross_products(
    x: Float[ndarray, "n k_x"], y: Float[ndarray, "n k_y"], permutations: Int[ndarray, "m n"]
) -> Iterator[Tensor]:
    """Yields x' y[p] for chunks of permutations, each float64 [chunk, k_x, k_y].

    All in torch: NumPy brings a thread pool of its own, and the two spin against each other (3x slower).

    Raises:
        InputError: other numbers of rows.
    """
    check_paired(len(x), len(y))
    left, right = torch.from_numpy(x).T.contiguous(), torch.from_numpy(y)
    chunk = max(1, min(_CHUNK, _CHUNK_ENTRIES // (max(len(x), x.shape[1]) * y.shape[1])))
    for p in torch.from_numpy(permutations).split(chunk):
        yield left @ right[p]


def singular_values(M: Tensor) -> Tensor:
    """Returns the singular values of matrices [m, a, b], ascending, as [m, min(a, b)].

    From the eigenvalues of the smaller Gram matrix, which is twice as fast as an SVD and accurate to eps s_1^2 / s;
    matrices with a singular value below 1e-5 s_1 get the SVD, so that s_1 times 1e-11 bounds the error.
    """
    M = M if M.shape[1] <= M.shape[2] else M.mT
    squares = torch.linalg.eigvalsh(M @ M.mT).clamp(min=0)
    s = squares.sqrt()
    weak = squares[:, 0] < _WEAK * squares[:, -1]
    if weak.any():
        s[weak] = torch.linalg.svdvals(M[weak]).flip(1)
    return s


@dataclass(frozen=True, eq=False)
class Linear:
    """A centred space with its Gram matrix, made when it is first asked for.

    Attributes:
        features: float64 [n, d], columns of zero mean.
    """

    features: Float[ndarray, "n d"]

    @cached_property
    def gram(self) -> Tensor:
        """float64 [n, n], exactly symmetric."""
        X = torch.from_numpy(self.features)
        gram = X @ X.T
        return (gram + gram.T) / 2

    @cached_property
    def diagonal(self) -> Tensor:
        """float64 [n], the squared lengths of the rows."""
        return torch.from_numpy(self.features).square().sum(dim=1)


def diagonal_products(x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Tensor:
    """Returns the inner products of the diagonals of both Gram matrices, the second permuted, as float64 [m]."""
    check_paired(len(x.features), len(y.features))
    return torch.stack([x.diagonal.dot(y.diagonal[p]) for p in torch.from_numpy(permutations)])


def squared_norms(x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Tensor:
    """Returns ||X'PY||_F^2 = <XX', P YY' P'> for every permutation, as float64 [m].

    The form depends on the shapes alone. The features form multiplies n d_x d_y pairs of numbers per permutation, the
    Gram form gathers n^2 / 2 of them in a matrix of n^2, whose result has the same bits for any number of threads.
    """
    n, d_x, d_y = len(x.features), x.features.shape[1], y.features.shape[1]
    if d_x * d_y < features_form_below(n):
        products = cross_products(x.features, y.features, permutations)
        return torch.cat([M.square().sum(dim=(1, 2)) for M in products])
    diagonals = diagonal_products(x, y, permutations)
    return 2 * ops.permuted_dot(x.gram, y.gram, torch.from_numpy(permutations.astype(np.int32))) + diagonals


def features_form_below(n: int) -> int:
    """Product of dimensions below which the features form is the cheaper one, as measured on one core of Zen 4.

    A gathered number costs 1 ns while a matrix of n^2 is in cache and 2.5 ns beyond, a multiplied one 0.05 ns.
    """
    return 10 * n if n < 1500 else 25 * n
