"""Compares the results of a run, number by number, with those that ship in `expected/`, within stated tolerances."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeGuard

from semconv.claims import load_results
from semconv.config import nearest
from semconv.files import read_text, shipped
from semconv.types import InputError


@dataclass(frozen=True)
class Tolerance:
    """How far some numbers may lie from the reference.

    Attributes:
        path: pattern of their dot-separated paths in `results.json`; `*` stands for anything.
        absolute: distance allowed.
        relative: distance allowed as a share of the reference; the wider of the two counts.
        compared: False for what must differ between machines.
        reason: why, one sentence.
    """

    path: str
    absolute: float = 0.0
    relative: float = 0.0
    compared: bool = True
    reason: str = ""

    def allowed(self, reference: float) -> float:
        return max(self.absolute, self.relative * abs(reference))


@dataclass(frozen=True)
class Difference:
    """A value that is not the reference's, and how far it was allowed to be."""

    path: str
    expected: Any
    observed: Any
    allowed: float


@dataclass(frozen=True)
class Comparison:
    """A run beside the reference.

    Attributes:
        values: numbers and texts compared.
        identical: how many are the same.
        within: how many differ by no more than allowed.
        outside: the others.
        left_out: of the reference, not in the run because `--fast` leaves it out.
    """

    values: int
    identical: int
    within: int
    outside: list[Difference]
    left_out: int


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walks through nested results; an empty table or list is a leaf too, so that it cannot vanish unseen."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list):
        items = [(str(place), inner) for place, inner in enumerate(value)]
    if not items:
        yield path, value
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else key)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def load_tolerances(path: Path) -> list[Tolerance]:
    """Reads `[[tolerance]]` tables; the first whose pattern fits a path counts.

    Raises:
        InputError: no such file, TOML that does not parse, an unknown or missing key, a value of the wrong kind.
    """
    try:
        tables = tomllib.loads(read_text(path)).get("tolerance", [])
    except FileNotFoundError:
        raise InputError(f"tolerances {path} do not exist") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    known = [f.name for f in fields(Tolerance)]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} must hold [[tolerance]] tables")
    for table in tables:
        for key, value in table.items():
            if key not in known:
                raise InputError(f"unknown key {key!r} in a tolerance of {path}{nearest(key, known)}")
            if key in ("absolute", "relative") and not (_number(value) and value >= 0):
                raise InputError(f"{key} in a tolerance of {path} must be a number of at least 0, got {value!r}")
        if not isinstance(table.get("path"), str):
            raise InputError(f"a tolerance of {path} needs a path, got {table.get('path')!r}")
    return [Tolerance(**table) for table in tables]


def compare_with_reference(
    results: dict[str, Any], reference: dict[str, Any], tolerances: list[Tolerance]
) -> Comparison:
    """Compares every value of the results with the reference; a value that only one of them has is outside.

    Of a fast run, what `--fast` leaves out is counted apart.
    """
    observed, expected = dict(_leaves(results)), dict(_leaves(reference))
    fast = bool(results.get("fast")) and not reference.get("fast")
    values = identical = within = left_out = 0
    outside: list[Difference] = []
    for path in sorted({*observed, *expected}):
        tolerance = next((t for t in tolerances if fnmatchcase(path, t.path)), Tolerance(path))
        if not tolerance.compared:
            continue
        one, other = observed.get(path, MISSING), expected.get(path, MISSING)
        settings = path in ("fast", "suite_sha256") or path.startswith("null.")
        if fast and (settings or MISSING in (one, other) or (one is None and other is not None)):
            left_out += 1
            continue
        values += 1
        if type(one) is type(other) and one == other:
            identical += 1
        elif _number(one) and _number(other) and abs(one - other) <= tolerance.allowed(other):
            within += 1
        else:
            allowed = tolerance.allowed(other) if _number(other) else 0.0
            outside.append(Difference(path, other, one, allowed))
    return Comparison(values, identical, within, outside, left_out)


def reference_of(suite: str) -> Path | None:
    """Returns the folder of a suite's reference results, or None where none ship."""
    folder = shipped("expected") / suite
    return folder if (folder / "results.json").exists() else None


def check_reference(results: dict[str, Any], folder: Path) -> Comparison:
    """Compares results with `results.json` of a folder by its `tolerances.toml`.

    Raises:
        InputError: a file of the folder is missing or damaged, or it is of another suite.
    """
    reference = load_results(folder)
    if reference["suite"] != results["suite"]:
        raise InputError(
            f"{folder} holds the reference of suite {reference['suite']}, the run is of {results['suite']}"
        )
    return compare_with_reference(results, reference, load_tolerances(folder / "tolerances.toml"))
