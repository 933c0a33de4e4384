"""The whole path on a tiny suite: same results from scratch, from stores and after being killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semconv.activation_store import ActivationStore
from semconv.config import load_suite
from semconv.pipeline import Run, load_blocks
from semconv.pipeline import reproduce as run_suite
from tests.conftest import requires_models, semconv_cli

pytestmark = requires_models


@pytest.fixture(scope="module")
def finished(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one finished tiny run, made by the command line."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    done = semconv_cli("reproduce", tiny_suite, "--out", folder, "--claims", tiny_suite.with_name("claims.toml"))
    assert done.returncode == 0, done.stderr
    assert "1 claims pass, 0 fail" in done.stdout
    return folder


def test_a_run_leaves_results_report_figures_and_provenance(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    assert set(results["grid"]) == {"0x2", "1x2"}
    assert all(cell["measures"]["rsa"]["p"] >= 1 / 100 for cell in results["grid"].values())
    report = (finished / "report.md").read_text()
    assert "| 0x2 |" in report
    assert "| T1 |" in report
    for name in results["summary"]:
        assert (finished / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    provenance = json.loads((finished / "provenance.json").read_text())
    assert provenance["suite_sha256"] == results["suite_sha256"]
    assert provenance["versions"]["torch"]


def test_tokens_are_conserved_from_corpus_to_store(finished: Path, tiny_suite: Path):
    suite = load_suite(tiny_suite)
    blocks = load_blocks(Run(suite, finished))
    assert blocks.n_tokens >= suite.corpus.max_tokens
    results = json.loads((finished / "results.json").read_text())
    assert results["corpus"]["n_tokens"] == blocks.n_tokens
    for store in (finished / "stores").glob("*/*"):
        assert ActivationStore(store).load().n_tokens == blocks.n_tokens


def test_a_rerun_gives_the_same_bytes_without_running_a_model(
    finished: Path, tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
):
    import semconv.model_activations

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded although every store is complete")

    monkeypatch.setattr(semconv.model_activations, "load_model", refuse)
    before = (finished / "results.json").read_bytes()
    run_suite(Run(load_suite(tiny_suite), finished))
    assert (finished / "results.json").read_bytes() == before


def test_an_altered_shard_is_written_again(finished: Path, tiny_suite: Path):
    shard = next((finished / "stores" / "b").glob("*/shard-00000.safetensors"))
    before = (finished / "results.json").read_bytes()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    run_suite(Run(load_suite(tiny_suite), finished))
    assert (finished / "results.json").read_bytes() == before
    assert shard.read_bytes() != bytes(content)


@pytest.mark.slow
def test_kill_9_at_any_moment_then_the_same_command_gives_the_same_results(
    finished: Path, tiny_suite: Path, tmp_path: Path
):
    expected = (finished / "results.json").read_bytes()
    folder, claims = tmp_path / "killed", tiny_suite.with_name("claims.toml")
    command = [
        sys.executable,
        "-m",
        "semconv",
        "reproduce",
        str(tiny_suite),
        "--out",
        str(folder),
        "--claims",
        str(claims),
    ]
    killed = 0
    for wait in ("tokens-*.safetensors", "stores/a/*/manifest.json", "stores/b/*/manifest.json", "results.json"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(folder.glob(wait)):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 3, "the run ended before it could be killed"
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == 0
    assert (folder / "results.json").read_bytes() == expected
    assert not list(folder.rglob(".*partial*"))
