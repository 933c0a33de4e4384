"""Sides: features paired and scored as plain NumPy on the dense matrices would do it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import semconv.study.sides
from semconv import InputError, SparseActivations, best_matches
from semconv.compare import MEASURES, Measure, MutualKNN, make_measures, rsa
from semconv.study.sides import Side, match_sides, pair_correlations, prepare_pairs, scores_of
from tests._helpers.worlds import MATCH, make_world, random_side

WORLD = make_world()


def dense_r(a: Side, b: Side, rows_a: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    x, y = (side.acts.to_dense().double().numpy() for side in (a, b))
    return np.array([np.corrcoef(x[:, i], y[:, j])[0, 1] for i, j in zip(rows_a, rows_b, strict=True)])


def test_a_side_at_positions_keeps_everything_but_its_tokens_of_text():
    positions = torch.tensor([5, 5, 2, 700])
    part = WORLD.a.at(positions)
    assert torch.equal(part.acts.to_dense(), WORLD.a.acts.to_dense()[positions])
    assert part.name == WORLD.a.name == "a/1"
    assert part.decoder is WORLD.a.decoder
    assert part.tokens is WORLD.a.tokens
    assert part.active_counts().tolist() == (part.acts.to_dense() > 0).sum(dim=0).tolist()


def test_every_b_feature_gets_the_best_a_feature_of_the_dense_correlations():
    config = replace(MATCH, need_shared_token=False, one_to_one=False, min_r=-1.0)
    pairs = match_sides(WORLD.a, WORLD.b, config)
    x, y = (side.acts.to_dense().double().numpy() for side in (WORLD.a, WORLD.b))
    r = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    assert (pairs.b == np.arange(y.shape[1])).all()
    assert (pairs.a == r.argmax(axis=0)).all()
    # 16-bit codes move r by at most about 1e-4 of its size here; numbers of features do not round at all.
    np.testing.assert_allclose(pairs.r, r.max(axis=0), atol=1e-4)


def test_min_activations_counts_the_tokens_of_the_sides_at_hand():
    config = replace(MATCH, min_activations=60)
    counts_a, counts_b = ((side.acts.to_dense() > 0).sum(dim=0).numpy() for side in (WORLD.a, WORLD.b))
    pairs, every = match_sides(WORLD.a, WORLD.b, config), match_sides(WORLD.a, WORLD.b, MATCH)
    assert 0 < len(pairs) < len(every)
    assert (counts_a[pairs.a] >= 60).all()
    assert (counts_b[pairs.b] >= 60).all()


def documents_of(side: Side) -> np.ndarray:
    """In how many documents each feature is active, by a loop."""
    assert side.documents is not None
    dense, documents = side.acts.to_dense() > 0, side.documents.numpy()
    return np.array([len(set(documents[column.numpy()].tolist())) for column in dense.T])


@pytest.mark.parametrize("positions", ["all", "some documents", "some documents twice"])
def test_min_documents_counts_the_documents_of_the_sides_at_hand(positions: str):
    """A document that is drawn twice is one document."""
    a, b = WORLD.a, WORLD.b
    least = 28
    if positions != "all":
        drawn = torch.arange(350)
        drawn = torch.cat([drawn, drawn]) if "twice" in positions else drawn
        a, b, least = a.at(drawn), b.at(drawn), 14
    pairs, every = match_sides(a, b, replace(MATCH, min_documents=least)), match_sides(a, b, MATCH)
    assert 0 < len(pairs) < len(every)
    assert [c.step for c in pairs.counts][1] == f"both features active in at least {least} documents"
    often = (documents_of(a) >= least)[every.a] & (documents_of(b) >= least)[every.b]
    assert set(zip(pairs.a, pairs.b, strict=True)) >= set(zip(every.a[often], every.b[often], strict=True))
    assert (documents_of(a)[pairs.a] >= least).all()
    assert (documents_of(b)[pairs.b] >= least).all()
    with pytest.raises(InputError, match=r"needs the documents of the text of a/1, which are not known"):
        match_sides(replace(a, documents=None), b, replace(MATCH, min_documents=least))


@pytest.mark.parametrize("at_once", [1, 5, 2048])
def test_r_of_given_pairs_equals_dense_numpy(at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.study.sides, "_PAIRS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    rows_a, rows_b = rng.integers(0, 30, 41), rng.integers(0, 34, 41)  # repeats, any order
    r = pair_correlations(WORLD.a, WORLD.b, rows_a, rows_b)
    # Codes of 16 bits: a step of at most 2 / 32768 against active values of 0.5 to 2, and about 700 tokens.
    np.testing.assert_allclose(r, dense_r(WORLD.a, WORLD.b, rows_a, rows_b), atol=1e-4)
    assert len(pair_correlations(WORLD.a, WORLD.b, rows_a[:0], rows_b[:0])) == 0


def test_r_of_given_pairs_has_the_bits_of_best_matches():
    found = best_matches(WORLD.a.acts, WORLD.b.acts).b_to_a
    best = found.index[:, 0].numpy()
    r = pair_correlations(WORLD.a, WORLD.b, best, np.arange(len(best)))
    assert (r == found.r[:, 0].numpy()).all()


def test_r_of_a_silent_feature_is_nan():
    x = WORLD.a.acts.to_dense()
    x[:, 3] = 0
    silent = replace(WORLD.a, acts=SparseActivations.from_dense(x))
    r = pair_correlations(silent, WORLD.b, np.array([2, 3]), np.array([0, 0]))
    assert np.isfinite(r[0])
    assert np.isnan(r[1])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", list(MEASURES))
def test_paired_rows_score_as_the_rows_themselves(name: str, wide: bool, monkeypatch: pytest.MonkeyPatch):
    if wide:  # a dictionary so wide that subsets share nothing
        monkeypatch.setattr(semconv.study.sides, "SHARED_ROWS", 10)
    measure = make_measures([name], svcca_k=4, knn_k=3)[0]
    a, b = random_side(0, d=5), random_side(1, d=7)
    rows_a, rows_b = np.random.default_rng(0).permutation(40)[:25], np.arange(25)
    prepared = prepare_pairs(measure, a, b, rows_a, rows_b)
    plain = measure.score(measure.prepare(a.decoder[rows_a]), measure.prepare(b.decoder[rows_b]))
    assert prepared.score == pytest.approx(plain, abs=1e-12)  # shared work may be summed in another order
    assert prepared.measure is measure


def test_saturation_is_told_and_does_not_leak_into_the_next_score():
    measure, low = make_measures(["svcca_variance", "svcca_fixed_k"], svcca_k=2)
    a, b, rows = random_side(0), random_side(1), np.arange(20)
    assert prepare_pairs(measure, a, b, rows, rows).saturated  # 12 + 12 directions on 20 pairs
    assert not prepare_pairs(low, a, b, rows, rows).saturated
    assert prepare_pairs(measure, a, b, rows, rows).saturated


def test_a_measure_that_refuses_gives_nan_beside_the_others():
    measures = make_measures(["mutual_knn", "rsa"], knn_k=10)
    a, b, rows = random_side(0), random_side(1), np.arange(8)
    scores = scores_of(measures, a, b, rows, rows)
    assert math.isnan(scores[0])
    assert scores[1] == pytest.approx(rsa(a.decoder[:8], b.decoder[:8]), abs=1e-12)
    with pytest.raises(InputError, match="more pairs than k = 10"):
        prepare_pairs(measures[0], a, b, rows, rows)


def test_measures_of_the_same_pairs_share_a_decomposition_of_each_side(monkeypatch: pytest.MonkeyPatch):
    shapes, eigh = list[tuple[int, ...]](), torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda A: shapes.append(tuple(A.shape)) or eigh(A))
    names = ["svcca_pc1", "svcca_variance", "svcca_fixed_k", "mean_squared_cc", "procrustes", "rsa"]
    measures, a, b = make_measures(names, svcca_k=4), random_side(0, d=5), random_side(1, d=7)
    rows = np.arange(30)
    scores = scores_of(measures, a, b, rows, rows)
    assert shapes == [(5, 5), (7, 7)]
    alone = [prepare_pairs(measure, a, b, rows, rows).score for measure in measures]
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-12)
    shapes.clear()
    scores_of(measures, a, a, rows, rows)  # a side with itself is decomposed once, not twice
    assert shapes == [(5, 5)]


def test_a_measure_of_ones_own_is_given_the_rows_as_numpy():
    class Width(Measure[np.ndarray]):
        @property
        def name(self) -> str:
            return "width"

        def prepare(self, X: np.ndarray) -> np.ndarray:
            assert isinstance(X, np.ndarray)
            return X

        def score(self, x: np.ndarray, y: np.ndarray) -> float:
            return float(x.shape[1] * y.shape[1])

        def null_scores(self, x: np.ndarray, y: np.ndarray, permutations: np.ndarray) -> np.ndarray:
            return np.full(len(permutations), self.score(x, y))

    rows = np.arange(10)
    assert scores_of([Width()], random_side(0, d=5), random_side(1, d=7), rows, rows).tolist() == [35.0]


def test_a_side_made_from_another_is_scored_by_its_own_decoder_and_settings():
    a, b, rows = random_side(0), random_side(1), np.arange(30)
    narrow, wide = MutualKNN(2), MutualKNN(9)
    other = replace(a, decoder=a.decoder[::-1].copy())
    for measure in (narrow, wide, narrow):
        for side in (a, other, a):
            plain = measure.score(measure.prepare(side.decoder[:30]), measure.prepare(b.decoder[:30]))
            assert prepare_pairs(measure, side, b, rows, rows).score == plain
