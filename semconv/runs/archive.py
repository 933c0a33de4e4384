"""Archives of runs: one zip, a self-describing RO-Crate, written from a run folder and opened, every file checked."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from semconv.runs.anonymous import check_leaks
from semconv.runs.crate import METADATA, Entry, anonymous_metadata, check_crate, listed_files
from semconv.system.errors import InputError
from semconv.system.files import temporary_folder, write_atomically

MOST_MIB = 1024
"""MiB that an archive may unpack to unless more is allowed."""
_ROWS_PER_MIB = 10_000
_MOST_METADATA = 2**26
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same run gives the same bytes


def write_archive(folder: Path, target: Path, anonymous: bool = False, allowed: Iterable[str] = ()) -> int:
    """Writes a run's results and sufficient statistics as one zip, a self-describing RO-Crate; returns its bytes.

    First, every byte of it, compressed parts too, is searched for the user's access tokens, which are an error, and for
    `personal_words`, which are an error in an anonymous archive; in others, paths of this machine are warned of.

    Args:
        folder: of a finished run; nothing in it is changed.
        target: file to write, `.zip`.
        anonymous: for readers who must not learn whose it is: the crate is what `anonymous_metadata` leaves of it.
        allowed: words, as the error message shows them, that may stand in an anonymous archive; tokens never may.

    Raises:
        InputError: another suffix, an unfinished run, one whose files are no longer those that it listed, or one that
            holds a word that was looked for.
        OSError: the target cannot be written.
    """
    if target.suffix != ".zip":
        raise InputError(f"an archive is a .zip file, got {target.name}")
    listed = {entry.path: entry.sha256 for entry in check_crate(folder)}
    metadata = anonymous_metadata(folder) if anonymous else (folder / METADATA).read_bytes()

    def members() -> Iterator[tuple[str, bytes]]:
        yield METADATA, metadata
        for name in listed:
            content = (folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != listed[name]:
                raise InputError(f"{name} in {folder} changed while it was read; wait for the run to end")
            yield name, content

    check_leaks(members(), [folder], anonymous, allowed)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members():
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                info.create_system = 3  # Unix, wherever it is made
                archive.writestr(info, content)

    write_atomically(target, write)
    return target.stat().st_size


@contextmanager
def opened(archive: Path, most_mib: int = MOST_MIB) -> Generator[Path]:
    """Gives a folder with what an archive, or a run folder, lists, every file checked, and nothing else.

    Errors raised inside of the `with` name the archive, not that folder.

    Args:
        archive: a zip file or a run folder.
        most_mib: MiB that all of its files may have, unpacked; a JSON file a sixteenth of it, and a table so many rows
            for each MiB as `_ROWS_PER_MIB` says.

    Raises:
        InputError: no archive, a damaged one, a file that it does not list, one that is too large, or what
            `check_crate` refuses.
    """
    if not archive.exists():
        raise InputError(f"archive {archive} does not exist")
    if not archive.is_dir() and not archive.is_file():
        raise InputError(f"archive {archive} is neither a file nor a folder")
    with temporary_folder() as folder:
        try:
            if archive.is_dir():
                _link(archive, folder)
            else:
                _unpack(archive, folder, most_mib)
            _check_sizes(folder, most_mib)
            check_crate(folder)
            yield folder
        except InputError as error:
            raise InputError(str(error).replace(str(folder), str(archive))) from None


def _link(source: Path, folder: Path) -> None:
    for name in (METADATA, *(entry.path for entry in listed_files(source))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to((source / name).resolve())


def _check_total(archive: Path, entries: Iterable[Entry], most_mib: int) -> None:
    total = sum(entry.size for entry in entries)
    if total > most_mib * 2**20:
        raise InputError(
            f"the files of {archive} have {math.ceil(total / 2**20)} MiB, at most {most_mib} are read; --max-size "
            f"{math.ceil(total / 2**20)} reads them"
        )


def _check_sizes(folder: Path, most_mib: int) -> None:
    """Raises InputError for files that are small on disk and large in memory: JSON, and tables that repeat a value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = listed_files(folder)
    _check_total(folder, entries, most_mib)
    for entry in entries:
        path = folder / entry.path
        if path.suffix == ".json" and entry.size > most_mib * 2**16:
            raise InputError(
                f"{path} has {entry.size} bytes, of JSON at most {most_mib * 2**16} are read; see --max-size"
            )
        if path.suffix != ".parquet" or not path.is_file():
            continue
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged: {error}") from None
        if rows > most_mib * _ROWS_PER_MIB:
            raise InputError(f"{path} has {rows} rows, at most {most_mib * _ROWS_PER_MIB} are read; see --max-size")


def _unpack(archive: Path, folder: Path, most_mib: int) -> None:
    """Unpacks what the crate lists, each file up to the size that it lists; zipfile checks size and CRC."""
    try:
        with zipfile.ZipFile(archive) as file:
            files = [info for info in file.infolist() if not info.is_dir()]
            members = {info.filename: info for info in files}
            if len(members) < len(files):
                raise InputError(f"{archive} holds a file twice")
            for name, info in members.items():
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(f"{name} in {archive} must be stored or deflated, got {info.compress_type}")
            if METADATA not in members or members[METADATA].file_size > _MOST_METADATA:
                raise InputError(f"{archive} holds no {METADATA} of at most {_MOST_METADATA} bytes")
            file.extract(METADATA, folder)
            entries = {entry.path: entry for entry in listed_files(folder)}
            _check_total(archive, entries.values(), most_mib)
            for name, info in members.items():
                if name == METADATA:
                    continue
                if name not in entries:
                    raise InputError(f"{archive} holds {name}, which its {METADATA} does not list")
                if info.file_size != entries[name].size:
                    raise InputError(
                        f"{name} in {archive} is not the file that was listed: {entries[name].size} bytes expected, "
                        f"{info.file_size} found"
                    )
                file.extract(name, folder)  # zipfile keeps names inside of the folder
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(f"{archive} is no archive of a run, or a damaged one: {error}") from None
    except OSError as error:
        raise InputError(f"{archive} cannot be unpacked: {error.strerror or error}") from None
