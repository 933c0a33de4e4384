"""The figure of the answer, for report.md and for print."""

from __future__ import annotations

from pathlib import Path

from semconv.report.answer import asked_null
from semconv.report.answer_chart import answer_rows
from semconv.report.figure_files import SHARP, WIDTH, drawing, save
from semconv.report.result_values import default_measure, title_of
from semconv.results.schema import Results

NAME = "answer.png"
"""Of the PNG; the SVG lies beside it."""


def write_answer_figure(results: Results, folder: Path) -> None:
    """Draws the rows of the answer into `folder`; nothing where there are none.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    rows = answer_rows(results)
    if not rows:
        return
    from matplotlib.figure import Figure

    with drawing():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.32 * len(rows)), layout="constrained")
        ax = figure.subplots()
        ax.spines[["top", "right"]].set_visible(False)
        named = {"null": f"mean of {asked_null(results)}", "top": "one model with itself, SAE of another seed"}
        for mark, sign, colour in (("null", "|", "black"), ("top", "s", "#c2571a")):
            places = [place for place, row in enumerate(rows) if row.mark == mark]
            if places:
                others = [rows[place].other for place in places]
                size = 11 if mark == "null" else 7
                ax.plot(others, places, sign, color=colour, markersize=size, label=named[mark], linestyle="none")
        scores = [row.score for row in rows]
        ax.plot(scores, range(len(rows)), "o", color="#1f5fa8", markersize=6, label="both models", zorder=1.5)
        ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel(title_of(default_measure(results)), fontsize=9)
        ax.tick_params(axis="x", labelsize=8)
        ax.grid(axis="x", linewidth=0.4, zorder=0)
        ax.set_axisbelow(True)
        figure.legend(fontsize=7, frameon=False, loc="outside upper center", ncols=3)
        save(figure, folder / NAME, SHARP)
