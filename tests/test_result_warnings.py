"""What must be known before the results are believed: found, and said first in report, page and command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semconv.report.figures import control_rows
from semconv.report.markdown import write_markdown
from semconv.report.page import page
from semconv.report.verdict import floor_verdict
from semconv.results.read import load_results
from semconv.study.result_warnings import warnings_of
from tests.conftest import requires_models, semconv_cli
from tests.report.made_up import results
from tests.report.made_up_page import tables


def sinks(made: dict[str, Any], n_a: int, n_b: int, excluded: bool) -> None:
    made["corpus"]["sinks"].update(positions_a=n_a, positions_b=n_b, excluded=excluded)
    made["model_a"]["saes"]["1"].update(sinks=n_a, sinks_norm_share=0.64)
    made["model_b"]["saes"]["2"].update(sinks=n_b, sinks_norm_share=0.861)


def halves(made: dict[str, Any], *shares: float | None) -> None:
    for cell, share in zip(made["grid"].values(), shares, strict=True):
        cell["split_half"]["same_partner"] = share


Change = Callable[[dict[str, Any]], object]
CASES: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda r: None, []),
    "an SAE that explains little": (
        lambda r: r["model_b"]["saes"]["2"]["fit"].update(explained_variance=0.123),
        ["Less than 50% of the variance of its stream on this text is explained by SAE large/2 (12%): it may belong"],
    ),
    "SAEs of a control that explain less than the mean": (
        lambda r: r["read"]["controls"]["untrained"]["a"].update(explained_variance=-2.0),
        ["is explained by SAE small-untrained/1 (control untrained) (-200%)"],
    ),
    "the SAEs of trained models in their untrained twins, which is told once": (
        lambda r: (
            r["read"]["controls"]["untrained"]["a"].update(explained_variance=-2.0),
            r["controls"]["pairs"]["untrained"].update(trained_saes=True),
        ),
        ["The floor untrained reads untrained models"],
    ),
    "an SAE whose fit is not known": (
        lambda r: r["model_b"]["saes"]["2"].update(fit={"reason": "it predicts nothing"}),
        [],
    ),
    "sinks that count": (
        lambda r: sinks(r, 10, 10, excluded=False),
        [
            "10 positions of the text are attention sinks, where the norm of a stream is above 10 times its median; "
            "they hold 64% to 86% of the squared norm of the streams of 2 of 4 SAEs. Such positions count"
        ],
    ),
    "one sink": (
        lambda r: sinks(r, 1, 1, excluded=True),
        [
            "1 position of the text is an attention sink, where the norm of a stream is above 10 times its median; it "
            "holds 64% to 86% of the squared norm of the streams of 2 of 4 SAEs. Such positions are left out"
        ],
    ),
    "sinks that are left out": (
        lambda r: sinks(r, 10, 12, excluded=True),
        ["10 and 12 positions of the text are attention sinks"],
    ),
    "an SAE on both sides": (
        lambda r: r["model_b"]["saes"]["2"].update(activations_sha256=r["model_a"]["saes"]["1"]["activations_sha256"]),
        ["The features of small/1 and large/2 are active in exactly the same way: that is one SAE compared with"],
    ),
    "halves that do not agree in the middle of the grid": (
        lambda r: halves(r, 0.2, 0.3, 0.9),
        ["only 30% of the features find the same best partner"],
    ),
    "halves of which one cannot be told": (lambda r: halves(r, 0.2, 0.5, None), ["only 35%"]),
    "halves of which one does not agree": (lambda r: halves(r, 0.2, 0.41, 0.7), []),
    "dead features": (
        lambda r: r["model_a"]["saes"]["1"].update(dead_share=0.501),
        ["More than 50% of the features are active nowhere in this text: small/1 (50%)."],
    ),
    "a floor through an SAE of the trained models": (
        lambda r: r["controls"]["pairs"]["untrained"].update(trained_saes=True),
        ["The floor untrained reads untrained models through an SAE of the trained ones"],
    ),
    "a floor through SAEs of its own": (
        lambda r: r["controls"]["pairs"]["untrained"].update(trained_saes=False),
        [],
    ),
    "a floor at layers that were not compared": (
        lambda r: r["controls"]["pairs"]["untrained"].update(sae_a="7"),
        ["The floor untrained is at layers 7 x 2, which are not in the grid"],
    ),
    "a ceiling at layers that were not compared": (
        lambda r: r["controls"]["pairs"]["other SAE"].update(sae_a="7"),
        [],
    ),
}


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=list(CASES))
def test_what_is_warned_of(change: Change, told: list[str]):
    made = results()
    change(made)
    found = warnings_of(made)
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


def test_the_verdict_leaves_out_a_floor_that_is_none():
    made = results(0.34, 4.0, 0.61, 9.0)
    assert "by 0 of 2 measures" in floor_verdict(made)
    unfair = {**made["controls"]["pairs"]["untrained"], "trained_saes": True}
    made["controls"]["pairs"]["untrained"] = unfair
    assert floor_verdict(made).startswith("No untrained twin was compared")
    assert ("floor", "untrained (SAEs of the trained models)", unfair) in control_rows(made)
    made["controls"]["pairs"]["z"] = {**unfair, "trained_saes": False}
    made["controls"]["strongest"]["z"] = made["controls"]["strongest"].pop("untrained")
    assert "by 0 of 2 measures" in floor_verdict(made)


def test_warnings_stand_first_in_report_and_page(tmp_path: Path):
    made = results()
    for sentences in ([], ["One <b>thing</b>.", "Another."]):
        made["warnings"] = sentences
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
    made = {"suite": "tiny", "summary": {"rsa": {"layer_pairs": 2}}, "warnings": ["Mind [bold]this[/x]."]}
    (tmp_path / "results.json").write_text(json.dumps(made))
    told = semconv_cli("verify", tmp_path)
    assert "semconv: warning: Mind [bold]this[/x].\n" in told.stderr
    as_json = semconv_cli("verify", tmp_path, "--json")
    assert json.loads(as_json.stdout)["warnings"] == made["warnings"]
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
