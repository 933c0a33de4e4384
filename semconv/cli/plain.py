"""Prints text as it is: neither what a user gave nor help text is ever taken for rich's markup."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from semconv.system.harmless_text import visible


class PlainConsole(Console):
    """A console in which a string is text: no markup, no emoji codes, no control characters, in table cells too.

    Where colour is wanted, it is a `Text` or a `style`.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns a string as text, with visible control characters."""
        return super().render_str(visible(text, lines=True), **options)


def table(*columns: str, title: str | None = None) -> Table:
    """Returns an empty table that breaks what is too long for a column and never cuts it."""
    made = Table(title=title)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


class PlainCommand(TyperCommand):
    """A command whose help is text."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        _escape_help(self)


class PlainGroup(TyperGroup):
    """A group of commands whose help is text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        _escape_help(self)


def _escape_help(command: TyperCommand | TyperGroup) -> None:
    """Escapes what typer would read as rich's markup."""
    for what in (command, *command.params):
        for name in ("help", "short_help", "epilog"):
            text = getattr(what, name, None)
            if text:
                setattr(what, name, escape(text))


def survive_any_encoding() -> None:
    """Lets a terminal that is not UTF-8 show escapes for the characters it lacks, rather than end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
