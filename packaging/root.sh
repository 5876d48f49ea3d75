#!/usr/bin/env bash
# Lays out the root of the image in a folder: packaging/root.sh BINARY FOLDER
# The binary, ssh for what is reached by ssh, the libraries that the two name, CA certificates, a user; nothing else.
# What it takes of the system is this machine's: Debian's, where CI runs.
set -euo pipefail

binary=$1
root=$2
user=65532

die() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

[ -x "$binary" ] || die "$binary is no program" "make build, or make static"
ssh=$(command -v ssh) || die "ssh is not there" "install openssh-client"
certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || die "$certificates is not there" "install ca-certificates"

mkdir -p "$root"/{etc/ssl/certs,tmp,usr/bin,var/lib/skep}
install -m 755 "$binary" "$root/usr/bin/skep"
install -m 755 "$(realpath "$ssh")" "$root/usr/bin/ssh"
install -m 644 "$(realpath "$certificates")" "$root$certificates"

# The loader and the libraries, by the paths at which they are looked for. A static program has none.
libraries() { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true; }
{ libraries "$binary"; libraries "$ssh"; } | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  install -m 755 "$(realpath "$library")" "$root$library"
done

# ssh asks who it runs as. No shell, no password.
printf 'root:x:0:0:root:/var/lib/skep:/nonexistent\nskep:x:%s:%s:skep:/var/lib/skep:/nonexistent\n' "$user" "$user" >"$root/etc/passwd"
printf 'root:x:0:\nskep:x:%s:\n' "$user" >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 644 "$root"/etc/{passwd,group,nsswitch.conf}
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/skep"
