"""The report as Markdown: what was found in plain words, then a section for every part of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semconv.report import sections
from semconv.report.answer import answer
from semconv.report.answer_chart import answer_rows
from semconv.report.answer_figure import NAME
from semconv.report.beyond_tokens import beyond_tokens
from semconv.report.first_pairs import FirstPairs
from semconv.report.function_section import function_section
from semconv.report.page_tables import claims_counted, headline_rows
from semconv.report.result_values import names_of, null_names, title_of
from semconv.report.scales import rounded
from semconv.report.section_titles import TITLES
from semconv.report.shown import show, table
from semconv.report.table_cells import Row, Rows, interval
from semconv.report.texts import (
    COUNTS_TEXT,
    PAPER,
    cannot_tell,
    counted_alone,
    draws_text,
    interval_covers,
    together_or_none,
    two_scores,
)
from semconv.report.told_apart import best_cell, p_of, undecided
from semconv.report.verdict import embeddings_rows, embeddings_verdict, floor_comparison
from semconv.results.claims import Checked, about, none_about
from semconv.results.schema import Results, Summary
from semconv.system.files import write_text
from semconv.system.harmless_text import no_markup


def claims_section(checked: Sequence[Checked], suite: str) -> list[str]:
    """Returns the claims about the suite, and how many are about others; no section where there are none at all."""
    own, others = about(checked, suite)
    parts = claims_table(own) if own else none_about(suite), others
    return [f"## {TITLES['claims']}", claims_counted(checked, suite) + ".", *filter(None, parts)] if checked else []


def claims_table(checked: Sequence[Checked]) -> str:
    """Returns claims with expected, observed and verdict."""
    rows = [[c.claim.id, c.claim.statement, c.claim.wanted, c.found, c.verdict] for c in checked]
    return table(["claim", "statement", "expected", "observed", "verdict"], rows)


def headline(results: Results) -> str:
    """Returns the answer in a few sentences, and a plain line per measure and null, made from the numbers."""
    lines, (a, b) = [*filter(None, answer(results).sentences), ""], names_of(results)
    for name, s in results.summary.items():
        title = title_of(name)
        if s.best_score is None or s.mean_score is None:
            lines.append(f"- **{title}**: no layer pair left enough feature pairs to compare.")
            continue
        covers = interval_covers(results, s.layer_pairs)
        within = f" (95% interval {covers}: {interval(s.best_interval)})" if s.best_interval else ""
        lines.append(
            f"- **{title}**: best at layers {s.best_layer_pair} of {a} x {b}, {_ranked_by(s)}: "
            f"{rounded(s.best_score)}{within}; mean over the grid {rounded(s.mean_score)}."
        )
        lines += [_beside_null(results, name, null) for null, n in s.nulls.items() if n.layer_pairs]
    return "\n".join(lines)


def _ranked_by(summary: Summary) -> str:
    return f"by calibrated score against `{summary.ranked_by}`" if summary.ranked_by else "by score alone"


def _beside_null(results: Results, measure: str, null: str) -> str:
    n, best = results.summary[measure].nulls[null], best_cell(results, measure, null)
    beside = together_or_none(n), cannot_tell(undecided(results, measure, null)), counted_alone(n)
    counted = "".join(f"; {said}" for said in beside if said)
    at = f"; best at {best.key}, {rounded(best.score)} against its mean {rounded(best.null_mean)}" if best else ""
    p = f", p of the best of the grid {show(p_of(results, null, best.tested))}" if best and best.tested else ""
    return f"  - `{null}`: {n.significant} of {n.layer_pairs} layer pairs lie above it (q < 0.05{counted}){at}{p}."


def warnings_section(results: Results) -> list[str]:
    """Returns the paragraphs that stand before all else where there is something to know first; none where not."""
    said = "\n".join(f"- {sentence}" for sentence in results.warnings)
    return ["**Read this first.**", said] if said else []


def _nulls_text(results: Results) -> str:
    null = results.null
    parts = {
        "shuffle": f"`shuffle` ({null.n_permutations} permutations): the pairing of chosen pairs, the easiest.",
        "frequency": f"`frequency` ({null.n_permutations}): the same among features about equally often active.",
        "rematch": f"`rematch` ({null.n_rematch} shifts): one model's text shifted by whole documents, everything "
        "matched again.",
        "same_token": f"`same_token` ({null.n_same_token} exchanges): B's activations exchanged between positions of "
        "the same token in different documents, everything matched again: what the current token explains.",
        "same_bigram": f"`same_bigram` ({null.n_same_bigram} exchanges): the same where the token before is the same "
        "too: what two tokens explain.",
    }
    said = [*(parts[name] for name in null_names(results)), draws_text(results), f"Seed {null.seed}."]
    return " ".join(filter(None, said))


def _optional_sections(results: Results, pairs: FirstPairs | None) -> list[str]:
    """Returns title and section of every part of the results that not every run has."""
    parts: list[str] = []
    if results.published:
        parts += [f"## {TITLES['protocol']}", sections.published_section(results, results.published)]
    if results.subspaces:
        parts += [f"## {TITLES['categories']}", sections.subspaces_section(results, results.subspaces)]
    if results.spans:
        parts += [f"## {TITLES['spans']}", sections.spans_section(results, results.spans)]
    if results.streams:
        parts += [f"## {TITLES['streams']}", sections.streams_section(results.streams, results.null.n_permutations)]
    if results.function:
        named = pairs.named if pairs else None
        parts += [f"## {TITLES['function']}", function_section(results, results.function, named)]
    return parts


def _found_section(results: Results) -> list[str]:
    """Returns what was found: the measures beside their nulls, beyond tokens, beside twins, over the depths."""
    floor = floor_comparison(results)
    twins, embedded = embeddings_rows(results), embeddings_verdict(results)
    parts = [table(*_of(headline_rows(results))), COUNTS_TEXT, two_scores(results)]
    parts.append(sections.grid_tests_section(results))
    parts += ["### Beyond the current token", beyond_tokens(results)]
    parts += ["### Beside models that learned nothing", floor.text]
    parts += [table(*_of(floor.rows))] if floor.rows else []
    parts += [embedded, table(*_of(twins))] if embedded else []
    if results.depths:
        parts += ["### Where scores are high", sections.depths_section(results.depths)]
    return parts


def _of(content: Rows) -> tuple[Sequence[str], Sequence[Row]]:
    return [*map(str, content.header)], content.rows


def write_markdown(results: Results, checked: Sequence[Checked], path: Path, pairs: FirstPairs | None = None) -> None:
    """Writes the report beside its `figures/` folder; no text of the results, claims or tokens is markup in it.

    Args:
        results: of a suite, in order (`in_order`).
        checked: the claims against them, any number.
        path: of the file.
        pairs: a few of the run, where it has any.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    results, checked = no_markup(results), [no_markup(one) for one in checked]
    (a, b), said = names_of(results), answer(results)
    figure = [f"![answer](figures/{NAME})"] if answer_rows(results) else []
    parts = [
        f"# Do {a} (A) and {b} (B) hold the same features?",
        *warnings_section(results),
        *filter(None, (said.compared, *said.sentences)),
        *figure,
        f"Report of semconv, suite {results.suite}, which repeats the study of [arXiv 2507.22918]({PAPER}).",
        f"## {TITLES['found']}",
        *_found_section(results),
        f"## {TITLES['read']}",
        sections.read_section(results),
        *claims_section(checked, results.suite),
        f"## {TITLES['layers']}",
        *(sections.measure_section(results, name) for name in results.summary),
        f"## {TITLES['nulls']}",
        _nulls_text(results),
        f"## {TITLES['controls']}",
        sections.controls_section(results),
        *([f"## {TITLES['features']}", *pairs.sections(results)] if pairs and pairs.total else []),
        *_optional_sections(results, pairs),
        f"## {TITLES['filters']}",
        sections.filters_section(results),
        *sections.pair_figures_section(path.parent / "figures"),
        "Every number is in [results.json](results.json), every feature pair in [pairs.parquet](pairs.parquet); "
        "commit, machine, versions and times are in [ro-crate-metadata.json](ro-crate-metadata.json), and "
        f"[index.html](index.html) is the same report to search. Suite SHA-256 `{results.suite_sha256}`; tokens "
        "SHA-256 "
        f"`{results.corpus.tokens_sha256}`.",
    ]
    write_text(path, "\n\n".join(parts) + "\n")
