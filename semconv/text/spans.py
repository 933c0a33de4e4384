"""Spans of tokens (windows, sentences, a user's own) and activations pooled over them, sparse all the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

_CLOSERS = "\"'`)]}>”’»*_"
"""Quotes, brackets and marks of emphasis that may stand between the end of a sentence and the white space after it."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches of counted positions, in order, without overlap; gaps between them are allowed.

    Attributes:
        starts: int64 [n_spans], first counted position.
        ends: int64 [n_spans], one past the last.
        document: int32 [n_spans], which document a span is from.
        n_tokens: counted positions of the text that the spans are over.

    Raises:
        InputError: any of the above does not hold, an empty span, or no span at all.
    """

    starts: Tensor
    ends: Tensor
    document: Tensor
    n_tokens: int

    def __post_init__(self) -> None:
        for name, dtype in (("starts", torch.int64), ("ends", torch.int64), ("document", torch.int32)):
            value: Tensor = getattr(self, name)
            if value.dtype != dtype or value.dim() != 1 or value.shape != self.starts.shape:
                raise InputError(f"Spans.{name} must be {dtype} [n_spans], got {value.dtype} {list(value.shape)}")
        if not len(self.starts):
            raise InputError("at least one span is needed, got none")
        _refuse(self.starts >= self.ends, self, "a span must hold at least one token")
        _refuse((self.starts < 0) | (self.ends > self.n_tokens), self, f"a span must lie in [0, {self.n_tokens})")
        overlapping = torch.cat([torch.tensor([False]), self.starts[1:] < self.ends[:-1]])
        _refuse(overlapping, self, "spans must be in order and not overlap")

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Tensor:
        """Tokens per span, int64 [n_spans]."""
        return self.ends - self.starts


def _refuse(wrong: Tensor, spans: Spans, rule: str) -> None:
    """Raises InputError with the rule and the first span that breaks it."""
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        raise InputError(f"{rule}, got span {at} [{int(spans.starts[at])}, {int(spans.ends[at])})")


def fixed_windows(blocks: TokenBlocks, width: int) -> Spans:
    """Cuts every run of tokens (`TokenBlocks.runs`) into windows of one width; the last of a run may be shorter.

    Raises:
        InputError: width < 1, or no counted position.
    """
    if width < 1:
        raise InputError(f"width must be at least 1, got {width}")
    runs = blocks.runs()
    place = torch.arange(len(runs)) - torch.searchsorted(runs, runs)
    return _between(blocks, place % width == 0)


def sentences(blocks: TokenBlocks, texts: list[str]) -> Spans:
    """Cuts every run of tokens (`TokenBlocks.runs`) into sentences by their texts; every counted position is in one.

    A new sentence opens with the first token that is not all white space after
    - a blank line, that is two newlines with nothing but white space between them, or
    - a token whose text, closing quotes and brackets taken off, ends in `.`, `!`, `?` or `…`, if white space follows
      it, so that `3.14` and `np.array` stay whole; tokens of closing marks alone may stand between.

    There is no list of abbreviations: what follows `e.g. ` opens a sentence. A token of white space belongs to the
    sentence before it, white space inside a token goes where the token goes.

    Args:
        blocks: the tokens.
        texts: text of every token id.

    Raises:
        InputError: no counted position.
    """
    ids, runs = blocks.ids[blocks.mask].long(), blocks.runs()
    blank = _flag([not text.strip() for text in texts])[ids]
    newlines = torch.tensor([text.count("\n") for text in texts])[ids]
    solid = (~blank).nonzero()[:, 0]
    left, right, token = solid[:-1], solid[1:], ids[solid]  # neighbours with nothing but white space between them
    together = runs[left] == runs[right]
    lead = [text[: len(text) - len(text.lstrip())] for text in texts]
    trail = [text[len(text.rstrip()) :] for text in texts]
    white = (right - left > 1) | _flag(trail)[token[:-1]] | _flag(lead)[token[1:]]
    in_blank_tokens = torch.where(blank, newlines, 0).cumsum(0)
    lines = torch.tensor([space.count("\n") for space in trail])[token[:-1]]
    lines += torch.tensor([space.count("\n") for space in lead])[token[1:]]
    lines += in_blank_tokens[right] - in_blank_tokens[left]
    stop = _stops(token, texts, together & ~white)
    opens = torch.cat([torch.ones(len(runs[:1]), dtype=torch.bool), runs.diff() != 0])
    opens[right[together & ((stop[:-1] & white) | (lines >= 2))]] = True
    return _between(blocks, opens)


def _flag(of_text: Sequence[object]) -> Tensor:
    """Returns what is true or not empty, as bool [n]."""
    return torch.tensor([bool(value) for value in of_text], dtype=torch.bool)


def _stops(token: Tensor, texts: list[str], adjacent: Tensor) -> Tensor:
    """Marks the tokens after which a sentence may end; closing marks inherit it from the token they stand at.

    Args:
        token: int64 [n] ids of tokens that are not all white space.
        texts: text of every token id.
        adjacent: bool [n - 1], True where no white space lies between a token and the next.
    """
    bare = [text.strip().rstrip(_CLOSERS) for text in texts]
    stop = _flag([text.endswith((".", "!", "?", "…")) for text in bare])[token]
    inherits = _flag([not text for text in bare])[token[1:]] & adjacent
    while True:
        later = stop[1:] | (inherits & stop[:-1])
        if torch.equal(later, stop[1:]):
            return stop
        stop = torch.cat([stop[:1], later])


def user_spans(blocks: TokenBlocks, bounds: Tensor) -> Spans:
    """Makes spans of a user's own bounds.

    Args:
        blocks: the tokens.
        bounds: int64 [n_spans, 2], half-open ranges of counted positions, in order, without overlap.

    Raises:
        InputError: any of that does not hold, or a span that crosses a row, a document or a position not counted.
    """
    if bounds.dtype != torch.int64 or bounds.dim() != 2 or bounds.shape[1] != 2:
        raise InputError(f"bounds must be int64 [n_spans, 2], got {bounds.dtype} {list(bounds.shape)}")
    runs, starts, ends = blocks.runs(), bounds[:, 0].contiguous(), bounds[:, 1].contiguous()
    unnamed = torch.full((len(bounds),), -1, dtype=torch.int32)
    spans = Spans(starts, ends, unnamed, len(runs))  # so that what is looked up below is in range
    _refuse(runs[starts] != runs[ends - 1], spans, "a span must stay within one row and one document, without a gap")
    return Spans(starts, ends, blocks.document[blocks.mask][starts], len(runs))


def _between(blocks: TokenBlocks, opens: Tensor) -> Spans:
    """Returns the spans that begin at the marked positions and together cover every counted one."""
    starts = opens.nonzero()[:, 0]
    ends = torch.cat([starts[1:], torch.full_like(starts[:1], len(opens))])
    return Spans(starts, ends, blocks.document[blocks.mask][starts], len(opens))


def pool(acts: SparseActivations, spans: Spans, how: Literal["max", "mean", "sum"]) -> SparseActivations:
    """Pools activations over spans, so that what was a token before is a span now.

    Entries are sorted by span and feature and reduced group by group: no dense matrix, memory in proportion to the
    stored entries and the tokens.

    Args:
        acts: activations over the counted positions.
        spans: what to pool over; tokens outside every span are left out.
        how: `max`, `sum`, or `mean` over all tokens of the span, those where the feature is silent counting as zero.
            Sums are taken in float64.

    Returns:
        Activations with n_tokens = the number of spans and float32 values; what pools to zero is not stored.

    Raises:
        InputError: spans over another number of tokens, unknown `how`, or a sum that float32 cannot hold.
    """
    if spans.n_tokens != acts.n_tokens:
        raise InputError(f"spans over {spans.n_tokens} tokens cannot pool activations over {acts.n_tokens}")
    if how not in ("max", "mean", "sum"):
        raise InputError(f"how must be max, mean or sum, got {how!r}")
    token = acts.token_of_entry()
    span = torch.searchsorted(spans.starts, token, right=True) - 1  # -1 before the first span
    inside = (span >= 0) & (token < spans.ends[span])
    key, order = torch.sort((span * acts.n_features + acts.indices)[inside], stable=True)
    groups, sizes = torch.unique_consecutive(key, return_counts=True)
    values = acts.values[inside][order].numpy()
    pooled = _reduced(values, (sizes.cumsum(0) - sizes).numpy(), how)
    if how == "mean":
        pooled = pooled / spans.lengths[groups // acts.n_features].double()
    if len(pooled) and float(pooled.max()) > torch.finfo(torch.float32).max:
        raise InputError(f"a pooled value must fit float32, got {float(pooled.max()):.4g}")
    value = pooled.float()
    groups, value = groups[value > 0], value[value > 0]
    counts = torch.bincount(groups // acts.n_features, minlength=len(spans))
    indptr = torch.cat([counts[:1] * 0, counts.cumsum(0)])
    return SparseActivations(indptr, (groups % acts.n_features).int(), value, acts.n_features)


def _reduced(values: np.ndarray, firsts: np.ndarray, how: str) -> Tensor:
    """Returns the sums or maxima, float64, of the stretches of values that begin at `firsts`."""
    if not len(firsts):
        return torch.empty(0, dtype=torch.float64)
    reduce = np.maximum if how == "max" else np.add
    return torch.from_numpy(reduce.reduceat(values.astype(np.float64), firsts))
