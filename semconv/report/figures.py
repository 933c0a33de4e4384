"""Heat maps over the layer grid, readable in print and without colour."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from semconv.report.result_values import control_rows, cut, grid_of, strongest_rows, title_of, value_of
from semconv.results.schema import Results
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
_KINDS = {"floor": "#9a9a9a", "cross-model": "#1f5fa8", "ceiling": "#c2571a"}


def _heat_map(ax: Axes, results: Results, measure: str, field: str, limits: tuple[float, float]) -> None:
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


def draw_measure(results: Results, measure: str, path: Path) -> None:
    """Draws one measure as heat maps: paired score, null means, calibrated scores, pairs kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    fields = [field for field in _PANELS if field != "pairs"]
    finite = [grid_of(results, measure, field).values for field in fields]
    top = max((float(np.nanmax(v)) for v in finite if np.isfinite(v).any()), default=1.0)
    bottom = min((float(np.nanmin(v)) for v in finite if np.isfinite(v).any()), default=0.0)
    most = max(pair.pairs for pair in results.grid.values())
    for ax, field in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        _heat_map(ax, results, measure, field, (0.0, max(most, 1)) if field == "pairs" else (min(bottom, 0.0), top))
    figure.suptitle(f"{title_of(measure)}, suite {results.suite}", fontsize=12)
    figure.supxlabel(f"Layer of {results.model_a.name} (A)", fontsize=10)
    figure.supylabel(f"Layer of {results.model_b.name} (B)", fontsize=10)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # No creation date or version in the file: the same results give the same bytes.
    write_atomically(path, lambda p: figure.savefig(p, dpi=150, metadata={"Software": None}))


def draw_controls(results: Results, path: Path) -> None:
    """Draws the controls: for every measure floor, cross-model and ceiling score, each beside its own null mean."""
    from matplotlib.figure import Figure

    rows, measures = strongest_rows(results) + control_rows(results), list(results.summary)
    figure = Figure(figsize=(13, 3.2 * -(-len(measures) // 4)), layout="constrained")
    axes = figure.subplots(-(-len(measures) // 4), 4, squeeze=False, sharey=True)
    for ax in axes.flat[len(measures) :]:
        ax.set_axis_off()
    for ax, measure in zip(axes.flat, measures, strict=False):
        for place, (kind, _, pair) in enumerate(rows):
            score = value_of(pair, measure, "score")
            ax.barh(place, score or 0.0, color=_KINDS[kind], height=0.6)
            if score is None:
                ax.text(0, place, " too few pairs", va="center", fontsize=7)
            for null, mark in (("shuffle", "|"), ("rematch", "x")):
                mean = value_of(pair, measure, f"{null}.mean")
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


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Draws every measure of the results, and the controls, into `folder` as PNG; returns the paths.

    Names are text: a dollar sign in one begins no formula.
    """
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):
        return _write_figures(results, folder)


def _write_figures(results: Results, folder: Path) -> list[Path]:
    paths = [folder / f"{measure}.png" for measure in results.summary]
    for measure, path in zip(results.summary, paths, strict=True):
        draw_measure(results, measure, path)
    if control_rows(results):
        paths.append(folder / "controls.png")
        draw_controls(results, paths[-1])
    return paths
