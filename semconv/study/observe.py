"""Observing: explicit lists of tasks, each with the sides that it needs, its cost and its cache key, and their run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import product
from threading import Lock
from typing import Any

from semconv.compare import make_measures
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task, Workplace
from semconv.study import task_names as of
from semconv.study.controls import of_strongest, self_match
from semconv.study.function_models import FunctionModels
from semconv.study.function_tasks import function_stages
from semconv.study.observations import (
    Observations,
    PairObservation,
    PartObservation,
    RematchChunk,
    SharedFacts,
    SharedObservation,
    SpansFacts,
    SpansObservation,
    StrongestScores,
)
from semconv.study.observe_pair import (
    observe_pair,
    observe_scores,
    rematch_chunk,
    resamples,
    score_halves,
    strongest_scores,
    swapped_chunk,
)
from semconv.study.published_protocol import PublishedSides, observe_step, variants
from semconv.study.read_observations import read_observations
from semconv.study.settings import StudySettings
from semconv.study.sides import AnySide, Derived, Side, key_of
from semconv.study.spread_observations import PairHalves, Resamples
from semconv.study.stream_tasks import StreamTasks
from semconv.study.streams import SampledStreams
from semconv.study.subspaces import (
    CategoryParts,
    category_members,
    observe_categories,
    observe_part,
    pooled,
    shared_features,
    spans_of,
)
from semconv.suite.config import SpanConfig, SubspaceConfig, SuiteConfig
from semconv.suite.nulls import AgainNull
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.text.keywords import load_categories
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks

Progress = Callable[[str, int, int], None]
"""Called with the stage, how many of its tasks are finished, and how many there are."""
Pair = tuple[AnySide, AnySide]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Everything a suite encodes.

    Attributes:
        blocks: the text, as A reads it.
        texts: text of every token id of A's tokenizer.
        sides_a: SAEs of model A, by layer.
        sides_b: of model B.
        controls: control -> its two sides.
        seeds: name -> sides of A or B through SAEs from another seed.
        published: the layer pair of the published protocol; None where the suite has none.
        spans: of A and of B, what the activations were pooled over where a suite aligns two tokenizers.
        unfair: floors that read untrained models through an SAE of A or B, which are a floor of nothing.
        streams: the streams that the SAEs of A and B read, at a sample of the text; None where the suite has none.
        function: the models, for the tasks on what features do; None where the suite has none.
    """

    blocks: TokenBlocks
    texts: list[str]
    sides_a: Sequence[AnySide]
    sides_b: Sequence[AnySide]
    controls: Mapping[str, Pair]
    published: PublishedSides | None = None
    spans: tuple[Spans, Spans] | None = None
    unfair: frozenset[str] = field(default_factory=frozenset[str])
    seeds: Mapping[str, Sequence[AnySide]] = field(default_factory=dict[str, Sequence[AnySide]])
    streams: SampledStreams | None = None
    function: FunctionModels | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU correlates, and so several tasks at once keep it busy."""
        return self.sides_a[0].on_cpu

    @property
    def sides(self) -> list[AnySide]:
        """The SAEs of A, then those of B."""
        return [*self.sides_a, *self.sides_b]

    @property
    def named(self) -> dict[str, AnySide]:
        """`a.LABEL` and `b.LABEL`, which names of tasks hold, -> the side."""
        return {f"{role}.{s.label}": s for role, sides in (("a", self.sides_a), ("b", self.sides_b)) for s in sides}

    @property
    def grid(self) -> dict[str, Pair]:
        """Layer pair -> its two sides."""
        return {key_of(a, b): (a, b) for a in self.sides_a for b in self.sides_b}

    def across_seeds(self, suite: SuiteConfig) -> dict[str, list[AnySide]]:
        """Returns `a.LABEL` and `b.LABEL` -> the side, and those through SAEs from other seeds."""
        return {
            name: [side, *(self._seed(one.name, side.label) for one in suite.seeds_at(name[0], side.label))]
            for name, side in self.named.items()
        }

    def _seed(self, name: str, label: str) -> AnySide:
        return next(side for side in self.seeds[name] if side.label == label)


@dataclass(frozen=True, eq=False)
class _Studied:
    """Two sides under one tag, and the settings that they are put through."""

    tag: str
    settings: StudySettings
    a: AnySide
    b: AnySide


def observe(
    suite: SuiteConfig, settings: StudySettings, encoded: Encoded, place: Workplace, progress: Progress
) -> Observations:
    """Observes everything that a suite compares.

    Args:
        suite: what is compared.
        settings: of the suite, over this text.
        encoded: all sides.
        place: where the tasks are done; those that an earlier run finished with the same inputs are not done again.
        progress: called after every task.

    Raises:
        InputError: two tasks of one name; `match.min_documents` where the documents are not known.
    """
    do_tasks(suite, settings, encoded, place, progress)
    return read_observations(suite, place.cache)


def do_tasks(
    suite: SuiteConfig, settings: StudySettings, encoded: Encoded, place: Workplace, progress: Progress
) -> None:
    """Does every task of a suite that is not finished yet; arguments and errors as of `observe`."""
    names = set[str]()
    for stage, tasks in stages(suite, settings, encoded, place.cache):
        for task in tasks:
            if task.name in names:
                raise InputError(f"two tasks are called {task.name}: give a control or an SAE another name")
            names.add(task.name)
        place.run(tasks, partial(progress, stage), stage)


def stages(
    suite: SuiteConfig, settings: StudySettings, encoded: Encoded, kept: TaskCache
) -> Iterator[tuple[str, list[Task]]]:
    """Gives stage after stage its name and tasks, none of an empty list; a list may read what those before it found.

    Args:
        suite: what is compared.
        settings: of the suite, over this text.
        encoded: all sides.
        kept: holds the finished tasks of the stages before.
    """
    grid = [_Studied(of.grid_tag(key), settings, *pair) for key, pair in encoded.grid.items()]
    studied = [*grid, *(_Studied(of.control_tag(name), settings, *pair) for name, pair in encoded.controls.items())]
    selves = [_self_task(settings, name, side) for name, side in encoded.named.items()]
    yield "compare", [*map(_observed_task, studied), *selves]
    counts = {key: _n_pairs(kept, of.grid_tag(key)) for key in encoded.grid}
    controls = of.studied_floors(suite, counts)
    floors = [
        _Studied(of.floor_tag(c.name), of_strongest(settings, counts[of.key_of_control(c)]), *encoded.controls[c.name])
        for c in controls
    ]
    if floors:
        yield "floors", [*map(_observed_task, floors)]
        trained = [
            _Studied(
                of.trained_tag(c.name),
                of_strongest(settings, max(_n_pairs(kept, floor.tag), 1)),
                *encoded.grid[of.key_of_control(c)],
            )
            for c, floor in zip(controls, floors, strict=True)
        ]
        yield "beside floors", [*map(_observed_task, trained)]
        studied += [*floors, *trained]
    tested = [
        one
        for one in studied
        if of.is_rematched(suite, one.tag, kept.read_as(PairObservation, of.observed_task(one.tag)))
    ]
    if tested:
        drawn = {one.tag: of.again_chunks(of.matched_again(suite, one.tag)) for one in tested}
        # Layer pairs under the same draws stand side by side: an exchange of positions is drawn once for all.
        every = of.again_chunks(suite.null.matched_again)
        again = [(part, one) for part in every for one in tested if part in drawn[one.tag]]
        yield "rematch", [_rematch_task(one, *part, kept) for part, one in again]
        yield "rematch scores", [task for one in tested for task in _score_tasks(one, drawn[one.tag], kept)]
    yield from _spread_stages(suite, settings, encoded, grid, kept)
    if suite.subspaces is not None:
        yield "subspaces", _category_tasks(suite, suite.subspaces, settings, encoded)
    if suite.spans is not None:
        yield "spans", _span_tasks(suite.spans, settings, encoded)
    if suite.streams is not None and encoded.streams is not None:
        of_streams = StreamTasks(suite, suite.streams, settings, encoded.grid, encoded.streams)
        yield "streams", of_streams.compared_streams()
        if suite.streams.draws:
            yield "decoders", of_streams.decoders(kept)
    yield from function_stages(suite, settings, encoded.grid, encoded.controls, encoded.function, kept)
    if encoded.published is not None:
        yield "published", _step_tasks(suite, settings, encoded.published)


def _spread_stages(
    suite: SuiteConfig, settings: StudySettings, encoded: Encoded, grid: list[_Studied], kept: TaskCache
) -> Iterator[tuple[str, list[Task]]]:
    """Gives the stages that say how far scores would move: with other documents, other features, other seeds."""
    if suite.null.n_bootstrap:
        parts = of.chunks(suite.null.n_bootstrap)
        yield "bootstrap", [_resample_task(one, numbers) for one in grid for numbers in parts]
    if suite.null.n_pair_halves:
        parts = of.chunks(suite.null.n_pair_halves)
        halved = [one for one in grid if _n_pairs(kept, one.tag) >= suite.match.min_pairs]
        yield "pair halves", [_halves_task(one, numbers, kept) for one in halved for numbers in parts]
    sides, tasks = encoded.across_seeds(suite), list[Task]()
    for key, (n_a, n_b) in of.seeds_of_grid(suite).items():
        a, b = encoded.grid[key]
        for i, j in product(range(n_a), range(n_b)):
            if (i, j) != (0, 0):  # which is the layer pair itself
                pair = sides[f"a.{a.label}"][i], sides[f"b.{b.label}"][j]
                tasks.append(_scored_task(settings, of.seeds_task(of.grid_tag(key), i, j), pair))
    for name, pairs in of.ceilings_of(suite).items():
        one = sides[name]
        tasks += [_scored_task(settings, of.ceiling_task(name, i, j), (one[i], one[j])) for i, j in pairs]
    if tasks:
        yield "seeds", tasks


def _scored_task(settings: StudySettings, name: str, pair: Pair) -> Task:
    return Task(name, pair, settings.inputs(*pair), partial(observe_scores, settings))


def _halves_task(one: _Studied, numbers: range, kept: TaskCache) -> Task:
    pair = kept.read_as(PairObservation, of.observed_task(one.tag))

    def make(a: Side, b: Side) -> PairHalves:
        return score_halves(one.settings, a, b, (pair.a, pair.b), numbers)

    inputs = one.settings.inputs(one.a, one.b, list(numbers))
    return Task(of.halves_task(one.tag, numbers), (one.a, one.b), inputs, make)


def _n_pairs(kept: TaskCache, tag: str) -> int:
    return len(kept.read_as(PairObservation, of.observed_task(tag)).a)


def _observed_task(one: _Studied) -> Task:
    inputs = one.settings.inputs(one.a, one.b, one.settings.tokens_sha256)
    return Task(of.observed_task(one.tag), (one.a, one.b), inputs, partial(observe_pair, one.settings))


def _self_task(settings: StudySettings, name: str, side: AnySide) -> Task:
    inputs = settings.inputs(side, side)
    return Task(of.self_task(name), (side,), inputs, partial(self_match, settings))


def _again_inputs(one: _Studied, null: AgainNull, *more: Any) -> list[Any]:
    """Returns what a task under a null that matches again depends on: one that exchanges tokens on these too."""
    swaps = one.settings.swaps.get(null)
    return one.settings.inputs(one.a, one.b, *more, *([swaps.sha256] if swaps else []))


def _rematch_task(one: _Studied, null: AgainNull, numbers: range, kept: TaskCache) -> Task:
    most, swaps = _n_pairs(kept, one.tag), one.settings.swaps.get(null)

    def make(a: Side, b: Side) -> RematchChunk:
        if swaps is None:
            return rematch_chunk(one.settings, a, b, numbers, most)
        return swapped_chunk(one.settings, swaps, a, b, numbers, most)

    inputs = _again_inputs(one, null, list(numbers), most)
    return Task(of.rematch_task(one.tag, null, numbers), (one.a, one.b), inputs, make, null)


def _score_tasks(one: _Studied, parts: list[tuple[AgainNull, range]], kept: TaskCache) -> list[Task]:
    """Returns the tasks that score the strongest pairs: as many on the true text as under every draw."""
    settings, a, b = one.settings, one.a, one.b
    pair = kept.read_as(PairObservation, of.observed_task(one.tag))
    n = of.n_scored(pair, [kept.read_as(of.chunk_of(part[0]), of.rematch_task(one.tag, *part)) for part in parts])

    def true(of_a: Side, of_b: Side) -> StrongestScores:
        return strongest_scores(settings, of_a, of_b, [(pair.ranked_a, pair.ranked_b)], n)

    def again(part: tuple[AgainNull, range], of_a: Side, of_b: Side) -> StrongestScores:
        ranked = kept.read_as(of.chunk_of(part[0]), of.rematch_task(one.tag, *part)).ranked
        return strongest_scores(settings, of_a, of_b, ranked, n)

    kind = "scores of the strongest pairs"
    tasks = [Task(of.strongest_task(one.tag), (a, b), settings.inputs(a, b, n), true, kind)]
    for null, numbers in parts:
        inputs = _again_inputs(one, null, n, list(numbers))
        name = of.again_scores_task(one.tag, null, numbers)
        tasks.append(Task(name, (a, b), inputs, partial(again, (null, numbers)), f"{null} scores"))
    return tasks


def _resample_task(one: _Studied, numbers: range) -> Task:
    inputs = one.settings.inputs(one.a, one.b, list(numbers))

    def make(a: Side, b: Side) -> Resamples:
        return resamples(one.settings, a, b, numbers)

    return Task(of.resamples_task(one.tag, numbers), (one.a, one.b), inputs, make)


def _category_tasks(
    suite: SuiteConfig, config: SubspaceConfig, settings: StudySettings, encoded: Encoded
) -> list[Task]:
    categories, compare = load_categories(config.categories), suite.compare
    measures = make_measures(config.measures, compare.svcca_threshold, compare.svcca_k, compare.knn_k)
    lists = asdict(replace(config, categories=categories.name))  # whatever the path of the lists
    more = [asdict(compare), lists, categories.sha256]

    def parts(side: AnySide) -> Derived[CategoryParts]:
        return Derived(f"{side.key} by category", side, partial(CategoryParts, categories=categories))

    def shared(side: AnySide) -> SharedObservation:
        return SharedObservation(SharedFacts(shared=shared_features(category_members(side.tokens, categories))))

    between = partial(observe_categories, settings, measures, config.min_pairs)
    return [
        *(
            Task(of.categories_task(key), (parts(a), parts(b)), settings.inputs(a, b, more), between)
            for key, (a, b) in encoded.grid.items()
        ),
        *(
            Task(of.shared_task(name), (), settings.inputs(side, side, more), partial(shared, side))
            for name, side in encoded.named.items()
        ),
    ]


def _span_tasks(config: SpanConfig, settings: StudySettings, encoded: Encoded) -> list[Task]:
    lock, texts = Lock(), sha256_of("\0".join(encoded.texts))
    inputs = [asdict(config), texts, encoded.blocks.sha256, settings.starts_sha256]
    cut = cache(lambda: spans_of(config, encoded.blocks, encoded.texts))

    def spans() -> Spans:
        with lock:  # tasks run side by side, and the text is cut once
            return cut()

    def over_spans(side: AnySide) -> Derived[Side]:
        return Derived(f"{side.key} over spans", side, lambda read: pooled(read, spans(), config))

    def facts() -> SpansObservation:
        found = spans()
        return SpansObservation(SpansFacts(n_spans=len(found), mean_length=float(found.lengths.double().mean())))

    by_r = replace(settings, match=replace(settings.match, by=None))  # a span has no token

    def between(a: Side, b: Side) -> PartObservation:
        return observe_part(by_r, settings.measures, a, b, settings.match.min_pairs)

    return [
        Task(of.SPANS_TASK, (), inputs, facts),
        *(
            Task(of.over_spans_task(key), (over_spans(a), over_spans(b)), settings.inputs(a, b, inputs), between)
            for key, (a, b) in encoded.grid.items()
        ),
    ]


def _step_tasks(suite: SuiteConfig, settings: StudySettings, sides: PublishedSides) -> list[Task]:
    tasks: list[Task] = []
    for name, departures in variants().items():
        a, b = sides.of(departures)
        inputs = settings.inputs(a, b, asdict(suite.compare), name)
        make = partial(observe_step, settings, suite.compare, name)
        tasks.append(Task(of.step_task(name), (a, b), inputs, make))
    return tasks
