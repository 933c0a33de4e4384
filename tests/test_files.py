"""Files: the same content gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import torch

from semconv.files import read_tensors, write_tensors


def test_tensors_with_metadata_are_the_same_bytes_every_time(tmp_path: Path):
    """safetensors writes metadata in the order of a hash map that differs from call to call."""
    metadata = {f"key {i}": f'"{chr(i)}\\é\n' for i in range(12)}
    tensors = {"b": torch.arange(3), "a": torch.zeros(2, 0), "c": torch.tensor(1.5)}
    written: set[bytes] = set()
    for i in range(20):
        path = tmp_path / f"{i}.safetensors"
        write_tensors(path, tensors, metadata)
        written.add(path.read_bytes())
    assert len(written) == 1
    back, said = read_tensors(tmp_path / "0.safetensors")
    assert said == metadata
    assert set(back) == set(tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
