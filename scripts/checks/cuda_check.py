"""Compiles every CUDA kernel for every architecture and reads what came out; needs no GPU.

Fails when a kernel does not compile, spills registers, or adds to shared memory by a compare-and-swap loop, and when a
driver (csrc/cuda/*.cpp) does not compile against this torch. Uses the nvcc on PATH; without one, installs a pinned
toolkit from wheels into build/cuda-toolkit. With --out it writes the table of registers and shared memory.

    python scripts/checks/cuda_check.py [--out docs/cuda_resources.md]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
CUDA = ROOT / "csrc" / "cuda"
BUILD = ROOT / "build" / "cuda-check"
TOOLKIT = ROOT / "build" / "cuda-toolkit"
TOOLKIT_WHEELS = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
]
DISASSEMBLER_WHEELS = ["nvidia-cuda-cuobjdump==13.2.51", "nvidia-cuda-nvdisasm==13.2.51"]
ARCHS = ("80", "86", "89", "90")
FLAGS = ["-std=c++20", "-O3", "--fmad=false", "-lineinfo", "-Werror", "all-warnings"]
ACCUMULATING = ("MatchKernel", "CrossMomentsKernel", "SharedAdds")  # these add to shared memory in their inner loop
SHARED_ADD, SHARED_SWAP = "ATOMS.ADD", "ATOMS.CAS"


class CheckError(Exception):
    """One sentence on what is wrong."""


@dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel on one architecture."""

    source: str
    name: str
    arch: str
    registers: int
    stack_bytes: int
    spill_bytes: int


def tool(name: str, wheels: list[str]) -> str:
    """Returns a program of the CUDA toolkit, from PATH or from wheels."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLKIT / "nvidia" / "cu13" / "bin"))
    if found is None:
        print(f"semconv: {name} is not on PATH; installing {', '.join(wheels)} into build/cuda-toolkit", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(TOOLKIT), "--upgrade", *wheels], check=True)
        found = shutil.which(name, path=str(TOOLKIT / "nvidia" / "cu13" / "bin"))
    if found is None:
        raise CheckError(f"{name} is needed, found none on PATH and none in the wheels")
    return found


def run(command: list[str]) -> str:
    """Returns what a command printed; raises CheckError with it when the command fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CheckError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def kernel_name(symbol: str) -> str:
    """Returns the functor or kernel type in a mangled entry point, with its template argument."""
    name = re.search(r"_kernelINS0_(\d+)", symbol)
    if name is None:
        return symbol
    start = name.end()
    inner = symbol[start : start + int(name.group(1))]
    argument = re.match(r"I([jlyim])E", symbol[start + int(name.group(1)) :])
    return inner + (f"<{argument.group(1)}>" if argument else "")


def compile_kernels(nvcc: str, source: Path, arch: str) -> tuple[Path, list[Kernel]]:
    """Compiles one source for one architecture; returns the binary and what ptxas says of its kernels."""
    cubin = BUILD / f"{source.stem}.sm_{arch}.cubin"
    said = run([nvcc, *FLAGS, "-Xptxas", "-v", f"-arch=sm_{arch}", "-cubin", "-o", str(cubin), str(source)])
    kernels: list[Kernel] = []
    for entry in said.split("Compiling entry function")[1:]:
        symbol = re.search(r"'(\w+)'", entry)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        if symbol is None or stack is None or registers is None:
            raise CheckError(f"ptxas says nothing about a kernel of {source.name}:\n{entry}")
        stack_bytes, stores, loads = (int(n) for n in stack.groups())
        name = kernel_name(symbol.group(1))
        kernels.append(Kernel(source.name, name, arch, int(registers.group(1)), stack_bytes, stores + loads))
    if not kernels:
        raise CheckError(f"{source.name} holds no kernel")
    return cubin, kernels


def compile_whole(nvcc: str, source: Path) -> None:
    """Compiles one source as the build does: every architecture, PTX for what comes later, and the host's side."""
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHS]
    targets.append(f"-gencode=arch=compute_{ARCHS[-1]},code=compute_{ARCHS[-1]}")
    run([nvcc, *FLAGS, *targets, "-c", "-o", str(BUILD / f"{source.stem}.o"), str(source)])


def check_shared_adds(cuobjdump: str, cubin: Path) -> dict[str, int]:
    """Returns how many native shared-memory adds each accumulating kernel has; raises CheckError for any other kind."""
    counts: dict[str, int] = {}
    for function in run([cuobjdump, "--dump-sass", str(cubin)]).split("Function : ")[1:]:
        name = kernel_name(function.split()[0])
        if SHARED_SWAP in function:
            raise CheckError(f"{name} in {cubin.name} adds to shared memory by compare-and-swap ({SHARED_SWAP})")
        if name in ACCUMULATING:
            counts[name] = function.count(SHARED_ADD)
            if counts[name] == 0:
                raise CheckError(f"{name} in {cubin.name} has no {SHARED_ADD}")
    return counts


def check_drivers(nvcc: str) -> None:
    """Compiles the host code of the CUDA build against this torch, without linking."""
    include = Path(torch.__file__).parent / "include"
    flags = ["-std=c++20", "-Xcompiler", "-Wall,-Werror,-fsyntax-only", "-DC10_USING_CUSTOM_GENERATED_MACROS"]
    flags += ["-isystem", str(include), "-isystem", str(include / "torch/csrc/api/include")]

    def check(source: Path) -> None:
        run([nvcc, *flags, "-c", "-o", str(BUILD / f"{source.stem}.unused"), str(source)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, sorted(CUDA.glob("*.cpp"))))


def table(kernels: list[Kernel], version: str) -> str:
    """Returns the Markdown table of registers, one row per kernel."""
    lines = [
        "# Registers of the CUDA kernels",
        "",
        f"Made by `python scripts/checks/cuda_check.py --out docs/cuda_resources.md` with {version}. No kernel",
        "uses a stack frame or spills; the check fails when one does. Shared memory is dynamic: 64 bytes, 8 per thread",
        "and 8 per column of the pass for the accumulating kernels (csrc/cuda/work.h), at most 2 KiB for the others.",
        "",
        "| kernel | source | " + " | ".join(f"sm_{arch}" for arch in ARCHS) + " |",
        "|---|---|" + "---:|" * len(ARCHS),
    ]
    for source, name in sorted({(k.source, k.name) for k in kernels}):
        by_arch = {k.arch: k.registers for k in kernels if (k.source, k.name) == (source, name)}
        lines.append(f"| {name} | `{source}` | " + " | ".join(str(by_arch[arch]) for arch in ARCHS) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write the table")
    out = parser.parse_args().out
    nvcc = tool("nvcc", TOOLKIT_WHEELS)
    cuobjdump = tool("cuobjdump", DISASSEMBLER_WHEELS)
    tool("nvdisasm", DISASSEMBLER_WHEELS)
    os.environ["PATH"] += os.pathsep + str(TOOLKIT / "nvidia" / "cu13" / "bin")  # cuobjdump looks for nvdisasm
    release = re.search(r"release [\d.]+, (V[\d.]+)", run([nvcc, "--version"]))
    version = f"nvcc {release.group(1) if release else 'of unknown version'}"
    BUILD.mkdir(parents=True, exist_ok=True)
    sources = sorted(CUDA.glob("*.cu"))
    for source in sources:
        if source.with_suffix(".cpp").exists():
            raise CheckError(
                f"{source.name} needs a stem of its own: {source.stem}.cpp would become the same object file"
            )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(lambda job: compile_kernels(nvcc, *job), [(s, a) for s in sources for a in ARCHS]))
        list(pool.map(lambda s: compile_whole(nvcc, s), sources))
    kernels = [kernel for _, group in compiled for kernel in group]
    for kernel in kernels:
        if kernel.spill_bytes or kernel.stack_bytes:
            raise CheckError(
                f"{kernel.name} on sm_{kernel.arch} must use no stack and spill nothing, got {kernel.stack_bytes} and "
                f"{kernel.spill_bytes} bytes"
            )
    adds = [check_shared_adds(cuobjdump, cubin) for cubin, _ in compiled]
    found = {name for counts in adds for name in counts}
    if found != set(ACCUMULATING):
        raise CheckError(f"the kernels {', '.join(ACCUMULATING)} were expected, got {', '.join(sorted(found))}")
    check_drivers(nvcc)
    text = table(kernels, version)
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    print(
        f"semconv: {len(kernels)} kernels in {len(sources)} sources for sm_{', sm_'.join(ARCHS)} and PTX: all compile, "
        f"none spills, shared memory adds are {SHARED_ADD}; the drivers compile against torch {torch.__version__}"
    )


if __name__ == "__main__":
    try:
        main()
    except CheckError as error:
        sys.exit(f"semconv: {error}")
