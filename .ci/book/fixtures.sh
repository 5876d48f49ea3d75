# For the hidden `<!-- setup` blocks of pages: . $ROOT/.ci/book/fixtures.sh
# shellcheck shell=bash

# repository NAME FOLDER: a repository at https://git.example.org/NAME.git, made of a folder, which becomes its clone.
repository() {
  git init -q --bare "$GIT/$1.git"
  git -C "$2" init -q
  git -C "$2" add -A
  git -C "$2" commit -qm 'The first files'
  git -C "$2" remote add origin "$GIT/$1.git"
  git -C "$2" push -qu origin main
}

# A small compose file: web, and api with the text of its argument in its environment.
compose_of_shop() {
  cat <<'YAML'
services:
  web:
    image: skep-example:1
    stop_grace_period: 1s
    healthcheck: { test: [CMD, wget, -q, -O-, "http://127.0.0.1:8080/healthz"], interval: 1s, retries: 3 }
    deploy: { update_config: { monitor: 1s } }
  api:
    image: skep-example:1
    stop_grace_period: 1s
    deploy: { update_config: { monitor: 1s } }
YAML
}

# The repository `shop`, its clone in the folder `shop`, and its manifest shop.yml.
shop() {
  mkdir shop
  compose_of_shop >shop/docker-stack.yml
  repository shop shop
  url=$(git -C "$GIT" config --get-regexp 'url.*insteadof' | cut -d' ' -f2)
  cat >shop.yml <<YAML
kind: Stack
name: shop
source: { git: ${url}shop.git, ref: main, poll: 2s }
policy: { monitor: 1s, progressDeadline: 30s }
YAML
}

# proxied URL: through a proxy at URL, with the certificate skep.pem, Skep answers, takes what its page sends, and subscriptions live.
proxied() {
  local url=$1 origin
  for _ in $(seq 100); do curl -fsS --cacert skep.pem "$url/healthz" >/dev/null 2>&1 && break; sleep 0.1; done
  curl -fsS --cacert skep.pem "$url/readyz" >/dev/null
  for origin in "$url" https://evil.example.org; do
    curl -sS -o /dev/null -w '%{http_code}\n' --cacert skep.pem "$url/graphql" -H "Origin: $origin" -H "Authorization: Bearer $SKEP_TOKEN" \
      -H 'Content-Type: application/json' -d '{"query":"{ environments { name } }"}'
  done >codes
  [ "$(tr '\n' ' ' <codes)" = "200 403 " ] || { echo "by origin: $(cat codes)"; return 1; }
  printf 'kind: Stack\nname: seen\npolicy: { monitor: 1s }\ninline: |\n  services: { web: { image: "skep-example:1", stop_grace_period: 1s } }\n' |
    SSL_CERT_FILE=$PWD/skep.pem SKEP_SERVER=$url skep apply -f - --wait
  SSL_CERT_FILE=$PWD/skep.pem SKEP_SERVER=$url skep delete seen --yes
}

# skep_beside FOLDER FLAGS…: another Skep, with its data in that folder and no Swarm of its own; from now on commands go to it.
skep_beside() {
  skep serve --data "$1" --listen 127.0.0.1:0 --docker unix:///nowhere "${@:2}" >"$1.log" 2>&1 &
  for _ in $(seq 200); do grep -q '^skep: listening on ' "$1.log" && break; sleep 0.1; done
  SKEP_SERVER=$(sed -n 's/^skep: listening on //p' "$1.log" | head -n 1) SKEP_TOKEN=$(cat "$1/admin.token")
  export SKEP_SERVER SKEP_TOKEN
}

# portainer FILE ENV: what Portainer's API says of a stack of that file and these variables; a stand-in, for who has its key.
portainer() {
  export PORTAINER_KEY=a-key-of-portainer
  python3 - "$@" >portainer.log 2>&1 <<'PY' &
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
answers = {"/api/stacks/7/file": {"StackFileContent": open(sys.argv[1]).read()}, "/api/stacks/7": {"Id": 7, "Env": json.loads(sys.argv[2])}}
class Portainer(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["X-API-Key"] == os.environ["PORTAINER_KEY"]
        self.send_response(200 if known and self.path in answers else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path)).encode())
server = HTTPServer(("127.0.0.1", 0), Portainer)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
PY
  for _ in $(seq 100); do [ -s portainer.log ] && break; sleep 0.1; done
  asked_at https://portainer.example.org "$(head -n 1 portainer.log)"
}

# asked_at URL OTHER: what curl asks of the one it asks of the other.
asked_at() {
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nfor word; do shift; set -- "$@" "$(echo "$word" | sed "s|%s|%s|")"; done\nexec %s "$@"\n' "$1" "$2" "$(command -v curl)" >curl
  chmod +x curl
  export PATH=$PWD:$PATH
}

# git_over_tls NAME: the git host speaks TLS with the certificate NAME.pem from now on.
git_over_tls() {
  certificate "$1"
  printf '{\n admin off\n auto_https disable_redirects\n}\nhttps://127.0.0.1:17445 {\n tls %s %s\n reverse_proxy %s\n}\n' "$PWD/$1.pem" "$PWD/$1.key" \
    "$(git config --get-regexp 'url.*insteadof' | cut -d' ' -f2 | sed 's|http://||; s|/$||')" >"$1.caddy"
  caddy run --adapter caddyfile --config "$1.caddy" >"$1.log" 2>&1 &
  for _ in $(seq 100); do curl -sS --cacert "$1.pem" -o "$1.answer" https://127.0.0.1:17445/ 2>/dev/null && break; sleep 0.1; done
  export GIT_HOST=https://127.0.0.1:17445
}

# certificate NAME: of this machine, NAME.pem and NAME.key.
certificate() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout "$1.key" -out "$1.pem" -subj "/CN=$1.example.org" \
    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE 2>/dev/null
}

# sshd PORT: an sshd of this machine that nobody can sign in to; its key, as `skep credential trust` takes it, is HOST_KEY.
sshd() {
  ssh-keygen -q -t ed25519 -N '' -f host_key
  mkdir -p /run/sshd
  /usr/sbin/sshd -D -f /dev/null -p "$1" -h "$PWD/host_key" -o ListenAddress=127.0.0.1 -o PidFile=none -o AuthorizedKeysFile=none >sshd.log 2>&1 &
  for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && break; sleep 0.1; done
  HOST_KEY="[127.0.0.1]:$1 $(cut -d' ' -f1,2 host_key.pub)"
  export HOST_KEY
}

# release: an archive as `make dist` makes it, at https://downloads.example.org, with this page's skep in it.
release() {
  local archive
  archive=skep-$(skep --version | cut -d' ' -f2)-x86_64-unknown-linux-gnu
  mkdir -p "$DOWNLOADS/$archive"
  printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v skep)" >"$DOWNLOADS/$archive/skep"
  chmod +x "$DOWNLOADS/$archive/skep"
  (cd "$DOWNLOADS" && tar -czf "$archive.tar.gz" "$archive" && sha256sum "$archive.tar.gz" >SHA256SUMS)
}

# typescript FILE: its types hold, by the compiler of the page's sources. Node before 22.6 gets it as JavaScript, and the
# WebSocket that it has behind a flag.
typescript() {
  local bin=$ROOT/dashboard/node_modules
  "$bin/.bin/tsc" --strict --target es2022 --module esnext --moduleDetection force --lib es2023,dom --typeRoots js --outDir js "$1"
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 6) ? 0 : 1)' && return
  printf '{"type":"module"}' >js/package.json
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nshift\nfile=js/$(basename "$1" .ts).js\nshift\nexec %s --experimental-websocket "$file" "$@"\n' "$(command -v node)" >node
  chmod +x node
  export PATH=$PWD:$PATH
}

# here FILE…: what the files name under git.example.org is this page's git host.
here() {
  local url
  url=$(git config --get-regexp 'url.*insteadof' | cut -d' ' -f2)
  sed -i "s|https://git.example.org/|$url|" "$@"
}

# examples: the folder of examples as the demo has it, in a repository that its manifests name; ports of the host moved aside.
examples() {
  local url
  url=$(git config --get-regexp 'url.*insteadof' | cut -d' ' -f2)
  cp -r "$ROOT/examples" .
  find examples -name '*.yml' -exec sed -i "s|http://127.0.0.1:7718/|$url|; s/published: 180/published: 280/" {} +
  repository examples examples
  # What a page asks of the ports that it names.
  asked_at :180 :280
}
