"""The competitors on a GPU: each gets the same CSR tensors on the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from semconv.bench import cuda_measure
from semconv.bench.checks import DENSE_TOLERANCE, check_best, check_close, quantization_tolerance
from semconv.bench.dense_chunks import DevicePrepared, dense_chunks
from semconv.bench.matmul_stream import BFLOAT16, FLOAT32, TF32, BestOfBoth, Precision, best_by_matmul
from semconv.bench.peers import SEMCONV, Peer, Prepared, best_by_published_protocol
from semconv.core import ops
from semconv.core.ops import NO_SCALE, FeatureSum
from semconv.core.sparse import SparseActivations

CPU_BYTES = 2**28  # stands for free memory where there is no GPU


def free_bytes(device: torch.device) -> int:
    """Returns how much memory of the device is free, what torch keeps for itself included."""
    if device.type == "cpu":
        return CPU_BYTES
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def check_both(p: Prepared, found: BestOfBoth | Any, tolerance: float) -> None:
    """Raises InputError unless the best partners of the sampled features are right in both directions.

    Args:
        p: a DevicePrepared.
        found: index_a, r_a, index_b and r_b, each [F] or [F, k].
        tolerance: largest difference of r.
    """
    index_a, r_a, index_b, r_b = (t.reshape(len(t), -1).cpu().numpy() for t in found)
    swapped = cast(DevicePrepared, p).swapped
    check_best(index_a[p.sample], r_a[p.sample], p.expected_r, tolerance)
    check_best(index_b[swapped.sample], r_b[swapped.sample], swapped.expected_r, tolerance)


def _check_semconv(p: Prepared, m: Any) -> None:
    tolerance = quantization_tolerance(m.quantization_noise_a, m.quantization_noise_b)
    check_both(p, (m.a_to_b.index, m.a_to_b.r, m.b_to_a.index, m.b_to_a.r), tolerance)


def matmul_peer(precision: Precision) -> Peer:
    """The streaming dense product in one precision."""

    def call(p: Prepared) -> BestOfBoth:
        return best_by_matmul(p.a, p.b, precision, free_bytes(p.a.values.device) // 3)

    def check(p: Prepared, found: BestOfBoth) -> None:
        rounded = cast(DevicePrepared, p).in_bfloat16 if precision.dtype == torch.bfloat16 else p
        check_both(rounded, found, precision.tolerance(p.a, p.b))

    def most_tokens(p: Prepared) -> int:
        return int(precision.most_operations / (2 * p.a.n_features * p.b.n_features))

    does = f"Pearson, top 1, both directions, {precision.name} products"
    return Peer(f"torch matmul stream, {precision.name}", does, call, check, most_tokens=most_tokens)


def _published(p: Prepared) -> tuple[Tensor, Tensor]:
    x, y = (next(dense_chunks(side, torch.float32, side.n_tokens)) for side in (p.a, p.b))
    return best_by_published_protocol(x, lambda begin, end: y[:, begin:end], p.b.n_features)


def _published_tokens(p: Prepared) -> int:
    """What memory holds: both dense matrices, and A's standardised with one copy on the way; half for the rest."""
    return free_bytes(p.a.values.device) // (8 * (3 * p.a.n_features + p.b.n_features))


def _check_published(p: Prepared, found: tuple[Tensor, Tensor]) -> None:
    r, index = (t.cpu().numpy()[p.sample] for t in found)
    varies = ~np.all(np.isnan(p.expected_r), axis=1)  # it finds a partner for the others too
    check_best(index[varies, None], r[varies, None], p.expected_r[varies], DENSE_TOLERANCE)


def _naive(p: Prepared) -> ops.RawMatches:
    def empty_sums(acts: SparseActivations) -> Tensor:
        sums = torch.zeros(len(FeatureSum), acts.n_features, dtype=torch.int64, device=acts.values.device)
        sums[FeatureSum.SCALE_EXPONENT] = NO_SCALE
        return sums

    sums_a, sums_b = empty_sums(p.a), empty_sums(p.b)
    s_ab = torch.zeros(p.a.n_features, p.b.n_features, dtype=torch.int64, device=sums_a.device)
    sides = (p.a.indptr, p.a.indices, p.a.values, p.b.indptr, p.b.indices, p.b.values)
    cuda_measure.library.naive_cross_moments_(s_ab, sums_a, sums_b, *sides, 0)
    return ops.best_from_moments(s_ab, sums_a, sums_b, p.a.n_tokens, p.k)


def _check_naive(p: Prepared, m: ops.RawMatches) -> None:
    check_both(p, (m.a_index, m.a_r, m.b_index, m.b_r), quantization_tolerance(m.a_noise, m.b_noise))


def _cusparse(p: Prepared) -> Any:
    import cupy  # pyright: ignore[reportMissingImports]
    from cupyx.scipy.sparse import csr_matrix  # pyright: ignore[reportMissingImports]

    def to_cupy(acts: SparseActivations) -> Any:
        if acts.nnz >= 2**31:
            raise RuntimeError(f"CuPy's CSR holds fewer than 2^31 entries, got {acts.nnz}")
        parts = tuple(cupy.from_dlpack(t) for t in (acts.values.float(), acts.indices, acts.indptr.int()))
        return csr_matrix(parts, shape=(acts.n_tokens, acts.n_features))

    return to_cupy(p.a).T.tocsr() @ to_cupy(p.b)


def _check_cusparse(p: Prepared, found: Any) -> None:
    import cupy  # pyright: ignore[reportMissingImports]

    # float32 sums of up to n_tokens positive terms lose at most a few thousandths.
    check_close(cupy.asnumpy(found[p.sample.tolist()].toarray()), p.expected_dot, 5e-3, "the product")


CUDA_SEMCONV = replace(SEMCONV, check=_check_semconv)
MATMUL_BFLOAT16, MATMUL_FLOAT32 = matmul_peer(BFLOAT16), matmul_peer(FLOAT32)
CUDA_PEERS: tuple[Peer, ...] = (
    MATMUL_BFLOAT16,
    matmul_peer(TF32),
    MATMUL_FLOAT32,
    Peer(
        "published protocol",
        "dense Pearson, top 1, one direction, float32",
        _published,
        _check_published,
        most_tokens=_published_tokens,
    ),
    Peer("naive kernel", "Pearson, top k, both directions, a global atomic per product", _naive, _check_naive),
    # Last, because CuPy keeps the memory that it took.
    Peer("cuSPARSE SpGEMM (CuPy)", "dot products, all cells, float32", _cusparse, _check_cusparse),
)
