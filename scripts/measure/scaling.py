"""How much several processes gain that share the study of a suite by `semconv run-tasks`, and what more would gain.

    python scripts/measure/scaling.py --out FOLDER               # the mini suite: about 40 minutes, on 2 quiet cores
    python scripts/measure/scaling.py --out FOLDER --fast        # cut short: to see that it runs
    python scripts/measure/scaling.py --out FOLDER --again FOLDER/scaling.json    # the simulation alone

Encodes the suite once, then does its study with one process and with `--processes`, each in a folder of its own that
holds the stores and no finished task. A process does what `semconv run-tasks --shard I/N` does, on one thread, and
notes how long every task took, and every reading of a store. Seconds are from the start of the first process to the end
of the last; the results must be the same bytes. `--of RUN` takes the stores of a finished run instead of encoding.

Then the study is simulated (`semconv.planning.schedule.simulate`) for many workers of one thread, from the times of the
one process: stage after stage, every worker begins with its part, reads what it does not hold, and takes what is left
from the end of the list. How far tasks stray from their measured times says `--spread`; the start of a process, and its
last look at what others are at in every stage, are added. The same for a grid of `--copies` times as many layer pairs:
a copy reads stores of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from semconv.pipeline.reproduce import encode_all, load_blocks
from semconv.pipeline.shared_tasks import share_tasks
from semconv.planning.schedule import SPREAD, Job, Machines, simulate
from semconv.runs.reservations import Reservations, Shard
from semconv.runs.run import PLACES, Run
from semconv.runs.shelf import Need
from semconv.runs.tasks import POLL, Task, Workplace
from semconv.suite.config import SuiteConfig, load_suite
from semconv.system.errors import InputError, SemconvError
from semconv.system.files import only_writer, write_json
from semconv.system.markdown import table
from semconv.system.provenance import code_commit, processor

WORKERS = (1, 2, 8, 64, 512)
_SEEDS = 5  # simulations, of which the median is told
_KEPT = ("stores", "decoders", PLACES)  # of a run folder, beside its tokens
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class Times:
    """What a process noted.

    Attributes:
        stages: of every list of tasks, name -> seconds without reading, and what was needed.
        reads: what a task needs -> seconds of every reading.
    """

    stages: list[dict[str, tuple[float, tuple[str, ...]]]] = field(default_factory=list[Any])
    reads: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True, eq=False)
class TimedNeed:
    """A need that notes how long its reading takes."""

    of: Need[Any]
    times: Times

    @property
    def key(self) -> str:
        return self.of.key

    @property
    def n_bytes(self) -> int:
        return self.of.n_bytes

    @property
    def working(self) -> int:
        return self.of.working

    def read(self) -> Any:
        began = time.perf_counter()
        value = self.of.read()
        with self.times.lock:
            self.times.reads.setdefault(self.key, []).append(time.perf_counter() - began)
        return value


@dataclass(frozen=True, eq=False)
class TimedWorkplace(Workplace):
    """Where tasks are done and timed."""

    times: Times = field(default_factory=Times)

    def run(self, tasks: Sequence[Task], done: Callable[[int, int], None], stage: str = "") -> None:
        times: dict[str, tuple[float, tuple[str, ...]]] = {}
        self.times.stages.append(times)

        def timed(task: Task) -> Task:
            def make(*values: Any) -> Any:
                began = time.perf_counter()
                made = task.make(*values)
                times[task.name] = time.perf_counter() - began, tuple(need.key for need in task.needs)
                return made

            return replace(task, needs=tuple(TimedNeed(need, self.times) for need in task.needs), make=make)

        super().run([timed(task) for task in tasks], done, stage)


@dataclass
class TimedRun(Run):
    """A run whose tasks are timed."""

    times: Times = field(default_factory=Times)

    def workplace(self, shard: Shard | None = None, shared: Reservations | None = None) -> Workplace:
        place = super().workplace(shard, shared)
        return TimedWorkplace(place.cache, place.shelf, place.on_cpu, place.shard, place.shared, self.took, self.times)


def suite_of(options: argparse.Namespace) -> SuiteConfig:
    """Returns the suite that is asked for."""
    suite = load_suite(options.suite)
    return suite.fast() if options.fast else suite


def share(options: argparse.Namespace) -> int:
    """Is one of the processes; writes what it noted beside the run folder."""
    began = time.time()
    run = TimedRun(suite_of(options), options.out, fast=options.fast)
    shard = Shard.of_text(options.share)
    share_tasks(run, shard)
    first = next((seconds for stage in run.times.stages for seconds, _ in stage.values()), 0.0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    noted = {
        "began": began,
        "ended": time.time(),
        "seconds": run.seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "first_task": first,
        "stages": run.times.stages,
        "reads": run.times.reads,
    }
    write_json(options.out.parent / f"{options.out.name}-{shard.index}.json", noted)
    return 0


def copied(source: Path, target: Path) -> None:
    """Makes a run folder with the text and the stores of another, and no finished task; files are linked."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for place in (*(source / name for name in _KEPT), *source.glob("tokens-*.safetensors")):
        if place.is_dir():
            shutil.copytree(place, target / place.name, copy_function=_linked)
        elif place.exists():
            _linked(str(place), str(target / place.name))


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def started(folder: Path, options: argparse.Namespace, n: int) -> dict[str, Any]:
    """Does the study in a folder with so many processes, one thread each; returns what they took."""
    of_suite = [options.suite, *(["--fast"] if options.fast else [])]
    command = [sys.executable, __file__, *of_suite, "--out", str(folder)]
    one_thread = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    began = time.time()
    processes = [subprocess.Popen([*command, "--share", f"{i}/{n}"], env=one_thread) for i in range(n)]
    codes = [process.wait() for process in processes]
    ended = time.time()
    if any(codes):
        raise InputError(f"a process that shares the study ended with exit code {max(codes)}, 0 was expected")
    noted = [json.loads((folder.parent / f"{folder.name}-{i}.json").read_text()) for i in range(n)]
    return {"processes": n, "seconds": ended - began, "began": began, "of": noted}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Encodes, does the study once with one process and once with several, and compares what they left.

    Raises:
        InputError: a process ended with an error, or the results differ.
    """
    suite, encoded = suite_of(options), options.of or options.out / "encoded"
    if options.of is None:
        run = Run(suite, encoded, fast=options.fast)
        with only_writer(encoded):
            encode_all(run, load_blocks(run))
    runs: list[dict[str, Any]] = []
    for n in (1, options.processes):
        folder = options.out / f"of-{n}"
        copied(encoded, folder)
        runs.append(started(folder, options, n))
    one, more = (
        {file.name: file.read_bytes() for file in (options.out / f"of-{n}" / "tasks").glob("*.safetensors")}
        for n in (1, options.processes)
    )
    if one != more:
        raise InputError(f"the tasks of one process and of {options.processes} must be the same bytes, they differ")
    return {
        "suite": options.suite,
        "fast": options.fast,
        "processor": processor(),
        "cores": os.cpu_count(),
        "commit": code_commit(),
        "tasks": len(one),
        "runs": runs,
    }


def start_of(run: dict[str, Any]) -> float:
    """Returns the seconds of a run of one process that are neither of a task nor of reading."""
    (noted,) = run["of"]
    in_tasks = sum(seconds for stage in noted["stages"] for seconds, _ in stage.values())
    return max(0.0, run["seconds"] - in_tasks - sum(sum(reads) for reads in noted["reads"].values()))


def copies_of(stage: dict[str, Any], copies: int) -> list[Job]:
    """Returns the tasks of a stage as many times, each copy with stores of its own."""
    return [
        Job(seconds, tuple(f"{key} {copy}" for key in needs))
        for copy in range(copies)
        for seconds, needs in stage.values()
    ]


def simulated(run: dict[str, Any], workers: int, copies: int, held: int, spread: float) -> tuple[float, int]:
    """Returns seconds of a study on so many workers, and how often a store is read; medians of `_SEEDS`."""
    (noted,) = run["of"]
    mean = {key: sum(reads) / len(reads) for key, reads in noted["reads"].items()}
    read = {f"{key} {copy}": seconds for key, seconds in mean.items() for copy in range(copies)}
    of_seeds: list[tuple[float, int]] = []
    for seed in range(_SEEDS):
        seconds, reads, machines = start_of(run), 0, Machines(workers, 1, held)
        for number, stage in enumerate(noted["stages"]):
            found = simulate(copies_of(stage, copies), machines, read, spread, seed * len(noted["stages"]) + number)
            seconds += found.seconds + (POLL if workers > 1 and stage else 0.0)
            reads += found.reads
        of_seeds.append((seconds, reads))
    return median(s for s, _ in of_seeds), round(median(r for _, r in of_seeds))


def told(found: dict[str, Any], options: argparse.Namespace) -> str:
    """Returns what was measured and what was simulated, as Markdown."""
    one, more = found["runs"]
    cpu = [sum(noted["cpu_seconds"] for noted in run["of"]) for run in (one, more)]
    fast = " --fast" if found["fast"] else ""
    rows = [
        [f"{run['processes']}", f"{run['seconds']:.1f}", f"{one['seconds'] / run['seconds']:.2f}", f"{used:.1f}"]
        for run, used in zip((one, more), cpu, strict=True)
    ]
    lines = [
        f"The suite {found['suite']}{fast}, {found['tasks']} tasks, the same bytes either way; {found['processor']}, "
        f"{found['cores']} cores; commit {found['commit']}.",
        "",
        table(["processes of one thread", "seconds", "gain", "CPU seconds"], rows),
        "",
        f"Simulated from the task times of the one process; spread {options.spread:g}, {options.held} stores held by a "
        f"worker, {start_of(one):.1f} s of every process outside tasks:",
        "",
    ]
    heads, columns = ["workers"], list[list[str]]()
    for copies in dict.fromkeys((1, options.copies)):
        n = f"{copies * found['tasks']:,} tasks"
        heads += [f"{n}: seconds", "gain", "of the workers, %", "stores read"]
        alone, _ = simulated(one, 1, copies, options.held, options.spread)
        for place, workers in enumerate(WORKERS):
            seconds, reads = simulated(one, workers, copies, options.held, options.spread)
            gain = alone / seconds
            cells = [f"{seconds:,.0f}", f"{gain:.1f}", f"{100 * gain / workers:.0f}", f"{reads:,}"]
            if place == len(columns):
                columns.append([f"{workers}"])
            columns[place] += cells
    return "\n".join([*lines, table(heads, columns)])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("suite", nargs="?", default="mini")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--of", type=Path, help="a finished run of the suite, whose stores are taken")
    parser.add_argument("--fast", action="store_true", help="the suite cut short, as by semconv reproduce --fast")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--copies", type=int, default=68, help="of the grid, simulated (68: 26 x 42 of 4 x 4)")
    parser.add_argument("--held", type=int, default=12, help="stores that a simulated worker holds")
    parser.add_argument("--spread", type=float, default=SPREAD, help="of the logarithm of task times, simulated")
    parser.add_argument("--again", type=Path, help="what was measured, instead of measuring it")
    parser.add_argument("--share", help=argparse.SUPPRESS)  # I/N: is one of the processes
    options = parser.parse_args(arguments)
    if min(options.processes, options.copies, options.held) < 1 or options.processes < 2:
        parser.error("--processes must be at least 2, --copies and --held at least 1")
    return options


def main() -> int:
    options = parse()
    options.out = options.out.resolve()
    try:
        if options.share is not None:
            return share(options)
        found = json.loads(options.again.read_text()) if options.again else measured(options)
        if not options.again:
            write_json(options.out / "scaling.json", found)
        print(told(found, options))
    except SemconvError as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
