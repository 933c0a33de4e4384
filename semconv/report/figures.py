"""Heat maps over the layer grid, readable in print and without colour."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import ndarray

from semconv.compare import MEASURES
from semconv.report.order import label_order
from semconv.suite.sae_labels import key_of_cell
from semconv.system.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "score": "Paired score",
    "shuffle.mean": "Null mean: shuffled pairing",
    "rematch.mean": "Null mean: matched again on shifted text",
    "shuffle.calibrated": "Calibrated against shuffled pairing",
    "rematch.calibrated": "Calibrated against matching again",
    "pairs": "Feature pairs kept",
}
_LONGEST = 18  # letters of a label on an axis
_KINDS = {"floor": "#9a9a9a", "cross-model": "#1f5fa8", "ceiling": "#c2571a"}


def title_of(measure: str) -> str:
    """Returns the title of a measure in tables and figures."""
    return MEASURES.get(measure, measure)


def value_of(cell: dict[str, Any], measure: str, field: str) -> float | None:
    """Returns one number of a layer pair: `pairs`, `score`, or `NULL.FIELD`; None where there is none."""
    if field == "pairs":
        return cell["pairs"]
    scored = cell["measures"].get(measure, {})
    if "." not in field:
        return scored.get(field)
    null, of_null = field.split(".")
    return scored.get("nulls", {}).get(null, {}).get(of_null)


def saes_of(results: dict[str, Any], side: Literal["a", "b"]) -> list[str]:
    """Returns the labels of the SAEs of one model in the grid, by layer."""
    found = {cell[f"sae_{side}"]: cell[f"layer_{side}"] for cell in results["grid"].values()}
    return sorted(found, key=lambda label: label_order(found[label], label))


def cut(label: str) -> str:
    """Returns the label of an SAE as axes of charts have room for it: of a long one the middle is left out."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST // 2]}…{label[-(_LONGEST // 2 - 1) :]}"


def grid_of(results: dict[str, Any], measure: str, field: str) -> tuple[list[str], list[str], ndarray]:
    """Returns SAEs of B (rows), SAEs of A (columns) and the values of one field, NaN where there is none."""
    saes_a, saes_b = saes_of(results, "a"), saes_of(results, "b")
    values = np.full((len(saes_b), len(saes_a)), np.nan)
    for cell in results["grid"].values():
        value = value_of(cell, measure, field)
        if value is not None:
            values[saes_b.index(cell["sae_b"]), saes_a.index(cell["sae_a"])] = value
    return saes_b, saes_a, values


def _heat_map(ax: Axes, results: dict[str, Any], measure: str, field: str, limits: tuple[float, float]) -> None:
    rows, columns, values = grid_of(results, measure, field)
    counts = field == "pairs"
    image = ax.imshow(
        values, origin="lower", aspect="auto", cmap="Greys" if counts else "viridis", vmin=limits[0], vmax=limits[1]
    )
    for i in range(len(rows)):
        for j in range(len(columns)):
            if np.isnan(values[i, j]):
                ax.text(j, i, "none", ha="center", va="center", color="black", fontsize=9)
                continue
            share = (values[i, j] - limits[0]) / max(limits[1] - limits[0], 1e-12)
            light = share > 0.5 if counts else share < 0.6  # Greys darkens with the value, viridis lightens
            text = f"{values[i, j]:.0f}" if counts else f"{values[i, j]:z.3f}"
            ax.text(j, i, text, ha="center", va="center", color="white" if light else "black", fontsize=9)
    across = [cut(label) for label in columns]
    long = max(map(len, across)) * len(across) > 40
    ax.set_xticks(range(len(across)), across, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(range(len(rows)), [cut(label) for label in rows])
    ax.set_title(_PANELS[field], fontsize=10)
    ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)


def draw_measure(results: dict[str, Any], measure: str, path: Path) -> None:
    """Draws one measure as heat maps: paired score, null means, calibrated scores, pairs kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    fields = [field for field in _PANELS if field != "pairs"]
    finite = [grid_of(results, measure, field)[2] for field in fields]
    top = max((float(np.nanmax(v)) for v in finite if np.isfinite(v).any()), default=1.0)
    bottom = min((float(np.nanmin(v)) for v in finite if np.isfinite(v).any()), default=0.0)
    most = max(cell["pairs"] for cell in results["grid"].values())
    for ax, field in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        _heat_map(ax, results, measure, field, (0.0, max(most, 1)) if field == "pairs" else (min(bottom, 0.0), top))
    figure.suptitle(f"{title_of(measure)}, suite {results['suite']}", fontsize=12)
    figure.supxlabel(f"Layer of {results['model_a']['name']} (A)", fontsize=10)
    figure.supylabel(f"Layer of {results['model_b']['name']} (B)", fontsize=10)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # No creation date or version in the file: the same results give the same bytes.
    write_atomically(path, lambda p: figure.savefig(p, dpi=150, metadata={"Software": None}))


def _floor_name(name: str, cell: dict[str, Any]) -> str:
    return f"{name} (SAEs of the trained models)" if cell.get("trained_saes") else name


def control_rows(results: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns kind, name and layer pair of the floors, the cross-model pairs at the same layers, and the ceilings."""
    controls = results["controls"]["pairs"].items()
    rows = [("floor", _floor_name(name, cell), cell) for name, cell in controls if cell["kind"] == "floor"]
    for key in dict.fromkeys(key_of_cell(cell) for _, _, cell in rows):
        if key in results["grid"]:
            rows.append(("cross-model", f"layers {key}", results["grid"][key]))
    return rows + [("ceiling", name, cell) for name, cell in controls if cell["kind"] == "ceiling"]


def strongest_rows(results: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns floors, and the trained models at their layers, on their strongest pairs without agreement filters."""
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for name, both in results["controls"]["strongest"].items():
        floor, trained = both["floor"], both["trained"]
        name = _floor_name(name, results["controls"]["pairs"].get(name, {}))
        where = f"layers {key_of_cell(trained)}"
        rows.append(("floor", f"{name}, {floor['pairs']} strongest", floor))
        rows.append(("cross-model", f"{where}, {trained['pairs']} strongest", trained))
    return rows


def draw_controls(results: dict[str, Any], path: Path) -> None:
    """Draws the controls: for every measure floor, cross-model and ceiling score, each beside its own null mean."""
    from matplotlib.figure import Figure

    rows, measures = strongest_rows(results) + control_rows(results), list(results["summary"])
    figure = Figure(figsize=(13, 3.2 * -(-len(measures) // 4)), layout="constrained")
    axes = figure.subplots(-(-len(measures) // 4), 4, squeeze=False, sharey=True)
    for ax in axes.flat[len(measures) :]:
        ax.set_axis_off()
    for ax, measure in zip(axes.flat, measures, strict=False):
        for place, (kind, _, cell) in enumerate(rows):
            score = value_of(cell, measure, "score")
            ax.barh(place, score or 0.0, color=_KINDS[kind], height=0.6)
            if score is None:
                ax.text(0, place, " too few pairs", va="center", fontsize=7)
            for null, mark in (("shuffle", "|"), ("rematch", "x")):
                mean = value_of(cell, measure, f"{null}.mean")
                if mean is not None:
                    ax.plot(
                        mean, place, mark, color="black", markersize=9, label=f"{null} mean" if place == 0 else None
                    )
        ax.set_yticks(range(len(rows)), [f"{kind}: {name}" for kind, name, _ in rows], fontsize=7)
        ax.set_title(fill(title_of(measure), 34), fontsize=9)
        ax.axvline(0, color="black", linewidth=0.5)
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.suptitle("What the scores must be read against", fontsize=11)
    _save(figure, path)


def write_figures(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draws every measure of the results, and the controls, into `folder` as PNG; returns the paths.

    Names are text: a dollar sign in one begins no formula.
    """
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):
        return _write_figures(results, folder)


def _write_figures(results: dict[str, Any], folder: Path) -> list[Path]:
    paths = [folder / f"{measure}.png" for measure in results["summary"]]
    for measure, path in zip(results["summary"], paths, strict=True):
        draw_measure(results, measure, path)
    if control_rows(results):
        paths.append(folder / "controls.png")
        draw_controls(results, paths[-1])
    return paths
