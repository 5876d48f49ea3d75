//! Who changed what was applied. The engine keeps no names; it leaves traces.

use crate::domain::{INSTANCE_LABEL, LiveService, ObjectKind, Snapshot, Step, UpdateState};

/// Who or what made a service differ from what was applied, as far as the engine tells. `None` for what is missing, and for
/// what is no service.
#[must_use]
pub fn author(step: &Step, live: &Snapshot, instance: &str) -> Option<String> {
    let live = live.services.get(&step.object.name).filter(|_| step.object.kind == ObjectKind::Service)?;
    let when = live.updated_at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    Some(format!("{}{when}", trace(step, live, instance)))
}

fn trace(step: &Step, live: &LiveService, instance: &str) -> String {
    let back = [UpdateState::RollbackStarted, UpdateState::RollbackPaused, UpdateState::RollbackCompleted];
    if live.update.as_ref().is_some_and(|update| back.contains(&update.state)) {
        return "by Swarm itself, or by `docker service rollback`: it was rolled back".to_owned();
    }
    match live.spec.labels.get(INSTANCE_LABEL) {
        Some(other) if other != instance => return format!("by another Skep (instance {other})"),
        None => {
            return "by something that writes whole services and knows no labels of ours, such as `docker stack deploy`"
                .to_owned();
        }
        Some(_) => {}
    }
    let only = |path: &str| step.changes.iter().all(|change| change.path.starts_with(path));
    if only("/Mode/") {
        return "by something that scales, such as `docker service scale` or an autoscaler".to_owned();
    }
    "by another client of the engine, such as `docker service update`".to_owned()
}
