"""The trial on a real model: its steps, on a tiny model in place of the download."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import real_model
import torch

from tests.conftest import requires_models


@pytest.fixture
def folder(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the download and the text are there already, of a tiny model with two SAEs to come."""
    shutil.copytree(tiny_suite.parent / "model_a", tmp_path / real_model.MODEL)
    shutil.copy(tiny_suite.parent / "tokenizer.json", tmp_path / real_model.MODEL)
    (tmp_path / "text").mkdir()
    lines = [json.dumps({"text": t}) + "\n" for t in (tiny_suite.parent / "text.txt").read_text().split("\n\n")]
    for split in ("train", "heldout"):
        (tmp_path / "text" / f"{split}.jsonl").write_text("".join(lines))
    monkeypatch.setattr(real_model, "GGUF", "tokenizer.json")
    monkeypatch.setattr(real_model, "CONTEXT", 32)
    monkeypatch.setattr(real_model, "POSITIONS", {"train": 2000, "heldout": 500})
    monkeypatch.setattr(real_model, "SIDE_A", (real_model.Job(0),))
    monkeypatch.setattr(real_model, "SIDE_B", (real_model.Job(0, seed=1),))
    monkeypatch.setattr(
        real_model, "RECIPE", replace(real_model.RECIPE, d_sae=32, k=4, learning_rate=0.01, batch=50, samples=8000)
    )
    return tmp_path


@requires_models
def test_steps_from_text_to_measured_saes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    real_model.saes(folder)
    real_model.measure(folder)
    streams = real_model.collect(folder, "train")["blocks.0.hook_resid_post"]
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
        monkeypatch.setattr(real_model, name, None)  # everything is there, so nothing runs
    real_model.saes(folder)
    real_model.measure(folder)


def test_sinks_are_no_training_data():
    stream = torch.ones(100, 4, dtype=torch.float16)
    stream[7] *= 11
    stream[8] *= 9
    kept = real_model.without_sinks(stream)
    assert len(kept) == 99
    assert float(kept.max()) == 9


def test_a_step_that_went_on_is_told_with_the_sum_of_its_times(tmp_path: Path):
    for _ in range(2):
        with real_model.timed(tmp_path, "step"):
            sum(range(2_000_000))
    (step,) = json.loads((tmp_path / "times.json").read_text()).values()
    assert set(step) == {"wall_seconds", "cpu_seconds", "others_cpu_seconds"}


@pytest.mark.parametrize(
    ("tokens", "marks"),
    [(["\n", "."], True), (["..", ".\n\n"], True), (["\n", "the"], False), (["", ""], False), ([], False)],
)
def test_pairs_on_newlines_and_full_stops_alone_are_told(tokens: list[str], marks: bool):
    assert real_model.on_marks({"top_tokens_a": tokens, "top_tokens_b": tokens}) is marks


@requires_models
def test_the_command_line_knows_every_option_that_is_given(tmp_path: Path):
    from typer.main import get_command

    from semconv.cli import app

    known = {name for o in get_command(app).commands["compare"].params for name in (*o.opts, *o.secondary_opts)}
    for run in real_model.RUNS:
        assert {word for word in real_model.compare_command(tmp_path, run) if word.startswith("--")} <= known
