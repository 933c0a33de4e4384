"""What only the report page shows as tables: facts and headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from semconv.report.result_values import (
    names_of,
    null_names,
    score_of,
    title_of,
)
from semconv.report.scales import rounded
from semconv.report.table_cells import Rows, Stacked, interval_of
from semconv.report.texts import (
    cannot_tell,
    counted_alone,
    draws_text,
    layers_in_words,
    together_or_none,
)
from semconv.report.told_apart import clearest_cell, undecided
from semconv.results.claims import Checked, about
from semconv.results.schema import Model, Results


def facts(results: Results, checked: Sequence[Checked]) -> list[tuple[str, str]]:
    """Returns what the run took, as names and values: layers, draws, claims; the text stands in the answer."""
    null = results.null
    draws = f"{null.n_permutations:,} permutations"
    draws += f", {null.n_rematch:,} shifts of the text" if null.n_rematch else ""
    draws += f", {null.n_same_token:,} exchanges of positions of the same token" if null.n_same_token else ""
    draws += f", {null.n_same_bigram:,} of the same two tokens" if null.n_same_bigram else ""
    draws = ". ".join(filter(None, (draws, draws_text(results).removesuffix("."))))
    found = [
        *((f"Model {side}", _model(model)) for side, model in (("A", results.model_a), ("B", results.model_b))),
        ("Nulls", draws),
    ]
    if checked:
        found.append(("Claims", claims_counted(checked, results.suite)))
    return found


def _model(model: Model) -> str:
    """Returns which layers of a model are compared: those that the suite names SAEs of."""
    n = len(model.saes)
    return f"{model.name}: {n} {'SAE' if n == 1 else 'SAEs'}, at {layers_in_words(model)}"


def claims_counted(checked: Sequence[Checked], suite: str) -> str:
    """Returns how many claims hold and fail, and how many were not run, those about other suites among them."""
    own = about(checked, suite).own
    counts, others = Counter(c.verdict for c in own), [c.claim for c in checked if c.claim.suite != suite]
    hold = "holds" if counts["pass"] == 1 else "hold"
    said = [f"{counts['pass']} of the expected numbers {hold}, {counts['FAIL']} fail"] if own else []
    said += [f"{counts['not run']} not run"] if counts["not run"] else []
    if others:
        of_paper = sum(claim.source.startswith("arXiv") for claim in others)
        which = "all" if of_paper == len(others) else f"{of_paper} of them"
        of = f"{which} of published papers, " if of_paper else ""
        suites = ", ".join(sorted({claim.suite for claim in others}))
        said.append(f"{len(others)} not run here ({of}about {suites})")
    return ", ".join(said)


def headline_rows(results: Results) -> Rows:
    """Returns a row per measure: its best layer pair, the score there, and what of the grid lies above every null.

    The best is that of the highest calibrated score against the null that the head names. Beside a count stands the
    best of those counted against that null, with the mean of the null; where none is counted, of all.
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
            f"{rounded(within[0])} to {rounded(within[1])}" if within else _no_interval(results, name),
            *(_above(results, name, null) for null in nulls),
        ]
        lines.append([value or None for value in row])
    by = {f"calibrated by {s.ranked_by}" if s.ranked_by else "" for s in results.summary.values() if s.layer_pairs}
    best = Stacked(f"best at {' x '.join(names_of(results))}", by.pop() if len(by) == 1 else "")
    above = (Stacked(f"above {null}", _shared_least(results, null)) for null in nulls)
    return Rows(["measure", best, Stacked("score there", "of all pairs"), "95% interval", *above], lines)


def _shared_least(results: Results, null: str) -> str:
    """Returns what so few draws can tell where it is the same by all measures, which one head then says."""
    said = {together_or_none(of) for s in results.summary.values() if (of := s.nulls.get(null)) and of.layer_pairs}
    return said.pop() if len(said) == 1 else ""


def _no_interval(results: Results, measure: str) -> str | None:
    best = results.grid.get(results.summary[measure].best_layer_pair or "")
    score = score_of(best, measure) if best else None
    return interval_of(score, None) if score else None


def _above(results: Results, measure: str, null: str) -> Stacked | None:
    found, clearest = results.summary[measure].nulls.get(null), clearest_cell(results, measure, null)
    if not found or not found.layer_pairs:
        return None
    at = ""
    if clearest is not None:
        key, test, mean = clearest
        at = f"{key}: {rounded(test.score)}, null {rounded(mean)}"
    alone = "" if _shared_least(results, null) else together_or_none(found)
    beside = at, alone, cannot_tell(undecided(results, measure, null)), counted_alone(found)
    return Stacked(f"{found.significant} of {found.layer_pairs}", "; ".join(filter(None, beside)))
