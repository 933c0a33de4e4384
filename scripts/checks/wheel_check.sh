#!/usr/bin/env bash
# Installs a wheel where there is no compiler and none of these sources, and tests the native core there, and a study.
# Usage: scripts/checks/wheel_check.sh PYTHON WHEEL. Needs a Python of the wheel's version with venv, and the package index.
set -euo pipefail
[ $# -eq 2 ] || { echo "semconv: wheel_check.sh needs a Python and a wheel, got $# arguments" >&2 && exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
wheel=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1" -m venv "$scratch/venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$scratch/venv/bin/python" -m pip install --quiet "${wheel}[models,mini]"  # as its user would, whatever the index has
"$scratch/venv/bin/python" -m pip install --quiet --require-hashes --no-deps --target "$scratch/dev" --requirement "$root/requirements-dev.lock"
mkdir "$scratch/check" "$scratch/home" "$scratch/tools"
cp -r "$root/tests" "$root/pyproject.toml" "$scratch/check"

cd "$scratch/check"
find /bin/ /usr/bin/ /usr/sbin/ -maxdepth 1 ! -type d ! -name '*cc*' ! -name '*++*' ! -name '*clang*' -exec ln -sft "$scratch/tools" {} +
bare=(env -i "PATH=$scratch/venv/bin:$scratch/tools" "HOME=$scratch/home" "LC_ALL=C.UTF-8")
for tool in cc gcc c++ g++ clang nvcc; do
  if "${bare[@]}" "$scratch/venv/bin/python" -c "import shutil, sys; sys.exit(shutil.which('$tool') is None)"; then
    echo "semconv: $tool is in reach, so that this would show nothing" >&2 && exit 1
  fi
done
"${bare[@]}" python -c '
import sys, torch, semconv._C
assert semconv._C.torch == ".".join(torch.__version__.split(".")[:2])
print(f"semconv: Python {sys.version.split()[0]}, torch {torch.__version__}")'
"${bare[@]}" "PYTHONPATH=$scratch/dev" python -m pytest -p no:cacheprovider -q tests/core
"${bare[@]}" semconv reproduce mini --fast --out "$scratch/run" >"$scratch/log" 2>&1 || { tail "$scratch/log" >&2; exit 1; }
tail -n 4 "$scratch/log"
