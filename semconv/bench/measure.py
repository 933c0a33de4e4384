"""Median seconds and peak memory of a call."""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")  # its second number is the resident size in pages
_SAMPLE_SECONDS = 0.001


def median_seconds(call: Callable[[], object], repeats: int, warm_up: bool = True) -> float:
    """Returns the median wall time of `repeats` calls, after one that does not count."""
    if warm_up:
        call()
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _resident_bytes(statm: int) -> int:
    return int(os.pread(statm, 128, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_mib(call: Callable[[], object]) -> float | None:
    """Returns by how much the resident size rose above its start during one call, in MiB, sampled every millisecond.

    Samples miss a peak that lasts less, and a call that holds the interpreter lock; None where /proc is not there.
    """
    if not _STATM.exists():
        call()
        return None
    gc.collect()
    statm = os.open(_STATM, os.O_RDONLY)
    before = peak = _resident_bytes(statm)
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, _resident_bytes(statm))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        result = call()
        peak = max(peak, _resident_bytes(statm))
        del result
    finally:
        done.set()
        sampler.join()
        os.close(statm)
    return (peak - before) / 2**20
