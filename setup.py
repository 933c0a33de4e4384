"""Builds the native core `semconv._C`, and says which torch a wheel needs. All else stands in pyproject.toml.

SEMCONV_CUDA=1 demands the CUDA kernels, SEMCONV_CUDA=0 leaves them out; unset builds them when a CUDA torch, nvcc
and CUDA's headers are there, and says so. SEMCONV_CUDA_ARCHS lists the architectures (default below).
SEMCONV_SANITIZE=address and =thread build for scripts/checks/sanitize.sh.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from torch.utils import cpp_extension
from torch.version import __version__ as torch_version
from torch.version import cuda as torch_cuda

TORCH = ".".join(
    torch_version.split(".")[:2]
)  # an extension loads in the minor version of torch that it was built with
REQUIRES = [f"torch=={TORCH}.*", "numpy>=2.0", "scipy>=1.15", "safetensors>=0.5", "jaxtyping>=0.3", "typer>=0.16"]
REQUIRES += ["rich>=13", "threadpoolctl>=3.5", "pydantic>=2.10"]
DEFAULT_ARCHS = "8.0;8.6;8.9;9.0+PTX"
NVCC_FLAGS = ["-O3", "-std=c++20", "-lineinfo", "--fmad=false"]  # as scripts/checks/cuda_check.py compiles
COMMON_FLAGS = ["-O3", "-std=c++20", "-Wall", "-ffp-contract=off", "-fvisibility=hidden", "-fopenmp"]
SANITIZERS = {"address": "address,undefined", "thread": "thread"}
SANITIZE_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer"]
SANITIZE_FLAGS += ["-fno-sanitize-recover=all", "-fno-wrapv"]  # Python asks for -fwrapv, which hides signed overflow
PLAIN_THREADS = Path("tests", "fuzz", "plain_threads.h")  # for the thread sanitiser in the place of OpenMP


def fail(message: str) -> None:
    sys.exit(f"semconv build: {message}")


def _has_cuda_headers() -> bool:
    """Whether they lie where torch looks for them: beside nvcc's folder, away from which a link to nvcc leads."""
    return bool(cpp_extension.CUDA_HOME) and Path(cpp_extension.CUDA_HOME, "include", "cuda_runtime.h").is_file()


def want_cuda(kernels: list[str]) -> bool:
    """Decides from the environment and the tools at hand, never from whether a GPU happens to be visible."""
    asked = os.environ.get("SEMCONV_CUDA", "")
    if asked not in ("", "0", "1"):
        fail(f"SEMCONV_CUDA must be 0, 1 or unset, got {asked!r}")
    nvcc = shutil.which("nvcc") or (cpp_extension.CUDA_HOME and Path(cpp_extension.CUDA_HOME, "bin/nvcc").exists())
    lacking = [
        what
        for what, there in (
            ("CUDA sources in csrc/cuda", kernels),
            ("nvcc", nvcc),
            ("a CUDA build of torch", torch_cuda),
            ("CUDA headers", not (nvcc and torch_cuda) or _has_cuda_headers()),
        )
        if not there
    ]
    if asked == "1" and lacking:
        fail(f"SEMCONV_CUDA=1 needs {' and '.join(lacking)}, not found")
    build = asked != "0" and not lacking
    reason = (
        "asked not to"
        if asked == "0"
        else f"no {', no '.join(lacking)}"
        if lacking
        else "nvcc, its headers and a CUDA torch found"
    )
    print(f"semconv build: CUDA kernels {'on' if build else 'off'} ({reason})", file=sys.stderr)
    return build


class BuildPy(build_py):
    """Puts the claims, and expected results where there are some, into the wheel; in the tree they stand on top."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # an editable install reads the tree
            return
        package = Path(self.build_lib, "semconv")
        shutil.copyfile("claims.toml", package / "claims.toml")
        if Path("expected").is_dir():
            shutil.copytree("expected", package / "expected", dirs_exist_ok=True)


compiler = shlex.split(os.environ.get("CXX") or "c++")[0]
if shutil.which(compiler) is None and "egg_info" not in sys.argv and "dist_info" not in sys.argv:
    fail(f"a C++20 compiler is needed, found no {compiler!r} on PATH (Debian: apt-get install g++)")

sources = [str(p) for p in sorted(Path("csrc").glob("*.cpp")) + sorted(Path("csrc/cpu").glob("*.cpp"))]
kernels = [str(p) for p in sorted(Path("csrc/cuda").glob("*.cpp")) + sorted(Path("csrc/cuda").glob("*.cu"))]
macros = [("SEMCONV_FLAGS", '"' + " ".join(COMMON_FLAGS) + '"'), ("SEMCONV_TORCH", f'"{TORCH}"')]
# torch's C++ library is the one to use: a compiler that links its own statically makes every refusal a crash.
flags, link_flags = [*COMMON_FLAGS], ["-fopenmp", "-lstdc++"]
sanitize = os.environ.get("SEMCONV_SANITIZE", "")
if sanitize:
    if sanitize not in SANITIZERS:
        fail(f"SEMCONV_SANITIZE must be {' or '.join(SANITIZERS)} or unset, got {sanitize!r}")
    flags += [*SANITIZE_FLAGS, f"-fsanitize={SANITIZERS[sanitize]}"]
    link_flags.append(f"-fsanitize={SANITIZERS[sanitize]}")
    macros.append(("SEMCONV_PLANTED_ERRORS", "1"))
if sanitize == "thread":
    flags = [*(flag for flag in flags if flag != "-fopenmp"), "-include", str(PLAIN_THREADS.resolve())]
if want_cuda(kernels):
    os.environ["TORCH_CUDA_ARCH_LIST"] = archs = os.environ.get("SEMCONV_CUDA_ARCHS", DEFAULT_ARCHS)
    extension = cpp_extension.CUDAExtension(
        "semconv._C",
        sources + kernels,
        define_macros=[*macros, ("SEMCONV_CUDA_ARCHS", f'"{archs}"')],
        extra_compile_args={"cxx": flags, "nvcc": NVCC_FLAGS},
        extra_link_args=link_flags,
    )
else:
    extension = cpp_extension.CppExtension(
        "semconv._C", sources, define_macros=macros, extra_compile_args=flags, extra_link_args=link_flags
    )

setup(
    install_requires=REQUIRES,
    ext_modules=[extension],
    cmdclass={"build_ext": cpp_extension.BuildExtension, "build_py": BuildPy},
)
