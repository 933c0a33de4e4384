"""Text at which two features are shown: pieces within a run, tokens or spans, with a level of each model per piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv import InputError, SparseActivations
from semconv.text.contexts import ReadText
from semconv.text.feature_table import PARTS, SaeFeatures, activation_histograms, feature_batches, write_features
from semconv.text.shared_contexts import (
    NAME,
    PlacesOfText,
    SharedContexts,
    shared_context_batches,
    write_shared_contexts,
)
from semconv.text.spans import Spans
from semconv.text.top_tokens import TopTokens
from tests._helpers.blocks import blocks_of

pq = pytest.importorskip("pyarrow.parquet")
BLOCKS = blocks_of([[-1, 0, 0, 0, -1, 1, 1], [-1, 1, 1, 2, 2, -1, 2], [-1, 3, 3, 3, -1, -1, -1]])
"""Token ids count up; 13 counted positions, of which 0 to 2, 3 to 4, ... are runs."""
TEXTS = [f" {i}" for i in range(21)]


def group(places: list[int], width: int = 5) -> SharedContexts:
    m = len(places)
    levels = np.arange(m * width, dtype=np.uint8).reshape(m, width)
    return SharedContexts(
        layer_a=1,
        layer_b=2,
        sae_a="1",
        sae_b="2",
        a=np.arange(m),
        b=np.arange(m) + 10,
        band=["strongest"] * m,
        place=np.array(places),
        levels_a=levels,
        levels_b=levels + 100,
        before=2,
    )


def written(folder: Path, of: SharedContexts, text: PlacesOfText) -> list[dict[str, Any]]:
    write_shared_contexts(folder / NAME, [of], text)
    return [row for batch in shared_context_batches(folder) for row in batch.to_pylist()]


def test_pieces_end_where_a_run_ends(tmp_path: Path):
    rows = written(tmp_path, group([1, 3, 12]), PlacesOfText(ReadText(BLOCKS, TEXTS)))
    assert [(row["pieces"], row["at"], row["document"]) for row in rows] == [
        ([" 1", " 2", " 3"], 1, 0),
        ([" 5", " 6"], 0, 1),
        ([" 15", " 16", " 17"], 2, 3),
    ]
    # Of the five levels around each place those within the run.
    assert [row["levels_a"] for row in rows] == [[1, 2, 3], [7, 8], [10, 11, 12]]
    assert [row["levels_b"] for row in rows] == [[101, 102, 103], [107, 108], [110, 111, 112]]
    assert (rows[1]["feature_a"], rows[1]["feature_b"], rows[1]["band"]) == (1, 11, "strongest")


def test_where_tokenizers_differ_the_pieces_are_the_spans_that_they_share(tmp_path: Path):
    spans = Spans(torch.tensor([0, 2, 3]), torch.tensor([2, 3, 5]), torch.tensor([0, 0, 1], dtype=torch.int32), 13)
    rows = written(tmp_path, group([0, 2]), PlacesOfText(ReadText(BLOCKS, TEXTS, spans)))
    assert [(row["pieces"], row["at"]) for row in rows] == [([" 1 2", " 3"], 0), ([" 5 6"], 0)]


def test_a_table_whose_levels_do_not_fit_its_pieces_is_refused(tmp_path: Path):
    written(tmp_path, group([1]), PlacesOfText(ReadText(BLOCKS, TEXTS)))
    table = pq.read_table(tmp_path / NAME)
    for name, value in (("levels_b", [[1, 2]]), ("at", [3])):
        number = table.schema.names.index(name)
        import pyarrow as pa

        wrong = table.set_column(number, table.schema.field(name), pa.array(value, table.schema.field(name).type))
        pq.write_table(wrong, tmp_path / NAME)
        with pytest.raises(InputError, match=r"shared_contexts.parquet must hold one level of each model"):
            list(shared_context_batches(tmp_path))


def test_histograms_are_those_of_numpy():
    rng = np.random.default_rng(0)
    dense = (rng.random((200, 4)) * (rng.random((200, 4)) < 0.5)).astype(np.float32)
    dense[:, 3] = 0
    highest, counts = activation_histograms(SparseActivations.from_dense(torch.from_numpy(dense)))
    assert highest.tolist() == dense.max(axis=0).tolist()
    for feature in range(3):
        values = dense[dense[:, feature] > 0, feature]
        assert counts[feature].tolist() == np.histogram(values, PARTS, (0, values.max()))[0].tolist()
    assert counts[3].sum() == 0


def test_features_are_written_with_their_best_partners(tmp_path: Path):
    tokens = TopTokens.of_sides([[["x", " y"], [], ["z"]]], ())[0]
    one = SaeFeatures(
        side="b",
        layer=2,
        sae="2",
        highest=np.array([1.5, 0, 2], dtype=np.float32),
        histogram=np.array([[1] * PARTS, [0] * PARTS, [2] * PARTS]),
        paired=np.array([True, False, False]),
        best_sae=["0", None, "1"],
        best_feature=np.array([4, -1, 5]),
        best_r=np.array([0.5, np.nan, 0.25]),
        tokens=tokens,
        neuronpedia="m/2-res",
    )
    write_features(tmp_path / "features.parquet", [one])
    rows = [row for batch in feature_batches(tmp_path) for row in batch.to_pylist()]
    assert [(r["best_sae"], r["best_feature"], r["best_r"]) for r in rows] == [
        ("0", 4, 0.5),
        (None, None, None),
        ("1", 5, 0.25),
    ]
    assert [r["active"] for r in rows] == [PARTS, 0, 2 * PARTS]
    assert [r["top_tokens"] for r in rows] == [["x", "y"], [], ["z"]]
    assert {(r["side"], r["layer"], r["sae"], r["neuronpedia"]) for r in rows} == {("b", 2, "2", "m/2-res")}
