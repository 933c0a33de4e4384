"""Hostile tokenizers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.config_models import HUGE
from tests.hostile.configs import Arguments, Hostile, _dictionary


def _tokenizer(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        shutil.copytree(tiny / "model_a", folder / "model")
        table = json.loads((tiny / "tokenizer.json").read_text())
        changed = change(table)
        (folder / "tokenizer.json").write_text(changed if isinstance(changed, str) else json.dumps(table))
        return [
            folder / "tokenizer.json" if one == tiny / "tokenizer.json" else one for one in _dictionary(tiny, folder)
        ]

    return make


def _added(**token: Any) -> Callable[[dict[str, Any]], object]:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return lambda table: table["added_tokens"].append({"id": 400, "content": "the", **usual, **token})


TOKENIZERS = [
    Hostile("nothing", _tokenizer(lambda table: "")),
    Hostile("a list", _tokenizer(lambda table: "[]")),
    Hostile("deep lists", _tokenizer(lambda table: "[" * 100_000)),
    Hostile("a model of no kind", _tokenizer(lambda table: table["model"].update(type="none such"))),
    Hostile("an id of 2**31", _tokenizer(lambda table: table["model"]["vocab"].update(zzz=2**31))),
    Hostile("an id below zero", _tokenizer(lambda table: table["model"]["vocab"].update(zzz=-1))),
    Hostile("an id of text", _tokenizer(lambda table: table["model"]["vocab"].update(zzz="x"))),
    Hostile("merges of tokens not there", _tokenizer(lambda table: table["model"].update(merges=[["q9", "z9"]]))),
    Hostile("an added token of 10**18", _tokenizer(_added(id=HUGE))),
    Hostile(
        "a pattern that is none",
        _tokenizer(
            lambda table: table.update(
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
            )
        ),
        "",
    ),
    Hostile("no vocabulary", _tokenizer(lambda table: table["model"].update(vocab={}, merges=[]))),
    Hostile(
        "a text that becomes nothing",
        _tokenizer(
            lambda table: table.update(normalizer={"type": "Replace", "pattern": {"Regex": ".|\\n"}, "content": ""})
        ),
        "",
    ),
]
