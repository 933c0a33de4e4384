"""Median seconds and peak memory of a call."""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")
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


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_mib(call: Callable[[], object]) -> float | None:
    """Returns by how much the resident size rose above its start during one call, in MiB, sampled every millisecond.

    Samples miss a peak that lasts less, and a call that holds the interpreter lock; None where /proc is not there.
    """
    if not _STATM.exists():
        call()
        return None
    gc.collect()
    before = _resident_bytes()
    peak, done = before, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, _resident_bytes())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    result = call()
    peak = max(peak, _resident_bytes())
    del result
    done.set()
    sampler.join()
    return (peak - before) / 2**20
