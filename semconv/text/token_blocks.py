"""Token ids in rows of one length, and which of their positions count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.system.digests import sha256_of
from semconv.system.errors import InputError

COUNTED = "all positions but BOS, EOS and PAD"
"""Which positions count, in words, where nothing else is asked for."""


@dataclass(frozen=True)
class TokenBlocks:
    """Token ids cut into rows of one context length.

    Attributes:
        ids: int32 [n_seq, context].
        mask: bool [n_seq, context], True where a position counts in the statistics.
        document: int32 [n_seq, context], which document a position belongs to, -1 where the mask is False.
        place: int32 [n_seq, context], which token of its document stands there, -1 where the mask is False; None where
            the counted tokens of every document are its first.
        rule: which positions count, in words.

    Raises:
        InputError: a tensor of another dtype than above, or of another shape than `ids`.

    Examples:
        Two documents in two rows of four tokens. Token 1 is BOS and token 0 pads; neither counts:

        >>> import torch
        >>> from semconv import TokenBlocks
        >>> ids = torch.tensor([[1, 5, 6, 7], [1, 8, 9, 0]], dtype=torch.int32)
        >>> mask = ids > 1
        >>> document = torch.where(mask, torch.tensor([[0], [1]]), -1).int()
        >>> blocks = TokenBlocks(ids, mask, document)
        >>> blocks.n_tokens, blocks.runs().tolist()
        (5, [0, 0, 0, 1, 1])
    """

    ids: Tensor
    mask: Tensor
    document: Tensor
    place: Tensor | None = None
    rule: str = COUNTED

    def __post_init__(self) -> None:
        kinds = (("ids", torch.int32), ("mask", torch.bool), ("document", torch.int32), ("place", torch.int32))
        for name, dtype in kinds[: 3 if self.place is None else 4]:
            value: Tensor = getattr(self, name)
            if value.dtype != dtype or value.shape != self.ids.shape or value.dim() != 2:
                raise InputError(
                    f"TokenBlocks.{name} must be {dtype} {list(self.ids.shape)}, got {value.dtype} {list(value.shape)}"
                )

    @property
    def n_tokens(self) -> int:
        """Number of positions that count."""
        return int(self.mask.sum())

    def runs(self) -> Tensor:
        """Returns the run of every counted position, int64 [n_tokens], numbered from 0 in order.

        A run is a stretch of counted positions that stand next to each other in one row and belong to one document, so
        that what lies within a run is text without a gap.
        """
        place = self.mask.flatten().nonzero()[:, 0]
        document, row = self.document.flatten()[place], place // self.ids.shape[1]
        new = (place.diff() != 1) | (row.diff() != 0) | (document.diff() != 0)
        return torch.cat([place[:1] * 0, new.cumsum(0)])

    @property
    def sha256(self) -> str:
        """SHA-256 over shape, ids and mask: two runs with this hash saw the same tokens."""
        return sha256_of(repr(tuple(self.ids.shape)), self.ids, self.mask)
