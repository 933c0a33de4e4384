"""Which tasks a study will have, by the suite alone: nothing is encoded or observed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch

from semconv.models.roles import ModelOnText, Roles, suite_models
from semconv.models.widened import widening_bytes
from semconv.planning.planned import PlannedModel, PlannedRows, PlannedSide, PlannedStream, PlannedTask
from semconv.planning.shapes import SaeShape, Shapes
from semconv.study import task_names as of
from semconv.study.published_protocol import variants
from semconv.study.working_memory import function_working_bytes, lens_working_bytes, stream_working_bytes
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig
from semconv.suite.sae_labels import pair_key
from semconv.text.token_blocks import TokenBlocks


@dataclass(frozen=True, eq=False)
class PlannedSides:
    """The sides of a suite.

    Attributes:
        of: of every model in its role, in the order of its SAEs.
        n_tokens: positions of the text that count.
    """

    of: Roles[list[PlannedSide]]
    n_tokens: int

    @property
    def stores(self) -> dict[str, PlannedSide]:
        """The stores, each once."""
        return {side.key: side for group in self.of.every for side in group}


def planned_models(suite: SuiteConfig) -> Roles[ModelOnText]:
    """Returns the models of a suite in their roles, over one position of text in place of the text that is not read."""
    one = torch.ones(1, 2, dtype=torch.int32)
    blocks = TokenBlocks(one, torch.tensor([[False, True]]), torch.tensor([[-1, 0]], dtype=torch.int32))
    return suite_models(suite, (blocks, blocks))


def planned_sides(suite: SuiteConfig, shapes: Shapes) -> PlannedSides:
    """Returns the sides of a suite, over the positions that it asks for."""
    n, context = suite.corpus.max_tokens, suite.corpus.context

    def side(one: ModelOnText, sae: SaeConfig) -> PlannedSide:
        n_tokens = -(-n * context // max(1, context - 1)) if one.as_published else n
        return PlannedSide(f"{one.model.name}/{sae.place}", shapes.saes[sae.source], n_tokens)

    return PlannedSides(planned_models(suite).map(lambda one: [side(one, sae) for sae in one.model.saes]), n)


def planned_streams(suite: SuiteConfig, sides: PlannedSides) -> tuple[list[PlannedStream], list[PlannedStream]]:
    """Returns the sampled streams of A and of B."""
    n = 0 if suite.streams is None else min(suite.streams.positions, sides.n_tokens)

    def stream(model: ModelConfig, sae: SaeConfig, side: PlannedSide) -> PlannedStream:
        shape = SaeShape(n, side.sae.width, 0.0, 0, 0)
        beside = 0 if suite.streams is None else stream_working_bytes(side.sae.width, suite.streams)
        return PlannedStream(f"streams/{model.name}/{sae.hook}", shape, n, beside)

    a, b = (
        [stream(model, sae, side) for sae, side in zip(model.saes, of_model, strict=True)] if n else []
        for model, of_model in ((suite.model_a, sides.of.a), (suite.model_b, sides.of.b))
    )
    return a, b


def _planned_model(
    model: ModelConfig, shapes: Shapes, n_blocks: int | None, on_cpu: bool, working: Callable[[int], int]
) -> PlannedModel:
    """Returns a model as the tasks on function hold it, or what is left of it with so many blocks.

    Args:
        model: which.
        shapes: of the models of the suite.
        n_blocks: how many of its blocks; None for all.
        on_cpu: whether the CPU holds it, where weights are mapped from files as they are stored.
        working: bytes that a task holds beside it, at most, by the size of its vocabulary.
    """
    shape = shapes.of(model)
    vocab_size = int(shape.config.get_text_config().vocab_size)
    numbers = shape.parameters - (shape.n_blocks - (n_blocks or shape.n_blocks)) * shape.of_block
    stored = shape.stored if on_cpu and model.untrained_seed is None else 0
    return PlannedModel(
        f"{'model' if n_blocks is None else 'head'} {model.label}",
        SaeShape(0, shape.width, 0.0, 0, 0),
        0,
        n_bytes=0 if stored else 4 * numbers,
        mapped=stored * numbers,
        vocab_size=vocab_size,
        beside=working(vocab_size) + (widening_bytes(shape.of_block) if stored == 2 else 0),
        n_blocks=shape.n_blocks,
        of_block=shape.of_block,
        place=f"{model.path}@{model.revision}",
    )


def planned_tasks(
    suite: SuiteConfig, sides: PlannedSides, shapes: Shapes, n_pairs: int, on_cpu: bool = True
) -> list[PlannedTask]:
    """Returns the tasks of a study in the order of its stages, as `semconv.study.observe.stages` lists them.

    Every layer pair and control is taken to have enough feature pairs; one that has fewer leaves out what follows.

    Args:
        suite: what is run.
        sides: its SAEs.
        shapes: of its models.
        n_pairs: feature pairs of a layer pair.
        on_cpu: whether the CPU does the work.
    """
    grid = {
        pair_key(a.label, b.label): (of_a, of_b)
        for a, of_a in zip(suite.model_a.saes, sides.of.a, strict=True)
        for b, of_b in zip(suite.model_b.saes, sides.of.b, strict=True)
    }

    def of_model(model: ModelConfig, n_blocks: int | None, working: Callable[[int], int]) -> PlannedModel:
        return _planned_model(model, shapes, n_blocks, on_cpu, working)

    parts = _parts(suite, sides, grid), _function(suite, sides, grid, n_pairs, of_model), _published(suite, sides, grid)
    return [*_layer_pairs(suite, sides, grid), *(task for part in parts for task in part)]


_Grid = dict[str, tuple[PlannedSide, PlannedSide]]


def _layer_pairs(suite: SuiteConfig, sides: PlannedSides, grid: _Grid) -> Iterator[PlannedTask]:
    """Gives the tasks that match whole dictionaries over the whole text."""
    controls = {name: (a[0], b[0]) for name, (a, b) in sides.of.controls.items()}
    tags = {of.grid_tag(key): pair for key, pair in grid.items()}
    studied = tags | {of.control_tag(name): pair for name, pair in controls.items()}
    for tag, pair in studied.items():
        yield PlannedTask("compare", of.observed_task(tag), "observe", pair, grid=tag in tags)
    for name, side in _named(suite, sides).items():
        yield PlannedTask("compare", of.self_task(name), "self", (side,))
    floors = [control for control in suite.controls if control.kind == "floor" and of.key_of_control(control) in grid]
    for stage, tag_of, pairs in (
        ("floors", of.floor_tag, {c.name: controls[c.name] for c in floors}),
        ("beside floors", of.trained_tag, {c.name: grid[of.key_of_control(c)] for c in floors}),
    ):
        for name, pair in pairs.items():
            yield PlannedTask(stage, of.observed_task(tag_of(name)), "observe", pair, grid=False)
            studied[tag_of(name)] = pair
    drawn = {tag: of.again_chunks(of.matched_again(suite, tag)) for tag in studied}
    for null, numbers in of.again_chunks(suite.null.matched_again):
        for tag, pair in studied.items():
            if (null, numbers) in drawn[tag]:
                name = of.rematch_task(tag, null, numbers)
                yield PlannedTask("rematch", name, null, pair, len(numbers), tag in tags)
    for tag, parts in drawn.items():
        if parts:
            yield PlannedTask("rematch scores", of.strongest_task(tag), "scores", studied[tag], 1, tag in tags)
        for null, numbers in parts:
            name = of.again_scores_task(tag, null, numbers)
            yield PlannedTask("rematch scores", name, "scores", studied[tag], len(numbers), tag in tags)
    yield from _spread(suite, sides, grid)


def _spread(suite: SuiteConfig, sides: PlannedSides, grid: _Grid) -> Iterator[PlannedTask]:
    """Gives the tasks that say how far scores would move with other documents, other features and other seeds."""
    null, named = suite.null, _named(suite, sides)
    for key, pair in grid.items():
        for numbers in of.chunks(null.n_bootstrap):
            yield PlannedTask("bootstrap", of.resamples_task(of.grid_tag(key), numbers), "resample", pair, len(numbers))
    for key, pair in grid.items():
        for numbers in of.chunks(null.n_pair_halves or 0):
            yield PlannedTask("pair halves", of.halves_task(of.grid_tag(key), numbers), "halves", pair, len(numbers))
    seeds = {
        name: [side, *(_seed(suite, sides, one.name, name[2:]) for one in suite.seeds_at(name[0], name[2:]))]
        for name, side in named.items()
    }
    labels = of.saes_of_grid(suite)
    for key, counts in of.seeds_of_grid(suite).items():
        a, b = labels[key]
        for i, j in product(*map(range, counts)):
            if (i, j) != (0, 0):
                pair = seeds[f"a.{a.label}"][i], seeds[f"b.{b.label}"][j]
                yield PlannedTask("seeds", of.seeds_task(of.grid_tag(key), i, j), "match", pair)
    for name, pairs in of.ceilings_of(suite).items():
        for i, j in pairs:
            yield PlannedTask("seeds", of.ceiling_task(name, i, j), "match", (seeds[name][i], seeds[name][j]), 1, False)


def _seed(suite: SuiteConfig, sides: PlannedSides, name: str, label: str) -> PlannedSide:
    """Returns the side of a model through its SAE of this label from another seed."""
    (config,) = (one for one in suite.seeds or () if one.name == name)
    places = [sae.label for sae in config.saes]
    return sides.of.seeds[name][places.index(label)]


def _named(suite: SuiteConfig, sides: PlannedSides) -> dict[str, PlannedSide]:
    return dict(zip(of.sides_of(suite), [*sides.of.a, *sides.of.b], strict=True))


def _parts(suite: SuiteConfig, sides: PlannedSides, grid: _Grid) -> Iterator[PlannedTask]:
    """Gives the tasks on categories, spans and streams."""
    if suite.subspaces is not None:
        for key, pair in grid.items():
            yield PlannedTask("subspaces", of.categories_task(key), "categories", pair)
        for name, side in _named(suite, sides).items():
            yield PlannedTask("subspaces", of.shared_task(name), "shared", (side,))
    if suite.spans is not None:
        yield PlannedTask("spans", of.SPANS_TASK, "cut", ())
        for key, pair in grid.items():
            yield PlannedTask("spans", of.over_spans_task(key), "spans", pair)
    if suite.streams is not None:
        of_a, of_b = planned_streams(suite, sides)
        yield PlannedTask("streams", of.STREAMS_TASK, "sample", ())
        for key, pair in zip(grid, ((a, b) for a in of_a for b in of_b), strict=True):
            yield PlannedTask("streams", of.stream_task(key), "streams", pair)
        for key, pair in grid.items() if suite.streams.draws else ():
            yield PlannedTask("decoders", of.stitched_task(key), "stitched", (*_stitched(suite, sides, key), *pair))
            yield PlannedTask("decoders", of.partial_task(key), "partial", pair)
            yield PlannedTask("decoders", of.best_r_task(key), "best_r", pair)


def _stitched(suite: SuiteConfig, sides: PlannedSides, key: str) -> tuple[PlannedStream, ...]:
    """Returns the two streams of a layer pair as a map takes them (`StitchedStream`); none where none are compared."""
    of_pairs = dict(zip(of.saes_of_grid(suite), product(*planned_streams(suite, sides)), strict=False))
    return tuple(replace(stream, beside=0) for stream in of_pairs.get(key, ()))


def _published(suite: SuiteConfig, sides: PlannedSides, grid: _Grid) -> Iterator[PlannedTask]:
    """Gives the tasks on the steps of the published protocol."""
    if suite.published is not None and sides.of.shifted is not None and sides.of.everywhere is not None:
        shifted = sides.of.shifted[0][0], sides.of.shifted[1][0]
        everywhere = sides.of.everywhere[0][0], sides.of.everywhere[1][0]
        corrected = grid[
            pair_key(
                suite.model_a.sae_at(suite.published.layer_a).label, suite.model_b.sae_at(suite.published.layer_b).label
            )
        ]
        for name, departures in variants().items():
            pair = shifted if departures.layer_shift else everywhere if departures.all_positions else corrected
            yield PlannedTask("published", of.step_task(name), "step", pair)


def _function(
    suite: SuiteConfig,
    sides: PlannedSides,
    grid: _Grid,
    n_pairs: int,
    of_model: Callable[[ModelConfig, int | None, Callable[[int], int]], PlannedModel],
) -> Iterator[PlannedTask]:
    """Gives the tasks on what features do: the logit lens, and those that ablate features."""
    if suite.function is None:
        return
    heads = [of_model(model, 1, partial(lens_working_bytes, n_pairs)) for model in suite.models.values()]
    for key, pair in grid.items():
        a, b = (PlannedRows(*vars(side).values()) for side in pair)
        yield PlannedTask("logit lens", of.lens_task(key), "lens", (a, *heads, b))
    config, both = suite.function, (suite.model_a, suite.model_b)
    controls = {one.name: (one.model_a, one.model_b) for one in suite.controls}

    def needs(
        pair: Sequence[PlannedSide], models: Sequence[ModelConfig], n: int, *streams: PlannedSide
    ) -> tuple[PlannedSide, ...]:
        """Returns what changing the features of n pairs of two sides takes."""
        working = partial(function_working_bytes, n)
        return (pair[0], *(of_model(model, None, working) for model in models), *streams, pair[1])

    if config.position_kinds is not None:
        n = config.position_kinds.pairs
        for key in of.compared_position_kinds(suite):
            held, task = needs(grid[key], both, n), of.position_kinds_task(key)
            yield PlannedTask("function", task, "position_kinds", held, n)
    if config.rules is not None:
        n = config.rules.pairs
        for key in of.compared_rules(suite):
            held = needs(grid[key], both, n, *_stitched(suite, sides, key))
            yield PlannedTask("function", of.rules_task(key), "rules", held, n)
    if config.substitution is not None:
        n = config.substitution.pairs
        for key in of.substituted_pairs(suite):
            held = needs(grid[key], both, n, *_stitched(suite, sides, key))
            yield PlannedTask("function", of.substitution_task(key), "substitution", held, n)
    for key in of.function_pairs(suite):
        held = needs(grid[key], both, config.pairs)
        yield PlannedTask("function", of.function_task(key), "effects", held, config.pairs)
    for name in of.function_controls(suite):
        held = needs([side[0] for side in sides.of.controls[name]], controls[name], config.control_pairs)
        task = of.function_task(of.control_tag(name))
        yield PlannedTask("function", task, "effects", held, config.control_pairs, False)
