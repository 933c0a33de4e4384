"""SVCCA: mean canonical correlation between the leading singular directions of two spaces."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.measure import check_paired, check_space
from semconv.types import InputError

Variant = Literal["pc1", "variance", "fixed_k"]

_CHUNK = 64  # permutations whose small matrices are decomposed in one call


class SaturationWarning(UserWarning):
    """CCA between spaces with few more rows than dimensions is near 1 whatever the pairing."""


@dataclass(frozen=True)
class SVCCA:
    """Singular vector canonical correlation analysis (Raghu et al. 2017, arXiv 1706.05806, section 2.1).

    With U_x and U_y the left singular vectors kept of the column-centred spaces, the canonical correlations are the
    singular values of U_x' U_y and the score is their mean over min(k_x, k_y). Both sides being orthonormal, a
    permutation P of the rows only changes U_x' P U_y.

    Attributes:
        variant: `variance` keeps the fewest directions that hold `threshold` of the variance (the paper's method);
            `fixed_k` keeps `k`; `pc1` keeps one, which is what the published code of arXiv 2410.06981 computes.
        threshold: share of the variance kept by `variance`, in (0, 1].
        k: directions kept by `fixed_k`.

    Raises:
        InputError: unknown variant, threshold outside (0, 1], or k < 1.
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

    def prepare(self, X: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        """Returns the kept left singular vectors of the column-centred space.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, no variance, or fewer directions than `k`.
        """
        X = check_space(X, at_least=3)
        U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
        rank = int((s > s[0] * max(X.shape) * np.finfo(np.float64).eps).sum())
        if rank == 0:
            raise InputError("SVCCA needs a space that varies, got identical rows")
        if self.variant == "pc1":
            kept = 1
        elif self.variant == "variance":
            share = np.cumsum(s**2) / np.sum(s**2)
            kept = min(int(np.searchsorted(share, self.threshold - 1e-12)) + 1, rank)
        else:
            kept = self.k
            if kept > rank:
                raise InputError(f"SVCCA fixed_k needs {kept} directions, the space has {rank}")
        return np.ascontiguousarray(U[:, :kept])

    def score(self, x: Float[ndarray, "n k_x"], y: Float[ndarray, "n k_y"]) -> float:
        check_paired(len(x), len(y))
        if x.shape[1] + y.shape[1] >= len(x):
            warnings.warn(
                f"{self.name} is saturated: {x.shape[1]} + {y.shape[1]} directions on {len(x)} pairs share "
                "directions whatever the pairing, so only the distance to the null means anything",
                SaturationWarning,
                stacklevel=2,
            )
        return float(self.null_scores(x, y, np.arange(len(x))[None])[0])

    def null_scores(
        self, x: Float[ndarray, "n k_x"], y: Float[ndarray, "n k_y"], permutations: Int[ndarray, "m n"]
    ) -> Float[ndarray, " m"]:
        # All in torch: NumPy brings a thread pool of its own, and the two spin against each other (3x slower).
        Ux, Uy = torch.from_numpy(x).T.contiguous(), torch.from_numpy(y)
        chunks = torch.from_numpy(permutations).split(_CHUNK)
        return torch.cat([_mean_correlation(Ux @ Uy[p]) for p in chunks]).numpy()


def _mean_correlation(M: Tensor) -> Tensor:
    """Mean singular value of matrices [m, k_x, k_y], from the eigenvalues of the smaller Gram matrix (10x cheaper).

    A singular value s carries an absolute error of about eps / s, which only those below 1e-8 can feel.
    """
    M = M if M.shape[1] <= M.shape[2] else M.mT
    return torch.linalg.eigvalsh(M @ M.mT).clamp(0, 1).sqrt().mean(dim=1)


def svcca(
    X: Float[ndarray, "n d_a"],
    Y: Float[ndarray, "n d_b"],
    variant: Variant = "variance",
    threshold: float = 0.99,
    k: int = 20,
) -> float:
    """Returns the SVCCA similarity of two paired spaces, in [0, 1]; see `SVCCA` for the formula.

    Raises:
        InputError: spaces of different length, too few rows, non-finite entries, or a space without variance.
    """
    measure = SVCCA(variant, threshold, k)
    return measure.score(measure.prepare(X), measure.prepare(Y))
