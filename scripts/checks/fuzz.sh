#!/usr/bin/env bash
# Fuzzes the op boundary (libFuzzer) and the store reader (atheris), both guided by coverage, and prints how many inputs
# ran. Usage: scripts/checks/fuzz.sh [OP_INPUTS [STORE_INPUTS [PYTHON]]]. Needs clang++ with libFuzzer (Debian: apt-get install
# clang libclang-rt-14-dev) and installs atheris into the Python's environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
op_inputs=${1:-1000000} store_inputs=${2:-50000}
python=$(realpath -s "${3:-.venv/bin/python}")
clang=${CLANGXX:-clang++}
command -v "$clang" >/dev/null || { echo "semconv: fuzzing needs clang++ with libFuzzer, found none" >&2; exit 2; }

build=build/fuzz
mkdir -p "$build/ops_corpus" "$build/store_corpus"
torch=$("$python" -c 'import torch; print(torch.__path__[0])')
echo "semconv: building the op fuzzer ..."
"$clang" -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize=vptr,function \
  -fno-sanitize-recover=undefined -ffp-contract=off -Wno-everything \
  -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
  tests/fuzz/fuzz_ops.cpp csrc/register_ops.cpp csrc/cpu/*.cpp \
  -L"$torch/lib" -Wl,-rpath,"$torch/lib" -Wl,--no-as-needed -ltorch_cpu -lc10 -o "$build/fuzz_ops"

# The archive keeps the inputs that reached new code; what is found now goes to the build folder.
tar -xzf tests/fuzz/corpus.tar.gz -C "$build"
export ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1
if SEMCONV_FUZZ_PLANTED=1 "$build/fuzz_ops" -runs=200000 -max_len=512 -artifact_prefix="$build/planted-" \
  "$build/ops_corpus" >"$build/planted.log" 2>&1; then
  echo "semconv: the fuzzer did not find the planted wrong answer" >&2
  exit 1
fi
grep -q "another partner" "$build/planted.log" || { tail -40 "$build/planted.log" >&2; exit 1; }
echo "semconv: planted wrong answer: found"
echo "semconv: $op_inputs inputs for the ops ..."
"$build/fuzz_ops" -runs="$op_inputs" -max_len=512 -timeout=20 -rss_limit_mb=4096 \
  -print_final_stats=1 -artifact_prefix="$build/" "$build/ops_corpus" 2>&1 |
  tee "$build/ops.log" | grep -E "ERROR|fuzz_ops:|Done|number_of_executed_units|SUMMARY" || true
grep -q "^Done" "$build/ops.log" || { tail -40 "$build/ops.log" >&2; exit 1; }

"$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-fuzz.lock
echo "semconv: $store_inputs inputs for the store reader ..."
"$python" -m tests.fuzz.fuzz_store -runs="$store_inputs" -max_len=64 -timeout=20 -rss_limit_mb=8192 -print_final_stats=1 \
  -artifact_prefix="$build/" "$build/store_corpus" 2>&1 |
  tee "$build/store.log" | grep -E "ERROR|Error|Done|number_of_executed_units|SUMMARY" || true
grep -q "^Done" "$build/store.log" || { tail -40 "$build/store.log" >&2; exit 1; }
