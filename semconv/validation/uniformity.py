"""Whether p-values are what they claim: their distribution on null data sets, and their power on planted ones.

A permutation p-value takes m + 1 values, and a statistic that moves in steps ties with its null. The test of
uniformity therefore takes the randomised p-value u = (above + U (1 + tied)) / (m + 1), where `above` of the m null
values exceed the statistic, `tied` equal it, and U is a seeded uniform number: without ties that is p - U' / (m + 1).
If the statistic and its null are exchangeable, u is exactly uniform (the rank among equals is drawn), and u <= p, so p
is valid wherever u is uniform. Shares of data sets with p <= level are counted on p itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.statistics.permutation import LEVEL, ROUNDING, generator, p_value

KS_LEVEL = 0.01
_FIRST_STREAM = 16  # of the generator; those below are taken by what the nulls draw

Test = tuple[float, float]
"""p and its randomised form u."""
Tests = dict[str, Test]


@dataclass(frozen=True)
class Case:
    """One way to make data sets.

    Attributes:
        name: of the case.
        uniform: nulls whose p-values must be uniform on it; the others show when a null misleads.
        make: takes a generator of the data set, gives `NULL.MEASURE` -> (p, u).
        about: one line for the table.
    """

    name: str
    uniform: tuple[str, ...]
    make: Callable[[np.random.Generator], Tests]
    about: str


@dataclass(frozen=True)
class Row:
    """The result of one null and measure on one case.

    Attributes:
        case: name of the case.
        null: which null.
        measure: which statistic.
        n: data sets with a p-value.
        rate: share of them with p <= LEVEL.
        ks_p: Kolmogorov-Smirnov p-value of u against the uniform distribution.
        verdict: `ok` or `FAIL` where u must be uniform, `shown` where it need not be.
    """

    case: str
    null: str
    measure: str
    n: int
    rate: float
    ks_p: float
    verdict: Literal["ok", "FAIL", "shown"]


def randomised(statistic: float, null: Float[ndarray, " m"], uniform: float) -> float:
    """Returns u of the module's formula; values within ROUNDING are tied, as in `p_value`."""
    above, at_least = (int((null > statistic + sign * ROUNDING).sum()) for sign in (1, -1))
    return (above + uniform * (1 + at_least - above)) / (len(null) + 1)


def p_and_u(statistic: float, null: Float[ndarray, " m"], rng: np.random.Generator) -> Test:
    """Returns p and u of a statistic, both NaN where it or its null is not finite."""
    uniform = rng.random()
    if not (math.isfinite(statistic) and np.isfinite(null).all()):
        return math.nan, math.nan
    return p_value(statistic, null), randomised(statistic, null, uniform)


def run_case(case: Case, stream: int, numbers: Sequence[int], seed: int = 0) -> list[Tests]:
    """Returns the tests of some data sets of a case; number i depends on seed, stream and i alone.

    Args:
        case: which one.
        stream: number of the case, so that cases have different draws.
        numbers: which data sets.
        seed: of the study.
    """
    return [case.make(generator(seed, number, _FIRST_STREAM + stream)) for number in numbers]


def summarise_case(case: Case, tests: Sequence[Mapping[str, Sequence[float]]]) -> list[Row]:
    """Returns one row per null and measure, in the order in which the case has them."""
    from scipy.stats import kstest

    rows: list[Row] = []
    for key in dict.fromkeys(key for one in tests for key in one):
        null, measure = key.split(".")
        found = np.array([one[key] for one in tests if key in one and math.isfinite(one[key][0])])
        if not len(found):
            continue
        ks_p = float(kstest(found[:, 1], "uniform").pvalue)
        verdict = "shown" if null not in case.uniform else "ok" if ks_p > KS_LEVEL else "FAIL"
        rows.append(Row(case.name, null, measure, len(found), float((found[:, 0] <= LEVEL).mean()), ks_p, verdict))
    return rows
