"""The whole path on a tiny suite: same results from scratch, from stores and after being killed."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semconv import InputError
from semconv.core.activation_store import ActivationStore
from semconv.models.roles import ModelOnText
from semconv.pipeline.reproduce import Run, encode_models, load_corpus
from semconv.pipeline.reproduce import reproduce as run_suite
from semconv.runs.crate import check_crate, environment
from semconv.runs.pairs_table import read_pairs
from semconv.suite.config import load_suite, suite_from_json
from semconv.system.files import only_writer
from semconv.text.contexts import read_contexts
from tests._helpers.forks import usual_forks
from tests._helpers.run_folders import files_of_run
from tests.conftest import portable, requires_models, semconv_cli

pytestmark = requires_models


@pytest.fixture(scope="module")
def finished(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished tiny run, in which the tests of this file may run again."""
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("finished") / "tiny"))


def test_a_run_leaves_results_report_figures_and_provenance(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    assert set(results["grid"]) == {"0x2", "1x2"}
    assert all(cell["measures"]["rsa"]["nulls"]["shuffle"]["p"] >= 1 / 100 for cell in results["grid"].values())
    page = (finished / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert 'id="query"' in page
    report = (finished / "report.md").read_text()
    assert "| 0x2 |" in report
    assert "| T1 |" in report
    for name in results["summary"]:
        assert (finished / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert suite_from_json(finished / "suite.json").sha256 == results["suite_sha256"]
    assert {entry.path for entry in check_crate(finished)} == portable(finished)


def test_filters_of_activity_are_counted_wherever_features_are_matched(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    steps = ["both features active on at least 5 tokens", "both features active in at least 3 documents"]
    studied = [*results["grid"].values(), *results["controls"]["pairs"].values()]
    studied += [cell for both in results["controls"]["strongest"].values() for cell in both.values()]
    assert len(studied) >= 4
    for cell in studied:
        assert [count["step"] for count in cell["filters"]][1:3] == steps


def test_draws_and_contexts_belong_to_the_results(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    draws = load_file(finished / "nulls.safetensors")
    cell = results["grid"]["0x2"]["measures"]["rsa"]["nulls"]
    assert {name.split(".")[1] for name in draws if name.startswith("0x2.")} == set(cell)
    for null, test in cell.items():
        assert float(draws[f"0x2.{null}.rsa"].numpy().mean()) == test["mean"]
    pairs, contexts = read_pairs(finished).to_pylist(), read_contexts(finished).to_pylist()
    assert {("b", p["layer_b"], p["feature_b"]) for p in pairs} == {
        (c["side"], c["layer"], c["feature"]) for c in contexts if c["side"] == "b"
    }
    strongest = {(c["side"], c["layer"], c["feature"]): c["token"].strip() for c in contexts if c["rank"] == 0}
    for pair in pairs:
        for side in ("a", "b"):
            assert strongest[side, pair[f"layer_{side}"], pair[f"feature_{side}"]] == pair[f"top_tokens_{side}"][0]


def test_the_device_is_in_the_provenance_and_not_in_the_results(finished: Path):
    assert environment(finished)["device"] in ("cpu", "cuda:0")
    assert "device" not in (finished / "results.json").read_text()


def test_precision_is_part_of_what_a_store_holds(finished: Path, tiny_suite: Path, tmp_path: Path):
    """SAEs in bfloat16 where the suite says so, and no mixing with activations of another precision."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text().replace("batch = 8", 'batch = 8\nprecision = "bfloat16"'))
    run = Run(load_suite(path), tmp_path / "run")
    blocks = load_corpus(run).blocks
    encode_models(run, [ModelOnText(run.suite.model_b, blocks)])
    hook = "blocks.2.hook_resid_post"
    store, usual = (ActivationStore(folder / "stores" / "b" / hook) for folder in (run.folder, finished))
    assert (store.identity.precision, usual.identity.precision) == ("bfloat16", "float32")
    assert (store.identity.model_precision, usual.identity.model_precision) == ("float32", "float32")
    # Whoever computed in bfloat16 left numbers that bfloat16 holds, and thresholds above the smallest normal float16.
    for held, acts in ((True, store.load()), (False, usual.load())):
        assert torch.equal(acts.values, acts.values.bfloat16().half()) == held
    with pytest.raises(InputError, match=r"holds another store \(it differs in precision\)"):
        encode_models(Run(load_suite(path), finished), [ModelOnText(run.suite.model_b, blocks)])


def test_a_run_has_every_section(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    assert {"controls", "subspaces", "spans", "published"} <= set(results)
    assert set(results["controls"]["pairs"]) == {"twin", "other"}
    assert abs(results["controls"]["lowest_self_score"] - 1) < 1e-9
    assert results["published"]["steps"][0]["step"] == "as published"
    assert len(results["published"]["steps"]) == 8
    for cell in results["grid"].values():
        assert set(cell["measures"]["rsa"]["nulls"]) == {"shuffle", "frequency", "rematch", "same_token"}
        assert len(cell["pairs_interval"]) == 2
    report = (finished / "report.md").read_text()
    for title in ("Controls", "From the published protocol", "Semantic categories", "Over spans of text"):
        assert f"## {title}" in report
    assert (finished / "figures" / "controls.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_fast_run_says_so_and_leaves_out_what_takes_long(tiny_suite: Path, tmp_path: Path):
    claims = tiny_suite.with_name("claims.toml")
    done = semconv_cli("reproduce", tiny_suite, "--out", tmp_path, "--claims", claims, "--fast")
    assert done.returncode == 0, done.stderr
    assert "semconv: compare" in done.stderr
    assert "semconv: rematch" not in done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["fast"] is True
    assert "published" not in results
    assert set(next(iter(results["grid"].values()))["measures"]["rsa"]["nulls"]) == {"shuffle", "frequency"}
    assert set(results["controls"]["pairs"]) == {"twin"}
    assert "pairs_interval" not in next(iter(results["grid"].values()))


def test_what_an_earlier_run_left_in_the_folder_is_no_part_of_the_next(
    tiny_run: Path, tiny_suite: Path, tmp_path: Path
):
    """A fast run with keyword lists of its own, where a full one was: its archive holds its own tasks and lists."""
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (folder / "figures" / "old.png").write_bytes(b"x")
    own = 'name = "own"\nrule = "contains"\n[keywords]\nArticles = ["the", "an"]\nOthers = ["of", "to", "is", "in"]\n'
    (tmp_path / "own.toml").write_text(own)
    suite = tmp_path / "tiny.toml"
    suite.write_text(tiny_suite.read_text().replace('categories = "mini"', f'categories = "{tmp_path}/own.toml"'))
    full = {entry.path for entry in check_crate(folder)}
    assert [name for name in full if "rematch" in name]
    done = semconv_cli("reproduce", suite, "--out", folder, "--claims", tiny_suite.with_name("claims.toml"), "--fast")
    assert done.returncode == 0, done.stderr
    listed = {entry.path for entry in check_crate(folder)}
    assert not [name for name in listed if "rematch" in name or name.endswith("old.png")]
    assert "categories.toml" in listed
    assert listed < portable(folder), "tasks of the full run stay in the folder, for the next full run"
    archive = tmp_path / "run.zip"
    assert semconv_cli("archive", folder, "--out", archive).returncode == 0
    (tmp_path / "own.toml").unlink()
    shutil.rmtree(folder)
    verified = semconv_cli("verify", "--bundle", archive)
    assert verified.returncode == 0, verified.stderr


def test_tokens_are_conserved_from_corpus_to_store(finished: Path, tiny_suite: Path):
    suite = load_suite(tiny_suite)
    blocks = load_corpus(Run(suite, finished)).blocks
    assert blocks.n_tokens >= suite.corpus.max_tokens
    results = json.loads((finished / "results.json").read_text())
    assert results["corpus"]["n_tokens"] == blocks.n_tokens
    for store in (finished / "stores").glob("*/*"):
        every_position = "as-published" in store.parent.name  # BOS, EOS and padding too
        assert ActivationStore(store).load().n_tokens == (blocks.mask.numel() if every_position else blocks.n_tokens)


def test_a_rerun_gives_the_same_bytes_without_running_a_model(
    finished: Path, tiny_suite: Path, monkeypatch: pytest.MonkeyPatch
):
    import semconv.models.model_activations

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded although every store is complete")

    monkeypatch.setattr(semconv.models.model_activations, "load_model", refuse)
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


def test_a_run_folder_has_one_writer_at_a_time(tiny_suite: Path, tmp_path: Path):
    with only_writer(tmp_path), pytest.raises(InputError, match="another semconv process is writing"):
        run_suite(Run(load_suite(tiny_suite), tmp_path))


def test_another_text_than_the_suite_states_is_refused(tiny_suite: Path, tmp_path: Path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text().replace("[corpus]", f'[corpus]\ntext_sha256 = "{"0" * 64}"'))
    with pytest.raises(InputError, match=r"gives other text than the suite tiny expects: SHA-256 0{16}\.\.\. expected"):
        load_corpus(Run(load_suite(path), tmp_path / "run"))


@pytest.mark.slow
def test_a_users_edited_text_gives_other_tokens_and_a_damaged_cache_is_made_again(tiny_suite: Path, tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text(tiny_suite.with_name("text.txt").read_text())
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_suite.read_text().replace(str(tiny_suite.with_name("text.txt")), str(text)))
    run = Run(load_suite(path), tmp_path / "run")
    first = load_corpus(run)
    cache = next(run.folder.glob("tokens-*"))
    content = cache.read_bytes()
    for place in (*range(8, 1200, 7), *range(1200, len(content), len(content) // 40)):  # metadata, then tensors
        cache.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        again = load_corpus(run)
        assert (again.blocks.sha256, again.text_sha256) == (first.blocks.sha256, first.text_sha256)
        assert again.facts == first.facts
        assert torch.equal(again.blocks.document, first.blocks.document)
    text.write_text("the sum of values\n\n" + text.read_text())
    second = load_corpus(run)
    assert second.blocks.sha256 != first.blocks.sha256
    assert second.text_sha256 != first.text_sha256


@pytest.mark.slow
def test_damaged_inputs_are_one_sentence(tiny_suite: Path, tmp_path: Path):
    def broken(name: str, file: str, content: bytes) -> str:
        folder = tmp_path / name
        shutil.copytree(tiny_suite.parent, folder)
        suite = folder / "tiny.toml"
        suite.write_text(suite.read_text().replace(str(tiny_suite.parent), str(folder)))
        (folder / file).write_bytes(content)
        done = semconv_cli("encode", suite, "--out", folder / "run")
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]

    assert "tokenizer" in broken("t", "tokenizer.json", b"{}")
    assert "cannot load model" in broken("m", "model_a/model.safetensors", b"junk")
    assert "cannot load SAE" in broken("s", "sae_b2/sae_weights.safetensors", b"junk")
    assert "not UTF-8" in broken("u", "tiny.toml", b"\xff")


@pytest.mark.slow
def test_kill_9_at_any_moment_then_the_same_command_gives_the_same_results(
    tiny_run: Path, tiny_suite: Path, tmp_path: Path
):
    """And not only `results.json`: two runs leave the same bytes in every file but one."""
    folder, claims = tmp_path / "killed", tiny_suite.with_name("claims.toml")
    command = ["reproduce", tiny_suite, "--out", folder, "--claims", claims]
    with contextlib.suppress(subprocess.TimeoutExpired):  # while a new process loads the libraries
        subprocess.run([sys.executable, "-m", "semconv", *map(str, command)], capture_output=True, timeout=1)
    killed, moments = 0, random.Random(0)
    processes = usual_forks()
    for _ in range(4):  # at moments of no particular kind
        processes.run(command, tmp_path, seconds=moments.uniform(0, 4))
    for file in ("tokens-*.safetensors", "stores/a/*/manifest.json", "stores/b/*/manifest.json", "results.json"):
        killed += processes.run(command, tmp_path, until=f"killed/{file}").code is None
    assert killed >= 1, "the run ended before it could be killed"
    assert processes.run(command, tmp_path).code == 0
    made, expected = files_of_run(folder), files_of_run(tiny_run)
    assert sorted(made) == sorted(expected)
    assert [name for name in made if made[name] != expected[name]] == []
    assert not list(folder.rglob(".*partial*"))
