#!/usr/bin/env bash
# Makes stacks with `docker stack deploy`, takes them over with `skep adopt`, hands them back, and says how long each took
# and whether a container was replaced. It needs a Swarm that no other Skep keeps, and the image of examples/images.sh.
#
#   examples/adopt.sh [NUMBER]      20 when left out
#
# SKEP names the binary, DOCKER the docker CLI.
set -euo pipefail

number=${1:-20}
skep=${SKEP:-skep}
docker=${DOCKER:-docker}
work=$(mktemp -d)
server=
stacks=()

clean() {
  [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
  for stack in "${stacks[@]}"; do "$docker" stack rm "$stack" >/dev/null 2>&1 || true; done
  # A network goes when the last task on it has gone.
  for _ in $(seq 100); do
    left=$(for stack in "${stacks[@]}"; do "$docker" network ls -q --filter "label=com.docker.stack.namespace=$stack"; done)
    [ -n "$left" ] || break
    "$docker" network rm $left >/dev/null 2>&1 || sleep 0.2
  done
  for claim in $("$docker" config ls -q --filter label=dev.skep.claim); do "$docker" config rm "$claim" >/dev/null || true; done
  rm -rf "$work"
}
if [ -n "$("$docker" config ls -q --filter label=dev.skep.claim)" ]; then
  echo "another Skep keeps this Swarm" >&2
  exit 1
fi
trap clean EXIT

mkdir -p "$work"/{files,stacks}
echo 'a setting' >"$work/files/site.conf"
echo 'a key that nobody reads' >"$work/files/key.txt"
cat >"$work/files/stack.yml" <<'STACK'
services:
  web:
    image: skep-example:1
    command: [serve]
    networks: [front]
    configs: [{ source: site, target: /etc/site }]
    secrets: [key]
    stop_grace_period: 1s
networks: { front: {} }
configs: { site: { file: ./site.conf } }
secrets: { key: { file: ./key.txt } }
STACK
git -C "$work/files" init -q -b main
git -C "$work/files" add .
git -C "$work/files" -c user.name=example -c user.email=example@localhost commit -qm first

for i in $(seq "$number"); do
  stacks+=("adopt-$i")
  cat >"$work/stacks/adopt-$i.yml" <<MANIFEST
kind: Stack
name: adopt-$i
source: { git: "file://$work/files", ref: main, poll: 1h }
compose: [stack.yml]
policy: { monitor: 1s }
MANIFEST
done

containers() {
  for stack in "${stacks[@]}"; do
    "$docker" ps -q --no-trunc --filter "label=com.docker.stack.namespace=$stack"
  done | sort
}
deploy() {
  for stack in "${stacks[@]}"; do
    "$docker" stack deploy --resolve-image never -c "$work/files/stack.yml" "$stack" >/dev/null 2>&1
  done
}
timed() {
  local what=$1 begun
  shift
  begun=$(date +%s%N)
  "$@"
  printf '%-44s %8.2f s\n' "$what" "$(( ($(date +%s%N) - begun) / 10000000 ))e-2"
}

timed "docker stack deploy, $number stacks" deploy
until [ "$(containers | wc -l)" -eq "$number" ]; do sleep 0.5; done
before=$(containers)

export SKEP_DATA="$work/data"
"$skep" serve --listen 127.0.0.1:0 --allow-file-sources 2>"$work/log" &
server=$!
until grep -q '^skep: listening on ' "$work/log"; do
  kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
SKEP_SERVER=$(sed -n 's/^skep: listening on //p' "$work/log" | head -1)
export SKEP_SERVER
SKEP_TOKEN=$(cat "$SKEP_DATA/admin.token")
export SKEP_TOKEN

release() { for stack in "${stacks[@]}"; do "$skep" release "$stack" >/dev/null 2>&1; done; }
unchanged() { for stack in "${stacks[@]}"; do "$skep" diff "$stack" >/dev/null; done; }

plan() { "$skep" adopt --all -f "$work/stacks" --dry-run >"$work/plans"; }
timed "skep adopt --all --dry-run" plan
adopt() { "$skep" adopt --all -f "$work/stacks" --wait >/dev/null 2>&1; }
timed "skep adopt --all --wait (1 s of watching each)" adopt
timed "skep diff: nothing is left to do" unchanged
timed "skep release" release
timed "docker stack deploy again" deploy
if [ "$before" = "$(containers)" ]; then
  echo "the same $number containers as before"
else
  echo "containers were replaced" >&2
  exit 1
fi
