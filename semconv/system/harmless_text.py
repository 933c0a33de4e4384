"""Makes untrusted text safe to show: invisible characters are spelled out, and nothing in it acts as markup."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any


def visible(text: str, lines: bool = False) -> str:
    """Returns text with invisible characters spelled out: control characters and marks of writing direction.

    Args:
        text: anything.
        lines: leave the ends of lines and tabs as they are.
    """
    kept = "\n\t\xa0" if lines else "\xa0"
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def no_markup(value: Any) -> Any:
    """Returns a copy of plain values or of a dataclass with every text escaped for Markdown: no HTML, link or image."""
    if isinstance(value, str):
        return visible(value).replace("<", "&lt;").replace("[", "\\[")
    if isinstance(value, dict):
        return {no_markup(key): no_markup(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(no_markup(inner) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: no_markup(getattr(value, field.name)) for field in fields(value)})
    return value


def as_code(text: str) -> str:
    """Returns text of one line as code of Markdown: between more backticks than stand in a row in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks, room = "`" * (longest + 1), " " if longest or (text[:1] == text[-1:] == " " and text.strip()) else ""
    return f"{marks}{room}{text}{room}{marks}"
