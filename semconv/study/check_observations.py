"""Whether observations are of the sizes that their suite gives; they may come from a stranger's archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import ndarray

from semconv.matching.influence import INFLUENCES
from semconv.statistics.stopping import stopping_of
from semconv.study.check_function import check_effects, check_lens, check_rules
from semconv.study.check_position_kinds import check_position_kinds
from semconv.study.check_streams import check_decoders, check_streams
from semconv.study.nulls import PAIRING_NULLS
from semconv.study.observations import (
    CategoriesObservation,
    Observations,
    PairObservation,
    PartObservation,
    RematchChunk,
    Studied,
    SwappedChunk,
)
from semconv.study.published_protocol import MEASURED, step_draws, variants
from semconv.study.spread_observations import Resamples
from semconv.suite.config import NullConfig, SuiteConfig
from semconv.system.errors import InputError
from semconv.text.keywords import load_categories


def check_observations(suite: SuiteConfig, observations: Observations) -> None:
    """Refuses observations of other sizes than their suite gives: fewer draws, other measures, other categories.

    Raises:
        InputError: names what was observed, what was expected of it and what was found.
    """
    studied: Mapping[str, Mapping[str, Studied]] = {
        "layers": observations.grid,
        "control": observations.controls,
        "the strongest pairs of floor": observations.floors,
        "the strongest pairs beside floor": observations.trained,
    }
    for kind, table in studied.items():
        for name, one in table.items():
            _check_pair(suite, one.pair, f"{kind} {name}")
            _check_rematch(suite, one, f"{kind} {name}")
    for key, one in observations.resamples.items():
        _check_resamples(suite, one, f"the resamples of layers {key}")
    for key, scores in observations.halves.items():
        n = suite.null.n_pair_halves or 0
        _shape(scores, (n, len(suite.compare.measures)), f"scores of halves of the pairs of layers {key}")
    for name, found in observations.ceilings.items():
        for one in found:
            _shape(one.scores, (len(suite.compare.measures),), f"scores of {name} between seeds")
    for name, match in observations.self_match.items():
        what = f"{name} with itself"
        _same(sorted(match.scores), sorted(suite.compare.measures), f"measures of {what}")
        if match.found_itself is not None and not 0 <= match.found_itself <= 1:
            raise InputError(f"the share of features of {what} must be between 0 and 1, got {match.found_itself}")
    for key, one in observations.categories.items():
        _check_categories(suite, one, f"the categories of layers {key}")
    for key, one in observations.over_spans.items():
        _check_part(suite, one, f"the spans of layers {key}")
    for key, one in observations.of_streams.items():
        check_streams(one, f"the streams of layers {key}")
    for key, one in observations.of_decoders.items():
        check_decoders(suite, one, f"layers {key}")
    for key, one in observations.lenses.items():
        check_lens(suite, one, len(observations.grid[key].pair.a), f"the logit lens of layers {key}")
    for tag, one in observations.effects.items():
        check_effects(suite, one, f"the effects of {tag}")
    for key, one in observations.rules.items():
        check_rules(suite, one, f"the rules of matching at layers {key}")
    for key, one in observations.position_kinds.items():
        check_position_kinds(suite, one, f"the kinds of positions at layers {key}")
    for (name, departures), one in zip(variants().items(), observations.steps, strict=bool(observations.steps)):
        drawn = list(step_draws(suite.null, departures).values())
        what = f"the published step {name}"
        _same(len(one.facts.reasons), len(MEASURED), f"reasons of {what}")
        _shape(one.scores, (len(MEASURED),), f"scores of {what}")
        _shape(one.shuffle, (len(MEASURED), max(drawn)), f"draws of shuffle of {what}")
        for row, n in zip(one.shuffle, drawn, strict=True):
            _check_end(row, n, f"draws of shuffle of {what}")


def check_chunk(chunk: RematchChunk, n_draws: int, what: str) -> None:
    """Refuses draws whose pairs are not where they are said to be.

    Raises:
        InputError: as `check_observations`.
    """
    _shape(chunk.passed, (n_draws,), f"pairs that pass in {what}")
    _shape(chunk.best_r, (2, n_draws), f"mean best r in {what}")
    if isinstance(chunk, SwappedChunk):
        _shape(chunk.moved, (n_draws,), f"numbers of positions moved in {what}")
    ends = chunk.ends
    _shape(ends, (n_draws + 1,), f"ends in {what}")
    if ends[0] != 0 or (np.diff(ends) < 0).any() or not ends[-1] == len(chunk.a) == len(chunk.b):
        raise InputError(f"the ends in {what} must rise from 0 to its {len(chunk.a)} pairs")


def _same(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise InputError(f"{what}: {wanted} expected, got {found}")


def _shape(array: ndarray, wanted: tuple[int, ...], what: str) -> None:
    _same(list(array.shape), list(wanted), what)


def _check_pair(suite: SuiteConfig, pair: PairObservation, what: str) -> None:
    n_measures, facts = len(suite.compare.measures), pair.facts
    _same((len(pair.b), len(pair.r)), (len(pair.a), len(pair.a)), f"B features and r of {what}")
    _shape(pair.influence, (len(pair.a), len(INFLUENCES)), f"influences of {what}")
    _same(len(pair.ranked_b), len(pair.ranked_a), f"ranked B features of {what}")
    _same((len(facts.reasons), len(facts.saturated)), (n_measures, n_measures), f"reasons and saturated of {what}")
    _shape(pair.scores, (n_measures,), f"scores of {what}")
    if not facts.filters or facts.filters[-1].after != len(pair.a):
        raise InputError(f"the last filter of {what} must leave its {len(pair.a)} feature pairs")
    most = suite.null.most_of(suite.compare.measures)
    for null, draws in zip(PAIRING_NULLS, pair.draws, strict=False):
        if draws.shape[-1] != most:
            raise InputError(f"{draws.shape[-1]} draws of {null} were kept for {what}, the suite says {most}")
    _shape(pair.draws, (len(PAIRING_NULLS), n_measures, most), f"draws of {what}")
    _check_reasons(facts.reasons, pair.scores, what)
    for null, draws in zip(PAIRING_NULLS, pair.draws, strict=True):
        _check_ends(suite.null, suite.compare.measures, pair.scores, draws, f"{null} of {what}")


def _check_ends(null: NullConfig, measures: Sequence[str], scores: ndarray, draws: ndarray, what: str) -> None:
    """Refuses draws that go on after the suite ends them, or end before; `draws` is float64 [measures, m]."""
    for name, score, row in zip(measures, scores, draws, strict=True):
        _check_end(row, stopping_of(null, name).ended(float(score), row), f"draws of {what} by {name}")


def _check_end(row: ndarray, end: int, what: str) -> None:
    """Refuses draws of which one after the end is there."""
    later = np.flatnonzero(~np.isnan(row[end:]))
    if len(later):
        _same(end + int(later[-1]) + 1, end, what)


def _check_reasons(reasons: tuple[str, ...], scores: ndarray, what: str) -> None:
    if [bool(reason) for reason in reasons] != (~np.isfinite(scores)).tolist():
        raise InputError(f"{what} must have a score or a reason why there is none for every measure")


def _check_rematch(suite: SuiteConfig, studied: Studied, what: str) -> None:
    n_measures = len(suite.compare.measures)
    for null, again in studied.matched_again.items():
        m = suite.null.matched_again[null]
        _shape(again.passed, (m,), f"draws of {null} of {what}")
        _shape(again.strongest, (n_measures,), f"scores of the strongest pairs of {what}")
        _shape(again.scores, (m, n_measures), f"draws of {null} of {what}")


def _check_resamples(suite: SuiteConfig, found: Resamples, what: str) -> None:
    _shape(found.counts, (suite.null.n_bootstrap,), f"numbers of pairs of {what}")
    _shape(found.scores, (suite.null.n_bootstrap, len(suite.compare.measures)), f"scores of {what}")
    if (found.counts < 0).any():
        raise InputError(f"numbers of pairs of {what} must not be negative, got {found.counts.min()}")


def _check_categories(suite: SuiteConfig, found: CategoriesObservation, what: str) -> None:
    assert suite.subspaces is not None
    names, facts = list(load_categories(suite.subspaces.categories).keywords), found.facts.categories
    _same(sorted(facts), sorted(names), what)
    measures, most = len(suite.subspaces.measures), suite.null.most_of(suite.subspaces.measures)
    scored = [one for one in facts.values() if one.reason is None]
    _shape(found.scores, (len(scored), measures), f"scores of {what}")
    _shape(found.shuffle, (len(scored), measures, most), f"draws of {what}")
    for one, scores, shuffle in zip(scored, found.scores, found.shuffle, strict=True):
        _check_ends(suite.null, suite.subspaces.measures, scores, shuffle, f"shuffle of {what}")
        _same(len(one.reasons), measures, f"reasons of {what}")
        _check_reasons(one.reasons, scores, what)


def _check_part(suite: SuiteConfig, found: PartObservation, what: str) -> None:
    names = suite.compare.measures if found.facts.reason is None else ()
    n = len(names)
    _same(len(found.facts.reasons), n, f"reasons of {what}")
    _shape(found.scores, (n,), f"scores of {what}")
    _shape(found.shuffle, (n, suite.null.most_of(suite.compare.measures)), f"draws of {what}")
    _check_reasons(found.facts.reasons, found.scores, what)
    _check_ends(suite.null, names, found.scores, found.shuffle, f"shuffle of {what}")
