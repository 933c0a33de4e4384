"""Draws whole rows of a text until they hold enough positions: a sample small enough to keep the streams at it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from semconv.statistics.permutation import generator
from semconv.system.digests import sha256_of
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

_ROWS = 6  # stream of the generator, beside those of `resampling`, `token_swaps` and `depth`


@dataclass(frozen=True, eq=False)
class ReadRows:
    """What one model reads of a sample.

    Attributes:
        rows: int64 [r], rows of the text, ascending.
        at: int64 [n], where the sampled positions are in those rows, laid out one after the other.
        tokens: int64 [n], which token stands at each.
    """

    rows: Int[ndarray, " r"]
    at: Int[ndarray, " n"]
    tokens: Int[ndarray, " n"]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over rows and positions."""
        return sha256_of(f"{len(self.rows)} rows ", self.rows, self.at)

    def of(self, blocks: TokenBlocks) -> TokenBlocks:
        """Returns those rows of a text."""
        rows = torch.from_numpy(self.rows)
        parts = {name: getattr(blocks, name)[rows] for name in ("ids", "mask", "document")}
        return replace(blocks, **parts, place=None if blocks.place is None else blocks.place[rows])


@dataclass(frozen=True, eq=False)
class SampledText:
    """Positions of a text that two models read, drawn by whole rows; position i of one is position i of the other.

    Attributes:
        a: what A reads.
        b: what B reads.
        document: int64 [n], which document each position is from.
    """

    a: ReadRows
    b: ReadRows
    document: Int[ndarray, " n"]

    def __len__(self) -> int:
        return len(self.document)


def sample_text(
    blocks: tuple[TokenBlocks, TokenBlocks], spans: tuple[Spans, Spans] | None, positions: int, seed: int
) -> SampledText:
    """Draws whole rows of A's text, without order, until they hold so many positions that count; all of them if fewer.

    Where two tokenizers are aligned, a position is the last of a span that both models read, and B reads the rows that
    hold its own last positions of the same spans.

    Args:
        blocks: the text as A and as B reads it, and which positions of it count.
        spans: that both share, over the counted positions of each; None where both read the same tokens.
        positions: wanted, at least 1.
        seed: of the draw.
    """
    a, b = (
        _places(of_side, None if spans is None else spans[i].ends - 1)
        for i, of_side in enumerate(blocks if spans is not None else (blocks[0], blocks[0]))
    )
    per_row = np.bincount(a[:, 0], minlength=len(blocks[0].ids))
    order = generator(seed, 0, _ROWS).permutation(np.flatnonzero(per_row))
    drawn = order[: int(np.searchsorted(np.cumsum(per_row[order]), positions)) + 1]
    kept = np.isin(a[:, 0], drawn)
    a, b = a[kept], b[kept]
    document = blocks[0].document.numpy()[a[:, 0], a[:, 1]].astype(np.int64)
    return SampledText(_read(blocks[0], a), _read(blocks[1], b), document)


def _places(blocks: TokenBlocks, counted: Tensor | None) -> Int[ndarray, "n 2"]:
    """Returns row and column of some counted positions, or of all."""
    places = blocks.mask.nonzero()
    return (places if counted is None else places[counted]).numpy()


def _read(blocks: TokenBlocks, places: Int[ndarray, "n 2"]) -> ReadRows:
    rows, number = np.unique(places[:, 0], return_inverse=True)
    tokens = blocks.ids.numpy()[places[:, 0], places[:, 1]].astype(np.int64)
    return ReadRows(rows, number.reshape(-1) * blocks.ids.shape[1] + places[:, 1], tokens)
