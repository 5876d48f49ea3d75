#!/usr/bin/env bash
# What a release is, of a binary that was built outside: packaging/dist.sh BINARY TARGET FOLDER
# The same binary and commit give the same files. A binary that needs libraries is refused, unless DYNAMIC=1 says that it is a trial.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
die() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}
[ $# = 3 ] || { echo 'usage: packaging/dist.sh BINARY TARGET FOLDER' >&2; exit 2; }
binary=$1
target=$2
folder=$3

# One version everywhere.
version=$("$binary" --version | cut -d' ' -f2)
crate=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
chart=$(sed -n 's/^appVersion: "\(.*\)"/\1/p' "$root/charts/skep/Chart.yaml")
[ "$version" = "$crate" ] || die "the binary is $version, Cargo.toml says $crate" "build it anew"
[ "$version" = "$chart" ] || die "the chart is for $chart, Cargo.toml says $version" "set appVersion in charts/skep/Chart.yaml"
if [ "${DYNAMIC:-}" != 1 ] && ldd "$binary" >/dev/null 2>&1; then
  die "$binary needs libraries" "make static"
fi

# The changelog's entry; a commit that bears the tag of its version has one.
entry() { awk -v head="## [$1]" 'index($0, "## [") == 1 { on = index($0, head) == 1; next } on' "$root/CHANGELOG.md"; }
notes=$(entry "$version")
if [ -z "$notes" ]; then
  if git -C "$root" tag --points-at HEAD 2>/dev/null | grep -qx "v$version"; then
    die "CHANGELOG.md has no entry for $version" "move what is under Unreleased there, with the day"
  fi
  echo "CHANGELOG.md has no entry for $version yet: this is no release" >&2
  notes=$(entry Unreleased)
fi

name=skep-$version-$target
rm -rf "$folder"
mkdir -p "$folder/$name"/{completions,install}
install -m 755 "$binary" "$folder/$name/skep"
install -m 644 "$root"/{LICENSE,CHANGELOG.md,SECURITY.md} "$folder/$name/"
install -m 644 "$root/packaging/skep.service" "$folder/$name/install/"
install -m 644 "$root"/examples/install/* "$folder/$name/install/"
for shell in bash zsh fish; do
  "$binary" completions "$shell" >"$folder/$name/completions/skep.$shell"
done
# Manual pages, where the binary can write them.
if "$binary" man --help >/dev/null 2>&1; then
  mkdir "$folder/$name/man"
  "$binary" man "$folder/$name/man" >/dev/null
fi

time=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}
tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner -C "$folder" -c "$name" | gzip -n >"$folder/$name.tar.gz"
rm -rf "${folder:?}/$name"
printf '%s\n' "$notes" >"$folder/RELEASE.md"
(cd "$folder" && sha256sum "$name.tar.gz" >SHA256SUMS)
echo "$folder/$name.tar.gz"
