"""Says what this machine has, what a suite needs, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from semconv.core import ops
from semconv.core.device import available_memory, choose_device, why_no_cuda
from semconv.models.sources import CACHED, READABLE, UNREACHABLE, hub_access, hub_repositories, on_hub
from semconv.suite.config import ModelConfig, SuiteConfig, resolve
from semconv.system.errors import InputError
from semconv.system.provenance import processor

GIB = 2**30


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
    findings: list[Finding] = []
    for name, version in suite.corpus.packages.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "absent"
        if found != version:
            findings.append(Finding(f"corpus package {name}", version, found, False))
    if suite.corpus.packages and not findings:
        n = len(suite.corpus.packages)
        findings.append(Finding("corpus packages", f"{n} pinned", f"all {n} at their versions", True))
    return findings


def _models(suite: SuiteConfig) -> list[ModelConfig]:
    return [
        suite.model_a,
        suite.model_b,
        *(m for control in suite.controls for m in (control.model_a, control.model_b)),
    ]


def _paths(suite: SuiteConfig) -> list[Finding]:
    models = _models(suite)
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
    for kind, name, revision in hub_repositories(suite.corpus, _models(suite)):
        needed = revision[:12] or "main"
        found = UNREACHABLE if unreachable else hub_access(kind, name, revision)
        unreachable = unreachable or found == UNREACHABLE
        findings.append(Finding(f"{kind} {name}", needed, found, found in (READABLE, CACHED)))
    return findings


def _stores(suite: SuiteConfig) -> Finding:
    """The size of the activation stores, at 100 active features a token in 4 bytes each."""
    n = sum(len(model.saes) for model in _models(suite)) + (4 if suite.published else 0)
    gib = n * suite.corpus.max_tokens * (100 * 4 + 8) / GIB
    return Finding("activation stores", f"{n} SAEs x {suite.corpus.max_tokens:,} tokens", f"up to {gib:.1f} GiB", None)


def _gpu(suite: SuiteConfig) -> Finding:
    needed = suite.needs.gpu_gib
    if not torch.cuda.is_available():
        return Finding("GPU", f"{needed:g} GiB" if needed else "none", "none", None if needed == 0 else False)
    memory = torch.cuda.get_device_properties(0).total_memory / GIB
    name = torch.cuda.get_device_name()
    return Finding("GPU", f"{needed:g} GiB" if needed else "none", f"{name}, {memory:.0f} GiB", memory >= needed)


def _device() -> Finding:
    lacking = why_no_cuda()
    return Finding("device", "any", f"{choose_device()}" + (f" ({lacking})" if lacking else ""), None)


def check_needs(suite: SuiteConfig, folder: Path, device: torch.device, stores: Path | None = None) -> None:
    """Raises InputError for a run that this machine has no room for, before anything is downloaded or written.

    Args:
        suite: to be run.
        folder: of the run.
        device: that it computes on.
        stores: folder of shared stores, where they are not in the run folder; they are most of what a run writes.

    Raises:
        InputError: too little disk where the stores go (what that folder already holds counts as free, since it may be
            what the suite needs), no GPU, or too small a one.
    """
    needs, where = suite.needs, stores or folder
    held = sum(p.stat().st_size for p in where.rglob("*") if p.is_file()) if where.is_dir() else 0
    disk = (free_disk(where.resolve()) + held) / GIB
    if disk < needs.disk_gib:
        raise InputError(f"suite {suite.name} needs {needs.disk_gib:g} GiB of disk, {where} has {disk:.1f} GiB free")
    if needs.gpu_gib and device.type != "cuda":
        raise InputError(
            f"suite {suite.name} needs a GPU of {needs.gpu_gib:g} GiB, this run computes on the {device.type}; "
            "--anyway runs it nevertheless"
        )
    memory = torch.cuda.get_device_properties(device).total_memory / GIB if device.type == "cuda" else 0.0
    if memory and memory < needs.gpu_gib:
        raise InputError(
            f"suite {suite.name} needs a GPU of {needs.gpu_gib:g} GiB, this one has {memory:.0f} GiB; "
            "--anyway runs it nevertheless"
        )


def examine(suite: SuiteConfig, folder: Path) -> list[Finding]:
    """Returns the findings for running `suite` into `folder`."""
    disk, memory = free_disk(folder.resolve()) / GIB, available_memory() / GIB
    needs = suite.needs
    return [
        Finding("processor", "any", f"{processor()}, {os.cpu_count()} cores", None),
        Finding("torch", ">= 2.11", torch.__version__, None),
        _core(),
        *_libraries(),
        Finding("disk", f"{needs.disk_gib:g} GiB", f"{disk:.1f} GiB free", disk >= needs.disk_gib),
        Finding("memory", f"{needs.memory_gib:g} GiB", f"{memory:.1f} GiB available", memory >= needs.memory_gib),
        _gpu(suite),
        _device(),
        *_packages(suite),
        *_paths(suite),
        *_hub(suite),
        _stores(suite),
        Finding("time", f"about {needs.minutes:g} min", "-", None),
    ]
