"""A run folder: the files that a run writes, its progress callback, and the time each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from semconv.core.device import free_memory
from semconv.runs.reservations import Reservations, Shard
from semconv.runs.shelf import Shelf
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Took, Workplace
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig
from semconv.system.errors import InputError
from semconv.system.files import write_json
from semconv.system.json_toml import read_json
from semconv.system.shape import read_as

PLACES = "stores.json"
"""File of a run folder that says where its activation stores are."""
_SHARED = "shared/"
Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is (`in_bytes`)."""


def in_bytes(stage: str) -> bool:
    """Whether a stage counts bytes: downloads and hashing do."""
    return stage.startswith(("download ", "hash "))


def _silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller that asked for none."""


@dataclass
class Run:
    """A run folder: everything a reproduction leaves on disk, and the time each stage took.

    Attributes:
        suite: what is compared.
        folder: where results, stores and figures go.
        progress: called as stages advance.
        device: where models, SAEs and correlations run; no part of the suite, for results must not depend on it.
        fast: the suite was cut short by `SuiteConfig.fast`, and the results say so.
        began: when, seconds since 1970.
        tasks: names of the finished tasks that the results are made of.
        stores: folder of activation stores that several runs share; None keeps them in the run folder.
        found: where a store lies that is not where it usually would be.
        memory: bytes of activations and decoder rows that are held at once on the device; None for half of what is free
            when the study begins. No result depends on it.
        took: kind of tasks -> what they took.
    """

    suite: SuiteConfig
    folder: Path
    progress: Progress = _silent
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    fast: bool = False
    began: float = field(default_factory=time.time)
    tasks: set[str] = field(default_factory=set[str])
    stores: Path | None = None
    found: dict[Path, Path] = field(default_factory=dict[Path, Path])
    memory: int | None = None
    took: dict[str, Took] = field(default_factory=dict[str, Took])

    def usual_store_path(self, model: ModelConfig, sae: SaeConfig) -> Path:
        """Returns where the store of an SAE is made in the run folder."""
        return self.folder / "stores" / model.name / sae.place

    def store_path(self, model: ModelConfig, sae: SaeConfig) -> Path:
        """Returns where the store of an SAE was found or made, once its model was encoded."""
        usual = self.usual_store_path(model, sae)
        return self.found.get(usual, usual)

    def keep_places(self) -> None:
        """Writes where the stores are, for processes that do not encode (`read_places`); names no folder above them."""

        def told(place: Path) -> str:
            if self.stores is not None and place.is_relative_to(self.stores):
                return f"{_SHARED}{place.relative_to(self.stores)}"
            return str(place.relative_to(self.folder))

        found = {str(usual.relative_to(self.folder)): told(place) for usual, place in self.found.items()}
        write_json(self.folder / PLACES, found)

    def read_places(self) -> None:
        """Takes the stores from where `keep_places` says that they are.

        Raises:
            InputError: nothing was encoded in this folder, the file is damaged, or `stores` is needed and not given.
        """
        file = self.folder / PLACES
        if not file.exists():
            raise InputError(f"{self.folder} holds no stores: run `semconv encode` with this folder first")
        for usual, place in read_as(dict[str, str], read_json(file), str(file)).items():
            above = self.folder
            if place.startswith(_SHARED):
                if self.stores is None:
                    raise InputError(f"the stores of {self.folder} are shared with other runs: give --stores")
                above = self.stores
            self.found[self.folder / usual] = above / place.removeprefix(_SHARED)

    def decoder_path(self, model: ModelConfig, sae: SaeConfig) -> Path:
        return self.folder / "decoders" / model.name / f"{sae.place}.safetensors"

    def workplace(self, shard: Shard | None = None, shared: Reservations | None = None) -> Workplace:
        """Returns where the tasks of the run are done, with all that it holds within `memory`.

        On the CPU only as many tasks run at once as have room, with what they read, in what is free when it is called.

        Args:
            shard: which tasks this process begins with, where several share them.
            shared: who does what, where several share them.
        """
        cache, most = TaskCache(self.folder / "tasks", self.tasks), self.memory
        free, on_cpu = free_memory(self.device), self.device.type == "cpu"
        most = free // 2 if most is None else most
        shelf = Shelf(most, free if on_cpu else None)  # a GPU does one task after the other
        return Workplace(cache, shelf, on_cpu, shard or Shard(), shared, self.took)

    @contextmanager
    def timed(self, stage: str):
        """Adds the time spent inside to the stage's."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began
