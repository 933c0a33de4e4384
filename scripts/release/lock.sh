#!/usr/bin/env bash
# Writes the hashes of the lock files again; the versions stay those of their `name==version` lines.
# To add, change or drop a package, edit its line first; scripts/release/install_locked.sh ends with `pip check`, which finds
# what is missing. Usage: scripts/release/lock.sh [UV]. Needs uv (any way of installing it will do) and the package index.
set -euo pipefail
cd "$(dirname "$0")/../.."
uv=${1:-uv}
command -v "$uv" >/dev/null || { echo "semconv: uv is needed to write the lock files, found none (pip install uv)" >&2; exit 2; }

# The public index serves torch with CUDA on Linux. PyTorch's own CPU index serves the same version as 2.13.0+cpu, in other
# files, so these hashes stand beside those of the public index. That of cp311 x86_64 was computed from the file; that
# index was out of reach, so the others were taken from two public listings of them, which agree.
torch_cpu_hashes() {
  cat <<'HASHES'
84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7 cp311 aarch64
6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b cp311 x86_64
6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604 cp312 aarch64
4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2 cp312 x86_64
0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d cp313 aarch64
3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6 cp313 x86_64
ca021f9eb2f8345c83fa03e3a04587308afb8df71bd472670b3ece00df58621c cp314 aarch64
d20fa53ee744502fa4c69818a720b05ca0d37abd055d4f6e66cae155114bc691 cp314 x86_64
HASHES
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for lock in requirements.lock requirements-dev.lock requirements-cuda.lock requirements-{page,mkl,fuzz,docs,wheel}.lock; do
  sed -n 's/^\([A-Za-z0-9][^ \\]*==[^ \\]*\).*/\1/p' "$lock" >"$scratch/pins.in"
  sed '/^[^#]/,$d' "$lock" >"$scratch/lock"  # the comment at its head
  "$uv" pip compile --quiet --no-config --no-header --no-annotate --no-deps --generate-hashes --python-version 3.11 \
    "$scratch/pins.in" >"$scratch/hashed"
  # pip and uv read a hash list as a set, so the CPU builds come first in torch's, each on a line of its own.
  torch_cpu_hashes | awk '{ print "    --hash=sha256:" $1 " \\" }' >"$scratch/cpu"
  sed "/^torch==/r $scratch/cpu" "$scratch/hashed" >>"$scratch/lock"
  cp "$scratch/lock" "$lock"
done
