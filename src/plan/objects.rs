//! Networks, configs, secrets: made when they are missing, never changed. Swarm changes nothing of them but labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::adopt;
use super::ownership::{owner, stamp, takes_over};
use super::recreate::Again;
use super::{Owner, Plan, PlanInput, Refusal, create, why_missing};
use crate::domain::{Action, Effect, LiveNetwork, NetworkSpec, ObjectKind, ObjectRef, Step};

/// Networks that every node has by itself.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

/// What must be there already is.
pub(super) fn externals(input: &PlanInput<'_>, plan: &mut Plan) {
    let (desired, live) = (input.desired, input.live);
    let mut missing = |kind, names: &BTreeSet<String>, there: &dyn Fn(&str) -> bool| {
        for name in names.iter().filter(|name| !there(name)) {
            plan.refused.push(Refusal::MissingExternal(ObjectRef::new(kind, name)));
        }
    };
    missing(ObjectKind::Network, &desired.external_networks, &|name| {
        PREDEFINED.contains(&name) || live.networks.contains_key(name)
    });
    missing(ObjectKind::Config, &desired.external_configs, &|name| live.configs.contains_key(name));
    missing(ObjectKind::Secret, &desired.external_secrets, &|name| live.secrets.contains_key(name));
}

/// What is to be said of an object that is there: it is foreign, it would have to change, or it is as it should be.
fn judge(
    input: &PlanInput<'_>,
    object: ObjectRef,
    id: &str,
    labels: &BTreeMap<String, String>,
    difference: impl FnOnce() -> Option<String>,
    plan: &mut Plan,
) {
    match owner(input, &object, id, labels) {
        Owner::ThisStack => match difference() {
            Some(what) => plan.refused.push(Refusal::Immutable { object, what }),
            None if takes_over(input, &object, id, labels) => {
                let reason = adopt::as_it_is(object.kind);
                adopt::own(plan, object, id, reason);
            }
            None => plan.unchanged += 1,
        },
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
}

pub(super) fn networks(input: &PlanInput<'_>, again: &Again<'_>, plan: &mut Plan) {
    for wanted in input.desired.networks.values() {
        let object = ObjectRef::new(ObjectKind::Network, &wanted.name);
        if let Some((live, what)) = again.networks.get(wanted.name.as_str()) {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = format!("{what}: it is removed and made again, and the services on it with it");
            let effects = [Effect::Remove { object: object.clone(), id: live.id.clone() }, Effect::CreateNetwork(spec)];
            plan.steps.extend(effects.map(|effect| Step {
                object: object.clone(),
                action: Action::Recreate,
                reason: reason.clone(),
                changes: Vec::new(),
                effect,
            }));
        } else if let Some(live) = input.live.networks.get(&wanted.name) {
            judge(input, object, &live.id, &live.labels, || network_difference(wanted, live), plan);
        } else {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = why_missing(input, &object);
            create(plan, object, reason, Effect::CreateNetwork(spec));
        }
    }
}

pub(super) fn configs(input: &PlanInput<'_>, plan: &mut Plan) {
    for wanted in input.desired.configs.values() {
        let object = ObjectRef::new(ObjectKind::Config, &wanted.name);
        if let Some(live) = input.live.configs.get(&wanted.name) {
            let difference = || (live.data != wanted.data).then(|| "its content differs".to_owned());
            judge(input, object, &live.id, &live.labels, difference, plan);
        } else {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = why_missing(input, &object);
            create(plan, object, reason, Effect::CreateConfig(spec));
        }
    }
}

/// A secret's content cannot be read back; it is told apart by its name, which holds the content's keyed digest.
pub(super) fn secrets(input: &PlanInput<'_>, plan: &mut Plan) {
    for wanted in input.desired.secrets.values() {
        let object = ObjectRef::new(ObjectKind::Secret, &wanted.name);
        if let Some(live) = input.live.secrets.get(&wanted.name) {
            judge(input, object, &live.id, &live.labels, || None, plan);
        } else {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = why_missing(input, &object);
            create(plan, object, reason, Effect::CreateSecret(spec));
        }
    }
}

/// What of a network Swarm would have to change. Only what the file states is compared: the engine adds options and
/// addresses of its own. Driver, options and addresses read back empty until Swarm's allocator has taken the network up.
pub(super) fn network_difference(wanted: &NetworkSpec, live: &LiveNetwork) -> Option<String> {
    let allocated = !live.driver.is_empty();
    if allocated && wanted.driver != live.driver {
        return Some(format!("driver {} → {}", live.driver, wanted.driver));
    }
    if wanted.attachable != live.attachable {
        return Some(format!("attachable {} → {}", live.attachable, wanted.attachable));
    }
    if wanted.internal != live.internal {
        return Some(format!("internal {} → {}", live.internal, wanted.internal));
    }
    if wanted.enable_ipv6 && !live.enable_ipv6 {
        return Some("IPv6 false → true".to_owned());
    }
    if !allocated {
        return None;
    }
    if let Some((key, value)) = wanted.options.iter().find(|(key, value)| live.options.get(*key) != Some(*value)) {
        let from = live.options.get(key).map_or("none".to_owned(), |from| format!("{from:?}"));
        return Some(format!("option {key} {from} → {value:?}"));
    }
    let there = pools(live.ipam.as_ref());
    let met = |asked: &Value| {
        ["Subnet", "IPRange", "Gateway"].iter().all(|key| match asked.get(key) {
            None => true,
            Some(value) => there.iter().any(|pool| pool.get(key) == Some(value)),
        })
    };
    let asked = pools(wanted.ipam.as_ref());
    let text = |pools: &[Value]| pools.iter().map(told).collect::<Vec<_>>().join(" ");
    (!asked.iter().all(met)).then(|| format!("subnets {} → {}", text(there), text(asked)))
}

/// The pools of addresses of a network.
fn pools(ipam: Option<&Value>) -> &[Value] {
    ipam.and_then(|ipam| ipam.get("Config")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn told(pool: &Value) -> String {
    let part = |key| pool.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let parts = [("", part("Subnet")), ("from ", part("IPRange")), ("by ", part("Gateway"))];
    let told: Vec<String> =
        parts.iter().filter_map(|(word, value)| value.map(|value| format!("{word}{value}"))).collect();
    told.join(" ")
}
