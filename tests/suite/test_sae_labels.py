"""Several SAEs of one model side by side: what they are called, and that nothing of one stands for another."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from semconv import InputError
from semconv.pipeline.own_pair import model_of
from semconv.pipeline.rebuild_archive import rebuild
from semconv.pipeline.reproduce import publish, reproduce
from semconv.runs.archive import opened, write_archive
from semconv.runs.pairs_table import read_pairs
from semconv.runs.run import Run
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig, load_suite
from semconv.suite.sae_labels import pair_key
from semconv.system.shape import plain
from semconv.text.contexts import read_contexts
from tests.conftest import _make_sae, requires_models


@pytest.mark.parametrize(
    ("hook", "label"),
    [
        ("blocks.2.hook_resid_post", "2"),
        ("model.layers.2", "2"),
        ("transformer.h.2", "2"),
        ("blocks.2.hook_resid_pre", "2.resid_pre"),
        ("blocks.2.hook_mlp_out", "2.mlp_out"),
        ("blocks.2.hook_attn_out", "2.attn_out"),
        ("blocks.2.attn.hook_z", "2.attn_z"),
        ("blocks.2.ln2.hook_normalized", "2.ln2_normalized"),
        ("gpt_neox.layers.2.mlp", "2.mlp"),
        ("layers.2.mlp.input", "2.mlp_input"),
        ("layers.2.self_attn", "2.self_attn"),
    ],
)
def test_an_sae_is_called_after_its_block_and_the_stream_that_is_not_its_output(hook: str, label: str):
    assert SaeConfig(hook, "somewhere").label == label


def test_keys_of_layers_are_as_ever_and_those_of_labels_can_be_told_apart():
    assert pair_key("0", "2") == "0x2"
    assert pair_key("1x2", "3") != pair_key("1", "2x3")


SCOPE, WIDE = "layer_12/width_16k/average_l0_82", "layer_12/width_65k/average_l0_72"
DEEP = "gemma-scope-2b-pt-res"


@pytest.mark.parametrize(
    ("saes", "labels"),
    [
        (["saes/16k@2", "saes/65k@2"], ["2.16k", "2.65k"]),
        (["saes/16k/@2", "./saes/65k@2", "saes/16k@3"], ["2.16k", "2.65k", "3"]),
        (["saes/16k@2", "saes/16k@blocks.2.hook_mlp_out"], ["2", "2.mlp_out"]),
        (["saes/16k@2", "other/16k@2"], ["2.saes", "2.other"]),
        (["saes/16k@2", "saes/16k/deeper@2"], ["2.16k", "2.16k-deeper"]),
        (["small=saes/16k@2", "saes/65k@2"], ["small", "2"]),
        (["small=saes/16k@2", "2.large=saes/65k@2"], ["small", "2.large"]),
        (["l0=32@2", "./l0=32/@3"], ["2", "3"]),
        (["sparse=l0=32@2", "saes/16k@2"], ["sparse", "2"]),
        (["saes/with space@2", "saes/16k@2"], ["2.with-space", "2.16k"]),
        ([f"{DEEP}:{SCOPE}", f"{DEEP}:{WIDE}"], ["12.width_16k-average_l0_82", "12.width_65k-average_l0_72"]),
        ([f"a={DEEP}:{SCOPE}", f"{DEEP}:{WIDE}"], ["a", "12"]),
    ],
)
def test_saes_of_the_command_line_are_told_apart(
    saes: list[str], labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for folder in ("saes/16k/deeper", "saes/65k", "saes/with space", "other/16k", "l0=32"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in [*tmp_path.rglob("*")]:
        config = {"architecture": "standard", "d_in": 8, "d_sae": 24, "dtype": "float32", "metadata": {}}
        (folder / "cfg.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    assert list(model_of("m", ".", saes).by_label) == labels


@pytest.mark.parametrize(
    ("saes", "told"),
    [
        (["sae@2", "./sae/@2"], "model m is given the SAE sae twice"),
        (["x=sae@2", "x=other@2"], r"model m has two SAEs called x \(sae and other\)"),
        (["2=sae@2", "other@2"], r"model m has two SAEs called 2 \(sae and other\)"),
        (["a b=sae@2"], "SAE 'a b=sae@2' is neither a folder nor"),
        (["x=nowhere@2"], "SAE 'nowhere@2' is neither a folder nor"),
    ],
)
def test_saes_that_cannot_be_told_apart_are_refused(
    saes: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("sae", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cfg.json").write_text(json.dumps({"architecture": "standard", "d_in": 8, "d_sae": 24}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        model_of("m", ".", saes)


def sae(hook: str, name: str = "") -> SaeConfig:
    return SaeConfig(hook, "somewhere", name=name)


def test_two_saes_at_one_hook_need_names():
    at = "blocks.2.hook_resid_post"
    model = ModelConfig("m", "m", (sae(at), sae(at, "2.wide")))
    assert list(model.by_label) == ["2", "2.wide"]
    with pytest.raises(
        InputError, match=r"model m has two SAEs called 2 \(somewhere and somewhere\); give each a name"
    ):
        ModelConfig("m", "m", (sae(at), sae(at)))
    with pytest.raises(InputError, match="published needs one SAE of model m on the output of block 2, got 2 "):
        model.sae_at(2)


def two_at_one_hook(tiny_suite: Path, small: Path) -> SuiteConfig:
    """The tiny pair, model A with two SAEs on the output of block 1, and nothing that takes long."""
    suite = load_suite(tiny_suite)
    _make_sae(small, 16, 80, seed=3)
    only = suite.model_a.saes[1]
    both = (replace(only, path=str(small), name="1.small"), only)
    floors = tuple(control for control in suite.controls if control.kind == "floor")
    null = replace(suite.null, n_rematch=2, n_bootstrap=2)
    return replace(
        suite,
        model_a=replace(suite.model_a, saes=both),
        null=null,
        controls=floors,
        published=None,
        subspaces=None,
        spans=None,
        seeds=None,
    )


@pytest.mark.slow
@requires_models
def test_two_saes_at_one_hook_are_compared_side_by_side(tiny_suite: Path, tmp_path: Path):
    run = Run(two_at_one_hook(tiny_suite, tmp_path / "sae_small"), tmp_path / "run")
    made = reproduce(run)
    results = plain(made)
    publish(run, made)
    assert set(results["grid"]) == {"1.small x 2", "1x2"}
    one, other = results["grid"]["1.small x 2"], results["grid"]["1x2"]
    assert (one["layer_a"], one["sae_a"], other["sae_a"]) == (1, "1.small", "1")
    assert one["matches_sha256"] != other["matches_sha256"]
    assert {label: sae["source"].rpartition("/")[2] for label, sae in results["model_a"]["saes"].items()} == {
        "1.small": "sae_small",
        "1": "sae_a1",
    }
    assert set(results["controls"]["self_match"]) == {"a/1.small", "a/1", "b/2"}
    assert results["controls"]["against"]["rsa"]["cross_model"] == other["measures"]["rsa"]["score"]  # the floor's SAE
    pairs = read_pairs(run.folder).to_pylist()
    for cell in (one, other):
        assert sum(pair["sae_a"] == cell["sae_a"] for pair in pairs) == cell["pairs"] > 0
    contexts = {(c["side"], c["sae"]) for c in read_contexts(run.folder).to_pylist()}
    assert contexts == {("a", "1.small"), ("a", "1"), ("b", "2")}
    assert "1.small x 2" in (run.folder / "index.html").read_text()
    write_archive(run.folder, tmp_path / "run.zip")
    shutil.move(run.folder, tmp_path / "away")
    with opened(tmp_path / "run.zip") as folder:
        rebuilt, _ = rebuild(folder)
    assert plain(rebuilt) == json.loads((tmp_path / "away" / "results.json").read_text())
