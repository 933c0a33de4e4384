#!/usr/bin/env bash
# Builds the container image semconv:cpu or semconv:gpu with docker, podman or buildah, whichever is there.
# Usage: scripts/release/build_image.sh [cpu|gpu] [OPTIONS OF THE BUILDER...], such as --build-arg UID=1234
# SEMCONV_BUILDER chooses the builder, options before its command included ("buildah --storage-driver vfs").
# PIP_EXTRA_INDEX_URL is handed on: the cpu image needs PyTorch's CPU index there, or --build-context wheels=FOLDER.
# podman and buildah find the base images if their registries.conf says where short names are looked up.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-cpu}
[ $# -eq 0 ] || shift
if [ "$target" != cpu ] && [ "$target" != gpu ]; then
  echo "semconv: the image is cpu or gpu, got '$target'" >&2
  exit 2
fi
if [ "$(uname -m)" != x86_64 ]; then
  echo "semconv: the image is built and tested for x86_64 only, found $(uname -m)" >&2
  exit 2
fi

builder=${SEMCONV_BUILDER:-}
if [ -z "$builder" ]; then
  if docker info >/dev/null 2>&1; then  # a client without an engine builds nothing
    builder=docker
  else
    builder=$(command -v podman || command -v buildah || true)
    builder=${builder##*/}
  fi
fi
read -ra builder <<<"$builder"
if [ ${#builder[@]} -eq 0 ] || ! command -v "${builder[0]}" >/dev/null; then
  echo "semconv: docker with a running engine, podman or buildah is needed to build the image, found ${builder[0]:+no }${builder[0]:-none}" >&2
  exit 2
fi

commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || commit+="+changes"
epoch=$(git log -1 --format=%ct 2>/dev/null || echo 0)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image=semconv:$target
began=$SECONDS
"${builder[@]}" build --file Dockerfile --target "$target" --tag "$image" --build-arg SEMCONV_COMMIT="$commit" \
  --build-arg VERSION="$version" --build-arg SOURCE_DATE_EPOCH="$epoch" --build-arg PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-}" "$@" .

case ${builder[0]##*/} in
  buildah) size=$("${builder[@]}" images --format '{{.Size}}' "$image") ;;
  *) size=$("${builder[@]}" image inspect --format '{{.Size}}' "$image" | numfmt --to=si --suffix=B) ;;
esac
gpus=""
[ "$target" = cpu ] || gpus=" --gpus all"
echo "semconv: $image, $size, built in $((SECONDS - began)) s with ${builder[0]##*/}"
case ${builder[0]##*/} in
  buildah) echo "semconv: buildah only builds; to run it elsewhere: ${builder[*]} push $image docker-archive:semconv-$target.tar" ;;
  *) echo "semconv: ${builder[*]} run --rm$gpus --network none -v \"\$PWD/results:/results\" $image" ;;
esac
