"""The trial on a real model: its steps, on a tiny model in place of the download."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.conftest import requires_models

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/real_model.py as a module, which imports the script beside it."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("real_model", SCRIPTS / "real_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "real_model", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(script: ModuleType, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the download and the text are there already, of a tiny model with two SAEs to come."""
    shutil.copytree(tiny_suite.parent / "model_a", tmp_path / script.MODEL)
    shutil.copy(tiny_suite.parent / "tokenizer.json", tmp_path / script.MODEL)
    (tmp_path / "text").mkdir()
    lines = [json.dumps({"text": t}) + "\n" for t in (tiny_suite.parent / "text.txt").read_text().split("\n\n")]
    for split in ("train", "heldout"):
        (tmp_path / "text" / f"{split}.jsonl").write_text("".join(lines))
    monkeypatch.setattr(script, "GGUF", "tokenizer.json")
    monkeypatch.setattr(script, "CONTEXT", 32)
    monkeypatch.setattr(script, "POSITIONS", {"train": 2000, "heldout": 500})
    monkeypatch.setattr(script, "SIDE_A", (script.Job(0),))
    monkeypatch.setattr(script, "SIDE_B", (script.Job(0, seed=1),))
    monkeypatch.setattr(
        script, "RECIPE", replace(script.RECIPE, d_sae=32, k=4, learning_rate=0.01, batch=50, samples=8000)
    )
    return tmp_path


@requires_models
def test_steps_from_text_to_measured_saes(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch):
    script.saes(folder)
    script.measure(folder)
    streams = script.collect(folder, "train")["blocks.0.hook_resid_post"]
    assert streams.dtype == torch.float16
    assert 2000 <= len(streams) < 2000 + 32
    assert streams.shape[1] == 16
    one, other = (folder / "saes" / f"blocks.0.hook_resid_post{end}" for end in ("", ".seed1"))
    about = json.loads((one / "cfg.json").read_text())["metadata"]
    assert (about["hook_name"], about["context_size"]) == ("blocks.0.hook_resid_post", 32)
    weights = "sae_weights.safetensors"
    assert (one / weights).read_bytes() != (other / weights).read_bytes()
    measured = json.loads((folder / "saes.json").read_text())
    assert set(measured) == {"0", "0-seed1"}
    assert all(0 < sae["l0"] < 16 and sae["explained_variance"] > 0.3 for sae in measured.values())
    assert set(json.loads((folder / "times.json").read_text())) == {"sae 0", "sae 0-seed1"}
    for name in ("fit_sae", "streams", "measure_sae", "tokenize"):
        monkeypatch.setattr(script, name, None)  # everything is there, so nothing runs
    script.saes(folder)
    script.measure(folder)


def test_sinks_are_no_training_data(script: ModuleType):
    stream = torch.ones(100, 4, dtype=torch.float16)
    stream[7] *= 11
    stream[8] *= 9
    kept = script.without_sinks(stream)
    assert len(kept) == 99
    assert float(kept.max()) == 9


def test_a_step_that_went_on_is_told_with_the_sum_of_its_times(script: ModuleType, tmp_path: Path):
    for _ in range(2):
        with script.timed(tmp_path, "step"):
            sum(range(2_000_000))
    (step,) = json.loads((tmp_path / "times.json").read_text()).values()
    assert set(step) == {"wall_seconds", "cpu_seconds", "others_cpu_seconds"}


@pytest.mark.parametrize(
    ("tokens", "marks"),
    [(["\n", "."], True), (["..", ".\n\n"], True), (["\n", "the"], False), (["", ""], False), ([], False)],
)
def test_pairs_on_newlines_and_full_stops_alone_are_told(script: ModuleType, tokens: list[str], marks: bool):
    assert script.on_marks({"top_tokens_a": tokens, "top_tokens_b": tokens}) is marks


@requires_models
def test_the_command_line_knows_every_option_that_is_given(script: ModuleType, tmp_path: Path):
    from typer.main import get_command

    from semconv.cli import app

    known = {name for o in get_command(app).commands["compare"].params for name in (*o.opts, *o.secondary_opts)}
    for run in script.RUNS:
        assert {word for word in script.compare_command(tmp_path, run) if word.startswith("--")} <= known
