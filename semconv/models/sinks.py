"""Attention sinks: positions of a text where a stream is many times longer than usual, and the text without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semconv.system.errors import InputError
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

REPORTED = 10.0
"""Multiple of the median norm at which sinks are counted where a suite keeps them. Massive activations are some hundred
times the median (Sun et al. 2024, arXiv 2402.17762); in the mini models no stream reaches
twice its median, so that any multiple in between separates them."""


@dataclass(frozen=True, eq=False)
class Sinks:
    """The sinks of one stream.

    Attributes:
        at: bool [n_tokens], True where the norm is above the multiple of its median.
        norm_share: their share of the squared norm of the whole stream.
    """

    at: Tensor
    norm_share: float

    @property
    def n(self) -> int:
        """How many there are."""
        return int(self.at.sum())


def find_sinks(norms: Tensor, multiple: float) -> Sinks:
    """Returns the sinks of a stream.

    A stream that is zero at half of the positions has no usual length, and no sinks.

    Args:
        norms: float32 [n_tokens] norm of the stream at every counted position.
        multiple: of the median norm, above 1.
    """
    median = norms.median()
    at = (norms > multiple * median) & (median > 0)
    squares = norms.double().square()
    total = float(squares.sum())
    return Sinks(at, float(squares[at].sum()) / total if total else 0.0)


def dropped_positions(sinks: Sequence[Sequence[Sinks]], shared: bool) -> tuple[Tensor, Tensor]:
    """Returns the positions of A and of B, bool [n_tokens], that are a sink of any of some streams.

    Args:
        sinks: of the streams of A, and of those of B.
        shared: whether both read the same positions; then a sink of one model is dropped from both.
    """
    a, b = (torch.stack([one.at for one in of_model]).any(dim=0) for of_model in sinks)
    return (a | b, a | b) if shared else (a, b)


def without(blocks: TokenBlocks, dropped: Tensor) -> TokenBlocks:
    """Returns the same rows where some positions, bool [n_tokens] of the counted ones, no longer count.

    Raises:
        InputError: no position is left.
    """
    mask = blocks.mask.clone()
    mask[blocks.mask] = ~dropped
    if not bool(mask.any()):
        raise InputError(f"no position is left of {blocks.n_tokens} without attention sinks; set match.sink_norm = 0")
    place = None if blocks.place is None else torch.where(mask, blocks.place, -1)
    return replace(blocks, mask=mask, document=torch.where(mask, blocks.document, -1), place=place)


def spans_without(spans: tuple[Spans, Spans], dropped: tuple[Tensor, Tensor]) -> tuple[tuple[Spans, Spans], int]:
    """Returns the spans of A and B without those that hold a dropped position on either side, and how many those were.

    Args:
        spans: the same stretches of text, as positions of A and of B.
        dropped: bool [n_tokens] of A's counted positions and of B's.

    Raises:
        InputError: no span is left.
    """
    holds = torch.zeros(len(spans[0]), dtype=torch.bool)
    for of_side, drop in zip(spans, dropped, strict=True):
        before = torch.nn.functional.pad(drop.cumsum(0), (1, 0))
        holds |= before[of_side.ends] > before[of_side.starts]
    if bool(holds.all()):
        raise InputError(f"every one of {len(holds)} shared spans holds an attention sink; set match.sink_norm = 0")
    one, other = (Spans(side.starts[~holds], side.ends[~holds], side.document[~holds], side.n_tokens) for side in spans)
    return (one, other), int(holds.sum())
