"""What results state of text, models and SAEs, which no archive can prove: its shape, checked before it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from semconv.system.errors import InputError

TEXT, FLAG, COUNT, NUMBER = "text", "true or false", "a whole number of at least 0", "a finite number"
_FIT: dict[str, Any] = {
    "explained_variance?": (NUMBER, None),
    "explained_variance_with_sinks?": (NUMBER, None),
    "tokens?": COUNT,
    "reason?": TEXT,
    "loss?": {"recovered?": (NUMBER, None), "tokens?": COUNT, "reason?": TEXT},
}
_SAE: dict[str, Any] = {
    "layer": COUNT,
    "hook": TEXT,
    "head": (COUNT, None),
    "hook_out": (TEXT, None),
    "architecture": TEXT,
    "n_features": COUNT,
    "activations_sha256": TEXT,
    "l0": NUMBER,
    "dead_share": NUMBER,
    "sinks": COUNT,
    "sinks_norm_share": (NUMBER, None),
    "fit": _FIT,
    "remarks": [TEXT],
}
_MODEL: dict[str, Any] = {"name": TEXT, "saes": {"*": _SAE}, "bidirectional?": FLAG}
_EXCLUDED = {f"{reason}?": COUNT for reason in ("bos", "eos", "padding", "skipped", "control")}
_TEXT_READ: dict[str, Any] = {
    "rows": ("packed", "documents"),
    **dict.fromkeys(("bos_rule", "separator_rule", "tokenizer"), TEXT),
    **dict.fromkeys(("n_tokens", "n_rows", "skip_positions", "documents", "documents_read"), COUNT),
    **dict.fromkeys(("documents_cut", "tokens_left_out", "files_ignored"), COUNT),
    "excluded": {**_EXCLUDED, "": None},
}
_SINKS = {"multiple": NUMBER, "excluded": FLAG, **dict.fromkeys(("positions_a", "positions_b", "spans"), COUNT)}
SHAPE: dict[str, Any] = {
    "fast": FLAG,
    "corpus": {
        **_TEXT_READ,
        "n_documents": COUNT,
        "n_spans": (COUNT, None),
        "context": COUNT,
        "sinks": _SINKS,
        "b": (_TEXT_READ, None),
    },
    "model_a": _MODEL,
    "model_b": _MODEL,
    "read": {"controls": {"*": {"a": _FIT, "b": _FIT}}, "versions": {"*": TEXT}},
}
"""Name -> shape. A table is its names, `?` after those that may be missing, `*` for any name, an empty name where no
other may stand there; a list is one shape for all of it; a tuple is shapes of which one must fit, where other text and
None stand for themselves."""


def check_stated(results: Mapping[str, Any], what: str) -> None:
    """Refuses results whose stated sections are not of the shape that the report tells of.

    Args:
        results: of a run.
        what: names them in the message.

    Raises:
        InputError: names the field, what it must be and what it is.
    """
    _check({name: results[name] for name in SHAPE if name in results}, SHAPE, what, "")


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value is of a shape that is no table and no list."""
    if shape is TEXT:
        return isinstance(value, str)
    if shape is FLAG:
        return isinstance(value, bool)
    if shape is COUNT:
        return type(value) is int and value >= 0
    if shape is NUMBER:
        return type(value) in (int, float) and math.isfinite(value)
    return value == shape


def _check(value: Any, shape: Any, what: str, where: str) -> None:
    if isinstance(shape, tuple):
        shapes: tuple[Any, ...] = shape
        table = next((one for one in shapes if isinstance(one, dict)), None)
        if table is not None and value is not None:
            _check(value, table, what, where)
        elif table is None and not any(_fits(value, one) for one in shapes):
            wanted = " or ".join("null" if one is None else str(one) for one in shapes)
            raise InputError(f"{where} in {what} must be {wanted}, got {_shown(value)}")
    elif isinstance(shape, list):
        items: Any = value
        if not isinstance(value, list):
            raise InputError(f"{where} in {what} must be a list, got {_shown(value)}")
        for place, item in enumerate(items):
            _check(item, shape[0], what, f"{where}.{place}")
    elif isinstance(shape, dict):
        _check_table(value, shape, what, where)
    elif not _fits(value, shape):
        raise InputError(f"{where} in {what} must be {shape}, got {_shown(value)}")


def _check_table(value: Any, shape: dict[str, Any], what: str, where: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{where or 'all'} in {what} must be a table, got {_shown(value)}")
    table: dict[str, Any] = value
    names: dict[str, Any] = dict.fromkeys(table, shape["*"]) if "*" in shape else shape
    for name, inner in names.items():
        place = f"{where}.{name.rstrip('?')}".lstrip(".")
        if name.rstrip("?") in table:
            _check(table[name.rstrip("?")], inner, what, place)
        elif name and not name.endswith("?"):
            raise InputError(f"{place} in {what} is missing")
    others = [name for name in table if f"{name}?" not in shape and name not in shape] if "" in shape else []
    if others:
        raise InputError(f"{where} in {what} has {others[0]!r}, which is not known")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
