//! Networks, volumes, configs and secrets: the keys under which services name them, and their sections.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{labels, of_stack, pairs, put, put_text, text};
use crate::domain::{
    Digest, INSTANCE_LABEL, LiveConfig, LiveNetwork, PROTECT_LABEL, Snapshot, StackName, TUNNELS_OPTION, content_name,
};

/// The longest key of a section that is taken from a name.
const SECTIONS: [&str; 4] = ["networks", "volumes", "configs", "secrets"];

/// What services name, as far as it has been named.
pub(super) struct Objects<'a> {
    pub(super) stack: &'a StackName,
    live: &'a Snapshot,
    /// By section and real name: the key, and what stands there.
    named: BTreeMap<(&'static str, String), (String, Value)>,
    pub(super) remarks: Vec<String>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(stack: &'a StackName, live: &'a Snapshot) -> Self {
        Self { stack, live, named: BTreeMap::new(), remarks: Vec::new() }
    }

    /// The sections that hold anything, behind what is there, and what was remarked upon.
    pub(super) fn finish(self, file: &mut Map<String, Value>) -> Vec<String> {
        for section in SECTIONS {
            let of_section = self.named.iter().filter(|((of, _), _)| *of == section);
            let entries: Map<String, Value> =
                of_section.map(|(_, (key, value))| (key.clone(), value.clone())).collect();
            put(file, section, (!entries.is_empty()).then_some(Value::Object(entries)));
        }
        self.remarks
    }

    /// The key of an object, which is made up when it is named for the first time. `short` is the key that its name follows
    /// from; without one, or when another object has that key, the whole name is taken. `value` is told whether the name
    /// follows from the key.
    fn key(
        &mut self,
        section: &'static str,
        name: &str,
        short: Option<&str>,
        value: impl FnOnce(&mut Self, bool) -> Value,
    ) -> String {
        if let Some((key, _)) = self.named.get(&(section, name.to_owned())) {
            return key.clone();
        }
        let taken = |key: &str| self.named.iter().any(|((of, _), (known, _))| *of == section && known == key);
        let key = short.filter(|short| !taken(short)).unwrap_or(name).to_owned();
        let value = value(self, short == Some(key.as_str()));
        self.named.insert((section, name.to_owned()), (key.clone(), value));
        key
    }

    fn scoped<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.stack.as_str()).and_then(|rest| rest.strip_prefix('_')).filter(|key| !key.is_empty())
    }

    /// The key of a network.
    pub(super) fn network(&mut self, name: &str) -> String {
        let own = self.live.networks.get(name).filter(|live| of_stack(&live.labels, self.stack)).cloned();
        let Some(live) = own else { return self.external("networks", name) };
        let short = self.scoped(name);
        self.key("networks", name, short, |_, follows| network(&live, follows))
    }

    /// The key of a volume that a mount names with these options.
    pub(super) fn volume(&mut self, name: &str, options: Option<&Value>) -> String {
        let found: BTreeMap<String, String> = options
            .and_then(|options| options.get("Labels"))
            .and_then(|labels| serde_json::from_value(labels.clone()).ok())
            .unwrap_or_default();
        if !of_stack(&found, self.stack) {
            return self.external("volumes", name);
        }
        let driver = options.and_then(|options| options.get("DriverConfig")).cloned().unwrap_or_default();
        let short = self.scoped(name);
        self.key("volumes", name, short, |_, follows| {
            let mut volume = named(name, follows);
            put_text(&mut volume, "driver", driver.get("Name").and_then(Value::as_str).unwrap_or_default());
            let options = driver.get("Options").and_then(Value::as_object).cloned().unwrap_or_default();
            let options: BTreeMap<String, String> =
                options.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect();
            put(&mut volume, "driver_opts", pairs(&options));
            put(&mut volume, "labels", labels(&found, &[]));
            Value::Object(volume)
        })
    }

    /// The key of a secret. Its content cannot be read back.
    pub(super) fn secret(&mut self, name: &str) -> String {
        let own = self.live.secrets.get(name).is_some_and(|live| of_stack(&live.labels, self.stack));
        let known = self.named.contains_key(&("secrets", name.to_owned()));
        if own && !known {
            self.remarks.push(format!(
                "secret `{name}` is named as `external`, because its content cannot be read back: give it a source of its own \
                 (a credential, a file encrypted with SOPS) to have it kept and rotated"
            ));
        }
        self.external("secrets", name)
    }

    /// The key of a config.
    pub(super) fn config(&mut self, name: &str) -> String {
        let own = self.live.configs.get(name).filter(|live| of_stack(&live.labels, self.stack)).cloned();
        let Some(live) = own else { return self.external("configs", name) };
        let key = self.key_of_config(&live);
        // Of the CLI's, any other name may stand in the file; of Skep's, the digest in it is of something else.
        let content = std::str::from_utf8(&live.data).ok().filter(|_| key.is_some() || !is_skeps(&live));
        let Some(content) = content else {
            self.remarks.push(format!(
                "config `{name}` is named as `external`: it is no text, or its name does not follow from its content"
            ));
            return self.external("configs", name);
        };
        self.key("configs", name, key.as_deref(), |_, follows| {
            let mut config = named(name, follows);
            config.insert("content".to_owned(), text(content));
            put(&mut config, "labels", labels(&live.labels, &[]));
            protect(&mut config, &live.labels);
            Value::Object(config)
        })
    }

    /// The key that the name of a config follows from: `STACK_KEY`, as the CLI has it, or with the digest of the content
    /// behind it, as Skep has it.
    fn key_of_config(&self, live: &LiveConfig) -> Option<String> {
        if !is_skeps(live) {
            return self.scoped(&live.name).map(str::to_owned);
        }
        let digest = Digest::of(&live.data);
        let key = self.scoped(&live.name)?.strip_suffix(digest.short())?.strip_suffix('_')?;
        (content_name(self.stack, key, &digest) == live.name).then(|| key.to_owned())
    }

    /// The key of an object that is not the stack's to make.
    fn external(&mut self, section: &'static str, name: &str) -> String {
        let short = self.scoped(name).unwrap_or(name);
        self.key(section, name, Some(short), |_, _| {
            if short == name { json!({"external": true}) } else { json!({"name": name, "external": true}) }
        })
    }
}

fn is_skeps(live: &LiveConfig) -> bool {
    live.labels.contains_key(INSTANCE_LABEL)
}

/// The beginning of an object's entry: its name, unless it follows from the key.
fn named(name: &str, follows: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if !follows {
        map.insert("name".to_owned(), text(name));
    }
    map
}

fn protect(map: &mut Map<String, Value>, labels: &BTreeMap<String, String>) {
    if labels.get(PROTECT_LABEL).is_some_and(|value| value == "true") {
        map.insert("x-skep".to_owned(), json!({"protect": true}));
    }
}

fn network(live: &LiveNetwork, follows: bool) -> Value {
    let mut network = named(&live.name, follows);
    put_text(&mut network, "driver", if live.driver == "overlay" { "" } else { &live.driver });
    put(&mut network, "driver_opts", pairs(live.options.iter().filter(|(key, _)| *key != TUNNELS_OPTION)));
    for (key, flag) in [("internal", live.internal), ("attachable", live.attachable), ("enable_ipv6", live.enable_ipv6)]
    {
        put(&mut network, key, flag.then_some(Value::Bool(true)));
    }
    put(&mut network, "ipam", ipam(live));
    put(&mut network, "labels", labels(&live.labels, &[]));
    protect(&mut network, &live.labels);
    Value::Object(network)
}

/// The addresses that were asked for, as far as that can be told.
fn ipam(live: &LiveNetwork) -> Option<Value> {
    let ipam = live.ipam.as_ref()?;
    let mut found = Map::new();
    let driver = ipam.get("Driver").and_then(Value::as_str).unwrap_or_default();
    put_text(&mut found, "driver", if driver == "default" { "" } else { driver });
    let pools = ipam.get("Config").and_then(Value::as_array).into_iter().flatten();
    let pools: Vec<Value> = pools.filter_map(pool).collect();
    put(&mut found, "config", (!pools.is_empty()).then_some(Value::Array(pools)));
    (!found.is_empty()).then_some(Value::Object(found))
}

fn pool(pool: &Value) -> Option<Value> {
    let part = |key: &str| pool.get(key).and_then(Value::as_str).unwrap_or_default();
    if part("Subnet").starts_with("10.") {
        return None;
    }
    let mut found = Map::new();
    for (key, name) in [("subnet", "Subnet"), ("ip_range", "IPRange"), ("gateway", "Gateway")] {
        put_text(&mut found, key, part(name));
    }
    (!found.is_empty()).then_some(Value::Object(found))
}
