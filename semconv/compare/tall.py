"""CKA and SVCCA of two spaces of far more rows than columns: from their products alone, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import check_paired
from semconv.system.errors import InputError

_ROWS = 4096  # held in float64 at once
_NOTHING = 1e-12  # share of the squares of a space below which what is left of it is rounding, of float32 and its sums


@dataclass(frozen=True, eq=False)
class TallRows:
    """Rows of a space, each less the mean of its group; with one group, the column-centred space.

    Nothing of the size of the space is made: means and products are sums over a few rows at a time, in float64.

    Attributes:
        values: [N, d], finite; any real dtype.
        rows: int64 [n], which of them count, on the CPU.
        group: int64 [n], group of each, from 0 without gaps.
        device: on which it is computed.

    Raises:
        InputError: fewer than 4 rows, values that are not finite, or rows that do not differ within their groups.
    """

    values: Float[Tensor, "N d"]
    rows: Int[Tensor, " n"]
    group: Int[Tensor, " n"]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if len(self.rows) < 4:
            raise InputError(f"at least 4 positions are needed, got {len(self.rows)}")
        squares = float(self.squares.sum())
        whole = sum(float(values.square().sum()) for _, values in self._given())
        if not np.isfinite(whole):
            raise InputError("the stream holds values that are not finite")
        if squares <= _NOTHING * whole:
            raise InputError("the stream does not vary" + (" within tokens" if self.n_groups > 1 else ""))

    @classmethod
    def centred(cls, values: Float[Tensor, "N d"], device: torch.device | None = None) -> TallRows:
        """Returns all rows less their mean; raises InputError as the constructor."""
        every = torch.arange(len(values))
        return cls(values, every, torch.zeros_like(every), device or torch.device("cpu"))

    @cached_property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.group.max()) + 1

    @cached_property
    def _means(self) -> Float[Tensor, "groups d"]:
        sums = torch.zeros(self.n_groups, self.values.shape[1], dtype=torch.float64, device=self.device)
        for part, values in self._given():
            sums.index_add_(0, self.group[part].to(self.device), values)
        return sums / torch.bincount(self.group).to(self.device)[:, None]

    def _given(self) -> Iterator[tuple[slice, Float[Tensor, "m d"]]]:
        for begin in range(0, len(self.rows), _ROWS):
            part = slice(begin, begin + _ROWS)
            yield part, self.values[self.rows[part]].to(self.device).double()

    def pieces(self) -> Iterator[Float[Tensor, "m d"]]:
        """Yields the rows less the means of their groups, float64, a few thousand at a time."""
        for part, values in self._given():
            yield values - self._means[self.group[part].to(self.device)]

    def at(self, places: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
        """Returns some of the rows, by their places among those that count, less the means of their groups."""
        means = self._means[self.group[places].to(self.device)]
        return self.values[self.rows[places]].to(self.device).double() - means

    @cached_property
    def squares(self) -> Float[Tensor, " n"]:
        """Squared lengths of the rows less the means of their groups."""
        return torch.cat([piece.square().sum(dim=1) for piece in self.pieces()])

    @cached_property
    def gram(self) -> Float[Tensor, "d d"]:
        """X'X of the rows less the means of their groups."""
        return cross(self, self)

    def directions(self, threshold: float) -> tuple[Float[Tensor, "d k"], Float[Tensor, " k"]]:
        """Returns the fewest principal directions that hold a share of the variance, and their singular values.

        Directions of less than d eps of the largest variance are rounding and never kept.
        """
        variance, vectors = torch.linalg.eigh(self.gram)
        variance, vectors = variance.flip(0), vectors.flip(1)
        rank = int((variance > len(variance) * torch.finfo(torch.float64).eps * variance[0]).sum())
        share = (variance[:rank].cumsum(0) / variance[:rank].sum()).cpu().numpy()
        kept = min(int(np.searchsorted(share, threshold - 1e-12)) + 1, rank)
        return vectors[:, :kept].contiguous(), variance[:kept].sqrt()


def cross(x: TallRows, y: TallRows) -> Float[Tensor, "d_x d_y"]:
    """Returns X'Y of two spaces of paired rows, float64.

    Raises:
        InputError: other numbers of rows.
    """
    check_paired(len(x.rows), len(y.rows))
    found = torch.zeros(x.values.shape[1], y.values.shape[1], dtype=torch.float64, device=x.device)
    for of_x, of_y in zip(x.pieces(), y.pieces(), strict=True):
        found.addmm_(of_x.mT, of_y)
    return found


def tall_cka(x: TallRows, y: TallRows, product: Float[Tensor, "d_x d_y"]) -> float:
    """Returns the linear CKA with the unbiased estimate of HSIC, as `semconv.compare.CKA(unbiased=True)`.

    With several groups the correction is that of one mean, as if no more had been taken off. Two spaces that share
    nothing then score up to about sqrt(k_x k_y) / n, as much as in the biased form, where no group has more than two
    rows, and less the larger the groups are; k is the effective number of dimensions of a space, (tr C)^2 / tr C^2.

    Args:
        x: one space.
        y: the other.
        product: `cross` of the two.

    Raises:
        InputError: a space has no more structure than rows all equally far apart.
    """

    def hsic(inner: Tensor, one: TallRows, other: TallRows) -> float:
        n, traces = len(one.rows), one.squares.sum() * other.squares.sum()
        return float(inner - n / (n - 2) * one.squares.dot(other.squares) + traces / ((n - 1) * (n - 2)))

    of_x, of_y = (hsic(one.gram.square().sum(), one, one) for one in (x, y))
    least = [1e-12 / len(one.rows) * float(one.squares.sum()) ** 2 for one in (x, y)]
    if of_x <= least[0] or of_y <= least[1]:
        raise InputError("CKA unbiased is undefined: a space has no more structure than rows all equally far apart")
    return hsic(product.square().sum(), x, y) / (of_x * of_y) ** 0.5


def tall_svcca(
    product: Float[Tensor, "d_x d_y"],
    x: tuple[Float[Tensor, "d_x k_x"], Float[Tensor, " k_x"]],
    y: tuple[Float[Tensor, "d_y k_y"], Float[Tensor, " k_y"]],
) -> float:
    """Returns the SVCCA of two spaces, as `semconv.compare.SVCCA("variance", threshold)`.

    With U = X V / s the left singular vectors, U_x' U_y = V_x' X'Y V_y / (s_x s_y).

    Args:
        product: X'Y.
        x: the directions V and singular values s that are kept of one space (`TallRows.directions`).
        y: of the other.
    """
    (of_x, s_x), (of_y, s_y) = x, y
    between = of_x.mT @ product @ of_y / s_x[:, None] / s_y
    return float(torch.linalg.svdvals(between).clamp(max=1).mean())


def repeated(*tokens: Int[ndarray, " N"]) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
    """Returns the positions whose token occurs more than once, and the token of each, numbered from 0, int64.

    Args:
        tokens: of all positions; with several tokenizers a position has several, which are told apart together.
    """
    numbers = np.unique(np.stack(tokens, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    at = np.flatnonzero(np.bincount(numbers)[numbers] > 1)
    return at, np.unique(numbers[at], return_inverse=True)[1].reshape(-1)
