"""The text that activates the features of matched pairs most: `contexts.parquet` in the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError
from semconv.system.parquet import read_table, write_tables
from semconv.text.spans import Spans
from semconv.text.token_blocks import TokenBlocks
from semconv.text.top_tokens import Context, contexts, top_positions

COLUMNS = ("side", "layer", "sae", "feature", "rank", "document", "before", "token", "after", "activation")
N_CONTEXTS = 4
"""Distinct contexts kept of every feature."""
_LOOKED_AT = 12  # strongest positions among which distinct contexts are sought: text repeats itself
_BEFORE, _AFTER = 10, 6  # tokens around a position


@dataclass(frozen=True, eq=False)
class ReadText:
    """What one model read, and how its tokens read.

    Attributes:
        blocks: its tokens.
        texts: text of every token id.
        spans: stretches of its tokens that activations were pooled over, where a suite aligns two tokenizers.
    """

    blocks: TokenBlocks
    texts: list[str]
    spans: Spans | None = None


@dataclass(frozen=True, eq=False)
class FeaturesToShow:
    """Features of one SAE whose contexts are wanted.

    Attributes:
        side: model A or B.
        layer: of the SAE.
        sae: label of the SAE.
        features: int64 [n], each once.
        positions: int64 [n, k] where each is strongest, as `strongest` gives them: counted tokens, or spans of `text`.
        values: float32 [n, k] activations there.
        text: what its model read.
    """

    side: Literal["a", "b"]
    layer: int
    sae: str
    features: Int[ndarray, " n"]
    positions: Int[ndarray, "n k"]
    values: Float[ndarray, "n k"]
    text: ReadText


@dataclass(frozen=True)
class _Shown:
    """One context as it is written: `before`, `token` and `after` are text, where the feature is active on `token`."""

    document: int
    before: str
    token: str
    after: str


def _shown(context: Context, width: int) -> _Shown:
    """Cuts a context into the `width` tokens that the feature is active on and what surrounds them."""
    at, end = context.index, context.index + width
    parts = context.pieces[:at], context.pieces[at:end], context.pieces[end : end + _AFTER]
    return _Shown(context.document, *("".join(part) for part in parts))


def _contexts(text: ReadText, positions: Tensor) -> list[list[_Shown]]:
    """Returns the text around positions of the activations, int64 [n, k] with -1 for none: tokens, or spans."""
    if text.spans is None:
        found = contexts(text.blocks, positions, text.texts, _BEFORE, _AFTER)
        return [[_shown(context, 1) for context in row] for row in found]
    starts = torch.where(positions < 0, -1, text.spans.starts[positions.clamp(min=0)])
    widths = text.spans.lengths[positions.clamp(min=0)]
    longest = int(widths.max()) if widths.numel() else 1
    found = contexts(text.blocks, starts, text.texts, _BEFORE, _AFTER + longest - 1)
    return [
        [_shown(context, width) for context, width in zip(row, row_widths, strict=False)]
        for row, row_widths in zip(found, widths.tolist(), strict=True)
    ]


def strongest(
    acts: SparseActivations, features: Int[ndarray, " n"]
) -> tuple[Int[ndarray, "n k"], Float[ndarray, "n k"]]:
    """Returns where features are strongest, strongest first and -1 for none, and their activations there, 0 for none.

    Args:
        acts: activations of all features of an SAE.
        features: int64 [n].
    """
    acts, wanted = acts.to("cpu"), torch.from_numpy(features)
    positions = top_positions(acts, _LOOKED_AT)[wanted]
    used, place = torch.unique(positions.clamp(min=0), return_inverse=True)
    rows = acts.tokens(used) if len(used) else acts.rows(0, 1)
    stored = rows.token_of_entry() * rows.n_features + rows.indices  # rises: tokens in order, features within them
    at = torch.searchsorted(stored, place * rows.n_features + wanted[:, None]).clamp(max=max(len(stored) - 1, 0))
    held = rows.values.float() if len(stored) else torch.zeros(1)
    return positions.numpy(), torch.where(positions < 0, 0.0, held[at]).numpy()


def _rows(wanted: FeaturesToShow) -> Iterator[tuple[str, int, str, int, int, int, str, str, str, float]]:
    shown = _contexts(wanted.text, torch.from_numpy(wanted.positions))
    for feature, found, row in zip(wanted.features.tolist(), shown, wanted.values.tolist(), strict=True):
        distinct = dict[tuple[str, str, str], tuple[_Shown, float]]()
        for context, value in zip(found, row, strict=False):  # positions that are none come last
            distinct.setdefault((context.before, context.token, context.after), (context, value))
        for rank, (c, value) in enumerate(list(distinct.values())[:N_CONTEXTS]):
            yield wanted.side, wanted.layer, wanted.sae, feature, rank, c.document, c.before, c.token, c.after, value


def write_contexts(path: Path, wanted: Iterable[FeaturesToShow]) -> None:
    """Writes the strongest distinct contexts of features as Parquet, a row per context, columns `COLUMNS`.

    Contexts of a feature are ranked from 0, the strongest, by activation, ties to the earlier position; a text that
    comes again is left out.
    """
    import pyarrow as pa

    schema = contexts_schema()

    def table(one: FeaturesToShow) -> Any:
        columns = list(zip(*_rows(one), strict=True))
        return pa.table([list(column) for column in columns], schema=schema) if columns else schema.empty_table()

    write_tables(path, schema, map(table, wanted))


def contexts_schema() -> Any:
    """Returns the pyarrow schema of `contexts.parquet`."""
    import pyarrow as pa

    text = pa.string()
    types = (text, pa.int32(), text, pa.int64(), pa.int32(), pa.int32(), text, text, text, pa.float32())
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def read_contexts(run: Path) -> Any:
    """Reads the contexts of a run as a pyarrow table, a row per context, columns `COLUMNS`.

    Raises:
        InputError: the folder holds none, or the file is not what `write_contexts` writes.
    """
    table = read_table(run / "contexts.parquet", contexts_schema())
    _check(run / "contexts.parquet", table)
    return table


def _check(path: Path, table: Any) -> None:
    """Raises InputError where a number of a table of contexts is none that `write_contexts` writes."""
    import pyarrow.compute as pc

    compute: Any = pc
    whole = [compute.greater_equal(table[name], 0) for name in ("layer", "feature", "rank", "document")]
    active = table["activation"]
    right = [*whole, compute.and_(compute.is_finite(active), compute.greater_equal(active, 0))]
    for name, fits in zip(("layer", "feature", "rank", "document", "activation"), right, strict=True):
        if not compute.all(fits, min_count=0).as_py():
            raise InputError(f"column {name} of {path} must hold finite numbers of at least 0")
