"""Permutation tests: p-values that are honest under the null, reproducible draws, calibrated scores."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from semconv import InputError, permutation_test
from semconv.compare import RSA, SVCCA, rsa
from semconv.statistics.permutation import (
    calibrated_score,
    calibrated_together,
    frequency_strata,
    generator,
    max_statistic,
    p_value,
    permutation_ids,
)


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


def test_a_generator_depends_on_its_key_alone():
    keys = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (2**64 - 1, 7, 3)]
    first = {key: tuple(generator(*key).random(4)) for key in keys}
    again = {key: tuple(generator(*key).random(4)) for key in reversed(keys)}
    assert first == again
    assert len(set(first.values())) == len(keys)


@pytest.mark.parametrize("strata", [None, np.array([2, 0, 1, 0, 2, 2, 0, 1])])
def test_permutations_do_not_depend_on_how_they_are_chunked(strata: np.ndarray | None):
    whole = permutation_ids(8, 12, 3, strata=strata)
    parts = [permutation_ids(8, n, 3, first, strata) for first, n in ((7, 5), (0, 3), (3, 4))]
    assert (np.concatenate([parts[1], parts[2], parts[0]]) == whole).all()


def test_strata_never_mix_and_every_item_is_there_once():
    strata = np.random.default_rng(0).integers(0, 6, 50)
    ids = permutation_ids(50, 200, seed=1, strata=strata)
    assert (strata[ids] == strata).all()
    assert (np.sort(ids, axis=1) == np.arange(50)).all()
    assert len({tuple(p) for p in ids}) == 200


def test_permutations_within_strata_are_uniform():
    strata = np.array([1, 0, 1, 0, 1])
    ids = permutation_ids(5, 2400, seed=0, strata=strata)
    possible = [(p[0], q[0], p[1], q[1], p[2]) for p in permutations([0, 2, 4]) for q in permutations([1, 3])]
    counts = [int((ids == one).all(axis=1).sum()) for one in possible]
    assert sum(counts) == 2400
    assert chisquare(counts).pvalue > 0.01


def test_one_stratum_for_all_or_for_each():
    assert (permutation_ids(6, 9, 0, strata=np.arange(6)[::-1]) == np.arange(6)).all()
    assert len({tuple(p) for p in permutation_ids(6, 9, 0, strata=np.zeros(6, dtype=np.int64))}) > 5


def test_frequency_strata_by_hand():
    counts = np.array([50, 3, 7, 3, 900, 0])
    assert frequency_strata(counts, 3).tolist() == [2, 0, 1, 1, 2, 0]  # of the two 3s the first is the rarer
    assert frequency_strata(counts, 1).tolist() == [0] * 6
    assert frequency_strata(counts, 6).tolist() == [4, 1, 3, 2, 5, 0]
    assert frequency_strata(counts[:0], 3).tolist() == []
    with pytest.raises(InputError, match="at least one stratum is needed, got 0"):
        frequency_strata(counts, 0)


@pytest.mark.parametrize(("n", "n_strata"), [(47, 10), (10, 10), (3, 10), (1000, 7)])
def test_frequency_strata_are_of_equal_size_and_in_the_order_of_the_counts(n: int, n_strata: int):
    counts = np.random.default_rng(n).integers(0, 30, n)
    strata = frequency_strata(counts, n_strata)
    sizes = np.bincount(strata, minlength=n_strata)
    assert len(sizes) == n_strata
    assert sizes.max() - sizes.min() <= 1
    for low in range(strata.max()):
        rarer, commoner = counts[strata <= low], counts[strata > low]
        assert not len(commoner) or rarer.max() <= commoner.min()


def test_scores_and_draws_are_calibrated_together_and_keep_the_level_of_the_best():
    rng = np.random.default_rng(3)
    null = rng.normal(size=39) / 10
    tau = np.sort([*null, 0.5])[37]  # the 95% of 40 values: the 38th
    score, draws = calibrated_together(0.5, null)
    assert score == pytest.approx((0.5 - tau) / (1 - tau)) == pytest.approx(calibrated_score(0.5, null))
    np.testing.assert_allclose(draws, (null - tau) / (1 - tau))
    assert calibrated_score(-0.5, null) == 0 > calibrated_together(-0.5, null)[0]
    assert calibrated_together(1.0, np.ones(19))[0] == 0
    p = list[float]()
    for _ in range(400):
        cells = [rng.normal(size=20) * width + centre for width, centre in ((0.1, 0.3), (0.02, 0.0), (0.05, -0.2))]
        both = [calibrated_together(float(one[0]), one[1:]) for one in cells]
        p.append(max_statistic([one for one, _ in both], [draws for _, draws in both]).p_value)
    for level in (0.05, 0.1, 0.15):  # above it cells tie, each where chance reaches, which makes p larger
        assert np.mean(np.array(p) <= level + 1e-9) == pytest.approx(level, abs=4 * np.sqrt(level / 400))


def test_max_statistic_by_hand():
    nulls = [np.array([0.1, 0.9, 0.3]), np.array([0.5, 0.2, 0.3])]
    result = max_statistic([0.4, 0.6], nulls)
    assert result.statistic == 0.6
    assert result.null.tolist() == [0.5, 0.9, 0.3]
    assert result.p_value == 2 / 4
    assert max_statistic([0.95, 0.6], nulls).p_value == 1 / 4


def test_max_statistic_keeps_its_level_where_the_least_p_does_not():
    rng = np.random.default_rng(0)
    best, least = [], []
    for _ in range(400):
        draws = rng.normal(size=(8, 100))  # eight scores under the null, each the first of its row
        best.append(max_statistic(draws[:, 0].tolist(), list(draws[:, 1:])).p_value)
        least.append(min(p_value(row[0], row[1:]) for row in draws))
    assert np.mean(np.array(best) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(np.array(least) <= 0.05) > 0.2


def test_max_statistic_refuses_bad_input():
    with pytest.raises(InputError, match=r"nulls of one length, got \[\]"):
        max_statistic([], [])
    with pytest.raises(InputError, match=r"nulls of one length, got \[3, 2\]"):
        max_statistic([1.0, 2.0], [np.zeros(3), np.zeros(2)])
    with pytest.raises(InputError, match="1 of the null"):
        max_statistic([1.0], [np.array([0.0, np.nan])])


def test_the_p_of_drawn_permutations_comes_to_that_of_all_of_them():
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))

    def agreement(x: np.ndarray, y: np.ndarray) -> float:
        return float((x * y).sum())

    exact = np.mean([agreement(X, Y[list(p)]) >= agreement(X, Y) - 1e-12 for p in permutations(range(6))])
    drawn = permutation_test(agreement, X, Y, 4000).p_value
    assert 0.05 < exact < 0.95
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)  # four standard errors of the draw
