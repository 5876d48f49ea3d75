//! `networks`: what a service is attached to, and the networks to be there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::domain::{NAMESPACE_LABEL, NetworkAttachment, NetworkSpec, PROTECT_LABEL, StackName};

use super::field::{Field, Table};
use super::mounts::identity;
use super::own::is_protected;
use super::yaml::{Position, Value};

/// Networks every node has by itself.
const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];

/// Drivers whose networks, made like this, are of one node each: the engine attaches no service to them.
const OF_ONE_NODE: [&str; 6] = ["bridge", "host", "none", "null", "macvlan", "ipvlan"];

/// A network that the files declare.
pub(super) struct Network {
    spec: NetworkSpec,
    external: bool,
    at: Position,
}

/// The declared networks and which of them are used.
pub(super) struct Networks {
    declared: BTreeMap<String, Network>,
    used: BTreeSet<String>,
}

impl Networks {
    /// Reads the section.
    pub(super) fn read(section: Option<&Field<'_>>, stack: &StackName) -> Self {
        let mut declared = BTreeMap::new();
        for (entry, field) in section.map(Field::entries).unwrap_or_default() {
            let mut network = undeclared(&entry.key, stack);
            network.at = entry.at;
            if !field.node.is_null() && read(&field, &entry.key, &mut network).is_none() {
                continue;
            }
            if !network.external && !is_name(&network.spec.name) {
                let message = format!("`{}` is no name for a network", network.spec.name);
                field.error(message, "letters, digits, `-` and `_`; a letter or digit first and last");
            }
            declared.insert(entry.key.clone(), network);
        }
        Self { declared, used: BTreeSet::new() }
    }

    /// The attachments of a service, by the real name of the network. A service that names none is on `default`.
    pub(super) fn attach(
        &mut self,
        field: Option<&Field<'_>>,
        service: &str,
        stack: &StackName,
    ) -> Vec<NetworkAttachment> {
        let mut wanted: Vec<(String, Option<Field<'_>>, NetworkAttachment)> = Vec::new();
        match field.map(|field| (field, &field.node.value)) {
            Some((field, Value::List(_))) => {
                for item in field.list() {
                    if let Some(key) = item.text() {
                        wanted.push((key, Some(item), NetworkAttachment::default()));
                    }
                }
            }
            Some((field, _)) => {
                for (entry, options) in field.entries() {
                    let attachment = attachment(&options);
                    wanted.push((entry.key.clone(), Some(options), attachment));
                }
            }
            None => {}
        }
        if wanted.is_empty() {
            wanted.push(("default".to_owned(), None, NetworkAttachment::default()));
        }
        let mut attachments: Vec<NetworkAttachment> = wanted
            .into_iter()
            .filter_map(|(key, field, mut attachment)| {
                let name = self.name(&key, field.as_ref(), stack)?;
                if !PREDEFINED.contains(&name.as_str()) {
                    attachment.aliases.push(service.to_owned());
                }
                attachment.target = name;
                Some(attachment)
            })
            .collect();
        attachments.sort_by(|a, b| a.target.cmp(&b.target));
        attachments
    }

    /// The real name of the network `key`, which is then used.
    fn name(&mut self, key: &str, field: Option<&Field<'_>>, stack: &StackName) -> Option<String> {
        if !self.declared.contains_key(key) {
            if key != "default" {
                let known: Vec<&str> = self.declared.keys().map(String::as_str).collect();
                let hint = match super::near::closest(key, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare it: `networks: {{ {key}: {{}} }}`"),
                };
                if let Some(field) = field {
                    field.error(format!("undefined network `{key}`"), hint);
                }
                return None;
            }
            self.declared.insert(key.to_owned(), undeclared(key, stack));
        }
        self.used.insert(key.to_owned());
        self.declared.get(key).map(|network| network.spec.name.clone())
    }

    /// The networks to be made and the external ones, both only as far as a service uses them, by real name.
    pub(super) fn finish(self, section: Option<&Field<'_>>) -> (BTreeMap<String, NetworkSpec>, BTreeSet<String>) {
        let (mut made, mut external) = (BTreeMap::new(), BTreeSet::new());
        for (key, network) in self.declared {
            if !self.used.contains(&key) {
                if let Some(field) = section {
                    let path = format!("networks.{key}");
                    field.found.warn(network.at, &path, "no service uses this network; it is not made");
                }
            } else if !network.external {
                if let Some(field) = section.filter(|_| OF_ONE_NODE.contains(&network.spec.driver.as_str())) {
                    let message = format!("a network of the driver `{}` is of one node", network.spec.driver);
                    let hint = "remove `driver`: services are attached to `overlay`; or make it beforehand, and say `external: true`";
                    field.found.error(network.at, &format!("networks.{key}.driver"), message, hint);
                }
                made.insert(network.spec.name.clone(), network.spec);
            } else if !PREDEFINED.contains(&network.spec.name.as_str()) {
                external.insert(network.spec.name);
            }
        }
        (made, external)
    }
}

/// What Swarm takes as the name of a network, which is a part of a name in DNS.
fn is_name(name: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    inside && edge(name.bytes().next()) && edge(name.bytes().last())
}

/// The network that a key stands for when nothing more is said.
fn undeclared(key: &str, stack: &StackName) -> Network {
    let labels = BTreeMap::from([(NAMESPACE_LABEL.to_owned(), stack.to_string())]);
    let spec =
        NetworkSpec { name: format!("{stack}_{key}"), driver: "overlay".to_owned(), labels, ..NetworkSpec::default() };
    Network { spec, external: false, at: Position::default() }
}

fn read(field: &Field<'_>, key: &str, network: &mut Network) -> Option<()> {
    let table = field.table()?;
    let spec = &mut network.spec;
    let idle = ["driver", "driver_opts", "ipam", "internal", "attachable", "labels", "enable_ipv6"];
    (spec.name, network.external) = identity(&table, key, spec.name.clone(), &idle);
    if let Some(driver) = table.given("driver").and_then(|driver| driver.unless_empty()) {
        spec.driver = driver;
    }
    spec.options = table.given("driver_opts").map(|options| options.options()).unwrap_or_default();
    spec.internal = table.given("internal").and_then(|flag| flag.boolean()).unwrap_or(false);
    spec.attachable = table.given("attachable").and_then(|flag| flag.boolean()).unwrap_or(false);
    spec.enable_ipv6 = table.given("enable_ipv6").and_then(|flag| flag.boolean()).unwrap_or(false);
    if is_protected(&table) {
        spec.labels.insert(PROTECT_LABEL.to_owned(), "true".to_owned());
    }
    let labels = table.given("labels").map(|labels| labels.labels()).unwrap_or_default();
    let namespace = std::mem::take(&mut spec.labels);
    spec.labels = labels.into_iter().chain(namespace).collect();
    spec.ipam = table.given("ipam").and_then(|ipam| read_ipam(&ipam));
    table.finish();
    Some(())
}

/// `{Driver, Options, Config: [{Subnet, IPRange, Gateway, AuxiliaryAddresses}]}`, if the file says anything.
fn read_ipam(field: &Field<'_>) -> Option<Json> {
    let table = field.table()?;
    let mut ipam = Map::new();
    if let Some(driver) = table.given("driver").and_then(|driver| driver.text())
        && !driver.is_empty()
    {
        ipam.insert("Driver".to_owned(), driver.into());
    }
    let mut pools = Vec::new();
    for pool in table.given("config").map(|config| config.list()).unwrap_or_default() {
        let Some(pool_table) = pool.table() else { continue };
        pools.extend(read_pool(&pool_table));
        pool_table.finish();
    }
    if !pools.is_empty() {
        ipam.insert("Config".to_owned(), Json::Array(pools));
    }
    let options = table.given("options").map(|options| options.options()).unwrap_or_default();
    if !options.is_empty() {
        ipam.insert("Options".to_owned(), json!(options));
    }
    table.finish();
    (!ipam.is_empty()).then_some(Json::Object(ipam))
}

/// One pool of addresses; `None` when it says nothing.
fn read_pool(table: &Table<'_>) -> Option<Json> {
    let mut pool = Map::new();
    for (key, name) in [("subnet", "Subnet"), ("ip_range", "IPRange")] {
        let Some(field) = table.given(key) else { continue };
        let Some(text) = field.filled() else { continue };
        if !is_subnet(&text) {
            field.error(format!("`{text}` is not a subnet"), "write it like `10.10.0.0/24`");
        }
        pool.insert(name.to_owned(), text.into());
    }
    let address = |field: &Field<'_>, text: &str| {
        if text.parse::<std::net::IpAddr>().is_err() {
            field.error(format!("`{text}` is not an address"), "write it like `10.10.0.1`");
        }
    };
    if let Some(field) = table.given("gateway")
        && let Some(text) = field.filled()
    {
        address(&field, &text);
        pool.insert("Gateway".to_owned(), text.into());
    }
    let mut others = Map::new();
    for (entry, field) in table.given("aux_addresses").map(|field| field.entries()).unwrap_or_default() {
        let Some(text) = field.filled() else { continue };
        address(&field, &text);
        others.insert(entry.key.clone(), text.into());
    }
    if !others.is_empty() {
        pool.insert("AuxiliaryAddresses".to_owned(), Json::Object(others));
    }
    (!pool.is_empty()).then_some(Json::Object(pool))
}

fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
        (Ok(address), Ok(bits)) => bits <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

/// Aliases and driver options of one attachment.
fn attachment(field: &Field<'_>) -> NetworkAttachment {
    let mut attachment = NetworkAttachment::default();
    if field.node.is_null() {
        return attachment;
    }
    let Some(table) = field.table() else { return attachment };
    attachment.aliases = table.given("aliases").map(|aliases| aliases.texts()).unwrap_or_default();
    attachment.driver_opts = table.given("driver_opts").map(|options| options.options()).unwrap_or_default();
    for key in ["ipv4_address", "ipv6_address"] {
        let Some(address) = table.given(key) else { continue };
        if field.found.strict() {
            address.error("Swarm cannot give a task a fixed address", "remove it, and reach the service by its name");
        } else {
            address.warn("ignored: Swarm cannot give a task a fixed address");
        }
    }
    table.finish();
    attachment
}
