"""Seconds, peak memory and ceilings on a device."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semconv.bench import measure
from semconv.bench.peers import Prepared
from semconv.core import ops
from semconv.system.errors import InputError

library: Any = torch.ops.semconv  # the tests put the emulator here


def cuda_device() -> torch.device:
    """Returns the current CUDA device.

    Raises:
        InputError: there is none, or the native core was built without CUDA kernels.
    """
    if not torch.cuda.is_available():
        raise InputError("--device cuda needs a CUDA device and a CUDA build of torch, found none")
    if not ops.build_facts()["cuda_archs"]:
        raise InputError(
            "--device cuda needs CUDA kernels, and this build of the native core has none (SEMCONV_CUDA=1)"
        )
    return torch.device("cuda", torch.cuda.current_device())


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Returns the median time of `repeats` calls after one that does not count, by events in the device's stream."""
    if device.type == "cpu":
        return measure.median_seconds(call, repeats)
    call()
    times: list[float] = []
    for _ in range(repeats):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        call()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended) * 1e-3)
    return statistics.median(times)


def peak_mib(call: Callable[[], object], device: torch.device) -> float | None:
    """Returns by how much torch's memory on the device rose above its start during one call, in MiB.

    Memory that a library takes past torch's allocator is not seen.
    """
    if device.type == "cpu":
        return measure.peak_mib(call)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


@dataclass(frozen=True)
class CeilingSizes:
    """How much is moved to measure each ceiling.

    Attributes:
        copy_bytes: beyond any cache.
        matmul: rows and columns.
        cached_bytes: of rows that stay in L2.
        most_bytes: of rows at most.
        read_bytes: per measurement of a gather.
    """

    copy_bytes: int = 2**30
    matmul: int = 8192
    cached_bytes: int = 2**24
    most_bytes: int = 2**32
    read_bytes: int = 2**32


SIZES = CeilingSizes()


@dataclass(frozen=True)
class DeviceCeilings:
    """What the device allows at most, all measured in one run.

    Attributes:
        copied_bytes_per_ns: read plus written by a copy.
        matmul_per_ns: multiplications and additions of a bfloat16 product.
        shared_updates_per_ns: products added to two limbs of random columns in shared memory.
        cached_bytes_per_ns: rows of the job's length read in random order from L2.
        gathered_bytes_per_ns: the same from an array as large as the job's packed rows.
    """

    copied_bytes_per_ns: float
    matmul_per_ns: float
    shared_updates_per_ns: float
    cached_bytes_per_ns: float
    gathered_bytes_per_ns: float


def measure_ceilings(p: Prepared, repeats: int = 5, sizes: CeilingSizes | None = None) -> DeviceCeilings:
    """Measures what bounds a job on the device that holds it."""
    sizes, device = sizes or SIZES, p.b.values.device

    def per_ns(amount: float, call: Callable[[], object]) -> float:
        return amount * 1e-9 / median_seconds(call, repeats, device)

    buffer = torch.empty(2, sizes.copy_bytes, dtype=torch.uint8, device=device)
    copied = per_ns(2 * sizes.copy_bytes, lambda: buffer[1].copy_(buffer[0]))
    x = torch.randn(sizes.matmul, sizes.matmul, device=device).bfloat16()
    multiplied = per_ns(2 * sizes.matmul**3, lambda: x @ x)
    _, n_adds = library.shared_adds(p.b.indptr, p.b.n_features)
    added = per_ns(n_adds, lambda: library.shared_adds(p.b.indptr, p.b.n_features))
    quads = max(1, -(-round(p.b.l0) // 4))
    packed = min(16 * quads * p.b.n_tokens, sizes.most_bytes)
    cached, gathered = (
        per_ns(*_gather(n_bytes // (16 * quads) or 1, quads, sizes.read_bytes, device))
        for n_bytes in (min(sizes.cached_bytes, packed), packed)
    )
    return DeviceCeilings(copied, multiplied, added, cached, gathered)


def _gather(n_rows: int, quads: int, read_bytes: int, device: torch.device) -> tuple[int, Callable[[], Tensor]]:
    """Returns the bytes and the call that reads rows of `quads` quads in random order."""
    g = torch.Generator(device).manual_seed(0)
    rows = torch.ones(n_rows, 4 * quads, dtype=torch.int32, device=device)
    n_picks = max(1, read_bytes // (16 * quads))
    picks = torch.randint(n_rows, (n_picks,), generator=g, device=device, dtype=torch.int32)
    return 16 * quads * n_picks, lambda: library.gather_rows(rows, picks)
