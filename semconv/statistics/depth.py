"""How scores lie over the depths of two models: the middle against the ends, near depths against far ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from semconv.statistics.permutation import ROUNDING, generator
from semconv.system.errors import InputError

_LABELS = 5  # stream of the generator, beside those of `resampling` and `token_swaps`
LEAST_PAIRS = 6
"""Layer pairs below which no rank correlation over them is told."""
Labels = tuple[Int[ndarray, " a"], Int[ndarray, " b"]]


class OverLabels(NamedTuple):
    """A statistic of a layer grid beside its values with the depths of both models permuted.

    Attributes:
        statistic: observed.
        p: share of the permutations that reach it, (b + 1) / (m + 1) where they are drawn.
        exact: whether all permutations were gone through.
    """

    statistic: float
    p: float
    exact: bool


@dataclass(frozen=True, eq=False)
class Thirds:
    """Which depths of a model are early, middle and late: those whose middle (i + 1/2) / n lies in each third of 0..1.

    Attributes:
        early: bool [n].
        middle: bool [n].
        late: bool [n].
    """

    early: ndarray
    middle: ndarray
    late: ndarray

    @classmethod
    def of(cls, n: int) -> Thirds:
        """Returns those of n depths; one of three exactly stands in every third."""
        third = np.minimum((6 * np.arange(n) + 3) // (2 * n), 2)
        return cls(third == 0, third == 1, third == 2)


def middle_above_ends(scores: Float[ndarray, "a b"]) -> float:
    """Returns by how much the middle of both models scores above early with early and late with late.

    The mean of the layer pairs of two middle depths (`Thirds`) less the mean of two means, of early and of late ones.

    Raises:
        InputError: fewer than three depths on a side, or a layer pair without a score.
    """
    if min(scores.shape) < 3:
        raise InputError(f"thirds of the depths need three of each model, got {scores.shape[0]} and {scores.shape[1]}")
    missing = int((~np.isfinite(scores)).sum())
    if missing:
        raise InputError(f"{missing} of {scores.size} layer pairs have no score")
    a, b = (Thirds.of(n) for n in scores.shape)
    ends = (scores[np.ix_(a.early, b.early)].mean() + scores[np.ix_(a.late, b.late)].mean()) / 2
    return float(scores[np.ix_(a.middle, b.middle)].mean() - ends)


def closeness(n_a: int, n_b: int) -> Float[ndarray, "a b"]:
    """Returns minus the distance of the relative depths (i + 1/2) / n of every two depths."""
    a, b = ((np.arange(n) + 0.5) / n for n in (n_a, n_b))
    return -np.abs(a[:, None] - b)


def rank_correlation(
    x: Float[ndarray, "a b"], y: Float[ndarray, "a b"], given: Float[ndarray, "a b"] | None = None
) -> float:
    """Returns Spearman's rho over the cells where both are finite, or its partial correlation given a third.

    Raises:
        InputError: fewer than `LEAST_PAIRS` such cells, or one that does not vary over them.
    """
    from scipy.stats import rankdata

    there = np.isfinite(x) & np.isfinite(y)
    if there.sum() < LEAST_PAIRS:
        raise InputError(f"{int(there.sum())} layer pairs have both, at least {LEAST_PAIRS} are needed")
    ranks = [rankdata(part[there]) for part in ((x, y) if given is None else (x, y, given))]
    if any(np.ptp(rank) == 0 for rank in ranks):
        raise InputError("the layer pairs do not differ")
    r = np.corrcoef(ranks)
    if given is None:
        return float(r[0, 1])
    rest = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    if rest <= ROUNDING:
        raise InputError("what is given leaves no difference between layer pairs")
    return float((r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt(rest))


def over_labels(
    statistic: Callable[[Labels], float], shape: tuple[int, int], n_permutations: int, seed: int
) -> OverLabels:
    """Tests a statistic of a layer grid by permuting which depth is which, of both models independently.

    Layer pairs of one layer are not independent of each other, so the layers are permuted and never the layer pairs
    (Mantel 1967, Cancer Research 27: 209-220). All permutations are gone through where there are at most
    `n_permutations`.

    Args:
        statistic: of rows and columns in a given order; the observed one is that of the order as it is.
        shape: depths of A and of B.
        n_permutations: drawn, where there are more.
        seed: key of the permutations.

    Raises:
        InputError: what the statistic refuses; a permutation that it refuses counts as one that does not reach it.
    """
    observed = statistic((np.arange(shape[0]), np.arange(shape[1])))
    exact = math.factorial(shape[0]) * math.factorial(shape[1]) <= n_permutations
    values = [_or_nothing(statistic, labels) for labels in _labels(shape, n_permutations, seed, exact)]
    reached = sum(value >= observed - ROUNDING for value in values)
    p = reached / len(values) if exact else (reached + 1) / (len(values) + 1)
    return OverLabels(observed, p, exact)


def _or_nothing(statistic: Callable[[Labels], float], labels: Labels) -> float:
    try:
        return statistic(labels)
    except InputError:
        return -math.inf


def _labels(shape: tuple[int, int], n: int, seed: int, exact: bool) -> Iterator[Labels]:
    if exact:
        orders: Sequence[list[tuple[int, ...]]] = [list(permutations(range(size))) for size in shape]
        for a, b in product(*orders):
            yield np.array(a), np.array(b)
        return
    for number in range(n):
        rng = generator(seed, number, _LABELS)
        yield rng.permutation(shape[0]), rng.permutation(shape[1])
