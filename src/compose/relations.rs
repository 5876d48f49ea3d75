//! Keys of a service of which the value decides what they come to: links, and what a service depends on.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{DeployJob, Desired, StackName, When};

use super::field::{Field, Table};
use super::findings::Findings;
use super::yaml::{Position, Value};

/// What is known of the services of the stack.
pub(super) struct Known<'a> {
    pub(super) services: &'a [&'a str],
    /// Those whose profile is not asked for.
    pub(super) sleeping: &'a BTreeSet<String>,
}

/// What has to have become of a service before another one that depends on it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is written before.
    Started,
    /// It runs, and is healthy if it has a health check.
    Healthy,
    /// It is a job, and has ended well.
    Completed,
}

/// One service that another one depends on, and where that is said.
pub(super) struct Dependence {
    condition: Condition,
    at: Position,
    path: String,
}

/// What one service depends on, by key.
pub(super) type Dependences = BTreeMap<String, Dependence>;

/// Reports links; gives the services that this one depends on.
pub(super) fn report(table: &Table<'_>, known: &Known<'_>) -> Dependences {
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

fn depends_on(field: &Field<'_>, known: &Known<'_>, strict: bool) -> Dependences {
    let mut found = Dependences::new();
    if !strict {
        field.texts();
        field.warn("ignored, as `docker stack deploy` ignores it");
        return found;
    }
    let mut add = |name: &str, field: &Field<'_>, condition| {
        let (at, path) = (field.at(), field.path());
        found.insert(name.to_owned(), Dependence { condition, at, path });
    };
    if let Value::Map(_) = field.node.value {
        for (entry, value) in field.entries() {
            if let Some(condition) = condition(&value)
                && is_known(field, entry.at, &entry.key, known)
            {
                add(&entry.key, &value, condition);
            }
        }
    } else {
        for item in field.list() {
            if let Some(name) = item.text()
                && is_known(&item, item.at(), &name, known)
            {
                add(&name, &item, Condition::Started);
            }
        }
    }
    if found.values().any(|it| it.condition == Condition::Started) {
        field.warn(
            "services are written in this order, and Swarm starts them in none: a service must wait for, or retry, what it needs; with `condition: service_healthy` Skep waits for it",
        );
    }
    found
}

/// Reads the conditions of one dependency; `None` when it need not be there.
fn condition(field: &Field<'_>) -> Option<Condition> {
    if field.node.is_null() {
        return Some(Condition::Started);
    }
    let Some(table) = field.table() else { return Some(Condition::Started) };
    let words = ["service_started", "service_healthy", "service_completed_successfully"];
    let word = table.given("condition").and_then(|condition| condition.word(&words));
    table.given("restart").and_then(|flag| flag.boolean());
    let required = table.given("required").and_then(|flag| flag.boolean()).unwrap_or(true);
    table.finish();
    required.then_some(match word.as_deref() {
        Some("service_healthy") => Condition::Healthy,
        Some("service_completed_successfully") => Condition::Completed,
        _ => Condition::Started,
    })
}

fn is_known(field: &Field<'_>, at: Position, name: &str, known: &Known<'_>) -> bool {
    if known.services.contains(&name) {
        return true;
    }
    if known.sleeping.contains(name) {
        let hint = "name the profile in the variable `COMPOSE_PROFILES`, or write `required: false`";
        field.found.error(at, &field.path(), format!("`{name}` waits for a profile that is not asked for"), hint);
        return false;
    }
    let hint = match super::near::closest(name, known.services) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the services are {}", known.services.join(", ")),
    };
    field.found.error(at, &field.path(), format!("undefined service `{name}`"), hint);
    false
}

/// Gives the version its order, by the real names of services. A circle is an error, and so is a condition that the other
/// service can never meet.
pub(super) fn put_in_order(
    order: BTreeMap<String, Dependences>,
    stack: &StackName,
    root: &Field<'_>,
    desired: &mut Desired,
) {
    if has_circle(&order, root) {
        return;
    }
    let real = |name: &String| format!("{stack}_{name}");
    for (name, after) in &order {
        let own = real(name);
        for (other, dependence) in after {
            let job = desired.jobs.get(&real(other)).map(|job| job.when);
            let is_job =
                job.is_some() || desired.services.get(&real(other)).is_some_and(|service| service.spec.mode.is_job());
            refuse_what_cannot_be(other, dependence, (job, is_job), desired.jobs.get(&own), root.found);
            // What depends on a job before the deployment wants it to have ended, whatever it says.
            if dependence.condition != Condition::Started || job.is_some() {
                desired.awaits.entry(own.clone()).or_default().insert(real(other));
            }
            desired.depends_on.entry(own.clone()).or_default().insert(real(other));
        }
    }
}

fn refuse_what_cannot_be(
    other: &str,
    dependence: &Dependence,
    (hook, is_job): (Option<When>, bool),
    own: Option<&DeployJob>,
    found: &Findings,
) {
    let refuse = |message: String, hint: &str| found.error(dependence.at, &dependence.path, message, hint);
    if hook == Some(When::Post) && own.is_none_or(|own| own.when == When::Pre) {
        let message = format!("`{other}` runs after the deployment, and this would wait for it");
        return refuse(message, "make it `x-skep.hook: pre`, or remove the dependency");
    }
    match dependence.condition {
        Condition::Healthy if is_job => refuse(
            format!("`{other}` is a job, which is never healthy"),
            "use `condition: service_completed_successfully`",
        ),
        Condition::Completed if !is_job => {
            let hint = "give it `deploy.mode: replicated-job`, or use `condition: service_healthy`";
            refuse(format!("`{other}` is no job: it is not meant to end"), hint);
        }
        _ => {}
    }
}

fn has_circle(order: &BTreeMap<String, Dependences>, root: &Field<'_>) -> bool {
    let mut open: BTreeMap<&str, BTreeSet<&str>> =
        order.iter().map(|(name, after)| (name.as_str(), after.keys().map(String::as_str).collect())).collect();
    while let Some(free) = open.iter().find(|(_, after)| after.iter().all(|name| !open.contains_key(name))) {
        let free = *free.0;
        open.remove(free);
    }
    if open.is_empty() {
        return false;
    }
    let names: Vec<&str> = open.keys().copied().collect();
    let at = names.first().and_then(|name| root.node.get("services")?.get(name)?.get("depends_on"));
    let message = format!("{} depend on each other in a circle", names.join(", "));
    root.found.error(at.map_or(root.at(), |node| node.at), "services", message, "remove one of the dependencies");
    true
}
