"""Markdown tables of the timings and a plot of the cost along every axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from semconv.bench.other_ops import OpTiming
from semconv.bench.runner import Timing
from semconv.system.files import write_atomically
from semconv.system.markdown import table

Sweep = Sequence[tuple[str, object, list[Timing]]]
_LABELS = {"n_tokens": "tokens", "n_features": "features on either side", "l0": "active features per token"}


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


TIMING_COLUMNS = ("competitor", "computes", "seconds", "ratio", "MiB", "updates/ns")


def timing_rows(timings: Sequence[Timing]) -> list[tuple[str, ...]]:
    """Returns competitor, what it computes, seconds, ratio, MiB above the inputs and updates per ns as text."""
    return [
        (
            t.peer,
            t.does,
            _number(t.seconds),
            _number(t.ratio),
            "-" if t.peak_mib is None else f"{t.peak_mib:.0f}",
            _number(t.updates_per_ns, 2),
        )
        for t in timings
    ]


IN_L1 = "what its inner loop does on data in L1"
SHARED_ADDS = "the rate of shared-memory adds alone"


def timing_notes(timings: Sequence[Timing], ceiling: str = IN_L1) -> list[str]:
    """Returns one sentence for the ceilings and one for every competitor with something to say."""
    notes = [
        f"{t.peer} reaches {t.cache_share:.0%} of {ceiling}, and reads packed rows at "
        f"{t.memory_share:.0%} of the rate of reading rows in random order."
        for t in timings
        if t.cache_share is not None and t.memory_share is not None
    ]
    return notes + [f"{t.peer}: {t.note}." for t in timings if t.note]


COMPARISON_COLUMNS = ("task", "ms", "against", "ms", "ratio")


def comparison_rows(comparisons: Sequence[OpTiming]) -> list[tuple[str, ...]]:
    """Returns task, milliseconds, the other way, its milliseconds and the ratio as text."""
    return [(c.task, _number(1e3 * c.ours), c.other, _number(1e3 * c.seconds), _number(c.ratio)) for c in comparisons]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Returns the least-squares slope of log y over log x: 1 is linear growth."""
    u, v = ([math.log(value) for value in values] for values in (x, y))
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    return sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True)) / sum((a - mean_u) ** 2 for a in u)


def axis_points(sweep: Sweep, axis: str) -> tuple[list[float], list[float]]:
    """Returns the values of a numeric axis and semconv's seconds at each."""
    return peer_points(sweep, axis, 0)


def peer_points(sweep: Sweep, axis: str, place: int) -> tuple[list[float], list[float]]:
    """Returns the values of a numeric axis where the competitor in one place of the timings ran, and its seconds."""
    points = [
        (float(str(value)), timings[place].seconds)
        for name, value, timings in sweep
        if name == axis and len(timings) > place
    ]
    return [v for v, s in points if s is not None], [s for _, s in points if s is not None]


def sweep_peer(sweep: Sweep) -> str:
    """Returns the name of the peer that ran beside semconv."""
    return next((timings[1].peer for _, _, timings in sweep if len(timings) > 1), "peer")


def sweep_markdown(sweep: Sweep) -> str:
    """Returns one table per axis, with the slope of semconv's time along the numeric ones."""
    parts: list[str] = []
    peer = sweep_peer(sweep)
    for axis in dict.fromkeys(axis for axis, _, _ in sweep):
        rows = [
            (str(value), *(_number(t.seconds) for t in timings[:1]), _number(timings[0].updates_per_ns, 2),
             _number(timings[0].peak_mib, 4), _number(timings[1].seconds if len(timings) > 1 else None),
             _number(timings[1].ratio if len(timings) > 1 else None))
            for name, value, timings in sweep if name == axis
        ]  # fmt: skip
        columns = (axis, "semconv s", "updates/ns", "MiB above inputs", f"{peer} s", "x semconv")
        parts.append(f"### {axis}\n\n" + table(columns, rows))
        if axis in _LABELS and len(axis_points(sweep, axis)[0]) > 1:
            parts.append(f"Slope of log seconds over log {axis}: {slope(*axis_points(sweep, axis)):.2f}.")
    return "\n\n".join(parts)


def plot(sweep: Sweep, path: Path) -> None:
    """Draws semconv's seconds along the numeric axes, log-log, beside a line of slope 1, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for position, (axis, label) in enumerate(_LABELS.items(), start=1):
        x, y = axis_points(sweep, axis)
        panel = figure.add_subplot(1, 3, position)
        grows = f", slope {slope(x, y):.2f}" if len(x) > 1 else ""
        panel.loglog(x, y, "o-", color="#1f5fa8", label=f"semconv{grows}")
        panel.loglog(x, [y[0] * v / x[0] for v in x], ":", color="#777777", label="linear")
        panel.loglog(*peer_points(sweep, axis, 1), "s--", color="#c2571a", label=sweep_peer(sweep))
        panel.set_xticks(x, [f"{v:g}" if v < 1e3 else f"{v / 1e3:.0f}k" for v in x])
        panel.minorticks_off()
        panel.set_xlabel(label)
        panel.set_ylabel("seconds" if position == 1 else "")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=8)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150))
