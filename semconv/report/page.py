"""The report as one HTML file that asks nothing of any network: text, charts, tables and an explorer of the pairs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.report import charts, page_tables, rows, texts, what_was_read
from semconv.report.explorer_data import Tables, explorer_data
from semconv.report.histograms import Draws, read_draws
from semconv.report.page_data import grid_data
from semconv.report.reading import control_rows, default_measure, hardest_null, names_of, null_names, title_of
from semconv.report.tables import Rows, is_number
from semconv.report.vega import STEPS
from semconv.report.verdict import floor_comparison
from semconv.results.claims import Checked, about
from semconv.results.schema import Published, Results
from semconv.system.files import read_text, write_text
from semconv.system.markdown import show

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDER = Path(__file__).parent
MOST_CELLS = 100
"""Layer pairs up to which the page holds a table of every number; beyond, report.md has them."""
_EXCERPT = 20  # pairs that print and pages without a script show


def inline(text: str) -> Markup:
    """Returns Markdown's `code` and **strong** as HTML; everything else of the text is escaped."""
    from markupsafe import Markup

    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html))


def embedded(value: Any) -> str:
    """Returns JSON that can stand in a script element: without `<`, `>` or `&` nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@dataclass(frozen=True)
class ShownVerdict:
    """The verdict in parts: a first sentence that can stand alone, the rest, measures, a warning, the chart of it."""

    lead: Markup
    more: Markup
    above: Sequence[str]
    warning: Markup
    chart: str | None


@dataclass(frozen=True)
class Chart:
    """A drawn chart under its title."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True)
class Charts:
    """The charts of every measure, those there are: overview, nulls at its best layer pair, controls, and of the steps
    of the published protocol.
    """

    overview: list[Chart]
    nulls: list[Chart]
    controls: list[Chart]
    published: list[Chart]


@dataclass(frozen=True)
class PageTables:
    """Every table of the page, None where it would be too large, and the sentences that stand above some."""

    headline: Rows
    grid_tests: Rows
    measures: list[tuple[str, Rows]]
    self_match: Rows
    controls: Rows
    split_half: Rows | None
    filters: Rows | None
    saes: Rows
    published: Rows | None = None
    published_text: str = ""
    category_maps: Sequence[page_tables.HeatMap] = ()
    categories: Rows | None = None
    subspaces_text: str = ""
    relations: Rows | None = None
    spans: Rows | None = None
    spans_text: str = ""


@dataclass(frozen=True)
class ReadTold:
    """What was read, in sentences."""

    text: list[str]
    fit: str
    remarks: list[str]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(style: str, scripts: Sequence[str]) -> str:
    """Returns a content security policy that allows this style and these scripts, and no request whatever."""
    allowed = " ".join(_hash(script) for script in scripts)
    parts = ["default-src 'none'", f"style-src {_hash(style)}", f"script-src {allowed}", "img-src data:"]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _verdict(results: Results) -> ShownVerdict:
    found = floor_comparison(results)
    statement = f"{found.statement}." if found.statement else ""
    return ShownVerdict(
        inline(found.opening or statement),
        inline(statement if found.opening else ""),
        found.above,
        inline(found.warning),
        charts.verdict_chart(results),
    )


def _charts(results: Results, draws: Draws) -> Charts:
    of_grid, of_nulls, of_controls = list[Chart](), list[Chart](), list[Chart]()
    for measure, summary in results.summary.items():
        title, best = title_of(measure), summary.best_layer_pair
        of_grid.append(Chart(title, charts.overview_chart(results, measure)))
        nulls = charts.null_chart(results, draws, measure, best) if best else None
        of_nulls += [Chart(title, nulls, f"layers {best}")] if nulls else []
        controls = charts.controls_chart(results, measure)
        of_controls += [Chart(title, controls)] if controls else []
    return Charts(of_grid, of_nulls, of_controls, _published_charts(results.published) if results.published else [])


def _published_charts(published: Published) -> list[Chart]:
    svcca, rsa = (charts.published_chart(published, "svcca", "SVCCA"), charts.published_chart(published, "rsa", "RSA"))
    return [Chart(title, svg) for title, svg in (("SVCCA", svcca), ("RSA", rsa)) if svg]


def _tables(results: Results) -> PageTables:
    small = len(results.grid) <= MOST_CELLS
    found = PageTables(
        headline=page_tables.headline_rows(results),
        grid_tests=rows.grid_test_rows(results),
        measures=[(title_of(m), rows.measure_rows(results, m)) for m in results.summary] if small else [],
        self_match=rows.self_match_rows(results),
        controls=rows.controls_rows(results),
        split_half=rows.split_half_rows(results) if small else None,
        filters=rows.filter_rows(results) if small else None,
        saes=what_was_read.sae_rows(results),
    )
    if results.published:
        text = texts.published_text(results, results.published)
        found = replace(found, published=rows.published_rows(results.published), published_text=text)
    if results.subspaces:
        categories, left_out = rows.category_rows(results, results.subspaces)
        found = replace(found, subspaces_text=inline(texts.subspaces_text(results.subspaces, left_out)))
        if small:
            maps, relations = page_tables.category_maps(results.subspaces), rows.relation_rows(results.subspaces)
            found = replace(found, category_maps=maps, categories=categories, relations=relations)
    if results.spans:
        spans = rows.span_rows(results, results.spans) if small else None
        found = replace(found, spans=spans, spans_text=texts.spans_text(results.spans))
    return found


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(show=show, inline=inline, plain_number=is_number)
    return environment


def page(results: Results, checked: Sequence[Checked], tables: Tables, draws: Draws) -> str:
    """Returns the report as one HTML file: the same inputs give the same text.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        tables: pairs and contexts of the run, where it has them.
        draws: of the nulls, where the run has them.
    """
    style, head, script = (read_text(_FOLDER / name) for name in ("page.css", "page_head.js", "page.js"))
    measure, null = default_measure(results), hardest_null(results)
    explorer = explorer_data(tables)
    names = dict(zip("ab", names_of(results), strict=True))
    data = {"names": names, "measure": measure, "null": null, "grid": grid_data(results, draws), "explorer": explorer}
    return (
        _environment()
        .get_template("page.html")
        .render(
            results=results,
            names=names,
            policy=policy(style, [head, script]),
            style=style,
            head=head,
            script=script,
            data=embedded(data),
            verdict=_verdict(results),
            facts=page_tables.facts(results, checked),
            claims=about(checked, results.suite),
            charts=_charts(results, draws),
            tables=_tables(results),
            measures={name: title_of(name) for name in results.summary},
            nulls=null_names(results),
            measure=measure,
            null=null,
            grid=page_tables.grid_table(results, measure, null),
            steps=STEPS,
            explorer=explorer,
            kinds={kind for kind, _, _ in control_rows(results)},
            excerpt=_EXCERPT,
            texts=texts,
            read=ReadTold(
                what_was_read.text_lines(results), what_was_read.fit_text(results), what_was_read.remark_lines(results)
            ),
        )
    )


def write_page(results: Results, checked: Sequence[Checked], folder: Path) -> None:
    """Writes `index.html` into a run folder, with what the folder holds of pairs, contexts and draws.

    Raises:
        InputError: a file of the folder is damaged.
        OSError: the folder cannot be written, or the disk is full.
    """
    write_text(folder / "index.html", page(results, checked, Tables.of_run(folder), read_draws(folder)))
