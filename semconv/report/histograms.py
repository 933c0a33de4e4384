"""Draws of the nulls of a run, and their histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from semconv.report.scales import LARGEST, all_equal, digits_between, short
from semconv.system.files import TensorFile

N_BINS = 28
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Draws = Mapping[str, Float[ndarray, " m"]]
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
    def precision(self) -> int:
        """Significant digits with which a number shows in which of the bins it lies."""
        return digits_between(self.low, self.high, N_BINS)

    @property
    def heights(self) -> list[float]:
        """Of every bin, the fullest 1."""
        return [_DIGITS.index(digit) / (len(_DIGITS) - 1) for digit in self.digits]


class _DrawsOfFile(Mapping[str, Float[ndarray, " m"]]):
    """The draws in a file, each read when it is asked for: of a large grid they are many."""

    def __init__(self, path: Path) -> None:
        self._file = TensorFile(path)
        self._names = frozenset(self._file.names)

    def __getitem__(self, name: str) -> Float[ndarray, " m"]:
        if name not in self._names:
            raise KeyError(name)
        return self._file.read(name).numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


def read_draws(folder: Path) -> Draws:
    """Returns the draws of the nulls of a run folder, none where it has no `nulls.safetensors`.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "nulls.safetensors"
    return _DrawsOfFile(path) if path.exists() else {}


def binned(draws: Float[ndarray, " m"] | None) -> Histogram | None:
    """Returns the histogram of some draws, those without a score (NaN) left out; None where none is left.

    Draws that are equal up to rounding stand in one bin in the middle, and both ends are their value. Draws too large
    to be drawn count where the scale ends.
    """
    finite = np.zeros(0) if draws is None else draws[np.isfinite(draws)].clip(-LARGEST, LARGEST)
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    if all_equal(low, high):
        middle = short(low / 2 + high / 2)
        bars = _DIGITS[-1].rjust(N_BINS // 2 + 1, _DIGITS[0]).ljust(N_BINS, _DIGITS[0])
        return Histogram(middle, middle, len(finite), bars)
    counts = np.histogram(finite, N_BINS, (low, high))[0]
    heights = np.ceil(counts / counts.max() * (len(_DIGITS) - 1)).astype(int)
    digits = digits_between(low, high, N_BINS)
    return Histogram(short(low, digits), short(high, digits), len(finite), "".join(_DIGITS[h] for h in heights))
