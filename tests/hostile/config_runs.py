"""Hostile runs and foreign caches, numbers in suites, and results that are verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from safetensors.torch import save_file

from semconv.runs.crate import METADATA
from semconv.system.files import sha256_of_file
from semconv.system.shape import plain
from tests._helpers.made_up import results
from tests.hostile.configs import Arguments, Hostile


def _run_with(change: Callable[[Path], str]) -> Callable[[Path, Path], Arguments]:
    """A run folder in which one file is changed, and listed as it is then; `change` returns its name."""

    def make(tiny: Path, folder: Path) -> Arguments:
        for name in ("stores", "decoders", "tokens-*"):
            assert list((tiny / "run").glob(name))  # what does not travel
        shutil.copytree(tiny / "run", folder / "run", ignore=shutil.ignore_patterns("stores", "decoders", "tokens-*"))
        file = folder / "run" / change(folder / "run")
        crate = json.loads((folder / "run" / METADATA).read_text())
        entity = next(item for item in crate["@graph"] if item["@id"] == file.name)
        entity |= {"sha256": sha256_of_file(file), "contentSize": str(file.stat().st_size)}
        (folder / "run" / METADATA).write_text(json.dumps(crate))
        return ["report", "--from", folder / "run", "--out", folder / "made"]

    return make


def _results(path: str, value: Any) -> Callable[[Path, Path], Arguments]:
    """Results that state something else; `...` takes it out."""

    def change(run: Path) -> str:
        results = table = json.loads((run / "results.json").read_text())
        *before, last = path.split(".")
        for name in before:
            table = table[name]
        table[last] = value
        if value is ...:
            del table[last]
        (run / "results.json").write_text(json.dumps(results))
        return "results.json"

    return _run_with(change)


def _table(name: str, column: str, values: list[Any], kind: Any = None) -> Callable[[Path, Path], Arguments]:
    """A table of the run with other values in the first rows of a column."""

    def change(run: Path) -> str:
        table = parquet.read_table(run / name)
        place = table.column_names.index(column)
        changed = [*values, *table[column].to_pylist()[len(values) :]]
        array = pa.array(changed[: table.num_rows], kind or table.schema.field(column).type)
        parquet.write_table(table.set_column(place, column, array), run / name)
        return name

    return _run_with(change)


def _not_utf8(run: Path) -> str:
    table = parquet.read_table(run / "contexts.parquet")
    bad = pa.array([b"\xff"] * table.num_rows, pa.binary()).view(pa.string())
    parquet.write_table(table.set_column(6, "before", bad), run / "contexts.parquet")
    return "contexts.parquet"


SAE_0 = "model_a.saes.0"
RUNS = [
    Hostile("contexts with NaN", _table("contexts.parquet", "activation", [float("nan")]), "column activation"),
    Hostile("contexts with infinity", _table("contexts.parquet", "activation", [float("inf")]), "column activation"),
    Hostile("contexts below zero", _table("contexts.parquet", "activation", [-1.0]), "column activation"),
    Hostile("contexts without a value", _table("contexts.parquet", "activation", [None]), "column activation"),
    Hostile(
        "contexts of text for numbers",
        _table("contexts.parquet", "activation", ["x"] * 10**4, pa.string()),
        "must be float",
    ),
    Hostile("contexts of feature -1", _table("contexts.parquet", "feature", [-1]), "column feature"),
    Hostile("contexts of document -5", _table("contexts.parquet", "document", [-5]), "column document"),
    Hostile("contexts that are not UTF-8", _run_with(_not_utf8), "contexts.parquet is damaged"),
    Hostile("pairs without top tokens", _table("pairs.parquet", "top_tokens_a", [None]), "top_tokens_a"),
    Hostile("pairs with half a list", _table("pairs.parquet", "top_tokens_a", [["a", None]]), "top_tokens_a"),
    Hostile("pairs with NaN", _table("pairs.parquet", "r", [float("nan")]), "pairs.parquet"),
    *(
        Hostile(f"results with {path} = {str(value)[:20]}", _results(path, value))
        for path, values in {
            "corpus": (..., None, [], "x"),
            "corpus.n_tokens": (..., "many", -1, 1.5, True, 10**400, [1]),
            "corpus.context": (None, "x"),
            "corpus.rows": ("scattered", 3, ["packed"]),
            "corpus.bos_rule": (None, 7),
            "corpus.excluded": ({"none such": 3}, [1], {"bos": "x"}),
            "corpus.sinks": (None, 3, {}),
            "corpus.sinks.multiple": ("x", None),
            "corpus.b": ({}, 3),
            "read.versions": ([], {"torch": 2}),
            "read.controls": (3, {"twin": 3}, {"twin": {"a": []}}),
            "model_a": (..., [], None),
            "model_a.saes": ([], {}, {"0": None}, {"9": {}}),
            f"{SAE_0}.layer": ("x", -1, None),
            f"{SAE_0}.hook": (None, 3, ["x"]),
            f"{SAE_0}.fit": (None, [], {"loss": 3}, {"explained_variance": "x"}, {"tokens": "x"}),
            f"{SAE_0}.l0": ("x", None, float("nan"), []),
            f"{SAE_0}.dead_share": (None, "x", {}),
            f"{SAE_0}.remarks": (None, "x", [3]),
            f"{SAE_0}.activations_sha256": (None, 12),
            "grid": (..., [], {}),
            "controls": ([], {"pairs": []}, None),
            "summary": (3,),
            "fast": (None, "x"),
            "suite_sha256": (None, 3),
        }.items()
        for value in values
    ),
]


def _cache(name: str = "0_3.safetensors", **changed: torch.Tensor | None) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "cache").mkdir()
        locations = torch.tensor([[0, 0, 1], [1, 2, 3]])
        right = {"locations": locations, "activations": torch.ones(2).half(), "tokens": torch.arange(8).reshape(2, 4)}
        tensors = {key: tensor for key, tensor in {**right, **changed}.items() if tensor is not None}
        save_file(tensors, folder / "cache" / name)
        return ["store", "import-delphi", folder / "cache", "--out", folder / "store"]

    return make


CACHES = [
    *(
        Hostile(f"{name} of {tensor.dtype} {list(tensor.shape)}", _cache(**{name: tensor}), "malformed")
        for name, tensors in {
            "locations": (
                torch.tensor(1),
                torch.ones(6).long(),
                torch.ones(2, 4).long(),
                torch.ones(1, 2, 3).long(),
                torch.ones(2, 3),
                torch.ones(2, 3).bool(),
                torch.full((2, 3), -1),
                torch.full((2, 3), 2**62),
                torch.ones(1, 3).long(),
            ),
            "activations": (torch.tensor(1.0), torch.ones(2, 1), torch.ones(2).long(), torch.ones(3)),
            "tokens": (
                torch.tensor(1),
                torch.arange(8),
                torch.ones(2, 4),
                torch.ones(2, 2, 2).long(),
                torch.ones(0, 4).long(),
            ),
        }.items()
        for tensor in tensors
    ),
    Hostile("activations that are NaN", _cache(activations=torch.full((2,), torch.nan)), "finite"),
    Hostile("activations below zero", _cache(activations=torch.full((2,), -1.0)), ">= 0"),
    Hostile("activations beyond float16", _cache(activations=torch.full((2,), 1e9)), "finite"),
    Hostile("no locations", _cache(locations=None), "it has no 'locations'"),
    Hostile("10**15 features", _cache(f"0_{10**15}.safetensors"), "features below"),
    Hostile("2**40 features", _cache(f"0_{2**40}.safetensors"), "features below"),
]


def _suite(old: str, new: str) -> Callable[[Path, Path], Arguments]:
    def make(tiny: Path, folder: Path) -> Arguments:
        text = (tiny / "tiny.toml").read_text()
        assert old in text
        (folder / "tiny.toml").write_text(text.replace(old, new, 1))
        return ["encode", folder / "tiny.toml", "--out", folder / "run"]

    return make


VALUES = ("1" + "0" * 400, "1" + "0" * 22, "-1", "2.5", "true", "nan", '"8"', "[8]")
NUMBERS = [
    Hostile(f"{new[:30]} in a suite", _suite(old, new), "digits" if len(new) > 400 else new.partition(" =")[0])
    for old, new in [
        *(("context = 32", f"context = {value}") for value in VALUES),
        *(("n_permutations = 99", f"seed = {value}") for value in VALUES),
        *(
            (old, f"{old.partition(' =')[0]} = {value}")
            for old in ("max_tokens = 4000", "batch = 8", "min_activations = 5", "svcca_k = 4", "untrained_seed = 1")
            for value in ("1" + "0" * 22, "-1", "2.5", "true")
        ),
        *((old, f"{old.partition(' =')[0]} = -1") for old in ("min_pairs = 10", "n_rematch = 5", "width = 4")),
        *(("svcca_k = 4", f"svcca_threshold = {value}") for value in ("nan", "inf", "0", "true", "1e400")),
        ("min_pairs = 10", "candidates = 1000000000"),
        ("min_pairs = 10", "top_tokens = 1000000000"),
        ("min_pairs = 10", "sink_norm = nan"),
        ("n_permutations = 99", "n_strata = 0"),
    ]
]


def _verified(results: str, path: str = "suite") -> Callable[[Path, Path], Arguments]:
    """A run folder with results of one's own, and a claim about them."""

    def make(tiny: Path, folder: Path) -> Arguments:
        (folder / "results.json").write_text(results)
        claim = {"id": "c", "statement": "s", "source": "s", "suite": "tiny", "path": path, "comparison": "equal"}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in claim.items())
        (folder / "claims.toml").write_text(f"[[claim]]\n{lines}\nexpected = 1\n")
        return ["verify", folder, "--claims", folder / "claims.toml"]

    return make


WHOLE = json.dumps({**plain(results()), "suite": "tiny", "warnings": ["one"]})
VERIFIED = [
    Hostile("nothing", _verified("")),
    Hostile("a list", _verified("[]"), "must hold a JSON object"),
    Hostile("no suite", _verified("{}"), "it names no suite"),
    Hostile("a suite of a number", _verified('{"suite": 3}'), "it names no suite"),
    Hostile("deep tables", _verified('{"suite": ' + "[" * 100_000), "nested too deep"),
    Hostile("warnings of a number", _verified('{"suite": "tiny", "warnings": 3}'), "must be a list of texts"),
    Hostile("warnings of tables", _verified('{"suite": "tiny", "warnings": [{}]}'), "must be a list of texts"),
    Hostile("a place of 5,000 digits", _verified(WHOLE, f"warnings.{'9' * 5000}"), "no 'warnings.999"),
    Hostile("a place that is no digit", _verified(WHOLE, "warnings.\u00b2"), "results have no"),
]
