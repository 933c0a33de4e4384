"""The dense way on a device: chunks of tokens made dense, multiplied into A.T @ B, and both sides' best partners."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from semconv.bench.dense_chunks import dense_chunks
from semconv.core.sparse import SparseActivations

CHUNK_CELLS = 2**28  # of a dense chunk: 16,384 tokens of 16,384 features
SLAB_CELLS = 2**26  # of r at once


@dataclass(frozen=True)
class Precision:
    """How the products are formed; they are added up in float32 throughout.

    Attributes:
        name: for tables.
        dtype: of the dense chunks.
        tf32: whether float32 may be cut to 10 bits of mantissa.
        most_operations: multiplications and additions that are worth waiting for.
    """

    name: str
    dtype: torch.dtype
    tf32: bool
    most_operations: float

    def tokens(self, a: SparseActivations, b: SparseActivations) -> int:
        """Returns how many tokens make a chunk."""
        return max(1, CHUNK_CELLS // max(a.n_features, b.n_features))

    def tolerance(self, a: SparseActivations, b: SparseActivations) -> float:
        """Returns how far r may be off that of the rounded values in the worst case.

        Sums are off by half an ulp of float32 for every term of a chunk and for every chunk; float32 values that are
        cut to TF32 by 2^-10 each, in products and norms. A feature that is on for at most 0.9 of the tokens has a norm
        of at most 1.35 times that of its deviation from the mean, so all of it counts twice at most.
        """
        tokens = min(self.tokens(a, b), a.n_tokens)
        cut = self.tf32 and torch.float32 in (a.values.dtype, b.values.dtype)  # float16 values lose nothing
        return 2 * ((tokens + a.n_tokens / tokens) * 2.0**-24 + (4 * 2.0**-10 if cut else 0.0))


# An H100 does about 7e14, 4e14 and 5e13 such operations per second.
BFLOAT16 = Precision("bfloat16", torch.bfloat16, False, 4e15)
TF32 = Precision("TF32", torch.float32, True, 2e15)
FLOAT32 = Precision("float32", torch.float32, False, 6e14)


class BestOfBoth(NamedTuple):
    """The best partner of every feature, -1 where there is none, and its r."""

    index_a: Tensor  # int64 [F_a]
    r_a: Tensor  # float32 [F_a]
    index_b: Tensor  # int64 [F_b]
    r_b: Tensor  # float32 [F_b]


@contextmanager
def _tf32(allowed: bool) -> Generator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _add_product(total: Tensor, x: Tensor, y: Tensor) -> None:
    """Adds x.T @ y to a float32 total."""
    if x.dtype == torch.float32:
        total.addmm_(x.T, y)
    elif x.is_cuda:
        torch.addmm(total, x.T, y, out_dtype=torch.float32, out=total)
    else:  # the CPU has no product of bfloat16 with sums in float32
        total.addmm_(x.T.float(), y.float())


class _Moments:
    """Sums and sums of squares of every feature, float32 within a chunk and float64 over the chunks."""

    def __init__(self, n_features: int, device: torch.device) -> None:
        self.sums = torch.zeros(2, n_features, dtype=torch.float64, device=device)

    def add(self, x: Tensor) -> None:
        squares = torch.linalg.vector_norm(x, dim=0, dtype=torch.float32).square()
        self.sums += torch.stack([x.sum(0, dtype=torch.float32), squares])

    def mean_and_inverse_sd(self, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Returns both in float32; the latter is NaN for a feature that never varies."""
        mean, square = self.sums / n_tokens
        variance = square - mean.square()
        return mean.float(), torch.where(variance > 0, variance, torch.nan).rsqrt().float()


def best_by_matmul(a: SparseActivations, b: SparseActivations, precision: Precision, product_bytes: int) -> BestOfBoth:
    """Best partner of every feature in both directions.

    Args:
        a: one side, on the device to use.
        b: the other side over the same tokens.
        precision: of the products.
        product_bytes: memory for A.T @ B; where it is not enough, blocks of B's columns take turns.
    """
    device = a.values.device
    best_r = torch.full((a.n_features,), -2.0, device=device)
    best_index = torch.full((a.n_features,), -1, dtype=torch.int64, device=device)
    blocks: list[tuple[Tensor, Tensor]] = []
    width = min(b.n_features, max(1, product_bytes // (4 * a.n_features)))
    for first in range(0, b.n_features, width):
        columns = slice(first, min(first + width, b.n_features))
        product, mean_a, mean_b = _correlations(a, b, columns, precision)
        blocks.append(_offer(product, mean_a, mean_b, first, best_r, best_index))
    index_b, r_b = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return BestOfBoth(best_index, best_r, index_b, r_b)


def _correlations(
    a: SparseActivations, b: SparseActivations, columns: slice, precision: Precision
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Returns the mean products float32 [F_a, columns], and mean and inverse sd of either side."""
    device, tokens = a.values.device, precision.tokens(a, b)
    product = torch.zeros(a.n_features, columns.stop - columns.start, device=device)
    moments = _Moments(a.n_features, device), _Moments(product.shape[1], device)
    chunks = zip(dense_chunks(a, precision.dtype, tokens), dense_chunks(b, precision.dtype, tokens), strict=True)
    with _tf32(precision.tf32):
        for x, whole in chunks:
            y = whole[:, columns]
            _add_product(product, x, y)
            for side, part in zip(moments, (x, y), strict=True):
                side.add(part)
    mean_a, mean_b = (side.mean_and_inverse_sd(a.n_tokens) for side in moments)
    return product.div_(a.n_tokens), mean_a, mean_b


def _offer(
    product: Tensor,
    side_a: tuple[Tensor, Tensor],
    side_b: tuple[Tensor, Tensor],
    first: int,
    best_r: Tensor,
    best_index: Tensor,
) -> tuple[Tensor, Tensor]:
    """Turns mean products into r in place, raises A's best where a column is better, returns the columns' own best."""
    (mean_a, inverse_a), (mean_b, inverse_b) = side_a, side_b
    column_r = torch.full((product.shape[1],), -2.0, device=product.device)
    column_index = torch.full((product.shape[1],), -1, dtype=torch.int64, device=product.device)
    slab = max(1, SLAB_CELLS // product.shape[1])
    for begin in range(0, len(product), slab):
        rows = slice(begin, min(begin + slab, len(product)))
        r = product[rows].addr_(mean_a[rows], mean_b, alpha=-1).mul_(inverse_a[rows, None]).mul_(inverse_b)
        r = r.nan_to_num_(nan=-2.0)
        for dim, known_r, known_index, offset in (
            (1, best_r[rows], best_index[rows], first),
            (0, column_r, column_index, begin),
        ):
            found, where = r.max(dim=dim)
            better = found > known_r
            known_index.copy_(torch.where(better, where + offset, known_index))
            known_r.copy_(torch.where(better, found, known_r))
    return column_index, column_r
