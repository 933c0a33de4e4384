"""Orthogonal Procrustes similarity: how well a rotation and a scale turn one space into the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.cross import cross_products, singular_values
from semconv.compare.directions import left_directions
from semconv.compare.measure import Measure, centre, warn_if_wide


@dataclass(frozen=True)
class Procrustes(Measure[Float[ndarray, "n r"]]):
    """Orthogonal Procrustes similarity (Schönemann 1966, doi 10.1007/BF02289451).

    With both spaces column-centred and of unit Frobenius norm, the smallest ||X R - Y||_F^2 over orthogonal R is
    2 - 2 ||X'Y||_*, and the score is the nuclear norm ||X'Y||_*: 1 if the spaces are equal up to shift, rotation and
    scale. Spaces of different dimension are compared as if the smaller had columns of zeros, which leaves X'Y's
    singular values as they are.
    """

    @property
    def name(self) -> str:
        return "procrustes"

    def prepare(self, X: Float[ndarray, "n d"]) -> Float[ndarray, "n r"]:
        """Returns the centred space of unit Frobenius norm, on its principal components if it has no more rows than
        columns (r = min(d, its rank)), which are fewer.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, or identical rows.
        """
        X = centre(X, "Procrustes")
        if X.shape[1] < len(X):
            return X
        U, s = left_directions(X, "Procrustes")
        return U * (s / np.linalg.norm(s))

    def score(self, x: Float[ndarray, "n r_x"], y: Float[ndarray, "n r_y"]) -> float:
        score = float(self.null_scores(x, y, np.arange(len(x))[None])[0])
        warn_if_wide(self.name, len(x), x.shape[1] + 1, y.shape[1] + 1)  # rank n - 1 is all that centred rows can have
        return score

    def null_scores(
        self, x: Float[ndarray, "n r_x"], y: Float[ndarray, "n r_y"], permutations: Int[ndarray, "m n"]
    ) -> Float[ndarray, " m"]:
        return torch.cat([singular_values(M).sum(dim=1) for M in cross_products(x, y, permutations)]).numpy()


def procrustes(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"]) -> float:
    """Returns the orthogonal Procrustes similarity of two paired spaces, in [0, 1]; see `Procrustes`.

    Raises:
        InputError: spaces of different length, or what `Procrustes.prepare` refuses.
    """
    measure = Procrustes()
    return measure.score(measure.prepare(X), measure.prepare(Y))
