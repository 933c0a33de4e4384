"""Results beside reference results: what is the same, what is near enough, what is not, and nothing is passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.results.read import read_results
from semconv.results.reference_run import (
    Comparison,
    Tolerance,
    Tolerances,
    check_reference,
    compare_values,
    compare_with_reference,
    load_tolerances,
    reference_of,
)
from semconv.results.schema import Results
from semconv.system.shape import plain
from tests._helpers.made_up import changed, results
from tests.conftest import semconv_cli

REFERENCE: dict[str, Any] = {
    "suite": "mini",
    "grid": {
        "0x1": {"score": 0.5, "pairs": 200, "sha256": "ab", "filters": [1, 2], "reason": None, "interval": [0, 1]}
    },
    "empty": {},
}
TOLERANCES = Tolerances(
    (
        Tolerance(("*.score",), absolute=0.01),
        Tolerance(("*.count", "*.pairs"), relative=0.02),
        Tolerance(("*.sha256",), compared=False),
    ),
    optional=("*.perhaps*",),
    most=2,
)


def compared(**cell: Any) -> Comparison:
    results = json.loads(json.dumps(REFERENCE))
    results["grid"]["0x1"] |= cell
    return compare_values(results, REFERENCE, TOLERANCES)


def test_the_same_results_are_identical_and_empty_tables_count():
    assert compared() == Comparison(values=9, identical=9, within=0, outside=[], left_out=0)


def test_within_and_outside_of_a_tolerance():
    assert compared(score=0.509, pairs=204).within == 2
    found = compared(score=0.5101, pairs=205)
    assert found.within == 0
    assert [(d.path, d.expected, d.observed) for d in found.outside] == [
        ("grid.0x1.pairs", 200, 205),
        ("grid.0x1.score", 0.5, 0.5101),
    ]
    assert found.outside[0].allowed == 4


@pytest.mark.parametrize("change", [{"score": None}, {"score": "0.5"}, {"pairs": True}, {"filters": [1]}, {"new": 1}])
def test_another_kind_a_missing_and_a_new_value_are_outside(change: dict[str, Any]):
    assert len(compared(**change).outside) == 1


def test_what_must_differ_is_not_compared():
    assert compared(sha256="cd") == compared()


def test_what_is_optional_may_be_in_only_one():
    found = compared(perhaps=[1, 2], surely=1)
    assert found.left_out == 2
    assert [d.path for d in found.outside] == ["grid.0x1.surely"]
    many = compared(perhaps=[1, 2, 3])
    assert (many.left_out, len(many.outside)) == (0, 3)


def fast_run() -> Results:
    """The made-up results as a fast run has them: without intervals, ceilings and what is known of their SAEs."""
    found = results()
    pairs = found.grid
    none = {f"grid.{key}.measures.{name}.interval": None for key in ("0x2", "1x2") for name in pairs[key].measures}
    return changed(found, {**none, "fast": True, "controls.pairs.other SAE": ..., "read.controls.other SAE": ...})


def test_a_fast_run_leaves_out_what_it_did_not_do_and_nothing_else():
    found = compare_with_reference(fast_run(), results(), TOLERANCES)
    assert found.outside == []
    ceiling = plain(results().controls.pairs["other SAE"])
    fits = plain(results().read.controls["other SAE"])
    settings, ends = 5, 2 * 4  # ends of intervals, of two layer pairs by two measures
    own = 2  # the rule that the suite matches by is not told apart from itself
    bests = 2 * (3 + 3)  # of two measures: which is the best, by what null, its score, and calibrated by three nulls
    assert found.left_out == settings + own + ends + bests + len(list(paths_of([ceiling, fits], "")))
    other = {"summary.rsa.best_score": 0.5, "summary.rsa.best_layer_pair": "0x2", "summary.rsa.ranked_by": "frequency"}
    by_another_null = compare_with_reference(changed(fast_run(), other), results(), TOLERANCES)
    assert (by_another_null.outside, by_another_null.left_out) == ([], found.left_out)
    full = changed(results(), other)
    assert {d.path for d in compare_with_reference(full, results(), TOLERANCES).outside} == set(other)
    changes = {"grid.0x2.measures.rsa.score": 0.9, "controls.pairs.untrained.measures.rsa": ...}
    found = compare_with_reference(changed(fast_run(), changes), results(), TOLERANCES)
    assert "grid.0x2.measures.rsa.score" in [d.path for d in found.outside]
    rest = [d.path for d in found.outside if d.path != "grid.0x2.measures.rsa.score"]
    assert rest
    assert all(path.startswith("controls.pairs.untrained.measures.rsa.") for path in rest)


def test_what_a_fast_run_leaves_out_is_missed_in_a_full_one():
    full = changed(fast_run(), {"fast": False})
    assert len(compare_with_reference(full, results(), TOLERANCES).outside) > 8


def test_a_fast_run_need_not_say_how_the_saes_of_ceilings_fit():
    """Those of a floor it must say."""
    without = compare_with_reference(changed(fast_run(), {"read.controls": {}}), results(), TOLERANCES)
    assert "read.controls.untrained.a.explained_variance" in [d.path for d in without.outside]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[tolerance]]\npaths = ['a']\nabsolut = 1", "did you mean 'absolute'"),
        ("[[tolerance]]\nabsolute = 1", r"needs paths, got \['absolute'\]"),
        ("[[tolerance]]\npaths = 'a'", "must be a list of patterns, got 'a'"),
        ("[[tolerance]]\npaths = ['a']\nabsolute = -1", "must be a number of at least 0, got -1"),
        ("[[tolerance]]\npaths = ['a']\ncompared = 'no'", "must be true or false, got 'no'"),
        ("[[tolerance]]\npaths = ['a']\nreason = 3", "must be a sentence, got 3"),
        ("optionel = ['a']", "found optionel"),
        ("[optional]\npaths = ['a']", "with paths and most"),
        ("[optional]\npaths = 'a'\nmost = 1", "must be a list of patterns, got 'a'"),
        ("[optional]\npaths = ['a']\nmost = -1", "must be a count, got -1"),
        ("tolerance = 3", "must hold \\[\\[tolerance\\]\\] tables"),
        ("[", "is not TOML"),
    ],
)
def test_bad_tolerances_are_refused(text: str, message: str, tmp_path: Path):
    (tmp_path / "tolerances.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_tolerances(tmp_path / "tolerances.toml")


def test_the_reference_of_another_suite_is_refused(tmp_path: Path):
    (tmp_path / "results.json").write_text(json.dumps(plain(results())))
    with pytest.raises(InputError, match="holds the reference of suite made-up, the run is of other"):
        check_reference(changed(results(), {"suite": "other"}), tmp_path)


def paths_of(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, f"{path}.{key}")
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from paths_of(inner, f"{path}.{place}")
    else:
        yield path, value


def test_the_tolerances_that_ship_are_narrow_and_have_reasons():
    folder = reference_of("mini")
    assert folder is not None
    tolerances = load_tolerances(folder / "tolerances.toml")
    assert all(t.reason for t in tolerances.each)
    limits = {
        "score": 0.005,
        "mean": 0.005,
        "shuffle.p": 0.003,
        "rematch.p": 0.03,
        "saturated": 0.0,
        "n_permutations": 0.0,
        "kind": 0.0,
    }
    seen = dict.fromkeys(limits, 0)
    values = list(paths_of(json.loads((folder / "results.json").read_text()), "results"))
    for path, _ in values:
        for name in (name for name in limits if path.endswith(f".{name}")):
            allowed = tolerances.of(path).allowed(0.0)
            assert allowed <= limits[name], path
            seen[name] += 1
    assert all(seen.values()), seen


@pytest.mark.slow
def test_the_reference_that_ships_is_itself_and_verifies(tmp_path: Path):
    """A changed score fails the command, with its path and what was allowed."""
    folder = reference_of("mini")
    assert folder is not None
    assert check_reference(read_results(folder), folder).outside == []
    shipped = json.loads((folder / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(shipped))
    good = semconv_cli("verify", tmp_path)
    assert good.returncode == 0, good.stdout
    assert "0 outside" in good.stdout
    shipped["grid"]["2x4"]["measures"]["rsa"]["score"] += 0.05
    (tmp_path / "results.json").write_text(json.dumps(shipped))
    bad = semconv_cli("verify", tmp_path)
    assert bad.returncode == 1
    assert "1 outside" in bad.stdout
    assert "grid.2x4.measures.rsa.score: expected" in bad.stdout
