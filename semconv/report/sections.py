"""The sections of the report, each made from one part of the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semconv.report.figures import control_rows, strongest_rows, title_of
from semconv.report.tables import show, table

NULLS = ("shuffle", "frequency", "rematch")
"""The nulls in the order of the tables, the easiest first."""


def null_names(results: dict[str, Any]) -> list[str]:
    """Returns the nulls of the results, the easiest first."""
    found = {null for summary in results["summary"].values() for null in summary["nulls"]}
    return [null for null in NULLS if null in found]


def interval(value: Sequence[float] | None) -> str | None:
    return None if value is None else f"{show(value[0])} to {show(value[1])}"


def percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}%"


def measure_section(results: dict[str, Any], name: str) -> str:
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
    title = f"### {title_of(name)}\n\n![{name}](figures/{name}.png)"
    return f"{title}\n\n{table([*header, 'note'], rows)}"


def grid_tests_section(results: dict[str, Any]) -> str:
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
                    summary["best_layer_pair"],
                    best.get("score"),
                    best.get("null_mean"),
                    best.get("p"),
                ]
            )
    header = ["measure", "null", "q < 0.05 (BH)", "q < 0.05 (BY)", "best layer pair", "its score"]
    return table([*header, "null of the best", "p of the best"], rows)


def controls_section(results: dict[str, Any]) -> str:
    controls = results["controls"]
    selves = [
        [name, match["features"], percent(match["found_itself"]), match["lowest_r"]]
        + [match["scores"][measure] for measure in results["summary"]]
        for name, match in controls["self_match"].items()
    ]
    header = ["SAE with itself", "features that vary", "found themselves", "lowest r"]
    parts = [
        "Positive control: an SAE matched with itself must find itself and score 1.",
        table([*header, *(title_of(m) for m in results["summary"])], selves),
    ]
    rows: list[list[object]] = []
    for kind, name, cell in control_rows(results) + strongest_rows(results):
        row: list[object] = [kind, name, cell["pairs"], cell["mean_r"]]
        for measure in results["summary"]:
            m = cell["measures"].get(measure, {})
            shuffle = m.get("nulls", {}).get("shuffle", {})
            row.append(f"{show(m.get('score'))} (z {show(shuffle.get('z'))}, p {show(shuffle.get('p'))})")
        rows.append(row)
    if rows:
        parts += [
            "Floor (models that learned nothing), the same layers across models, ceiling (same model, other SAE); "
            "z and p against each pair's own shuffled pairing. Rows of the strongest pairs are without the filters "
            "that ask for agreement, which leave next to nothing of models that learned nothing.",
            "![controls](figures/controls.png)",
            table(["kind", "pair", "feature pairs", "mean r", *(title_of(m) for m in results["summary"])], rows),
        ]
    halves = [
        [key, cell["split_half"]["features"], cell["split_half"]["same_partner"], cell["split_half"]["r_reliability"]]
        for key, cell in results["grid"].items()
    ]
    header = ["A x B layer", "B features that vary in both halves", "same best partner", "r of r between halves"]
    parts += [
        "Split half: every feature matched on one half of the documents and again on the other.",
        table(header, halves),
    ]
    return "\n\n".join(parts)


def published_section(results: dict[str, Any]) -> str:
    published, rows = results["published"], list[list[object]]()
    for row in published["steps"]:
        line: list[object] = [row["step"], row["pairs"]]
        for column in ("svcca", "rsa"):
            scored = row[column]
            line += [scored.get("score", scored.get("reason")), scored.get("null_mean"), scored.get("p")]
        rows.append(line)
    header = ["step (each on top of those above)", "pairs", "SVCCA", "its null mean", "p", "RSA", "its null mean", "p"]
    where = f"Layers {published['layer_a']} of A and {published['layer_b']} of B."
    return f"{where} A p of 0 is what ten shuffles without + 1 print.\n\n{table(header, rows)}"


def subspaces_section(results: dict[str, Any]) -> str:
    subspaces = results["subspaces"]
    measures = sorted({m for cells in subspaces["grid"].values() for cell in cells.values() for m in cell["measures"]})
    rows: list[list[object]] = []
    left_out = 0
    for key, cells in subspaces["grid"].items():
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
    header = ["A x B layer", "category", "features A", "features B", "pairs"]
    header += [f"{title_of(m)}{suffix}" for m in measures for suffix in ("", ": null mean", ": p", ": q")]
    relations = [
        [
            key,
            len(r.get("categories", [])),
            r.get("rho"),
            r.get("p"),
            r.get("reason", "exact" if r.get("exact") else ""),
        ]
        for key, r in subspaces["relations"].items()
    ]
    parts = [
        f"Keyword lists `{subspaces['categories']}`, rule `{subspaces['rule']}`; features are matched again inside "
        f"each category. {left_out} category cells hold too few features or pairs to claim anything and are left out.",
        table(header, rows),
        "How the categories relate: Spearman between the category-by-category similarities of A and of B, p from "
        "permuted labels.",
        table(["A x B layer", "categories", "rho", "p", "note"], relations),
    ]
    return "\n\n".join(parts)


def spans_section(results: dict[str, Any]) -> str:
    spans, rows = results["spans"], list[list[object]]()
    for key, cell in spans["grid"].items():
        row: list[object] = [key, cell["pairs"]]
        for measure in results["summary"]:
            m = cell["measures"].get(measure, {})
            row.append(f"{show(m.get('score'))} (q {show(m.get('nulls', {}).get('shuffle', {}).get('q'))})")
        reasons = [f"{title_of(name)}: {m['reason']}" for name, m in cell["measures"].items() if "reason" in m]
        rows.append([*row, cell.get("reason", "; ".join(reasons))])
    where = (
        f"Activations pooled by {spans['how']} over {spans['n_spans']:,} {spans['kind']} of {spans['mean_length']:.1f} "
        "tokens on average, then the same pipeline; q against the shuffled pairing."
    )
    header = ["A x B layer", "pairs", *(title_of(m) for m in results["summary"]), "note"]
    return f"{where}\n\n{table(header, rows)}"


def filters_section(results: dict[str, Any]) -> str:
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


def saes_section(results: dict[str, Any]) -> str:
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
