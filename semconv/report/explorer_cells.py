"""Feature pairs of one layer pair as the explorer holds them: a list per column, and the text they are shown with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from semconv.report.explorer_shared import Shared, SharedData
from semconv.report.page_numbers import pack, pack_lists, pack_signed
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
STEPS_OF_LEVELS = 35
"""Steps of an activation up to the highest of its feature, as `shared_contexts.parquet` has them."""
_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)
_VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | {127: "\u2421"}
_VISIBLE |= dict.fromkeys(range(128, 160), "\ufffd")
_VISIBLE |= {ord("\n"): "↵", ord("\t"): "⇥", ord("\r"): "␍"}
# Marks that reorder the text around them would reorder the page.
_VISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")


def visible(text: str) -> str:
    """Returns text in which control characters can be seen and change nothing around them."""
    return text if text.isprintable() else text.translate(_VISIBLE)


class TextData(TypedDict):
    """The text that pairs of a layer pair are shown with.

    `examples` are packed (`pack`): of every pair that has any its place among the pairs and how many; of each of these
    the number of its band, of its window, and of both models the pieces that are active: how many, and of each which
    piece and how high, in steps.
    """

    bands: list[str]
    examples: str
    shared: NotRequired[SharedData]


class CellData(TypedDict):
    """The feature pairs of a layer pair, strongest first; what no pair has is not in `columns`, each `pack_signed`.

    `lists` are per column and pair the number of a list (`SharedData`), packed. `shared` is there in a file of its own.
    """

    a: str
    b: str
    total: int
    rows: int
    columns: dict[str, str]
    lists: dict[str, str]
    text: TextData | None
    shared: NotRequired[SharedData]


class SaeData(TypedDict):
    """Features of an SAE, ascending: a column each, packed.

    `tokens` are per feature a list of the numbers of its top tokens among the words, strongest first, repeats included;
    `histogram` is a digit, 0 to z, for each part of the activations from 0 to the highest; `best_sae` the number of a
    word, 1 more than it, or 0.
    """

    features: str
    tokens: str
    link: str
    active: NotRequired[str]
    histogram: NotRequired[list[str]]
    paired: NotRequired[str]
    best_sae: NotRequired[str]
    best_feature: NotRequired[str]
    best_r: NotRequired[str]
    shared: NotRequired[SharedData]


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


def cell_data(key: tuple[str, str], table: Any, total: int, text: TextData | None, shared: Shared) -> CellData:
    """Returns pairs of a layer pair.

    Args:
        key: labels of both SAEs.
        table: rows of `pairs.parquet`, in the order in which they are shown.
        total: pairs of the layer pair in the run.
        text: of these rows.
        shared: takes the words.
    """
    columns = dict[str, str]()
    for name in (*WHOLES, *FRACTIONS):
        column = table[name].combine_chunks()
        if column.null_count == len(column) and len(column):
            continue
        columns[name] = pack_signed(_whole_numbers(column, SCALE if name in FRACTIONS else 1))
    lists = {
        name: pack([shared.list_of(visible(word)[:_TOKEN] for word in row or ()) for row in rows])
        for name in LISTS
        if any(rows := table[name].to_pylist())
    }
    return CellData(a=key[0], b=key[1], total=total, rows=len(table), columns=columns, lists=lists, text=text)


def _whole_numbers(column: Any, scale: int) -> list[int | None]:
    values = column.to_numpy(zero_copy_only=False)
    if column.null_count == 0:
        return np.rint(values.astype(np.float64) * scale).astype(np.int64).tolist()
    return [None if value is None or value != value else round(value * scale) for value in column.to_pylist()]


def text_data(table: Any, pairs: Any, shared: Shared) -> TextData:
    """Returns the text of a layer pair.

    Args:
        table: its rows of `shared_contexts.parquet`.
        pairs: its rows of `pairs.parquet`, in the order in which they are shown; text of others is left out.
        shared: takes the pieces and windows.
    """
    of_pair = {
        features: place
        for place, features in enumerate(zip(*(pairs[f"feature_{s}"].to_pylist() for s in "ab"), strict=True))
    }
    ids, pieces = _numbered(table["pieces"].combine_chunks())
    ends = _ends(table["pieces"].combine_chunks())
    levels = [table[name].combine_chunks().flatten().to_numpy() for name in ("levels_a", "levels_b")]
    steps = [np.minimum(one, STEPS_OF_LEVELS) for one in levels]
    number, known = dict[str, int](), dict[int, int]()
    examples = dict[int, list[list[int]]]()
    names = ("feature_a", "feature_b", "band", "document", "at")
    rows = zip(*(table[name].to_pylist() for name in names), pairwise(ends), strict=True)
    for a, b, band, document, at, (first, end) in rows:
        place = of_pair.get((a, b))
        if place is None:
            continue
        some = ids[first:end]
        for one in some:
            if one not in known:
                known[one] = shared.word(pieces[one])
        window = shared.window(document, at, [known[one] for one in some])
        example = [number.setdefault(visible(band), len(number)), window]
        for side in steps:
            active = np.flatnonzero(side[first:end])
            example += [len(active), *np.stack([active, side[first:end][active]], axis=1).ravel().tolist()]
        examples.setdefault(place, []).append(example)
    packed = [n for place, some in examples.items() for n in (place, len(some), *(n for one in some for n in one))]
    return TextData(bands=list(number), examples=pack(packed))


def _ends(lists: Any) -> list[int]:
    """Returns where lists begin and end among their entries."""
    offsets = lists.offsets.to_numpy()
    return (offsets - offsets[0]).tolist()


def _numbered(lists: Any) -> tuple[list[int], list[str]]:
    """Returns the texts of lists, one list after the other, as numbers, and the different texts as they are shown."""
    encoded = lists.flatten().dictionary_encode()
    return encoded.indices.to_pylist(), [visible(text) for text in encoded.dictionary.to_pylist()]


def sae_data(table: Any, link: str, shared: Shared) -> SaeData:
    """Returns features of an SAE.

    Args:
        table: rows of `features.parquet`, or a table with `feature` and `top_tokens` alone.
        link: what comes before the number of a feature in its link, empty where there is none.
        shared: takes the words.
    """
    ids, words = _numbered(table["top_tokens"].combine_chunks())
    ends = _ends(table["top_tokens"].combine_chunks())
    known = shared.numbers(word[:_TOKEN] for word in words)
    tokens = pack_lists([known[one] for one in ids[first:end]] for first, end in pairwise(ends))
    data = SaeData(features=pack(table["feature"].to_pylist()), tokens=tokens, link=link)
    if "active" not in table.schema.names:
        return data
    counts = np.array(table["histogram"].to_pylist(), dtype=np.float64)
    return {
        **data,
        "active": pack(table["active"].to_pylist()),
        "histogram": _bars(counts) if len(counts) else [],
        "paired": pack(map(int, table["paired"].to_pylist())),
        "best_sae": pack(0 if one is None else 1 + shared.word(one) for one in table["best_sae"].to_pylist()),
        "best_feature": pack_signed(table["best_feature"].to_pylist()),
        "best_r": pack_signed(_whole_numbers(table["best_r"].combine_chunks(), SCALE)),
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
