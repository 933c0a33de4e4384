"""Inputs that the ops of a device are tried with, and the ops of the CPU that they are compared with."""

from __future__ import annotations

import numpy as np
import torch

from semconv import SparseActivations
from semconv.core.ops import NO_SCALE, FeatureSum
from tests._helpers.op_results import csr
from tests.conftest import random_activations

cpu = torch.ops.semconv


# Multiprocessors, shared bytes, threads, scratch bytes: several passes over the columns, one worker, many workers and
# scratch that holds a single row; five columns at a time.
LIMITS = [(3, 1024, 64, 2**20), (1, 100_000, 32, 2**20), (7, 4096, 128, 512), (2, 64 + 8 * 32 + 8 * 5, 32, 2**20)]


def assert_same(left, right) -> None:
    for x, y in zip(left, right, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy(), strict=True)


def with_hot_features(seed: int, n_tokens: int) -> SparseActivations:
    """A few features on every token, so that their posting lists are cut; the largest values, so that limbs fill up."""
    x = random_activations(seed, n_tokens, 12, 0.02).to_dense()
    x[:, :3] = 65535.0 - torch.rand(n_tokens, 3, generator=torch.Generator().manual_seed(seed))
    return SparseActivations.from_dense(x)


def new_state(n_a: int, n_b: int) -> list[torch.Tensor]:
    sums = [torch.zeros(len(FeatureSum), n, dtype=torch.int64) for n in (n_a, n_b)]
    for side in sums:
        side[FeatureSum.SCALE_EXPONENT] = NO_SCALE
    return [torch.zeros(n_a, n_b, dtype=torch.int64), *sums]


def bad_inputs():
    a = random_activations(0, 30, 20)
    indptr, indices, values = csr(a)

    def changed(t: torch.Tensor, at: int, to: float) -> torch.Tensor:
        t = t.clone()
        t[at] = to
        return t

    good, empty = (indptr, indices, values), torch.zeros(0)
    twice = changed(indices, 1, int(indices[0]))
    for bad in (
        (changed(indptr, 0, 1), indices, values),
        (changed(indptr, 3, 10**6), indices, values),
        (changed(indptr, -1, len(indices) - 1), indices, values),
        (indptr, changed(indices, 5, 20), values),
        (indptr, changed(indices, 7, -1), values),
        (indptr, twice, values),
        (indptr, indices, changed(values, 4, float("nan"))),
        (indptr, indices, changed(values, 4, float("inf"))),
        (indptr, indices, changed(values, 4, -1.0)),
        (indptr, indices.long(), values),
        (indptr[:1], empty.int(), empty),
    ):
        yield "best_matches", (*bad, 20, *good, 20, 1)
        yield "best_matches", (*good, 20, *bad, 20, 1)
        yield "cross_moments_", (*new_state(20, 20), *good, *bad, 2)
    yield "best_matches", (*good, 20, *good, 20, 21)
    order = torch.arange(30, dtype=torch.int32)
    for permutation in (changed(order, 3, 4), changed(order, 3, 30), changed(order, 3, -1), order.long(), order[:29]):
        yield "best_matches_permuted", (*good, 20, *good, 20, permutation[None], 1)
    yield "cross_moments_", (*new_state(20, 19), *good, *good, 2)
    yield "cross_moments_", (*new_state(20, 20), *good, *good, 16)
    state = new_state(4, 4)
    state[1][FeatureSum.SUM, 2] = 5  # more than the sum of squares allows
    yield "correlation_from_moments", (*state, 10)
    yield "best_from_moments", (*state, 10, 1)
    yield "best_from_moments", (*new_state(4, 4), 10, 5)
    for name, more in (("correlation_from_moments", ()), ("best_from_moments", (1,))):
        state = new_state(4, 4)
        for sums in state[1:]:  # every feature active twice in ten tokens, with code 2
            sums[FeatureSum.SUM], sums[FeatureSum.SUM_SQUARES], sums[FeatureSum.ACTIVE] = 4, 8, 2
        state[0][2, 1] = 10**9  # and no such product
        yield name, (*state, 10, *more)
    dense = a.to_dense()
    for value in (float("nan"), float("inf"), -1.0, 1e6):
        yield "compact_rows", (changed(dense.view(-1), 33, value).view(30, 20), torch.float16, None)
    yield "compact_rows", (dense, torch.float64, None)
    yield "compact_rows", (dense.double(), torch.float16, None)
    yield "compact_rows", (dense, torch.float16, changed(torch.ones(20), 3, -1.0))
    yield "compact_rows", (dense, torch.float16, torch.ones(19))
    square = torch.ones(4, 4, dtype=torch.float64)
    for permutation in ([0, 1, 2, 4], [0, 1, 1, 2], [-1, 0, 1, 2]):
        yield "permuted_dot", (square, square, torch.tensor([[0, 1, 2, 3], permutation], dtype=torch.int32))
    yield "permuted_dot", (square, square[:3], torch.zeros(1, 4, dtype=torch.int32))
