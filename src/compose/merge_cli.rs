//! Several files into one tree as `docker stack deploy` (28.2.2) merges them, measured with `docker stack config`:
//!
//! - a service in one file only stays as it is, and so does a list that only the later file has; of others in several, ports,
//!   mounts, configs and secrets are keyed (by published port, target, source, source), the later one wins whole, and they
//!   are sorted;
//! - single values are replaced, but not by an empty text, zero or `false`, save for four numbers;
//! - lists are appended, `healthcheck.test` too; `command` and `entrypoint` are replaced when not empty;
//! - maps are merged key by key; an empty or null `environment` value replaces nothing that is neither;
//! - networks, volumes, configs and secrets of the same name are replaced whole.

use super::merge::{as_host_list, as_map, is_zero};
use super::mounts::drive_target;
use super::ports;
use super::scalar::Kind;
use super::units;
use super::yaml::{Entry, Node, Scalar, Value};

/// Numbers that a later zero replaces.
const POINTERS: [&str; 4] = ["replicas", "parallelism", "retries", "max_attempts"];
/// Values that are durations, of which a later zero replaces nothing.
const DURATIONS: [&str; 8] =
    ["delay", "monitor", "window", "interval", "timeout", "start_period", "start_interval", "stop_grace_period"];

/// Puts `over` on top of `base`.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let mut left = ports::MOST;
    by_key(base, over, |key, base, over| match key {
        "services" => by_key(base, over, |_, base, over| service(base, over, &mut left)),
        "networks" | "volumes" | "configs" | "secrets" => by_key(base, over, |_, _, over| over),
        _ => over,
    })
}

/// Merges two maps; what is null replaces nothing, and what is no map is left for the reader to judge.
fn by_key(base: Node, over: Node, mut both: impl FnMut(&str, Node, Node) -> Node) -> Node {
    if over.is_null() {
        return base;
    }
    let at = base.at;
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for entry in over {
                match entries.iter().position(|old| old.key == entry.key) {
                    None => entries.push(entry),
                    Some(index) => {
                        let old = entries.remove(index);
                        let value = both(&entry.key, old.value, entry.value);
                        entries.insert(index, Entry { key: entry.key, at: entry.at, value });
                    }
                }
            }
            Node { at, order: None, value: Value::Map(entries) }
        }
        (_, value) => Node { at: over.at, order: None, value },
    }
}

/// A service in both; `left` is how many ports ranges may be written out to.
fn service(base: Node, mut over: Node, left: &mut usize) -> Node {
    let new = |key: &str| base.get(key).is_none();
    // What only the later file has stays as it is there, but that an empty list says nothing.
    let mut kept = Vec::new();
    if let Value::Map(entries) = &mut over.value {
        let is_empty = |entry: &Entry| matches!(&entry.value.value, Value::List(items) if items.is_empty());
        entries.retain(|entry| !(new(&entry.key) && is_empty(entry)));
        kept.extend(entries.iter().filter(|entry| new(&entry.key)).map(|entry| entry.key.clone()));
    }
    let mut merged = by_key(base, over, |key, base, over| match key {
        "command" | "entrypoint" => words(base, over),
        "environment" => environment(as_map(base, '='), as_map(over, '=')),
        "labels" | "sysctls" => plain(as_map(base, '='), as_map(over, '=')),
        "ulimits" => by_key(base, over, |_, _, over| over),
        "networks" => by_key(as_map(base, '\0'), as_map(over, '\0'), |_, base, over| attachment(base, over)),
        "logging" => logging(base, over),
        "extra_hosts" => lists(as_host_list(base), as_host_list(over)),
        _ => general(key, base, over),
    });
    if let Value::Map(entries) = &mut merged.value {
        for entry in entries.iter_mut().filter(|entry| !kept.contains(&entry.key)) {
            let Value::List(items) = &mut entry.value.value else { continue };
            match entry.key.as_str() {
                "ports" => *items = published(std::mem::take(items), left),
                "volumes" => keyed(items, |item| match item.written() {
                    Some(text) => Some(drive_target(text)),
                    None => item.get("target").and_then(Node::written).map(str::to_owned),
                }),
                "configs" | "secrets" => keyed(items, |item| {
                    item.written().or_else(|| item.get("source").and_then(Node::written)).map(str::to_owned)
                }),
                _ => {}
            }
        }
    }
    merged
}

fn general(key: &str, base: Node, over: Node) -> Node {
    match (&base.value, &over.value) {
        _ if key == "test" => lists(test(base), test(over)),
        (Value::Map(_), Value::Map(_)) => by_key(base, over, |inner, base, over| match (key, inner) {
            ("deploy", "labels") => plain(as_map(base, '='), as_map(over, '=')),
            _ => general(inner, base, over),
        }),
        (Value::List(_), Value::List(_)) => lists(base, over),
        (Value::List(_), Value::Scalar(_)) | (Value::Scalar(_), Value::List(_)) => lists(base, over),
        (_, Value::Scalar(scalar)) if replaces_nothing(key, scalar) => base,
        // Names and search domains in one text are lists of one.
        (Value::Scalar(_), Value::Scalar(_)) if matches!(key, "dns" | "dns_search" | "env_file" | "tmpfs") => {
            lists(base, over)
        }
        _ => over,
    }
}

fn replaces_nothing(key: &str, scalar: &Scalar) -> bool {
    if POINTERS.contains(&key) {
        return scalar.kind == Kind::Null;
    }
    let number = |text: &str| text.parse::<f64>() == Ok(0.0);
    is_zero(scalar)
        || DURATIONS.contains(&key) && units::duration(&scalar.text) == Ok(0)
        || key == "memory" && units::bytes(&scalar.text) == Ok(0)
        || scalar.interpolated && matches!(key, "max_failure_ratio" | "max_replicas_per_node") && number(&scalar.text)
        || scalar.interpolated
            && matches!(key, "tty" | "stdin_open" | "read_only" | "privileged" | "disable")
            && matches!(scalar.text.to_ascii_lowercase().as_str(), "n" | "no" | "false" | "off")
}

fn words(base: Node, over: Node) -> Node {
    let empty = match &over.value {
        Value::List(items) => items.is_empty(),
        Value::Scalar(scalar) => is_zero(scalar),
        Value::Map(_) => false,
    };
    if empty { base } else { over }
}

/// A test in one text is one for the shell.
fn test(node: Node) -> Node {
    match &node.value {
        Value::Scalar(scalar) if !is_zero(scalar) => {
            let items = vec![Node::text(node.at, "CMD-SHELL"), node.clone()];
            Node { at: node.at, order: None, value: Value::List(items) }
        }
        _ => node,
    }
}

fn environment(base: Node, over: Node) -> Node {
    let says_nothing = |node: &Node| node.is_null() || node.written() == Some("");
    by_key(base, over, |_, base, over| if says_nothing(&over) && !says_nothing(&base) { base } else { over })
}

/// Labels and the like: null is the empty text.
fn plain(base: Node, over: Node) -> Node {
    by_key(base, over, |_, _, over| over)
}

/// The aliases are replaced, also by none; the rest of the later one is lost.
fn attachment(base: Node, over: Node) -> Node {
    if base.is_null() {
        return over;
    }
    let at = base.at;
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            entries.retain(|entry| entry.key != "aliases");
            entries.extend(over.into_iter().filter(|entry| entry.key != "driver_opts"));
            Node { at, order: None, value: Value::Map(entries) }
        }
        (value, Value::Scalar(_)) => Node { at, order: None, value },
        (_, value) => Node { at: over.at, order: None, value },
    }
}

fn logging(base: Node, over: Node) -> Node {
    let driver = |node: &Node| node.get("driver").and_then(Node::written).unwrap_or_default().to_owned();
    let (old, new) = (driver(&base), driver(&over));
    if !old.is_empty() && !new.is_empty() && old != new {
        return over;
    }
    by_key(base, over, |key, base, over| match key {
        "options" => plain(base, over),
        _ => general(key, base, over),
    })
}

fn lists(base: Node, over: Node) -> Node {
    let at = base.at;
    let items = |node: Node| match &node.value {
        Value::Scalar(scalar) if is_zero(scalar) => Vec::new(),
        Value::List(items) => items.clone(),
        _ => vec![node],
    };
    let mut all = items(base);
    all.extend(items(over));
    Node { at, order: None, value: Value::List(all) }
}

/// One item for each key, the last one, sorted; an item without a key is kept for the reader to judge.
fn keyed(items: &mut Vec<Node>, key: impl Fn(&Node) -> Option<String>) {
    let mut found = std::collections::BTreeMap::new();
    let mut odd = Vec::new();
    for item in std::mem::take(items) {
        match key(&item) {
            Some(key) => {
                found.insert(key, item);
            }
            None => odd.push(item),
        }
    }
    items.extend(found.into_values().chain(odd));
}

/// Ports by published port; ranges are written out before, while they are not more than a stack may have.
fn published(items: Vec<Node>, left: &mut usize) -> Vec<Node> {
    let mut found = std::collections::BTreeMap::new();
    let mut odd = Vec::new();
    for item in items {
        if let Some(Ok(ports)) = item.written().map(|text| ports::parse(text, *left)) {
            *left -= ports.ports.len();
            for port in ports.ports {
                found.insert(port.published_port, ports::as_node(&port, item.at));
            }
            continue;
        }
        let number = item.get("published").and_then(Node::written).unwrap_or("0").parse::<u32>();
        match (matches!(item.value, Value::Map(_)), number) {
            (true, Ok(number)) => {
                found.insert(number, item);
            }
            _ => odd.push(item),
        }
    }
    found.into_values().chain(odd).collect()
}
