"""Heat maps over the layer grid, readable in print and without colour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from semconv.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "svcca_pc1": "SVCCA, first component (as published)",
    "svcca_variance": "SVCCA, by share of variance",
    "svcca_fixed_k": "SVCCA, fixed number of components",
    "rsa": "RSA, Spearman",
}
_PANELS = {
    "score": "Paired score",
    "null_mean": "Null mean (shuffled pairing)",
    "calibrated": "Calibrated score",
    "pairs": "Feature pairs kept",
}


def grid_of(results: dict[str, Any], measure: str, field: str) -> tuple[list[int], list[int], ndarray]:
    """Returns layers of B (rows), layers of A (columns) and the values of one field, NaN where there is none."""
    layers_a = sorted({cell["layer_a"] for cell in results["grid"].values()})
    layers_b = sorted({cell["layer_b"] for cell in results["grid"].values()})
    values = np.full((len(layers_b), len(layers_a)), np.nan)
    for cell in results["grid"].values():
        value = cell["pairs"] if field == "pairs" else cell["measures"][measure].get(field)
        if value is not None:
            values[layers_b.index(cell["layer_b"]), layers_a.index(cell["layer_a"])] = value
    return layers_b, layers_a, values


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
    ax.set_xticks(range(len(columns)), [str(c) for c in columns])
    ax.set_yticks(range(len(rows)), [str(r) for r in rows])
    ax.set_title(_PANELS[field], fontsize=10)
    ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)


def draw_measure(results: dict[str, Any], measure: str, path: Path) -> None:
    """Draws one measure as four heat maps: paired score, null mean, calibrated score, pairs kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    finite = [grid_of(results, measure, field)[2] for field in ("score", "null_mean", "calibrated")]
    top = max((float(np.nanmax(v)) for v in finite if np.isfinite(v).any()), default=1.0)
    bottom = min((float(np.nanmin(v)) for v in finite if np.isfinite(v).any()), default=0.0)
    for ax, field in zip(axes.flat, _PANELS, strict=True):
        most = max(cell["pairs"] for cell in results["grid"].values())
        _heat_map(ax, results, measure, field, (0.0, max(most, 1)) if field == "pairs" else (min(bottom, 0.0), top))
    figure.suptitle(f"{TITLES.get(measure, measure)}, suite {results['suite']}", fontsize=12)
    figure.supxlabel(f"Layer of model A ({results['model_a']['name']})", fontsize=10)
    figure.supylabel(f"Layer of model B ({results['model_b']['name']})", fontsize=10)
    # No creation date or version in the file: the same results give the same bytes.
    write_atomically(path, lambda p: figure.savefig(p, dpi=150, metadata={"Software": None}))


def write_figures(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draws every measure of the results into `folder` as PNG; returns the paths."""
    paths = [folder / f"{measure}.png" for measure in results["summary"]]
    for measure, path in zip(results["summary"], paths, strict=True):
        draw_measure(results, measure, path)
    return paths
