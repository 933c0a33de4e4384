"""Spaces with given singular values, from the benign to the hostile, for the tests of the linear algebra."""

from __future__ import annotations

import numpy as np

SPECTRA = {
    "flat": np.linspace(1, 0.5, 20),
    "power law": np.arange(1, 21.0) ** -1,
    "steep": np.geomspace(1, 1e-9, 20),
    "close pair at the cut": np.array([2.0, 1.5, 1.0 + 1e-9, 1.0, 0.5, 0.4]),
    "cliff": np.array([1.0, 0.9, 0.8, 1e-8, 0.9e-8, 0.8e-8]),
    "rank 3": np.array([3.0, 2.0, 1.0, 0, 0, 0]),
}


def centred(X: np.ndarray) -> np.ndarray:
    return X - X.mean(axis=0)


def scaled(spectrum: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """A centred space [n, len(spectrum)] with these singular values, scaled to unit Frobenius norm."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(centred(rng.normal(size=(n, len(spectrum)))))[0]
    V = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))[0]
    return U * (spectrum / np.linalg.norm(spectrum)) @ V.T
