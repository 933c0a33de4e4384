"""Describes features by the tokens that activate them most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semconv.sparse import SparseActivations
from semconv.types import InputError, TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def top_positions(acts: SparseActivations, k: int) -> Tensor:
    """Returns the k counted positions where each feature is strongest.

    Returns:
        int64 [n_features, k], strongest first, ties to the earlier position, -1 where a feature has fewer.
    """
    out = torch.full((acts.n_features, k), -1, dtype=torch.int64)
    feature, token = acts.indices.long(), acts.token_of_entry()
    # Two stable sorts: by value within the order of tokens, then by feature, keep that order within a feature.
    by_value = torch.argsort(acts.values.float(), descending=True, stable=True)
    by_value = by_value[torch.argsort(feature[by_value], stable=True)]
    counts = acts.active_counts()
    starts = counts.cumsum(0) - counts
    rank = torch.arange(acts.nnz) - starts[feature[by_value]]
    kept = by_value[rank < k]
    out[feature[kept], rank[rank < k]] = token[kept]
    return out


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
