"""How often do the 95% intervals of scores hold the truth? Writes a table for docs/statistics.md.

    python scripts/measure/coverage.py --out measurements/coverage.md        # some 10 minutes on one core

Every data set is made anew (`semconv.validation.coverage`); several processes may each take cases (`--case`).
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from semconv.system.files import write_text
from semconv.system.markdown import table
from semconv.validation.coverage import CASES, MEASURES, PAIRS, Case, held, truths


def rows_of(case: Case, n: int, n_truth: int, n_halves: int) -> list[list[str]]:
    """Returns a row per measure: the truth, how often it is held, the median half width."""
    truth = truths(case, n_truth)
    expected = {name: mean for name, (mean, _) in truth.items()}
    found = []
    for number in range(n):
        found.append(held(case, number, expected, n_halves))
        print(f"\r{case.name}: {number + 1}/{n}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows: list[list[str]] = []
    for name in MEASURES:
        share = float(np.mean([one[name][0] for one in found]))
        half = float(np.median([one[name][1] for one in found]))
        error = math.sqrt(share * (1 - share) / n)
        mean, of_mean = truth[name]
        rows.append([name, f"{mean:.4f} +- {of_mean:.4f}", f"{half:.4f}", f"{share:.3f} +- {error:.3f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=400)
    parser.add_argument("--truth", type=int, default=2000, help="fresh data sets from which the truth is drawn")
    parser.add_argument("--halves", type=int, default=100)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    parts: list[str] = []
    for case in CASES:
        if given.case and case.name not in given.case:
            continue
        header = ["measure", "expected score", "median half width", "intervals that hold it"]
        sizes = f"{PAIRS} pairs, {given.datasets} data sets, {given.halves} halves"
        about = f"{case.about[0].upper()}{case.about[1:]}; {sizes}."
        rows = rows_of(case, given.datasets, given.truth, given.halves)
        parts.append(f"### {case.name}\n\n{about}\n\n{table(header, rows)}")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.out:
        write_text(given.out, text)


if __name__ == "__main__":
    main()
