"""The tables of the report as header and rows of plain values, each made from one part of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semconv.report.figures import control_rows, strongest_rows, title_of
from semconv.report.tables import show

NULLS = ("shuffle", "frequency", "rematch")
"""The nulls in the order of the tables, the easiest first."""
LEVEL = 0.05
"""q from which on a score is not told from its null."""


@dataclass(frozen=True)
class Rows:
    """A table before it is Markdown or HTML.

    Attributes:
        header: column names.
        rows: values, None where there is none; every row as long as the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


def names_of(results: dict[str, Any]) -> tuple[str, str]:
    """Returns the names of model A and of model B."""
    return results["model_a"]["name"], results["model_b"]["name"]


def text_compared(results: dict[str, Any]) -> str:
    """Returns how much text was compared, in words."""
    corpus, (a, b) = results["corpus"], names_of(results)
    of_a, of_documents = f"{corpus['n_tokens']:,} tokens", f"of {corpus['n_documents']:,} documents"
    if not corpus.get("n_spans"):
        return f"{of_a} {of_documents}"
    other = f" and {corpus['b']['n_tokens']:,} of {b}" if corpus.get("b") else ""
    return (
        f"{corpus['n_spans']:,} spans of text that both read, pooled from {of_a} of {a}{other}, {of_documents}; "
        "wherever tokens are counted below, these spans are"
    )


def null_names(results: dict[str, Any]) -> list[str]:
    """Returns the nulls of the results, the easiest first."""
    found = {null for summary in results["summary"].values() for null in summary["nulls"]}
    return [null for null in NULLS if null in found]


def interval(value: Sequence[float] | None) -> str | None:
    """Returns `LOW to HIGH`, or None where there is no interval."""
    return None if value is None else f"{show(value[0])} to {show(value[1])}"


def percent(share: float | None) -> str | None:
    """Returns a share as a percentage with two decimals, or None where there is none."""
    return None if share is None else f"{100 * share:.2f}%"


def cannot_tell(summary: dict[str, Any]) -> str:
    """Returns what stands beside a count of layer pairs with q < 0.05 where one alone could not be among them.

    Args:
        summary: of one null of one measure.
    """
    smallest = summary.get("smallest_q")  # of an older run: unknown
    return "" if smallest is None or smallest < LEVEL else f"cannot tell one alone, whose q is {show(smallest)} at best"


def measure_rows(results: dict[str, Any], name: str) -> Rows:
    """Returns one measure over the layer grid: pairs, score, interval, and of every null all its numbers."""
    nulls, rows = null_names(results), list[list[object]]()
    for key, cell in results["grid"].items():
        m = cell["measures"][name]
        if "reason" in m:
            rows.append([key, cell["pairs"], None, None, *[None] * 6 * len(nulls), m["reason"]])
            continue
        row: list[object] = [key, cell["pairs"], m["score"], interval(m.get("interval"))]
        for null in nulls:
            of_null = m["nulls"].get(null, {})
            row += [of_null.get(field) for field in ("mean", "sd", "z", "calibrated", "p", "q")]
        notes = ["saturated"] if m["saturated"] else []
        notes += [f"{null}: {m['nulls'][null]['reason']}" for null in nulls if "reason" in m["nulls"].get(null, {})]
        rows.append([*row, "; ".join(notes)])
    header = ["A x B layer", "pairs", "score", "95% interval"]
    header += [f"{null}: {field}" for null in nulls for field in ("mean", "sd", "z", "calibrated", "p", "q")]
    return Rows([*header, "note"], rows)


def grid_test_rows(results: dict[str, Any]) -> Rows:
    """Returns for every measure and null how many layer pairs beat it, and the test of the best of them."""
    rows: list[list[object]] = []
    for name, summary in results["summary"].items():
        for null in null_names(results):
            s = summary["nulls"].get(null)
            if s is None:
                continue
            best = s["best_of_grid"]
            rows.append(
                [
                    title_of(name),
                    null,
                    f"{s['significant']} of {s['layer_pairs']}",
                    f"{s['significant_by']} of {s['layer_pairs']}",
                    s.get("smallest_q"),
                    summary["best_layer_pair"],
                    best.get("score"),
                    best.get("null_mean"),
                    best.get("p"),
                ]
            )
    header = [
        "measure",
        "null",
        "q < 0.05 (BH)",
        "q < 0.05 (BY)",
        "lowest q of one alone",
        "best layer pair",
        "its score",
    ]
    return Rows([*header, "null of the best", "p of the best"], rows)


def self_match_rows(results: dict[str, Any]) -> Rows:
    """Returns every SAE matched with itself."""
    selves = [
        [name, match["features"], percent(match["found_itself"]), match["lowest_r"]]
        + [match["scores"][measure] for measure in results["summary"]]
        for name, match in results["controls"]["self_match"].items()
    ]
    header = ["SAE with itself", "features that vary", "found themselves", "lowest r"]
    return Rows([*header, *(title_of(m) for m in results["summary"])], selves)


def controls_rows(results: dict[str, Any]) -> Rows:
    """Returns floors, the same layers across models, ceilings, and the strongest pairs of floors and trained models."""
    rows: list[list[object]] = []
    for kind, name, cell in control_rows(results) + strongest_rows(results):
        row: list[object] = [kind, name, cell["pairs"], cell["mean_r"]]
        for measure in results["summary"]:
            m = cell["measures"].get(measure, {})
            shuffle = m.get("nulls", {}).get("shuffle", {})
            row.append(f"{show(m.get('score'))} (z {show(shuffle.get('z'))}, p {show(shuffle.get('p'))})")
        rows.append(row)
    return Rows(["kind", "pair", "feature pairs", "mean r", *(title_of(m) for m in results["summary"])], rows)


def split_half_rows(results: dict[str, Any]) -> Rows:
    """Returns how alike the matches on either half of the documents are."""
    halves = [
        [key, cell["split_half"]["features"], cell["split_half"]["same_partner"], cell["split_half"]["r_reliability"]]
        for key, cell in results["grid"].items()
    ]
    vary = f"features of {names_of(results)[1]} that vary in both halves"
    return Rows(["A x B layer", vary, "same best partner", "r of r between halves"], halves)


def published_rows(results: dict[str, Any]) -> Rows:
    """Returns the steps from the published protocol to the corrected one."""
    rows: list[list[object]] = []
    for row in results["published"]["steps"]:
        line: list[object] = [row["step"], row["pairs"]]
        for column in ("svcca", "rsa"):
            scored = row[column]
            line += [scored.get("score", scored.get("reason")), scored.get("null_mean"), scored.get("p")]
        rows.append(line)
    header = ["step (each on top of those above)", "pairs", "SVCCA", "its null mean", "p", "RSA", "its null mean", "p"]
    return Rows(header, rows)


def category_measures(results: dict[str, Any]) -> list[str]:
    """Returns the measures that categories were scored by."""
    grid = results["subspaces"]["grid"].values()
    return sorted({m for cells in grid for cell in cells.values() for m in cell["measures"]})


def category_rows(results: dict[str, Any]) -> tuple[Rows, int]:
    """Returns the categories of every layer pair, and how many are left out because they hold too little."""
    measures = category_measures(results)
    rows: list[list[object]] = []
    left_out = 0
    for key, cells in results["subspaces"]["grid"].items():
        for name, cell in cells.items():
            if "reason" in cell:
                left_out += 1
                continue
            row: list[object] = [key, name, cell["features_a"], cell["features_b"], cell["pairs"]]
            for measure in measures:
                m = cell["measures"].get(measure, {})
                shuffle = m.get("nulls", {}).get("shuffle", {})
                row += [m.get("score", m.get("reason")), shuffle.get("mean"), shuffle.get("p"), shuffle.get("q")]
            rows.append(row)
    features = (f"features of {name}" for name in names_of(results))
    header = ["A x B layer", "category", *features, "pairs"]
    header += [f"{title_of(m)}{suffix}" for m in measures for suffix in ("", ": null mean", ": p", ": q")]
    return Rows(header, rows), left_out


def relation_rows(results: dict[str, Any]) -> Rows:
    """Returns how the categories relate in A and in B."""
    relations = [
        [
            key,
            len(r.get("categories", [])),
            r.get("rho"),
            r.get("p"),
            r.get("reason", "exact" if r.get("exact") else ""),
        ]
        for key, r in results["subspaces"]["relations"].items()
    ]
    return Rows(["A x B layer", "categories", "rho", "p", "note"], relations)


def span_rows(results: dict[str, Any]) -> Rows:
    """Returns the layer grid over activations pooled over spans."""
    rows: list[list[object]] = []
    for key, cell in results["spans"]["grid"].items():
        row: list[object] = [key, cell["pairs"]]
        for measure in results["summary"]:
            m = cell["measures"].get(measure, {})
            row.append(f"{show(m.get('score'))} (q {show(m.get('nulls', {}).get('shuffle', {}).get('q'))})")
        reasons = [f"{title_of(name)}: {m['reason']}" for name, m in cell["measures"].items() if "reason" in m]
        rows.append([*row, cell.get("reason", "; ".join(reasons))])
    return Rows(["A x B layer", "pairs", *(title_of(m) for m in results["summary"]), "note"], rows)


def filter_rows(results: dict[str, Any]) -> Rows:
    """Returns how many features every filter leaves."""
    cells = results["grid"]
    steps = [count["step"] for count in next(iter(cells.values()))["filters"]]
    rows = [
        [
            key,
            cell["filters"][0]["before"],
            *(count["after"] for count in cell["filters"]),
            cell["mean_r"],
            f"{cell['undefined_a']} / {cell['undefined_b']}",
            f"{cell['noisy_features_a']} / {cell['noisy_features_b']}",
        ]
        for key, cell in cells.items()
    ]
    a, b = names_of(results)
    header = [
        "A x B layer",
        f"features of {b}",
        *steps,
        "mean r kept",
        f"never vary ({a} / {b})",
        f"quantisation above 1e-3 ({a} / {b})",
    ]
    return Rows(header, rows)
