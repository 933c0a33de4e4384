"""Effects of pairs from text to sums, against full forward passes for every change and NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from semconv import InputError, SparseActivations, TokenBlocks
from semconv.matching.joint_positions import JointPositions, joint_positions, others_at
from semconv.models import function, interventions
from semconv.models.function import FunctionSide, functional_effects
from semconv.models.interventions import Edits, Interventions, naive_change
from semconv.statistics.function_scores import layer_function, pair_function
from semconv.text.shared_tokens import SharedTokens
from tests._helpers.tiny_models import tiny_model
from tests.conftest import requires_models

pytestmark = requires_models

N_ROWS, CONTEXT, F_A, F_B = 8, 12, 9, 11
N_OTHERS = 3
IDS = torch.randint(3, 47, (N_ROWS, CONTEXT), generator=torch.Generator().manual_seed(3)).int()
MASK = torch.ones(N_ROWS, CONTEXT, dtype=torch.bool)
MASK[:, 0] = False
MASK[5, 8:] = False
DOCUMENT = torch.where(MASK, torch.arange(N_ROWS)[:, None], -1).int()
BLOCKS = TokenBlocks(IDS, MASK, DOCUMENT)
PAIRS = np.array([0, 4, 7]), np.array([2, 3, 9])
ALTERNATES = np.array([[5, 6], [-1, 8], [1, -1]])
SHARED = SharedTokens(torch.arange(4, 40), torch.arange(4, 40).flip(0), 48, 48)


def side(family: str, n_features: int, seed: int) -> FunctionSide:
    g = torch.Generator().manual_seed(seed)
    rows, n = torch.randn(n_features, 16, generator=g), BLOCKS.n_tokens
    dense = torch.rand(n, n_features, generator=g) * (torch.rand(n, n_features, generator=g) < 0.7)
    taken = Interventions(tiny_model(family), "blocks.1.hook_resid_post", rows)
    return FunctionSide(taken, SparseActivations.from_dense(dense), BLOCKS)


@pytest.fixture(scope="module")
def sides() -> tuple[FunctionSide, FunctionSide]:
    return side("gemma2", F_A, 5), side("gpt2", F_B, 6)


@pytest.fixture(scope="module")
def at(sides: tuple[FunctionSide, FunctionSide]) -> JointPositions:
    acts, documents = (sides[0].acts, sides[1].acts), DOCUMENT[MASK].numpy()
    return joint_positions(acts, PAIRS, documents, np.arange(BLOCKS.n_tokens), n_uniform=4, fewest=4)


def naive(one: FunctionSide, token: int, directions: Tensor, amounts: np.ndarray) -> np.ndarray:
    """Effects [n, V] of changes at one position, a full pass for each."""
    row, position = (int(part) for part in MASK.nonzero()[token])
    n = len(directions)
    edits = Edits(
        torch.full((n,), row), torch.full((n,), position), torch.arange(n), torch.from_numpy(amounts.astype(np.float32))
    )
    found = naive_change(one.interventions.model, one.interventions.hook, directions, IDS, edits)
    return found[:, 0].double().numpy()


def expected_r(sides: tuple[FunctionSide, FunctionSide], at: JointPositions, m: int) -> tuple[list[float], float]:
    """Correlations of residual effects at an item: partner, alternates (NaN where there is none), mean of others."""
    pair, token = int(at.pair[m]), int(at.token[m])
    residual: list[np.ndarray] = []
    for number, one in enumerate(sides):
        feature = int(PAIRS[number][pair])
        without = np.array([[feature, *(ALTERNATES[pair] if number else [])]])
        others = others_at(one.acts, np.array([token]), without, N_OTHERS)[1]
        named = [feature, *(ALTERNATES[pair] if number else [])]
        every = np.array([*named, *others])
        along = one.interventions.directions[torch.from_numpy(np.maximum(every, 0))]
        norms = along.norm(dim=1).numpy()
        dose = float(one.acts.to_dense()[token, feature]) * norms[0]
        effects = naive(one, token, along, -dose / norms)
        rest = effects[len(named) :]
        left = [(rest.sum(axis=0) - x) / (len(rest) - 1) for x in rest]
        of_named = [x - rest.mean(axis=0) if i >= 0 else x * np.nan for x, i in zip(effects, named, strict=False)]
        residual.append(np.array([*of_named, *(x - y for x, y in zip(rest, left, strict=True))]))
    a, b = residual[0][0][SHARED.a.numpy()], residual[1][:, SHARED.b.numpy()]
    r = [float(np.corrcoef(a, x)[0, 1]) for x in b]
    return r[:3], float(np.mean(r[3:]))


def test_sums_are_those_of_full_forward_passes(
    sides: tuple[FunctionSide, FunctionSide], at: JointPositions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(function, "_ROWS", 20)  # several pieces
    told: list[tuple[int, int]] = []
    sums = functional_effects(
        sides, PAIRS, at, SHARED, ALTERNATES, n_others=N_OTHERS, progress=lambda *done: told.append(done)
    )
    assert len(told) > 2
    assert told[-1] == (len(at), len(at)) == (12, 12)
    for m in range(0, len(at), 3):
        r, others = expected_r(sides, at, m)
        np.testing.assert_allclose(sums.r[m, :3].numpy(), r, atol=1e-4)
        assert float(sums.r_others[m]) == pytest.approx(others, abs=1e-4)
    assert bool(sums.r[:, 3].isfinite().all())  # random directions
    assert int((sums.negatives[at.pair == 0] == N_OTHERS + 2).sum()) == 4


def test_a_context_is_read_once_by_each_model_whatever_the_logits_held_at_once(
    sides: tuple[FunctionSide, FunctionSide], at: JointPositions, monkeypatch: pytest.MonkeyPatch
):
    whole = functional_effects(sides, PAIRS, at, SHARED, ALTERNATES, n_others=N_OTHERS)
    read, told = list[int](), list[int]()
    branched = interventions.branched_streams

    def counted(model: Any, hook: str, ids: Tensor, *given: Any) -> Tensor:
        read.append(len(ids))
        return branched(model, hook, ids, *given)

    monkeypatch.setattr(interventions, "branched_streams", counted)
    monkeypatch.setattr(interventions, "_LOGITS", 48 * 10)  # of ten changes
    few = functional_effects(
        sides, PAIRS, at, SHARED, ALTERNATES, n_others=N_OTHERS, progress=lambda done, _: told.append(done)
    )
    rows = MASK.nonzero()[torch.from_numpy(at.token), 0]
    assert sum(read) == 2 * len(rows.unique())
    assert len(told) > 4
    torch.testing.assert_close(few.r, whole.r, rtol=0, atol=1e-4, equal_nan=True)
    torch.testing.assert_close(few.effect_b, whole.effect_b, rtol=0, atol=1e-4)


def test_pieces_hold_whole_rows_of_text_where_they_have_room():
    rng = np.random.default_rng(0)
    n_rows, length, n = 30, 10, 200
    places = np.stack(np.divmod(np.arange(n_rows * length), length), axis=1)
    token = rng.integers(0, n_rows * length, n)
    at = JointPositions(np.arange(n), token, np.zeros(n, dtype=bool), np.ones(n), ("",) * n)
    changes = rng.integers(1, 9, n)
    row = token // length
    most = int(np.bincount(row, weights=changes).max())
    pieces = list(function.pieces(at, places, changes, most))
    assert sorted(np.concatenate(pieces).tolist()) == list(range(n))
    assert sum(len(np.unique(row[piece])) for piece in pieces) == len(np.unique(row))
    assert max(changes[piece].sum() for piece in pieces) <= most
    for few in (most // 3, 8, 1):
        pieces = list(function.pieces(at, places, changes, few))
        assert sorted(np.concatenate(pieces).tolist()) == list(range(n))
        assert all(changes[piece].sum() <= few or len(piece) == 1 for piece in pieces)
        assert np.concatenate(function._parts(changes, few)).tolist() == list(range(n))
        assert all(changes[p].sum() <= few or len(p) == 1 for p in function._parts(changes, few))


def test_neither_pieces_nor_other_pairs_change_what_is_found(
    sides: tuple[FunctionSide, FunctionSide], at: JointPositions, monkeypatch: pytest.MonkeyPatch
):
    whole = functional_effects(sides, PAIRS, at, SHARED, ALTERNATES, n_others=N_OTHERS)
    monkeypatch.setattr(function, "_ROWS", 15)
    pieces = functional_effects(sides, PAIRS, at, SHARED, ALTERNATES, n_others=N_OTHERS)
    torch.testing.assert_close(pieces.r, whole.r, rtol=0, atol=1e-4, equal_nan=True)
    torch.testing.assert_close(pieces.effect_a, whole.effect_a, rtol=0, atol=1e-4)
    last = np.flatnonzero(at.pair == 2)
    one = JointPositions(at.pair[last] * 0, at.token[last], at.strongest[last], at.documents[2:], at.reasons[2:])
    alone = functional_effects(sides, (PAIRS[0][2:], PAIRS[1][2:]), one, SHARED, ALTERNATES[2:], n_others=N_OTHERS)
    torch.testing.assert_close(alone.r, whole.r[last], rtol=0, atol=1e-4, equal_nan=True)


def test_a_model_with_itself_agrees_wholly(sides: tuple[FunctionSide, FunctionSide]):
    a = sides[0]
    itself = PAIRS[0], PAIRS[0]
    documents = DOCUMENT[MASK].numpy()
    at = joint_positions((a.acts, a.acts), itself, documents, np.arange(BLOCKS.n_tokens), n_uniform=4, fewest=4)
    none = np.full((3, 0), -1)
    sums = functional_effects((a, a), itself, at, SharedTokens.same(48), none, n_others=N_OTHERS)
    told = pair_function(sums)
    np.testing.assert_allclose(told.r, 1, atol=1e-4)
    np.testing.assert_allclose(told.cosine, 1, atol=1e-5)
    np.testing.assert_allclose(told.size, 0, atol=1e-4)
    assert told.signs.tolist() == told.top1.tolist() == [1, 1, 1]
    layer = layer_function(sums, told, np.arange(3), [])
    assert layer.retrieval_top1 == 1
    assert np.isnan(layer.rsa)  # three pairs


def test_elsewhere_in_a_the_effects_are_those_of_these_positions(
    sides: tuple[FunctionSide, FunctionSide], at: JointPositions
):
    none = np.full((3, 0), -1)
    elsewhere = replace(at, token=np.roll(at.token, 1))
    mixed, there, here = (
        functional_effects(sides, PAIRS, where, SHARED, none, n_others=N_OTHERS, tokens_a=tokens)
        for where, tokens in ((at, elsewhere.token), (elsewhere, None), (at, None))
    )
    torch.testing.assert_close(mixed.effect_a, there.effect_a, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.effect_b, here.effect_b, rtol=0, atol=1e-5)
    assert not torch.allclose(mixed.r[:, 0], here.r[:, 0], atol=0.01)


def test_sides_of_other_positions_and_no_positions_are_refused(
    sides: tuple[FunctionSide, FunctionSide], at: JointPositions
):
    none = np.empty(0, dtype=np.int64)
    empty = JointPositions(none, none, none.astype(bool), none, ())
    with pytest.raises(InputError, match="with 0 studied"):
        functional_effects(sides, PAIRS, empty, SHARED, ALTERNATES)
    with pytest.raises(InputError, match="positions that count, got 20"):
        FunctionSide(sides[0].interventions, sides[0].acts.rows(0, 20), BLOCKS)
    with pytest.raises(InputError, match="a direction is needed for 11 features, got 9"):
        FunctionSide(sides[0].interventions, sides[1].acts, BLOCKS)
