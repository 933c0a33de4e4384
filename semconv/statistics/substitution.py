"""What is kept of replaced contributions: sums over the positions of every pair, and the shares that they recover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SIZES = ("as_mapped", "same_norm")
"""How large what takes the place of a contribution is: as the partner's mapped contribution, or as what it replaces."""


@dataclass(frozen=True, eq=False)
class SubstitutionSums:
    """What taking contributions away does, and what it does to put k others in their place, of n pairs.

    Attributes:
        positions: int64 [n], at which it was done.
        with_next: int64 [n], those of them with a next token in the text, over which losses are summed.
        kl: float64 [n, 1 + 2k], sum over positions of the Kullback-Leibler divergence, in nats, of the prediction after
            from that before: with nothing in the contribution's place, with each of k at the first of `SIZES`, at the
            second. NaN for a pair that has no such replacement.
        loss: float64 [n, 1 + 2k], sum of how much the cross-entropy of the next token rises, in nats.
        norms: float64 [n, 2], sums over positions of the norm of the contribution, and of the partner's, mapped.
        cosine: float64 [n, k], of each mapped decoder row with that which it stands in for.
    """

    positions: Int[ndarray, " n"]
    with_next: Int[ndarray, " n"]
    kl: Float[ndarray, "n changes"]
    loss: Float[ndarray, "n changes"]
    norms: Float[ndarray, "n 2"]
    cosine: Float[ndarray, "n k"]


def column_of(size: str, place: int, k: int) -> int:
    """Returns in which column of `kl` and `loss` a replacement stands.

    Args:
        size: of `SIZES`.
        place: of the replacement among all.
        k: how many there are.
    """
    return 1 + SIZES.index(size) * k + place


def best_of(kl: Float[ndarray, "n changes"], size: str, places: list[int], k: int) -> Int[ndarray, " n"]:
    """Returns the column of the replacement of each pair after which the divergence is least; -1 where it has none.

    Args:
        kl: as in `SubstitutionSums`.
        size: of `SIZES`.
        places: of those that are compared.
        k: how many there are in all.
    """
    columns = np.array([column_of(size, place, k) for place in places])
    found = kl[:, columns]
    known = np.isfinite(found).any(axis=1)
    return np.where(known, columns[np.where(np.isfinite(found), found, np.inf).argmin(axis=1)], -1)
