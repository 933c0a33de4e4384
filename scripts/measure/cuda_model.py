"""A written model of best_matches on a GPU: what each step moves or adds, over the rates assumed. No measurement.

    python scripts/measure/cuda_model.py [--tokens 1000000 --features 16384 --l0 100]

The rates are those of an H200 as far as they are published or were read off such a machine; where no rate is known the
model takes a cautious one and says so. The first run on a device replaces this by `semconv bench --device cuda`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Device:
    """Rates of one device.

    Attributes:
        multiprocessors: how many.
        clock: cycles per second.
        memory: bytes per second from device memory.
        bank_waves: shared-memory accesses of different banks that a multiprocessor serves, in waves per cycle.
        global_adds: atomic adds per second in the L2 cache; assumed, one per cycle for 64 of its slices.
    """

    multiprocessors: int = 132
    clock: float = 1.98e9
    memory: float = 4.3e12
    bank_waves: float = 1.0
    global_adds: float = 64 * 1.98e9


def waves_per_add(lanes: int = 32, banks: int = 32, draws: int = 100_000) -> float:
    """Mean number of waves that a warp's adds to random columns take: the fullest bank decides."""
    rng = np.random.default_rng(0)
    hits = rng.integers(0, banks, (draws, lanes))
    counts = np.zeros((draws, banks), dtype=np.int64)
    np.add.at(counts, (np.arange(draws)[:, None], hits), 1)
    return float(counts.max(axis=1).mean())


def model(tokens: int, features: int, l0: float, device: Device) -> list[tuple[str, str, float]]:
    """Returns step, what it does, milliseconds."""
    entries, updates = tokens * l0, tokens * l0 * l0
    waves = waves_per_add()
    adds = 2 * updates / 32 * waves / (device.multiprocessors * device.clock * device.bank_waves)
    gather = (4 * updates + 8 * entries) / device.memory
    moved = entries * (2 * (4 + 2) * 2 + 4 + 8)  # indices and float16 values twice a side; records and postings written
    # Per entry: A counts, active, S, Q and its place in the list; B counts, active, S and Q.
    pack = max(9 * entries / device.global_adds, moved / device.memory)
    columns = features * features
    finish = columns * 2 * 20 / (device.multiprocessors * 128 * device.clock)
    return [
        ("pack both sides", f"{9 * entries:.2g} atomic adds in L2, {moved:.2g} bytes", 1e3 * pack),
        ("gather rows of B", f"{4 * updates:.2g} bytes from device memory", 1e3 * gather),
        ("add to shared memory", f"{2 * updates:.2g} adds, {waves:.2f} waves per warp", 1e3 * adds),
        ("finish rows", f"{columns:.2g} pairs twice, 20 instructions each", 1e3 * finish),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--l0", type=float, default=100.0)
    a = parser.parse_args()
    steps = model(a.tokens, a.features, a.l0, Device())
    print(f"{a.tokens:,} tokens, {a.features:,} x {a.features:,}, L0 {a.l0:g}: a model, not a measurement\n")
    print("| step | what | ms |\n|---|---|---:|")
    for step, what, ms in steps:
        print(f"| {step} | {what} | {ms:.1f} |")
    pack, gather, adds, finish = (ms for _, _, ms in steps)
    print(f"\nGather and adds overlap: {pack + max(gather, adds) + finish:.0f} ms at best, "
          f"{pack + gather + adds + finish:.0f} ms if nothing overlaps.")  # fmt: skip


if __name__ == "__main__":
    main()
