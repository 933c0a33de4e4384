"""SHA-256 of files; those of large ones are kept in the user's cache, so that a checkpoint is read for it once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time_ns
from typing import Any

from semconv.system.errors import InputError
from semconv.system.files import write_json

LARGE = 1 << 20
"""Bytes from which a hash is kept; smaller files are read every time."""
_GRANULARITY = 2 * 10**9
"""Nanoseconds within which a file may change twice and show one time of change: FAT keeps even seconds."""
_BLOCK = 1 << 22
_SHA256 = re.compile("[0-9a-f]{64}")

Hashed = Callable[[int, int], None]
"""Called with how many bytes are hashed, and how many there are to hash."""


@dataclass(frozen=True)
class Stamp:
    """What tells a file from another one, and from itself after a change.

    Attributes:
        path: absolute, with links resolved.
        size: bytes.
        mtime_ns: when its contents were changed, nanoseconds since 1970.
        ctime_ns: when its contents or its attributes were changed, which a copied or reset `mtime_ns` does not hide.
        inode: number of the file.
        device: number of its file system.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, file: Path) -> Stamp:
        place = file.resolve()
        found = place.stat()
        return cls(str(place), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

    def settled(self, now_ns: int) -> bool:
        """Whether any change after `now_ns` would give another stamp; one made just before may share its time."""
        return max(self.mtime_ns, self.ctime_ns) + _GRANULARITY < now_ns


_known: dict[Stamp, str] = {}  # of this process, for where the cache cannot be written


def cache_folder() -> Path | None:
    """Returns the folder where hashes are kept: `hashes` in `$SEMCONV_CACHE`, else in `semconv` of `$XDG_CACHE_HOME`,
    else in `~/.cache/semconv`; None for a user without a home."""
    own, usual = os.environ.get("SEMCONV_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    usual = usual if os.path.isabs(usual) else os.path.join(os.path.expanduser("~"), ".cache")
    place = Path(os.path.abspath(own)) if own else Path(usual, "semconv")
    return place / "hashes" if place.is_absolute() else None


def _entry(stamp: Stamp) -> Path | None:
    folder = cache_folder()
    return folder / f"{hashlib.sha256(os.fsencode(stamp.path)).hexdigest()[:32]}.json" if folder else None


def _kept(stamp: Stamp) -> str | None:
    """Returns the hash that is known of a file, if it is the same file with the same contents."""
    entry = _entry(stamp)
    if stamp not in _known and entry is not None:
        with suppress(OSError, ValueError, RecursionError):  # missing or damaged
            kept: Any = json.loads(entry.read_bytes())
            found = kept.get("sha256") if isinstance(kept, dict) else None
            if isinstance(found, str) and _SHA256.fullmatch(found) and kept == _plain(stamp, found):
                _known[stamp] = found
    return _known.get(stamp)


def _plain(stamp: Stamp, sha256: str) -> dict[str, str | int]:
    return {**asdict(stamp), "path": os.fsencode(stamp.path).hex(), "sha256": sha256}  # a path need not be UTF-8


def _keep(stamp: Stamp, sha256: str) -> None:
    _known[stamp] = sha256
    entry = _entry(stamp)
    with suppress(OSError):  # a read-only or full disk: the file is then hashed once at every start
        if entry is not None:
            write_json(entry, _plain(stamp, sha256))


def _read(file: Path, told: Callable[[int], None]) -> str:
    digest, buffer = hashlib.sha256(), bytearray(_BLOCK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as handle:
        while n := handle.readinto(buffer):
            digest.update(view[:n])
            told(n)
    return digest.hexdigest()


def _hashed(file: Path, told: Callable[[int], None]) -> str:
    """Hashes a file, and keeps the hash of a large one, unless it may have changed meanwhile without another stamp."""
    stamp, began = Stamp.of(file), time_ns()
    found = _read(file, told)
    if stamp.size >= LARGE and stamp.settled(began) and Stamp.of(file) == stamp:
        _keep(stamp, found)
    return found


def file_hashes(files: Sequence[Path], progress: Hashed | None = None) -> list[str]:
    """Returns the SHA-256 of files, 64 hexadecimal digits each, in their order.

    The hash of a file of 1 MiB or more is kept in `cache_folder`, and used again as long as path, size, times of
    change, inode and device of the file are the same. That of a file that was changed in the two seconds before it was
    read is not kept, for another change in them might leave its time as it is.

    Args:
        files: that are there.
        progress: called while files are read whose hash is not known, if they hold 1 MiB or more together.

    Raises:
        OSError: a file cannot be read.
    """
    stamps = [Stamp.of(file) for file in files]
    kept = [_kept(stamp) if stamp.size >= LARGE else None for stamp in stamps]
    total = sum(stamp.size for stamp, known in zip(stamps, kept, strict=True) if known is None)
    done = 0

    def told(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None and total >= LARGE:
            progress(min(done, total), total)  # a file may grow meanwhile

    told(0)
    return [known or _hashed(file, told) for file, known in zip(files, kept, strict=True)]


def folder_sha256(path: Path, progress: Hashed | None = None) -> str:
    """Returns the SHA-256 over names and contents of the files of a model or SAE folder, or over one file's.

    Args:
        path: the folder or file.
        progress: as for `file_hashes`, which keeps the hashes of large files.

    Raises:
        InputError: the folder does not exist.
        OSError: a file cannot be read.
    """
    if not path.is_file() and not path.is_dir():
        raise InputError(f"folder {path} does not exist")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file, found in zip(files, file_hashes(files, progress), strict=True):
        name = os.fsencode(file.name if file == path else file.relative_to(path))  # which need not be UTF-8
        digest.update(name + f" {found}\n".encode())
    return digest.hexdigest()
