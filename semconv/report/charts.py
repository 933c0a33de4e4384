"""The static charts of the report page, one function a chart: numbers of the results in, an SVG of the page's out."""

from __future__ import annotations

import json
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

from semconv.report.histograms import Draws, binned
from semconv.report.result_values import (
    Grid,
    Kind,
    compared_floor,
    control_rows,
    cut,
    grid_of,
    hardest_null,
    null_names,
    null_of_strongest,
    strongest_rows,
    test_of,
    tests_others,
    title_of,
    value_of,
)
from semconv.report.rows import step_score
from semconv.report.scales import Ends, ends_with_zero, ends_within, rounded, step_of
from semconv.report.shown import show
from semconv.report.texts import p_told
from semconv.report.told_apart import scored_on
from semconv.report.vega import (
    INK,
    QUIET,
    ROW,
    WIDTH,
    Encoding,
    Json,
    draw,
    marks,
    rows_chart,
    score_axis,
)
from semconv.results.schema import LayerPair, Published, Results, StepScore

_NUMBERED = 8  # layers of a side up to which the cells of an overview hold their numbers
_NUMBER = 36  # pixels that a number of an overview needs
_SHORT = 3  # letters of a label up to which it stands in one cell
_NULL_ROW = 36  # pixels of a row of bars under its label
_LETTER = 6.0  # pixels of a letter of a label
_SHAPES = {"floor": "diamond", "cross-model": "circle", "ceiling": "square"}
KIND_COLOURS = {"floor": "var(--floor)", "cross-model": "var(--cross)", "ceiling": "var(--ceiling)"}
NULL_COLOURS = {
    "shuffle": "var(--null1)",
    "frequency": "var(--null2)",
    "rematch": "var(--null3)",
    "same_token": "var(--null4)",
    "same_bigram": "var(--null5)",
}


def verdict_chart(results: Results) -> str | None:
    """Draws how far trained models and untrained twins lie from chance, on as many pairs; None without both."""
    both = results.controls.strongest.get(compared_floor(results) or "")
    if both is None:
        return None
    null, labels, found = null_of_strongest(results), list[str](), list[tuple[float, float]]()
    for measure in results.summary:
        twins, trained = (value_of(pair, measure, f"{null}.z") for pair in (both.floor, both.trained))
        if twins is None or trained is None:
            continue
        labels.append(title_of(measure))
        found.append((twins, trained))
    if not labels:
        return None
    x = score_axis("x", f"z: standard deviations above {null}", ends_with_zero([z for zs in found for z in zs]))
    dots = [
        marks(
            [{"y": place * ROW + 19, "x": zs[at], "kind": kind} for place, zs in enumerate(found)],
            {"type": "point", "filled": True, "size": 90, "opacity": 1, "shape": shape, "fill": KIND_COLOURS[kind]},
            x,
        )
        for at, (kind, shape) in enumerate((("floor", "diamond"), ("cross-model", "circle")))
    ]
    zero: Json = {"data": {"values": [{"x": 0}]}, "mark": {"type": "rule", "stroke": QUIET}, "encoding": {"x": x}}
    said = "; ".join(
        f"{label}: twins {show(twins)}, trained {show(trained)}"
        for label, (twins, trained) in zip(labels, found, strict=True)
    )
    return rows_chart(labels, [zero, *dots], f"z against {null}. {said}.")


def _overview_cells(grid: Grid, ends: Ends) -> list[Json]:
    cells: list[Json] = []
    for i, row in enumerate(grid.rows):
        for j, column in enumerate(grid.columns):
            value = float(grid.values[i, j])
            fill, ink, text = "var(--empty)", QUIET, "none"
            if not np.isnan(value):
                step = step_of(value, ends)
                fill, ink, text = f"var(--h{step})", f"var(--t{step})", rounded(value)
            cells.append({"a": column, "b": row, "fill": fill, "ink": ink, "text": text})
    return cells


def _place(field: str, labels: list[str], title: str, more: Encoding) -> Json:
    """Returns an axis of labels, as many of them as fit; `more` is what else is set of it."""
    some = labels[:: -(-len(labels) // 14)]
    scale: Json = {"domain": labels, "paddingInner": 0, "paddingOuter": 0}
    axis: Json = {"ticks": False, "domain": False, "labelAngle": 0, "values": some, **more}
    return {"field": field, "type": "ordinal", "sort": None, "scale": scale, "title": title, "axis": axis}


def overview_chart(results: Results, measure: str) -> str:
    """Draws the scores of one measure over the layer grid as a small heat map, deep layers of B on top."""
    grid = grid_of(results, measure, "score")
    rows, columns, values = grid
    ends = ends_within(values.flat)
    long = max(map(len, (*rows, *columns))) > _SHORT
    shown = {label: cut(label) for label in (*rows, *columns)}
    room = _LETTER * max(len(shown[label]) for label in rows) if long else 0.0
    width = WIDTH - room
    side = width / len(columns)
    height = min(side, 42.0) * len(rows)
    bottom, across, up = 38.0, dict[str, Json](), dict[str, Json]()
    if long:  # titles are placed, for where Vega puts them follows from the width of the labels in some font
        written: Encoding = {"labelExpr": f"({json.dumps(shown)})[datum.value]"}
        bottom += _LETTER * max(len(shown[label]) for label in columns)
        across = {**written, "labelAngle": -90, "titleY": bottom - 16, "titleX": width / 2}
        up = {**written, "titleX": 14 - (42 + room), "titleY": height / 2, "titleAngle": -90}
    literal: Encoding = {"type": "nominal", "scale": None}
    fill: Json = {
        "mark": {"type": "rect", "stroke": "var(--paper)"},
        "encoding": {"fill": {"field": "fill", **literal}},
    }
    text: Json = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {"fill": {"field": "ink", **literal}, "text": {"field": "text", "type": "nominal"}},
    }
    numbered = max(len(rows), len(columns)) <= _NUMBERED and side >= _NUMBER
    spec: Encoding = {
        "width": round(width),
        "height": round(height),
        "padding": {"left": 42 + room, "right": 4, "top": 4, "bottom": bottom},
        "data": {"values": _overview_cells(grid, ends)},
        "encoding": {
            "x": _place("a", columns, f"layer of {results.model_a.name} (A)", across),
            "y": _place("b", rows[::-1], f"layer of {results.model_b.name} (B)", up),
        },
        "layer": [fill, text] if numbered else [fill],
    }
    said = f"{title_of(measure)}: scores over the layer grid, {show(ends[0])} to {show(ends[1])} on the colour scale."
    return draw(spec, said)


def null_chart(results: Results, draws: Draws, measure: str, key: str) -> str | None:
    """Draws every null of one layer pair as a histogram, beside the score it is a null of; None without draws."""
    bars: dict[str, list[dict[str, float]]] = {}
    scores, labels = list[dict[str, float]](), list[str]()
    for null in null_names(results):
        test = test_of(results.grid[key], measure, null)
        histogram = binned(draws.get(f"{key}.{null}.{measure}"))
        if histogram is None or test is None:
            continue
        base = len(labels) * _NULL_ROW + 31
        low, heights = histogram.low, histogram.heights
        width = (histogram.high - low) / len(heights)
        bars[null] = [
            {"x": low + i * width, "x2": low + (i + 1) * width, "y": base, "y2": base - 15 * h}
            for i, h in enumerate(heights)
            if h
        ]
        scores.append({"x": test.score, "y": base, "y2": base - 15})
        p = p_told(test.p, None, test.p_from, histogram.n if test.p_from != "tail" else None)
        labels.append(f"{null}, {scored_on(null)}: {histogram.n} draws, p {show(p)}")
    if not labels:
        return None
    every = [*chain.from_iterable(bars.values()), *scores]
    ends = ends_within([v[name] for v in every for name in ("x", "x2") if name in v])
    x = score_axis("x", "score", ends)
    for bar in chain.from_iterable(bars.values()):
        bar["x2"] = max(bar["x2"], bar["x"] + (ends[1] - ends[0]) / (2 * WIDTH))  # equal draws are a line
    more: Encoding = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    layers = [
        marks([{**bar, "null": null} for bar in of_null], {"type": "rect", "fill": NULL_COLOURS[null]}, x, more)
        for null, of_null in bars.items()
    ]
    rule: Json = {"type": "rule", "stroke": "var(--cross)", "strokeWidth": 3}
    layers.append(marks(scores, rule, x, {"y2": {"field": "y2"}}))
    said = f"{title_of(measure)} at layers {key}: score {show(scores[-1]['x'])}; {'; '.join(labels)}."
    return rows_chart(labels, layers, said, _NULL_ROW)


def controls_chart(results: Results, measure: str) -> str | None:
    """Draws floor, cross-model and ceiling scores of one measure, each beside the mean of its hardest null.

    Every row says how many pairs it scores; the groups that can be compared stand together, those of equally many of
    the strongest pairs above those of all pairs. A null that matches again tests the strongest pairs alone: where that
    score is another than the row's, it stands beside the mean as a hollow mark.
    """
    null = hardest_null(results) or ""
    rows: list[tuple[str, Kind, LayerPair]] = [
        (f"{kind}: {name}" + ("" if name.endswith("strongest") else f", {pair.pairs} pairs"), kind, pair)
        for kind, name, pair in strongest_rows(results) + control_rows(results)
    ]
    found = [_controlled(label, kind, pair, (measure, null)) for label, kind, pair in rows]
    if not any(row.score is not None for row in found):
        return None
    x = score_axis("x", "score", ends_within([at for row in found for at in (row.score, row.tested, row.mean)]))
    ticks: list[Encoding] = [
        {"y": place * ROW + 12, "y2": place * ROW + 28, "x": row.mean}
        for place, row in enumerate(found)
        if row.mean is not None
    ]
    rule: Json = {"type": "rule", "stroke": INK, "strokeWidth": 2}
    layers: list[Json] = []
    for kind, colour in KIND_COLOURS.items():
        of_kind = [(place * ROW + 20, row) for place, row in enumerate(found) if row.kind == kind]
        hollow: list[Encoding] = [{"y": y, "x": row.tested} for y, row in of_kind if row.tested is not None]
        dots: list[Encoding] = [{"y": y, "x": row.score} for y, row in of_kind if row.score is not None]
        mark: Encoding = {"type": "point", "filled": True, "size": 90, "opacity": 1, "shape": _SHAPES[kind]}
        layers.append(marks(hollow, {**mark, "fill": "var(--paper)", "stroke": colour, "strokeWidth": 2}, x))
        layers.append(marks(dots, {**mark, "fill": colour}, x))
    layers.append(marks(ticks, rule, x, {"y2": {"field": "y2"}}))
    return rows_chart(
        [row.label for row in found], layers, f"{title_of(measure)}. {'; '.join(row.said for row in found)}."
    )


class _Controlled(NamedTuple):
    """A row of the controls.

    Attributes:
        label: what stands above it.
        kind: of control.
        score: of the pairs that the label counts.
        tested: what the null tests, where that is another score.
        mean: of the null.
    """

    label: str
    kind: Kind
    score: float | None
    tested: float | None
    mean: float | None

    @property
    def said(self) -> str:
        """What a screen reader says."""
        tested = "" if self.tested is None else f", of its strongest pairs {show(self.tested)}"
        return f"{self.label} {show(self.score)}{tested}, null mean {show(self.mean)}"


def _controlled(label: str, kind: Kind, pair: LayerPair, tested_by: tuple[str, str]) -> _Controlled:
    """Returns a row of the controls, of a measure and a null."""
    measure, null = tested_by
    score, test = value_of(pair, measure, "score"), test_of(pair, measure, null)
    label += ", too few" if score is None else ""
    if test is None or score is None:
        return _Controlled(label, kind, score, None, None)
    return _Controlled(label, kind, score, test.score if tests_others(score, test) else None, test.mean)


def published_chart(published: Published, measure: Literal["svcca", "rsa"]) -> str | None:
    """Draws one score over the steps from the published protocol to the corrected one, beside its null mean."""
    title, found = measure.upper(), [(step.step, step_score(step, measure)) for step in published.steps]
    rows = [
        (step, score.score, score.null_mean) if isinstance(score, StepScore) else (step, None, None)
        for step, score in found
    ]
    if not any(score is not None for _, score, _ in rows):
        return None
    x = score_axis("x", f"{title} score", ends_with_zero([value for row in rows for value in row[1:]]))
    dots: list[Encoding] = [
        {"y": i * ROW + 20, "y2": i * ROW + 28, "x": score} for i, (_, score, _) in enumerate(rows) if score is not None
    ]
    ticks: list[Encoding] = [
        {"y": i * ROW + 12, "y2": i * ROW + 28, "x": mean} for i, (_, _, mean) in enumerate(rows) if mean is not None
    ]
    point: Json = {"type": "point", "filled": True, "size": 90, "opacity": 1, "fill": "var(--cross)"}
    rule: Json = {"type": "rule", "stroke": INK, "strokeWidth": 2}
    layers = [marks(ticks, rule, x, {"y2": {"field": "y2"}}), marks(dots, point, x)]
    said = "; ".join(f"{step} {show(score)}, null mean {show(mean)}" for step, score, mean in rows)
    return rows_chart([step for step, _, _ in rows], layers, f"{title} by step. {said}.")
