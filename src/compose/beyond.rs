//! What the specification has and the CLI has not, or drops: profiles, tmpfs and shared memory, a node's own network,
//! options of security, limits written beside `deploy`. The engine can do all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::domain::{Mount, Platform, Resources, ServiceMode};

use super::field::{BYTES, Field, Table};
use super::input::VariableValue;
use super::units;
use super::yaml::{Node, Value};

/// The variable that names the profiles to be active.
const PROFILES: &str = "COMPOSE_PROFILES";
/// Where shared memory is.
const SHARED_MEMORY: &str = "/dev/shm";

/// Takes the services out of the tree whose profiles are not asked for; gives their names.
pub(super) fn put_to_sleep(tree: &mut Node, variables: &BTreeMap<String, VariableValue>) -> BTreeSet<String> {
    let asked: Vec<&str> = variables
        .get(PROFILES)
        .map(|value| value.text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
        .unwrap_or_default();
    let mut sleeping = BTreeSet::new();
    let Value::Map(sections) = &mut tree.value else { return sleeping };
    let services = sections.iter_mut().find(|section| section.key == "services");
    if let Some(Value::Map(services)) = services.map(|section| &mut section.value.value) {
        services.retain(|service| {
            let Some(Value::List(profiles)) = service.value.get("profiles").map(|profiles| &profiles.value) else {
                return true;
            };
            let mut named = profiles.iter().filter_map(Node::written);
            let active = profiles.is_empty() || asked.contains(&"*") || named.any(|profile| asked.contains(&profile));
            if !active {
                sleeping.insert(service.key.clone());
            }
            active
        });
    }
    sleeping
}

/// The mounts of `tmpfs` and `shm_size`, behind those that there are.
pub(super) fn memory_mounts(table: &Table<'_>, mounts: &mut Vec<Mount>) {
    for item in table.given("tmpfs").map(|field| field.text_or_list()).unwrap_or_default() {
        let Some(text) = item.filled() else { continue };
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        let mut found = Map::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", size)) => {
                    item.check(units::bytes(size), BYTES).map(|size| found.insert("SizeBytes".to_owned(), size.into()));
                }
                Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
                    Ok(mode) if mode <= 0o7777 => {
                        found.insert("Mode".to_owned(), mode.into());
                    }
                    _ => item.error(format!("`{mode}` is not a file mode"), "write it like `mode=1777`"),
                },
                _ => item.error(format!("unknown option `{option}` of a tmpfs"), "one of size, mode"),
            }
        }
        add(&item, mounts, target, found);
    }
    if let Some(field) = table.given("shm_size")
        && let Some(size) = field.bytes()
    {
        add(&field, mounts, SHARED_MEMORY, Map::from_iter([("SizeBytes".to_owned(), size.into())]));
    }
}

fn add(field: &Field<'_>, mounts: &mut Vec<Mount>, target: &str, options: Map<String, Json>) {
    if !target.starts_with('/') {
        field.error(format!("`{target}` is not a path in the container"), "write it like `/run:size=64m`");
    } else if mounts.iter().any(|mount| mount.target == target) {
        field.error(format!("`{target}` is mounted twice"), "keep one of the mounts");
    } else {
        let tmpfs_options = (!options.is_empty()).then_some(Json::Object(options));
        let kind = "tmpfs".to_owned();
        mounts.push(Mount { kind, target: target.to_owned(), tmpfs_options, ..Mount::default() });
    }
}

/// The node's own network that `network_mode` asks for.
pub(super) fn node_network(table: &Table<'_>) -> Option<String> {
    let mode = table.given("network_mode")?;
    let text = mode.filled()?;
    if !mode.found.strict() {
        mode.warn("ignored, as `docker stack deploy` ignores it");
        return None;
    }
    if !matches!(text.as_str(), "host" | "bridge") {
        let message = format!("a service of a Swarm cannot share the network `{text}`");
        mode.error(message, "`host` and `bridge` are the node's own; otherwise use `networks`");
        return None;
    }
    if table.given("networks").is_some() {
        mode.error("`network_mode` and `networks` are both given", "keep one of them");
    }
    Some(text)
}

/// More groups of the user, by name or number.
pub(super) fn groups(table: &Table<'_>) -> Vec<String> {
    let items = table.given("group_add").map(|field| field.list()).unwrap_or_default();
    items.iter().filter_map(Field::text_as_written).collect()
}

/// What `security_opt` and `credential_spec` say, as the API takes it. The CLI sends it also when it is empty.
pub(super) fn privileges(table: &Table<'_>) -> Json {
    let mut privileges = Map::new();
    let mut selinux = Map::new();
    for item in table.given("security_opt").map(|field| field.list()).unwrap_or_default() {
        let Some(text) = item.filled() else { continue };
        let (name, value) = text.split_once([':', '=']).unwrap_or((&text, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => {
                privileges.insert("NoNewPrivileges".to_owned(), true.into());
                item.warn("engines before 25 (API 1.44) drop it");
            }
            ("no-new-privileges", "false") => {}
            ("seccomp", "unconfined") => {
                privileges.insert("Seccomp".to_owned(), json!({"Mode": "unconfined"}));
                item.warn("engines before 25 (API 1.44) drop it");
            }
            ("apparmor", "unconfined") => {
                privileges.insert("AppArmor".to_owned(), json!({"Mode": "disabled"}));
                item.warn("engines before 25 (API 1.44) drop it");
            }
            ("label", "disable") => {
                selinux.insert("Disable".to_owned(), true.into());
            }
            ("label", label) => match label.split_once(':') {
                Some(("user", user)) => drop(selinux.insert("User".to_owned(), user.into())),
                Some(("role", role)) => drop(selinux.insert("Role".to_owned(), role.into())),
                Some(("type", kind)) => drop(selinux.insert("Type".to_owned(), kind.into())),
                Some(("level", level)) => drop(selinux.insert("Level".to_owned(), level.into())),
                _ => item.error(format!("unknown label `{label}`"), "one of disable, user:…, role:…, type:…, level:…"),
            },
            _ => {
                let hint = "no-new-privileges, label, seccomp=unconfined and apparmor=unconfined are what Swarm can do";
                item.error(format!("Swarm cannot do this: `{text}`"), hint);
            }
        }
    }
    if !selinux.is_empty() {
        privileges.insert("SELinuxContext".to_owned(), Json::Object(selinux));
    }
    if let Some(credentials) = table.given("credential_spec").and_then(|field| credential_spec(&field)) {
        privileges.insert("CredentialSpec".to_owned(), credentials);
    }
    Json::Object(privileges)
}

/// Exactly one of `config`, `file` and `registry`; a config by its key, which [`super::files`] puts the name in for.
fn credential_spec(field: &Field<'_>) -> Option<Json> {
    let table = field.table()?;
    let mut found = Map::new();
    for (key, name) in [("config", "Config"), ("file", "File"), ("registry", "Registry")] {
        if let Some(text) = table.given(key).and_then(|value| value.text()).filter(|text| !text.is_empty()) {
            found.insert(name.to_owned(), text.into());
        }
    }
    table.finish();
    if found.len() > 1 {
        field.error("more than one of `config`, `file` and `registry` is given", "keep one of them");
        return None;
    }
    (!found.is_empty()).then_some(Json::Object(found))
}

/// The platform that nodes must have: `os/architecture`.
pub(super) fn platform(table: &Table<'_>) -> Option<Platform> {
    let field = table.given("platform")?;
    let text = field.filled()?;
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), _, None) if !os.is_empty() && !architecture.is_empty() => {
            Some(Platform { os: os.to_owned(), architecture: architecture.to_owned() })
        }
        _ => {
            field.error(format!("`{text}` is not a platform"), "write it like `linux/amd64`");
            None
        }
    }
}

/// Limits that stand beside `deploy`.
pub(super) fn resources(table: &Table<'_>, resources: &mut Option<Resources>) {
    let twice = |field: &Field<'_>, there: i64, value: i64, inside: &str| {
        if there != 0 && there != value {
            field.error(format!("`deploy.resources.{inside}` says otherwise"), "keep one of them");
        }
    };
    let mut set = |field: Field<'_>, value: Option<i64>, inside: &'static str, limit: bool| {
        let Some(value) = value.filter(|value| *value != 0) else { return };
        let found = resources.get_or_insert_default();
        let side = if limit { &mut found.limits } else { &mut found.reservations };
        let amount = side.get_or_insert_default();
        let slot = match inside {
            "limits.cpus" => &mut amount.nano_cpus,
            "limits.pids" => &mut amount.pids,
            _ => &mut amount.memory_bytes,
        };
        twice(&field, *slot, value, inside);
        *slot = value;
    };
    if let Some(field) = table.given("cpus") {
        let value = super::deploy::cpus(&field);
        set(field, value, "limits.cpus", true);
    }
    for (key, inside, limit) in
        [("mem_limit", "limits.memory", true), ("mem_reservation", "reservations.memory", false)]
    {
        if let Some(field) = table.given(key) {
            let value = super::deploy::memory(&field);
            set(field, value, inside, limit);
        }
    }
    if let Some(field) = table.given("pids_limit") {
        let value = field.within(-1, i64::MAX).filter(|value| *value > 0);
        set(field, value, "limits.pids", true);
    }
}

/// `scale`, which is the number of replicas.
pub(super) fn scale(table: &Table<'_>, mode: &mut ServiceMode) {
    let Some(field) = table.given("scale") else { return };
    let Some(count) = field.count() else { return };
    match &mut mode.replicated {
        Some(replicated) => match replicated.replicas {
            Some(replicas) if replicas != count => {
                field.error("`deploy.replicas` says otherwise", "keep one of them");
            }
            _ => replicated.replicas = Some(count),
        },
        None => field.error(format!("`scale` does not go with the mode {}", mode.kind()), "remove one of them"),
    }
}
