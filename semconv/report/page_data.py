"""What the script of the report page works on: the layer grid with its null distributions, as JSON.

The names of these tables are those that page.js reads.
"""

from __future__ import annotations

import math
from typing import NotRequired, TypedDict

from semconv.report.histograms import Draws, Histogram, binned
from semconv.report.page_json import embedded
from semconv.report.result_values import null_names, title_of, value_of
from semconv.report.scales import Ends, ends_within, short
from semconv.report.texts import draws_note, p_bound
from semconv.report.told_apart import MARKS, draws_of, told_apart
from semconv.results.schema import Interval, LayerPair, NullTest, Reason, Results, TestOrReason


class ReasonData(TypedDict):
    """Stands where something has no value."""

    reason: str


class NullData(TypedDict):
    """A test, numbers with four digits, of which the page shows three; `draws` where the run folder has them.

    `mark` where the score is not told from the null (`MARKS`), `bound` is p with a sign where so many draws cannot tell
    it from a smaller or a larger one.
    """

    score: float
    mean: float | None
    sd: float | None
    z: float | None
    calibrated: float | None
    p: float
    q: float | None
    q_by: float | None
    draws: NotRequired[Histogram]
    note: NotRequired[str]
    mark: NotRequired[str]
    bound: NotRequired[str]


class ScoreData(TypedDict):
    """The score of one layer pair."""

    score: float
    interval: Interval | None
    seeds: Interval | None
    saturated: bool
    nulls: dict[str, NullData | ReasonData]


class Limits(TypedDict):
    """Ends of the colour scales: one for scores, of all pairs and those that nulls test, one for each of the others."""

    score: Ends
    mean: Ends
    calibrated: Ends
    z: Ends
    pairs: Ends


class BestData(TypedDict):
    """The best layer pair of a measure: its place among the cells, of how many, and the interval for this choice."""

    cell: int
    of: int
    interval: Interval | None


class MeasureData(TypedDict):
    """A measure over the layer grid; `cells` are in the order of those of `GridData`."""

    title: str
    limits: Limits
    best: BestData | None
    cells: list[ScoreData | ReasonData]


class AgainData(TypedDict):
    """How many pairs pass under a null that matches again."""

    null: str
    pairs: int | None
    p: float
    bound: str | None


class CellData(TypedDict):
    """A layer pair: its SAEs, feature pairs and mean r."""

    a: str
    b: str
    pairs: int
    interval: tuple[int, int] | None
    r: float | None
    again: list[AgainData]


class GridData(TypedDict):
    """The layer grid: nulls, layer pairs, and measure -> its scores."""

    nulls: list[str]
    cells: list[CellData]
    measures: dict[str, MeasureData]


def _short(value: float | None) -> float | None:
    return None if value is None else short(value)


def _interval(within: Interval | None) -> Interval | None:
    return (short(within[0]), short(within[1])) if within else None


def _count(value: float | None) -> int | None:
    return None if value is None else round(value)


def _counts(within: Interval | None) -> tuple[int, int] | None:
    """Returns the whole numbers that an interval of a count holds."""
    return (math.ceil(max(within[0], 0.0)), math.floor(within[1])) if within else None


def limits(results: Results, measure: str) -> Limits:
    """Returns the ends of the colour scales of a measure."""

    def ends(fields: list[str]) -> Ends:
        return ends_within(value_of(pair, measure, field) for pair in results.grid.values() for field in fields)

    nulls = null_names(results)
    return {
        "score": ends(["score", *(f"{null}.score" for null in nulls)]),
        "mean": ends([f"{null}.mean" for null in nulls]),
        "calibrated": ends([f"{null}.calibrated" for null in nulls]),
        "z": ends([f"{null}.z" for null in nulls]),
        "pairs": ends(["pairs"]),
    }


def _null(results: Results, null: str, test: TestOrReason, draws: Histogram | None) -> NullData | ReasonData:
    if not isinstance(test, NullTest):
        return {"reason": test.reason}
    shown: NullData = {
        "score": short(test.score, draws.precision if draws else 4),
        "mean": _short(test.mean),
        "sd": _short(test.sd),
        "z": _short(test.z),
        "calibrated": _short(test.calibrated),
        "p": short(test.p),
        "q": _short(test.q),
        "q_by": _short(test.q_by),
    }
    note = draws_note(test)
    if note:
        shown["note"] = note
    told = told_apart(results, null, test)
    if told is not None and MARKS[told]:
        shown["mark"] = MARKS[told]
    bound = p_bound(test.p, draws_of(results, null, test.draws)) if test.p_from != "tail" else None
    if bound is not None:
        shown["bound"] = bound
    return {**shown, "draws": draws} if draws else shown


def _measured(results: Results, key: str, measure: str, draws: Draws) -> ScoreData | ReasonData:
    found = results.grid[key].measures[measure]
    if isinstance(found, Reason):
        return {"reason": found.reason}
    drawn, seeds = {null: binned(draws.get(f"{key}.{null}.{measure}")) for null in found.nulls}, found.across_seeds
    return {
        "score": short(found.score),
        "interval": _interval(found.interval),
        "seeds": _interval((seeds.lowest, seeds.highest)) if seeds else None,
        "saturated": bool(found.saturated),
        "nulls": {null: _null(results, null, test, drawn[null]) for null, test in found.nulls.items()},
    }


def _cell(results: Results, pair: LayerPair) -> CellData:
    again = {"rematch": pair.rematch, "same_token": pair.same_token, "same_bigram": pair.same_bigram}
    return {
        "a": pair.sae_a,
        "b": pair.sae_b,
        "pairs": pair.pairs,
        "interval": _counts(pair.pairs_interval),
        "r": _short(pair.mean_r),
        "again": [
            {
                "null": null,
                "pairs": _count(counts.pairs_mean),
                "p": short(counts.pairs_p),
                "bound": p_bound(counts.pairs_p, draws_of(results, null)),
            }
            for null, counts in again.items()
            if counts
        ],
    }


def _best(results: Results, measure: str) -> BestData | None:
    found = results.summary[measure]
    if found.best_layer_pair is None:
        return None
    cell = list(results.grid).index(found.best_layer_pair)
    chosen = found.best_interval if found.layer_pairs > 1 else None
    return {"cell": cell, "of": found.layer_pairs, "interval": _interval(chosen)}


def grid_data(results: Results, draws: Draws) -> GridData:
    """Returns the layer grid for the script: SAEs, feature pairs, every measure's scores, nulls and histograms."""
    return {
        "nulls": null_names(results),
        "cells": [_cell(results, pair) for pair in results.grid.values()],
        "measures": {name: _measure(results, draws, name) for name in results.summary},
    }


def grid_json(results: Results, draws: Draws) -> str:
    """Returns `grid_data` as JSON for a script, a measure after the other: of a large grid all at once are large."""
    names = embedded(null_names(results))
    cells = embedded([_cell(results, pair) for pair in results.grid.values()])
    every = ",".join(f"{embedded(name)}:{embedded(_measure(results, draws, name))}" for name in results.summary)
    return f'{{"nulls":{names},"cells":{cells},"measures":{{{every}}}}}'


def _measure(results: Results, draws: Draws, name: str) -> MeasureData:
    return {
        "title": title_of(name),
        "limits": limits(results, name),
        "best": _best(results, name),
        "cells": [_measured(results, key, name, draws) for key in results.grid],
    }
