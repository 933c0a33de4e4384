"""Files: the same content gives the same bytes, the mode that the umask says, on any file system."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch

from semconv import InputError
from semconv.system.errors import SemconvWarning
from semconv.system.files import (
    check_target,
    only_writer,
    read_tensors,
    temporary_folder,
    write_atomically,
    write_json,
    write_tensors,
    write_text,
)


def test_tensors_with_metadata_are_the_same_bytes_every_time(tmp_path: Path):
    """safetensors writes metadata in the order of a hash map that differs from call to call."""
    metadata = {f"key {i}": f'"{chr(i)}\\é\n' for i in range(12)}
    tensors = {"b": torch.arange(3), "a": torch.zeros(2, 0), "c": torch.tensor(1.5)}
    written: set[bytes] = set()
    for i in range(20):
        path = tmp_path / f"{i}.safetensors"
        write_tensors(path, tensors, metadata)
        written.add(path.read_bytes())
    assert len(written) == 1
    back, said = read_tensors(tmp_path / "0.safetensors")
    assert said == metadata
    assert set(back) == set(tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=lambda mask: f"umask {mask:03o}")
def mode(request: pytest.FixtureRequest) -> Generator[int]:
    """The mode of a new file under a umask that holds in the test."""
    before = os.umask(request.param)
    try:
        yield 0o666 & ~request.param
    finally:
        os.umask(before)


def _parquet(path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write_atomically(path, lambda p: pq.write_table(pa.table({"x": [1]}), p))


def _figure(path: Path) -> None:
    from matplotlib.figure import Figure

    write_atomically(path, lambda p: Figure().savefig(p))


def _zip(path: Path) -> None:
    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("x", "y")

    write_atomically(path, write)


def _dictionary(path: Path) -> None:
    from semconv.models.dictionaries import as_sae, write_sae

    pytest.importorskip("sae_lens")
    write_sae(as_sae(torch.eye(3), torch.zeros(3), "blocks.0.hook_resid_post"), path.parent)


WRITERS: dict[str, Callable[[Path], object]] = {
    "x.safetensors": lambda path: write_tensors(path, {"a": torch.zeros(2)}, {"k": "v"}),
    "plain.safetensors": lambda path: write_tensors(path, {"a": torch.zeros(2)}),
    "x.json": lambda path: write_json(path, {}),
    "x.md": lambda path: write_text(path, "x"),
    "x.parquet": _parquet,
    "x.png": _figure,
    "x.zip": _zip,
    "sae_weights.safetensors": _dictionary,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_has_the_mode_of_a_new_file(mode: int, name: str, tmp_path: Path):
    """safetensors makes files that only their owner can read, and so do others that write to a name of their own."""
    path = tmp_path / "new" / name
    for _ in range(2):  # and again, over the first
        WRITERS[name](path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert all(stat.S_IMODE(file.stat().st_mode) == mode for file in path.parent.iterdir())


def test_every_file_of_a_run_has_one_mode(tiny_run: Path):
    umask = os.umask(0)
    os.umask(umask)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tiny_run.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask}


def _fails(code: int) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


NOT_THERE = (errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@pytest.mark.parametrize("code", NOT_THERE, ids=lambda code: errno.errorcode[code])
def test_a_file_system_without_locks_is_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int):
    monkeypatch.setattr(fcntl, "flock", _fails(code))
    told = f"file system of {tmp_path} has no locks .*: start only one"
    with pytest.warns(SemconvWarning, match=told), only_writer(tmp_path):
        write_json(tmp_path / "x.json", {})
    assert (tmp_path / "x.json").exists()


@pytest.mark.parametrize(("code", "told"), [(errno.EIO, OSError), (errno.EWOULDBLOCK, InputError)])
def test_a_lock_that_is_held_or_broken_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, told: type[Exception]
):
    monkeypatch.setattr(fcntl, "flock", _fails(code))
    with pytest.raises(told), only_writer(tmp_path):
        raise AssertionError("entered without a lock")


@pytest.mark.parametrize("code", NOT_THERE, ids=lambda code: errno.errorcode[code])
def test_a_file_system_that_cannot_sync_is_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int):
    monkeypatch.setattr(os, "fsync", _fails(code))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_json(tmp_path / "x.json", {})
    assert (tmp_path / "x.json").read_text() == "{}\n"


def test_a_full_disk_at_the_sync_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(os, "fsync", _fails(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "x.json", {})
    assert list(tmp_path.iterdir()) == []


def test_temporary_folders_are_removed_also_those_of_killed_processes(tmp_path: Path):
    code = """
import os, signal, sys
from pathlib import Path
from semconv.system.files import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "x").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with temporary_folder(tmp_path) as one:
        assert not left.exists()
        assert list(one.iterdir()) == []
        with temporary_folder(tmp_path) as other:
            assert one.is_dir(), "a living process's stays"
            assert one != other
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_at_once_each_writes_its_own_file_and_the_last_stays(tmp_path: Path):
    path, inner_done = tmp_path / "x.bin", threading.Event()

    def slowly(temporary: Path) -> None:
        temporary.write_bytes(b"a" * 1000)
        thread = threading.Thread(target=lambda: (write_atomically(path, quickly), inner_done.set()))
        thread.start()
        thread.join()
        assert path.read_bytes() == b"b" * 10
        with temporary.open("ab") as handle:
            handle.write(b"a" * 1000)

    def quickly(temporary: Path) -> None:
        temporary.write_bytes(b"b" * 10)

    write_atomically(path, slowly)
    assert inner_done.is_set()
    assert path.read_bytes() == b"a" * 2000
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed_and_what_living_ones_write_is_not(tmp_path: Path):
    left, alive, other = (tmp_path / f".{name}.json" for name in ("x.partial-0a", "x.partial-0b", "y.partial-0c"))
    for file in (left, alive, other):
        file.write_text("half")
    with alive.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        write_json(tmp_path / "x.json", {})
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, tmp_path / "x.json"])


@pytest.mark.parametrize("target", ["store/out", "store/deep/out", "store", "link/out", "store/../store/x"])
def test_a_target_that_is_its_own_source_is_refused(target: str, tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    check_target(tmp_path / "stores", tmp_path / "store")
    with pytest.raises(InputError, match="which is read to make it"):
        check_target(tmp_path / target, tmp_path / "other", tmp_path / "store")


WITHOUT_LOCKS = """
import fcntl, os, sys, warnings
def no_locks(*_): raise OSError(38, os.strerror(38))
fcntl.flock = no_locks
from semconv.system import files
def app():
    for _ in range(2):
        with files.only_writer(files.Path("x")):
            warnings.warn("of a library", RuntimeWarning)
from semconv.cli import terminal
terminal.app = app
terminal.main()
"""


@pytest.mark.slow
def test_the_command_line_tells_such_a_warning_once_as_a_sentence(tmp_path: Path):
    command = [sys.executable, "-c", WITHOUT_LOCKS]
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours, others = done.stderr.splitlines()[0], done.stderr.splitlines()[1:]
    assert ours.startswith("semconv: warning: the file system of x has no locks (Function not implemented)")
    assert "RuntimeWarning: of a library" in others[0]
    assert done.stderr.count("no locks") == 1
