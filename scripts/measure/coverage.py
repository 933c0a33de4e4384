"""How often do the 95% intervals of scores hold the truth? Writes a table for docs/statistics.md.

    python scripts/measure/coverage.py --out measurements/coverage.md        # some 10 minutes on one core
    python scripts/measure/coverage.py --fast                                # a tenth of the data sets

Every data set is made anew (`semconv.validation.coverage`, `semconv.validation.document_cases`); several processes may
each take cases (`--case`). An interval fails if it holds the truth in so few data sets that a binomial test of 95% has
a one-sided p <= 0.001 (about one honest study of thirty would have such an interval). Exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from semconv.statistics.permutation import generator
from semconv.system.files import write_text
from semconv.system.markdown import table
from semconv.validation import document_cases
from semconv.validation.coverage import CASES, PAIRS, TRUTH, Case, held, truths

FAILS = 0.001
"""One-sided p of a binomial test below which an interval holds the truth too seldom."""
FAST = 10
DOCUMENTS = "documents"
Held = Callable[[int], Mapping[str, tuple[bool, float]]]
"""Gives for a data set, by its number, whether every interval holds the truth, and its half width."""


def fails(held_in: int, n: int) -> bool:
    from scipy.stats import binomtest

    return float(binomtest(held_in, n, 0.95, alternative="less").pvalue) <= FAILS


def rows_of(name: str, truth: Mapping[str, tuple[float, float]], of: Held, n: int) -> tuple[list[list[str]], list[str]]:
    """Returns a row per measure: the truth, the median half width, how often it is held; and the measures that fail."""
    found: list[Mapping[str, tuple[bool, float]]] = []
    for number in range(n):
        found.append(of(number))
        print(f"\r{name}: {number + 1}/{n}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows, failed = list[list[str]](), list[str]()
    for measure, (mean, of_mean) in truth.items():
        times = sum(one[measure][0] for one in found)
        half, share = float(np.median([one[measure][1] for one in found])), times / n
        error = math.sqrt(share * (1 - share) / n)
        mark = ""
        if fails(times, n):
            failed.append(measure)
            mark = " FAIL"
        rows.append([measure, f"{mean:.4f} +- {of_mean:.4f}", f"{half:.4f}", f"{share:.3f} +- {error:.3f}{mark}"])
    return rows, failed


def document_truths(n: int) -> dict[str, tuple[float, float]]:
    """Returns measure -> its expected score over fresh texts, and the standard error of that."""
    found = [document_cases.score(generator(0, TRUTH + number, document_cases.STREAM)) for number in range(n)]
    values = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {name: (float(x.mean()), float(x.std(ddof=1) / math.sqrt(n))) for name, x in values.items()}


def of_case(case: Case, given: argparse.Namespace) -> tuple[str, list[str]]:
    truth = truths(case, given.truth)
    expected = {name: mean for name, (mean, _) in truth.items()}
    rows, failed = rows_of(case.name, truth, lambda number: held(case, number, expected, given.halves), given.datasets)
    sizes = f"{PAIRS} pairs, {given.datasets} data sets, {given.halves} halves"
    return section(case.name, f"{case.about}; {sizes}.", rows), failed


def of_documents(given: argparse.Namespace) -> tuple[str, list[str]]:
    truth = document_truths(given.truth)
    expected = {name: mean for name, (mean, _) in truth.items()}

    def one(number: int) -> Mapping[str, tuple[bool, float]]:
        return document_cases.held(generator(0, number, document_cases.STREAM), expected, given.resamples)

    rows, failed = rows_of(DOCUMENTS, truth, one, given.datasets)
    about = (
        "features of two models that agree half of the time, matched on a new text in every data set; documents alone"
    )
    sizes = f"{document_cases.N_DOCUMENTS} documents, {given.datasets} data sets, {given.resamples} resamples"
    return section(DOCUMENTS, f"{about}; {sizes}.", rows), failed


def section(name: str, about: str, rows: list[list[str]]) -> str:
    header = ["measure", "expected score", "median half width", "intervals that hold it"]
    return f"### {name}\n\n{about[0].upper()}{about[1:]}\n\n{table(header, rows)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, help="(default: 400)")
    parser.add_argument("--truth", type=int, help="fresh data sets from which the truth is drawn (default: 2000)")
    parser.add_argument("--halves", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=10, help="of the documents (default: 10, as in mini)")
    parser.add_argument("--fast", action="store_true", help="a tenth of the data sets, where none are stated")
    names = [*(case.name for case in CASES), DOCUMENTS]
    parser.add_argument("--case", action="append", choices=names, help="default: all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    most = FAST if given.fast else 1
    given.datasets = 400 // most if given.datasets is None else given.datasets
    given.truth = 2000 // most if given.truth is None else given.truth
    torch.set_num_threads(1)
    parts, failed = list[str](), list[str]()
    for name in names:
        if given.case and name not in given.case:
            continue
        case = next((one for one in CASES if one.name == name), None)
        text, of_failed = of_case(case, given) if case else of_documents(given)
        parts.append(text)
        failed += [f"FAIL: {name}, {measure}" for measure in of_failed]
    text = "\n\n".join([*parts, *failed]) + "\n"
    print(text)
    if given.out:
        write_text(given.out, text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
