"""Hashes of large files: those of `hashlib`, taken once, and taken again after any change."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from semconv import InputError
from semconv.system import file_hashes
from semconv.system.file_hashes import LARGE, cache_folder, folder_sha256

BIG, OTHER = b"a" * (LARGE + 5), b"b" * (LARGE + 5)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def of_file(name: str, content: bytes) -> str:
    return sha256(f"{name} {sha256(content)}\n".encode())


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMCONV_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(file_hashes, "_known", {})


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file was last changed a while ago."""
    monkeypatch.setattr(file_hashes, "time_ns", lambda: time.time_ns() + 10 * 10**9)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read for their hash."""
    names, usual = list[str](), file_hashes._read

    def reading(file: Path, told: Callable[[int], None]) -> str:
        names.append(file.name)
        return usual(file, told)

    monkeypatch.setattr(file_hashes, "_read", reading)
    return names


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new process knows: nothing but the cache."""
    monkeypatch.setattr(file_hashes, "_known", {})


def entries() -> list[Path]:
    folder = cache_folder()
    return sorted(folder.glob("*.json")) if folder and folder.is_dir() else []


def test_names_and_contents_make_the_hash(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(BIG)
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"mod\xe8le")).write_bytes(b"y")
    lines = f"a {sha256(b'x')}\n".encode() + b"mod\xe8le " + f"{sha256(b'y')}\nsub/b {sha256(BIG)}\n".encode()
    assert folder_sha256(tmp_path) == sha256(lines)
    assert folder_sha256(tmp_path / "sub" / "b") == of_file("b", BIG)
    with pytest.raises(InputError, match=r"folder .*none does not exist"):
        folder_sha256(tmp_path / "none")


@pytest.mark.usefixtures("later")
def test_a_large_file_is_read_once_also_by_the_next_process(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "weights").write_bytes(BIG)
    (tmp_path / "config").write_bytes(b"x")
    found = folder_sha256(tmp_path)
    assert read == ["config", "weights"]
    forget(monkeypatch)
    assert folder_sha256(tmp_path) == found
    assert read == ["config", "weights", "config"]
    assert len(entries()) == 1
    assert str(tmp_path) not in entries()[0].read_text()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", ["content", "content with the old time", "copy in its place", "moved"])
def test_any_change_is_seen(change: str, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "weights"
    file.write_bytes(BIG)
    before = file.stat()
    folder_sha256(file)
    time.sleep(0.05)  # more than a tick of the clock that stamps files
    if change == "content":
        file.write_bytes(OTHER)
    elif change == "content with the old time":
        file.write_bytes(OTHER)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "copy in its place":
        shutil.copy2(file, tmp_path / "copy")
        (tmp_path / "copy").replace(file)
    else:
        (tmp_path / "elsewhere").mkdir()
        file = file.replace(tmp_path / "elsewhere" / "weights")
    forget(monkeypatch)
    assert folder_sha256(file) == of_file("weights", file.read_bytes())
    assert len(read) == 2


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch):
    """Two changes within one tick of a file system's clock show one time, as FAT's two seconds do."""
    file = tmp_path / "weights"
    file.write_bytes(BIG)
    stamp = file_hashes.Stamp.of(file)
    monkeypatch.setattr(file_hashes.Stamp, "of", lambda file: stamp)
    assert folder_sha256(file) == of_file("weights", BIG)
    file.write_bytes(OTHER)
    assert folder_sha256(file) == of_file("weights", OTHER)
    assert len(read) == 2
    assert entries() == []


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, usual = tmp_path / "weights", file_hashes._read
    file.write_bytes(BIG)

    def reading(file: Path, told: Callable[[int], None]) -> str:
        found = usual(file, told)
        time.sleep(0.05)
        file.write_bytes(OTHER)
        return found

    monkeypatch.setattr(file_hashes, "_read", reading)
    folder_sha256(file)
    assert entries() == []


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 99999, "sha256", "size"])
def test_a_damaged_entry_is_not_used(
    damage: bytes | str, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "weights"
    file.write_bytes(BIG)
    folder_sha256(file)
    entry = entries()[0]
    text = entry.read_text()
    damaged = {"sha256": text.replace(sha256(BIG), sha256(BIG)[1:]), "size": text.replace(str(len(BIG)), "7")}
    entry.write_bytes(damage if isinstance(damage, bytes) else damaged[damage].encode())
    forget(monkeypatch)
    assert folder_sha256(file) == of_file("weights", BIG)
    assert len(read) == 2
    assert entry.read_text() == text


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("place", ["a file", "no home"])
def test_without_a_cache_a_file_is_read_once_in_a_process(
    place: str, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "weights").write_bytes(BIG)
    if place == "a file":
        monkeypatch.setenv("SEMCONV_CACHE", str(tmp_path / "weights"))
    else:
        for name in ("SEMCONV_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        assert cache_folder() is None
    assert folder_sha256(tmp_path / "weights") == folder_sha256(tmp_path / "weights") == of_file("weights", BIG)
    assert read == ["weights"]
    assert not Path("~").exists()


@pytest.mark.usefixtures("later")
def test_bytes_are_told_while_files_are_read_and_not_when_they_are_known(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).write_bytes(BIG * 5)
    told: list[tuple[int, int]] = []
    folder_sha256(tmp_path, lambda done, total: told.append((done, total)))
    assert told[0] == (0, 10 * len(BIG))
    assert told[-1] == (10 * len(BIG), 10 * len(BIG))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 4
    told.clear()
    folder_sha256(tmp_path, lambda done, total: told.append((done, total)))
    (tmp_path / "small").write_bytes(b"x")
    folder_sha256(tmp_path / "small", lambda done, total: told.append((done, total)))
    assert told == []


def test_the_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SEMCONV_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the convention tells to ignore
    assert cache_folder() == tmp_path / ".cache" / "semconv" / "hashes"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "semconv" / "hashes"
    monkeypatch.setenv("SEMCONV_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "hashes"
