"""The Parquet tables of a run folder: written atomically, and checked against their schema when they are read."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semconv.system.errors import InputError
from semconv.system.files import write_atomically

_ROWS = 2**16  # that are read at a time


def write_table(path: Path, table: Any) -> None:
    """Writes a pyarrow table atomically."""
    import pyarrow.parquet as pq

    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def write_tables(path: Path, schema: Any, tables: Iterable[Any]) -> None:
    """Writes pyarrow tables of one schema one after the other into a file, atomically; each is freed once written.

    Args:
        path: the file.
        schema: of every table, and of the file where there is none.
        tables: each a row group of its own; empty ones leave nothing.
    """
    import pyarrow.parquet as pq

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            for table in tables:
                if table.num_rows:
                    writer.write_table(table)

    write_atomically(path, write)


def read_table(path: Path, schema: Any, optional: Sequence[str] = (), absent: Sequence[str] = ()) -> Any:
    """Reads a table of a run.

    Args:
        path: of the file.
        schema: pyarrow schema that it must have.
        optional: columns in which a value may be missing.
        absent: those of them that the file need not have; they are read as columns without a value.

    Raises:
        InputError: no such file, a damaged one, or one of other columns, of other types or without a needed value.
    """
    import pyarrow.parquet as pq

    with _refusing_damage(path):
        table: Any = pq.read_table(path)
        table.validate(full=True)  # text that is not UTF-8, lists that lead out of the file
    _check_schema(path, schema, table.schema, absent)
    _check_values(path, schema, table, optional)
    return _completed(table, schema)


def read_batches(
    path: Path,
    schema: Any,
    optional: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    absent: Sequence[str] = (),
) -> Generator[Any]:
    """Reads a table of a run piece by piece, for what would be too large at once: gives pyarrow tables, rows in order.

    Args:
        path: of the file.
        schema: pyarrow schema that it must have.
        optional: columns in which a value may be missing.
        columns: those that are wanted, of the schema; all by default.
        absent: as for `read_table`.

    Raises:
        InputError: as for `read_table`, of the columns that are wanted.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = pa.schema([schema.field(name) for name in columns or schema.names])
    with _refusing_damage(path):
        file: Any = pq.ParquetFile(path)
        found = file.schema_arrow
    with file:
        _check_schema(path, schema, found, absent)
        there = [name for name in wanted.names if name in found.names]
        for groups in _row_groups(file.metadata):  # a reader keeps what it has read of all groups that it was given
            batches = file.iter_batches(_ROWS, groups, there, use_threads=False)
            while True:
                with _refusing_damage(path):
                    batch: Any = next(batches, None)
                    if batch is None:
                        break
                    batch.validate(full=True)
                piece: Any = pa.Table.from_batches([batch])
                _check_values(path, wanted, piece, optional)
                yield _completed(piece, wanted)
    pa.default_memory_pool().release_unused()  # which the pool would keep for the next table


def _row_groups(metadata: Any) -> Generator[list[int]]:
    """Gives the numbers of row groups that are read together: at least one, and of several `_ROWS` rows at most."""
    groups, rows = list[int](), 0
    for number in range(metadata.num_row_groups):
        more: int = metadata.row_group(number).num_rows
        if groups and rows + more > _ROWS:
            yield groups
            groups, rows = [], 0
        groups.append(number)
        rows += more
    if groups:
        yield groups


@contextmanager
def _refusing_damage(path: Path) -> Generator[None]:
    import pyarrow as pa

    if not path.exists():
        raise InputError(f"{path.parent} holds no {path.name}; run `semconv reproduce` first")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _completed(table: Any, schema: Any) -> Any:
    """Returns a table with every column of the schema, in its order; those that it lacks have no value."""
    import pyarrow as pa

    columns = [table[one.name] if one.name in table.schema.names else pa.nulls(len(table), one.type) for one in schema]
    return pa.table(columns, names=schema.names)


def _check_schema(path: Path, schema: Any, found: Any, absent: Sequence[str] = ()) -> None:
    needed = [name for name in schema.names if name in found.names or name not in absent]
    if found.names != needed:
        raise InputError(f"{path} must have columns {', '.join(needed)}, found {', '.join(found.names)}")
    for name in needed:
        if found.field(name).type != schema.field(name).type:
            raise InputError(
                f"column {name} of {path} must be {schema.field(name).type}, found {found.field(name).type}"
            )


def _check_values(path: Path, schema: Any, table: Any, optional: Sequence[str]) -> None:
    import pyarrow as pa

    for wanted in schema:
        if wanted.name not in table.schema.names:
            continue
        column = table[wanted.name]
        values = [column, column.combine_chunks().flatten()] if pa.types.is_list(wanted.type) else [column]
        if wanted.name not in optional and any(part.null_count for part in values):
            raise InputError(f"column {wanted.name} of {path} must have a value in every row, one is missing")
