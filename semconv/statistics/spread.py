"""How far a score would move with other documents, other features, another seed of the SAEs, or all three."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.statistics.permutation import generator

_PAIR_HALVES = 7  # stream of the generator


@dataclass(frozen=True)
class MeanSquare:
    """An estimate of a variance, or of a part of one.

    Attributes:
        value: the estimate, times the weight with which it enters a sum.
        dof: its degrees of freedom.
    """

    value: float
    dof: int


@dataclass(frozen=True)
class Component:
    """What one source of variation adds to the variance of a score.

    Attributes:
        parts: whose sum is the variance; it is 0 where they sum to less.
    """

    parts: tuple[MeanSquare, ...]

    @property
    def variance(self) -> float:
        return max(0.0, sum(part.value for part in self.parts))

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.variance)


def pair_halves(n: int, numbers: Sequence[int], seed: int) -> list[Int[ndarray, " k"]]:
    """Returns halves of n feature pairs, each int64 [n // 2], ascending, drawn without replacement.

    Args:
        n: feature pairs.
        numbers: which halves, of all that the seed gives.
        seed: key of the draws.
    """
    return [np.sort(generator(seed, number, _PAIR_HALVES).permutation(n)[: n // 2]) for number in numbers]


def of_documents(scores: Float[ndarray, " m"]) -> Component | None:
    """Returns the variance over documents, from scores of documents drawn with replacement and matched again.

    None for fewer than two draws, or where one has no score.
    """
    return _variance(scores)


def _variance(scores: Float[ndarray, " m"], factor: float = 1.0) -> Component | None:
    if len(scores) < 2 or not np.isfinite(scores).all():
        return None
    return Component((MeanSquare(factor * float(scores.var(ddof=1)), len(scores) - 1),))


def of_features(scores: Float[ndarray, " m"], n: int) -> Component | None:
    """Returns the variance over features, from scores of random halves of the n feature pairs: the delete-d jackknife.

    Of a statistic whose variance falls as 1 / n, scores of k of n pairs drawn without replacement vary by
    v (n - k) / k, so v is their variance times k / (n - k) (Shao & Wu 1989, doi 10.1214/aos/1176347263).
    Drawing with replacement would pair features with themselves.

    None for fewer than two draws, or where one has no score.
    """
    k = n // 2
    return _variance(scores, k / (n - k)) if k else None


def of_seeds(scores: Float[ndarray, "i j"]) -> Component | None:
    """Returns the variance of one score over the seeds of both SAEs, from all pairs of SAEs.

    Scores are taken as a mean, an effect of A's SAE, one of B's, and a rest, all random. The variance of one score is
    the sum of the three, estimated from the mean squares of the two-way table (Searle, Casella & McCulloch 1992,
    chapter 4): MS_A / J + MS_B / I + MS_rest (1 - 1 / I - 1 / J) for I of A's and J of B's. With one SAE on a side it
    is the variance over the other's.

    Args:
        scores: [I, J], of every SAE of A with every SAE of B.

    Returns:
        None for a single pair, or where one has no score.
    """
    i, j = scores.shape
    if i * j < 2 or not np.isfinite(scores).all():
        return None
    if i == 1 or j == 1:
        return _variance(scores.ravel())
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    rest = scores - rows[:, None] - columns[None, :] + scores.mean()
    parts = (
        MeanSquare(float(rows.var(ddof=1)), i - 1),  # MS_A / J
        MeanSquare(float(columns.var(ddof=1)), j - 1),  # MS_B / I
        MeanSquare(float((rest**2).sum()) / ((i - 1) * (j - 1)) * (1 - 1 / i - 1 / j), (i - 1) * (j - 1)),
    )
    return Component(parts)


def together(components: Iterable[Component]) -> tuple[float, float]:
    """Returns the standard deviation of the sum of independent components, and its degrees of freedom.

    The degrees of freedom are Satterthwaite's (1946, doi 10.2307/3002019): (sum v)^2 / sum(v^2 / dof) over the mean
    squares v. (0, inf) where nothing varies.
    """
    parts = [part for component in components if component.variance > 0 for part in component.parts]
    total = sum(part.value for part in parts)
    if total <= 0:
        return 0.0, math.inf
    return math.sqrt(total), total**2 / sum(part.value**2 / part.dof for part in parts)


def half_width(sd: float, dof: float, level: float) -> float:
    """Returns Student's t at 1 - level / 2 times a standard deviation."""
    from scipy.stats import t

    return float(t.ppf(1 - level / 2, dof)) * sd if sd > 0 else 0.0
