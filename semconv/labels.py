"""Describes features by the tokens that activate them most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semconv.sparse import SparseActivations
from semconv.types import InputError, TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_FIRST_TOKENS = 8192
"""Tokens of the first piece in `top_positions`; every piece doubles what has been seen."""


def top_positions(acts: SparseActivations, k: int) -> Tensor:
    """Returns the k counted positions where each feature is strongest.

    Tokens are taken in pieces that double, and of each only what beats a feature's k-th best so far is sorted.

    Returns:
        int64 [n_features, k], strongest first, ties to the earlier position, -1 where a feature has fewer.
    """
    best = _Entries(*(torch.empty(0, dtype=dtype) for dtype in (torch.int64, torch.float32, torch.int64)))
    needed = torch.full((acts.n_features,), -1.0)
    begin, end = 0, min(_FIRST_TOKENS, acts.n_tokens)
    while begin < acts.n_tokens:
        first, last = int(acts.indptr[begin]), int(acts.indptr[end])
        feature, value = acts.indices[first:last].long(), acts.values[first:last].float()
        token = torch.repeat_interleave(torch.arange(begin, end), acts.indptr[begin : end + 1].diff())
        better = value > needed[feature]  # an equal value comes later, and ties go to the earlier position
        best = _top(best.joined(_Entries(feature[better], value[better], token[better])), k, needed)
        begin, end = end, min(2 * end, acts.n_tokens)
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
    """Returns the text of every token id."""
    return [tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size())]


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
