"""A A', of which only half is multiplied."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

_BLOCK = 512  # rows multiplied at once; torch has no routine for one half of a product


def symmetric_product(A: Float[Tensor, "*m n d"]) -> Float[Tensor, "*m n n"]:
    """Returns A A' for one matrix or many, exactly symmetric, in little more than half the time of the full product."""
    n = A.shape[-2]
    if n <= _BLOCK:
        product = A @ A.mT
        return product.tril() + product.tril(-1).mT
    out = A.new_empty((*A.shape[:-2], n, n))
    for begin in range(0, n, _BLOCK):
        end = min(begin + _BLOCK, n)
        strip = A[..., begin:end, :] @ A[..., :end, :].mT
        square = strip[..., begin:].tril()
        strip[..., begin:] = square + square.tril(-1).mT
        out[..., begin:end, :end] = strip
        out[..., :begin, begin:end] = strip[..., :begin].mT
    return out
