//! Taking over what `docker stack deploy` made, and handing it back. Nothing that runs is restarted for either.
//!
//! Networks, configs and secrets are taken over as they are: the inventory alone says whose they are. Of a service only
//! Skep's own labels are written, where the file means what runs. A job is not written at all: any write runs it again.

use super::ownership::{is_adoptable, owner, takes_over};
use super::{Owner, Plan, PlanInput, Waiting, diff, same_task};
use crate::domain::{
    Action, AdoptedNames, Change, ConfigSpec, Desired, Digest, Effect, INSTANCE_LABEL, Inventory, LABEL_PREFIX,
    LiveService, ObjectKind, ObjectRef, ServiceSpec, Snapshot, StackKey, Step,
};

/// A step that takes an object over without any call.
pub(super) fn own(plan: &mut Plan, object: ObjectRef, id: &str, reason: &str) {
    let effect = Effect::Own { object: object.clone(), id: id.to_owned() };
    let reason = reason.to_owned();
    plan.steps.push(Step { object, action: Action::Adopt, reason, changes: Vec::new(), effect });
}

/// Why a network, config or secret is taken over as it is.
pub(super) fn as_it_is(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Network => "taken over as it is",
        ObjectKind::Config => "taken over as it is: its content is the file's",
        ObjectKind::Secret => {
            "taken over as it is: its content cannot be read back and is taken to be unchanged; \
             `--rotate-secrets` makes it anew"
        }
        ObjectKind::Service => "taken over as it is: a job runs again with every write",
    }
}

/// The step that takes a service over. `spec` is what it is to become, with Skep's labels; `changes` is how that differs.
pub(super) fn service(
    input: &PlanInput<'_>,
    live: &LiveService,
    mut spec: ServiceSpec,
    changes: Vec<Change>,
    stamp: impl Fn(&mut ServiceSpec),
    plan: &mut Plan,
) {
    let object = ObjectRef::new(ObjectKind::Service, &live.spec.name);
    debug_assert!(takes_over(input, &object, &live.id, &live.spec.labels));
    let own_label = |change: &&Change| change.path.starts_with(&format!("/Labels/{LABEL_PREFIX}"));
    let meant: Vec<Change> = changes.iter().filter(|change| !own_label(change)).cloned().collect();
    let reason = if !meant.is_empty() {
        let restarts = !same_task(&live.spec.task_template, &spec.task_template) || changes_ports(&meant);
        let what = if restarts { "; its tasks are replaced" } else { "; no task is restarted" };
        format!("taken over, and changed: {}{what}", diff::reason(&meant))
    } else if live.spec.mode.is_job() {
        return own(plan, object, &live.id, as_it_is(ObjectKind::Service));
    } else {
        // Field for field what it was, and not only what means the same.
        spec = live.spec.clone();
        "taken over: only Skep's own labels are written, no task is restarted".to_owned()
    };
    stamp(&mut spec);
    let effect = Effect::UpdateService { id: live.id.clone(), version: live.version, spec };
    plan.steps.push(Step { object, action: Action::Adopt, reason, changes, effect });
}

fn changes_ports(changes: &[Change]) -> bool {
    changes.iter().any(|change| change.path.starts_with("/EndpointSpec"))
}

/// Says what the stack of the same name has besides, which the file does not name: it stays as it is.
pub(super) fn left_alone(input: &PlanInput<'_>, plan: &mut Plan) {
    if !input.adopt {
        return;
    }
    let (desired, live) = (input.desired, input.live);
    let mut left = Vec::new();
    let mut look = |kind, name: &String, id: &str, labels: &_, wanted: bool| {
        let object = ObjectRef::new(kind, name);
        if !wanted && is_adoptable(input, labels) && takes_over(input, &object, id, labels) {
            left.push(object);
        }
    };
    for (name, it) in &live.services {
        let wanted = desired.services.contains_key(name) || desired.jobs.contains_key(name);
        look(ObjectKind::Service, name, &it.id, &it.spec.labels, wanted);
    }
    for (name, it) in &live.networks {
        let wanted = desired.networks.contains_key(name) || desired.external_networks.contains(name);
        look(ObjectKind::Network, name, &it.id, &it.labels, wanted);
    }
    for (name, it) in &live.configs {
        let wanted = desired.configs.contains_key(name) || desired.external_configs.contains(name);
        look(ObjectKind::Config, name, &it.id, &it.labels, wanted);
    }
    for (name, it) in &live.secrets {
        let wanted = desired.secrets.contains_key(name) || desired.external_secrets.contains(name);
        look(ObjectKind::Secret, name, &it.id, &it.labels, wanted);
    }
    if !left.is_empty() {
        plan.waiting.push(Waiting::NotInTheFile(left));
    }
}

/// The names that configs and secrets keep when a stack is taken over: those they have on the Swarm, where the content of
/// a config is that of the file. A secret's content cannot be read back: it is taken to be unchanged, unless
/// `rotate_secrets`. An object of another Skep, or of nobody's stack, gives no name.
#[must_use]
pub fn adopted_names(stack: &StackKey, desired: &Desired, live: &Snapshot, rotate_secrets: bool) -> AdoptedNames {
    let mut names = AdoptedNames::default();
    let namespace = stack.name.as_str();
    let theirs = |labels: &_| super::ownership::is_of_docker_stack(labels, namespace);
    for (name, wanted) in desired.configs.iter().filter(|(name, _)| !live.configs.contains_key(*name)) {
        let same = |before: &String| {
            live.configs.get(before).is_some_and(|it| theirs(&it.labels) && has_content(wanted, &it.data))
        };
        if let Some(before) = names_before(stack, &wanted.key, name).into_iter().find(same) {
            names.configs.insert(name.clone(), before);
        }
    }
    let secrets = desired.secrets.iter().filter(|_| !rotate_secrets);
    for (name, wanted) in secrets.filter(|(name, _)| !live.secrets.contains_key(*name)) {
        let there = |before: &String| live.secrets.get(before).is_some_and(|it| theirs(&it.labels));
        if let Some(before) = names_before(stack, &wanted.key, name).into_iter().find(there) {
            names.secrets.insert(name.clone(), before);
        }
    }
    names
}

fn has_content(wanted: &ConfigSpec, data: &[u8]) -> bool {
    wanted.data == data
}

/// What `docker stack deploy` calls an object whose content gives it this name: what it is called in the file, or
/// `<stack>_<key>`, which the name begins with unless it had to be cut.
fn names_before(stack: &StackKey, key: &str, name: &str) -> Vec<String> {
    let suffix = Digest::of(b"").short().len() + 1;
    let scoped = format!("{}_{key}", stack.name);
    let base = name.len().checked_sub(suffix).and_then(|end| name.get(..end)).unwrap_or(name).to_owned();
    let cut = scoped.starts_with(&base) && scoped != base;
    if cut { vec![base, scoped] } else { vec![base] }
}

/// The steps that hand a stack back: Skep's labels are taken from what it owns, and nothing else is changed. A network
/// cannot be relabelled, and a job would run again.
#[must_use]
pub fn release(input: &PlanInput<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (object, id, labels) in owned(input.inventory, input.live) {
        let own = owner(input, &object, &id, &labels) == Owner::ThisStack;
        let bare = without_own(&labels);
        if !own || bare == labels {
            continue;
        }
        let effect = match object.kind {
            ObjectKind::Service => {
                let Some(live) = input.live.services.get(&object.name).filter(|it| !it.spec.mode.is_job()) else {
                    continue;
                };
                let spec = ServiceSpec { labels: bare, ..live.spec.clone() };
                Effect::UpdateService { id, version: live.version, spec }
            }
            ObjectKind::Config | ObjectKind::Secret => {
                let configs = input.live.configs.get(&object.name).map(|it| it.version);
                let secrets = input.live.secrets.get(&object.name).map(|it| it.version);
                let version = if object.kind == ObjectKind::Config { configs } else { secrets };
                Effect::Relabel { object: object.clone(), id, version: version.unwrap_or_default(), labels: bare }
            }
            ObjectKind::Network => continue,
        };
        let reason = "it is handed back: Skep's labels go, nothing else changes".to_owned();
        steps.push(Step { object, action: Action::Update, reason, changes: Vec::new(), effect });
    }
    steps
}

type Labels = std::collections::BTreeMap<String, String>;

/// What a stack owns and is there, with id and labels.
fn owned(inventory: &Inventory, live: &Snapshot) -> Vec<(ObjectRef, String, Labels)> {
    let found = |object: &ObjectRef| {
        let name = &object.name;
        match object.kind {
            ObjectKind::Service => live.services.get(name).map(|it| (it.id.clone(), it.spec.labels.clone())),
            ObjectKind::Network => live.networks.get(name).map(|it| (it.id.clone(), it.labels.clone())),
            ObjectKind::Config => live.configs.get(name).map(|it| (it.id.clone(), it.labels.clone())),
            ObjectKind::Secret => live.secrets.get(name).map(|it| (it.id.clone(), it.labels.clone())),
        }
    };
    let all = inventory.0.keys();
    all.filter_map(|object| found(object).map(|(id, labels)| (object.clone(), id, labels))).collect()
}

/// Labels without Skep's own.
fn without_own(labels: &Labels) -> Labels {
    labels.iter().filter(|(key, _)| !key.starts_with(LABEL_PREFIX)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Whether a job stands there without Skep's labels: they are not worth running it again for.
pub(super) fn is_unmarked_job(live: &LiveService) -> bool {
    live.spec.mode.is_job() && !live.spec.labels.contains_key(INSTANCE_LABEL)
}
