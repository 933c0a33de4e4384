"""Reads what a study observed from its finished tasks, wherever they were done: here, or by whoever sent an archive."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from semconv.runs.task_cache import FinishedTasks
from semconv.study.check_observations import check_chunk, check_observations
from semconv.study.facts import NoFacts
from semconv.study.function_observations import FunctionObservation, LensObservation, RulesObservation
from semconv.study.observations import (
    CategoriesObservation,
    Observations,
    PairObservation,
    PartObservation,
    Rematch,
    SelfObservation,
    SharedObservation,
    SpansObservation,
    StepObservation,
    StrongestScores,
    Studied,
    SwappedChunk,
)
from semconv.study.position_observations import PositionKindsObservation
from semconv.study.published_protocol import STEPS
from semconv.study.spread_observations import AcrossSeeds, PairHalves, Resamples, ScoredObservation
from semconv.study.stream_observations import (
    BestRObservation,
    DecoderObservations,
    PartialObservation,
    StitchObservation,
    StreamPairObservation,
    StreamsObservation,
)
from semconv.study.task_names import (
    SPANS_TASK,
    STREAMS_TASK,
    again_chunks,
    again_scores_task,
    best_r_task,
    categories_task,
    ceiling_task,
    ceilings_of,
    chunk_of,
    chunks,
    compared_position_kinds,
    compared_rules,
    control_tag,
    floor_tag,
    function_controls,
    function_pairs,
    function_task,
    grid_tag,
    halves_task,
    is_rematched,
    lens_task,
    matched_again,
    n_scored,
    observed_task,
    over_spans_task,
    partial_task,
    position_kinds_task,
    rematch_task,
    resamples_task,
    rules_task,
    saes_of_grid,
    seeds_of_grid,
    seeds_task,
    self_task,
    shared_task,
    sides_of,
    step_task,
    stitched_task,
    stream_task,
    strongest_task,
    studied_floors,
    trained_tag,
)
from semconv.suite.config import SuiteConfig
from semconv.suite.nulls import AgainNull
from semconv.system.errors import InputError


def _studied(suite: SuiteConfig, tasks: FinishedTasks, tag: str) -> Studied:
    pair = tasks.read_as(PairObservation, observed_task(tag))
    if not is_rematched(suite, tag, pair):
        return Studied(pair, {})
    drawn_of = matched_again(suite, tag)
    parts = again_chunks(drawn_of)
    found = {part: tasks.read_as(chunk_of(part[0]), rematch_task(tag, *part)) for part in parts}
    for (null, numbers), chunk in found.items():
        check_chunk(chunk, len(numbers), rematch_task(tag, null, numbers))
    n, strongest = n_scored(pair, [*found.values()]), tasks.read_as(StrongestScores, strongest_task(tag)).scores[0]

    def drawn(null: AgainNull) -> Rematch:
        chunks = [chunk for (name, _), chunk in found.items() if name == null]
        passed = np.concatenate([chunk.passed for chunk in chunks])
        moves = [chunk.moved for chunk in chunks if isinstance(chunk, SwappedChunk)]
        names = [again_scores_task(tag, *part) for part in parts if part[0] == null]
        scores = np.concatenate([tasks.read_as(StrongestScores, name).scores for name in names])
        return Rematch(passed, n, strongest, scores, np.concatenate(moves) if moves else None)

    return Studied(pair, {null: drawn(null) for null in drawn_of})


def _resamples(suite: SuiteConfig, tasks: FinishedTasks, tag: str) -> Resamples:
    parts = [tasks.read_as(Resamples, resamples_task(tag, numbers)) for numbers in chunks(suite.null.n_bootstrap)]
    counts, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("counts", "scores"))
    return Resamples(NoFacts(), counts, scores)


def _halves(suite: SuiteConfig, tasks: FinishedTasks, tag: str) -> Float64[ndarray, "m measures"]:
    parts = chunks(suite.null.n_pair_halves or 0)
    return np.concatenate([tasks.read_as(PairHalves, halves_task(tag, numbers)).scores for numbers in parts])


def _across_seeds(tasks: FinishedTasks, tag: str, own: PairObservation, counts: tuple[int, int]) -> AcrossSeeds:
    """Returns the scores of all SAEs at two hooks; those of the models' own are known already."""
    pairs = np.full(counts, len(own.a), dtype=np.int64)
    scores = np.full((*counts, len(own.scores)), own.scores)
    for i, j in product(*map(range, counts)):
        if i or j:
            found = tasks.read_as(ScoredObservation, seeds_task(tag, i, j))
            _same_length(found, own, seeds_task(tag, i, j))
            pairs[i, j], scores[i, j] = found.facts.pairs, found.scores
    return AcrossSeeds(pairs, scores)


def _same_length(found: ScoredObservation, own: PairObservation, task: str) -> None:
    if found.scores.shape != own.scores.shape:
        raise InputError(f"scores of {task}: {len(own.scores)} expected, got {list(found.scores.shape)}")


def _decoders(tasks: FinishedTasks, key: str) -> DecoderObservations:
    return DecoderObservations(
        tasks.read_as(StitchObservation, stitched_task(key)),
        tasks.read_as(PartialObservation, partial_task(key)),
        tasks.read_as(BestRObservation, best_r_task(key)),
    )


def read_observations(suite: SuiteConfig, tasks: FinishedTasks) -> Observations:
    """Returns what the finished tasks of a suite observed, wherever they were done.

    Raises:
        InputError: a task is missing or damaged, or not of the sizes that the suite gives.
    """
    keys = list(saes_of_grid(suite))
    grid = {key: _studied(suite, tasks, grid_tag(key)) for key in keys}
    floors = [control.name for control in studied_floors(suite, {key: len(one.pair.a) for key, one in grid.items()})]
    sides = sides_of(suite)
    subspaces, spans, published, streams = suite.subspaces, suite.spans, suite.published, suite.streams
    observations = Observations(
        grid=grid,
        resamples={key: _resamples(suite, tasks, grid_tag(key)) for key in keys if suite.null.n_bootstrap},
        halves={
            key: _halves(suite, tasks, grid_tag(key))
            for key in keys
            if suite.null.n_pair_halves and len(grid[key].pair.a) >= suite.match.min_pairs
        },
        seeds={
            key: _across_seeds(tasks, grid_tag(key), grid[key].pair, counts)
            for key, counts in seeds_of_grid(suite).items()
        },
        ceilings={
            sides[side]: [tasks.read_as(ScoredObservation, ceiling_task(side, i, j)) for i, j in pairs]
            for side, pairs in ceilings_of(suite).items()
        },
        self_match={name: tasks.read_as(SelfObservation, self_task(side)).facts for side, name in sides.items()},
        controls={c.name: _studied(suite, tasks, control_tag(c.name)) for c in suite.controls},
        floors={name: _studied(suite, tasks, floor_tag(name)) for name in floors},
        trained={name: _studied(suite, tasks, trained_tag(name)) for name in floors},
        categories={key: tasks.read_as(CategoriesObservation, categories_task(key)) for key in keys if subspaces},
        shared={
            name: tasks.read_as(SharedObservation, shared_task(side)).facts.shared
            for side, name in sides.items()
            if subspaces
        },
        spans=tasks.read_as(SpansObservation, SPANS_TASK).facts if spans else None,
        over_spans={key: tasks.read_as(PartObservation, over_spans_task(key)) for key in keys if spans},
        streams=tasks.read_as(StreamsObservation, STREAMS_TASK).facts if streams else None,
        of_streams={key: tasks.read_as(StreamPairObservation, stream_task(key)) for key in keys if streams},
        of_decoders={key: _decoders(tasks, key) for key in keys if streams and streams.draws},
        lenses={key: tasks.read_as(LensObservation, lens_task(key)) for key in keys if suite.function},
        effects={
            tag: tasks.read_as(FunctionObservation, function_task(tag))
            for tag in (*function_pairs(suite), *map(control_tag, function_controls(suite)))
        },
        rules={key: tasks.read_as(RulesObservation, rules_task(key)) for key in compared_rules(suite)},
        position_kinds={
            key: tasks.read_as(PositionKindsObservation, position_kinds_task(key))
            for key in compared_position_kinds(suite)
        },
        steps=[tasks.read_as(StepObservation, step_task(name)) for name in ("as_published", *STEPS) if published],
    )
    check_observations(suite, observations)
    return observations
