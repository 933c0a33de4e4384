"""Positions at which both features of a pair fire."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations
from semconv.matching.joint_positions import JointPositions, activations_at, at_same_token, joint_positions, others_at
from semconv.statistics.permutation import generator

N, F = 600, 5
DOCUMENTS = np.repeat(np.arange(60), 10)
HELD_OUT = np.flatnonzero(DOCUMENTS % 2 == 1)


def dense(seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(N, F, generator=g) * (torch.rand(N, F, generator=g) < 0.6)
    x[:, 4] = 0
    x[:30, 4] = 1  # fires in three documents only
    return x


A, B = dense(0), dense(1)
SIDES = SparseActivations.from_dense(A), SparseActivations.from_dense(B)
PAIRS = np.array([0, 2, 4]), np.array([1, 2, 4])


def test_both_fire_in_held_out_documents_once_each_and_pairs_with_too_few_say_so():
    found = joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, n_uniform=20, n_strongest=16)
    assert found.reasons[:2] == ("", "")
    assert found.n_without == 1
    assert found.reasons[2] == "both features fire in 1 held-out documents, 16 are needed"
    for number in (0, 1):
        for strongest, n in ((False, 20), (True, 16)):
            tokens = found.kind(strongest).token[found.kind(strongest).pair == number]
            assert len(tokens) == n == len(np.unique(DOCUMENTS[tokens]))
            assert np.isin(tokens, HELD_OUT).all()
            assert (A[tokens, PAIRS[0][number]] > 0).all()
            assert (B[tokens, PAIRS[1][number]] > 0).all()
    assert not (found.pair == 2).any()


def test_the_strongest_are_those_of_the_largest_product():
    found = joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, n_uniform=0, n_strongest=5, fewest=5)
    product = (A[:, 0] * B[:, 1]).numpy()
    best = {d: max(np.flatnonzero(d == DOCUMENTS), key=lambda t: product[t]) for d in np.unique(DOCUMENTS[HELD_OUT])}
    expected = sorted(sorted(best.values(), key=lambda t: -product[t])[:5])
    assert found.token[found.pair == 0].tolist() == expected


def test_a_draw_depends_on_seed_and_features_alone_and_reaches_every_position():
    one = joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT)
    alone = joint_positions(SIDES, (PAIRS[0][1:2], PAIRS[1][1:2]), DOCUMENTS, HELD_OUT)
    assert one.token[one.pair == 1].tolist() == alone.token.tolist()
    draws = [joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, seed=seed) for seed in range(150)]
    seen = np.concatenate([draw.token[draw.pair == 0] for draw in draws])
    both = np.flatnonzero(((A[:, 0] > 0) & (B[:, 1] > 0)).numpy())
    assert set(seen.tolist()) == set(both[np.isin(both, HELD_OUT)].tolist())


CONTEXTS = (np.arange(N) + 7) // 25
"""Rows of text: a document stands in one or two of them, and one of them holds three documents or so."""


def in_order_of_contexts(number: int, n: int, seed: int) -> list[int]:
    """The draw of a pair again, by loops: context after context, position after position, a document once."""
    turn = generator(seed, 0, 14).permutation(CONTEXTS.max() + 1)
    both = [t for t in HELD_OUT if A[t, PAIRS[0][number]] > 0 and B[t, PAIRS[1][number]] > 0]
    own = [both[i] for i in generator(seed, PAIRS[0][number] * F + PAIRS[1][number], 9).permutation(len(both))]
    taken, seen = list[int](), set[int]()
    for place in range(len(turn)):
        for token in own:
            if turn[CONTEXTS[token]] == place and DOCUMENTS[token] not in seen:
                seen.add(DOCUMENTS[token])
                taken.append(token)
    return sorted(taken[:n])


def test_a_draw_goes_through_contexts_in_one_order_for_all_pairs_and_a_longer_one_holds_a_shorter():
    shorter: dict[tuple[int, int], set[int]] = {}
    for n in (16, 20, 25):
        for seed in (0, 5):
            found = joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, contexts=CONTEXTS, n_uniform=n, seed=seed)
            again = joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, contexts=CONTEXTS, n_uniform=n, seed=seed)
            assert found.token.tolist() == again.token.tolist()
            for number in (0, 1):
                tokens = found.token[found.pair == number].tolist()
                assert tokens == in_order_of_contexts(number, n, seed)
                assert shorter.get((number, seed), set()) <= set(tokens)
                shorter[number, seed] = set(tokens)


def test_every_context_in_which_both_fire_is_as_likely_to_come_first():
    n_seeds = 600
    first = [
        int(joint_positions(SIDES, PAIRS, DOCUMENTS, HELD_OUT, contexts=CONTEXTS, n_uniform=1, seed=seed).token[0])
        for seed in range(n_seeds)
    ]
    both = [t for t in HELD_OUT if A[t, PAIRS[0][0]] > 0 and B[t, PAIRS[1][0]] > 0]
    counts = np.bincount(CONTEXTS[first])
    there = np.unique(CONTEXTS[both])
    assert np.flatnonzero(counts).tolist() == there.tolist()
    expected = n_seeds / len(there)  # 25 in each of 24 contexts: five standard deviations are 25
    assert np.abs(counts[there] - expected).max() < 5 * np.sqrt(expected)


def test_pairs_that_fire_often_share_contexts():
    rng = np.random.default_rng(0)
    n_contexts, length, n_pairs = 200, 20, 40
    often = rng.uniform(0.02, 0.2, n_pairs)
    fires = torch.from_numpy((rng.random((n_contexts * length, n_pairs)) < often).astype(np.float32))
    acts, documents = SparseActivations.from_dense(fires), np.repeat(np.arange(n_contexts), length)
    every, held_out = np.arange(n_pairs), np.arange(len(documents))
    at = joint_positions((acts, acts), (every, every), documents, held_out, contexts=documents)
    own = [rng.permutation(np.unique(documents[fires[:, i].numpy() > 0]))[:16] for i in every]  # as pairs drew before
    assert len(at) == 16 * n_pairs
    assert len(np.unique(documents[at.token])) < 0.5 * len(np.unique(np.concatenate(own)))


def test_activations_and_others_are_those_of_the_sides():
    tokens, features = np.array([7, 3, 7, 599]), np.array([0, 1, 2, 3])
    np.testing.assert_array_equal(activations_at(SIDES[0], tokens, features), A[tokens, features].numpy())
    without = np.array([[0, -1], [1, 2], [2, 3], [3, -1]])
    place, other = others_at(SIDES[0], tokens, without, n=2)
    for i, token in enumerate(tokens):
        active = set(np.flatnonzero(A[token].numpy())) - set(without[i].tolist())
        drawn = other[place == i].tolist()
        assert len(set(drawn)) == len(drawn) == min(2, len(active))
        assert set(drawn) <= active


def test_sides_over_different_tokens_are_refused():
    with pytest.raises(InputError, match="the same positions, got 600, 599 and 600"):
        joint_positions((SIDES[0], SIDES[1].rows(0, 599)), PAIRS, DOCUMENTS, HELD_OUT)


def test_the_same_token_elsewhere_is_of_the_same_pair_and_kind():
    pair, token = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([10, 20, 30, 40, 10, 20, 50])
    strongest = np.array([False, False, False, True, False, False, False])
    ids = np.zeros(60, dtype=np.int64)
    ids[[20, 40]] = 5
    found, other = at_same_token(JointPositions(pair, token, strongest, np.array([9, 9]), ("", "")), ids)
    told = list(zip(found.pair.tolist(), found.token.tolist(), other.tolist(), strict=True))
    assert told == [(0, 10, 30), (0, 30, 10), (1, 10, 50), (1, 50, 10)]
    assert len(at_same_token(found.kind(True), ids)[1]) == 0
