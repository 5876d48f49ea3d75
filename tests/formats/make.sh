#!/usr/bin/env bash
# Makes a data folder that holds a record of every kind there is, for tests/formats: on a real Swarm, by what people do.
#   tests/formats/make.sh BINARY FOLDER      writes FOLDER/every-kind.tar.gz and FOLDER/every-kind.json
# It wants a Swarm of its own: a manager with the example images, and no other Skep. Of that Swarm only what it made is removed.
#
# The archive has `data/`, the folder as the version left it, with its key and the token of its admin; and `backup.tar`, taken
# of it shortly before. The folder is one that was restored from a backup of another, and worked in: so it is small, too.
# The JSON is what its own version said of it, as far as no engine is needed for that, with the words that open it: tests/backup.rs
# compares.
#
# Stacks: shop (git, a secret, three versions, the last by a hook), blog (a bad version rolled back and held), wiki (pinned),
# desk (a job that failed), bank (a version that waits for approval), tags (follows a registry), till (suspended, and too large for
# a record), ruin (never came up), platform-web (of a catalog), branch (of an environment behind a relay).
set -euo pipefail

[ $# = 2 ] || { echo 'usage: tests/formats/make.sh BINARY FOLDER' >&2; exit 2; }
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
work=$(mktemp -d)
[ -z "$(docker config ls -q --filter label=dev.skep.claim)" ] || { echo 'error: another Skep keeps this Swarm' >&2; exit 1; }
cd "$work"
unset SKEP_TOKEN SKEP_DATA SKEP_SERVER
secret=a-word-between-the-hook-and-its-sender
key=marked-value-of-a-variable-5c1d0
names=(shop blog wiki desk bank tags till ruin platform-web)
processes=()

clean() {
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || :; done
  for name in "${names[@]}"; do docker stack rm "$name" >/dev/null 2>&1 || :; done
  docker config ls -q --filter label=dev.skep.claim | xargs -r docker config rm >/dev/null
  docker rmi -f "${registry:-none}/web:1.0.0" >/dev/null 2>&1 || :
  rm -rf "$work"
}
trap clean EXIT
say() { printf '== %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
# until_it COMMAND…: until it succeeds, for two minutes at most.
until_it() {
  local end=$((SECONDS + 120))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "not within two minutes: $*"
    sleep 0.1
  done
}

# serve DATA PORT WORD…: a server, until it is ready.
serve() {
  local data=$1 port=$2
  shift 2
  "$binary" serve --listen "127.0.0.1:$port" --data "$data" --allow-private-addresses --allow-file-sources "$@" 2>>"$data.log" &
  processes+=("$!")
  "$binary" health --ready --patience 30s --url "http://127.0.0.1:$port" >/dev/null
}
end() {
  kill "${processes[-1]}"
  wait "${processes[-1]}" || die "it did not end well"
  unset 'processes[-1]'
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# The one that is asked: of the folder `now`.
now=old
skep() { "$binary" --server "http://127.0.0.1:$port" --data "$now" "$@"; }
ends_with() {
  local wanted=$1 code=0
  shift
  "$@" >&2 || code=$?
  [ "$code" = "$wanted" ] || die "ended with $code, not with $wanted: $*"
}

# web RELEASE COMMAND: a service of one task.
web() {
  cat <<END
services:
  web:
    image: skep-example:1
    environment: { RELEASE: "$1" }
    command: ${2:-[serve]}
    stop_grace_period: 1s
    deploy: { update_config: { monitor: 1s }, restart_policy: { delay: 500ms } }
END
}
# inline NAME POLICY: a manifest around the compose text on stdin.
inline() {
  printf 'kind: Stack\nname: %s\npolicy: { images: never, monitor: 1s, progressDeadline: 60s%s }\ninline: |\n' "$1" "${2:-}"
  sed 's/^/  /'
}
repository() {
  git init -q -b main "$1"
  git -C "$1" config user.name formats
  git -C "$1" config user.email formats@example.org
}
commit() {
  git -C "$1" add -A
  git -C "$1" commit -qm "$2"
  git -C "$1" rev-parse HEAD
}

port=$(free_port)
repository shop
{ web 1; printf '    secrets: [key]\nsecrets: { key: { environment: KEY } }\n'; } >shop/docker-stack.yml
first=$(commit shop one)
cat >shop.yml <<END
kind: Credential
name: shop-git
type: GitToken
hosts: [git.example.org]
data: { token: $key-of-a-host }
---
kind: Credential
name: hook-secret
type: Opaque
data: { secret: $secret }
---
kind: Stack
name: shop
source: { git: "file://$work/shop", ref: main, poll: 1h }
compose: [docker-stack.yml]
variables: { KEY: { value: $key, secret: true } }
policy: { images: never, monitor: 1s }
END

say "a far one, without an engine"
far=$(free_port)
serve far "$far" --docker unix:///nonexistent/docker.sock
far_token=$("$binary" --server "http://127.0.0.1:$far" --data far token create near --role operator --environments default)

say "a receiver, a registry"
receiver=$(free_port)
python3 - "$receiver" <<'END' &
import http.server, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
END
processes+=("$!")
registry=127.0.0.1:$(free_port)
printf 'version: 0.1\nstorage: { filesystem: { rootdirectory: %s } }\nhttp: { addr: %s }\n' "$work/registry" "$registry" >registry.yml
OTEL_TRACES_EXPORTER=none docker-registry serve registry.yml >registry.log 2>&1 &
processes+=("$!")
until_it curl -fsS "http://$registry/v2/"
docker tag skep-example:1 "$registry/web:1.0.0"
docker push -q "$registry/web:1.0.0" >/dev/null

say "everything that is declared"
serve old "$port"
skep apply -f shop.yml --wait >&2
reader=$(skep token create reader --role viewer --reason "looks on")
repository platform
mkdir platform/stacks
web 1 | inline platform-web >platform/stacks/web.yml
commit platform one >/dev/null
cat >rest.yml <<END
kind: Notifier
name: team
type: Webhook
url: http://127.0.0.1:$receiver/told
credential: hook-secret
---
kind: Hook
name: push
provider: Generic
secret: { credential: hook-secret }
rules: [{ when: "ref == 'refs/heads/main'", stacks: [shop], set: { ref: after } }]
---
kind: Hook
name: own
provider: GitHub
secret: { value: $secret }
rules: [{ stacks: [nothing] }]
---
kind: Catalog
name: platform
source: { git: "file://$work/platform", ref: main, path: "stacks/*.yml", poll: 1h }
allow: { names: ["platform-*"] }
---
kind: Credential
name: far
type: SkepToken
hosts: [127.0.0.1]
data: { token: "$far_token" }
---
kind: Environment
name: far
relay: { url: "http://127.0.0.1:$far", credential: far }
END
skep apply -f rest.yml >&2
until_it skep wait platform-web

say "versions that come, fail, wait and are brought back"
sed -i 's/RELEASE: "1"/RELEASE: "2"/' shop/docker-stack.yml
second=$(commit shop two)
skep deploy shop --ref "$second" --wait --reason "the second" >&2
web 1 | inline blog | skep apply -f - --wait >&2
web 2 "[sh, -c, 'echo giving up on purpose; exit 3']" | inline blog | ends_with 11 skep apply -f - --wait
web 1 | inline wiki | skep apply -f - --wait >&2
older=$(skep get stack wiki -o json | jq -r .deploymentId)
web 2 | inline wiki | skep apply -f - --wait >&2
skep rollback wiki "$older" --reason "readers liked it better" --wait >&2
{ web 1; printf '  migrate:\n    image: skep-example:1\n    x-skep: { hook: pre }\n    command: [sh, -c, "echo migrating; exit 7"]\n'; } |
  inline desk | ends_with 10 skep apply -f - --wait
{ web 1; printf '    labels: { x: %s }\n' "$(printf 'y%.0s' {1..40000})"; } | inline till | skep apply -f - --wait >&2
skep suspend till --reason "stocktaking" >&2
web 1 "[sh, -c, 'echo no luck; exit 4']" | inline ruin | ends_with 10 skep apply -f - --wait
web 1 | inline bank ', mode: approve' | skep apply -f - >&2
waits() { [ "$(skep get deployments bank -o json | jq -r '.[0].phase')" = AwaitingApproval ]; }
until_it waits
web 1 | sed "s|skep-example:1|$registry/web:0|" | inline tags |
  sed 's/^inline/images: { web: { semver: "~1.0", poll: 1h } }\ninline/; s/images: never, //' | skep apply -f - --wait >&2
web 1 | inline branch | sed 's/^name: branch/&\nenvironment: far/' | skep apply -f - >&2

told() { skep get notifiers -o json | jq -e '.[0].status.pending == 0 and .[0].status.delivered > 5'; }
until_it told
heard() { skep get deployments branch -e far -o json | jq -e '.[0].message | length > 0'; }
until_it heard

say "a folder that is restored from a backup, and goes on"
skep backup old.tar >&2
end
now=data
skep restore old.tar --key old/seal.key >&2
serve data "$port"
skep environment claim default --reason "the one before is lost" >&2
skep get stacks --token "$reader" -o name >&2
sed -i 's/RELEASE: "2"/RELEASE: "3"/' shop/docker-stack.yml
third=$(commit shop three)
printf '{"ref": "refs/heads/main", "after": "%s"}' "$third" >push.json
signature=$(openssl dgst -sha256 -hmac "$secret" -r push.json | cut -d' ' -f1)
curl -fsS "http://127.0.0.1:$port/hooks/push" -H 'content-type: application/json' -H "x-skep-signature-256: sha256=$signature" \
  -H 'x-skep-delivery: delivery-1' -H 'x-skep-event: push' --data-binary @push.json >&2
skep wait shop >&2

say "what it says of all that"
one() { for name in "${names[@]}"; do skep get stack "$name" -o json; done | jq -s .; }
of_hooks() { for hook in push own; do skep hook deliveries "$hook" -o json; done | jq -s add; }
written() {
  for name in blog desk ruin; do
    id=$(skep get deployments "$name" -o json | jq -r '[.[] | select(.failure)][0].id')
    jq -n --arg id "$id" --arg text "$(skep logs "$name" --deployment "$id" </dev/null | grep -o '^[a-z.0-9]*@.*' | sort -u)" '{($id): $text}'
  done | jq -s add
}
jq -n --sort-keys --indent 1 \
  --arg reader "$reader" --arg secret "$secret" --arg older "$older" \
  --rawfile payload push.json \
  --argjson commits "$(jq -n '$ARGS.positional' --args "$first" "$second" "$third")" \
  --argjson stacks "$(one)" \
  --argjson deployments "$(skep get deployments -o json --limit 200)" \
  --argjson hooks "$(skep hook list -o json)" \
  --argjson deliveries "$(of_hooks)" \
  --argjson notifiers "$(skep get notifiers -o json)" \
  --argjson catalogs "$(skep catalog list -o json)" \
  --argjson credentials "$(skep credential list -o json)" \
  --argjson tokens "$(skep token list -o json)" \
  --argjson logs "$(written)" \
  '$ARGS.named
  | .phases = (.stacks | map({key: .name, value: .phase}) | from_entries)
  | .attempts = (.deployments | map({key: .id, value: .phase}) | from_entries)
  | .stacks |= map({name, environment, generation, createdAt, deploymentId, desired, lastGood, held, pin, suspension, catalog})
  | .deployments |= map(select(.finishedAt) | del(.mappedRequest, .originalRequest))
  | .catalogs |= map(del(.inSync, .error))
  | .tokens |= map(del(.lastUsedAt))' >"$out/every-kind.json"
skep backup backup.tar >&2
end

say "the archive"
# Copies of repositories are fetched again.
rm -rf data/git
tar --sort=name --owner=0 --group=0 --numeric-owner -c data backup.tar | gzip -9n >"$out/every-kind.tar.gz"
ls -l "$out" >&2
