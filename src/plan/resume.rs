//! An update that Swarm stopped, told to go on.

use super::ownership::stamp;
use super::{Plan, PlanInput};
use crate::domain::{Action, Effect, ObjectKind, ObjectRef, Step, UpdateState};

/// Adds a step for each of `services` (real names) that is as it should be, and whose update Swarm has stopped: it is sent
/// as it is. That clears `UpdateStatus`, and Swarm's updater takes up the tasks that are still of an older spec; those of
/// this one it leaves alone. `docker service update NAME` without a flag does the same. A plan that is refused stays as it
/// is.
pub fn resume<'a>(input: &PlanInput<'_>, plan: &mut Plan, services: impl Iterator<Item = &'a str>) {
    if !plan.refused.is_empty() {
        return;
    }
    for name in services {
        let object = ObjectRef::new(ObjectKind::Service, name);
        let (Some(live), Some(wanted)) = (input.live.services.get(name), input.desired.services.get(name)) else {
            continue;
        };
        let stopped = live.update.as_ref().is_some_and(|update| update.state == UpdateState::Paused);
        if !stopped || plan.steps.iter().any(|step| step.object == object) {
            continue;
        }
        let mut spec = live.spec.clone();
        stamp(input, &mut spec.labels, &input.digester.digest_of(&wanted.spec));
        plan.unchanged = plan.unchanged.saturating_sub(1);
        plan.steps.push(Step {
            object,
            action: Action::Update,
            reason: "Swarm had stopped its update".to_owned(),
            changes: Vec::new(),
            effect: Effect::UpdateService { id: live.id.clone(), version: live.version, spec },
        });
    }
}
