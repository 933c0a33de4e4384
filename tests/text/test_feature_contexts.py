"""Contexts of features: the strongest distinct ones with their values, over tokens and over spans."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations
from semconv.text.contexts import (
    COLUMNS,
    N_CONTEXTS,
    FeaturesToShow,
    ReadText,
    read_contexts,
    strongest,
    write_contexts,
)
from semconv.text.spans import Spans
from tests._helpers.blocks import blocks_of

pytest.importorskip("pyarrow")

BLOCKS = blocks_of([[-1, 0, 0, 0, -1, 1, 1], [-1, 1, 1, 2, 2, -1, 2], [-1, 3, 3, 3, -1, -1, -1]])
"""Token ids count up; 13 counted positions."""
IDS = BLOCKS.ids[BLOCKS.mask].tolist()
TEXTS = [f" {i}" for i in range(21)]


def acts(values: dict[tuple[int, int], float], n_tokens: int = 13, n_features: int = 5) -> SparseActivations:
    """Activations with these values at (token, feature)."""
    dense = torch.zeros(n_tokens, n_features)
    for at, value in values.items():
        dense[at] = value
    return SparseActivations.from_dense(dense)


def wanted(
    side: Literal["a", "b"], layer: int, features: list[int], of: SparseActivations, text: ReadText
) -> FeaturesToShow:
    rows = np.array(features, dtype=np.int64)
    return FeaturesToShow(side, layer, str(layer), rows, *strongest(of, rows), text)


def written(folder: Path, *features: FeaturesToShow) -> list[dict[str, object]]:
    write_contexts(folder / "contexts.parquet", features)
    return read_contexts(folder).to_pylist()


def test_rows_by_hand(tmp_path: Path):
    values = {(4, 3): 2.0, (1, 3): 5.0, (12, 3): 1.5, (0, 1): 9.0, (5, 4): 7.0}
    one = wanted("a", 6, [1, 3], acts(values), ReadText(BLOCKS, TEXTS))
    rows = written(tmp_path, one)
    assert [tuple(row) for row in rows] == [COLUMNS] * 4
    assert [(r["feature"], r["rank"], r["token"], r["activation"], r["document"]) for r in rows] == [
        (1, 0, " 1", 9.0, 0),
        (3, 0, " 2", 5.0, 0),
        (3, 1, " 6", 2.0, 1),
        (3, 2, " 17", 1.5, 3),
    ]
    assert {(r["side"], r["layer"]) for r in rows} == {("a", 6)}
    assert (rows[1]["before"], rows[1]["after"]) == (" 1", " 3")
    assert (rows[3]["before"], rows[3]["after"]) == (" 15 16", "")


def test_text_that_repeats_is_left_out_and_the_number_of_contexts_is_bounded(tmp_path: Path):
    values = {(token, 2): 20.0 - token for token in range(13)}
    same = ReadText(BLOCKS, ["x"] * 21)  # positions differ in how much text of their row stands around them
    rows = written(tmp_path, wanted("b", 0, [2], acts(values), same))
    shown = [(r["before"], r["token"], r["after"]) for r in rows]
    assert len(set(shown)) == len(shown)
    # Of positions 0, 1, 2 (three tokens), 3, 4 and 5, 6, 7, 8 (two tokens each) the distinct ones, strongest first.
    assert shown == [("", "x", "xx"), ("x", "x", "x"), ("xx", "x", ""), ("", "x", "x")]
    assert [r["activation"] for r in rows] == [20.0, 19.0, 18.0, 17.0]
    every = written(tmp_path, wanted("b", 0, [2], acts(values), ReadText(BLOCKS, TEXTS)))
    assert [r["rank"] for r in every] == list(range(N_CONTEXTS))
    assert [r["token"] for r in every] == [TEXTS[i] for i in IDS[:N_CONTEXTS]]


def test_over_spans_the_token_is_the_span(tmp_path: Path):
    starts, ends = torch.tensor([0, 3, 5, 9]), torch.tensor([2, 5, 6, 13])
    spans = Spans(starts, ends, torch.tensor([0, 1, 1, 2], dtype=torch.int32), 13)
    pooled = acts({(0, 0): 1.0, (1, 0): 3.0, (2, 0): 2.0}, n_tokens=4)
    rows = written(tmp_path, wanted("b", 2, [0], pooled, ReadText(BLOCKS, TEXTS, spans)))
    assert [(r["before"], r["token"], r["after"], r["document"]) for r in rows] == [
        ("", " 5 6", "", 1),
        ("", " 8", " 9", 1),
        ("", " 1 2", " 3", 0),
    ]


def test_the_same_inputs_give_the_same_bytes_and_nothing_gives_an_empty_table(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(13, 5, generator=generator) * (torch.rand(13, 5, generator=generator) < 0.5)
    one = wanted("a", 0, list(range(5)), SparseActivations.from_dense(dense), ReadText(BLOCKS, TEXTS))
    for name in ("0.parquet", "1.parquet"):
        write_contexts(tmp_path / name, [one])
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    none = wanted("a", 0, [], acts({(0, 0): 1.0}), one.text)
    silent = wanted("b", 0, [1], acts({(0, 0): 1.0}), one.text)
    assert written(tmp_path, none, silent) == []


def test_values_are_those_of_the_activations(tmp_path: Path):
    generator = torch.Generator().manual_seed(1)
    dense = (torch.rand(13, 5, generator=generator) - 0.3).relu()
    rows = written(
        tmp_path, wanted("a", 0, list(range(5)), SparseActivations.from_dense(dense), ReadText(BLOCKS, TEXTS))
    )
    assert len(rows) == 5 * N_CONTEXTS
    for row in rows:
        position = IDS.index(int(str(row["token"])))
        assert row["activation"] == float(dense[position, int(str(row["feature"]))])


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no contexts.parquet"):
        read_contexts(tmp_path)
    (tmp_path / "contexts.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"contexts.parquet is damaged"):
        read_contexts(tmp_path)
