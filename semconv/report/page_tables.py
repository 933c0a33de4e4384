"""What only the report page shows as tables: facts and headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from semconv.report.result_values import (
    names_of,
    null_names,
    title_of,
)
from semconv.report.scales import rounded
from semconv.report.table_cells import Rows, Stacked
from semconv.report.texts import cannot_tell, counted_alone, draws_text, smallest_q, text_compared
from semconv.report.told_apart import best_cell, undecided
from semconv.results.claims import Checked, about
from semconv.results.schema import Results


def facts(results: Results, checked: Sequence[Checked]) -> list[tuple[str, str]]:
    """Returns what was compared, as names and values."""
    null, pairs = results.null, [pair.pairs for pair in results.grid.values()]
    draws = f"{null.n_permutations:,} permutations"
    draws += f", {null.n_rematch:,} shifts of the text" if null.n_rematch else ""
    draws += f", {null.n_same_token:,} exchanges of positions of the same token" if null.n_same_token else ""
    draws += f", {null.n_same_bigram:,} of the same two tokens" if null.n_same_bigram else ""
    draws = ". ".join(filter(None, (draws, draws_text(results).removesuffix("."))))
    found = [
        ("Model A", f"{results.model_a.name}, {len(results.model_a.saes)} SAEs"),
        ("Model B", f"{results.model_b.name}, {len(results.model_b.saes)} SAEs"),
        ("Text", text_compared(results)),
        ("Layer pairs", f"{len(pairs):,}, with {min(pairs):,} to {max(pairs):,} feature pairs each"),
        ("Nulls", draws),
    ]
    if checked:
        found.append(("Claims", claims_counted(checked, results.suite)))
    return found


def claims_counted(checked: Sequence[Checked], suite: str) -> str:
    """Returns how many claims hold and fail, and how many were not run, those about other suites among them."""
    own = about(checked, suite).own
    counts, others = Counter(c.verdict for c in own), [c.claim for c in checked if c.claim.suite != suite]
    said = [f"{counts['pass']} hold, {counts['FAIL']} fail"] if own else []
    said += [f"{counts['not run']} not run"] if counts["not run"] else []
    if others:
        of_paper = sum(claim.source.startswith("arXiv") for claim in others)
        which = f"{of_paper} of them of published papers, " if of_paper else ""
        suites = ", ".join(sorted({claim.suite for claim in others}))
        said.append(f"{len(others)} not run here ({which}about {suites})")
    return ", ".join(said)


def headline_rows(results: Results) -> Rows:
    """Returns a row per measure: where it is highest, how high, and what of the grid lies above every null.

    Beside a count stands the best layer pair by the score that this null tests, with the mean of the null there.
    """
    nulls, lines = null_names(results), list[list[object]]()
    for name, summary in results.summary.items():
        if not summary.layer_pairs:
            lines.append([title_of(name), "too few pairs", *[None] * (2 + len(nulls))])
            continue
        within = summary.best_interval
        row: list[object] = [
            title_of(name),
            summary.best_layer_pair,
            rounded(summary.best_score),
            within and f"{rounded(within[0])} to {rounded(within[1])}",
            *(_above(results, name, null) for null in nulls),
        ]
        lines.append([value or None for value in row])
    header = ["measure", f"best at {' x '.join(names_of(results))}", "score", "95% interval"]
    return Rows([*header, *(f"above {null}" for null in nulls)], lines)


def _above(results: Results, measure: str, null: str) -> Stacked | None:
    found, best = results.summary[measure].nulls.get(null), best_cell(results, measure, null)
    if not found or not found.layer_pairs:
        return None
    at = f"{best.key}: {rounded(best.score)}, null {rounded(best.null_mean)}" if best else ""
    beside = at, smallest_q(found), cannot_tell(undecided(results, measure, null)), counted_alone(found)
    return Stacked(f"{found.significant} of {found.layer_pairs}", "; ".join(filter(None, beside)))
