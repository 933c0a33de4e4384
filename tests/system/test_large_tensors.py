"""Large safetensors files: the bytes that the library would write, one tensor in memory at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from semconv.system.large_tensors import Planned, write_large_tensors

TENSORS = {
    "b.rows": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "a.features": torch.arange(5),
    "none": torch.zeros(0, 7),
    "z.half": torch.arange(3).to(torch.bfloat16),
    "ünï": torch.arange(2, dtype=torch.float64),
    "i": torch.arange(3, dtype=torch.int32),
    "turned": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
}


def planned(name: str) -> Planned:
    tensor = TENSORS[name]
    return Planned(tensor.dtype, tuple(tensor.shape), partial(TENSORS.get, name))  # pyright: ignore


def test_the_file_is_the_one_that_the_library_writes(tmp_path: Path):
    write_large_tensors(tmp_path / "x", {name: planned(name) for name in TENSORS})
    whole = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    assert (tmp_path / "x").read_bytes() == save(whole)
    found = load_file(tmp_path / "x")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_another_tensor_than_planned_leaves_no_file(tmp_path: Path):
    wrong = Planned(torch.float32, (3,), lambda: torch.zeros(4))
    with pytest.raises(ValueError, match=r"x was planned as torch.float32 \[3\]"):
        write_large_tensors(tmp_path / "x", {"x": wrong})
    assert list(tmp_path.iterdir()) == []
