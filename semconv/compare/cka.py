"""CKA: the correlation of two Gram matrices, with the biased or the unbiased estimate of HSIC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.cross import Linear, diagonal_products, squared_norms
from semconv.compare.measure import Measure, warn_if_wide
from semconv.compare.shared_rows import Rows, SharedRows
from semconv.system.errors import InputError


@dataclass(frozen=True)
class CKA(Measure[Linear]):
    """Linear centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414, equation 4).

    HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) with Gram matrices K = XX', L = YY' of the column-centred spaces. A
    permutation leaves the denominator as it is.

    The biased estimate is <K, L> = ||X'Y||_F^2; it nears 1 for any two spaces of more dimensions than pairs. The
    unbiased one (Song et al. 2012, JMLR 13, equation 5, with the diagonals of K and L set to zero) has mean 0 under
    random pairing, and so may be negative. Since the rows of the centred K sum to zero, its terms need only the
    diagonals k and l beside <K, L>: n (n - 3) HSIC = <K, L> - n/(n-2) <k, l> + tr K tr L / ((n-1)(n-2)).

    Attributes:
        unbiased: which estimate of HSIC is used.

    Examples:
        Two independent spaces of 20 pairs in 10 dimensions. Under random pairing the biased form lies far above 0, the
        unbiased one around it:

        >>> import numpy as np
        >>> from semconv.compare import CKA
        >>> rng = np.random.default_rng(0)
        >>> X, Y = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
        >>> permutations = np.stack([rng.permutation(20) for _ in range(500)])
        >>> for measure in CKA(), CKA(unbiased=True):
        ...     null = measure.null_scores(measure.prepare(X), measure.prepare(Y), permutations)
        ...     print(measure.name, round(abs(null.mean()), 1))
        cka 0.3
        cka_unbiased 0.0
    """

    unbiased: bool = False

    @property
    def name(self) -> str:
        return "cka_unbiased" if self.unbiased else "cka"

    def prepare(self, X: Rows) -> Linear:
        """Returns the column-centred space.

        Raises:
            InputError: fewer than 3 rows (4 if unbiased), non-finite entries, or identical rows.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Linear:
        at_least = 4 if self.unbiased else 3
        X, products = rows.centred("CKA", at_least).X, rows.products(at_least)
        return Linear(X, lambda: products.centred_gram(X))

    def score(self, x: Linear, y: Linear) -> float:
        score = float(self.null_scores(x, y, np.arange(len(x.features))[None])[0])
        if not self.unbiased:
            warn_if_wide(self.name, len(x.features), x.features.shape[1], y.features.shape[1])
        return score

    def null_scores(self, x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        itself = np.arange(len(x.features))[None]
        hsic = self._hsic(x, y, permutations).cpu().numpy()
        of_x, of_y = float(self._hsic(x, x, itself)), float(self._hsic(y, y, itself))
        # X has unit norm, so that <K, K> is between 1 / n and 1 and what is left of a HSIC of zero is its rounding.
        if min(of_x, of_y) <= 1e-12 / len(x.features):
            raise InputError("CKA unbiased is undefined: a space has no more structure than rows all equally far apart")
        return hsic / np.sqrt(of_x * of_y)

    def _hsic(self, x: Linear, y: Linear, permutations: Int[ndarray, "m n"]) -> Tensor:
        """n (n - 3) HSIC if unbiased, n^2 HSIC if not, both with the factor that CKA cancels."""
        inner = squared_norms(x, y, permutations)
        if not self.unbiased:
            return inner
        n, traces = len(x.features), x.diagonal.sum() * y.diagonal.sum()
        return inner - n / (n - 2) * diagonal_products(x, y, permutations) + traces / ((n - 1) * (n - 2))


def cka(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"], unbiased: bool = False) -> float:
    """Returns the linear CKA of two paired spaces, at most 1 and at least 0 if biased; see `CKA` for the formula.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.
        unbiased: whether HSIC is estimated without bias.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows (4 if unbiased) or identical ones; they
            differ in their number of rows; or, if unbiased, all rows of a space are equally far apart.

    Examples:
        A rotation, a scale and a shift change nothing; columns that are orthogonal to each other score 0:

        >>> import numpy as np
        >>> from semconv.compare import cka
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(40, 5))
        >>> rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
        >>> round(cka(X, 3 * X @ rotation + 1), 6)
        1.0
        >>> round(cka(np.array([[1], [-1], [1], [-1]]), np.array([[1], [1], [-1], [-1]])), 6)
        0.0
    """
    measure = CKA(unbiased)
    return measure.score(measure.prepare(X), measure.prepare(Y))
