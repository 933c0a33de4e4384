"""The part of a model that is needed: its first blocks, as a config and as the keys of a checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from semconv.models.families import FAMILIES
from semconv.system.errors import InputError

_STORED = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BLOCK_KEY = re.compile(r"(?:^|\.)(?:layers|layer|h)\.(\d+)\.")


def can_be_cut(config: Any) -> bool:
    """Whether the first blocks of a model give the same streams without the others, which their number might change.

    That is known of the families in `FAMILIES`, whose streams are compared in `tests/models/test_model_parts.py`.
    """
    return str(config.model_type) in FAMILIES


def first_blocks(config: Any, n_blocks: int | None) -> Any:
    """Returns the config of a model's first blocks; the config itself where it has no more, or may not be cut.

    Args:
        config: of a model.
        n_blocks: how many, at least 1; None for all.
    """
    whole = int(config.get_text_config().num_hidden_layers)
    if n_blocks is None or n_blocks >= whole or not can_be_cut(config):
        return config
    cut = copy.deepcopy(config)
    for name, value in list(vars(cut).items()):  # such as layer_types, which block has which attention
        if isinstance(value, list) and len(value) == whole:  # pyright: ignore[reportUnknownArgumentType]
            setattr(cut, name, value[:n_blocks])
    cut.num_hidden_layers = n_blocks
    return cut


def without_blocks(what: str, keys: Iterable[str], left_out: range) -> set[str]:
    """Returns the keys of a checkpoint without those of blocks that are left out.

    Args:
        what: names the model in the message.
        keys: of the checkpoint, those of the blocks that are left out among them.
        left_out: numbers of these blocks, as the config counts them.

    Raises:
        InputError: the checkpoint holds nothing of one of them, so it is not the one that the config is of.
    """
    found = {key: _BLOCK_KEY.search(key) for key in keys}
    there = {int(block[1]) for block in found.values() if block is not None}
    absent = [number for number in left_out if number not in there]
    if absent:
        raise InputError(f"the weights of {what} lack block {absent[0]}, of which its config says that it is there")
    return {key for key, block in found.items() if block is None or int(block[1]) not in left_out}


def is_mapped(path: Path, dtype: torch.dtype, n_bytes: int) -> bool:
    """Whether the weights of a model are mapped into the memory of the CPU from their files, not copied into it.

    transformers does so where they are stored in the numbers that are asked for. What is mapped needs no memory of its
    own: where there is too little, its pages are dropped and read from the files again.

    Args:
        path: the model's folder.
        dtype: asked for.
        n_bytes: of the weights that are used; files that do not hold so much hold other weights than the config says.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(path.glob("*.safetensors"))
    if not files or sum(file.stat().st_size for file in files) < n_bytes:
        return False
    try:
        for file in files:
            with safe_open(file, framework="pt") as tensors:  # pyright: ignore
                if any(tensors.get_slice(key).get_dtype() != _STORED.get(dtype) for key in tensors.keys()):  # noqa: SIM118
                    return False
    except (OSError, SafetensorError):  # loading them says what is wrong
        return False
    return True
