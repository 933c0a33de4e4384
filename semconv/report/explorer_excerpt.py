"""The pairs of highest r out of what the explorer holds, in plain words: for print and for pages without a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from semconv.report.explorer_cells import SCALE, CellData, SaeData
from semconv.report.explorer_shared import SharedData
from semconv.report.page_numbers import unpack, unpack_lists, unpack_signed

Side = Literal["a", "b"]


class Shown(NamedTuple):
    """A feature in the excerpt: SAE, number, top tokens and how often each is among them."""

    sae: str
    number: int
    tokens: list[tuple[str, int]]


class Excerpt(NamedTuple):
    """A pair in the excerpt; `text` is the strongest place that both are shown at, as before, place and after."""

    r: float
    within: float | None
    a: Shown
    b: Shown
    text: tuple[str, str, str] | None


class Excerpts:
    """Reads what the script reads, for a few pairs."""

    def __init__(
        self, cells: Sequence[CellData], saes: Mapping[Side, Mapping[str, SaeData]], shared: SharedData
    ) -> None:
        self._cells, self._saes, self._shared = cells, saes, shared
        self._tokens = dict[tuple[Side, str], dict[int, list[int]]]()
        self._columns = dict[tuple[int, str], list[int | None]]()

    def highest(self, most: int) -> list[Excerpt]:
        """Returns so many pairs, the highest r first."""
        every = [
            (-r, place, row)
            for place, cell in enumerate(self._cells)
            for row, r in enumerate(self._column(place, "r") if cell["rows"] else [])
            if r is not None
        ]
        return [self._excerpt(place, row) for _, place, row in sorted(every)[:most]]

    def _column(self, place: int, name: str) -> list[int | None]:
        """Returns a column of a cell; empty where no pair of it has a value."""
        if (place, name) not in self._columns:
            self._columns[place, name] = unpack_signed(self._cells[place]["columns"].get(name, ""))
        return self._columns[place, name]

    def _excerpt(self, place: int, row: int) -> Excerpt:
        cell, within = self._cells[place], self._column(place, "r_within_token")
        r, found = self._column(place, "r")[row] or 0, within[row] if within else None
        a, b = (
            self._feature(side, cell[side], self._column(place, f"feature_{side}")[row] or 0) for side in ("a", "b")
        )
        return Excerpt(r / SCALE, None if found is None else found / SCALE, a, b, self._text(cell, row))

    def _feature(self, side: Side, label: str, number: int) -> Shown:
        if (side, label) not in self._tokens:
            sae = self._saes[side].get(label)
            self._tokens[side, label] = (
                dict(zip(unpack(sae["features"]), unpack_lists(sae["tokens"]), strict=True)) if sae else {}
            )
        tokens = Counter(self._shared["words"][word] for word in self._tokens[side, label].get(number, []))
        return Shown(label, number, list(tokens.items()))

    def _text(self, cell: CellData, row: int) -> tuple[str, str, str] | None:
        if cell["text"] is None:
            return None
        numbers = iter(unpack(cell["text"]["examples"]))
        for place in numbers:
            windows = list[int]()
            for _ in range(next(numbers)):
                _, window = next(numbers), next(numbers)
                windows.append(window)
                for _side in "ab":
                    for _level in range(2 * next(numbers)):
                        next(numbers)
            if place == row:
                at, *pieces = self._windows[windows[0]]
                words = [self._shared["words"][piece] for piece in pieces]
                return "".join(words[:at]), words[at], "".join(words[at + 1 :])
        return None

    @cached_property
    def _windows(self) -> list[list[int]]:
        """Place and pieces of every window."""
        numbers, windows = iter(unpack(self._shared["windows"])), list[list[int]]()
        for _document in numbers:
            at, n = next(numbers), next(numbers)
            windows.append([at, *(next(numbers) for _ in range(n))])
        return windows
