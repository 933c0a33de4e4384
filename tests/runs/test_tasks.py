"""Tasks: their order on disk, and that several processes share them without doing one twice or losing one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Int64
from numpy import ndarray

import semconv.runs.reservations
import semconv.runs.run
from semconv.runs.reservations import Reservations, Shard, sharing
from semconv.runs.shelf import Shelf
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import Task, Took, Workplace, in_tiles
from semconv.study.facts import NoFacts
from semconv.suite.config import load_suite
from semconv.system.errors import InputError
from semconv.system.files import only_writer


@dataclass(frozen=True, eq=False)
class Need:
    key: str
    n_bytes: int = 10
    working: int = 0

    def read(self) -> int:
        return int(self.key[1:])


@dataclass(frozen=True, eq=False)
class Number:
    facts: NoFacts
    value: Int64[ndarray, " one"]


def product(a: int, b: int) -> Number:
    return Number(NoFacts(), np.array([a * b]))


def grid(n: int, make: Callable[[int, int], Number] = product) -> list[Task]:
    a, b = ([Need(f"{side}{i}") for i in range(n)] for side in "ab")
    return [Task(f"{x.key}.{y.key}", (x, y), [x.key, y.key], make) for x in a for y in b]


def reads(tasks: list[Task], most: int) -> int:
    """How often something is read when tasks are done in this order."""
    shelf = Shelf(most)
    for task in tasks:
        with shelf.holding(task.needs):
            pass
    return shelf.n_read


def test_tiles_read_a_grid_less_often_than_its_rows():
    tasks = grid(12)
    tiled = in_tiles(tasks, 80)
    assert sorted(task.name for task in tiled) == sorted(task.name for task in tasks)
    assert reads(tasks, 80) == 12 + 12 * 12  # every row of the grid reads all of B again
    assert reads(tiled, 80) <= 2 * 12 * 12 // 4 + 12
    assert in_tiles(tasks, None) == tasks
    assert reads(in_tiles(tasks, 10**6), 10**6) == 24


def test_a_task_without_needs_and_one_with_one_have_a_place_too():
    tasks = [Task("alone", (), [], product), *grid(3), Task("self", (Need("a1"),), [], product)]
    assert {task.name for task in in_tiles(tasks, 20)} == {task.name for task in tasks}


def values(folder: Path, n: int) -> list[int]:
    cache = TaskCache(folder)
    return [int(cache.read_as(Number, task.name).value[0]) for task in grid(n)]


def test_what_tasks_need_is_given_to_them_and_their_results_are_kept(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    Workplace(TaskCache(tmp_path), Shelf(40)).run(grid(5), lambda *of: seen.append(of))
    assert values(tmp_path, 5) == [i * j for i in range(5) for j in range(5)]
    assert sorted(seen) == [(i + 1, 25) for i in range(25)]
    Workplace(TaskCache(tmp_path)).run(grid(5, lambda a, b: pytest.fail("was finished")), lambda *_: None)


def work(folder: Path, shard: Shard, log: Path, n: int, slow: float = 0.0, stop_at: int = 10**9) -> None:
    """One of several processes; writes down what it does, and dies after so many tasks."""
    done = 0

    def make(a: int, b: int) -> Number:
        nonlocal done
        time.sleep(slow)
        with log.open("a") as handle:
            handle.write(f"{shard.index} {a} {b}\n")
        done += 1
        if done > stop_at:
            os._exit(9)
        return product(a, b)

    with sharing(folder, "these") as reservations:
        Workplace(TaskCache(folder / "tasks"), Shelf(80), False, shard, reservations).run(
            grid(n, make), lambda *_: None
        )


def started(*arguments: object, **more: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work(*arguments, **more)  # pyright: ignore
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.slow
def test_several_processes_do_every_task_once(tmp_path: Path):
    log = tmp_path / "log"
    pids = [started(tmp_path, Shard(i, 3), log, 6, slow=0.02) for i in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]
    done = [line.split() for line in log.read_text().splitlines()]
    assert len(done) == len({(a, b) for _, a, b in done}) == 36
    assert {index for index, *_ in done} == {"0", "1", "2"}
    assert values(tmp_path / "tasks", 6) == [i * j for i in range(6) for j in range(6)]
    assert {path.name for path in (tmp_path / "reservations").iterdir()} == {".lock", "tasks-of.txt"}


@pytest.mark.slow
def test_what_a_killed_process_leaves_is_done_by_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.runs.reservations, "GONE", 0.5)
    monkeypatch.setattr(semconv.runs.reservations, "BEAT", 0.1)
    log = tmp_path / "log"
    dies = started(tmp_path, Shard(0, 2), log, 5, stop_at=3)
    assert os.waitstatus_to_exitcode(os.waitpid(dies, 0)[1]) == 9
    left = [path.name for path in (tmp_path / "reservations").glob("a*")]
    assert len(left) == 1  # the task at which it was killed
    other = started(tmp_path, Shard(1, 2), log, 5)
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
    assert values(tmp_path / "tasks", 5) == [i * j for i in range(5) for j in range(5)]
    lines = log.read_text().splitlines()
    assert sum(line.startswith("0") for line in lines) == 4
    assert len(lines) == 26  # nothing but that task was done again


def test_a_reservation_is_held_by_one_and_given_back(tmp_path: Path):
    one, other = Reservations(tmp_path), Reservations(tmp_path)
    with one.alive(), other.alive():
        with one.reserved("task") as mine, other.reserved("task") as theirs:
            assert (mine, theirs) == (True, False)
        with other.reserved("task") as theirs:
            assert theirs
        with pytest.raises(KeyError), one.reserved("task"):
            raise KeyError
        with other.reserved("task") as theirs:
            assert theirs


def test_a_reservation_of_a_living_process_does_not_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(semconv.runs.reservations, "GONE", 0.4)
    monkeypatch.setattr(semconv.runs.reservations, "BEAT", 0.05)
    one, other = Reservations(tmp_path), Reservations(tmp_path)
    with one.alive(), other.alive(), one.reserved("task"):
        file = tmp_path / "task"
        began = file.stat().st_mtime
        while file.stat().st_mtime - began < 0.5:  # signs of life, by the clock of the file system
            with other.reserved("task") as theirs:
                assert not theirs


def test_tasks_of_another_suite_or_version_are_refused_as_long_as_they_are_being_done(tmp_path: Path):
    with sharing(tmp_path, "a" * 64):
        with sharing(tmp_path, "a" * 64):
            pass
        with pytest.raises(InputError, match=r"theirs are aaaaaaaaaaaaaaaa, this one's bbbbbbbbbbbbbbbb; wait"):
            sharing(tmp_path, "b" * 64).__enter__()
        with pytest.raises(InputError, match="another semconv process is writing"), only_writer(tmp_path):
            pass
    with sharing(tmp_path, "b" * 64):
        pass
    with only_writer(tmp_path), pytest.raises(InputError, match="another semconv process is writing"):
        sharing(tmp_path, "b" * 64).__enter__()


@pytest.mark.parametrize("text", ["1", "1/1", "-1/2", "2/2", "a/b", "1/0", "1 / 2", "٣/8", "1/2/3", ""])
def test_a_shard_that_is_none_is_refused(text: str):
    with pytest.raises(InputError, match=r"a shard must be I/N with 0 <= I < N"):
        Shard.of_text(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_cut_without_gap_or_overlap(count: int):
    parts = [Shard.of_text(f"{i}/{count}").part(23) for i in range(count)]
    assert [i for part in parts for i in part] == list(range(23))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("memory", [None, 300, 2000])
def test_a_run_leaves_what_is_not_held_to_the_tasks(
    memory: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(semconv.runs.run, "free_memory", lambda device: 1200)
    shelf = semconv.runs.run.Run(load_suite("mini"), tmp_path, memory=memory).workplace().shelf
    assert (shelf.most, shelf.room) == (memory or 600, 1200)


def test_seconds_are_counted_by_kind_of_the_tasks_that_were_done_here(tmp_path: Path):
    def slow(a: int, b: int) -> Number:
        time.sleep(0.01)
        return product(a, b)

    tasks = grid(2, slow)
    tasks[3] = replace(tasks[3], kind="one of its own")
    first = Workplace(TaskCache(tmp_path))
    first.run(tasks[:1], lambda *_: None, "products")
    first.run(tasks[1:], lambda *_: None, "products")
    assert {kind: (took.done, took.tasks) for kind, took in first.took.items()} == {
        "products": (3, 3),
        "one of its own": (1, 1),
    }
    assert first.took["products"].seconds >= 0.03
    again = Workplace(TaskCache(tmp_path))
    again.run(tasks, lambda *_: None, "products")
    assert again.took["products"] == Took(0.0, 0, 3)
    unnamed = Workplace(TaskCache(tmp_path / "1"))
    unnamed.run(tasks[:1], lambda *_: None)
    assert unnamed.took == {}
