"""Contexts: the right text around a position, and never past a row, a document or a gap."""

from __future__ import annotations

import pytest
import torch

from semconv import InputError
from semconv.text.top_tokens import Context, TopTokens, contexts, top_positions
from tests._helpers.blocks import blocks_of
from tests.conftest import random_activations

BLOCKS = blocks_of([[-1, 0, 0, 0, -1, 1, 1], [-1, 1, 1, 2, 2, -1, 2], [-1, 3, 3, 3, -1, -1, -1]])
TEXTS = [f" {i}" for i in range(21)]


def test_runs_are_stretches_without_a_gap_in_one_row_and_document():
    assert BLOCKS.runs().tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 5]


def test_a_row_that_ends_where_the_next_begins_is_two_runs():
    assert blocks_of([[0, 0], [0, 0]]).runs().tolist() == [0, 0, 1, 1]


def test_no_counted_position_has_no_run():
    assert blocks_of([[-1, -1]]).runs().tolist() == []


def test_contexts_by_hand():
    found = contexts(BLOCKS, torch.tensor([[1, 4], [5, -1], [9, 12], [-1, -1]]), TEXTS, before=1, after=2)
    assert found == [
        [Context(0, 1, (" 1", " 2", " 3"), 1), Context(1, 4, (" 5", " 6"), 1)],
        [Context(1, 5, (" 8", " 9"), 0)],
        [Context(2, 9, (" 13",), 0), Context(3, 12, (" 16", " 17"), 1)],
        [],
    ]
    first = found[0][0]
    assert (first.before, first.token, first.after) == (" 1", " 2", " 3")


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 1), (8, 4)])
def test_contexts_equal_a_walk_along_the_row(before: int, after: int):
    g = torch.Generator().manual_seed(0)
    documents = torch.randint(-1, 3, (6, 10), generator=g).repeat_interleave(3, dim=1)
    blocks = blocks_of(documents.tolist())
    texts = [f"<{i}>" for i in range(180)]
    places = [(row, column) for row in range(6) for column in range(30) if blocks.mask[row, column]]
    acts = random_activations(0, len(places), 5, 0.2)
    positions = top_positions(acts, 7)
    for row_of_positions, row_of_contexts in zip(
        positions.tolist(), contexts(blocks, positions, texts, before, after), strict=True
    ):
        for position, found in zip(row_of_positions, row_of_contexts, strict=True):
            row, column = places[position]

            def same(c: int) -> bool:
                return 0 <= c < 30 and blocks.document[row, c] == blocks.document[row, column]  # noqa: B023

            first = last = column
            while column - first < before and same(first - 1):
                first -= 1
            while last - column < after and same(last + 1):
                last += 1
            assert found.pieces == tuple(f"<{row * 30 + c}>" for c in range(first, last + 1))
            assert (found.index, found.position) == (column - first, position)
            assert found.document == blocks.document[row, column]


def test_contexts_refuse_bad_input():
    for positions, width, message in (
        (torch.tensor([[13]]), 1, r"in \[-1, 13\), got values between 13 and 13"),
        (torch.tensor([[-2, 0]]), 1, "between -2 and 0"),
        (torch.tensor([[0]]), -1, "at least 0, got -1 and 4"),
    ):
        with pytest.raises(InputError, match=message):
            contexts(BLOCKS, positions, TEXTS, before=width)


def test_token_tables_number_texts_once_over_all_sides():
    a, b = TopTokens.of_sides([[[" x", "y"], []], [["x "], ["."]]], ("y", "."))
    assert a.texts == b.texts == ("x", "y", ".")
    assert a.numbers.tolist() == [[0, 1], [-1, -1]]
    assert b.numbers.tolist() == [[0], [2]]
    assert a.stopped.tolist() == [True, False]
    assert b.stopped.tolist() == [False, True]
    assert len(a) == 2
    assert b.take(b.numbers[:1, 0]).stopped.tolist() == [False]
