"""The tasks on streams, and on decoder rows by way of streams, vocabulary and activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task
from semconv.study import task_names as of
from semconv.study.decoder_baselines import observe_best_r, observe_partial
from semconv.study.observations import PairObservation, RematchChunk
from semconv.study.settings import StudySettings
from semconv.study.sides import AnySide
from semconv.study.stitching import StitchedStream, Stitching
from semconv.study.streams import (
    PreparedStream,
    SampledStreams,
    StoredStream,
    StreamSettings,
    compare_streams,
)
from semconv.suite.config import StreamsConfig, SuiteConfig


@dataclass(frozen=True, eq=False)
class StreamTasks:
    """The tasks of a suite on streams.

    Attributes:
        suite: what is compared.
        config: how.
        study: settings of the suite, over this text.
        grid: layer pair -> its two sides.
        streams: of both models.
    """

    suite: SuiteConfig
    config: StreamsConfig
    study: StudySettings
    grid: Mapping[str, tuple[AnySide, AnySide]]
    streams: SampledStreams

    @cached_property
    def _settings(self) -> StreamSettings:
        suite = self.suite
        return StreamSettings(self.streams.text, self.config, suite.compare.svcca_threshold, suite.null.seed)

    @property
    def _inputs(self) -> list[Any]:
        return [asdict(self.config), self.streams.sha256, self._settings.seed]

    def _pairs(self) -> Iterator[tuple[str, StoredStream, StoredStream]]:
        both = ((a, b) for a in self.streams.a for b in self.streams.b)
        for key, (a, b) in zip(self.grid, both, strict=True):
            yield key, a, b

    def compared_streams(self) -> list[Task]:
        """Returns the tasks that compare streams, and that count what they are compared at."""
        settings, more = self._settings, [*self._inputs, self._settings.threshold]

        def compared(key: str, a: StoredStream, b: StoredStream) -> Task:
            needs = PreparedStream(a, settings), PreparedStream(b, settings)
            return Task(of.stream_task(key), needs, [*more, a.identity, b.identity], compare_streams)

        facts = Task(of.STREAMS_TASK, (), self._inputs, settings.facts)
        return [facts, *(compared(*pair) for pair in self._pairs())]

    def decoders(self, kept: TaskCache) -> list[Task]:
        """Returns the tasks of the decoder baselines, three for each layer pair.

        Args:
            kept: holds the feature pairs of every layer pair.
        """
        return [task for pair in self._pairs() for task in self._of_pair(kept, *pair)]

    def _of_pair(self, kept: TaskCache, key: str, of_a: StoredStream, of_b: StoredStream) -> list[Task]:
        (a, b), study, settings, draws = self.grid[key], self.study, self._settings, self.config.draws
        found = kept.read_as(PairObservation, of.observed_task(of.grid_tag(key)))
        pairs, inputs = (found.a, found.b), study.inputs(a, b, self._inputs)
        known = self._known_best_r(kept, key, found)
        stitching = Stitching(study, settings, (of_a, of_b), pairs)
        of_streams = [(one.identity, one.decoder_elsewhere) for one in (of_a, of_b)]
        needs = StitchedStream(of_a, settings), StitchedStream(of_b, settings), a, b
        one, other = self.streams.vocabularies
        without = partial(observe_partial, study, (one.load, other.load), pairs, study.null.n_permutations)
        return [
            Task(of.stitched_task(key), needs, [*inputs, of_streams], stitching.observe, "stitched rows"),
            Task(of.partial_task(key), (a, b), [*inputs, one.identity, other.identity], without, "partial RSA"),
            Task(of.best_r_task(key), (a, b), inputs, partial(observe_best_r, study, draws, known), "best r"),
        ]

    def _known_best_r(self, kept: TaskCache, key: str, pair: PairObservation) -> Float64[ndarray, "sides k"]:
        """Returns the mean best r that `rematch` found under the first of the shifts, float64 [2, k]."""
        tag, draws = of.grid_tag(key), self.config.draws
        names = [of.rematch_task(tag, "rematch", one) for one in of.known_shifts(self.suite, tag, pair, draws)]
        found = [np.zeros((2, 0)), *(kept.read_as(RematchChunk, name).best_r for name in names)]
        return np.concatenate(found, axis=1)[:, :draws]
