# What the scripts beside this one share. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
# One place for everything that is made.
target=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$target"
# The node that .ci/setup brings where the system's own is too old.
own_node=$target/node
# And other tools of its own.
own_tools=$target/tools
PATH=$own_tools:$PATH
for own in "$own_node"/node_modules/node-linux-*/bin; do
  [ ! -d "$own" ] || PATH=$own:$own_node/node_modules/.bin:$PATH
done

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
export CARGO_TERM_PROGRESS_WHEN=never
export GIT_TERMINAL_PROMPT=0
export DEBIAN_FRONTEND=noninteractive

say() { printf '\n== %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# wait_for SECONDS COMMAND…: until the command succeeds.
wait_for() {
  local end
  end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
