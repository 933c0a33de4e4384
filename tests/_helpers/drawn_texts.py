"""Which texts of a figure cover each other or lie beyond its edges, as Matplotlib draws them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase


def _holds(outer: BboxBase, inner: BboxBase) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def badly_placed(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Draws a figure and returns its texts that lie on another or are cut off by the edge, in words."""
    drawn = list[Text]()
    draw = Text.draw

    def watched(text: Text, renderer: Any, *more: Any) -> None:
        drawn.append(text)
        draw(text, renderer, *more)

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # so that the layout stands
    with monkeypatch.context() as patched:
        patched.setattr(Text, "draw", watched)
        canvas.draw()
    boxes = [(one.get_text(), one.get_window_extent()) for one in drawn if one.get_visible() and one.get_text().strip()]
    width, height = figure.bbox.width, figure.bbox.height
    inside = Bbox.from_extents(-1, -1, width + 1, height + 1)
    bad = [f"{name!r} is cut off" for name, box in boxes if not _holds(inside, box)]
    for (name, one), (other, two) in combinations(boxes, 2):
        across, up = min(one.x1, two.x1) - max(one.x0, two.x0), min(one.y1, two.y1) - max(one.y0, two.y0)
        if across > 1 and up > 1:
            bad.append(f"{name!r} lies on {other!r}")
    return bad
