"""Ends of axes and colour scales that can be drawn whatever the numbers are: equal, huge, tiny or missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import overload

STEPS = 12
"""Steps of the colour scale, `--h0` to `--h11` in page.css; `--t0` to `--t11` are what can be read on them."""
EQUAL = 1e-12
"""Numbers that differ by less than this share of the largest are equal: what differs is the rounding of a sum."""
LARGEST, SMALLEST = 1e300, 1e-100  # beyond one a scale ends, below the other a number is 0 on it
_PLAIN = 1e6  # numbers from here on are written with an exponent

Ends = tuple[float, float]
"""Lower and upper end of a scale: finite, the upper one larger by a finite number."""


def on_scale(value: float) -> float:
    """Returns where a finite number lies on a scale: itself, unless it is too large or too small to be drawn."""
    return 0.0 if abs(value) < SMALLEST else max(-LARGEST, min(LARGEST, value))


def all_equal(low: float, high: float) -> bool:
    """Whether two finite numbers, the lower first, are equal up to rounding (`EQUAL`), or both as good as 0."""
    largest = max(abs(low), abs(high))
    return largest < SMALLEST or high / largest - low / largest <= EQUAL


def ends_within(values: Iterable[float | None]) -> Ends:
    """Returns the lowest and the highest of some values, apart: equal values get a scale around them.

    Args:
        values: any; None, NaN and infinities are passed over, and without any other the scale is 0 to 1.

    Examples:
        >>> from semconv.report.scales import ends_within
        >>> ends_within([0.25, None, 0.5]), ends_within([2.0, 2.0]), ends_within([])
        ((0.25, 0.5), (1.9, 2.1), (0.0, 1.0))
    """
    found = [on_scale(value) for value in values if value is not None and math.isfinite(value)]
    low, high = min(found, default=0.0), max(found, default=0.0)
    if not all_equal(low, high):
        return low, high
    return (low - 0.05 * abs(low), high + 0.05 * abs(high)) if low else (0.0, 1.0)


def ends_with_zero(values: Iterable[float | None]) -> Ends:
    """Returns the lowest and the highest of 0 and some values, never the same; arguments as for `ends_within`."""
    return ends_within([0.0, *values])


def share_of(value: float, ends: Sequence[float]) -> float:
    """Returns how far a finite number lies from the lower end of a scale to the upper, 0 to 1; outside, the nearer."""
    half = ends[1] / 2 - ends[0] / 2  # of two huge ends the distance itself may be more than a float can hold
    return max(0.0, min(1.0, (on_scale(value) / 2 - ends[0] / 2) / half))


def step_of(value: float, ends: Sequence[float]) -> int:
    """Returns the step of the colour scale, 0 to STEPS - 1, of a finite number between two ends."""
    return min(STEPS - 1, int(share_of(value, ends) * STEPS))


@overload
def rounded(value: float) -> str: ...


@overload
def rounded(value: None) -> None: ...


def rounded(value: float | None) -> str | None:
    """Returns a number with three decimals, a large one with four significant digits; None where there is none.

    Examples:
        >>> from semconv.report.scales import rounded
        >>> rounded(0.12345), rounded(-1e-9), rounded(1.5e12), rounded(None)
        ('0.123', '0.000', '1.500e+12', None)
    """
    if value is None:
        return None
    return f"{value:z.3f}" if abs(value) < _PLAIN else f"{value:.3e}"


def short(value: float, digits: int = 4) -> float:
    """Returns a finite number with so many significant digits; four are what the page shows of most."""
    found = float(f"{value:.{digits}g}")
    return found if math.isfinite(found) else value  # the largest floats have no rounder neighbour


def digits_between(low: float, high: float, parts: int) -> int:
    """Returns the significant digits, at least 4, with which the ends of a range tell its `parts` equal parts apart."""
    if all_equal(low, high):
        return 4
    largest = max(abs(low), abs(high))
    apart = (high / largest - low / largest) / parts  # as a share of the largest, so at most its distance to 0
    return min(17, max(4, 1 + math.ceil(-math.log10(apart))))


def axis_numbers(ends: Ends) -> dict[str, int | str]:
    """Returns how Vega-Lite writes the numbers of an axis: fewer where they are long, with exponents where too long."""
    if max(map(abs, ends)) >= _PLAIN or max(map(abs, ends)) < 1 / _PLAIN:
        return {"tickCount": 5, "format": ".3~g"}
    return {"tickCount": 2 if digits_between(*ends, 5) > 6 else 5}
