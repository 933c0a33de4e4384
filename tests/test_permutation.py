"""Permutation tests: p-values that are honest under the null, reproducible draws, calibrated scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from semconv import InputError, permutation_test
from semconv.compare import RSA, SVCCA, rsa
from semconv.permutation import calibrated_score, p_value, permutation_ids


@pytest.mark.parametrize("measure", [SVCCA("pc1"), SVCCA("fixed_k", k=3), RSA()], ids=lambda m: m.name)
def test_p_values_are_uniform_under_the_null(measure):
    rng = np.random.default_rng(0)
    m = 99
    p = [
        permutation_test(measure, rng.normal(size=(25, 6)), rng.normal(size=(25, 8)), m, seed=i).p_value
        for i in range(400)
    ]
    # p takes the values 1/100 ... 1; adding uniform noise of one step makes it continuous for the test.
    assert kstest(np.array(p) - rng.uniform(0, 1 / (m + 1), len(p)), "uniform").pvalue > 0.01
    assert min(p) >= 1 / (m + 1)


def test_p_values_are_small_when_the_pairing_matters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    result = permutation_test(RSA(), X, X @ rng.normal(size=(8, 9)), 199)
    assert result.p_value == 1 / 200
    assert result.z > 5
    assert 0 < result.calibrated < result.statistic


def test_a_measure_and_a_plain_function_agree():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 5)), rng.normal(size=(20, 6))
    fast, slow = permutation_test(RSA(), X, Y, 30, seed=7), permutation_test(rsa, X, Y, 30, seed=7)
    np.testing.assert_allclose(fast.null, slow.null, atol=1e-12)
    assert fast.statistic == pytest.approx(slow.statistic, abs=1e-12)
    assert fast.p_value == slow.p_value


def test_permutation_i_depends_on_seed_and_i_alone():
    whole = permutation_ids(50, 20, seed=3)
    assert (permutation_ids(50, 5, seed=3, first=10) == whole[10:15]).all()
    assert (np.sort(whole, axis=1) == np.arange(50)).all()
    assert not (permutation_ids(50, 20, seed=4) == whole).all(axis=1).any()
    assert len({tuple(p) for p in whole}) == 20


def test_p_value_counts_ties_and_never_reaches_zero():
    assert p_value(1.0, np.array([0.0, 0.5, 0.9])) == 1 / 4
    assert p_value(0.5, np.array([0.0, 0.5, 0.9])) == 3 / 4


def test_calibrated_score_by_hand():
    null = np.arange(19) / 100  # with the statistic 20 values; the 0.95 quantile is the 19th
    assert calibrated_score(0.5, null) == pytest.approx((0.5 - 0.18) / (1 - 0.18))
    assert calibrated_score(0.18, null) == 0.0
    assert calibrated_score(-1.0, null) == 0.0
    assert calibrated_score(1.0, np.ones(19)) == 0.0


def test_calibrated_score_is_above_zero_at_most_at_its_level_under_the_null():
    rng = np.random.default_rng(0)
    draws = rng.uniform(size=(4000, 40))
    share = np.mean([calibrated_score(row[0], row[1:]) > 0 for row in draws])
    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert share > 0.03  # the level is used, not thrown away


def test_a_score_that_is_not_finite_has_no_p_value():
    X = np.random.default_rng(0).normal(size=(10, 4))
    with pytest.raises(InputError, match="finite values, got statistic nan"):
        permutation_test(lambda x, y: float("nan"), X, X, 10)
    with pytest.raises(InputError, match="1 of the null"):
        p_value(0.5, np.array([0.1, np.nan]))


def test_a_null_that_never_varies_has_no_z_and_a_calibrated_score_of_zero():
    X = np.random.default_rng(0).normal(size=(10, 4))
    result = permutation_test(lambda x, y: 1.0, X, X, 20)
    assert np.isnan(result.z)
    assert result.calibrated == 0.0
    assert result.p_value == 1.0


def test_bad_input_is_refused():
    X = np.random.default_rng(0).normal(size=(10, 4))
    with pytest.raises(InputError, match="n_permutations must be at least 1, got 0"):
        permutation_test(RSA(), X, X, 0)
    with pytest.raises(InputError, match="seed must be at least 0 .*got -1"):
        permutation_test(RSA(), X, X, 10, seed=-1)
    with pytest.raises(InputError, match="same number of rows, got 10 and 9"):
        permutation_test(RSA(), X, X[:9], 10)
