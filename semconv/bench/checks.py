"""Checks answers against an oracle, and computes how far they may be off."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray

from semconv.system.errors import InputError

DENSE_TOLERANCE = 2e-2  # of r: float32 sums over n_tokens lose about sqrt(n) ulp and then cancel


def pearson_from_dot(dot: ndarray, x: Any, y: Any) -> ndarray:
    """Returns float64 Pearson r [columns of x, columns of y] from their dot products, NaN where one never varies."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    means = (np.asarray(m.mean(axis=0)).ravel() for m in (x, y))
    mean_squares = (np.asarray(m.multiply(m).mean(axis=0)).ravel() for m in (x, y))
    return pearson_from_means(dot / x.shape[0], *means, *mean_squares)


def pearson_from_means(xy: ndarray, x: ndarray, y: ndarray, xx: ndarray, yy: ndarray) -> ndarray:
    """Returns float64 Pearson r [n_x, n_y] from the means over the tokens of products, values and squares.

    Args:
        xy: float64 [n_x, n_y].
        x: float64 [n_x].
        y: float64 [n_y].
        xx: float64 [n_x].
        yy: float64 [n_y].
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - np.outer(x, y)) / np.outer(np.sqrt(xx - x**2), np.sqrt(yy - y**2))


def check_best(index: ndarray, r: ndarray, expected: ndarray, tolerance: float) -> None:
    """Raises InputError unless the partners found have the scores that were returned, and no other has a higher one.

    Args:
        index: int64 [rows, k] partners, -1 where there is none.
        r: float64 [rows, k] their scores, best first.
        expected: float64 [rows, F_b], NaN where there is no correlation.
        tolerance: largest difference.
    """
    for row in range(len(index)):
        scores = expected[row]
        best = np.sort(scores[~np.isnan(scores)])[::-1][: index.shape[1]]
        found = index[row] >= 0
        if found.sum() != len(best):
            raise InputError(f"{len(best)} partners were expected in row {row}, got {found.sum()}")
        worst = np.max(np.abs([r[row, found] - best, scores[index[row, found]] - best]), initial=0.0)
        if not worst <= tolerance:
            raise InputError(f"the best matches are off by {worst:.2g}, at most {tolerance:.2g} is quantisation")


def check_close(found: ndarray, expected: ndarray, tolerance: float, what: str) -> None:
    """Raises InputError where two arrays differ by more than tolerance (1 + |expected|)."""
    worst = float(np.nanmax(np.abs(found - expected) / (1 + np.abs(expected))))
    if not worst <= tolerance:
        raise InputError(f"{what} is off by {worst:.2g}, at most {tolerance:.2g} is rounding")


def quantization_tolerance(noise_a: torch.Tensor, noise_b: torch.Tensor) -> float:
    """Returns how far r may be off for values of 16 bits, from the quantisation noise of either side's features."""
    return 4 * float(noise_a.nan_to_num().max() + noise_b.nan_to_num().max())
