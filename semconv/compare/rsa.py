"""RSA: rank correlation between the two matrices of similarities among the rows of each space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv import ops
from semconv.compare.measure import check_paired, check_space
from semconv.types import InputError


@dataclass(frozen=True)
class RSA:
    """Representational similarity analysis (Kriegeskorte et al. 2008, doi 10.3389/neuro.06.004.2008).

    The representational dissimilarity matrix is 1 - Pearson r between rows; the score is Spearman's rho (Pearson r of
    average ranks) between the strict lower triangles of the two. Permuting items permutes rows and columns of the RDM
    and leaves its ranks as they are, so a permutation costs one inner product.
    """

    @property
    def name(self) -> str:
        return "rsa"

    def prepare(self, X: Float[ndarray, "n d"]) -> Float[ndarray, "n n"]:
        """Returns the ranks of the RDM, centred, of unit norm over the lower triangle, symmetric, zero diagonal.

        Raises:
            InputError: fewer than 3 rows, fewer than 2 columns, non-finite entries, or a constant row.
        """
        from scipy.stats import rankdata

        X = check_space(X, at_least=3)
        if X.shape[1] < 2:
            raise InputError(f"RSA correlates rows and needs at least 2 columns, got {X.shape[1]}")
        centred = X - X.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        flat = np.flatnonzero(norms[:, 0] <= np.finfo(np.float64).eps * np.abs(X).max(axis=1) * X.shape[1])
        if len(flat):
            raise InputError(f"RSA correlates rows, and row {flat[0]} is constant")
        unit = centred / norms
        lower = np.tril_indices(len(X), -1)
        ranks = rankdata(1 - (unit @ unit.T)[lower])
        ranks -= ranks.mean()
        norm = np.linalg.norm(ranks)
        if norm == 0:
            raise InputError("RSA needs rows that differ in their similarities, got an RDM of one value")
        out = np.zeros((len(X), len(X)))
        out[lower] = ranks / norm
        return out + out.T

    def score(self, x: Float[ndarray, "n n"], y: Float[ndarray, "n n"]) -> float:
        check_paired(len(x), len(y))
        return float(self.null_scores(x, y, np.arange(len(x))[None])[0])

    def null_scores(
        self, x: Float[ndarray, "n n"], y: Float[ndarray, "n n"], permutations: Int[ndarray, "m n"]
    ) -> Float[ndarray, " m"]:
        return ops.permuted_dot(
            torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(permutations.astype(np.int32))
        ).numpy()


def rsa(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"]) -> float:
    """Returns the RSA similarity of two paired spaces, in [-1, 1]; see `RSA` for the formula.

    Raises:
        InputError: spaces of different length, too few rows or columns, non-finite entries, or a constant row.
    """
    measure = RSA()
    return measure.score(measure.prepare(X), measure.prepare(Y))
