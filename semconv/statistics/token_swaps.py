"""Exchanges positions that hold the same token between documents: what is left of two texts once tokens are known."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from semconv.statistics.permutation import generator
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

_SWAPS = 4  # stream of the generator, beside those of `resampling`


class TokenSwaps:
    """The positions of a text, by token and document.

    Attributes:
        token: integer [n], id of the token at every counted position.
        document: integer [n], which document it is from.
        n_movable: positions whose token stands in another document as well: no other is ever moved.
    """

    def __init__(self, token: Int[ndarray, " n"], document: Int[ndarray, " n"]) -> None:
        """Takes tokens and documents, of the same length.

        Raises:
            InputError: no token stands in two documents, so that nothing can be exchanged.
        """
        self.token, self.document = token, np.unique(document, return_inverse=True)[1]
        first = np.full(int(token.max(initial=0)) + 1, -1)
        first[token] = self.document  # some document of every token
        widespread = np.zeros(len(first), dtype=bool)
        widespread[token[self.document != first[token]]] = True
        self.n_movable = int(widespread[token].sum())
        if not self.n_movable:
            raise InputError("null.n_same_token needs a token that stands in two documents, got none")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over both, whatever integers hold them."""
        return sha256_of(*(part.astype(np.int64) for part in (self.token, self.document)))

    @classmethod
    def of(cls, blocks: TokenBlocks) -> TokenSwaps:
        """Returns those of the counted positions of a text; raises InputError as the constructor."""
        return cls(blocks.ids[blocks.mask].numpy(), blocks.document[blocks.mask].numpy())

    def draw(self, seed: int, number: int) -> Int[ndarray, " n"]:
        """Returns exchange `number`, int64 [n]: position i gets what stood at position `draw[i]`.

        The positions of every token are put in the order of their documents, the documents in a random order and the
        positions of one document too; then the first half of them is exchanged with the second, one by one. Two that
        are from the same document stay, and so does the last of an odd number. So with no document that holds more
        than half of the positions of a token, all of them, or all but one, come from another document.
        """
        rng = generator(seed, number, _SWAPS)
        of_document = rng.permutation(int(self.document.max()) + 1)[self.document]
        order = np.lexsort((rng.permutation(len(self.token)), of_document, self.token))
        sorted_tokens = self.token[order]
        begins = np.flatnonzero(np.append(True, sorted_tokens[1:] != sorted_tokens[:-1]))
        sizes = np.diff(np.append(begins, len(order)))
        rank = np.arange(len(order)) - np.repeat(begins, sizes)
        half = np.repeat(sizes // 2, sizes)
        one = np.flatnonzero(rank < half)
        i, j = order[one], order[one + half[one]]
        apart = self.document[i] != self.document[j]
        i, j = i[apart], j[apart]
        moved = np.arange(len(order))
        moved[i], moved[j] = j, i
        return moved
