"""Two spaces that share a latent, for the tests of the measures."""

from __future__ import annotations

import numpy as np


def spaces(
    n: int = 200, latent: int = 10, d_x: int = 24, d_y: int = 40, noise: float = 0.3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """X [n, d_x] and Y [n, d_y]: a random map of the same Gaussian latent [n, latent], and noise."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, latent))
    X = Z @ rng.normal(size=(latent, d_x)) + noise * rng.normal(size=(n, d_x))
    Y = Z @ rng.normal(size=(latent, d_y)) + noise * rng.normal(size=(n, d_y))
    return X, Y
