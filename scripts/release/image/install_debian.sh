#!/bin/sh
# In a build: installs Debian or Ubuntu packages as of one moment. Usage: install_debian.sh SNAPSHOT PACKAGE...
# SNAPSHOT is YYYYMMDDTHHMMSSZ; empty takes what the base image's sources serve today. The snapshot must not be older than
# the base image, whose packages it could not match.
set -eu
snapshot=$1
shift

if [ "$(uname -m)" != x86_64 ]; then
  echo "semconv: the image is built and tested for x86_64 only, found $(uname -m)" >&2
  exit 2
fi
# shellcheck source=/dev/null
. /etc/os-release
case $snapshot in
  "") ;;
  [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z)
    if [ "$ID" = ubuntu ]; then
      # apt of Ubuntu 24.04 knows the snapshot service of the archives it knows; others, like NVIDIA's, have none.
      echo "APT::Snapshot \"$snapshot\";" >/etc/apt/apt.conf.d/50semconv-snapshot
    else
      # Debian's images name the snapshot they were made from in a comment above each archive: it becomes the archive.
      sources=/etc/apt/sources.list.d/debian.sources
      if grep -qs "^URIs: .*/$snapshot\$" "$sources"; then
        :  # done by an earlier stage
      elif ! grep -qs '^# http.*/archive/.*/[0-9]\{8\}T[0-9]\{6\}Z$' "$sources"; then
        echo "semconv: APT_SNAPSHOT needs a base image that names its snapshot in $sources, as Debian's official images do" >&2
        exit 2
      else
        sed -i -e '/^URIs:/d' -e "s|^# \(http.*/archive/.*/\)[0-9]\{8\}T[0-9]\{6\}Z\$|Check-Valid-Until: no\nURIs: \1$snapshot|" "$sources"
      fi
    fi
    ;;
  *)
    echo "semconv: APT_SNAPSHOT must look like 20261120T000000Z or be empty, got '$snapshot'" >&2
    exit 2
    ;;
esac

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache
