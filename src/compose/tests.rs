//! Broken input: each with the place, the field and the mend; and what must hold for any input.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{Compat, Digester, StackName, UnsetVariables};

#[derive(Default)]
struct World {
    variables: BTreeMap<String, VariableValue>,
    images: BTreeMap<String, String>,
    attachments: BTreeMap<String, Attachment>,
    compat: Compat,
}

impl World {
    fn render(&self, files: &[(&str, &str)]) -> Result<Render, RenderErrors> {
        let stack = StackName::parse("shop").unwrap();
        let files: Vec<ComposeFile<'_>> = files.iter().map(|&(name, text)| ComposeFile { name, text }).collect();
        render(&RenderInput {
            stack: &stack,
            files: &files,
            variables: &self.variables,
            images: &self.images,
            compat: self.compat,
            unset: UnsetVariables::Error,
            attachments: &self.attachments,
            folder: "deploy",
            digester: &Digester::new([7; 32]),
        })
    }

    fn secret(name: &str, text: &str) -> Self {
        let value = VariableValue { text: text.to_owned(), secret: true };
        Self { variables: BTreeMap::from([(name.to_owned(), value)]), ..Self::default() }
    }

    fn attach(mut self, path: &str, content: Result<Vec<u8>, &str>) -> Self {
        self.attachments.insert(path.to_owned(), content.map(Arc::from).map_err(str::to_owned));
        self
    }

    fn image(service: &str, version: &str) -> Self {
        Self { images: BTreeMap::from([(service.to_owned(), version.to_owned())]), ..Self::default() }
    }

    #[track_caller]
    fn refuses(&self, text: &str, expected: &str) {
        let found = match self.render(&[("s.yml", text)]) {
            Ok(rendered) => panic!("{text}\nwas taken: {rendered:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(found == expected, "\n{text}\ngave\n{found}\nbut not\n{expected}");
    }
}

/// Broken files with everything they are told.
const BROKEN: &[(&str, &str)] = &[
    (
"",
"s.yml:1:1: the file is empty; declare `services`",
    ),
    (
"- a
",
"s.yml:1:1: must be a map, but is a list",
    ),
    (
"services: [
",
"s.yml:1:11: services: not valid YAML: unclosed bracket '['",
    ),
    (
"services:
  web:
	image: x
",
"s.yml:3:2: services: not valid YAML: tabs disallowed within this context (block indentation)",
    ),
    (
"services: {}
",
"s.yml:1:1: services: declares no service; a stack has at least one; to remove a stack, delete it",
    ),
    (
"volumes: {}
",
"s.yml:1:1: services: declares no service; a stack has at least one; to remove a stack, delete it",
    ),
    (
"services:
  web:
",
"s.yml:2:6: services.web: must be a map, but is empty; remove the key or give it a value",
    ),
    (
"services:
  web: {}
",
"s.yml:2:8: services.web: has no image; Swarm runs images only: name one in `image`",
    ),
    (
"services:
  web:
    image: demo:1
    prots: [80]
",
"s.yml:4:5: services.web.prots: unknown key; did you mean `ports`?",
    ),
    (
"services:
  web:
    image: demo:1
    frobnicate: 1
",
"s.yml:4:5: services.web.frobnicate: unknown key",
    ),
    (
"servces: {}
services: { web: { image: x } }
",
"s.yml:1:1: servces: unknown key; did you mean `services`?",
    ),
    (
"services:
  web:
    image: demo:1
    image: demo:2
",
"s.yml:4:5: services.web.image: `image` stands here twice; first in line 3; keep one of them",
    ),
    (
"services:
  web:
    image: demo:1
    environment:
      1: x
",
"s.yml:5:7: services.web.environment: the key `1` is a number, not text; put it in quotes",
    ),
    (
"services:
  web:
    image: demo:1
    hostname: !custom x
",
"s.yml:4:23: services.web.hostname: unknown YAML tag `!custom`; only `!reset` and `!override` have a meaning here",
    ),
    (
"services: { web: { image: x } }
---
services: {}
",
"s.yml:2:1: a second YAML document; put it into a file of its own",
    ),
    (
"a: &a [*a]
services: { web: { image: x } }
",
"s.yml:1:8: a[0]: an alias inside the value it stands for",
    ),
    (
"x: &x [1]
services:
  web:
    <<: *x
    image: demo
",
"s.yml:1:8: services.web: `<<` takes a map or a list of maps; name an anchor: `*name`",
    ),
    (
"services:
  web:
    image: demo:1
    ports:
",
"s.yml:4:10: services.web.ports: must be a list, but is empty; remove the key or give it a value",
    ),
    (
r#"services:
  web:
    image: demo:1
    ports: ["80:80:80:80"]
"#,
"s.yml:4:13: services.web.ports[0]: Swarm publishes a port on every address of a node; remove the address, and close the port with a firewall where it must not be reached",
    ),
    (
r#"services:
  web:
    image: demo:1
    ports: ["127.0.0.1:80:80"]
"#,
"s.yml:4:13: services.web.ports[0]: Swarm publishes a port on every address of a node; remove the address, and close the port with a firewall where it must not be reached",
    ),
    (
r#"services:
  web:
    image: demo:1
    ports: ["1-3:5-6", "99999:1", "80/ftp", 8.5, "9-3:1"]
"#,
r#"s.yml:4:13: services.web.ports[0]: the two ranges have different lengths; give both the same length, or the target one port
s.yml:4:24: services.web.ports[1]: `99999` is not a port from 1 to 65535
s.yml:4:35: services.web.ports[2]: `ftp` is none of tcp, udp, sctp
s.yml:4:45: services.web.ports[3]: must be a port such as "8080:80", or a map with `target`; put it in quotes
s.yml:4:50: services.web.ports[4]: the range `9-3` runs backwards"#,
    ),
    (
"services:
  web:
    image: demo:1
    ports:
      - { published: 80, host_ip: 1.2.3.4, mode: hots }
      - { target: 70000 }
",
"s.yml:5:9: services.web.ports[0]: has no `target`; name the container's port
s.yml:5:35: services.web.ports[0].host_ip: Swarm publishes a port on every address of a node; remove the address, and close the port with a firewall where it must not be reached
s.yml:5:50: services.web.ports[0].mode: `hots` is none of ingress, host; did you mean `host`?
s.yml:6:19: services.web.ports[1].target: 70000 is not between 1 and 65535",
    ),
    (
r#"services:
  web:
    image: demo:1
    ports: ["80:80", "80:81"]
"#,
"s.yml:4:22: services.web.ports[1]: port 80/tcp is published twice by this service; publish it once",
    ),
    (
r#"services:
  web:
    image: demo:1
    ports: ["80:80"]
  other:
    image: x
    ports: ["80:8080"]
"#,
"s.yml:7:13: services.other.ports[0]: port 80/tcp is published by `web` already; each port of the Swarm belongs to one service",
    ),
    (
"services:
  web:
    image: demo:1
    ports: [80]
    deploy: { endpoint_mode: dnsrr }
",
"s.yml:4:13: services.web.ports[0]: a port in ingress mode does not go with `endpoint_mode: dnsrr`; give the port `mode: host`, or remove `endpoint_mode`",
    ),
    (
r#"services:
  web:
    image: demo:1
    volumes: ["./conf:/etc/conf", "data:/x", "a::b", "/a:/b:weird", "/c:/d:ro:x", "~/a:/e"]
"#,
"s.yml:4:15: services.web.volumes[0]: the bind `./conf` is relative; nodes do not have the repository: use `configs` for files, or an absolute path on the nodes
s.yml:4:35: services.web.volumes[1]: undefined volume `data`; declare it: `volumes: { data: {} }`
s.yml:4:46: services.web.volumes[2]: `a::b` has an empty part; write it as `source:/target:options`
s.yml:4:54: services.web.volumes[3]: unknown mount option `weird`; one of ro, rw, nocopy, or a propagation
s.yml:4:69: services.web.volumes[4]: `/c:/d:ro:x` has too many colons; write it as `source:/target:options`
s.yml:4:83: services.web.volumes[5]: the bind `~/a` is relative; nodes do not have the repository: use `configs` for files, or an absolute path on the nodes",
    ),
    (
"services:
  web:
    image: demo:1
    volumes:
      - { source: a, target: b }
      - { type: tmpfs, source: a, target: /t }
      - { type: volume, target: /v, bind: { propagation: rslave } }
      - { type: cluster, target: /x }
      - { type: bind, target: /y }
      - { type: volume }
",
"s.yml:5:9: services.web.volumes[0]: has no `type`; one of volume, bind, tmpfs
s.yml:6:9: services.web.volumes[1]: a tmpfs has no source; remove `source`
s.yml:7:43: services.web.volumes[2].bind: options of a bind do not go with the type volume
s.yml:8:17: services.web.volumes[3].type: `cluster` is none of volume, bind, tmpfs
s.yml:9:9: services.web.volumes[4]: a bind has no source; name the path on the node
s.yml:10:9: services.web.volumes[5]: has no target; name the path inside the container",
    ),
    (
"services:
  web:
    image: demo:1
    volumes: [/a, /a]
",
"s.yml:4:19: services.web.volumes[1]: `/a` is mounted twice; keep one of the mounts",
    ),
    (
"services:
  web:
    image: demo:1
    networks: [frnt]
networks:
  front:
",
"s.yml:4:16: services.web.networks[0]: undefined network `frnt`; did you mean `front`?",
    ),
    (
"services:
  web:
    image: demo:1
    networks: { default: { ipv4_address: 10.0.0.1 } }
",
"s.yml:4:42: services.web.networks.default.ipv4_address: Swarm cannot give a task a fixed address; remove it, and reach the service by its name",
    ),
    (
"networks:
  front: { external: true, driver: overlay }
  back: { ipam: { config: [{ subnet: 10.0.0.0 , gateway: 10.0.0.1 }] } }
services:
  web:
    image: demo:1
",
"s.yml:2:28: networks.front.driver: an external object is not made here; remove it, or remove `external`
s.yml:3:38: networks.back.ipam.config[0].subnet: `10.0.0.0` is not a subnet; write it like `10.10.0.0/24`
s.yml:3:49: networks.back.ipam.config[0].gateway: not supported in a stack; remove it: `docker stack deploy` takes the subnet only",
    ),
    (
r#"services:
  web:
    image: demo:1
    configs: [a, { target: /x }]
configs:
  b: {}
  c: { file: x, content: y }
  d: { content: "" }
  e: { file: /etc/passwd }
  f: { file: ../../secret }
  g: { file: "~/x" }
"#,
"s.yml:4:15: services.web.configs[0]: undefined config `a`; declare it under the top-level `configs`
s.yml:4:18: services.web.configs[1]: has no `source`; name a declared object
s.yml:6:6: configs.b: nothing says what it holds; give one of `file`, `content`, `environment`, or `external: true`
s.yml:7:6: configs.c: more than one thing says what it holds; give one of `file`, `content`, `environment`, or `external: true`
s.yml:8:17: configs.d.content: the config is empty; Swarm takes one byte or more
s.yml:9:14: configs.e.file: `/etc/passwd` is not inside the repository; name a file of the repository, relative to the compose file
s.yml:10:14: configs.f.file: `../../secret` leaves the repository; name a file inside it
s.yml:11:14: configs.g.file: `~/x` is not inside the repository; name a file of the repository, relative to the compose file",
    ),
    (
r#"services:
  web:
    image: demo:1
    secrets: [{ source: a, mode: 0999 }, { source: a, target: a, mode: 07777777 }]
secrets:
  a: { environment: NOPE }
  "b c": { external: true }
  -d: { environment: NOPE }
"#,
"s.yml:4:34: services.web.secrets[0].mode: `0999` is not a file mode; write it like `0440`
s.yml:4:42: services.web.secrets[1]: the target `a` is used twice; give one of them another `target`
s.yml:4:72: services.web.secrets[1].mode: `07777777` is not a file mode; write it like `0440`
s.yml:6:21: secrets.a.environment: variable `NOPE` is not set; set it in the stack's `variables`
s.yml:8:22: secrets.-d.environment: variable `NOPE` is not set; set it in the stack's `variables`",
    ),
    (
"services:
  web:
    image: demo:1
    environment: { A: true, B: [x] }
    labels: [{ a: b }]
",
r#"s.yml:4:23: services.web.environment.A: must be text or a number, but is a boolean; write "true"
s.yml:4:32: services.web.environment.B: must be text or a number, but is a list
s.yml:5:14: services.web.labels[0]: must be text, but is a map"#,
    ),
    (
"services:
  web:
    image: demo:1
    privileged: true
    network_mode: host
    devices: [/dev/a]
    security_opt: [x]
    shm_size: 1g
    pid: host
    tmpfs: /tmp
",
"s.yml:4:5: services.web.privileged: Swarm cannot do this: `privileged` is not part of a service; use `cap_add`
s.yml:5:5: services.web.network_mode: Swarm cannot do this: `network_mode` is not part of a service; use `networks`
s.yml:6:5: services.web.devices: Swarm cannot do this: `devices` is not part of a service; use `deploy.resources.reservations.generic_resources`, or a bind of the device
s.yml:7:5: services.web.security_opt: Swarm cannot do this: `security_opt` is not part of a service; remove it
s.yml:8:5: services.web.shm_size: Swarm cannot do this: `shm_size` is not part of a service; mount a tmpfs at /dev/shm: `volumes: [{ type: tmpfs, target: /dev/shm }]`
s.yml:9:5: services.web.pid: Swarm cannot do this: `pid` is not part of a service; remove it
s.yml:10:5: services.web.tmpfs: `docker stack deploy` drops `tmpfs`; use `volumes: [{ type: tmpfs, target: … }]`",
    ),
    (
"services:
  web:
    image: demo:1
    extends: { service: other }
    mem_limit: 1g
    profiles: [a]
    scale: 2
    credential_spec: { file: x }
",
"s.yml:4:5: services.web.extends: not supported in a stack; use a YAML anchor, or several compose files
s.yml:5:5: services.web.mem_limit: not supported in a stack; use `deploy.resources.limits.memory`
s.yml:6:5: services.web.profiles: not supported in a stack; put the service into a compose file of its own
s.yml:7:5: services.web.scale: not supported in a stack; use `deploy.replicas`
s.yml:8:5: services.web.credential_spec: not supported in a stack; remove it: Windows accounts are not handled yet",
    ),
    (
r#"services:
  web:
    image: demo:1
    links: ["db:database"]
    depends_on: [wbe]
"#,
"s.yml:4:13: services.web.links[0]: Swarm has no links: `database` would not be found; give `db` the alias on a network: `networks: { default: { aliases: [database] } }`
s.yml:5:18: services.web.depends_on[0]: undefined service `wbe`; did you mean `web`?",
    ),
    (
r#"services:
  web:
    image: demo:1
    stop_grace_period: 10
    healthcheck: { test: [curl, -f], interval: 5, timeout: "1d", retries: -1, start_period: 1us }
"#,
"s.yml:4:24: services.web.stop_grace_period: a duration needs a unit; write `10s` for seconds
s.yml:5:26: services.web.healthcheck.test: a test begins with CMD, CMD-SHELL or NONE, not with `curl`; put `CMD` in front
s.yml:5:48: services.web.healthcheck.interval: a duration needs a unit; write `5s` for seconds
s.yml:5:60: services.web.healthcheck.timeout: `1d` is not a duration; write it like `10s`, `1m30s` or `500ms`
s.yml:5:75: services.web.healthcheck.retries: -1 is below 0
s.yml:5:93: services.web.healthcheck.start_period: is shorter than 1 ms; Docker takes no less",
    ),
    (
"services:
  web:
    image: demo:1
    healthcheck: { test: x, disable: true }
",
"s.yml:4:38: services.web.healthcheck.disable: a test and `disable` are both given; remove one of them",
    ),
    (
"services:
  web:
    image: demo:1
    deploy:
      replicas: -1
      mode: globl
      replcas: 2
",
"s.yml:5:17: services.web.deploy.replicas: -1 is below 0
s.yml:6:13: services.web.deploy.mode: `globl` is none of replicated, global, replicated-job, global-job; did you mean `global`?
s.yml:7:7: services.web.deploy.replcas: unknown key; did you mean `replicas`?",
    ),
    (
"services:
  web:
    image: demo:1
    deploy: { mode: global, replicas: 2 }
",
"s.yml:4:39: services.web.deploy.replicas: replicas do not go with the mode global; remove one of them",
    ),
    (
"services:
  web:
    image: demo:1
    deploy: { mode: replicated-job, update_config: { parallelism: 1 } }
",
"s.yml:4:52: services.web.deploy.update_config: a job has no update config; remove it: a job's tasks are not replaced",
    ),
    (
"services:
  web:
    image: demo:1
    deploy:
      update_config: { failure_action: rolback, max_failure_ratio: 2, order: first, delay: x }
",
"s.yml:5:40: services.web.deploy.update_config.failure_action: `rolback` is none of pause, continue, rollback; did you mean `rollback`?
s.yml:5:68: services.web.deploy.update_config.max_failure_ratio: is not between 0 and 1; 0.1 is one task in ten
s.yml:5:78: services.web.deploy.update_config.order: `first` is none of stop-first, start-first
s.yml:5:92: services.web.deploy.update_config.delay: `x` is not a duration; write it like `10s`, `1m30s` or `500ms`",
    ),
    (
r#"services:
  web:
    image: demo:1
    deploy:
      resources: { limits: { cpus: "0.0000000001", memory: 1M }, reservations: { cpus: "0.0001", memory: lots, devices: [] } }
"#,
"s.yml:5:36: services.web.deploy.resources.limits.cpus: `0.0000000001` is too precise; nine digits after the point are the most
s.yml:5:60: services.web.deploy.resources.limits.memory: 1048576 bytes are less than 4 MiB; Swarm takes no less
s.yml:5:88: services.web.deploy.resources.reservations.cpus: is less than 0.001 CPUs; Swarm takes no less
s.yml:5:106: services.web.deploy.resources.reservations.memory: `lots` is not a size such as `512M` or `1G`
s.yml:5:112: services.web.deploy.resources.reservations.devices: not supported in a stack; use `generic_resources`",
    ),
    (
r#"services:
  web:
    image: demo:1
    deploy:
      placement: { constraints: ["node.role = manager"], preferences: [{ binpack: x }] }
      restart_policy: { condition: always }
"#,
"s.yml:5:34: services.web.deploy.placement.constraints[0]: `node.role = manager` has no operator; write it like `node.role == manager`
s.yml:5:72: services.web.deploy.placement.preferences[0]: has no `spread`; write it like `spread: node.labels.zone`
s.yml:5:74: services.web.deploy.placement.preferences[0].binpack: unknown key
s.yml:6:36: services.web.deploy.restart_policy.condition: `always` is none of none, on-failure, any",
    ),
    (
"services:
  web:
    image: demo:1
    restart: sometimes
",
"s.yml:4:14: services.web.restart: `sometimes` is none of no, always, on-failure, unless-stopped",
    ),
    (
"services:
  web:
    image: demo:1
    command: sh -c 'oops
",
"s.yml:4:14: services.web.command: a ' is not closed",
    ),
    (
"services:
  web:
    image: demo:1
    user: 1000
    tty: maybe
    init: 1
",
"s.yml:4:11: services.web.user: must be text, but is a number; put it in quotes
s.yml:5:10: services.web.tty: must be true or false
s.yml:6:11: services.web.init: must be true or false",
    ),
    (
"services:
  web:
    image: demo:1
    hostname: ${NOPE}
    user: ${NOPE:?give a user}
    working_dir: $1
    stop_signal: ${
",
"s.yml:4:15: services.web.hostname: variable `NOPE` is not set; set it in the stack's `variables`, or give it a default: `${NOPE:-}`
s.yml:5:11: services.web.user: required variable `NOPE` is missing a value: give a user; set it in the stack's `variables`
s.yml:6:18: services.web.working_dir: `$1` is no variable; write `$$` for a `$` that is meant as such
s.yml:7:18: services.web.stop_signal: `${` has no closing brace; write `$$` for a `$` that is meant as such",
    ),
    (
"services:
  web:
    image: demo:1
    env_file: { path: a }
",
"s.yml:4:15: services.web.env_file: must be text or a list, but is a map",
    ),
    (
"services:
  web:
    image: demo:1
    env_file: [/etc/passwd, ../../x]
",
"s.yml:4:16: services.web.env_file[0]: `/etc/passwd` is not inside the repository; name a file of the repository, relative to the compose file
s.yml:4:29: services.web.env_file[1]: `../../x` leaves the repository; name a file inside it",
    ),
    (
"services:
  web:
    image: demo:1
    ulimits: { NOFILE: 1, nofile: { soft: 1 } }
    sysctls: x
",
"s.yml:4:24: services.web.ulimits.NOFILE: `NOFILE` is not a limit; such as `nofile` or `nproc`
s.yml:4:35: services.web.ulimits.nofile: needs both `soft` and `hard`; or one number for both
s.yml:5:14: services.web.sysctls: must be a map, or a list of KEY=VALUE, but is text",
    ),
    (
"services:
  web:
    image: demo:1
    extra_hosts: [nothing]
    dns: [example.org]
    cap_add: ALL
",
"s.yml:4:19: services.web.extra_hosts[0]: `nothing` is not a host with an address; write it like `name=10.0.0.1`
s.yml:5:11: services.web.dns[0]: `example.org` is not an address; a name server is given by its IP address
s.yml:6:14: services.web.cap_add: must be a list, but is text",
    ),
    (
r#"services:
  web: { image: Demo }
  web.api: { image: "a b" }
  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: { image: x }
"#,
"s.yml:2:17: services.web.image: `Demo` is not an image reference: its name must be in lower case
s.yml:3:12: services.web.api: `shop_web.api` is no name for a service; letters, digits, `-` and `_`; a letter or digit last
s.yml:3:21: services.web.api.image: `a b` is not an image reference: its name may hold letters, digits, `.`, `_`, `-`, and `/` between parts
s.yml:4:68: services.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: the service's full name `shop_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` has 68 characters; 63 is the most; shorten it, or the stack's name",
    ),
    (
"name: shop
include: [a.yml]
services:
  web:
    image: demo:1
",
"s.yml:1:1: name: not supported in a stack; remove it: the stack's own name counts
s.yml:2:1: include: not supported in a stack; list the files in `compose`",
    ),
    (
"services:
  web:
    image: demo:1
    deploy: { replicas: ten }
    hostname: { a: b }
    image: x
",
"s.yml:6:5: services.web.image: `image` stands here twice; first in line 3; keep one of them",
    ),
];

#[test]
fn broken_files_name_the_place_and_the_mend() {
    for (text, expected) in BROKEN {
        World::default().refuses(text, expected);
    }
}

#[test]
fn a_fault_in_a_later_file_is_placed_in_that_file() {
    let base = "services:\n  web:\n    image: demo:1\n";
    let over = "services:\n  web:\n    deploy:\n      replicas: many\n";
    let errors = World::default().render(&[("a.yml", base), ("b.yml", over)]).unwrap_err();
    assert_eq!(errors.to_string(), "b.yml:4:17: services.web.deploy.replicas: `many` is not a whole number");
}

#[test]
fn an_override_of_no_service_lists_the_services() {
    World::image("wbe", "1").refuses(
        "services: { web: { image: demo }, db: { image: db } }",
        "images.wbe: there is no service `wbe`; did you mean `web`?",
    );
    World::image("queue", "1").refuses(
        "services: { web: { image: demo }, db: { image: db } }",
        "images.queue: there is no service `queue`; the services are web, db",
    );
    World::image("web", "no tag").refuses(
        "services: { web: { image: demo } }",
        "images.web: `no tag` is not a tag: letters, digits, `_`, `.`, `-`, at most 128",
    );
}

#[test]
fn files_are_asked_for_and_their_faults_are_placed() {
    let text = "services:\n  web:\n    image: demo\n    env_file: ../all.env\nconfigs:\n  c: { file: ./c.txt }\nsecrets:\n  s: { file: s/../s.txt }\n";
    let needs = match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Needs(needs)) => needs,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs.into_iter().collect::<Vec<_>>(), ["all.env", "deploy/c.txt", "deploy/s.txt"]);
    World::default()
        .attach("all.env", Ok(b"A=1\nB C=2\n".to_vec()))
        .attach("deploy/c.txt", Ok(vec![b'x'; 1000 * 1024]))
        .attach("deploy/s.txt", Err("no such file"))
        .refuses(
            text,
            "s.yml:4:15: services.web.env_file: `all.env` line 2: has white space in the name; each line is `KEY=VALUE`, `KEY` or a `#` comment\n\
             s.yml:6:14: configs.c.file: the config has 1024000 bytes; Swarm takes less than 1024000; mount a volume for large files\n\
             s.yml:8:14: secrets.s.file: cannot read `deploy/s.txt`: no such file",
        );
}

#[test]
fn a_secret_variable_is_in_no_error_no_warning_and_no_plain_digest() {
    let text = "services:\n  web:\n    image: demo\n    restart: $KEY\n    x-note: 1\n";
    World::secret("KEY", "hunter2")
        .refuses(text, "s.yml:4:14: services.web.restart: `***` is none of no, always, on-failure, unless-stopped");
    let text = "services: { web: { image: demo, labels: { a: $KEY } } }\nconfigs: { c: { content: \"key=$KEY\" } }\n";
    match World::secret("KEY", "hunter2").render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => {
            let plain = crate::domain::Digest::of(b"key=hunter2");
            assert!(rendered.desired.configs.keys().all(|name| !name.ends_with(plain.short())));
            assert!(rendered.warnings.iter().any(|warning| warning.message.contains("stands in a config")));
            assert!(rendered.warnings.iter().all(|warning| !warning.message.contains("hunter2")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_few_lines_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let errors = World::default().render(&[("s.yml", &bomb)]).unwrap_err().to_string();
    assert!(errors.contains("more than 100000 values"), "{errors}");
    for deep in ["[".repeat(100_000), "a: ".to_owned() + &"{a: ".repeat(200), "- ".repeat(5_000)] {
        assert!(World::default().render(&[("s.yml", &deep)]).is_err());
    }
    let nested = "services: { web: { image: demo, hostname: \"".to_owned()
        + &"${A:-".repeat(5_000)
        + &"}".repeat(5_000)
        + "\" } }";
    assert!(World::default().render(&[("s.yml", &nested)]).is_err());
}

#[test]
fn content_addresses_move_with_the_content_alone() {
    let names = |text: &str| match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => rendered.desired.configs.into_keys().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let file = |rest: &str| format!("services: {{ web: {{ image: demo }} }}\nconfigs: {{ c: {{ {rest} }} }}\n");
    let first = names(&file("content: a"));
    assert_eq!(first, names(&file("content: a, labels: { x: y }")));
    assert_ne!(first, names(&file("content: b")));
    assert_ne!(first, names(&file("content: a, template_driver: golang")));
}

#[test]
fn a_last_line_without_a_line_feed_ends_a_block_as_in_the_docker_cli() {
    let text = "services: { web: { image: demo } }\nconfigs:\n  c:\n    content: |\n      text";
    match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => {
            assert!(rendered.desired.configs.values().all(|config| config.data == b"text"));
        }
        other => panic!("{other:?}"),
    }
}

/// Whole files to break.
const VALID: [&str; 6] = [
    include_str!("../../tests/compose/container/stack.yml"),
    include_str!("../../tests/compose/files/deploy/stack.yml"),
    include_str!("../../tests/compose/mounts/stack.yml"),
    include_str!("../../tests/compose/networks/stack.yml"),
    include_str!("../../tests/compose/deploy/stack.yml"),
    include_str!("../../tests/compose/interpolation/stack.yml"),
];

fn any_compat() -> impl Strategy<Value = Compat> {
    prop_oneof![Just(Compat::Strict), Just(Compat::Cli)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let _ = world.render(&[("s.yml", &text)]);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([a-z]{0,3}[:\\-\\[\\]{}&*!<>|'\"#$,? \n]{1,3}){0,40}", compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let _ = world.render(&[("s.yml", &text)]);
    }

    /// A piece of a valid file is cut out, repeated or replaced: the result renders or is refused, twice alike.
    #[test]
    fn no_broken_file_makes_it_panic(
        which in 0..VALID.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ a-z0-9:\\[\\]{}$\"'&*~.-]{0,6}"), 1..4),
        compat in any_compat(),
    ) {
        let mut text: Vec<char> = VALID[which].chars().collect();
        for (place, length, insert) in cuts {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let world = World { compat, ..World::default() };
        let (first, second) = (world.render(&[("s.yml", &text)]), world.render(&[("s.yml", &text)]));
        prop_assert_eq!(&first, &second);
        if let Err(errors) = first {
            prop_assert!(!errors.errors().is_empty());
            prop_assert!(errors.errors().iter().all(|error| !error.message.is_empty()));
        }
        let _ = world.render(&[("a.yml", VALID[which]), ("b.yml", &text)]);
    }

    #[test]
    fn text_without_a_dollar_stays_what_it_is(text in "[ -#%-~äß😀\n]{0,40}", compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let file = serde_json::json!({"services": {"web": {"image": "demo", "labels": {"l": text}}}}).to_string();
        match world.render(&[("s.yml", &file)]) {
            Ok(Render::Done(rendered)) => {
                let service = &rendered.desired.services["shop_web"].spec;
                prop_assert_eq!(&service.task_template.container_spec.labels["l"], &text);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn merging_a_file_with_itself_changes_no_service_that_has_no_lists(replicas in 0_u32..9, memory in 4_u32..99) {
        let file = format!(
            "services: {{ web: {{ image: demo, environment: {{ A: b }}, deploy: {{ replicas: {replicas}, resources: {{ limits: {{ memory: {memory}M }} }} }} }} }}"
        );
        let world = World::default();
        prop_assert_eq!(world.render(&[("s.yml", &file)]), world.render(&[("s.yml", &file), ("s.yml", &file)]));
    }
}
