"""Builds the emulator: the CUDA kernels and drivers, compiled for the host (emulator.cpp)."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

CUDA = Path(__file__).resolve().parents[2] / "csrc" / "cuda"
NOT_FOR_THE_HOST = ("device.cpp", "register_cuda.cpp")


@pytest.fixture(scope="session")
def emulated() -> SimpleNamespace:
    """The ops of the emulator, `torch.ops.semconv_emulated`; built once and kept in build/emulator."""
    from torch.utils import cpp_extension

    build = CUDA.parents[1] / "build" / "emulator"
    build.mkdir(parents=True, exist_ok=True)
    drivers = sorted(p for p in CUDA.glob("*.cpp") if p.name not in NOT_FOR_THE_HOST)
    # One file that includes all: PyTorch's headers, which are most of the work, are read once.
    whole = build / "whole.cpp"
    text = "".join(f'#include "{path}"\n' for path in [*drivers, Path(__file__).with_name("emulator.cpp")])
    if not whole.exists() or whole.read_text() != text:
        whole.write_text(text)
    # "-ffp-contract=off" like the core, "-O1" because it builds in half the time of "-O2".
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", *shlex.split(os.environ.get("SEMCONV_EMULATOR_FLAGS", ""))]
    cpp_extension.load(
        "semconv_emulated",
        [str(whole)],
        extra_cflags=flags,
        build_directory=str(build),
        is_python_module=False,
    )
    return torch.ops.semconv_emulated
