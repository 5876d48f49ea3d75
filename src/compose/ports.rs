//! `ports`: short and long notation to the ports of an endpoint.

use std::collections::BTreeMap;

use crate::domain::PortConfig;

use super::field::Field;
use super::scalar::Kind;
use super::yaml::{Entry, Node, Position, Scalar, Value};

/// The most ports of a stack: those that a Swarm has, of TCP and of UDP.
pub(super) const MOST: usize = 2 * 65_535;

/// A port with the place and path it was written at.
pub(super) struct Published {
    pub(super) port: PortConfig,
    pub(super) at: Position,
    pub(super) path: String,
}

/// The ports of a service, by published port; `left` is how many more the stack may have.
pub(super) fn ports(field: &Field<'_>, left: &mut usize) -> Vec<Published> {
    let mut ports = Vec::new();
    for item in field.list() {
        let found = match &item.node.value {
            Value::Map(_) => long(&item).into_iter().collect(),
            Value::Scalar(Scalar { kind: Kind::Int(_) | Kind::Text, text, .. }) => short(&item, text, *left),
            _ => {
                item.error("must be a port such as \"8080:80\", or a map with `target`", "put it in quotes");
                Vec::new()
            }
        };
        let Some(rest) = left.checked_sub(found.len()) else {
            let (message, hint) = too_many();
            item.error(message, hint);
            break;
        };
        *left = rest;
        ports.extend(found.into_iter().map(|port| Published { port, at: item.at(), path: item.path() }));
    }
    let mut seen = BTreeMap::new();
    for Published { port, at, path } in &ports {
        let protocol = if port.protocol.is_empty() { "tcp" } else { port.protocol.as_str() };
        if port.published_port > 0 && seen.insert((port.published_port, protocol.to_owned()), ()).is_some() {
            let message = format!("port {}/{protocol} is published twice by this service", port.published_port);
            field.found.error(*at, path, message, "publish it once");
        }
    }
    ports.sort_by_key(|published| published.port.published_port);
    ports
}

fn long(field: &Field<'_>) -> Option<PortConfig> {
    let table = field.table()?;
    let mut port = PortConfig::default();
    match table.get("target") {
        Some(target) => port.target_port = target.within(1, 65_535).and_then(narrow).unwrap_or(0),
        None => field.error("has no `target`", "name the container's port"),
    }
    if let Some(published) = table.given("published") {
        port.published_port = published.within(0, 65_535).and_then(narrow).unwrap_or(0);
    }
    if let Some(protocol) = table.given("protocol") {
        port.protocol = protocol.word_in_any_case(&["tcp", "udp", "sctp"]).unwrap_or_default();
    }
    if let Some(mode) = table.given("mode") {
        port.publish_mode = mode.word_in_any_case(&["ingress", "host"]).unwrap_or_default();
    }
    if let Some(host) = table.given("host_ip")
        && host.text().is_some_and(|text| !refers_to_all(&text))
    {
        host.error("Swarm publishes a port on every address of a node", HOST_IP);
    }
    table.finish();
    Some(port)
}

const HOST_IP: &str = "remove the address, and close the port with a firewall where it must not be reached";

fn narrow(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// The ports that a short notation stands for, and the address in front of them, which may be empty.
pub(super) struct Short {
    pub(super) ports: Vec<PortConfig>,
    pub(super) address: String,
}

fn too_many() -> (String, &'static str) {
    (format!("the stack has more than {MOST} ports"), "publish fewer")
}

/// `[ip:][published[-to]:]target[-to][/protocol]`, written out to `most` ports or refused before it is. An error is the message
/// and the mend.
pub(super) fn parse(text: &str, most: usize) -> Result<Short, (String, &'static str)> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) if !protocol.is_empty() => (ports, protocol.to_ascii_lowercase()),
        Some((ports, _)) => (ports, "tcp".to_owned()),
        None => (text, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err((format!("`{protocol}` is none of tcp, udp, sctp"), "write one of these, or leave it out"));
    }
    let (host, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, published) = host.rsplit_once(':').unwrap_or(("", host));
    let (first, last) = range(target)?;
    // The port 0 is one that Swarm chooses.
    let published = if matches!(published, "" | "0") { None } else { Some(range(published)?) };
    let longest = published.map_or(0, |(from, to)| to - from).max(last - first);
    if usize::try_from(longest).map_or(true, |longest| longest >= most) {
        return Err(too_many());
    }
    let port = |target_port, published_port| PortConfig {
        name: String::new(),
        protocol: protocol.clone(),
        target_port,
        published_port,
        publish_mode: "ingress".to_owned(),
    };
    let ports = match published {
        None => (first..=last).map(|target| port(target, 0)).collect(),
        Some((from, to)) if first == last => (from..=to).map(|published| port(first, published)).collect(),
        Some((from, to)) if to - from == last - first => {
            (first..=last).zip(from..=to).map(|(target, published)| port(target, published)).collect()
        }
        Some(_) => {
            let message = "the two ranges have different lengths".to_owned();
            return Err((message, "give both the same length, or the target one port"));
        }
    };
    Ok(Short { ports, address: address.trim_matches(['[', ']']).to_owned() })
}

/// A port as a tree, as if it had been written out.
pub(super) fn as_node(port: &PortConfig, at: Position) -> Node {
    let number = |key: &str, value: u32| {
        let scalar = Scalar { text: value.to_string(), kind: Kind::Int(value.into()), interpolated: false };
        Entry { key: key.to_owned(), at, value: Node { at, order: None, value: Value::Scalar(scalar) } }
    };
    let text = |key: &str, value: &str| Entry { key: key.to_owned(), at, value: Node::text(at, value) };
    let mut entries = vec![number("target", port.target_port), text("mode", &port.publish_mode)];
    if port.published_port > 0 {
        entries.push(number("published", port.published_port));
    }
    entries.push(text("protocol", &port.protocol));
    Node { at, order: None, value: Value::Map(entries) }
}

fn short(field: &Field<'_>, text: &str, most: usize) -> Vec<PortConfig> {
    // An address is what is wrong with it, whatever else is.
    let address = text.split('/').next().unwrap_or_default().rsplitn(3, ':').nth(2).unwrap_or_default();
    if !address.is_empty() && !refers_to_all(address.trim_matches(['[', ']'])) && field.found.strict() {
        field.error("Swarm publishes a port on every address of a node", HOST_IP);
        return Vec::new();
    }
    match parse(text, most) {
        Ok(Short { ports, address }) => {
            if !address.is_empty() && !field.found.strict() {
                field.warn("the address is ignored: the port is published on every address of a node");
            }
            ports
        }
        Err((message, hint)) => {
            field.error(message, hint);
            Vec::new()
        }
    }
}

/// The address that stands for all of a node's.
fn refers_to_all(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::")
}

fn range(text: &str) -> Result<(u32, u32), (String, &'static str)> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|c| c.is_ascii_digit()) => Ok(u32::from(port)),
        _ => Err((format!("`{text}` is not a port from 1 to 65535"), "write it like `8080:80`")),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err((format!("the range `{text}` runs backwards"), "put the lower port first"));
    }
    Ok((first, last))
}
