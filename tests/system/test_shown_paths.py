"""Paths as a run shows them: relative where they can be, else a name, and never a folder of the machine."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from semconv.models.sae_metadata import metadata_of
from semconv.pipeline.own_pair import models_of_pair
from semconv.suite.config import (
    CorpusConfig,
    ModelConfig,
    SaeConfig,
    SubspaceConfig,
    SuiteConfig,
    load_suite,
    suite_names,
)
from semconv.system.provenance import provenance
from semconv.system.shape import plain
from semconv.system.shown_paths import here, shown_argument, shown_path


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        ("models/a", "models/a"),
        ("asset:mini/small", "asset:mini/small"),
        ("hub:owner/name", "hub:owner/name"),
        ("owner/name", "owner/name"),
        ("/data/study/models/a", "models/a"),
        ("/data/study/../study/a", "a"),
        ("/data/study", "."),
        ("/data/study-of-mine/a", ".../a"),
        ("/home/someone/a/", ".../a"),
        ("/", "..."),
        ("../../etc/a", ".../a"),
        ("/x/hub/models--o--n/snapshots/c0ffee/tokenizer.json", ".../models--o--n/snapshots/c0ffee/tokenizer.json"),
    ],
)
def test_a_path_shows_no_folder_of_the_machine(given: str, shown: str):
    assert shown_path(given, ["/data/study"]) == shown
    assert shown_path(shown, ["/data/study"]) == shown


def test_a_path_is_below_a_folder_also_where_a_link_leads_there(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert shown_path(str(tmp_path / "real" / "a"), [tmp_path / "link"]) == "a"
    assert shown_path(str(tmp_path / "link" / "a"), [tmp_path / "real"]) == "a"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("--out", "--out"),
        ("--out=/data/study/run", "--out=run"),
        ("one=/home/someone/sae@3", "one=.../sae@3"),
        ("/home/some=one/sae", ".../sae"),
        ("../some=one/sae", ".../sae"),
        ("--text=../x/text.txt", "--text=.../text.txt"),
        ("owner/name@c0ffee", "owner/name@c0ffee"),
    ],
)
def test_arguments_of_a_command_line_show_paths_alike(given: str, shown: str):
    assert shown_argument(given, ["/data/study"]) == shown


def test_the_command_line_of_a_run_shows_paths_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/opt/x/bin/semconv", "reproduce", f"{tmp_path}/a.toml", f"--out={tmp_path}/b/c"])
    assert provenance()["argv"] == ["semconv", "reproduce", "a.toml", "--out=b/c"]


def test_a_folder_that_was_removed_meanwhile_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    assert here() == (tmp_path / "gone",)
    (tmp_path / "gone").rmdir()
    assert here() == ()
    monkeypatch.setattr("sys.argv", ["semconv", "reproduce", "--out=/x/y"])
    assert provenance()["argv"] == ["semconv", "reproduce", "--out=.../y"]


def test_every_path_of_a_suite_is_shown_from_the_folder_of_its_file_and_read_where_it_is(tmp_path: Path):
    folder = str(tmp_path / "study")

    def model(name: str) -> ModelConfig:
        return ModelConfig(name, f"{folder}/{name}", (SaeConfig("blocks.0.hook_resid_post", f"/elsewhere/{name}"),))

    corpus = CorpusConfig("file", f"{folder}/tokenizer.json", 32, 100, path=f"{folder}/text.txt")
    suite = SuiteConfig("x", "X.", corpus, model("a"), model("b"), folder=folder)
    suite = replace(suite, subspaces=SubspaceConfig(f"{folder}/lists.toml"))
    shown = suite.shown(suite)
    assert shown.corpus == replace(corpus, tokenizer="tokenizer.json", path="text.txt")
    assert (shown.model_a.path, shown.model_b.saes[0].path) == ("a", ".../b")
    assert shown.subspaces == SubspaceConfig("lists.toml")
    assert suite.model_a.path == f"{folder}/a"
    assert str(tmp_path) not in str(shown.settings)
    assert suite.sha256 != shown.sha256 == replace(shown, folder="").sha256


@pytest.mark.parametrize("name", suite_names())
def test_suites_that_ship_are_shown_as_they_are(name: str):
    suite = load_suite(name)
    assert suite.shown(suite) == suite
    assert suite.sha256 == suite.shown(suite).sha256
    assert plain(suite) == {**suite.settings, "folder": suite.folder}


def test_what_an_sae_says_of_the_machine_of_its_training_is_shortened():
    """Its config may hold the path of its model, and whatever was handed to the library that loaded that."""
    told = {"model_name": "/home/someone/models/pico", "model_from_pretrained_kwargs": {"cache_dir": "/home/someone/c"}}
    found = metadata_of({"architecture": "standard", "metadata": told})
    assert found.model == ".../pico"
    assert found.options == (("cache_dir", '".../c"'),)


def test_models_of_one_name_are_not_told_apart_by_the_name_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from semconv.pipeline import own_pair

    monkeypatch.setenv("HOME", str(tmp_path / "home" / "someone"))
    places = [tmp_path / "home" / "someone" / "model", tmp_path / "other" / "model"]
    for place in places:
        os.makedirs(place)
    monkeypatch.setattr(own_pair, "model_of", lambda name, *more: ModelConfig(name, "x", _SAES))
    names = [model.name for model in models_of_pair((str(places[0]), str(places[1])), ([], []))]
    assert names == ["model", "other-model"]


_SAES = (SaeConfig("blocks.0.hook_resid_post", "x"),)
