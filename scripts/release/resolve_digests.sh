#!/usr/bin/env bash
# Writes the digest that each base image's tag has today into the ARG lines of the Dockerfile (name:tag@sha256:...).
# Needs skopeo, docker or buildah, whichever is there, and the registry. Not run where this was made: no registry was reached.
# Usage: scripts/release/resolve_digests.sh [DOCKERFILE]
set -euo pipefail
dockerfile=${1:-$(dirname "$0")/../../Dockerfile}

digest() {  # digest NAME:TAG
  if command -v skopeo >/dev/null; then
    skopeo inspect --format '{{.Digest}}' "docker://$1"
  elif command -v docker >/dev/null; then
    docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
  elif command -v buildah >/dev/null; then
    buildah pull --quiet "$1" >/dev/null && buildah inspect --type image --format '{{.FromImageDigest}}' "$1"
  else
    echo "semconv: skopeo, docker or buildah is needed to resolve digests, found none" >&2
    return 2
  fi
}

resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
cp "$dockerfile" "$resolved"
while IFS='=' read -r name reference; do
  tag=${reference%@*}
  found=$(digest "$tag")
  case $found in
    sha256:????????????????????????????????????????????????????????????????) ;;
    *) echo "semconv: expected a digest sha256:... for $tag, got '$found'" >&2 && exit 2 ;;
  esac
  sed -i "s|^ARG $name=.*|ARG $name=$tag@$found|" "$resolved"
  echo "$tag@$found"
done < <(sed -n 's/^ARG \([A-Z_]*BASE=.*\)/\1/p' "$dockerfile")
cat "$resolved" >"$dockerfile"  # all or none
