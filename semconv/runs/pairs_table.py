"""The matched feature pairs of a run as a table: `pairs.parquet` in the run folder, and what is exported from it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from numpy import ndarray

from semconv.matching.influence import INFLUENCES
from semconv.system.errors import InputError
from semconv.system.files import check_target, write_atomically
from semconv.system.parquet import read_batches, read_table, write_tables
from semconv.text.top_tokens import TopTokens

FIRING = ("active_a", "active_b", "active_both")
"""Places of the text at which A's feature of a pair is active, B's, and both."""
PARTNERS = ("mutual", "next_a", "next_r_a", "next_b", "next_r_b")
"""Whether each feature of a pair is the other's best partner; the best other partner of each: `next_a` and its r are of
the A feature that comes next for the pair's B feature, `next_b` of the B feature that comes next for its A feature."""
CATEGORIES = ("categories_a", "categories_b")
"""Semantic categories of both features, by their top tokens; none where the suite has none."""
LENS = ("promoted_a", "suppressed_a", "promoted_b", "suppressed_b", "lens_agreement")
"""Which tokens the features make more and less likely by the logit lens, and how alike their logits are."""
FUNCTION = ("function_agreement", *LENS)
"""How alike what the features do is, where a run has measured it."""
DETAILS = (*FIRING, *PARTNERS, *CATEGORIES)
COLUMNS = (
    *("layer_a", "layer_b", "sae_a", "sae_b", "feature_a", "feature_b", "r"),
    *INFLUENCES,
    *("top_tokens_a", "top_tokens_b", "link_a", "link_b"),
    *DETAILS,
    *FUNCTION,
)
_ABSENT = (*DETAILS, *FUNCTION)
_OPTIONAL = (*INFLUENCES, "link_a", "link_b", *_ABSENT)
NEURONPEDIA = "https://www.neuronpedia.org"


@dataclass(frozen=True, eq=False)
class PairLenses:
    """The logit lens of the features of pairs.

    Attributes:
        tokens: int [4, n, k] token ids: what A's feature promotes most, what it suppresses most, and the same of B's.
        texts: text of every token id.
        agreement: float64 [n], correlation of both features' logits, NaN where it is not defined.
    """

    tokens: Int[ndarray, "4 n k"]
    texts: Sequence[str]
    agreement: Float[ndarray, " n"]


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPairs:
    """The pairs of one layer pair.

    Attributes:
        layer_a: of model A.
        layer_b: of model B.
        sae_a: label of A's SAE.
        sae_b: of B's.
        a: int64 [n] features of A.
        b: int64 [n] features of B.
        r: float64 [n].
        influence: float64 [n, influences] what r rests on (`semconv.matching.influence.INFLUENCES`), NaN where that is
            not defined.
        tokens_a: table of the top-activating tokens of all A features.
        tokens_b: of B.
        neuronpedia_a: what Neuronpedia calls A's SAE, empty where it has none.
        neuronpedia_b: of B.
        function: float64 [n], how alike what both features do is (`semconv.study.tell_function.function_agreement`),
            NaN where it is not known; None where nothing was ablated.
        lenses: the logit lens of both features of every pair; None where it was not taken.
        details: columns of `DETAILS` by their names, each of length n; None where they are not known.
    """

    layer_a: int
    layer_b: int
    sae_a: str
    sae_b: str
    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    r: Float[ndarray, " n"]
    influence: Float[ndarray, "n influences"]
    tokens_a: TopTokens
    tokens_b: TopTokens
    neuronpedia_a: str = ""
    neuronpedia_b: str = ""
    function: Float[ndarray, " n"] | None = None
    lenses: PairLenses | None = None
    details: Mapping[str, Sequence[Any] | ndarray] | None = None


def _tokens(table: TopTokens, features: Int[ndarray, " n"]) -> list[list[str]]:
    return [[table.texts[i] for i in row if i >= 0] for row in table.numbers[features].tolist()]


def _links(sae: str, features: Int[ndarray, " n"]) -> list[str | None]:
    return [f"{NEURONPEDIA}/{sae}/{feature}" if sae else None for feature in features.tolist()]


def _without_nan(column: Float[ndarray, " n"]) -> Any:
    """Returns a column whose NaN are without a value."""
    import pyarrow as pa

    return pa.array(column, from_pandas=True)


def _lens_columns(group: MatchedPairs) -> list[Any]:
    """Returns the columns `LENS`, without values where no logit lens was taken."""
    if group.lenses is None:
        return [[None] * len(group.a)] * len(LENS)
    texts = group.lenses.texts
    tokens = [[[texts[i] for i in row] for row in of_kind.tolist()] for of_kind in group.lenses.tokens]
    return [*tokens, _without_nan(group.lenses.agreement)]


def write_pairs(path: Path, groups: Iterable[MatchedPairs]) -> None:
    """Writes the pairs of all layer pairs as Parquet, a row per pair and a row group per layer pair, columns `COLUMNS`.

    Args:
        path: the file.
        groups: the layer pairs, of which one at a time is in memory as a table.
    """
    import pyarrow as pa

    schema = pairs_schema()
    tables = (
        pa.table(
            [
                [g.layer_a] * len(g.a),
                [g.layer_b] * len(g.a),
                [g.sae_a] * len(g.a),
                [g.sae_b] * len(g.a),
                g.a,
                g.b,
                g.r,
                *map(_without_nan, g.influence.T),
                _tokens(g.tokens_a, g.a),
                _tokens(g.tokens_b, g.b),
                _links(g.neuronpedia_a, g.a),
                _links(g.neuronpedia_b, g.b),
                *(_detail(g, schema.field(name)) for name in DETAILS),
                [None] * len(g.a) if g.function is None else _without_nan(g.function),
                *_lens_columns(g),
            ],
            schema=schema,
        )
        for g in groups
    )
    write_tables(path, schema, tables)


def _detail(group: MatchedPairs, field: Any) -> Any:
    import pyarrow as pa

    if group.details is None:
        return pa.nulls(len(group.a), field.type)
    return pa.array(group.details[field.name], field.type, from_pandas=True)


def pairs_schema() -> Any:
    """Returns the pyarrow schema of `pairs.parquet`."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    numbers = [pa.float64()] * (1 + len(INFLUENCES))
    whole, real = pa.int64(), pa.float64()
    types = (
        *(pa.int32(), pa.int32(), text, text, whole, whole, *numbers, texts, texts, text, text),
        *(whole, whole, whole, pa.bool_(), whole, real, whole, real, texts, texts),
        *(real, texts, texts, texts, texts, real),
    )
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def read_pairs(run: Path) -> Any:
    """Reads the matched pairs of a run as a pyarrow table, a row per pair, columns `COLUMNS`.

    Raises:
        InputError: the folder holds none, or the file is not what `write_pairs` writes.
    """
    return read_table(run / "pairs.parquet", pairs_schema(), _OPTIONAL, _ABSENT)


def pair_batches(run: Path, columns: Sequence[str] = COLUMNS) -> Generator[Any]:
    """Reads the matched pairs of a run piece by piece, as `read_pairs` does; gives pyarrow tables of some columns.

    Raises:
        InputError: as for `read_pairs`.
    """
    return read_batches(run / "pairs.parquet", pairs_schema(), _OPTIONAL, columns, _ABSENT)


def _no_formula(text: str | None) -> str | None:
    """Returns a text that no spreadsheet takes for a formula; tokens may begin with `=`."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text


def export_pairs(run: Path, target: Path) -> int:
    """Writes the matched pairs of a run as `.parquet` or `.csv`; returns their number.

    In CSV a list of tokens is written as JSON, so that it can be read back, and a text that a spreadsheet would take
    for a formula has an apostrophe before it.

    Raises:
        InputError: a suffix other than .parquet and .csv, a target that is the run's own file, or a run without pairs
            or with a damaged table of them.
    """
    check_target(target, run / "pairs.parquet")
    if target.suffix not in (".csv", ".parquet"):
        raise InputError(f"pairs are exported as .csv or .parquet, got {target.name}")
    n = 0

    def pieces() -> Generator[Any]:
        nonlocal n
        for piece in pair_batches(run):
            n += piece.num_rows
            yield piece

    if target.suffix == ".parquet":
        write_tables(target, pairs_schema(), pieces())
    else:
        write_atomically(target, partial(_write_csv, pieces()))
    return n


def _write_csv(pieces: Iterable[Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as csv

    schema = pa.schema([(one.name, pa.string() if pa.types.is_list(one.type) else one.type) for one in pairs_schema()])
    with csv.CSVWriter(path, schema) as writer:
        for piece in pieces:
            writer.write_table(pa.table([_for_csv(piece[name]) for name in schema.names], schema=schema))


def _for_csv(column: Any) -> Any:
    """Returns a column of pairs as CSV has it: lists as JSON, and no text a formula."""
    import pyarrow as pa

    if pa.types.is_list(column.type):
        lists = (None if texts is None else json.dumps(texts, ensure_ascii=False) for texts in column.to_pylist())
        return pa.array(lists, pa.string())
    if pa.types.is_string(column.type):
        return pa.array([_no_formula(text) for text in column.to_pylist()], pa.string())
    return column
