//! Whether a node can take a task of a service, and if not, why: the scheduler's own questions that a snapshot can answer.
//!
//! Source: swarmkit's `scheduler/filter.go` and `manager/constraint`. What a task of another service has reserved on a node
//! is not known here, nor which plugins a node has: a node that is said to fit may yet be full.

use std::net::IpAddr;

use crate::domain::{Node, NodeAvailability, NodeState, Placement, Platform, ResourceSet, ServiceSpec};

/// Why this node cannot take a task of this service, as the end of a sentence about the node; `None` when it can.
pub(super) fn obstacle(spec: &ServiceSpec, node: &Node) -> Option<String> {
    let placement = spec.task_template.placement.as_ref();
    away(node)
        .or_else(|| placement.and_then(|placement| unmet(placement, node)))
        .or_else(|| placement.and_then(|placement| other_platform(placement, node)))
        .or_else(|| too_small(spec, node))
}

fn away(node: &Node) -> Option<String> {
    match (node.state, node.availability) {
        (NodeState::Ready, NodeAvailability::Active) => None,
        (NodeState::Ready, NodeAvailability::Pause) => Some("is paused".to_owned()),
        (NodeState::Ready, NodeAvailability::Drain) => Some("is drained".to_owned()),
        _ => Some("is not there".to_owned()),
    }
}

fn unmet(placement: &Placement, node: &Node) -> Option<String> {
    let constraint = placement.constraints.iter().find(|constraint| !is_met(constraint, node))?;
    let has = match parts(constraint).and_then(|(key, _, _)| label(key, node)) {
        Some((_, Some(value))) => format!(" (its label says `{value}`)"),
        Some((_, None)) => " (it has no such label)".to_owned(),
        None => String::new(),
    };
    Some(format!("does not meet `{constraint}`{has}"))
}

/// Key, value, and whether they are to be equal.
fn parts(constraint: &str) -> Option<(&str, &str, bool)> {
    let found = match constraint.split_once("!=") {
        Some((key, value)) => (key, value, false),
        None => constraint.split_once("==").map(|(key, value)| (key, value, true))?,
    };
    Some((found.0.trim(), found.1.trim(), found.2))
}

/// The label that a key names, and what the node says to it.
fn label<'a>(key: &'a str, node: &'a Node) -> Option<(&'a str, Option<&'a str>)> {
    let within = |prefix: &str| {
        let (head, name) = key.split_at_checked(prefix.len())?;
        (head.eq_ignore_ascii_case(prefix) && !name.is_empty()).then_some(name)
    };
    let (labels, name) = match within("node.labels.") {
        Some(name) => (&node.labels, name),
        None => (&node.engine_labels, within("engine.labels.")?),
    };
    Some((name, labels.get(name).map(String::as_str)))
}

/// As swarmkit has it: values are compared without regard to case; a label that is not there is the empty text; a key that
/// it does not know is never met. What cannot be read is left to the engine, which refuses it.
fn is_met(constraint: &str, node: &Node) -> bool {
    let Some((key, wanted, equal)) = parts(constraint) else { return true };
    let says = |found: &str| found.eq_ignore_ascii_case(wanted) == equal;
    if let Some((_, found)) = label(key, node) {
        return says(found.unwrap_or_default());
    }
    match key.to_ascii_lowercase().as_str() {
        "node.id" => says(&node.id),
        "node.hostname" => says(&node.hostname),
        "node.role" => says(if node.manager { "manager" } else { "worker" }),
        "node.platform.os" => says(&node.platform.os),
        "node.platform.arch" => says(&node.platform.architecture),
        // An address that the managers do not know may be any.
        "node.ip" => node.addr.parse().map_or(true, |address| is_at(wanted, address) == Some(equal)),
        _ => false,
    }
}

/// Whether an address is the one named, or in the network named; `None` when neither is named.
fn is_at(wanted: &str, address: IpAddr) -> Option<bool> {
    if let Ok(one) = wanted.parse::<IpAddr>() {
        return Some(one == address);
    }
    let (network, length) = wanted.split_once('/')?;
    let (network, length) = (network.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
    let first = |bits: u128, of: u32| bits.checked_shr(of.checked_sub(length)?).or(Some(0));
    Some(match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => first(u32::from(a).into(), 32)? == first(u32::from(b).into(), 32)?,
        (IpAddr::V6(a), IpAddr::V6(b)) => first(a.into(), 128)? == first(b.into(), 128)?,
        _ => false,
    })
}

fn other_platform(placement: &Placement, node: &Node) -> Option<String> {
    let platforms = &placement.platforms;
    if platforms.is_empty() || platforms.iter().any(|platform| is_on(platform, &node.platform)) {
        return None;
    }
    let text = |platform: &Platform| format!("{}/{}", platform.os, plain(&platform.architecture));
    let there: Vec<String> = platforms.iter().map(text).collect();
    Some(format!("is {}, and the image is for {}", text(&node.platform), there.join(", ")))
}

fn is_on(wanted: &Platform, node: &Platform) -> bool {
    let same = |wanted: &str, found: &str| wanted.is_empty() || found.is_empty() || plain(wanted) == plain(found);
    same(&wanted.os, &node.os) && same(&wanted.architecture, &node.architecture)
}

/// One name for each architecture: registries and kernels call them differently.
fn plain(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn too_small(spec: &ServiceSpec, node: &Node) -> Option<String> {
    let (limits, reserved) = sets(spec);
    let less = |has: i64, wants: i64| has > 0 && wants > has;
    if less(node.memory_bytes, reserved.memory_bytes) {
        let (has, wants) = (memory(node.memory_bytes), memory(reserved.memory_bytes));
        return Some(format!("has {has} of memory, and {wants} are reserved"));
    }
    if less(node.nano_cpus, reserved.nano_cpus) {
        let (has, wants) = (cpus(node.nano_cpus), cpus(reserved.nano_cpus));
        return Some(format!("has {has} CPUs, and {wants} are reserved"));
    }
    let generic = generic(&reserved).find(|(kind, wants)| *wants > of_kind(node, kind));
    if let Some((kind, wants)) = generic {
        return Some(format!("has {} of `{kind}`, and {wants} are reserved", of_kind(node, kind)));
    }
    if less(node.nano_cpus, limits.nano_cpus) {
        let (has, wants) = (cpus(node.nano_cpus), cpus(limits.nano_cpus));
        return Some(format!("has {has} CPUs, and its engine refuses a limit of {wants}"));
    }
    None
}

/// What is reserved of other resources, by kind.
fn generic(reserved: &ResourceSet) -> impl Iterator<Item = (&str, i64)> {
    reserved.generic_resources.iter().filter_map(|resource| {
        let discrete = resource.get("DiscreteResourceSpec")?;
        Some((discrete.get("Kind")?.as_str()?, discrete.get("Value")?.as_i64()?))
    })
}

fn of_kind(node: &Node, kind: &str) -> i64 {
    node.generic.get(kind).copied().unwrap_or(0)
}

/// Limits and reservations; nothing where nothing is said.
pub(super) fn sets(spec: &ServiceSpec) -> (ResourceSet, ResourceSet) {
    let resources = spec.task_template.resources.clone().unwrap_or_default();
    (resources.limits.unwrap_or_default(), resources.reservations.unwrap_or_default())
}

/// How many tasks of this service one empty node has room for; `u64::MAX` when nothing limits it.
pub(super) fn room(spec: &ServiceSpec, node: &Node) -> u64 {
    let (_, reserved) = sets(spec);
    let times = |has: i64, each: i64| match each {
        1.. if has > 0 => u64::try_from(has / each).unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    let most = spec.task_template.placement.as_ref().map_or(0, |placement| placement.max_replicas);
    let most = if most == 0 { u64::MAX } else { most };
    let generic = generic(&reserved).map(|(kind, each)| times(of_kind(node, kind), each));
    let generic = generic.min().unwrap_or(u64::MAX);
    most.min(times(node.memory_bytes, reserved.memory_bytes))
        .min(times(node.nano_cpus, reserved.nano_cpus))
        .min(generic)
}

/// Bytes, for people.
pub(super) fn memory(bytes: i64) -> String {
    const MIB: i64 = 1 << 20;
    let mib = bytes / MIB;
    if mib < 1024 || mib % 1024 == 0 {
        return if mib < 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib / 1024) };
    }
    format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024)
}

fn cpus(nano: i64) -> String {
    let (whole, part) = (nano / 1_000_000_000, nano % 1_000_000_000);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
