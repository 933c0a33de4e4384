"""Mutual k-nearest neighbours: the share of a row's nearest rows that are the same in both spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import Measure, check_paired
from semconv.compare.shared_rows import Rows, SharedRows
from semconv.system.errors import InputError

_STEPS = 2.0**40  # cosines are compared in these, so that equal ones are equal in whatever order BLAS summed them
_CHUNK_ENTRIES = 2**22


class Neighbours(NamedTuple):
    """Nearest rows of every row.

    Attributes:
        nearest: int64 [n, k], ascending within a row.
        is_near: bool [n, n], whether the column is one of them.
    """

    nearest: Int[Tensor, "n k"]
    is_near: Bool[Tensor, "n n"]


@dataclass(frozen=True)
class MutualKNN(Measure[Neighbours]):
    """Mutual k-nearest-neighbour alignment (Huh et al. 2024, arXiv 2405.07987, equation 11).

    The mean over rows of |N_x(i) and N_y(i)| / k, where N(i) are the k other rows of the largest cosine with row i;
    equal cosines (to 2^-40) go to the lowest index. A permutation renames the neighbours of Y, so it costs n k
    look-ups. Random pairing scores k / (n - 1) on average.

    Attributes:
        k: neighbours of a row.

    Raises:
        InputError: k < 1.

    Examples:
        Four directions in the plane, at 0, 10, 90 and 100 degrees. Each has one near neighbour:

        >>> import numpy as np
        >>> from semconv.compare import MutualKNN
        >>> angles = np.radians([0, 10, 90, 100])
        >>> space = MutualKNN(k=1).prepare(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        >>> space.nearest.tolist()
        [[1], [0], [3], [2]]
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"mutual k-NN needs k of at least 1, got {self.k}")

    @property
    def name(self) -> str:
        return "mutual_knn"

    def prepare(self, X: Rows) -> Neighbours:
        """Returns the nearest rows of every row.

        Raises:
            InputError: fewer than 3 rows, k of n or more, non-finite entries, or a zero row.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Neighbours:
        products = rows.products(at_least=3)
        n = len(products.X)
        if self.k >= n:
            raise InputError(f"mutual k-NN needs more pairs than k = {self.k}, got {n}")
        if not bool(products.lengths.all()):
            row = int((products.lengths == 0).nonzero()[0])
            raise InputError(f"mutual k-NN takes cosines of rows, and row {row} is zero")
        is_near = _nearest(products.cosines().mul_(_STEPS).round_().fill_diagonal_(-torch.inf), self.k)
        return Neighbours(is_near.nonzero()[:, 1].reshape(n, self.k), is_near)

    def score(self, x: Neighbours, y: Neighbours) -> float:
        return float(self.null_scores(x, y, np.arange(len(x.nearest))[None])[0])

    def null_scores(self, x: Neighbours, y: Neighbours, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        check_paired(len(x.nearest), len(y.nearest))
        n, k = x.nearest.shape
        nearest, is_near = x.nearest, y.is_near.view(torch.uint8)
        shared: list[Tensor] = []
        ids = torch.from_numpy(permutations).to(nearest.device, torch.int64)
        for p in ids.split(max(1, _CHUNK_ENTRIES // (n * k))):
            # Row i of X is paired with row p[i] of Y, and so is its neighbour j with p[j].
            look_up = p[:, :, None] * n + p[:, nearest.reshape(-1)].view(-1, n, k)
            shared.append(is_near.take(look_up).sum(dim=(1, 2)))
        return torch.cat(shared).cpu().numpy() / (n * k)


def _nearest(similarities: Tensor, k: int) -> Tensor:
    """Mask of the k largest entries of every row, ties to the lowest column."""
    last = similarities.topk(k, dim=1).values[:, -1:]
    mask = similarities >= last
    for row in (mask.sum(dim=1) > k).nonzero()[:, 0]:
        tied = (similarities[row] == last[row]).nonzero()[:, 0]
        mask[row, tied[k - int(mask[row].sum()) + len(tied) :]] = False
    return mask


def mutual_knn(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"], k: int = 10) -> float:
    """Returns the mutual k-nearest-neighbour alignment of two paired spaces, in [0, 1]; see `MutualKNN`.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.
        k: neighbours of a row, 1 <= k < n.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows or a row of zeros; they differ in their
            number of rows; or k is below 1, or n or more.

    Examples:
        Four directions in two narrow bundles. Turning all of them together keeps every neighbour; pairing the second
        with the third keeps none:

        >>> import numpy as np
        >>> from semconv.compare import mutual_knn
        >>> def directions(degrees):
        ...     return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
        >>> X = directions([0, 10, 90, 100])
        >>> mutual_knn(X, directions([45, 55, 135, 145]), k=1)
        1.0
        >>> mutual_knn(X, X[[0, 2, 1, 3]], k=1)
        0.0
    """
    measure = MutualKNN(k)
    return measure.score(measure.prepare(X), measure.prepare(Y))
