"""The rehearsal of the suite `gemma2`: the shapes and names are the real ones, weights load, stages are told."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import rehearsal_plan
import rehearsal_world
import rehearse
import torch
from gemma_shapes import Shape
from rehearsal_world import SCALES, bytes_of_sae, layers_of, saes_of, tensors_of, weight_bytes

from semconv.models.model_activations import load_model, streams
from semconv.planning.plan import Planner
from semconv.planning.shapes import shapes_of
from semconv.runs.task_cache import FinishedTasks
from semconv.study.function_observations import FunctionObservation
from semconv.study.task_names import function_task
from semconv.suite.config import load_suite
from semconv.suite.hooks import hook_layer
from semconv.system.errors import InputError
from semconv.text.tokenizer import load_tokenizer
from tests.conftest import requires_models

pytestmark = requires_models

SHAPE = Shape("tiny", 32, 3, 24, 2, 1, head_dim=8, vocab_size=4100)


def test_the_tensors_are_those_of_transformers():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    for shape in (SHAPE, *SCALES["full"].shapes):
        sizes = {name: value for name, value in asdict(shape).items() if name != "name"}
        with torch.device("meta"):
            model = Gemma2ForCausalLM(Gemma2Config(**sizes))
        assert dict(tensors_of(shape)) == {name: tuple(p.shape) for name, p in model.named_parameters()}
        assert weight_bytes(shape) == 2 * sum(p.numel() for p in model.parameters())
    assert [round(weight_bytes(shape) / 1e9, 1) for shape in SCALES["full"].shapes] == [5.2, 18.5]


def test_a_model_is_written_in_shards_of_random_numbers_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rehearsal_world, "SHARD_BYTES", weight_bytes(SHAPE) // 3)
    monkeypatch.setattr(rehearsal_world, "_PIECE", 1000)
    rehearsal_world.write_model(tmp_path, SHAPE, seed=1)
    rehearsal_world.write_tokenizer(tmp_path, SHAPE.vocab_size)
    shards = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert shards == [f"model-0000{i}-of-0000{len(shards)}.safetensors" for i in range(1, len(shards) + 1)]
    assert len(shards) > 1
    model = load_model(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    weight = model.get_submodule("model.layers.1.mlp.gate_proj").weight.float()
    assert float(weight.detach().std()) == pytest.approx(32**-0.5, rel=0.1)
    ids = torch.arange(40).reshape(2, 20)
    for layer in range(3):  # of the length that thresholds are set for
        stream = streams(model, ids, [f"blocks.{layer}.hook_resid_post"])[f"blocks.{layer}.hook_resid_post"]
        assert float(stream.float().square().mean().sqrt()) == pytest.approx(math.sqrt(1 + 0.02 * (layer + 1)), rel=0.1)
    assert load_tokenizer(tmp_path / "tokenizer.json").get_vocab_size() == SHAPE.vocab_size


def test_saes_have_gemma_scopes_names_shapes_and_an_l0(tmp_path: Path):
    wanted = saes_of(([12], [20]), wide=True)
    assert [(one.repository, one.file) for one in wanted] == [
        ("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82/params.npz"),
        ("google/gemma-scope-9b-pt-res", "layer_20/width_16k/average_l0_68/params.npz"),
        ("google/gemma-scope-2b-pt-res", "layer_12/width_65k/average_l0_72/params.npz"),
    ]
    file = tmp_path / "layer" / "params.npz"
    rehearsal_world.write_sae(file, 4096, 64, layer=12, seed=0)
    assert 0 < file.stat().st_size - bytes_of_sae(4096, 64) < 2000
    with np.load(file) as made:
        shapes = {name: made[name].shape for name in made}
        x = math.sqrt(1.26) * np.random.default_rng(1).standard_normal((200, 64)).astype(np.float32)
        active = x @ made["W_enc"] > made["threshold"]
    assert shapes == {
        "W_enc": (64, 4096),
        "W_dec": (4096, 64),
        "b_enc": (4096,),
        "b_dec": (64,),
        "threshold": (4096,),
    }
    assert active.sum(axis=1).mean() == pytest.approx(rehearsal_world.L0, rel=0.1)


def test_the_suite_is_gemma2_but_for_tokens_and_layers(tmp_path: Path):
    def suite_of(scale: str, tokens: int, n_layers: int, wide: bool, draws: int | None = None):
        text = rehearse.suite_text(SCALES[scale], tokens, layers_of(n_layers), wide, draws)
        (tmp_path / "gemma2.toml").write_text(text)
        return load_suite(tmp_path / "gemma2.toml")

    suite, real = suite_of("full", 200_000, 7, wide=True), load_suite("gemma2")
    assert replace(suite, folder=real.folder, corpus=replace(suite.corpus, max_tokens=1_000_000)) == real
    suite = suite_of("full", 5000, 2, wide=False)
    assert suite.function is not None
    assert real.function is not None
    assert replace(suite.function, positions=16, substitution=None, position_kinds=None) == replace(
        real.function, substitution=None, position_kinds=None
    )
    assert suite.function.substitution == replace(real.function.substitution, positions=2)
    assert suite.function.position_kinds == replace(real.function.position_kinds, positions=2)
    assert suite.function.positions == 2
    assert [sae.place for sae in suite.model_a.saes] == [
        sae.place for sae in real.model_a.saes if hook_layer(sae.hook) in (4, 12)
    ]
    assert [sae.place for sae in suite.model_b.saes] == [
        sae.place for sae in real.model_b.saes if hook_layer(sae.hook) in (7, 20)
    ]
    assert (suite.controls, suite.null, suite.compare, suite.published) == (
        (),
        real.null,
        real.compare,
        real.published,
    )
    assert suite_of("tiny", 100, 1, wide=False).null.n_permutations < 100
    few = replace(real.null, n_permutations=15, n_rematch=15, n_bootstrap=10, draws=None, tail=None)
    assert suite_of("full", 100, 1, wide=False, draws=15).null == few


def test_too_little_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(rehearse.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 3 * 2**30}))
    options = rehearse.parse(["--scale", "full", "--out", str(tmp_path / "made")])
    assert rehearse.rehearse(options, tmp_path / "made") == 2
    told = capsys.readouterr().err
    assert told.startswith("rehearse: needs 49 GiB of disk, ")
    assert told.endswith("has 3 GiB free\n")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [(["--layers", "8"], "between 1 and 7"), (["--tokens", "0"], "above 0"), (["--scale", "huge"], "invalid choice")],
)
def test_refusals(given: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        rehearse.parse(given)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


BUSY = "import sys; held = b'x' * 200_000_000; n = sum(range(5_000_000)); sys.stdin.read()"


def test_a_watch_tells_memory_time_and_disk_of_a_stage(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE) as process:
        watch = rehearse.Watch(process.pid, (tmp_path,))
        watch.begin("one")
        while watch.stages[0].own_gib < 0.15:
            watch.look()
        (tmp_path / "file").write_bytes(b"x" * 2**20)
        watch.begin("two")
        time.sleep(0.05)
        watch.end()
        process.stdin.close()
    one, two = watch.stages
    assert (one.stage, two.stage) == ("one", "two")
    assert 0.15 < one.own_gib < 0.5
    assert one.mapped_gib > 0
    assert one.disk_gib == 2**-10
    assert two.seconds >= 0.05
    lines = rehearse.table(watch.stages)
    assert lines[0].startswith("| stage | seconds |")
    assert lines[-1].startswith("| all |")


def test_what_was_planned_stands_beside_what_tasks_and_stages_took(tmp_path: Path):
    said = {"seconds/encode a": "5.00", "seconds/compare": "90.00", "task seconds/compare": "20.50"}
    said |= {"task seconds/rematch": "3.00", "task seconds/same_token": "4.00", "tasks done/compare": "8"}
    about = [{"@id": f"#run/{name}", "name": name, "value": value} for name, value in said.items()]
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps({"@graph": [{"@id": "#run"}, *about]}))
    (tmp_path / "results.json").write_text(json.dumps({"grid": {"0x0": {"pairs": 10}, "0x1": {"pairs": 15}}}))
    assert rehearsal_plan.pairs_of(tmp_path) == 12
    found = rehearsal_plan.took(tmp_path)
    assert found == {"encode a": 5.0, "compare": 20.5, "rematch": 7.0}
    stages = [
        ("encode a", 1, 10.0, None),
        ("compare", 8, 30.0, 41.0),
        ("rematch", 40, 9.0, 14.0),
        ("spans", 2, 3.0, 4.0),
    ]
    plan = {"stages": [dict(zip(("name", "tasks", "seconds", "work"), one, strict=True)) for one in stages]}
    lines = rehearsal_plan.beside_table(rehearsal_plan.beside(plan, found)).splitlines()
    assert lines[2:] == [
        "| encode a | 1 | 10 | 5 | 2.00 |",
        "| compare | 8 | 41 | 20 | 2.00 |",
        "| rematch | 40 | 14 | 7 | 2.00 |",
        "| spans | 2 | 4 | - | - |",
        "| all | 49 | 65 | 32 | 2.00 |",
    ]


def test_a_plan_that_says_nothing_is_no_plan(tmp_path: Path):
    (tmp_path / "gemma2.toml").write_text("name = 3")
    with pytest.raises(InputError, match=r"semconv plan ended with 2: .*name must be"):
        rehearsal_plan.planned(tmp_path / "gemma2.toml", 60, os.environ)


@pytest.mark.slow
def test_what_is_told_is_markdown_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """The whole rehearsal, of a program that stands for semconv: it asks the hub for a file and names a stage."""
    asking = (
        "import os, sys, time\n"
        "from huggingface_hub import hf_hub_download\n"
        "print('semconv: corpus', file=sys.stderr, flush=True)\n"
        "file = hf_hub_download('google/gemma-2-9b', 'model.safetensors.index.json')\n"
        "assert 'gemma-2-9b' in file and os.environ['HF_HOME'] in file\n"
        "print('semconv: warning: something', file=sys.stderr)\n"
        "time.sleep(0.2)\n"
    )
    tiny = replace(SCALES["tiny"], shapes=(SHAPE, SHAPE))
    monkeypatch.setitem(rehearse.SCALES, "tiny", tiny)
    monkeypatch.setattr(rehearsal_world, "write_text", lambda file, packages: None)
    monkeypatch.setattr(rehearse, "saes_of", lambda layers, wide, scale: [])
    monkeypatch.setattr(rehearse, "COMMAND", [sys.executable, "-c", asking])
    folder = tmp_path / "made"
    assert rehearse.rehearse(rehearse.parse(["--out", str(folder)]), folder) == 0
    told, made = capsys.readouterr().out, json.loads((folder / "rehearsal.json").read_text())
    assert [stage["stage"] for stage in made["runs"][0]] == ["start", "corpus"]
    assert len(made["runs"]) == 2
    assert "| corpus | " in told
    assert "The same command again: " in told
    assert not (folder / "world").exists()


def stamps(run: Path, *kinds: str) -> dict[str, int]:
    """Files below some folders of a run -> when each was written last."""
    return {str(file): file.stat().st_mtime_ns for kind in kinds for file in (run / kind).rglob("*") if file.is_file()}


@pytest.mark.slow
def test_the_least_rehearsal_does_what_a_rehearsal_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`make rehearse` with the smallest models and SAEs: the suite, semconv, sae-lens and the hub's protocol are real.

    The first start downloads, encodes and ends with page and crate; the second fetches, hashes and encodes nothing, and
    finds every task done; what the plan lists is what ran.
    """
    folder, once, written = tmp_path / "made", rehearse.run_once, []
    run, kept = folder / "run", ("stores", "decoders", "tasks", "sides")

    def watched(*given):
        found = once(*given)
        written.append((stamps(run, *kept), (run / "results.json").read_bytes()))
        return found

    monkeypatch.setattr(rehearse, "run_once", watched)
    options = rehearse.parse(["--scale", "least", "--out", str(folder)])
    assert rehearse.rehearse(options, folder) == 0
    made = json.loads((folder / "rehearsal.json").read_text())
    first, second = ([stage["stage"] for stage in stages] for stages in made["runs"])
    assert {"download gemma-2-2b", "load gemma-2-9b", "encode gemma-2-9b", "fit gemma-2-2b", "rematch"} <= set(first)
    assert made["files_fetched"][0] >= 6  # text, two models, two SAEs, a tokenizer
    assert made["files_fetched"][1] == 0
    assert [stage for stage in second if stage.split()[0] in ("download", "hash", "load", "fit", "tokenize")] == []
    assert len(written[0][0]) > 40
    assert written[0] == written[1]
    assert "</html>" in (run / "index.html").read_text()
    listed = {str(one["@id"]) for one in json.loads((run / "ro-crate-metadata.json").read_text())["@graph"]}
    assert {
        "results.json",
        "index.html",
        "report.md",
        "pairs.parquet",
        "tasks/grid.12x20.observed.safetensors",
    } <= listed
    suite = load_suite(folder / "gemma2.toml")
    assert suite.function is not None
    assert (suite.function.pairs, suite.function.positions) == (10, 2)
    ablated = FinishedTasks(run / "tasks").read_as(FunctionObservation, function_task("12x20"))
    assert ablated.facts.reason is None
    assert len(ablated.positions) == 10
    assert (ablated.positions == 2).any()  # models were held in bfloat16, and effects taken
    planned = sorted(task.name for task in Planner(suite, shapes_of(suite)).tasks)
    done = (file.name.removesuffix(".safetensors") for file in (run / "tasks").iterdir())
    assert planned == sorted(name for name in done if not name.startswith(("fit.", "contexts.")))  # not of the study
