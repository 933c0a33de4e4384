"""What results state of text, models and SAEs: whatever passes the check can be told, and nothing else is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from semconv._paths import shipped
from semconv.report.order import in_order
from semconv.report.what_was_read import fit_text, remark_lines, sae_rows, text_lines
from semconv.results.stated import SHAPE, check_stated
from semconv.study.result_warnings import warnings_of
from semconv.system.errors import InputError

RESULTS = json.loads((shipped("expected") / "mini" / "results.json").read_text())
MODELS = ("model_a", "model_b")
OTHERS: tuple[Any, ...] = (None, True, -1, 2, 0.5, float("nan"), "x", [], ["x"], {}, {"x": 1})


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field, of SAEs only those of the first."""
    yield path
    if isinstance(value, dict):
        for name in list(value)[:1] if path[1:] == ("saes",) else value:
            yield from places(value[name], (*path, name))


def told(results: dict[str, Any]) -> None:
    in_order({name: results[name] for name in ("grid", "summary", *MODELS)})
    for tell in (warnings_of, text_lines, sae_rows, fit_text, remark_lines):
        tell(results)


def test_the_reference_run_passes_and_names_of_fields_are_told():
    check_stated(RESULTS, "results.json")
    wrong = copy.deepcopy(RESULTS)
    wrong["model_a"]["saes"]["0"]["fit"]["loss"]["tokens"] = "x" * 100
    with pytest.raises(InputError, match=r"^model_a\.saes\.0\.fit\.loss\.tokens in r must be a whole number of at lea"):
        check_stated(wrong, "r")
    del wrong["corpus"]["sinks"]["multiple"]
    with pytest.raises(InputError, match=r"^corpus\.sinks\.multiple in r is missing$"):
        check_stated(wrong, "r")


@pytest.mark.parametrize("section", list(SHAPE))
def test_whatever_passes_can_be_told(section: str):
    refused = 0
    for path in places(RESULTS[section], (section,)):
        for value in (*OTHERS, ...):
            results = {**RESULTS, section: copy.deepcopy(RESULTS[section])}
            table = results
            for name in path[:-1]:
                table = table[name]
            table[path[-1]] = value
            if value is ...:
                del table[path[-1]]
            try:
                check_stated(results, "results.json")
            except InputError:
                refused += 1
                continue
            if all(results[model].get("saes", {}).keys() == RESULTS[model]["saes"].keys() for model in MODELS):
                told(results)  # that the SAEs are those of the suite is checked where the suite is known
    assert refused > 5
