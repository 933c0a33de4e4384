"""One benchmark session: the main job with every peer, the other ops and, if asked, every axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from semconv.bench import other_ops
from semconv.bench.jobs import Job, StoredJob
from semconv.bench.other_ops import OpTiming
from semconv.bench.runner import Say, Timing, run_job, sweep
from semconv.bench.tables import (
    COMPARISON_COLUMNS,
    TIMING_COLUMNS,
    comparison_rows,
    plot,
    sweep_markdown,
    timing_notes,
    timing_rows,
)
from semconv.system.files import write_json, write_text
from semconv.system.markdown import table
from semconv.system.provenance import provenance


@dataclass(frozen=True)
class Session:
    """What one call of `semconv bench` measured.

    Attributes:
        caption: job, machine and threads in a line.
        machine: provenance of the figures.
        timings: every competitor on the main job.
        comparisons: the other ops.
        axes: axis, value and timings of every job of the sweep; empty without --full.
    """

    caption: str
    machine: dict[str, object]
    timings: list[Timing]
    comparisons: list[OpTiming]
    axes: list[tuple[str, object, list[Timing]]]

    def as_dict(self) -> dict[str, object]:
        """Returns everything as plain values for JSON."""
        return {
            "caption": self.caption,
            "machine": self.machine,
            "timings": [asdict(t) for t in self.timings],
            "other_ops": [{**asdict(c), "ratio": c.ratio} for c in self.comparisons],
            "axes": [
                {"axis": axis, "value": value, "timings": [asdict(t) for t in timings]}
                for axis, value, timings in self.axes
            ],
        }

    def tables(self) -> list[tuple[Sequence[str], Sequence[Sequence[str]]]]:
        """Returns columns and rows of every table that has rows."""
        tables = (
            (TIMING_COLUMNS, timing_rows(self.timings)),
            (COMPARISON_COLUMNS, comparison_rows(self.comparisons)),
        )
        return [(columns, rows) for columns, rows in tables if rows]

    def notes(self) -> list[str]:
        """Returns remarks that are not in the tables, a sentence each."""
        return timing_notes(self.timings)


def run(job: Job | StoredJob, repeats: int, full: bool, say: Say) -> Session:
    """Runs a session.

    Raises:
        InputError: an answer of semconv is wrong, or the stores cannot be read.
    """
    timings = run_job(job, repeats, say=say)
    comparisons: list[OpTiming] = []
    axes: list[tuple[str, object, list[Timing]]] = []
    if isinstance(job, Job):
        tasks = (
            ("compact_rows", lambda: other_ops.compact_rows(Job(n_tokens=4096, n_features=job.n_features, l0=job.l0))),
            ("permuted_dot", lambda: other_ops.permuted_dot(min(4000, job.n_features))),
            ("StreamingCorrelation", lambda: other_ops.streaming(job)),
        )
        for done, (name, task) in enumerate(tasks):
            say(name, done, len(tasks))
            comparisons += task()
        if full:
            axes = list(sweep(job, say))
    machine = provenance()
    caption = (
        f"{job.name}; {machine['processor']}, {torch.get_num_threads()} threads; medians of {repeats}, "
        "conversion of the inputs included."
    )
    return Session(caption, machine, timings, comparisons, axes)


def write_session(session: Session, folder: Path) -> None:
    """Writes bench.json and bench.md, and bench.png when there are axes."""
    write_json(folder / "bench.json", session.as_dict())
    tables = [table(columns, rows) for columns, rows in session.tables()]
    parts = [session.caption, *tables[:1], *session.notes(), *tables[1:]]
    if session.axes:
        parts.append(sweep_markdown(session.axes))
        plot(session.axes, folder / "bench.png")
    write_text(folder / "bench.md", "\n\n".join(parts) + "\n")
