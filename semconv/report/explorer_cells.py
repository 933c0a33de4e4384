"""Feature pairs of one layer pair as the explorer holds them: a list per column, and the text they are shown with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from semconv.runs.pairs_table import NEURONPEDIA
from semconv.system.errors import InputError

FRACTIONS = (
    *("r", "r_within_token", "r_without_strongest", "next_r_a", "next_r_b"),
    *("function_agreement", "lens_agreement"),
)
"""Columns of `pairs.parquet` that the explorer holds as whole numbers of 1 / SCALE."""
SCALE = 10_000
WHOLES = ("feature_a", "feature_b", "active_a", "active_b", "active_both", "mutual", "next_a", "next_b")
LISTS = ("categories_a", "categories_b", "promoted_a", "suppressed_a", "promoted_b", "suppressed_b")
TOKENS = ("top_tokens_a", "top_tokens_b", "link_a", "link_b")
NEEDED = ("sae_a", "sae_b", *WHOLES, *FRACTIONS, *LISTS)
"""Columns of `pairs.parquet` that are read."""
_TOKEN = 60  # characters of a token
_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)
_VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | {127: "\u2421"}
_VISIBLE |= dict.fromkeys(range(128, 160), "\ufffd")
_VISIBLE |= {ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍"}
# Marks that reorder the text around them would reorder the page.
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")


def visible(text: str) -> str:
    """Returns text in which control characters can be seen and change nothing around them."""
    return text if text.isprintable() else text.translate(_VISIBLE)


class Example(NamedTuple):
    """A place at which a pair is shown: what it was chosen for, its number in `windows`, a digit per piece of each."""

    band: str
    window: int
    a: str
    b: str


class TextData(TypedDict):
    """The text that pairs of a layer pair are shown with.

    `pieces` are the different ones; `windows` are document, which piece is the place, and numbers of pieces; `examples`
    are those of every pair that has any, by its place among the pairs.
    """

    pieces: list[str]
    windows: list[tuple[int, int, list[int]]]
    examples: dict[str, list[Example]]


class CellData(TypedDict):
    """The feature pairs of a layer pair, strongest first; what no pair has is not in `columns`.

    `lists` are per column and pair the numbers of entries of `words`.
    """

    a: str
    b: str
    total: int
    columns: dict[str, list[int | None]]
    words: list[str]
    lists: dict[str, list[list[int]]]
    text: TextData | None


class SaeData(TypedDict):
    """Features of an SAE, ascending: a list per column.

    `tokens` are per feature the numbers of its top tokens among `words`, strongest first, repeats included; `histogram`
    is a digit, 0 to z, for each part of the activations from 0 to the highest.
    """

    features: list[int]
    words: list[str]
    tokens: list[list[int]]
    link: str
    active: NotRequired[list[int]]
    histogram: NotRequired[list[str]]
    paired: NotRequired[list[int]]
    best_sae: NotRequired[list[str | None]]
    best_feature: NotRequired[list[int | None]]
    best_r: NotRequired[list[int | None]]


def by_cell(batches: Iterable[Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """Gives SAEs and rows of every layer pair of a table, one after the other.

    Raises:
        InputError: the rows of a layer pair do not stand together.
    """
    import pyarrow as pa

    seen, held = set[tuple[str, str]](), list[Any]()
    key: tuple[str, str] | None = None
    for batch in batches:
        saes = [batch[name].combine_chunks().dictionary_encode() for name in ("sae_a", "sae_b")]
        codes = [one.indices.to_numpy() for one in saes]
        changes = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
        bounds = [0, *changes.tolist(), len(batch)]
        for begin, end in pairwise(bounds):
            if begin == end:
                continue
            here = tuple(one.dictionary[int(code[begin])].as_py() for one, code in zip(saes, codes, strict=True))
            if here != key:
                if key is not None:
                    yield key, pa.concat_tables(held)
                if here in seen:
                    raise InputError(f"the rows of layers {'x'.join(here)} must stand together, found them apart")
                key, held = here, []
                seen.add(here)
            held.append(batch.slice(begin, end - begin))
    if key is not None:
        yield key, pa.concat_tables(held)


def sorted_rows(table: Any) -> Any:
    """Returns the rows of a layer pair, the highest r first, ties to the lower features.

    Raises:
        InputError: an r is no finite number.
    """
    r, a, b = (table[name].to_numpy() for name in ("r", "feature_a", "feature_b"))
    if not np.isfinite(r).all():
        raise InputError("column r of pairs.parquet must hold finite numbers")
    return table.take(np.lexsort((b, a, -r)))


def cell_data(key: tuple[str, str], table: Any, total: int, text: TextData | None) -> CellData:
    """Returns the pairs of a layer pair.

    Args:
        key: labels of both SAEs.
        table: rows of `pairs.parquet`, in the order in which they are shown.
        total: pairs of the layer pair in the run.
        text: of these rows.
    """
    columns: dict[str, list[int | None]] = {}
    for name in (*WHOLES, *FRACTIONS):
        column = table[name].combine_chunks()
        if column.null_count == len(column) and len(column):
            continue
        columns[name] = _whole_numbers(column, SCALE if name in FRACTIONS else 1)
    number: dict[str, int] = {}
    lists = {
        name: [[number.setdefault(visible(word)[:_TOKEN], len(number)) for word in row or ()] for row in rows]
        for name in LISTS
        if any(rows := table[name].to_pylist())
    }
    return CellData(a=key[0], b=key[1], total=total, columns=columns, words=list(number), lists=lists, text=text)


def _whole_numbers(column: Any, scale: int) -> list[int | None]:
    values = column.to_numpy(zero_copy_only=False)
    if column.null_count == 0:
        return np.rint(values.astype(np.float64) * scale).astype(np.int64).tolist()
    return [None if value is None or value != value else round(value * scale) for value in column.to_pylist()]


def first_of(cell: CellData, most: int) -> CellData:
    """Returns the first pairs of a cell, without their text."""
    columns = {name: values[:most] for name, values in cell["columns"].items()}
    lists = {name: values[:most] for name, values in cell["lists"].items()}
    return {**cell, "columns": columns, "lists": lists, "text": None}


def text_data(table: Any, pairs: Any) -> TextData:
    """Returns the text of a layer pair.

    Args:
        table: its rows of `shared_contexts.parquet`.
        pairs: its rows of `pairs.parquet`, in the order in which they are shown; text of others is left out.
    """
    of_pair = {
        features: place
        for place, features in enumerate(zip(*(pairs[f"feature_{s}"].to_pylist() for s in "ab"), strict=True))
    }
    ids, pieces = _numbered(table["pieces"].combine_chunks())
    ends = _ends(table["pieces"].combine_chunks())
    levels = [
        _DIGITS[np.minimum(table[name].combine_chunks().flatten().to_numpy(), len(_DIGITS) - 1)].tobytes().decode()
        for name in ("levels_a", "levels_b")
    ]
    number: dict[tuple[int, int, tuple[int, ...]], int] = {}
    examples: dict[str, list[Example]] = {}
    names = ("feature_a", "feature_b", "band", "document", "at")
    rows = zip(*(table[name].to_pylist() for name in names), ends, ends[1:], strict=False)
    for a, b, band, document, at, first, end in rows:
        place = of_pair.get((a, b))
        if place is None:
            continue
        window = number.setdefault((document, at, tuple(ids[first:end])), len(number))
        example = Example(visible(band), window, levels[0][first:end], levels[1][first:end])
        examples.setdefault(str(place), []).append(example)
    return TextData(pieces=pieces, windows=[(d, at, list(w)) for d, at, w in number], examples=examples)


def _ends(lists: Any) -> list[int]:
    """Returns where lists begin and end among their entries."""
    offsets = lists.offsets.to_numpy()
    return (offsets - offsets[0]).tolist()


def _numbered(lists: Any) -> tuple[list[int], list[str]]:
    """Returns the texts of lists, one list after the other, as numbers, and the different texts as they are shown."""
    encoded = lists.flatten().dictionary_encode()
    return encoded.indices.to_pylist(), [visible(text) for text in encoded.dictionary.to_pylist()]


def sae_data(table: Any, link: str = "") -> SaeData:
    """Returns features of an SAE.

    Args:
        table: rows of `features.parquet`, or a table with `feature` and `top_tokens` alone.
        link: what comes before the number of a feature in its link, empty where there is none.
    """
    ids, words = _numbered(table["top_tokens"].combine_chunks())
    ends = _ends(table["top_tokens"].combine_chunks())
    tokens = [ids[first:end] for first, end in pairwise(ends)]
    words = [word[:_TOKEN] for word in words]
    data = SaeData(features=table["feature"].to_pylist(), words=words, tokens=tokens, link=link)
    if "active" not in table.schema.names:
        return data
    counts = np.array(table["histogram"].to_pylist(), dtype=np.float64)
    return {
        **data,
        "active": table["active"].to_pylist(),
        "histogram": _bars(counts) if len(counts) else [],
        "paired": [int(one) for one in table["paired"].to_pylist()],
        "best_sae": table["best_sae"].to_pylist(),
        "best_feature": table["best_feature"].to_pylist(),
        "best_r": _whole_numbers(table["best_r"].combine_chunks(), SCALE),
    }


def _bars(counts: Int[ndarray, "n parts"]) -> list[str]:
    """Returns histograms as digits, 0 to z, the fullest part z; a part that holds anything has at least 1."""
    most = np.maximum(counts.max(axis=1, keepdims=True), 1)
    digits = _DIGITS[np.ceil(counts / most * (len(_DIGITS) - 1)).astype(np.int64)].tobytes().decode()
    parts = counts.shape[1]
    return [digits[first : first + parts] for first in range(0, len(digits), parts)]


def link_prefix(links: Mapping[int, str | None]) -> str:
    """Returns what the links of features share before their numbers; empty unless it is Neuronpedia's.

    Args:
        links: feature -> its link.
    """
    for feature, link in links.items():
        if link and link.startswith(f"{NEURONPEDIA}/") and link.endswith(f"/{feature}"):
            return link.removesuffix(str(feature))
    return ""
