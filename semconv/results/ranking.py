"""Which layer pair of a grid is the best: that whose score is the highest above what chance reaches there."""

from __future__ import annotations

from collections.abc import Mapping

from semconv.results.schema import NullTest


def best_above(tests: Mapping[str, NullTest]) -> str | None:
    """Returns the layer pair of the highest calibrated score, None of none.

    Where several have the same, as those have that chance reaches (0), it is the one furthest above the mean of its
    null, in parts of what is left up to 1.

    Args:
        tests: layer pair -> its score beside one null.
    """
    return max(tests, key=lambda key: (tests[key].calibrated or 0.0, _above_mean(tests[key]), key), default=None)


def _above_mean(test: NullTest) -> float:
    mean = test.mean or 0.0
    return (test.score - mean) / (1 - mean if mean < 1 else 1)
