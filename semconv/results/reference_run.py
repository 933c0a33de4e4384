"""Compares the results of a run, number by number, with those that ship in `expected/`, within stated tolerances."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

from pydantic import Field

from semconv._paths import shipped
from semconv.results.read import read_results
from semconv.system.errors import InputError
from semconv.system.json_toml import read_toml
from semconv.system.shape import Must, Strict, WithNearest, named, plain, read_as

if TYPE_CHECKING:
    from semconv.results.schema import Results


_Patterns = Annotated[tuple[str, ...], Must("a list of patterns")]
_Distance = Annotated[float, Field(ge=0), Must("a number of at least 0")]


@dataclass(frozen=True)
class Tolerance(Strict):
    """How far some numbers may lie from the reference."""

    paths: _Patterns
    """Patterns of their dot-separated paths in `results.json`; `*` stands for anything."""
    absolute: _Distance = 0.0
    """Distance allowed."""
    relative: _Distance = 0.0
    """Distance allowed as a share of the reference; the wider of the two counts."""
    compared: bool = True
    """False for what must differ between machines."""
    reason: Annotated[str, Must("a sentence")] = ""
    """Why, one sentence."""

    def allowed(self, reference: float) -> float:
        return max(self.absolute, self.relative * abs(reference))


@dataclass(frozen=True)
class _Optional(Strict):
    """What may be in only one of two runs: patterns of paths, and at most so many of them."""

    paths: _Patterns
    most: Annotated[int, Field(ge=0), Must("a count")]


class _OfTolerances(WithNearest):
    def missing(self, names: Sequence[str], keys: Sequence[str], given: Sequence[str], what: str) -> str:
        return f"{what} needs {' and '.join(keys)}, got {sorted(given)}"


@dataclass(frozen=True)
class Tolerances:
    """All that is allowed; of the tolerances that fit a path the first counts, and without one values must be equal.

    Attributes:
        each: the tolerances.
        optional: patterns of what may be in only one of two runs.
        most: so many of them at most; with more, each is outside.
    """

    each: tuple[Tolerance, ...]
    optional: tuple[str, ...] = ()
    most: int = 0

    def of(self, path: str) -> Tolerance:
        return next((tolerance for tolerance in self.each if _fits(path, tolerance.paths)), _EQUAL)


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
        left_out: in only one of the two, where `--fast` or the tolerances say so.
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
_EQUAL = Tolerance(())
_FAST_CHANGES = (
    "fast",
    "suite_sha256",
    "null.n_rematch",
    "null.n_same_token",
    "null.n_same_bigram",
    "null.n_bootstrap",
    "null.n_pair_halves",
    # The best layer pair is ranked against the hardest null that was drawn, which is another one in a fast run.
    *("summary.*.ranked_by", "summary.*.best_layer_pair", "summary.*.best_score", "summary.*.nulls.*.best_calibrated"),
)
_FAST_LEAVES_OUT = (
    *("published", "published.*", "function", "function.*", "*.interval*", "*_interval*"),
    *("controls.seeds", "controls.seeds.*", "*.across_seeds*", "*.spread", "*.spread.*"),
    *("*.rematch.*", "*.same_token.*", "*.same_bigram.*", "*.strongest_pairs_score"),
    *("controls.against.*.ceiling", "controls.against.*.below_ceiling"),
)


def _fits(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walks through results, typed or plain; an empty table or list is a leaf too, so that it cannot vanish unseen."""
    items: Iterable[tuple[str, Any]] = (named(value) or {}).items()
    if isinstance(value, (list, tuple)):
        items = [(str(place), inner) for place, inner in enumerate(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not items:
        yield path, plain(value)
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else key)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def load_tolerances(path: Path) -> Tolerances:
    """Reads the table `optional` and the `[[tolerance]]` tables.

    Raises:
        InputError: no such file, TOML that does not parse, an unknown or missing key, a value of the wrong kind.
    """
    document = read_toml(path, f"tolerances {path} do not exist")
    tables, optional = document.pop("tolerance", []), document.pop("optional", {"paths": [], "most": 0})
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} must hold [[tolerance]] tables")
    if document or not isinstance(optional, dict) or optional.keys() != {"paths", "most"}:
        raise InputError(
            f"{path} must hold [[tolerance]] tables and perhaps [optional] with paths and most, "
            f"found {', '.join(document) or optional}"
        )
    sentences = _OfTolerances()
    each = tuple(read_as(Tolerance, table, f"a tolerance of {path}", sentences) for table in tables)
    either = read_as(_Optional, optional, f"[optional] of {path}", sentences)
    return Tolerances(each, either.paths, either.most)


def _left_out_by_fast(reference: Results) -> tuple[str, ...]:
    names = [name for name, pair in reference.controls.pairs.items() if pair.kind == "ceiling"]
    ceilings = [f"{where}.{name}.*" for name in names for where in ("controls.pairs", "read.controls")]
    return (*_FAST_LEAVES_OUT, *ceilings)


def compare_with_reference(results: Results, reference: Results, tolerances: Tolerances) -> Comparison:
    """Compares every value of the results with the reference; a value that only one of them has is outside.

    Of a fast run, what `--fast` leaves out or changes is counted apart, and so is what the tolerances call optional.
    """
    fast = results.fast and not reference.fast
    missing = _left_out_by_fast(reference) if fast else ()
    return compare_values(results, reference, tolerances, _FAST_CHANGES if fast else (), missing)


def compare_values(
    results: object, reference: object, tolerances: Tolerances, ignored: Sequence[str] = (), missing: Sequence[str] = ()
) -> Comparison:
    """Compares every value in one object with those in another; a value that only one of them has is outside.

    Args:
        results: dataclasses, tables and lists in each other, with numbers, texts, truth values and None in them.
        reference: likewise.
        tolerances: how far values may be apart, and what only one may have.
        ignored: patterns of the paths of values that are not compared, but counted as left out.
        missing: patterns of the paths of values that the results may leave out.
    """
    observed, expected = dict(_leaves(results)), dict(_leaves(reference))
    identical = within = left_out = 0
    outside: list[Difference] = []
    only_one: list[Difference] = []
    for path in sorted({*observed, *expected}):
        tolerance = tolerances.of(path)
        if not tolerance.compared:
            continue
        one, other = observed.get(path, MISSING), expected.get(path, MISSING)
        allowed = tolerance.allowed(other) if _number(other) else 0.0
        if _fits(path, ignored) or (one in (MISSING, None) and _fits(path, missing)):
            left_out += 1
        elif MISSING in (one, other) and _fits(path, tolerances.optional):
            only_one.append(Difference(path, other, one, allowed))
        elif type(one) is type(other) and one == other:
            identical += 1
        elif _number(one) and _number(other) and abs(one - other) <= allowed:
            within += 1
        else:
            outside.append(Difference(path, other, one, allowed))
    if len(only_one) > tolerances.most:
        outside = sorted([*outside, *only_one], key=lambda difference: difference.path)
    else:
        left_out += len(only_one)
    values = identical + within + len(outside)
    return Comparison(values, identical, within, outside, left_out)


def reference_of(suite: str) -> Path | None:
    """Returns the folder of a suite's reference results, or None where none ship."""
    folders = [
        path for path in shipped("expected").glob("*") if path.name == suite and (path / "results.json").exists()
    ]
    return folders[0] if folders else None


def check_reference(results: Results, folder: Path) -> Comparison:
    """Compares results with `results.json` of a folder by its `tolerances.toml`.

    Raises:
        InputError: a file of the folder is missing or damaged, or it is of another suite.
    """
    reference = read_results(folder)
    if reference.suite != results.suite:
        raise InputError(f"{folder} holds the reference of suite {reference.suite}, the run is of {results.suite}")
    return compare_with_reference(results, reference, load_tolerances(folder / "tolerances.toml"))
