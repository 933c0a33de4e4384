"""The tasks on what features do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task
from semconv.statistics.resampling import halves
from semconv.study import task_names as of
from semconv.study.effects_of_pairs import AblatedPairs
from semconv.study.function_models import Acting, FunctionModels, no_lenses
from semconv.study.function_observations import LensFacts, LensObservation
from semconv.study.matching_rules import AblatedRules
from semconv.study.observations import PairObservation
from semconv.study.position_kinds import AblatedPositions
from semconv.study.settings import StudySettings
from semconv.study.sides import AnySide, Side
from semconv.study.stitching import StitchedStream
from semconv.study.streams import StreamSettings
from semconv.study.substitution import SubstitutedPairs
from semconv.study.working_memory import function_working_bytes, lens_working_bytes
from semconv.suite.config import FunctionConfig, PositionKindsConfig, RulesConfig, SubstitutionConfig, SuiteConfig
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError


@dataclass(frozen=True, eq=False)
class DecoderRowsOf:
    """A side of which a task takes decoder rows alone, and holds nothing beside it.

    Attributes:
        side: which.
    """

    side: AnySide

    @property
    def key(self) -> str:
        return self.side.key

    @property
    def n_bytes(self) -> int:
        return self.side.n_bytes

    @property
    def working(self) -> int:
        return 0

    def read(self) -> Side:
        """Reads it."""
        return self.side.read()


@dataclass(frozen=True, eq=False)
class FunctionTasks:
    """The tasks of a suite on what features do.

    Attributes:
        suite: what is compared.
        config: how.
        study: settings of the suite, over this text.
        grid: layer pair -> its two sides.
        given: the models.
    """

    suite: SuiteConfig
    config: FunctionConfig
    study: StudySettings
    grid: Mapping[str, tuple[AnySide, AnySide]]
    given: FunctionModels

    def lenses(self, kept: TaskCache) -> list[Task]:
        """Returns the tasks on the logit lens, one for each layer pair.

        Args:
            kept: holds the feature pairs of every layer pair.
        """
        return [self._lens_task(kept, key, *pair) for key, pair in self.grid.items()]

    def effects(self, controls: Mapping[str, tuple[AnySide, AnySide]]) -> list[Task]:
        """Returns the tasks that ablate features: those of some layer pairs, and of controls.

        Args:
            controls: control -> its two sides.
        """
        config, tasks = self.config, list[Task]()
        for key in of.function_pairs(self.suite):
            a, b = self.grid[key]
            acting = self.given.of(f"a.{a.label}", f"b.{b.label}")
            tasks.append(self._effects_task(of.function_task(key), acting, a, b, config.pairs))
        for name in of.function_controls(self.suite):
            acting = self.given.of(f"control.{name}.a", f"control.{name}.b")
            task = of.function_task(of.control_tag(name))
            tasks.append(self._effects_task(task, acting, *controls[name], config.control_pairs))
        return tasks

    def beside_effects(self) -> list[Task]:
        """Returns the tasks that ask more of some layer pairs: rules of matching, substitution, kinds of positions."""
        config = self.config
        return [
            *(self.position_kinds(config.position_kinds) if config.position_kinds else []),
            *(self.rules(config.rules) if config.rules else []),
            *(self.substitution(config.substitution) if config.substitution else []),
        ]

    def rules(self, config: RulesConfig) -> list[Task]:
        """Returns the tasks that compare rules of matching, one for each layer pair that is asked for."""
        return [self._rules_task(config, key, *self.grid[key]) for key in of.compared_rules(self.suite)]

    def _rules_task(self, config: RulesConfig, key: str, a: AnySide, b: AnySide) -> Task:
        acting, streams = self.given.of(f"a.{a.label}", f"b.{b.label}"), self._stitched(a, b)
        ablated = AblatedPairs(self.study, self.given, acting, config.pairs, config.positions)
        features = self.suite.streams.features if self.suite.streams else 0
        working = [function_working_bytes(config.pairs, one.model.vocab_size) for one in acting]
        needs = [one.model.beside(n) for one, n in zip(acting, working, strict=True)]
        more = [asdict(config), self.given.n_tokens, self.given.blocks.sha256, features, self.study.tokens_sha256]
        more += [[one.key, one.stream.decoder_elsewhere] for one in streams]
        inputs = self.study.inputs(a, b, [one.inputs for one in acting], more)
        rules = AblatedRules(ablated, (streams[0], streams[1]) if streams else None, features)
        return Task(of.rules_task(key), (a, *needs, *streams, b), inputs, rules.observe, "rules of matching")

    def substitution(self, config: SubstitutionConfig) -> list[Task]:
        """Returns the tasks that replace contributions by mapped ones, one for each layer pair that is asked for."""
        return [self._substitution_task(config, key, *self.grid[key]) for key in of.substituted_pairs(self.suite)]

    def _substitution_task(self, config: SubstitutionConfig, key: str, a: AnySide, b: AnySide) -> Task:
        acting, streams = self.given.of(f"a.{a.label}", f"b.{b.label}"), self._stitched(a, b)
        ablated = AblatedPairs(self.study, self.given, acting, config.pairs, config.positions)
        needs = [one.model.beside(function_working_bytes(config.pairs, one.model.vocab_size)) for one in acting]
        more = [config.pairs, config.positions, self.given.blocks.sha256, self.study.tokens_sha256]
        more += [[one.key, one.stream.decoder_elsewhere] for one in streams]
        inputs = self.study.inputs(a, b, [one.inputs for one in acting], more)
        replaced = SubstitutedPairs(ablated, (streams[0], streams[1]) if streams else None)
        return Task(of.substitution_task(key), (a, *needs, *streams, b), inputs, replaced.observe, "substitution")

    def position_kinds(self, config: PositionKindsConfig) -> list[Task]:
        """Returns the tasks that compare kinds of positions, one for each layer pair that is asked for."""
        tasks = list[Task]()
        for key in of.compared_position_kinds(self.suite):
            a, b = self.grid[key]
            acting = self.given.of(f"a.{a.label}", f"b.{b.label}")
            ablated = AblatedPairs(self.study, self.given, acting, config.pairs, config.positions)
            needs = [one.model.beside(function_working_bytes(config.pairs, one.model.vocab_size)) for one in acting]
            more = [asdict(config), self.given.n_tokens, self.given.blocks.sha256]
            inputs = self.study.inputs(a, b, [one.inputs for one in acting], more)
            observe = AblatedPositions(ablated).observe
            tasks.append(Task(of.position_kinds_task(key), (a, *needs, b), inputs, observe, "kinds of positions"))
        return tasks

    def _stitched(self, a: AnySide, b: AnySide) -> list[StitchedStream]:
        """Returns the streams of a layer pair, for a map fitted where pairs are matched; none if none are compared."""
        suite = self.suite
        if self.given.streams is None or suite.streams is None:
            return []
        sample, seed = self.given.streams, suite.null.seed
        settings = StreamSettings(sample.text, suite.streams, suite.compare.svcca_threshold, seed)
        text = self.given.blocks
        first = halves(self.study.starts, text.n_tokens, seed)[0]
        documents = np.unique(text.document[text.mask][first].numpy())
        of_both = (
            streams[list(model.by_label).index(side.label)]
            for streams, model, side in ((sample.a, suite.model_a, a), (sample.b, suite.model_b, b))
        )
        return [StitchedStream(stream, settings, documents) for stream in of_both]

    def _effects_task(self, name: str, acting: tuple[Acting, Acting], a: AnySide, b: AnySide, n_pairs: int) -> Task:
        ablated = AblatedPairs(self.study, self.given, acting, n_pairs, self.config.positions)
        needs = [one.model.beside(function_working_bytes(n_pairs, one.model.vocab_size)) for one in acting]
        more = [n_pairs, self.config.positions, self.given.n_tokens, self.given.blocks.sha256]
        inputs = self.study.inputs(a, b, [one.inputs for one in acting], more)
        return Task(name, (a, *needs, b), inputs, ablated.observe)

    def _lens_task(self, kept: TaskCache, key: str, a: AnySide, b: AnySide) -> Task:
        found = kept.read_as(PairObservation, of.observed_task(of.grid_tag(key)))
        acting = self.given.of(f"a.{a.label}", f"b.{b.label}")
        needs = [one.head.beside(lens_working_bytes(len(found.a), one.head.vocab_size)) for one in acting]
        inputs = [
            [a.decoder_sha256, b.decoder_sha256],
            sha256_of(found.a, found.b),
            [one.inputs for one in acting],
            [self.config.lens_tokens, self.given.n_tokens],
        ]
        make = partial(self._lens, acting, (found.a, found.b))
        return Task(of.lens_task(key), (DecoderRowsOf(a), *needs, DecoderRowsOf(b)), inputs, make)

    def _lens(
        self,
        acting: tuple[Acting, Acting],
        pairs: tuple[np.ndarray, np.ndarray],
        a: Side,
        network_a: Any,
        network_b: Any,
        b: Side,
    ) -> LensObservation:
        n, k = self.given.n_tokens, min(self.config.lens_tokens, self.given.n_tokens)
        rows = a.decoder[pairs[0]], b.decoder[pairs[1]]
        places = acting[0].place, acting[1].place
        try:
            found, facts = self.given.models.lenses((network_a, network_b), places, rows, k, n), LensFacts(tokens=n)
        except InputError as error:
            found, facts = no_lenses(), LensFacts(reason=str(error))
        return LensObservation(facts, **vars(found))


def function_stages(
    suite: SuiteConfig,
    study: StudySettings,
    grid: Mapping[str, tuple[AnySide, AnySide]],
    controls: Mapping[str, tuple[AnySide, AnySide]],
    given: FunctionModels | None,
    kept: TaskCache,
) -> Iterator[tuple[str, list[Task]]]:
    """Gives the stages on what features do their names and tasks; none where the suite does not ask for them.

    Args:
        suite: what is compared.
        study: settings of the suite, over this text.
        grid: layer pair -> its two sides.
        controls: control -> its two sides.
        given: the models.
        kept: holds the feature pairs of every layer pair.
    """
    if suite.function is None or given is None:
        return
    tasks = FunctionTasks(suite, suite.function, study, grid, given)
    yield "logit lens", tasks.lenses(kept)
    yield "function", [*tasks.beside_effects(), *tasks.effects(controls)]  # the longest first
