#!/usr/bin/env bash
# What Skep weighs, and how soon it is there: packaging/figures.sh BINARY [IMAGE]
# Sizes of the binary and the image; from the start on an empty folder until it listens (the median of nine); memory after ten
# seconds with nothing declared, connected to the engine of DOCKER_HOST or the local socket.
set -euo pipefail

[ $# -ge 1 ] || { echo 'usage: packaging/figures.sh BINARY [IMAGE]' >&2; exit 2; }
binary=$1
image=${2:-}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

# Starts a server on this folder, and waits until it listens.
start() {
  mkfifo "$1.pipe"
  "$binary" serve --listen 127.0.0.1:0 --log error --data "$1" 2>"$1.pipe" &
  server=$!
  while read -r line; do
    case $line in *'listening on'*) break ;; esac
  done <"$1.pipe"
}

times=()
for round in 1 2 3 4 5 6 7 8 9; do
  before=$(date +%s%N)
  start "$folder/$round"
  after=$(date +%s%N)
  times+=($(((after - before) / 1000000)))
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
done
median=$(printf '%s\n' "${times[@]}" | sort -n | sed -n 5p)

start "$folder/idle"
sleep 10
memory=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$server/status")

echo "binary    $(mib "$(stat -c %s "$binary")")"
[ -z "$image" ] || echo "image     $(mib "$(docker image inspect -f '{{.Size}}' "$image")")"
echo "start-up  $median ms"
echo "memory    $(mib "$memory")"
