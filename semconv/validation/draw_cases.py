"""Whether p is right where draws end early, and where it comes from a fitted tail: on spaces that share nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.compare import make_measures
from semconv.statistics.permutation import LEVEL, generator, permutation_ids
from semconv.statistics.stopping import Stopping
from semconv.statistics.tail import REACH, TailFit, fit_tail
from semconv.study.nulls import permuted_scores
from semconv.study.sides import Prepared
from semconv.validation.synthetic import planted_spaces

_STREAM = 64  # of the generator; the calibration study has those from 16 on
_N_PAIRS, _D_A, _D_B = 32, 8, 10
_TAIL_PAIRS, _TAIL_D_A, _TAIL_D_B = 120, 20, 24


@dataclass(frozen=True)
class EarlyEnd:
    """Tests of one measure on null data sets by one rule.

    Attributes:
        measure: its name.
        rule: how many draws were taken.
        rate: share of p <= 0.05.
        ks_p: Kolmogorov-Smirnov p of the randomised p against the uniform distribution.
        draws: mean number of draws.
    """

    measure: str
    rule: Stopping
    rate: float
    ks_p: float
    draws: float


def early_ends(measure: str, rule: Stopping, data_sets: int, seed: int = 0) -> EarlyEnd:
    """Tests `shuffle` by a rule on pairs of Gaussian spaces that share nothing.

    Args:
        measure: its name.
        rule: how many draws are taken.
        data_sets: how many.
        seed: key.
    """
    from scipy.stats import kstest

    (one,) = make_measures([measure], svcca_k=4, knn_k=5)
    p, u, drawn = (np.empty(data_sets) for _ in range(3))
    for i in range(data_sets):
        rng = generator(seed, i, _STREAM)
        x, y = map(one.prepare, planted_spaces(rng, _N_PAIRS, _D_A, _D_B, 0.0))
        score = float(one.null_scores(x, y, np.arange(_N_PAIRS)[None])[0])
        key = int(rng.integers(2**62))

        def permutations(first: int, n: int, key: int = key) -> ndarray:
            return permutation_ids(_N_PAIRS, n, key, first)

        null = permuted_scores(Prepared(one, x, y, score, False), rule, permutations)
        p[i], u[i] = rule.p_value(score, null), rule.randomised(score, null, rng.random())
        drawn[i] = len(null)
    ks_p = float(kstest(u, "uniform").pvalue)
    return EarlyEnd(measure, rule, float((p <= LEVEL).mean()), ks_p, float(drawn.mean()))


@dataclass(frozen=True)
class TailLevels:
    """How often a score of the null gets a p as small as a level, as a multiple of that level.

    Attributes:
        measure: its name.
        draws: m of every test.
        no_fit: share of tests whose largest draws no distribution fits.
        told: of the p that are reported, for every level of `LEVELS`; at most 1 is right.
        fitted: of the fitted probability itself, which is not reported.
    """

    measure: str
    draws: int
    no_fit: float
    told: tuple[float, ...]
    fitted: tuple[float, ...]


LEVELS = (1 / 2, 1 / 5, 1 / REACH)
"""Shares of the counted p of a score above every draw."""


def tail_levels(measure: str, draws: int, data_sets: int, reference: int = 20_000, seed: int = 0) -> TailLevels:
    """Tests the p of fitted tails against many more draws of the same nulls.

    Of every data set, two spaces that share nothing, `reference` permutations are scored once. They are cut into tests
    of `draws` each. A test gives a p to every score; the share of the reference that gets one of at most a level is
    how often a score that is one more draw of the null would.

    Args:
        measure: its name.
        draws: m of a test.
        data_sets: how many.
        reference: draws of each.
        seed: key.
    """
    (one,) = make_measures([measure], svcca_k=4, knn_k=5)
    told, fitted, no_fit, tests = np.zeros(len(LEVELS)), np.zeros(len(LEVELS)), 0, 0
    for i in range(data_sets):
        rng = generator(seed, i, _STREAM + 1)
        x, y = map(one.prepare, planted_spaces(rng, _TAIL_PAIRS, _TAIL_D_A, _TAIL_D_B, 0.0))
        key = int(rng.integers(2**62))
        scores = np.concatenate([one.null_scores(x, y, ids) for ids in _permutations(_TAIL_PAIRS, reference, key)])
        ordered = np.sort(scores)
        for null in scores[: len(scores) // draws * draws].reshape(-1, draws):
            tests += 1
            fit = fit_tail(null)
            if fit is None:
                no_fit += 1
                continue
            above = ordered[ordered > null.max()]
            for place, level in enumerate(LEVELS):
                most = level / (draws + 1) * (1 + 1e-9)
                told[place] += _shares(above, fit.p_value, most) / len(ordered) / most
                fitted[place] += _shares(above, lambda score, fit=fit: fitted_p(fit, score), most) / len(ordered) / most
    return TailLevels(measure, draws, no_fit / tests, tuple(told / tests), tuple(fitted / tests))


def _permutations(n: int, m: int, key: int) -> Iterator[ndarray]:
    for first in range(0, m, 1000):
        yield permutation_ids(n, min(1000, m - first), key, first)


def _shares(above: Float[ndarray, " k"], p_of: Callable[[float], float], most: float) -> int:
    """Returns how many of some ascending scores get a p of at most `most`; p falls with the score."""
    low, high = 0, len(above)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if p_of(float(above[middle])) <= most else (middle + 1, high)
    return len(above) - low


def fitted_p(fit: TailFit, score: float) -> float:
    """Returns the probability of a score by the fitted distribution itself, as Knijnenburg et al. 2009 report it."""
    inside = 1 + fit.shape * (score - fit.threshold) / fit.scale
    share = (fit.exceedances + 1) / (fit.draws + 1)
    return share * float(inside ** (-1 / fit.shape)) if inside > 0 else 0.0


def rules(most: int, after: int, least: int) -> Sequence[Stopping]:
    """Returns the rules that the study compares: all draws, an early end, and one that is not too early."""
    return Stopping(most), Stopping(most, after), Stopping(most, after, least)
