"""What the script of the report page works on: the layer grid with its null distributions, as JSON.

The names of these tables are those that page.js reads.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from semconv.report.histograms import Draws, Histogram, binned
from semconv.report.result_values import null_names, title_of, value_of
from semconv.report.scales import Ends, ends_with_zero, short
from semconv.report.texts import draws_note
from semconv.results.schema import Interval, LayerPair, NullTest, Reason, Results, TestOrReason


class ReasonData(TypedDict):
    """Stands where something has no value."""

    reason: str


class NullData(TypedDict):
    """A test, numbers with four digits; `draws` where the run folder has them."""

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


class ScoreData(TypedDict):
    """The score of one layer pair."""

    score: float
    interval: Interval | None
    seeds: Interval | None
    saturated: bool
    nulls: dict[str, NullData | ReasonData]


class Limits(TypedDict):
    """Ends of the colour scales: one for scores, null means and calibrated scores, one for z, one for pairs."""

    score: Ends
    z: Ends
    pairs: Ends


class MeasureData(TypedDict):
    """A measure over the layer grid; `cells` are in the order of those of `GridData`."""

    title: str
    limits: Limits
    cells: list[ScoreData | ReasonData]


class AgainData(TypedDict):
    """How many pairs pass under a null that matches again."""

    null: str
    pairs: float | None
    p: float | None


class CellData(TypedDict):
    """A layer pair: its SAEs, feature pairs and mean r."""

    a: str
    b: str
    pairs: int
    interval: Interval | None
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


def limits(results: Results, measure: str) -> Limits:
    """Returns the ends of the colour scales of a measure."""

    def ends(fields: list[str]) -> Ends:
        return ends_with_zero(value_of(pair, measure, field) for pair in results.grid.values() for field in fields)

    nulls = null_names(results)
    scored = ["score", *(f"{null}.{field}" for null in nulls for field in ("mean", "calibrated"))]
    return {"score": ends(scored), "z": ends([f"{null}.z" for null in nulls]), "pairs": ends(["pairs"])}


def _null(test: TestOrReason, draws: Histogram | None) -> NullData | ReasonData:
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
    return {**shown, "draws": draws} if draws else shown


def _measured(pair: LayerPair, key: str, measure: str, draws: Draws) -> ScoreData | ReasonData:
    found = pair.measures[measure]
    if isinstance(found, Reason):
        return {"reason": found.reason}
    drawn, seeds = {null: binned(draws.get(f"{key}.{null}.{measure}")) for null in found.nulls}, found.across_seeds
    return {
        "score": short(found.score),
        "interval": _interval(found.interval),
        "seeds": _interval((seeds.lowest, seeds.highest)) if seeds else None,
        "saturated": bool(found.saturated),
        "nulls": {null: _null(test, drawn[null]) for null, test in found.nulls.items()},
    }


def _cell(pair: LayerPair) -> CellData:
    again = {"rematch": pair.rematch, "same_token": pair.same_token, "same_bigram": pair.same_bigram}
    return {
        "a": pair.sae_a,
        "b": pair.sae_b,
        "pairs": pair.pairs,
        "interval": _interval(pair.pairs_interval),
        "r": _short(pair.mean_r),
        "again": [
            {"null": null, "pairs": short(counts.pairs_mean), "p": short(counts.pairs_p)}
            for null, counts in again.items()
            if counts
        ],
    }


def grid_data(results: Results, draws: Draws) -> GridData:
    """Returns the layer grid for the script: SAEs, feature pairs, every measure's scores, nulls and histograms."""
    measures: dict[str, MeasureData] = {
        name: {
            "title": title_of(name),
            "limits": limits(results, name),
            "cells": [_measured(pair, key, name, draws) for key, pair in results.grid.items()],
        }
        for name in results.summary
    }
    return {
        "nulls": null_names(results),
        "cells": [_cell(pair) for pair in results.grid.values()],
        "measures": measures,
    }
