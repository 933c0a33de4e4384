"""Tables of the report before they are Markdown or HTML, and how intervals look in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.report.shown import show
from semconv.results.schema import Score, SeedRange

Row = Sequence[object]
"""Values of a row: numbers and texts, None where there is none."""


@dataclass(frozen=True)
class Rows:
    """A table before it is Markdown or HTML.

    Attributes:
        header: names of the columns, texts or `Stacked`.
        rows: values, None where there is none; every row as long as the header.
    """

    header: Sequence[object]
    rows: Sequence[Row]


def without_empty_notes(content: Rows) -> Rows:
    """Returns a table without columns named `note` that say nothing.

    Examples:
        >>> from semconv.report.table_cells import Rows, without_empty_notes
        >>> without_empty_notes(Rows(["pair", "note"], [["0x2", ""], ["1x2", None]]))
        Rows(header=['pair'], rows=[['0x2'], ['1x2']])
    """
    mute = [
        at for at, name in enumerate(content.header) if str(name) == "note" and not any(row[at] for row in content.rows)
    ]
    if not mute:
        return content
    kept = [at for at in range(len(content.header)) if at not in mute]
    return Rows([content.header[at] for at in kept], [[row[at] for at in kept] for row in content.rows])


@dataclass(frozen=True)
class Stacked:
    """A cell of two lines: what it says, and below it, smaller, what it must be read with."""

    text: str
    below: str

    def __str__(self) -> str:
        return f"{self.text} ({self.below})" if self.below else self.text


def interval(value: Sequence[float] | None) -> str | None:
    """Returns `LOW to HIGH`, or None where there is no interval."""
    return None if value is None else f"{show(value[0])} to {show(value[1])}"


BEYOND = "beyond its range"
"""Stands for an interval that would hold scores that no pairs can have."""


def interval_of(found: Score, within: Sequence[float] | None) -> str | None:
    """Returns the interval of a score, or why there is none although it is known how far the score would move."""
    return interval(within) if within is not None or found.spread is None else BEYOND


def seed_range(found: SeedRange | None) -> str | None:
    """Returns `LOWEST to HIGHEST` of the scores of several seeds, or None where there is none."""
    return None if found is None else f"{show(found.lowest)} to {show(found.highest)}"


def number_columns(content: Rows) -> set[int]:
    """Returns which columns a table sets flush right: of numbers and shares, with bounds of p and dashes among them.

    Examples:
        >>> from semconv.report.table_cells import Rows, number_columns
        >>> number_columns(Rows(["pair", "p", "above"], [["0x2", "≤ 0.01", "38%"], ["1x2", 0.5, None]]))
        {1, 2}
    """
    columns = [[row[at] for row in content.rows] for at in range(len(content.header))]
    return {
        at
        for at, values in enumerate(columns)
        if all(value is None or _is_number(value) for value in values) and any(value is not None for value in values)
    }


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith(("≤ ", "≥ ")) or value.endswith("%")
    return isinstance(value, (int, float)) and not isinstance(value, bool)
