"""Tables of the report before they are Markdown or HTML, and how intervals look in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.report.shown import show
from semconv.results.schema import SeedRange

Row = Sequence[object]
"""Values of a row: numbers and texts, None where there is none."""


@dataclass(frozen=True)
class Rows:
    """A table before it is Markdown or HTML.

    Attributes:
        header: column names.
        rows: values, None where there is none; every row as long as the header.
    """

    header: Sequence[str]
    rows: Sequence[Row]


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


def seed_range(found: SeedRange | None) -> str | None:
    """Returns `LOWEST to HIGHEST` of the scores of several seeds, or None where there is none."""
    return None if found is None else f"{show(found.lowest)} to {show(found.highest)}"


def is_number(value: object) -> bool:
    """Whether a table sets a value flush right: a number, or the dash for none."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
