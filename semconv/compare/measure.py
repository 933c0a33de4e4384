"""The interface of every similarity measure: what depends on one space alone is computed once and reused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.system.errors import InputError

if TYPE_CHECKING:
    from semconv.compare.shared_rows import SharedRows

Space = TypeVar("Space")


class SaturationWarning(UserWarning):
    """The score is near its top whatever the pairing, so only its distance to the null means anything.

    Examples:
        Twelve pairs in 20 dimensions: biased CKA is high although the two spaces share nothing.

        >>> import warnings
        >>> import numpy as np
        >>> from semconv.compare import SaturationWarning, cka
        >>> rng = np.random.default_rng(0)
        >>> X, Y = rng.normal(size=(12, 20)), rng.normal(size=(12, 20))
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     score = cka(X, Y)
        >>> score > 0.5, caught[0].category is SaturationWarning
        (True, True)
    """


class Measure(Protocol[Space]):
    """A similarity of two paired spaces, in a form that makes permutations cheap.

    `score(prepare(X), prepare(Y))` is the statistic. `null_scores` is `score` with the rows of Y permuted, for many
    permutations at once, without preparing again.

    Examples:
        A measure of your own: the mean cosine between paired rows of two spaces of one dimension. It is tested like the
        measures that semconv has.

        >>> import numpy as np
        >>> import semconv
        >>> from semconv.compare import Measure
        >>> class MeanCosine(Measure[np.ndarray]):
        ...     @property
        ...     def name(self):
        ...         return "mean_cosine"
        ...     def prepare(self, X):
        ...         return X / np.linalg.norm(X, axis=1, keepdims=True)
        ...     def score(self, x, y):
        ...         return float((x * y).sum(axis=1).mean())
        ...     def null_scores(self, x, y, permutations):
        ...         return np.array([self.score(x, y[p]) for p in permutations])
        >>> X = np.random.default_rng(0).normal(size=(30, 4))
        >>> result = semconv.permutation_test(MeanCosine(), X, 2 * X, n_permutations=99)
        >>> round(result.statistic, 6), result.p_value
        (1.0, 0.01)
    """

    @property
    def name(self) -> str:
        """Short name used in tables and result files."""
        ...

    @property
    def needs_all_directions(self) -> bool:
        """Whether it needs all singular directions of a space; then measures beside it take theirs from these."""
        return False

    def prepare(self, X: Float[ndarray, "n d"]) -> Space:
        """Does the work that depends on one space alone.

        Args:
            X: [n, d], finite; any real dtype, computed in float64. semconv's own measures also take a torch tensor,
                work on its device, and return tensors there.

        Returns:
            The prepared space, in whatever form the measure needs.

        Raises:
            InputError: X is no matrix, holds NaN or inf, or has too few rows; each measure lists what else.
        """
        ...

    def prepare_shared(self, rows: SharedRows) -> Space:
        """Returns what `prepare` returns for these rows, taking from them what other measures have computed already.

        A measure that does not define it prepares the rows on its own.

        Raises:
            InputError: as `prepare`.
        """
        return self.prepare(rows.array)

    def score(self, x: Space, y: Space) -> float:
        """Returns the similarity of two prepared spaces, row i of one paired with row i of the other.

        Raises:
            InputError: spaces of different length, or for which the score is not defined.
        """
        ...

    def null_scores(self, x: Space, y: Space, permutations: Int[ndarray, "m n"]) -> Float[ndarray, " m"]:
        """Returns the similarity of X and Y[p] for every row p of `permutations`.

        Args:
            x: X, prepared.
            y: Y, prepared.
            permutations: integers [m, n], every row a permutation of 0..n-1.

        Returns:
            float64 [m].

        Raises:
            InputError: spaces of different length, or for which the score is not defined.
        """
        ...

    def space(self, X: Float[ndarray, "N d"]) -> RowSubsets[Space]:
        """Returns a space of which many row subsets will be prepared, as the `rematch` null does.

        `space(X).subset(rows)` is `prepare(X[rows])`; measures that can share work between subsets do.

        Raises:
            InputError: not a matrix, no rows, or non-finite entries.
        """
        X = check_space(X, at_least=1)
        return RowSubsets(len(X), lambda rows: self.prepare(X[rows]))


@dataclass(frozen=True, eq=False)
class RowSubsets(Generic[Space]):
    """A space whose row subsets are prepared one after another.

    Attributes:
        n_rows: rows of the whole space.
        make: prepares the rows of an int64 index array that has been checked.

    Examples:
        `Measure.space` makes one. RSA computes the similarities of all rows once, and every subset reads from them:

        >>> import numpy as np
        >>> from semconv.compare import RSA
        >>> X = np.random.default_rng(0).normal(size=(40, 5))
        >>> space = RSA().space(X)
        >>> rows = np.array([3, 1, 4, 15, 9])
        >>> space.n_rows, np.allclose(space.subset(rows), RSA().prepare(X[rows]))
        (40, True)
    """

    n_rows: int
    make: Callable[[Int[ndarray, " n"]], Space]

    def subset(self, rows: Int[ndarray, " n"]) -> Space:
        """Prepares some rows, in the order given.

        Raises:
            InputError: rows that are not integers [n], an index outside [0, n_rows), or rows that the measure's
                `prepare` cannot take, such as fewer than 3.
        """
        rows = np.asarray(rows)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise InputError(f"rows must be integers of shape [n], got {rows.dtype} {list(rows.shape)}")
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.n_rows):
            raise InputError(f"rows must be in [0, {self.n_rows}), got {rows.min()} to {rows.max()}")
        return self.make(rows.astype(np.int64))


def check_space(X: Float[ndarray, "n d"], at_least: int) -> Float[ndarray, "n d"]:
    """Returns X as float64 after checking that it is a finite matrix of enough rows.

    Raises:
        InputError: not a matrix, not finite, no columns, or fewer rows than `at_least`.
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2:
        raise InputError(f"a space must have shape [n, d], got {list(X.shape)}")
    if len(X) < at_least:
        raise InputError(f"this measure needs at least {at_least} pairs, got {len(X)}")
    if X.shape[1] == 0:
        raise InputError("a space must have at least one column, got none")
    if not np.isfinite(X).all():
        raise InputError("a space must be finite, got NaN or inf")
    return X


def check_paired(n_x: int, n_y: int) -> None:
    """Raises InputError unless both spaces have the same number of rows."""
    if n_x != n_y:
        raise InputError(f"X and Y must have the same number of rows, got {n_x} and {n_y}")


def is_saturated(n: int, k_x: int, k_y: int) -> bool:
    """Whether subspaces of k_x and k_y dimensions must meet: centred columns live in n - 1 dimensions."""
    return k_x + k_y >= n


_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collected_saturation() -> Generator[list[str]]:
    """Collects what would be SaturationWarnings inside, on this thread alone, instead of warning."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def _warn(message: str) -> None:
    found = _collected.get()
    if found is None:
        warnings.warn(message, SaturationWarning, stacklevel=4)
    else:
        found.append(message)


def warn_if_saturated(name: str, n: int, k_x: int, k_y: int) -> None:
    """Warns when a score built on canonical correlations is high whatever the pairing; called by `score`."""
    if is_saturated(n, k_x, k_y):
        _warn(
            f"{name} is saturated: {k_x} + {k_y} directions on {n} pairs share "
            "directions whatever the pairing, so only the distance to the null means anything"
        )


def warn_if_wide(name: str, n: int, d_x: int, d_y: int) -> None:
    """Warns when a score is high because rows in so many dimensions are nearly orthogonal; called by `score`."""
    if n <= max(d_x, d_y):
        _warn(
            f"{name} is saturated: {n} pairs in {max(d_x, d_y)} dimensions are nearly orthogonal to each other "
            "whatever the pairing, so only the distance to the null means anything"
        )
