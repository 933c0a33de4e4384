"""The figure on what features do: partners beside what they must beat, and agreement against r."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from semconv.report.figure_files import WIDTH
from semconv.report.function_section import ALIKE, studied
from semconv.report.scales import on_scale
from semconv.results.schema import Function, FunctionPair, FunctionTest, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = {
    "partner": ("o", "#1f5fa8", 9),
    "same_token": ("s", "#0f766e", 6),
    "second_best": ("D", "#7a3fa0", 6),
    "co_active": ("^", "#b0306a", 6),
    "others": ("x", "#6b6b6b", 6),
    "random": ("|", "#9a9a9a", 8),
}
_OF_R, _OF_KEY = 3.2, 0.3  # inches that the panel of r and the key of the others are high
BINS = 8
"""Groups of pairs of about equal size, by r, over which means are drawn."""


def binned_by_r(points: Sequence[tuple[float, float, float | None]]) -> list[tuple[float, float, float]]:
    """Returns mean r, mean agreement with the partner and with the best hard negative, of groups of pairs by r."""
    known = np.array([(r, partner, best) for r, partner, best in points if best is not None]).reshape(-1, 3)
    groups = np.array_split(known[np.argsort(known[:, 0], kind="stable")], min(BINS, max(1, len(known) // 5)))
    return [(float(r), float(partner), float(best)) for r, partner, best in (g.mean(axis=0) for g in groups if len(g))]


def all_points(function: Function) -> list[tuple[float, float, float | None]]:
    """Returns r, agreement and best hard negative of every pair of every layer pair."""
    every = (point for pair in function.grid.values() if isinstance(pair, FunctionPair) for point in pair.points)
    return [(on_scale(r), on_scale(own), None if best is None else on_scale(best)) for r, own, best in every]


def draw_function(results: Results, function: Function) -> Figure | None:
    """Draws partners beside hard negatives per layer pair and control, and agreement against r; None without any."""
    from matplotlib.figure import Figure

    found = [(kind, name, pair) for kind, name, pair in studied(results, function) if isinstance(pair, FunctionPair)]
    if not found:
        return None
    high = 1.6 + 0.3 * len(found)
    figure = Figure(figsize=(1.3 * WIDTH, high + _OF_KEY + _OF_R), layout="constrained")
    axes = figure.subplot_mosaic("LR;KK;BB", height_ratios=[high, _OF_KEY, _OF_R])
    _against_negatives(axes["L"], found)
    axes["K"].set_axis_off()  # a row of its own for the key, where it hides no mark
    marks, names = axes["L"].get_legend_handles_labels()
    axes["K"].legend(marks, names, fontsize=7, frameon=False, loc="center", ncols=len(_MARKS))
    _beyond(axes["R"], found)
    _against_r(axes["B"], function)
    for ax in axes.values():
        ax.tick_params(labelsize=8)
    figure.suptitle(f"What features do, suite {results.suite}", fontsize=10)
    return figure


def _against_negatives(ax: Axes, found: list[tuple[str, str, FunctionPair]]) -> None:
    names = [name if kind == "cross-model" else f"{kind}: {name}" for kind, name, _ in found]
    for place, (_, _, pair) in enumerate(found):
        for order, (kind, (mark, colour, size)) in enumerate(_MARKS.items()):
            mean = pair.alike[kind]
            if mean.residual is None:
                continue
            label = ALIKE[kind] if place == 0 else None
            at = on_scale(mean.residual)
            if kind == "partner" and mean.residual_error is not None:
                reach = 1.96 * abs(on_scale(mean.residual_error))
                ax.plot([at - reach, at + reach], [place, place], "-", color=colour, linewidth=1.5)
            ax.plot(at, place, mark, color=colour, markersize=size, label=label, linestyle="none", zorder=9 - order)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.axvline(0, color="black", linewidth=0.5)
    ax.set_xlabel("mean correlation of residual effects\nwith those of A's feature", fontsize=8)
    ax.set_title("Partner (with 95% interval) and what it must beat", fontsize=9)


def _beyond(ax: Axes, found: list[tuple[str, str, FunctionPair]]) -> None:
    """Draws the difference that is tested, with 1.96 standard errors to either side where they are known."""
    for place, (_, _, pair) in enumerate(found):
        if not isinstance(pair.beyond, FunctionTest):
            ax.text(0, place, " not tested", va="center", fontsize=7)
            continue
        at = on_scale(pair.beyond.difference)
        if pair.beyond.error is not None:
            reach = 1.96 * abs(on_scale(pair.beyond.error))
            ax.plot([at - reach, at + reach], [place, place], "-", color="#1f5fa8", linewidth=1.5)
        ax.plot(at, place, "o", color="#1f5fa8", markersize=7)
    ax.set_yticks(range(len(found)), [])
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.axvline(0, color="black", linewidth=0.5)
    ax.set_xlabel("partner less best hard negative of each pair,\nmean over pairs", fontsize=8)
    ax.set_title("The difference that is tested (with 95% interval)", fontsize=9)


def _against_r(ax: Axes, function: Function) -> None:
    points = all_points(function)
    if points:
        ax.plot([p[0] for p in points], [p[1] for p in points], ".", color="#1f5fa8", alpha=0.25, markersize=4)
    means = binned_by_r(points)
    for at, colour, label in ((1, "#1f5fa8", "partner, mean"), (2, "#2f363d", "best hard negative, mean")):
        ax.plot([m[0] for m in means], [m[at] for m in means], "-o", color=colour, markersize=4, label=label)
    ax.axhline(0, color="black", linewidth=0.5)
    ax.set_xlabel("r of the pair, on the half of the documents it was matched on", fontsize=8)
    ax.set_ylabel("agreement of what both do", fontsize=8)
    ax.set_title("Does r tell what features do? Every dot a pair", fontsize=9)
    if means:
        ax.legend(fontsize=8, frameon=False)
