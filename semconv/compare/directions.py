"""Leading left singular vectors of a space, from the eigenvectors of its smaller Gram matrix where that is exact."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from semconv.system.errors import InputError

_SMALLEST = 1e-5  # share of the first eigenvalue; U = X V / s loses eps / share of its orthogonality
_GAP = 1e-6  # the same; the kept subspace is off by eps / gap


def left_directions(
    X: Float[ndarray, "n d"], who: str, threshold: float | None = None, k: int | None = None
) -> tuple[Float[ndarray, "n k"], Float[ndarray, " k"]]:
    """Returns the leading left singular vectors U and the singular values s of a column-centred space.

    The eigenvectors of X'X (n > d) or XX' cost a fifth of an SVD, but squaring X halves the digits of its weak
    directions. They are used where the last direction kept has a variance of at least 1e-5 of the first, and its
    distance to the next one is at least 1e-6 of it: then the subspace is within about 1e-10 of the SVD's. Otherwise
    the SVD is taken.

    Args:
        X: centred, not all zero.
        who: name used in errors.
        threshold: keep the fewest directions that hold this share of the variance; None keeps all, up to the rank.
        k: keep this many directions instead.

    Raises:
        InputError: fewer directions than `k`.
    """
    found = _from_gram(torch.from_numpy(X), threshold, k)
    return found if found is not None else _from_svd(X, who, threshold, k)


def _by_share(variance: Float[ndarray, " r"], threshold: float) -> int:
    share = np.cumsum(variance) / np.sum(variance)
    return int(np.searchsorted(share, threshold - 1e-12)) + 1


def _from_gram(
    X: torch.Tensor, threshold: float | None, k: int | None
) -> tuple[Float[ndarray, "n k"], Float[ndarray, " k"]] | None:
    """None where the eigenvectors of a Gram matrix are not accurate enough."""
    n, d = X.shape
    values, vectors = torch.linalg.eigh(X.T @ X if d < n else X @ X.T)
    variance = values.flip(0).clamp(min=0).numpy()
    most = min(n - 1, d)  # centring takes one dimension of n
    kept = k if k is not None else most if threshold is None else min(_by_share(variance, threshold), most)
    if kept > most or variance[kept - 1] <= _SMALLEST * variance[0]:
        return None
    if kept < most and variance[kept - 1] - variance[kept] <= _GAP * variance[0]:
        return None
    s = np.sqrt(variance[:kept])
    leading = vectors[:, -kept:].flip(1)
    U = (X @ leading).numpy() / s if d < n else leading.numpy()
    return np.ascontiguousarray(U), s


def _from_svd(
    X: Float[ndarray, "n d"], who: str, threshold: float | None, k: int | None
) -> tuple[Float[ndarray, "n k"], Float[ndarray, " k"]]:
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((s > s[0] * max(X.shape) * np.finfo(np.float64).eps).sum())
    if k is not None and k > rank:
        raise InputError(f"{who} needs {k} directions, the space has {rank}")
    kept = k if k is not None else rank if threshold is None else min(_by_share(s**2, threshold), rank)
    return np.ascontiguousarray(U[:, :kept]), s[:kept]
