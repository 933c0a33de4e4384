"""Exchanges of positions of the same token: between documents, of all that can move, and nothing else."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import semconv.statistics.token_swaps
from semconv.statistics.token_swaps import TokenSwaps
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

TOKENS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=2, max_size=60)


def movable(token: np.ndarray, document: np.ndarray) -> int:
    """By the definition: positions whose token another document holds too."""
    places = [*zip(token.tolist(), document.tolist(), strict=True)]
    return sum(any(t == u and d != e for u, e in places) for t, d in places)


@given(TOKENS, st.integers(0, 3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_draw_exchanges_pairs_of_the_same_token_of_two_documents(places: list[tuple[int, int]], seed: int):
    token, document = (np.array(part) for part in zip(*places, strict=True))
    if not movable(token, document):
        with pytest.raises(InputError, match="needs a token that stands in two documents, got none"):
            TokenSwaps(token, document)
        return
    swaps = TokenSwaps(token, document)
    assert swaps.n_movable == movable(token, document)
    drawn = swaps.draw(seed, 0)
    assert np.array_equal(drawn[drawn], np.arange(len(token)))
    assert np.array_equal(token[drawn], token)
    moved = drawn != np.arange(len(token))
    assert (document[drawn] != document)[moved].all()
    for name in set(token):
        of_token = token == name
        largest = max(Counter(document[of_token]).values())
        n = int(of_token.sum())
        if largest <= n // 2:
            assert int(moved[of_token].sum()) == n - n % 2
        else:  # who is in the largest document and has nobody outside stays
            assert int(moved[of_token].sum()) >= 2 * (n - largest) - 2


def test_draws_are_those_of_seed_and_number_and_reach_every_partner():
    token, document = np.zeros(6, dtype=int), np.arange(6)
    swaps = TokenSwaps(token, document)
    assert np.array_equal(swaps.draw(1, 2), swaps.draw(1, 2))
    drawn = np.stack([swaps.draw(0, number) for number in range(3000)])
    assert (drawn != np.arange(6)).all()
    for position in range(6):  # every other one is as likely: 600 +- 22
        counts = np.bincount(drawn[:, position], minlength=6)
        assert counts[position] == 0
        assert np.abs(np.delete(counts, position) - 600).max() < 110
    of_seeds = [swaps.draw(seed, 0).tobytes() for seed in range(50)]
    assert len(set(of_seeds)) > 10  # of the 15 that there are
    assert any(one != other for one, other in pairwise(of_seeds))


def test_positions_that_count_are_exchanged_alone():
    ids = torch.tensor([[5, 7, 7, 9], [7, 7, 9, 9]], dtype=torch.int32)
    mask = torch.tensor([[False, True, True, True], [True, True, False, True]])
    document = torch.tensor([[-1, 0, 0, 0], [1, 1, -1, 2]], dtype=torch.int32)
    swaps = TokenSwaps.of(TokenBlocks(ids, mask, document))
    assert swaps.token.tolist() == [7, 7, 9, 7, 7, 9]
    assert swaps.n_movable == 6
    assert sorted(swaps.draw(0, 0).tolist()) == list(range(6))


def test_bigrams_keep_the_token_before():
    ids = torch.tensor([[5, 7, 7, 9], [7, 7, 9, 9], [7, 7, 5, 7]], dtype=torch.int32)
    mask = torch.tensor([[False, True, True, True], [True, True, True, True], [True, True, False, True]])
    document = torch.where(mask, torch.tensor([[0], [1], [2]]), -1).int()
    swaps = TokenSwaps.of_bigrams(TokenBlocks(ids, mask, document))
    # 57 77 79 | ^7 77 79 99 | ^7 77 57: what comes before may be a position that does not count
    first, second, third = swaps.token[:3], swaps.token[3:7], swaps.token[7:]
    assert first[1] == second[1] == third[1]
    assert first[0] == third[2]
    assert first[2] == second[2]
    assert second[0] == third[0]
    assert len(set(swaps.token.tolist())) == 5
    assert swaps.n_movable == 9  # all but 99
    moved = swaps.draw(0, 0)
    assert np.array_equal(swaps.token[moved], swaps.token)
    with pytest.raises(InputError, match="n_same_bigram needs a bigram that stands in two documents, got none"):
        TokenSwaps.of_bigrams(TokenBlocks(ids[:1], mask[:1], document[:1]))


def test_draws_are_drawn_once_as_long_as_they_fit(monkeypatch: pytest.MonkeyPatch):
    swaps = TokenSwaps(np.zeros(6, dtype=int), np.arange(6))
    drawn: list[tuple[int, int]] = []

    def draw(seed: int, number: int) -> np.ndarray:
        drawn.append((seed, number))
        return TokenSwaps.draw(swaps, seed, number)

    monkeypatch.setattr(swaps, "draw", draw)
    monkeypatch.setattr(semconv.statistics.token_swaps, "_KEPT_BYTES", 4 * 6 * 4)
    expected = np.stack([TokenSwaps.draw(swaps, 3, number) for number in range(5)])
    for _ in range(2):
        assert np.array_equal(swaps.draws(3, range(5)), expected)
    assert drawn == [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 4)]  # four fit
    assert not np.array_equal(swaps.draws(4, range(5)), expected)
