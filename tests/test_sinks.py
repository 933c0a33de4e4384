"""Attention sinks: found by the norm of the stream, and out of everything that is counted over positions."""

from __future__ import annotations

import pytest
import torch

from semconv import InputError
from semconv.sinks import find_sinks, spans_without, union, without
from semconv.spans import Spans, fixed_windows
from tests.worlds import make_blocks


@pytest.mark.parametrize(
    ("norms", "at", "share"),
    [
        ([1, 1, 1, 1, 11], [4], 121 / 125),
        ([1, 1, 1, 1, 10], [], 0.0),  # above, not at, ten medians
        ([2, 1, 3, 2, 2], [], 0.0),
        ([1, 30, 1, 20, 1, 1, 1], [1, 3], 1300 / 1305),
        ([0, 0, 0, 5, 9], [], 0.0),  # silent at most positions: nothing is usual here
        ([0, 0, 0, 0], [], 0.0),
    ],
)
def test_a_sink_is_above_the_multiple_of_the_median(norms: list[float], at: list[int], share: float):
    found = find_sinks(torch.tensor(norms, dtype=torch.float32), 10.0)
    assert found.at.nonzero()[:, 0].tolist() == at
    assert found.n == len(at)
    assert found.norm_share == pytest.approx(share, rel=1e-12)


def test_norms_near_the_top_of_float32_do_not_overflow_in_the_share():
    found = find_sinks(torch.tensor([1.0, 1.0, 3e30]), 10.0)
    assert found.norm_share == 1.0


def test_sinks_of_any_stream_are_dropped_from_the_text():
    blocks = make_blocks([20, 9, 14])
    some = [find_sinks(torch.ones(43).index_fill(0, torch.tensor(at), 99.0), 10.0) for at in ([0, 7], [7, 42])]
    dropped = union(some)
    kept = without(blocks, dropped)
    assert kept.n_tokens == 40
    assert torch.equal(kept.ids, blocks.ids)
    assert kept.document[kept.mask].tolist() == [
        d for i, d in enumerate([0] * 20 + [1] * 9 + [2] * 14) if i not in (0, 7, 42)
    ]
    assert (kept.document[~kept.mask] == -1).all()
    assert blocks.n_tokens == 43
    assert (
        len(torch.unique(kept.runs())) == len(torch.unique(blocks.runs())) + 1
    )  # 7 lies within a run, 0 and 42 at ends
    with pytest.raises(InputError, match="no position is left of 43 without attention sinks"):
        without(blocks, torch.ones(43, dtype=torch.bool))


def test_spans_that_hold_a_sink_on_either_side_are_left_out():
    a = fixed_windows(make_blocks([12]), 3)
    b = Spans(torch.tensor([0, 1, 2, 7]), torch.tensor([1, 2, 7, 8]), a.document, 8)
    of_a, of_b = torch.zeros(12, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)
    of_a[2], of_b[6] = True, True
    (one, other), n = spans_without((a, b), (of_a, of_b))
    assert n == 2
    assert one.starts.tolist() == [3, 9]
    assert other.starts.tolist() == [1, 7]
    assert (one.n_tokens, other.n_tokens) == (12, 8)
    with pytest.raises(InputError, match="every one of 4 shared spans holds an attention sink"):
        spans_without((a, b), (torch.ones(12, dtype=torch.bool), of_b))
