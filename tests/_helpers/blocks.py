"""Token blocks of a few words."""

from __future__ import annotations

import torch

from semconv import TokenBlocks


def blocks_of(document: list[list[int]]) -> TokenBlocks:
    """Blocks whose token ids count up, with the documents given; -1 does not count."""
    owner = torch.tensor(document, dtype=torch.int32)
    ids = torch.arange(owner.numel(), dtype=torch.int32).reshape(owner.shape)
    return TokenBlocks(ids, owner >= 0, owner)
