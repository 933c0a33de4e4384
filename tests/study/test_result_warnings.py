"""What must be known before the results are believed: found, and said first in report, page and command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semconv.report.markdown import write_markdown
from semconv.report.page import page
from semconv.report.result_values import control_rows
from semconv.report.verdict import floor_verdict
from semconv.results.read import load_results
from semconv.results.schema import Reason
from semconv.study.result_warnings import warnings_of
from semconv.system.shape import plain
from tests._helpers.made_up import LAYER_PAIRS, changed, results
from tests._helpers.made_up_page import tables
from tests.conftest import requires_models, semconv_cli

Change = dict[str, Any]


def sinks(n_a: int, n_b: int, excluded: bool) -> Change:
    found = {"positions_a": n_a, "positions_b": n_b, "excluded": excluded}
    saes = {"model_a.saes.1.sinks": n_a, "model_a.saes.1.sinks_norm_share": 0.64}
    saes |= {"model_b.saes.2.sinks": n_b, "model_b.saes.2.sinks_norm_share": 0.861}
    return {**{f"corpus.sinks.{name}": value for name, value in found.items()}, **saes}


def halves(*shares: float | None) -> Change:
    return {f"grid.{key}.split_half.same_partner": share for key, share in zip(LAYER_PAIRS, shares, strict=True)}


CASES: dict[str, tuple[Change, list[str]]] = {
    "nothing": ({}, []),
    "an SAE that explains little": (
        {"model_b.saes.2.fit.explained_variance": 0.123},
        ["Less than 50% of the variance of its stream on this text is explained by SAE large/2 (12%): it may belong"],
    ),
    "SAEs of a control that explain less than the mean": (
        {"read.controls.untrained.a.explained_variance": -2.0},
        ["is explained by SAE small-untrained/1 (control untrained) (-200%)"],
    ),
    "the SAEs of trained models in their untrained twins, which is told once": (
        {
            "read.controls.untrained.a.explained_variance": -2.0,
            "controls.pairs.untrained.trained_saes": True,
        },
        ["The floor untrained reads untrained models"],
    ),
    "an SAE whose fit is not known": (
        {"model_b.saes.2.fit": Reason(reason="it predicts nothing")},
        [],
    ),
    "sinks that count": (
        sinks(10, 10, excluded=False),
        [
            "10 positions of the text are attention sinks, where the norm of a stream is above 10 times its median; "
            "they hold 64% to 86% of the squared norm of the streams of 2 of 4 SAEs. Such positions count"
        ],
    ),
    "one sink": (
        sinks(1, 1, excluded=True),
        [
            "1 position of the text is an attention sink, where the norm of a stream is above 10 times its median; it "
            "holds 64% to 86% of the squared norm of the streams of 2 of 4 SAEs. Such positions are left out"
        ],
    ),
    "sinks that are left out": (
        sinks(10, 12, excluded=True),
        ["10 and 12 positions of the text are attention sinks"],
    ),
    "an SAE on both sides": (
        {"model_b.saes.2.activations_sha256": results().model_a.saes["1"].activations_sha256},
        ["The features of small/1 and large/2 are active in exactly the same way: that is one SAE compared with"],
    ),
    "halves that do not agree in the middle of the grid": (
        halves(0.2, 0.3, 0.9),
        ["only 30% of the features find the same best partner"],
    ),
    "halves of which one cannot be told": (halves(0.2, 0.5, None), ["only 35%"]),
    "halves of which one does not agree": (halves(0.2, 0.41, 0.7), []),
    "dead features": (
        {"model_a.saes.1.dead_share": 0.501},
        ["More than 50% of the features are active nowhere in this text: small/1 (50%)."],
    ),
    "a floor through an SAE of the trained models": (
        {"controls.pairs.untrained.trained_saes": True},
        ["The floor untrained reads untrained models through an SAE of the trained ones"],
    ),
    "a floor through SAEs of its own": (
        {"controls.pairs.untrained.trained_saes": False},
        [],
    ),
    "a floor at layers that were not compared": (
        {"controls.pairs.untrained.sae_a": "7"},
        ["The floor untrained is at layers 7 x 2, which are not in the grid"],
    ),
    "a ceiling at layers that were not compared": (
        {"controls.pairs.other SAE.sae_a": "7"},
        [],
    ),
}


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=list(CASES))
def test_what_is_warned_of(change: Change, told: list[str]):
    found = warnings_of(changed(results(), change))
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


def test_the_verdict_leaves_out_a_floor_that_is_none():
    made = results(0.34, 4.0, 0.61, 9.0)
    assert "They do not score higher by RSA" in floor_verdict(made)
    fair, strongest = made.controls.pairs["untrained"], made.controls.strongest["untrained"]
    unfair = replace(fair, trained_saes=True)
    made = changed(made, {"controls.pairs.untrained": unfair})
    assert floor_verdict(made).startswith("No untrained twin was compared")
    assert ("floor", "untrained (SAEs of the trained models)", unfair) in control_rows(made)
    made = changed(made, {"controls.pairs.z": fair, "controls.strongest": {"z": strongest}})
    assert "They do not score higher by RSA" in floor_verdict(made)


def test_warnings_stand_first_in_report_and_page(tmp_path: Path):
    for sentences in ((), ("One <b>thing</b>.", "Another.")):
        made = replace(results(), warnings=sentences)
        write_markdown(made, [], tmp_path / "report.md")
        text = (tmp_path / "report.md").read_text()
        first = text.split("\n\n")[1:3]
        assert (first == ["**Read this first.**", "- One &lt;b>thing&lt;/b>.\n- Another."]) == bool(sentences)
        shown = page(made, [], tables(), {})
        assert ("<li>One &lt;b&gt;thing&lt;/b&gt;.</li><li>Another.</li>" in shown) == bool(sentences)
        assert ("Read this first." in shown) == bool(sentences)
        if sentences:
            assert shown.index("Read this first.") < shown.index('class="lead"')


def test_warnings_are_told_on_stderr_and_in_json(tmp_path: Path):
    made = replace(results(), warnings=("Mind [bold]this[/x].",))
    (tmp_path / "results.json").write_text(json.dumps(plain(made)))
    told = semconv_cli("verify", tmp_path)
    assert "semconv: warning: Mind [bold]this[/x].\n" in told.stderr
    as_json = semconv_cli("verify", tmp_path, "--json")
    assert json.loads(as_json.stdout)["warnings"] == list(made.warnings)
    assert "warning" not in semconv_cli("--quiet", "verify", tmp_path).stderr


@requires_models
def test_the_twins_of_the_tiny_suite_have_the_saes_of_its_models(tiny_run: Path):
    made = load_results(tiny_run)
    told = [sentence.partition(" ")[2] for sentence in made["warnings"]]
    assert told[0].startswith("than 50% of the variance of its stream on this text is explained by SAE a/0")  # random
    assert any(t.startswith("floor twin reads untrained models through an SAE of the trained ones") for t in told)
    assert made["controls"]["against"]["rsa"]["floor"] is None
    first = "\n".join(f"- {sentence}" for sentence in made["warnings"])
    assert (tiny_run / "report.md").read_text().split("\n\n")[2] == first
