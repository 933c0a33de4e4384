"""Text as people have it: every kind of file, what must come of it, and what is refused by name."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semconv import InputError
from semconv.text.text_files import file_documents, files_ignored, source_files

pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
BOM = b"\xef\xbb\xbf"


def parquet(values: Any, kind: Any) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table({"text": pa.array(values, kind)}), path)


READ: dict[str, tuple[str, bytes | Callable[[Path], object], list[str]]] = {
    "plain text": ("a.txt", b"one\ntwo\n\nthree", ["one\ntwo", "three"]),
    "plain text of Windows": ("a.txt", b"one\r\ntwo\r\n\r\nthree", ["one\ntwo", "three"]),
    "plain text behind a mark": ("a.txt", BOM + b"one", ["one"]),
    "plain text with other line marks": ("a.txt", "one\u2028two\x85\n\nthree".encode(), ["one\u2028two\x85", "three"]),
    "upper case suffix": ("A.TXT", b"one", ["one"]),
    "Markdown": ("a.md", b"# one\n\ntwo", ["# one", "two"]),
    "Markdown, long suffix": ("a.markdown", b"one", ["one"]),
    "packed text": ("a.txt.gz", gzip.compress(b"one\n\ntwo"), ["one", "two"]),
    "packed Markdown": ("a.md.gz", gzip.compress(b"one"), ["one"]),
    "JSON lines": ("a.jsonl", b'{"text": "one"}\n\n{"text": "two\\nlines", "n": 1}\n', ["one", "two\nlines"]),
    "JSON lines of Windows": ("a.jsonl", b'{"text": "one"}\r\n{"text": "two"}\r\n', ["one", "two"]),
    "JSON lines behind a mark": ("a.jsonl", BOM + b'{"text": "one"}\n', ["one"]),
    "JSON lines that hold other line marks": (
        "a.jsonl",
        '{"text": "one\u2028two\x85three\u2029"}\n{"text": "four"}'.encode(),
        ["one\u2028two\x85three\u2029", "four"],
    ),
    "JSON lines with escaped pairs": ("a.jsonl", b'{"text": "\\ud83d\\ude00"}', ["😀"]),
    "ndjson": ("a.ndjson", b'{"text": "one"}', ["one"]),
    "packed JSON lines": ("a.jsonl.gz", gzip.compress(b'{"text": "one"}\n{"text": "two"}'), ["one", "two"]),
    "packed JSON lines named .json.gz": (
        "a.json.gz",
        gzip.compress(b'{"text": "one"}\n{"text": "two"}'),
        ["one", "two"],
    ),
    "Parquet": ("a.parquet", parquet(["one", None, "two"], pa.string()), ["one", "two"]),
    "Parquet of large strings": ("a.parquet", parquet(["one"], pa.large_string()), ["one"]),
    "Parquet of numbered strings": (
        "a.parquet",
        parquet(["one", "two", "one"], pa.dictionary(pa.int32(), pa.string())),
        ["one", "two", "one"],
    ),
}

REFUSED: dict[str, tuple[str, bytes | Callable[[Path], object], str]] = {
    "another kind": ("a.csv", b"x", r"text is read from \.txt, .*\.parquet, got a\.csv"),
    "JSON that is not in lines": ("a.json", b"[]", r"text is read from .*, got a\.json"),
    "no text": ("a.txt", b"\n\n  \n", "holds no text"),
    "UTF-16": ("a.txt", "one".encode("utf-16"), "a.txt is not UTF-8 text"),
    "Latin-1 in a line": ("a.jsonl", b'{"text": "one"}\n{"text": "\xe9t\xe9"}', "line 2 is not UTF-8 text"),
    "half a character": ("a.jsonl", b'{"text": "one"}\n{"text": "x\\ud800y"}', r"line 2 holds \\ud800, half of a char"),
    "no JSON": ("a.jsonl", b"{", "a.jsonl line 1 is not JSON"),
    "deep JSON": ("a.jsonl", b"[" * 100_000, "a.jsonl line 1 is not JSON"),
    "a number": ("a.jsonl", b'{"text": 3}', "line 1 has no text column 'text'"),
    "no object": ("a.jsonl", b'["text"]', "line 1 has no text column 'text'"),
    "a packed file cut off": ("a.txt.gz", gzip.compress(b"one" * 1000)[:20], "a.txt.gz is damaged"),
    "a packed file that is none": ("a.jsonl.gz", b'{"text": "one"}', "a.jsonl.gz is damaged"),
    "Parquet of bytes": ("a.parquet", parquet([b"one"], pa.binary()), "column 'text' of .* must hold text, got binary"),
    "Parquet of lists": (
        "a.parquet",
        parquet([["one"]], pa.list_(pa.string())),
        "column 'text' of .* must hold text, got list<",
    ),
    "Parquet of numbers": ("a.parquet", parquet([1], pa.int64()), "must hold text, got int64"),
    "Parquet of numbered bytes": (
        "a.parquet",
        parquet([b"one"], pa.dictionary(pa.int32(), pa.binary())),
        "must hold text, got dictionary",
    ),
    "Parquet that is none": ("a.parquet", b"junk", "a.parquet is not a Parquet file"),
    "a file that is not there": ("a.txt", lambda path: None, "a.txt does not exist"),
}


def written(folder: Path, name: str, contents: bytes | Callable[[Path], object]) -> Path:
    path = folder / name
    path.write_bytes(contents) if isinstance(contents, bytes) else contents(path)
    return path


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(kind: str, tmp_path: Path):
    name, contents, texts = READ[kind]
    path = written(tmp_path, name, contents)
    assert [document.text for document in file_documents([path])] == texts
    assert source_files(tmp_path) == [path], "in a folder as well"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_by_name(kind: str, tmp_path: Path):
    name, contents, told = REFUSED[kind]
    path = written(tmp_path, name, contents)
    with pytest.raises(InputError, match=told):
        file_documents([path])


def test_a_folder_of_text_says_what_it_holds(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "called.txt").mkdir()
    for name in ("b.csv", "in/c.csv", "LICENSE"):
        (tmp_path / name).write_text("x")
    with pytest.raises(
        InputError, match=r"holds no file of the kinds that are read \(.*\); it holds \.csv \(2\), no su"
    ):
        source_files(tmp_path)
    for name in ("z.txt", "in/a.md"):
        (tmp_path / name).write_text("x")
    assert source_files(tmp_path) == [tmp_path / "in/a.md", tmp_path / "z.txt"]
    assert files_ignored(tmp_path) == 3
    assert files_ignored(tmp_path / "z.txt") == 0
    with pytest.raises(InputError, match="does not exist"):
        source_files(tmp_path / "none")
