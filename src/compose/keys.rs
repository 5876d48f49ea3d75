//! Every key of a compose file and what becomes of it: the one table of it. Reading refuses and warns by this table, and
//! the documentation is checked against it.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What becomes of a key by the specification's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// What `docker stack deploy` makes of it.
    Same,
    /// More than `docker stack deploy` makes of it.
    Better,
    /// Left out with a warning: Swarm has no use for it.
    Warned,
    /// An error: left out, the service would not be what the file says.
    Refused,
}

/// What `docker stack deploy` does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cli {
    /// It takes it.
    Takes,
    /// It leaves it out, with or without a word.
    Ignores,
    /// It refuses the file.
    Refuses,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where it stands: `*` for any name, `[]` for an item of a list.
    pub path: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// What the CLI does, which is what `compat: cli` does.
    pub cli: Cli,
    /// More about it; for a key that is refused the mend.
    pub note: &'static str,
    /// Whether its reader alone decides, because it depends on the value.
    pub(super) by_reader: bool,
}

/// A place in a compose file, whatever the names and numbers on the way to it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// As the table of all keys has it.
    pub(super) path: String,
    /// What the table says of it.
    pub(super) key: Option<&'static Key>,
    below: HashMap<&'static str, Place>,
}

/// The step to a value under any name.
pub(super) const ANY: &str = "*";
/// The step to an item of a list.
pub(super) const ITEM: &str = "[]";

impl Place {
    /// The top of a file.
    pub(super) fn top() -> &'static Self {
        static TOP: LazyLock<Place> = LazyLock::new(|| {
            let mut top = Place::default();
            KEYS.iter().for_each(|key| top.put(key));
            top
        });
        &TOP
    }

    /// The place at a path of the table; `None` where it has none.
    pub(super) fn find(path: &str) -> Option<&'static Self> {
        steps(path).try_fold(Self::top(), |place, step| place.below(step))
    }

    /// One step further: to a key, [`ANY`] or [`ITEM`].
    pub(super) fn below(&self, step: &str) -> Option<&Self> {
        self.below.get(step)
    }

    fn put(&mut self, key: &'static Key) {
        let mut place = self;
        for step in steps(key.path) {
            let dot = if place.path.is_empty() || step == ITEM { "" } else { "." };
            let path = format!("{}{dot}{step}", place.path);
            place = place.below.entry(step).or_insert_with(|| Self { path, ..Self::default() });
        }
        place.key = Some(key);
    }
}

/// The steps of a path of the table.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split('.')
        .flat_map(|part| match part.strip_suffix(ITEM) {
            Some(list) => [Some(list), Some(ITEM)],
            None => [Some(part), None],
        })
        .flatten()
}

const fn key(path: &'static str, treatment: Treatment, cli: Cli, note: &'static str) -> Key {
    Key { path, treatment, cli, note, by_reader: false }
}

const fn by_reader(path: &'static str, treatment: Treatment, cli: Cli, note: &'static str) -> Key {
    Key { path, treatment, cli, note, by_reader: true }
}

const fn same(path: &'static str, note: &'static str) -> Key {
    key(path, Same, Takes, note)
}

use Cli::{Ignores, Refuses, Takes};
use Treatment::{Better, Refused, Same, Warned};

/// All keys. Everything that begins with `x-` is left alone besides.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    by_reader("version", Warned, Takes, "every key of every version 3 is known; remove it"),
    by_reader("name", Warned, Refuses, "the stack's own name counts"),
    same("services", ""),
    same("networks", ""),
    same("volumes", ""),
    same("configs", ""),
    same("secrets", ""),
    by_reader("include", Better, Refuses, "files of the repository, with `path`, `project_directory`, `env_file`"),
    key("include[].path", Better, Refuses, "one file, or several that are merged"),
    key("include[].project_directory", Better, Refuses, "where the paths of those files begin; else the folder of the first"),
    key("include[].env_file", Better, Refuses, "values below the stack's variables; else `.env` of that folder"),
    key("models", Refused, Refuses, "remove it: a Swarm runs no models"),
    key("services.*.annotations", Refused, Refuses, "use `labels`"),
    key("services.*.attach", Warned, Refuses, "it concerns `docker compose up` alone"),
    key("services.*.blkio_config", Refused, Refuses, "remove it"),
    key("services.*.build", Warned, Ignores, "a Swarm runs images that are built elsewhere"),
    same("services.*.cap_add", ""),
    same("services.*.cap_drop", ""),
    key("services.*.cgroup", Refused, Refuses, "remove it"),
    key("services.*.cgroup_parent", Refused, Ignores, "remove it"),
    key("services.*.cgroupns_mode", Refused, Ignores, "remove it"),
    same("services.*.command", "a text is split into words as a shell would"),
    same("services.*.configs", "named by their content: see below"),
    same("services.*.configs[].source", ""),
    same("services.*.configs[].target", ""),
    same("services.*.configs[].uid", ""),
    same("services.*.configs[].gid", ""),
    same("services.*.configs[].mode", "`0440` is octal; `440` is decimal, with a warning"),
    key("services.*.container_name", Warned, Ignores, "Swarm names containers after their tasks"),
    key("services.*.cpu_count", Refused, Refuses, "use `deploy.resources.limits.cpus`"),
    key("services.*.cpu_percent", Refused, Refuses, "use `deploy.resources.limits.cpus`"),
    key("services.*.cpu_period", Refused, Refuses, "use `deploy.resources.limits.cpus`"),
    key("services.*.cpu_quota", Refused, Refuses, "use `deploy.resources.limits.cpus`"),
    key("services.*.cpu_rt_period", Refused, Refuses, "remove it"),
    key("services.*.cpu_rt_runtime", Refused, Refuses, "remove it"),
    key("services.*.cpu_shares", Refused, Refuses, "use `deploy.resources.reservations.cpus`"),
    key("services.*.cpus", Better, Refuses, "is `deploy.resources.limits.cpus`"),
    key("services.*.cpuset", Refused, Refuses, "use `deploy.placement`"),
    same("services.*.credential_spec", "exactly one of the three; for Windows"),
    same("services.*.credential_spec.config", "the id of the config is put in"),
    same("services.*.credential_spec.file", ""),
    same("services.*.credential_spec.registry", ""),
    by_reader("services.*.depends_on", Better, Ignores, "services are written in this order, and wait for what `condition` says"),
    key("services.*.depends_on.*.condition", Better, Refuses, "`service_healthy`: the other one runs first; `service_completed_successfully`: the other one is a job, and ends first; `service_started`: the order alone"),
    key("services.*.depends_on.*.required", Better, Refuses, "`false`: the other one need not exist"),
    key("services.*.depends_on.*.restart", Better, Refuses, "checked, and without effect"),
    same("services.*.deploy", ""),
    same("services.*.deploy.mode", ""),
    by_reader("services.*.deploy.replicas", Better, Takes, "left out, the number that runs is kept"),
    same("services.*.deploy.labels", ""),
    same("services.*.deploy.endpoint_mode", "`dnsrr` goes with ports in host mode only"),
    same("services.*.deploy.placement", ""),
    same("services.*.deploy.placement.constraints", ""),
    same("services.*.deploy.placement.preferences", ""),
    same("services.*.deploy.placement.preferences[].spread", ""),
    same("services.*.deploy.placement.max_replicas_per_node", ""),
    same("services.*.deploy.resources", ""),
    same("services.*.deploy.resources.limits", ""),
    same("services.*.deploy.resources.limits.cpus", "0.001 at least, nine digits after the point"),
    same("services.*.deploy.resources.limits.memory", "4 MiB at least"),
    same("services.*.deploy.resources.limits.pids", ""),
    same("services.*.deploy.resources.reservations", ""),
    same("services.*.deploy.resources.reservations.cpus", ""),
    same("services.*.deploy.resources.reservations.memory", ""),
    same("services.*.deploy.resources.reservations.generic_resources", ""),
    same("services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec", ""),
    same("services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec.kind", ""),
    same("services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec.value", ""),
    key("services.*.deploy.resources.reservations.devices", Refused, Refuses, "use `generic_resources`"),
    same("services.*.deploy.restart_policy", ""),
    same("services.*.deploy.restart_policy.condition", ""),
    same("services.*.deploy.restart_policy.delay", ""),
    same("services.*.deploy.restart_policy.max_attempts", ""),
    same("services.*.deploy.restart_policy.window", ""),
    same("services.*.deploy.update_config", "not for jobs"),
    same("services.*.deploy.update_config.parallelism", ""),
    same("services.*.deploy.update_config.delay", ""),
    same("services.*.deploy.update_config.failure_action", ""),
    same("services.*.deploy.update_config.monitor", ""),
    same("services.*.deploy.update_config.max_failure_ratio", ""),
    same("services.*.deploy.update_config.order", ""),
    same("services.*.deploy.rollback_config", ""),
    same("services.*.deploy.rollback_config.parallelism", ""),
    same("services.*.deploy.rollback_config.delay", ""),
    same("services.*.deploy.rollback_config.failure_action", "`rollback` counts as `pause`, with a warning"),
    same("services.*.deploy.rollback_config.monitor", ""),
    same("services.*.deploy.rollback_config.max_failure_ratio", ""),
    same("services.*.deploy.rollback_config.order", ""),
    key("services.*.develop", Warned, Refuses, "it concerns `docker compose watch` alone"),
    key("services.*.device_cgroup_rules", Refused, Refuses, "remove it"),
    key("services.*.devices", Refused, Ignores, "use `deploy.resources.reservations.generic_resources`, or a bind of the device"),
    same("services.*.dns", ""),
    key("services.*.dns_opt", Better, Refuses, "options of the resolver"),
    same("services.*.dns_search", ""),
    key("services.*.domainname", Refused, Ignores, "put the domain into `hostname`"),
    same("services.*.entrypoint", "a text is split into words as a shell would"),
    same("services.*.env_file", "in Docker's own grammar: no quotes, no variables"),
    key("services.*.env_file[].path", Better, Refuses, "a file of the repository"),
    key("services.*.env_file[].required", Better, Refuses, "`false`: it may be missing"),
    key("services.*.env_file[].format", Better, Refuses, "`raw` only, which is Docker's own grammar"),
    same("services.*.environment", "an entry without a value takes the variable of that name"),
    key("services.*.expose", Warned, Ignores, "services on a network reach each other's ports anyway"),
    by_reader("services.*.extends", Better, Refuses, "a service of the same file, or of another one"),
    key("services.*.extends.service", Better, Refuses, "the service"),
    key("services.*.extends.file", Better, Refuses, "a file of the repository"),
    by_reader("services.*.external_links", Refused, Ignores, "services on a network find each other by name; another name is an alias there"),
    same("services.*.extra_hosts", ""),
    key("services.*.gpus", Refused, Refuses, "use `deploy.resources.reservations.generic_resources`"),
    key("services.*.group_add", Better, Refuses, "more groups of the container's user"),
    same("services.*.healthcheck", ""),
    same("services.*.healthcheck.test", ""),
    same("services.*.healthcheck.interval", ""),
    same("services.*.healthcheck.timeout", ""),
    same("services.*.healthcheck.start_period", ""),
    same("services.*.healthcheck.retries", ""),
    same("services.*.healthcheck.disable", ""),
    same("services.*.healthcheck.start_interval", "engines before 25 drop it"),
    same("services.*.hostname", ""),
    same("services.*.image", "`images` of the stack may replace it"),
    same("services.*.init", ""),
    key("services.*.ipc", Refused, Ignores, "remove it"),
    same("services.*.isolation", ""),
    key("services.*.label_file", Refused, Refuses, "use `labels`"),
    same("services.*.labels", ""),
    by_reader("services.*.links", Refused, Ignores, "a link by the service's own name is a warning; another name must be an alias on a network"),
    same("services.*.logging", ""),
    same("services.*.logging.driver", ""),
    same("services.*.logging.options", ""),
    key("services.*.mac_address", Refused, Ignores, "remove it"),
    key("services.*.mem_limit", Better, Refuses, "is `deploy.resources.limits.memory`"),
    key("services.*.mem_reservation", Better, Refuses, "is `deploy.resources.reservations.memory`"),
    key("services.*.mem_swappiness", Refused, Refuses, "remove it"),
    key("services.*.memswap_limit", Refused, Refuses, "use `deploy.resources.limits.memory`"),
    key("services.*.models", Refused, Refuses, "remove it: a Swarm runs no models"),
    by_reader("services.*.network_mode", Better, Ignores, "`host` and `bridge`: the service is on the node's own network; anything else is refused: use `networks`"),
    same("services.*.networks", ""),
    same("services.*.networks.*.aliases", "the service's name is added"),
    same("services.*.networks.*.driver_opts", ""),
    key("services.*.networks.*.gw_priority", Refused, Refuses, "remove it"),
    key("services.*.networks.*.interface_name", Refused, Refuses, "remove it"),
    by_reader("services.*.networks.*.ipv4_address", Refused, Ignores, "remove it, and reach the service by its name"),
    by_reader("services.*.networks.*.ipv6_address", Refused, Ignores, "remove it, and reach the service by its name"),
    key("services.*.networks.*.link_local_ips", Refused, Refuses, "remove it"),
    key("services.*.networks.*.mac_address", Refused, Refuses, "remove it"),
    key("services.*.networks.*.priority", Warned, Refuses, "Swarm attaches networks in an order of its own"),
    key("services.*.oom_kill_disable", Refused, Refuses, "remove it"),
    key("services.*.oom_score_adj", Better, Ignores, "engines before 27.1 drop it, which is a warning"),
    key("services.*.pid", Refused, Ignores, "remove it"),
    key("services.*.pids_limit", Better, Refuses, "is `deploy.resources.limits.pids`"),
    key("services.*.platform", Better, Refuses, "only nodes of this platform"),
    same("services.*.ports", ""),
    same("services.*.ports[].target", ""),
    same("services.*.ports[].published", "also as text"),
    same("services.*.ports[].protocol", ""),
    same("services.*.ports[].mode", ""),
    key("services.*.ports[].name", Warned, Refuses, "it tells people what the port is for, not Swarm"),
    key("services.*.ports[].app_protocol", Warned, Refuses, "it tells people what the port is for, not Swarm"),
    by_reader("services.*.ports[].host_ip", Refused, Refuses, "remove the address, and close the port with a firewall where it must not be reached; `0.0.0.0` and `::` are taken"),
    key("services.*.post_start", Refused, Refuses, "remove it"),
    key("services.*.pre_stop", Refused, Refuses, "remove it"),
    key("services.*.privileged", Refused, Ignores, "use `cap_add`"),
    by_reader("services.*.profiles", Better, Refuses, "counts when the variable `COMPOSE_PROFILES` names one of them, or `*`"),
    key("services.*.provider", Refused, Refuses, "remove it"),
    key("services.*.pull_policy", Warned, Refuses, "nodes pull what they lack; `policy.images` of the stack says when tags are looked up"),
    same("services.*.read_only", ""),
    same("services.*.restart", "counts where `deploy.restart_policy` is not given; `no` leaves Swarm's own `any`, with a warning"),
    key("services.*.runtime", Refused, Refuses, "set the runtime in the engine's configuration"),
    key("services.*.scale", Better, Refuses, "is `deploy.replicas`"),
    same("services.*.secrets", "named by their content: see below"),
    same("services.*.secrets[].source", ""),
    same("services.*.secrets[].target", ""),
    same("services.*.secrets[].uid", ""),
    same("services.*.secrets[].gid", ""),
    same("services.*.secrets[].mode", "`0440` is octal; `440` is decimal, with a warning"),
    key("services.*.security_opt", Better, Ignores, "`label`; `no-new-privileges`, `seccomp=unconfined` and `apparmor=unconfined`, which engines before 25 drop; anything else is refused"),
    key("services.*.shm_size", Better, Ignores, "a tmpfs of this size at `/dev/shm`"),
    same("services.*.stdin_open", ""),
    same("services.*.stop_grace_period", ""),
    same("services.*.stop_signal", ""),
    key("services.*.storage_opt", Refused, Refuses, "remove it"),
    same("services.*.sysctls", ""),
    key("services.*.tmpfs", Better, Ignores, "mounts, with `size` and `mode`"),
    same("services.*.tty", ""),
    same("services.*.ulimits", ""),
    same("services.*.ulimits.*.soft", ""),
    same("services.*.ulimits.*.hard", ""),
    key("services.*.use_api_socket", Refused, Refuses, "bind the socket in `volumes`"),
    same("services.*.user", ""),
    key("services.*.userns_mode", Refused, Ignores, "remove it"),
    key("services.*.uts", Refused, Refuses, "remove it"),
    key("services.*.volume_driver", Refused, Refuses, "declare the volume with a `driver`"),
    same("services.*.volumes", "a bind is an absolute path on the nodes, or begins at `x-skep.bindRoot`"),
    same("services.*.volumes[].type", "`volume`, `bind`, `tmpfs`, `npipe`, `cluster`"),
    same("services.*.volumes[].source", ""),
    same("services.*.volumes[].target", ""),
    same("services.*.volumes[].read_only", ""),
    same("services.*.volumes[].consistency", "Swarm does not keep it"),
    same("services.*.volumes[].bind", ""),
    same("services.*.volumes[].bind.propagation", ""),
    by_reader("services.*.volumes[].bind.create_host_path", Warned, Takes, "Swarm does not make the path: it must exist on every node the service can run on"),
    key("services.*.volumes[].bind.recursive", Better, Refuses, "`disabled`: mounts below the source are left out; `enabled`: they are not"),
    key("services.*.volumes[].bind.selinux", Refused, Refuses, "remove it"),
    same("services.*.volumes[].volume", ""),
    same("services.*.volumes[].volume.nocopy", ""),
    same("services.*.volumes[].volume.subpath", "engines before 26 drop it, which is a warning"),
    key("services.*.volumes[].volume.labels", Refused, Refuses, "give the labels to the volume under the top-level `volumes`"),
    same("services.*.volumes[].tmpfs", ""),
    same("services.*.volumes[].tmpfs.size", ""),
    key("services.*.volumes[].tmpfs.mode", Better, Refuses, "the mode of the folder"),
    key("services.*.volumes[].cluster", Refused, Refuses, "remove it"),
    key("services.*.volumes[].image", Refused, Refuses, "Swarm mounts no images"),
    key("services.*.volumes_from", Refused, Refuses, "name the volumes in `volumes`"),
    same("services.*.working_dir", ""),
    key("services.*.x-skep.hook", Better, Takes, "`pre` or `post`: a job that runs before or after each deployment"),
    key("services.*.x-skep.deadline", Better, Takes, "how long that job may take; `policy.progressDeadline` when left out"),
    key("services.*.x-skep.direction", Better, Takes, "`deploy` or `rollback`: that job runs this way only; `both` when left out"),
    key("services.*.x-skep.protect", Better, Takes, "`true`: the service is never removed by Skep"),
    same("networks.*.driver", "`overlay` when left out"),
    same("networks.*.driver_opts", ""),
    same("networks.*.attachable", ""),
    same("networks.*.internal", ""),
    same("networks.*.labels", ""),
    same("networks.*.name", "in place of `STACK_KEY`"),
    same("networks.*.external", "`true`, or a map with `name`; it must be there"),
    same("networks.*.external.name", ""),
    key("networks.*.enable_ipv4", Refused, Refuses, "remove it"),
    key("networks.*.enable_ipv6", Better, Refuses, "addresses of both kinds"),
    same("networks.*.ipam", ""),
    same("networks.*.ipam.driver", ""),
    key("networks.*.ipam.options", Better, Refuses, "options of the driver"),
    same("networks.*.ipam.config", ""),
    same("networks.*.ipam.config[].subnet", ""),
    key("networks.*.ipam.config[].gateway", Better, Refuses, "as it says"),
    key("networks.*.ipam.config[].ip_range", Better, Refuses, "as it says"),
    key("networks.*.ipam.config[].aux_addresses", Better, Refuses, "as it says"),
    key("networks.*.x-skep.protect", Better, Takes, "`true`, when it is made: the network is never removed by Skep"),
    same("volumes.*.driver", "the node that makes the volume uses it"),
    same("volumes.*.driver_opts", ""),
    same("volumes.*.labels", ""),
    same("volumes.*.name", ""),
    same("volumes.*.external", ""),
    same("volumes.*.external.name", ""),
    key("volumes.*.x-skep.protect", Better, Takes, "volumes are never removed by Skep"),
    key("configs.*.file", Better, Takes, "of the repository, also encrypted with SOPS"),
    key("configs.*.content", Better, Refuses, "the content itself, with variables"),
    key("configs.*.environment", Better, Refuses, "the value of this variable of the stack"),
    same("configs.*.external", ""),
    same("configs.*.external.name", ""),
    same("configs.*.labels", ""),
    same("configs.*.name", "with the digest of the content behind it"),
    same("configs.*.template_driver", "`golang`"),
    key("configs.*.x-skep.protect", Better, Takes, "`true`: it is never removed by Skep"),
    key("secrets.*.file", Better, Takes, "of the repository: encrypted with SOPS, or else with a warning"),
    key("secrets.*.environment", Better, Refuses, "the value of this variable of the stack"),
    same("secrets.*.driver", ""),
    same("secrets.*.driver_opts", ""),
    same("secrets.*.external", ""),
    same("secrets.*.external.name", ""),
    same("secrets.*.labels", ""),
    same("secrets.*.name", "with the digest of the content behind it"),
    same("secrets.*.template_driver", "`golang`"),
    key("secrets.*.x-skep.credential", Better, Takes, "the value of a credential of type Opaque that names this stack"),
    key("secrets.*.x-skep.key", Better, Takes, "which of its values; its only one when left out"),
    key("secrets.*.x-skep.protect", Better, Takes, "`true`: it is never removed by Skep"),
    key("x-skep.bindRoot", Better, Takes, "the folder on the nodes that relative binds begin in; they are refused when left out"),
];
