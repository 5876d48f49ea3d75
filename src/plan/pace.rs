//! How services are updated on the way back: by the file's `rollback_config`, or without pauses.
//!
//! Swarm updates a service by the update config of the very spec it is given, so a rollback sends the last good spec with
//! another one. Once the version has converged, a second update puts the file's own back; it changes no task.

use super::diff::changes;
use crate::domain::{Effect, ServiceSpec, Snapshot, Step, UpdateConfig};

/// By which rules services are updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// By the file's `update_config`.
    #[default]
    Declared,
    /// As a rollback is to go.
    WayBack,
}

/// Where the engine has it, in paths of changes.
const PATH: &str = "/UpdateConfig";
const START_FIRST: &str = "start-first";

/// The update config of a rollback to this version: the file's `rollback_config` if it has one. Otherwise the file's own
/// without delay, going on past a task that fails, and all at once where the new tasks start first, because then nothing
/// that serves is taken away. `None`: the file's own is as fast.
fn way_back(spec: &ServiceSpec) -> Option<UpdateConfig> {
    let own = spec.update_config.as_ref();
    let fast = match &spec.rollback_config {
        Some(declared) => declared.clone(),
        None => {
            let own = own.filter(|own| own.delay > 0 || (own.order == START_FIRST && own.parallelism > 0))?;
            let parallelism = if own.order == START_FIRST { 0 } else { own.parallelism };
            UpdateConfig { parallelism, delay: 0, failure_action: "continue".to_owned(), ..own.clone() }
        }
    };
    (own != Some(&fast)).then_some(fast)
}

/// Gives a spec that is about to be sent the update config of a rollback. One that differs from the live spec in nothing
/// else is given the live one: there is nothing to hasten.
pub(super) fn hasten(spec: &mut ServiceSpec, live: &ServiceSpec) {
    let declared = std::mem::replace(&mut spec.update_config, live.update_config.clone());
    if changes(live, spec).is_empty() {
        return;
    }
    let fast = way_back(&ServiceSpec { update_config: declared.clone(), ..spec.clone() });
    spec.update_config = fast.or(declared);
}

/// Whether a step does nothing but put back the update config that a rollback replaced.
#[must_use]
pub fn restores_pace(step: &Step, live: &Snapshot) -> bool {
    let Effect::UpdateService { spec, .. } = &step.effect else { return false };
    let Some(live) = live.services.get(&spec.name) else { return false };
    let Some(fast) = way_back(spec) else { return false };
    let sent = ServiceSpec { update_config: Some(fast), ..live.spec.clone() };
    step.changes.iter().all(|change| change.path.starts_with(PATH)) && changes(&live.spec, &sent).is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(update: &Value, rollback: &Value, image: &str) -> ServiceSpec {
        serde_json::from_value(json!({
            "Name": "shop_web",
            "TaskTemplate": {"ContainerSpec": {"Image": image}},
            "Mode": {"Replicated": {"Replicas": 10}},
            "UpdateConfig": update,
            "RollbackConfig": rollback,
        }))
        .unwrap()
    }

    /// The file's update config, its rollback config, and what a rollback is sent with.
    #[test]
    fn a_rollback_goes_by_rollback_config_or_without_pauses() {
        let slow = json!({"Parallelism": 2, "Delay": 30, "Monitor": 7, "Order": "stop-first", "MaxFailureRatio": 0.0});
        let declared = json!({"Parallelism": 5, "MaxFailureRatio": 0.5});
        let careful =
            json!({"Parallelism": 1, "Order": "start-first", "FailureAction": "pause", "MaxFailureRatio": 0.0});
        let rows = [
            (Value::Null, Value::Null, Value::Null),
            (json!({"Parallelism": 1, "MaxFailureRatio": 0.0}), Value::Null, Value::Null),
            (
                slow.clone(),
                Value::Null,
                json!({"Parallelism": 2, "Monitor": 7, "Order": "stop-first", "FailureAction": "continue", "MaxFailureRatio": 0.0}),
            ),
            (
                careful,
                Value::Null,
                json!({"Parallelism": 0, "Order": "start-first", "FailureAction": "continue", "MaxFailureRatio": 0.0}),
            ),
            (slow.clone(), declared.clone(), declared.clone()),
            (declared.clone(), declared, Value::Null),
        ];
        for (update, rollback, wanted) in rows {
            let wanted: Option<UpdateConfig> = serde_json::from_value(wanted).unwrap();
            assert_eq!(way_back(&spec(&update, &rollback, "demo:1")), wanted, "{update} {rollback}");
        }
    }

    #[test]
    fn nothing_is_hastened_that_does_not_change() {
        let slow = json!({"Parallelism": 2, "Delay": 30, "MaxFailureRatio": 0.0});
        let live = spec(&Value::Null, &Value::Null, "demo:2");
        let mut back = spec(&slow, &Value::Null, "demo:1");
        hasten(&mut back, &live);
        assert_eq!(back.update_config.as_ref().map(|config| config.delay), Some(0));
        let mut same = spec(&slow, &Value::Null, "demo:2");
        hasten(&mut same, &live);
        assert_eq!(same.update_config, live.update_config);
    }
}
