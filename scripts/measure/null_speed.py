"""What the nulls of a finished run cost, beside the straightforward loops: all layer pairs, all threads.

    python scripts/measure/null_speed.py runs/mini

`shuffle`: 1000 permutations of every measure the package has, for every layer pair. `rematch`: 100 shifts for every
layer pair, each matched again and scored by every measure of the suite; `same_token`: as many exchanges. The
straightforward loop starts afresh for every draw, with the library that a reader would reach for; it is timed on one
layer pair, a few draws of it, checked against the package's value and multiplied up. Prints Markdown; exit code 1 if a
value differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy import ndarray
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, spearmanr

from semconv.compare import MEASURES, Measure, SaturationWarning, make_measures
from semconv.matching.filters import FeaturePairs
from semconv.models.roles import ModelOnText, Roles
from semconv.pipeline.encoded_sides import stored_sides
from semconv.pipeline.reproduce import Run, load_corpus
from semconv.pipeline.stored_saes import open_stores
from semconv.statistics.permutation import permutation_ids
from semconv.statistics.resampling import document_shift, document_starts
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import MatchedAgain, rematch, score_strongest, swapped
from semconv.study.sides import Side, match_sides, prepare_pairs
from semconv.suite.config import load_suite
from semconv.system.errors import InputError
from semconv.system.markdown import table
from semconv.system.side_by_side import side_by_side

Cell = tuple[Side, Side]


def leading_direction(X: ndarray) -> ndarray:
    return np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0][:, 0]


def svcca_pc1(X: ndarray, Y: ndarray) -> float:
    return abs(float(np.corrcoef(leading_direction(X), leading_direction(Y))[0, 1]))


def rsa(
    X: ndarray,
    Y: ndarray,
    distance: Literal["correlation", "cosine"] = "correlation",
    rank: Callable[..., Any] = spearmanr,
) -> float:
    return float(rank(pdist(X, distance), pdist(Y, distance)).statistic)


def afresh(measure: Measure[Any], X: ndarray, Y: ndarray) -> float:
    return measure.score(measure.prepare(X), measure.prepare(Y))


LIBRARY_LOOPS: dict[str, tuple[str, Callable[[ndarray, ndarray], float]]] = {
    "svcca_pc1": ("two np.linalg.svd, np.corrcoef", svcca_pc1),
    "rsa": ("SciPy: pdist, spearmanr", rsa),
    "rsa_cosine": ("SciPy: pdist, spearmanr", partial(rsa, distance="cosine")),
    "rsa_kendall": ("SciPy: pdist, kendalltau", partial(rsa, rank=kendalltau)),
}
"""tau-b of SciPy is tau-a where no two distances are equal."""


def with_moments(side: Side) -> tuple[Any, ndarray, ndarray]:
    """SciPy's matrix, and mean and standard deviation of its columns."""
    acts = side.acts
    m: Any = csr_array((acts.values.double(), acts.indices, acts.indptr), shape=(acts.n_tokens, acts.n_features))
    mean = np.asarray(m.mean(axis=0))
    return m, mean, np.sqrt(np.asarray(m.multiply(m).mean(axis=0)) - mean**2)


def plain_rematch(cell: Cell, shift: int) -> int:
    """One shift as it would be written: SciPy's product, Pearson r from it, the best of each column; counts them."""
    (a, mean_a, sd_a), (b, mean_b, sd_b) = (with_moments(side) for side in cell)
    n = len(cell[0].acts.indptr) - 1
    product = (a[np.roll(np.arange(n), shift)].T @ b).toarray()  # row t of A meets row t + shift of B
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (product / n - np.outer(mean_a, mean_b)) / np.outer(sd_a, sd_b)
    return int(np.isfinite(np.where(np.isfinite(r), r, -np.inf).max(axis=0)).sum())


def shuffle_rows(cells: list[Cell], pairs: list[FeaturePairs], measures: list[Measure[Any]], m: int) -> list[list[str]]:
    """Times m permutations of every measure for all cells, and a few of the straightforward loop for the first."""

    def null(measure: Measure[Any], place: int) -> ndarray:
        prepared = prepare_pairs(measure, *cells[place], pairs[place].a, pairs[place].b)
        permutations = permutation_ids(len(pairs[place]), m, 0)
        return measure.null_scores(prepared.x, prepared.y, permutations)

    rows: list[list[str]] = []
    X, Y = (side.decoder[at] for side, at in zip(cells[0], (pairs[0].a, pairs[0].b), strict=True))
    some = permutation_ids(len(X), 3, 0)
    total = plain_total = 0.0
    for measure in measures:
        try:
            null(measure, 0)
        except InputError as error:
            rows.append([measure.name, "-", f"refused: {error}", "-", "-"])
            continue
        began = time.perf_counter()
        scores = side_by_side([partial(null, measure, place) for place in range(len(cells))], True)
        seconds = time.perf_counter() - began
        how, loop = LIBRARY_LOOPS.get(measure.name, ("the measure from scratch", partial(afresh, measure)))
        loop(X, Y[some[0]])
        began = time.perf_counter()
        plain = [loop(X, Y[p]) for p in some]
        plain_seconds = (time.perf_counter() - began) / len(some) * m * len(cells)
        if not np.allclose(plain, scores[0][: len(some)], rtol=0, atol=1e-6):
            sys.exit(f"null_speed: {measure.name}: the straightforward loop gives {plain}, not {scores[0][:3]}")
        total, plain_total = total + seconds, plain_total + plain_seconds
        rows.append([measure.name, f"{seconds:.1f}", how, f"{plain_seconds:.0f}", f"{plain_seconds / seconds:.0f}"])
    rows.append(["all", f"{total:.1f}", "", f"{plain_total:.0f}", f"{plain_total / total:.0f}"])
    return rows


def rematch_rows(
    run: Run, cells: list[Cell], starts: ndarray, swaps: TokenSwaps, measures: list[Measure[Any]], m: int
) -> list[list[str]]:
    """Times m shifts of all cells, matched and scored, one of the straightforward loop for the first, m exchanges."""
    seed = run.suite.null.seed

    def timed(again: Callable[[Cell], MatchedAgain]) -> float:
        def null(cell: Cell) -> None:
            ranked = again(cell).ranked
            n = min(len(pairs[0]) for pairs in ranked)
            for pairs in ranked:
                score_strongest(measures, *cell, pairs, n)

        began = time.perf_counter()
        side_by_side([partial(null, cell) for cell in cells], True)
        return time.perf_counter() - began

    seconds = timed(lambda cell: rematch(*cell, run.suite.match, starts, seed, range(m)))
    exchanged = timed(lambda cell: swapped(*cell, run.suite.match, swaps.draws(seed, range(m))))
    shift = document_shift(starts, seed, 0)
    ranked = rematch(*cells[0], run.suite.match, starts, seed, [0])[1][0]
    began = time.perf_counter()
    matched = plain_rematch(cells[0], shift)
    X, Y = (side.decoder[at] for side, at in zip(cells[0], ranked, strict=True))
    for measure in measures:
        LIBRARY_LOOPS.get(measure.name, ("", partial(afresh, measure)))[1](X, Y)
    plain = (time.perf_counter() - began) * m * len(cells)
    if matched != int((cells[0][1].acts.active_counts() > 0).sum()):
        sys.exit(f"null_speed: the straightforward loop matched {matched} features")
    return [
        [
            "rematch",
            f"{seconds:.0f}",
            "SciPy CSR product, dense r, scores from scratch",
            f"{plain:.0f}",
            f"{plain / seconds:.0f}",
        ],
        ["same_token", f"{exchanged:.0f}", "", "", f"{exchanged / seconds:.2f} of rematch"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of the mini suite")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--shifts", type=int, default=100)
    options = parser.parse_args()
    warnings.simplefilter("ignore", SaturationWarning)
    suite = load_suite("mini")
    run = Run(suite, options.run)
    blocks = load_corpus(run).blocks
    models = Roles(ModelOnText(suite.model_a, blocks), ModelOnText(suite.model_b, blocks))
    stored = stored_sides(run, run.workplace(), open_stores(run, models))
    sides = stored.map(lambda group: [one.read() for one in group])
    cells = [(a, b) for a in sides.a for b in sides.b]
    pairs = [match_sides(a, b, suite.match) for a, b in cells]
    settings = (suite.compare.svcca_threshold, suite.compare.svcca_k, suite.compare.knn_k)
    rows = shuffle_rows(cells, pairs, make_measures(tuple(MEASURES), *settings), options.permutations)
    starts = document_starts(blocks)
    of_suite = make_measures(suite.compare.measures, *settings)
    rows += rematch_rows(run, cells, starts, TokenSwaps.of(blocks), of_suite, options.shifts)
    columns = ["null", "s", "straightforward loop", "s, multiplied up", "ratio"]
    fewest, most = min(map(len, pairs)), max(map(len, pairs))
    print(
        f"{options.permutations} shuffles and {options.shifts} rematches for {len(cells)} layer pairs of {fewest} to "
        f"{most} feature pairs; {torch.get_num_threads()} threads.\n"
    )
    print(table(columns, rows))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
