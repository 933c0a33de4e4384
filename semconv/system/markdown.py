"""How a value looks where people read it, and Markdown tables of values."""

from __future__ import annotations

from collections.abc import Sequence


def show(value: object) -> str:
    """Returns a number with four significant digits, a dash for none, anything else as it is.

    Examples:
        >>> from semconv.system.markdown import show
        >>> show(0.123456), show(12345), show(None), show("0x2")
        ('0.1235', '12345', '-', '0x2')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table.

    Args:
        header: names of the columns.
        rows: values, shown by `show`; every row as long as the header.
    """
    lines = ["| " + " | ".join(show(v).replace("|", "\\|") for v in row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
