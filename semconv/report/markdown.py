"""The report as Markdown: what was found in plain words, then a section for every part of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semconv.report import sections
from semconv.report.beyond_tokens import beyond_tokens
from semconv.report.result_values import names_of, null_names, title_of
from semconv.report.scales import rounded
from semconv.report.table_cells import interval
from semconv.report.texts import counted_alone, draws_text, interval_covers, lowest_q, p_told, text_compared
from semconv.report.verdict import embeddings_verdict, floor_verdict
from semconv.results.claims import Checked, about, none_about
from semconv.results.schema import BestOfGrid, NullOverGrid, Results
from semconv.system.files import write_text
from semconv.system.harmless_text import no_markup
from semconv.system.markdown import show, table


def claims_section(checked: Sequence[Checked], suite: str) -> list[str]:
    """Returns the claims about the suite, and how many are about others; no section where there are none at all."""
    own, others = about(checked, suite)
    parts = claims_table(own) if own else none_about(suite), others
    return ["## Claims", *filter(None, parts)] if checked else []


def claims_table(checked: Sequence[Checked]) -> str:
    """Returns claims with expected, observed and verdict."""
    rows = [[c.claim.id, c.claim.statement, c.claim.wanted, c.found, c.verdict] for c in checked]
    return table(["claim", "statement", "expected", "observed", "verdict"], rows)


def headline(results: Results) -> str:
    """Returns one plain sentence per measure and null, made from the numbers."""
    lines, (a, b) = list[str](), names_of(results)
    for name, s in results.summary.items():
        title = title_of(name)
        if s.best_score is None or s.mean_score is None:
            lines.append(f"- **{title}**: no layer pair left enough feature pairs to compare.")
            continue
        covers = interval_covers(results, s.layer_pairs)
        within = f" (95% interval {covers}: {interval(s.best_interval)})" if s.best_interval else ""
        lines.append(
            f"- **{title}**: highest at layers {s.best_layer_pair} of {a} x {b}, {rounded(s.best_score)}{within}; "
            f"mean over the grid {rounded(s.mean_score)}."
        )
        tested = ((null, s.nulls.get(null)) for null in null_names(results))
        lines += [_beside_null(null, n) for null, n in tested if n is not None and n.layer_pairs]
    return "\n".join(lines)


def _beside_null(null: str, n: NullOverGrid) -> str:
    beside = "".join(f"; {said}" for said in (lowest_q(n), counted_alone(n)) if said)
    best = n.best_of_grid
    p = f", p of the best of the grid {show(p_told(best.p, best.draws))}" if isinstance(best, BestOfGrid) else ""
    return (
        f"  - `{null}`: {n.significant} of {n.layer_pairs} layer pairs lie above it (q < 0.05{beside}); "
        f"its mean is {show(rounded(n.mean))}{p}."
    )


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
    said = [*(parts[name] for name in null_names(results)), draws_text(results), "See docs/statistics.md."]
    return " ".join(filter(None, said))


def _optional_sections(results: Results) -> list[str]:
    """Returns title and section of every part of the results that not every run has."""
    parts: list[str] = []
    if results.depths:
        parts += ["## Over the depths", sections.depths_section(results.depths)]
    if results.published:
        title = "## From the published protocol to the corrected one"
        parts += [title, sections.published_section(results, results.published)]
    if results.subspaces:
        parts += ["## Semantic subspaces", sections.subspaces_section(results, results.subspaces)]
    if results.spans:
        parts += ["## Multi-token subspaces", sections.spans_section(results, results.spans)]
    if results.streams:
        parts += ["## Residual streams", sections.streams_section(results.streams)]
    return parts


def write_markdown(results: Results, checked: Sequence[Checked], path: Path) -> None:
    """Writes the report beside its `figures/` folder; no text of the results or claims is markup in it.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    results, checked = no_markup(results), [no_markup(one) for one in checked]
    a, b = names_of(results)
    seed, nulls = results.null.seed, _nulls_text(results)
    parts = [
        f"# {a} (A) and {b} (B): semconv report, suite {results.suite}",
        *warnings_section(results),
        beyond_tokens(results),
        floor_verdict(results),
        *filter(None, [embeddings_verdict(results)]),
        f"Models A = {a} and B = {b} over {text_compared(results)}. Seed {seed}. Nulls: {nulls}",
        "## What was found",
        headline(results),
        "## What was read",
        sections.read_section(results),
        *claims_section(checked, results.suite),
        "## Over the whole grid",
        sections.grid_tests_section(results),
        "## Controls",
        sections.controls_section(results),
        *_optional_sections(results),
        "## Measures over the layer grid",
        *(sections.measure_section(results, name) for name in results.summary),
        "## Feature pairs after every filter",
        sections.filters_section(results),
        *sections.pair_figures_section(path.parent / "figures"),
        f"Suite SHA-256 `{results.suite_sha256}`; tokens SHA-256 `{results.corpus.tokens_sha256}`. "
        "Machine, versions and times: `ro-crate-metadata.json`.",
    ]
    write_text(path, "\n\n".join(parts) + "\n")
