"""The feature explorer of the page: every pair on the page itself, or the strongest there and all in a folder.

Tables of any size are read one layer pair, or one SAE, at a time. A page that is opened from a disk may not fetch, but
it may load scripts; so the files of the folder are scripts that hand over data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from semconv.report.explorer_cells import (
    NEEDED,
    SCALE,
    TOKENS,
    CellData,
    SaeData,
    by_cell,
    cell_data,
    link_prefix,
    sae_data,
    sorted_rows,
    text_data,
)
from semconv.report.explorer_excerpt import Excerpt, Excerpts, Side
from semconv.report.explorer_shared import Shared, SharedData
from semconv.report.page_json import embedded
from semconv.runs.pairs_table import NEURONPEDIA, pair_batches
from semconv.system.errors import InputError
from semconv.text import feature_table, shared_contexts

MOST_PAIRS = 5000
"""Pairs of a run up to which the page holds all of them, with their text; of more it holds so many, of every layer pair
as many; `LEAST_OF_EACH` if that is more."""
LEAST_OF_EACH = 20
"""Pairs of every layer pair that are on the page however many layer pairs there are, up to `MOST_OF_LARGE` in all."""
MOST_OF_LARGE = 25_000
MOST_BYTES = 20 * 2**20
"""Bytes of the explorer's JSON on the page."""
FOLDER = "explorer"

Counts = Counter[tuple[str, str]]
"""SAEs of a layer pair -> its feature pairs, of those that have any."""


class FolderData(TypedDict):
    """What lies in the folder beside the page: a file for each SAE of `a` and of `b`, and two for each layer pair.

    `cells` are SAEs, pairs, and whether there is text, of each layer pair; a file has the number of its entry.
    """

    a: list[str]
    b: list[str]
    cells: list[tuple[str, str, int, bool]]


class ExplorerData(TypedDict):
    """What the explorer works on.

    `total` counts the pairs of the run; `text` says whether it has any text to show; `folder` is None where the page
    holds everything.
    """

    scale: int
    neuronpedia: str
    total: int
    text: bool
    cells: list[CellData]
    saes: dict[Side, dict[str, SaeData]]
    shared: SharedData
    folder: FolderData | None


@dataclass(frozen=True)
class ShownExplorer:
    """JSON for the script, notes, an excerpt, pairs of the run, and whether files lie beside the page."""

    json: str
    notes: tuple[str, ...]
    excerpt: list[Excerpt]
    total: int
    beside: bool


@dataclass(frozen=True)
class Explorer:
    """The explorer, and what it holds in words.

    Attributes:
        data: for the script.
        notes: which of the pairs of the run it holds, and which of them with text; none where it holds all.
    """

    data: ExplorerData
    notes: tuple[str, ...] = ()

    def shown(self, most: int) -> ShownExplorer:
        """Returns what the page holds of it, with an excerpt of so many pairs; this may be freed then."""
        beside = self.data["folder"] is not None
        return ShownExplorer(embedded(self.data), self.notes, self.excerpt(most), self.data["total"], beside)

    def excerpt(self, most: int) -> list[Excerpt]:
        """Returns the pairs of highest r, for print and for pages without a script."""
        return Excerpts(self.data["cells"], self.data["saes"], self.data["shared"]).highest(most)


def share_of_each(counts: Counts) -> int:
    """Returns how many pairs of every layer pair the page itself holds."""
    n = max(1, len(counts))
    if counts.total() <= MOST_PAIRS:
        return MOST_PAIRS
    return max(1, MOST_PAIRS // n, min(LEAST_OF_EACH, MOST_OF_LARGE // n))


def read_explorer(run: Path, beside: Path) -> Explorer | None:
    """Reads what the explorer shows of a run; None where the run has no table of pairs.

    Args:
        run: its folder.
        beside: folder of the page; `explorer` in it is written where the page does not hold every pair.

    Raises:
        InputError: a table is damaged.
        OSError: the folder cannot be written.
    """
    if not (run / "pairs.parquet").exists():
        return None
    counts = _count(run)
    if counts.total() <= MOST_PAIRS:
        found = _Reader(run, counts, None, MOST_PAIRS).read()
        if _bytes(found.data) <= MOST_BYTES:
            return found
    each = min(share_of_each(counts), max(counts.values(), default=1) // 2 or 1)
    found = _Reader(run, counts, beside / FOLDER, each).read()
    in_folder = found.data["folder"]
    while _bytes(found.data) > MOST_BYTES and each > 1:
        each //= 2
        found = _Reader(run, counts, None, each, partly=True).read()
        found.data["folder"] = in_folder
    return found


def _bytes(data: ExplorerData) -> int:
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _count(run: Path) -> Counts:
    """Counts the pairs of every layer pair."""
    counts = Counter[tuple[str, str]]()
    for batch in pair_batches(run, ("sae_a", "sae_b")):
        found = batch.group_by(["sae_a", "sae_b"], use_threads=False).aggregate([([], "count_all")]).to_pylist()
        counts.update({(row["sae_a"], row["sae_b"]): row["count_all"] for row in found})
    return counts


@dataclass
class _Reader:
    """One reading of a run's tables.

    Attributes:
        run: folder of the run.
        counts: pairs of every layer pair.
        folder: where every layer pair and every SAE is written; None to write nothing.
        each: pairs of every layer pair that the page holds.
        partly: whether the page holds less than all; always where there is a folder.
    """

    run: Path
    counts: Counts
    folder: Path | None
    each: int
    partly: bool = False
    _wanted: dict[tuple[Side, str], set[int]] = field(default_factory=dict[tuple[Side, str], set[int]])
    _tokens: dict[tuple[Side, str], dict[int, list[str]]] = field(
        default_factory=dict[tuple[Side, str], dict[int, list[str]]]
    )
    _shared: Shared = field(default_factory=Shared)
    _links: dict[tuple[Side, str], str] = field(default_factory=dict[tuple[Side, str], str])

    def read(self) -> Explorer:
        self.partly |= self.folder is not None
        has_text = (self.run / shared_contexts.NAME).exists()
        self._has_features = (self.run / feature_table.NAME).exists()
        cells = list(self._cells())
        saes: dict[Side, dict[str, SaeData]] = {"a": {}, "b": {}}
        for (side, label), data in self._saes():
            saes[side][label] = data
        folder = None
        if self.partly:
            folder = FolderData(
                a=list(saes["a"]), b=list(saes["b"]), cells=[(*key, *of) for key, of in self._in_order.items()]
            )
        data = ExplorerData(
            scale=SCALE,
            neuronpedia=NEURONPEDIA,
            total=self.counts.total(),
            text=has_text,
            cells=cells,
            saes=saes,
            folder=folder,
            shared=self._shared.data(),
        )
        return Explorer(data, self._notes(data))

    def _notes(self, data: ExplorerData) -> tuple[str, ...]:
        notes = list[str]()
        if self.partly:
            shown = sum(cell["rows"] for cell in data["cells"])
            notes.append(
                f"On this page are {shown:,} of {data['total']:,} pairs, the {self.each:,} of highest r of every layer "
                f"pair; choosing layers reads the others, with their text, from the folder `{FOLDER}/` beside the page."
            )
        if not data["text"]:
            notes.append(f"This folder holds no `{shared_contexts.NAME}`, so only top tokens are shown.")
        return tuple(notes)

    def _cells(self) -> Iterator[CellData]:
        """Gives what the page holds of every layer pair; writes all of it where there is a folder."""
        columns = NEEDED if self._has_features else (*NEEDED, *TOKENS)
        texts, self._in_order = _Texts(self.run), dict[tuple[str, str], tuple[int, bool]]()
        for place, (key, table) in enumerate(by_cell(pair_batches(self.run, columns))):
            rows = sorted_rows(table)
            of_text = texts.of(key) if not self.partly or self.folder else None
            self._in_order[key] = len(rows), of_text is not None
            if not self._has_features:
                self._remember(key, rows)
            if not self.partly:
                text = text_data(of_text, rows, self._shared) if of_text is not None else None
                yield cell_data(key, rows, len(rows), text, self._shared)
                continue
            if self.folder:
                self._write_cell(key, place, rows, of_text)
            shown = rows.slice(0, self.each)
            for side, sae in zip(("a", "b"), key, strict=True):
                self._wanted.setdefault((side, sae), set()).update(shown[f"feature_{side}"].to_pylist())
            yield cell_data(key, shown, len(rows), None, self._shared)
        if self.folder or not self.partly:
            texts.check_all_read()

    def _write_cell(self, key: tuple[str, str], place: int, rows: Any, of_text: Any | None) -> None:
        """Writes all pairs of a layer pair, and their text, into files of the folder."""
        shared = Shared()
        cell = cell_data(key, rows, len(rows), None, shared)
        _write(self._path, "pairs", place, {**cell, "shared": shared.data()})
        if of_text is not None:
            shared = Shared()
            text = text_data(of_text, rows, shared)
            _write(self._path, "text", place, {**text, "shared": shared.data()})

    @property
    def _path(self) -> Path:
        assert self.folder
        return self.folder

    def _remember(self, key: tuple[str, str], rows: Any) -> None:
        """Keeps top tokens and links of the features of pairs, for runs that have no table of features."""
        for side, label in zip(("a", "b"), key, strict=True):
            features = rows[f"feature_{side}"].to_pylist()
            tokens = self._tokens.setdefault((side, label), {})
            tokens.update(zip(features, rows[f"top_tokens_{side}"].to_pylist(), strict=True))
            links = dict(zip(features, rows[f"link_{side}"].to_pylist(), strict=True))
            self._links[side, label] = self._links.get((side, label)) or link_prefix(links)

    def _saes(self) -> Iterator[tuple[tuple[Side, str], SaeData]]:
        """Gives what the page holds of every SAE; writes all of it where there is a folder."""
        places = Counter[str]()
        for (side, label), table, link in self._tables_of_features():
            if self.folder:
                shared = Shared()
                sae = sae_data(table, link, shared)
                _write(self.folder, side, places[side], {**sae, "shared": shared.data()})
            places[side] += 1
            if self.partly:
                wanted = np.array(sorted(self._wanted.get((side, label), ())), dtype=np.int64)
                table = table.filter(np.isin(table["feature"].to_numpy(), wanted))
            yield (side, label), sae_data(table, link, self._shared)

    def _tables_of_features(self) -> Iterator[tuple[tuple[Side, str], Any, str]]:
        import pyarrow as pa

        if not self._has_features:
            for key, tokens in sorted(self._tokens.items()):
                numbers = sorted(tokens)
                listed = pa.array([tokens[number] for number in numbers], pa.list_(pa.string()))
                yield key, pa.table({"feature": pa.array(numbers, pa.int64()), "top_tokens": listed}), self._links[key]
            return
        renamed = (
            batch.rename_columns([{"side": "sae_a", "sae": "sae_b"}.get(name, name) for name in batch.schema.names])
            for batch in feature_table.feature_batches(self.run)
        )
        for (side, label), table in by_cell(renamed):
            if side not in ("a", "b"):
                raise InputError(f"column side of {self.run / feature_table.NAME} must be a or b, found {side}")
            known = table["neuronpedia"][0].as_py()
            yield (side, label), table, f"{NEURONPEDIA}/{known}/" if known else ""


class _Texts:
    """The text of layer pairs, read beside their pairs, of which it has the order."""

    def __init__(self, run: Path) -> None:
        self._path = run / shared_contexts.NAME
        there = self._path.exists()
        self._left = by_cell(shared_contexts.shared_context_batches(run)) if there else iter(())
        self._next = next(self._left, None)

    def of(self, key: tuple[str, str]) -> Any | None:
        """Returns the rows of a layer pair, None where it has none."""
        if self._next is None or self._next[0] != key:
            return None
        table, self._next = self._next[1], next(self._left, None)
        return table

    def check_all_read(self) -> None:
        """Raises InputError where layer pairs are left: they come in another order than the pairs."""
        if self._next is not None:
            raise InputError(f"{self._path} must hold layer pairs of pairs.parquet, in its order")


def _write(folder: Path, kind: str, place: int, data: Mapping[str, Any]) -> None:
    """Writes a file of the folder, plainly: the folder takes its place as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}-{place}.js").write_text(f'semconvShard("{kind}",{place},{embedded(data)});\n', encoding="utf-8")
