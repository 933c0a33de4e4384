"""What features do on the page: two charts, and the parts that its template shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from semconv.report import function_section as told
from semconv.report.first_pairs import NamedPair, PairKey
from semconv.report.function_figure import all_points, binned_by_r
from semconv.report.position_kinds_section import KINDS_TEXT, ShownKinds, shown_kinds
from semconv.report.rules_section import RULES_TEXT, ShownRules, shown_rules
from semconv.report.scales import axis_numbers, ends_with_zero
from semconv.report.shown import show
from semconv.report.substitution_section import SUBSTITUTION_TEXT, ShownSubstitution, shown_substitution
from semconv.report.table_cells import Rows
from semconv.report.vega import INK, QUIET, ROW, WIDTH, Encoding, Json, draw, marks, rows_chart, score_axis
from semconv.results.schema import Function, FunctionPair, FunctionTest, Results

_R_TEXT = (
    "Of the two models' layer pairs that were ablated{which}. Dots: pairs; lines: means of pairs of like r, solid of "
    "partners, dashed of their best hard negatives."
)
MOST_POINTS = 400
"""Pairs that the scatter shows, evenly spread over all."""
_MARKS = {
    "partner": ("circle", "cross", "\N{BLACK CIRCLE}"),
    "same_token": ("square", "neg1", "\N{BLACK SQUARE}"),
    "second_best": ("diamond", "neg2", "\N{BLACK DIAMOND}"),
    "co_active": ("triangle-up", "neg3", "\N{BLACK UP-POINTING TRIANGLE}"),
    "others": ("cross", "floor", "+"),
}
"""Shape and colour (of page.css) of every mark beside partners, and its sign in the key."""
_PARTNER, _LOWER = 20, 6  # pixels from the top of a row to the partner, and from one mark to the next below it
_ROOM = 0.04  # beside the ends of intervals, as a share of the axis
_ROW = 52  # pixels of a row of that chart
BEYOND_TEXT = (
    "The difference that is tested, with its 95% interval. The best hard negative of a pair is the highest of those it "
    "has, which by chance alone lies above the mean of any one kind; so a partner can lie above every mark of the "
    "chart of partners and what they must beat, and yet not above its best hard negative."
)


class FunctionChart(NamedTuple):
    """A chart: its title, what it shows, and what stands below it; nothing where the key of the marks does."""

    title: str
    svg: str
    below: str


class ShownExample(NamedTuple):
    """A pair told of at length, and the address that opens it among the feature pairs; empty where it is not there."""

    text: str
    link: str


@dataclass(frozen=True)
class ShownFunction:
    """What the template of the section shows.

    Attributes:
        summary: the primary statistic in words.
        introduction: what was done.
        examples: a pair that agrees and one that does not.
        charts: the difference that is tested, partners beside hard negatives, agreement against r; those there are.
        agreement: table of both.
        more: table of everything else that is told of effects.
        lens: table of the logit lens.
        rules: which way of matching finds features that do the same, by layer pair.
        substitution: whether partners can stand in for features, by layer pair.
        kinds: at which positions they do; None where that is not compared.
        key: name, sign and colour of every mark in the chart of partners and what they must beat.
        more_text: what the second table says.
        lens_text: what the third says.
        rules_text: what the tables of rules say.
        substitution_text: what those of replaced contributions say.
        kinds_text: what the table of kinds of positions says.
    """

    summary: str
    introduction: str
    examples: Sequence[ShownExample]
    charts: Sequence[FunctionChart]
    agreement: Rows
    more: Rows
    lens: Rows
    rules: Sequence[ShownRules]
    substitution: Sequence[ShownSubstitution]
    kinds: ShownKinds | None
    key: Sequence[tuple[str, str, str]]
    more_text: str = told.MORE_TEXT
    lens_text: str = told.LENS_TEXT
    rules_text: str = RULES_TEXT
    substitution_text: str = SUBSTITUTION_TEXT
    kinds_text: str = KINDS_TEXT


def shown_function(results: Results, named: Mapping[PairKey, NamedPair] | None = None) -> ShownFunction | None:
    """Returns what the page shows of what features do; None where the suite did not ask for it.

    Args:
        results: of a suite.
        named: what the tables of the run say of `wanted_pairs`, if it has them.
    """
    function = results.function
    if function is None:
        return None
    ablated = [key for key, pair in function.grid.items() if isinstance(pair, FunctionPair)]
    drawn = [
        ("Partner less best hard negative", beyond_chart(results, function), BEYOND_TEXT),
        ("Partner and what it must beat", negatives_chart(results, function), ""),
        ("Agreement against r", r_chart(function), _R_TEXT.format(which=told.few(ablated))),
    ]
    return ShownFunction(
        told.summary_sentences(results, function),
        told.INTRODUCTION.format(positions=function.positions),
        [_example(results, one, named or {}) for one in told.examples(function)],
        [FunctionChart(title, svg, below) for title, svg, below in drawn if svg is not None],
        told.agreement_rows(results, function),
        told.more_rows(results, function),
        told.lens_rows(function),
        shown_rules(function),
        shown_substitution(function),
        shown_kinds(function),
        [(told.ALIKE[name], sign, colour) for name, (_, colour, sign) in _MARKS.items()],
    )


def _example(results: Results, one: told.Example, named: Mapping[PairKey, NamedPair]) -> ShownExample:
    key = one.key(results)
    known = named.get(key) if key else None
    return ShownExample(told.example_text(one, known), told.address(key) if key and known else "")


def negatives_chart(results: Results, function: Function) -> str | None:
    """Draws how alike the effects of partners and of their hard negatives are; None where nothing was ablated."""
    every = told.studied(results, function)
    found = [(kind, name, pair) for kind, name, pair in every if isinstance(pair, FunctionPair)]
    if not found:
        return None
    labels = [name if kind == "cross-model" else f"{kind}: {name}" for kind, name, _ in found]
    values = {kind: [pair.alike[kind].residual for _, _, pair in found] for kind in _MARKS}
    x = score_axis("x", "correlation of residual effects", ends_with_zero([v for of in values.values() for v in of]))
    zero: Json = {"data": {"values": [{"x": 0}]}, "mark": {"type": "rule", "stroke": QUIET}, "encoding": {"x": x}}
    layers: list[Json] = [zero]
    for order, (kind, (shape, colour, _)) in enumerate(_MARKS.items()):
        dots: list[Encoding] = [
            {"y": place * _ROW + _PARTNER + order * _LOWER, "x": value}
            for place, value in enumerate(values[kind])
            if value is not None
        ]
        size = 90 if kind == "partner" else 55
        mark: Encoding = {"type": "point", "filled": True, "size": size, "opacity": 1, "shape": shape}
        layers.append(marks(dots, {**mark, "fill": f"var(--{colour})"}, x))
    said = "; ".join(
        f"{label}: " + ", ".join(f"{told.ALIKE[kind]} {show(values[kind][place])}" for kind in _MARKS)
        for place, label in enumerate(labels)
    )
    return rows_chart(labels, layers, f"Mean correlation of residual effects. {said}.", _ROW)


def beyond_chart(results: Results, function: Function) -> str | None:
    """Draws by how much partners are above their best hard negatives, with its 95% interval; None without a test.

    The interval is the difference and 1.96 standard errors to either side; none where the error is not known.
    """
    rows = list[tuple[str, FunctionTest]]()
    for kind, name, pair in told.studied(results, function):
        if isinstance(pair, FunctionPair) and isinstance(pair.beyond, FunctionTest):
            label = name if kind == "cross-model" else f"{kind}: {name}"
            rows.append((f"{label}, {pair.beyond.pairs} pairs", pair.beyond))
    if not rows:
        return None
    reach = [None if test.error is None else 1.96 * abs(test.error) for _, test in rows]
    lines: list[Encoding] = [
        {"y": place * ROW + 20, "x": test.difference - half, "x2": test.difference + half}
        for place, ((_, test), half) in enumerate(zip(rows, reach, strict=True))
        if half is not None
    ]
    dots: list[Encoding] = [{"y": place * ROW + 20, "x": test.difference} for place, (_, test) in enumerate(rows)]
    every = [*(test.difference for _, test in rows), *(float(str(line[of])) for line in lines for of in ("x", "x2"))]
    low, high = ends_with_zero(every)
    room = _ROOM * (high / 2 - low / 2)  # so that no interval looks cut off at the edge
    x = score_axis("x", "difference of correlations", (low - room, high + room))
    point: Json = {"type": "point", "filled": True, "size": 90, "opacity": 1, "fill": "var(--cross)"}
    zero: Json = {"data": {"values": [{"x": 0}]}, "mark": {"type": "rule", "stroke": INK}, "encoding": {"x": x}}
    line: Json = {"type": "rule", "stroke": "var(--cross)", "strokeWidth": 2}
    said = "; ".join(
        f"{label}: {show(test.difference)}" + ("" if test.error is None else f", standard error {show(test.error)}")
        for label, test in rows
    )
    layers = [zero, marks(lines, line, x, {"x2": {"field": "x2"}}), marks(dots, point, x)]
    return rows_chart([label for label, _ in rows], layers, f"Partner less best hard negative. {said}.")


def r_chart(function: Function) -> str | None:
    """Draws agreement against r, a dot for a pair, with the means of groups by r; None where nothing was ablated."""
    points = all_points(function)
    if not points:
        return None
    some = points[:: -(-len(points) // MOST_POINTS)]
    means = binned_by_r(points)
    across, up = ends_with_zero([p[0] for p in points]), ends_with_zero([p[1] for p in points])
    axes: Encoding = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": "r of the pair",
            "scale": {"domain": list(across), "nice": True},
            "axis": axis_numbers(across),
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": "agreement of what both do",
            "scale": {"domain": list(up), "nice": True},
            "axis": axis_numbers(up),
        },
    }

    def layer(values: Sequence[Encoding], mark: Json) -> Json:
        return {"data": {"values": list(values)}, "mark": mark, "encoding": axes}

    dots: list[Encoding] = [{"x": r, "y": partner} for r, partner, _ in some]
    layers = [layer(dots, {"type": "point", "filled": True, "size": 9, "opacity": 0.4, "fill": "var(--cross)"})]
    for at, colour, dash in ((1, "var(--cross)", [1, 0]), (2, "var(--null4)", [6, 4])):
        values: list[Encoding] = [{"x": mean[0], "y": mean[at]} for mean in means]
        layers.append(layer(values, {"type": "line", "stroke": colour, "strokeWidth": 2.5, "strokeDash": dash}))
    zero: Json = {"data": {"values": [{"y": 0}]}, "mark": {"type": "rule", "stroke": INK}, "encoding": {"y": axes["y"]}}
    groups = "; ".join(f"r {show(r)}: partner {show(own)}, best negative {show(best)}" for r, own, best in means)
    padding: Json = {"left": 46, "right": 14, "top": 6, "bottom": 38}
    spec: Encoding = {"width": WIDTH - 46, "height": 220, "padding": padding, "layer": [zero, *layers]}
    return draw(spec, f"Agreement against r, {len(points)} pairs; means of groups: {groups}.")
