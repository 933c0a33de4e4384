"""The sections of the report as Markdown, each made from one part of the results."""

from __future__ import annotations

from typing import Any

from semconv.report import rows, what_was_read
from semconv.report.figures import title_of
from semconv.report.rows import Rows
from semconv.report.tables import table

SELF_MATCH_TEXT = "Positive control: an SAE matched with itself must find itself and score 1."
CONTROLS_TEXT = (
    "Floor (models that learned nothing), the same layers across models, ceiling (same model, other SAE); "
    "z and p against each pair's own shuffled pairing. Rows of the strongest pairs are without the filters "
    "that ask for agreement, which leave next to nothing of models that learned nothing."
)
SPLIT_HALF_TEXT = "Split half: every feature matched on one half of the documents and again on the other."
RELATIONS_TEXT = (
    "How the categories relate: Spearman between the category-by-category similarities of the two models, p "
    "from permuted labels."
)


def published_text(results: dict[str, Any]) -> str:
    """Returns where the published steps were taken."""
    published, (a, b) = results["published"], rows.names_of(results)
    where = f"Layers {published['layer_a']} of {a} and {published['layer_b']} of {b}."
    return f"{where} A p of 0 is what ten shuffles without + 1 print."


def subspaces_text(results: dict[str, Any], left_out: int) -> str:
    """Returns what the categories are, and how many cells are left out."""
    subspaces = results["subspaces"]
    return (
        f"Keyword lists `{subspaces['categories']}`, rule `{subspaces['rule']}`; features are matched again inside "
        f"each category. {left_out} category cells hold too few features or pairs to claim anything and are left out."
    )


def spans_text(results: dict[str, Any]) -> str:
    """Returns what was pooled over."""
    spans = results["spans"]
    return (
        f"Activations pooled by {spans['how']} over {spans['n_spans']:,} {spans['kind']} of {spans['mean_length']:.1f} "
        "tokens on average, then the same pipeline; q against the shuffled pairing."
    )


def _table(content: Rows) -> str:
    return table(content.header, content.rows)


def measure_section(results: dict[str, Any], name: str) -> str:
    """Returns one measure over the layer grid."""
    title = f"### {title_of(name)}\n\n![{name}](figures/{name}.png)"
    return f"{title}\n\n{_table(rows.measure_rows(results, name))}"


def grid_tests_section(results: dict[str, Any]) -> str:
    """Returns the tests over the whole grid."""
    return _table(rows.grid_test_rows(results))


def controls_section(results: dict[str, Any]) -> str:
    """Returns self-match, floor, ceiling and split half."""
    controls = rows.controls_rows(results)
    parts = [SELF_MATCH_TEXT, _table(rows.self_match_rows(results))]
    if controls.rows:
        parts += [CONTROLS_TEXT, "![controls](figures/controls.png)", _table(controls)]
    return "\n\n".join([*parts, SPLIT_HALF_TEXT, _table(rows.split_half_rows(results))])


def published_section(results: dict[str, Any]) -> str:
    """Returns the steps from the published protocol to the corrected one."""
    return f"{published_text(results)}\n\n{_table(rows.published_rows(results))}"


def subspaces_section(results: dict[str, Any]) -> str:
    """Returns the categories, and how they relate."""
    categories, left_out = rows.category_rows(results)
    relations = _table(rows.relation_rows(results))
    return "\n\n".join([subspaces_text(results, left_out), _table(categories), RELATIONS_TEXT, relations])


def spans_section(results: dict[str, Any]) -> str:
    """Returns the layer grid over pooled activations."""
    return f"{spans_text(results)}\n\n{_table(rows.span_rows(results))}"


def filters_section(results: dict[str, Any]) -> str:
    """Returns what every filter leaves."""
    return _table(rows.filter_rows(results))


def read_section(results: dict[str, Any]) -> str:
    """Returns what was read: the text, and every SAE with how it fits."""
    text, remarks = (
        "\n".join(f"- {line}" for line in lines)
        for lines in (what_was_read.text_lines(results), what_was_read.remark_lines(results))
    )
    parts = [text, _table(what_was_read.sae_rows(results)), what_was_read.fit_text(results), remarks]
    return "\n\n".join(part for part in parts if part)
