"""What the logit lens and ablations are planned to take, against sums written out and against the rehearsal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semconv.planning.contexts_read import ablation_reading
from semconv.planning.function_cost import FunctionCost
from semconv.planning.plan import Planner
from semconv.planning.planned import PlannedModel
from semconv.planning.rates import Line
from semconv.planning.shapes import shapes_of
from semconv.suite.config import load_suite
from semconv.system.errors import InputError
from tests.planning.test_plan import made_up_rates

PASS, TOKEN = 2 * 2e-3, 2 * 3e-6
"""Seconds of a block by the made-up rates, on one of the two threads that the probe had."""


@pytest.fixture(scope="module")
def planner() -> Planner:
    mini = load_suite("mini")
    return Planner(mini, shapes_of(mini, ask=False))


def test_the_lens_reads_both_heads_once_and_multiplies_them_with_every_row(planner: Planner):
    rates = made_up_rates(planner.suite, planner)
    task = next(task for task in planner.tasks if task.kind == "lens")
    expected = 0.0
    for model in planner.suite.models.values():
        shape = planner.shapes.of(model)
        size = shape.config.get_text_config().vocab_size
        weights = size * shape.width / shape.of_block
        expected += weights * (3 * PASS + 50 * TOKEN) + 50 * size * 8e-9
    assert FunctionCost(planner.suite, rates, 50).lens(task) == pytest.approx(expected)


def test_ablations_read_contexts_once_and_every_change_is_a_position_more(planner: Planner):
    rates, corpus = made_up_rates(planner.suite, planner), planner.suite.corpus
    task = next(task for task in planner.tasks if task.name == "function.2x4")
    a, b = (side.sae for side in (task.sides[0], task.sides[-1]))
    density = min(a.l0 / a.n_features, b.l0 / b.n_features)
    read, expected = ablation_reading(task.amount, 4, corpus.context, corpus.max_tokens, density), 0.0
    for model, of_item in zip((planner.suite.model_a, planner.suite.model_b), (7, 12), strict=True):
        shape, changes = planner.shapes.of(model), 4 * task.amount * of_item
        size = shape.config.get_text_config().vocab_size
        expected += shape.n_blocks * (4 + read.contexts) * PASS
        expected += shape.n_blocks * (read.whole * corpus.context + changes) * TOKEN
        expected += size * shape.width / shape.of_block * (8 + changes / (2**25 // size)) * PASS
        expected += size * shape.width / shape.of_block * (changes + 4 * task.amount) * TOKEN
        expected += changes * size * 2.5e-8
    assert FunctionCost(planner.suite, rates, 50).ablated(task, 4) == pytest.approx(expected)


def test_a_probe_without_the_models_in_float32_is_refused(planner: Planner):
    rates = replace(made_up_rates(planner.suite, planner), whole={})
    task = next(task for task in planner.tasks if task.kind == "lens")
    with pytest.raises(InputError, match=r"did not measure model .*/small.* in float32; make it again"):
        FunctionCost(planner.suite, rates, 50).lens(task)


def test_the_rehearsal_of_gemma_is_planned_within_a_factor_of_two():
    """272 CPU seconds for 86 pairs, of which 6 were ablated at two positions (docs/rehearsal.md)."""
    suite = load_suite("gemma2")
    found = shapes_of(suite, ask=False)
    half = {place: replace(one, n_bytes=2 * one.parameters) for place, one in found.models.items()}
    planner = Planner(replace(suite, corpus=replace(suite.corpus, max_tokens=1000)), replace(found, models=half), 86)
    lens = next(task for task in planner.tasks if task.kind == "lens")
    effects = next(task for task in planner.tasks if task.kind == "effects" and task.grid)
    assert {one.mapped > 0 for task in (lens, effects) for one in task.sides if isinstance(one, PlannedModel)} == {True}
    measured = (Line(0.0351, 0.00157), Line(0.0923, 0.00390))  # of one thread, by a probe of an AMD EPYC
    rates = replace(made_up_rates(planner.suite, planner), threads=1, whole=dict(zip(half, measured, strict=True)))
    cost = FunctionCost(planner.suite, rates, 86)
    assert 136 < cost.lens(lens) + cost.ablated(replace(effects, amount=6), 2) < 544
