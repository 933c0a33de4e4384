#!/usr/bin/env bash
# Installs the locked packages, every file checked against its hash.
# Usage: scripts/release/install_locked.sh PYTHON [--dev] [--cpu] [--reports FOLDER | --download FOLDER]
#   --dev       requirements-dev.lock too, what building, testing and checking need
#   --cpu       refuse a torch with CUDA
#   --reports   keep pip's installation reports there, for scripts/release/sbom.py
#   --download  only fetch the files, into that folder
set -euo pipefail
[ $# -gt 0 ] || { echo "semconv: install_locked.sh needs the path of a Python, got nothing" >&2 && exit 2; }
python=$1
shift
root=$(dirname "$0")/../..
dev="" cpu="" reports="" folder=""
while [ $# -gt 0 ]; do
  case $1 in
    --reports | --download) [ -n "${2:-}" ] || { echo "semconv: $1 needs a folder, got nothing" >&2 && exit 2; } ;;&
    --dev) dev=1 ;;
    --cpu) cpu=1 ;;
    --reports) reports=$2 && mkdir -p "$reports" && shift ;;
    --download) folder=$2 && mkdir -p "$folder" && shift ;;
    *) echo "semconv: install_locked.sh knows --dev, --cpu, --reports and --download, got '$1'" >&2 && exit 2 ;;
  esac
  shift
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

install() {  # install NAME LOCK [OPTIONS]
  local name=$1 lock=$2 verb=(install)
  shift 2
  [ -z "$reports" ] || verb+=(--report "$reports/$name.json")
  [ -z "$folder" ] || verb=(download --dest "$folder")
  "$python" -m pip "${verb[@]}" --quiet --disable-pip-version-check --require-hashes --no-deps "$@" --requirement "$lock"
}

# torch 2.13.0 and 2.13.0+cpu both satisfy the lock, and checking hashes makes pip pass over a folder of wheels for an
# index that states them. So pip is asked first, without hashes, which one this machine is set up for.
torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$root/requirements.lock")
"$python" -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed --no-deps \
  --report "$scratch/torch.json" "$torch"
read -r version triton < <("$python" -c '
import json, sys
found = json.load(open(sys.argv[1]))["install"][0]["metadata"]
asked = any(r.startswith("triton") for r in found.get("requires_dist", ()))
print(found["version"], "triton" if asked and sys.platform == "linux" else "")' "$scratch/torch.json")
if [ -n "$cpu" ] && [ -n "$triton" ]; then
  echo "semconv: a torch without CUDA is wanted and the package index serves torch $version with it;" \
    "set PIP_EXTRA_INDEX_URL to PyTorch's CPU index" >&2
  exit 2
fi
sed "s/^torch==[^ ]*/torch==$version/" "$root/requirements.lock" >"$scratch/requirements"

# Two packages are served as source only. The locked setuptools builds them, so nothing without a hash is fetched.
awk '/^[^ ]/ { inside = /^setuptools==/ } inside' "$root/requirements.lock" >"$scratch/setuptools"
[ -n "$folder" ] || install setuptools "$scratch/setuptools"
install locked "$scratch/requirements" --no-build-isolation --use-pep517
[ -z "$dev" ] || install dev "$root/requirements-dev.lock"
[ -z "$triton" ] || install cuda "$root/requirements-cuda.lock"
[ -n "$folder" ] || "$python" -m pip check --disable-pip-version-check
