"""Goals for the CUDA kernels, beside what a session measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semconv.bench.cuda_peers import MATMUL_BFLOAT16, MATMUL_FLOAT32
from semconv.bench.jobs import Job, StoredJob
from semconv.bench.runner import Timing

MAIN = Job(n_tokens=1_000_000, n_features=16_384, l0=100.0)  # the job that the targets speak of
BOUNDED = 131_072  # features on either side that must fit ...
BOUNDED_MIB = 2048  # ... in this much memory above the inputs
Axes = Sequence[tuple[str, object, list[Timing]]]


@dataclass(frozen=True)
class Target:
    """A figure with its goal, and what was measured.

    Attributes:
        figure: what is measured.
        goal: of the figure; None where it is enough that it runs.
        at_most: whether the goal is an upper bound.
        measured: None where there is no figure.
        note: why there is no figure.
    """

    figure: str
    goal: float | None
    at_most: bool
    measured: float | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Measured over goal, or goal over measured where less is better: from 1 on the goal is reached."""
        if self.goal is None or not self.measured:
            return None
        return self.goal / self.measured if self.at_most else self.measured / self.goal

    def row(self) -> tuple[str, str, str, str]:
        """Returns figure, goal, measured and ratio as text."""
        goal = "runs" if self.goal is None else f"{'at most' if self.at_most else 'at least'} {self.goal:g}"
        measured = "not run" if self.measured is None else f"{self.measured:.3g}"
        return self.figure, goal, measured, "-" if self.ratio is None else f"{self.ratio:.2f}"


TARGET_COLUMNS = ("target", "goal", "measured", "ratio (kept from 1 on)")


def targets(job: Job | StoredJob, timings: Sequence[Timing], axes: Axes) -> list[Target]:
    """Returns every goal with what this session measured."""
    main, why = timings[0], ""
    if not _is_main(job):
        main, why = None, f"needs {MAIN.n_tokens:,} tokens, {MAIN.n_features:,} features and L0 {MAIN.l0:g}"
    peers = {t.peer: t for t in timings}
    bounded = _of_axis(axes, "n_features", BOUNDED)
    wide = next((t[0] for axis, _, t in axes if axis == "wide"), None)
    return [
        Target("seconds, packing included", 0.030, True, main.seconds if main else None, why),
        Target("updates per second", 3.3e11, False, _per_second(main), why),
        _against(peers, MATMUL_BFLOAT16.name, 20, why),
        _against(peers, MATMUL_FLOAT32.name, 200, why),
        Target(
            f"MiB above the inputs, {BOUNDED:,} x {BOUNDED:,}",
            BOUNDED_MIB,
            True,
            bounded.peak_mib if bounded else None,
            _why_not(bounded),
        ),
        Target("seconds, 1,048,576 x 65,536 features", None, True, wide.seconds if wide else None, _why_not(wide)),
    ]


def _is_main(job: Job | StoredJob) -> bool:
    sizes = ("n_tokens", "n_features", "n_features_b", "l0")
    return isinstance(job, Job) and all(getattr(job, size) == getattr(MAIN, size) for size in sizes)


def _per_second(main: Timing | None) -> float | None:
    return None if main is None or main.updates_per_ns is None else main.updates_per_ns * 1e9


def _against(peers: dict[str, Timing], name: str, goal: float, why: str) -> Target:
    ratio = None if why else peers[name].ratio
    return Target(f"times the speed of {name}", goal, False, ratio, why or ("" if ratio else peers[name].note))


def _of_axis(axes: Axes, axis: str, value: object) -> Timing | None:
    return next((timings[0] for name, at, timings in axes if (name, at) == (axis, value)), None)


def _why_not(timing: Timing | None) -> str:
    if timing is None:
        return "needs --full"
    return timing.note
