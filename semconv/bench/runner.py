"""Runs jobs: one job with every peer, or the axes one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from semconv.bench.jobs import Job, StoredJob
from semconv.bench.measure import median_seconds, peak_mib
from semconv.bench.peers import DENSE_TOKENS, DENSE_WIDTHS, PEERS, SEMCONV, DensePeer, Peer, Prepared
from semconv.core import ops
from semconv.system.errors import InputError, first_line

Say = Callable[[str, int, int], None]
SLOW = 3e10  # updates; above it only semconv runs, and once
AXES: dict[str, tuple[object, ...]] = {
    "n_tokens": (20_000, 100_000, 1_000_000),
    "n_features": (4096, 16_384, 65_536, 131_072),
    "l0": (20.0, 80.0, 150.0, 600.0),
    "density": ("uniform", "log-normal", "token"),
    "k": (1, 10),
}
MOST_REASON = 160  # characters of a library's error
WIDE = {"n_features": 1_048_576, "n_features_b": 65_536}  # run once with --full


@dataclass(frozen=True)
class Timing:
    """One competitor on one job.

    Attributes:
        job: the job's name.
        peer: library and call.
        does: what it computes.
        seconds: median of the repeats, scaled to the whole job; None where it did not run.
        ratio: its seconds over those of semconv in the same run.
        peak_mib: memory above the inputs; None where it was not measured.
        updates_per_ns: products of two stored values per nanosecond.
        cache_share: those over the rate of the same loop on data in L1 (on a GPU: of shared-memory adds alone).
        memory_share: bytes of packed rows per second over the rate of reading rows in random order.
        note: why it did not run, or how it was timed.
    """

    job: str
    peer: str
    does: str
    seconds: float | None
    ratio: float | None
    peak_mib: float | None
    updates_per_ns: float | None
    cache_share: float | None
    memory_share: float | None
    note: str


@dataclass(frozen=True)
class Machine:
    """What jobs run on.

    Attributes:
        prepare: makes a job's inputs and what its answers are checked against.
        median_seconds: median time of so many calls.
        peak_mib: by how much memory rose above its start during one call, which is over when it returns; None where
            that cannot be measured.
        ceilings: updates per nanosecond and gathered bytes per nanosecond that bound a job.
    """

    prepare: Callable[[Job | StoredJob], Prepared]
    median_seconds: Callable[[Callable[[], object], int], float]
    peak_mib: Callable[[Callable[[], object]], float | None]
    ceilings: Callable[[Prepared], tuple[float, float]]


CPU = Machine(
    lambda job: Prepared(*job.make(), job.k),
    lambda call, repeats: median_seconds(call, repeats, warm_up=False),
    peak_mib,
    lambda p: ops.measure_ceilings(max(1, round(p.b.l0))),
)


def _time(p: Prepared, peer: Peer | DensePeer, repeats: int, machine: Machine) -> tuple[float, float | None, str]:
    """Checks the answer; returns seconds of the whole job, peak MiB and a note."""
    n_tokens = p.a.n_tokens
    if isinstance(peer, DensePeer):
        return _time_dense(p.head(max(2, n_tokens // DENSE_TOKENS)), peer)
    most_tokens = n_tokens if peer.most_tokens is None else max(2, peer.most_tokens(p))
    if most_tokens < n_tokens:
        p = p.head(most_tokens)
    answer: list[object] = []
    began = time.perf_counter()
    peak = machine.peak_mib(lambda: answer.append(peer.call(p)))
    seconds = time.perf_counter() - began
    peer.check(p, answer.pop())
    if not peer.once:
        seconds = machine.median_seconds(lambda: peer.call(p), repeats)
    notes = ["timed once"] if peer.once else []
    if most_tokens < n_tokens:
        notes.append(f"extrapolated from the first {most_tokens:,} tokens")
    return seconds * n_tokens / p.a.n_tokens, peak, ", ".join(notes)


def _time_dense(head: Prepared, peer: DensePeer) -> tuple[float, float | None, str]:
    few, more = (min(width, head.a.n_features) for width in DENSE_WIDTHS)
    peer.check(head, peer.call(head, few))
    seconds = [median_seconds(lambda w=width: peer.call(head, w), 1, warm_up=False) for width in (few, more)]
    per_feature = max(0.0, seconds[1] - seconds[0]) / max(1, more - few)
    whole = (seconds[0] + (head.a.n_features - few) * per_feature) * DENSE_TOKENS
    return whole, None, f"extrapolated from 1/{DENSE_TOKENS} of the tokens, {few} and {more} of the A features"


def run_job(
    job: Job | StoredJob,
    repeats: int = 5,
    peers: tuple[Peer | DensePeer, ...] = PEERS,
    say: Say | None = None,
    machine: Machine = CPU,
    semconv: Peer = SEMCONV,
) -> list[Timing]:
    """Runs one job with semconv and the peers that are installed; every answer is checked on a sample of features.

    Args:
        job: what to run.
        repeats: timed runs of each; the median counts.
        peers: what to run beside semconv.
        say: called with a sentence at every stage.
        machine: what it runs on.
        semconv: how semconv is called there.

    Returns:
        semconv first.

    Raises:
        InputError: an answer of semconv is wrong.
    """

    def tell(stage: str, done: int) -> None:
        if say is not None:
            say(stage, done, len(peers) + 1)

    tell(f"make {job.name}", 0)
    p = machine.prepare(job)
    p.build()
    tell(semconv.name, 0)
    ours, peak, _ = _time(p, semconv, repeats, machine)
    in_cache, gathered = machine.ceilings(p)
    rate = p.updates / ours * 1e-9
    timings = [
        Timing(job.name, semconv.name, semconv.does, ours, 1.0, peak, rate, rate / in_cache, 4 * rate / gathered, "")
    ]
    for done, peer in enumerate(peers):
        tell(peer.name, done + 1)
        try:
            seconds, peak, note = _time(p, peer, repeats, machine)
        except ImportError:
            timings.append(not_run(job, peer, "not installed"))
        # A peer's failure is a result, and so is a library of another version than was expected.
        except (AttributeError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            timings.append(not_run(job, peer, failure(error)))
        else:
            rate = p.updates / seconds * 1e-9
            timings.append(
                Timing(job.name, peer.name, peer.does, seconds, seconds / ours, peak, rate, None, None, note)
            )
    return timings


def not_run(job: Job | StoredJob, peer: Peer | DensePeer, why: str) -> Timing:
    """Returns the line of a competitor that has no time."""
    return Timing(job.name, peer.name, peer.does, None, None, None, None, None, None, why)


def failure(error: Exception) -> str:
    """Returns in one sentence how a competitor failed."""
    if isinstance(error, InputError):
        return f"wrong answer: {error}"
    return f"failed: {type(error).__name__}, {first_line(error)[:MOST_REASON]}"


def sweep(base: Job, say: Say | None = None, wide: bool = True) -> Iterator[tuple[str, object, list[Timing]]]:
    """Yields axis, value and timings along every axis of AXES; beside semconv only the fastest peer runs.

    For a job that would take minutes, semconv runs once and the peer not at all.
    """
    for axis, values in AXES.items():
        for value in values:
            job = replace(base, **{axis: value})
            slow = job.n_tokens * job.l0**2 > SLOW or job.n_features > 65_536
            yield axis, value, run_job(job, 1 if slow else 3, () if slow else PEERS[:1], say)
    if wide:
        yield "wide", "1,048,576 x 65,536", run_job(replace(base, **WIDE), 1, (), say)
