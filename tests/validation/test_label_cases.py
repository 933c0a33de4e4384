"""Data sets of the tests that permute labels, flip signs or shift streams: what must be uniform, and what misleads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest

from semconv.statistics.depth import closeness, middle_above_ends, over_labels
from semconv.statistics.permutation import generator
from semconv.validation.decoder_cases import PartialWorld, StreamWorld, partial_case, streams_case
from semconv.validation.label_cases import (
    CategoryWorld,
    DepthGrid,
    Effects,
    category_case,
    depth_case,
    effects_case,
    over_labels_test,
)
from semconv.validation.uniformity import Tests

Make = Callable[[np.random.Generator], Tests]


def found(make: Make, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """p and its form u that is spread over steps, of every null and statistic."""
    tests = [make(generator(0, i, 90)) for i in range(n)]
    p, u = ({name: np.array([one[name][i] for one in tests]) for name in tests[0]} for i in range(2))
    return p, u


def test_u_over_all_orders_lies_within_the_step_of_p():
    rng, shape = np.random.default_rng(0), (3, 4)
    scores = rng.normal(size=shape)
    values = [
        middle_above_ends(scores[np.ix_(a, b)])
        for a in (rng.permutation(3) for _ in range(3))
        for b in (rng.permutation(4) for _ in range(3))
    ]
    assert len(set(values)) > 1

    def statistic(labels: tuple[np.ndarray, np.ndarray]) -> float:
        return middle_above_ends(scores[np.ix_(*labels)])

    p, u = over_labels_test(statistic, shape, 144, rng)
    exact = over_labels(statistic, shape, 144, 0)
    assert exact.exact
    assert p == exact.p
    above = np.array([statistic((a, b)) > exact.statistic + 1e-12 for a, b in _orders(shape)]).sum() / 144
    assert above <= u <= p
    drawn_p, drawn_u = over_labels_test(statistic, shape, 99, rng)
    assert drawn_u <= drawn_p <= 1
    assert drawn_p == pytest.approx(p, abs=0.2)
    assert closeness(*shape).shape == shape


def _orders(shape: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    from itertools import permutations, product

    orders = ([np.array(one) for one in permutations(range(n))] for n in shape)
    return list(product(*orders))


@pytest.mark.slow
def test_flips_of_whole_tokens_are_uniform_and_flips_one_by_one_are_not():
    p, u = found(effects_case(Effects()), 120)
    assert kstest(u["signs.partner less negative"], "uniform").pvalue > 0.01
    assert np.mean(p["signs, one by one.partner less negative"] <= 0.05) > 0.08
    best, _ = found(effects_case(Effects("best")), 20)
    assert best["signs.partner less negative"].min() > 0.2  # the best of several others is ahead of one alike
    above, _ = found(effects_case(Effects(above=0.6)), 20)
    assert np.mean(above["signs.partner less negative"] <= 0.05) > 0.7


@pytest.mark.slow
def test_labels_of_depths_and_categories_are_uniform_and_find_what_is_planted():
    _, u = found(depth_case(DepthGrid()), 20)
    assert all(kstest(of, "uniform").pvalue > 0.01 for of in u.values())
    p, _ = found(depth_case(DepthGrid(near=4)), 8)
    assert np.median(p["depths.correspondence"]) <= 0.05
    _, u = found(category_case(CategoryWorld()), 60)
    assert kstest(u["categories.relations"], "uniform").pvalue > 0.01
    p, _ = found(category_case(CategoryWorld(shared=0.95)), 12)
    assert np.median(p["categories.relations"]) <= 0.1


@pytest.mark.slow
def test_cosines_under_shifted_streams_are_uniform_and_pairs_matched_on_the_same_text_favour_themselves():
    _, u = found(streams_case(StreamWorld()), 40)
    assert all(kstest(of, "uniform").pvalue > 0.01 for of in u.values())
    _, u = found(streams_case(StreamWorld("activations")), 60)
    assert kstest(u["partners.same partner"], "uniform").pvalue < 0.01
    assert kstest(u["shift.assigned cosine"], "uniform").pvalue > 0.01


@pytest.mark.slow
def test_rsa_given_the_vocabulary_takes_out_what_only_the_vocabulary_shares():
    _, u = found(partial_case(PartialWorld()), 40)
    assert all(kstest(of, "uniform").pvalue > 0.01 for of in u.values())
    p, _ = found(partial_case(PartialWorld(vocabulary=0.7)), 25)
    plain, given = (np.mean(p[f"shuffle.{name}"] <= 0.05) for name in ("rsa", "rsa given logit lens"))
    assert plain > 0.6
    assert given < plain - 0.3
