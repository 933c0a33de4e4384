"""Tasks: pieces of work that are named before they are done, whose results are kept, and that can be done anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Literal

from semconv.runs.task_cache import TaskCache, kept_as
from semconv.system.side_by_side import side_by_side

Cost = Literal["match", "score"]
"""What a task takes: `match` correlates whole stores, `score` works on decoder rows of paired features."""


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work whose result is kept.

    Attributes:
        name: of its file.
        needs: `MODEL/SAE` of the sides whose activations it reads; empty where it works on decoder rows alone.
        cost: what it takes.
        inputs: everything its result depends on but the code, as plain values.
        make: does the work; gives a dataclass that `kept_as` takes.
    """

    name: str
    needs: tuple[str, ...]
    cost: Cost
    inputs: list[Any]
    make: Callable[[], Any]


def run_tasks(tasks: Sequence[Task], cache: TaskCache, on_cpu: bool, done: Callable[[int, int], None]) -> None:
    """Runs every task that is not finished yet, on the CPU as many side by side as there are threads.

    Args:
        tasks: in any order; none needs the result of another.
        cache: where their results go.
        on_cpu: whether the CPU does the work (`side_by_side`).
        done: called with how many are finished, and how many there are, after each.
    """
    finished, lock = 0, Lock()

    def run(task: Task) -> None:
        nonlocal finished
        cache.ensure(task.name, task.inputs, lambda: kept_as(task.make()))
        with lock:
            finished += 1
            done(finished, len(tasks))

    side_by_side([partial(run, task) for task in tasks], on_cpu)
