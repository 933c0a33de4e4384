"""Affine stitching: ridge regression from one space to another, from products alone, and how well it foretells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.tall import TallRows

PENALTIES = tuple(10.0**k for k in range(-6, 2))
"""Of which one is chosen, times the mean eigenvalue of the covariance of what is mapped."""
_ROWS = 4096  # held in float64 at once


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over some rows of a space, all taken about one centre.

    Attributes:
        n: rows.
        sums: float64 [d].
        gram: float64 [d, d], X'X.
    """

    n: int
    sums: Float[Tensor, " d"]
    gram: Float[Tensor, "d d"]

    @classmethod
    def of(cls, space: TallRows, places: Int[Tensor, " n"]) -> Moments:
        """Returns those of some rows of a space, about the mean of the space."""
        d = space.values.shape[1]
        sums = torch.zeros(d, dtype=torch.float64, device=space.device)
        for part in places.split(_ROWS):
            sums += space.at(part).sum(dim=0)
        return cls(len(places), sums, product_at(space, places, space, places))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.sums + other.sums, self.gram + other.gram)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Mean of the rows."""
        return self.sums / self.n

    def about(self, mean: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """Returns X'X of the rows less another mean."""
        return about(self.gram, self, self, mean, mean)

    @cached_property
    def spectrum(self) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        """Eigenvalues, not negative, and eigenvectors of X'X of the rows less their mean."""
        values, vectors = torch.linalg.eigh(self.about(self.mean))
        return values.clamp(min=0), vectors


def product_at(x: TallRows, of_x: Int[Tensor, " n"], y: TallRows, of_y: Int[Tensor, " n"]) -> Float[Tensor, "d_x d_y"]:
    """Returns X'Y of some rows of two spaces, each about the mean of its space, float64."""
    found = torch.zeros(x.values.shape[1], y.values.shape[1], dtype=torch.float64, device=x.device)
    for part_x, part_y in zip(of_x.split(_ROWS), of_y.split(_ROWS), strict=True):
        found.addmm_(x.at(part_x).mT, y.at(part_y))
    return found


def about(
    product: Float[Tensor, "d_x d_y"], x: Moments, y: Moments, mean_x: Float[Tensor, " d_x"], mean_y: Tensor
) -> Float[Tensor, "d_x d_y"]:
    """Returns X'Y of rows less two means, from X'Y of the rows as they were."""
    return product - x.sums[:, None] * mean_y - mean_x[:, None] * y.sums + x.n * mean_x[:, None] * mean_y


class Ridge:
    """Ridge regression of y on x with an intercept: W = (S_xx + c m I)^-1 S_xy, with m the mean eigenvalue of S_xx.

    S are the products of the rows less their means (Hoerl & Kennard 1970, doi 10.1080/00401706.1970.10488634).

    Args:
        x: moments of what is mapped.
        y: of what it is mapped to, at the same rows.
        product: X'Y of these rows.
    """

    def __init__(self, x: Moments, y: Moments, product: Float[Tensor, "d_x d_y"]) -> None:
        self._mean_x, self._mean_y = x.mean, y.mean
        self._values, self._vectors = x.spectrum
        self._turned = self._vectors.mT @ about(product, x, y, x.mean, y.mean)

    def _shrunk(self, penalty: float) -> Float[Tensor, " d_x"]:
        return 1 / (self._values + penalty * self._values.mean())

    def weights(self, penalty: float) -> Float[Tensor, "d_x d_y"]:
        """Returns W; a direction of x is mapped to direction @ W."""
        return self._vectors @ (self._turned * self._shrunk(penalty)[:, None])

    def r2(
        self, x: Moments, y: Moments, product: Float[Tensor, "d_x d_y"], penalties: Sequence[float]
    ) -> Float[ndarray, " penalties"]:
        """Returns for each penalty the share of the variance of other rows that is foretold, at most 1.

        1 - sum |y - y_hat|^2 / sum |y - mean|^2, the mean being that of these rows.

        Args:
            x: moments of other rows, about the same centre.
            y: of the same rows.
            product: X'Y of these.
            penalties: each at least 0.
        """
        gram = self._vectors.mT @ x.about(self._mean_x) @ self._vectors
        between = self._vectors.mT @ about(product, x, y, self._mean_x, self._mean_y)
        fits = (self._turned * between).sum(dim=1)
        squares = gram * (self._turned @ self._turned.mT)
        length = y.about(self._mean_y).trace()
        found = [length - 2 * fits.dot(w) + w @ squares @ w for w in map(self._shrunk, penalties)]
        return (1 - torch.stack(found) / y.about(y.mean).trace()).cpu().numpy()


def cosines(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[ndarray, "n m"]:
    """Returns the cosine of every row of x with every row of y, float64; 0 for a row of zeros."""
    of_x, of_y = (torch.nn.functional.normalize(rows.double(), dim=1, eps=1e-300) for rows in (x, y))
    return (of_x @ of_y.mT).cpu().numpy()


def assigned(similarities: Float[ndarray, "n m"]) -> tuple[Int[ndarray, " k"], Int[ndarray, " k"]]:
    """Returns the one-to-one assignment of the highest sum: rows, ascending, and the column of each, k = min(n, m).

    SciPy's `linear_sum_assignment` (Crouse 2016, doi 10.1109/TAES.2016.140952): 1 s at 4,096 by 4,096, and 64 times as
    long at four times as many.
    """
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(similarities, maximize=True)


def partial_correlation(correlations: Float[ndarray, "*m k k"]) -> Float[ndarray, "*m"]:
    """Returns the correlation of variables 0 and 1 given all others, NaN where these determine each other.

    From the inverse P of a matrix of correlations: - P_01 / sqrt(P_00 P_11).

    Args:
        correlations: symmetric, of k >= 2 variables.
    """
    out = np.full(correlations.shape[:-2], np.nan)
    fine = np.linalg.eigvalsh(correlations)[..., 0] > 1e-9
    inverse = np.linalg.inv(correlations[fine])
    out[fine] = -inverse[..., 0, 1] / np.sqrt(inverse[..., 0, 0] * inverse[..., 1, 1])
    return out
