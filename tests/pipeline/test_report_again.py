"""A report that fails loses nothing of its run, and is written again from the run folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.pipeline import report_again as module
from semconv.pipeline import reproduce as pipeline
from semconv.pipeline.report_again import report_again
from semconv.results.read import read_results
from semconv.runs.archive import write_archive
from semconv.runs.crate import METADATA, REPORT_COMMIT, check_crate, environment
from semconv.runs.run import Run
from semconv.suite.config import load_suite
from tests._helpers.commands import assert_one_sentence
from tests._helpers.run_folders import files_of_run, listed_again
from tests.conftest import portable, requires_models, semconv_cli

pytestmark = requires_models
TOLD = ("report.md", "index.html", "figures")


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run of one's own, with what travels of it."""
    for name in (METADATA, *portable(tiny_run)):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tiny_run / name, tmp_path / "run" / name)
    return tmp_path / "run"


def without_report(folder: Path) -> None:
    for name in TOLD[:2]:
        (folder / name).unlink()
    shutil.rmtree(folder / "figures")


def fails(*_: Any) -> None:
    raise ValueError("a chart cannot be drawn")


def test_a_lost_report_is_written_again_to_the_byte(copy: Path, tiny_run: Path):
    crate = (copy / METADATA).read_bytes()
    without_report(copy)
    assert not report_again(copy)
    assert (copy / METADATA).read_bytes() == crate
    assert files_of_run(copy) == {name: (tiny_run / name).read_bytes() for name in portable(tiny_run)}


def test_another_report_is_listed_with_the_code_that_wrote_it(copy: Path, tmp_path: Path):
    (copy / "report.md").write_text("as an earlier version wrote it")
    (copy / "figures" / "old.png").write_bytes(b"as it drew it")
    listed_again(copy, "report.md")
    done = semconv_cli("report", copy)
    assert done.returncode == 0, done.stderr
    assert "other bytes than before, listed in its crate" in done.stdout
    assert {entry.path for entry in check_crate(copy)} == portable(copy)
    assert "figures/old.png" not in portable(copy)
    graph = {item["@id"]: item for item in json.loads((copy / METADATA).read_text())["@graph"]}
    told = {item["@id"] for item in graph["#report"]["result"]}
    assert {"report.md", "index.html", "figures/rsa.png"} <= told
    assert not told & {item["@id"] for item in graph["#run"]["result"]}
    assert told <= {item["@id"] for item in graph["./"]["hasPart"]}
    assert environment(copy)[REPORT_COMMIT] == environment(copy)["commit"]
    write_archive(copy, tmp_path / "run.zip")
    verified = semconv_cli("verify", "--bundle", tmp_path / "run.zip", "--claims", copy / "claims.toml")
    assert verified.returncode == 0, verified.stderr
    assert "Report and page: what the results give, to the byte" in verified.stdout
    crate = (copy / METADATA).read_bytes()
    assert not report_again(copy)
    assert (copy / METADATA).read_bytes() == crate


def test_a_report_that_fails_leaves_a_whole_run_and_says_what_to_do(
    copy: Path, tiny_suite: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
):
    tasks = {path.stem for path in (copy / "tasks").glob("*.safetensors")}
    run = Run(load_suite(tiny_suite), copy, tasks=tasks)
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "write_report", fails)
        with pytest.raises(ValueError, match="a chart cannot be drawn") as caught:
            pipeline.publish(run, read_results(copy), tiny_suite.with_name("claims.toml"))
    assert f"`semconv report {copy}` writes these again" in caught.value.__notes__[0]
    assert not any((copy / name).exists() for name in TOLD)
    assert {entry.path for entry in check_crate(copy)} == portable(copy)
    assert report_again(copy)
    assert {entry.path for entry in check_crate(copy)} == portable(copy) == portable(tiny_run)
    for name in ("report.md", "index.html"):
        assert (copy / name).read_bytes() == (tiny_run / name).read_bytes()


def test_a_report_that_fails_leaves_the_one_before(copy: Path, monkeypatch: pytest.MonkeyPatch):
    before = files_of_run(copy), (copy / METADATA).read_bytes()
    monkeypatch.setattr("semconv.report.write_page", fails)
    with pytest.raises(ValueError, match="cannot be drawn"):
        module.report_again(copy)
    assert (files_of_run(copy), (copy / METADATA).read_bytes()) == before


def test_what_is_no_whole_run_is_refused(copy: Path, tmp_path: Path):
    def refused(arguments: tuple[str | Path, ...], sentence: str) -> None:
        assert_one_sentence(semconv_cli("report", *arguments), sentence)

    refused((tmp_path / "none",), "holds no results.json; run `semconv reproduce` first")
    assert not (tmp_path / "none").exists()
    refused((copy / "results.json",), "is a file, a run folder is needed")
    refused((copy, "--out", tmp_path / "out"), "report takes a run folder, or --from and --out")
    refused(("--from", copy), "got --from")
    (copy / "pairs.parquet").rename(tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match=r"lists pairs.parquet, which is missing"):
        report_again(copy)
    (tmp_path / "pairs.parquet").rename(copy / "pairs.parquet")
    text = (copy / "results.json").read_text()
    (copy / "results.json").write_text(text.replace('"pairs_p"', '"pairs_p" '))
    with pytest.raises(InputError, match=r"results.json in .* is not the file that was listed"):
        report_again(copy)
    (copy / METADATA).unlink()
    with pytest.raises(InputError, match=r"holds no ro-crate-metadata.json; it is no finished run"):
        report_again(copy)
