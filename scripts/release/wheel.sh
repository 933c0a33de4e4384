#!/usr/bin/env bash
# Makes the source archive, and from it a wheel that needs no compiler: for the Python that is given, and for the minor
# version of torch that it has. Usage: scripts/release/wheel.sh PYTHON [FOLDER]
#   FOLDER  of the files (default: dist)
# SEMCONV_CUDA=1 and SEMCONV_CUDA_ARCHS as for any build (setup.py); unset means a wheel without CUDA kernels.
set -euo pipefail
[ $# -gt 0 ] || { echo "semconv: wheel.sh needs the path of a Python, got nothing" >&2 && exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
python=$(realpath -s "$1")
mkdir -p "${2:-dist}"
folder=$(realpath "${2:-dist}")
export SEMCONV_CUDA=${SEMCONV_CUDA:-0} PIP_DISABLE_PIP_VERSION_CHECK=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

git -C "$root" ls-files --error-unmatch -z >/dev/null 2>&1 || { echo "semconv: wheel.sh needs a checkout of git" >&2 && exit 2; }
git -C "$root" ls-files -z | tar -C "$root" --null --no-recursion -T - -cf - | tar -xf - -C "$scratch" --one-top-level=tree
cd "$scratch/tree"  # what git does not know stays out
"$python" -c 'import sys, setuptools.build_meta as build; print(build.build_sdist(sys.argv[1]))' "$scratch" >"$scratch/log" 2>&1 ||
  { tail "$scratch/log" >&2; exit 1; }
archive=$(echo "$scratch"/semconv-*.tar.gz)
cd "$scratch"
"$python" -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir "$scratch" "$archive"

# torch brings its own libraries, OpenMP's among them, and has loaded them when the extension is.
"$python" -m pip install --quiet --require-hashes --no-deps --target "$scratch/tools" --requirement "$root/requirements-wheel.lock"
PYTHONPATH="$scratch/tools" PATH="$scratch/tools/bin:$PATH" "$python" -m auditwheel repair --strip --wheel-dir "$folder" \
  --exclude 'libtorch*.so' --exclude 'libc10*.so' --exclude libgomp.so.1 --exclude 'libcud*.so*' "$scratch"/semconv-*.whl >"$scratch/log" 2>&1 ||
  { tail "$scratch/log" >&2; exit 1; }
cp "$archive" "$folder"
ls "$folder"/semconv-*
