"""Which tokens of two vocabularies have the same text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.system.errors import InputError


@dataclass(frozen=True, eq=False)
class SharedTokens:
    """Tokens of A and of B that stand for the same text, by rising id of A.

    Attributes:
        a: int64 [s], ids in A's vocabulary.
        b: int64 [s], ids in B's.
        n_a: tokens of A that stand for a text.
        n_b: of B.
    """

    a: Tensor
    b: Tensor
    n_a: int
    n_b: int

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def same(cls, n: int) -> SharedTokens:
        """Returns all of one vocabulary of n tokens."""
        return cls(torch.arange(n), torch.arange(n), n, n)


def shared_tokens(texts_a: Sequence[str], texts_b: Sequence[str], fewest: int = 100) -> SharedTokens:
    """Returns the tokens that two vocabularies share, by text with its white space.

    A text that several tokens of one vocabulary stand for, such as a part of a character, is left out.

    Args:
        texts_a: text of every id of A (`semconv.text.top_tokens.token_texts`), empty where an id stands for none.
        texts_b: of B.
        fewest: shared tokens that are needed.

    Raises:
        InputError: fewer are shared.
    """
    ids_a, ids_b = _ids(texts_a), _ids(texts_b)
    both = [(i, ids_b[text]) for text, i in ids_a.items() if text in ids_b]
    if len(both) < fewest:
        raise InputError(
            f"predictions of two models are compared over the tokens that both vocabularies have, at least {fewest}; "
            f"these share {len(both)} of {len(ids_a)} and {len(ids_b)}"
        )
    a, b = (torch.tensor(part, dtype=torch.int64) for part in zip(*sorted(both), strict=True))
    return SharedTokens(a, b, len(ids_a), len(ids_b))


def _ids(texts: Sequence[str]) -> dict[str, int]:
    counts = Counter(texts)
    return {text: i for i, text in enumerate(texts) if text and counts[text] == 1}
