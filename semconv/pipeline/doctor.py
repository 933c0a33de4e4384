"""Says what this machine has, what a suite needs, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from semconv.core import ops
from semconv.core.device import choose_device, free_memory, why_no_cuda
from semconv.models.roles import models_of
from semconv.models.sources import CACHED, READABLE, UNREACHABLE, hub_access, hub_repositories, on_hub
from semconv.planning.kept_probes import kept_rates, rates_of
from semconv.planning.plan import GIB, Plan, Planner
from semconv.planning.room import in_words, lacks
from semconv.planning.shapes import shapes_of
from semconv.planning.stage_times import Machine
from semconv.runs.run import Progress
from semconv.suite.config import SuiteConfig, resolve
from semconv.system.errors import InputError
from semconv.system.provenance import processor
from semconv.text.corpus import versions_found


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table; `fine` is None for a plain fact."""

    what: str
    needed: str
    found: str
    fine: bool | None


def free_disk(folder: Path) -> int:
    """Returns bytes free where `folder` is or would be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _core() -> Finding:
    try:
        facts = ops.build_facts()
    except InputError as error:
        return Finding("native core", "built", str(error), False)
    return Finding("native core", "built", f"compiler {facts['compiler']}, CUDA {facts['cuda_archs'] or 'off'}", True)


def _libraries() -> list[Finding]:
    findings: list[Finding] = []
    for name in ("transformers", "sae-lens", "tokenizers", "matplotlib", "scipy"):
        try:
            findings.append(Finding(name, "installed", importlib.metadata.version(name), True))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "installed", "absent", False))
    return findings


def _packages(suite: SuiteConfig) -> list[Finding]:
    wanted = suite.corpus.packages
    other = versions_found(wanted)
    if wanted and not other:
        return [Finding("corpus packages", f"{len(wanted)} pinned", f"all {len(wanted)} at their versions", True)]
    return [Finding(f"corpus package {name}", wanted[name], found, False) for name, found in other.items()]


def _paths(suite: SuiteConfig) -> list[Finding]:
    models = models_of(suite)
    paths = [suite.corpus.tokenizer, *(model.path for model in models)]
    paths += [sae.path for model in models for sae in model.saes if sae.path]
    local = list(dict.fromkeys(path for path in paths if not on_hub(path)))
    missing = [path for path in local if not resolve(path).exists()]
    if missing:
        return [Finding("models and SAEs", path, "missing", False) for path in missing]
    return [Finding("models and SAEs", f"{len(local)} paths", "all there", True)] if local else []


def _hub(suite: SuiteConfig) -> list[Finding]:
    """One finding for every repository on the hub that the suite reads: whether this machine may read it now."""
    findings: list[Finding] = []
    unreachable = False
    for kind, name, revision in hub_repositories(suite.corpus, models_of(suite)):
        needed = revision[:12] or "main"
        found = UNREACHABLE if unreachable else hub_access(kind, name, revision)
        unreachable = unreachable or found == UNREACHABLE
        findings.append(Finding(f"{kind} {name}", needed, found, found in (READABLE, CACHED)))
    return findings


def _stores(plan: Plan, n: int, suite: SuiteConfig) -> Finding:
    """The size of the activation stores, by the L0 of each SAE."""
    what = f"{n} SAEs x {suite.corpus.max_tokens:,} tokens"
    return Finding("activation stores", what, f"about {plan.disk.stores / GIB:.1f} GiB", None)


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", "none", "none", None)
    memory = torch.cuda.get_device_properties(0).total_memory / GIB
    return Finding("GPU", "none", f"{torch.cuda.get_device_name()}, {memory:.0f} GiB", None)


def _device() -> Finding:
    lacking = why_no_cuda()
    return Finding("device", "any", f"{choose_device()}" + (f" ({lacking})" if lacking else ""), None)


def _held_already(where: Path) -> int:
    """Returns bytes of the files in a folder, which a run that continues there does not need again."""
    return sum(p.stat().st_size for p in where.rglob("*") if p.is_file()) if where.is_dir() else 0


def machine_here(device: torch.device) -> Machine:
    """Returns this machine, with the memory that is free on the device."""
    return Machine(torch.get_num_threads() if device.type == "cpu" else 1, free_memory(device))


def check_needs(
    suite: SuiteConfig, folder: Path, device: torch.device, stores: Path | None = None, memory: int | None = None
) -> None:
    """Raises InputError for a run that this machine has no room for, before anything is downloaded or written.

    Nothing is refused for sizes that are only assumed; `semconv plan` says what those are.

    Args:
        suite: to be run.
        folder: of the run.
        device: that it computes on.
        stores: folder of shared stores, where they are not in the run folder; they are most of what a run writes.
        memory: bytes of activations and decoder rows held at once; None for half of what is free.

    Raises:
        InputError: too little disk where the stores go (what that folder already holds counts as free, since it may be
            what the suite needs), or less memory than two SAEs and one task take.
    """
    if any(one.fine is False for one in _paths(suite)):
        return  # the run says which, in a better sentence
    shapes = shapes_of(suite, ask=False)
    if not shapes.are_known:
        return
    plan, where = Planner(suite, shapes).plan(machine_here(device), device, memory=memory), stores or folder
    for lack in lacks(plan, free_disk(where.resolve()) + _held_already(where), where):
        raise InputError(f"suite {suite.name} {lack}; --anyway runs it nevertheless")


def examine(suite: SuiteConfig, folder: Path, progress: Progress | None = None) -> list[Finding]:
    """Returns the findings for running `suite` into `folder`.

    Args:
        suite: to be run.
        folder: of the run.
        progress: told what is measured of this machine, for the time, where no probe of the suite is kept; None
            measures nothing. Nor is anything measured for a run that cannot begin: without the native core, a
            library, or models that are named by their folder.
    """
    facts = [
        Finding("processor", "any", f"{processor()}, {os.cpu_count()} cores", None),
        Finding("torch", ">= 2.11", torch.__version__, None),
        _core(),
        *_libraries(),
    ]
    paths = _paths(suite)
    unable = any(one.fine is False for one in (*facts, *paths))
    planned = [] if any(one.fine is False for one in paths) else _planned(suite, folder, None if unable else progress)
    return [*facts, *planned, _gpu(), _device(), *_packages(suite), *paths, *_hub(suite)]


def _planned(suite: SuiteConfig, folder: Path, progress: Progress | None) -> list[Finding]:
    """What the plan says of disk, memory and time; of time only by a probe of this suite, kept or made now."""
    device = choose_device()
    planner, machine = Planner(suite, shapes_of(suite)), machine_here(device)
    lacking = f"a probe of this machine tells: `semconv plan {suite.name}`"
    try:
        rates = kept_rates(planner, device) if progress is None else rates_of(planner, device, progress)
    except InputError as error:
        rates, lacking = None, f"not measured: {error}"
    plan = planner.plan(machine, device, rates)
    free, available = free_disk(folder.resolve()) + _held_already(folder), plan.machine.memory
    needed, n = plan.disk.folder + plan.disk.download, len(planner.sides.stores)
    known = plan.seconds is not None
    time = f"about {in_words(plan.seconds or 0.0)} on {machine.cores} threads, without downloads" if known else lacking
    return [
        Finding("disk", f"{needed / GIB:.1f} GiB", f"{free / GIB:.1f} GiB free", needed <= free),
        Finding(
            "memory",
            f"{plan.memory.least / GIB:.1f} GiB, up to {plan.memory.peak / GIB:.1f} used",
            f"{available / GIB:.1f} GiB available",
            plan.memory.least <= available,
        ),
        Finding("download", f"{plan.disk.download / GIB:.1f} GiB", "-", None),
        _stores(plan, n, suite),
        Finding("time", time, "-", None),
        *(Finding("assumed", sentence, "-", None) for sentence in plan.assumed),
    ]
