"""Says where models, SAEs and correlations run, and in what precision their matrix products are taken."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from semconv.core import ops
from semconv.system.errors import InputError

Precision = Literal["float32", "tf32", "bfloat16"]
"""What products are computed in: IEEE float32, float32 with 10-bit mantissas on CUDA, or bfloat16."""

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
"""The dtype of the weights for each precision."""


def why_no_cuda() -> str | None:
    """Returns why this machine cannot compute on a GPU, as the end of a sentence; None if it can."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    if not ops.has_cuda_kernels():
        return "this build of semconv has no CUDA kernels"
    return None


def choose_device(asked: str = "auto") -> torch.device:
    """Returns the device to compute on.

    The device is an option of the command line, not a setting of a suite, so that the hash of a suite does not depend
    on the machine. On another device the forward pass of a model may flip a feature near its threshold; the SHA-256 of
    the activations then differs. From equal activations every device computes the same bits.

    Args:
        asked: `cpu`, `cuda` (the current GPU), or `auto`: the GPU where torch finds one and this build has CUDA
            kernels, the CPU elsewhere.

    Raises:
        InputError: `asked` is none of these words; or it is `cuda` and there is no GPU, or this build has no CUDA
            kernels.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be one of auto, cpu, cuda, got {asked!r}")
    lacking = why_no_cuda()
    if asked == "cuda" and lacking:
        raise InputError(f"device cuda cannot be used: {lacking}")
    if asked == "cpu" or lacking:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def resolve_precision(asked: str, sae_dtype: str, device: torch.device) -> Precision:
    """Returns what an encoder computes in on a device.

    Args:
        asked: `float32`, `tf32`, `bfloat16`, or `sae`: the precision that the SAE was trained in. That is bfloat16
            where its config says so and float32 elsewhere: float16 is how a file is stored, and float32 holds every
            such number exactly.
        sae_dtype: `dtype` of the SAE's config.
        device: TF32 is a mode of CUDA devices; anywhere else `tf32` computes in float32.

    Raises:
        InputError: another word.
    """
    if asked == "sae":
        asked = "bfloat16" if sae_dtype == "bfloat16" else "float32"
    if asked == "tf32" and device.type != "cuda":
        asked = "float32"
    for precision in DTYPES:
        if asked == precision:
            return precision
    raise InputError(f"precision must be one of sae, {', '.join(DTYPES)}, got {asked!r}")


def available_memory() -> int:
    """Returns bytes of memory that a new process may use."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_memory(device: torch.device) -> int:
    """Returns bytes that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()


def total_memory(device: torch.device) -> int:
    """Returns bytes of memory that a device has; of the machine, for the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def float32_products(tf32: bool) -> Generator[None]:
    """Within it, float32 matrix products on CUDA are computed in TF32 if `tf32` is true, else in IEEE float32."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before
