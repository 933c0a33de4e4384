#!/usr/bin/env bash
# Builds the native core with the address and undefined-behaviour sanitisers and runs the native tests on it. First it
# plants three errors, each of which the sanitisers must catch. Usage: scripts/asan.sh [PYTHON], from any folder.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
copy=build/asan/tree

mkdir -p "$copy"
rm -rf "$copy/semconv" "$copy/tests"
cp -r semconv tests pyproject.toml "$copy/"
rm -f "$copy"/semconv/*.so
echo "semconv: sanitised build ..."
SEMCONV_SANITIZE=1 SEMCONV_CUDA=0 PATH="$(dirname "$python"):$PATH" "$python" setup.py --quiet build_ext \
  --build-temp build/asan/objects --build-lib "$copy" --force >build/asan/build.log 2>&1 ||
  { cat build/asan/build.log >&2; exit 1; }

library=$(${CC:-cc} -print-file-name=libasan.so)
[ -e "$library" ] || { echo "semconv: $library is missing (Debian: apt-get install libasan8)" >&2; exit 2; }
# The sanitiser looks for the real __cxa_throw when it loads, so the C++ library has to be there already.
library="$library $(${CXX:-c++} -print-file-name=libstdc++.so.6)"
cd "$copy"
# Python keeps memory until it exits, so leaks are not looked for.
sanitised() {
  LD_PRELOAD="$library" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=2 "$python" "$@"
}

for planted in read_past_end use_after_free signed_overflow; do
  if sanitised -c "import torch; from semconv import _C; _C.planted('$planted')" >planted.log 2>&1; then
    echo "semconv: the sanitisers did not notice the planted $planted" >&2
    exit 1
  fi
  grep -Eq "AddressSanitizer|runtime error" planted.log || { cat planted.log >&2; exit 1; }
  echo "planted $planted: caught"
done
sanitised -m pytest -q -p no:cacheprovider tests/test_ops.py tests/test_streaming.py -k "not ctrl_c and not bounded_memory"
