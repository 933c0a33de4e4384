"""The command line: help, JSON, one-sentence errors and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semconv import StoreIdentity, StoreWriter, best_matches
from semconv.cli import main
from semconv.core.device import why_no_cuda
from tests._helpers.commands import CLAIM, RESULTS, assert_one_sentence
from tests.conftest import random_activations, requires_models, semconv_cli


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "good.toml").write_text(CLAIM.format(expected=2))
    (tmp_path / "bad.toml").write_text(CLAIM.format(expected=3))
    return tmp_path


def test_help_lists_every_command():
    done = semconv_cli("--help")
    assert done.returncode == 0
    for command in ("reproduce", "verify", "doctor", "encode", "correlate", "store", "bench"):
        assert command in done.stdout


def test_verify_exit_codes_and_json(run: Path):
    passed = semconv_cli("verify", run, "--claims", run / "good.toml", "--json")
    assert passed.returncode == 0
    assert json.loads(passed.stdout)["claims"][0]["verdict"] == "pass"
    failed = semconv_cli("verify", run, "--claims", run / "bad.toml")
    assert failed.returncode == 1
    assert "0 claims pass, 1 fail" in failed.stdout


@pytest.mark.slow
def test_verify_refuses(run: Path, tmp_path: Path):
    assert_one_sentence(semconv_cli("verify", tmp_path / "none"), "holds no results.json")
    assert_one_sentence(semconv_cli("verify", run, "--claims", "none.toml"), "claims file none.toml does not exist")
    (run / "typo.toml").write_text(CLAIM.format(expected=2).replace("layer_pairs", "layer_pair"))
    assert_one_sentence(semconv_cli("verify", run, "--claims", run / "typo.toml"), "did you mean 'layer_pairs'")
    claim = CLAIM.format(expected=2)
    cases = {
        claim.replace("[[claim]]", "[[claims]]"): "must hold [[claim]] tables, found claims",
        "": "must hold [[claim]] tables, found nothing",
        f"x = 1\n{claim}": "must hold [[claim]] tables only, found 'x'",
        claim.replace('suite = "', 'suite = "other'): "holds no claim about suite ",
        re.sub(r"path = .*", "path = 3", claim): "path must be text, got 3",
    }
    for text, told in cases.items():
        (run / "odd.toml").write_text(text)
        assert_one_sentence(semconv_cli("verify", run, "--claims", run / "odd.toml"), told)


def test_markup_in_a_claim_is_text(run: Path):
    (run / "odd.toml").write_text(re.sub(r"statement = .*", 'statement = "[/bold] x"', CLAIM.format(expected=2)))
    done = semconv_cli("verify", run, "--claims", run / "odd.toml")
    assert done.returncode == 0, done.stderr
    assert "[/bold] x" in done.stdout


def test_unknown_suite_names_the_nearest_and_usage_errors_exit_2():
    assert_one_sentence(semconv_cli("reproduce", "mimi"), "unknown suite 'mimi' (did you mean 'mini'?)")
    assert semconv_cli("reproduce", "--no-such-option").returncode == 2


def test_debug_shows_the_traceback():
    done = semconv_cli("reproduce", "mimi", "--debug")
    assert "Traceback" in done.stderr
    assert done.returncode != 0


@pytest.mark.skipif(why_no_cuda() is None, reason="here the GPU can be used")
def test_a_gpu_that_is_not_there_is_one_sentence(tiny_suite: Path, tmp_path: Path):
    lacking = f"device cuda cannot be used: {why_no_cuda()}"
    assert_one_sentence(semconv_cli("encode", tiny_suite, "--out", tmp_path, "--device", "cuda"), lacking)
    done = semconv_cli("encode", tiny_suite, "--out", tmp_path, env={"SEMCONV_DEVICE": "gpu"})
    assert_one_sentence(done, "device must be one of auto, cpu, cuda, got 'gpu'")
    found = {
        f["what"]: f["found"] for f in json.loads(semconv_cli("doctor", tiny_suite, "--no-probe", "--json").stdout)
    }
    assert found["device"] == f"cpu ({why_no_cuda()})"


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "the GPU has too little memory"),
        (MemoryError(), 2, "this machine has too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "too little memory"),
        (ModuleNotFoundError("No module named 'x'", name="x"), 2, "needs the package x"),
        (KeyError("a\nb"), 3, "internal error, a fault of semconv and not of yours: KeyError: 'a\\nb'."),
        (RuntimeError("line\nline"), 3, "RuntimeError: line line."),
        (RecursionError("too deep"), 3, "--debug (SECURITY.md says where)"),
        (noted(OSError(28, "No space left on device"), "Make room"), 2, "No space left on device. Make room"),
    ],
)
def test_every_error_ends_in_one_sentence(
    error: Exception, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise error

    monkeypatch.setattr("semconv.cli.terminal.app", fail)
    monkeypatch.setattr(sys, "argv", ["semconv"])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr().err
    assert left.value.code == code
    assert told in shown
    assert len(shown.strip().splitlines()) == 1
    monkeypatch.setattr(sys, "argv", ["semconv", "--debug"])
    with pytest.raises(type(error)):
        main()


@requires_models
def test_a_layer_the_model_lacks_is_named(tiny_suite: Path, tmp_path: Path):
    path = tmp_path / "tiny.toml"
    text = tiny_suite.read_text().split("[[controls]]")[0]
    path.write_text(text.replace("blocks.2.hook_resid_post", "blocks.7.hook_resid_post"))
    done = semconv_cli("reproduce", path, "--out", tmp_path / "run", "--claims", tiny_suite.with_name("claims.toml"))
    assert done.returncode == 2
    assert "model b has no hook 'blocks.7.hook_resid_post'" in done.stderr
    assert "it has 3 blocks" in done.stderr


@requires_models
def test_other_tokens_than_the_suite_expects_are_refused(tiny_suite: Path, tmp_path: Path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text().replace("context = 32", 'context = 32\ntokens_sha256 = "0123"'))
    done = semconv_cli("encode", path, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "other tokens than the suite tiny expects" in done.stderr


def test_an_unwritable_folder_is_one_sentence(tiny_suite: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    done = semconv_cli(
        "reproduce", tiny_suite, "--out", tmp_path / "file", "--claims", tiny_suite.with_name("claims.toml")
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_doctor_tells_what_is_missing(tiny_suite: Path, tmp_path: Path):
    ready = semconv_cli("doctor", tiny_suite, "--no-probe", "--out", tmp_path)
    assert ready.returncode == 0, ready.stdout
    assert "Ready" in ready.stdout
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text().replace("max_tokens = ", "max_tokens = 99999999999"))
    done = semconv_cli("doctor", path, "--no-probe", "--json")
    assert done.returncode == 2
    missing = {f["what"] for f in json.loads(done.stdout) if f["fine"] is False}
    assert missing == {"memory", "disk"}
    refused = semconv_cli("reproduce", path, "--out", tmp_path / "run")
    assert refused.returncode == 2
    assert "suite tiny needs about" in refused.stderr
    assert "--anyway runs it nevertheless" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_correlate_writes_what_the_api_returns(tmp_path: Path):
    acts = random_activations(0, 50, 12), random_activations(1, 50, 9)
    for name, side in zip("ab", acts, strict=True):
        identity = StoreIdentity("m", "0", name, "1", "blocks.0.hook_resid_post", "2", 50, side.n_features, "float32")
        StoreWriter(tmp_path / name, identity).append(side, 0)
    done = semconv_cli("correlate", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "m.safetensors", "--k", "3")
    assert done.returncode == 0, done.stderr
    found, expected = load_file(tmp_path / "m.safetensors"), best_matches(*acts, k=3)
    assert found["a_to_b.index"].equal(expected.a_to_b.index)
    assert found["b_to_a.r"].equal(expected.b_to_a.r)
    assert_one_sentence(
        semconv_cli("correlate", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "m", "--k", "10"),
        "k must be between 1 and 9",
    )


@pytest.mark.slow
def test_no_compiler_is_one_sentence(tmp_path: Path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-temp", str(tmp_path), "--build-lib", str(tmp_path)],
        cwd=root,
        env={**os.environ, "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "a C++20 compiler is needed, found no 'no-such-compiler'" in done.stderr
    made = subprocess.run(
        [
            "make",
            "build",
            "CXX=no-such-compiler",
            f"VENV={tmp_path}/venv",
            f"PYTHON={sys.executable}",
            "-o",
            f"{tmp_path}/venv/.locked",
        ],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 2
    assert "a C++20 compiler is needed, found no 'no-such-compiler'" in made.stderr


@pytest.mark.slow
def test_cuda_asked_for_without_nvcc_is_an_error(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-temp", str(tmp_path), "--build-lib", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SEMCONV_CUDA": "1", "PATH": "/usr/bin:/bin", "CUDA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "SEMCONV_CUDA=1 needs" in done.stderr


@pytest.mark.slow
def test_help_is_in_groups_and_every_command_has_an_example():
    text = semconv_cli("--help").stdout
    places = [text.index(group) for group in ("Whole studies", "Stages, each usable alone", "This machine")]
    assert places == sorted(places)
    assert text.index("reproduce") < text.index("doctor ")
    for command in ("reproduce", "compare", "verify", "archive", "report", "export", "correlate", "dictionary"):
        assert f"Example: semconv {command}" in semconv_cli(command, "--help").stdout


def test_quiet_prints_errors_and_json_only(run: Path):
    quiet = semconv_cli("--quiet", "verify", run, "--claims", run / "good.toml")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    told = semconv_cli("-q", "verify", run, "--claims", run / "bad.toml", "--json")
    assert told.returncode == 1
    assert len(json.loads(told.stdout)["failed"]) == 1
    assert_one_sentence(semconv_cli("-q", "verify", run, "--claims", "none.toml"), "none.toml does not exist")


def test_version_and_no_colour_off_a_terminal(run: Path):
    assert semconv_cli("--version").stdout.startswith("semconv 0.")
    coloured = semconv_cli("verify", run, "--claims", run / "good.toml", env={"TERM": "xterm-256color"})
    assert "\x1b[" not in coloured.stdout


def test_a_suite_without_claims_is_told_so_in_one_line(run: Path, tmp_path: Path):
    """The claims that ship are about suites of ours; they are neither listed nor counted as not run."""
    told = semconv_cli("verify", run)
    assert told.returncode == 1
    assert "nothing was checked: no claim could be, and there is no reference for suite tiny" in told.stderr
    assert re.search(
        r"\nNo claim is about suite tiny\.\n\d+ claims are about other suites \(gemma1v2, .*mini", told.stdout
    )
    assert "not run" not in told.stdout
    both = CLAIM.format(expected=2) + CLAIM.format(expected=2).replace("T1", "T2").replace('"tiny"', '"mini"')
    (run / "both.toml").write_text(both)
    done = semconv_cli("verify", run, "--claims", run / "both.toml")
    assert "1 claims pass, 0 fail, 0 were not run.\n1 claim is about another suite (mini)" in done.stdout
    as_json = json.loads(semconv_cli("verify", run, "--claims", run / "both.toml", "--json").stdout)
    assert ([c["id"] for c in as_json["claims"]], as_json["other_claims"]) == (["T1"], 1)
