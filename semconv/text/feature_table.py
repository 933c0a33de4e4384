"""Every feature of every SAE that was compared, paired or not: `features.parquet` in the run folder."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from semconv.core.sparse import SparseActivations
from semconv.system.parquet import read_batches, write_tables
from semconv.text.top_tokens import TopTokens

NAME = "features.parquet"
COLUMNS = (
    *("side", "layer", "sae", "feature", "active", "highest", "histogram"),
    *("paired", "best_sae", "best_feature", "best_r", "top_tokens", "neuronpedia"),
)
_OPTIONAL = ("best_sae", "best_feature", "best_r")
PARTS = 10
"""Parts of equal width, from 0 to the highest activation of a feature, in which its activations are counted."""
_AT_ONCE = 2**24


@dataclass(frozen=True, eq=False, kw_only=True)
class SaeFeatures:
    """The F features of one SAE.

    Attributes:
        side: model A or B.
        layer: of the SAE.
        sae: label of the SAE.
        highest: float32 [F], highest activation, 0 where there is none.
        histogram: int64 [F, PARTS], at how many places the activation lies in each part.
        paired: bool [F], whether any layer pair has a pair of it.
        best_sae: SAE of the other model with the best partner, None where there is none.
        best_feature: int64 [F], that partner.
        best_r: float [F], its r, NaN where there is none.
        tokens: table of the top-activating tokens.
        neuronpedia: what Neuronpedia calls the SAE, empty where it has none.
    """

    side: Literal["a", "b"]
    layer: int
    sae: str
    highest: Float[ndarray, " F"]
    histogram: Int[ndarray, "F PARTS"]
    paired: Bool[ndarray, " F"]
    best_sae: Sequence[str | None]
    best_feature: Int[ndarray, " F"]
    best_r: Float[ndarray, " F"]
    tokens: TopTokens
    neuronpedia: str = ""


def activation_histograms(acts: SparseActivations) -> tuple[Float[ndarray, " F"], Int[ndarray, "F PARTS"]]:
    """Returns the highest activation of every feature, float32 [F], and how its activations lie below it.

    The second, int64 [F, PARTS], counts the stored activations above 0; the last part holds the highest.
    """
    highest = acts.feature_max().cpu().numpy()
    counts = np.zeros(acts.n_features * PARTS, dtype=np.int64)
    for indices, values in zip(acts.indices.split(_AT_ONCE), acts.values.split(_AT_ONCE), strict=True):
        feature, value = indices.long().cpu().numpy(), values.float().cpu().numpy()
        feature, value = feature[value > 0], value[value > 0]
        part = np.minimum((value / highest[feature] * PARTS).astype(np.int64), PARTS - 1)
        counts += np.bincount(feature * PARTS + part, minlength=len(counts))
    return highest, counts.reshape(-1, PARTS)


def write_features(path: Path, groups: Iterable[SaeFeatures]) -> None:
    """Writes the features of all SAEs as Parquet, a row per feature and a row group per SAE, columns `COLUMNS`."""
    write_tables(path, features_schema(), map(_table, groups))


def _table(group: SaeFeatures) -> Any:
    import pyarrow as pa

    n, numbers = len(group.paired), group.tokens.numbers
    known, there = np.isfinite(group.best_r), numbers >= 0
    texts = pa.array(group.tokens.texts, pa.string()).take(pa.array(numbers[there]))
    ends = np.append(0, there.sum(axis=1).cumsum()).astype(np.int32)
    of_parts = np.arange(n + 1, dtype=np.int32) * PARTS
    return pa.table(
        [
            *([one] * n for one in (group.side, group.layer, group.sae)),
            np.arange(n),
            group.histogram.sum(axis=1),
            pa.array(group.highest, pa.float32()),
            pa.ListArray.from_arrays(of_parts, pa.array(group.histogram.ravel())),
            group.paired,
            pa.array([sae if is_known else None for sae, is_known in zip(group.best_sae, known, strict=True)]),
            pa.array(group.best_feature, pa.int64(), mask=~known),
            pa.array(group.best_r, pa.float64(), mask=~known),
            pa.ListArray.from_arrays(ends, texts),
            [group.neuronpedia] * n,
        ],
        schema=features_schema(),
    )


def features_schema() -> Any:
    """Returns the pyarrow schema of `features.parquet`."""
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    types = (
        *(text, pa.int32(), text, whole, whole, pa.float32(), pa.list_(whole)),
        *(pa.bool_(), text, whole, pa.float64(), pa.list_(text), text),
    )
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def feature_batches(run: Path, columns: Sequence[str] = COLUMNS) -> Generator[Any]:
    """Reads the features of a run piece by piece; gives pyarrow tables of some columns.

    Raises:
        InputError: the folder holds none, or the file is not what `write_features` writes.
    """
    return read_batches(run / NAME, features_schema(), _OPTIONAL, columns)
