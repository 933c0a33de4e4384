"""How long every stage of a run takes, from the rates that a probe measured and the tasks that there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from semconv.models.roles import ModelOnText, Roles, same_pass
from semconv.models.sae_fit import FIT_TOKENS, LOSS_TOKENS
from semconv.planning.cost_model import CostModel
from semconv.planning.planned import PlannedModel, PlannedSide, PlannedTask
from semconv.planning.planned_tasks import (
    PlannedSides,
    planned_models,
    planned_streams,
)
from semconv.planning.rates import Rates
from semconv.planning.schedule import Job, Machines, simulate
from semconv.planning.shapes import Shapes
from semconv.runs.tasks import Task, in_tiles
from semconv.suite.config import SuiteConfig
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.text.corpus import PARSERS, installed_sources

_DRAW = 3e-8  # seconds to draw one weight of an untrained twin


@dataclass(frozen=True)
class StagePlan:
    """A stage of a run.

    Attributes:
        name: as the progress bar calls it.
        tasks: how many pieces it has.
        seconds: that it takes; None where nothing was measured.
        work: seconds of one thread in all its tasks.
    """

    name: str
    tasks: int
    seconds: float | None
    work: float | None = None


@dataclass(frozen=True)
class Machine:
    """A machine that runs a suite.

    Attributes:
        cores: tasks at once; one where a GPU correlates.
        memory: bytes that are free.
        workers: processes that share the tasks of the study, each with `cores` and `memory` of its own.
    """

    cores: int
    memory: int
    workers: int = 1


@dataclass(frozen=True, eq=False)
class Work:
    """What a run has to do.

    Attributes:
        suite: that is run.
        shapes: of its models and SAEs.
        sides: the SAEs over the text.
        tasks: of the study.
        n_pairs: feature pairs of a layer pair.
        categories: how many the suite has.
    """

    suite: SuiteConfig
    shapes: Shapes
    sides: PlannedSides
    tasks: list[PlannedTask]
    n_pairs: int
    categories: int


def at_once(cores: int, room: int | None, of_task: int) -> int:
    """Returns how many tasks run at once in a process.

    Args:
        cores: of the machine.
        room: bytes that running tasks may hold; None where that bounds nothing.
        of_task: bytes that one of them holds, with what it reads.
    """
    return cores if room is None or not of_task else max(1, min(cores, room // of_task))


@dataclass(frozen=True, eq=False)
class StageTimes:
    """Seconds of the stages of a run.

    Attributes:
        work: what there is to do.
        rates: measured by `probe`.
        machine: that does it.
        held: bytes of activations and decoder rows that are held at once.
        room: bytes that running tasks of a process may hold, with all that they read; None where that bounds nothing.
        spread: how much tasks differ from what is predicted (`simulate`).
    """

    work: Work
    rates: Rates
    machine: Machine
    held: int
    room: int | None
    spread: float

    def all(self) -> list[StagePlan]:
        """Returns every stage, in order.

        Raises:
            InputError: the rates lack a model of the suite, an SAE or a measure.
        """
        return [*self.before(), *self.study(), *self.after()]

    @property
    def _faster(self) -> float:
        """How much faster all cores of the machine are than those of the probe, where a stage has them all."""
        return 1.0 if self.rates.device != "cpu" else self.rates.threads / self.machine.cores

    @cached_property
    def _model(self) -> CostModel:
        work = self.work
        return CostModel(work.suite, self.rates, work.n_pairs, work.categories)

    def before(self) -> Iterable[StagePlan]:
        """Gives the stages before the study: text, hashes, encoding, what is known of the stores."""
        suite, rates, shapes = self.work.suite, self.rates, self.work.shapes
        n = self.work.sides.n_tokens
        parsers = min(PARSERS, self.machine.cores)
        parse = _source_bytes(suite) * rates.parse / parsers if suite.corpus.kind == "docstrings" else 0.0
        yield StagePlan("corpus", 1, parse + n * rates.tokenize)
        hashed = sum(one.n_bytes for one in (*shapes.models.values(), *shapes.saes.values()))
        yield StagePlan("hash", len(shapes.models), hashed * rates.hashed)
        roles = planned_models(suite)
        sides_of = {id(one): sides for one, sides in zip(roles.every, self.work.sides.of.every, strict=True)}
        for group in same_pass(roles):
            of_group = {side.key: side for one in group for side in sides_of[id(one)]}
            yield StagePlan(f"encode {group[0].model.name}", 1, self._encode(group, list(of_group.values())))
        stores = list(self.work.sides.stores.values())
        of_one = [self._model.read(side) + self._model.top(side) for side in stores]
        yield StagePlan("load stores", 2 * len(stores), sum(of_one) / min(self.machine.cores, len(stores)))
        yield from self._streams(roles)
        measured = set[str]()
        for one in roles.on_the_text:
            stage = f"fit {one.model.name}"
            if stage not in measured:
                measured.add(stage)
                yield StagePlan(stage, 1, self._fit(one, with_loss=one in (roles.a, roles.b)))

    def _streams(self, roles: Roles[ModelOnText]) -> Iterable[StagePlan]:
        """Gives the passes over the sample at which streams are compared."""
        for one, streams in zip((roles.a, roles.b), planned_streams(self.work.suite, self.work.sides), strict=True):
            if streams:
                blocks = 1 + max(hook_layer(sae.hook) for sae in one.model.saes)
                forward = blocks * self._forward(one, streams[0].n_tokens) * self._faster
                write = sum({stream.key: stream.held for stream in streams}.values()) * self.rates.write
                yield StagePlan(f"streams {one.model.name}", 1, self._load(one) + forward + write)

    def _encode(self, group: list[ModelOnText], sides: list[PlannedSide]) -> float:
        """Returns the seconds of one pass of a model that feeds the SAEs of all its roles."""
        n = max(side.n_tokens for side in sides)
        last = max(hook_layer(sae.hook) for one in group for sae in one.model.saes)
        forward = (last + 1) * self._forward(group[0], n) * self._faster
        encoders = sum(side.n_tokens * self._encoder(side) for side in sides) * self._faster
        write = sum(side.disk for side in sides) * self.rates.write
        return self._load(group[0]) + forward + encoders + write

    def _encoder(self, side: PlannedSide) -> float:
        key = f"{side.sae.width}x{side.sae.n_features}"
        if key not in self.rates.saes:
            raise InputError(f"the probe did not measure an SAE of {key}; make it again for this suite")
        return self.rates.saes[key]

    def _forward(self, one: ModelOnText, n_tokens: int) -> float:
        """Returns the seconds of one block over so many tokens."""
        place = f"{one.model.path}@{one.model.revision}"
        if place not in self.rates.blocks:
            raise InputError(f"the probe did not measure model {one.model.name}; make it again for this suite")
        line, corpus = self.rates.blocks[place], self.work.suite
        passes = n_tokens / (corpus.corpus.context * corpus.encode.batch)
        return line.fixed * passes + line.per_token * n_tokens

    def _load(self, one: ModelOnText) -> float:
        shape = self.work.shapes.of(one.model)
        drawn = shape.parameters * _DRAW if one.model.untrained_seed is not None else 0.0
        return shape.n_bytes * self.rates.read + drawn

    def _fit(self, one: ModelOnText, with_loss: bool) -> float:
        shape, n_saes = self.work.shapes.of(one.model), len(one.model.saes)
        whole = shape.n_blocks + shape.config.get_text_config().vocab_size * shape.width / max(1, shape.of_block)
        passes = whole * (2 * n_saes + 1) if with_loss else 0.0
        forward = self._forward(one, FIT_TOKENS) * shape.n_blocks + self._forward(one, LOSS_TOKENS) * passes
        key = f"{shape.width}x"
        encoder = max((value for name, value in self.rates.saes.items() if name.startswith(key)), default=0.0)
        return self._load(one) + (forward + 3 * n_saes * FIT_TOKENS * encoder) * self._faster

    def study(self) -> Iterable[StagePlan]:
        """Gives the stages of the study, each of which begins when the one before has ended."""
        read = {key: self._model.read(side) for key, side in self.work.sides.stores.items()}
        streams = [one for of_model in planned_streams(self.work.suite, self.work.sides) for one in of_model]
        read |= {stream.key: self._model.prepare(stream) for stream in streams}
        models = {one.key: one for task in self.work.tasks for one in task.sides if isinstance(one, PlannedModel)}
        read |= {key: self._model.read(model) for key, model in models.items()}
        sizes = [side.held for side in self.work.sides.stores.values()]
        by_stage: dict[str, list[PlannedTask]] = {}
        for task in self.work.tasks:
            by_stage.setdefault(task.stage, []).append(task)
        for number, (name, tasks) in enumerate(by_stage.items()):
            jobs = [
                Job(self._model.seconds(task), tuple(side.key for side in task.sides))
                for task in in_order(tasks, self.held)
            ]
            working = max(self._model.working(task) for task in tasks)
            of_task = max(self._model.working(task) + task.held for task in tasks)
            together = at_once(self.machine.cores, self.room, of_task)
            left = self.held if self.room is None else min(self.held, self.room - together * working)
            held = max(2, int(left / (sum(sizes) / len(sizes))))
            machines = Machines(self.machine.workers, together, held)
            found = simulate(jobs, machines, read, self.spread, number)
            yield StagePlan(name, len(tasks), found.seconds, found.work)

    def after(self) -> Iterable[StagePlan]:
        """Gives the stages after the study: contexts, and the report."""
        sides, rates = [*self.work.sides.of.a, *self.work.sides.of.b], self.rates
        found = [self._model.read(one) + self._model.top(one) + rates.histograms * one.entries for one in sides]
        of = self.work.sides.of
        found += [self._model.read(a) + self._model.read(b) + self._model.shown(a, b) for a in of.a for b in of.b]
        yield StagePlan("contexts", len(found), sum(found) / min(self.machine.cores, len(found)))
        panels = 2 * (7 + 5 * len(self.work.suite.compare.measures))  # as PNG and as SVG
        yield StagePlan("report", 1, rates.figure * panels)


@dataclass(frozen=True)
class _Read:
    """A side as a task needs it."""

    key: str
    n_bytes: int
    working: int = 0

    def read(self) -> None:
        """Nothing is read for a plan."""


def in_order(tasks: list[PlannedTask], most: int) -> list[PlannedTask]:
    """Returns planned tasks in the order in which a run with so many bytes of memory begins them (`in_tiles`)."""
    planned = {task.name: task for task in tasks}

    def as_task(one: PlannedTask) -> Task:
        return Task(one.name, tuple(_Read(name, size) for name, size in one.needs.items()), [], lambda: None)

    return [planned[task.name] for task in in_tiles([as_task(task) for task in tasks], most)]


def _source_bytes(suite: SuiteConfig) -> int:
    """Returns the bytes of the Python files of the packages whose docstrings are the text."""
    files = installed_sources(suite.corpus.packages, suite.corpus.exclude or ())
    return sum(file.stat().st_size for file in files)
