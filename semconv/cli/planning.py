"""Commands before a run: what this machine has and lacks, and what a suite will take."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from semconv.cli.plain import table
from semconv.cli.progress import progress_bar
from semconv.cli.terminal import (
    MACHINE,
    AllLayersOption,
    DeviceOption,
    FastOption,
    JsonOption,
    MemoryOption,
    SuiteArgument,
    app,
    bytes_of,
    err,
    out,
    run_folder,
)
from semconv.system.errors import InputError

if TYPE_CHECKING:
    from semconv.planning.plan import Plan
    from semconv.planning.stage_times import Machine
    from semconv.runs.run import Progress


@app.command(rich_help_panel=MACHINE, epilog="Example: semconv doctor gemma2")
def doctor(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    all_layers: AllLayersOption = False,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Measure nothing: the time is told by a kept probe, or not at all.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what this machine has, what a suite needs, and what is missing. Exit code 2 if something is.

    How long the suite takes is told by a probe of this machine, about a minute for the largest suite, which is made
    once and kept.
    """
    from semconv.pipeline.doctor import examine
    from semconv.suite.config import load_suite

    config, target = load_suite(suite, all_layers), run_folder(suite, folder)
    with progress_bar() as progress:
        findings = examine(config, target, None if no_probe else _said(progress))
    missing = [f for f in findings if f.fine is False]
    if as_json:
        print(json.dumps([asdict(f) for f in findings], indent=2))  # noqa: T201
    else:
        grid = table("what", "needed", "found", "state")
        marks = {True: Text("ok", "green"), False: Text("missing", "bold red"), None: Text()}
        for f in findings:
            grid.add_row(f.what, f.needed, f.found, marks[f.fine])
        out.print(grid)
        out.print(
            f"{len(missing)} things missing." if missing else f"Ready for `semconv reproduce {suite}`.", soft_wrap=True
        )
    if missing:
        raise typer.Exit(2)


def _said(progress: Progress) -> Progress:
    """Returns a progress callback that first says what is done and how to do without it."""
    said = False

    def told(stage: str, done: int, total: int) -> None:
        nonlocal said
        if not said and not out.quiet:
            said = True
            err.print(
                "semconv: measuring this machine once, for the time: about a minute (--no-probe leaves it out)",
                soft_wrap=True,
            )
        progress(stage, done, total)

    return told


@app.command(rich_help_panel=MACHINE, epilog="Example: semconv plan gemma2 --machine cores=16,memory=64 --workers 16")
def plan(
    suite: SuiteArgument = "mini",
    folder: Annotated[Path | None, typer.Option("--out", help="Run folder (default: runs/SUITE).")] = None,
    machine: Annotated[
        str | None,
        typer.Option("--machine", help="Another machine, such as cores=16,memory=64 (GiB free); default: this one."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Such machines that share the tasks of the study (`semconv run-tasks`).")
    ] = 1,
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", min=3, help="Feature pairs a layer pair (default: 1 in 4 of the smaller dictionary)."),
    ] = None,
    l0: Annotated[
        float | None, typer.Option("--l0", help="Active features per token (default: what each SAE states, else 100).")
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option("--probe", help="File of measured rates: read, or made (default: kept in the user's cache)."),
    ] = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    fast: FastOption = False,
    all_layers: AllLayersOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict what a run takes: seconds of every stage, memory, disk, download. Exit code 2 if it does not fit.

    Measures this machine first, by the functions of the run on smaller sizes, and keeps what it measured.
    """
    from semconv.core.device import choose_device
    from semconv.pipeline.doctor import free_disk, machine_here
    from semconv.planning.kept_probes import rates_of
    from semconv.planning.plan import Planner
    from semconv.planning.room import advice, lacks
    from semconv.planning.shapes import shapes_of
    from semconv.suite.config import load_suite

    config, chosen = load_suite(suite, all_layers), choose_device(device)
    config = config.fast() if fast else config
    if l0 is not None and not 0 < l0 < 1e6:
        raise InputError(f"--l0 must be above 0, got {l0:g}")
    of_machine = _machine(machine, machine_here(chosen), workers)
    planner = Planner(config, shapes_of(config, l0=l0), pairs or 0)
    with progress_bar() as progress:
        rates = rates_of(planner, chosen, progress, probe)
    found = planner.plan(of_machine, chosen, rates, bytes_of(memory))
    target = run_folder(suite, folder)
    lacking = lacks(found, free_disk(target.resolve()), target)
    if as_json:
        more = {"seconds": found.seconds, "lacks": lacking, "advice": advice(found)}
        print(json.dumps({**asdict(found), **more}, indent=2))  # noqa: T201
    else:
        _show(found, lacking, advice(found))
    if lacking:
        raise typer.Exit(2)


def _machine(stated: str | None, here: Machine, workers: int) -> Machine:
    """Returns the machine that an option states, `cores=N` and `memory=GiB`, by default those of this one.

    Raises:
        InputError: another key, a number that is none or not above 0, or too many workers.
    """
    from semconv.planning.schedule import Machines
    from semconv.planning.stage_times import Machine

    cores, memory = here.cores, here.memory
    for part in stated.split(",") if stated else ():
        key, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if key not in ("cores", "memory") or not 0 < number < 2**20 or (key == "cores" and number != int(number)):
            raise InputError(f"--machine must be cores=N,memory=GiB with numbers above 0, got {stated!r}")
        cores, memory = (int(number), memory) if key == "cores" else (cores, int(number * 2**30))
    Machines(workers, cores)
    return Machine(cores, memory, workers)


def _show(found: Plan, lacking: list[str], advice: list[str]) -> None:
    from semconv.planning.plan import GIB
    from semconv.planning.room import in_words

    grid = table("stage", "tasks", "time", "one thread")
    for stage in found.stages:
        work = "" if stage.work is None else in_words(stage.work)
        grid.add_row(stage.name, f"{stage.tasks:,}", in_words(stage.seconds or 0.0), work)
    grid.add_row("all, without downloads", f"{found.tasks:,}", in_words(found.seconds or 0.0), "")
    out.print(grid)
    machine, memory, disk = found.machine, found.memory, found.disk
    of_each = " of each worker" if machine.workers > 1 else ""
    lines = [
        f"On {machine.workers} x {machine.cores} threads and {machine.memory / GIB:.1f} GiB of free memory; "
        f"rates of {found.probed}.",
        f"Memory{of_each}: up to {memory.peak / GIB:.1f} GiB (encoding {memory.encode / GIB:.1f}, "
        f"study {memory.study / GIB:.1f}, of which {memory.held / GIB:.1f} held and "
        f"{memory.of_thread / GIB:.2f} a task, {memory.at_once} at once).",
        f"Disk: {disk.folder / GIB:.1f} GiB in the run folder, of which {disk.stores / GIB:.1f} are stores. "
        f"Download: {disk.download / GIB:.1f} GiB.",
        *(f"Assumed: {sentence}." for sentence in found.assumed),
        *(f"{sentence}." for sentence in advice),
        *(f"It does not fit: suite {found.suite} {sentence}." for sentence in lacking),
    ]
    for line in lines:
        out.print(line, soft_wrap=True, highlight=False)
