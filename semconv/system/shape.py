"""Plain values, as JSON and TOML give them, read as dataclasses and written back; what does not fit is one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from semconv.system.errors import InputError

Shape = TypeVar("Shape")

STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False, "use_attribute_docstrings": True}
"""How pydantic reads the dataclasses of this project (`__pydantic_config__`): no other key, no text for a number."""
TAG = "<"
"""Begins the tag of one of several shapes of a union, which is no part of the path in a message."""
_WANTED = {
    "bool_type": "true or false",
    "dataclass_type": "a table",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a finite number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "text",
    "tuple_type": "a list",
}


def left_out() -> Any:
    """Returns the default of a field that is not written where it is None."""
    return field(default=None, metadata={"left out": True})


@cache
def _adapter(shape: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def read_as(shape: type[Shape], value: Any, what: str) -> Shape:
    """Returns a plain value as the dataclass whose shape it has.

    Args:
        shape: a dataclass with `STRICT` as its `__pydantic_config__`.
        value: tables, lists, texts, numbers, true, false and null.
        what: names it in a message.

    Raises:
        InputError: names the first place that does not fit, what it must be and what it is.
    """
    from pydantic import ValidationError

    try:
        return _adapter(shape).validate_json(json.dumps(value))  # of Python's values, strict takes instances alone
    except ValidationError as error:
        raise InputError(_sentence(error.errors(include_url=False)[0], what)) from None


def json_schema(shape: type[Any]) -> dict[str, Any]:
    """Returns the JSON Schema of a dataclass, with the docstrings of its attributes as descriptions."""
    return _adapter(shape).json_schema()


def named(value: Any) -> dict[str, Any] | None:
    """Returns what a table or a dataclass holds by name, without fields that are `left_out`; None for anything else."""
    if is_dataclass(value):
        found = ((one, getattr(value, one.name)) for one in fields(value))
        return {one.name: inner for one, inner in found if inner is not None or "left out" not in one.metadata}
    if isinstance(value, Mapping):
        return {str(key): inner for key, inner in value.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return None


def plain(value: Any) -> Any:
    """Returns a dataclass as a table, without fields that are `left_out`, and all that it holds likewise."""
    parts = named(value)
    if parts is not None:
        return {name: plain(inner) for name, inner in parts.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _sentence(error: Mapping[str, Any], what: str) -> str:
    place = [str(part) for part in error["loc"] if not str(part).startswith(TAG)]
    where, kind, context = ".".join(place), error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"{where} in {what} is missing"
    if kind == "unexpected_keyword_argument":
        return f"{'.'.join(place[:-1]) or 'the top'} in {what} has {place[-1]!r}, which is not known"
    if kind == "literal_error":
        wanted = context["expected"].replace("'", "")
    elif kind == "greater_than_equal":
        wanted = f"at least {context['ge']}"
    else:
        wanted = _WANTED.get(kind) or error["msg"]
    return f"{where or 'all'} in {what} must be {wanted}, got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
