//! Services: made, or changed in place where they differ.

use super::ownership::{owner, stamp, stamp_owner};
use super::{Owner, Pace, Plan, PlanInput, Refusal, canonical, create, diff, pace, ports, why_missing};
use crate::domain::{Action, DesiredService, Effect, LiveService, ObjectKind, ObjectRef, ServiceSpec, Step};

/// Plans every wanted service; the steps stand by name, but for the ports they hand to each other.
pub(super) fn services(input: &PlanInput<'_>, plan: &mut Plan) {
    let mut own = Plan::default();
    for service in input.desired.services.values() {
        one(input, service, &mut own);
    }
    let steps = std::mem::take(&mut own.steps);
    ports::in_order(input, steps, plan);
    plan.refused.append(&mut own.refused);
    plan.unchanged += own.unchanged;
}

fn one(input: &PlanInput<'_>, wanted: &DesiredService, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Service, &wanted.spec.name);
    let Some(live) = input.live.services.get(&wanted.spec.name) else {
        let mut spec = wanted.spec.clone();
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
        return plan.refused.push(Refusal::Immutable { object, what: format!("mode {from} → {to}") });
    }
    let mut spec = keep_live(&wanted.spec, live);
    stamp_owner(input, &mut spec.labels);
    if input.pace == Pace::WayBack {
        pace::hasten(&mut spec, &live.spec);
    }
    let changes = diff::changes(&live.spec, &spec);
    if changes.is_empty() && !planted!("an update that changes nothing is sent") {
        plan.unchanged += 1;
        return;
    }
    stamp(input, &mut spec.labels, &input.digester.digest_of(&wanted.spec));
    let effect = Effect::UpdateService { id: live.id.clone(), version: live.version, spec };
    let reason = diff::reason(&changes);
    plan.steps.push(Step { object, action: Action::Update, reason, changes, effect });
}

/// What an update keeps from the live service: the force counter, the platforms filled in at create, and, where the file
/// names no number of replicas, the number that runs (an autoscaler's, or a person's).
#[must_use]
pub fn keep_live(wanted: &ServiceSpec, live: &LiveService) -> ServiceSpec {
    let mut spec = wanted.clone();
    let task = &live.spec.task_template;
    spec.task_template.force_update = task.force_update;
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
