"""p of a score above every draw, from a generalised Pareto distribution that is fitted to the largest of the draws.

Knijnenburg et al. 2009 (doi 10.1093/bioinformatics/btp211): beyond a high threshold the draws of almost any null follow
a generalised Pareto distribution. It is fitted to the exceedances of the threshold, an Anderson-Darling test says
whether it fits, and the threshold is raised until it does. Here, unlike there,

- only a score above every draw gets such a p, for the counted one is exact wherever a draw reaches the score;
- p is not the fitted tail probability but the upper end of its one-sided 95% interval, and never below a tenth of the
  counted p. The fitted value itself is too small too often: four times as often as it says at a tenth of the counted p,
  and it is 0 for a score beyond the end of a fitted tail that ends. `scripts/measure/draws.py` measures both;
- the fit is that of Zhang & Stephens 2009 (doi 10.1198/tech.2009.08017), which needs no iteration and never fails, and
  the p of the Anderson-Darling test comes from refitting samples of the fitted distribution, as the distribution of A^2
  depends on the shape and on the number of exceedances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.statistics.permutation import LEVEL, ROUNDING, generator

MOST_EXCEEDANCES = 250
"""Of the first threshold, and at most a quarter of the draws, as in Knijnenburg et al."""
FEWEST_EXCEEDANCES = 20
"""Of the last threshold that is tried."""
REACH = 10
"""p is at least the counted one divided by this: so far beyond the draws it was found valid, and no further."""
_CONFIDENCE = 0.95
_SAMPLES = 99
_STREAM = 4
"""Of the generator, for the samples of the Anderson-Darling test."""


@dataclass(frozen=True, eq=False)
class _Fits:
    """Fits to R sets of exceedances each: q candidates with their weights, and the estimate.

    With theta = -xi / sigma the distribution is 1 - (1 - theta z)^(1 / k), k = -xi.

    Attributes:
        theta: float64 [R, q].
        k: float64 [R, q], the most likely k of every candidate.
        weight: float64 [R, q], their likelihoods, scaled to a sum of 1. They are also the probabilities of the
            candidates with k left open (prior 1 / k).
        estimate: float64 [R], theta.
        shape: float64 [R], k of the estimate.
    """

    theta: Float[ndarray, "R q"]
    k: Float[ndarray, "R q"]
    weight: Float[ndarray, "R q"]
    estimate: Float[ndarray, " R"]
    shape: Float[ndarray, " R"]


@dataclass(frozen=True, eq=False)
class TailFit:
    """A generalised Pareto distribution that fits the largest draws of a null.

    Attributes:
        draws: m, of the null.
        exceedances: how many of them it was fitted to.
        threshold: the largest draw that is none of these.
        fit_p: p of the Anderson-Darling test that they come from it, above 0.05.
    """

    draws: int
    exceedances: int
    threshold: float
    fit_p: float
    _fits: _Fits

    @property
    def shape(self) -> float:
        """xi; below 0 the tail ends, at 0 it is exponential."""
        return -float(self._fits.shape[0])

    @property
    def scale(self) -> float:
        """sigma, in units of the score."""
        return float(self._fits.shape[0] / self._fits.estimate[0])

    def p_value(self, statistic: float) -> float:
        """Returns the upper end of the one-sided 95% interval of the probability of a score above all draws.

        It is not below 1 / (10 (m + 1)). The share of a null above the largest but n of m draws is (n + 1) / (m + 1) on
        average.
        """
        share = (self.exceedances + 1) / (self.draws + 1)
        above = _upper_end(self._fits, self.exceedances, statistic - self.threshold)
        return max(share * above, 1 / (REACH * (self.draws + 1)))


def fit_tail(null: Float[ndarray, " m"]) -> TailFit | None:
    """Returns the tail of a null, or None where it fits above no threshold.

    Args:
        null: all finite; at least `semconv.suite.ranges.TAIL_DRAWS` of them.
    """
    ordered, m = np.sort(null), len(null)
    n = min(MOST_EXCEEDANCES, m // 4)
    while n >= FEWEST_EXCEEDANCES:
        threshold = float(ordered[-n - 1])
        z = (ordered[-n:] - threshold)[None]
        if z[0, 0] > ROUNDING:
            fits = _fit(z)
            fit_p = _anderson_darling_p(z, fits)
            if fit_p > LEVEL:
                return TailFit(m, n, threshold, fit_p, fits)
        n = n * 4 // 5
    return None


def _fit(z: Float[ndarray, "R n"]) -> _Fits:
    """Fits exceedances, ascending and above 0, by Zhang & Stephens 2009, equations 7 and 8."""
    n = z.shape[1]
    q = 20 + int(np.sqrt(n))
    spread = (1 - np.sqrt(q / (np.arange(1, q + 1) - 0.5))) / 3
    theta = 1 / z[:, -1:] + spread / z[:, int(n / 4 + 0.5) - 1, None]
    theta[theta == 0] = np.finfo(np.float64).tiny
    k = _mean_logs(theta, z)
    log_likelihood = n * (np.log(theta / k) + k - 1)
    weight = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    estimate = (theta * weight).sum(axis=1)
    return _Fits(theta, k, weight, estimate, _mean_logs(estimate[:, None], z)[:, 0])


def _mean_logs(theta: Float[ndarray, "R q"], z: Float[ndarray, "R n"]) -> Float[ndarray, "R q"]:
    return -np.log1p(-theta[:, :, None] * z[:, None, :]).mean(axis=2)


def _anderson_darling(z: Float[ndarray, "R n"], fits: _Fits) -> Float[ndarray, " R"]:
    """Returns A^2 of every set of exceedances against its own fit."""
    n = z.shape[1]
    above = np.log1p(-fits.estimate[:, None] * z) / fits.shape[:, None]  # logarithm of the share above each
    below = np.log(-np.expm1(above))
    return -n - ((2 * np.arange(1, n + 1) - 1) * (below + above[:, ::-1])).sum(axis=1) / n


def _anderson_darling_p(z: Float[ndarray, "1 n"], fits: _Fits) -> float:
    """Returns the p of A^2 among those of samples of the fitted distribution that are fitted likewise."""
    u = generator(0, z.shape[1], _STREAM).random((_SAMPLES, z.shape[1]))
    samples = np.sort(-np.expm1(fits.shape[0] * np.log1p(-u)) / fits.estimate[0], axis=1)
    found = _anderson_darling(z, fits)[0]
    return (int((_anderson_darling(samples, _fit(samples)) >= found).sum()) + 1) / (_SAMPLES + 1)


def _upper_end(fits: _Fits, n: int, z: float) -> float:
    """Returns the upper end of the one-sided 95% interval of the share of exceedances above z.

    Given theta, the logarithms y of 1 - theta z_i are exponential with mean -k, so that with the prior 1 / k the
    reciprocal of k has a gamma distribution with n degrees; `weight` is the probability of theta.
    """
    from scipy.special import gammaincc

    inside = 1 - fits.theta[0] * z
    within = inside > 0
    ratio = n * fits.k[0, within] / -np.log(inside[within])
    low, high = np.log(np.finfo(np.float64).tiny), 0.0
    for _ in range(48):
        middle = (low + high) / 2
        below = (fits.weight[0, within] * gammaincc(n, ratio * -middle)).sum() + fits.weight[0, ~within].sum()
        low, high = (low, middle) if below >= _CONFIDENCE else (middle, high)
    return float(np.exp(high))
