"""How many draws are taken, and their p: as many as the rule says, and p as small as it says as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from semconv import InputError
from semconv.statistics.permutation import generator, p_value
from semconv.statistics.stopping import Stopping, stopping_of
from semconv.suite.config import NullConfig


def test_the_rule_by_hand():
    null, rule = np.array([0.1, 0.9, 0.2, 0.8, 0.7, 0.3]), Stopping(6, after=2)
    assert rule.common == 2
    assert rule.ended(0.75, null) == 4  # the second that reaches it
    assert rule.p_value(0.75, null[:4]) == 2 / 4
    assert rule.ended_early(0.75, null[:4])
    assert rule.ended(0.85, null) == 6
    assert rule.p_value(0.85, null) == (1 + 1) / (6 + 1)
    assert not rule.ended_early(0.85, null)
    assert rule.ended(0.0, null) == 2
    assert rule.p_value(0.0, null[:2]) == 1.0


def test_draws_before_which_nothing_ends_are_a_fixed_number():
    null, rule = np.array([0.9, 0.8, 0.2, 0.1, 0.7, 0.3]), Stopping(6, after=2, least=4)
    assert rule.common == 4
    assert rule.ended(0.5, null) == 4
    assert rule.p_value(0.5, null[:4]) == (2 + 1) / (4 + 1)
    assert rule.ended(0.85, null) == 6
    short = Stopping(3, after=2, least=4)
    assert short.common == 3
    assert short.p_value(0.5, null[:3]) == (2 + 1) / (3 + 1)
    assert not short.ended_early(0.5, null[:3])  # a number that is fixed is no early end


def test_without_a_stop_all_are_taken_and_counted():
    null, rule = np.array([0.9, 0.8, 0.2]), Stopping(3, least=2)
    assert (rule.common, rule.ended(0.1, null), rule.ended(float("nan"), null)) == (3, 3, 3)
    assert rule.p_value(0.85, null) == p_value(0.85, null)
    with pytest.raises(InputError, match="a p-value needs finite values"):
        rule.p_value(0.5, np.array([0.1, np.nan]))


def test_too_few_draws_do_not_say_that_they_are_enough():
    """So that a caller can ask after every few draws whether more are needed, in parts of any size."""
    null, rule = np.array([0.1, 0.9, 0.2, 0.8, 0.7, 0.3]), Stopping(6, after=2, least=3)
    for statistic in (0.0, 0.5, 0.75, 0.85, 2.0):
        end = rule.ended(statistic, null)
        assert [rule.ended(statistic, null[:m]) <= m for m in range(7)] == [m >= end for m in range(7)]
    assert rule.ended(0.75, np.array([0.9, np.nan, 0.1])) == 6  # a draw without a score reaches nothing


def null_p(rule: Stopping, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p, its randomised form and the number of draws of n data sets whose score is one of its draws."""
    found = np.empty((3, n))
    for i in range(n):
        rng = generator(seed, i)
        statistic, null = rng.normal(), rng.normal(size=rule.most)
        taken = null[: rule.ended(statistic, null)]
        found[:, i] = rule.p_value(statistic, taken), rule.randomised(statistic, taken, rng.random()), len(taken)
    return found[0], found[1], found[2]


@pytest.mark.parametrize("rule", [Stopping(99), Stopping(99, after=5), Stopping(99, after=5, least=30)], ids=str)
def test_p_is_exact_under_the_null(rule: Stopping):
    """At every value that p takes, so that no level is exceeded; and an early end saves draws."""
    p, u, taken = null_p(rule, 4000, 1)
    assert kstest(u, "uniform").pvalue > 0.01
    assert (u <= p).all()
    for value in np.unique(p):
        sd = np.sqrt(value * (1 - value) / len(p))
        assert abs((p <= value).mean() - value) < 4 * sd + 1e-12
    assert (taken.mean() < 45) == (rule.after > 0)


def test_a_stop_where_the_p_happens_to_be_small_is_flagged():
    """Looking after every draw and stopping once (g + 1) / (m + 1) is at most 0.05 is no rule, and the test sees it."""
    p = []
    for i in range(1000):
        rng = generator(2, i)
        statistic, null = rng.normal(), rng.normal(size=200)
        running = (np.cumsum(null >= statistic) + 1) / (np.arange(200) + 2)
        p.append(running[np.argmax(running <= 0.05)] if (running <= 0.05).any() else running[-1])
    assert np.mean(np.array(p) <= 0.05) > 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_a_suite_says_how_many_by_what_a_draw_costs():
    null = NullConfig(n_permutations=500, draws={"singular_values": 100}, stop_after=20, stop_from=200)
    assert stopping_of(null, "rsa") == Stopping(500, 20, 200)
    assert stopping_of(null, "procrustes") == Stopping(100, 20, 200)
    assert stopping_of(null, "of somebody's own") == Stopping(500, 20, 200)
    assert stopping_of(NullConfig(), "svcca_variance") == Stopping(1000)
    assert null.most_of(["procrustes", "rsa"]) == 500
    assert null.most_of(["procrustes", "svcca_variance"]) == 100
