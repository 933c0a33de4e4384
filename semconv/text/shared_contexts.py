"""The text at which the two features of a pair are shown side by side: `shared_contexts.parquet` in the run folder."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from semconv.system.errors import InputError
from semconv.system.parquet import read_batches, write_tables
from semconv.text.contexts import ReadText
from semconv.text.top_tokens import counted_ids

NAME = "shared_contexts.parquet"
COLUMNS = (
    *("layer_a", "layer_b", "sae_a", "sae_b", "feature_a", "feature_b", "band", "document"),
    *("at", "pieces", "levels_a", "levels_b"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class SharedContexts:
    """Places of the text where features of one layer pair are shown, m of them.

    Attributes:
        layer_a: of model A.
        layer_b: of model B.
        sae_a: label of A's SAE.
        sae_b: of B's.
        a: int64 [m] features of A.
        b: int64 [m] features of B.
        band: of every place, what it was chosen for.
        place: int64 [m], position among what is compared: counted tokens, or spans.
        levels_a: uint8 [m, width] activation of A's feature around the place, in steps.
        levels_b: uint8 [m, width] of B's.
        before: how many of the width come before the place.
    """

    layer_a: int
    layer_b: int
    sae_a: str
    sae_b: str
    a: Int[ndarray, " m"]
    b: Int[ndarray, " m"]
    band: Sequence[str]
    place: Int[ndarray, " m"]
    levels_a: Int[ndarray, "m width"]
    levels_b: Int[ndarray, "m width"]
    before: int


class PlacesOfText:
    """What stands at the places that are compared: tokens, or the spans that two tokenizers share, as A reads them.

    Attributes:
        runs: int64 [n], run of every place, ascending; text within one has no gap.
        documents: int64 [n], document of every place.
    """

    def __init__(self, text: ReadText) -> None:
        self._ids, self._texts, self._spans = counted_ids(text.blocks), text.texts, text.spans
        runs, documents = text.blocks.runs(), text.blocks.document[text.blocks.mask]
        at = slice(None) if text.spans is None else text.spans.starts
        self.runs: Int[ndarray, " n"] = runs[at].numpy()
        self.documents: Int[ndarray, " n"] = documents[at].long().numpy()

    def texts(self, places: Int[ndarray, " k"]) -> list[str]:
        """Returns the text at some places."""
        if self._spans is None:
            return [self._texts[i] for i in self._ids[torch.from_numpy(places)].tolist()]
        starts, ends = (of[torch.from_numpy(places)].tolist() for of in (self._spans.starts, self._spans.ends))
        return [
            "".join(self._texts[i] for i in self._ids[first:end].tolist())
            for first, end in zip(starts, ends, strict=True)
        ]


def write_shared_contexts(path: Path, groups: Iterable[SharedContexts], text: PlacesOfText) -> None:
    """Writes the places as Parquet, a row each and a row group per layer pair, columns `COLUMNS`.

    `pieces` is the text around a place, piece by piece, within its run; `at` is the number of the piece at the place;
    `levels_a` and `levels_b` have one number a piece.

    Args:
        path: the file.
        groups: the layer pairs, of which one at a time is in memory as a table.
        text: what stands at the places.
    """
    write_tables(path, shared_contexts_schema(), (_table(group, text) for group in groups))


def _table(group: SharedContexts, text: PlacesOfText) -> Any:
    import pyarrow as pa

    m, width = group.levels_a.shape
    places = group.place[:, None] + np.arange(width) - group.before
    inside = (places >= 0) & (places < len(text.runs))
    inside &= text.runs[np.where(inside, places, 0)] == text.runs[group.place][:, None]
    ends = np.append(0, inside.sum(axis=1).cumsum()).astype(np.int32)
    used, of_piece = np.unique(places[inside], return_inverse=True)
    pieces = pa.array(text.texts(used), pa.string()).take(pa.array(of_piece))

    def listed(values: Any) -> Any:
        return pa.ListArray.from_arrays(ends, values)

    columns = [
        *([one] * m for one in (group.layer_a, group.layer_b, group.sae_a, group.sae_b)),
        *(group.a, group.b, list(group.band), text.documents[group.place]),
        inside[:, : group.before].sum(axis=1),
        listed(pieces),
        *(listed(pa.array(levels[inside], pa.uint8())) for levels in (group.levels_a, group.levels_b)),
    ]
    return pa.table(columns, schema=shared_contexts_schema())


def shared_contexts_schema() -> Any:
    """Returns the pyarrow schema of `shared_contexts.parquet`."""
    import pyarrow as pa

    text, levels = pa.string(), pa.list_(pa.uint8())
    types = (
        *(pa.int32(), pa.int32(), text, text, pa.int64(), pa.int64(), text, pa.int32()),
        *(pa.int32(), pa.list_(text), levels, levels),
    )
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def shared_context_batches(run: Path) -> Generator[Any]:
    """Reads the places of a run piece by piece; gives pyarrow tables, columns `COLUMNS`.

    Raises:
        InputError: the folder holds none, or the file is not what `write_shared_contexts` writes.
    """
    import pyarrow.compute as pc

    compute: Any = pc
    path = run / NAME
    for table in read_batches(path, shared_contexts_schema()):
        lengths = [compute.list_value_length(table[name]) for name in ("pieces", "levels_a", "levels_b")]
        same = [compute.equal(lengths[0], other) for other in lengths[1:]]
        at = compute.and_(compute.greater_equal(table["at"], 0), compute.less(table["at"], lengths[0]))
        if not all(compute.all(fits, min_count=0).as_py() for fits in (*same, at)):
            raise InputError(f"{path} must hold one level of each model for every piece, and `at` must be one of them")
        yield table
