"""The singular directions of a centred space: one decomposition, of which every measure takes what it needs."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from semconv.compare.leading_subspace import are_few, leading_eigenvectors
from semconv.compare.symmetric_product import symmetric_product
from semconv.system.errors import InputError

_SMALLEST = 1e-5  # share of the first eigenvalue; U = X V / s loses eps / share of its orthogonality
_GAP = 1e-6  # the same; the kept subspace is off by eps / gap


class Directions:
    """A column-centred space and its singular directions, decomposed once, when first asked for.

    The eigenvectors of X'X (n > d) or XX' cost a fifth of an SVD, but squaring X halves the digits of its weak
    directions. They are used where the last direction kept has a variance of at least 1e-5 of the first, and its
    distance to the next one is at least 1e-6 of it: then the subspace is within about 1e-10 of the SVD's. Otherwise
    the SVD is taken. Where only a few of very many are asked for, they are found alone (`leading_eigenvectors`).

    Attributes:
        X: float64 [n, d], centred, not all zero.
        all_needed: all directions will be asked for, so that none are worth finding alone.
    """

    def __init__(self, X: Float[Tensor, "n d"], all_needed: bool = False) -> None:
        self.X, self.all_needed = X, all_needed
        self._found = X[:, :0]  # leading left singular vectors from the Gram matrix, as many as were needed so far

    @cached_property
    def _of_gram(self) -> tuple[Float[ndarray, " r"], Tensor]:
        """Eigenvalues of the smaller Gram matrix, descending, and its eigenvectors, ascending."""
        values, vectors = torch.linalg.eigh(self._gram())
        return values.flip(0).clamp(min=0).cpu().numpy(), vectors

    def _gram(self) -> Tensor:
        """The smaller Gram matrix."""
        return symmetric_product(self.X if self.X.shape[1] >= len(self.X) else self.X.mT)

    @cached_property
    def _of_svd(self) -> tuple[Tensor, Float[ndarray, " r"], int]:
        """Left singular vectors, singular values, and the rank."""
        U, s, _ = torch.linalg.svd(self.X, full_matrices=False)
        s = s.cpu().numpy()
        return U, s, int((s > s[0] * self._rounding).sum())

    @property
    def _rounding(self) -> float:
        """Share of the first singular value at which one counts as zero."""
        return max(self.X.shape) * float(np.finfo(np.float64).eps)

    def leading(
        self, who: str, threshold: float | None = None, k: int | None = None
    ) -> tuple[Float[Tensor, "n k"], Float[ndarray, " k"]]:
        """Returns the leading left singular vectors U and the singular values s.

        Args:
            who: name used in errors.
            threshold: keep the fewest directions that hold this share of the variance; None keeps all, up to the rank.
            k: keep this many directions instead.

        Raises:
            InputError: fewer directions than `k`.
        """
        alone = self._few(k) if k is not None else None
        if alone is not None:
            return alone
        kept = self._kept_of_gram(threshold, k)
        if kept is not None:
            return self._left(kept), np.sqrt(self._of_gram[0][:kept])
        U, s, rank = self._of_svd
        if k is not None and k > rank:
            raise InputError(f"{who} needs {k} directions, the space has {rank}")
        kept = k if k is not None else rank if threshold is None else min(_by_share(s**2, threshold), rank)
        return U[:, :kept].contiguous(), s[:kept]

    def column_space(self) -> Float[Tensor, "n r"]:
        """Returns an orthonormal basis of the columns, of as many directions as their rank.

        From a Householder QR where it shows that all columns count, to which a weak direction is as good as a strong
        one; from the eigenvectors where they are there already and accurate, or there are more columns than rows; from
        the SVD where columns depend on each other.
        """
        n, d = self.X.shape
        if d >= n or ("_of_gram" in self.__dict__ and self._kept_of_gram(None, None) is not None):
            return self.leading("a column space")[0]
        Q, R = torch.linalg.qr(self.X)
        if _smallest_singular_value(R) > 10 * self._rounding:  # the largest one is at most 1
            return Q
        U, _, rank = self._of_svd
        return U[:, :rank].contiguous()

    def _few(self, k: int) -> tuple[Tensor, Float[ndarray, " k"]] | None:
        """The k leading directions found alone; None where that is no gain, or not accurate enough."""
        if self.all_needed or "_of_gram" in self.__dict__ or not are_few(k, min(self.X.shape)):
            return None
        found = leading_eigenvectors(self._gram(), k)
        if found is None:
            return None
        variance, vectors, next_one = found
        if not _is_accurate(np.append(variance.cpu().numpy(), next_one), k):
            return None
        s = variance.sqrt()
        return self.X @ vectors / s if self.X.shape[1] < len(self.X) else vectors, s.cpu().numpy()

    def _kept_of_gram(self, threshold: float | None, k: int | None) -> int | None:
        """How many directions are kept; None where the eigenvectors of a Gram matrix are not accurate enough."""
        variance, most = self._of_gram[0], min(len(self.X) - 1, self.X.shape[1])  # centring takes one dimension of n
        kept = k if k is not None else most if threshold is None else min(_by_share(variance, threshold), most)
        return kept if kept <= most and _is_accurate(variance[:most], kept) else None

    def _left(self, kept: int) -> Tensor:
        """The first `kept` left singular vectors from the Gram matrix; those that were not needed yet are added."""
        have = self._found.shape[1]
        if have < kept:
            variance, vectors = self._of_gram
            more = vectors.flip(1)[:, have:kept]
            if self.X.shape[1] < len(self.X):
                s = torch.from_numpy(np.sqrt(variance[have:kept])).to(self.X.device)
                more = self.X @ more / s
            self._found = torch.cat([self._found, more], dim=1)
        return self._found[:, :kept].contiguous()


def _is_accurate(variance: Float[ndarray, " r"], kept: int) -> bool:
    """Whether the leading eigenvectors of a Gram matrix are accurate enough; its eigenvalues, descending."""
    if variance[kept - 1] <= _SMALLEST * variance[0]:
        return False
    return kept == len(variance) or variance[kept - 1] - variance[kept] > _GAP * variance[0]


def _by_share(variance: Float[ndarray, " r"], threshold: float) -> int:
    share = np.cumsum(variance) / np.sum(variance)
    return int(np.searchsorted(share, threshold - 1e-12)) + 1


def _smallest_singular_value(R: Float[Tensor, "d d"]) -> float:
    """A lower bound of it for a triangular matrix: 1 / ||R^-1||_F, 0 where R has no inverse."""
    if not bool((R.diagonal() != 0).all()):
        return 0.0
    inverse = torch.linalg.solve_triangular(R, torch.eye(len(R), dtype=R.dtype, device=R.device), upper=True)
    norm = float(torch.linalg.norm(inverse))
    return 1 / norm if np.isfinite(norm) else 0.0
