"""Telling: from observations to results, a pure function; what comes of models and texts is stated to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from jaxtyping import Float
from numpy import ndarray

from semconv.results.schema import (
    CategoryPair,
    Corpus,
    Measures,
    Model,
    NullSettings,
    Published,
    Read,
    Reason,
    Results,
    Score,
    SpanPair,
    SpansGrid,
    Step,
    StepScore,
    Subspaces,
)
from semconv.study.observations import Observations, PartFacts, StepObservation
from semconv.study.order import in_order
from semconv.study.published_protocol import Departures, published_p, step_draws, step_label, variants
from semconv.study.result_warnings import warnings_of
from semconv.study.task_names import key_of_control, saes_of_grid
from semconv.study.tell_controls import tell_controls
from semconv.study.tell_depths import tell_depths
from semconv.study.tell_function import tell_function
from semconv.study.tell_grid import corrected, summarise
from semconv.study.tell_pair import null_test, pairing_test, tell_pair
from semconv.study.tell_spread import seed_ceilings, with_intervals
from semconv.study.tell_streams import tell_streams
from semconv.suite.config import NullConfig, SuiteConfig
from semconv.text.keywords import load_categories


@dataclass(frozen=True)
class Stated:
    """What of the results is not observed by the study: text, models and how their SAEs fit.

    Attributes:
        suite_sha256: of the settings of the suite.
        fast: whether it was cut short.
        corpus: the text.
        model_a: model A.
        model_b: model B.
        read: what else was read.
        unfair: floors that read untrained models through an SAE of A or B.
    """

    suite_sha256: str
    fast: bool
    corpus: Corpus
    model_a: Model
    model_b: Model
    read: Read
    unfair: frozenset[str]


def tell(observations: Observations, suite: SuiteConfig, stated: Stated) -> Results:
    """Returns the results of a suite: p, q, z, intervals, the best of the grid, controls and sections.

    Args:
        observations: what was observed, here or elsewhere.
        suite: what was compared.
        stated: what the results say of text and models.
    """
    names = suite.compare.measures
    saes = saes_of_grid(suite)
    min_r = suite.match.min_r
    pairs = {key: tell_pair(one, names, saes[key], suite.null, min_r) for key, one in observations.grid.items()}
    measures = corrected({key: pair.measures for key, pair in pairs.items()})
    grid = {key: replace(pair, measures=measures[key]) for key, pair in pairs.items()}
    grid = with_intervals(grid, observations)
    draws = {key: one.draws() for key, one in observations.grid.items()}
    of_controls = {c.name: (c.model_a.saes[0], c.model_b.saes[0]) for c in suite.controls}
    controls = {
        name: tell_pair(one, names, of_controls[name], suite.null, min_r) for name, one in observations.controls.items()
    }
    strongest = {
        c.name: (
            tell_pair(observations.floors[c.name], names, of_controls[c.name], suite.null, min_r),
            tell_pair(observations.trained[c.name], names, saes[key_of_control(c)], suite.null, min_r),
        )
        for c in suite.controls
        if c.name in observations.floors
    }
    spans, subspaces = _spans(observations, suite), _subspaces(observations, suite)
    results = Results(
        suite=suite.name,
        suite_sha256=stated.suite_sha256,
        fast=stated.fast,
        null=NullSettings(**asdict(suite.null)),
        corpus=stated.corpus,
        model_a=stated.model_a,
        model_b=stated.model_b,
        read=stated.read,
        grid=grid,
        summary={name: summarise(grid, draws, name, place, suite.null) for place, name in enumerate(names)},
        primary=suite.compare.primary,
        depths=tell_depths(grid, observations.resamples, spans, subspaces, suite.null) or None,
        controls=tell_controls(
            suite,
            grid,
            observations.self_match,
            controls,
            strongest,
            unfair=stated.unfair,
            seeds=seed_ceilings(names, observations.ceilings),
        ),
        subspaces=subspaces,
        spans=spans,
        streams=tell_streams(observations, suite.null),
        function=tell_function(observations, suite),
        published=_published(observations, suite),
    )
    return replace(results, warnings=warnings_of(in_order(results)))


def _part_measures(
    part: PartFacts,
    names: tuple[str, ...],
    scores: Float[ndarray, " measures"],
    shuffle: Float[ndarray, "measures m"],
    null: NullConfig,
) -> Measures:
    """Returns what a part of the dictionaries scored; nothing where it was not scored."""
    return {
        name: Reason(reason=reason)
        if reason
        else Score(score=float(scores[i]), nulls={"shuffle": pairing_test(float(scores[i]), shuffle[i], name, null)})
        for i, (name, reason) in enumerate(zip(names, part.reasons, strict=part.reason is None))
    }


def _subspaces(observations: Observations, suite: SuiteConfig) -> Subspaces | None:
    if suite.subspaces is None:
        return None
    categories, names = load_categories(suite.subspaces.categories), suite.subspaces.measures
    cells = dict[tuple[str, str], CategoryPair]()
    for key, found in observations.categories.items():
        rows = iter(zip(found.scores, found.shuffle, strict=True))
        for name, facts in found.facts.categories.items():
            measures = {} if facts.reason is not None else _part_measures(facts, names, *next(rows), suite.null)
            counts = {"features_a": facts.features_a, "features_b": facts.features_b, "pairs": facts.pairs}
            cells[key, name] = CategoryPair(**counts, measures=measures, reason=facts.reason)
    measures = corrected({cell: pair.measures for cell, pair in cells.items()})
    grid: dict[str, dict[str, CategoryPair]] = {key: {} for key in observations.categories}
    for (key, name), pair in cells.items():
        grid[key][name] = replace(pair, measures=measures[key, name])
    return Subspaces(
        categories=categories.name,
        rule=categories.rule,
        sha256=categories.sha256,
        grid=grid,
        relations={key: found.facts.relation for key, found in observations.categories.items()},
        shared_features=observations.shared,
    )


def _spans(observations: Observations, suite: SuiteConfig) -> SpansGrid | None:
    if suite.spans is None or observations.spans is None:
        return None
    pairs = {
        key: SpanPair(
            pairs=found.facts.pairs,
            measures=_part_measures(found.facts, suite.compare.measures, found.scores, found.shuffle, suite.null),
            reason=found.facts.reason,
        )
        for key, found in observations.over_spans.items()
    }
    measures = corrected({key: pair.measures for key, pair in pairs.items()})
    return SpansGrid(
        kind=suite.spans.kind,
        how=suite.spans.how,
        n_spans=observations.spans.n_spans,
        mean_length=observations.spans.mean_length,
        grid={key: replace(pair, measures=measures[key]) for key, pair in pairs.items()},
    )


def _published(observations: Observations, suite: SuiteConfig) -> Published | None:
    config = suite.published
    if config is None:
        return None
    steps = (
        tell_step(step, departures, step_label(name, suite.compare), suite.null)
        for step, (name, departures) in zip(observations.steps, variants().items(), strict=True)
    )
    return Published(layer_a=config.layer_a, layer_b=config.layer_b, steps=tuple(steps))


def tell_step(step: StepObservation, departures: Departures, label: str, null: NullConfig) -> Step:
    """Returns the row of one variant of the protocol, under a label."""

    def told(place: int, n: int) -> StepScore | Reason:
        score = _step_score(step, place, n, departures.few_shuffles)
        usual = departures.few_shuffles or n == null.n_permutations
        return score if usual or isinstance(score, Reason) else replace(score, draws=n)

    svcca, rsa = (told(place, n) for place, n in enumerate(step_draws(null, departures).values()))
    return Step(step=label, pairs=step.facts.pairs, svcca=svcca, rsa=rsa)


def _step_score(step: StepObservation, place: int, n: int, few_shuffles: bool) -> StepScore | Reason:
    if step.facts.reasons[place]:
        return Reason(reason=step.facts.reasons[place])
    score, draws = float(step.scores[place]), step.shuffle[place, :n]
    test = null_test(score, draws)
    if isinstance(test, Reason):
        return test
    if few_shuffles:
        return StepScore(score=score, null_mean=test.mean, p=published_p(score, draws))
    return StepScore(score=score, null_mean=test.mean, p=test.p, calibrated=test.calibrated)
