//! Raw JSON of the engine against raw JSON of the engine, and every difference that is allowed, with its reason.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Fields that differ between any two objects: identity and time.
const IDENTITY: [&str; 9] =
    ["ID", "Id", "Version", "CreatedAt", "UpdatedAt", "Created", "LastExecution", "ConfigID", "SecretID"];
/// What the engine gives to each object as it likes, and when it comes to it: addresses and ports, tunnels.
const GIVEN: [&str; 2] = ["Endpoint", "com.docker.network.driver.overlay.vxlanid_list"];
/// The beginning of Skep's own labels, which say whose an object is.
const OWN: &str = "dev.skep.";
/// From this port on, the engine chooses.
const CHOSEN: u64 = 30_000;

/// Compares what was made by `docker stack deploy` with what Skep made.
pub(crate) fn compare(docker: Value, skep: Value) -> Result<(), String> {
    let (docker, skep) = (normal(docker), normal(skep));
    let found = differences(&docker, &skep);
    if found.is_empty() { Ok(()) } else { Err(format!("docker → skep:\n{}", found.join("\n"))) }
}

pub(crate) fn normal(mut all: Value) -> Value {
    let names = names(&all);
    if let Value::Object(map) = &mut all {
        map.shift_remove("predefined");
        map.shift_remove("others");
    }
    for kind in ["services", "networks", "configs", "secrets"] {
        if let Some(list) = all[kind].as_array_mut() {
            for object in list.iter_mut() {
                if kind == "networks" {
                    addresses(object);
                }
                walk(object, &names);
            }
            list.sort_by_key(|object| object.pointer("/Spec/Name").or(object.get("Name")).map(Value::to_string));
        }
    }
    all
}

/// The engine has ids where the file has names: of networks, and of the config of a credential spec.
fn names(all: &Value) -> BTreeMap<String, String> {
    let listed = all["others"].as_array().into_iter().flatten();
    let mut names: BTreeMap<String, String> = listed
        .filter_map(|network| Some((network["Id"].as_str()?.to_owned(), network["Name"].as_str()?.to_owned())))
        .collect();
    for config in all["configs"].as_array().into_iter().flatten() {
        if let (Some(id), Some(name)) = (config["ID"].as_str(), config.pointer("/Spec/Name").and_then(Value::as_str)) {
            names.insert(id.to_owned(), name.to_owned());
        }
    }
    for (name, id) in all["predefined"].as_object().into_iter().flatten() {
        names.extend(id.as_str().map(|id| (id.to_owned(), name.clone())));
    }
    names
}

/// Which pool of addresses a network gets is the engine's choice, unless the file names one. The test's pools begin so.
fn addresses(network: &mut Value) {
    if let Some(pools) = network.pointer_mut("/IPAM/Config").and_then(Value::as_array_mut) {
        pools.retain(|pool| {
            let subnet = pool["Subnet"].as_str().unwrap_or_default();
            subnet.starts_with("10.99.") || subnet.starts_with("fd00:99:")
        });
    }
}

fn is_own(label: &str) -> bool {
    label.starts_with(OWN) && label != "dev.skep.protect"
}

fn walk(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !IDENTITY.contains(&key.as_str()) && !GIVEN.contains(&key.as_str()) && !is_own(key));
            rename(map, names);
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                let Some(inner) = map.get_mut(&key) else { continue };
                walk(inner, names);
            }
            // A port that nobody asked for is the engine's choice.
            if map.get("PublishedPort").and_then(Value::as_u64).is_some_and(|port| port >= CHOSEN) {
                map.shift_remove("PublishedPort");
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| walk(item, names));
            // Sorted by name by both; the digest in the name may change the order.
            if items.iter().any(|item| item.get("ConfigName").or(item.get("SecretName")).is_some()) {
                items.sort_by_key(Value::to_string);
            }
            // Sorted by the published port by both; what the engine chooses comes in no order.
            if items.iter().any(|item| item.get("TargetPort").is_some()) {
                items.sort_by_key(Value::to_string);
            }
        }
        _ => {}
    }
}

/// Names for ids, and names without the digest that Skep puts behind those of configs and secrets.
fn rename(map: &mut Map<String, Value>, names: &BTreeMap<String, String>) {
    for (key, value) in map.iter_mut() {
        if matches!(key.as_str(), "Target" | "Config")
            && let Some(name) = value.as_str().and_then(|id| names.get(id))
        {
            *value = name.clone().into();
        }
        let Some(text) = value.as_str() else { continue };
        match key.as_str() {
            "Name" | "ConfigName" | "SecretName" | "Config" => {
                let digest = |digest: &str| digest.len() == 12 && digest.bytes().all(|c| c.is_ascii_hexdigit());
                if let Some((name, _)) = text.rsplit_once('_').filter(|(_, tail)| digest(tail)) {
                    *value = name.to_owned().into();
                }
            }
            _ => {}
        }
    }
}

/// Where two values differ.
pub(crate) fn differences(a: &Value, b: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differ("", Some(a), Some(b), &mut found);
    found
}

fn differ(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<String>) {
    match (a, b) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                differ(&format!("{path}/{key}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}/{index}"), Some(a), Some(b), found);
            }
        }
        (a, b) => {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            found.push(format!("{path}: {} → {}", text(a), text(b)));
        }
    }
}
