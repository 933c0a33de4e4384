"""Vega-Lite specifications drawn as SVG whose colours are those of the page, and the parts that charts share.

Sizes and margins are fixed and text is placed, not measured, so a chart has the same bytes whatever fonts a machine
has; colours are CSS custom properties, which the page sets for light, dark and print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

from semconv.report.scales import Ends, axis_numbers, on_scale

VEGA_LITE = "5.21"
WIDTH = 300  # of the plot, in CSS pixels: what a phone of 360 shows without shrinking it
ROW = 30
INK, QUIET, LINE = "var(--ink)", "var(--quiet)", "var(--line)"

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"
"""What a specification is made of."""
Encoding = Mapping[str, Json]
"""A table of a specification."""


def draw(spec: Encoding, label: str) -> str:
    """Draws a specification; the drawing is one image to a screen reader, and `label` says what is in it."""
    import vl_convert

    axis: Json = {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelFlush": False,
        "labelBound": False,
        "labelOverlap": False,
    }
    whole: Json = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "autosize": {"type": "none"},
        "background": None,
        "config": {"view": {"stroke": None}, "axis": axis, "text": {"fontSize": 11, "fill": INK}},
        **spec,
    }
    svg = vl_convert.vegalite_to_svg(whole, vl_version=VEGA_LITE)
    # The image has one label; what Vega says of every mark, empty frames and defaults are so many bytes.
    svg = re.sub(r' (?:aria-[a-z]+|role|class|font-family|pointer-events|xmlns:xlink|version)="[^"]*"', "", svg)
    svg = re.sub(r'<path(?: aria-hidden="true")? d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>', "", svg)
    svg = re.sub(r' (?:opacity="1"|stroke-width="1"|text-anchor="start")', "", svg)
    svg = re.sub(r' width="\d+" height="\d+" (viewBox="0 0 (\d+) (\d+)")', r' \1 width="\2" height="\3"', svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _rows_layer(labels: Sequence[str], row: int) -> list[Json]:
    """Returns the labels of rows, each above its row at the left edge."""
    values: list[Json] = [{"y": place * row + 11, "label": label} for place, label in enumerate(labels)]
    return [
        {
            "data": {"values": values},
            "mark": {"type": "text", "align": "left", "baseline": "bottom", "fill": QUIET},
            "encoding": {"x": {"value": 0}, "y": _pixel("y"), "text": {"field": "label", "type": "nominal"}},
        }
    ]


def _pixel(field: str) -> Json:
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def score_axis(field: str, title: str, ends: Ends) -> Json:
    """Returns a horizontal axis of numbers between two ends of `semconv.report.scales`, rounded outwards."""
    scale: Json = {"domain": list(ends), "nice": True, "zero": False}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis_numbers(ends)}


def rows_chart(labels: Sequence[str], layers: Sequence[Json], label: str, row: int = ROW) -> str:
    """Draws rows of marks, each under its label, `row` pixels apart; `label` tells a screen reader what is in it."""
    height = len(labels) * row
    padding: Json = {"left": 14, "right": 18, "top": 4, "bottom": 38}
    layer: list[Json] = [*layers, *_rows_layer(labels, row)]  # labels last, so that their outline covers lines
    return draw({"width": WIDTH, "height": height, "padding": padding, "layer": layer}, label)


def marks(values: Sequence[Encoding], mark: Json, x: Json, more: Encoding | None = None) -> Json:
    """Returns marks placed by their `x` on an axis and their `y` in pixels from the top; `more` is encoded likewise."""
    placed = [
        {name: on_scale(at) if name in ("x", "x2") and isinstance(at, float) else at for name, at in value.items()}
        for value in values
    ]
    return {"data": {"values": placed}, "mark": mark, "encoding": {"x": x, "y": _pixel("y"), **(more or {})}}
