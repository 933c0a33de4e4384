"""PWCCA: canonical correlations, weighted by how much of a space their directions account for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.cross import cross_products
from semconv.compare.measure import Measure, is_saturated
from semconv.compare.shared_rows import Rows, SharedRows
from semconv.compare.symmetric_product import symmetric_product
from semconv.system.errors import InputError

Weights = Literal["x", "y", "mean"]

_WEAK = 1e-6  # share of the largest squared correlation below which M'u / s is off by more than 1e-10


class Subspace(NamedTuple):
    """A space as a basis and its coordinates in it.

    Attributes:
        basis: float64 [n, k], orthonormal.
        coordinates: float64 [k, d] of the centred columns.
    """

    basis: Float[Tensor, "n k"]
    coordinates: Float[Tensor, "k d"]


@dataclass(frozen=True)
class PWCCA(Measure[Subspace]):
    """Projection-weighted CCA (Morcos et al. 2018, arXiv 1806.05759, section 3).

    The score is sum a_i rho_i / sum a_i over the min(k_x, k_y) canonical correlations rho_i, with weights
    a_i = sum_j |<h_i, z_j>|: h_i is the canonical vector (in R^n, of unit length) and z_j are the centred columns of
    the space whose weights are used. The paper's form is one-sided. The weights depend on the axes of that space: a
    rotation of it changes them, an invertible map of the other space does not.

    Canonical vectors of equal correlations are not unique, nor are their weights; so where the spaces must share
    directions (k_x + k_y >= n) there is no score.

    Attributes:
        weights: `x` or `y` takes the weights of that side, `mean` the mean of both scores, which is symmetric.

    Raises:
        InputError: unknown weights.

    Examples:
        The paper's form depends on which space comes first; the mean of both sides does not.

        >>> import numpy as np
        >>> from semconv.compare import PWCCA
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(40, 3))
        >>> Y = np.hstack([X[:, :1], rng.normal(size=(40, 2))])
        >>> for measure in PWCCA(), PWCCA(weights="mean"):
        ...     x, y = measure.prepare(X), measure.prepare(Y)
        ...     print(measure.name, abs(measure.score(x, y) - measure.score(y, x)) < 1e-9)
        pwcca False
        pwcca_mean True
    """

    weights: Weights = "x"

    def __post_init__(self) -> None:
        if self.weights not in ("x", "y", "mean"):
            raise InputError(f"PWCCA weights must be x, y or mean, got {self.weights!r}")

    @property
    def name(self) -> str:
        return "pwcca" if self.weights == "x" else f"pwcca_{self.weights}"

    @property
    def needs_all_directions(self) -> bool:
        return True

    def prepare(self, X: Rows) -> Subspace:
        """Returns an orthonormal basis of the column-centred space and the coordinates of its columns.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, or identical rows.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Subspace:
        centred = rows.centred("PWCCA")
        basis, _ = centred.leading("PWCCA")
        return Subspace(basis, basis.T @ centred.X)

    def score(self, x: Subspace, y: Subspace) -> float:
        return float(self.null_scores(x, y, np.arange(len(x.basis))[None])[0])

    def null_scores(self, x: Subspace, y: Subspace, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        n, k_x, k_y = len(x.basis), x.basis.shape[1], y.basis.shape[1]
        products = cross_products(x.basis, y.basis, permutations)
        if is_saturated(n, k_x, k_y):
            raise InputError(
                f"PWCCA needs more pairs than the {k_x} + {k_y} directions of both spaces, got {n}: "
                "the weights of directions they must share are arbitrary"
            )
        coordinates = {"x": x.coordinates, "y": y.coordinates}
        sides = ["x", "y"] if self.weights == "mean" else [self.weights]
        scores: list[Tensor] = []
        for M in products:
            left, rho, right = _canonical(M)
            vectors = {"x": left, "y": right}
            of_sides = [_weighted_mean(rho, vectors[side].mT @ coordinates[side]) for side in sides]
            scores.append(torch.stack(of_sides).mean(dim=0))
        return torch.cat(scores).cpu().numpy()


def _weighted_mean(rho: Tensor, projections: Tensor) -> Tensor:
    """rho [m, k] weighted by the sums of |projections [m, k, d]|."""
    weights = projections.abs().sum(dim=2)
    return (weights * rho).sum(dim=1) / weights.sum(dim=1)


def _canonical(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors and values of matrices [m, a, b] as [m, a, k], [m, k], [m, b, k], k = min(a, b).

    From the eigenvectors of the smaller Gram matrix, where no singular value is so small that the vectors of the
    larger side, M'u / s, would lose their length; from the SVD otherwise.
    """
    if M.shape[1] > M.shape[2]:
        right, s, left = _canonical(M.mT)
        return left, s, right
    squares, left = torch.linalg.eigh(symmetric_product(M))
    s = squares.clamp(min=0).sqrt()
    right = M.mT @ left / s[:, None].clamp(min=torch.finfo(s.dtype).tiny)
    weak = squares[:, 0] < _WEAK * squares[:, -1]
    if weak.any():
        U, values, Vh = torch.linalg.svd(M[weak], full_matrices=False)
        left[weak], s[weak], right[weak] = U, values, Vh.mT
    return left, s.clamp(max=1), right


def pwcca(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"], weights: Weights = "x") -> float:
    """Returns the PWCCA similarity of two paired spaces, in [0, 1]; see `PWCCA` for the formula.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.
        weights: whose columns weigh the canonical correlations: `x`, `y`, or the `mean` of both scores.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows or identical ones; they differ in their
            number of rows; the dimensions of both together reach n; or unknown weights.

    Examples:
        An invertible linear map changes nothing. With as many dimensions as pairs there is no score:

        >>> import numpy as np
        >>> from semconv.compare import pwcca
        >>> rng = np.random.default_rng(0)
        >>> X, linear_map = rng.normal(size=(40, 5)), rng.normal(size=(5, 5))
        >>> round(pwcca(X, X @ linear_map), 6)
        1.0
        >>> pwcca(X[:10], X[:10] @ linear_map)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        semconv.system.errors.InputError: PWCCA needs more pairs than the 5 + 5 directions of both spaces, got 10: ...
    """
    measure = PWCCA(weights)
    return measure.score(measure.prepare(X), measure.prepare(Y))
