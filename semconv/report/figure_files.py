"""Writes figures: the same numbers give the same bytes, as PNG and as SVG, whose text stays text."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from semconv.system.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.0
"""Inches of a figure for print: the text of an A4 or letter page."""
SHARP = 300
"""Dots per inch of a figure for print."""


@contextmanager
def drawing() -> Generator[None]:
    """Sets how figures are drawn inside: names are text, so that a dollar sign in one begins no formula."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "semconv", "svg.fonttype": "none"}):
        yield


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a figure as PNG, and as SVG beside it, without version or date in the files.

    `Figure.savefig` would draw it once more for each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.set_dpi(dpi)
    write_atomically(path, lambda p: FigureCanvasAgg(figure).print_png(p, metadata={"Software": None}))
    figure.set_dpi(72)  # of which SVG is made
    nothing = {"Date": None, "Creator": None}
    write_atomically(path.with_suffix(".svg"), lambda p: FigureCanvasSVG(figure).print_svg(p, metadata=nothing))
