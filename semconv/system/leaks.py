"""Looks for private words in every byte of some files, also inside of whatever is compressed in them."""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from semconv.system.private_words import PrivateWord

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
_DEEPEST = 4  # archives in archives
_PNG = b"\x89PNG\r\n\x1a\n"
_IN_BINARY = 6  # fewer letters turn up in numbers by chance


def leaks(name: str, content: bytes, words: Iterable[PrivateWord]) -> list[PrivateWord]:
    """Returns the words that a file or its name holds, each once.

    Compressed data, Parquet, the headers of tensors, the texts of pictures and what is written in base64 are looked
    through as what they stand for too, and words also as JSON, HTML and addresses spell them.
    """
    parts = [(part, part.lower(), _is_text(part)) for part in (name.encode(), *_unpacked(content, _DEEPEST))]
    return [word for word in words if any(_holds(*part, word) for part in parts)]


def _is_text(part: bytes) -> bool:
    try:
        return "\0" not in part.decode()
    except UnicodeDecodeError:
        return False


def _spellings(value: str) -> set[bytes]:
    ways = (value, json.dumps(value)[1:-1], quote(value), quote(value, safe=""), html.escape(value))
    return {way.encode() for way in ways}


def _holds(part: bytes, lower: bytes, text: bool, word: PrivateWord) -> bool:
    """Whether a part of a file holds a word by its rule; capitals count in tokens and in what is no text."""
    for spelling in _spellings(word.value):
        if word.rule == "token":
            if spelling in part:
                return True
            continue
        if not text and (spelling not in part or len(spelling) < _IN_BINARY):
            continue
        if spelling.lower() not in lower:
            continue
        exact, alone = re.escape(spelling), rb"(?![A-Za-z0-9])"
        pattern = {
            "folder": exact + alone,
            "anywhere": exact + alone,
            "word": rb"(?<![A-Za-z0-9])" + exact + alone,
            "in paths": rb"(?<![<\w.])/(?:[\w.+@~-]+/)*" + exact + rb"(?![\w-])",
        }[word.rule]
        if re.search(pattern, part, re.IGNORECASE if text else 0):
            return True
    return False


def _unpacked(content: bytes, deeper: int) -> Iterator[bytes]:
    """Yields some bytes, and everything that is compressed or encoded in them."""
    yield content
    if deeper == 0:
        return
    for inner in _inside(content):
        yield from _unpacked(inner, deeper - 1)


def _inside(content: bytes) -> Iterator[bytes]:
    """Yields what is compressed or encoded in some bytes, one layer of it; damaged data yields nothing."""
    begin = content[:4]
    damaged = OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError
    with suppress(*damaged):
        if begin == b"PK\x03\x04":
            yield from _of_zip(content)
        elif begin[:2] == b"\x1f\x8b":
            yield gzip.decompress(content)
        elif begin[:1] == b"\x78" and len(content) > 2 and int.from_bytes(content[:2], "big") % 31 == 0:
            yield zlib.decompress(content)
        elif begin == b"PAR1":
            yield from _of_parquet(content)
        elif content.startswith(_PNG):
            yield from _of_png(content)
        elif content[8:9] == b"{" and 0 < (length := int.from_bytes(content[:8], "little")) <= len(content) - 8:
            yield content[8 : 8 + length]  # header of safetensors
    if _is_text(content):
        for found in _BASE64.findall(content):
            with suppress(binascii.Error):
                yield base64.b64decode(found + b"=" * (-len(found) % 4))


def _of_zip(content: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        yield file.comment
        for info in file.infolist():
            yield info.filename.encode() + b"\n" + info.comment + b"\n" + info.extra
            yield file.read(info)


def _of_png(content: bytes) -> Iterator[bytes]:
    """Yields the chunks of a picture but its pixels, unpacked where they are packed."""
    place = len(_PNG)
    while place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        chunk = content[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IDAT":
            continue
        yield from (chunk, *chunk.split(b"\0"))
        for begin in (match.end() for match in re.finditer(rb"\0+", chunk[:400])):
            with suppress(zlib.error):
                yield zlib.decompress(chunk[begin:])


def _of_parquet(content: bytes) -> Iterator[bytes]:
    """Yields the metadata of a table and every text in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(pa.ArrowException):
        file = pq.ParquetFile(io.BytesIO(content))
        yield f"{file.metadata.created_by}\n{file.schema_arrow.to_string()}".encode()
        yield repr((file.metadata.metadata, file.schema_arrow.metadata)).encode()
        yield from (file.metadata.metadata or {}).values()
        table: Any = file.read()
        for column in table.columns:
            for texts in _texts(column.combine_chunks()):
                yield "\n".join(str(text) for text in texts.to_pylist() if text is not None).encode()


def _texts(array: Any) -> Iterator[Any]:
    """Yields the arrays of text that a column is made of."""
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        for chunk in array.chunks:
            yield from _texts(chunk)
    elif pa.types.is_dictionary(array.type):
        yield from _texts(array.dictionary)
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _texts(field)
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _texts(array.flatten())
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield array
