"""Documents and their sources: numbers are written from the result files, and a document that differs is found."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import bound_numbers
import paper_numbers
import pytest
import walk_through

from semconv import InputError

ROOT = Path(__file__).parents[2]
TEXT = """# Title

The score is 0.103, and there are 1,314 pairs; 10.103 is not it.
<!-- numbers: r.json 0.103 = grid.score |
1,314 = pairs -->

<!-- from t.md, part 2, headings + 1 -->
old
<!-- end -->
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(paper_numbers, "ROOT", tmp_path)
    monkeypatch.setattr(paper_numbers, "DOCUMENTS", ("d.md",))
    monkeypatch.setattr(paper_numbers, "figures", dict)
    (tmp_path / "r.json").write_text(json.dumps({"grid": {"score": 0.10349}, "pairs": 1314, "name": "x"}))
    (tmp_path / "t.md").write_text("# One\n\n# Two\ntext\n")
    (tmp_path / "d.md").write_text(TEXT)
    return paper_numbers


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["paper_numbers", *arguments])
    script.read_json.cache_clear()
    return script.main()


def test_a_document_is_written_once_and_then_stands(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run(script, monkeypatch, "--check") == 1
    assert "d.md, line 8: differs from its source" in capsys.readouterr().out
    assert (tmp_path / "d.md").read_text() == TEXT
    assert run(script, monkeypatch) == 0
    assert (tmp_path / "d.md").read_text() == TEXT.replace("old", "## Two\ntext")
    assert run(script, monkeypatch, "--check") == 0


def test_a_number_that_moved_is_found_and_written(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(script, monkeypatch)
    (tmp_path / "r.json").write_text(json.dumps({"grid": {"score": 0.2096}, "pairs": 1300}))
    assert run(script, monkeypatch, "--check") == 1
    assert run(script, monkeypatch) == 0
    text = (tmp_path / "d.md").read_text()
    assert "The score is 0.210, and there are 1,300 pairs; 10.103 is not it." in text
    assert "0.210 = grid.score |\n1,300 = pairs -->" in text
    assert run(script, monkeypatch, "--check") == 0


def test_equal_numbers_are_told_apart_by_their_order_and_never_written_over(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that takes the other's old value, too."""
    (tmp_path / "d.md").write_text(
        "\n0.5 here, 0.5 there, 0.7 last.\n<!-- numbers: r.json 0.7 = c | 0.5 = a | 0.5 = b -->\n"
    )
    (tmp_path / "r.json").write_text(json.dumps({"a": 0.7, "b": 0.6, "c": 0.5}))
    run(script, monkeypatch)
    assert (
        "0.7 here, 0.6 there, 0.5 last.\n<!-- numbers: r.json 0.5 = c | 0.7 = a | 0.6 = b -->"
        in (tmp_path / "d.md").read_text()
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("score is 0.103", "score is 0.104", "0.103 is quoted 1 times and stands 0 times in the paragraph that begins"),
        ("10.103", "0.103", "0.103 is quoted 1 times and stands 2 times"),
        ("grid.score", "grid.scor", "did you mean 'score'"),
        ("= pairs", "= name", "only numbers can be quoted"),
        ("part 2", "part 3", "has parts 1 to 2, asked for 3 to 3"),
        ("from t.md, part 2, headings + 1", "made: none", "no table is called 'none'"),
        ("<!-- end -->", "<!-- end-->", "has 1 comments that begin with '<!-- made:|from ', of which 0 can be read"),
        ("numbers: r", "numbers:r", "has 1 comments that begin with '<!-- numbers', of which 0 can be read"),
    ],
)
def test_what_cannot_be_made_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
):
    (tmp_path / "d.md").write_text(TEXT.replace(old, new))
    with pytest.raises(InputError, match=message):
        run(script, monkeypatch, "--check")


def test_the_walk_through_runs_every_experiment_that_artifact_md_says_was_run():
    """And what it ran and measured stands in `measurements/runs.json`."""
    text = (ROOT / "artifact.md").read_text()
    experiments = text[text.index("**E1, ") : text.index("**E6, ")]
    told = re.findall(r"`((?:make|\.venv/bin/)[^`]*)`", experiments)
    assert len(told) >= 6
    assert set(told) <= set(walk_through.COMMANDS)
    assert walk_through.last_line("one\n\x1b[31m== 3 passed ==\x1b[0m\n.venv/bin/python x\n───\n") == "3 passed"
    runs = json.loads((ROOT / "measurements" / "runs.json").read_text())["runs"]
    assert {run["command"] for run in runs} <= set(walk_through.COMMANDS)


def test_a_number_of_a_sentence_about_results_that_no_comment_binds_is_found():
    quoted = "<!-- numbers: expected/mini/r.json"
    text = (
        "# d\n\nOf 3 layers.\n\n## What the mini suite shows\n\nRSA at layers 2 x 4 is 0.103, and 0.2 at layer 3 "
        f"(q < 0.05).\n{quoted} 0.103 = a -->\n\nOf 1,314 pairs 31 stay, 95%.\n\n## Next\n\nOf 9 things.\n\n"
        f"It is -0.5.\n{quoted} -0.5 = b -->\n\nIt is 7 or 8.\n<!-- numbers: x.json 7 = b -->\n"
    )
    found = [one.split(" in the paragraph")[0] for one in bound_numbers.unbound("README.md", text, "expected/mini")]
    assert found == ["README.md: 0.2", "README.md: 1,314", "README.md: 31"]
    other = bound_numbers.unbound("other.md", text.replace("-0.5.", "-0.5 of 4."), "expected/mini")
    assert [one.split(" in the paragraph")[0] for one in other] == ["other.md: 0.2", "other.md: 4"]


def test_a_number_that_is_bound_to_nothing_fails_the_check(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run(script, monkeypatch)
    monkeypatch.setitem(bound_numbers.SECTIONS, "d.md", ("Results",))
    (tmp_path / "d.md").write_text("# d\n\n## Results\n\nThe score is 0.2.\n")
    assert run(script, monkeypatch, "--check") == 1
    assert "d.md: 0.2 in the paragraph 'The score is 0.2.': bound to no source" in capsys.readouterr().out


def test_claims_and_the_calibration_study_are_counted_from_their_files():
    claims = bound_numbers.counts(ROOT / "claims.toml", ROOT / "expected" / "mini")
    assert sum(claims[name] for name in ("checked", "others")) == (ROOT / "claims.toml").read_text().count("[[claim]]")
    assert 0 < claims["passed"] <= claims["checked"]
    study = bound_numbers.counts(ROOT / "measurements" / "calibration.md", ROOT / "expected" / "mini")
    assert 0 < study["uniform"] <= study["tests"]
