"""Describes features by the tokens that activate them most, and by the text around these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

from semconv.core.sparse import SparseActivations
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer


FIRST_TOKENS = 8192
"""Tokens of the first piece in `top_positions`; every piece doubles what has been seen."""
_MOST_ENTRIES = 2**24  # of a piece: 25 bytes each


def top_positions(acts: SparseActivations, k: int) -> Tensor:
    """Returns the k counted positions where each feature is strongest.

    Tokens are taken in pieces that double, up to about `_MOST_ENTRIES` of their entries, and of each only what beats a
    feature's k-th best so far is sorted.

    Returns:
        int64 [n_features, k], strongest first, ties to the earlier position, -1 where a feature has fewer.
    """
    best = _Entries(*(torch.empty(0, dtype=dtype) for dtype in (torch.int64, torch.float32, torch.int64)))
    needed = torch.full((acts.n_features,), -1.0)
    begin, end = 0, min(FIRST_TOKENS, acts.n_tokens)
    most = max(FIRST_TOKENS, int(_MOST_ENTRIES / max(acts.l0, 1e-9)))  # tokens of a piece
    while begin < acts.n_tokens:
        first, last = int(acts.indptr[begin]), int(acts.indptr[end])
        feature, value = acts.indices[first:last].long(), acts.values[first:last].float()
        token = torch.repeat_interleave(torch.arange(begin, end), acts.indptr[begin : end + 1].diff())
        better = value > needed[feature]  # an equal value comes later, and ties go to the earlier position
        best = _top(best.joined(_Entries(feature[better], value[better], token[better])), k, needed)
        begin, end = end, min(2 * end, end + most, acts.n_tokens)
    out = torch.full((acts.n_features, k), -1, dtype=torch.int64)
    out[best.feature, _rank_within(best.feature)] = best.token
    return out


@dataclass(frozen=True)
class _Entries:
    """Stored entries of some tokens: feature int64, value float32, token int64, all [n]."""

    feature: Tensor
    value: Tensor
    token: Tensor

    def joined(self, later: _Entries) -> _Entries:
        return _Entries(
            torch.cat([self.feature, later.feature]),
            torch.cat([self.value, later.value]),
            torch.cat([self.token, later.token]),
        )

    def take(self, rows: Tensor) -> _Entries:
        return _Entries(self.feature[rows], self.value[rows], self.token[rows])


def _rank_within(feature: Tensor) -> Tensor:
    """Returns the position of every entry among those of its feature; features must come grouped."""
    counts = torch.bincount(feature)
    return torch.arange(len(feature)) - (counts.cumsum(0) - counts)[feature]


def _top(entries: _Entries, k: int, needed: Tensor) -> _Entries:
    """Keeps the k strongest entries of every feature, strongest first; writes a full feature's k-th into `needed`."""
    # Two stable sorts: by value within the order of tokens, then by feature, which keeps that order within a feature.
    entries = entries.take(torch.argsort(entries.value, descending=True, stable=True))
    entries = entries.take(torch.argsort(entries.feature, stable=True))
    rank = _rank_within(entries.feature)
    last = rank == k - 1
    needed[entries.feature[last]] = entries.value[last]
    return entries.take(rank < k)


def counted_ids(blocks: TokenBlocks) -> Tensor:
    """Returns the token ids at counted positions, int32 [n_tokens]."""
    return blocks.ids[blocks.mask]


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Returns the text of every token id up to the highest; empty for ids in between that stand for no token.

    A token is read after another, so that decoders that strip the white space before a text leave that of the token.
    Without a decoder its text is how the vocabulary spells it.
    """
    known = set(tokenizer.get_vocab().values())
    anchors = [tokenizer.token_to_id(c) for c in "axo"] if tokenizer.decoder is not None else []
    anchor = next((i for i in anchors if i is not None), None)
    ids = [] if anchor is None else [anchor]
    before = tokenizer.decode(ids, skip_special_tokens=False)

    def text(i: int) -> str:
        after = tokenizer.decode([*ids, i], skip_special_tokens=False)
        return after[len(before) :] if after.startswith(before) else tokenizer.decode([i], skip_special_tokens=False)

    return [text(i) if i in known else "" for i in range(max(known, default=-1) + 1)]


def top_tokens(acts: SparseActivations, ids: Tensor, texts: list[str], k: int) -> list[list[str]]:
    """Returns the texts of the k top-activating tokens of every feature, strongest first, repeats included.

    Args:
        acts: activations over the counted positions.
        ids: token ids at those positions, int [n_tokens].
        texts: text of every token id.
        k: tokens per feature; a feature active on fewer positions gets fewer.

    Raises:
        InputError: `ids` and `acts` cover different positions.
    """
    if len(ids) != acts.n_tokens:
        raise InputError(f"ids must cover the {acts.n_tokens} positions of the activations, got {len(ids)}")
    return [[texts[int(ids[position])] for position in row if position >= 0] for row in top_positions(acts, k).tolist()]


@dataclass(frozen=True, eq=False)
class TopTokens:
    """The top tokens of every feature of one side as numbers, so that asking them of many pairs is array work.

    Attributes:
        numbers: int32 [F, k], the place of each token's text in `texts`; -1 where a feature has fewer tokens.
        stopped: bool [F], True where one of them is a stop token.
        texts: all texts of the sides made together, spaces stripped, each once.
        stop_tokens: what `stopped` was made with.
    """

    numbers: Int[ndarray, "F k"]
    stopped: Bool[ndarray, " F"]
    texts: tuple[str, ...]
    stop_tokens: tuple[str, ...]

    @classmethod
    def of_sides(cls, sides: Sequence[Sequence[Sequence[str]]], stop_tokens: Sequence[str]) -> list[Self]:
        """Numbers the tokens of sides that are to be matched with each other.

        Args:
            sides: per side [F] lists of top-activating tokens.
            stop_tokens: texts, compared with the tokens once their spaces are stripped.
        """
        number: dict[str, int] = {}
        tables = [_numbered(rows, number) for rows in sides]
        texts, stop = tuple(number), tuple(stop_tokens)
        # One flag per text and one more, never set, for the empty places, whose number -1 is the last.
        is_stop = np.array([*(text in set(stop) for text in texts), False])
        return [cls(table, np.asarray(is_stop[table].any(axis=1)), texts, stop) for table in tables]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def sha256(self) -> str:
        """SHA-256 of all of it: tables with this hash pass the same filters."""
        texts = json.dumps([self.texts, self.stop_tokens])
        return sha256_of(texts, repr(self.numbers.shape), self.numbers, self.stopped)

    def without_stops(self) -> TopTokens:
        """Returns the same tokens, none of them a stop token."""
        return TopTokens(self.numbers, np.zeros_like(self.stopped), self.texts, ())

    def take(self, features: Int[ndarray, " n"]) -> TopTokens:
        """Returns the tokens of some features, in the order given."""
        return TopTokens(self.numbers[features], self.stopped[features], self.texts, self.stop_tokens)


def _numbered(rows: Sequence[Sequence[str]], number: dict[str, int]) -> Int[ndarray, "F k"]:
    """Returns the numbers of the tokens' texts, new texts getting the next number."""
    table = np.full((len(rows), max((len(row) for row in rows), default=0)), -1, dtype=np.int32)
    for feature, row in enumerate(rows):
        table[feature, : len(row)] = [number.setdefault(token.strip(" "), len(number)) for token in row]
    return table


@dataclass(frozen=True)
class Context:
    """The text around one position.

    Attributes:
        document: which document it is from.
        position: the counted position of the token in question.
        pieces: texts of the tokens of the window, in order.
        index: place of the token in `pieces`.
    """

    document: int
    position: int
    pieces: tuple[str, ...]
    index: int

    @property
    def before(self) -> str:
        return "".join(self.pieces[: self.index])

    @property
    def token(self) -> str:
        return self.pieces[self.index]

    @property
    def after(self) -> str:
        return "".join(self.pieces[self.index + 1 :])


def contexts(
    blocks: TokenBlocks, positions: Tensor, texts: list[str], before: int = 8, after: int = 4
) -> list[list[Context]]:
    """Returns the text around positions, such as those of `top_positions`; no model is run again.

    A window ends early where its run of counted tokens does: at a row, a document, or a position that does not count.

    Args:
        blocks: the tokens that the activations are over.
        positions: int64 [n_features, k] counted positions, -1 for none.
        texts: text of every token id.
        before: tokens shown before the position, at most.
        after: tokens shown after it, at most.

    Returns:
        Per feature its contexts, in the order of the positions.

    Raises:
        InputError: a position out of range, or a negative width.
    """
    n = blocks.n_tokens
    if before < 0 or after < 0:
        raise InputError(f"before and after must be at least 0, got {before} and {after}")
    if positions.numel() and not -1 <= int(positions.min()) <= int(positions.max()) < n:
        raise InputError(
            f"positions must be in [-1, {n}), got values between {int(positions.min())} and {int(positions.max())}"
        )
    runs, ids = blocks.runs(), counted_ids(blocks)
    starts = torch.searchsorted(runs, runs)  # first position of the run of each position
    ends = torch.searchsorted(runs, runs, right=True)
    document = blocks.document[blocks.mask]

    def context(position: int) -> Context:
        first = max(int(starts[position]), position - before)
        last = min(int(ends[position]), position + after + 1)
        pieces = tuple(texts[i] for i in ids[first:last].tolist())
        return Context(int(document[position]), position, pieces, position - first)

    return [[context(position) for position in row if position >= 0] for row in positions.tolist()]
