#!/usr/bin/env bash
# Everything that needs a GPU, in one go: build, digests, tests, benchmark, compute-sanitizer, and the mini suite where
# sae-lens is installed. Usage: scripts/gpu_check.sh [--gemma] [--device cpu] [--small] [PYTHON] [OUT]. Needs nvcc, a CUDA
# torch, setuptools>=77, pybind11, ninja, pytest, hypothesis; no network. STEPS="build bench" runs those steps alone. Every
# step has its own time limit. Prints one summary; exit code 1 if anything failed. Tests that ask nothing of a GPU are not
# run: `make test`. --gemma does, in place of all that, the statistics at the paper's size (paper_size.py), Gemma-2's shapes
# (gemma_shapes.py; needs transformers) and, where sae-lens is installed, the rehearsal; under 10 minutes each, so that
# STEPS="machine build statistics" and so on fit into calls of that length. --device cpu --small tries all of it without a GPU.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
device=cuda small='' all='machine build digests tests bench profile planted memcheck racecheck initcheck synccheck mini'
while [[ ${1:-} == --* ]]; do
  case $1 in
    --gemma) all='machine build statistics shapes rehearsal' ;;
    --small) small=yes ;;
    --device) device=${2:-} && shift ;;
    *) echo "gpu_check: options are --gemma, --device cpu and --small, got $1" >&2 && exit 2 ;;
  esac
  shift
done
if [[ $device != cuda && $device != cpu ]]; then echo "gpu_check: --device must be cuda or cpu, got '$device'" >&2 && exit 2; fi
python=${1:-python3} out=${2:-build/gpu-check}
steps=${STEPS:-$all}
mkdir -p "$out"
began=$SECONDS
failed=0
if [[ -z ${CUDA_HOME:-} ]] && nvcc=$(readlink -f "$(command -v nvcc)"); then  # torch does not follow links
  CUDA_HOME=$(dirname "$(dirname "$nvcc")")
  export CUDA_HOME
fi

step() {  # step NAME SECONDS FUNCTION...: runs it into its own log, at most so long, and keeps the verdict
  local name=$1 limit=$2 start=$SECONDS verdict=ok code
  [[ " $steps " == *" $name "* ]] || return 0
  shift 2
  echo "semconv: $name ..."
  export python out device small
  export -f "${1?}"  # the function of that name
  timeout --kill-after 5 "$limit" bash -c '"$@"' - "$@" >"$out/$name.log" 2>&1
  code=$?
  if ((code == 124 || code == 137)); then verdict="FAIL (over $limit s)"; elif ((code)); then verdict=FAIL; fi
  echo "$verdict  $name, $((SECONDS - start)) s: $(tail -n 1 "$out/$name.log")" >"$out/$name.verdict"
  return $code
}

machine() {
  if [[ $device == cpu ]]; then
    "$python" -c 'import torch; from semconv.system.provenance import processor; print(processor() + ", no GPU, torch", torch.__version__)'
    return
  fi
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  nvcc --version | tail -n 1
  "$python" -c 'import torch; assert torch.cuda.is_available(); print("torch", torch.__version__, "capability", "%d.%d" % torch.cuda.get_device_capability())'
}

build() {
  local arch
  if [[ $device == cpu ]]; then
    "$python" -c 'from semconv.core.ops import build_facts; print("built with", build_facts()["compiler"])'
    return
  fi
  arch=$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
  SEMCONV_CUDA=1 SEMCONV_CUDA_ARCHS="$arch" "$python" setup.py build_ext --inplace && "$python" - <<'PYTHON'
import torch
from semconv.core import ops
names = ("compact_rows", "best_matches", "best_matches_permuted", "best_matches_shifted", "cross_moments_", "correlation_from_moments",
         "best_from_moments", "permuted_dot")
lacking = [n for n in names if not torch._C._dispatch_has_kernel_for_dispatch_key(f"semconv::{n}", "CUDA")]
assert not lacking, f"no CUDA kernel for {lacking}"
print("built for", ops.build_facts()["cuda_archs"])
PYTHON
}

planted() {  # every tool must report its own planted error, and nothing where none is planted
  local tool code
  nvcc -o "$out/planted" tests/cuda/planted.cu || return 1
  for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$out/planted" none || return 1
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$out/planted" "$tool"
    code=$?
    if ((code != 9)); then
      echo "$tool did not report its planted error: exit code $code"
      return 1
    fi
  done
  echo "four planted errors caught"
}

digests() {
  "$python" -m tests.cuda.digests --device cuda
}

device_tests() {
  "$python" -m pytest -q -rs -p no:cacheprovider tests/cuda/test_device.py tests/bench/test_cuda_bench.py tests/models/test_sae_fit.py
}

bench() {
  "$python" -m semconv bench --device cuda --quick --out "$out/bench"
}

sanitize() {  # sanitize TOOL: the digests under one tool
  local ours=(--kernel-name kns=semconv)
  [[ $1 == initcheck ]] && ours=()  # memory that PyTorch's kernels filled would pass for unwritten
  compute-sanitizer --tool "$1" --error-exitcode 9 "${ours[@]}" "$python" -m tests.cuda.digests --device cuda
}

profile() {
  "$python" scripts/measure/cuda_profile.py
}

mini() {  # the whole way, models included; its results must be those of the CPU within their tolerances
  "$python" -c 'import sae_lens' || return 1
  "$python" -m semconv reproduce mini --device cuda --out "$out/mini" && "$python" -m semconv verify "$out/mini"
}

statistics() {  # a task of every kind at the paper's size, on made-up activations with planted matches
  local size=(--draws 20)
  [[ -n $small ]] && size=(--tokens 20000 --features 1024 --l0 20 --width 48 --planted 300)
  "$python" scripts/measure/paper_size.py --device "$device" --out "$out/paper_size.json" "${size[@]}"
}

shapes() {  # both models at their exact shapes with random weights, encoded and correlated on the device; no sae-lens
  local size=(--layers 2 --tokens 131072)
  [[ -n $small ]] && size=(--scale small)
  "$python" -c 'import transformers' || { echo "the shapes need transformers, which is not installed"; return 1; }
  "$python" scripts/measure/gemma_shapes.py --device "$device" --out "$out/gemma_shapes.json" "${size[@]}" >"$out/gemma_shapes.txt" || return 1
  grep -v '^{' "$out/gemma_shapes.txt"
}

rehearsal() {  # from the hub to the page: Gemma-2-2B, and 9B with a narrow MLP
  local size=(--scale small --draws 4)
  [[ -n $small ]] && size=(--scale least)
  "$python" -c 'import sae_lens' || { echo "the rehearsal needs sae-lens, which is not installed"; return 1; }
  "$python" scripts/measure/rehearse.py --device "$device" --out "$out/rehearsal" "${size[@]}"
}

rm -f "$out"/*.verdict
step machine 60 machine
step build 300 build
step digests 60 digests
step tests 240 device_tests
step bench 200 bench
step profile 60 profile
step planted 60 planted
for tool in memcheck racecheck synccheck initcheck; do step "$tool" 120 sanitize "$tool" & done  # nothing is timed here
wait
step mini 600 mini
step statistics 500 statistics
step shapes 300 shapes
step rehearsal 580 rehearsal

echo
for name in machine statistics shapes rehearsal; do  # tables
  if [[ " $steps " == *" $name "* ]]; then grep -v '^semconv: \|^paper_size: ' "$out/$name.log"; fi
done
for name in $steps; do
  cat "$out/$name.verdict"
  grep -q ^ok "$out/$name.verdict" || failed=1
done
echo "semconv: $((SECONDS - began)) s in all, logs in $out"
exit $failed
