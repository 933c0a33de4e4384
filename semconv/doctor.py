"""Says what this machine has, what a suite needs, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from semconv import ops
from semconv.config import SuiteConfig, resolve
from semconv.device import available_memory, choose_device, why_no_cuda
from semconv.provenance import processor
from semconv.types import InputError

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


def _paths(suite: SuiteConfig) -> list[Finding]:
    paths = [suite.corpus.tokenizer, suite.model_a.path, suite.model_b.path]
    paths += [sae.path for model in (suite.model_a, suite.model_b) for sae in model.saes]
    missing = [path for path in paths if not resolve(path).exists()]
    if missing:
        return [Finding("models and SAEs", path, "missing", False) for path in missing]
    return [Finding("models and SAEs", f"{len(paths)} paths", "all there", True)]


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
        Finding("time", f"about {needs.minutes:g} min on 2 cores", "-", None),
    ]
