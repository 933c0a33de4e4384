"""Tasks: pieces of work that are named before they are done, and the place where they are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from time import perf_counter, sleep
from typing import Any

from semconv.runs.reservations import Reservations, Shard
from semconv.runs.shelf import Need, Shelf
from semconv.runs.task_cache import Result, TaskCache, kept_as
from semconv.system.side_by_side import side_by_side

POLL = 0.5
"""Seconds between two looks at what other processes are at."""


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work whose result is kept.

    Attributes:
        name: of its file.
        needs: what it reads from disk.
        inputs: everything its result depends on but the code, as plain values.
        make: does the work, with what it needs as arguments; gives a dataclass that `kept_as` takes.
        kind: what its seconds are counted as, where that says more than the stage (`Took`).
    """

    name: str
    needs: tuple[Need[Any], ...]
    inputs: list[Any]
    make: Callable[..., Any]
    kind: str = ""


@dataclass(frozen=True)
class Took:
    """What the tasks of a kind took; no result depends on it.

    Attributes:
        seconds: wall time of those that this process did, one added to the other, though several run side by side.
        done: how many these are: the others were finished, or another process did them.
        tasks: how many there are.
    """

    seconds: float = 0.0
    done: int = 0
    tasks: int = 0


def in_tiles(tasks: Sequence[Task], most: int | None) -> list[Task]:
    """Returns tasks in an order in which neighbours need the same: tile after tile of the grid of what they need.

    A tile is as many first needs by as many last needs as fit into memory, so that a grid of n by n tasks reads
    about n / t times everything, for tiles of t by t, and not n times.

    Args:
        tasks: in any order.
        most: bytes that may be held at once; None for no limit, which leaves the order as it is.
    """
    largest = max((need.n_bytes for task in tasks for need in task.needs), default=0)
    if most is None or largest == 0:
        return list(tasks)
    t = max(1, most // (2 * largest))
    rows, columns = dict[str, int](), dict[str, int]()

    def place(task: Task) -> tuple[int, ...]:
        if not task.needs:
            return (-1, -1, -1, -1)
        row = rows.setdefault(task.needs[0].key, len(rows))
        column = columns.setdefault(task.needs[-1].key, len(columns))
        return (row // t, column // t, row, column)

    return sorted(tasks, key=place)


@dataclass(frozen=True, eq=False)
class Workplace:
    """Where tasks are done.

    Attributes:
        cache: where their results go.
        shelf: holds what they need.
        on_cpu: whether the CPU does the work (`side_by_side`).
        shard: which tasks this process begins with, where several share them.
        shared: who does what, where several processes share the tasks; None where this one does all.
        took: kind of tasks -> what they took so far.
    """

    cache: TaskCache
    shelf: Shelf = field(default_factory=Shelf)
    on_cpu: bool = True
    shard: Shard = field(default_factory=Shard)
    shared: Reservations | None = None
    took: dict[str, Took] = field(default_factory=dict[str, Took])

    def run(self, tasks: Sequence[Task], done: Callable[[int, int], None], stage: str = "") -> None:
        """Runs every task that is not finished yet, on the CPU as many side by side as there are threads.

        Where several processes share them, it returns when all are finished, by whomever: this one does its own part,
        then what is left of the others', from the end, and at last waits for what others are still at. What one leaves
        that is killed, the others do after `GONE` seconds.

        Args:
            tasks: in any order; none needs the result of another.
            done: called with how many are finished, and how many there are, after each.
            stage: what the seconds of tasks are counted as that have no kind of their own; empty for nothing.
        """
        finished, lock = 0, Lock()
        ordered = in_tiles(tasks, self.shelf.most)
        mine = self.shard.part(len(ordered))
        left = [ordered[i] for i in mine] + [one for i, one in reversed(list(enumerate(ordered))) if i not in mine]

        def count(task: Task, more: Took) -> None:
            with lock:
                if kind := task.kind or stage:
                    so_far = self.took.get(kind, Took())
                    sums = (so_far.seconds + more.seconds, so_far.done + more.done, so_far.tasks + more.tasks)
                    self.took[kind] = Took(*sums)

        def make(task: Task) -> Result:
            with self.shelf.holding(task.needs) as values:
                began = perf_counter()
                result = kept_as(task.make(*values))
                count(task, Took(perf_counter() - began, 1))
                return result

        def run(task: Task) -> bool:
            nonlocal finished
            if not self._ensured(task, partial(make, task)):
                return False
            with lock:
                finished += 1
                done(finished, len(tasks))
            return True

        for task in ordered:
            count(task, Took(tasks=1))
        while left:
            ended = side_by_side([partial(run, task) for task in left], self.on_cpu)
            if not any(ended):
                sleep(POLL)
            left = [task for task, is_done in zip(left, ended, strict=True) if not is_done]

    def _ensured(self, task: Task, make: Callable[[], Result]) -> bool:
        """Does a task unless it is finished; False if another process is at it."""
        if self.shared is None:
            self.cache.ensure(task.name, task.inputs, make)
            return True
        if self.cache.is_finished(task.name, task.inputs):
            return True
        with self.shared.reserved(task.name) as mine:
            if mine:
                self.cache.ensure(task.name, task.inputs, make)
            return mine
