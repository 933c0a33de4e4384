"""The simulation of many workers, from the times of one process; the made-up sides of the paper's size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paper_size
import pytest
import scaling
import torch

from semconv.core.correlate import best_matches
from semconv.runs.shelf import Shelf
from semconv.runs.task_cache import TaskCache
from semconv.runs.tasks import POLL, Task
from semconv.suite.config import load_suite
from tests.runs.test_tasks import Need, product

READ, START = 2.0, 7.0


def noted(n: int) -> dict:
    """A run of one process: 16 n tasks of 10 s on pairs of four by four stores in one stage, one of 5 s in the next."""
    tasks = {f"{i}.{j}.{k}": (10.0, (f"a{i}", f"b{j}")) for i in range(4) for j in range(4) for k in range(n)}
    reads = {f"{side}{i}": [READ] for side in "ab" for i in range(4)}
    in_tasks = 160.0 * n + 5 + 8 * READ
    of = {"stages": [tasks, {}, {"last": (5.0, ())}], "reads": reads, "cpu_seconds": 1.0}
    return {"processes": 1, "seconds": in_tasks + START, "of": [of]}


def test_what_is_simulated_adds_up_and_ends_at_the_longest_task():
    run = noted(2)
    assert scaling.start_of(run) == pytest.approx(START)
    alone, reads = scaling.simulated(run, 1, 1, 100, spread=0.0)
    assert alone == pytest.approx(run["seconds"])
    assert reads == 8
    two, reads_two = scaling.simulated(run, 2, 1, 100, spread=0.0)
    assert reads_two > reads
    assert START + 165 + 2 * POLL < two < START + 165 + 2 * POLL + 8 * READ
    many, _ = scaling.simulated(run, 512, 1, 100, spread=0.0)
    assert many == pytest.approx(START + 10 + 2 * READ + 5 + 2 * POLL)  # a store is read by each that needs it
    strayed, _ = scaling.simulated(run, 512, 1, 100, spread=0.5)
    assert strayed > many
    assert scaling.simulated(run, 1, 3, 100, spread=0.0)[0] == pytest.approx(3 * (run["seconds"] - START) + START)


def test_the_tables_are_markdown():
    options = scaling.parse(["--out", "x", "--copies", "3"])
    found = {"suite": "mini", "fast": True, "processor": "P", "cores": 2, "commit": "c", "tasks": 33}
    lines = scaling.told({**found, "runs": [noted(2), {**noted(2), "processes": 2, "seconds": 100.0}]}, options)
    assert "| 2 | 100.0 | 3.48 | 1.0 |" in lines
    assert [line.split(" | ")[0] for line in lines.splitlines()[-5:]] == ["| 1", "| 2", "| 8", "| 64", "| 512"]


def test_a_timed_place_notes_tasks_and_readings_and_changes_nothing(tmp_path):
    needs = [Need("a3"), Need("b4")]
    task = Task("3.4", tuple(needs), ["3.4"], product)
    place = scaling.TimedWorkplace(TaskCache(tmp_path), Shelf(40))
    place.run([task], lambda *_: None)
    place.run([task], lambda *_: None)  # finished
    ((first, second), reads) = place.times.stages, place.times.reads
    assert first["3.4"][1] == ("a3", "b4")
    assert first["3.4"][0] >= 0
    assert second == {}
    assert {key: len(times) for key, times in reads.items()} == {"a3": 1, "b4": 1}
    assert place.cache.read("3.4")[1]["value"].tolist() == [12]


def test_what_is_planted_is_found_and_tasks_run():
    size = paper_size.Size(tokens=4000, features=240, l0=12, widths=(24, 36), planted=60)
    a, b = paper_size.activations(size)
    assert (a.n_tokens, a.nnz, b.nnz) == (4000, 48_000, 48_000)
    planted = np.concatenate([np.arange(first, first + 5) for first in range(0, 240, 20)])
    found = best_matches(a, b).b_to_a
    assert found.index[planted, 0].tolist() == planted.tolist()
    assert float(found.r[planted].min()) > 0.5 > float(np.delete(found.r.numpy(), planted, axis=0).max())
    suite = load_suite("gemma2")
    few = {"n_permutations": 2, "n_rematch": 2, "n_same_token": 2, "draws": None, "tail": None}
    suite = replace(suite, null=replace(suite.null, **few))
    tasks = paper_size.Tasks(size, suite, torch.device("cpu"), 2)
    done = {kind: paper_size.done_by(kind, tasks) for kind in paper_size.KINDS}
    assert {done[kind].pairs for kind in ("observe", "scores")} == {60}
    assert done["rematch"].planned == done["resample"].planned > done["self"].planned > 0
