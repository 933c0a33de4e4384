"""Compares results with the claims of `claims.toml`; it reads results and never recomputes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeGuard

from pydantic import Field

from semconv._paths import shipped
from semconv.system.errors import InputError, nearest
from semconv.system.json_toml import read_toml
from semconv.system.markdown import show
from semconv.system.shape import Must, Strict, WithNearest, named, plain, read_as

if TYPE_CHECKING:
    from semconv.results.schema import Results

Verdict = Literal["pass", "FAIL", "not run"]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Claim(Strict):
    """One statement that a number of the results must bear out."""

    id: str
    """Short name, unique."""
    statement: str
    """What is claimed, one sentence."""
    source: str
    """Where the claim comes from (the paper, or this project)."""
    suite: str
    """Whose results it is checked against."""
    path: str
    """Dot-separated path of the number in `results.json`."""
    comparison: Literal["equal", "within", "at least", "at most"]
    """`within` is expected ± tolerance."""
    expected: Annotated[int | float | str | bool, Must("a number, text, true or false")]
    """What the number must be, or be compared with."""
    tolerance: Annotated[float, Field(ge=0), Must("a number >= 0")] = 0.0
    """For `within`, and slack for `at least` and `at most`."""

    def __post_init__(self) -> None:
        if self.comparison != "equal" and not _is_number(self.expected):
            raise InputError(f"claim {self.id}: {self.comparison!r} needs a number, got {self.expected!r}")

    @property
    def wanted(self) -> str:
        """What is expected, as tables say it: `within 0.5 ± 0.1`."""
        return f"{self.comparison} {show(self.expected)}" + (f" ± {show(self.tolerance)}" if self.tolerance else "")

    def holds(self, observed: object) -> bool:
        """True when the observed value bears the claim out; an undefined one never does."""
        if self.comparison == "equal":
            return observed == self.expected
        if not _is_number(observed):
            return False
        low, high = float(self.expected) - self.tolerance, float(self.expected) + self.tolerance
        if self.comparison == "at least":
            return float(observed) >= low
        if self.comparison == "at most":
            return float(observed) <= high
        return low <= float(observed) <= high


class _OfClaims(WithNearest):
    def place(self, names: Sequence[str], what: str) -> str:
        return f"{what}: {'.'.join(names)}"

    def missing(self, names: Sequence[str], keys: Sequence[str], given: Sequence[str], what: str) -> str:
        return f"{what} is incomplete: {' and '.join(map(repr, keys))}"


@dataclass(frozen=True)
class Checked:
    """A claim beside what was found."""

    claim: Claim
    observed: object
    verdict: Verdict

    @property
    def found(self) -> str:
        """What was observed, as tables say it."""
        return show(self.observed)


class About(NamedTuple):
    """Claims by what they are about.

    Attributes:
        own: those about one suite.
        others: a sentence on those about others; empty where there are none.
    """

    own: list[Checked]
    others: str


def default_claims_path() -> Path:
    """Returns the shipped `claims.toml`."""
    return shipped("claims.toml")


def load_claims(path: Path, about: str | None = None) -> list[Claim]:
    """Reads the claims.

    Args:
        path: TOML file of `[[claim]]` tables.
        about: a suite that some claim must be about.

    Raises:
        InputError: no such file, TOML that does not parse, an unknown key, a missing one, an id used twice, no claim.
    """
    document = read_toml(path, f"claims file {path} does not exist")
    tables = document.get("claim", [])
    if not tables or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} must hold [[claim]] tables, found {', '.join(document) or 'nothing'}")
    for key in document:
        if key != "claim":
            raise InputError(f"{path} must hold [[claim]] tables only, found {key!r}")
    sentences = _OfClaims()
    claims = [
        read_as(Claim, table, f"claim {table.get('id', 'without an id')} of {path}", sentences) for table in tables
    ]
    ids = [claim.id for claim in claims]
    for claim_id in ids:
        if ids.count(claim_id) > 1:
            raise InputError(f"claim {claim_id} stands twice in {path}")
    suites = sorted({claim.suite for claim in claims})
    if about is not None and about not in suites:
        raise InputError(f"{path} holds no claim about suite {about}, only about {', '.join(suites)}")
    return claims


def claims_of(folder: Path, suite: str) -> tuple[list[Claim], str]:
    """Returns the shipped claims if any is about this suite, and otherwise those that the run was checked against.

    The second value says in words which of the two they are.

    Raises:
        InputError: as `load_claims`.
    """
    shipped_claims, own = load_claims(default_claims_path()), folder / "claims.toml"
    if any(claim.suite == suite for claim in shipped_claims) or not own.exists():
        return shipped_claims, "those that ship with semconv"
    return load_claims(own), "the run's own claims.toml, by whoever made the run"


def value_at(results: object, path: str) -> object:
    """Returns what stands at a dot-separated path, as a plain value; a number in it is the place in a list.

    Names that hold dots themselves, as those of SAEs may, are found whole: of several names that fit, the longest.

    Args:
        results: of a run, or a part of them, typed or plain.
        path: names of fields, keys of tables and places in lists.

    Raises:
        InputError: no such path, with the nearest name at the level where it breaks.
    """
    value: Any = results
    parts = path.split(".")
    while parts:
        part, n = parts[0], 1
        if isinstance(value, (list, tuple)) and part.isdecimal() and len(part) < 10 and int(part) < len(value):
            value = value[int(part)]
        else:
            known = named(value) or {}
            n = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 0)
            if n == 0 and is_dataclass(value) and part in {one.name for one in fields(value)}:
                return None  # not defined in this run, and so left out
            if n == 0 and named(value) is not None and set(known) <= {"reason"}:
                return None  # a reason stands there why there is none, or the table is empty: nothing was scored
            if n == 0:
                raise InputError(f"results have no {path!r}: no {part!r}{nearest(part, list(known))}")
            value = known[".".join(parts[:n])]
        del parts[:n]
    return plain(value)


def check_claims(claims: Sequence[Claim], results: Results) -> list[Checked]:
    """Checks every claim; those of other suites (`about` sets them apart), and those on what a fast run leaves out, are
    not run.

    Raises:
        InputError: a claim names a path that the results do not have.
    """
    checked: list[Checked] = []
    for claim in claims:
        if claim.suite != results.suite:
            checked.append(Checked(claim, None, "not run"))
            continue
        try:
            observed = value_at(results, claim.path)
        except InputError:
            if not results.fast:
                raise
            observed = None
        if observed is None and results.fast:
            checked.append(Checked(claim, None, "not run"))
            continue
        checked.append(Checked(claim, observed, "pass" if claim.holds(observed) else "FAIL"))
    return checked


def none_about(suite: str) -> str:
    """Returns what is said where no claim is about a suite."""
    return f"No claim is about suite {suite}."


def about(checked: Sequence[Checked], suite: str) -> About:
    """Returns the claims about one suite, and a sentence on those about others; empty where there are none."""
    own = [c for c in checked if c.claim.suite == suite]
    others = sorted({c.claim.suite for c in checked} - {suite})
    n = len(checked) - len(own)
    if not others:
        return About(own, "")
    are, suites = ("claim is", "another suite") if n == 1 else ("claims are", "other suites")
    return About(own, f"{n} {are} about {suites} ({', '.join(others)}), which this run says nothing of.")
