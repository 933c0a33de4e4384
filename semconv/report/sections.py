"""The sections of the report as Markdown, each made from one part of the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from semconv.report import rows, stream_tables, texts, what_was_read
from semconv.report.pair_figures import CAPTIONS
from semconv.report.result_values import title_of
from semconv.report.shown import table
from semconv.report.table_cells import Rows, without_empty_notes
from semconv.results.schema import Depths, Published, Results, SpansGrid, StreamsGrid, Subspaces


def _table(content: Rows) -> str:
    told = without_empty_notes(content)
    return table([*map(str, told.header)], told.rows)


def measure_section(results: Results, name: str) -> str:
    """Returns one measure over the layer grid."""
    title = f"### {title_of(name)}\n\n![{name}](figures/{name}.png)"
    return f"{title}\n\n{_table(rows.measure_rows(results, name))}"


def grid_tests_section(results: Results) -> str:
    """Returns the tests over the whole grid."""
    return _table(rows.grid_test_rows(results))


def controls_section(results: Results) -> str:
    """Returns self-match, floor, ceiling and split half."""
    controls = rows.controls_rows(results)
    parts = [texts.self_match_text(results), _table(rows.self_match_rows(results))]
    if controls.rows:
        parts += [texts.kinds_text(results), texts.CONTROLS_TEXT, "![controls](figures/controls.png)", _table(controls)]
    if results.controls.seeds:
        parts += [texts.SEEDS_TEXT, _table(rows.seed_rows(results))]
    return "\n\n".join([*parts, texts.SPLIT_HALF_TEXT, _table(rows.split_half_rows(results))])


def published_section(results: Results, published: Published) -> str:
    """Returns the steps from the published protocol to the corrected one."""
    steps = rows.published_rows(published, results.null.n_permutations)
    return f"{texts.published_text(results, published)}\n\n{_table(steps)}"


def subspaces_section(results: Results, subspaces: Subspaces) -> str:
    """Returns the categories, and how they relate."""
    categories, left_out = rows.category_rows(results, subspaces)
    relations = _table(rows.relation_rows(subspaces, results.null.n_permutations))
    text = texts.subspaces_text(subspaces, left_out)
    return "\n\n".join([text, _table(categories), texts.RELATIONS_TEXT, relations])


def spans_section(results: Results, spans: SpansGrid) -> str:
    """Returns the layer grid over pooled activations."""
    return f"{texts.spans_text(spans)}\n\n{_table(rows.span_rows(results, spans))}"


def streams_section(streams: StreamsGrid, permutations: int) -> str:
    """Returns the residual streams themselves."""
    parts, decoders = (
        [texts.streams_text(streams), _table(stream_tables.stream_rows(streams))],
        stream_tables.decoder_rows(streams, permutations),
    )
    return "\n\n".join([*parts, *([texts.DECODERS_TEXT, _table(decoders)] if decoders.rows else [])])


def filters_section(results: Results) -> str:
    """Returns what every filter leaves, and what the correlation of the pairs rests on."""
    parts = [_table(rows.filter_rows(results)), texts.INFLUENCE_TEXT, _table(rows.influence_rows(results))]
    return "\n\n".join(parts)


def depths_section(depths: Mapping[str, Depths]) -> str:
    """Returns how the scores lie over the depths."""
    return f"{texts.DEPTHS_TEXT}\n\n{_table(rows.depth_rows(depths))}"


def pair_figures_section(folder: Path) -> list[str]:
    """Returns a title and the figures of feature pairs that a folder holds, each under what is seen in it."""
    found = {name: caption for name, caption in CAPTIONS.items() if (folder / f"{name}.png").exists()}
    parts = [f"{caption}\n\n![{name}](figures/{name}.png)" for name, caption in found.items()]
    return ["## Feature pairs in figures", *parts] if parts else []


def read_section(results: Results) -> str:
    """Returns what was read: the text, and every SAE with how it fits."""
    text, remarks = (
        "\n".join(f"- {line}" for line in lines)
        for lines in (what_was_read.text_lines(results), what_was_read.remark_lines(results))
    )
    controls = what_was_read.control_sae_rows(results)
    parts = [text, _table(what_was_read.sae_rows(results)), what_was_read.fit_text(results), remarks]
    parts += ["SAEs of the controls:", _table(controls)] if controls.rows else []
    return "\n\n".join(part for part in parts if part)
