"""Progress on stderr: a bar a stage below the steps of the whole run, or lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from semconv.cli.terminal import err, out

if TYPE_CHECKING:
    import torch

    from semconv.planning.steps import WholeRun
    from semconv.runs.run import Progress
    from semconv.suite.config import SuiteConfig


def silent(stage: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


@contextmanager
def quiet_unless(first: bool) -> Generator[Progress]:
    """A progress bar in the first of several processes; the others show nothing."""
    if first:
        with progress_bar() as progress:
            yield progress
    else:
        yield silent


def whole_run(suite: SuiteConfig, device: torch.device) -> WholeRun:
    """Returns the steps of a run, with their time where `semconv plan` measured this suite on this machine."""
    from semconv.pipeline.doctor import machine_here
    from semconv.planning.kept_probes import kept_rates
    from semconv.planning.plan import Planner
    from semconv.planning.shapes import shapes_of
    from semconv.planning.steps import WholeRun
    from semconv.system.errors import InputError

    try:
        planner = Planner(suite, shapes_of(suite, ask=False))
        stages = planner.plan(machine_here(device), device, kept_rates(planner, device)).stages
    except InputError:  # what is wrong the run itself says
        return WholeRun.of(())
    return WholeRun.of((stage.name, stage.seconds) for stage in stages)


@contextmanager
def progress_bar(whole: WholeRun | None = None) -> Generator[Progress]:
    """Shows how far stages are, and a whole run; on something that is no terminal, a line when either begins.

    Args:
        whole: the steps of the run, None where there is only one.
    """
    if out.quiet:
        yield silent
        return
    shown = _bars(whole) if err.is_terminal else _lines(whole)
    with shown as progress:
        yield progress


@contextmanager
def _lines(whole: WholeRun | None) -> Generator[Progress]:
    seen: set[str] = set()

    def line(stage: str, done: int, total: int) -> None:
        if whole is not None and whole.update(stage, done, total):
            _tell_finished(whole)
            err.print(f"semconv: {whole}", soft_wrap=True)
        if stage not in seen:
            seen.add(stage)
            err.print(f"semconv: {stage}")

    yield line


def _tell_finished(whole: WholeRun) -> None:
    """Prints the time that the last finished step took."""
    from semconv.planning.room import in_words

    if whole.took:
        name, seconds = list(whole.took.items())[-1]
        err.print(f"semconv: {name} took {in_words(seconds)}", soft_wrap=True)


@contextmanager
def _bars(whole: WholeRun | None) -> Generator[Progress]:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn("{task.description:<16}", markup=False), BarColumn(), *_columns()
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, Any] = {}
        of_whole = None if whole is None else bars.add_task(str(whole), total=None)

        def bar(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=None)
            # A stage of which nothing is done yet has a bar that moves, not an empty one.
            bars.update(tasks[stage], completed=done, total=total if done else None)
            if whole is not None and of_whole is not None:
                whole.update(stage, done, total)
                finished = len(whole.took)
                bars.update(of_whole, description=str(whole), completed=finished, total=len(whole.steps))

        yield bar


def _columns() -> tuple[Any, ...]:
    """Returns the columns beside a bar: how much of how much, and the time left, or that it took."""
    from rich.progress import DownloadColumn, MofNCompleteColumn, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    from semconv.planning.room import in_words
    from semconv.runs.run import in_bytes

    class Amount(ProgressColumn):
        """How much is done of how much: numbers, or bytes as kB, MB and GB."""

        numbers, sizes = MofNCompleteColumn(), DownloadColumn()

        def render(self, task: Task) -> Text:
            return (self.sizes if in_bytes(task.description) else self.numbers).render(task)

    class Time(ProgressColumn):
        """The time that is left, or that a finished stage took."""

        left = TimeRemainingColumn()

        def render(self, task: Task) -> Text:
            if task.finished:
                return Text(f"took {in_words(task.finished_time or 0.0)}", style="progress.elapsed")
            if task.total is None:
                return Text(f"for {in_words(task.elapsed or 0.0)}", style="progress.elapsed")
            return self.left.render(task)

    return Amount(), Time()
