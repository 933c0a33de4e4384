"""The report as Markdown: what was found in plain words, then a section for every part of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semconv.claims import Checked
from semconv.files import write_text
from semconv.report import sections
from semconv.report.figures import control_rows, strongest_rows, title_of
from semconv.report.rows import interval, null_names
from semconv.report.tables import show, table


def claims_table(checked: Sequence[Checked]) -> str:
    """Returns the claims with expected, observed and verdict."""
    rows: list[list[object]] = []
    for c in checked:
        expected = f"{c.claim.comparison} {show(c.claim.expected)}"
        if c.claim.tolerance:
            expected += f" ± {show(c.claim.tolerance)}"
        rows.append([c.claim.id, c.claim.statement, c.claim.suite, expected, c.observed, c.verdict])
    return table(["claim", "statement", "suite", "expected", "observed", "verdict"], rows)


def floor_verdict(results: dict[str, Any]) -> str:
    """Returns the first paragraph: whether trained models agree more than models that learned nothing."""
    rows = control_rows(results)
    floors = [cell for kind, _, cell in rows if kind == "floor"]
    crosses = {(cell["layer_a"], cell["layer_b"]): cell for kind, _, cell in rows if kind == "cross-model"}
    compared = [cell for cell in floors if (cell["layer_a"], cell["layer_b"]) in crosses]
    if not compared:
        return (
            "No untrained twin was compared at layers of the grid, so nothing here says that the agreement was learned."
        )
    floor = compared[0]
    cross = crosses[floor["layer_a"], floor["layer_b"]]
    where = f"layers {cross['layer_a']} x {cross['layer_b']}"
    above, below = _compared(results, cross, floor, "shuffle")
    if above or below:
        start = f"At {where} the trained models beat their untrained twins, in score and in distance from the shuffled "
        return _verdict(start + "pairing,", above, below)
    counts = (
        f"At {where} {cross['pairs']} feature pairs of the trained models pass every filter, and "
        f"{floor['pairs']} of their untrained twins."
    )
    strongest = strongest_rows(results)
    if len(strongest) < 2:
        return (
            f"{counts} With so few no measure scores both, so the number of pairs is all that this floor says: whether "
            "the geometry of what is shared was learned remains open."
        )
    (_, _, floor), (_, _, cross) = strongest[:2]
    null = "rematch" if results["null"]["n_rematch"] else "shuffle"
    start = (
        f"{counts} On the {cross['pairs']} strongest pairs of each, whether they agree or not, the trained models beat "
        f"their twins, in score and in distance from `{null}`,"
    )
    return _verdict(start, *_compared(results, cross, floor, null))


def _compared(
    results: dict[str, Any], cross: dict[str, Any], floor: dict[str, Any], null: str
) -> tuple[list[str], list[str]]:
    """Returns what is said of the measures by which the trained models beat the floor, and of those by which not."""
    above: list[str] = []
    below: list[str] = []
    for measure in results["summary"]:
        tests = [cell["measures"].get(measure, {}).get("nulls", {}).get(null, {}) for cell in (cross, floor)]
        if any(test.get("z") is None for test in tests):
            continue
        scores = [cell["measures"][measure]["score"] for cell in (cross, floor)]
        higher = scores[0] > scores[1] and tests[0]["z"] > tests[1]["z"]
        zs = f"z {show(tests[0]['z'])} against {show(tests[1]['z'])}"
        text = f"{title_of(measure)} {show(scores[0])} against {show(scores[1])} ({zs})"
        (above if higher else below).append(text)
    return above, below


def _verdict(start: str, above: list[str], below: list[str]) -> str:
    lines = [
        f"{start} by {len(above)} of {len(above) + len(below)} measures" + (f": {'; '.join(above)}." if above else ".")
    ]
    if below:
        lines.append(
            f"**They do not by {'; '.join(below)}**: by these the agreement is no more than what SAEs of models that "
            "learned nothing show, for such SAEs still see which token they are at."
        )
    return " ".join(lines)


def headline(results: dict[str, Any]) -> str:
    """Returns one plain sentence per measure and null, made from the numbers."""
    lines: list[str] = []
    for name, s in results["summary"].items():
        title = title_of(name)
        if not s["layer_pairs"]:
            lines.append(f"- **{title}**: no layer pair left enough feature pairs to compare.")
            continue
        within = f" (95% interval over documents {interval(s['best_interval'])})" if s["best_interval"] else ""
        lines.append(
            f"- **{title}**: highest at A x B layers {s['best_layer_pair']}, {s['best_score']:.3f}{within}; "
            f"mean over the grid {s['mean_score']:.3f}."
        )
        for null in null_names(results):
            n = s["nulls"].get(null)
            if n is None or not n["layer_pairs"]:
                continue
            best = n["best_of_grid"]
            p = f", p of the best of the grid {show(best['p'])}" if "p" in best else ""
            lines.append(
                f"  - `{null}`: {n['significant']} of {n['layer_pairs']} layer pairs lie above it (q < 0.05); its mean "
                f"is {n['mean']:.3f}{p}."
            )
    return "\n".join(lines)


def _nulls_text(results: dict[str, Any]) -> str:
    null = results["null"]
    parts = {
        "shuffle": f"`shuffle` ({null['n_permutations']} permutations): the pairing of chosen pairs, the easiest.",
        "frequency": f"`frequency` ({null['n_permutations']}): the same among features about equally often active.",
        "rematch": f"`rematch` ({null['n_rematch']} shifts): one model's text shifted by whole documents, everything "
        "matched again.",
    }
    return " ".join(parts[name] for name in null_names(results)) + " See docs/statistics.md."


def write_markdown(results: dict[str, Any], checked: Sequence[Checked], path: Path) -> None:
    """Writes the report beside its `figures/` folder."""
    corpus, null = results["corpus"], results["null"]
    optional = [
        ("published", "From the published protocol to the corrected one", sections.published_section),
        ("subspaces", "Semantic subspaces", sections.subspaces_section),
        ("spans", "Multi-token subspaces", sections.spans_section),
    ]
    parts = [
        f"# semconv report: suite {results['suite']}",
        floor_verdict(results),
        f"Models A = {results['model_a']['name']} and B = {results['model_b']['name']} over {corpus['n_tokens']:,} "
        f"token positions of {corpus['n_documents']:,} documents, seed {null['seed']}. Nulls: {_nulls_text(results)}",
        "## What was found",
        headline(results),
        "## Claims",
        claims_table(checked),
        "## Over the whole grid",
        sections.grid_tests_section(results),
        "## Controls",
        sections.controls_section(results),
        *(part for key, title, section in optional if key in results for part in (f"## {title}", section(results))),
        "## Measures over the layer grid",
        *(sections.measure_section(results, name) for name in results["summary"]),
        "## Feature pairs after every filter",
        sections.filters_section(results),
        "## SAEs",
        sections.saes_section(results),
        f"Suite SHA-256 `{results['suite_sha256']}`; tokens SHA-256 `{corpus['tokens_sha256']}`. "
        "Machine, versions and times: `provenance.json`.",
    ]
    write_text(path, "\n\n".join(parts) + "\n")
