"""The shape every similarity measure has: the work that depends on one space alone is done once and kept."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.types import InputError

Space = TypeVar("Space")


class Measure(Protocol[Space]):
    """A similarity of two paired spaces, in a form that makes permutations cheap.

    `score(prepare(X), prepare(Y))` is the statistic. `null_scores` is `score` with the rows of Y permuted, for many
    permutations at once, without preparing again.
    """

    @property
    def name(self) -> str:
        """Short name used in tables and result files."""
        ...

    def prepare(self, X: Float[ndarray, "n d"]) -> Space:
        """Does the work that depends on one space alone."""
        ...

    def score(self, x: Space, y: Space) -> float:
        """Returns the similarity."""
        ...

    def null_scores(self, x: Space, y: Space, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        """Returns the similarity of X and Y[p] for every row p of `permutations`."""
        ...


def check_space(X: Float[ndarray, "n d"], at_least: int) -> Float[ndarray, "n d"]:
    """Returns X as float64 after checking that it is a finite matrix of enough rows.

    Raises:
        InputError: not a matrix, not finite, or fewer rows than `at_least`.
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2:
        raise InputError(f"a space must have shape [n, d], got {list(X.shape)}")
    if len(X) < at_least:
        raise InputError(f"this measure needs at least {at_least} pairs, got {len(X)}")
    if not np.isfinite(X).all():
        raise InputError("a space must be finite, got NaN or inf")
    return X


def check_paired(n_x: int, n_y: int) -> None:
    """Raises InputError unless both spaces have the same number of rows."""
    if n_x != n_y:
        raise InputError(f"X and Y must have the same number of rows, got {n_x} and {n_y}")
