"""Plain values, as JSON and TOML give them, read as dataclasses and written back; what does not fit is one sentence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from semconv.system.errors import InputError, nearest

Shape = TypeVar("Shape")

STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
"""How pydantic reads the dataclasses of this project (`__pydantic_config__`): no other key, no text for a number."""
TAG = "<"
"""Begins the tag of one of several shapes of a union, which is no part of the path in a message."""


class Strict:
    """Base of a dataclass that `read_as` reads."""

    __pydantic_config__: ClassVar[Any] = STRICT


@dataclass(frozen=True)
class Must:
    """Stands in an `Annotated` type and says in a few words what its value must be, whatever does not fit inside it."""

    be: str


Texts = Annotated[tuple[str, ...], Must("a list of text")]
"""A list of text."""


class Sentences:
    """How a misfit is said: the words of results.json. A file of another kind changes what its readers look for.

    `what` names the file, or the part of it, that was read; `names` lead from there to the place of the misfit.
    """

    kinds: ClassVar[Mapping[str, str]] = {
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
    """What a value must be, by the name that pydantic has for the misfit."""

    def place(self, names: Sequence[str], what: str) -> str:
        """Returns what a value is called."""
        return f"{'.'.join(names) or 'all'} in {what}"

    def missing(self, names: Sequence[str], keys: Sequence[str], given: Sequence[str], what: str) -> str:
        """Returns the sentence on a table without `keys`, at least one, that has those given."""
        return f"{self.place([*names, keys[0]], what)} is missing"

    def unknown(self, names: Sequence[str], key: str, known: Sequence[str], what: str) -> str:
        """Returns the sentence on a table with a key that is none of those known."""
        return f"{self.place(names or ['the top'], what)} has {key!r}, which is not known"

    def choice(self, place: str, value: Any, allowed: Sequence[str]) -> str:
        """Returns the sentence on a value that is none of those allowed."""
        *others, last = allowed
        return self.other(place, f"{', '.join(others)} or {last}" if others else last, value)

    def other(self, place: str, wanted: str, value: Any) -> str:
        """Returns the sentence on any other value that does not fit."""
        return f"{place} must be {wanted}, got {shown(value)}"


class WithNearest(Sentences):
    """The same with the nearest of the names that are known."""

    def unknown(self, names: Sequence[str], key: str, known: Sequence[str], what: str) -> str:
        place = self.place(names, what) if names else what
        return f"unknown key {key!r} in {place}{nearest(key, list(known))}"

    def choice(self, place: str, value: Any, allowed: Sequence[str]) -> str:
        if not isinstance(value, str):
            return self.other(place, "text", value)
        return f"{place} must be one of {', '.join(allowed)}, got {value!r}{nearest(value, list(allowed))}"


def left_out() -> Any:
    """Returns the default of a field that is not written where it is None."""
    return field(default=None, metadata={"left out": True})


@cache
def _adapter(shape: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def number(value: float) -> float | None:
    """Returns a float for JSON, which has no NaN: a number that is not defined is null."""
    return float(value) if math.isfinite(value) else None


def read_as(shape: type[Shape], value: Any, what: str, sentences: Sentences | None = None) -> Shape:
    """Returns a plain value as the dataclass whose shape it has.

    Args:
        shape: a dataclass with `STRICT` as its `__pydantic_config__` (`Strict`), and all dataclasses in it likewise.
        value: tables, lists, texts, numbers, true, false and null; a date, which TOML has, fits nowhere.
        what: names it in a message.
        sentences: how a message is said, by default as `Sentences` does.

    Raises:
        InputError: an unknown key, or else the first place that does not fit, what it must be and what it is; or what
            the `__post_init__` of a dataclass raises.
    """
    from pydantic import ValidationError

    try:  # of Python's values, strict takes instances alone; a date becomes what no field takes
        return _adapter(shape).validate_json(json.dumps(value, default=lambda _: math.nan))
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise InputError(_sentence(shape, value, found, what, sentences or Sentences())) from None


def read_text_as(shape: type[Shape], text: str | bytes) -> Shape | None:
    """Returns JSON text as the dataclass whose shape it has, None where it has another; `read_as` then says what is
    wrong. Plain values are never made of it: of a large file these take more memory than the dataclass.

    Args:
        shape: as for `read_as`.
        text: JSON that holds no key twice and nothing else that `parse_json` refuses (`is_plain_json`).
    """
    from pydantic import ValidationError

    try:
        return _adapter(shape).validate_json(text)
    except (ValidationError, InputError):
        return None


def json_schema(shape: type[Any]) -> dict[str, Any]:
    """Returns the JSON Schema of a dataclass, with the docstrings of its attributes as descriptions.

    pydantic reads these from the source, which takes longer than all else that an adapter is made of: `read_as` does
    without.
    """
    from pydantic import TypeAdapter

    STRICT["use_attribute_docstrings"] = True
    try:
        return TypeAdapter(shape).json_schema()
    finally:
        del STRICT["use_attribute_docstrings"]


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


def shown(value: Any) -> str:
    """Returns a value as a message shows it: 60 characters of it at most."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _sentence(shape: Any, value: Any, errors: list[Any], what: str, sentences: Sentences) -> str:
    """Says one of the errors of pydantic: of several an unknown key, for the missing one is often what it was to be."""
    error = next((one for one in errors if one["type"] == "unexpected_keyword_argument"), errors[0])
    kind, context, place = error["type"], error.get("ctx", {}), _without_tags(error["loc"])
    if isinstance(context.get("error"), InputError):
        return str(context["error"])
    *table, key = [str(part) for part in place] or [""]
    if kind == "unexpected_keyword_argument":
        return sentences.unknown(table, key, _keys_at(shape, place[:-1]), what)
    if kind == "missing":
        keys = [str(one["loc"][-1]) for one in errors if one["type"] == kind and one["loc"][:-1] == error["loc"][:-1]]
        return sentences.missing(table, keys, list(_at(value, place[:-1])), what)
    must, depth = _must(shape, place)
    name = sentences.place([str(part) for part in place[:depth]], what)
    if must is None and kind == "literal_error":
        return sentences.choice(name, _at(value, place), re.findall(r"'([^']*)'", context["expected"]))
    wanted = sentences.kinds.get(kind) or (f"at least {context['ge']}" if "ge" in context else error["msg"])
    return sentences.other(name, must or wanted, _at(value, place[:depth]))


def _without_tags(place: Sequence[str | int]) -> list[str | int]:
    return [part for part in place if not str(part).startswith(TAG)]


def _at(value: Any, place: Sequence[str | int]) -> Any:
    for part in place:
        value = value[part]
    return value


def _inside(declared: Any, part: str | int) -> Any:
    """Returns the type declared for one field of a dataclass, or for what a list or table of that type holds."""
    found = _bare(declared)
    for kind in found:
        if is_dataclass(kind):
            hints = get_type_hints(kind, include_extras=True)
            if part in hints:
                return hints[part]
        elif get_args(kind):
            return get_args(kind)[0 if isinstance(part, int) else -1]
    return Any


def _bare(declared: Any) -> list[Any]:
    """Returns the kinds that a declared type allows: without `Annotated`, those of a union one by one."""
    if get_origin(declared) is Annotated:
        return _bare(get_args(declared)[0])
    if is_dataclass(declared) or get_origin(declared) in (tuple, list, dict, Mapping):
        return [declared]
    return [kind for one in get_args(declared) for kind in _bare(one)]


def _keys_at(shape: Any, place: Sequence[str | int]) -> list[str]:
    """Returns the keys that the table at a place may have."""
    for part in place:
        shape = _inside(shape, part)
    return [one.name for kind in _bare(shape) if is_dataclass(kind) for one in fields(kind)]


def _must(shape: Any, place: Sequence[str | int]) -> tuple[str | None, int]:
    """Returns what the outermost value with a `Must` on the way to a place must be, and how many names lead to it."""
    for depth in range(len(place) + 1):
        marks = shape.__metadata__ if get_origin(shape) is Annotated else ()
        must = next((mark.be for mark in marks if isinstance(mark, Must)), None)
        if must is not None:
            return must, depth
        if depth < len(place):
            shape = _inside(shape, place[depth])
    return None, len(place)
