"""Draws of documents: whole, reproducible, and never anything but documents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from semconv import InputError, TokenBlocks
from semconv.statistics.resampling import bootstrap_positions, document_shift, document_starts, halves
from tests._helpers.worlds import make_blocks

LENGTHS = [3, 20, 1, 7, 40, 2, 15]
STARTS = np.cumsum([0, *LENGTHS[:-1]])
N_TOKENS = sum(LENGTHS)


def documents_of(positions: torch.Tensor) -> list[int]:
    """The documents that positions hold, in order, after checking that each is whole and in one piece."""
    left, found = positions.tolist(), list[int]()
    while left:
        document = STARTS.tolist().index(left[0])
        length = LENGTHS[document]
        assert left[:length] == list(range(STARTS[document], STARTS[document] + length))
        found.append(document)
        left = left[length:]
    return found


def test_document_starts_count_counted_positions_only():
    blocks = make_blocks(LENGTHS)
    assert not blocks.mask[:, 0].any()  # rows begin with a position that does not count, documents cross rows
    assert document_starts(blocks).tolist() == STARTS.tolist()
    assert blocks.n_tokens == N_TOKENS


def test_fewer_than_two_documents_are_refused():
    with pytest.raises(InputError, match="at least two of them, got 1"):
        document_starts(make_blocks([30]))
    owner = torch.full((2, 4), -1, dtype=torch.int32)
    with pytest.raises(InputError, match="at least two of them"):
        document_starts(TokenBlocks(torch.zeros_like(owner), owner >= 0, owner))


def test_a_shift_is_the_start_of_a_document_and_each_is_as_likely():
    shifts = [document_shift(STARTS, 0, number) for number in range(1200)]
    values, counts = np.unique(shifts, return_counts=True)
    assert values.tolist() == STARTS.tolist()
    assert chisquare(counts).pvalue > 0.01
    assert [document_shift(STARTS, 0, number) for number in (7, 3, 11)] == [shifts[i] for i in (7, 3, 11)]
    assert [document_shift(STARTS, 1, number) for number in range(20)] != shifts[:20]


def test_a_bootstrap_draws_as_many_documents_whole():
    drawn = [documents_of(bootstrap_positions(STARTS, N_TOKENS, 0, number)) for number in range(600)]
    assert all(len(documents) == len(LENGTHS) for documents in drawn)
    assert any(len(set(documents)) < len(LENGTHS) for documents in drawn)  # with replacement
    counts = np.bincount(np.concatenate(drawn), minlength=len(LENGTHS))
    assert chisquare(counts).pvalue > 0.01
    again = bootstrap_positions(STARTS, N_TOKENS, 0, 599)
    assert documents_of(again) == drawn[599]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("seed", range(5))
def test_halves_are_disjoint_whole_and_cover_everything(seed: int):
    one, other = (documents_of(part) for part in halves(STARTS, N_TOKENS, seed))
    assert sorted(one + other) == list(range(len(LENGTHS)))
    assert one == sorted(one)
    assert other == sorted(other)
    assert len(one) == len(LENGTHS) // 2
    for mine, again in zip(halves(STARTS, N_TOKENS, seed), halves(STARTS, N_TOKENS, seed), strict=True):
        assert torch.equal(mine, again)


def test_halves_differ_by_seed_and_are_not_the_first_and_the_last():
    firsts = {tuple(documents_of(halves(STARTS, N_TOKENS, seed)[0])) for seed in range(20)}
    assert len(firsts) > 5


def test_the_draws_of_one_key_are_not_each_others():
    starts = np.arange(0, 2000, 2)
    shifts = [document_shift(starts, 0, number) // 2 for number in range(3)]
    drawn = [int(bootstrap_positions(starts, 2000, 0, number)[0]) for number in range(3)]
    assert shifts != drawn
    assert len(set(shifts)) == 3
