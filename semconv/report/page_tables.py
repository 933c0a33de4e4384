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
from semconv.report.table_cells import Rows
from semconv.report.texts import counted_alone, draws_text, lowest_q, text_compared
from semconv.results.claims import Checked, about
from semconv.results.schema import NullOverGrid, Results
from semconv.statistics.permutation import LEVEL


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
    counts = Counter(c.verdict for c in about(checked, results.suite).own)
    if counts:
        not_run = f", {counts['not run']} not run" if counts["not run"] else ""
        found.append(("Claims", f"{counts['pass']} hold, {counts['FAIL']} fail{not_run}"))
    return found


def headline_rows(results: Results) -> Rows:
    """Returns a row per measure: where it is highest, how high, and how much of the grid lies above every null."""
    nulls, lines = null_names(results), list[list[object]]()
    for name, summary in results.summary.items():
        if not summary.layer_pairs:
            lines.append([title_of(name), "too few pairs", *[None] * (3 + len(nulls))])
            continue
        within = summary.best_interval
        row: list[object] = [
            title_of(name),
            summary.best_layer_pair,
            rounded(summary.best_score),
            within and f"{rounded(within[0])} to {rounded(within[1])}",
            rounded(summary.mean_score),
            *(_above(summary.nulls.get(null)) for null in nulls),
        ]
        lines.append([value or None for value in row])
    header = ["measure", f"best at {' x '.join(names_of(results))}", "score", "95% interval", "grid mean"]
    return Rows([*header, *(f"above {null}" for null in nulls)], lines)


def _above(found: NullOverGrid | None) -> str | None:
    if not found or not found.layer_pairs:
        return None
    one_alone = lowest_q(found) if found.smallest_q is not None and found.smallest_q >= LEVEL else ""
    beside = "; ".join(filter(None, (f"mean {rounded(found.mean)}", one_alone, counted_alone(found))))
    return f"{found.significant} of {found.layer_pairs} ({beside})"
