"""Reads the text files that a user has: plain text, JSON Lines and Parquet, the first two also compressed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

from semconv.system.errors import InputError, first_line
from semconv.text.corpus import Document

_PLAIN, _LINES = (".txt", ".md", ".markdown"), (".jsonl", ".ndjson")
_UNPACKS_TO, _TIMES = 2**26, 50
"""Bytes that a compressed file may unpack to, or so many times its size; text is some three to ten times smaller."""
KINDS = ".txt, .md, .markdown, .jsonl, .ndjson (each also with .gz), .json.gz of JSON lines, .parquet"
"""What is read, in words."""


def file_documents(files: Sequence[Path], column: str = "text") -> list[Document]:
    """Reads text files of the kinds in `KINDS`.

    Plain text is split into documents at blank lines; a line of JSON or a row of Parquet is a document, whose text is
    one column.

    Args:
        files: in the order in which their documents follow each other.
        column: the field that holds the text in JSON Lines and Parquet files.

    Raises:
        InputError: a file is missing, empty, damaged, of another kind, has no such column, or holds something other
            than text in it.
    """
    documents = [Document.of(text) for text in texts_of(files, column)]
    if not documents:
        raise InputError(f"text source {', '.join(map(str, files))} holds no text")
    return documents


def texts_of(files: Sequence[Path], column: str = "text") -> Iterator[str]:
    """Yields the texts of files that are not all white space, one after the other, without holding them.

    Raises:
        InputError: as `file_documents`.
    """
    readers = [(_reader(file), file) for file in files]
    return (text for text in chain.from_iterable(read(file, column) for read, file in readers) if text.strip())


def source_files(path: Path) -> list[Path]:
    """Returns the text files of a source, in order of name.

    Raises:
        InputError: the path does not exist, or is a folder without a file of the kinds that are read.
    """
    if not path.exists():
        raise InputError(f"text source {path} does not exist")
    if path.is_file():
        return [path]
    if not path.is_dir():  # a pipe would be waited for, a device has no end
        raise InputError(f"text source {path} is neither a file nor a folder")
    found = [file for file in _all_files(path) if _kind(file) is not None]
    if not found:
        kinds = Counter(file.suffix or "no suffix" for file in _all_files(path))
        held = ", ".join(f"{suffix} ({n})" for suffix, n in sorted(kinds.items())) or "nothing"
        raise InputError(f"text source {path} holds no file of the kinds that are read ({KINDS}); it holds {held}")
    return found


def files_ignored(path: Path) -> int:
    """Returns how many files of a folder are not read, because they are of another kind; 0 if the source is one
    file."""
    return sum(_kind(file) is None for file in _all_files(path)) if path.is_dir() else 0


def _all_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _kind(file: Path) -> str | None:
    """Returns which reader a file is for, by its name, or None."""
    name, packed = file.name.lower().removesuffix(".gz"), file.name.lower().endswith(".gz")
    suffix = Path(name).suffix
    if suffix in _PLAIN:
        return "plain"
    if suffix in _LINES or (suffix == ".json" and packed):
        return "lines"
    return "parquet" if suffix == ".parquet" and not packed else None


def _reader(file: Path) -> Callable[[Path, str], Iterator[str]]:
    kind = _kind(file)
    if kind is None:
        raise InputError(f"text is read from {KINDS}, got {file.name}")
    return {"plain": _read_plain, "lines": _read_lines, "parquet": _read_parquet}[kind]


def _chunks(file: Path, read: Callable[[IO[bytes]], Iterator[bytes]]) -> Iterator[bytes]:
    """Yields what `read` makes of a file's bytes, unpacked."""
    try:
        if file.name.lower().endswith(".gz"):
            _check_unpacks(file)
        with gzip.open(file, "rb") if file.name.lower().endswith(".gz") else file.open("rb") as handle:
            yield from read(handle)  # pyright: ignore[reportArgumentType]
    except FileNotFoundError:
        raise InputError(f"text source {file} does not exist") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{file} is damaged: {first_line(error)}") from None


def _check_unpacks(file: Path) -> None:
    """Raises InputError for a file that unpacks to far more than text would, before any of it is kept."""
    most, found = max(_UNPACKS_TO, _TIMES * file.stat().st_size), 0
    with gzip.open(file, "rb") as handle:
        while block := handle.read(2**20):
            found += len(block)
            if found > most:
                raise InputError(f"{file} unpacks to more than {most} bytes, which no text of its size does")


def _decoded(data: bytes, first: bool, where: str) -> str:
    """Returns UTF-8 text, without the mark that some programs put before it."""
    try:
        return data.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _read_plain(file: Path, column: str) -> Iterator[str]:
    data = b"".join(_chunks(file, lambda handle: iter([handle.read()])))
    text = _decoded(data, True, str(file)).replace("\r\n", "\n").replace("\r", "\n")
    yield from text.split("\n\n")


def _read_lines(file: Path, column: str) -> Iterator[str]:
    for number, line in enumerate(_chunks(file, iter), 1):  # bytes are cut at \n alone, text at other marks too
        where = f"{file} line {number}"
        text = _decoded(line, number == 1, where)
        if not text.strip():
            continue
        try:
            row: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else first_line(error)
            raise InputError(f"{where} is not JSON: {reason}") from None
        found: Any = row.get(column) if isinstance(row, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(found, str):
            raise InputError(f"{where} has no text column {column!r}")
        half = next((c for c in found if "\ud800" <= c <= "\udfff"), None)
        if half is not None:
            raise InputError(f"{where} holds \\u{ord(half):04x}, half of a character, in column {column!r}")
        yield found


def _read_parquet(file: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            if column not in names:
                raise InputError(f"{file} has no column {column!r}; it has {', '.join(names)}")
            kind = table.schema_arrow.field(column).type
            of_text = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(
                is_text(of_text) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
            ):
                raise InputError(f"column {column!r} of {file} must hold text, got {kind}")
            for batch in table.iter_batches(columns=[column]):
                yield from (text for text in batch.column(0).to_pylist() if text is not None)
    except FileNotFoundError:
        raise InputError(f"text source {file} does not exist") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a Parquet file that can be read: {first_line(error)}") from None
