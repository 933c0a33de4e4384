"""The sample at which streams are compared: whole rows, the same positions for both models."""

from __future__ import annotations

import numpy as np
import torch

from semconv.statistics.sampled_text import SampledText, sample_text
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks
from tests._helpers.worlds import CONTEXT, make_blocks

BLOCKS = make_blocks([20, 33, 7, 41, 15, 28, 50], seed=3)


def places(blocks: TokenBlocks, sample: SampledText, as_b: bool = False) -> list[tuple[int, int]]:
    """Row and column of every sampled position."""
    read = sample.b if as_b else sample.a
    return [(int(read.rows[at // CONTEXT]), int(at % CONTEXT)) for at in read.at]


def test_whole_rows_are_drawn_until_there_are_enough_positions():
    for seed in range(5):
        sample = sample_text((BLOCKS, BLOCKS), None, 40, seed)
        rows = sample.a.rows
        per_row = BLOCKS.mask.sum(dim=1).numpy()
        assert 40 <= per_row[rows].sum() < 40 + CONTEXT
        assert len(sample) == len(sample.a.tokens) == per_row[rows].sum()
        every = [(r, c) for r in rows.tolist() for c in range(CONTEXT) if BLOCKS.mask[r, c]]
        assert places(BLOCKS, sample) == places(BLOCKS, sample, as_b=True) == every
        assert sample.a.tokens.tolist() == [int(BLOCKS.ids[place]) for place in every]
        assert sample.document.tolist() == [int(BLOCKS.document[place]) for place in every]
    drawn = [tuple(sample_text((BLOCKS, BLOCKS), None, 40, seed).a.rows) for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_a_text_that_is_shorter_is_taken_whole():
    sample = sample_text((BLOCKS, BLOCKS), None, 10_000, 0)
    assert len(sample) == BLOCKS.n_tokens
    text = sample.a.of(BLOCKS)
    assert torch.equal(text.ids, BLOCKS.ids[sample.a.rows])
    assert text.n_tokens == BLOCKS.n_tokens


def test_positions_that_do_not_count_and_rows_of_none_are_never_drawn():
    mask = BLOCKS.mask.clone()
    mask[2], mask[0, 5] = False, False
    blocks = TokenBlocks(BLOCKS.ids, mask, torch.where(mask, BLOCKS.document, -1))
    sample = sample_text((blocks, blocks), None, 10_000, 0)
    assert 2 not in sample.a.rows
    assert (0, 5) not in places(blocks, sample)
    assert (sample.document >= 0).all()


def test_aligned_texts_give_the_last_position_of_every_shared_span():
    other = make_blocks([2 * n for n in (20, 33, 7, 41, 15, 28, 50)], seed=4)  # B cuts every token in two
    n = BLOCKS.n_tokens
    starts, document = torch.arange(0, n, 2), BLOCKS.document[BLOCKS.mask]
    ends = torch.minimum(starts + 2, torch.tensor(n))
    same = document[starts] == document[ends - 1]
    starts, ends = starts[same], ends[same]
    spans = Spans(starts, ends, document[starts], n), Spans(2 * starts, 2 * ends, document[starts], 2 * n)
    sample = sample_text((BLOCKS, other), spans, 30, 0)
    at_a, at_b = BLOCKS.mask.nonzero().tolist(), other.mask.nonzero().tolist()
    rows = set(sample.a.rows.tolist())
    wanted = [(at_a[end - 1], at_b[2 * end - 1]) for end in ends.tolist() if at_a[end - 1][0] in rows]
    found = zip(places(BLOCKS, sample), places(other, sample, as_b=True), strict=True)
    assert [(list(a), list(b)) for a, b in found] == wanted
    assert len(sample) >= 30
    assert sample.b.tokens.tolist() == [int(other.ids[row, column]) for _, (row, column) in wanted]
    assert np.array_equal(np.unique([row for _, (row, _) in wanted]), sample.b.rows)
    assert sample.a.sha256 != sample.b.sha256
