"""The Parquet tables of a run folder: written atomically, and checked against their schema when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semconv.system.errors import InputError
from semconv.system.files import write_atomically


def write_table(path: Path, table: Any) -> None:
    """Writes a pyarrow table atomically."""
    import pyarrow.parquet as pq

    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def read_table(path: Path, schema: Any, optional: Sequence[str] = ()) -> Any:
    """Reads a table of a run.

    Args:
        path: of the file.
        schema: pyarrow schema that it must have.
        optional: columns in which a value may be missing.

    Raises:
        InputError: no such file, a damaged one, or one of other columns, of other types or without a needed value.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise InputError(f"{path.parent} holds no {path.name}; run `semconv reproduce` first")
    try:
        table: Any = pq.read_table(path)
        table.validate(full=True)  # text that is not UTF-8, lists that lead out of the file
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if table.column_names != schema.names:
        raise InputError(f"{path} must have columns {', '.join(schema.names)}, found {', '.join(table.column_names)}")
    for wanted, found in zip(schema, table.schema, strict=True):
        if found.type != wanted.type:
            raise InputError(f"column {wanted.name} of {path} must be {wanted.type}, found {found.type}")
        column = table[wanted.name]
        values = [column, column.combine_chunks().flatten()] if pa.types.is_list(wanted.type) else [column]
        if wanted.name not in optional and any(part.null_count for part in values):
            raise InputError(f"column {wanted.name} of {path} must have a value in every row, one is missing")
    return table
