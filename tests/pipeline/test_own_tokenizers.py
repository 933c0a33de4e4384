"""Two models with tokenizers of their own: compared by what they do, and refused before anything is encoded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.pipeline.corpus_stage import load_corpus
from semconv.pipeline.own_pair import PairOptions, suite_of_pair
from semconv.pipeline.reproduce import encode_all, load_blocks, reproduce
from semconv.runs.run import Run
from semconv.suite.config import ModelConfig, SaeConfig, SuiteConfig
from tests.conftest import requires_models

pytestmark = requires_models


@pytest.fixture
def pair(tiny_suite: Path, tmp_path: Path) -> tuple[ModelConfig, ModelConfig]:
    """The tiny models, each with its tokenizer beside it; `tmp_path/text.txt` is a text."""
    for name in ("model_a", "model_b"):
        shutil.copytree(tiny_suite.parent / name, tmp_path / name)
        shutil.copy(tiny_suite.parent / "tokenizer.json", tmp_path / name)
    shutil.copy(tiny_suite.parent / "text.txt", tmp_path)
    saes = (("blocks.1.hook_resid_post", "sae_a1"), ("blocks.2.hook_resid_post", "sae_b2"))
    a, b = (
        ModelConfig(name, str(tmp_path / name), (SaeConfig(hook, str(tiny_suite.parent / sae)),))
        for name, (hook, sae) in zip(("model_a", "model_b"), saes, strict=True)
    )
    return a, b


def change(folder: Path, **changes: Any) -> None:
    """Changes the tokenizer of a model; `merges` drops the first so many."""
    path = folder / "tokenizer.json"
    table = json.loads(path.read_text())
    table["model"]["merges"] = table["model"]["merges"][changes.pop("merges", 0) :]
    path.write_text(json.dumps(table | changes))


def suite(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path, **options: Any) -> SuiteConfig:
    return suite_of_pair(pair, tmp_path / "text.txt", PairOptions(context=32, tokens=500, **options))


def test_tokenizers_that_do_the_same_are_one(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    padding = {"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    change(tmp_path / "model_b", padding=padding | {"pad_type_id": 0, "pad_token": "<pad>"})
    assert suite(pair, tmp_path).corpus.tokenizer == str(tmp_path / "model_a" / "tokenizer.json")


@pytest.mark.parametrize("changes", [{"normalizer": {"type": "Lowercase"}}, {"merges": 1}])
def test_tokenizers_of_one_vocabulary_that_do_different_things_are_refused(
    changes: dict[str, Any], pair: tuple[ModelConfig, ModelConfig], tmp_path: Path
):
    change(tmp_path / "model_b", **changes)
    with pytest.raises(
        InputError, match=r"give other tokens to the same text \(.* to one, .* to the other\).*--align max"
    ):
        suite(pair, tmp_path)
    assert suite(pair, tmp_path, tokenizer=tmp_path / "model_b").corpus.tokenizer == str(tmp_path / "model_b")
    aligned = suite(pair, tmp_path, align="max").align
    assert aligned is not None
    assert aligned.tokenizer_b == str(tmp_path / "model_b" / "tokenizer.json")


def test_another_bos_is_refused_where_rows_begin_with_it(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    (tmp_path / "model_b" / "tokenizer_config.json").write_text('{"bos_token": null}')
    told = "the tokenizer of model model_a begins a row with '<bos>', that of model_b with nothing; leave BOS out"
    for bos in ("auto", "yes"):
        with pytest.raises(InputError, match=told):
            suite(pair, tmp_path, bos=bos)
    assert suite(pair, tmp_path, bos="no").corpus.bos == "no"


def test_a_tokenizer_for_b_alone_needs_alignment(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    with pytest.raises(InputError, match="--tokenizer-b names the tokenizer of B for --align, which was not given"):
        suite(pair, tmp_path, tokenizer_b=tmp_path / "model_b" / "tokenizer.json")


def test_each_side_has_its_own_tokenizer_and_bos(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    other = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "model_b", other)
    (other / "tokenizer_config.json").write_text('{"bos_token": null}')
    change(other, normalizer={"type": "Lowercase"})
    made = suite(pair, tmp_path, align="sum", tokenizer_b=other, rows="documents", skip_positions=2)
    run = Run(made, tmp_path / "run")
    of_a, of_b = load_blocks(run)
    assert (of_a.ids[:, 0] == 1).all()
    assert (of_b.ids[:, 0] != 1).all()
    assert not of_a.mask[:, :3].any()
    assert not of_b.mask[:, :2].any()
    assert of_b.mask[:, 2].any()
    again = load_corpus(run)
    assert again.blocks.place is not None
    assert again.blocks.sha256 == of_a.sha256
    assert again.facts.rows == "documents"
    assert again.facts.bos_rule == (
        "rows begin with <bos> (its name), which the tokenizer does not put there by itself"
    )


def test_tokens_that_a_model_does_not_know_are_refused_before_anything_is_encoded(
    pair: tuple[ModelConfig, ModelConfig], tmp_path: Path
):
    path = tmp_path / "model_b" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 300}))
    made = suite(pair, tmp_path, align="max")
    run = Run(made, tmp_path / "run")
    with pytest.raises(
        InputError, match=r"model model_b knows 300 tokens, .* gives id \d+; name .*--tokenizer-b beside"
    ):
        encode_all(run, load_blocks(run))
    assert not (tmp_path / "run" / "stores").exists()


def test_text_that_will_not_do_is_refused_before_anything_is_encoded(
    pair: tuple[ModelConfig, ModelConfig], tmp_path: Path
):
    (tmp_path / "text.txt").write_text("one document, and no other, of the matrix " * 20)
    for number, align in enumerate((None, "max")):
        run = Run(suite(pair, tmp_path, align=align), tmp_path / f"run{number}")
        with pytest.raises(InputError, match="needs at least two of them, got 1"):
            reproduce(run)
        assert not (run.folder / "stores").exists()


def test_tokens_are_kept_by_what_is_read_and_not_by_its_path(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    one, run = suite(pair, tmp_path).corpus, Run(suite(pair, tmp_path), tmp_path / "run")
    first = load_corpus(run, one)
    again = replace(one, path=f"{one.path[:-8]}./text.txt", tokenizer=str(tmp_path / "model_a"))
    assert load_corpus(run, again).blocks.sha256 == first.blocks.sha256
    assert len(list(run.folder.glob("tokens-*"))) == 1
    (tmp_path / "model_a" / "tokenizer_config.json").write_text('{"bos_token": null}')
    assert load_corpus(run, one).blocks.sha256 != first.blocks.sha256


def test_functional_asks_for_the_layer_pairs_that_are_named(pair: tuple[ModelConfig, ModelConfig], tmp_path: Path):
    assert suite(pair, tmp_path).function is None
    for options, layers in (({}, "diagonal"), ({"functional_layers": "all"}, "all")):
        function = suite(pair, tmp_path, functional=True, **options).function
        assert function is not None
        assert function.layers == layers
    with pytest.raises(InputError, match="--functional-layers names layer pairs for --functional, which was not given"):
        suite(pair, tmp_path, functional_layers="all")
    with pytest.raises(InputError, match=r"function\.layers must be one of diagonal, all, got 'some'"):
        suite(pair, tmp_path, functional=True, functional_layers="some")
