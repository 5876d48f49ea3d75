#!/usr/bin/env bash
# Makes the image of the examples from the system's static busybox, so that no registry is needed:
# skep-example:1, :2 and :3, a small web server with /healthz, and skep-example:broken, which has no /healthz.
set -euo pipefail

busybox=${BUSYBOX:-$(command -v busybox)}
docker=${DOCKER:-docker}
recipe=$(cat "$0" "$busybox" | sha256sum | cut -c1-16)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree"/{bin,etc,tmp,run,www/cgi-bin}
cp "$busybox" "$tree/bin/busybox"
for name in $("$busybox" --list); do
  [ "$name" = busybox ] || ln -s busybox "$tree/bin/$name"
done
# The first process of a container ignores signals it has no trap for.
cat >"$tree/bin/serve" <<'SERVE'
#!/bin/sh
trap 'exit 0' TERM INT
httpd -f -p 8080 -h /www "$@" &
wait
SERVE
cat >"$tree/www/cgi-bin/about" <<'ABOUT'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "${GREETING:-hello} from version $(cat /etc/version)${KEY_FILE:+, with a key of $(wc -c <"$KEY_FILE") bytes}"
ABOUT
cat >"$tree/www/cgi-bin/api" <<'API'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
wget -q -O- "$(cat /etc/upstream)" 2>&1
API
chmod 755 "$tree"/bin/serve "$tree"/www/cgi-bin/*
echo ok >"$tree/www/healthz"

# A fixed time and owner give the same layer each time.
image() {
  local tag=$1
  echo "$tag" >"$tree/etc/version"
  echo "skep-example, version $tag" >"$tree/www/index.html"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$tree" -c . |
    "$docker" import -c 'ENV PATH=/bin' -c "ENV VERSION=$tag" -c "LABEL recipe=$recipe" -c 'CMD ["serve"]' - "skep-example:$tag" >/dev/null
}

made() { [ "$("$docker" image inspect -f '{{index .Config.Labels "recipe"}}' "skep-example:$1" 2>/dev/null)" = "$recipe" ]; }

if made 1 && made 2 && made 3 && made broken; then
  exit 0
fi
for tag in 1 2 3; do
  image "$tag"
done
# With exit code 0 after an unhealthy verdict, the engine would call the task complete and say nothing of its health.
rm "$tree/www/healthz"
sed -i 's/exit 0/exit 1/' "$tree/bin/serve"
image broken
echo "made skep-example:{1,2,3,broken}"
