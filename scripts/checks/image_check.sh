#!/usr/bin/env bash
# Builds the cpu image on a machine without a container engine, then runs it as shipped, without network (image_trial.py).
# Usage: scripts/checks/image_check.sh PYTHON [--fast] [--results FILE] [--keep]
#   PYTHON     a 3.11 that has the locked packages (for fetching the wheels as pip is configured here)
#   --fast     `reproduce mini --fast` instead of the default command
#   --results  results.json of a run on this machine: the image must write the same bytes
#   --keep     leave the working folder, image included
# Needs root, Debian with debootstrap and buildah, 12 GB under TMPDIR. The base is made by debootstrap with this machine's apt
# sources; Debian's snapshot service is not used, so APT_SNAPSHOT is not run here.
set -euo pipefail
[ $# -gt 0 ] || { echo "semconv: image_check.sh needs the path of a Python, got nothing" >&2 && exit 2; }
python=$(command -v "$1") || { echo "semconv: image_check.sh needs the path of a Python, got '$1'" >&2 && exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
shift
options=() keep=""
while [ $# -gt 0 ]; do
  case $1 in
    --fast) options+=(--fast) ;;
    --keep) keep=1 ;;
    --results)
      [ -f "${2:-}" ] || { echo "semconv: --results must be a results.json, got '${2:-}'" >&2 && exit 2; }
      options+=(--results "$(realpath "$2")") && shift
      ;;
    *) echo "semconv: image_check.sh knows --fast, --results FILE and --keep, got '$1'" >&2 && exit 2 ;;
  esac
  shift
done
cd "$(dirname "$0")/../.."

lacking=()
[ "$(id -u)" = 0 ] || lacking+=("root")
for tool in debootstrap buildah unshare; do command -v "$tool" >/dev/null || lacking+=("$tool"); done
if [ ${#lacking[@]} -gt 0 ]; then
  echo "semconv: the image check needs ${lacking[*]}, not found (Debian: apt-get install debootstrap buildah)" >&2
  exit 2
fi
if [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != 3.11 ]; then
  echo "semconv: the image check fetches wheels for Python 3.11, got $("$python" --version)" >&2
  exit 2
fi

work=$(mktemp -d)
export TMPDIR="$work/tmp"  # what buildah keeps of cache mounts goes with the rest
mkdir "$TMPDIR"
builder=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
cleanup() {
  if [ -n "$keep" ]; then
    echo "semconv: kept $work (${builder[*]})"
  else
    "${builder[@]}" rm --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
  fi
}
trap cleanup EXIT

echo "semconv: base ..."
debootstrap --variant=minbase bookworm "$work/base" >"$work/debootstrap.log" || { tail "$work/debootstrap.log" >&2; exit 1; }
rm -f "$work"/base/var/cache/apt/archives/*.deb
if [ -f /etc/apt/sources.list.d/debian.sources ]; then  # with the updates that this machine gets
  rm "$work/base/etc/apt/sources.list"
  cp /etc/apt/sources.list.d/debian.sources "$work/base/etc/apt/sources.list.d/"
fi
container=$("${builder[@]}" from scratch)
"${builder[@]}" add --quiet "$container" "$work/base" / >/dev/null
"${builder[@]}" commit --quiet --rm "$container" localhost/semconv-base >/dev/null
rm -rf --one-file-system "$work/base"

echo "semconv: wheels ..."
# Fetched here, so that this machine's settings of pip count and none of them comes near the image.
scripts/release/install_locked.sh "$python" --cpu --dev --download "$work/wheels" 2>"$work/wheels.log" || { tail "$work/wheels.log" >&2; exit 1; }

echo "semconv: build ..."
start=$SECONDS
SEMCONV_BUILDER="${builder[*]}" PIP_EXTRA_INDEX_URL="" scripts/release/build_image.sh cpu --isolation chroot --network host \
  --build-arg CPU_BASE=localhost/semconv-base --build-arg APT_SNAPSHOT= --build-context wheels="$work/wheels" \
  >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
grep -E '^[0-9]+ passed' "$work/build.log" || { echo "semconv: the build ran no test" >&2; exit 1; }
"$python" scripts/checks/image_trial.py "${builder[*]}" semconv:cpu --work "$work" --build-seconds $((SECONDS - start)) "${options[@]}"
