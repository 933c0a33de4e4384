"""The limits of the numbers and names of a suite, and the sentences on what lies outside them."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from semconv.system.errors import InputError, nearest

MOST_DRAWS = 10_000_000
"""Permutations, shifts or resamples that a suite may ask for: more would fit neither into memory nor into any sensible
time."""
MOST = 2**53
"""Largest value of any other whole number in a suite: sums and products of a few such fit into 64 bits or a float."""

TAIL_DRAWS = 100
"""Draws without which no tail is fitted: a quarter of them is looked at, and fewer do not show its shape."""


def choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises InputError unless the value is one of those allowed."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{nearest(value, allowed)}")


def choices(where: str, settings: object) -> None:
    """Raises InputError unless every `Literal` field of a dataclass holds one of the values that it declares."""
    for key, allowed in _literals(type(settings)).items():
        choice(f"{where}.{key}", getattr(settings, key), allowed)


@cache
def _literals(of: type[Any]) -> dict[str, tuple[str, ...]]:
    return {key: get_args(kind) for key, kind in get_type_hints(of).items() if get_origin(kind) is Literal}


def file_name(what: str, name: str) -> None:
    """Raises InputError for a name that cannot be part of a file's name: it would lead elsewhere or be unreadable."""
    stripped = name.strip() == name != ""
    if not stripped or len(name) > 100 or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise InputError(
            f"the name of a {what} must be fit for a file's name (1 to 100 printable characters, no slash, no leading "
            f"dot, no space at either end), got {name!r}"
        )


def draws(name: str, value: int, low: int) -> None:
    """Raises InputError unless so much can be drawn: `low` to `MOST_DRAWS`."""
    if not low <= value <= MOST_DRAWS:
        raise InputError(f"{name} must be between {low} and {MOST_DRAWS}, got {value}")


def at_least(name: str, value: float, low: float, most: int = MOST) -> None:
    """Raises InputError unless the value lies between `low` and `most`."""
    if value < low:
        raise InputError(f"{name} must be at least {low}, got {value}")
    if value > most:
        raise InputError(f"{name} must be at most {most}, got {value}")


def seed(name: str, value: int) -> None:
    """Raises InputError unless the value fits into the 64 bits of a seed."""
    if not 0 <= value < 2**64:
        raise InputError(f"{name} must be at least 0 and below 2^64, got {value}")
