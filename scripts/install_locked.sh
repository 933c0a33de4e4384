#!/usr/bin/env bash
# Installs the locked packages, every file checked against its hash.
# Usage: scripts/install_locked.sh PYTHON [--dev] [--reports FOLDER]
#   --dev      requirements-dev.lock too, what building, testing and checking need
#   --reports  keep pip's installation reports there, for scripts/sbom.py
set -euo pipefail
python=${1:?which python}
shift
root=$(dirname "$0")/..
dev="" reports=""
while [ $# -gt 0 ]; do
  case $1 in
    --dev) dev=1 ;;
    --reports) reports=$2 && shift ;;
    *) echo "semconv: install_locked.sh knows --dev and --reports FOLDER, got '$1'" >&2 && exit 2 ;;
  esac
  shift
done
[ -z "$reports" ] || mkdir -p "$reports"

install() {  # install NAME LOCK [OPTIONS]
  local name=$1 lock=$2
  shift 2
  "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    ${reports:+--report "$reports/$name.json"} "$@" --requirement "$lock"
}

# Two packages are served as source only. The locked setuptools builds them, so nothing without a hash is fetched.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
awk '/^[^ ]/ { inside = /^setuptools==/ } inside' "$root/requirements.lock" >"$scratch/setuptools"
install setuptools "$scratch/setuptools"

# torch 2.13.0 and 2.13.0+cpu both satisfy the lock, and checking hashes makes pip pass over a folder of wheels for an
# index that states them. So pip is asked first, without hashes, which one this machine is set up for.
torch=$("$python" -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed --no-deps --report - \
  "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$root/requirements.lock")" |
  "$python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])')
sed "s/^torch==[^ ]*/torch==$torch/" "$root/requirements.lock" >"$scratch/requirements"
install locked "$scratch/requirements" --no-build-isolation --use-pep517
[ -z "$dev" ] || install dev "$root/requirements-dev.lock"
# torch was served with CUDA if its metadata asks for triton on this machine.
if "$python" -c '
import importlib.metadata, sys
from packaging.requirements import Requirement
asked = map(Requirement, importlib.metadata.requires("torch") or [])
sys.exit(not any(r.name == "triton" and (r.marker is None or r.marker.evaluate()) for r in asked))'; then
  install cuda "$root/requirements-cuda.lock"
fi
"$python" -m pip check --disable-pip-version-check
