//! Networks, configs, secrets: made when they are missing. Swarm changes nothing of them but the labels of configs and secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::adopt;
use super::ownership::{owner, stamp, stated, takes_over};
use super::recreate::Again;
use super::{Owner, Plan, PlanInput, Refusal, Waiting, create, why_missing};
use crate::domain::{
    Action, Change, Course, Desired, Digest, Effect, LiveNetwork, NetworkSpec, ObjectKind, ObjectRef, SPEC_LABEL,
    Snapshot, Step, TUNNELS_OPTION, VersionIndex,
};

/// Networks that every node has by itself.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

/// What must be there already is.
pub(super) fn externals(input: &PlanInput<'_>, plan: &mut Plan) {
    plan.refused.extend(missing_externals(input.desired, input.live).into_iter().map(Refusal::MissingExternal));
}

/// What is declared as external and is not there.
pub(super) fn missing_externals(desired: &Desired, live: &Snapshot) -> Vec<ObjectRef> {
    let mut all = Vec::new();
    let mut missing = |kind, names: &BTreeSet<String>, there: &dyn Fn(&str) -> bool| {
        all.extend(names.iter().filter(|name| !there(name)).map(|name| ObjectRef::new(kind, name)));
    };
    missing(ObjectKind::Network, &desired.external_networks, &|name| {
        PREDEFINED.contains(&name) || live.networks.contains_key(name)
    });
    missing(ObjectKind::Config, &desired.external_configs, &|name| live.configs.contains_key(name));
    missing(ObjectKind::Secret, &desired.external_secrets, &|name| live.secrets.contains_key(name));
    all
}

/// The labels of a config or secret that is there.
struct Labels<'a> {
    wanted: &'a BTreeMap<String, String>,
    live: &'a BTreeMap<String, String>,
    version: VersionIndex,
}

/// Labels are all that Swarm can change of a config or secret; what the file does not state goes.
fn relabel(
    input: &PlanInput<'_>,
    object: ObjectRef,
    id: &str,
    Labels { wanted, live, version }: Labels<'_>,
    digest: Digest,
    plan: &mut Plan,
) {
    let (from, to) = (stated(live), stated(wanted));
    let takes = takes_over(input, &object, id, live);
    if from == to {
        return as_it_is(plan, object, id, takes);
    }
    let names: BTreeSet<&str> = from.keys().chain(to.keys()).copied().collect();
    let text = |labels: &BTreeMap<&str, &str>, name: &str| labels.get(name).map(|value| Value::from(*value));
    let changes = names.into_iter().filter(|name| from.get(name) != to.get(name)).map(|name| Change {
        path: format!("/Labels/{}", name.replace('~', "~0").replace('/', "~1")),
        from: text(&from, name),
        to: text(&to, name),
    });
    let changes = changes.collect();
    let mut labels = wanted.clone();
    stamp(input, &mut labels, &digest);
    let effect = Effect::Relabel { object: object.clone(), id: id.to_owned(), version, labels };
    let (action, reason) = match takes {
        true => (Action::Adopt, "taken over; its labels differ"),
        false => (Action::Update, "its labels differ"),
    };
    plan.steps.push(Step { object, action, reason: reason.to_owned(), changes, effect });
}

/// Nothing of it changes, but that it may be taken over.
fn as_it_is(plan: &mut Plan, object: ObjectRef, id: &str, takes: bool) {
    if takes {
        let reason = adopt::as_it_is(object.kind);
        adopt::own(plan, object, id, reason);
    } else {
        plan.unchanged += 1;
    }
}

/// What is to be said of an object that is there: it is foreign, it would have to change, or it is as it should be, so
/// that only its labels are left to be looked at (`true`).
fn judge(
    input: &PlanInput<'_>,
    object: ObjectRef,
    id: &str,
    labels: &BTreeMap<String, String>,
    difference: impl FnOnce() -> Option<String>,
    plan: &mut Plan,
) -> bool {
    match owner(input, &object, id, labels) {
        Owner::ThisStack => match difference() {
            Some(what) => plan.refused.push(Refusal::immutable(input, object, what)),
            None => return true,
        },
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
    false
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
            let difference = || network_difference(input, wanted, live);
            if judge(input, object.clone(), &live.id, &live.labels, difference, plan) {
                let takes = takes_over(input, &object, &live.id, &live.labels);
                as_it_is(plan, object.clone(), &live.id, takes);
                if stated(&wanted.labels) != stated(&live.labels) {
                    plan.waiting.push(Waiting::NetworkLabels(object));
                }
            }
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
            let labels = Labels { wanted: &wanted.labels, live: &live.labels, version: live.version };
            if judge(input, object.clone(), &live.id, &live.labels, difference, plan) {
                relabel(input, object, &live.id, labels, input.digester.digest_of(wanted), plan);
            }
        } else {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = why_missing(input, &object);
            create(plan, object, reason, Effect::CreateConfig(spec));
        }
    }
}

/// A secret's content cannot be read back; it is told apart by its name, which holds the content's keyed digest. One of an
/// external driver keeps its name, and its driver can be read back.
pub(super) fn secrets(input: &PlanInput<'_>, plan: &mut Plan) {
    for wanted in input.desired.secrets.values() {
        let object = ObjectRef::new(ObjectKind::Secret, &wanted.name);
        if let Some(live) = input.live.secrets.get(&wanted.name) {
            let labels = Labels { wanted: &wanted.labels, live: &live.labels, version: live.version };
            let other = live.driver != wanted.driver && input.course == Course::Deploy;
            let difference = || other.then(|| "its driver, or the driver's options".to_owned());
            if judge(input, object.clone(), &live.id, &live.labels, difference, plan) {
                relabel(input, object, &live.id, labels, input.digester.digest_of(wanted), plan);
            }
        } else {
            let mut spec = wanted.clone();
            stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
            let reason = why_missing(input, &object);
            create(plan, object, reason, Effect::CreateSecret(spec));
        }
    }
}

/// What of a network Swarm would have to change. Only what the file states is compared: the engine adds options and
/// addresses of its own. That an option is stated no more is told by the digest of what the network was made from, and matters to
/// new versions alone: what was accepted once is kept as it is. Driver, options and addresses read back empty until Swarm's
/// allocator has taken the network up.
pub(super) fn network_difference(input: &PlanInput<'_>, wanted: &NetworkSpec, live: &LiveNetwork) -> Option<String> {
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
    let made_from_another = || {
        // Its labels cannot have changed with the file.
        let labels =
            stated(&live.labels).into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        let now = input.digester.digest_of(&NetworkSpec { labels, ..wanted.clone() }).to_string();
        input.course == Course::Deploy && live.labels.get(SPEC_LABEL).is_some_and(|made| *made != now)
    };
    if live.enable_ipv6 && !wanted.enable_ipv6 && made_from_another() {
        return Some("IPv6 true → false".to_owned());
    }
    let no_more = |key: &&String| !wanted.options.contains_key(*key) && *key != TUNNELS_OPTION;
    if let Some(key) = live.options.keys().find(no_more).filter(|_| made_from_another()) {
        return Some(format!("option {key} {:?} → none", live.options[key]));
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
