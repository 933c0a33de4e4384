"""One benchmark session on a GPU: the main job with every peer, ceilings and targets and, if asked, every axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from semconv.bench import cuda_measure
from semconv.bench.cuda_measure import DeviceCeilings, measure_ceilings
from semconv.bench.cuda_peers import CUDA_PEERS, CUDA_SEMCONV, MATMUL_BFLOAT16
from semconv.bench.cuda_targets import BOUNDED, TARGET_COLUMNS, Target, targets
from semconv.bench.dense_chunks import DevicePrepared
from semconv.bench.device_jobs import make_on_device
from semconv.bench.jobs import Job, StoredJob
from semconv.bench.peers import Peer, Prepared
from semconv.bench.runner import WIDE, Machine, Say, Timing, failure, not_run, run_job
from semconv.bench.session import Session
from semconv.bench.tables import SHARED_ADDS, peer_points, timing_notes
from semconv.system.provenance import provenance

CUDA_AXES: dict[str, tuple[float | int, ...]] = {
    "n_tokens": (100_000, 1_000_000, 10_000_000),
    "n_features": (16_384, 65_536, BOUNDED),
    "l0": (50.0, 100.0, 150.0, 600.0),
    "k": (1, 10),
}


@dataclass(frozen=True)
class CudaSession(Session):
    """What one call of `semconv bench --device cuda` measured.

    Attributes:
        ceilings: of the device.
        targets: goals beside what was measured.
        crossover: one sentence on the L0 where the dense product wins; empty without --full.
    """

    ceilings: DeviceCeilings
    targets: list[Target]
    crossover: str

    def as_dict(self) -> dict[str, object]:
        own = {"ceilings": asdict(self.ceilings), "targets": [{**asdict(t), "ratio": t.ratio} for t in self.targets]}
        return {**super().as_dict(), **own, "crossover": self.crossover}

    def tables(self) -> list[tuple[Sequence[str], Sequence[Sequence[str]]]]:
        ceilings = [(name.replace("_", " "), f"{value:.4g}") for name, value in asdict(self.ceilings).items()]
        return [
            *super().tables(),
            (("ceiling of this device", "measured"), ceilings),
            (TARGET_COLUMNS, [t.row() for t in self.targets]),
        ]

    def notes(self) -> list[str]:
        notes = timing_notes(self.timings, SHARED_ADDS)
        notes += [f"{t.figure}: {t.note}." for t in self.targets if t.note]
        return notes + [self.crossover] * bool(self.crossover)


class _Device:
    """A device as a Machine; remembers the ceilings of every job."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ceilings: list[DeviceCeilings] = []
        self.machine = Machine(
            self._prepare,
            lambda call, repeats: cuda_measure.median_seconds(call, repeats, device),
            lambda call: cuda_measure.peak_mib(call, device),
            self._ceilings,
        )

    def _prepare(self, job: Job | StoredJob) -> Prepared:
        return DevicePrepared(*make_on_device(job, self.device), job.k)

    def _ceilings(self, p: Prepared) -> tuple[float, float]:
        self.ceilings.append(measure_ceilings(p))
        return self.ceilings[-1].shared_updates_per_ns, self.ceilings[-1].gathered_bytes_per_ns


def run(job: Job | StoredJob, repeats: int, full: bool, say: Say, device: torch.device | None = None) -> CudaSession:
    """Runs a session on a CUDA device.

    Args:
        job: the main job.
        repeats: timed runs of every competitor.
        full: also along every axis.
        say: called with a sentence at every stage.
        device: the current CUDA device if None; the tests run on the CPU's.

    Raises:
        InputError: no CUDA device or no kernels for it, an answer of semconv is wrong, or the stores cannot be read.
    """
    place = _Device(device if device is not None else cuda_measure.cuda_device())
    timings = run_job(job, repeats, CUDA_PEERS, say, place.machine, CUDA_SEMCONV)
    ceilings = place.ceilings[0]
    axes = list(cuda_sweep(job, place.machine, say)) if full and isinstance(job, Job) else []
    machine = provenance()
    caption = (
        f"{job.name}; {machine['gpu'] or place.device}; medians of {repeats} by CUDA events after a warm-up, packing "
        "and every other conversion of the inputs included; inputs on the device."
    )
    crossing = crossover_sentence(axes) if axes else ""
    return CudaSession(caption, machine, timings, [], axes, ceilings, targets(job, timings, axes), crossing)


def cuda_sweep(base: Job, machine: Machine, say: Say) -> Iterator[tuple[str, object, list[Timing]]]:
    """Yields axis, value and timings along every axis; beside semconv runs the bfloat16 product.

    A job that the device's memory does not hold is a line of the table.
    """
    for axis, values in CUDA_AXES.items():
        for value in values:
            peers = (MATMUL_BFLOAT16,)
            yield axis, value, _run_or_say_why(replace(base, **{axis: value}), peers, machine, say)
    yield "wide", "1,048,576 x 65,536", _run_or_say_why(replace(base, **WIDE), (), machine, say)


def _run_or_say_why(job: Job, peers: tuple[Peer, ...], machine: Machine, say: Say) -> list[Timing]:
    try:
        return run_job(job, 3, peers, say, machine, CUDA_SEMCONV)
    except (MemoryError, torch.OutOfMemoryError) as error:
        return [not_run(job, CUDA_SEMCONV, failure(error))]


def crossover(l0: Sequence[float], ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Returns the L0 from which on the other is faster, or None.

    Between two measured L0 the ratio of the times is taken as a straight line in log-log; outside of the measured range
    nothing is extrapolated.

    Args:
        l0: rising.
        ours: seconds at each.
        theirs: seconds at each.
    """
    lead = [math.log(t / o) for o, t in zip(ours, theirs, strict=True)]
    if lead and lead[0] < 0:
        return l0[0]
    for i in range(1, len(lead)):
        if lead[i] < 0:
            share = lead[i - 1] / (lead[i - 1] - lead[i])
            return math.exp((1 - share) * math.log(l0[i - 1]) + share * math.log(l0[i]))
    return None


def crossover_sentence(axes: Sequence[tuple[str, object, list[Timing]]]) -> str:
    """Returns where along the axis of L0 the bfloat16 product becomes faster."""
    ours, theirs = (dict(zip(*peer_points(axes, "l0", place), strict=True)) for place in (0, 1))
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return "Where the bfloat16 product wins is not known: the two never ran at the same L0."
    found = crossover(both, [ours[x] for x in both], [theirs[x] for x in both])
    if found is None:
        return f"The bfloat16 product wins at no L0: none up to L0 {both[-1]:g}."
    if found == both[0]:
        return f"The bfloat16 product wins at the smallest L0 measured, {found:g}, already."
    return f"The bfloat16 product wins from L0 {found:.0f} on (interpolated between measured L0)."
