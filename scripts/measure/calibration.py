"""Calibration study: are the p-values of every null uniform where nothing is shared, and what is their power?

    python scripts/measure/calibration.py                       # everything, some 20 minutes on one core
    python scripts/measure/calibration.py --fast                # a tenth of the data sets, some 2 minutes
    python scripts/measure/calibration.py --datasets 200 --out table.md

Finished chunks of data sets are kept under build/calibration, so a stopped run goes on, and several processes may each
take a part (`--part 0/2`, `--part 1/2`). Which tests must be uniform is stated beforehand, with the data sets
(`semconv.validation.null_cases`). Of some hundred honest ones about one has a Kolmogorov-Smirnov p <= 0.01 by
chance, so a test that must be uniform and is not in the first data sets is looked at once more, on as many fresh ones:
it fails if their p is <= 0.01 too. Exit code 1 if one fails, 3 if other parts are still missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from semconv.compare import MEASURES, SaturationWarning
from semconv.system.files import write_json, write_text
from semconv.system.markdown import table
from semconv.validation.null_cases import CASES, power_cases
from semconv.validation.uniformity import Case, Row, Tests, run_case, summarise_case

ORDER = ("pairs", "mean best r", *MEASURES)
"""Statistics that stand first in a table; others follow as their case has them."""
ROOT = Path(__file__).resolve().parents[2]
STRENGTHS = (0.0, 0.1, 0.2, 0.4)
CHUNK = 25
FAST = 10
"""By how much a fast study has fewer data sets."""
POWERS = {
    "spaces": ("shuffle", "frequency"),
    "models": ("shuffle", "rematch"),
    "depths": ("depths", "depths, all orders"),
    "categories": ("categories",),
    "effects": ("signs",),
    "streams": ("shift", "partners"),
    "rows": ("shuffle",),
}
"""Kind of planted data sets -> nulls whose power is shown."""
Job = tuple[Case, int, int, int]
"""Case, its stream, first data set and the one after the last."""
RowKey = tuple[str, str, str]
"""Case, null and measure."""


def fingerprint() -> str:
    """Hashes the package's Python sources: what other code computed is never taken over."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "semconv").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def chunk_path(folder: Path, job: Job, seed: int) -> Path:
    case, stream, begin, end = job
    return folder / f"{stream:02}-{case.name.replace(' ', '-').replace(',', '')}.{begin}-{end}.seed{seed}.json"


def make_chunk(path: Path, job: Job, seed: int) -> None:
    case, stream, begin, end = job
    tests = run_case(case, stream, range(begin, end), seed)
    write_json(path, [{k: None if math.isnan(p) else [p, u] for k, (p, u) in one.items()} for one in tests])


def read_chunk(path: Path) -> list[Tests]:
    found = json.loads(path.read_text())
    return [{k: (math.nan, math.nan) if v is None else (v[0], v[1]) for k, v in one.items()} for one in found]


def ks_cell(row: Row, fresh: Mapping[RowKey, Row]) -> str:
    again = fresh.get(key_of(row))
    return f"{row.ks_p:.2g}" + (f", fresh {again.ks_p:.2g}" + " FAIL" * (again.verdict == "FAIL") if again else "")


def case_table(case: Case, rows: Sequence[Row], fresh: Mapping[RowKey, Row]) -> str:
    nulls = sorted({row.null for row in rows}, key=lambda null: (null not in case.uniform, null))
    columns = ["measure"]
    for null in nulls:
        columns += [f"`{null}` p <= 0.05", "KS p" if null in case.uniform else "KS p (shown)"]
    lines: list[list[str]] = []
    for measure in in_order(rows):
        line = [measure]
        for null in nulls:
            row = next((r for r in rows if (r.null, r.measure) == (null, measure)), None)
            line += [f"{row.rate:.3f}", ks_cell(row, fresh)] if row else ["-", "-"]
        lines.append(line)
    fewest, most = min(row.n for row in rows), max(row.n for row in rows)
    n = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"### {case.name}\n\n{case.about[0].upper()}{case.about[1:]}; {n} data sets.\n\n{table(columns, lines)}"


def in_order(rows: Sequence[Row]) -> list[str]:
    """Returns the statistics of some rows, each once."""
    found = list(dict.fromkeys(row.measure for row in rows))
    return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def power_table(kind: str, about: str, null: str, rows: Sequence[Row]) -> str:
    of_null = [r for r in rows if r.null == null and r.case.split()[0] == kind]
    at = {(r.case, r.measure): r for r in of_null}
    measures = in_order(of_null)
    lines = [
        [m, *(f"{at[c].rate:.2f}" if (c := (f"{kind} {s:g}", m)) in at else "-" for s in STRENGTHS)] for m in measures
    ]
    head = [kind, *(f"{s:g}" for s in STRENGTHS)]
    return f"### {kind}, `{null}`\n\n{about[0].upper()}{about[1:]}.\n\n{table(head, lines)}"


def key_of(row: Row) -> RowKey:
    return row.case, row.null, row.measure


def jobs_of(cases: Sequence[Case], first_stream: int, begin: int, end: int) -> list[Job]:
    return [
        (case, first_stream + i, first, min(first + CHUNK, end))
        for i, case in enumerate(cases)
        for first in range(begin, end, CHUNK)
    ]


def make_missing(folder: Path, jobs: Sequence[Job], seed: int) -> None:
    began = time.perf_counter()
    for done, job in enumerate(jobs):
        path = chunk_path(folder, job, seed)
        if not path.exists():
            make_chunk(path, job, seed)
        seconds = time.perf_counter() - began
        print(
            f"\r{done + 1}/{len(jobs)} chunks, {seconds:.0f} s, {job[0].name:30}", end="", file=sys.stderr, flush=True
        )
    print(file=sys.stderr)


def rows_of(folder: Path, jobs: Sequence[Job], seed: int) -> dict[str, list[Row]]:
    """Returns the rows of every case, by its name."""
    found: dict[str, list[Tests]] = {}
    for job in jobs:
        found.setdefault(job[0].name, []).extend(read_chunk(chunk_path(folder, job, seed)))
    return {
        case.name: summarise_case(case, found[case.name]) for case in {job[0].name: job[0] for job in jobs}.values()
    }


def looked_at_again(folder: Path, rows: dict[str, list[Row]], options: argparse.Namespace) -> dict[RowKey, Row]:
    """Returns, for every test that must be uniform and was not, its row on as many fresh data sets."""
    doubted = {key_of(row) for of_case in rows.values() for row in of_case if row.verdict == "FAIL"}
    names = {case for case, _, _ in doubted}
    jobs = [job for job in jobs_of(CASES, 0, options.datasets, 2 * options.datasets) if job[0].name in names]
    make_missing(folder, jobs, options.seed)
    fresh = rows_of(folder, jobs, options.seed) if jobs else {}
    return {key_of(row): row for of_case in fresh.values() for row in of_case if key_of(row) in doubted}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, help="null data sets of every case (default: 1000)")
    parser.add_argument("--power-datasets", type=int, help="planted data sets of every strength (default: 200)")
    parser.add_argument("--fast", action="store_true", help="a tenth of the data sets, where none are stated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="K/N: make every N-th chunk only, beginning with K")
    parser.add_argument("--out", type=Path, help="Markdown file for the tables")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "calibration", help="folder of finished chunks")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    most = FAST if options.fast else 1
    options.datasets = 1000 // most if options.datasets is None else options.datasets
    options.power_datasets = 200 // most if options.power_datasets is None else options.power_datasets
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", SaturationWarning)

    planted, folder = power_cases(STRENGTHS), options.work / fingerprint()
    null_jobs = jobs_of(CASES, 0, 0, options.datasets)
    jobs = null_jobs + jobs_of(planted, len(CASES), 0, options.power_datasets)
    part, of = (int(number) for number in options.part.split("/"))
    make_missing(folder, jobs[part::of], options.seed)
    missing = sum(not chunk_path(folder, job, options.seed).exists() for job in jobs)
    if missing:
        print(f"{missing} of {len(jobs)} chunks belong to other parts and are missing")
        return 3
    rows = rows_of(folder, jobs, options.seed)
    null_rows = {case.name: rows[case.name] for case in CASES}
    powered = [row for case in planted for row in rows.get(case.name, [])]
    fresh = looked_at_again(folder, null_rows, options)
    failed = [row for row in fresh.values() if row.verdict == "FAIL"]
    n_uniform = sum(row.verdict != "shown" for of_case in null_rows.values() for row in of_case)
    parts = [
        "## Null data sets",
        *(case_table(case, rows[case.name], fresh) for case in CASES),
        "## Power: share of p <= 0.05",
    ]
    about = {case.name.split()[0]: case.about for case in planted}
    parts += [power_table(kind, about[kind], null, powered) for kind, nulls in POWERS.items() for null in nulls]
    verdict = (
        f"{n_uniform - len(failed)} of {n_uniform} tests that must be uniform are (KS p > 0.01), {len(fresh)} of them "
        "looked at again on fresh data sets."
    )
    text = "\n\n".join(
        [*parts, verdict, *(f"FAIL: {r.case}, {r.null}, {r.measure}, fresh KS p {r.ks_p:.2g}" for r in failed)]
    )
    print(text)
    if options.out:
        write_text(options.out, text + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
