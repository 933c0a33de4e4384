"""Which pairs, features and text of a run the explorer holds, on the page or in the folder beside it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from semconv import InputError
from semconv.report import explorer as module
from semconv.report.explorer import Explorer, read_explorer, share_of_each
from semconv.report.explorer_cells import CellData, TextData, by_cell, visible
from semconv.report.explorer_shared import SharedData
from semconv.report.page_numbers import pack, pack_lists, pack_signed, unpack, unpack_lists, unpack_signed
from semconv.system import parquet
from tests._helpers.made_up_page import LINK, NASTY, Row, explorer_of, features, pairs, tables, texts, write_rows

pa = pytest.importorskip("pyarrow")


def many(n: int, layer_pairs: int) -> list[Row]:
    """Pairs of several layer pairs whose r often are the same, in an order of no meaning."""
    rng, one = np.random.default_rng(0), pairs(5)[4]
    drawn = zip(rng.integers(layer_pairs, size=n), rng.integers(99, size=n), rng.integers(50, size=n) / 50, strict=True)
    return [
        {**one, "sae_a": str(place), "layer_a": int(place), "feature_a": int(a), "feature_b": number, "r": float(r)}
        for number, (place, a, r) in enumerate(drawn)
    ]


def shown_of(cell: CellData) -> list[tuple[Any, ...]]:
    """r, A feature and B feature of every pair of a cell."""
    columns = cell["columns"]
    return list(zip(*(unpack_signed(columns[name]) for name in ("r", "feature_a", "feature_b")), strict=True))


def windows_of(shared: SharedData) -> list[tuple[int, int, list[str]]]:
    """Document, place and pieces of every window."""
    numbers, found = unpack(shared["windows"]), list[tuple[int, int, list[str]]]()
    while numbers:
        document, at, n, *rest = numbers
        found.append((document, at, [shared["words"][piece] for piece in rest[:n]]))
        numbers = rest[n:]
    return found


def examples_of(text: TextData) -> dict[int, list[tuple[str, int, dict[int, int], dict[int, int]]]]:
    """Pair -> band and window of its examples, and of both models the pieces that are active with their steps."""
    numbers, found = unpack(text["examples"]), dict[int, list[Any]]()
    while numbers:
        place, n, *numbers = numbers
        for _ in range(n):
            band, window, *numbers = numbers
            levels = list[dict[int, int]]()
            for _side in "ab":
                active, *numbers = numbers
                levels.append(dict(zip(numbers[: 2 * active : 2], numbers[1 : 2 * active : 2], strict=True)))
                numbers = numbers[2 * active :]
            found.setdefault(place, []).append((text["bands"][band], window, *levels))
    return found


def expected(rows: list[Row], sae_a: str, most: int) -> list[tuple[int, int, int]]:
    """The strongest of one layer pair, by sorting all of them."""
    found = [(-round(row["r"] * 10_000), row["feature_a"], row["feature_b"]) for row in rows if row["sae_a"] == sae_a]
    return [(-r, a, b) for r, a, b in sorted(found)[:most]]


def shards(folder: Path) -> dict[str, dict[str, Any]]:
    """What the files of the folder hand over, read as JSON."""
    found = {}
    for path in sorted((folder / "explorer").iterdir()):
        text = path.read_text()
        kind, place = path.stem.split("-")
        begin = f'semconvShard("{kind}",{place},'
        assert text.startswith(begin)
        assert text.endswith(");\n")
        assert "<" not in text
        found[path.stem] = json.loads(text[len(begin) : -3])
    return found


def test_a_run_that_is_not_large_is_shown_whole(tmp_path: Path):
    rows = pairs()
    write_rows(tmp_path, rows, texts(rows), features(rows))
    found = read_explorer(tmp_path, tmp_path)
    assert found
    assert found.notes == ()
    assert found.data["folder"] is None
    assert not (tmp_path / "explorer").exists()
    assert [(cell["a"], cell["b"], cell["total"]) for cell in found.data["cells"]] == [("0", "2", 20), ("1", "2", 20)]
    for cell in found.data["cells"]:
        assert shown_of(cell) == expected(rows, cell["a"], 20)
    one = found.data["cells"][1]
    assert unpack_signed(one["columns"]["r_within_token"])[:3] == [100, None, 500]
    assert unpack_signed(one["columns"]["mutual"]) == [0] * 20
    assert "function_agreement" not in one["columns"]
    shared = found.data["shared"]
    lists = unpack_lists(shared["lists"])
    promoted = [lists[number] for number in unpack(one["lists"]["promoted_a"])]
    assert [shared["words"][i] for i in promoted[0]] == ["promoted1"]
    assert len(promoted) == 20
    assert len(set(map(tuple, lists))) == len(lists)  # each once


def test_features_are_held_with_tokens_histograms_and_links():
    data = tables().data
    sae, words = data["saes"]["a"]["0"], data["shared"]["words"]
    assert unpack(sae["features"]) == [7, *range(100, 140, 2)]
    assert [words[number] for number in unpack_lists(sae["tokens"])[1]] == [visible(NASTY[0]), "word0", "word0"]
    assert sae["link"] == LINK
    # 36 digits for counts of at most 40: ceil(35 n / 40).
    assert sae.get("histogram", [])[0] == "z4310000" + "11"
    assert unpack(sae.get("paired", ""))[:2] == [0, 1]
    assert unpack_signed(sae.get("best_r", ""))[0] == 4000
    assert words[unpack(sae.get("best_sae", ""))[0] - 1] == "2"
    alone = data["saes"]["b"]["2"]
    assert (unpack_signed(alone.get("best_r", ""))[0], unpack(alone.get("best_sae", ""))[0]) == (None, 0)


def test_without_a_table_of_features_tokens_and_links_come_from_the_pairs():
    found = explorer_of(pairs(), None, None)
    assert found.notes == ("This folder holds no `shared_contexts.parquet`, so only top tokens are shown.",)
    assert unpack(found.data["saes"]["a"]["0"]["features"]) == list(range(100, 140, 2))
    assert found.data["saes"]["a"]["0"]["link"] == LINK
    assert found.data["saes"]["a"]["1"]["link"] == ""  # a link that leads elsewhere is none
    assert "paired" not in found.data["saes"]["a"]["0"]


def test_text_is_held_once_with_the_steps_of_both_models_where_they_are_active():
    data = tables().data
    text = data["cells"][0]["text"]
    assert text
    windows, examples = windows_of(data["shared"]), examples_of(text)
    assert len(windows) == 40  # of two layer pairs; two examples of a pair share one
    assert len(examples) == 20
    strongest, alone = examples[0]
    assert strongest == ("strongest", strongest[1], {1: 35, 2: 9}, {1: 30})
    assert (alone[0], alone[1], alone[3]) == ("only A", strongest[1], {})
    pieces = ["before100 ↵", visible(NASTY[0]), visible(NASTY[1])]
    assert windows[strongest[1]] == (7, 1, pieces)


@pytest.mark.parametrize("numbers", [[], [0], [43, 44, 44**2 - 1, 44**2, 2**31 - 1], list(range(5000))])
def test_numbers_are_read_back_as_they_were(numbers: list[int]):
    text = pack(numbers)
    assert unpack(text) == numbers
    assert not set(text) & set('"\\<>& ')  # nothing that JSON or HTML would write otherwise
    assert text.isascii()
    some = [None, *numbers, *(-n for n in numbers)]
    assert unpack_signed(pack_signed(some)) == some
    lists = [numbers, [], [1], numbers]
    assert unpack_lists(pack_lists(lists)) == lists


def test_the_excerpt_has_the_highest_r_of_all_with_their_text():
    first, second = tables().excerpt(2)
    assert (first.r, first.within, first.a.number, first.b.number) == (0.99, 0.0, 100, 500)
    assert first.text == ("before100 ↵", visible(NASTY[0]), visible(NASTY[1]))
    assert (second.r, second.a.sae) == (0.98, "1")


def test_of_a_large_run_the_page_has_the_strongest_and_the_folder_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet, "_ROWS", 100)
    rows = many(5100, 7)
    write_rows(tmp_path, rows, texts(rows[:300]), features(rows))
    found = read_explorer(tmp_path, tmp_path / "beside")
    assert found
    assert found.data["total"] == 5100
    most = min(5000 // 7, max(Counter(row["sae_a"] for row in rows).values()) // 2)
    held = shards(tmp_path / "beside")
    assert set(held) == {"b-0", *(f"{kind}-{n}" for n in range(7) for kind in ("pairs", "text", "a"))}
    for place, cell in enumerate(found.data["cells"]):
        assert shown_of(cell) == expected(rows, cell["a"], most)
        whole: Any = held[f"pairs-{place}"]
        assert shown_of(whole) == expected(rows, cell["a"], 5100)
        assert found.data["folder"]
        assert found.data["folder"]["cells"][place] == (cell["a"], "2", len(shown_of(whole)), True)
        features_of_cell = set(unpack(held[f"a-{place}"]["features"]))
        assert {row["feature_a"] for row in rows if row["sae_a"] == cell["a"]} | {7} == features_of_cell
    with_text = {(sae, row) for sae in range(7) for row in examples_of(cast("TextData", held[f"text-{sae}"]))}
    assert len(with_text) >= 290  # of 300 pairs, some of which have the same features
    (note,) = found.notes
    assert f"of 5,100 pairs, the {most:,} of highest r of every layer pair" in note
    assert "from the folder `explorer/` beside the page" in note


def test_what_does_not_fit_into_the_page_goes_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = pairs()
    write_rows(tmp_path, rows, texts(rows), features(rows))
    whole = read_explorer(tmp_path, tmp_path)
    assert whole
    size = module._bytes(whole.data)
    monkeypatch.setattr(module, "MOST_BYTES", size - 1)
    less = read_explorer(tmp_path, tmp_path)
    assert less
    assert [len(shown_of(cell)) for cell in less.data["cells"]] == [10, 10]
    assert len(shards(tmp_path)) == 7
    monkeypatch.setattr(module, "MOST_BYTES", size // 5)
    least = read_explorer(tmp_path, tmp_path)
    assert least
    assert 0 < len(shown_of(least.data["cells"][0])) < 10
    assert least.data["folder"] == less.data["folder"]
    assert module._bytes(least.data) <= size // 5


def test_how_many_of_every_layer_pair():
    def share(layer_pairs: int, each: int = 4000) -> int:
        return share_of_each(Counter({(str(n), "0"): each for n in range(layer_pairs)}))

    assert [share(n) for n in (1, 2, 49, 250, 1092, 5000, 30_000)] == [5000, 2500, 102, 20, 20, 5, 1]
    assert share(49, 100) == 5000  # all of 4,900
    assert share(0) == 5000


def test_an_r_that_is_no_number_is_refused(tmp_path: Path):
    rows = pairs(3)
    rows[1]["r"] = float("nan")
    with pytest.raises(InputError, match=r"column r of pairs.parquet must hold finite numbers"):
        explorer_of(rows)


def test_tables_in_another_order_are_refused(tmp_path: Path):
    rows = pairs(8)
    strange = [{**row, "sae_a": "9"} for row in texts(rows)]
    with pytest.raises(InputError, match=r"must hold layer pairs of pairs.parquet, in its order"):
        explorer_of(rows, strange)
    apart = [pa.Table.from_pylist([{"sae_a": a, "sae_b": "2"} for a in ("0", "1", "0")])]
    with pytest.raises(InputError, match="the rows of layers 0x2 must stand together"):
        list(by_cell(apart))


def test_a_run_without_any_pair_has_an_empty_explorer(tmp_path: Path):
    found = explorer_of([], [], [])
    assert isinstance(found, Explorer)
    assert (found.data["cells"], found.data["total"], found.notes, found.excerpt(3)) == ([], 0, (), [])
    assert read_explorer(tmp_path / "elsewhere", tmp_path) is None
