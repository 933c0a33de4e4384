"""Orthogonal Procrustes similarity: how well a rotation and a scale turn one space into the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.compare.cross import cross_products, singular_values
from semconv.compare.measure import Measure, warn_if_wide
from semconv.compare.shared_rows import Rows, SharedRows


@dataclass(frozen=True)
class Procrustes(Measure[Float[Tensor, "n r"]]):
    """Orthogonal Procrustes similarity (Schönemann 1966, doi 10.1007/BF02289451).

    With both spaces column-centred and of unit Frobenius norm, the smallest ||X R - Y||_F^2 over orthogonal R is
    2 - 2 ||X'Y||_*, and the score is the nuclear norm ||X'Y||_*: 1 if the spaces are equal up to shift, rotation and
    scale. Spaces of different dimension are compared as if the smaller had columns of zeros, which leaves X'Y's
    singular values as they are.

    Examples:
        The pairing that is there (the identity permutation) beside 99 random ones:

        >>> import numpy as np
        >>> from semconv.compare import Procrustes
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(30, 4))
        >>> measure = Procrustes()
        >>> x, y = measure.prepare(X), measure.prepare(X + 0.1 * rng.normal(size=X.shape))
        >>> permutations = np.stack([np.arange(30)] + [rng.permutation(30) for _ in range(99)])
        >>> scores = measure.null_scores(x, y, permutations)
        >>> scores.shape, int(scores.argmax())
        ((100,), 0)
    """

    @property
    def name(self) -> str:
        return "procrustes"

    def prepare(self, X: Rows) -> Float[Tensor, "n r"]:
        """Returns the centred space of unit Frobenius norm, on its principal components if it has no more rows than
        columns (r = min(d, its rank)), which are fewer.

        Raises:
            InputError: fewer than 3 rows, non-finite entries, or identical rows.
        """
        return self.prepare_shared(SharedRows(X))

    def prepare_shared(self, rows: SharedRows) -> Float[Tensor, "n r"]:
        centred = rows.centred("Procrustes")
        if centred.X.shape[1] < len(centred.X):
            return centred.X
        U, s = centred.leading("Procrustes")
        return U * torch.from_numpy(s / np.linalg.norm(s)).to(U.device)

    def score(self, x: Float[Tensor, "n r_x"], y: Float[Tensor, "n r_y"]) -> float:
        score = float(self.null_scores(x, y, np.arange(len(x))[None])[0])
        warn_if_wide(self.name, len(x), x.shape[1] + 1, y.shape[1] + 1)  # rank n - 1 is all that centred rows can have
        return score

    def null_scores(
        self, x: Float[Tensor, "n r_x"], y: Float[Tensor, "n r_y"], permutations: Int[ndarray, "m n"]
    ) -> Float[ndarray, " m"]:
        norms = [singular_values(M).sum(dim=1) for M in cross_products(x, y, permutations)]
        return torch.cat(norms).cpu().numpy()


def procrustes(X: Float[ndarray, "n d_a"], Y: Float[ndarray, "n d_b"]) -> float:
    """Returns the orthogonal Procrustes similarity of two paired spaces, in [0, 1]; see `Procrustes`.

    Args:
        X: [n, d_a], finite; any real dtype, computed in float64.
        Y: [n, d_b], row i paired with row i of X; d_b may differ from d_a.

    Raises:
        InputError: X or Y is no matrix, holds NaN or inf, has fewer than 3 rows or identical ones, or they differ in
            their number of rows.

    Examples:
        A rotation, a scale and a shift change nothing, nor does a further column of zeros:

        >>> import numpy as np
        >>> from semconv.compare import procrustes
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(40, 5))
        >>> rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
        >>> Y = np.hstack([3 * X @ rotation + 1, np.zeros((40, 1))])
        >>> round(procrustes(X, Y), 6)
        1.0
    """
    measure = Procrustes()
    return measure.score(measure.prepare(X), measure.prepare(Y))
