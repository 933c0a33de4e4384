"""Tables of a run folder: what is not what a run writes is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semconv import InputError, TokenBlocks
from semconv.report.explorer import read_explorer
from semconv.runs.pairs_table import MatchedPairs, read_pairs, write_pairs
from semconv.system import parquet
from semconv.text.contexts import FeaturesToShow, ReadText, read_contexts, write_contexts
from semconv.text.top_tokens import TopTokens

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pc = pytest.importorskip("pyarrow.compute")

Change = Callable[[Any], Any]
SIDES = TopTokens.of_sides([[["x"], ["z"]], [["u"], ["v"]]], ())


def write_both(folder: Path) -> None:
    """Two pairs, and a context of two features."""
    import torch

    at, r = np.array([0, 1]), np.array([0.5, 0.25])
    layers: dict[str, Any] = {"layer_a": 3, "layer_b": 5, "sae_a": "3", "sae_b": "5", "neuronpedia_b": "m/5-res"}
    pairs = MatchedPairs(
        **layers, a=at, b=at, r=r, influence=np.zeros((len(r), 7)), tokens_a=SIDES[0], tokens_b=SIDES[1]
    )
    write_pairs(folder / "pairs.parquet", [pairs])
    ids = torch.arange(4, dtype=torch.int32)[None]
    text = ReadText(TokenBlocks(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids)), list("abcd"))
    values = np.ones((2, 1), dtype=np.float32)
    write_contexts(folder / "contexts.parquet", [FeaturesToShow("a", 3, "3", at, at[:, None], values, text)])


def emptied(name: str) -> Change:
    return lambda t: t.set_column(t.column_names.index(name), t.schema.field(name), pa.nulls(len(t), t[name].type))


def typed(name: str, kind: Any) -> Change:
    return lambda t: t.set_column(t.column_names.index(name), name, pc.cast(t[name], kind))


CASES = [
    (
        "contexts",
        lambda t: t.drop_columns(["rank"]),
        "must have columns side, layer, sae, feature, rank, .* found side",
    ),
    ("contexts", lambda t: t.rename_columns([*t.column_names[:-1], "x"]), "must have columns .*activation, found .*x"),
    ("contexts", typed("layer", pa.string()), "column layer of .*contexts.parquet must be int32, found string"),
    ("contexts", typed("activation", pa.float64()), "column activation of .* must be float, found double"),
    ("contexts", emptied("token"), "column token of .* must have a value in every row, one is missing"),
    ("pairs", lambda t: t.append_column("more", t["r"]), "must have columns .*, found .*more"),
    ("pairs", typed("feature_a", pa.float64()), "column feature_a of .*pairs.parquet must be int64, found double"),
    ("pairs", emptied("r"), "column r of .* must have a value in every row"),
    (
        "pairs",
        lambda t: t.set_column(14, t.schema.field(14), pa.array([["x"], [None]])),
        "column top_tokens_a of .* must have a value in every row",
    ),
]


@pytest.mark.parametrize(("name", "change", "told"), CASES)
def test_other_tables_are_refused(tmp_path: Path, name: str, change: Change, told: str):
    write_both(tmp_path)
    path = tmp_path / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(InputError, match=told):
        (read_contexts if name == "contexts" else lambda run: read_explorer(run, run))(tmp_path)


def test_what_was_written_is_read(tmp_path: Path):
    write_both(tmp_path)
    assert read_pairs(tmp_path)["link_a"].to_pylist() == [None, None]
    assert read_contexts(tmp_path)["token"].to_pylist() == ["a", "b"]
    found = read_explorer(tmp_path, tmp_path)
    assert found
    assert found.data["total"] == 2


def test_columns_that_may_be_absent_are_read_as_missing(tmp_path: Path):
    write_both(tmp_path)
    path = tmp_path / "pairs.parquet"
    written = pq.read_table(path)
    pq.write_table(written.drop_columns(["active_a", "mutual", "function_agreement"]), path)
    read = read_pairs(tmp_path)
    assert (read["mutual"].null_count, read["function_agreement"].null_count) == (2, 2)
    place = written.schema.names.index("function_agreement")
    pq.write_table(written.set_column(place, "function_agreement", pa.array([0.5, None])), path)
    assert read_pairs(tmp_path)["function_agreement"].to_pylist() == [0.5, None]
    wrong = written.set_column(place, "function_agreement", pa.array(["x", "y"]))
    pq.write_table(wrong, path)
    with pytest.raises(InputError, match="column function_agreement of .* must be double, found string"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("read", [read_pairs, read_contexts])
def test_none_and_a_damaged_one_are_refused(tmp_path: Path, read: Callable[[Path], Any]):
    name = {read_pairs: "pairs", read_contexts: "contexts"}[read]
    with pytest.raises(InputError, match=f"holds no {name}.parquet; run"):
        read(tmp_path)
    (tmp_path / f"{name}.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match=f"{name}.parquet is damaged"):
        read(tmp_path)


def test_a_table_is_read_in_pieces_of_few_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet, "_ROWS", 10)
    schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
    parts = [pa.table({"n": range(n), "text": ["x"] * n}, schema=schema) for n in (4, 5, 0, 3, 25)]
    parquet.write_tables(tmp_path / "t.parquet", schema, parts)
    read = list(parquet.read_batches(tmp_path / "t.parquet", schema, columns=["n"]))
    assert [len(piece) for piece in read] == [9, 3, 10, 10, 5]
    assert pa.concat_tables(read).equals(pa.concat_tables(parts).select(["n"]))
    parquet.write_tables(tmp_path / "none.parquet", schema, [])
    assert list(parquet.read_batches(tmp_path / "none.parquet", schema)) == []
    assert parquet.read_table(tmp_path / "none.parquet", schema).num_rows == 0
