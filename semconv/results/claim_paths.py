"""Checks the paths of claims against the shape of the results, before there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from fnmatch import fnmatchcase
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from semconv.results.claims import Claim
from semconv.system.errors import InputError, nearest


@dataclass(frozen=True)
class KnownNames:
    """What is known of the names in results before they are made.

    A place is a path with `*` for every key of a table and place in a list, such as `grid.*.measures.*.nulls`.

    Attributes:
        suite: name of the suite.
        keys: pattern of the places of tables -> the keys that such a table may have; of several patterns the first
            counts, and with none any key may be there.
        absent: patterns of the places of fields that the results will not have.
    """

    suite: str
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    absent: tuple[str, ...] = ()


def check_paths(claims: Sequence[Claim], names: KnownNames) -> None:
    """Raises InputError for claims whose path leads nowhere in results of their suite, or to more than one value.

    Of claims about other suites only the names of fields are checked, for their keys are not known.

    Args:
        claims: any number.
        names: of one suite.

    Raises:
        InputError: a path has a field or key that results do not have, no number where the place in a list must stand,
            or ends at a table or list.
    """
    from semconv.results.schema import Results  # with pydantic, which `import semconv` does without

    for claim in claims:
        known = names if claim.suite == names.suite else KnownNames(claim.suite)
        fault = _fault(Results, claim.path.split("."), (), known)
        if fault:
            where = f"in results of suite {claim.suite}"
            raise InputError(f"claim {claim.id}: path {claim.path!r} leads to no value {where}: {fault}")


@cache
def _fields(shape: type[Any]) -> Mapping[str, object]:
    """Returns the fields of a dataclass with their types, without annotations."""
    hints = get_type_hints(shape)
    return {one.name: hints[one.name] for one in fields(shape)}


def _shapes(shape: object) -> list[object]:
    """Returns the shapes of which a value may have one, without None."""
    if get_origin(shape) in (Union, UnionType):
        return [inner for one in get_args(shape) for inner in _shapes(one)]
    return [] if shape is NoneType else [shape]


def _fault(shape: object, parts: list[str], place: tuple[str, ...], names: KnownNames) -> str:
    """Returns why the parts of a path lead nowhere from a shape, in words; empty where they lead to one value.

    Args:
        shape: type of what stands at the place.
        parts: the rest of the path.
        place: the path so far, with `*` for keys.
        names: that are known.
    """
    faults = [_fault_in(one, parts, place, names) for one in _shapes(shape)]
    return "" if "" in faults else faults[0]


def _fault_in(shape: object, parts: list[str], place: tuple[str, ...], names: KnownNames) -> str:
    if isinstance(shape, type) and is_dataclass(shape):
        return _fault_in_fields(_fields(shape), parts, place, names)
    if get_origin(shape) is dict:
        return _fault_in_table(get_args(shape)[1], parts, place, names)
    if get_origin(shape) is tuple:
        return _fault_in_list(get_args(shape), parts, place, names)
    return f"no {parts[0]!r}, for a value stands before it" if parts else ""


def _fault_in_fields(known: Mapping[str, object], parts: list[str], place: tuple[str, ...], names: KnownNames) -> str:
    there = [one for one in known if not _fits((*place, one), names.absent)]
    if not parts:
        return "a table stands there"
    if parts[0] not in there:
        return f"no {parts[0]!r}{nearest(parts[0], there)}"
    return _fault(known[parts[0]], parts[1:], (*place, parts[0]), names)


def _fault_in_table(inner: object, parts: list[str], place: tuple[str, ...], names: KnownNames) -> str:
    keys = next((keys for pattern, keys in names.keys.items() if _fits(place, (pattern,))), None)
    if not parts:
        return "a table stands there"
    lengths = range(len(parts), 0, -1)  # a key may hold dots; of several that fit, the longest
    if keys is None:
        faults = [_fault(inner, parts[n:], (*place, "*"), names) for n in lengths]
        near = next((one for one in faults if "did you mean" in one), faults[-1])
        return "" if "" in faults else near
    n = next((n for n in lengths if ".".join(parts[:n]) in keys), 0)
    if n == 0:
        return f"no {parts[0]!r}{nearest(parts[0], list(keys))}"
    return _fault(inner, parts[n:], (*place, "*"), names)


def _fault_in_list(inner: tuple[object, ...], parts: list[str], place: tuple[str, ...], names: KnownNames) -> str:
    if not parts:
        return "a list stands there"
    part = parts[0]
    most = 10**9 if ... in inner else len(inner)
    if not (part.isdecimal() and len(part) < 10 and int(part) < most):
        return f"no {part!r}, for a place in a list is a number, from 0"
    return _fault(inner[0], parts[1:], (*place, "*"), names)


def _fits(place: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(".".join(place), pattern) for pattern in patterns)
