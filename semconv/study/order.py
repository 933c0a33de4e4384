"""One order of everything in the results, whether they were just made or read back from `results.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from semconv.compare import MEASURES
from semconv.results.schema import (
    ComparedRulesOrReason,
    Function,
    LayerPair,
    Model,
    PositionKindsOrReason,
    Reason,
    Results,
)
from semconv.study.matching_rules import RULES
from semconv.study.position_observations import KINDS

_Value = TypeVar("_Value")


def label_order(layer: int, label: str) -> tuple[int | str, ...]:
    """Returns what SAEs of a model are sorted by: their layer, then their label, numbers in it by their value."""
    return layer, *(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label))


def in_order(results: Results) -> Results:
    """Returns the same results with measures in the order of the registry, SAEs by layer and label, all else by name.

    `results.json` is written with sorted keys, so results read from it have lost the order they were made in.
    """
    ordered = _by_name(results)
    keys = sorted(ordered.grid, key=lambda key: _place(ordered.grid[key]))
    rank = {name: place for place, name in enumerate(MEASURES)}
    measures = sorted(ordered.summary, key=lambda name: (rank.get(name, len(rank)), name))
    subspaces, spans, streams = ordered.subspaces, ordered.spans, ordered.streams
    if subspaces:
        grid, relations = _in_order_of(keys, subspaces.grid), _in_order_of(keys, subspaces.relations)
        subspaces = replace(subspaces, grid=grid, relations=relations)
    return replace(
        ordered,
        grid=_in_order_of(keys, ordered.grid),
        summary=_in_order_of(measures, ordered.summary),
        model_a=_by_layer(ordered.model_a),
        model_b=_by_layer(ordered.model_b),
        subspaces=subspaces,
        spans=replace(spans, grid=_in_order_of(keys, spans.grid)) if spans else None,
        streams=replace(streams, grid=_in_order_of(keys, streams.grid)) if streams else None,
        function=_in_order_of_function(keys, ordered.function) if ordered.function else None,
    )


def _in_order_of_function(keys: Sequence[str], function: Function) -> Function:
    grid, lens = _in_order_of(keys, function.grid), _in_order_of(keys, function.lens)
    rules = None if function.rules is None else {key: _rules_in_order(one) for key, one in function.rules.items()}
    rules = None if rules is None else _in_order_of(keys, rules)
    kinds = function.position_kinds
    if kinds is not None:
        kinds = _in_order_of(keys, {key: _kinds_in_order(one) for key, one in kinds.items()})
    thirds = _in_order_of(("early", "middle", "late"), function.thirds)
    return replace(function, grid=grid, lens=lens, thirds=thirds, rules=rules, position_kinds=kinds)


def _rules_in_order(found: ComparedRulesOrReason) -> ComparedRulesOrReason:
    return found if isinstance(found, Reason) else replace(found, rules=_in_order_of(RULES, found.rules))


def _kinds_in_order(found: PositionKindsOrReason) -> PositionKindsOrReason:
    return found if isinstance(found, Reason) else replace(found, kinds=_in_order_of(KINDS, found.kinds))


def _place(pair: LayerPair) -> tuple[tuple[int | str, ...], ...]:
    return label_order(pair.layer_a, pair.sae_a), label_order(pair.layer_b, pair.sae_b)


def _by_layer(model: Model) -> Model:
    labels = sorted(model.saes, key=lambda label: label_order(model.saes[label].layer, label))
    return replace(model, saes=_in_order_of(labels, model.saes))


def _in_order_of(names: Iterable[str], table: Mapping[str, _Value]) -> dict[str, _Value]:
    return {**{name: table[name] for name in names if name in table}, **table}


def _by_name(value: Any) -> Any:
    """Returns a value with every table in it sorted by its keys; itself where all are, to hold nothing twice."""
    if is_dataclass(value) and not isinstance(value, type):
        held = {one.name: getattr(value, one.name) for one in fields(value)}
        found = {name: _by_name(inner) for name, inner in held.items()}
        changed = {name: inner for name, inner in found.items() if inner is not held[name]}
        return replace(value, **changed) if changed else value
    if isinstance(value, dict):
        found = {key: _by_name(value[key]) for key in sorted(value)}
        return value if list(found) == list(value) and all(found[key] is value[key] for key in value) else found
    if isinstance(value, tuple):
        found = tuple(_by_name(item) for item in value)
        return value if all(one is other for one, other in zip(found, value, strict=True)) else found
    return value
