"""The table of matched pairs: every pair once, with its tokens and links, in both formats."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semconv import InputError
from semconv.runs.pairs_table import (
    COLUMNS,
    DETAILS,
    MatchedPairs,
    PairLenses,
    export_pairs,
    read_pairs,
    write_pairs,
)
from semconv.text.top_tokens import TopTokens

pytest.importorskip("pyarrow")

TOKENS_A, TOKENS_B = TopTokens.of_sides([[["x", " y"], ["z"], []], [["u"], ["v,w"]]], ())
R = np.array([0.5, 0.1234567890123456])
GROUP = MatchedPairs(
    layer_a=3,
    layer_b=5,
    sae_a="3",
    sae_b="5.mlp_out",
    a=np.array([2, 0]),
    b=np.array([0, 1]),
    r=R,
    influence=np.array([[0.4] * 7, [0.1, 0.2, np.nan, 0.3, 0.4, 0.5, -0.1]]),
    tokens_a=TOKENS_A,
    tokens_b=TOKENS_B,
    neuronpedia_b="m/5-res",
    function=np.array([np.nan, -0.5]),
    lenses=PairLenses(
        np.array([[[0, 0], [1, 2]], [[0, 0], [0, 0]], [[0, 0], [2, 2]], [[0, 0], [0, 2]]]),
        ["x", "y", "u"],
        np.array([0.25, np.nan]),
    ),
)
NONE = np.array([], dtype="l")


def test_a_row_per_pair_with_tokens_and_links(tmp_path: Path):
    nothing = replace(GROUP, layer_b=6, sae_b="6", a=NONE, b=NONE, r=np.array([], dtype="f"))
    nothing = replace(nothing, influence=np.zeros((0, 7)), neuronpedia_b="", function=None, lenses=None)
    write_pairs(tmp_path / "pairs.parquet", [GROUP, nothing])
    rows = read_pairs(tmp_path).to_pylist()
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert {rows[1].pop(name) for name in DETAILS} == {None}
    assert rows[1] == {
        "layer_a": 3,
        "layer_b": 5,
        "sae_a": "3",
        "sae_b": "5.mlp_out",
        "feature_a": 0,
        "feature_b": 1,
        "r": 0.1234567890123456,
        "r_without_strongest": 0.1,
        "r_ranks": 0.2,
        "r_within_token": None,
        "strongest_share": 0.3,
        "document_share": 0.4,
        "token_share": 0.5,
        "within_token_share": -0.1,
        "top_tokens_a": ["x", "y"],
        "top_tokens_b": ["v,w"],
        "link_a": None,
        "link_b": "https://www.neuronpedia.org/m/5-res/1",
        "function_agreement": -0.5,
        "promoted_a": ["y", "u"],
        "suppressed_a": ["x", "x"],
        "promoted_b": ["u", "u"],
        "suppressed_b": ["x", "u"],
        "lens_agreement": None,
    }
    assert (rows[0]["lens_agreement"], rows[0]["function_agreement"]) == (0.25, None)
    assert rows[0]["top_tokens_a"] == []


def test_how_pairs_fire_and_whom_else_they_match_is_kept(tmp_path: Path):
    details: dict[str, list[object]] = {
        "active_a": [5, 6],
        "active_b": [7, 8],
        "active_both": [1, 2],
        "mutual": [True, False],
        "next_a": [None, 3],
        "next_r_a": [float("nan"), 0.25],
        "next_b": [1, 0],
        "next_r_b": [0.1, 0.2],
        "categories_a": [["Time"], []],
        "categories_b": [[], []],
    }
    write_pairs(tmp_path / "pairs.parquet", [replace(GROUP, details=details)])
    read = read_pairs(tmp_path)
    assert {name: read[name].to_pylist() for name in DETAILS} == {**details, "next_r_a": [None, 0.25]}


def test_csv_holds_the_same_numbers(tmp_path: Path):
    write_pairs(tmp_path / "pairs.parquet", [GROUP])
    assert export_pairs(tmp_path, tmp_path / "out.csv") == 2
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["r"]) for row in rows] == [0.5, 0.1234567890123456]
    assert json.loads(rows[1]["top_tokens_a"]) == ["x", "y"], "tokens can be read back"
    assert json.loads(rows[1]["top_tokens_b"]) == ["v,w"]
    assert (rows[1]["link_a"], rows[1]["mutual"]) == ("", "")


def test_no_text_of_a_csv_is_a_formula(tmp_path: Path):
    tokens, _ = TopTokens.of_sides([[["=1+1", "x"], ["-"]], [["@y"], ["+z"]]], ())
    group = replace(GROUP, sae_a="-3", sae_b="=5", a=np.array([0, 1]), r=-R, tokens_a=tokens)
    write_pairs(tmp_path / "pairs.parquet", [group])
    export_pairs(tmp_path, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["top_tokens_a"] for row in rows) == ['["-"]', '["=1+1", "x"]']
    assert {(row["sae_a"], row["sae_b"]) for row in rows} == {("'-3", "'=5")}
    assert sorted(float(row["r"]) for row in rows) == sorted(-R), "numbers stay numbers"


def test_a_run_is_not_exported_over_its_own_pairs(tmp_path: Path):
    write_pairs(tmp_path / "pairs.parquet", [GROUP])
    with pytest.raises(InputError, match="which is read to make it"):
        export_pairs(tmp_path, tmp_path / "pairs.parquet")
    assert len(read_pairs(tmp_path)) == 2


def test_what_is_no_run_or_damaged_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no pairs.parquet"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match="pairs.parquet is damaged"):
        read_pairs(tmp_path)


def test_an_exported_parquet_is_the_same_table(tmp_path: Path):
    write_pairs(tmp_path / "pairs.parquet", [GROUP])
    (tmp_path / "again").mkdir()
    assert export_pairs(tmp_path, tmp_path / "again" / "pairs.parquet") == 2
    assert read_pairs(tmp_path / "again").equals(read_pairs(tmp_path))
