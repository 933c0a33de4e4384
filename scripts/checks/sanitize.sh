#!/usr/bin/env bash
# Builds the native core for a sanitiser, and runs the native tests and a race on it: every op, while another thread
# writes to what it reads (tests/fuzz/race_ops.cpp). First it plants errors, each of which must be caught.
#   scripts/checks/sanitize.sh address|thread [PYTHON]      from any folder; SEMCONV_RACE_SECONDS (60), SEMCONV_RACE_SEED (0)
# address: reads and writes outside memory, and undefined behaviour. thread: data races.
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=${1:-}
python=$(realpath -s "${2:-.venv/bin/python}")
compiler=${CXX:-c++}
case $mode in
  address)
    sanitizers=address,undefined library_name=asan package=libasan8 pattern="AddressSanitizer|runtime error"
    all_planted="read_past_end use_after_free signed_overflow" threads=(-fopenmp)
    # Python keeps memory until it exits, so leaks are not looked for.
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
    ;;
  thread)
    sanitizers=thread library_name=tsan package=libtsan2 pattern="ThreadSanitizer: data race"
    # The threads of OpenMP are replaced by those of the C++ library (the header says why), and what torch and Python,
    # which are not built for the sanitiser, do with memory between them is not looked at: only our own accesses are.
    all_planted="data_race" threads=(-include tests/fuzz/plain_threads.h)
    export TSAN_OPTIONS="halt_on_error=1 ignore_noninstrumented_modules=1"
    ;;
  *)
    echo "usage: scripts/checks/sanitize.sh address|thread [PYTHON]" >&2
    exit 2
    ;;
esac
export OMP_NUM_THREADS=2
build=build/sanitize-$mode
copy=$build/tree

mkdir -p "$copy"
rm -rf "$copy/semconv" "$copy/tests"
cp -r semconv tests pyproject.toml "$copy/"
rm -f "$copy"/semconv/*.so
echo "semconv: build for the $mode sanitiser ..."
SEMCONV_SANITIZE=$mode SEMCONV_CUDA=0 PATH="$(dirname "$python"):$PATH" "$python" setup.py --quiet build_ext \
  --build-temp "$build/objects" --build-lib "$copy" --force >"$build/build.log" 2>&1 ||
  { cat "$build/build.log" >&2; exit 1; }
torch=$("$python" -c 'import torch; print(torch.__path__[0])')
"$compiler" -std=c++20 -O1 -g -fno-omit-frame-pointer "-fsanitize=$sanitizers" -fno-sanitize-recover=all -w \
  "${threads[@]}" -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
  tests/fuzz/race_ops.cpp "$build"/objects/csrc/register_ops.o "$build"/objects/csrc/cpu/*.o \
  -L"$torch/lib" -Wl,-rpath,"$torch/lib" -Wl,--no-as-needed -ltorch_cpu -lc10 -o "$build/race_ops"

library=$("$compiler" "-print-file-name=lib$library_name.so")
[ -e "$library" ] || { echo "semconv: $library is missing (Debian: apt-get install $package)" >&2; exit 2; }
# The sanitiser looks for the real __cxa_throw when it loads, so the C++ library has to be there already.
library="$library $("$compiler" -print-file-name=libstdc++.so.6)"
sanitised() {
  LD_PRELOAD="$library" "$python" "$@"
}

cd "$copy"
for planted in $all_planted; do
  if sanitised -c "import torch; from semconv import _C; _C.planted('$planted')" >planted.log 2>&1; then
    echo "semconv: the sanitiser did not notice the planted $planted" >&2
    exit 1
  fi
  grep -Eq "$pattern" planted.log || { cat planted.log >&2; exit 1; }
  echo "planted $planted: caught"
done
"$OLDPWD/$build/race_ops" "${SEMCONV_RACE_SECONDS:-60}" "${SEMCONV_RACE_SEED:-0}"
sanitised -m pytest -q -p no:cacheprovider tests/core/test_ops.py tests/core/test_streaming.py -k "not ctrl_c and not bounded_memory"
