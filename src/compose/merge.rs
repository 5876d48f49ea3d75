//! Several files into one tree, by the compose specification's rules: maps are merged key by key, lists are appended, single
//! values are replaced, and
//!
//! - `command`, `entrypoint` and `healthcheck.test` are replaced;
//! - `environment`, `labels`, `sysctls` are merged by name, in either notation;
//! - `ports` are merged by published port, target and protocol, `volumes`, `configs` and `secrets` by their target: the
//!   later one wins whole;
//! - `logging` is merged unless the driver changes;
//! - `!reset` removes what the files before said, `!override` replaces it, and null changes nothing.
//!
//! Every value keeps the place it came from.

use super::mounts::short_target;
use super::scalar::Kind;
use super::yaml::{Entry, Node, Order, Scalar, Value};

/// How a field is merged.
#[derive(Clone, Copy)]
enum Rule {
    /// Maps by key, lists appended, the rest replaced.
    Deep,
    Replace,
    /// `KEY=VALUE` lists and maps.
    Pairs,
    /// A list of names, or a map with names as keys.
    Names,
    /// One text or a list; appended without repetition.
    Texts,
    /// `host:ip` lists and maps.
    Hosts,
    /// Lists of items with an identity.
    Keyed(fn(&Node) -> Option<String>),
    Logging,
}

/// Puts `over` on top of `base`.
pub(super) fn merge(base: Node, over: Node) -> Node {
    merge_at(base, over, &mut Vec::new())
}

/// Removes what `!reset` marks in a tree that has nothing below it any more.
pub(super) fn settle(node: &mut Node) {
    node.order = None;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            items.retain(|item| item.order != Some(Order::Reset));
            items.iter_mut().for_each(settle);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.value.order != Some(Order::Reset));
            entries.iter_mut().for_each(|entry| settle(&mut entry.value));
        }
    }
}

fn merge_at(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    if over.order.is_some() || base.order == Some(Order::Reset) {
        return over;
    }
    let rule = rule(path);
    let environment = path.len() == 4 && is_pairs(&path[..3]);
    if over.is_null() && !environment {
        return base;
    }
    match rule {
        Rule::Replace => over,
        Rule::Deep => deep(base, over, path),
        Rule::Pairs => deep(as_map(base, '='), as_map(over, '='), path),
        Rule::Names => deep(as_map(base, '\0'), as_map(over, '\0'), path),
        Rule::Texts => texts(base, over),
        Rule::Hosts => match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) => deep(base, over, path),
            _ => texts(as_host_list(base), as_host_list(over)),
        },
        Rule::Keyed(identity) => keyed(base, over, identity),
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(Node::written).map(str::to_owned);
            match (driver(&base), driver(&over)) {
                (_, None) => deep(base, over, path),
                (base_driver, over_driver) if base_driver == over_driver => deep(base, over, path),
                _ => over,
            }
        }
    }
}

fn is_pairs(path: &[String]) -> bool {
    matches!(rule(path), Rule::Pairs)
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "environment" | "labels" | "sysctls"]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes" | "configs" | "secrets", _, "labels"] => Rule::Pairs,
        ["services", _, "networks" | "depends_on"] => Rule::Names,
        ["services", _, "dns" | "dns_search" | "env_file" | "tmpfs" | "cap_add" | "cap_drop" | "expose"] => Rule::Texts,
        ["services", _, "extra_hosts"] => Rule::Hosts,
        ["services", _, "ports"] => Rule::Keyed(port_identity),
        ["services", _, "volumes"] => Rule::Keyed(volume_identity),
        ["services", _, "configs" | "secrets"] => Rule::Keyed(file_identity),
        ["services", _, "logging"] => Rule::Logging,
        _ => Rule::Deep,
    }
}

fn deep(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    let (at, order) = (base.at, base.order);
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for entry in over {
                let Some(index) = entries.iter().position(|old| old.key == entry.key) else {
                    entries.push(entry);
                    continue;
                };
                let old = entries.remove(index);
                path.push(entry.key.clone());
                let value = merge_at(old.value, entry.value, path);
                path.pop();
                entries.insert(index, Entry { key: entry.key, at: entry.at, value });
            }
            Node { at, order, value: Value::Map(entries) }
        }
        (Value::List(mut items), Value::List(over)) => {
            items.extend(over);
            Node { at, order, value: Value::List(items) }
        }
        (_, value) => Node { at: over.at, order: over.order, value },
    }
}

/// A list of `KEY<separator>VALUE` as a map; anything else as it is, for the reader to judge.
fn as_map(node: Node, separator: char) -> Node {
    let Value::List(items) = &node.value else { return node };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Some(text) = item.written() else { return node };
        let (key, value) = match text.split_once(separator) {
            Some((key, value)) => (key, Node::text(item.at, value)),
            None => (text, Node::null(item.at)),
        };
        entries.retain(|entry| entry.key != key);
        entries.push(Entry { key: key.to_owned(), at: item.at, value });
    }
    Node { value: Value::Map(entries), ..node }
}

fn as_host_list(node: Node) -> Node {
    let Value::Map(entries) = &node.value else { return node };
    let mut items = Vec::new();
    for entry in entries {
        let Some(address) = entry.value.written() else { return node };
        items.push(Node::text(entry.at, format!("{}={address}", entry.key)));
    }
    Node { value: Value::List(items), ..node }
}

fn texts(base: Node, over: Node) -> Node {
    let at = base.at;
    let list = |node: Node| match node.value {
        Value::List(items) => Ok(items),
        Value::Scalar(Scalar { kind: Kind::Text, .. }) => Ok(vec![node]),
        _ => Err(node),
    };
    match (list(base), list(over)) {
        (Ok(mut items), Ok(over)) => {
            for item in over {
                if item.written().is_none() || items.iter().all(|old| old.written() != item.written()) {
                    items.push(item);
                }
            }
            Node { at, order: None, value: Value::List(items) }
        }
        (_, Err(over)) => over,
        (Err(base), _) => base,
    }
}

fn keyed(base: Node, over: Node, identity: fn(&Node) -> Option<String>) -> Node {
    let (at, order) = (base.at, base.order);
    match (base.value, over.value) {
        (Value::List(mut items), Value::List(over)) => {
            for item in over {
                let same = identity(&item)
                    .and_then(|wanted| items.iter().position(|old| identity(old).as_ref() == Some(&wanted)));
                match same.and_then(|index| items.get_mut(index)) {
                    Some(old) => *old = item,
                    None => items.push(item),
                }
            }
            Node { at, order, value: Value::List(items) }
        }
        (_, value) => Node { at: over.at, order: over.order, value },
    }
}

/// `published:target/protocol`, in either notation.
fn port_identity(node: &Node) -> Option<String> {
    if let Some(text) = node.written() {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let ports = if ports.contains(':') { ports.to_owned() } else { format!(":{ports}") };
        return Some(format!("{ports}/{protocol}"));
    }
    let field = |key| node.get(key).and_then(Node::written);
    Some(format!("{}:{}/{}", field("published").unwrap_or(""), field("target")?, field("protocol").unwrap_or("tcp")))
}

fn volume_identity(node: &Node) -> Option<String> {
    match node.written() {
        Some(text) => Some(short_target(text)),
        None => node.get("target").and_then(Node::written).map(str::to_owned),
    }
}

fn file_identity(node: &Node) -> Option<String> {
    let field = |key| node.get(key).and_then(Node::written);
    node.written().or_else(|| field("target")).or_else(|| field("source")).map(str::to_owned)
}
