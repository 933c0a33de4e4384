"""Prints where the time of one `best_matches` goes on this GPU, kernel by kernel, as a Markdown table; PyTorch's
profiler, the mean of a few calls after one that is not counted.

    python scripts/measure/cuda_profile.py [--tokens 1000000] [--features 16384] [--l0 100]
"""

from __future__ import annotations

import argparse
import re

import torch
from torch.profiler import ProfilerActivity, profile

from semconv.bench.cuda_measure import cuda_device
from semconv.bench.device_jobs import make_on_device
from semconv.bench.jobs import Job
from semconv.core import ops

CALLS = 5
LEAST_MS = 0.1  # what takes less is summed up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--l0", type=float, default=100.0)
    options = parser.parse_args()
    job = Job(options.tokens, options.features, options.l0)
    a, b = make_on_device(job, cuda_device())
    for calls in (1, CALLS):
        with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as found:
            for _ in range(calls):
                ops.best_matches(
                    (a.indptr, a.indices, a.values), a.n_features, (b.indptr, b.indices, b.values), b.n_features, job.k
                )
            torch.cuda.synchronize()
    times = {event.key: event.self_device_time_total / 1000 / CALLS for event in found.key_averages()}
    long = {key: ms for key, ms in times.items() if ms >= LEAST_MS}
    print(f"{job.name}; {torch.cuda.get_device_name()}; means of {CALLS}.\n\n| kernel | ms |\n| --- | ---: |")
    for key, ms in sorted(long.items(), key=lambda item: -item[1]):
        named = re.search(r"semconv::cuda::(?:each|block)_kernel<semconv::cuda::(\w+)", key)
        print(f"| {named[1] if named else key} | {ms:.1f} |")
    print(f"| everything else | {sum(times.values()) - sum(long.values()):.1f} |")


if __name__ == "__main__":
    main()
