"""The made-up results and draws with other numbers in every place: equal, huge, tiny, missing, or whatever is asked."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st

from semconv.report.histograms import Draws
from semconv.results.schema import Results, Score

POOL = (0.0, -0.0, 1.0, 1 - 4e-16, 1 + 4e-16, 0.25, -0.5, 5e-324, 1e-200, 1e-9, 1e6, -1e21, 1e300, -1.7e308, 1.7e308)
"""Finite numbers that break what expects scores."""
_Value = TypeVar("_Value")


def with_numbers(value: _Value, number: Callable[[bool], float | None]) -> _Value:
    """A dataclass of the schema with another number in the place of every float.

    Args:
        value: the dataclass; counts, texts and truth values in it stay.
        number: gives the next number; it is told whether there may be none, and gives None only then.
    """
    return _replaced(value, type(value), number)


def _replaced(value: Any, declared: Any, number: Callable[[bool], float | None]) -> Any:
    kinds = _kinds(declared)
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value), include_extras=True)
        new = {one.name: _replaced(getattr(value, one.name), hints[one.name], number) for one in fields(value)}
        return replace(value, **new)
    if isinstance(value, dict):
        inner = next((get_args(kind)[1] for kind in kinds if get_origin(kind) is dict), Any)
        return {key: _replaced(one, inner, number) for key, one in value.items()}
    if isinstance(value, tuple):
        inner = next((get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple), Any)
        return tuple(_replaced(one, inner, number) for one in value)
    if isinstance(value, float) and float in kinds:
        return number(type(None) in kinds)
    return value


def _kinds(declared: Any) -> list[Any]:
    """What a declared type allows, one by one."""
    if get_origin(declared) is Annotated:
        return _kinds(get_args(declared)[0])
    if isinstance(declared, types.UnionType):
        return [kind for one in get_args(declared) for kind in _kinds(one)]
    return [declared]


numbers = st.one_of(st.sampled_from(POOL), st.floats(allow_nan=False, allow_infinity=False))
"""Finite floats, those of the pool among them."""


@st.composite
def results_of(draw: st.DrawFn, of: Results) -> Results:
    """Results with numbers of a few kinds only, so that equal ones meet; some are none."""
    kinds = draw(st.lists(numbers, min_size=1, max_size=4))
    choose = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    missing = draw(st.sampled_from((0.0, 0.3, 1.0)))

    def number(may_be_none: bool) -> float | None:
        if may_be_none and choose.random() < missing:
            return None
        return kinds[int(choose.integers(len(kinds)))]

    return with_numbers(of, number)


@st.composite
def draws_of(draw: st.DrawFn, of: Results) -> Draws:
    """Draws for those results: of every null none, one, or several, NaN and infinities among them."""
    some = st.lists(st.one_of(numbers, st.sampled_from((np.nan, np.inf, -np.inf))), max_size=6)
    sets = [np.array(found, np.float64) for found in draw(st.lists(some, min_size=1, max_size=4))]
    choose = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return {
        f"{key}.{null}.{measure}": sets[int(choose.integers(len(sets)))]
        for key, pair in of.grid.items()
        for measure, scored in pair.measures.items()
        if isinstance(scored, Score)
        for null in scored.nulls
    }
