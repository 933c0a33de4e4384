"""What `semconv plan` says of a rehearsed suite beside what its stages took; for `rehearse.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from semconv.runs.crate import environment
from semconv.system.errors import InputError
from semconv.system.json_toml import read_json
from semconv.system.markdown import table

_KINDS = {
    "same_token": "rematch",
    "same_token scores": "rematch scores",
    "scores of the strongest pairs": "rematch scores",
    "stitched rows": "decoders",
    "partial RSA": "decoders",
    "best r": "decoders",
    "rules of matching": "function",
    "substitution": "function",
    "kinds of positions": "function",
}
"""Kind of tasks -> the stage that a plan counts them in, where that has another name."""
_STAGE, _TASKS = "seconds/", "task seconds/"


@dataclass(frozen=True)
class Beside:
    """A stage as planned and as it was.

    Attributes:
        stage: name of it.
        tasks: of the study; or pieces.
        planned: seconds, added up over its tasks where it has some, which run one thread each.
        happened: likewise; None where the run says nothing of it.
    """

    stage: str
    tasks: int
    planned: float
    happened: float | None


def pairs_of(run: Path) -> int:
    """Returns the mean number of feature pairs of the layer pairs of a run, rounded."""
    grid = read_json(run / "results.json")["grid"]
    return round(mean(int(one["pairs"]) for one in grid.values()))


def took(run: Path) -> dict[str, float]:
    """Returns the seconds of every stage of a finished run, those of tasks added up, by what its crate says."""
    found, of_tasks = dict[str, float](), dict[str, float]()
    for name, text in environment(run).items():
        if name.startswith(_STAGE):
            found[name.removeprefix(_STAGE)] = float(text)
        elif name.startswith(_TASKS):
            kind = name.removeprefix(_TASKS)
            stage = _KINDS.get(kind, kind)
            of_tasks[stage] = of_tasks.get(stage, 0.0) + float(text)
    return found | of_tasks


def planned(suite: Path, pairs: int, own: Mapping[str, str]) -> dict[str, Any]:
    """Returns what `semconv plan --json` says of a suite, for so many feature pairs a layer pair.

    Args:
        suite: its file.
        pairs: of a layer pair.
        own: environment of the process.

    Raises:
        InputError: it says nothing.
    """
    command = [sys.executable, "-m", "semconv", "plan", suite.name, "--json", "--pairs", str(pairs)]
    said = subprocess.run(command, cwd=suite.parent, env=dict(own), capture_output=True, text=True)
    if said.returncode not in (0, 2) or not said.stdout.startswith("{"):  # 2: it does not fit beside what is there now
        raise InputError(f"semconv plan ended with {said.returncode}: {said.stderr.strip()[-300:]}")
    return json.loads(said.stdout)


def beside(plan: Mapping[str, Any], found: Mapping[str, float]) -> list[Beside]:
    """Returns the stages of a plan beside what they took, tasks by the seconds of one thread."""
    stages = [(one["name"], one["tasks"], one["work"] or one["seconds"] or 0.0) for one in plan["stages"]]
    return [Beside(name, tasks, seconds, found.get(name)) for name, tasks, seconds in stages]


def beside_table(rows: list[Beside]) -> str:
    """Returns the rows as Markdown, and last the sum of those of which the run says something."""
    known = [row for row in rows if row.happened is not None]
    every = [*rows, Beside("all", sum(row.tasks for row in known), *_sums(known))]
    lines = [[row.stage, str(row.tasks), f"{row.planned:.0f}", *_happened(row)] for row in every]
    return table(["stage", "tasks", "planned, s", "happened, s", "ratio"], lines)


def _sums(rows: list[Beside]) -> tuple[float, float]:
    return sum(row.planned for row in rows), sum(row.happened or 0.0 for row in rows)


def _happened(row: Beside) -> list[str]:
    if row.happened is None:
        return ["-", "-"]
    return [f"{row.happened:.0f}", f"{row.planned / row.happened:.2f}" if row.happened > 0 else "-"]
