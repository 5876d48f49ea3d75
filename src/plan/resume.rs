//! An update that Swarm stopped, told to go on.

use super::Plan;
use crate::domain::{Action, Effect, ObjectKind, ObjectRef, Snapshot, Step, UpdateState};

/// Adds a step for each of `services` (real names) that is as it should be, and whose update Swarm has stopped: it is sent
/// as it is. That clears `UpdateStatus`, and Swarm's updater takes up the tasks that are still of an older spec; those of
/// this one it leaves alone. `docker service update NAME` without a flag does the same.
pub fn resume<'a>(plan: &mut Plan, live: &Snapshot, services: impl Iterator<Item = &'a str>) {
    for name in services {
        let object = ObjectRef::new(ObjectKind::Service, name);
        let stopped = live.services.get(name).filter(|live| {
            live.update.as_ref().is_some_and(|update| update.state == UpdateState::Paused)
                && plan.steps.iter().all(|step| step.object != object)
        });
        let Some(live) = stopped else { continue };
        plan.unchanged = plan.unchanged.saturating_sub(1);
        plan.steps.push(Step {
            object,
            action: Action::Update,
            reason: "Swarm stopped the update when a node went".to_owned(),
            changes: Vec::new(),
            effect: Effect::UpdateService { id: live.id.clone(), version: live.version, spec: live.spec.clone() },
        });
    }
}
