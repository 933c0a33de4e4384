"""Reads JSON and TOML from untrusted files; one that is too large, too deep or no plain table is an InputError."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from semconv.system.errors import InputError, first_line

MOST_JSON, MOST_TOML = 2**26, 2**20
"""Bytes of a file that are read."""
DEEPEST = 64
"""Tables and lists that may lie inside each other."""
_LARGEST = 10**300  # fits into a float, so that no arithmetic overflows
_PART = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w-]+)"""
_LONG_KEY = re.compile(rf"(?:\.[ \t]*{_PART}[ \t]*){{{DEEPEST}}}")
"""Most parts of a dotted key; tomllib's memory grows with the square of their number."""
_CONSTANTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def read_json(path: Path, missing: str = "", most: int | None = MOST_JSON, finite: bool = True) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Args:
        path: of the file.
        missing: message if it does not exist.
        most: bytes of the file that are read; None where its size was checked before.
        finite: whether NaN and Infinity are errors; JSON does not have them, but transformers writes them into configs.

    Raises:
        InputError: it is missing, too large or cannot be read; it is not a JSON object, nested deeper than `DEEPEST`,
            or holds a number that no float can hold, half of a character, or a key twice with two values.
    """
    return _table(parse_json(_text(path, missing, most), str(path), finite), f"{path} must hold a JSON object")


def read_toml(path: Path, missing: str = "") -> dict[str, Any]:
    """Returns the table in a TOML file.

    Args:
        path: of the file.
        missing: message if it does not exist.

    Raises:
        InputError: it is missing, too large or cannot be read; it is not UTF-8 or not TOML, nested deeper than
            `DEEPEST`, or holds a number that no float can hold.
    """
    text = _text(path, missing, MOST_TOML)
    if _LONG_KEY.search(text):
        raise InputError(f"{path} is nested too deep: at most {DEEPEST} levels are read")
    return _parsed(tomllib.loads, text, str(path), "TOML", finite=False)


def parse_json(text: str | bytes, what: str, finite: bool = True) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: the JSON, UTF-8 where it is bytes.
        what: names it in the message.
        finite: as in `read_json`.

    Raises:
        InputError: it is not JSON, nested deeper than `DEEPEST`, or holds a number that no float can hold, half of a
            character, or a key twice with two values.
    """
    loads = partial(json.loads, object_pairs_hook=_once, parse_constant=_no_constant if finite else _CONSTANTS.get)
    return _parsed(loads, _decoded(text, what) if isinstance(text, bytes) else text, what, "JSON", finite)


class _Depth(int):
    """Stands for a table that was looked through: how many tables and lists lie inside each other there."""


def is_plain_json(text: str) -> bool:
    """Returns whether a text is a JSON object that `parse_json` reads, without holding what is in it.

    True is certain. Of what repeats a key it may say False although both values are the same.
    """
    try:
        found = json.loads(text, object_pairs_hook=_looked_through, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, _Depth) and found <= DEEPEST


def _looked_through(pairs: list[tuple[str, Any]]) -> _Depth:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return _Depth(1 + max((max(_depth_of(key), _depth_of(value)) for key, value in pairs), default=0))


def _depth_of(value: Any) -> int:
    """Returns how deep a value is nested; raises ValueError for one that `_check_values` refuses."""
    if isinstance(value, _Depth):
        return value
    if isinstance(value, float):
        wrong = not math.isfinite(value)
    elif isinstance(value, str):
        wrong = not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)
    elif isinstance(value, list):
        return 1 + max(map(_depth_of, value), default=0)  # pyright: ignore[reportUnknownArgumentType]
    else:
        wrong = isinstance(value, int) and not -_LARGEST < value < _LARGEST
    if wrong:
        raise ValueError("no value that is read")
    return 0


def _text(path: Path, missing: str, most: int | None) -> str:
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise InputError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            data = file.read(-1 if most is None else most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing or f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if most is not None and len(data) > most:
        raise InputError(f"{path} is too large: at most {most} bytes are read")
    return _decoded(data, str(path))


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _parsed(loads: Callable[[str], Any], text: str, what: str, form: str, finite: bool) -> Any:
    try:
        value = loads(text)
    except RecursionError:
        raise InputError(f"{what} is nested too deep: at most {DEEPEST} levels are read") from None
    except ValueError as error:  # not of the form, or a whole number of more digits than Python converts
        many = "integer string conversion" in str(error)
        reason = "it holds a number of thousands of digits" if many else first_line(error)
        raise InputError(f"{what} is not {form} that can be read: {reason}") from None
    _check_values(value, what, finite)
    return value


def _table(value: Any, wanted: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{wanted}, got {_shown_kind(value)}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _shown_kind(value: Any) -> str:
    return {list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object; a key that stands twice must have one value, so that all readers see the same."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(f"key {key!r} stands twice, with two values")
    return found


def _check_values(value: Any, what: str, finite: bool) -> None:
    """Raises InputError for what would break a later step: too deep, numbers out of range, halves of characters."""
    level, depth = [value], 0
    while level:
        depth += any(isinstance(one, (dict, list)) for one in level)
        if depth > DEEPEST:
            raise InputError(f"{what} is nested too deep: at most {DEEPEST} levels are read")
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += [*one, *one.values()]  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str):
                if not one.isascii() and any("\ud800" <= c <= "\udfff" for c in one):
                    raise InputError(f"{what} holds {one[:50]!r}, with half of a character in it")
            elif isinstance(one, int):
                if not -_LARGEST < one < _LARGEST:
                    raise InputError(f"{what} holds a number of {len(str(one))} digits, which is too large")
            elif finite and isinstance(one, float) and not math.isfinite(one):
                raise InputError(f"{what} holds a number that is too large for any float")
        level = inner
