"""The results of a run as typed objects: what is read is what was written, and what does not fit is one sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semconv._paths import PACKAGE, shipped
from semconv.results import schema
from semconv.results.read import read_results
from semconv.results.schema import LayerPair, NullTest, Reason, Results, Score
from semconv.study.order import in_order
from semconv.system.errors import InputError
from semconv.system.shape import json_schema, plain, read_as

REFERENCE = shipped("expected") / "mini"
RESULTS = json.loads((REFERENCE / "results.json").read_text())


def test_the_reference_run_is_read_and_written_back_as_it_was():
    results = read_results(REFERENCE)
    assert json.dumps(plain(results), sort_keys=True) == json.dumps(RESULTS, sort_keys=True)
    pair = results.grid["0x0"]
    assert isinstance(pair, LayerPair)
    score = pair.measures["rsa"]
    assert isinstance(score, Score)
    assert isinstance(score.nulls["shuffle"], NullTest)


def test_a_file_is_read_at_once_as_it_is_read_by_way_of_plain_values(tmp_path: Path):
    """Also one that only the long way reads: a key that stands twice with one value."""
    at_once = read_results(REFERENCE)
    assert at_once == read_as(Results, RESULTS, "r")
    assert in_order(at_once).grid is not at_once.grid  # in the order of layers, not of names
    assert next(iter(in_order(at_once).grid.values())) is at_once.grid["0x0"]  # nothing is held twice
    text = (REFERENCE / "results.json").read_text()
    (tmp_path / "results.json").write_text(text.replace('"fast":', '"fast": false, "fast":', 1))
    assert read_results(tmp_path) == at_once
    for wrong, told in (('"fast": 1', "fast in results.json"), ('"fast": false, "fast": true', "stands twice")):
        (tmp_path / "results.json").write_text(text.replace('"fast": false', wrong, 1))
        with pytest.raises(InputError, match=told):
            read_results(tmp_path)


@pytest.mark.slow
def test_the_shipped_json_schema_is_that_of_the_dataclasses_and_the_reference_run_keeps_it():
    jsonschema = pytest.importorskip("jsonschema")
    shipped_schema = json.loads((PACKAGE / "results" / "results.schema.json").read_text())
    dialect = shipped_schema.pop("$schema")
    assert shipped_schema == json_schema(Results)
    validator = jsonschema.validators.validator_for({"$schema": dialect})
    validator.check_schema(shipped_schema)
    assert list(validator(shipped_schema).iter_errors(RESULTS)) == []
    wrong = {**RESULTS, "fast": 1}
    assert [list(error.path) for error in validator(shipped_schema).iter_errors(wrong)] == [["fast"]]


def test_every_field_of_the_json_schema_says_what_it_is():
    """A field of one part alone is described by that part; one that a class inherits, by the class it comes from."""
    parts = {"Results": json_schema(Results), **json_schema(Results)["$defs"]}
    silent = [
        f"{name}.{field}"
        for name, part in parts.items()
        for field, of_field in part["properties"].items()
        if field in vars(schema)[name].__annotations__ and not {"description", "$ref"} & of_field.keys()
    ]
    assert len(parts) > 25
    assert [name for name, part in parts.items() if not part["description"]] == []
    assert silent == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("model_a.saes.0.fit.loss.tokens", "x", r"^model_a\.saes\.0\.fit\.loss\.tokens in r must be a whole n"),
        ("corpus.sinks.multiple", ..., r"^corpus\.sinks\.multiple in r is missing$"),
        ("corpus.rows", "x", r"^corpus\.rows in r must be packed or documents, got 'x'$"),
        ("corpus.own", 1, r"^corpus in r has 'own', which is not known$"),
        ("own", 1, r"^the top in r has 'own', which is not known$"),
        ("grid.0x0.measures.rsa.score", float("nan"), r"measures\.rsa\.score in r must be a finite number, got nan$"),
        ("grid.0x0.measures.rsa", 3, r"^grid\.0x0\.measures\.rsa in r must be a table, got 3$"),
        ("grid.0x0.pairs", True, r"^grid\.0x0\.pairs in r must be a whole number, got True$"),
        ("grid.0x0.pairs", -1, r"^grid\.0x0\.pairs in r must be at least 0, got -1$"),
        ("grid.0x0.filters", {}, r"^grid\.0x0\.filters in r must be a list, got \{\}$"),
        ("fast", "x" * 100, r"^fast in r must be true or false, got 'x{59}\.\.\.$"),
        ("warnings", [1], r"^warnings\.0 in r must be text, got 1$"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(path: str, value: Any, sentence: str):
    with pytest.raises(InputError, match=sentence):
        read_as(Results, changed(RESULTS, tuple(path.split(".")), value), "r")


def changed(results: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The results with one value replaced, or removed where it is `...`."""
    out = copy.deepcopy(results)
    table = out
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    if value is ...:
        del table[path[-1]]
    return out


def test_a_score_and_the_reason_for_none_are_told_apart():
    none = changed(RESULTS, ("grid", "0x0", "measures", "rsa"), {"reason": "too few"})
    assert read_as(Results, none, "r").grid["0x0"].measures["rsa"] == Reason(reason="too few")
    both = changed(RESULTS, ("grid", "0x0", "measures", "rsa", "reason"), "too few")
    with pytest.raises(InputError, match="which is not known"):
        read_as(Results, both, "r")


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field, of tables that hold many alike only the first."""
    yield path
    if isinstance(value, dict):
        many = path[-1:] in {("saes",), ("grid",), ("measures",), ("nulls",), ("summary",), ("against",)}
        for name in list(value)[:1] if many else value:
            yield from places(value[name], (*path, name))


@pytest.mark.slow
@pytest.mark.parametrize("section", ["corpus", "model_a", "read", "null", "grid", "summary", "published"])
def test_whatever_another_kind_of_value_is_put_in_is_refused_or_read_as_it_is(section: str):
    others = (None, True, -1, 2, 0.5, "x", [], ["x"], {}, {"x": 1}, ...)
    small = {**EMPTY, section: RESULTS[section]}
    refused, sentences = 0, list[str]()
    for path in places(small[section], (section,)):
        for value in others:
            results = changed(small, path, value)
            try:
                read = read_as(Results, results, "r")
            except InputError as error:
                refused += 1
                sentences.append(str(error))
                continue
            kept = plain(read)
            assert json.dumps(kept, sort_keys=True) == json.dumps(without_nulls(results, kept), sort_keys=True)
    assert refused > 20
    assert not any("\n" in sentence for sentence in sentences)


def without_nulls(value: Any, kept: Any) -> Any:
    """The value without what is null and was left out, whole numbers of floats as floats."""
    if isinstance(value, dict) and isinstance(kept, dict):
        return {k: without_nulls(v, kept.get(k)) for k, v in value.items() if k in kept or v is not None}
    if isinstance(value, list) and isinstance(kept, list):
        return [without_nulls(*both) for both in zip(value, kept, strict=True)]
    return float(value) if type(kept) is float and type(value) is int else value


_FIRST = {key: RESULTS["grid"][key] for key in list(RESULTS["grid"])[:1]}
EMPTY: dict[str, Any] = {
    **{name: RESULTS[name] for name in ("suite", "suite_sha256", "fast", "null", "corpus", "read")},
    **{name: {**RESULTS[name], "saes": {}} for name in ("model_a", "model_b")},
    "grid": _FIRST,
    "summary": {},
    "controls": {
        **{part: {} for part in ("self_match", "pairs", "strongest", "against")},
        **dict.fromkeys(("lowest_self_score", "lowest_self_r")),
    },
    "warnings": [],
}
"""Results with next to nothing in them."""
