"""Writes what a run found: figures, Markdown and one self-contained HTML page, from the results alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from semconv.report.answer_figure import write_answer_figure
from semconv.report.explorer import FOLDER
from semconv.report.figures import write_figures
from semconv.report.first_pairs import FirstPairs
from semconv.report.function_section import wanted_pairs
from semconv.report.markdown import write_markdown
from semconv.report.page import write_page
from semconv.report.pair_figures import write_pair_figures
from semconv.results.claims import Checked
from semconv.results.schema import Results
from semconv.study.order import in_order
from semconv.system.files import temporary_folder

__all__ = ["write_figures", "write_markdown", "write_page", "write_report"]


def write_report(results: Results, checked: Sequence[Checked], folder: Path) -> None:
    """Writes `figures/`, `report.md` and `index.html` into a run folder, and `explorer/` where there are many pairs.

    Results just made and results read back from `results.json` give the same bytes. All of it is made before any of it
    takes the place of an earlier report, which stays if something fails.

    Args:
        results: of a suite.
        checked: the claims against them, any number.
        folder: of the run; what it holds of pairs, contexts and null draws is shown on the page.

    Raises:
        InputError: a file of the folder is damaged.
        OSError: the folder cannot be written, or the disk is full.
    """
    ordered, pairs = in_order(results), FirstPairs.of_run(folder, wanted_pairs(results))
    with temporary_folder(folder) as made:
        write_figures(ordered, made / "figures")
        write_pair_figures(ordered, folder, made / "figures")
        write_answer_figure(ordered, made / "figures")
        write_markdown(ordered, checked, made / "report.md", pairs)
        write_page(ordered, checked, folder, made / "index.html", pairs)
        for name in ("figures", FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("figures", FOLDER, "report.md", "index.html"):
            if (made / name).exists():
                (made / name).replace(folder / name)
