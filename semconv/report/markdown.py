"""The report as Markdown: claims, the table of every measure over the layer grid, filters, SAEs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semconv.claims import Checked
from semconv.files import write_text
from semconv.report.figures import TITLES


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(show(v).replace("|", "\\|") for v in row) + " |" for row in rows]
    return "\n".join(lines)


def show(value: object) -> str:
    """Returns a number with four significant digits, a dash for none, anything else as it is."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def claims_table(checked: Sequence[Checked]) -> str:
    """Returns the claims with expected, observed and verdict."""
    rows: list[list[object]] = []
    for c in checked:
        expected = f"{c.claim.comparison} {show(c.claim.expected)}"
        if c.claim.tolerance:
            expected += f" ± {show(c.claim.tolerance)}"
        rows.append([c.claim.id, c.claim.statement, c.claim.suite, expected, c.observed, c.verdict])
    return table(["claim", "statement", "suite", "expected", "observed", "verdict"], rows)


def _measure_section(results: dict[str, Any], name: str) -> str:
    rows: list[list[object]] = []
    for key, cell in results["grid"].items():
        m = cell["measures"][name]
        if "reason" in m:
            rows.append([key, cell["pairs"], *[None] * 7, m["reason"]])
        else:
            rows.append(
                [key, cell["pairs"]]
                + [m[field] for field in ("score", "null_mean", "null_sd", "z", "calibrated", "p", "q")]
                + ["saturated" if m["saturated"] else ""]
            )
    header = ["A x B layer", "pairs", "score", "null mean", "null sd", "z", "calibrated", "p", "q (BH)", "note"]
    return f"### {TITLES.get(name, name)}\n\n![{name}](figures/{name}.png)\n\n{table(header, rows)}"


def _filters_section(results: dict[str, Any]) -> str:
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
    header = [
        "A x B layer",
        "B features",
        *steps,
        "mean r kept",
        "never vary (A / B)",
        "quantisation above 1e-3 (A / B)",
    ]
    return table(header, rows)


def _saes_section(results: dict[str, Any]) -> str:
    rows = [
        [
            model["name"],
            layer,
            sae["n_features"],
            sae["l0"],
            f"{100 * sae['dead_share']:.1f}%",
            sae["activations_sha256"][:16],
        ]
        for model in (results["model_a"], results["model_b"])
        for layer, sae in model["saes"].items()
    ]
    return table(["model", "layer", "features", "realised L0", "never active", "activations SHA-256"], rows)


def headline(results: dict[str, Any]) -> str:
    """Returns one plain sentence per measure, made from the numbers."""
    lines: list[str] = []
    for name, s in results["summary"].items():
        title = TITLES.get(name, name)
        if not s["layer_pairs"]:
            lines.append(f"- **{title}**: no layer pair left enough feature pairs to compare.")
            continue
        lines.append(
            f"- **{title}**: {s['significant']} of {s['layer_pairs']} layer pairs lie above the shuffled pairing "
            f"(q < 0.05). Highest at A x B layers {s['best_layer_pair']}: {s['best_score']:.3f}, "
            f"calibrated {s['best_calibrated']:.3f}; mean over the grid {s['mean_score']:.3f} "
            f"against a null mean of {s['mean_null']:.3f}."
        )
    return "\n".join(lines)


def write_markdown(results: dict[str, Any], checked: Sequence[Checked], path: Path) -> None:
    """Writes the report beside its `figures/` folder."""
    corpus, null = results["corpus"], results["null"]
    sections = [
        f"# semconv report: suite {results['suite']}",
        f"Models A = {results['model_a']['name']} and B = {results['model_b']['name']} over {corpus['n_tokens']:,} "
        f"token positions of {corpus['n_documents']:,} documents. "
        f"Null: `{null['name']}`, {null['n_permutations']} permutations, "
        f"seed {null['seed']}. The `shuffle` null permutes pairs that were themselves chosen by correlation, so it is "
        "the easiest null to beat.",
        "## What was found",
        headline(results),
        "## Claims",
        claims_table(checked),
        "## Measures over the layer grid",
        *(_measure_section(results, name) for name in results["summary"]),
        "## Feature pairs after every filter",
        _filters_section(results),
        "## SAEs",
        _saes_section(results),
        f"Suite SHA-256 `{results['suite_sha256']}`; tokens SHA-256 `{corpus['tokens_sha256']}`. "
        "Machine, versions and times: `provenance.json`.",
    ]
    write_text(path, "\n\n".join(sections) + "\n")
