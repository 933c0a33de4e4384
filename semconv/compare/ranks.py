"""Ranks and inversions of long arrays, from sorts of packed integers, which NumPy vectorises."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray
from torch import Tensor

_BLOCK = 16  # entries whose inversions are counted pair by pair


def stable_order(values: Float[ndarray, " m"]) -> Int[ndarray, " m"]:
    """Returns what a stable argsort of finite values returns, several times faster.

    One int64 holds the leading bits of the value, as fixed point, above its index, so that a plain sort gives the
    order up to values that agree in those bits; those are sorted again by their full value.
    """
    return _order(values)[0]


def _order(values: Float[ndarray, " m"]) -> tuple[Int[ndarray, " m"], Float[ndarray, " m"]]:
    """The order of `stable_order`, and the values in it."""
    m = len(values)
    index_bits = max(m - 1, 1).bit_length()
    scale = np.abs(values).max(initial=0.0)
    if scale == 0:
        return np.arange(m), values
    leading = (values / scale * 2.0 ** (61 - index_bits)).astype(np.int64)
    keys = (leading << index_bits) | np.arange(m)
    keys.sort()
    order = keys & ((1 << index_bits) - 1)
    ordered = values[order]
    if (ordered[1:] < ordered[:-1]).any():
        keys >>= index_bits
        same = np.concatenate([[False], keys[1:] == keys[:-1], [False]])
        among = np.flatnonzero(same[1:] | same[:-1])
        order[among] = order[among][np.lexsort((ordered[among], keys[among]))]
        ordered = values[order]
    return order, ordered


def average_ranks(values: Float[ndarray, " m"]) -> Float[ndarray, " m"]:
    """Returns ranks from 1 as float64; equal values share the mean of their ranks."""
    order, differs = _runs(values)
    ranks = np.empty(len(values))
    if differs.all():
        ranks[order] = np.arange(1.0, len(values) + 1)
        return ranks
    starts = np.flatnonzero(differs)
    sizes = np.diff(starts, append=len(values))
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks


def dense_ranks(values: Float[ndarray, " m"]) -> Int[ndarray, " m"]:
    """Returns ranks from 0 as int64 without gaps; equal values share one."""
    order, differs = _runs(values)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.cumsum(differs) - 1
    return ranks


def tensor_ranks(values: Float[Tensor, " m"], dense: bool) -> Shaped[Tensor, " m"]:
    """Returns `dense_ranks` or `average_ranks` of a tensor, on its device; ranks do not depend on the device."""
    if values.device.type == "cpu":
        return torch.from_numpy(dense_ranks(values.numpy()) if dense else average_ranks(values.numpy()))
    return sorted_ranks(values, dense)


def sorted_ranks(values: Float[Tensor, " m"], dense: bool) -> Shaped[Tensor, " m"]:
    """Returns the same by torch alone, which sorts well on a GPU."""
    _, places, sizes = values.unique(return_inverse=True, return_counts=True)
    return places if dense else (sizes.cumsum(0) - (sizes - 1) / 2)[places]


def _runs(values: Float[ndarray, " m"]) -> tuple[Int[ndarray, " m"], Bool[ndarray, " m"]]:
    """Returns the sorting order and where, in it, a value differs from the one before."""
    order, ordered = _order(values)
    differs = np.ones(len(values), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=differs[1:])
    return order, differs


def tied_pairs(ranks: Int[ndarray, " m"]) -> int:
    """Returns the number of pairs of equal entries of non-negative integers."""
    sizes = np.bincount(ranks)
    return int((sizes * (sizes - 1) // 2).sum())


def inversions(values: Int[ndarray, " m"]) -> int:
    """Returns the number of pairs i < j with values[i] > values[j], for integers in [0, m), in O(m log^2 m).

    A merge sort in which a merge is a plain sort of value and side in one integer. The elements of the left half then
    stand at their place in the half plus the number of elements of the right half below them, so the sum of their
    places counts the inversions. The smallest blocks are counted pair by pair.
    """
    m = len(values)
    padded = _BLOCK << (max(m - 1, 0) // _BLOCK).bit_length()
    keys = np.full(padded, m, dtype=np.int32 if m < 2**30 else np.int64)
    keys[:m] = values
    columns = np.ascontiguousarray(keys.reshape(-1, _BLOCK).T)
    count = sum(int(np.count_nonzero(columns[:j] > columns[j])) for j in range(1, _BLOCK))
    width = _BLOCK
    while width < padded:
        blocks = keys.reshape(-1, 2 * width)
        blocks <<= 1
        blocks[:, width:] |= 1
        blocks.sort(axis=1)
        at_place = len(blocks) - (blocks & 1).sum(axis=0, dtype=np.int64)  # left elements that stand at each place
        count += int(at_place @ np.arange(2 * width)) - len(blocks) * (width * (width - 1) // 2)
        blocks >>= 1
        width *= 2
    return count


def kendall_numerator(x: Int[ndarray, " m"], y: Int[ndarray, " m"], ties_x: int, ties_y: int) -> int:
    """Returns concordant less discordant pairs, for dense ranks x in ascending order and y beside them.

    Args:
        x: ascending.
        y: in [0, m).
        ties_x: pairs of equal x.
        ties_y: pairs of equal y.
    """
    ties_both = 0
    if ties_x:
        span = int(y.max()) + 1
        keys = np.sort(x * span + y)
        y = keys % span
        ties_both = tied_pairs(np.cumsum(np.concatenate([[False], keys[1:] != keys[:-1]])))
    pairs = len(x) * (len(x) - 1) // 2
    return pairs - ties_x - ties_y + ties_both - 2 * inversions(y)
