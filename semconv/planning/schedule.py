"""How long lists of tasks take on several workers: list scheduling as `Workplace.run` does it, simulated."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semconv.system.errors import InputError
from semconv.system.processes import share

SPREAD = 0.25
"""Standard deviation of the logarithm of a task's time over what was predicted: stragglers."""
MOST_WORKERS = 4096


@dataclass(frozen=True)
class Job:
    """A task as it is scheduled.

    Attributes:
        seconds: on one thread.
        needs: what it reads.
    """

    seconds: float
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Machines:
    """Who does the tasks.

    Attributes:
        workers: processes, each with memory of its own.
        threads: tasks at once in each.
        held: things that a worker holds at once, of those that tasks read.
    """

    workers: int = 1
    threads: int = 1
    held: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(f"workers must be 1 to {MOST_WORKERS}, got {self.workers}")
        if self.threads < 1 or self.held < 1:
            raise InputError(f"threads and held must be at least 1, got {self.threads} and {self.held}")


@dataclass(frozen=True)
class Schedule:
    """What a simulation found.

    Attributes:
        seconds: until the last task ends.
        work: of all tasks and all reading, as if one thread did it.
        reads: times that something was read.
    """

    seconds: float
    work: float
    reads: int


class _Left:
    """The tasks that no worker has begun: every worker takes its own part in order, then others' from the end."""

    def __init__(self, n: int, workers: int) -> None:
        self._taken = np.zeros(n, dtype=bool)
        parts = [share(n, worker, workers) for worker in range(workers)]
        self._next, self._ends = [part.start for part in parts], [part.stop for part in parts]
        self._last = n - 1

    def take(self, worker: int) -> int | None:
        """Returns the next task of a worker; None if none is left."""
        while self._next[worker] < self._ends[worker]:
            task = self._next[worker]
            self._next[worker] += 1
            if not self._taken[task]:
                self._taken[task] = True
                return task
        while self._last >= 0:
            task = self._last
            self._last -= 1
            if not self._taken[task]:
                self._taken[task] = True
                return task
        return None


def simulate(
    jobs: Sequence[Job], machines: Machines, read: dict[str, float], spread: float = 0.0, seed: int = 0
) -> Schedule:
    """Returns how long one stage takes, whose tasks are begun in order by whichever thread is free.

    Args:
        jobs: in the order in which they are begun; none needs the result of another.
        machines: who does them. A worker begins with its part of the list and then takes what is left from the end.
        read: what a job may need -> seconds to read it, each time that a worker does not hold it.
        spread: standard deviation of the logarithm of a job's time, drawn for each; 0 for none.
        seed: of these draws.
    """
    times = np.random.default_rng(seed).normal(0.0, 1.0, len(jobs)) if spread else np.zeros(len(jobs))
    times = np.exp(spread * times) * np.array([job.seconds for job in jobs])
    left, shelves = _Left(len(jobs), machines.workers), [OrderedDict[str, None]() for _ in range(machines.workers)]
    slots = [(0.0, worker, thread) for thread in range(machines.threads) for worker in range(machines.workers)]
    heapq.heapify(slots)
    end = work = 0.0
    reads = 0
    while slots:
        now, worker, thread = heapq.heappop(slots)
        task = left.take(worker)
        if task is None:
            continue
        new = _hold(shelves[worker], jobs[task].needs, machines.held)
        reads += len(new)
        took = float(times[task]) + sum(read.get(key, 0.0) for key in new)
        work, end = work + took, max(end, now + took)
        heapq.heappush(slots, (now + took, worker, thread))
    return Schedule(end, work, reads)


def _hold(shelf: OrderedDict[str, None], needs: Sequence[str], most: int) -> list[str]:
    """Puts what a task needs on the shelf of its worker; returns what had to be read for it."""
    new = [key for key in dict.fromkeys(needs) if key not in shelf]
    for key in needs:
        shelf[key] = None
        shelf.move_to_end(key)
    while len(shelf) > max(most, len(set(needs))):
        shelf.popitem(last=False)
    return new
