"""Stores are found by what they hold: another spelling, another name, another run or a twin of the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from semconv import ActivationStore, InputError, StoreIdentity, StoreWriter
from semconv.core.activation_store import stored_identity
from semconv.models.decoders import decoder_source, keep_decoder
from semconv.models.encoding import encode_models
from semconv.models.roles import ModelOnText
from semconv.pipeline.reproduce import load_blocks
from semconv.runs.run import Run
from semconv.suite.config import ModelConfig, SuiteConfig, load_suite
from semconv.system.files import only_writer
from semconv.system.shown_paths import shown_path
from tests._helpers.forks import usual_environment, usual_forks
from tests.conftest import random_activations, requires_models, semconv_cli

IDENTITY = StoreIdentity("models/a", "0", "saes/a", "1", "blocks.0.hook_resid_post", "2", 20, 10, "float32")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"model": "/elsewhere/models/a/"}, True),
        ({"sae": "./saes/a"}, True),
        ({"untrained_seed": 0}, False),
        ({"trained_embeddings": True}, False),
        ({"model_sha256": "9"}, False),
        ({"sae_sha256": "9"}, False),
        ({"hook": "blocks.1.hook_resid_post"}, False),
        ({"tokens_sha256": "9"}, False),
        ({"precision": "bfloat16"}, False),
        ({"model_precision": "tf32"}, False),
        ({"shard_tokens": 7}, False),
        ({"mask_rule": "all"}, False),
    ],
)
def test_identity_is_content_and_names_are_told(change: dict[str, Any], same: bool):
    other = replace(IDENTITY, **change)
    assert (other == IDENTITY) is same
    assert (other.sha256 == IDENTITY.sha256) is same


@pytest.mark.parametrize(
    ("model", "seed"), [("models/a", None), ("models/a untrained, seed 12", 12), ("a seed 3", None)]
)
def test_stores_made_before_the_seed_was_a_field_are_read(tmp_path: Path, model: str, seed: int | None):
    StoreWriter(tmp_path, replace(IDENTITY, model=model)).append(random_activations(0, 20, 10), 0)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["identity"]["untrained_seed"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert ActivationStore(tmp_path).identity == replace(IDENTITY, untrained_seed=seed) == stored_identity(tmp_path)


def test_what_is_no_store_holds_nothing(tmp_path: Path):
    assert stored_identity(tmp_path) is None
    for text in ("", "[]", '{"identity": [3]}', '{"identity": {"model": 3}}'):
        (tmp_path / "manifest.json").write_text(text)
        assert stored_identity(tmp_path) is None


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every forward pass of a model."""
    from semconv.models import model_activations

    load, counted = model_activations.load_model, list[int]()

    def counting(*arguments: Any, **settings: Any) -> Any:
        model = load(*arguments, **settings)
        model.get_input_embeddings().register_forward_pre_hook(lambda *_: counted.append(1))
        return model

    monkeypatch.setattr(model_activations, "load_model", counting)
    return counted


@pytest.fixture
def suite(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuiteConfig:
    """The tiny suite with its models and SAEs by relative paths, in a working folder of its own."""
    for name in ("model_a", "sae_a0", "sae_a1"):
        shutil.copytree(tiny_suite.parent / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    whole = load_suite(tiny_suite)
    return replace(whole, model_a=spelled(whole.model_a, lambda path: Path(path).name))


def spelled(model: ModelConfig, spell: Callable[[str], str], **more: Any) -> ModelConfig:
    saes = tuple(replace(sae, path=spell(sae.path)) for sae in model.saes)
    return replace(model, path=spell(model.path), saes=saes, **more)


def copied(path: str) -> str:
    return str(shutil.copytree(path, f"copy of {path}"))


def linked(path: str) -> str:
    Path(f"link to {path}").symlink_to(path)
    return f"link to {path}"


CASES: list[tuple[str, Callable[[str], str], dict[str, Any], bool]] = [
    ("a trailing slash", lambda path: f"{path}/", {}, True),
    ("a dot", lambda path: f"./{path}", {}, True),
    ("the absolute path", lambda path: str(Path(path).resolve()), {}, True),
    ("a copy", copied, {}, True),
    ("a link", linked, {}, True),
    ("another name", str, {"name": "b"}, True),
    ("a twin", str, {"untrained_seed": 3}, False),
    ("a twin of another name", str, {"name": "b", "untrained_seed": 3}, False),
]


@pytest.mark.slow
@requires_models
@pytest.mark.parametrize(("spell", "more", "same"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_encoded_again(
    suite: SuiteConfig, passes: list[int], spell: Callable[[str], str], more: dict[str, Any], same: bool
):
    blocks = load_blocks(run := Run(suite, Path("run")))[0]
    encode_models(run, [ModelOnText(suite.model_a, blocks)])
    n_passes, stores = len(passes), [run.store_path(suite.model_a, sae) for sae in suite.model_a.saes]
    assert n_passes > 0
    again = Run(suite, Path("run"))
    model = spelled(suite.model_a, spell, **more)
    if not same and "name" not in more:
        with pytest.raises(InputError, match=r"holds another store \(it differs in untrained_seed\)"):
            encode_models(again, [ModelOnText(model, blocks)])
        return
    encode_models(again, [ModelOnText(model, blocks)])
    assert (len(passes) == n_passes) is same
    assert ([again.store_path(model, sae) for sae in model.saes] == stores) is same


@pytest.mark.slow
@requires_models
def test_a_folder_of_stores_serves_several_runs(suite: SuiteConfig, passes: list[int]):
    shas: list[str] = []
    for folder in ("one", "two"):
        run = Run(suite, Path(folder), stores=Path("shared"))
        encode_models(run, [ModelOnText(suite.model_a, load_blocks(run)[0])])
        stores = [run.store_path(suite.model_a, sae) for sae in suite.model_a.saes]
        assert [store.parent for store in stores] == [Path("shared")] * 2
        assert [store.name[: -len("-0123456789abcdef")] for store in stores] == [s.hook for s in suite.model_a.saes]
        assert not (run.folder / "stores").exists()
        shas += [ActivationStore(store).sha256 for store in stores]
        if folder == "one":
            n_passes = len(passes)
    assert len(passes) == n_passes > 0
    assert shas[:2] == shas[2:]
    own = Run(suite, Path("three"))
    encode_models(own, [ModelOnText(suite.model_a, load_blocks(own)[0])])
    assert shas[:2] == [ActivationStore(own.store_path(suite.model_a, sae)).sha256 for sae in suite.model_a.saes]


@requires_models
def test_two_saes_of_one_content_are_encoded_once(suite: SuiteConfig, passes: list[int]):
    only = suite.model_a.saes[1]
    twice = replace(suite.model_a, saes=(only, replace(only, path=copied(only.path), name="same")))
    blocks = load_blocks(alone := Run(suite, Path("alone")))[0]
    encode_models(alone, [ModelOnText(replace(twice, saes=(only,)), blocks)])
    n_passes = len(passes)
    for run in (Run(suite, Path("own")), Run(suite, Path("other"), stores=Path("shared"))):
        passes.clear()
        encode_models(run, [ModelOnText(twice, blocks)])
        one, other = (run.store_path(twice, sae) for sae in twice.saes)
        assert one == other
        assert len(passes) == n_passes > 0


@pytest.mark.slow
@requires_models
def test_a_run_waits_for_another_that_writes_the_same_store(suite: SuiteConfig):
    stages: list[str] = []
    run = Run(suite, Path("run"), lambda stage, done, total: stages.append(stage), stores=Path("shared"))
    model, blocks = replace(suite.model_a, saes=suite.model_a.saes[:1]), load_blocks(run)[0]
    first = Run(suite, Path("first"), stores=Path("shared"))
    encode_models(first, [ModelOnText(model, blocks)])
    place = first.store_path(model, model.saes[0])
    for shard in place.glob("shard-*"):
        shard.unlink()
    with only_writer(place):
        waiting = Thread(target=encode_models, args=(run, [ModelOnText(model, blocks)]))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert not list(place.glob("shard-*"))
    waiting.join(120)
    assert not waiting.is_alive()
    assert f"wait for another run that writes {place}" in stages
    assert ActivationStore(place).verify() > 0


@pytest.mark.slow
@requires_models
def test_two_processes_at_once_share_a_folder_of_stores(tiny_suite: Path, tmp_path: Path):
    shared = tmp_path / "shared"
    code = "import os, sys; from semconv.cli import main; sys.argv.append(os.environ['OUT']); main()"
    command = ["-c", code, "encode", tiny_suite, "--stores", shared, "--out"]
    envs = [{**usual_environment(), "OUT": str(tmp_path / name)} for name in ("one", "two")]
    for ended in usual_forks().together(command, tmp_path, envs):
        assert ended.code == 0, ended.err
        assert ended.out.replace("\n", "") == f"Stores: {shared}"
    kept = sorted(path for path in shared.iterdir())
    assert all(ActivationStore(path).verify() > 0 for path in kept)
    assert not list(shared.rglob(".*partial*"))
    assert not list(tmp_path.glob("*/stores"))


@pytest.mark.slow
@requires_models
def test_a_model_compared_with_itself_is_encoded_once(tiny_suite: Path, tmp_path: Path):
    for name in ("model_a", "sae_a1"):
        shutil.copytree(tiny_suite.parent / name, tmp_path / name)
    tokenizer, text = tiny_suite.parent / "tokenizer.json", tiny_suite.parent / "text.txt"
    saes = ("--sae-a", "sae_a1@1", "--sae-b", "./sae_a1/@1")
    text_of = ("--tokenizer", tokenizer, "--text", text, "--tokens", "3000", "--context", "32", "--rematches", "0")
    done = semconv_cli("compare", "model_a", "./model_a/", *saes, *text_of, "--stores", "shared", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (store,) = (tmp_path / "shared").iterdir()
    results = json.loads((tmp_path / "runs" / "pair" / "results.json").read_text())
    assert results["grid"]["1x1"]["measures"]["rsa"]["score"] == pytest.approx(1.0)
    sha256 = {next(iter(results[model]["saes"].values()))["activations_sha256"] for model in ("model_a", "model_b")}
    assert len(sha256) == 1
    crate = json.loads((tmp_path / "runs" / "pair" / "ro-crate-metadata.json").read_text())["@graph"]
    assert [item["value"] for item in crate if item.get("name") == "shared stores"] == ["shared"]
    assert not [item for item in crate if "shard" in item["@id"]]
    assert ActivationStore(store).verify() > 0


@requires_models
def test_decoders_are_kept_whatever_the_spelling_and_the_results_tell_this_runs(suite: SuiteConfig):
    """What was kept stands for every spelling of the same SAE, and is not read from it again."""
    path = Path("kept.safetensors")
    sae = suite.model_a.saes[0]
    kept = keep_decoder(path, sae)
    written = path.stat().st_mtime_ns
    again = replace(sae, path=f"./{sae.path}/")
    assert keep_decoder(path, again) == replace(kept, source=shown_path(again.path))
    assert path.stat().st_mtime_ns == written
    assert (decoder_source(path, sae), decoder_source(path, again)) == (sae.path, again.path)
