"""The tasks on what features do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task
from semconv.study import task_names as of
from semconv.study.function_models import Acting, FunctionModels, no_lenses
from semconv.study.function_observations import LensFacts, LensObservation
from semconv.study.observations import PairObservation
from semconv.study.settings import StudySettings
from semconv.study.sides import AnySide, Side
from semconv.study.working_memory import lens_working_bytes
from semconv.suite.config import FunctionConfig
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError


@dataclass(frozen=True, eq=False)
class Rows:
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
        config: of the suite.
        study: settings of the suite, over this text.
        grid: layer pair -> its two sides.
        given: the models.
    """

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
        return Task(of.lens_task(key), (Rows(a), *needs, Rows(b)), "score", inputs, make)

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
