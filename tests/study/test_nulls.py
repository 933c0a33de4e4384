"""Null distributions of a layer pair, against dense arrays rolled by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv import SparseActivations, best_matches
from semconv.compare import make_measures
from semconv.statistics.permutation import frequency_strata, permutation_ids
from semconv.statistics.resampling import document_shift
from semconv.statistics.stopping import Stopping
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import pairing_nulls, ranked_pairs, rematch, score_strongest, swapped
from semconv.study.sides import match_sides, pair_correlations, prepare_pairs
from semconv.suite.config import MatchConfig
from tests._helpers.worlds import MATCH, make_world

WORLD = make_world()
MEASURES = make_measures(["rsa", "svcca_fixed_k"], svcca_k=3)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_pairing_nulls_are_the_score_with_b_rows_permuted(measure: Any):
    pairs = match_sides(WORLD.a, WORLD.b, MATCH)
    counts = WORLD.b.active_counts()[pairs.b]
    prepared = prepare_pairs(measure, WORLD.a, WORLD.b, pairs.a, pairs.b)
    nulls = pairing_nulls(prepared, counts, Stopping(9), 4, 3)
    X, Y, strata = WORLD.a.decoder[pairs.a], WORLD.b.decoder[pairs.b], frequency_strata(counts, 3)
    for name, groups in (("shuffle", None), ("frequency", strata)):
        ids = permutation_ids(len(pairs), 9, 4, strata=groups)
        slow = [measure.score(measure.prepare(X), measure.prepare(Y[p])) for p in ids]
        np.testing.assert_allclose(nulls[name], slow, atol=1e-10)  # the fast form sums in another order
    assert not np.allclose(nulls["shuffle"], nulls["frequency"])


def rolled(config: MatchConfig, number: int) -> tuple[int, int, list[float]]:
    """One draw of `rematch` with np.roll of the dense activations, matched by `best_matches`, scored from arrays."""
    shift = document_shift(WORLD.starts, 3, number)
    dense = torch.from_numpy(np.roll(WORLD.b.acts.to_dense().numpy(), -shift, axis=0).copy())
    assert WORLD.b.documents is not None
    shifted = replace(WORLD.b, acts=SparseActivations.from_dense(dense), documents=WORLD.b.documents.roll(-shift))
    passed = match_sides(WORLD.a, shifted, config)
    free = match_sides(WORLD.a, shifted, replace(config, need_shared_token=False, min_r=-1.0))
    order = sorted(range(len(free)), key=lambda i: (-free.r[i], i))
    best = sorted(order[:12])
    X, Y = (side.decoder[rows[best]] for side, rows in ((WORLD.a, free.a), (WORLD.b, free.b)))
    return len(passed), free.a[order].tolist(), [m.score(m.prepare(X), m.prepare(Y)) for m in MEASURES]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategy": "mutual"},
        {"strategy": "greedy", "candidates": 3},
        {"min_activations": 45},
        {"min_documents": 28},
    ],
    ids=str,
)
def test_rematch_equals_rolling_the_dense_activations(changes: dict[str, Any]):
    config = replace(MATCH, min_r=0.05, **changes)
    passed, ranked, _ = rematch(WORLD.a, WORLD.b, config, WORLD.starts, 3, range(6))
    wanted = [rolled(config, number) for number in range(6)]
    assert passed.tolist() == [one[0] for one in wanted]
    assert [pairs[0].tolist() for pairs in ranked] == [one[1] for one in wanted]
    scores = [score_strongest(MEASURES, WORLD.a, WORLD.b, pairs, 12) for pairs in ranked]
    np.testing.assert_allclose(scores, [one[2] for one in wanted], atol=1e-10)  # row subsets share sums
    assert len({tuple(row) for row in scores}) > 1


def test_rematch_does_not_depend_on_which_shifts_are_drawn_together():
    passed, ranked, _ = rematch(WORLD.a, WORLD.b, MATCH, WORLD.starts, 3, range(7))
    parts = [rematch(WORLD.a, WORLD.b, MATCH, WORLD.starts, 3, n) for n in ([5, 6], [0, 1, 2], [3, 4])]
    assert np.concatenate([parts[i][0] for i in (1, 2, 0)]).tolist() == passed.tolist()
    together = [pairs for i in (1, 2, 0) for pairs in parts[i][1]]
    for one, other in zip(together, ranked, strict=True):
        assert (np.stack(one) == np.stack(other)).all()


def test_the_ranked_pairs_of_the_true_text_are_those_without_filters_by_falling_r():
    matches = best_matches(WORLD.a.acts, WORLD.b.acts)
    a, b = ranked_pairs(matches, WORLD.a, WORLD.b, MATCH)
    r = pair_correlations(WORLD.a, WORLD.b, a, b)
    assert (np.diff(r) <= 1e-12).all()
    assert len(set(a.tolist())) == len(a)  # one pair per A feature
    filtered = match_sides(WORLD.a, WORLD.b, replace(MATCH, min_r=float(np.median(r))))
    assert 0 < len(filtered) < len(a)
    assert set(zip(filtered.a.tolist(), filtered.b.tolist(), strict=True)) <= set(
        zip(a.tolist(), b.tolist(), strict=True)
    )


def test_a_draw_that_a_measure_refuses_is_nan():
    knn = make_measures(["mutual_knn", "rsa"], knn_k=10)
    _, ranked, _ = rematch(WORLD.a, WORLD.b, MATCH, WORLD.starts, 3, range(3))
    scores = np.stack([score_strongest(knn, WORLD.a, WORLD.b, pairs, 6) for pairs in ranked])
    assert np.isnan(scores[:, 0]).all()
    assert np.isfinite(scores[:, 1]).all()


def test_shared_text_is_what_a_shift_breaks():
    found = best_matches(WORLD.a.acts, WORLD.b.acts).b_to_a.r[:, 0].numpy()
    passed, *_ = rematch(WORLD.a, WORLD.b, MATCH, WORLD.starts, 3, range(10))
    shifted = [document_shift(WORLD.starts, 3, number) > 0 for number in range(10)]
    assert (found > 0.1).sum() > 20
    assert any(shifted)
    assert passed[shifted].max() < 10


def exchanged(positions: np.ndarray, config: MatchConfig) -> tuple[int, list[tuple[int, int]]]:
    """One draw of `same_token` from NumPy alone: r of dense columns, the best A of every B, the best B of every A."""
    x = WORLD.a.acts.to_dense().double().numpy()
    y = WORLD.b.acts.to_dense().double().numpy()[positions]
    with np.errstate(invalid="ignore"):
        r = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    r = np.nan_to_num(r, nan=-2.0)
    kept = [(int(r[:, j].argmax()), j) for j in range(r.shape[1]) if r[:, j].max() > -2]
    active = [(side.acts.to_dense() > 0).sum(0).numpy() for side in (WORLD.a, WORLD.b)]
    kept = [(i, j) for i, j in kept if min(active[0][i], active[1][j]) >= config.min_activations]
    best_of_a = {i: max((r[i, j], -j) for k, j in kept if k == i) for i in {i for i, _ in kept}}
    pairs = [(i, j) for i, j in kept if best_of_a[i][1] == -j]  # one pair per A feature
    passed = [(i, j) for i, j in pairs if r[i, j] > config.min_r]
    if config.without_strongest:
        passed = [(i, j) for i, j in passed if r_left(x[:, i], y[:, j], config.without_strongest) > config.min_r]
    return len(passed), sorted(pairs, key=lambda pair: -r[pair])


def r_left(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """r without the k co-active positions that add most."""
    both = np.flatnonzero((x > 0) & (y > 0))
    added = ((x - x.mean()) * (y - y.mean()))[both]
    rest = np.delete(np.arange(len(x)), both[np.argsort(-added, kind="stable")[:k]])
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(x[rest], y[rest])[0, 1])


@pytest.mark.parametrize("without_strongest", [0, 4, 25])
def test_same_token_is_matching_again_after_an_exchange_of_dense_rows(without_strongest: int):
    config = replace(MATCH, min_r=0.05, need_shared_token=False, min_activations=10, min_documents=0)
    config = replace(config, without_strongest=without_strongest)
    swaps = TokenSwaps.of(WORLD.blocks)
    draws = swaps.draws(3, range(6))
    passed, ranked, _ = swapped(WORLD.a, WORLD.b, config, draws)
    wanted = [exchanged(draw, config) for draw in draws]
    assert passed.tolist() == [one[0] for one in wanted]
    assert [sorted(zip(*map(np.ndarray.tolist, pairs), strict=True)) for pairs in ranked] == [
        sorted(one[1]) for one in wanted
    ]
    assert len({tuple(pairs[0].tolist()) for pairs in ranked}) > 1
    if without_strongest == 25:
        plain = swapped(WORLD.a, WORLD.b, replace(config, without_strongest=0), draws).passed
        assert (passed <= plain).all()
        assert passed.sum() < plain.sum()


def test_a_shift_leaves_out_the_strongest_positions_of_the_shifted_text():
    config = replace(MATCH, min_r=0.02, need_shared_token=False, without_strongest=3, min_activations=0)
    shift = document_shift(WORLD.starts, 3, 1)
    positions = (np.arange(WORLD.a.n_tokens) + shift) % WORLD.a.n_tokens
    passed, *_ = rematch(WORLD.a, WORLD.b, replace(config, min_documents=0), WORLD.starts, 3, [1])
    assert passed.tolist() == [exchanged(positions, config)[0]]


def test_features_of_the_current_token_survive_an_exchange_and_those_of_the_context_do_not():
    """The shared features of WORLD fire on token ids; to them come some that fire on the same positions at random."""
    n = WORLD.a.n_tokens
    rng = np.random.default_rng(0)
    context = np.where(rng.random((n, 20)) < 0.1, rng.uniform(0.5, 2.0, (n, 20)), 0.0)
    x, y = (torch.from_numpy(np.hstack([side.acts.to_dense().numpy(), context])).float() for side in (WORLD.a, WORLD.b))
    draw = TokenSwaps.of(WORLD.blocks).draw(0, 0)
    r = np.corrcoef(x.T.numpy(), y[draw].T.numpy())[: x.shape[1], x.shape[1] :]
    matches = best_matches(
        SparseActivations.from_dense(x), SparseActivations.from_dense(y).tokens(torch.from_numpy(draw))
    )
    found = matches.b_to_a.r[:, 0].numpy()
    np.testing.assert_allclose(found, r.max(axis=0), atol=1e-3)
    assert (found[: WORLD.b.n_features] > 0.4).sum() >= 24  # as many as are shared
    assert found[WORLD.b.n_features :].max() < 0.2  # r was 1
