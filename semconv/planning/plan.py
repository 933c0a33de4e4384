"""What a run of a suite will take: tasks and seconds of every stage, memory, disk and download, before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from semconv.core.device import DTYPES, resolve_precision
from semconv.models.memory_plan import DENSE_BYTES, SHARE
from semconv.models.roles import ModelOnText, same_pass
from semconv.planning.cost_model import CostModel
from semconv.planning.planned import PlannedModel, PlannedSide, PlannedTask
from semconv.planning.planned_tasks import (
    PlannedSides,
    planned_models,
    planned_sides,
    planned_streams,
)
from semconv.planning.planned_tasks import planned_tasks as tasks_of
from semconv.planning.rates import Rates
from semconv.planning.schedule import SPREAD
from semconv.planning.shapes import Shapes
from semconv.planning.stage_times import Machine, StagePlan, StageTimes, Work, at_once
from semconv.study.working_memory import SHARE_OF_PAIRS
from semconv.suite.config import SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.suite.nulls import MATCHED_AGAIN
from semconv.text.keywords import load_categories

GIB = 2**30
_PROCESS = 2**30  # bytes of a process that has loaded torch and transformers
_PAGE = 32 << 20
_OF_PAIR = 160  # bytes of a feature pair in pairs.parquet and contexts.parquet


@dataclass(frozen=True)
class Disk:
    """Bytes on disk.

    Attributes:
        stores: activations.
        decoders: decoder rows.
        tasks: finished tasks.
        rest: text, pairs, contexts, report.
        download: what is on the hub only, which goes to the cache of the hub.
    """

    stores: int
    decoders: int
    tasks: int
    rest: int
    download: int

    @property
    def folder(self) -> int:
        """Of the run folder."""
        return self.stores + self.decoders + self.tasks + self.rest


@dataclass(frozen=True)
class Memory:
    """Bytes of memory.

    Attributes:
        encode: at the most while the models read.
        study: at the most while tasks run.
        least: what the study cannot do without, on one thread.
        of_thread: what a task holds beside its sides, at the most.
        at_once: how many tasks have room at once where they hold most, no number of bytes.
        room: what running tasks may hold together, with all that they read; None where that bounds nothing.
        held: activations and decoder rows that are held at once where there is room, and what tasks make of them.
        of_tokens: of `least`, what grows with the text.
        mapped: weights of whole models that a task reads, in files that are mapped: they need no memory of their own.
    """

    encode: int
    study: int
    least: int
    of_thread: int
    at_once: int
    room: int | None
    held: int
    of_tokens: int
    mapped: int = 0

    @property
    def peak(self) -> int:
        """At the most, of one process."""
        return max(self.encode, self.study)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will take.

    Attributes:
        suite: its name.
        machine: on which.
        n_pairs: feature pairs of a layer pair, assumed.
        n_tokens: positions of the text that count.
        stages: in their order.
        memory: bytes.
        disk: bytes.
        assumed: what was not known, a sentence each.
        probed: what the rates were measured on; empty where nothing was.
    """

    suite: str
    machine: Machine
    n_pairs: int
    n_tokens: int
    stages: list[StagePlan]
    memory: Memory
    disk: Disk
    assumed: tuple[str, ...]
    probed: str = ""

    @property
    def seconds(self) -> float | None:
        """Of the whole run, without downloads; None where nothing was measured."""
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if known else None

    @property
    def tasks(self) -> int:
        """Tasks of the study."""
        return sum(stage.tasks for stage in self.stages)


@dataclass(frozen=True, eq=False)
class Planner:
    """Plans a suite.

    Attributes:
        suite: what is run.
        shapes: of its models and SAEs.
        n_pairs: feature pairs of a layer pair; 0 for a quarter of the smaller dictionary.
        on_cpu: whether the CPU does the work; `plan` follows its device.
    """

    suite: SuiteConfig
    shapes: Shapes
    n_pairs: int = 0
    on_cpu: bool = True

    @cached_property
    def work(self) -> Work:
        """What there is to do."""
        return Work(self.suite, self.shapes, self.sides, self.tasks, self.pairs, self.categories)

    @cached_property
    def sides(self) -> PlannedSides:
        """The SAEs of the suite over its text."""
        return planned_sides(self.suite, self.shapes)

    @cached_property
    def tasks(self) -> list[PlannedTask]:
        """The tasks of its study."""
        return tasks_of(self.suite, self.sides, self.shapes, self.pairs, self.on_cpu)

    @cached_property
    def pairs(self) -> int:
        """Feature pairs of a layer pair."""
        smaller = min(side.sae.n_features for side in (*self.sides.of.a, *self.sides.of.b))
        most = self.suite.match.strongest or smaller
        return min(most, self.n_pairs or max(self.suite.match.min_pairs, smaller // SHARE_OF_PAIRS))

    @cached_property
    def categories(self) -> int:
        """Categories of the suite."""
        config = self.suite.subspaces
        return 0 if config is None else len(load_categories(config.categories).keywords)

    def plan(
        self,
        machine: Machine,
        device: torch.device,
        rates: Rates | None = None,
        memory: int | None = None,
        spread: float = SPREAD,
    ) -> Plan:
        """Returns the plan of the suite on a machine.

        Args:
            machine: on which it runs.
            device: that encodes and correlates.
            rates: measured by `probe`; None leaves the seconds out.
            memory: bytes of activations and decoder rows held at once; None for half of what is free.
            spread: how much tasks differ from what is predicted (`simulate`).

        Raises:
            InputError: the rates lack a model of the suite, an SAE or a measure.
        """
        if self.on_cpu != (device.type == "cpu"):
            return replace(self, on_cpu=not self.on_cpu).plan(machine, device, rates, memory, spread)
        found = self._memory(machine, device, memory)
        assumed = (*self.shapes.assumed, *self._assumed())
        stages = self._stages(machine, found, rates, spread)
        probed = "" if rates is None else rates.machine
        return Plan(
            self.suite.name, machine, self.pairs, self.sides.n_tokens, stages, found, self._disk(), assumed, probed
        )

    def _assumed(self) -> Iterable[str]:
        if not self.n_pairs:
            share = f"1 in {SHARE_OF_PAIRS} of the smaller dictionary"
            yield f"{self.pairs:,} feature pairs a layer pair, {share} (--pairs)"
        yield "every layer pair and control keeps enough feature pairs, and no null ends early"

    def _disk(self) -> Disk:
        stores, n, null = self.sides.stores, self.sides.n_tokens, self.suite.null
        draws = 8 * len(self.suite.compare.measures) * null.most_of(self.suite.compare.measures)
        sizes = {
            "observe": 2 * draws + 40 * self.pairs + (16 * self._widest if null.matched_again else 0),
            "spans": draws,
            "categories": self.categories * draws,
            **dict.fromkeys(MATCHED_AGAIN, 16 * self.pairs),
            "step": 16 * null.n_permutations,
            "lens": self.pairs * (24 + (16 * self.suite.function.lens_tokens if self.suite.function else 0)),
        }
        of_tasks = sum(4096 + sizes.get(task.kind, 0) * task.amount for task in self.tasks)
        observed = sum(task.kind == "observe" and task.grid for task in self.tasks)
        rest = sum(4 * one.n_tokens * one.sae.width for one in self._streams)
        rest += 16 * n + _PAGE + observed * (_OF_PAIR * self.pairs + 3 * draws)
        decoders = sum(4 * side.sae.n_features * side.sae.width for side in stores.values())
        to_download = sum(one.to_download for one in (*self.shapes.models.values(), *self.shapes.saes.values()))
        return Disk(
            sum(side.disk for side in stores.values()),
            decoders,
            of_tasks,
            rest,
            to_download + self.shapes.text_to_download,
        )

    @property
    def _streams(self) -> list[PlannedSide]:
        """The sampled streams, each once."""
        every = [one for of_model in planned_streams(self.suite, self.sides) for one in of_model]
        return list({one.key: one for one in every}.values())

    @property
    def _widest(self) -> int:
        return max(side.sae.n_features for side in self.sides.stores.values())

    def _memory(self, machine: Machine, device: torch.device, memory: int | None) -> Memory:
        model = CostModel(self.suite, _NO_RATES, self.pairs, self.categories)
        every = {name: size for task in self.tasks for name, size in task.needs.items()}
        of_saes = (task for task in self.tasks if not any(isinstance(one, PlannedModel) for one in task.sides))
        largest, stores = max(task.held for task in of_saes), self.sides.stores.values()
        times = largest / (2 * max(side.held for side in stores))  # 1, or 2 where something is made of every side
        free = max(0, machine.memory - _PROCESS)
        most = free // 2 if memory is None else memory
        alone = max((task.held + model.working(task) for task in self.tasks), default=0)  # if it has all of it
        held = min(sum(every.values()), max(most, largest))
        of_thread = max((model.working(task) for task in self.tasks), default=0)
        room = free if device.type == "cpu" else None  # as `Run.workplace` bounds it
        together = at_once(machine.cores, room, alone)
        all_of_them = held + together * of_thread
        encode = max(self._encoding(group, device, free) for group in same_pass(planned_models(self.suite)))
        return Memory(
            _PROCESS + encode,
            _PROCESS + max(all_of_them if room is None else min(all_of_them, room), alone),
            _PROCESS + max(largest + of_thread, alone),
            of_thread,
            together,
            room,
            held,
            int(6 * (2 * times + 4) * max(side.entries for side in stores)),  # of two sides, packed, and copied
            max((_mapped_by(task) for task in self.tasks), default=0),
        )

    def _encoding(self, group: list[ModelOnText], device: torch.device, free: int) -> int:
        """Returns the bytes of a model up to its last hook, of its SAEs, and of what they are working on.

        As many SAEs as there is room for encode in one pass over the text (`sae_passes`), one at least.
        """
        saes = {sae.source: self.shapes.saes[sae.source] for one in group for sae in one.model.saes}.values()
        shape, last = self.shapes.of(group[0].model), max(hook_layer(s.hook) for one in group for s in one.model.saes)
        item = DTYPES[resolve_precision(self.suite.encode.model_precision, "", device)].itemsize
        unread = shape.n_blocks - 1 - last
        weights = item * (shape.parameters - max(0, unread) * shape.of_block)
        sizes = [8 * sae.n_features * sae.width for sae in saes]
        room = int(SHARE * max(0, free - weights)) - DENSE_BYTES
        return weights + min(sum(sizes), max(room, max(sizes))) + 4 * DENSE_BYTES

    def _stages(self, machine: Machine, memory: Memory, rates: Rates | None, spread: float) -> list[StagePlan]:
        if rates is None:
            names = dict.fromkeys(task.stage for task in self.tasks)
            return [StagePlan(name, sum(task.stage == name for task in self.tasks), None) for name in names]
        return StageTimes(self.work, rates, machine, memory.held, memory.room, spread).all()


def _mapped_by(task: PlannedTask) -> int:
    """Returns the bytes of weights in files that a task maps into memory."""
    models = {side.key: side.mapped for side in task.sides if isinstance(side, PlannedModel)}
    return sum(models.values())


_NO_RATES: Any = None  # memory follows from sizes alone
