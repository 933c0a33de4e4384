"""What tasks need from disk: read when a task begins, shared by tasks, and never more of it in memory than stated."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, Protocol, TypeVar

Value = TypeVar("Value", covariant=True)


class Need(Protocol[Value]):
    """Something large that a task needs.

    Attributes:
        key: names it; two of one key are the same thing.
        n_bytes: how much memory it takes once it is read.
        working: how much a task holds beside it, at most.
    """

    @property
    def key(self) -> str: ...

    @property
    def n_bytes(self) -> int: ...

    @property
    def working(self) -> int: ...

    def read(self) -> Value:
        """Reads it."""
        ...


@dataclass(eq=False)
class _Held:
    n_bytes: int
    value: Future[Any] = field(default_factory=Future[Any])
    users: int = 0


class Shelf:
    """Holds what running tasks need, and what earlier ones needed as long as there is room.

    Args:
        most: bytes that may be held at once; None for no limit. A task that needs more has the shelf to itself.
        room: bytes for that and for what running tasks hold beside it; None for no limit. A task for which there is
            less runs alone.
    """

    def __init__(self, most: int | None = None, room: int | None = None) -> None:
        self.most, self.room = most, room
        self.n_read = 0  # times that something was read
        self.peak = 0  # most bytes held at once
        self.peak_beside = 0  # the same of what running tasks hold beside them
        self._working = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()  # longest unused first
        self._changed = Condition()

    @contextmanager
    def holding(self, needs: Sequence[Need[Any]]) -> Generator[list[Any]]:
        """Gives the values of some needs, in order, and keeps them inside; waits for room if others use too much."""
        wanted = {need.key: need for need in needs}
        working = sum(need.working for need in wanted.values())
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(wanted, working))
            self._working += working
            self.peak_beside = max(self.peak_beside, self._working)
            new = [need for key, need in wanted.items() if key not in self._held]
            self._held |= {need.key: _Held(need.n_bytes) for need in new}
            held = {key: self._held[key] for key in wanted}
            for key, one in held.items():
                one.users += 1
                self._held.move_to_end(key)
            self.peak = max(self.peak, self._bytes())
        try:
            self._read(new, held)
            yield [held[need.key].value.result() for need in needs]
        finally:
            with self._changed:
                self._working -= working
                for key, one in held.items():
                    one.users -= 1
                    failed = one.value.done() and one.value.exception() is not None
                    if failed and self._held.get(key) is one:
                        del self._held[key]  # whoever needs it next reads it again
                self._changed.notify_all()

    def _read(self, needs: Sequence[Need[Any]], held: dict[str, _Held]) -> None:
        try:
            for need in needs:
                held[need.key].value.set_result(need.read())
        except BaseException as error:
            for need in needs:  # others may wait for them
                if not held[need.key].value.done():
                    held[need.key].value.set_exception(error)
            raise
        with self._changed:
            self.n_read += len(needs)

    def _bytes(self) -> int:
        return sum(one.n_bytes for one in self._held.values())

    def _limit(self, working: int) -> int | None:
        """Returns the bytes that may be held while one more task runs, which holds so many beside it."""
        beside = None if self.room is None else self.room - self._working - working
        return min((one for one in (self.most, beside) if one is not None), default=None)

    def _has_room(self, wanted: dict[str, Need[Any]], working: int) -> bool:
        """Lets go of what no task uses, longest unused first, until there is room for what is wanted."""
        limit = self._limit(working)
        if limit is None:
            return True
        more = sum(need.n_bytes for key, need in wanted.items() if key not in self._held)
        unused = [key for key, one in self._held.items() if not one.users and key not in wanted]
        used = self._bytes() - sum(self._held[key].n_bytes for key in unused)
        running = self._working or any(one.users for one in self._held.values())
        if used + more > limit and running:
            return False
        for key in unused:
            if self._bytes() + more <= limit:
                break
            del self._held[key]
        return True
