"""Permutation tests: the null distribution of a similarity, its p-value and the score calibrated against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.compare.measure import Measure, check_paired
from semconv.system.errors import InputError

LEVEL = 0.05
"""p or q below which a score counts as different from its null, and one minus the coverage of intervals."""
ROUNDING = 1e-12
"""Scores closer than this are the same score: what is left between them is the rounding of the last steps."""


@dataclass(frozen=True, eq=False)
class PermutationResult:
    """A statistic beside its null distribution.

    Attributes:
        statistic: observed value.
        null: float64 [n_permutations], the statistic under permutations 0, 1, ...
        p_value: one-sided, large values are evidence.

    Examples:
        A score of 0.9 that none of 99 permutations reaches:

        >>> import numpy as np
        >>> from semconv import PermutationResult
        >>> null = np.linspace(-0.1, 0.1, 99)
        >>> result = PermutationResult(statistic=0.9, null=null, p_value=1 / 100)
        >>> round(result.z, 1)  # standard deviations above the mean of the null
        15.4
        >>> round(result.calibrated, 2)  # 0: what chance reaches in 5% of draws; 1: the most there is
        0.89
    """

    statistic: float
    null: Float[ndarray, " m"]
    p_value: float

    @property
    def z(self) -> float:
        """Distance of the statistic from the null mean in null standard deviations; NaN for a constant null."""
        spread = float(self.null.std(ddof=1)) if len(self.null) > 1 else 0.0
        return (self.statistic - float(self.null.mean())) / spread if spread > ROUNDING else math.nan

    @property
    def calibrated(self) -> float:
        """The calibrated score of `calibrated_score` at level 0.05."""
        return calibrated_score(self.statistic, self.null)


def p_value(statistic: float, null: Float[ndarray, " m"]) -> float:
    """Returns (b + 1) / (m + 1) with b the null values >= statistic (Phipson & Smyth 2010, doi 10.2202/1544-6115.1585).

    Values within `ROUNDING` count as equal: a permutation that maps the statistic onto itself may round differently.

    Raises:
        InputError: the statistic or a null value is not finite, and so cannot be ranked.
    """
    if not (math.isfinite(statistic) and np.isfinite(null).all()):
        raise InputError(
            f"a p-value needs finite values, got statistic {statistic} and {(~np.isfinite(null)).sum()} of the null"
        )
    return (int((null >= statistic - ROUNDING).sum()) + 1) / (len(null) + 1)


def calibrated_score(statistic: float, null: Float[ndarray, " m"], level: float = 0.05) -> float:
    """Returns max(0, s - tau) / (1 - tau), tau the (1 - level) quantile of the statistic and its null together.

    Gröger et al. 2026 (arXiv 2602.14486). The quantile is the order statistic ceil((1 - level)(m + 1)), so that under
    the null a score above 0 has probability at most `level`. For similarities that are at most 1.
    """
    tau = _chance(statistic, null, level)
    if statistic <= tau + ROUNDING or tau >= 1 - ROUNDING:
        return 0.0
    return (statistic - tau) / (1 - tau)


def _chance(statistic: float, null: Float[ndarray, " m"], level: float) -> float:
    pooled = np.sort(np.append(null, statistic))
    return float(pooled[math.ceil((1 - level) * len(pooled)) - 1])


def calibrated_together(
    statistic: float, null: Float[ndarray, " m"], level: float = LEVEL
) -> tuple[float, Float[ndarray, " m"]]:
    """Returns a statistic and its draws, each x as (x - tau) / (1 - tau), with tau of `calibrated_score`, not cut at 0.

    tau treats the statistic and the draws alike, so that whatever is exchangeable stays so, and the highest of several
    statistics can be tested by `max_statistic` when each is counted from what chance reaches at its own place. All are
    0 where tau is 1 or more.
    """
    tau = _chance(statistic, null, level)
    if tau >= 1 - ROUNDING:
        return 0.0, np.zeros(len(null))
    return (statistic - tau) / (1 - tau), (null - tau) / (1 - tau)


def generator(seed: int, number: int, stream: int = 0) -> np.random.Generator:
    """Returns a counter-based generator that depends on its key alone, never on what was drawn before.

    Args:
        seed: of the run, 0 <= seed < 2^64.
        number: of the permutation, shift or resample.
        stream: one number for each purpose, so that draws of one run for different purposes differ.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, number + (stream << 48)], dtype=np.uint64)))


def permutation_ids(
    n: int, n_permutations: int, seed: int, first: int = 0, strata: Int[ndarray, " n"] | None = None
) -> Int[ndarray, "m n"]:
    """Returns permutations of range(n): number i comes from a counter-based generator keyed by (seed, i) alone.

    So any subset of a run's permutations can be drawn again, in any order, by any number of processes.

    Args:
        n: items.
        n_permutations: m.
        seed: key.
        first: number of the first permutation.
        strata: int64 [n]; items only change places with items of the same stratum.
    """
    numbers = range(first, first + n_permutations)
    if strata is None:
        return np.stack([generator(seed, i).permutation(n) for i in numbers])
    out, grouped = np.empty((n_permutations, n), dtype=np.int64), np.argsort(strata, kind="stable")
    for row, i in enumerate(numbers):
        out[row, grouped] = np.lexsort((generator(seed, i).random(n), strata))
    return out


def frequency_strata(counts: Int[ndarray, " n"], n_strata: int) -> Int[ndarray, " n"]:
    """Returns the stratum of every item, 0 to n_strata - 1, by rank of its count: strata of equal size, rarest first.

    Raises:
        InputError: fewer than one stratum.
    """
    if n_strata < 1:
        raise InputError(f"at least one stratum is needed, got {n_strata}")
    ranks = np.empty(len(counts), dtype=np.int64)
    ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    return ranks * n_strata // max(len(counts), 1)


def max_statistic(statistics: Sequence[float], nulls: Sequence[Float[ndarray, " m"]]) -> PermutationResult:
    """Tests the best of several scores against the best that each permutation reaches anywhere.

    Permutation i is the same for all of them, so the p-value holds for having looked at every one (Westfall & Young
    1993).

    Raises:
        InputError: no score, null distributions of different length, or a score that is not finite.
    """
    if not statistics or len({len(null) for null in nulls}) != 1:
        raise InputError(f"the best of several scores needs nulls of one length, got {[len(null) for null in nulls]}")
    best, null = max(statistics), np.max(np.stack(nulls), axis=0)
    return PermutationResult(best, null, p_value(best, null))


def permutation_test(
    measure: Measure[Any] | Callable[[ndarray, ndarray], float],
    X: Float[ndarray, "n d_a"],
    Y: Float[ndarray, "n d_b"],
    n_permutations: int = 1000,
    seed: int = 0,
) -> PermutationResult:
    """Tests whether the pairing of the rows of X and Y matters, by permuting the rows of Y (the `shuffle` null).

    Args:
        measure: a Measure, whose per-space work is done once, or any function of (X, Y).
        X: one space.
        Y: the other, row i paired with row i of X.
        n_permutations: m >= 1.
        seed: key of the permutations, 0 <= seed < 2^64.

    Raises:
        InputError: X and Y differ in their number of rows, n_permutations < 1, a seed outside [0, 2^64), a score that
            is not finite, or a space that the measure cannot take (see its `prepare`).

    Examples:
        Y is X after a rotation: no permutation of its rows fits as well. Without the pairing nothing is left:

        >>> import numpy as np
        >>> import semconv
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(40, 5))
        >>> Y = X @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
        >>> result = semconv.permutation_test(semconv.compare.Procrustes(), X, Y, n_permutations=99)
        >>> round(result.statistic, 6), result.p_value  # (0 + 1) / (99 + 1)
        (1.0, 0.01)
        >>> semconv.permutation_test(semconv.compare.rsa, X, Y[::-1], n_permutations=99).p_value > 0.05
        True
    """
    if n_permutations < 1:
        raise InputError(f"n_permutations must be at least 1, got {n_permutations}")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must be at least 0 and below 2^64, got {seed}")
    check_paired(len(X), len(Y))
    permutations = permutation_ids(len(X), n_permutations, seed)
    if isinstance(measure, Callable):
        statistic, null = float(measure(X, Y)), np.array([measure(X, Y[p]) for p in permutations], dtype=np.float64)
    else:
        x, y = measure.prepare(X), measure.prepare(Y)
        statistic, null = measure.score(x, y), measure.null_scores(x, y, permutations)
    return PermutationResult(statistic, null, p_value(statistic, null))
