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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::{Action, Change, Effect, ObjectRef, ServiceSpec, UpdateStatus, VersionIndex};

    fn step(kind: ObjectKind, paths: &[&str]) -> Step {
        let change = |path: &&str| Change { path: (*path).to_owned(), from: None, to: None };
        let object = ObjectRef::new(kind, "shop_web");
        Step {
            object: object.clone(),
            action: Action::Update,
            reason: String::new(),
            changes: paths.iter().map(change).collect(),
            effect: Effect::Own { object, id: "s1".into() },
        }
    }

    /// What the engine has: with the label of an instance, if any, and what its updater did last.
    fn live(instance: Option<&str>, update: Option<UpdateState>) -> Snapshot {
        live_since(instance, update, None)
    }

    fn live_since(instance: Option<&str>, update: Option<UpdateState>, updated_at: Option<Timestamp>) -> Snapshot {
        let mut spec = ServiceSpec { name: "shop_web".into(), ..ServiceSpec::default() };
        spec.labels.extend(instance.map(|it| (INSTANCE_LABEL.to_owned(), it.to_owned())));
        let update = update.map(|state| UpdateStatus { state, started_at: None, message: String::new() });
        let service = LiveService {
            id: "s1".into(),
            version: VersionIndex(7),
            spec,
            created_at: None,
            updated_at,
            update,
            job_iteration: None,
        };
        Snapshot { services: [("shop_web".to_owned(), Arc::new(service))].into(), ..Snapshot::default() }
    }

    #[test]
    fn the_engines_traces_tell_who_it_was() {
        use UpdateState::{Completed, RollbackCompleted, RollbackPaused, RollbackStarted, Updating};
        let (scale, image) = (&["/Mode/Replicated/Replicas"][..], &["/TaskTemplate/ContainerSpec/Image"][..]);
        let both = &["/Mode/Replicated/Replicas", "/TaskTemplate/ContainerSpec/Image"][..];
        for (instance, update, paths, told) in [
            (Some("ours"), None, image, "by another client of the engine"),
            (Some("ours"), Some(Completed), image, "by another client of the engine"),
            (Some("ours"), Some(Updating), both, "by another client of the engine"),
            (Some("ours"), None, scale, "by something that scales"),
            (Some("other"), None, scale, "by another Skep (instance other)"),
            (None, None, image, "by something that writes whole services"),
            (None, None, scale, "by something that writes whole services"),
            (Some("ours"), Some(RollbackStarted), image, "by Swarm itself"),
            (Some("ours"), Some(RollbackPaused), scale, "by Swarm itself"),
            (None, Some(RollbackCompleted), image, "by Swarm itself"),
        ] {
            let live = live(instance, update.clone());
            let found = author(&step(ObjectKind::Service, paths), &live, "ours").unwrap();
            assert!(found.starts_with(told), "{instance:?} {update:?} {paths:?}: {found}");
        }
    }

    #[test]
    fn when_it_was_is_told_to_the_second() {
        let live = live_since(Some("ours"), None, Some("2026-01-31T12:01:05.25Z".parse().unwrap()));
        let found = author(&step(ObjectKind::Service, &["/Labels/a"]), &live, "ours").unwrap();
        assert!(found.ends_with(" at 2026-01-31T12:01:05Z"), "{found}");
    }

    #[test]
    fn nobody_is_named_for_what_is_missing_or_no_service() {
        assert_eq!(author(&step(ObjectKind::Service, &[]), &Snapshot::default(), "ours"), None);
        assert_eq!(author(&step(ObjectKind::Network, &[]), &live(Some("ours"), None), "ours"), None);
    }
}
