"""The static charts of the report page, one function a chart: numbers of the results in, an SVG of the page's out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from semconv.report.figures import control_rows, cut, grid_of, strongest_rows, title_of, value_of
from semconv.report.page_data import Draws, binned, hardest_null, heights
from semconv.report.rows import null_names
from semconv.report.tables import show
from semconv.report.vega import INK, QUIET, ROW, WIDTH, Layer, draw, ends_of, marks, rows_chart, score_axis, step_of
from semconv.report.verdict import compared_floor, null_of_strongest

_NUMBERED = 8  # layers of a side up to which the cells of an overview hold their numbers
_NUMBER = 36  # pixels that a number of an overview needs
_SHORT = 3  # letters of a label up to which it stands in one cell
_LETTER = 6.0  # pixels of a letter of a label
KIND_COLOURS = {"floor": "var(--floor)", "cross-model": "var(--cross)", "ceiling": "var(--ceiling)"}
NULL_COLOURS = {"shuffle": "var(--null1)", "frequency": "var(--null2)", "rematch": "var(--null3)"}


def verdict_chart(results: dict[str, Any]) -> str | None:
    """Draws how far trained models and untrained twins lie from chance, on as many pairs; None without both."""
    both = results["controls"]["strongest"].get(compared_floor(results))
    if both is None:
        return None
    null, rows = null_of_strongest(results), [("floor", both["floor"]), ("cross-model", both["trained"])]
    points, labels = list[dict[str, Any]](), list[str]()
    for measure in results["summary"]:
        zs = [value_of(cell, measure, f"{null}.z") for _, cell in rows]
        if None in zs:
            continue
        y = len(labels) * ROW + 19
        labels.append(title_of(measure))
        points += [{"y": y, "x": z, "kind": kind} for (kind, _), z in zip(rows, zs, strict=True)]
    if not labels:
        return None
    x = score_axis("x", f"z: standard deviations above {null}", ends_of([p["x"] for p in points]))
    dots = [
        marks(
            [p for p in points if p["kind"] == kind],
            {"type": "point", "filled": True, "size": 90, "opacity": 1, "shape": shape, "fill": KIND_COLOURS[kind]},
            x,
        )
        for kind, shape in (("floor", "diamond"), ("cross-model", "circle"))
    ]
    zero = {"data": {"values": [{"x": 0}]}, "mark": {"type": "rule", "stroke": QUIET}, "encoding": {"x": x}}
    said = "; ".join(
        f"{label}: twins {show(points[2 * i]['x'])}, trained {show(points[2 * i + 1]['x'])}"
        for i, label in enumerate(labels)
    )
    return rows_chart(labels, [zero, *dots], f"z against {null}. {said}.")


def overview_chart(results: dict[str, Any], measure: str) -> str:
    """Draws the scores of one measure over the layer grid as a small heat map, deep layers of B on top."""
    rows, columns, values = grid_of(results, measure, "score")
    ends = [float(np.nanmin(values)), float(np.nanmax(values))] if np.isfinite(values).any() else [0.0, 1.0]
    ends[1] = ends[1] if ends[1] > ends[0] else ends[0] + 1.0
    long = max(map(len, (*rows, *columns))) > _SHORT
    shown = {label: cut(label) for label in (*rows, *columns)}
    room = _LETTER * max(len(shown[label]) for label in rows) if long else 0.0
    width = WIDTH - room
    side = width / len(columns)
    height = min(side, 42.0) * len(rows)
    cells: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = values[i, j]
            known = value == value
            step = step_of(float(value), ends) if known else None
            fill, ink = ("var(--empty)", QUIET) if step is None else (f"var(--h{step})", f"var(--t{step})")
            text = f"{value:z.3f}" if known else "none"
            cells.append({"a": column, "b": row, "fill": fill, "ink": ink, "text": text})

    def place(field: str, labels: list[str], title: str, **more: Any) -> dict[str, Any]:
        some = labels[:: -(-len(labels) // 14)]  # as many labels as fit
        scale = {"domain": labels, "paddingInner": 0, "paddingOuter": 0}
        axis = {"ticks": False, "domain": False, "labelAngle": 0, "values": some, **more}
        return {"field": field, "type": "ordinal", "sort": None, "scale": scale, "title": title, "axis": axis}

    padding = {"left": 42 + room, "right": 4, "top": 4, "bottom": 38}
    across, up = dict[str, Any](), dict[str, Any]()
    if long:  # titles are placed, for where Vega puts them follows from the width of the labels in some font
        written = {"labelExpr": f"({json.dumps(shown)})[datum.value]"}
        padding["bottom"] += _LETTER * max(len(shown[label]) for label in columns)
        across = {**written, "labelAngle": -90, "titleY": padding["bottom"] - 16, "titleX": width / 2}
        up = {**written, "titleX": 14 - padding["left"], "titleY": height / 2, "titleAngle": -90}
    x = place("a", columns, f"layer of {results['model_a']['name']} (A)", **across)
    y = place("b", rows[::-1], f"layer of {results['model_b']['name']} (B)", **up)
    literal = {"type": "nominal", "scale": None}
    fill = {"mark": {"type": "rect", "stroke": "var(--paper)"}, "encoding": {"fill": {"field": "fill", **literal}}}
    text = {
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {"fill": {"field": "ink", **literal}, "text": {"field": "text", "type": "nominal"}},
    }
    layer = [fill, text] if max(len(rows), len(columns)) <= _NUMBERED and side >= _NUMBER else [fill]
    spec = {"data": {"values": cells}, "encoding": {"x": x, "y": y}, "layer": layer}
    said = f"{title_of(measure)}: scores over the layer grid, {show(ends[0])} to {show(ends[1])} on the colour scale."
    return draw({"width": round(width), "height": round(height), "padding": padding, **spec}, said)


def null_chart(results: dict[str, Any], draws: Draws, measure: str, key: str) -> str | None:
    """Draws every null of one layer pair as a histogram, beside the score it is a null of; None without draws."""
    scored = results["grid"][key]["measures"][measure].get("nulls", {})
    bars, scores, labels = list[dict[str, Any]](), list[dict[str, Any]](), list[str]()
    for null in null_names(results):
        array, score = draws.get(f"{key}.{null}.{measure}"), scored.get(null, {}).get("score")
        histogram = None if array is None else binned(array)
        if histogram is None or score is None:
            continue
        base = len(labels) * ROW + 28
        low, high, n, _ = histogram
        of_bins = heights(histogram)
        width = (high - low) / len(of_bins)
        bars += [
            {"x": low + i * width, "x2": low + (i + 1) * width, "y": base, "y2": base - 15 * h, "null": null}
            for i, h in enumerate(of_bins)
            if h
        ]
        scores.append({"x": score, "y": base, "y2": base - 15})
        labels.append(f"{null}: {n} draws, p {show(scored[null]['p'])}")
    if not labels:
        return None
    x = score_axis("x", "score", (min(v["x"] for v in bars + scores), max(v.get("x2", v["x"]) for v in bars + scores)))
    more = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    layers = [
        marks([b for b in bars if b["null"] == null], {"type": "rect", "fill": colour}, x, **more)
        for null, colour in NULL_COLOURS.items()
        if any(b["null"] == null for b in bars)
    ]
    rule = {"type": "rule", "stroke": "var(--cross)", "strokeWidth": 3}
    layers.append(marks(scores, rule, x, y2={"field": "y2"}))
    said = f"{title_of(measure)} at layers {key}: score {show(scores[-1]['x'])}; {'; '.join(labels)}."
    return rows_chart(labels, layers, said)


def controls_chart(results: dict[str, Any], measure: str) -> str | None:
    """Draws floor, cross-model and ceiling scores of one measure, each beside the mean of its hardest null."""
    null = hardest_null(results)
    rows = [
        (kind, name, value_of(cell, measure, "score"), value_of(cell, measure, f"{null}.mean"))
        for kind, name, cell in strongest_rows(results) + control_rows(results)
    ]
    if not any(score is not None for _, _, score, _ in rows):
        return None
    labels = [f"{kind}: {name}" + (", too few pairs" if score is None else "") for kind, name, score, _ in rows]
    x = score_axis("x", "score", ends_of([value for row in rows for value in row[2:]]))
    layers: list[Layer] = []
    for kind, colour in KIND_COLOURS.items():
        bars = [
            {"y": place * ROW + 15, "y2": place * ROW + 25, "x": 0, "x2": score}
            for place, (k, _, score, _) in enumerate(rows)
            if k == kind and score is not None
        ]
        more = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
        layers.append(marks(bars, {"type": "rect", "fill": colour}, x, **more))
    ticks = [
        {"y": place * ROW + 12, "y2": place * ROW + 28, "x": mean}
        for place, (_, _, _, mean) in enumerate(rows)
        if mean is not None
    ]
    rule = {"type": "rule", "stroke": INK, "strokeWidth": 2}
    layers.append(marks(ticks, rule, x, y2={"field": "y2"}))
    said = "; ".join(
        f"{label} {show(row[2])}, null mean {show(row[3])}" for label, row in zip(labels, rows, strict=True)
    )
    return rows_chart(labels, layers, f"{title_of(measure)}. {said}.")


def published_chart(results: dict[str, Any], column: str, title: str) -> str | None:
    """Draws one score over the steps from the published protocol to the corrected one, beside its null mean."""
    rows = [
        (step["step"], step[column].get("score"), step[column].get("null_mean"))
        for step in results["published"]["steps"]
    ]
    if not any(score is not None for _, score, _ in rows):
        return None
    x = score_axis("x", f"{title} score", ends_of([value for row in rows for value in row[1:]]))
    dots, ticks = (
        [{"y": i * ROW + 20, "y2": i * ROW + 28, "x": row[at]} for i, row in enumerate(rows) if row[at] is not None]
        for at in (1, 2)
    )
    for tick in ticks:
        tick["y"] = tick["y2"] - 16
    layers = [
        marks(ticks, {"type": "rule", "stroke": INK, "strokeWidth": 2}, x, y2={"field": "y2"}),
        marks(dots, {"type": "point", "filled": True, "size": 90, "opacity": 1, "fill": "var(--cross)"}, x),
    ]
    said = "; ".join(f"{step} {show(score)}, null mean {show(mean)}" for step, score, mean in rows)
    return rows_chart([step for step, _, _ in rows], layers, f"{title} by step. {said}.")
