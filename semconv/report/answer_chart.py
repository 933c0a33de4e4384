"""The one figure of the answer: the score of every third of the depths, beside its null and beside one model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from semconv.report.answer import asked_null, ceilings, diagonal
from semconv.report.result_values import default_measure, test_of, title_of, value_of
from semconv.report.scales import ends_with_zero, rounded
from semconv.report.vega import INK, ROW, Encoding, marks, rows_chart, score_axis
from semconv.results.schema import LayerPair, Results
from semconv.suite.nulls import MATCHED_AGAIN


class AnswerRow(NamedTuple):
    """A row of the figure.

    Attributes:
        part: of the grid, such as `early`, or `different thirds`.
        of: which pairs are scored.
        score: mean over the part.
        other: what it stands beside.
        mark: what that is: `null`, its mean; or `top`, one model with itself.
    """

    part: str
    of: str
    score: float
    other: float
    mark: Literal["null", "top"]

    @property
    def label(self) -> str:
        """What stands above the row."""
        return f"{self.part}, {self.of}"


def answer_rows(results: Results) -> list[AnswerRow]:
    """Returns the rows of the figure: mean scores of the layer pairs of every third of the depths, and of the others.

    A row compares only what is scored on the same kind of pairs: the score that the null tests with the mean of the
    null, the score of all pairs with what one model reaches with itself through SAEs of other seeds.
    """
    null, measure = asked_null(results), default_measure(results)
    return [] if null is None else [*_beside_null(results, measure, null), *_beside_ceiling(results, measure)]


def answer_chart(results: Results) -> str | None:
    """Draws the rows of the answer; None where there are none."""
    rows, title = answer_rows(results), title_of(default_measure(results))
    if not rows:
        return None
    x = score_axis("x", title, ends_with_zero([value for row in rows for value in (row.score, row.other)]))
    y = [place * ROW + 20 for place in range(len(rows))]
    scores: list[Encoding] = [{"y": at, "x": row.score} for at, row in zip(y, rows, strict=True)]
    others = [(at, row) for at, row in zip(y, rows, strict=True)]
    means: list[Encoding] = [{"y": at - 8, "y2": at + 8, "x": row.other} for at, row in others if row.mark == "null"]
    tops: list[Encoding] = [{"y": at, "x": row.other} for at, row in others if row.mark == "top"]
    point: Encoding = {"type": "point", "filled": True, "size": 90, "opacity": 1}
    layers = [
        marks(means, {"type": "rule", "stroke": INK, "strokeWidth": 2}, x, {"y2": {"field": "y2"}}),
        marks(tops, {**point, "shape": "square", "fill": "var(--ceiling)"}, x),
        marks(scores, {**point, "fill": "var(--cross)"}, x),
    ]
    beside = {"null": f"mean of {asked_null(results)}", "top": "one model with itself"}
    said = "; ".join(f"{row.label}: {rounded(row.score)}, {beside[row.mark]} {rounded(row.other)}" for row in rows)
    return rows_chart([row.label for row in rows], layers, f"{title}. {said}.")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _beside_null(results: Results, measure: str, null: str) -> list[AnswerRow]:
    rows = list[AnswerRow]()
    thirds = diagonal(results)
    within = {id(pair) for _, pairs in thirds for pair in pairs}
    others = [pair for pair in results.grid.values() if id(pair) not in within]
    for name, pairs in [*thirds, ("different thirds", others)]:
        tests = [test for pair in pairs if (test := test_of(pair, measure, null)) is not None]
        score, mean = _mean([test.score for test in tests]), _mean([test.mean for test in tests])
        if score is not None and mean is not None:
            of = "strongest pairs" if null in MATCHED_AGAIN else "all pairs"
            rows.append(AnswerRow(name, of, score, mean, "null"))
    return rows


def _beside_ceiling(results: Results, measure: str) -> list[AnswerRow]:
    rows = list[AnswerRow]()
    for name, pairs in diagonal(results):
        both = [(value_of(pair, measure, "score"), _top(results, measure, pair)) for pair in pairs]
        known = [(score, top) for score, top in both if score is not None and top is not None]
        if known:
            score, top = np.mean(known, axis=0)
            rows.append(AnswerRow(name, "all pairs", float(score), float(top), "top"))
    return rows


def _top(results: Results, measure: str, pair: LayerPair) -> float | None:
    return _mean([*ceilings(results, measure, pair).values()])
