"""Several processes that share the tasks of one run folder, on one machine or many: who does what, and who is gone."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from semconv.system.errors import InputError
from semconv.system.files import locked, read_text, shared_writer, write_text
from semconv.system.processes import share

BEAT = 15.0
"""Seconds between two signs of life of a reservation."""
GONE = 120.0
"""Seconds without a sign of life after which a reservation counts no more: its process was killed, or its machine."""


@dataclass(frozen=True)
class Shard:
    """Which part of the tasks a process begins with; what others leave undone it does after.

    Attributes:
        index: its number, from 0.
        count: how many processes share the tasks.

    Raises:
        InputError: no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"a shard must be I/N with 0 <= I < N, got {self.index}/{self.count}")

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Returns the shard that a text such as `3/8` names.

        Raises:
            InputError: it names none.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None:
            raise InputError(f"a shard must be I/N with 0 <= I < N, such as 0/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def part(self, n: int) -> range:
        """Returns its share of n things (`share`)."""
        return share(n, self.index, self.count)


@contextmanager
def sharing(folder: Path, identity: str) -> Generator[Reservations]:
    """Joins the processes that share the tasks of a run folder; `only_writer` keeps out who wants it alone.

    Args:
        folder: of the run.
        identity: suite and code whose tasks they are; all processes at one time must have the same.

    Raises:
        InputError: another process has the folder alone, or others share tasks of another suite or code in it.
    """
    place = folder / "reservations"
    place.mkdir(parents=True, exist_ok=True)
    named = place / "tasks-of.txt"
    with shared_writer(folder), (place / ".lock").open("w") as handle:
        if locked(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            write_text(named, identity)
        locked(handle, fcntl.LOCK_SH)
        found = read_text(named)
        if found != identity:
            raise InputError(
                f"other processes do tasks of another suite, or by another version of semconv, in {folder}: theirs are "
                f"{found[:16]}, this one's {identity[:16]}; wait for them or choose another --out"
            )
        reservations = Reservations(place)
        with reservations.alive():
            yield reservations


class Reservations:
    """Files that say which tasks are being done, so that no two processes do one at the same time.

    They save work and keep nothing right: a task done twice leaves the same file twice, each whole. So it harms nothing
    that a slow file system shows a file late, or that two processes take over what a third has left at one moment.

    Args:
        folder: shared by the processes; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held: set[Path] = set()
        self._lock, self._end = Lock(), Event()

    @contextmanager
    def alive(self) -> Generator[None]:
        """Gives signs of life of what is reserved, as long as it is open."""
        self._folder.mkdir(parents=True, exist_ok=True)
        beats = Thread(target=self._beat, name="signs of life", daemon=True)
        beats.start()
        try:
            yield
        finally:
            self._end.set()
            beats.join()
            with suppress(FileNotFoundError):
                self._clock.unlink()

    @contextmanager
    def reserved(self, name: str) -> Generator[bool]:
        """Reserves a task inside; gives False, and reserves nothing, if another process has it and is alive."""
        file = self._folder / name
        mine = self._take(file)
        try:
            yield mine
        finally:
            if mine:
                with self._lock:
                    self._held.discard(file)
                with suppress(FileNotFoundError):
                    file.unlink()

    def _take(self, file: Path) -> bool:
        for _ in range(2):
            try:
                with file.open("x") as handle:
                    handle.write(self._owner)
            except FileExistsError:
                if not self._is_gone(file):
                    return False
                with suppress(FileNotFoundError):
                    file.unlink()
                continue
            with self._lock:
                self._held.add(file)
            return True
        return False

    @property
    def _clock(self) -> Path:
        return self._folder / f".clock-{self._owner}"

    def _is_gone(self, file: Path) -> bool:
        """Whether the last sign of life is old, by the clock of the file system, which all processes share."""
        self._clock.touch()
        try:
            return self._clock.stat().st_mtime - file.stat().st_mtime > GONE
        except FileNotFoundError:  # given back in the meantime
            return False

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            with self._lock:
                held = list(self._held)
            for file in held:
                with suppress(FileNotFoundError):
                    os.utime(file)
