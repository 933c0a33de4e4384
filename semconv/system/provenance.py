"""Says where a result came from: code commit, package versions, processor, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from semconv._paths import TREE
from semconv.system.shown_paths import here, shown_argument

PACKAGES = ("semconv", "torch", "numpy", "scipy", "transformers", "sae-lens", "tokenizers", "safetensors")


def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that can change a number; 'absent' where one is not installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


CHANGED = "+changes"
"""Stands after the commit of a tree that differs from it."""


def code_commit() -> str:
    """Returns the commit of the source tree, with `CHANGED` when the tree differs.

    Outside a checkout it is what the environment variable SEMCONV_COMMIT says, which a container image sets to the
    commit it was built from, or 'unknown'.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(TREE), *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        if Path(git("rev-parse", "--show-toplevel")).resolve() == TREE:
            return git("rev-parse", "HEAD") + (CHANGED if git("status", "--porcelain") else "")
    return os.environ.get("SEMCONV_COMMIT") or "unknown"


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def peak_memory_mib() -> int:
    """Returns the largest resident size so far of this process or of a child, in MiB."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return max(peaks) // unit


def provenance() -> dict[str, object]:
    """Returns everything about this machine and code that a result should carry beside it."""
    import torch

    return {
        "commit": code_commit(),
        "versions": package_versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "peak_memory_mib": peak_memory_mib(),
        "argv": [Path(sys.argv[0]).name, *(shown_argument(one, here()) for one in sys.argv[1:])],
    }
