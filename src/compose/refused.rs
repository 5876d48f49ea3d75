//! Keys of a service that Swarm cannot honour: what it means to leave them out decides between a remark and an error.

use super::field::{Field, Table};
use super::scalar::Kind;
use super::yaml::{Scalar, Value};

/// Keys that `docker stack deploy` leaves out with a warning, each with what to do instead. By the specification's rules
/// they change what runs, so they are errors.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("cgroup_parent", "remove it"),
    ("cgroupns_mode", "remove it"),
    ("devices", "use `deploy.resources.reservations.generic_resources`, or a bind of the device"),
    ("domainname", "put the domain into `hostname`"),
    ("ipc", "remove it"),
    ("mac_address", "remove it"),
    ("network_mode", "use `networks`"),
    ("pid", "remove it"),
    ("privileged", "use `cap_add`"),
    ("security_opt", "remove it"),
    ("shm_size", "mount a tmpfs at /dev/shm: `volumes: [{ type: tmpfs, target: /dev/shm }]`"),
    ("userns_mode", "remove it"),
];

/// Keys that `docker stack deploy` leaves out without a word.
const SILENT: &[(&str, &str)] = &[
    ("tmpfs", "use `volumes: [{ type: tmpfs, target: … }]`"),
    ("oom_score_adj", "remove it: engines before 28 drop it"),
];

/// Keys that are refused everywhere.
const FORBIDDEN: &[(&str, &str)] = &[
    ("extends", "use a YAML anchor, or several compose files"),
    ("volume_driver", "declare the volume with a `driver`"),
    ("volumes_from", "name the volumes in `volumes`"),
    ("cpu_quota", "use `deploy.resources.limits.cpus`"),
    ("cpu_shares", "use `deploy.resources.reservations.cpus`"),
    ("cpuset", "use `deploy.placement`"),
    ("mem_limit", "use `deploy.resources.limits.memory`"),
    ("memswap_limit", "use `deploy.resources.limits.memory`"),
    ("annotations", "use `labels`"),
    ("attach", "remove it"),
    ("blkio_config", "remove it"),
    ("cgroup", "remove it"),
    ("cpu_count", "use `deploy.resources.limits.cpus`"),
    ("cpu_percent", "use `deploy.resources.limits.cpus`"),
    ("cpu_period", "use `deploy.resources.limits.cpus`"),
    ("cpu_rt_period", "remove it"),
    ("cpu_rt_runtime", "remove it"),
    ("cpus", "use `deploy.resources.limits.cpus`"),
    ("credential_spec", "remove it: Windows accounts are not handled yet"),
    ("develop", "remove it"),
    ("device_cgroup_rules", "remove it"),
    ("dns_opt", "remove it"),
    ("gpus", "use `deploy.resources.reservations.generic_resources`"),
    ("group_add", "remove it"),
    ("label_file", "use `labels`"),
    ("mem_reservation", "use `deploy.resources.reservations.memory`"),
    ("mem_swappiness", "remove it"),
    ("models", "remove it"),
    ("oom_kill_disable", "remove it"),
    ("pids_limit", "use `deploy.resources.limits.pids`"),
    ("platform", "use `deploy.placement.constraints` with node.platform.arch"),
    ("post_start", "remove it"),
    ("pre_stop", "remove it"),
    ("profiles", "put the service into a compose file of its own"),
    ("provider", "remove it"),
    ("pull_policy", "use the stack's `policy.images`"),
    ("runtime", "set the runtime in the engine's configuration"),
    ("scale", "use `deploy.replicas`"),
    ("storage_opt", "remove it"),
    ("use_api_socket", "bind the socket in `volumes`"),
    ("uts", "remove it"),
];

/// Reports the keys of `service` that Swarm cannot honour. `services` are the keys of all services.
pub(super) fn report(table: &Table<'_>, services: &[&str]) {
    let strict = table.field.found.strict();
    for (key, hint) in UNSUPPORTED {
        let Some(field) = table.get(key).filter(|field| !is_off(field)) else { continue };
        let message = format!("Swarm cannot do this: `{key}` is not part of a service");
        place(table, key, &field, strict, &message, hint);
    }
    for (key, hint) in SILENT {
        let Some(field) = table.get(key) else { continue };
        place(table, key, &field, strict, &format!("`docker stack deploy` drops `{key}`"), hint);
    }
    table.refuse(FORBIDDEN);
    for (key, message) in [
        ("build", "ignored: a Swarm runs images that are built elsewhere"),
        ("container_name", "ignored: Swarm names containers after their tasks"),
        ("expose", "ignored: services on a network reach each other's ports anyway"),
    ] {
        if table.get(key).is_some() {
            table.field.found.warn(table.key_at(key), &table.path_of(key), message);
        }
    }
    for key in ["links", "external_links"] {
        if let Some(links) = table.get(key) {
            report_links(&links, strict);
        }
    }
    if let Some(field) = table.get("depends_on") {
        depends_on(&field, services, strict);
    }
}

fn place(table: &Table<'_>, key: &str, field: &Field<'_>, strict: bool, message: &str, hint: &str) {
    if strict {
        table.field.found.error(table.key_at(key), &field.path, message, hint);
    } else {
        table.field.found.warn(table.key_at(key), &field.path, &format!("ignored: {message}"));
    }
}

/// `false`, null and empty lists ask for nothing.
fn is_off(field: &Field<'_>) -> bool {
    match &field.node.value {
        Value::Scalar(Scalar { kind, .. }) => matches!(kind, Kind::Null | Kind::Bool(false)),
        Value::List(items) => items.is_empty(),
        Value::Map(_) => false,
    }
}

/// A link to a service by its own name is what every network gives; another name would be lost.
fn report_links(field: &Field<'_>, strict: bool) {
    for item in field.list() {
        let Some(text) = item.text() else { continue };
        match text.split_once(':') {
            Some((service, alias)) if strict && service != alias => item.error(
                format!("Swarm has no links: `{alias}` would not be found"),
                format!("give `{service}` the alias on a network: `networks: {{ default: {{ aliases: [{alias}] }} }}`"),
            ),
            _ => item.warn("ignored: services on a network find each other by name"),
        }
    }
}

fn depends_on(field: &Field<'_>, services: &[&str], strict: bool) {
    let named: Vec<Field<'_>> = match &field.node.value {
        Value::Map(_) if strict => {
            for (entry, _) in field.entries() {
                check_service(field, entry.at, &entry.key, services);
            }
            Vec::new()
        }
        _ => field.list(),
    };
    for item in named {
        if let Some(name) = item.text().filter(|_| strict) {
            check_service(&item, item.at(), &name, services);
        }
    }
    field.warn("ignored: Swarm starts services in no order; a service must wait for, or retry, what it needs");
}

fn check_service(field: &Field<'_>, at: super::yaml::Position, name: &str, services: &[&str]) {
    if !services.contains(&name) {
        let hint = match super::field::closest(name, services) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the services are {}", services.join(", ")),
        };
        field.found.error(at, &field.path, format!("undefined service `{name}`"), hint);
    }
}
