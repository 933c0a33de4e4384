"""What more draws of `same_token` and more resamples of the documents would cost a finished run, and what they bring.

    python scripts/measure/more_draws.py runs/mini --layers 2x4 --out measurements/more_draws.md

From the run's own draws and the seconds of its tasks: how many draws some rules take by the primary end point, where a
rule that is not yet at its end after the draws that there are is taken to go on at the share that reached the score;
and how much of an interval the spread over documents is. The parts of a resample are measured here, in processor
seconds of one thread. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from numpy import ndarray
from safetensors.numpy import load_file

from semconv.models.roles import ModelOnText, Roles
from semconv.pipeline.encoded_sides import stored_sides
from semconv.pipeline.reproduce import Run, load_corpus
from semconv.pipeline.stored_saes import open_stores
from semconv.results.read import read_results
from semconv.results.schema import NullTest, Results, Score
from semconv.statistics.permutation import ROUNDING
from semconv.statistics.resampling import bootstrap_positions
from semconv.statistics.stopping import Stopping
from semconv.study.settings import StudySettings, suite_measures
from semconv.study.sides import Side, best_of, key_of, match_features, r_without_of, scores_of
from semconv.suite.config import SuiteConfig, load_suite
from semconv.system.files import write_text
from semconv.system.markdown import table

Value = TypeVar("Value")
MOST, AFTER = 400, 10
NULL = "same_token"


def expected_draws(rule: Stopping, score: float, null: ndarray) -> float:
    """Returns after how many draws a rule ends, or is expected to where the draws that there are do not tell."""
    ended = rule.ended(score, null)
    reached = int((null >= score - ROUNDING).sum())
    if not rule.after or ended <= len(null):
        return min(ended, rule.most)
    return min(rule.most, max(len(null), rule.least, rule.after * (len(null) + 1) / (reached + 1)))


def task_seconds(run: Path) -> dict[str, float]:
    """Returns kind of task -> seconds of its tasks together, from the run's crate."""
    graph = json.loads((run / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    mark = "#run/task seconds/"
    return {one["@id"][len(mark) :]: float(one["value"]) for one in graph if one["@id"].startswith(mark)}


def draws_table(results: Results, run: Path, seconds: Mapping[str, float]) -> str:
    """Returns what rules take of draws, and what these cost beyond those that the run has."""
    measure, drawn = results.primary or "rsa", load_file(run / "nulls.safetensors")
    tested: dict[str, tuple[float, ndarray]] = {}
    for key, pair in results.grid.items():
        found = pair.measures[measure]
        test = found.nulls.get(NULL) if isinstance(found, Score) else None
        if isinstance(test, NullTest):
            tested[key] = test.score, drawn[f"{key}.{NULL}.{measure}"]
    m = max(len(null) for _, null in tested.values())
    each = (seconds[NULL] + seconds[f"{NULL} scores"]) / sum(len(null) for _, null in tested.values())
    rules = {
        f"{m}, as in the run": Stopping(m),
        f"at most {MOST}, an end after {AFTER} that reach the score": Stopping(MOST, AFTER),
        f"the same, but {m} of every layer pair at least, for the other measures": Stopping(MOST, AFTER, m),
        f"{MOST} of every layer pair": Stopping(MOST),
    }
    rows: list[list[str]] = []
    for name, rule in rules.items():
        draws = sum(expected_draws(rule, score, null) for score, null in tested.values())
        more = (draws - m * len(tested)) * each
        smallest = len(tested) / (rule.most + 1)
        rows.append([name, f"{draws:.0f}", f"{more:+.0f}", f"{more / 2:+.0f}", f"{smallest:.3f}"])
    header = ["draws of a layer pair", "draws in all", "seconds of tasks", "of two at once", "q of one alone"]
    return table(header, rows)


def measured(a: Side, b: Side, settings: StudySettings, n: int) -> dict[str, float]:
    """Returns part of a resample -> processor seconds of one."""
    took: dict[str, float] = {}

    def timed(part: str, make: Callable[[], Value]) -> Value:
        began = time.process_time()
        value = make()
        took[part] = took.get(part, 0.0) + (time.process_time() - began) / n
        return value

    for number in range(n):
        drawn = timed(
            "documents drawn", lambda number=number: bootstrap_positions(settings.starts, a.n_tokens, 0, number)
        )
        x, y = timed("activations copied", lambda drawn=drawn: (a.at(drawn), b.at(drawn)))
        found = timed("all features correlated", lambda x=x, y=y: best_of(x, y, settings.match))
        active = x.activity(settings.match), y.activity(settings.match)
        without = r_without_of(x.acts, y.acts, settings.match)
        pairs = timed(
            "filters, r without the strongest positions among them",
            lambda x=x, y=y, found=found, active=active, without=without: match_features(
                found, x.tokens, y.tokens, settings.match, *active, r_without=without
            ),
        )
        timed("scores", lambda x=x, y=y, pairs=pairs: scores_of(settings.measures, x, y, pairs.a, pairs.b))
    return took


def resample_table(run: Run, suite: SuiteConfig, layers: str, n: int) -> str:
    """Returns what each part of a resample takes at one layer pair."""
    blocks = load_corpus(run).blocks
    models = Roles(ModelOnText(suite.model_a, blocks), ModelOnText(suite.model_b, blocks))
    sides = stored_sides(run, run.workplace(), open_stores(run, models))
    a, b = next((a.read(), b.read()) for a in sides.a for b in sides.b if key_of(a, b) == layers)
    starts = (blocks.document[blocks.mask].diff(prepend=torch.tensor([-1])) != 0).nonzero()[:, 0].numpy()
    took = measured(a, b, StudySettings(suite_measures(suite), suite.match, suite.null, starts), n)
    whole = sum(took.values())
    rows = [[part, f"{seconds:.3f}", f"{seconds / whole:.0%}"] for part, seconds in took.items()]
    return table(["part of a resample", "processor seconds", ""], [*rows, ["all", f"{whole:.3f}", ""]])


def spread_table(results: Results, n: int) -> str:
    """Returns how much the width of intervals owes to documents, and how far an error of their spread moves it."""
    measure, rows = results.primary or "rsa", list[list[str]]()
    error = 1 / math.sqrt(2 * (n - 1))  # of the standard deviation of n normal draws, as a share of it
    for key, pair in results.grid.items():
        found = pair.measures[measure]
        spread = found.spread if isinstance(found, Score) else None
        if spread is None or spread.documents is None:
            continue
        share = (spread.documents / spread.total) ** 2
        rest = 1 - share
        moved = [math.sqrt(rest + share * (1 + sign * error) ** 2) - 1 for sign in (-1, 1)]
        rows.append([key, f"{spread.documents:.4f}", f"{spread.total:.4f}", f"{moved[0]:+.1%} to {moved[1]:+.1%}"])
    return table(["layers", "sd over documents", "sd in all", f"moved by an error of {error:.0%} of the first"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--layers", default="2x4", help="layer pair at which the parts of a resample are measured")
    parser.add_argument("--resamples", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    suite, results = load_suite(options.suite), read_results(options.run)
    run = Run(suite, options.run)
    run.read_places()
    seconds = task_seconds(options.run)
    parts = [
        f"## Draws of `{NULL}`\n\n{draws_table(results, options.run, seconds)}",
        f"## Resamples of the documents\n\n{resample_table(run, suite, options.layers, options.resamples)}",
        f"{len(results.grid)} layer pairs with {suite.null.n_bootstrap} resamples each took {seconds['bootstrap']:.0f} "
        f"seconds of tasks, so 200 would take {seconds['bootstrap'] * 200 / suite.null.n_bootstrap:.0f}.",
        f"## What the resamples decide\n\n{spread_table(results, suite.null.n_bootstrap)}",
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.out:
        write_text(options.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
