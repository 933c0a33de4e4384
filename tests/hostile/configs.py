"""Hostile configs of models and SAEs, foreign caches and suites: what is changed, and a part of what is said of it.

Each is a name, a function that makes the input in an empty folder and returns the arguments of the command that reads
it, and a part of the sentence. The functions are given a folder with a tiny suite (`tests.conftest`) to copy from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Arguments = list[str | Path]


class Hostile(NamedTuple):
    """One hostile input."""

    name: str
    make: Callable[[Path, Path], Arguments]
    told: str = ""


def _edited(file: Path, changes: dict[str, Any]) -> None:
    """Changes settings in a JSON file; `None` takes one out, so null is written as ...."""
    table = json.loads(file.read_text())
    for key, value in changes.items():
        table.pop(key, None)
        if value is not None:
            table[key] = None if value is ... else value
    file.write_text(json.dumps(table))


def _dictionary(tiny: Path, folder: Path) -> Arguments:
    """The cheapest command that loads a model and runs it."""
    return [
        *("dictionary", folder / "model", "--kind", "random", "--layer", "0", "--text", tiny / "text.txt"),
        *("--tokenizer", tiny / "tokenizer.json", "--context", "16", "--tokens", "64", "--out", folder / "made"),
    ]
