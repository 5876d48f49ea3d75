//! The way back: what runs, as a compose file that means it.
//!
//! For stacks whose files are lost, or never were: what [`render`](super::render) makes of the text are the objects that
//! are there, so that taking the stack over with it changes nothing. What no compose file can say is remarked upon. Three
//! things cannot be read from a Swarm, and are left out or named from outside:
//!
//! - the content of a secret: secrets become `external` by the names they have;
//! - whether a config is a template: a config whose name does not follow from its content becomes `external`;
//! - which addresses of a network were asked for and which Swarm chose: pools of `10.0.0.0/8`, Swarm's own unless it was
//!   made with others, are taken to be its choice.
//!
//! Platforms are left out too: they come with the image, and a plan keeps those that are there.

mod container;
mod objects;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::{LABEL_PREFIX, NAMESPACE_LABEL, Snapshot, StackName};

use objects::Objects;

/// A stack that runs, as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The compose file.
    pub text: String,
    /// What it does not say, a sentence each.
    pub remarks: Vec<String>,
}

/// The stacks that have services, by the label of `docker stack deploy`, which Skep sets too.
#[must_use]
pub fn stacks(live: &Snapshot) -> BTreeSet<String> {
    live.services.values().filter_map(|service| service.spec.labels.get(NAMESPACE_LABEL).cloned()).collect()
}

/// What runs of a stack, as a compose file to be read with `compat: strict`.
#[must_use]
pub fn export(stack: &StackName, live: &Snapshot) -> Exported {
    let mut objects = Objects::new(stack, live);
    let mut services = Map::new();
    let prefix = format!("{stack}_");
    for live in live.services.values().filter(|live| of_stack(&live.spec.labels, stack)) {
        let name = &live.spec.name;
        let Some(key) = name.strip_prefix(&prefix) else {
            let remark = format!("service `{name}` is left out: its name does not begin with `{prefix}`");
            objects.remarks.push(remark);
            continue;
        };
        if live.spec.labels.contains_key(crate::domain::HOOK_LABEL) {
            objects
                .remarks
                .push(format!("service `{name}` is left out: it is a run of a job before or after a deployment"));
            continue;
        }
        services.insert(key.to_owned(), service::service(key, &live.spec, &mut objects));
    }
    let mut file = Map::new();
    file.insert("services".to_owned(), Value::Object(services));
    let remarks = objects.finish(&mut file);
    Exported { text: yaml(&Value::Object(file)), remarks }
}

fn of_stack(labels: &std::collections::BTreeMap<String, String>, stack: &StackName) -> bool {
    labels.get(NAMESPACE_LABEL).is_some_and(|namespace| namespace == stack.as_str())
}

/// Labels as a file has them: without those that Docker and Skep set themselves.
fn labels(all: &std::collections::BTreeMap<String, String>, but: &[&str]) -> Option<Value> {
    let own = |key: &str| key == NAMESPACE_LABEL || key.starts_with(LABEL_PREFIX) || but.contains(&key);
    let kept: Map<String, Value> =
        all.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), text(value))).collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

/// A text that no variable is put into.
fn text(text: &str) -> Value {
    Value::String(text.replace('$', "$$"))
}

fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> Option<Value> {
    let all: Vec<Value> = all.into_iter().map(|it| text(it)).collect();
    (!all.is_empty()).then_some(Value::Array(all))
}

/// A map by text.
fn pairs<'a>(all: impl IntoIterator<Item = (&'a String, &'a String)>) -> Option<Value> {
    let all: Map<String, Value> = all.into_iter().map(|(key, value)| (key.clone(), text(value))).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}

/// A duration of nanoseconds, in the largest unit that it is a whole number of, up to seconds.
fn span(nanoseconds: i64) -> Value {
    let (size, unit) = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(size, _)| nanoseconds % size == 0)
        .unwrap_or((1, "ns"));
    Value::String(format!("{}{unit}", nanoseconds / size))
}

/// Puts a value where there is one.
fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value);
    }
}

/// Puts a text where it says something.
fn put_text(map: &mut Map<String, Value>, key: &str, value: &str) {
    put(map, key, (!value.is_empty()).then(|| text(value)));
}

/// YAML that reads back as the same; where the writer has no form for it, JSON, which is YAML too.
fn yaml(value: &Value) -> String {
    let written = serde_saphyr::to_string(value).ok();
    let same = |text: &String| serde_saphyr::from_str::<Value>(text).is_ok_and(|read| read == *value);
    written.filter(same).unwrap_or_else(|| format!("{value:#}\n"))
}
