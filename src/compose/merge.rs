//! Several files into one tree, by the compose specification's rules: maps are merged key by key, lists are appended, single
//! values are replaced, and
//!
//! - `command`, `entrypoint` and `healthcheck.test` are replaced, the first two also by null, which is the image's own;
//! - `environment`, `labels`, `sysctls` are merged by name, in either notation;
//! - `ports` are merged by published port, target and protocol, `volumes`, `configs` and `secrets` by their target: the
//!   later one wins whole;
//! - `ipam.config` is merged by subnet: the entries for the same one key by key;
//! - `logging` is merged unless the driver changes;
//! - `!reset` removes what the files before said, `!override` replaces it, and any other null changes nothing.
//!
//! Every value keeps the place it came from.

use super::compat::Difference;
use super::mounts::short_target;
use super::scalar::Kind;
use super::yaml::{Entry, Node, Order, Position, Scalar, Value};

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
    /// Lists of address pools: those of the same subnet are merged, others appended.
    Pools,
}

/// A place where `docker stack deploy` would have merged otherwise, with its path.
pub(super) type Note = (Difference, Position, String);

/// Where merging stands, and what it has met.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    notes: Vec<Note>,
}

impl Walk {
    fn note(&mut self, difference: Difference, at: Position) {
        self.notes.push((difference, at, self.path.join(".")));
    }
}

/// Puts `over` on top of `base`; `notes` gets what `docker stack deploy` would have merged otherwise.
pub(super) fn merge(base: Node, over: Node, notes: &mut Vec<Note>) -> Node {
    let mut walk = Walk::default();
    let merged = merge_at(base, over, &mut walk);
    notes.append(&mut walk.notes);
    merged
}

/// Puts one service on top of another that it extends.
pub(super) fn merge_service(base: Node, over: Node) -> Node {
    let mut walk = Walk { path: vec!["services".to_owned(), String::new()], ..Walk::default() };
    merge_at(base, over, &mut walk)
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

fn merge_at(base: Node, over: Node, walk: &mut Walk) -> Node {
    if over.order.is_some() || base.order == Some(Order::Reset) {
        if over.order.is_some() {
            walk.note(Difference::MergeTags, over.at);
        }
        return over;
    }
    let rule = rule(&walk.path);
    let environment = walk.path.len() == 4 && is_pairs(&walk.path[..3]);
    if over.is_null() && !environment {
        return if is_command(&walk.path) { over } else { base };
    }
    remark(&base, &over, rule, walk);
    match rule {
        Rule::Replace => over,
        Rule::Deep => deep(base, over, walk),
        Rule::Pairs => deep(as_map(base, '='), as_map(over, '='), walk),
        Rule::Names => deep(as_map(base, '\0'), as_map(over, '\0'), walk),
        Rule::Texts => texts(base, over),
        Rule::Hosts => match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) => deep(base, over, walk),
            _ => texts(as_host_list(base), as_host_list(over)),
        },
        Rule::Keyed(identity) => keyed(base, over, identity),
        Rule::Pools => pools(base, over, walk),
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(Node::written).map(str::to_owned);
            match (driver(&base), driver(&over)) {
                (_, None) => deep(base, over, walk),
                (base_driver, over_driver) if base_driver == over_driver => deep(base, over, walk),
                _ => over,
            }
        }
    }
}

/// Notes what `docker stack deploy` would merge otherwise at this place.
fn remark(base: &Node, over: &Node, rule: Rule, walk: &mut Walk) {
    let path: Vec<&str> = walk.path.iter().map(String::as_str).collect();
    let difference = match (path.as_slice(), &base.value, &over.value) {
        (["services", _], ..) => {
            let says = |node: &Node, key| node.get(key).is_some_and(|value: &Node| !value.is_null());
            (says(base, "environment") && says(over, "env_file")).then_some(Difference::MergeEnvironment)
        }
        (["services", _, "healthcheck", "test"], ..) => Some(Difference::MergeTest),
        (["networks" | "volumes" | "configs" | "secrets", _], Value::Map(entries), Value::Map(new)) => {
            loses(entries, new).then_some(Difference::MergeSections)
        }
        (["services", _, "ports"], Value::List(items), Value::List(new)) => {
            let unpublished = items.iter().chain(new).filter(|item| is_unpublished(item)).count();
            (unpublished > 1).then_some(Difference::MergePorts)
        }
        (_, Value::List(items), Value::List(new)) if matches!(rule, Rule::Texts) => {
            let repeated = new.iter().any(|item| items.iter().any(|old| old.written() == item.written()));
            repeated.then_some(Difference::MergeLists)
        }
        ([.., "replicas" | "parallelism" | "retries" | "max_attempts"], ..) | ([_, _, "labels", ..], ..) => None,
        // The CLI refuses a boolean there.
        ([before @ .., _], _, Value::Scalar(Scalar { kind: Kind::Bool(_), .. })) if is_pairs(before) => None,
        (_, Value::Scalar(old), Value::Scalar(new)) => (is_zero(new) && !is_zero(old)).then_some(Difference::MergeZero),
        _ => None,
    };
    if let Some(difference) = difference {
        walk.note(difference, over.at);
    }
}

/// Whether Go would call it the zero value.
pub(super) fn is_zero(scalar: &Scalar) -> bool {
    match scalar.kind {
        Kind::Null | Kind::Bool(false) | Kind::Int(0) => true,
        Kind::Float(value) => value == 0.0,
        Kind::Text => scalar.text.is_empty(),
        _ => false,
    }
}

fn is_unpublished(port: &Node) -> bool {
    match port.written() {
        Some(text) => !text.contains(':'),
        None => port.get("published").is_none_or(|published| published.written() == Some("0")),
    }
}

/// Whether something of the earlier entries is in none of the later ones.
fn loses(entries: &[Entry], new: &[Entry]) -> bool {
    entries.iter().any(|old| {
        let Some(new) = new.iter().find(|new| new.key == old.key) else { return true };
        match (&old.value.value, &new.value.value) {
            (Value::Map(old), Value::Map(new)) => loses(old, new),
            (Value::List(old), Value::List(new)) => old.iter().any(|old| new.iter().all(|new| !old.says_the_same(new))),
            _ => false,
        }
    })
}

fn is_pairs<S: AsRef<str>>(path: &[S]) -> bool {
    matches!(rule(path), Rule::Pairs)
}

fn is_command(path: &[String]) -> bool {
    matches!(path, [services, _, key] if services == "services" && matches!(key.as_str(), "command" | "entrypoint"))
}

fn rule<S: AsRef<str>>(path: &[S]) -> Rule {
    let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match path.as_slice() {
        ["services", _, "command" | "entrypoint" | "extends"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "environment" | "labels" | "sysctls"]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes" | "configs" | "secrets", _, "labels"] => Rule::Pairs,
        ["services", _, "networks" | "depends_on"] => Rule::Names,
        [
            "services",
            _,
            "dns" | "dns_search" | "env_file" | "tmpfs" | "cap_add" | "cap_drop" | "expose" | "profiles" | "dns_opt"
            | "group_add" | "security_opt",
        ] => Rule::Texts,
        ["services", _, "extra_hosts"] => Rule::Hosts,
        ["services", _, "ports"] => Rule::Keyed(port_identity),
        ["services", _, "volumes"] => Rule::Keyed(volume_identity),
        ["services", _, "configs" | "secrets"] => Rule::Keyed(file_identity),
        ["services", _, "logging"] => Rule::Logging,
        ["networks", _, "ipam", "config"] => Rule::Pools,
        _ => Rule::Deep,
    }
}

fn deep(base: Node, over: Node, walk: &mut Walk) -> Node {
    let (at, order) = (base.at, base.order);
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for entry in over {
                let Some(index) = entries.iter().position(|old| old.key == entry.key) else {
                    entries.push(entry);
                    continue;
                };
                let old = entries.remove(index);
                walk.path.push(entry.key.clone());
                let value = merge_at(old.value, entry.value, walk);
                walk.path.pop();
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
pub(super) fn as_map(node: Node, separator: char) -> Node {
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

/// A map of hosts as a list of `host=address`, in the order that it has when it is read as a map.
pub(super) fn as_host_list(node: Node) -> Node {
    let Value::Map(entries) = &node.value else { return node };
    let mut items = Vec::new();
    for entry in entries {
        let Some(address) = entry.value.written() else { return node };
        items.push((format!("{}:{address}", entry.key), Node::text(entry.at, format!("{}={address}", entry.key))));
    }
    // The CLI sorts `host:address`.
    items.sort_by(|a, b| a.0.cmp(&b.0));
    let items = items.into_iter().map(|(_, item)| item).collect();
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

fn pools(base: Node, over: Node, walk: &mut Walk) -> Node {
    let (at, order) = (base.at, base.order);
    match (base.value, over.value) {
        (Value::List(mut items), Value::List(over)) => {
            let subnet = |pool: &Node| pool.get("subnet").and_then(Node::written).map(str::to_owned);
            for pool in over {
                let same = subnet(&pool).and_then(|of| items.iter().position(|old| subnet(old) == Some(of.clone())));
                match same {
                    Some(index) => {
                        let merged = deep(items.remove(index), pool, walk);
                        items.insert(index, merged);
                    }
                    None => items.push(pool),
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
