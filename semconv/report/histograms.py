"""Draws of the nulls of a run, and their histograms."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.system.files import read_tensors

N_BINS = 28
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Draws = dict[str, Float[ndarray, " m"]]
"""`LAYERS.NULL.MEASURE`, such as `0x2.shuffle.rsa` -> the draws, as in `nulls.safetensors`."""


class Histogram(NamedTuple):
    """A histogram as the page holds it.

    Attributes:
        low: lower end of the first bin.
        high: upper end of the last.
        n: draws in it.
        digits: a digit 0 to z per bin, the fullest z; a bin that holds anything has at least 1.
    """

    low: float
    high: float
    n: int
    digits: str

    @property
    def heights(self) -> list[float]:
        """Of every bin, the fullest 1."""
        return [_DIGITS.index(digit) / (len(_DIGITS) - 1) for digit in self.digits]


def read_draws(folder: Path) -> Draws:
    """Returns the draws of the nulls of a run folder, none where it has no `nulls.safetensors`.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "nulls.safetensors"
    return {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()} if path.exists() else {}


def short(value: float) -> float:
    """Returns a number with four significant digits, which is what the page shows."""
    return float(f"{value:.4g}")


def binned(draws: Float[ndarray, " m"] | None) -> Histogram | None:
    """Returns the histogram of some draws, those without a score (NaN) left out; None where none is left."""
    finite = np.zeros(0) if draws is None else draws[np.isfinite(draws)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    counts = np.histogram(finite, N_BINS, (low, high) if high > low else (low - 1e-9, high + 1e-9))[0]
    heights = np.ceil(counts / counts.max() * (len(_DIGITS) - 1)).astype(int)
    return Histogram(short(low), short(high), len(finite), "".join(_DIGITS[h] for h in heights))
