"""Which places show what a pair does: strong, drawn, and where one fires alone, against a plain search."""

from __future__ import annotations

import numpy as np
import torch

from semconv import SparseActivations
from semconv.matching.examples import (
    AFTER,
    BANDS,
    BEFORE,
    LEVELS,
    MOST_OF_BAND,
    WIDTH,
    chosen_pairs,
    examples_of,
    firing_of,
)
from semconv.matching.influence import FeatureColumns

PLACES, FEATURES = 400, 6
DOCUMENTS = np.repeat(np.arange(40), 10)
RUNS = np.repeat(np.arange(80), 5)
PAIRS = np.array([0, 3, 5]), np.array([1, 1, 2])


def dense(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 1000, (PLACES, FEATURES)) * (rng.random((PLACES, FEATURES)) < 0.2)
    return values.astype(np.float32)


A, B = dense(0), dense(1)


def columns(values: np.ndarray, features: np.ndarray) -> FeatureColumns:
    return FeatureColumns(SparseActivations.from_dense(torch.from_numpy(values)), features)


BOTH = columns(A, PAIRS[0]), columns(B, PAIRS[1])


def test_counts_are_those_of_the_dense_matrices():
    found = firing_of(BOTH, PAIRS)
    for i, (a, b) in enumerate(zip(*PAIRS, strict=True)):
        x, y = A[:, a] > 0, B[:, b] > 0
        assert (found.a[i], found.b[i], found.both[i]) == (x.sum(), y.sum(), (x & y).sum())
    nothing = np.array([], dtype=np.int64)
    assert firing_of(BOTH, (nothing, nothing)).both.shape == (0,)


def test_every_kind_is_what_it_says():
    found = examples_of(BOTH, PAIRS, DOCUMENTS, RUNS, seed=3)
    assert len(found.pair) == len(PAIRS[0]) * sum(MOST_OF_BAND)
    for i, (a, b) in enumerate(zip(*PAIRS, strict=True)):
        x, y = A[:, a] / A[:, a].max(), B[:, b] / B[:, b].max()
        mine = found.pair == i
        of_kind = {name: found.place[mine & (found.band == n)].tolist() for n, name in enumerate(BANDS)}
        left = np.ones(PLACES, dtype=bool)

        def best(score: np.ndarray, left: np.ndarray = left) -> int:
            at = int(np.argmax(np.where(left, score, 0)))
            left &= DOCUMENTS[at] != DOCUMENTS
            return at

        assert of_kind["strongest"] == [best(x + y) for _ in range(3)]
        assert of_kind["only A"] == [best(np.where(y, 0, x))]
        assert of_kind["only B"] == [best(np.where(x, 0, y))]
        drawn = np.array(of_kind["drawn"])
        assert (x[drawn] + y[drawn] > 0).all()
        assert left[drawn].all()
        assert len(set(DOCUMENTS[found.place[mine]].tolist())) == sum(MOST_OF_BAND)
        for row in np.flatnonzero(mine):
            for of, levels in ((x, found.levels_a[row]), (y, found.levels_b[row])):
                around = found.place[row] + np.arange(-BEFORE, AFTER + 1)
                assert levels.shape == (WIDTH,)
                inside = (around >= 0) & (around < PLACES)
                inside &= RUNS[np.clip(around, 0, PLACES - 1)] == RUNS[found.place[row]]
                expected = np.where(inside, np.ceil(of[np.clip(around, 0, PLACES - 1)] * LEVELS), 0)
                assert levels.tolist() == expected.tolist()


def test_what_is_drawn_is_spread_over_all_places_and_depends_on_the_seed_alone():
    rng = np.random.default_rng(5)
    value = (rng.random((PLACES, 1)) + 0.5).astype(np.float32)
    one = columns(value, np.array([0]))
    pair = np.array([0]), np.array([0])
    at = [examples_of((one, one), pair, np.arange(PLACES), RUNS, seed) for seed in range(200)]
    drawn = np.concatenate([found.place[found.band == 1] for found in at])
    assert len(drawn) == 600
    # Of uniform draws from 397 places the mean is 200 with a standard error of 115 / sqrt(600) = 4.7.
    assert abs(drawn.mean() - 200) < 5 * 4.7
    assert not any((found.band >= 2).any() for found in at)  # both always fire together
    again = examples_of((one, one), pair, np.arange(PLACES), RUNS, 7)
    assert again.place.tolist() == at[7].place.tolist()


def test_a_pair_that_never_fires_or_has_few_documents_has_fewer_examples():
    silent = columns(np.zeros((PLACES, 1), np.float32), np.array([0]))
    pair = np.array([0]), np.array([1])
    assert len(examples_of((silent, columns(B * 0, np.array([1]))), pair, DOCUMENTS, RUNS, 0).pair) == 0
    one_document = examples_of((silent, BOTH[1]), pair, np.zeros(PLACES, dtype=int), RUNS, 0)
    assert [BANDS[n] for n in one_document.band] == ["strongest"]


def test_of_many_pairs_half_are_the_strongest_and_half_are_drawn():
    r = np.random.default_rng(0).random(100)
    chosen = chosen_pairs(r, 20, seed=1)
    assert len(set(chosen.tolist())) == 20
    assert set(np.argsort(-r)[:10].tolist()) <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()
    assert chosen_pairs(r, 100, seed=1).tolist() == list(range(100))
