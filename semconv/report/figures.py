"""Heat maps over the layer grid, readable in print and without colour."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.report.figure_files import WIDTH, drawing, save
from semconv.report.function_figure import draw_function
from semconv.report.function_section import FIGURE as FUNCTION
from semconv.report.result_values import (
    Grid,
    control_rows,
    cut,
    grid_of,
    hardest_null,
    strongest_rows,
    test_of,
    tests_others,
    title_of,
    value_of,
)
from semconv.report.scales import Ends, ends_with_zero, on_scale, rounded, share_of
from semconv.results.schema import LayerPair, Results
from semconv.suite.nulls import MATCHED_AGAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _SHARP = 1.3 * WIDTH, 220
"""Inches of a figure of many panels, and its dots per inch: on a page, type of 8 points is still 6."""
_NUMBERED = 8  # SAEs of a model up to which cells hold their numbers
_ABREAST = 2  # panels of the controls
_ROOMY = 5  # SAEs of A up to which these are large
_NONE = "#d9d9d9"
_LETTER = 0.085  # inches of a letter of a label, at most on average
_KINDS = {"floor": "#9a9a9a", "cross-model": "#1f5fa8", "ceiling": "#c2571a"}


def _heat_map(ax: Axes, grid: Grid, panel: tuple[str, str], ends: Ends) -> Any:
    """Draws a grid, of a field under a title, and returns its image, which a colour bar is made of."""
    field, title = panel
    rows, columns, values = grid
    counts = field == "pairs"
    shown = np.clip(values, *ends)
    image = ax.imshow(
        shown, origin="lower", aspect="auto", cmap="Greys" if counts else "viridis", vmin=ends[0], vmax=ends[1]
    )
    ax.set_facecolor(_NONE)  # of cells that have no value
    if max(len(rows), len(columns)) <= _NUMBERED:
        _write_numbers(ax, values, counts, ends)
    _label(ax, rows, columns)
    ax.set_title(title, fontsize=7.5)
    return image


def _write_numbers(ax: Axes, values: Float[ndarray, "b a"], counts: bool, ends: Ends) -> None:
    """Writes into every cell what it holds."""
    size = 9 if values.shape[1] <= _ROOMY else 6
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.text(j, i, "none", ha="center", va="center", color="black", fontsize=size)
            continue
        share = share_of(value, ends)
        light = share > 0.5 if counts else share < 0.45  # Greys darkens with the value, viridis lightens
        text = f"{value:.0f}" if counts else rounded(value)
        ax.text(j, i, text, ha="center", va="center", color="white" if light else "black", fontsize=size)


def _label(ax: Axes, rows: list[str], columns: list[str]) -> None:
    """Labels as many rows and columns as have room, the first among them."""
    under, beside, steep = _labels(rows, columns)
    ax.set_xticks([*under], [*under.values()], rotation=45 if steep else 0, ha="right" if steep else "center")
    ax.set_yticks([*beside], [*beside.values()])
    ax.tick_params(labelsize=8)


def _labels(rows: list[str], columns: list[str]) -> tuple[dict[int, str], dict[int, str], bool]:
    """Returns the labels under columns and beside rows, by place, and whether the former need to be written steeply."""
    under, beside = (
        {place: cut(labels[place]) for place in range(0, len(labels), -(-len(labels) // most))}
        for labels, most in ((columns, 14), (rows, 21))
    )
    return under, beside, max(map(len, under.values())) * len(under) > 40


def _maps(figure: Figure, rows: list[str], columns: list[str]) -> ndarray:
    """Returns 2 x 3 axes of heat maps of one grid, with room around them for labels, titles and colour bars.

    Margins are reckoned in inches from the length of the labels: the layouts of Matplotlib draw everything twice first.
    """
    under, beside, steep = _labels(rows, columns)
    left = 0.75 + _LETTER * max(map(len, beside.values()))
    bottom = 0.75 + (0.7 * _LETTER * max(map(len, under.values())) if steep else 0)
    width, height = figure.get_size_inches()
    edges = {"left": left / width, "right": 1 - 1.15 / width, "bottom": bottom / height, "top": 1 - 0.65 / height}
    return figure.subplots(2, 3, sharex=True, sharey=True, gridspec_kw={**edges, "wspace": 0.06, "hspace": 0.18})


def _colour_bar(image: Any, label: str) -> None:
    """Draws the scale of a heat map at its right."""
    ax = image.axes
    x, y, width, height = ax.get_position().bounds
    of_inch = 1 / ax.figure.get_figwidth()
    scale = ax.figure.add_axes((x + width + 0.12 * of_inch, y, 0.16 * of_inch, height))
    ax.figure.colorbar(image, cax=scale)
    scale.set_ylabel(label, fontsize=8)
    scale.tick_params(labelsize=8)


def _panels(results: Results) -> dict[str, str]:
    """Returns what the six maps of a measure show, and their titles.

    A null that matches again tests the strongest pairs, so their score stands beside its mean.
    """
    again = hardest_null(results)
    if again not in MATCHED_AGAIN:
        again = "rematch"
    return {
        "score": "All pairs: score",
        f"{again}.score": "Strongest pairs: score",
        f"{again}.mean": f"Strongest pairs: mean of {again}",
        "shuffle.calibrated": "All pairs: calibrated by shuffle",
        f"{again}.calibrated": f"Strongest pairs: calibrated by {again}",
        "pairs": "Feature pairs that pass every filter",
    }


def draw_measure(results: Results, measure: str, path: Path) -> None:
    """Draws one measure as heat maps: scores, null means, calibrated scores, pairs kept.

    The five of scores have one scale and one colour bar, the pairs their own.
    """
    from matplotlib.figure import Figure

    panels = _panels(results)
    grids = {field: grid_of(results, measure, field) for field in panels}
    scores = ends_with_zero(value for field, grid in grids.items() if field != "pairs" for value in grid.values.flat)
    rows, columns, _ = grids["score"]
    width, height = _WIDTH, 9 if len(rows) > _NUMBERED else 5.2
    figure = Figure(figsize=(width, height))
    axes = _maps(figure, rows, columns)
    for ax, (field, grid) in zip(axes.flat, grids.items(), strict=True):
        image = _heat_map(
            ax, grid, (field, panels[field]), ends_with_zero(grid.values.flat) if field == "pairs" else scores
        )
        if ax in axes[:, -1]:
            _colour_bar(image, "pairs" if field == "pairs" else "score")
    figure.suptitle(f"{title_of(measure)}, suite {results.suite}", fontsize=10, y=1 - 0.2 / height)
    figure.supxlabel(f"Layer of {results.model_a.name} (A)", fontsize=9, y=0.15 / height)
    figure.supylabel(f"Layer of {results.model_b.name} (B)", fontsize=9, x=0.1 / width)
    save(figure, path, _SHARP)


def draw_controls(results: Results, path: Path) -> None:
    """Draws the controls: for every measure floor, cross-model and ceiling score, each beside its own null mean."""
    from matplotlib.figure import Figure

    rows, measures = strongest_rows(results) + control_rows(results), list(results.summary)
    lines = -(-len(measures) // _ABREAST)
    figure = Figure(figsize=(_WIDTH, 0.9 + (0.6 + 0.17 * len(rows)) * lines), layout="constrained")
    axes = figure.subplots(lines, _ABREAST, squeeze=False, sharey=True)
    for ax in axes.flat[len(measures) :]:
        ax.set_axis_off()
    for ax, measure in zip(axes.flat, measures, strict=False):
        for place, (kind, _, pair) in enumerate(rows):
            score = value_of(pair, measure, "score")
            ax.barh(place, on_scale(score or 0.0), color=_KINDS[kind], height=0.6)
            if score is None:
                ax.text(0, place, " too few pairs", va="center", fontsize=7)
            _means_of_nulls(ax, place, pair, measure)
        ax.set_yticks(range(len(rows)), [f"{kind}: {name}" for kind, name, _ in rows], fontsize=7)
        ax.set_title(fill(title_of(measure), 44), fontsize=9)
        ax.axvline(0, color="black", linewidth=0.5)
        ax.tick_params(axis="x", labelsize=8)
    for ax in axes.flat[max(0, len(measures) - _ABREAST) : len(measures)]:
        ax.set_xlabel("score", fontsize=8)
    handles, names = axes.flat[0].get_legend_handles_labels()
    if handles:
        once = dict(zip(names, handles, strict=True))
        figure.legend(
            once.values(), once.keys(), fontsize=7, frameon=False, loc="outside lower center", ncols=len(once)
        )
    figure.suptitle("What the scores must be read against", fontsize=10)
    save(figure, path, _SHARP)


def _means_of_nulls(ax: Axes, place: int, pair: LayerPair, measure: str) -> None:
    """Marks the means of nulls, and of those that match again the score of the strongest pairs that they test."""
    score = value_of(pair, measure, "score")
    for null, mark in (("shuffle", "|"), ("rematch", "x"), ("same_token", "+"), ("same_bigram", "*")):
        test = test_of(pair, measure, null)
        if test is None or test.mean is None:
            continue
        if score is not None and tests_others(score, test):
            at, of = on_scale(test.score), "strongest pairs, which nulls that match again test"
            ax.plot(at, place, "o", color="black", fillstyle="none", markersize=5, label=of, linestyle="none")
        ax.plot(on_scale(test.mean), place, mark, color="black", markersize=7, label=f"{null} mean", linestyle="none")


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Draws every measure of the results, and the controls, into `folder` as PNG and SVG; returns the PNG files."""
    with drawing():
        return _write_figures(results, folder)


def _write_figures(results: Results, folder: Path) -> list[Path]:
    paths = [folder / f"{measure}.png" for measure in results.summary]
    for measure, path in zip(results.summary, paths, strict=True):
        draw_measure(results, measure, path)
    if control_rows(results):
        paths.append(folder / "controls.png")
        draw_controls(results, paths[-1])
    if results.function is not None and (figure := draw_function(results, results.function)) is not None:
        paths.append(folder / FUNCTION)
        save(figure, paths[-1], _SHARP)
    return paths
