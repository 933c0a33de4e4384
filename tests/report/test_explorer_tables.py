"""Which pairs and contexts of a run the page holds, read piece by piece from tables of any size, and what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semconv import InputError
from semconv.matching.influence import INFLUENCES
from semconv.report import explorer_data as explorer_module
from semconv.report import explorer_tables as module
from semconv.report.explorer_data import Explorer, explorer_data
from semconv.report.explorer_tables import PairRow, Tables, share_of_each, strongest_first
from semconv.runs.pairs_table import LENS
from semconv.system import parquet
from tests._helpers.made_up_page import contexts, pairs

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


NOT_KNOWN: dict[str, Any] = dict.fromkeys((*INFLUENCES, "function_agreement", *LENS))


def write(folder: Path, of_pairs: list[PairRow], of_contexts: list[Any] | None = None) -> None:
    from semconv.runs.pairs_table import pairs_schema
    from semconv.text.contexts import contexts_schema

    pq.write_table(pa.Table.from_pylist(of_pairs, pairs_schema()), folder / "pairs.parquet")
    if of_contexts is not None:
        rows = [{"layer": 0, **one} for one in of_contexts]
        pq.write_table(pa.Table.from_pylist(rows, contexts_schema()), folder / "contexts.parquet")


def shown(folder: Path) -> Explorer:
    found = explorer_data(Tables.of_run(folder))
    assert found
    return found


def many(n: int, layer_pairs: int) -> list[PairRow]:
    """Pairs of several layer pairs whose r often are the same, in an order of no meaning."""
    rng, one = np.random.default_rng(0), {**pairs(5)[4], **NOT_KNOWN}
    return [
        {
            **one,
            "sae_a": str(place),
            "layer_a": int(place),
            "feature_a": int(a),
            "feature_b": number,
            "r": float(r),
        }
        for number, (place, a, r) in enumerate(
            zip(rng.integers(layer_pairs, size=n), rng.integers(99, size=n), rng.integers(50, size=n) / 50, strict=True)
        )
    ]


def expected(rows: list[PairRow], most: int) -> list[PairRow]:
    """The strongest of every layer pair, by sorting all of them."""
    kept, seen = list[PairRow](), Counter[str]()
    for row in sorted(rows, key=strongest_first):
        seen[row["sae_a"]] += 1
        if seen[row["sae_a"]] <= most:
            kept.append(row)
    return kept


def test_of_a_large_run_the_page_has_the_strongest_of_every_layer_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet, "_ROWS", 100)
    rows = many(5100, 7)
    write(tmp_path, rows)
    tables = Tables.of_run(tmp_path)
    assert (tables.total, tables.of_each) == (5100, 5000 // 7)
    assert tables.pairs == expected(rows, 5000 // 7)
    notes = shown(tmp_path).notes
    assert notes[0].startswith(f"On this page are {len(tables.pairs):,} of 5,100 pairs, the 714 of highest r of every")
    assert "all are in `pairs.parquet`" in notes[0]


def test_a_run_that_is_not_large_is_shown_whole(tmp_path: Path):
    write(tmp_path, pairs(40), contexts(40))
    tables = Tables.of_run(tmp_path)
    assert tables.pairs == [{**row, **NOT_KNOWN} for row in sorted(pairs(40), key=strongest_first)]
    assert (tables.total, tables.of_each) == (40, None)
    assert tables.contexts == [{"layer": 0, **row} for row in contexts(40)]
    assert shown(tmp_path).notes == ()


def test_how_many_of_every_layer_pair():
    def share(layer_pairs: int, each: int = 4000) -> int:
        return share_of_each(Counter({(str(n), "0"): each for n in range(layer_pairs)}))

    assert [share(n) for n in (1, 2, 49, 250, 1092, 5000, 30_000)] == [5000, 2500, 102, 20, 20, 5, 1]
    assert share(49, 100) == 5000  # all of 4,900
    assert share(0) == 5000


def test_contexts_are_those_of_the_pairs_that_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 4)
    monkeypatch.setattr(module, "LEAST_OF_EACH", 1)
    monkeypatch.setattr(parquet, "_ROWS", 7)
    write(tmp_path, pairs(40), contexts(40))
    tables = Tables.of_run(tmp_path)
    assert tables.contexts
    assert {(row["side"], row["feature"]) for row in tables.contexts} == {
        (side, base + n) for side, base in (("a", 100), ("b", 500)) for n in range(4)
    }


def test_of_many_features_the_page_has_fewer_contexts_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, pairs(40), contexts(40))
    monkeypatch.setattr(module, "MOST_CONTEXTS", 159)  # of 80 features
    tables = Tables.of_run(tmp_path)
    assert tables.contexts
    assert tables.contexts_of_each == 1
    assert {row["rank"] for row in tables.contexts} == {0}
    assert shown(tmp_path).notes[-1].startswith("Of the contexts of every feature the strongest are here")


def test_what_does_not_fit_into_the_page_is_left_out_weakest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, pairs(40), contexts(40))
    whole = shown(tmp_path)
    size = explorer_module._bytes(whole.data)
    monkeypatch.setattr(explorer_module, "MOST_BYTES", size - 1)
    less = shown(tmp_path)
    assert [len(feature.contexts) for feature in less.data["a"]] == [1] * 40
    assert less.data["pairs"] == whole.data["pairs"]
    assert less.notes == ("Of the contexts of every feature the strongest are here; all are in `contexts.parquet`.",)
    monkeypatch.setattr(explorer_module, "MOST_BYTES", size // 5)
    least = shown(tmp_path)
    assert not any(feature.contexts for side in ("a", "b") for feature in least.data[side])
    assert 0 < len(least.data["pairs"]) < 40
    assert least.data["total"] == 40
    assert explorer_module._bytes(least.data) <= size // 5


def test_an_r_that_is_no_number_is_refused(tmp_path: Path):
    rows = pairs(3)
    rows[1]["r"] = float("nan")
    write(tmp_path, rows)
    with pytest.raises(InputError, match="column r of .*pairs.parquet must hold finite numbers"):
        Tables.of_run(tmp_path)


def test_a_run_without_any_pair_has_an_empty_explorer(tmp_path: Path):
    write(tmp_path, [], [])
    found = shown(tmp_path)
    assert (found.data["pairs"], found.data["total"], found.notes) == ([], 0, ())
    assert Tables.of_run(tmp_path / "elsewhere").pairs is None
