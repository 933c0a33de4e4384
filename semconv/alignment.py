"""Aligns two models that read the same documents through different tokenizers: spans between common boundaries.

A token ends where its last character ends. Where a token of A and a token of B end at the same character, the text
before it has been read by both; the stretch since the last such place is a span, the smallest that both models share.
Activations are pooled over the spans of each side (`semconv.spans.pool`), and what was a token is a span from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.spans import Spans
from semconv.types import InputError, TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_DOCUMENTS_AT_ONCE = 512


def common_boundaries(ends_a: Int[ndarray, " n"], ends_b: Int[ndarray, " m"]) -> Int[ndarray, " spans"]:
    """Returns the characters after which a token ends on both sides, ascending, each once.

    Several tokens may end after the same character: bytes of one character, or marks that stand for nothing. Neither
    side's last token need be whole: text that only one side has read is in no span.
    """
    return np.intersect1d(ends_a, ends_b)


def aligned_spans(
    texts: Sequence[str], tokenizers: tuple[Tokenizer, Tokenizer], blocks: tuple[TokenBlocks, TokenBlocks]
) -> tuple[Spans, Spans]:
    """Returns the same spans of text as stretches of counted positions of either side.

    Args:
        texts: of the documents, in the order in which `corpus.tokenize` packed them.
        tokenizers: of A and B.
        blocks: what `corpus.tokenize` made of the texts for A and for B; either may end early.

    Raises:
        InputError: blocks that are not of these texts and tokenizers, or no common boundary at all.
    """
    held = max(int(block.document.max()) for block in blocks) + 1
    if held > len(texts):
        raise InputError(f"got {len(texts)} texts, the blocks hold {held} documents")
    counts = [torch.bincount(b.document[b.mask].long(), minlength=len(texts)).numpy() for b in blocks]
    both = np.flatnonzero((counts[0] > 0) & (counts[1] > 0))
    firsts = [np.cumsum(count) - count for count in counts]
    starts: tuple[list[ndarray], list[ndarray]] = ([], [])
    ends: tuple[list[ndarray], list[ndarray]] = ([], [])
    documents: list[ndarray] = []
    for begin in range(0, len(both), _DOCUMENTS_AT_ONCE):
        some = both[begin : begin + _DOCUMENTS_AT_ONCE]
        encoded = [t.encode_batch([texts[d] for d in some], add_special_tokens=False) for t in tokenizers]
        for at, document in enumerate(some.tolist()):
            of_sides = [np.array([end for _, end in encoded[side][at].offsets]) for side in (0, 1)]
            for side in (0, 1):
                if len(of_sides[side]) < counts[side][document]:
                    raise InputError(
                        f"document {document} has fewer tokens than its blocks hold: they are of other text"
                    )
            read = [of_sides[side][: counts[side][document]] for side in (0, 1)]
            boundaries = common_boundaries(*read)
            documents.append(np.full(len(boundaries), document, dtype=np.int32))
            for side in (0, 1):
                # A span holds the tokens that end after the boundary before it and not after its own.
                cuts = np.searchsorted(read[side], boundaries, side="right")
                starts[side].append(firsts[side][document] + np.concatenate([[0], cuts[:-1]])[: len(cuts)])
                ends[side].append(firsts[side][document] + cuts)
    document = torch.from_numpy(np.concatenate(documents or [np.empty(0, dtype=np.int32)]))
    if not len(document):
        raise InputError("the two tokenizers have no common boundary in this text")
    one, other = (
        Spans(
            torch.from_numpy(np.concatenate(starts[side])).long(),
            torch.from_numpy(np.concatenate(ends[side])).long(),
            document,
            blocks[side].n_tokens,
        )
        for side in (0, 1)
    )
    return one, other
