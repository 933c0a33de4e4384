#!/usr/bin/env bash
# Everything that needs a GPU, in one go and within nine minutes: build, tests, digests, compute-sanitizer, benchmark.
# Usage: scripts/gpu_check.sh [PYTHON] [OUT]. Needs nvcc, a CUDA torch, pybind11, ninja, pytest, hypothesis; no network
# and no sae-lens (the tests that need it skip and say so). Prints one summary; exit code 1 if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
python=${1:-python3} out=${2:-build/gpu-check}
mkdir -p "$out"
began=$SECONDS
declare -a summary
failed=0

step() {  # step NAME COMMAND...: runs it into its own log, keeps the verdict
  local name=$1 start=$SECONDS
  shift
  echo "semconv: $name ..."
  if "$@" >"$out/$name.log" 2>&1; then
    summary+=("ok    $name, $((SECONDS - start)) s: $(tail -n 1 "$out/$name.log")")
  else
    summary+=("FAIL  $name, $((SECONDS - start)) s: see $out/$name.log: $(tail -n 1 "$out/$name.log")")
    failed=1
  fi
}

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  nvcc --version | tail -n 1
  "$python" -c 'import torch; assert torch.cuda.is_available(); print("torch", torch.__version__, "capability", "%d.%d" % torch.cuda.get_device_capability())'
}

build() {
  local arch
  arch=$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
  SEMCONV_CUDA=1 SEMCONV_CUDA_ARCHS="$arch" "$python" setup.py build_ext --inplace && "$python" - <<'PYTHON'
import torch
from semconv import ops
names = ("compact_rows", "best_matches", "best_matches_shifted", "cross_moments_", "correlation_from_moments",
         "best_from_moments", "permuted_dot")
lacking = [n for n in names if not torch._C._dispatch_has_kernel_for_dispatch_key(f"semconv::{n}", "CUDA")]
assert not lacking, f"no CUDA kernel for {lacking}"
print("built for", ops.build_facts()["cuda_archs"])
PYTHON
}

planted() {  # every tool must catch its own planted error
  nvcc -o "$out/planted" tests/cuda/planted.cu
  for tool in memcheck racecheck initcheck synccheck; do
    if compute-sanitizer --tool "$tool" --error-exitcode 9 "$out/planted" "$tool"; then
      echo "$tool did not catch its planted error"
      return 1
    fi
  done
  echo "four planted errors caught"
}

sanitize() {  # sanitize TOOL: the digests under one tool
  compute-sanitizer --tool "$1" --error-exitcode 9 --kernel-regex kns=semconv "$python" -m tests.cuda.digests --device cuda
}

step machine machine
step build build
step digests "$python" -m tests.cuda.digests --device cuda
step device-tests "$python" -m pytest -q tests/cuda -p no:cacheprovider
step tests "$python" -m pytest -q -m "not slow" --ignore tests/cuda --ignore tests/bench -p no:cacheprovider
step planted planted
for tool in memcheck racecheck initcheck synccheck; do step "$tool" sanitize "$tool"; done
step bench "$python" -m semconv bench --device cuda --quick --out "$out/bench"

echo
cat "$out/machine.log"
printf '%s\n' "${summary[@]}"
echo "semconv: $((SECONDS - began)) s in all, logs in $out"
exit $failed
