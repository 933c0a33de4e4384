"""One order of everything in the results, whether they were just made or read back from `results.json`."""

from __future__ import annotations

import re
from typing import Any

from semconv.compare import MEASURES


def label_order(layer: int, label: str) -> tuple[Any, ...]:
    """Returns what SAEs of a model are sorted by: their layer, then their label, numbers in it by their value."""
    return layer, *(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", label))


def _place(cell: dict[str, Any]) -> tuple[Any, ...]:
    return label_order(cell["layer_a"], cell["sae_a"]), label_order(cell["layer_b"], cell["sae_b"])


def in_order(results: dict[str, Any]) -> dict[str, Any]:
    """Returns the same results with measures in the order of the registry, SAEs by layer and label, all else by name.

    `results.json` is written with sorted keys, so results read from it have lost the order they were made in.
    """
    ordered = _sorted(results)
    ordered["grid"] = dict(sorted(ordered["grid"].items(), key=lambda item: _place(item[1])))
    keys = {key: place for place, key in enumerate(ordered["grid"])}
    for section in ("subspaces", "spans"):
        for part in ("grid", "relations"):
            if part in ordered.get(section, {}):
                ordered[section][part] = dict(sorted(ordered[section][part].items(), key=lambda item: keys[item[0]]))
    rank = {name: place for place, name in enumerate(MEASURES)}
    names = sorted(ordered["summary"], key=lambda name: (rank.get(name, len(rank)), name))
    ordered["summary"] = {name: ordered["summary"][name] for name in names}
    for model in (ordered["model_a"], ordered["model_b"]):
        model["saes"] = dict(sorted(model["saes"].items(), key=lambda item: label_order(item[1]["layer"], item[0])))
    return ordered


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
