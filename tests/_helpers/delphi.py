"""A cache of activations as Delphi writes it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file

from semconv import SparseActivations

ROWS, CONTEXT = 6, 8


def write_cache(folder: Path, acts: SparseActivations, cuts: list[int], tokens: torch.Tensor) -> None:
    """Writes what delphi writes: a file per range of features, locations relative to its first."""
    folder.mkdir(parents=True)
    dense = acts.to_dense().reshape(ROWS, CONTEXT, -1)
    for start, stop in pairwise(cuts):
        locations = dense[:, :, start:stop].nonzero()
        values = dense[:, :, start:stop][tuple(locations.T)].half()
        shuffled = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
        tensors = {
            "locations": locations[shuffled].to(torch.uint16),
            "activations": values[shuffled],
            "tokens": tokens,
        }
        save_file(tensors, folder / f"{start}_{stop - 1}.safetensors")
