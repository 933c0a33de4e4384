"""The figure of the answer as PNG, for report.md and for print."""

from __future__ import annotations

from pathlib import Path

from semconv.report.answer import asked_null
from semconv.report.answer_chart import answer_rows
from semconv.report.result_values import default_measure, title_of
from semconv.results.schema import Results
from semconv.system.files import write_atomically

NAME = "answer.png"
"""Of the file."""


def write_answer_figure(results: Results, folder: Path) -> None:
    """Draws the rows of the answer into `folder`; nothing where there are none.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    rows = answer_rows(results)
    if not rows:
        return
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(6.4, 0.9 + 0.38 * len(rows)), layout="constrained")
        ax = figure.subplots()
        named = {"null": f"mean of {asked_null(results)}", "top": "one model with itself, SAE of another seed"}
        for mark, sign, colour in (("null", "|", "black"), ("top", "s", "#c2571a")):
            places = [place for place, row in enumerate(rows) if row.mark == mark]
            if places:
                others = [rows[place].other for place in places]
                ax.plot(others, places, sign, color=colour, markersize=9, label=named[mark], linestyle="none")
        ax.plot([row.score for row in rows], range(len(rows)), "o", color="#1f5fa8", label="both models")
        ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel(title_of(default_measure(results)), fontsize=9)
        ax.grid(axis="x", linewidth=0.4)
        figure.legend(fontsize=7, frameon=False, loc="outside upper center", ncols=3)
        figure.set_dpi(200)
        path = folder / NAME
        write_atomically(path, lambda p: FigureCanvasAgg(figure).print_png(p, metadata={"Software": None}))
