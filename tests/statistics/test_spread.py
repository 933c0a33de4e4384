"""Components of the variance of a score against their definitions and against made-up scores of known variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from semconv.statistics.spread import (
    Component,
    MeanSquare,
    half_width,
    of_documents,
    of_features,
    of_seeds,
    pair_halves,
    together,
)


def test_documents_by_hand():
    found = of_documents(np.array([1.0, 2.0, 4.0]))
    assert found is not None
    assert found.sd == pytest.approx(math.sqrt(7 / 3))
    assert together([found]) == (found.sd, 2)
    assert of_documents(np.array([1.0])) is None
    assert of_documents(np.array([1.0, math.nan])) is None


def test_halves_are_halves_that_the_seed_and_number_decide():
    first, second = pair_halves(9, range(2), 3)
    assert len(first) == len(second) == 4
    assert len(set(first.tolist())) == 4
    assert first.tolist() == sorted(first.tolist()) != second.tolist()
    assert np.array_equal(pair_halves(9, range(1, 3), 3)[0], second)
    assert not np.array_equal(pair_halves(9, [0], 4)[0], first)


@pytest.mark.parametrize("n", [20, 41])
def test_halves_give_the_variance_of_a_mean(n: int):
    """The mean of n values has the variance s^2 / n: over all halves the formula gives it exactly, over many nearly."""
    values = np.random.default_rng(n).normal(size=n)
    means = np.array([values[half].mean() for half in pair_halves(n, range(4000), 0)])
    found = of_features(means, n)
    assert found is not None
    assert found.variance == pytest.approx(values.var(ddof=1) / n, rel=5 * math.sqrt(2 / 4000))
    assert of_features(means[:1], n) is None


def test_seeds_by_the_table_of_mean_squares():
    scores = np.array([[0.3, 0.5, 0.1], [0.2, 0.7, 0.4], [0.9, 0.8, 0.3], [0.1, 0.2, 0.2]])
    i, j = scores.shape
    grand, rows, columns = scores.mean(), scores.mean(1), scores.mean(0)
    ms_rows = j * ((rows - grand) ** 2).sum() / (i - 1)
    ms_columns = i * ((columns - grand) ** 2).sum() / (j - 1)
    rest = sum((scores[a, b] - rows[a] - columns[b] + grand) ** 2 for a in range(i) for b in range(j))
    ms_rest = rest / ((i - 1) * (j - 1))
    wanted = (ms_rows - ms_rest) / j + (ms_columns - ms_rest) / i + ms_rest
    found = of_seeds(scores)
    assert found is not None
    assert found.variance == pytest.approx(wanted)
    one_sided = of_seeds(scores[:, :1])
    assert one_sided is not None
    assert one_sided.variance == pytest.approx(scores[:, 0].var(ddof=1))
    assert of_seeds(scores[:1, :1]) is None
    assert of_seeds(np.where(scores == 0.1, np.nan, scores)) is None


def test_seeds_give_the_variance_of_one_score_on_average():
    rng, wanted = np.random.default_rng(0), 0.5**2 + 1.0**2 + 0.3**2
    found = []
    for _ in range(4000):
        table = 0.5 * rng.normal(size=(3, 1)) + rng.normal(size=(1, 3)) + 0.3 * rng.normal(size=(3, 3))
        component = of_seeds(table)
        assert component is not None
        found.append(component.variance)
    assert abs(np.mean(found) - wanted) < 4 * np.std(found) / math.sqrt(4000)


def test_components_add_up_with_the_degrees_of_freedom_of_satterthwaite():
    a, b = Component((MeanSquare(4.0, 2),)), Component((MeanSquare(1.0, 10), MeanSquare(2.0, 5)))
    sd, dof = together([a, b])
    assert sd == pytest.approx(math.sqrt(7))
    assert dof == pytest.approx(49 / (16 / 2 + 1 / 10 + 4 / 5))
    assert together([]) == (0.0, math.inf)
    assert together([Component((MeanSquare(0.0, 3),))]) == (0.0, math.inf)


def test_the_half_width_is_students():
    assert half_width(2.0, 3.0, 0.05) == pytest.approx(2 * scipy.stats.t.ppf(0.975, 3))
    assert half_width(1.0, math.inf, 0.05) == pytest.approx(scipy.stats.norm.ppf(0.975))
    assert half_width(0.0, math.inf, 0.05) == 0.0


def test_an_interval_over_seeds_and_features_holds_the_truth_about_as_often_as_it_says():
    """Effects of three seeds a side and of features, all normal: 95% but for Satterthwaite's approximation."""
    rng, held, n = np.random.default_rng(1), 0, 4000
    for _ in range(n):
        table = 0.4 * rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(1, 3)) + 0.2 * rng.normal(size=(3, 3))
        feature = 0.5 * rng.normal()
        seeds = of_seeds(table)
        features = of_features(0.5 * rng.normal(size=100), 50)
        assert seeds is not None
        assert features is not None
        half = half_width(*together([seeds, features]), level=0.05)
        held += abs(table[0, 0] + feature) <= half  # the truth is 0
    assert 0.93 < held / n < 0.985
