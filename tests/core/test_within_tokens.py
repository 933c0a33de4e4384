"""Best partners by r within tokens: against dense NumPy, to the bit against the plain reference, whoever works."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semconv import BestMatches, InputError, SparseActivations, best_matches
from semconv.core import ops
from semconv.core.correlate import join_blocks
from semconv.matching.influence import FeatureColumns, influences

N, F_A, F_B = 400, 13, 17


def dense(seed: int, n_features: int, token: np.ndarray) -> np.ndarray:
    """Whole numbers up to 60,000, so that codes are the values; features have favourite tokens, one is never active."""
    rng = np.random.default_rng(seed)
    often = rng.random((int(token.max()) + 1, n_features)) ** 3
    values = rng.integers(1, 60_000, (len(token), n_features)) * (rng.random((len(token), n_features)) < often[token])
    values[0], values[:, 3] = 60_000, 0  # every other feature has one scale
    values[:, 5] = 10 * token + 7  # and the token says all of one
    return values


def sparse(values: np.ndarray) -> SparseActivations:
    return SparseActivations.from_dense(torch.from_numpy(values.astype(np.float32)))


def by_hand(x: np.ndarray, y: np.ndarray, token: np.ndarray) -> np.ndarray:
    """Pearson r of what is left when each token's mean is taken off, float64 [F_a, F_b]."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    for of in (x, y):
        for one in np.unique(token):
            of[token == one] -= of[token == one].mean(axis=0)
    sd = [np.sqrt((of**2).sum(axis=0)) for of in (x, y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x.T @ y) / np.outer(*sd)
    flat = [(one < 1e-6 * 60_000) for one in sd]
    r[flat[0]], r[:, flat[1]] = np.nan, np.nan
    return r.astype(np.float64)


TOKEN = np.random.default_rng(0).integers(0, 40, N) ** 2  # ids need not follow each other
X, Y = dense(1, F_A, TOKEN), dense(2, F_B, TOKEN)
A, B, WITHIN = sparse(X), sparse(Y), torch.from_numpy(TOKEN)


def parts_of(matches: BestMatches) -> list[torch.Tensor]:
    return [matches.a_to_b.index, matches.a_to_b.r, matches.b_to_a.index, matches.b_to_a.r]


def same_bits(one: BestMatches, other: BestMatches) -> bool:
    return all(
        torch.equal(p.view(torch.int64), q.view(torch.int64))
        for p, q in zip(parts_of(one), parts_of(other), strict=True)
    )


def test_partners_are_those_of_the_highest_correlation_within_tokens():
    wanted = by_hand(X, Y, TOKEN)
    assert np.isnan(wanted[[3, 5]]).all()  # never active, and what the token says alone
    k = 4
    found = best_matches(A, B, k, within=WITHIN)
    plain = best_matches(A, B, k)
    for r, best, other in ((wanted, found.a_to_b, plain.a_to_b), (wanted.T, found.b_to_a, plain.b_to_a)):
        order = np.argsort(-np.where(np.isnan(r), -2, r), axis=1, kind="stable")[:, :k]
        defined = ~np.isnan(r).all(axis=1)
        np.testing.assert_array_equal(best.index[defined].numpy(), order[defined])
        np.testing.assert_allclose(best.r[defined].numpy(), np.take_along_axis(r, order, 1)[defined], atol=1e-12)
        assert (best.index[~defined] == -1).all()
        assert best.r[~defined].isnan().all()
        assert (best.index[defined] != other.index[defined]).any()  # and are others than over all positions
    np.testing.assert_array_equal(found.quantization_noise_a.numpy(), plain.quantization_noise_a.numpy())


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_bits_do_not_depend_on_threads(threads: int):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = best_matches(A, B, 3, within=WITHIN)
        torch.set_num_threads(threads)
        assert same_bits(best_matches(A, B, 3, within=WITHIN), one)
    finally:
        torch.set_num_threads(before)


def test_bits_do_not_depend_on_how_features_are_split_nor_on_which_side_is_which():
    whole = best_matches(A, B, 3, within=WITHIN)
    cuts = [(0, 4), (4, 9), (9, F_A)]
    parts = [best_matches(A.columns(torch.arange(*cut)), B, 3, within=WITHIN) for cut in cuts]
    assert same_bits(join_blocks(parts, [first for first, _ in cuts], 3), whole)
    turned = best_matches(B, A, 3, within=WITHIN)
    assert same_bits(BestMatches(turned.b_to_a, turned.a_to_b, N, *[torch.zeros(0)] * 2), whole)


def test_the_native_core_and_the_plain_reference_agree_to_the_bit():
    x, y = A.rows(0, 60), B.rows(0, 60)
    few = WITHIN[:60]
    assert same_bits(best_matches(x, y, 5, within=few), best_matches(x, y, 5, "reference", within=few))


def test_it_is_the_correlation_that_is_told_of_every_pair():
    found = best_matches(A, B, within=WITHIN).b_to_a
    b = np.flatnonzero(found.index[:, 0].numpy() >= 0)
    a = found.index[b, 0].numpy()
    told = influences(FeatureColumns(A, a), FeatureColumns(B, b), a, b, np.zeros(N, dtype=np.int64), TOKEN)[:, 2]
    assert (told == found.r[b, 0].numpy()).all()


def test_tokens_that_stand_once_have_no_part_in_it():
    lone = torch.cat([WITHIN, torch.arange(10_000, 10_050)])
    more = [sparse(np.concatenate([of, np.full((50, of.shape[1]), 60_000)])) for of in (X, Y)]
    found = best_matches(more[0], more[1], within=lone)
    kept = best_matches(A, B, within=WITHIN)
    for one, other in ((found.a_to_b, kept.a_to_b), (found.b_to_a, kept.b_to_a)):
        assert torch.equal(one.index, other.index)
        np.testing.assert_allclose(one.r.numpy(), other.r.numpy(), atol=1e-12)


def test_text_that_says_nothing_within_tokens_is_refused():
    with pytest.raises(InputError, match="needs a token that stands at two positions, got none"):
        best_matches(A, B, within=torch.arange(N))
    with pytest.raises(InputError, match=rf"tokens must be integers \[{N}\], got torch.int64 \[3\]"):
        best_matches(A, B, within=torch.arange(3))
    with pytest.raises(InputError, match="tokens must be integers"):
        best_matches(A, B, within=torch.zeros(N))


@pytest.mark.parametrize(
    ("groups", "n_groups", "message"),
    [
        (torch.zeros(N, dtype=torch.int64), 1, "groups must be int32"),
        (torch.zeros(N - 1, dtype=torch.int32), 1, "groups must be int32"),
        (torch.full((N,), 2, dtype=torch.int32), 2, r"groups must be in \[0, 2\), got 2"),
        (torch.full((N,), -1, dtype=torch.int32), 2, r"groups must be in \[0, 2\), got -1"),
        (torch.zeros(N, dtype=torch.int32), 0, "n_groups must be between 1 and the 400 tokens, got 0"),
        (torch.zeros(N, dtype=torch.int32), N + 1, "n_groups must be between 1"),
    ],
)
def test_the_op_refuses_groups_that_are_none(groups: torch.Tensor, n_groups: int, message: str):
    a, b = ((side.indptr, side.indices, side.values) for side in (A, B))
    with pytest.raises(InputError, match=message):
        ops.best_matches_within(a, F_A, b, F_B, (groups, n_groups), 1)
