"""Safetensors files that are larger than memory: written one tensor after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from semconv.system.files import write_atomically

_CODES = {torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.int32: "I32", torch.bfloat16: "BF16"}
"""The names of dtypes in the format, in the order in which the library writes tensors."""


@dataclass(frozen=True)
class Planned:
    """A tensor that will be written.

    Attributes:
        dtype: float32, float64, int64, int32 or bfloat16.
        shape: its shape.
        make: gives it, when its turn comes.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def n_bytes(self) -> int:
        """Bytes of its elements."""
        return self.dtype.itemsize * prod(self.shape)


def write_large_tensors(path: Path, tensors: Mapping[str, Planned]) -> None:
    """Writes a safetensors file atomically and holds no more than one tensor at a time.

    Tensors stand in the order of the library: the largest elements first, so that all are aligned, then by name.

    Args:
        path: the file.
        tensors: by name.

    Raises:
        ValueError: a tensor is not of the dtype and shape that were planned.
        OSError: the folder cannot be written, or the disk is full.
    """
    order = sorted(tensors, key=lambda name: (list(_CODES).index(tensors[name].dtype), name))
    header: dict[str, object] = {}
    end = 0
    for name in order:
        one = tensors[name]
        begin, end = end, end + one.n_bytes
        header[name] = {"dtype": _CODES[one.dtype], "shape": list(one.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                tensor = tensors[name].make()
                if (tensor.dtype, tuple(tensor.shape)) != (tensors[name].dtype, tensors[name].shape):
                    raise ValueError(f"{name} was planned as {tensors[name].dtype} {list(tensors[name].shape)}")
                if tensor.numel():
                    file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)

    write_atomically(path, write)
