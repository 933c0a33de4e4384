"""Keeps the results of finished tasks in the run folder, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from semconv._paths import PACKAGE
from semconv.system.errors import InputError
from semconv.system.files import read_tensors, write_tensors
from semconv.system.json_toml import parse_json

Result = tuple[dict[str, Any], dict[str, ndarray]]
"""What a task leaves: plain values for the results, and arrays for later tasks."""


_TELLING = ("cli", "report", "validation", "bench")
"""Packages that only show, check or time what was computed; no number of a run depends on them."""


@cache
def code_sha256() -> str:
    """Returns the SHA-256 of the code that computes results: other code may give others."""
    digest = hashlib.sha256()
    for file in sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".so")):
        name = file.relative_to(PACKAGE)
        if name.parts[0] not in _TELLING:
            digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class TaskCache:
    """A folder of finished tasks.

    Attributes:
        folder: where they are kept.
        used: names of the tasks that were asked for are added here.
    """

    folder: Path
    used: set[str] = field(default_factory=set[str])

    def get(self, name: str, inputs: Any, make: Callable[[], Result]) -> Result:
        """Returns the kept result of a task, or makes and keeps it.

        Args:
            name: file name.
            inputs: everything the result depends on but the code, as plain values; a kept result of other inputs or of
                other code is not used, nor one whose file is not byte for byte what was kept.
            make: does the work.
        """
        self.used.add(name)
        key = hashlib.sha256(json.dumps([code_sha256(), inputs], sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{name}.safetensors"
        kept = _read(path, key)
        if kept is not None:
            return kept
        values, arrays = make()
        text = json.dumps(values)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        tensors["nothing"] = torch.zeros(1)  # so that a result without arrays is a file too
        write_tensors(path, tensors, {"key": key, "values": text, "sha256": _sha256(text, tensors)})
        return json.loads(text), arrays  # a fresh result reads like a kept one


@dataclass(frozen=True)
class KeptTasks(TaskCache):
    """The finished tasks of an archived run: they are read without comparing their inputs, and never computed."""

    def get(self, name: str, inputs: Any, make: Callable[[], Result]) -> Result:
        """Returns the kept result of a task.

        Raises:
            InputError: it is missing or damaged.
        """
        kept = _read(self.folder / f"{name}.safetensors", None)
        if kept is None:
            raise InputError(f"{self.folder} must hold the finished task {name}, found none or a damaged one")
        return kept


def _read(path: Path, key: str | None) -> Result | None:
    """Reads a kept result; None when there is none of this key (any, if None) or it is not what was kept."""
    try:
        tensors, metadata = read_tensors(path)
        if key not in (None, metadata["key"]) or metadata["sha256"] != _sha256(metadata["values"], tensors):
            return None
        values = parse_json(metadata["values"], str(path), finite=False)
    except (InputError, KeyError):
        return None
    return values, {name: tensor.numpy() for name, tensor in tensors.items() if name != "nothing"}


def _sha256(values: str, tensors: dict[str, Tensor]) -> str:
    """Returns the SHA-256 of what is kept; the file format has no checksum of its own."""
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
