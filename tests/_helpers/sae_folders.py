"""Folders of SAEs as sae-lens writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

D, F, K = 8, 24, 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def write_sae_lens(folder: Path, architecture: str, tensors: dict[str, Tensor], **config: Any) -> Path:
    """A folder as sae-lens saves it; `metadata` is a part of the config."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "sae_weights.safetensors")
    told = {"sae_lens_version": "6.54.12", **config.pop("metadata", {})}
    written = {"architecture": architecture, "d_in": D, "d_sae": F, "dtype": "float32", "metadata": told, **config}
    (folder / "cfg.json").write_text(json.dumps(written))
    return folder


def plain(**more: Tensor) -> dict[str, Tensor]:
    return {
        "W_enc": drawn(D, F, seed=1),
        "b_enc": drawn(F, seed=2),
        "W_dec": drawn(F, D, seed=3),
        "b_dec": drawn(D, seed=4),
        **more,
    }
