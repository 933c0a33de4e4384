"""Random tensors that are the same in every process."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vectors(d: int) -> Tensor:
    return drawn(20, d, seed=3)
