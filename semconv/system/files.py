"""Writes files so that a reader never sees half of one: temporary name, fsync, rename; one writer per folder."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from semconv.system.errors import InputError, SemconvWarning

if TYPE_CHECKING:
    from torch import Tensor


_CANNOT = (errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
"""Error numbers of file systems that have no locks, or cannot sync folders."""
_SEAL = "seal"
_TEMPORARY, _LIVES = ".semconv-tmp-", "lives"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` on a temporary name beside `path`, syncs it to disk and renames it; on failure nothing remains.

    If several processes write one path at once, each writes a temporary file of its own and the last rename wins, so
    the file is always whole. Temporary files of killed processes are removed.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    # The suffix stays last, because some writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.partial-{secrets.token_hex(4)}{path.suffix}")
    with temporary.open("xb") as owned:
        try:
            with suppress(OSError):
                fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that its writer lives
            mode = stat.S_IMODE(os.fstat(owned.fileno()).st_mode)
            write(temporary)
            temporary.chmod(mode)  # what the umask gives, for some libraries make files that only their owner can read
            with temporary.open("rb+") as handle:
                _sync(handle.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        _sync(folder)
    finally:
        os.close(folder)


def _remove_leftovers(path: Path) -> None:
    """Removes temporary files of `path` whose writers are gone, that is, whose locks are free."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.partial-*{glob.escape(path.suffix)}"):
        with suppress(OSError), leftover.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


@contextmanager
def temporary_folder(beside: Path | None = None) -> Generator[Path]:
    """Makes an empty folder that is removed at the end; folders left by killed processes are removed first.

    Args:
        beside: folder to make it in; that of the system for temporary files by default.
    """
    place = beside or Path(tempfile.gettempdir())
    for leftover in place.glob(f"{_TEMPORARY}*"):
        with suppress(OSError), (leftover / _LIVES).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=place) as name, (Path(name) / _LIVES).open("wb") as owned:
        with suppress(OSError):
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = Path(name) / "made"
        folder.mkdir()
        yield folder


def check_target(target: Path, *sources: Path) -> None:
    """Raises InputError if a file would be written over, or into, one of the files that it is made from.

    Raises:
        InputError: `target` is one of the sources or lies in one.
    """
    for source in sources:
        if target.resolve().is_relative_to(source.resolve()):
            raise InputError(f"{target} is, or lies in, {source}, which is read to make it; choose another file")


def _sync(descriptor: int) -> None:
    """Syncs a file or folder to disk, if the file system can, so that a power cut does not lose it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def write_json(path: Path, value: object) -> None:
    """Writes JSON atomically: two-space indent, sorted keys, no NaN (callers write null instead)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, sealed: bool = False
) -> None:
    """Writes a safetensors file atomically.

    Args:
        path: the file.
        tensors: by name.
        metadata: texts beside them.
        sealed: add a SHA-256 over all of it, which `read_sealed` checks; the format has none of its own.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    from safetensors.torch import save

    if sealed:
        metadata = {**(metadata or {}), _SEAL: _sha256_of_tensors(tensors, metadata or {})}
    # The library's own writer goes through a file of another name, which a killed process would leave behind.
    content = memoryview(save(tensors, metadata=metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = _sorted_metadata(bytes(content[8:start])) if metadata else content[8:start]

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for part in (content[:8], header, content[start:]):
                file.write(part)

    write_atomically(path, write)


def _sha256_of_tensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().cpu().numpy().reshape(-1).data)
    return digest.hexdigest()


def read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns tensors and metadata of a file that was written sealed.

    Raises:
        InputError: the file is missing, or its SHA-256 is not the one that was written into it.
    """
    tensors, metadata = read_tensors(path)
    seal = metadata.pop(_SEAL, "")
    if seal != _sha256_of_tensors(tensors, metadata):
        raise InputError(f"{path} is damaged: it is not what was written")
    return tensors, metadata


def _sorted_metadata(header: bytes) -> bytes:
    """Sorts the metadata in the header of a safetensors file, which the library writes in another order every time."""
    fields = json.loads(header)
    fields["__metadata__"] = dict(sorted(fields["__metadata__"].items()))
    found = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode().ljust(len(header))
    if len(found) != len(header):  # both write JSON without spaces and with the same escapes
        raise RuntimeError("the header of a safetensors file is not the JSON that it was")
    return found


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns tensors and metadata of a safetensors file.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = TensorFile(path)
    return {name: file.read(name) for name in file.names}, file.metadata


class TensorFile:
    """A safetensors file, of which every tensor is read when it is asked for.

    Attributes:
        names: of its tensors.
        metadata: texts beside them.

    Raises:
        InputError: the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._path, self._damaged = path, (OSError, SafetensorError)
        try:
            self._file = safe_open(path, framework="pt")
        except self._damaged as error:
            raise InputError(f"{path} is missing or damaged: {error}") from None
        self.names = tuple(self._file.keys())
        self.metadata = dict(self._file.metadata() or {})

    def read(self, name: str) -> Tensor:
        """Returns a tensor.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return self._file.get_tensor(name)
        except self._damaged as error:
            raise InputError(f"{self._path} is missing or damaged: {error}") from None


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Returns the shapes of the tensors of a safetensors file and its metadata, without reading the tensors.

    Raises:
        InputError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return shapes, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is missing or damaged: {error}") from None


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file.

    Raises:
        InputError: the file is not UTF-8.
        OSError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


_IN_USE = "another semconv process is writing to {folder}; wait for it or choose another --out"


@contextmanager
def only_writer(folder: Path, waits: Callable[[], None] | None = None) -> Generator[None]:
    """Holds the folder's lock, so that two runs never write into it at once; the lock dies with the process.

    On file systems without locks (some clusters have such), it warns and continues.

    Args:
        folder: made if need be.
        waits: called before waiting for another process that holds the lock; without it, there is no waiting and a held
            lock is an error.

    Raises:
        InputError: another process holds the lock, and `waits` is None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        if not locked(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if waits is None:
                raise InputError(_IN_USE.format(folder=folder))
            waits()
            locked(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def shared_writer(folder: Path) -> Generator[None]:
    """Holds the folder's lock together with others that do the same, and keeps out who wants it alone (`only_writer`).

    Raises:
        InputError: another process holds the lock alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        if not locked(handle, fcntl.LOCK_SH | fcntl.LOCK_NB):
            raise InputError(_IN_USE.format(folder=folder))
        yield


def locked(handle: TextIO, how: int) -> bool:
    """Locks an open file, `how` of `fcntl.flock`; False if others hold it and `how` does not wait.

    On file systems without locks, it warns and says that it is locked.
    """
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        folder = Path(handle.name).parent
        warnings.warn(
            f"the file system of {folder} has no locks ({error.strerror}), so nothing keeps a second semconv "
            "process from writing there at the same time: start only one",
            SemconvWarning,
            stacklevel=4,
        )
    return True


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
