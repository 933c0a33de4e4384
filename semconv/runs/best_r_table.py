"""How r of best partners lies, in the text and by chance, by layer pair: `best_r.parquet` in the run folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from numpy import ndarray

from semconv.system.parquet import read_table, write_tables

NAME = "best_r.parquet"
COLUMNS = ("layer_a", "layer_b", "sae_a", "sae_b", "of", "null", "features", "mean", "counts")


@dataclass(frozen=True, eq=False, kw_only=True)
class BestR:
    """The best partners of one layer pair.

    Attributes:
        layer_a: of model A.
        layer_b: of model B.
        sae_a: label of A's SAE.
        sae_b: of B's.
        histograms: int64 [2, 2, bins], features by their r with their best partner, in bins of equal width from -1 to
            1: in the text and under one draw of `rematch`, of A features and of B features; a draw that was not taken
            counts nothing.
        means: float64 [2, 2], mean r.
    """

    layer_a: int
    layer_b: int
    sae_a: str
    sae_b: str
    histograms: Int[ndarray, "2 2 bins"]
    means: Float[ndarray, "2 2"]


def write_best_r(path: Path, groups: Iterable[BestR]) -> None:
    """Writes the best partners of all layer pairs as Parquet, up to four rows per layer pair, columns `COLUMNS`.

    `of` is the model whose features look for a partner; `null` is empty for the text as it is, or `rematch`.
    """
    import pyarrow as pa

    schema = best_r_schema()

    def rows(group: BestR) -> list[dict[str, Any]]:
        return [
            {
                **{name: getattr(group, name) for name in COLUMNS[:4]},
                "of": of,
                "null": null,
                "features": int(group.histograms[row, column].sum()),
                "mean": float(group.means[row, column]),
                "counts": group.histograms[row, column].tolist(),
            }
            for row, null in enumerate(("", "rematch"))
            for column, of in enumerate("ab")
            if group.histograms[row, column].any()
        ]

    write_tables(path, schema, (pa.Table.from_pylist(rows(group), schema) for group in groups))


def best_r_schema() -> Any:
    """Returns the pyarrow schema of `best_r.parquet`."""
    import pyarrow as pa

    text = pa.string()
    types = (pa.int32(), pa.int32(), text, text, text, text, pa.int64(), pa.float64(), pa.list_(pa.int64()))
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def read_best_r(run: Path) -> Any:
    """Reads the best partners of a run as a pyarrow table, columns `COLUMNS`.

    Raises:
        InputError: the folder holds none, or the file is not what `write_best_r` writes.
    """
    return read_table(run / NAME, best_r_schema())
