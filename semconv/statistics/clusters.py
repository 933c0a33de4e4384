"""Standard errors of means whose values depend on each other within clusters."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


def clustered_error(values: Float[ndarray, " n"], clusters: Int[ndarray, " n"]) -> float | None:
    """Returns the standard error of a mean whose values depend on each other within clusters; None for one cluster.

    The root of G / (G - 1) times the sum over G clusters of the squared sum of their deviations, over n (Liang & Zeger
    1986).
    """
    error = error_of_sum(values - values.mean(), clusters) if len(values) else None
    return None if error is None else error / len(values)


def error_of_sum(deviations: Float[ndarray, " n"], clusters: Int[ndarray, " n"]) -> float | None:
    """Returns the standard error of a sum of deviations, each times its weight; None for one cluster or none.

    The root of G / (G - 1) times the sum over G clusters of the squared sum of theirs.
    """
    groups, place = np.unique(clusters, return_inverse=True)
    if len(groups) < 2:
        return None
    sums = np.bincount(place, weights=deviations)
    return float(np.sqrt(len(groups) / (len(groups) - 1) * np.square(sums).sum()))


def ratio_of_sums(
    over: Float[ndarray, " n"], under: Float[ndarray, " n"], clusters: Int[ndarray, " n"]
) -> tuple[float, float | None] | tuple[None, None]:
    """Returns the sum of some values over that of others, and its standard error; None where the latter is 0.

    The error is that of the sum of over_i - ratio under_i, clustered, over the sum below: the linearised error of a
    ratio (Cochran 1977, Sampling Techniques, section 6.4), which a jackknife that leaves clusters out agrees with.

    Args:
        over: float [n], finite.
        under: float [n], finite.
        clusters: int [n], values of one depend on each other.
    """
    total = float(under.sum())
    if not total:
        return None, None
    ratio = float(over.sum()) / total
    error = error_of_sum(over - ratio * under, clusters)
    return ratio, None if error is None else error / abs(total)


def difference_of_means(
    values: Float[ndarray, " n"],
    clusters: Int[ndarray, " n"],
    one: Bool[ndarray, " n"],
    other: Bool[ndarray, " n"],
) -> tuple[float, float | None] | tuple[None, None]:
    """Returns the mean of some values less that of others, and its standard error; None where either has no value.

    A value may be of both: it then adds to the error by the difference of its weights alone. The error is the root of
    G / (G - 1) times the sum over G clusters of the squared sum of weight times deviation from the mean that the value
    belongs to (Liang & Zeger 1986, of a difference of two means).

    Args:
        values: float [n], finite where a mean takes them.
        clusters: int [n].
        one: which are of the first mean.
        other: of the second.
    """
    if not one.any() or not other.any():
        return None, None
    means = [float(values[part].mean()) for part in (one, other)]
    weighted = np.zeros(len(values))
    for part, mean, sign in ((one, means[0], 1), (other, means[1], -1)):
        weighted[part] += sign * (values[part] - mean) / part.sum()
    return means[0] - means[1], error_of_sum(weighted[one | other], clusters[one | other])
