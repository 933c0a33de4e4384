"""Documents: the docstrings of pinned packages, the order of documents, their split and their hash."""

from __future__ import annotations

import ast
import ctypes
import hashlib
import importlib.metadata
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Literal

from semconv.system.errors import InputError

Split = Literal["train", "heldout"]

MIN_CHARACTERS = 200
"""Docstrings shorter than this are mostly signatures restated, not prose."""

HELDOUT_SHARE = 0.1
"""Share of documents whose content hash puts them in the held-out split."""

_PR_SET_PDEATHSIG = 1  # of prctl(2)
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


def docstrings_of_source(source: bytes) -> Iterator[str]:
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


def versions_found(packages: Mapping[str, str]) -> dict[str, str]:
    """Returns the version that is installed of every distribution of another than the one named; 'absent' for none."""
    found = dict[str, str]()
    for name, version in packages.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "absent"
        if installed != version:
            found[name] = installed
    return found


def check_packages(packages: Mapping[str, str]) -> None:
    """Raises InputError, with a command that mends it, unless every distribution is installed in the version named."""
    if found := versions_found(packages):
        other = ", ".join(f"{name}=={packages[name]} (found: {installed})" for name, installed in found.items())
        wanted = " ".join(f"{name}=={packages[name]}" for name in found)
        raise InputError(f"the corpus needs {other}; `pip install {wanted}` brings them")


def _docstrings_of_package(name: str, exclude: Sequence[str]) -> list[str]:
    """Returns the English docstrings of at least `MIN_CHARACTERS` of one installed distribution."""
    found: list[str] = []
    for path in source_files(name, exclude):
        if path.is_file():
            found.extend(t for t in docstrings_of_source(path.read_bytes()) if len(t) >= MIN_CHARACTERS)
    return [text for text in found if is_english(text)]


def source_files(name: str, exclude: Sequence[str] = ()) -> list[Path]:
    """Returns the Python files of one installed distribution, which may have lost some.

    Args:
        name: of the distribution.
        exclude: folders that are left out, such as `numpy/distutils`.
    """
    outside = ("..", *(f"{folder.rstrip('/')}/" for folder in exclude))
    distribution = importlib.metadata.distribution(name)
    entries = [one for one in distribution.files or [] if one.suffix == ".py" and "/" in str(one)]
    return [Path(str(distribution.locate_file(one))) for one in entries if not str(one).startswith(outside)]


def installed_sources(packages: Iterable[str], exclude: Sequence[str] = ()) -> list[Path]:
    """Returns the Python files of those of some distributions that are installed, in whatever version."""
    installed = (name for name in packages if versions_found({name: "absent"}))
    return [file for name in installed for file in source_files(name, exclude) if file.is_file()]


def _die_with(parent: int) -> None:
    """Lets this process be killed when its parent ends, however that ends; on Linux, elsewhere it goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


PARSERS = 2
"""Processes that parse packages."""


def docstring_documents(
    packages: Mapping[str, str], workers: int = PARSERS, *, exclude: Sequence[str] = ()
) -> list[Document]:
    """Collects the docstrings of pinned packages as a deduplicated list, ordered by content hash.

    Args:
        packages: distribution name -> exact version, as the lock file installs them.
        workers: processes that parse; the result does not depend on it.
        exclude: folders of the packages that are not read, such as `numpy/distutils`, which numpy has for some versions
            of Python only.

    Returns:
        Documents in ascending order of SHA-256; two texts that differ in white space only count as one
        (the one with the lower hash is kept), so the list is the same on every machine.

    Raises:
        InputError: packages are missing or have another version.
    """
    check_packages(packages)
    with ProcessPoolExecutor(workers, initializer=_die_with, initargs=(os.getpid(),)) as pool:
        try:
            read = partial(_docstrings_of_package, exclude=exclude)
            texts = [text for found in pool.map(read, packages) for text in found]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # a package takes seconds, and its result is no longer needed
                worker.kill()
            raise
    unique: dict[str, Document] = {}
    for document in sorted((Document.of(text) for text in set(texts)), key=lambda d: d.sha256):
        unique.setdefault(" ".join(document.text.split()), document)
    return list(unique.values())


def corpus_sha256(documents: Iterable[Document]) -> str:
    """Returns the SHA-256 over the documents' own hashes, in order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(bytes.fromhex(document.sha256))
    return digest.hexdigest()
