"""Suites: what is compared with what, read from TOML, checked on load and hashed into every result."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from semconv._paths import ASSETS, SUITES
from semconv.suite.models import ModelConfig, SaeConfig, SaeGrid
from semconv.suite.on_models import PositionKindsConfig, RulesConfig
from semconv.suite.schema import (
    AlignConfig,
    CompareConfig,
    ControlConfig,
    CorpusConfig,
    EncodeConfig,
    FunctionConfig,
    MatchConfig,
    NeedsConfig,
    NullConfig,
    PublishedConfig,
    SpanConfig,
    StreamsConfig,
    SubspaceConfig,
    SuiteConfig,
    SuiteFile,
)
from semconv.system.errors import InputError, nearest
from semconv.system.json_toml import read_json, read_toml
from semconv.system.shape import WithNearest, read_as

__all__ = [
    "PUBLISHED_STOP_TOKENS",
    "AlignConfig",
    "CompareConfig",
    "ControlConfig",
    "CorpusConfig",
    "EncodeConfig",
    "FunctionConfig",
    "MatchConfig",
    "ModelConfig",
    "NeedsConfig",
    "NullConfig",
    "PositionKindsConfig",
    "PublishedConfig",
    "RulesConfig",
    "SaeConfig",
    "SpanConfig",
    "StreamsConfig",
    "SubspaceConfig",
    "SuiteConfig",
    "load_suite",
    "resolve",
    "suite_from_json",
    "suite_in_words",
    "suite_names",
]

PUBLISHED_STOP_TOKENS = (".", "\n", "", "-", ",", "!", "?", "<bos>", "<pad>", "<eos>", "<|endoftext|>")
"""The stop list of the published protocol and the EOS of Gemma; spaces around a token are stripped before."""


def resolve(path: str) -> Path:
    """Returns the file behind a path of a suite: `asset:mini/x` lies inside the package, anything else is as given."""
    return ASSETS / path.removeprefix("asset:") if path.startswith("asset:") else Path(path)


class _OfSuites(WithNearest):
    """`FILE.SECTION.KEY must be int`, whichever of several controls or SAEs it is."""

    kinds: ClassVar = {
        **WithNearest.kinds,
        "bool_type": "bool",
        "float_type": "float",
        "int_type": "int",
        "string_type": "str",
    }

    def place(self, names: Sequence[str], what: str) -> str:
        return ".".join([what, *(name for name in names if not name.isdecimal())])

    def missing(self, names: Sequence[str], keys: Sequence[str], given: Sequence[str], what: str) -> str:
        return f"{self.place(names, what)} is incomplete: {' and '.join(map(repr, keys))}"


_SENTENCES = _OfSuites()


def _suite(table: dict[str, Any], where: str, folder: str = "", all_layers: bool = False) -> SuiteConfig:
    """Returns the suite that a table is, with every `sae_grid` of its models turned into `saes`."""
    table = _expanded(table, where, all_layers)
    controls = table.get("controls")
    if isinstance(controls, list):
        table["controls"] = [
            _expanded(control, f"{where}.controls", False) if isinstance(control, dict) else control
            for control in controls
        ]
    return SuiteConfig(**vars(read_as(SuiteFile, table, where, _SENTENCES)), folder=folder)


def _expanded(table: dict[str, Any], where: str, all_layers: bool) -> dict[str, Any]:
    """Returns a table with `model_a` and `model_b`, each with its `sae_grid`, if it has one, turned into `saes`."""
    table = dict(table)
    for side in ("model_a", "model_b"):
        model = table.get(side)
        if not isinstance(model, dict) or "sae_grid" not in model:
            continue
        if "saes" in model:
            raise InputError(f"{where}.{side} has both saes and sae_grid, one is needed")
        grid = read_as(SaeGrid, model["sae_grid"], f"{where}.{side}.sae_grid", _SENTENCES)
        others = {key: value for key, value in model.items() if key != "sae_grid"}
        table[side] = {**others, "saes": [asdict(sae) for sae in grid.saes(all_layers)]}
    return table


def suite_from_json(path: Path) -> SuiteConfig:
    """Reads the `suite.json` of a run: a suite with every default filled in.

    Raises:
        InputError: it is missing, damaged, or of a version of semconv with other settings.
    """
    return _suite(_without_none(read_json(path, f"suite {path} does not exist")), path.name)


def _without_none(value: Any) -> Any:
    """Returns the value without entries that are None, which TOML does not have."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def suite_names() -> list[str]:
    """Returns the names of the suites that ship with the package."""
    return sorted(p.stem for p in SUITES.glob("*.toml"))


def suite_in_words(name: str) -> str:
    """Returns a suite's name and whether it ships with semconv; a name that only looks like a shipped one is marked."""
    if name in suite_names():
        return f"{name}, which ships with semconv"
    looks = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isascii() and c.isalnum())
    like = next((known for known in suite_names() if known == looks), None)
    return f"{name}, none that ships" + (f"; it is not the suite {like}, whose name it looks like" if like else "")


def load_suite(name_or_path: str | Path, all_layers: bool = False) -> SuiteConfig:
    """Reads a suite by name, or from a user's own TOML file.

    Args:
        name_or_path: which suite.
        all_layers: take every layer of the models whose SAEs are a grid, not only those the suite lists.

    Raises:
        InputError: unknown suite, TOML that does not parse, unknown keys, or values out of range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SUITES / f"{name_or_path}.toml"
        if not path.exists():
            names = suite_names()
            raise InputError(
                f"unknown suite {str(name_or_path)!r}{nearest(str(name_or_path), names)}; there are {', '.join(names)}"
            )
    elif not path.exists():
        raise InputError(f"suite file {path} does not exist")
    suite = _suite(read_toml(path), path.name, os.path.abspath(path.parent), all_layers)
    if suite.name != path.stem:
        raise InputError(f"the suite in {path.name} must have name = {path.stem!r}, got {suite.name!r}")
    return suite
