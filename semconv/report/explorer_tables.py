"""What the page's explorer shows of the tables of a run: the strongest pairs of every layer pair, and their contexts.

Tables of any size are read piece by piece; what is kept of them is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, cast

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from semconv.runs.pairs_table import pair_batches
from semconv.system.errors import InputError
from semconv.text.contexts import N_CONTEXTS, context_batches

MOST_PAIRS = 5000
"""Pairs on the page, of every layer pair as many; `LEAST_OF_EACH` if that is more."""
LEAST_OF_EACH = 20
"""Pairs of every layer pair that are on the page however many layer pairs there are, up to `MOST_OF_LARGE` in all."""
MOST_OF_LARGE = 25_000
MOST_CONTEXTS = 50_000
"""Contexts on the page, of every feature as many, at least one."""
_KEYS = ("sae_a", "sae_b", "layer_a", "layer_b", "feature_a", "feature_b", "r")

Side = Literal["a", "b"]
Wanted = Callable[[Any, int], Bool[ndarray, " m"]]
"""Takes a piece of a table and the number of its first row, and says which rows of it are wanted."""


class PairRow(TypedDict):
    """A row of `pairs.parquet`, as far as it is shown."""

    layer_a: int
    layer_b: int
    sae_a: str
    sae_b: str
    feature_a: int
    feature_b: int
    r: float
    r_within_token: float | None
    top_tokens_a: list[str]
    top_tokens_b: list[str]
    link_a: str | None
    link_b: str | None


class ContextRow(TypedDict):
    """A row of `contexts.parquet`, as far as it is shown."""

    side: Side
    sae: str
    feature: int
    rank: int
    document: int
    before: str
    token: str
    after: str
    activation: float


class Feature(NamedTuple):
    """Which feature of which model."""

    side: Side
    sae: str
    number: int


@dataclass(frozen=True)
class Tables:
    """The rows of a run folder's tables that the explorer shows.

    Attributes:
        pairs: rows of `pairs.parquet`, the strongest first; None where there is no such file.
        contexts: rows of `contexts.parquet` of features of these pairs; None where there is no such file.
        total: pairs of the run.
        of_each: pairs that every layer pair has here at most; None where all are here.
        contexts_of_each: contexts that every feature has here at most; None where all are here.
    """

    pairs: list[PairRow] | None = None
    contexts: list[ContextRow] | None = None
    total: int = 0
    of_each: int | None = None
    contexts_of_each: int | None = None

    @classmethod
    def of_run(cls, folder: Path) -> Tables:
        """Reads what the run folder holds.

        Raises:
            InputError: a table is damaged.
        """
        if not (folder / "pairs.parquet").exists():
            return cls()
        counts = _count(folder)
        total, of_each = counts.total(), share_of_each(counts)
        rows = _strongest_rows(folder, counts, of_each)
        pairs = sorted(_rows(pair_batches(folder), _at(rows)), key=strongest_first)
        found = cls(cast("list[PairRow]", pairs), None, total, of_each if len(pairs) < total else None)
        return _with_contexts(folder, found) if (folder / "contexts.parquet").exists() else found


def strongest_first(pair: PairRow) -> tuple[float, int, int, str, str, int, int]:
    """Returns what pairs are sorted by."""
    layers, saes = (pair["layer_a"], pair["layer_b"]), (pair["sae_a"], pair["sae_b"])
    return -pair["r"], *layers, *saes, pair["feature_a"], pair["feature_b"]


def share_of_each(counts: Counter[tuple[str, str]]) -> int:
    """Returns how many pairs of every layer pair the page holds.

    Args:
        counts: SAEs of a layer pair -> its feature pairs, of those that have any.
    """
    n = max(1, len(counts))
    if counts.total() <= MOST_PAIRS:
        return MOST_PAIRS
    return max(1, MOST_PAIRS // n, min(LEAST_OF_EACH, MOST_OF_LARGE // n))


def of_each(pairs: Iterable[PairRow], most: int) -> list[PairRow]:
    """Returns the first pairs of every layer pair, `most` at most."""
    seen, kept = Counter[tuple[str, str]](), list[PairRow]()
    for pair in pairs:
        seen[pair["sae_a"], pair["sae_b"]] += 1
        if seen[pair["sae_a"], pair["sae_b"]] <= most:
            kept.append(pair)
    return kept


def _count(folder: Path) -> Counter[tuple[str, str]]:
    """Counts the pairs of every layer pair."""
    counts = Counter[tuple[str, str]]()
    for batch in pair_batches(folder, ("sae_a", "sae_b")):
        found = batch.group_by(["sae_a", "sae_b"]).aggregate([([], "count_all")]).to_pylist()
        counts.update({(row["sae_a"], row["sae_b"]): row["count_all"] for row in found})
    return counts


@dataclass
class _Strongest:
    """The strongest pairs that were seen of every layer pair.

    Attributes:
        most: of each.
        columns: cell, -r, layers, features and row of each, as arrays of one length.
    """

    most: int
    columns: list[ndarray] = field(default_factory=list[ndarray])

    def add(self, columns: Sequence[ndarray]) -> None:
        """Takes more pairs, and leaves those that are not among the strongest of their layer pair."""
        both = [np.concatenate(pair) for pair in zip(self.columns, columns, strict=True)] if self.columns else columns
        order = np.lexsort(both[::-1][1:])  # by cell, -r, layers and features; the last key counts most
        cells = both[0][order]
        first = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
        rank = np.arange(len(cells)) - np.repeat(first, np.diff(np.r_[first, len(cells)]))
        kept = order[rank < self.most]
        self.columns = [column[kept] for column in both]


def _strongest_rows(folder: Path, counts: Counter[tuple[str, str]], most: int) -> Int[ndarray, " n"]:
    """Returns the numbers of the rows of `pairs.parquet` that hold the strongest pairs of every layer pair.

    Raises:
        InputError: an r is no finite number.
    """
    numbers, strongest, begin = {cell: place for place, cell in enumerate(counts)}, _Strongest(most), 0
    for batch in pair_batches(folder, _KEYS):
        cells = _numbered(batch, ("sae_a", "sae_b"), numbers)
        r = batch["r"].to_numpy()
        if not np.isfinite(r).all():
            raise InputError(f"column r of {folder / 'pairs.parquet'} must hold finite numbers")
        others = [batch[name].to_numpy() for name in _KEYS[2:6]]
        strongest.add([cells, -r, *others, np.arange(begin, begin + len(r))])
        begin += len(r)
    if not strongest.columns:
        return np.zeros(0, np.int64)
    return np.sort(strongest.columns[-1][np.argsort(strongest.columns[1], kind="stable")[:MOST_OF_LARGE]])


def _numbered(batch: Any, names: tuple[str, str], numbers: Mapping[tuple[str, str], int]) -> Int[ndarray, " m"]:
    """Returns the number that the texts in two columns have together in every row, -1 where they have none."""
    encoded = [batch[name].combine_chunks().dictionary_encode() for name in names]
    one, other = (column.dictionary.to_pylist() for column in encoded)
    known = np.array([[numbers.get((first, second), -1) for second in other] for first in one], np.int64)
    return known[encoded[0].indices.to_numpy(), encoded[1].indices.to_numpy()]


def _at(rows: Int[ndarray, " n"]) -> Wanted:
    """Returns what tells `_rows` which rows of a table are wanted, by their numbers, ascending."""

    def wanted(batch: Any, begin: int) -> Bool[ndarray, " m"]:
        found = np.zeros(len(batch), bool)
        low, high = np.searchsorted(rows, (begin, begin + len(batch)))
        found[rows[low:high] - begin] = True
        return found

    return wanted


def _rows(batches: Iterable[Any], wanted: Wanted) -> Iterator[Any]:
    """Gives the rows of a table that are wanted as Python's values."""
    begin = 0
    for batch in batches:
        found = wanted(batch, begin)
        begin += len(batch)
        if found.any():
            yield from batch.filter(found).to_pylist()


def _with_contexts(folder: Path, tables: Tables) -> Tables:
    """Returns tables with the contexts of the features of their pairs, the strongest of each."""
    shown: dict[tuple[str, str], set[int]] = {}
    for pair in tables.pairs or ():
        shown.setdefault(("a", pair["sae_a"]), set()).add(pair["feature_a"])
        shown.setdefault(("b", pair["sae_b"]), set()).add(pair["feature_b"])
    features = [np.array(sorted(numbers), np.int64) for numbers in shown.values()]
    places, most = {of: place for place, of in enumerate(shown)}, MOST_CONTEXTS // max(1, sum(map(len, features))) or 1

    def wanted(batch: Any, _: int) -> Bool[ndarray, " m"]:
        place, feature = _numbered(batch, ("side", "sae"), places), batch["feature"].to_numpy()
        found = np.zeros(len(batch), bool)
        for one in np.unique(place[place >= 0]).tolist():
            here = place == one
            found[here] = np.isin(feature[here], features[one])
        return found & (batch["rank"].to_numpy() < most)

    return replace(
        tables,
        contexts=list(_rows(context_batches(folder), wanted)),
        contexts_of_each=most if most < N_CONTEXTS else None,
    )
