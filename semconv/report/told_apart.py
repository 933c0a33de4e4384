"""Whether a score is told from its null, is not, or cannot be told with so few draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.report.result_values import test_of
from semconv.report.texts import is_smallest, p_told
from semconv.results.ranking import best_above
from semconv.results.schema import BestOfGrid, NullTest, Results
from semconv.statistics.permutation import LEVEL
from semconv.suite.nulls import MATCHED_AGAIN

Told = Literal["above", "no", "cannot tell"]
"""`above`: q < 0.05. `cannot tell`: the score is above every draw, so that p is the smallest there is, and q is at
least 0.05 all the same: more draws could tell. `no`: all else."""

MARKS: dict[Told, str] = {"above": "", "no": "n.s.", "cannot tell": "?"}
"""What stands in a cell of a heat map."""
MARKS_TEXT = (
    "n.s.: not significant, q at least 0.05 over the grid; ?: above every draw of the null, and q is at least 0.05 all "
    "the same, so that with so few draws it cannot be told."
)


def draws_of(results: Results, null: str, stated: int | None = None) -> int:
    """Returns how many draws of a null there are, or those that a test states of itself."""
    if stated is not None:
        return stated
    settings = results.null
    again = {"rematch": settings.n_rematch, "same_token": settings.n_same_token, "same_bigram": settings.n_same_bigram}
    return again[null] or 0 if null in MATCHED_AGAIN else settings.n_permutations


def p_of(results: Results, null: str, test: NullTest | BestOfGrid | None) -> float | str | None:
    """Returns p of a test as tables show it (`p_told`); None where there is no test."""
    if test is None:
        return None
    p_from = test.p_from if isinstance(test, NullTest) else None
    of = draws_of(results, null, test.draws) if p_from != "tail" else None
    return p_told(test.p, test.draws, p_from, of)


def told_apart(results: Results, null: str, test: NullTest | None) -> Told | None:
    """Returns whether a score is told from a null over the layer grid; None where it was not tested."""
    if test is None or test.q is None:
        return None
    if test.q < LEVEL:
        return "above"
    return "cannot tell" if is_smallest(test.p, draws_of(results, null, test.draws)) else "no"


def undecided(results: Results, measure: str, null: str) -> int:
    """Returns how many layer pairs of the grid are above every draw of a null and cannot be told from it."""
    tests = (test_of(pair, measure, null) for pair in results.grid.values())
    return sum(told_apart(results, null, test) == "cannot tell" for test in tests)


@dataclass(frozen=True)
class BestCell:
    """The best layer pair by what one null tests: that of the highest calibrated score (`best_above`).

    Attributes:
        key: of the layer pair.
        score: its own: that of all pairs, or under a null that matches again that of the strongest.
        null_mean: of the draws at the same layer pair.
        calibrated: the score, calibrated against the null.
        tested: the best of all layer pairs against the best of each draw; None where that has no p.
    """

    key: str
    score: float
    null_mean: float | None
    calibrated: float | None
    tested: BestOfGrid | None


def best_cell(results: Results, measure: str, null: str) -> BestCell | None:
    """Returns the best layer pair against a null, None where none was tested.

    It may be another than that against the primary null, which is the best layer pair of a measure.
    """
    tests = {key: test_of(pair, measure, null) for key, pair in results.grid.items()}
    known = {key: test for key, test in tests.items() if test is not None}
    key = best_above(known)
    if key is None:
        return None
    found = results.summary[measure].nulls.get(null)
    best = found.best_of_grid if found else None
    tested, test = best if isinstance(best, BestOfGrid) else None, known[key]
    return BestCell(key, test.score, test.mean, test.calibrated, tested)


def clearest_cell(results: Results, measure: str, null: str) -> tuple[str, NullTest, float] | None:
    """Returns the best layer pair against a null (`best_above`): its key, its test and the mean of the null.

    Of those with q < 0.05, or of all tested where none is; None where none was tested.
    """
    tests = ((key, test_of(pair, measure, null)) for key, pair in results.grid.items())
    known = {key: (test, test.mean) for key, test in tests if test is not None and test.mean is not None}
    counted = {key: test for key, (test, _) in known.items() if told_apart(results, null, test) == "above"}
    best = best_above(counted or {key: test for key, (test, _) in known.items()})
    return (best, *known[best]) if best is not None else None


def scored_on(null: str) -> str:
    """Returns which pairs the score of a test is of, in words."""
    return "strongest pairs" if null in MATCHED_AGAIN else "all pairs"
