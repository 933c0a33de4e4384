"""p from a fitted tail: no smaller than it should be, however the null is shaped, and none where nothing fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, gamma, genpareto, kstest, norm, uniform

from semconv.statistics.permutation import generator
from semconv.statistics.tail import (
    FEWEST_EXCEEDANCES,
    REACH,
    _anderson_darling_p,  # pyright: ignore[reportPrivateUsage]
    _fit,  # pyright: ignore[reportPrivateUsage]
    fit_tail,
)

SHAPES = {"normal": norm(), "skewed": gamma(2), "bounded": beta(5, 2), "uniform": uniform()}


def share_below(shape: str, n: int, level: float, data_sets: int) -> float:
    """How often a score of the same distribution gets a p of at most `level / (n + 1)`, as a share of that level.

    Every data set counts with the probability of the scores above all of its draws that get such a p.
    """
    drawn, found = SHAPES[shape], 0.0
    for i in range(data_sets):
        null = drawn.ppf(generator(3, i).random(n))
        fit = fit_tail(null)
        if fit is None:
            continue
        low, high = -20.0, float(np.log(drawn.sf(null.max())))  # logarithm of the probability of the score
        for _ in range(12):
            middle = (low + high) / 2
            small = fit.p_value(float(drawn.isf(np.exp(middle)))) <= level / (n + 1) * (1 + 1e-9)
            low, high = (middle, high) if small else (low, middle)
        found += float(np.exp(low))
    return found / data_sets * (n + 1) / level


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 1 / REACH])
@pytest.mark.parametrize("shape", SHAPES)
def test_p_is_no_smaller_than_it_should_be(shape: str, level: float):
    assert share_below(shape, 100, level, 120) < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_p_falls_with_the_score_down_to_a_tenth_of_the_counted_one(shape: str):
    null = SHAPES[shape].ppf(generator(4, 0).random(200))
    steps = null.max() + null.std() * np.array([0.01, 0.2, 0.5, 1.0, 3.0, 100.0])
    fit = fit_tail(null)
    assert fit is not None
    p = [fit.p_value(float(step)) for step in steps]
    assert (np.diff(p) <= 1e-12).all()
    assert p[-1] == 1 / (REACH * 201)
    assert p[0] > p[-1]


def test_the_fit_depends_on_neither_unit_nor_order():
    null = norm.ppf(generator(5, 0).random(120))
    one, other = fit_tail(null), fit_tail(null[::-1] * 1e-3 + 7)
    assert one is not None
    assert other is not None
    assert other.p_value(3.0e-3 + 7) == pytest.approx(one.p_value(3.0), rel=1e-6)
    assert other.shape == pytest.approx(one.shape, rel=1e-6)
    assert other.scale == pytest.approx(one.scale * 1e-3, rel=1e-6)
    assert other.exceedances == one.exceedances == 30


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3])
def test_the_fit_finds_the_distribution_that_was_drawn_from(shape: float):
    z = np.sort(genpareto.ppf(generator(6, 0).random((1, 3000)), shape, scale=2.0))
    fits = _fit(z)
    k = float(fits.shape[0])
    assert -k == pytest.approx(shape, abs=0.07)  # its standard error is (1 + shape) / sqrt(3000), 0.02
    assert k / float(fits.estimate[0]) == pytest.approx(2.0, rel=0.1)
    likely, _, scale = genpareto.fit(z[0], floc=0)
    assert (-k, k / float(fits.estimate[0])) == (pytest.approx(likely, abs=0.03), pytest.approx(scale, rel=0.04))


def test_the_check_of_the_fit_is_right_as_often_as_it_says():
    drawn = [genpareto.ppf(generator(7, i).random((1, 25)), -0.2) for i in range(200)]
    p = [_anderson_darling_p(np.sort(z), _fit(np.sort(z))) for z in drawn]
    assert kstest(np.array(p) - generator(8, 0).random(len(p)) / 100, "uniform").pvalue > 0.01


def test_where_nothing_fits_there_is_no_tail():
    two = np.concatenate([np.linspace(0, 1, 160), np.linspace(5, 5.001, 20), np.linspace(9, 9.001, 20)])
    assert fit_tail(two) is None  # a gap in every tail
    assert fit_tail(np.repeat([0.0, 0.5], 100)) is None  # no exceedance of any threshold
    assert fit_tail(np.linspace(0, 1, 4 * FEWEST_EXCEEDANCES - 4)) is None  # too few of them


def test_a_threshold_too_low_is_raised():
    """Above 0 the draws are exponential; half of the first quarter lies in a spike below."""
    rng = generator(9, 0)
    null = np.concatenate([rng.random(300), 1.0 + 0.001 * rng.random(60), 1.5 + rng.exponential(size=40)])
    fit = fit_tail(null)
    assert fit is not None
    assert fit.exceedances <= 40 < 100
    assert fit.fit_p > 0.05
