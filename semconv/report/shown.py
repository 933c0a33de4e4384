"""How a value looks in the tables, sentences and charts of a report: three significant digits, two of small ones."""

from __future__ import annotations

from collections.abc import Sequence

from semconv.system import markdown

_TINY, _SMALL, _THOUSAND, _MILLION = 1e-4, 1e-2, 1e3, 1e6


def show(value: object) -> str:
    """Returns a number with three significant digits, a dash for none, anything else as it is.

    Whole numbers (int) keep all their digits; below 0.01 two digits are shown, for p is no surer than that and no score
    is; what is below 0.0001 or from a million on has an exponent.

    Examples:
        >>> from semconv.report.shown import show
        >>> show(0.123456), show(-0.0504), show(28.7081), show(1.0), show(1234.5), show(3.2e-7), show(None), show("0x2")
        ('0.123', '-0.0504', '28.7', '1', '1,234', '3.2e-07', '-', '0x2')
        >>> show(1 / 1001), show(-0.000252)
        ('0.0010', '-0.00025')
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    if not size:
        return "0"
    if size < _TINY or not size < _MILLION:
        return f"{value:.2g}" if size < _TINY else f"{value:.3g}"
    if size >= _THOUSAND - 0.5 or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:#.2g}" if size < _SMALL else f"{value:#.3g}".removesuffix(".")


def percent(share: float | None) -> str | None:
    """Returns a share as a percentage, or None where there is none; all but all is not rounded to all.

    Examples:
        >>> from semconv.report.shown import percent
        >>> percent(0.98712), percent(0.5), percent(1.0), percent(0.99999), percent(0.0), percent(1e-6)
        ('98.7%', '50%', '100%', 'above 99.9%', '0%', 'below 0.1%')
    """
    if share is None:
        return None
    if 0 < share < 1e-3:
        return "below 0.1%"
    if 0.999 < share < 1:
        return "above 99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table of values as `show` writes them; every row as long as the header."""
    return markdown.table(header, [[show(value) for value in row] for row in rows])
