"""Draws documents: circular shifts by whole documents, bootstrap resamples, halves. Never single tokens."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from semconv.statistics.permutation import generator
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

_SHIFT, _BOOTSTRAP, _HALVES = 1, 2, 3  # streams of the generator


def document_starts(blocks: TokenBlocks) -> Int[ndarray, " D"]:
    """Returns the first counted position of every document, int64, ascending.

    Raises:
        InputError: fewer than two documents, so that there is nothing to draw.
    """
    return spans_document_starts(blocks.document[blocks.mask])


def spans_document_starts(document: Tensor) -> Int[ndarray, " D"]:
    """Returns where each document begins, int64, ascending, from the document of every position or span, int32 [n].

    Raises:
        InputError: fewer than two documents, so that there is nothing to draw.
    """
    new = torch.cat([torch.ones(1, dtype=torch.bool), document.diff() != 0])
    starts = new.nonzero()[:, 0].numpy()
    if len(starts) < 2:
        raise InputError(f"resampling documents needs at least two of them, got {len(starts)}")
    return starts


def document_shift(starts: Int[ndarray, " D"], seed: int, number: int) -> int:
    """Returns shift `number`: the start of a document, as every seed and number draw it.

    The unshifted text is one of the draws, as the identity is one of a permutation test's, so that p stays honest when
    there are fewer documents than draws.
    """
    return int(starts[generator(seed, number, _SHIFT).integers(0, len(starts))])


def bootstrap_positions(starts: Int[ndarray, " D"], n_tokens: int, seed: int, number: int) -> Tensor:
    """Returns the positions, int64, of as many documents as there are, drawn with replacement."""
    drawn = generator(seed, number, _BOOTSTRAP).integers(0, len(starts), len(starts))
    return _positions(starts, n_tokens, np.sort(drawn))


def halves(starts: Int[ndarray, " D"], n_tokens: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns the positions, int64, of a random half of the documents and of the other half."""
    order = generator(seed, 0, _HALVES).permutation(len(starts))
    middle = len(starts) // 2
    one, other = (np.sort(part) for part in (order[:middle], order[middle:]))
    return _positions(starts, n_tokens, one), _positions(starts, n_tokens, other)


def _positions(starts: Int[ndarray, " D"], n_tokens: int, documents: Int[ndarray, " d"]) -> Tensor:
    ends = np.append(starts[1:], n_tokens)
    return torch.from_numpy(np.concatenate([np.arange(int(starts[d]), int(ends[d])) for d in documents.tolist()]))
