"""Finished tasks: their results are kept in the run folder, and an interrupted run goes on there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from semconv._paths import PACKAGE
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.files import read_tensors, write_tensors
from semconv.system.json_toml import parse_json
from semconv.system.shape import plain, read_as

Result = tuple[dict[str, Any], dict[str, ndarray]]
"""What a task leaves: plain values and arrays."""
Observation = TypeVar("Observation")
MOST_VALUES = 2**22
"""Characters of the plain values of a task that are read: they are few, and JSON is larger in memory."""
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


def kept_as(observation: Any) -> Result:
    """Returns what is kept of an observation.

    Args:
        observation: a dataclass of which one field, `facts`, is a dataclass of plain values and every other an array.
    """
    arrays = {one.name: getattr(observation, one.name) for one in fields(observation) if one.name != "facts"}
    return plain(observation.facts), arrays


def read_kept(kind: type[Observation], result: Result, what: str) -> Observation:
    """Returns the observation that a task kept by `kept_as`; every array is of the kind and rank that its field says.

    Raises:
        InputError: a fact or an array is missing, unknown or of another kind.
    """
    values, arrays = result
    hints = get_type_hints(kind)
    facts = read_as(hints.pop("facts"), values, what)
    if arrays.keys() != hints.keys():
        raise InputError(f"{what} must hold the arrays {', '.join(hints)}, found {', '.join(arrays) or 'none'}")
    for name, wanted in hints.items():
        if not isinstance(arrays[name], wanted):
            found = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise InputError(f"{name} in {what} must be {wanted.__name__}, got {found}")
    return cast(Any, kind)(facts=facts, **arrays)


@dataclass(frozen=True)
class FinishedTasks:
    """A folder of finished tasks, made here or received: they are read whatever they depended on, and never made.

    Attributes:
        folder: where they are kept.
    """

    folder: Path

    def read(self, name: str) -> Result:
        """Returns what a finished task left.

        Raises:
            InputError: it is missing or damaged.
        """
        kept = _read(self.folder / f"{name}.safetensors", None)
        if kept is None:
            raise InputError(f"{self.folder} must hold the finished task {name}, found none or a damaged one")
        return kept

    def read_as(self, kind: type[Observation], name: str) -> Observation:
        """Returns what a finished task left as a typed observation.

        Raises:
            InputError: it is missing, damaged, or not of this kind (`read_kept`).
        """
        return read_kept(kind, self.read(name), f"task {name} in {self.folder}")


@dataclass(frozen=True)
class TaskCache(FinishedTasks):
    """A folder of finished tasks to which more are added.

    Attributes:
        used: names of the tasks that were asked for are added here.
    """

    used: set[str] = field(default_factory=set[str])

    def ensure(self, name: str, inputs: Any, make: Callable[[], Result]) -> None:
        """Makes and keeps the result of a task, unless it is kept already.

        Args:
            name: file name.
            inputs: everything the result depends on but the code, as plain values; a kept result of other inputs or of
                other code is made again, and so is one whose file is not byte for byte what was kept.
            make: does the work.
        """
        self.used.add(name)
        key, path = _key(inputs), self.folder / f"{name}.safetensors"
        if _read(path, key) is not None:
            return
        values, arrays = make()
        text = json.dumps(values)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        tensors["nothing"] = torch.zeros(1)  # so that a result without arrays is a file too
        write_tensors(path, tensors, {"key": key, "values": text, "sha256": _sha256(text, tensors)})

    def is_finished(self, name: str, inputs: Any) -> bool:
        """Whether the result of a task with these inputs is kept, whole and by this code."""
        return _read(self.folder / f"{name}.safetensors", _key(inputs)) is not None

    def get(self, name: str, inputs: Any, make: Callable[[], Result]) -> Result:
        """Returns the result of a task, kept or made now; arguments as for `ensure`."""
        self.ensure(name, inputs, make)
        return self.read(name)


def _key(inputs: Any) -> str:
    """Returns the key of a task: the SHA-256 of the code and of everything else that its result depends on."""
    return sha256_of(json.dumps([code_sha256(), inputs], sort_keys=True))


def _read(path: Path, key: str | None) -> Result | None:
    """Reads a kept result; None when there is none of this key (any, if None) or it is not what was kept."""
    try:
        tensors, metadata = read_tensors(path)
        if key not in (None, metadata["key"]) or metadata["sha256"] != _sha256(metadata["values"], tensors):
            return None
        if len(metadata["values"]) > MOST_VALUES:
            return None
        values = parse_json(metadata["values"], str(path), finite=False)
    except (InputError, KeyError, TypeError):  # of a kind that NumPy does not have, among others
        return None
    return values, {name: tensor.numpy() for name, tensor in tensors.items() if name != "nothing"}


def _sha256(values: str, tensors: dict[str, Tensor]) -> str:
    """Returns the SHA-256 of what is kept; the file format has no checksum of its own."""
    kept = [(f"{name} {tensor.dtype} {list(tensor.shape)}", tensor) for name, tensor in sorted(tensors.items())]
    return sha256_of(values, *(part for one in kept for part in one))
