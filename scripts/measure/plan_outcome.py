"""What was planned beside what happened: runs `semconv plan` and then a suite, and prints both by stage, as Markdown.

    python scripts/measure/plan_outcome.py --out /tmp/outcome           # the mini suite, whole; --fast cuts it short

The probe is made anew. A stage of the study ends with its last task; seconds of the others are those of the run's
crate. Peak memory is that of the process. Run it on a machine that does nothing else: the plan is for such a machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from semconv.core.device import choose_device
from semconv.pipeline.doctor import machine_here
from semconv.pipeline.reproduce import publish, reproduce
from semconv.planning.plan import GIB, Plan, Planner
from semconv.planning.probe import probe
from semconv.planning.shapes import shapes_of
from semconv.runs.run import Run
from semconv.suite.config import load_suite
from semconv.system.errors import InputError
from semconv.system.markdown import table
from semconv.system.provenance import peak_memory_mib


class Watched:
    """A progress callback that notes when every stage began and ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.last = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self.began.setdefault(stage, self.last)
        self.ended[stage] = self.last = now

    def seconds(self) -> dict[str, float]:
        """Stage -> from the end of what was before to its last piece."""
        return {stage: self.ended[stage] - began for stage, began in self.began.items()}


def rows_of(plan: Plan, found: dict[str, float]) -> list[list[str]]:
    rows: list[list[str]] = []
    for stage in plan.stages:
        planned, happened = stage.seconds or 0.0, found.get(stage.name)
        said = ["-", "-"] if happened is None else [f"{happened:.1f}", f"{planned / max(happened, 1e-3):.2f}"]
        rows.append([stage.name, f"{stage.tasks}", f"{planned:.1f}", *said])
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="mini")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder for the run")
    parser.add_argument("--fast", action="store_true")
    asked = parser.parse_args()
    if asked.out.exists() and any(asked.out.iterdir()):
        print(f"plan_outcome: {asked.out} is not empty; what is there would not be made again", file=sys.stderr)
        return 2
    try:
        suite, device = load_suite(asked.suite), choose_device("cpu")
        suite = suite.fast() if asked.fast else suite
        planner = Planner(suite, shapes_of(suite))
        rates = probe(suite, planner.shapes, planner.pairs, device, lambda *_: None)
        plan, watched = planner.plan(machine_here(device), device, rates), Watched()
        run = Run(suite, asked.out, watched, fast=asked.fast)
        began = time.perf_counter()
        publish(run, reproduce(run))
        took = time.perf_counter() - began
    except InputError as error:
        print(f"plan_outcome: {error}", file=sys.stderr)
        return 2
    of_study = {name: took for name, took in watched.seconds().items() if name not in run.seconds or name == "compare"}
    rows = rows_of(plan, {**run.seconds, **of_study})
    planned = plan.seconds or 0.0
    disk = sum(file.stat().st_size for file in asked.out.rglob("*") if file.is_file())
    peak = peak_memory_mib() * 2**20
    rows += [
        ["all", f"{plan.tasks}", f"{planned:.1f}", f"{took:.1f}", f"{planned / took:.2f}"],
        [
            "peak memory, GiB",
            "",
            f"{plan.memory.peak / GIB:.2f}",
            f"{peak / GIB:.2f}",
            f"{plan.memory.peak / peak:.2f}",
        ],
        ["run folder, GiB", "", f"{plan.disk.folder / GIB:.2f}", f"{disk / GIB:.2f}", f"{plan.disk.folder / disk:.2f}"],
    ]
    print(f"{plan.probed}; the probe took {rates.seconds:.0f} s.\n")
    print(table(["stage", "tasks", "planned, s", "happened, s", "ratio"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
