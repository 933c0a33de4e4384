"""What only the report page shows as tables: facts, headline, claims by suite, heat maps made of table cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from semconv.report.figures import saes_of, title_of, value_of
from semconv.report.page_data import limits
from semconv.report.rows import LEVEL, Rows, cannot_tell, category_measures, names_of, null_names, text_compared
from semconv.report.tables import show
from semconv.report.vega import step_of
from semconv.results.claims import Checked, about


def is_number(value: object) -> bool:
    """Whether a table sets a value flush right: a number, or the dash for none."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def facts(results: dict[str, Any], checked: Sequence[Checked]) -> list[tuple[str, str]]:
    """Returns what was compared, as names and values."""
    null, cells = results["null"], results["grid"].values()
    pairs = [cell["pairs"] for cell in cells]
    draws = f"{null['n_permutations']:,} permutations"
    draws += f", {null['n_rematch']:,} shifts of the text" if null["n_rematch"] else ""
    found = [
        ("Model A", f"{results['model_a']['name']}, {len(results['model_a']['saes'])} SAEs"),
        ("Model B", f"{results['model_b']['name']}, {len(results['model_b']['saes'])} SAEs"),
        ("Text", text_compared(results)),
        ("Layer pairs", f"{len(pairs):,}, with {min(pairs):,} to {max(pairs):,} feature pairs each"),
        ("Nulls", draws),
    ]
    counts = Counter(c.verdict for c in about(checked, results["suite"])[0])
    if counts:
        not_run = f", {counts['not run']} not run" if counts["not run"] else ""
        found.append(("Claims", f"{counts['pass']} hold, {counts['FAIL']} fail{not_run}"))
    return found


def headline_rows(results: dict[str, Any]) -> Rows:
    """Returns a row per measure: where it is highest, how high, and how much of the grid lies above every null."""
    nulls, lines = null_names(results), list[list[object]]()
    for name, summary in results["summary"].items():
        if not summary["layer_pairs"]:
            lines.append([title_of(name), "too few pairs", *[None] * (3 + len(nulls))])
            continue
        row: list[object] = [title_of(name), summary["best_layer_pair"], _rounded(summary["best_score"])]
        within = summary["best_interval"]
        row.append(within and f"{_rounded(within[0])} to {_rounded(within[1])}")
        row.append(_rounded(summary["mean_score"]))
        for null in nulls:
            s = summary["nulls"].get(null)
            if not s or not s["layer_pairs"]:
                row.append(None)
                continue
            beside = "; ".join(filter(None, (f"mean {_rounded(s['mean'])}", cannot_tell(s))))
            row.append(f"{s['significant']} of {s['layer_pairs']} ({beside})")
        lines.append([value or None for value in row])
    header = [
        "measure",
        f"best at {' x '.join(names_of(results))}",
        "score",
        "95% interval",
        "grid mean",
        *(f"above {null}" for null in nulls),
    ]
    return Rows(header, lines)


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:z.3f}"


def claims_by_suite(results: dict[str, Any], checked: Sequence[Checked]) -> dict[str, Any]:
    """Returns the claims on this suite (`own`), as text, and a sentence on those about others (`others`)."""
    own, others = about(checked, results["suite"])
    lines: list[dict[str, str]] = []
    for c in own:
        expected = f"{c.claim.comparison} {show(c.claim.expected)}"
        expected += f" ± {show(c.claim.tolerance)}" if c.claim.tolerance else ""
        line = {"id": c.claim.id, "statement": c.claim.statement, "verdict": c.verdict}
        lines.append({**line, "expected": expected, "observed": show(c.observed)})
    return {"own": lines, "others": others}


def _heat(value: float | None, ends: Sequence[float], q: float | None) -> dict[str, Any]:
    if value is None:
        return {"text": "none", "step": None, "weak": False, "beats": False}
    out = {"text": _rounded(value), "step": step_of(value, ends), "weak": False, "beats": False}
    return out if q is None else {**out, "weak": q >= LEVEL, "beats": q < LEVEL}


def grid_table(results: dict[str, Any], measure: str, null: str | None) -> dict[str, Any]:
    """Returns the scores of one measure as a table of coloured cells, deep layers of B on top.

    Cells are None where there is no such layer pair; `index` is the place of a layer pair in the grid; `long` says that
    labels are more than the numbers of layers.
    """
    grid, ends = results["grid"], limits(results, measure)["score"]
    places = {(cell["sae_a"], cell["sae_b"]): (place, cell) for place, cell in enumerate(grid.values())}
    saes_a, saes_b = saes_of(results, "a"), saes_of(results, "b")[::-1]

    def heat(a: str, b: str) -> dict[str, Any] | None:
        if (a, b) not in places:
            return None
        place, cell = places[a, b]
        q = value_of(cell, measure, f"{null}.q")
        return {**_heat(value_of(cell, measure, "score"), ends, q), "index": place, "a": a, "b": b}

    rows = [(b, [heat(a, b) for a in saes_a]) for b in saes_b]
    return {"columns": saes_a, "rows": rows, "ends": ends, "long": not all(map(str.isdecimal, (*saes_a, *saes_b)))}


def category_maps(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns for every measure of the categories a table of coloured cells: categories by layer pairs."""
    grid = results["subspaces"]["grid"]
    names = list(dict.fromkeys(name for cells in grid.values() for name in cells))
    maps: list[dict[str, Any]] = []
    for measure in category_measures(results):
        scored = {
            (key, name): value_of(cell, measure, "score") for key, cells in grid.items() for name, cell in cells.items()
        }
        known = [value for value in scored.values() if value is not None]
        ends = [min([0.0, *known]), max([1e-9, *known])]
        lines = [
            (
                name,
                [
                    _heat(
                        scored.get((key, name)), ends, value_of(cells.get(name, {"measures": {}}), measure, "shuffle.q")
                    )
                    for key, cells in grid.items()
                ],
            )
            for name in names
            if any(scored.get((key, name)) is not None for key in grid)
        ]
        maps.append(
            {"title": title_of(measure), "measure": measure, "columns": list(grid), "rows": lines, "ends": ends}
        )
    return sorted(maps, key=lambda one: (one["measure"] != "rsa", one["title"]))
