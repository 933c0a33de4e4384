"""What every measure costs at the paper's shapes, now and as it was at an earlier revision; prints Markdown.

    python scripts/measure/measure_speed.py --before REVISION          # about 30 minutes at the defaults

Two dictionaries of random rows are made, with a flat spectrum (Gaussian) and a steep one (singular values i^-1.5), and
some of their rows paired at random. Per measure: preparing both sides, one score, and some draws of a null, multiplied
up to 1000; then a whole score set, as every rematch and resample takes it. Times are CPU seconds on one thread, as a
study runs its tasks: one on every core. Each revision runs in a process of its own, with its own source (`git
worktree`) and the native core that is built here; scores and draws of the two are compared, and the largest difference
is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.compare import SaturationWarning, make_measures
from semconv.core.sparse import SparseActivations
from semconv.study.sides import Side, scores_of
from semconv.system.markdown import table
from semconv.text.top_tokens import TopTokens

ROOT = Path(__file__).resolve().parents[2]
MEASURES = "svcca_pc1 svcca_variance svcca_fixed_k mean_squared_cc rsa cka_unbiased procrustes mutual_knn".split()
SPECTRA = {"flat": 0.0, "steep": 1.5}
"""Spectrum -> power by which its singular values fall."""
DRAWN = 1000
ALL = "score set"


@dataclass(frozen=True)
class Cost:
    """What a measure costs, in CPU seconds.

    Attributes:
        prepare: preparing both sides.
        score: the first score, with what all draws share.
        draw: one draw.
        found: score and draws.
    """

    prepare: float
    score: float
    draw: float
    found: list[float]


@dataclass(frozen=True)
class Job:
    """What is measured: pairs, columns of both sides, features, and how often."""

    n: int
    d_x: int
    d_y: int
    features: int
    repeats: int
    draws: int


def dictionary(features: int, d: int, power: float, seed: int) -> ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(features, d))
    if not power:
        return rows
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rows * np.arange(1, d + 1) ** -power @ axes


def timed(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Median CPU seconds, and the last value."""
    seconds, value = list[float](), None
    for _ in range(repeats):
        began = time.process_time()
        value = call()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds), value


def costs(job: Job, power: float) -> dict[str, Cost]:
    decoders = [dictionary(job.features, d, power, seed) for seed, d in enumerate((job.d_x, job.d_y))]
    rng = np.random.default_rng(2)
    rows = [rng.permutation(job.features)[: job.n] for _ in decoders]
    permutations = np.stack([rng.permutation(job.n) for _ in range(job.draws)])
    found, measures = dict[str, Cost](), make_measures(MEASURES)
    for measure in measures:
        prepare, spaces = timed(
            job.repeats, lambda m=measure: [m.prepare(d[r]) for d, r in zip(decoders, rows, strict=True)]
        )
        score, observed = timed(1, lambda m=measure, s=spaces: m.score(*s))
        draws, null = timed(job.repeats, lambda m=measure, s=spaces: m.null_scores(*s, permutations))
        found[measure.name] = Cost(prepare, score, draws / job.draws, [observed, *null.tolist()])
        del spaces
    empty = SparseActivations.from_dense(torch.zeros(1, job.features))
    tokens = TopTokens.of_sides([[["x"]] * job.features], ())[0]
    sides = [Side(name, 0, empty, "", d, tokens) for name, d in zip("ab", decoders, strict=True)]
    seconds, scores = timed(job.repeats, lambda: scores_of(measures, *sides, *rows))
    found[ALL] = Cost(0.0, seconds, 0.0, scores.tolist())
    return found


def in_process(job: Job, power: float, tree: Path) -> dict[str, Cost]:
    """Runs `costs` in a process that imports semconv from a source tree."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    env = {**os.environ, **threads, "PYTHONPATH": str(tree)}
    command = [sys.executable, __file__, "--child", json.dumps(asdict(job)), str(power)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True, cwd=tree)
    return {name: Cost(**cost) for name, cost in json.loads(done.stdout).items()}


def source_of(revision: str, folder: Path) -> Path:
    """Checks a revision out into a folder, with the native core of this checkout."""
    tree = folder / "before"
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", "--quiet", tree, revision], check=True)
    for library in (ROOT / "semconv").glob("_C*.so"):
        shutil.copy(library, tree / "semconv")
    return tree


def rows_of(now: dict[str, Cost], before: dict[str, Cost] | None) -> list[list[str]]:
    def shown(name: str, value: Callable[[Cost], float]) -> str:
        after = f"{value(now[name]):.2f}"
        return f"{value(before[name]):.2f} to {after}" if before else after

    rows = [
        [
            name,
            shown(name, lambda c: c.prepare),
            shown(name, lambda c: c.score),
            shown(name, lambda c: c.draw * DRAWN),
            _apart(now[name], before[name]) if before else "-",
        ]
        for name in MEASURES
    ]
    whole = _apart(now[ALL], before[ALL]) if before else "-"
    return [*rows, [ALL, "", shown(ALL, lambda c: c.score), "", whole]]


def _apart(one: Cost, other: Cost) -> str:
    return f"{max(abs(a - b) for a, b in zip(one.found, other.found, strict=True)):.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="REVISION", help="git revision to compare with")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--columns", type=int, nargs=2, default=(2304, 3584), metavar=("A", "B"))
    parser.add_argument("--features", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=3, help="of which medians are taken")
    parser.add_argument("--draws", type=int, default=3, help="timed draws, multiplied up to 1000")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", SaturationWarning)
    if options.child:
        found = costs(Job(**json.loads(options.child[0])), float(options.child[1]))
        print(json.dumps({name: asdict(cost) for name, cost in found.items()}))
        return
    job = Job(options.pairs, *options.columns, options.features, options.repeats, options.draws)
    print(
        f"{job.n:,} pairs of {job.features:,} features, {job.d_x:,} and {job.d_y:,} columns; CPU seconds on one thread"
        f"{', before and now' if options.before else ''}, medians of {job.repeats}; 1000 draws are multiplied up from "
        f"{job.draws}.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        before_tree = source_of(options.before, Path(folder)) if options.before else None
        try:
            for name, power in SPECTRA.items():
                before = in_process(job, power, before_tree) if before_tree else None
                rows = rows_of(in_process(job, power, ROOT), before)
                header = [f"{name} spectrum", "prepare both", "one score", "1000 draws", "scores apart"]
                print(table(header, rows) + "\n", flush=True)
        finally:
            if before_tree:
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", before_tree], check=True)


if __name__ == "__main__":
    main()
