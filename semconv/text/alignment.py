"""Aligns two models that read the same documents through different tokenizers: spans between common boundaries.

A token ends where its last character ends. Where a token of A and a token of B end at the same character, the text
before it has been read by both; the stretch since the last such place is a span, the smallest that both models share.
Activations are pooled over the spans of each side (`spans.pool`), and what was a token is a span from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray

from semconv.system.errors import InputError
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_DOCUMENTS_AT_ONCE = 512


def common_boundaries(ends_a: Int[ndarray, " n"], ends_b: Int[ndarray, " m"]) -> Int[ndarray, " spans"]:
    """Returns the characters after which a token ends on both sides, ascending, each once.

    Several tokens may end after the same character: bytes of one character, or marks that stand for nothing.
    """
    return np.intersect1d(ends_a, ends_b)


@dataclass(frozen=True)
class _Counted:
    """Which tokens of every document count on one side, and where they stand among all that count.

    Attributes:
        counts: int64 [documents], tokens that count.
        firsts: int64 [documents], counted position of the first of them.
        place: int64 [n_tokens], place in its document of every token that counts.
    """

    counts: Int[ndarray, " documents"]
    firsts: Int[ndarray, " documents"]
    place: Int[ndarray, " n_tokens"]

    @classmethod
    def of(cls, blocks: TokenBlocks, n_documents: int) -> _Counted:
        document = blocks.document[blocks.mask].long().numpy()
        counts = np.bincount(document, minlength=n_documents)
        firsts = np.cumsum(counts) - counts
        if blocks.place is None:
            return cls(counts, firsts, np.arange(len(document)) - firsts[document])
        return cls(counts, firsts, blocks.place[blocks.mask].long().numpy())

    def spans(
        self, document: int, ends: Int[ndarray, " n"], boundaries: Int[ndarray, " spans"]
    ) -> tuple[Int[ndarray, " spans"], Int[ndarray, " spans"], Bool[ndarray, " spans"]]:
        """Returns first counted position of every span of a document, one past the last, and whether all of it counts.

        Args:
            document: which.
            ends: the character after which each of its tokens ends, rising.
            boundaries: those after which spans end, rising.

        Raises:
            InputError: a token counts that the document does not have.
        """
        place = self.place[self.firsts[document] : self.firsts[document] + self.counts[document]]
        if place[-1] >= len(ends):
            raise InputError(f"document {document} has fewer tokens than its blocks hold: they are of other text")
        # A span holds the tokens that end after the boundary before it and not after its own.
        last = np.searchsorted(ends, boundaries, side="right")
        first = np.concatenate([[0], last[:-1]])[: len(last)]
        counted = np.searchsorted(place, [first, last])
        return (
            self.firsts[document] + counted[0],
            self.firsts[document] + counted[1],
            counted[1] - counted[0] == last - first,
        )


def aligned_spans(
    texts: Sequence[str], tokenizers: tuple[Tokenizer, Tokenizer], blocks: tuple[TokenBlocks, TokenBlocks]
) -> tuple[Spans, Spans]:
    """Returns the same spans of text as stretches of counted positions of either side.

    A span is left out unless each of its tokens counts, on both sides.

    Args:
        texts: of the documents, in the order in which `packing.rows_of` laid them out.
        tokenizers: of A and B.
        blocks: what `packing.rows_of` made of the texts for A and for B; either may end early or skip positions.

    Raises:
        InputError: blocks that are not of these texts and tokenizers, or no common boundary at all.
    """
    held = max(int(block.document.max()) for block in blocks) + 1
    if held > len(texts):
        raise InputError(f"got {len(texts)} texts, the blocks hold {held} documents")
    sides = [_Counted.of(block, len(texts)) for block in blocks]
    both = np.flatnonzero((sides[0].counts > 0) & (sides[1].counts > 0))
    starts: tuple[list[ndarray], list[ndarray]] = ([], [])
    ends: tuple[list[ndarray], list[ndarray]] = ([], [])
    documents: list[ndarray] = []
    for begin in range(0, len(both), _DOCUMENTS_AT_ONCE):
        some = both[begin : begin + _DOCUMENTS_AT_ONCE]
        encoded = [t.encode_batch([texts[d] for d in some], add_special_tokens=False) for t in tokenizers]
        for at, document in enumerate(some.tolist()):
            reached = [np.maximum.accumulate([end for _, end in encodings[at].offsets]) for encodings in encoded]
            boundaries = common_boundaries(reached[0], reached[1])
            found = [side.spans(document, ends, boundaries) for side, ends in zip(sides, reached, strict=True)]
            whole = found[0][2] & found[1][2]
            documents.append(np.full(int(whole.sum()), document, dtype=np.int32))
            for side, (first, last, _) in enumerate(found):
                starts[side].append(first[whole])
                ends[side].append(last[whole])
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
