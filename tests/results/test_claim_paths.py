"""Claims name values that results of their suite can have: a path that leads nowhere is refused before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semconv._paths import shipped
from semconv.results.claim_paths import KnownNames, check_paths
from semconv.results.claims import Claim, check_claims, default_claims_path, load_claims
from semconv.results.read import load_results
from semconv.results.schema import Reason
from semconv.study.known_names import known_names
from semconv.suite.config import NullConfig, SaeConfig, load_suite, suite_names
from semconv.system.errors import InputError
from tests._helpers.made_up import changed, results
from tests.conftest import requires_models, semconv_cli

MINI = known_names(load_suite("mini"))
LABELS = replace(load_suite("mini").model_a, saes=tuple(SaeConfig(f"blocks.{n}.hook_mlp_out", "s") for n in (1, 2)))


def claim(path: str, suite: str = "mini") -> Claim:
    return Claim("C1", "It holds.", "tests", suite, path, "equal", 1)


def places(value: Any, path: str = "") -> list[str]:
    """Paths of all values that are no table and no list."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [path]
    return [place for key, inner in items for place in places(inner, f"{path}.{key}".lstrip("."))]


def test_every_value_of_the_reference_run_can_be_claimed():
    """Before the run, by the names that the suite gives."""
    results = load_results(shipped("expected") / "mini")
    results["grid"] = {key: results["grid"][key] for key in ("0x0", "3x6")}
    results["subspaces"]["grid"] = {"2x4": results["subspaces"]["grid"]["2x4"]}
    results["corpus"].pop("b")  # null: both models have one tokenizer
    for of in results["summary"].values():
        if of["best_interval"] is None:  # where it would leave the range of the measure
            del of["best_interval"]
    found = places(results)
    assert len(found) > 3000
    check_paths([claim(path) for path in found], MINI)


@pytest.mark.parametrize("suite", suite_names())
def test_the_claims_that_ship_lead_to_values(suite: str):
    check_paths(load_claims(default_claims_path()), known_names(load_suite(suite)))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("sumary.rsa.best_score", "no 'sumary' (did you mean 'summary'?)"),
        ("summary.rsaa.best_score", "no 'rsaa' (did you mean 'rsa'?)"),
        ("summary.cka.best_score", "no 'cka'"),
        ("summary.rsa.best_scores", "no 'best_scores' (did you mean 'best_score'?)"),
        ("summary.rsa.best_score.x", "no 'x', for a value stands before it"),
        ("summary.rsa.best_interval.2", "no '2', for a place in a list is a number, from 0"),
        ("summary.rsa.best_interval", "a list stands there"),
        ("summary.rsa.nulls.shufle.mean", "no 'shufle' (did you mean 'shuffle'?)"),
        ("summary.rsa", "a table stands there"),
        ("summary", "a table stands there"),
        ("grid.2x4", "a table stands there"),
        ("grid.4x2.pairs", "no '4x2' (did you mean "),
        ("grid.2x4.measures.rsa.p", "no 'p'"),
        ("grid.2x4.filters.first.after", "no 'first', for a place in a list is a number, from 0"),
        ("grid.2x4.filters.9999999999.after", "no '9999999999'"),
        ("model_b.saes.9.l0", "no '9'"),
        ("controls.pairs.untrained-twin.pairs", "no 'untrained-twin' (did you mean 'untrained-twins'?)"),
        ("controls.self_match.4.lowest_r", "no '4'"),
        ("subspaces.grid.2x4.Weather.pairs", "no 'Weather'"),
        ("subspaces.grid.2x4.Time.measures.rsa.nulls.rematch.p", "no 'rematch'"),
        ("published.steps.x.rsa.score", "no 'x', for a place in a list is a number, from 0"),
        ("published.steps.0.cka.score", "no 'cka'"),
        ("", "no ''"),
        ("summary..best_score", "no ''"),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_refused_with_what_is_near(path: str, fault: str):
    with pytest.raises(InputError) as refused:
        check_paths([claim("suite"), claim(path)], MINI)
    assert str(refused.value).startswith(f"claim C1: path {path!r} leads to no value in results of suite mini: {fault}")


def test_labels_that_hold_dots_are_found_whole():
    suite = replace(load_suite("mini"), model_a=LABELS, controls=(), published=None, seeds=None)
    names = known_names(suite)
    for path in ("grid.1.mlp_out x 4.pairs", "model_a.saes.2.mlp_out.fit.loss.recovered"):
        check_paths([claim(path)], names)
    with pytest.raises(InputError, match="no '1'$"):
        check_paths([claim("grid.1.mlp_out.pairs")], names)
    with pytest.raises(InputError, match="no 'pair'"):
        check_paths([claim("grid.1.mlp_out x 4.pair")], names)


def test_of_two_names_that_fit_the_longer_counts():
    """As in results that are there."""
    names = KnownNames("mini", {"grid": ["2", "2.measures"]})
    check_paths([claim("grid.2.measures.pairs")], names)
    with pytest.raises(InputError, match="no 'rsa'"):
        check_paths([claim("grid.2.measures.rsa.score")], names)


@pytest.mark.parametrize(
    ("changes", "path", "fault"),
    [
        ({"published": None}, "published.layer_a", "no 'published'"),
        ({"subspaces": None}, "subspaces.rule", "no 'subspaces'"),
        ({"spans": None}, "spans.n_spans", "no 'spans'"),
        ({"null": NullConfig()}, "grid.2x4.rematch.pairs_p", "no 'rematch'"),
        ({"null": NullConfig()}, "summary.rsa.nulls.rematch.significant", "no 'rematch'"),
        ({"null": NullConfig(), "seeds": None}, "grid.2x4.pairs_interval.0", "no 'pairs_interval'"),
        ({"null": NullConfig()}, "grid.2x4.pairs_interval.0", ""),  # over seeds
        ({"seeds": None}, "controls.seeds.small/2.measures.rsa.lowest", "no 'seeds'"),
        ({"controls": ()}, "controls.against.rsa.floor", ""),
        ({"controls": ()}, "controls.pairs.untrained-twins.pairs", "no 'untrained-twins'"),
    ],
)
def test_what_a_suite_does_not_ask_for_cannot_be_claimed(changes: Mapping[str, Any], path: str, fault: str):
    check_paths([claim(path)], MINI)
    names = known_names(replace(load_suite("mini"), **changes))
    if not fault:
        check_paths([claim(path)], names)
        return
    with pytest.raises(InputError, match=fault):
        check_paths([claim(path)], names)


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        (["grid.12.a.b x 3.pairs", "model_a.saes.x.y.z.l0", "summary.mine.best_score"], ""),
        (["grid.12.a.b x 3.pair"], "no 'pair'"),
        (["summary.mine"], "a table stands there"),
        (["gird.2x4.pairs"], "did you mean 'grid'"),
    ],
)
def test_of_claims_about_other_suites_fields_are_checked(paths: Sequence[str], fault: str):
    claims = [claim(path, "another") for path in paths]
    if not fault:
        check_paths(claims, MINI)
        return
    with pytest.raises(InputError, match=f"results of suite another: .*{fault}"):
        check_paths(claims, MINI)


@requires_models
def test_a_wrong_path_ends_the_command_before_the_run(tiny_suite: Path, tmp_path: Path):
    text = tiny_suite.with_name("claims.toml").read_text()
    (tmp_path / "claims.toml").write_text(text.replace("summary.rsa.layer_pairs", "summary.rsa.layer_pair"))
    claims = ("--claims", tmp_path / "claims.toml")
    done = semconv_cli("reproduce", tiny_suite, "--out", tmp_path / "run", *claims, "--fast")
    assert done.returncode == 2
    assert done.stderr == (
        "semconv: claim T1: path 'summary.rsa.layer_pair' leads to no value in results of suite tiny: no 'layer_pair' "
        "(did you mean 'layer_pairs'?)\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["strongest_pairs_score", "interval", "interval.0"])
def test_what_is_not_defined_fails_its_claim_and_leaves_the_report(path: str):
    """Such a field is left out of the results; a claim on it fails, and what the run found is told all the same."""
    made = changed(
        results(), {"grid.1x2.measures.rsa.interval": None, "grid.1x2.measures.rsa.strongest_pairs_score": None}
    )
    one = Claim("c", "s", "s", made.suite, f"grid.1x2.measures.rsa.{path}", "at least", 0.1)
    (checked,) = check_claims([one], made)
    assert (checked.verdict, checked.observed) == ("FAIL", None)


@pytest.mark.parametrize(
    "path",
    [
        "depths.rsa.middle_above_ends.p",  # a reason stands there
        "depths.rsa.over_spans.statistic",  # the suite has no spans, and the field is left out
        "summary.rsa.nulls.shuffle.largest_p",  # no layer pair was scored, and the table is empty
    ],
)
def test_a_claim_on_what_a_run_could_not_compute_fails_and_does_not_end_the_run(path: str):
    made = results()
    depths = replace(made.depths["rsa"], middle_above_ends=Reason(reason="one layer"), over_spans=None)
    summary = {**made.summary, "rsa": replace(made.summary["rsa"], nulls={})}
    made = replace(made, depths={**made.depths, "rsa": depths}, summary=summary)
    (checked,) = check_claims([claim(path, made.suite)], made)
    assert (checked.observed, checked.verdict) == (None, "FAIL")
    with pytest.raises(InputError, match="no 'rso'"):
        check_claims([claim(path.replace("rsa", "rso"), made.suite)], made)
