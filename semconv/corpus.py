"""Turns a named text source into documents, and documents into blocks of tokens."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from semconv.files import read_text
from semconv.types import InputError, TokenBlocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Split = Literal["train", "heldout"]

MIN_CHARACTERS = 200
"""Docstrings shorter than this are mostly signatures restated, not prose."""

HELDOUT_SHARE = 0.1
"""Share of documents whose content hash puts them in the held-out split."""

_ENGLISH = frozenset("a an and are as be by for from if in is it not of or that the this to with".split())


@dataclass(frozen=True)
class Document:
    """One text with the SHA-256 of its UTF-8 bytes, which decides its split and its place in the order."""

    text: str
    sha256: str

    @classmethod
    def of(cls, text: str) -> Document:
        return cls(text, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())

    @property
    def split(self) -> Split:
        return "heldout" if int(self.sha256[:8], 16) < HELDOUT_SHARE * 2**32 else "train"


def is_english(text: str) -> bool:
    """True when at least 95% of the characters are ASCII and 8% of the words are common English words."""
    words = text.lower().split()
    ascii_share = sum(ch < "\x80" for ch in text) / max(len(text), 1)
    return ascii_share >= 0.95 and sum(w in _ENGLISH for w in words) >= 0.08 * max(len(words), 1)


def _without_indent(docstring: str) -> str:
    """Strips the indent that all lines after the first share, and blank lines around.

    Our own, because what the standard library strips differs between Python versions and the corpus must not.
    """
    first, *rest = docstring.expandtabs().split("\n")
    indents = [len(line) - len(line.lstrip(" ")) for line in rest if line.strip(" ")]
    margin = min(indents, default=0)
    lines = [first.lstrip(" "), *(line[margin:] for line in rest)]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines)


def _docstrings_of_source(source: bytes) -> Iterator[str]:
    """Yields every docstring of one Python source, which is parsed and never imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            stack: list[ast.AST] = [ast.parse(source, feature_version=(3, 11))]
    except (SyntaxError, ValueError):
        return  # a template or a file for another Python version: no docstrings to be had from it
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield _without_indent(text)
        # Docstrings live in statements only, so expressions (most of a tree) are never entered.
        stack.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler)))


def _docstrings_of_package(name: str, version: str) -> list[str]:
    """Returns the English docstrings of at least `MIN_CHARACTERS` of one installed distribution."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"the corpus needs package {name}=={version}, which is not installed") from None
    if distribution.version != version:
        raise InputError(f"the corpus needs {name}=={version}, found {name}=={distribution.version}")
    found: list[str] = []
    for entry in distribution.files or []:
        if entry.suffix == ".py" and "/" in str(entry) and not str(entry).startswith(".."):
            path = Path(str(distribution.locate_file(entry)))
            if path.is_file():
                found.extend(t for t in _docstrings_of_source(path.read_bytes()) if len(t) >= MIN_CHARACTERS)
    return [text for text in found if is_english(text)]


def docstring_documents(packages: dict[str, str], workers: int = 2) -> list[Document]:
    """Collects the docstrings of pinned packages as a deduplicated list, ordered by content hash.

    Args:
        packages: distribution name -> exact version, as the lock file installs them.
        workers: processes that parse; the result does not depend on it.

    Returns:
        Documents in ascending order of SHA-256; two texts that differ in white space only count as one
        (the one with the lower hash is kept), so the list is the same on every machine.

    Raises:
        InputError: a package is missing or has another version.
    """
    with ProcessPoolExecutor(workers) as pool:
        texts = [text for found in pool.map(_docstrings_of_package, packages, packages.values()) for text in found]
    unique: dict[str, Document] = {}
    for document in sorted((Document.of(text) for text in set(texts)), key=lambda d: d.sha256):
        unique.setdefault(" ".join(document.text.split()), document)
    return list(unique.values())


def file_documents(files: Sequence[Path], column: str = "text") -> list[Document]:
    """Reads text files: `.txt` (documents split at blank lines), `.jsonl` or `.parquet` (one column).

    Args:
        files: in the order in which their documents follow each other.
        column: the field that holds the text in JSONL and Parquet files.

    Raises:
        InputError: a file is missing, empty, of another kind, or has no such column.
    """
    texts: list[str] = []
    for file in files:
        if file.suffix not in _READERS:
            raise InputError(f"text source must end in one of {', '.join(sorted(_READERS))}, got {file.name}")
        texts.extend(_READERS[file.suffix](file, column))
    documents = [Document.of(text) for text in texts if text.strip()]
    if not documents:
        raise InputError(f"text source {', '.join(map(str, files))} holds no text")
    return documents


def source_files(path: Path) -> list[Path]:
    """Returns the text files of a source, in order of name.

    Raises:
        InputError: the path does not exist.
    """
    if not path.exists():
        raise InputError(f"text source {path} does not exist")
    return sorted(p for p in path.rglob("*") if p.suffix in _READERS) if path.is_dir() else [path]


def _read_txt(file: Path, column: str) -> list[str]:
    return read_text(file).split("\n\n")


def _read_jsonl(file: Path, column: str) -> list[str]:
    texts: list[str] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{file} line {number} is not JSON: {error.msg}") from None
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            raise InputError(f"{file} line {number} has no text column {column!r}")
        texts.append(row[column])
    return texts


def _read_parquet(file: Path, column: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(file).names
        if column not in names:
            raise InputError(f"{file} has no column {column!r}; it has {', '.join(names)}")
        return [str(text) for text in pq.read_table(file, columns=[column])[column].to_pylist() if text is not None]
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} is not a Parquet file: {error}") from None


_READERS = {".txt": _read_txt, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def corpus_sha256(documents: Iterable[Document]) -> str:
    """Returns the SHA-256 over the documents' own hashes, in order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(bytes.fromhex(document.sha256))
    return digest.hexdigest()


_DOCUMENTS_AT_ONCE = 512
_SPECIAL = {
    "bos": ("<bos>", "<s>", "<|endoftext|>"),
    "eos": ("<eos>", "</s>", "<|endoftext|>"),
    "pad": ("<pad>", "<|padding|>", "<|endoftext|>"),
}
"""What tokenizers call the three tokens, in the order in which they are looked for."""


def _special_token(tokenizer: Tokenizer, name: str) -> int:
    for spelling in _SPECIAL[name]:
        token = tokenizer.token_to_id(spelling)
        if token is not None:
            return token
    raise InputError(f"the tokenizer has no {name.upper()} token: none of {', '.join(_SPECIAL[name])}")


def tokenize(
    documents: Sequence[Document], tokenizer: Tokenizer, context: int, max_tokens: int | None = None
) -> TokenBlocks:
    """Packs documents into blocks: each row is BOS, then documents one after the other, each closed by EOS.

    Args:
        documents: the texts, in the order in which they are packed.
        tokenizer: must know BOS, EOS and PAD under one of the names of `_SPECIAL`.
        context: row length in tokens, BOS included.
        max_tokens: stop after the row that reaches this many counted (unmasked) positions.

    Returns:
        Blocks with ids int32 [n_seq, context]; mask bool [n_seq, context], False on BOS, EOS and PAD, which no
        statistic counts; document int32 [n_seq, context], the position of the document in `documents`, -1 where
        the mask is False.

    Raises:
        InputError: `context` < 2, a missing special token, or no token at all.
    """
    if context < 2:
        raise InputError(f"context must be at least 2 (BOS and one token), got {context}")
    if not documents:
        raise InputError(
            "no document to compare on; a small text may have none in the split asked for (try split = 'all')"
        )
    special = {name: _special_token(tokenizer, name) for name in _SPECIAL}
    ids: list[np.ndarray] = []
    owner: list[np.ndarray] = []
    counted = 0
    for begin in range(0, len(documents), _DOCUMENTS_AT_ONCE):
        texts = [d.text for d in documents[begin : begin + _DOCUMENTS_AT_ONCE]]
        for index, encoding in enumerate(tokenizer.encode_batch(texts, add_special_tokens=False), begin):
            ids.append(np.append(np.asarray(encoding.ids, dtype=np.int32), np.int32(special["eos"])))
            owner.append(np.append(np.full(len(encoding.ids), index, dtype=np.int32), np.int32(-1)))
            counted += len(encoding.ids)
        if max_tokens is not None and counted >= max_tokens + context:  # the row that reaches it is full
            break
    stream, owners = np.concatenate(ids), np.concatenate(owner)
    n_seq = -(-len(stream) // (context - 1))
    padding = n_seq * (context - 1) - len(stream)
    body = np.pad(stream, (0, padding), constant_values=special["pad"]).reshape(n_seq, context - 1)
    body_owner = np.pad(owners, (0, padding), constant_values=-1).reshape(n_seq, context - 1)
    rows = np.concatenate([np.full((n_seq, 1), special["bos"], dtype=np.int32), body], axis=1)
    document = np.concatenate([np.full((n_seq, 1), -1, dtype=np.int32), body_owner], axis=1)
    if max_tokens is not None:
        reached = int(np.searchsorted(np.cumsum((document >= 0).sum(axis=1)), max_tokens)) + 1
        rows, document = rows[:reached], document[:reached]
    if not (document >= 0).any():
        raise InputError("the text source gives no token to compare on")
    return TokenBlocks(torch.from_numpy(rows), torch.from_numpy(document >= 0), torch.from_numpy(document))
