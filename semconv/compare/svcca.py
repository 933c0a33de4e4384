"""SVCCA: mean canonical correlation between the leading singular directions of two spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.cross import Basis, mean_correlations
from semconv.compare.measure import Measure, SaturationWarning, warn_if_saturated
from semconv.compare.shared_rows import Rows, SharedRows
from semconv.system.errors import InputError

__all__ = ["SVCCA", "SaturationWarning", "Variant", "svcca"]

Variant = Literal["pc1", "variance", "fixed_k"]


@dataclass(frozen=True)
class SVCCA(Measure[Basis]):
    """Singular vector canonical correlation analysis (Raghu et al. 2017, arXiv 1706.05806, section 2.1).

    With U_x and U_y the left singular vectors kept of the column-centred spaces, the canonical correlations are the
    singular values of U_x' U_y and the score is their mean over min(k_x, k_y). Both sides being orthonormal, a
    permutation P of the rows only changes U_x' P U_y. Where k_x + k_y > n - 1 some correlations must be 1, and the
    others are found on the complement of the larger subspace (`mean_correlations`).

    Attributes:
        variant: `variance` keeps the fewest directions that hold `threshold` of the variance (the paper's method);
            `fixed_k` keeps `k`; `pc1` keeps one, which is what the published code of arXiv 2410.06981 computes.
        threshold: share of the variance kept by `variance`, in (0, 1].
        k: directions kept by `fixed_k`.

    Raises:
        InputError: unknown variant, threshold outside (0, 1], or k < 1.

    Examples:
        How many directions each variant keeps of 40 pairs in 6 dimensions, two of which hold nearly all the variance:

        >>> import numpy as np
        >>> from semconv.compare import SVCCA
        >>> X = np.random.default_rng(0).normal(size=(40, 6)) * [10, 10, 0.1, 0.1, 0.1, 0.1]
        >>> for measure in SVCCA("pc1"), SVCCA("variance", threshold=0.99), SVCCA("fixed_k", k=4):
        ...     print(measure.name, tuple(measure.prepare(X).features.shape))
        svcca_pc1 (40, 1)
        svcca_variance (40, 2)
        svcca_fixed_k (40, 4)
    """

    variant: Variant = "variance"
    threshold: float = 0.99
    k: int = 20

    def __post_init__(self) -> None:
        if self.variant not in ("pc1", "variance", "fixed_k"):
            raise InputError(f"SVCCA variant must be pc1, variance or fixed_k, got {self.variant!r}")
        if not 0 < self.threshold <= 1:
            raise InputError(f"SVCCA threshold must be in (0, 1], got {self.threshold}")
        if self.k < 1:
            raise InputError(f"SVCCA k must be at least 1, got {self.k}")

    @property
    def name(self) -> str:
        return f"svcca_{self.variant}"

    @property
    def needs_all_directions(self) -> bool:
        return self.variant == "variance"

    def prepare(self, X: Rows) -> Basis:
        """Returns the kept left singular vectors of the column-centred space.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, no variance, or fewer directions than `k`.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Basis:
        k = {"pc1": 1, "variance": None, "fixed_k": self.k}[self.variant]
        return Basis(rows.centred("SVCCA").leading(f"SVCCA {self.variant}", self.threshold, k)[0])

    def score(self, x: Basis, y: Basis) -> float:
        score = float(self.null_scores(x, y, np.arange(len(x.features))[None])[0])
        warn_if_saturated(self.name, len(x.features), x.features.shape[1], y.features.shape[1])
        return score

    def null_scores(self, x: Basis, y: Basis, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        return mean_correlations(x, y, permutations).cpu().numpy()


def svcca(
    X: Float[ndarray, "n d_a"],
    Y: Float[ndarray, "n d_b"],
    variant: Variant = "variance",
    threshold: float = 0.99,
    k: int = 20,
) -> float:
    """Returns the SVCCA similarity of two paired spaces, in [0, 1]; see `SVCCA` for the formula.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X.
        variant: which directions are kept, `variance`, `fixed_k` or `pc1`.
        threshold: share of the variance that `variance` keeps, in (0, 1].
        k: directions that `fixed_k` keeps.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows, identical rows, or fewer directions
            than `k`; they differ in their number of rows; unknown variant, threshold outside (0, 1], or k < 1.

    Examples:
        If all directions are kept, an invertible linear map changes nothing. Eight pairs that share one of two
        directions have the canonical correlations 1 and 0:

        >>> import numpy as np
        >>> from scipy.linalg import hadamard
        >>> from semconv.compare import svcca
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(40, 5))
        >>> round(svcca(X, X @ rng.normal(size=(5, 5)), threshold=1.0), 6)
        1.0
        >>> columns = hadamard(8)
        >>> round(svcca(columns[:, [1, 2]], columns[:, [2, 3]], variant="fixed_k", k=2), 6)
        0.5
    """
    measure = SVCCA(variant, threshold, k)
    return measure.score(measure.prepare(X), measure.prepare(Y))
