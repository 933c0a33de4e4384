"""`semconv compare`: two models that a user names, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from semconv import InputError
from semconv.pipeline.own_pair import model_of
from semconv.results.read import load_results
from semconv.text.contexts import read_contexts
from tests._helpers.tiny_models import CONFIGS, randomise
from tests.conftest import requires_models, semconv_cli

pytestmark = requires_models


@pytest.fixture
def folder(tiny_suite: Path, tmp_path: Path) -> Path:
    """The tiny models with a tokenizer beside each, as a user has them."""
    for name in ("model_a", "model_b", "sae_a1", "sae_b2"):
        shutil.copytree(tiny_suite.parent / name, tmp_path / name)
    for name in ("model_a", "model_b"):
        shutil.copy(tiny_suite.parent / "tokenizer.json", tmp_path / name)
    shutil.copy(tiny_suite.parent / "text.txt", tmp_path)
    return tmp_path


def compare(folder: Path, *more: str):
    saes = ("--sae-a", "sae_a1@1", "--sae-b", "sae_b2@2")
    return semconv_cli("compare", "model_a", "model_b", *saes, "--text", "text.txt", *more, cwd=folder)


@pytest.mark.slow
def test_a_pair_of_folders_is_compared(folder: Path):
    done = compare(
        *(folder, "--tokens", "3000", "--context", "32", "--rematches", "3", "--same-token", "2", "--out", "run"),
        "--functional",
    )
    assert done.returncode == 0, done.stderr
    results = load_results(folder / "run")
    assert results["function"]["grid"]["1x2"]["pairs"] > 0
    assert results["function"]["lens"]["1x2"]["pairs"] == results["grid"]["1x2"]["pairs"]
    assert results["function"]["rules"]["1x2"]["rules"]["decoder_cosine"]["matched"] > 0
    assert list(results["grid"]) == ["1x2"]
    assert (results["model_a"]["name"], results["model_b"]["name"]) == ("model_a", "model_b")
    assert (results["null"]["n_rematch"], results["null"]["n_same_token"]) == (3, 2)
    assert "Report: run/report.md" in done.stdout
    assert "- RSA, Spearman: " in done.stdout
    for name in ("pairs.csv", "pairs.parquet"):
        exported = semconv_cli("export", name, "--run", "run", cwd=folder)
        assert exported.stdout == f"{results['grid']['1x2']['pairs']} feature pairs: {name}\n"
    refused = semconv_cli("export", "pairs.xlsx", "--run", "run", cwd=folder)
    assert (refused.returncode, refused.stderr) == (
        2,
        "semconv: pairs are exported as .csv or .parquet, got pairs.xlsx\n",
    )
    report = (folder / "run" / "report.md").read_text()
    assert "No untrained twin was compared" in report


@pytest.mark.slow
def test_a_masked_model_is_compared_only_if_that_is_meant_and_the_report_says_so(folder: Path):
    from transformers import BertConfig, BertForMaskedLM

    settings = CONFIGS["bert"] | {"vocab_size": 400}  # as many as the tiny tokenizer has
    randomise(BertForMaskedLM(BertConfig(**settings))).save_pretrained(folder / "model_a")
    numbers = ("--tokens", "2000", "--context", "32", "--rematches", "0", "--out", "run")
    refused = compare(folder, *numbers)
    assert refused.returncode == 2
    assert "model model_a is of type 'bert', which reads in both directions" in refused.stderr
    assert not list(folder.rglob("shard-*"))
    done = compare(folder, *numbers, "--bidirectional", "--functional")
    assert done.returncode == 0, done.stderr
    results = load_results(folder / "run")
    function = results["function"]
    for found in (function["grid"]["1x2"], function["lens"]["1x2"], function["rules"]["1x2"]):
        assert "need a model with a head for it, this one (type 'bert') has none" in found["reason"]
    assert [side.get("bidirectional") for side in (results["model_a"], results["model_b"])] == [True, None]
    said = "Model model_a reads in both directions"
    assert any(said in warning for warning in results["warnings"])
    assert said in (folder / "run" / "report.md").read_text()


def test_tokenizers_that_differ_are_refused_before_anything_is_written(folder: Path):
    path = folder / "model_b" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    last, before = sorted(vocabulary, key=vocabulary.get)[-2:]
    vocabulary[last], vocabulary[before] = vocabulary[before], vocabulary[last]
    path.write_text(json.dumps(tokenizer))
    done = compare(folder)
    assert done.returncode == 2
    assert re.fullmatch(
        r"semconv: the tokenizers of the two models differ in 2 of 400 tokens \(.*--tokenizer, .*--align max .*\n",
        done.stderr,
    )
    assert not (folder / "runs").exists()
    path.unlink()
    assert "model model_b has no tokenizer.json" in compare(folder).stderr


@pytest.mark.slow
def test_models_of_different_tokenizers_are_compared_over_shared_spans(folder: Path):
    """With one tokenizer on both sides the spans are the tokens, and the result must be that without alignment."""
    numbers = ("--tokens", "3000", "--context", "32", "--rematches", "0")
    assert compare(folder, *numbers, "--out", "same").returncode == 0
    done = compare(folder, *numbers, "--align", "max", "--out", "aligned")
    assert done.returncode == 0, done.stderr
    same, aligned = load_results(folder / "same"), load_results(folder / "aligned")
    assert aligned["corpus"]["n_spans"] == same["corpus"]["n_tokens"]
    assert aligned["grid"]["1x2"]["matches_sha256"] == same["grid"]["1x2"]["matches_sha256"]
    assert aligned["grid"]["1x2"]["pairs"] == same["grid"]["1x2"]["pairs"]
    assert read_contexts(folder / "same") == read_contexts(folder / "aligned")
    _characters_for_b(folder)
    refused = compare(folder, *numbers)
    assert "let --align max pool features over spans" in refused.stderr
    refused = compare(folder, *numbers, "--align", "max", "--same-token", "2", "--out", "none")
    assert "align brings two tokenizers together and cannot stand beside null.n_same_token" in refused.stderr
    refused = compare(folder, *numbers, "--align", "max", "--functional", "--out", "none")
    assert "align brings two tokenizers together and cannot stand beside controls, spans, published or fun" in (
        refused.stderr
    )
    assert refused.returncode == 2
    done = compare(folder, *numbers, "--align", "sum", "--no-stop-tokens", "--without-strongest", "0", "--out", "other")
    assert done.returncode == 0, done.stderr
    other = load_results(folder / "other")
    assert 100 < other["corpus"]["n_spans"] < same["corpus"]["n_tokens"]
    assert other["grid"]["1x2"]["matches_sha256"] != same["grid"]["1x2"]["matches_sha256"]
    contexts, text = read_contexts(folder / "other").to_pylist(), (folder / "text.txt").read_text()
    of_b = [c for c in contexts if c["side"] == "b"]
    assert of_b
    shown = ["".join(c[part] for part in ("before", "token", "after")) for c in of_b]
    assert all(one.replace("Ġ", " ") in text for one in shown)  # this tokenizer has no decoder, so a space stays a Ġ
    assert max(len(c["token"]) for c in of_b) > 1  # spans of several characters, each a token of B
    assert (folder / "other" / "index.html").read_text().startswith("<!doctype html>")
    assert "align.how must be one of max, mean, sum" in compare(folder, "--align", "most").stderr


def _characters_for_b(folder: Path) -> None:
    """Gives B a tokenizer of single characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=259, special_tokens=["<pad>", "<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([], trainer)
    tokenizer.save(str(folder / "model_b" / "tokenizer.json"))


def test_models_and_saes_by_name(tmp_path: Path):
    model = model_of("a", "google/gemma-2-2b@abc", ["gemma-scope-2b-pt-res-canonical:layer_12/width_16k/canonical"])
    assert (model.path, model.revision) == ("hub:google/gemma-2-2b", "abc")
    assert (model.saes[0].hook, model.saes[0].release) == (
        "blocks.12.hook_resid_post",
        "gemma-scope-2b-pt-res-canonical",
    )


GEMMA, SCOPE = "google/gemma-2-2b", "gemma-scope-2b-pt"


def written(folder: Path, name: str, metadata: dict[str, object]) -> str:
    """A folder of sae-lens, of its config alone, that says so much of itself."""
    (folder / name).mkdir(parents=True)
    told = {"sae_lens_version": "6.54.12", **metadata}
    cfg = {"architecture": "standard", "d_in": 8, "d_sae": 24, "dtype": "float32", "metadata": told}
    (folder / name / "cfg.json").write_text(json.dumps(cfg))
    return str(folder / name)


@pytest.mark.parametrize(
    ("hook_name", "folder", "at", "expected"),
    [
        ("blocks.3.hook_resid_pre", "sae", "", "blocks.3.hook_resid_pre"),
        ("blocks.2.hook_mlp_out", "layer_7", "", "blocks.2.hook_mlp_out"),
        ("blocks.2.hook_attn_out", "sae", "@2", "blocks.2.hook_attn_out"),
        ("blocks.2.ln2.hook_normalized", "sae", "@blocks.2.ln2.hook_normalized", "blocks.2.ln2.hook_normalized"),
        ("model.layers.3", "sae", "@blocks.3.hook_resid_post", "blocks.3.hook_resid_post"),
        ("blocks.2.attn.hook_z", "sae", "", "blocks.2.attn.hook_z"),
        (None, "sae", "@5", "blocks.5.hook_resid_post"),
        (None, "sae", "@blocks.5.hook_mlp_out", "blocks.5.hook_mlp_out"),
        (None, "sae", "@layers.5.mlp", "layers.5.mlp"),
        (None, "blocks.4.hook_resid_mid", "", "blocks.4.hook_resid_mid"),
        (None, "layers.4.mlp", "", "layers.4.mlp"),
        (None, "blocks.4.hook_resid_mid", "@5", "blocks.5.hook_resid_post"),
    ],
)
def test_an_sae_is_read_where_its_metadata_says(
    hook_name: str | None, folder: str, at: str, expected: str, tmp_path: Path
):
    sae = written(tmp_path, folder, {"hook_name": hook_name} if hook_name else {})
    assert model_of("m", str(tmp_path), [sae + at]).saes[0].hook == expected


@pytest.mark.parametrize(
    ("release", "hook"),
    [
        ("gemma-scope-2b-pt-res:layer_12/width_16k/average_l0_82", "blocks.12.hook_resid_post"),
        ("gemma-scope-2b-pt-mlp:layer_0/width_16k/average_l0_119", "blocks.0.hook_mlp_out"),
        ("gemma-scope-2b-pt-att-canonical:layer_12/width_16k/canonical", "blocks.12.attn.hook_z"),
        ("gemma-scope-2b-pt-transcoders:layer_0/width_16k/average_l0_76", "blocks.0.ln2.hook_normalized"),
        ("google/gemma-scope-2b-pt-mlp:layer_0/width_16k/average_l0_119", "blocks.0.hook_mlp_out"),
    ],
)
def test_a_release_is_read_where_the_list_of_sae_lens_says(release: str, hook: str):
    assert model_of("m", GEMMA, [release]).saes[0].hook == hook


@pytest.mark.parametrize(
    ("where", "sae", "told"),
    [
        ("no such folder", "a:layer_1", "'no such folder' is neither a folder nor OWNER/NAME"),
        ("a/b", "nothing", "SAE 'nothing' is neither a folder nor RELEASE:SAE_ID"),
        ("a/b", "release:canonical", "unknown SAE release 'release'"),
        ("a/b", "gemma-scope-2b-pt-mlp:layer_12/width_16k/average_l0_6", "has no SAE"),
    ],
)
def test_what_cannot_be_told_is_refused(where: str, sae: str, told: str):
    with pytest.raises(InputError, match=re.escape(told)):
        model_of("a", where, [sae])


@pytest.mark.parametrize(
    ("hook_name", "folder", "at", "told"),
    [
        (
            "blocks.3.hook_resid_pre",
            "sae",
            "@2",
            "was trained on blocks.3.hook_resid_pre, as its own metadata says, and @2",
        ),
        (
            "blocks.3.hook_resid_pre",
            "sae",
            "@blocks.3.hook_resid_post",
            "was trained on blocks.3.hook_resid_pre, as its own metadata says, and is to be read at "
            "blocks.3.hook_resid_post",
        ),
        ("blocks.2.attn.hook_q", "sae", "", "was trained on a stream that is not read: "),
        ("blocks.2.attn.hook_q", "sae", "@2", "was trained on a stream that is not read: "),
        (None, "layer_7", "", "does not say which stream it reads; add @LAYER for the output of a block, or @HOOK"),
        (None, "sae", "@blocks.5.nowhere", "hook must look like"),
    ],
)
def test_a_stream_that_is_told_in_two_ways_or_in_none_is_refused(
    hook_name: str | None, folder: str, at: str, told: str, tmp_path: Path
):
    sae = written(tmp_path, folder, {"hook_name": hook_name} if hook_name else {})
    with pytest.raises(InputError, match=re.escape(told)):
        model_of("m", str(tmp_path), [sae + at])
