//! Keys of a service of which the value decides what they come to: links, and what a service depends on.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::StackName;

use super::field::{Field, Table};
use super::yaml::{Position, Value};

/// What is known of the services of the stack.
pub(super) struct Known<'a> {
    pub(super) services: &'a [&'a str],
    /// Those whose profile is not asked for.
    pub(super) sleeping: &'a BTreeSet<String>,
}

/// Reports links; gives the services that this one depends on.
pub(super) fn report(table: &Table<'_>, known: &Known<'_>) -> BTreeSet<String> {
    let strict = table.field.found.strict();
    for key in ["links", "external_links"] {
        if let Some(links) = table.given(key) {
            report_links(&links, strict);
        }
    }
    // Followed where it could be; what is left here is null.
    table.given("extends");
    table.given("profiles");
    table.given("depends_on").map(|field| depends_on(&field, known, strict)).unwrap_or_default()
}

/// A link to a service by its own name is what every network gives; another name would be lost.
fn report_links(field: &Field<'_>, strict: bool) {
    for item in field.list() {
        let Some(text) = item.text() else { continue };
        match text.split_once(':') {
            Some((service, alias)) if strict && service != alias => item.error(
                format!("Swarm has no links: `{alias}` would not be found"),
                format!("give `{service}` the alias on a network: `networks: {{ default: {{ aliases: [{alias}] }} }}`"),
            ),
            _ => item.warn("ignored: services on a network find each other by name"),
        }
    }
}

fn depends_on(field: &Field<'_>, known: &Known<'_>, strict: bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if !strict {
        field.texts();
        field.warn("ignored, as `docker stack deploy` ignores it");
        return names;
    }
    if let Value::Map(_) = field.node.value {
        for (entry, value) in field.entries() {
            if condition(&value) && is_known(field, entry.at, &entry.key, known) {
                names.insert(entry.key.clone());
            }
        }
    } else {
        for item in field.list() {
            if let Some(name) = item.text()
                && is_known(&item, item.at(), &name, known)
            {
                names.insert(name);
            }
        }
    }
    field.warn("services are written in this order, and Swarm starts them in none: a service must wait for, or retry, what it needs");
    names
}

/// Reads the conditions of one dependency; gives whether it must be there.
fn condition(field: &Field<'_>) -> bool {
    if field.node.is_null() {
        return true;
    }
    let Some(table) = field.table() else { return true };
    let words = ["service_started", "service_healthy", "service_completed_successfully"];
    table.given("condition").and_then(|condition| condition.word(&words));
    table.given("restart").and_then(|flag| flag.boolean());
    let required = table.given("required").and_then(|flag| flag.boolean()).unwrap_or(true);
    table.finish();
    required
}

fn is_known(field: &Field<'_>, at: Position, name: &str, known: &Known<'_>) -> bool {
    if known.services.contains(&name) {
        return true;
    }
    if known.sleeping.contains(name) {
        let hint = "name the profile in the variable `COMPOSE_PROFILES`, or write `required: false`";
        field.found.error(at, &field.path, format!("`{name}` waits for a profile that is not asked for"), hint);
        return false;
    }
    let hint = match super::near::closest(name, known.services) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the services are {}", known.services.join(", ")),
    };
    field.found.error(at, &field.path, format!("undefined service `{name}`"), hint);
    false
}

/// The order by the real names of services; a circle is an error.
pub(super) fn without_circles(
    order: BTreeMap<String, BTreeSet<String>>,
    stack: &StackName,
    root: &Field<'_>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut open: BTreeMap<&str, BTreeSet<&str>> =
        order.iter().map(|(name, after)| (name.as_str(), after.iter().map(String::as_str).collect())).collect();
    while let Some(free) = open.iter().find(|(_, after)| after.iter().all(|name| !open.contains_key(name))) {
        let free = *free.0;
        open.remove(free);
    }
    if !open.is_empty() {
        let names: Vec<&str> = open.keys().copied().collect();
        let at = names.first().and_then(|name| root.node.get("services")?.get(name)?.get("depends_on"));
        let message = format!("{} depend on each other in a circle", names.join(", "));
        root.found.error(at.map_or(root.at(), |node| node.at), "services", message, "remove one of the dependencies");
        return BTreeMap::new();
    }
    let real = |name: &String| format!("{stack}_{name}");
    order.iter().map(|(name, after)| (real(name), after.iter().map(real).collect())).collect()
}
