//! Services: made, or changed in place where they differ.

use serde_json::{Map, Value};

use super::adopt;
use super::ownership::{owner, stamp, stamp_owner, takes_over};
use super::recreate::Again;
use super::{Owner, Pace, Plan, PlanInput, Refusal, canonical, create, diff, is_job_run, pace, ports, why_missing};
use crate::domain::{
    Action, Desired, DesiredService, Effect, IMAGE_LABEL, LiveService, ObjectKind, ObjectRef, SPEC_LABEL, ServiceSpec,
    Step,
};

/// Plans every wanted service; the steps stand by name, but for the ports they hand to each other.
pub(super) fn services(input: &PlanInput<'_>, again: &Again<'_>, plan: &mut Plan) {
    let mut own = Plan::default();
    for service in input.desired.services.values() {
        one(input, service, again, &mut own);
    }
    let steps = std::mem::take(&mut own.steps);
    ports::in_order(input, steps, plan);
    plan.refused.append(&mut own.refused);
    plan.unchanged += own.unchanged;
}

fn one(input: &PlanInput<'_>, wanted: &DesiredService, again: &Again<'_>, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Service, &wanted.spec.name);
    if let Some((live, reason)) = again.services.get(wanted.spec.name.as_str()) {
        // What an autoscaler or a person has chosen outlives it, where the mode stays what it was.
        let mut spec = if live.spec.mode.kind() == wanted.spec.mode.kind() {
            effective(input.desired, &wanted.spec, live)
        } else {
            ServiceSpec::clone(&wanted.spec)
        };
        stamp(input, &mut spec.labels, &input.digester.digest_of(&wanted.spec));
        let (reason, effect) = (reason.clone(), Effect::CreateService(spec));
        return plan.steps.push(Step { object, action: Action::Recreate, reason, changes: Vec::new(), effect });
    }
    // One run of a job that had this name is removed before anything is written.
    let live = input.live.services.get(&wanted.spec.name).filter(|live| !is_own_run(input, &object, live));
    let Some(live) = live else {
        let mut spec = ServiceSpec::clone(&wanted.spec);
        stamp(input, &mut spec.labels, &input.digester.digest_of(&wanted.spec));
        let reason = why_missing(input, &object);
        return create(plan, object, reason, Effect::CreateService(spec));
    };
    match owner(input, &object, &live.id, &live.spec.labels) {
        Owner::ThisStack => {}
        owner => return plan.refused.push(Refusal::Foreign { object, owner }),
    }
    let (from, to) = (live.spec.mode.kind(), wanted.spec.mode.kind());
    if from != to {
        return plan.refused.push(Refusal::immutable(input, object, format!("mode {from} → {to}")));
    }
    let mut spec = effective(input.desired, &wanted.spec, live);
    let takes = takes_over(input, &object, &live.id, &live.spec.labels);
    if !adopt::is_unmarked_job(live) {
        stamp_owner(input, &mut spec.labels);
    }
    if input.pace == Pace::WayBack {
        pace::hasten(&mut spec, &live.spec);
    }
    let mut changes = diff::changes(&live.spec, &spec);
    if changes.iter().any(canonical::is_dropped) && drops(input) && (takes || was_sent(input, wanted, live)) {
        changes.retain(|change| !canonical::is_dropped(change));
    }
    let stamped = |spec: &mut ServiceSpec| stamp(input, &mut spec.labels, &input.digester.digest_of(&wanted.spec));
    if takes {
        return adopt::service(input, live, spec, changes, stamped, plan);
    }
    if changes.is_empty() && !planted!("an update that changes nothing is sent") {
        plan.unchanged += 1;
        return;
    }
    stamped(&mut spec);
    let effect = Effect::UpdateService { id: live.id.clone(), version: live.version, spec };
    let reason = diff::reason(&changes);
    plan.steps.push(Step { object, action: Action::Update, reason, changes, effect });
}

/// Whether a service is one run of a job of this stack.
fn is_own_run(input: &PlanInput<'_>, object: &ObjectRef, live: &LiveService) -> bool {
    is_job_run(live) && owner(input, object, &live.id, &live.spec.labels) == Owner::ThisStack
}

/// The first major version of the engine that keeps every field of the model.
const KEEPS_ALL: u64 = 28;

/// Whether an engine of the Swarm may drop fields that it does not know.
fn drops(input: &PlanInput<'_>) -> bool {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    let mut managers = input.live.nodes.values().filter(|node| node.manager).peekable();
    managers.peek().is_none() || managers.any(|node| major(&node.engine).is_none_or(|major| major < KEEPS_ALL))
}

/// Whether just this spec is what was last sent.
fn was_sent(input: &PlanInput<'_>, wanted: &DesiredService, live: &LiveService) -> bool {
    live.spec.labels.get(SPEC_LABEL).is_some_and(|sent| *sent == input.digester.digest_of(&wanted.spec).to_string())
}

/// What a service becomes: what is wanted, with what an update keeps from the live one, and with the live values of the
/// fields that somebody else owns.
#[must_use]
pub fn effective(desired: &Desired, wanted: &ServiceSpec, live: &LiveService) -> ServiceSpec {
    let spec = keep_live(wanted, live);
    let Some(paths) = desired.ignored.get(&wanted.name) else { return spec };
    let (Ok(mut value), Ok(theirs)) = (serde_json::to_value(&spec), serde_json::to_value(&live.spec)) else {
        return spec;
    };
    for path in paths {
        put(&mut value, path, theirs.pointer(path));
    }
    // A pointer to where no such value can stand changes nothing.
    serde_json::from_value(value).unwrap_or(spec)
}

/// Puts a value at a pointer, or takes away what stands there.
fn put(root: &mut Value, path: &str, value: Option<&Value>) {
    let Some((parent, name)) = path.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    let mut place = root;
    for step in parent.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        place = match place {
            Value::Object(map) => {
                if value.is_none() && !map.contains_key(&step) {
                    return;
                }
                map.entry(step).or_insert_with(|| Value::Object(Map::new()))
            }
            Value::Array(items) => match step.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            _ => return,
        };
    }
    match (place, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(name, value.clone())),
        (Value::Object(map), None) => drop(map.shift_remove(&name)),
        (Value::Array(items), Some(value)) => {
            if let Some(item) = name.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = value.clone();
            }
        }
        _ => {}
    }
}

/// Whether the live image is the wanted one, with the digest that its tag was resolved to when it was deployed. The file
/// says the same as then: this is how `docker stack deploy --resolve-image changed` tells.
fn is_resolved(wanted: &ServiceSpec, live: &ServiceSpec) -> bool {
    let image = |spec: &ServiceSpec| spec.task_template.container_spec.image.clone();
    let digest = image(live).strip_prefix(&image(wanted)).is_some_and(|rest| rest.starts_with("@sha256:"));
    digest && live.labels.get(IMAGE_LABEL) == wanted.labels.get(IMAGE_LABEL)
}

/// What an update keeps from the live service: the force counter, the digest that an unchanged tag was resolved to, the platforms filled in at create, and, where the file
/// names no number of replicas, the number that runs (an autoscaler's, or a person's).
#[must_use]
pub fn keep_live(wanted: &ServiceSpec, live: &LiveService) -> ServiceSpec {
    let mut spec = wanted.clone();
    let task = &live.spec.task_template;
    spec.task_template.force_update = task.force_update;
    if is_resolved(wanted, &live.spec) {
        spec.task_template.container_spec.image.clone_from(&task.container_spec.image);
    }
    if let Some(platforms) = task.placement.as_ref().map(|placement| &placement.platforms)
        && !platforms.is_empty()
        && spec.task_template.placement.as_ref().is_none_or(|placement| placement.platforms.is_empty())
        && task.container_spec.image == spec.task_template.container_spec.image
    {
        spec.task_template.placement.get_or_insert_default().platforms.clone_from(platforms);
    }
    canonical::mode_kind(&mut spec.mode);
    if let (Some(wanted), Some(live)) = (&mut spec.mode.replicated, &live.spec.mode.replicated)
        && wanted.replicas.is_none()
    {
        wanted.replicas = live.replicas;
    }
    spec
}
