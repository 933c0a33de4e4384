"""Mean squared canonical correlation: how much of the smaller space's subspace lies in the larger one's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.cross import Basis, squared_norms
from semconv.compare.measure import Measure, check_paired, warn_if_saturated
from semconv.compare.shared_rows import Rows, SharedRows


@dataclass(frozen=True)
class MeanSquaredCC(Measure[Basis]):
    """Mean squared canonical correlation (R^2_CCA in Kornblith et al. 2019, arXiv 1905.00414, table 1).

    With Q_x and Q_y orthonormal bases of the column-centred spaces, of k_x and k_y dimensions, the sum of the squared
    canonical correlations is ||Q_x' Q_y||_F^2, without their decomposition; the score divides it by min(k_x, k_y).
    Yanai's generalised coefficient of determination (Ramsay et al. 1984, doi 10.1007/BF02294306) divides it by
    sqrt(k_x k_y) instead: the same null, another unit. Random pairing scores about max(k_x, k_y) / (n - 1), and exactly
    1 where that is 1: a space of n - 1 directions holds every other.

    Examples:
        101 pairs in 10 dimensions a side: random pairing scores about 10 / 100.

        >>> import numpy as np
        >>> from semconv.compare import MeanSquaredCC
        >>> rng = np.random.default_rng(0)
        >>> measure = MeanSquaredCC()
        >>> x, y = (measure.prepare(rng.normal(size=(101, 10))) for _ in range(2))
        >>> permutations = np.stack([rng.permutation(101) for _ in range(200)])
        >>> round(float(measure.null_scores(x, y, permutations).mean()), 2)
        0.1
    """

    @property
    def name(self) -> str:
        return "mean_squared_cc"

    def prepare(self, X: Rows) -> Basis:
        """Returns an orthonormal basis of the column-centred space.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, or identical rows.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Basis:
        return Basis(rows.centred("mean squared CC").column_space())

    def score(self, x: Basis, y: Basis) -> float:
        score = float(self.null_scores(x, y, np.arange(len(x.features))[None])[0])
        warn_if_saturated(self.name, len(x.features), x.features.shape[1], y.features.shape[1])
        return score

    def null_scores(self, x: Basis, y: Basis, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        check_paired(len(x.features), len(y.features))
        if not min(x.outside, y.outside):
            return np.ones(len(permutations))
        smaller = min(x.features.shape[1], y.features.shape[1])
        return squared_norms(x, y, permutations).cpu().numpy() / smaller


def mean_squared_cc(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"]) -> float:
    """Returns the mean squared canonical correlation of two paired spaces, in [0, 1]; see `MeanSquaredCC`.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows or identical ones, or they differ in
            their number of rows.

    Examples:
        Eight pairs in two dimensions a side. All columns are orthogonal; the two spaces share one of two directions:

        >>> import numpy as np
        >>> from scipy.linalg import hadamard
        >>> from semconv.compare import mean_squared_cc
        >>> columns = hadamard(8)
        >>> X, Y = columns[:, [1, 2]], columns[:, [2, 3]]
        >>> round(mean_squared_cc(X, Y), 6)
        0.5
    """
    measure = MeanSquaredCC()
    return measure.score(measure.prepare(X), measure.prepare(Y))
