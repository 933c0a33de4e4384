"""The parts that the template of the report page shows: the verdict, the charts, the tables, what was read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from semconv.report import answer_chart, charts, page_heat_maps, page_tables, rows, stream_tables, texts, what_was_read
from semconv.report.answer import answer, asked_null
from semconv.report.beyond_tokens import beyond_tokens
from semconv.report.first_pairs import FirstPairs
from semconv.report.function_charts import ShownFunction, shown_function
from semconv.report.function_section import address, wanted_pairs
from semconv.report.histograms import Draws
from semconv.report.result_values import title_of
from semconv.report.scales import rounded
from semconv.report.table_cells import Rows
from semconv.report.verdict import embeddings_rows, embeddings_verdict, floor_comparison
from semconv.results.schema import Published, Results

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_CELLS = 100
"""Layer pairs up to which the page holds a table of every number; beyond, report.md has them."""


def inline(text: str) -> Markup:
    """Returns Markdown's `code`, *emphasis* and **strong** as HTML; everything else of the text is escaped.

    Code that holds backticks stands between longer runs of them (`as_code`); nothing in code is emphasis.
    """
    from markupsafe import Markup

    codes = list[str]()

    def keep(found: re.Match[str]) -> str:
        codes.append(found[3])
        return f"\0{len(codes) - 1}\0"

    html = re.sub(r"(?<!`)(`+)(?!`)( ?)(.+?)\2(?<!`)\1(?!`)", keep, escape(text.replace("\0", "")), flags=re.DOTALL)
    html = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", html)
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    return Markup(re.sub("\0(\\d+)\0", lambda found: f"<code>{codes[int(found[1])]}</code>", html))


class ToSee(NamedTuple):
    """A pair that the first screen leads to: what it is, its numbers, and the address that opens it."""

    what: str
    numbers: str
    link: str


@dataclass(frozen=True)
class ShownAnswer:
    """The first screen: what was compared, a few sentences, their figure, what there is in the figure, and a pair that
    convinces and one to doubt, where the run has such."""

    compared: Markup
    sentences: Sequence[Markup]
    chart: str | None
    null: str | None
    by_depth: bool
    has_ceiling: bool
    pairs: Sequence[ToSee] = ()


@dataclass(frozen=True)
class ShownVerdict:
    """What the untrained twins say: paragraphs, the tables of them, the chart of it."""

    beyond_tokens: Markup
    floor: Markup
    floor_rows: Rows | None
    embeddings: Markup
    embeddings_rows: Rows
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
    seeds: Rows | None
    controls: Rows
    split_half: Rows | None
    filters: Rows | None
    influence: Rows | None
    saes: Rows
    control_saes: Rows
    depths: Rows | None = None
    published: Rows | None = None
    published_text: str = ""
    category_maps: Sequence[page_heat_maps.HeatMap] = ()
    categories: Rows | None = None
    subspaces_text: str = ""
    relations: Rows | None = None
    spans: Rows | None = None
    spans_text: str = ""
    streams: Rows | None = None
    decoders: Rows | None = None
    streams_text: str = ""
    function: ShownFunction | None = None


@dataclass(frozen=True)
class ReadTold:
    """What was read, in sentences."""

    text: list[str]
    fit: str
    remarks: list[str]


def pairs_to_see(results: Results, pairs: FirstPairs | None) -> list[ToSee]:
    """Returns a pair that convinces and one to doubt: by their effects, or else by r within tokens; none without both.

    Args:
        results: of a suite.
        pairs: a few of the run, where it has any.
    """
    if pairs is None:
        return []
    keys = [key for key in wanted_pairs(results) if key in pairs.named]
    if len(keys) == 2:
        what = "one whose effects agree", "one whose effects do not"
        found = [(key, pairs.named[key].r, pairs.named[key].within) for key in keys]
    else:
        what = "one that agrees beyond its tokens", "one that may agree in the token alone"
        some = [*pairs.beyond[:1], *pairs.doubtful[:1]]
        found = [((one.sae_a, one.sae_b, one.feature_a, one.feature_b), one.r, one.within) for one in some]
    if len(found) < 2:
        return []
    return [
        ToSee(said, f"r {rounded(r)}" + ("" if within is None else f", {rounded(within)} within tokens"), address(key))
        for said, (key, r, within) in zip(what, found, strict=True)
    ]


def shown_answer(results: Results, pairs: FirstPairs | None = None) -> ShownAnswer:
    """Returns the answer to the title of the page; `pairs` are a few of the run, where it has any."""
    found = answer(results)
    sentences = [inline(sentence) for sentence in found.sentences if sentence]
    rows = answer_chart.answer_rows(results)
    return ShownAnswer(
        inline(found.compared),
        sentences,
        answer_chart.answer_chart(results),
        asked_null(results),
        len({row.part for row in rows}) > 1,
        any(row.mark == "top" for row in rows),
        pairs_to_see(results, pairs),
    )


def shown_verdict(results: Results) -> ShownVerdict:
    """Returns what is found beyond tokens and beside untrained twins."""
    found = floor_comparison(results)
    return ShownVerdict(
        inline(beyond_tokens(results)),
        inline(found.text),
        found.rows,
        inline(embeddings_verdict(results)),
        embeddings_rows(results),
        charts.verdict_chart(results),
    )


def shown_charts(results: Results, draws: Draws) -> Charts:
    """Returns every chart but that of the verdict.

    Args:
        results: of a suite, in order (`in_order`).
        draws: of the nulls, where the run has them.
    """
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
    svcca, rsa = charts.published_chart(published, "svcca"), charts.published_chart(published, "rsa")
    return [Chart(title, svg) for title, svg in (("SVCCA", svcca), ("RSA", rsa)) if svg]


def shown_tables(results: Results, pairs: FirstPairs | None = None) -> PageTables:
    """Returns every table but the claims; `pairs` are a few of the run, where it has any."""
    small = len(results.grid) <= MOST_CELLS
    found = PageTables(
        headline=page_tables.headline_rows(results),
        grid_tests=rows.grid_test_rows(results),
        measures=[(title_of(m), rows.measure_rows(results, m)) for m in results.summary] if small else [],
        self_match=rows.self_match_rows(results),
        seeds=rows.seed_rows(results) if results.controls.seeds else None,
        controls=rows.controls_rows(results),
        split_half=rows.split_half_rows(results) if small else None,
        filters=rows.filter_rows(results) if small else None,
        influence=rows.influence_rows(results) if small else None,
        depths=rows.depth_rows(results.depths) if results.depths else None,
        saes=what_was_read.sae_rows(results),
        control_saes=what_was_read.control_sae_rows(results),
        function=shown_function(results, pairs.named if pairs else None),
    )
    if results.published:
        text = texts.published_text(results, results.published)
        found = replace(
            found, published=rows.published_rows(results.published, results.null.n_permutations), published_text=text
        )
    if results.subspaces:
        categories, left_out = rows.category_rows(results, results.subspaces)
        found = replace(found, subspaces_text=inline(texts.subspaces_text(results.subspaces, left_out)))
        if small:
            maps, relations = (
                page_heat_maps.category_maps(results, results.subspaces),
                rows.relation_rows(results.subspaces, results.null.n_permutations),
            )
            found = replace(found, category_maps=maps, categories=categories, relations=relations)
    if results.spans:
        spans = rows.span_rows(results, results.spans) if small else None
        found = replace(found, spans=spans, spans_text=texts.spans_text(results.spans))
    if results.streams:
        streams = stream_tables.stream_rows(results.streams) if small else None
        found = replace(found, streams=streams, streams_text=texts.streams_text(results.streams))
        decoders = stream_tables.decoder_rows(results.streams, results.null.n_permutations)
        found = replace(found, decoders=decoders if small and decoders.rows else None)
    return found


def shown_read(results: Results) -> ReadTold:
    """Returns what was read, in sentences."""
    told = what_was_read.text_lines(results), what_was_read.fit_text(results), what_was_read.remark_lines(results)
    return ReadTold(*told)
