"""Exchanges positions of the same token, or of the same two tokens, between documents: null texts that keep these."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.statistics.permutation import generator
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.token_blocks import TokenBlocks

_SWAPS = 4  # stream of the generator, beside those of `resampling`


_KEPT_BYTES = 2**28  # of draws that the layer pairs of a grid share


class TokenSwaps:
    """The positions of a text, by what stands there and by document.

    Attributes:
        token: integer [n], number of what stands at every counted position: of the token, or of it and the one before.
        document: integer [n], which document it is from.
        n_movable: positions whose token stands in another document as well: no other is ever moved.
    """

    def __init__(self, token: Int[ndarray, " n"], document: Int[ndarray, " n"], what: str = "token") -> None:
        """Takes tokens and documents, of the same length.

        Args:
            token: numbers from 0.
            document: of any numbers.
            what: how errors call a token.

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
            raise InputError(f"null.n_same_{what} needs a {what} that stands in two documents, got none")
        self._lock, self._kept = Lock(), dict[tuple[int, int], Int[ndarray, " n"]]()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over both, whatever integers hold them."""
        return sha256_of(*(part.astype(np.int64) for part in (self.token, self.document)))

    @classmethod
    def of(cls, blocks: TokenBlocks) -> TokenSwaps:
        """Returns those of the counted positions of a text; raises InputError as the constructor."""
        return cls(blocks.ids[blocks.mask].numpy(), blocks.document[blocks.mask].numpy())

    @classmethod
    def of_bigrams(cls, blocks: TokenBlocks) -> TokenSwaps:
        """Returns those where a position keeps its token and the one before it in its row; raises as the constructor.

        The first position of a row has none before it, which counts as a token of its own.
        """
        ids = blocks.ids.long()
        before = torch.cat([ids.new_full((len(ids), 1), int(ids.max()) + 1), ids[:, :-1]], dim=1)
        bigram = (before * (int(ids.max()) + 2) + ids)[blocks.mask].numpy()
        return cls(np.unique(bigram, return_inverse=True)[1], blocks.document[blocks.mask].numpy(), "bigram")

    def draws(self, seed: int, numbers: Sequence[int]) -> Int[ndarray, "m n"]:
        """Returns several exchanges, int32 [m, n]; as many as fit into 256 MiB are kept for who asks again."""
        return np.stack([self._once(seed, number) for number in numbers])

    def _once(self, seed: int, number: int) -> Int[ndarray, " n"]:
        with self._lock:  # tasks run side by side, and each exchange is drawn once
            found = self._kept.get((seed, number))
            if found is None:
                found = self.draw(seed, number)
                if (len(self._kept) + 1) * found.nbytes <= _KEPT_BYTES:
                    self._kept[seed, number] = found
            return found

    def draw(self, seed: int, number: int) -> Int[ndarray, " n"]:
        """Returns exchange `number`, int32 [n]: position i gets what stood at position `draw[i]`.

        The positions of every token are put in the order of their documents, the documents in a random order and the
        positions of one document too; then the first half of them is exchanged with the second, one by one. Two that
        are from the same document stay, and so does the last of an odd number. So with no document that holds more
        than half of the positions of a token, all of them, or all but one, come from another document.
        """
        rng, n_documents = generator(seed, number, _SWAPS), int(self.document.max()) + 1
        shuffled = rng.permutation(len(self.token))
        by = self.token.astype(np.int64) * n_documents + rng.permutation(n_documents)[self.document]
        order = shuffled[np.argsort(by[shuffled], kind="stable")]
        sorted_tokens = self.token[order]
        begins = np.flatnonzero(np.append(True, sorted_tokens[1:] != sorted_tokens[:-1]))
        sizes = np.diff(np.append(begins, len(order)))
        rank = np.arange(len(order)) - np.repeat(begins, sizes)
        half = np.repeat(sizes // 2, sizes)
        one = np.flatnonzero(rank < half)
        i, j = order[one], order[one + half[one]]
        apart = self.document[i] != self.document[j]
        i, j = i[apart], j[apart]
        moved = np.arange(len(order), dtype=np.int32)
        moved[i], moved[j] = j, i
        return moved
