#!/usr/bin/env bash
# Builds the image from a binary that was built outside: packaging/image.sh BINARY TAG
# No base image is needed. The binary may be static (make image) or not: then its libraries are taken along.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
docker=${DOCKER:-docker}
[ $# = 2 ] || { echo 'usage: packaging/image.sh BINARY TAG' >&2; exit 2; }
binary=$1
tag=$2
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

"$here/root.sh" "$binary" "$context/root"
version=$("$binary" --version | cut -d' ' -f2)
revision=$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}" +%Y-%m-%dT%H:%M:%SZ)

# As one archive, whose owners are kept: root's, but for the data folder. A fixed time gives the same layer each time.
archive() { tar --sort=name --mtime=@0 --numeric-owner -C "$context/root" "$@"; }
archive --owner=0 --group=0 --exclude=./var/lib/skep -cf "$context/root.tar" .
archive --owner=65532 --group=65532 -rf "$context/root.tar" ./var/lib/skep
rm -rf "$context/root"
cp "$here/Dockerfile" "$context/"

# The builder without BuildKit can do it, too: it is on every engine.
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} "$docker" build -q -t "$tag" \
  --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" "$context"
