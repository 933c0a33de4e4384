"""How a run shows a path: enough to recognise the file, without the folders of the machine that it lies on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

_CACHE = "models--", "datasets--"  # how folders of the hub's cache begin
_OF_SETTINGS = ("path", "tokenizer", "tokenizer_b", "categories")

Settings = TypeVar("Settings")


def here() -> tuple[Path, ...]:
    """Returns the current folder; nothing if it was removed meanwhile, which ends no run."""
    try:
        return (Path.cwd(),)
    except FileNotFoundError:
        return ()


def shown_path(path: str, folders: Iterable[str | Path] = ()) -> str:
    """Returns a path as it may be published.

    A relative path stays as it is, and so does what is no path but `asset:NAME`, `hub:OWNER/NAME` or OWNER/NAME. An
    absolute path, or one with `..` in it, becomes relative to the first of the folders that it lies below; elsewhere
    only its name is left, as `.../NAME`, and in the cache of the hub repository and commit too.

    Args:
        path: as it was given.
        folders: that paths are shown from.
    """
    if not os.path.isabs(path) and ".." not in Path(path).parts:
        return path
    for real in (os.path.abspath, os.path.realpath):
        whole = Path(real(path))
        for folder in folders:
            if whole.is_relative_to(real(folder)):
                return str(whole.relative_to(real(folder)))
    parts = Path(os.path.abspath(path)).parts[1:]
    begin = next((i for i, part in enumerate(parts) if part.startswith(_CACHE)), len(parts) - 1)
    return "/".join(["...", *parts[max(begin, 0) :]])


def shown_argument(argument: str, folders: Iterable[str | Path] = ()) -> str:
    """Returns an argument of a command line likewise: a path, or what follows the `=` of `--OPTION=PATH`."""
    name, equals, value = argument.partition("=")
    if not equals or os.path.isabs(name) or ".." in Path(name).parts:
        return shown_path(argument, folders)
    return f"{name}={shown_path(value, folders)}"


def with_shown_paths(settings: Settings, folders: Iterable[str | Path] = ()) -> Settings:
    """Returns the settings of a suite, or a part of them, with every path as `shown_path` gives it."""
    kept = tuple(folders)

    def each(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(each("", one) for one in value)  # pyright: ignore[reportUnknownVariableType]
        if is_dataclass(value):
            return with_shown_paths(value, kept)
        return shown_path(value, kept) if name in _OF_SETTINGS and isinstance(value, str) else value

    values: dict[str, Any] = {one.name: getattr(settings, one.name) for one in fields(settings)}  # pyright: ignore
    return replace(settings, **{name: each(name, value) for name, value in values.items()})  # pyright: ignore
