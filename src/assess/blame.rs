//! Whose fault? Decided by counterfactual: would the last good version meet the same obstacle now?
//!
//! | class | the version's fault when | otherwise |
//! | --- | --- | --- |
//! | `ImageMissing`, `RegistryAuth` | the last good version runs another image in that service | infrastructure |
//! | `RegistryDown` | the last good version's image comes from another registry | infrastructure |
//! | `NodeLost`, `QuorumLost`, `EngineUnreachable`, `SourceUnreachable` | never | infrastructure |
//! | `NoSuitableNode` | some node takes tasks, and the last good version demands something else (placement, reservations, host ports, mounts, replicas) | infrastructure |
//! | `PortConflict` | the last good version publishes other ports, or the version starts the new task on a port of the node that the old one still holds | infrastructure |
//! | `OutOfMemory`, `ExitCode`, `HealthCheck`, `Deadline` | the last good version's task differs; or it does not, but other services do and it ran when the deployment began | infrastructure |
//! | `Render`, `Preflight`, `Hook` | always | |
//!
//! Without a last good version everything that is not plainly the infrastructure's is the version's, and so is everything
//! of a service that the last good version does not have. With no node that takes tasks everything but the last row is the
//! infrastructure's. Infrastructure means: wait with the progress clock stopped, then fail at the total deadline without a
//! rollback.

use super::AssessInput;
use crate::domain::{Desired, DesiredService, Failure, FailureClass, PortConfig, ServiceSpec, TaskState, registry_of};
use crate::plan::same_task;

/// Whose fault an obstacle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The new version's own demand causes it.
    Version,
    /// The last good version would meet it too.
    Infrastructure,
}

/// Decides whose fault `failure` is.
#[must_use]
pub fn blame(input: &AssessInput<'_>, failure: &Failure) -> Fault {
    if is_versions(input, failure) { Fault::Version } else { Fault::Infrastructure }
}

fn is_versions(input: &AssessInput<'_>, failure: &Failure) -> bool {
    use FailureClass as Class;
    let node_there = input.live.nodes.values().any(|node| node.takes_tasks());
    match failure.class {
        Class::EngineUnreachable if planted!("an unreachable engine is the version's fault") => return true,
        Class::NodeLost | Class::QuorumLost | Class::EngineUnreachable | Class::SourceUnreachable => return false,
        Class::Render | Class::Preflight | Class::Hook => return true,
        _ if !node_there => return false,
        // The engine did not accept every step in time: no task has been given a chance to fail.
        Class::Deadline if failure.service.is_none() && !input.progress.applied => return false,
        _ => {}
    }
    let Some((new, good)) = pair(input, failure) else {
        return failure.class != Class::RegistryDown || input.last_good.is_some() && failure.service.is_some();
    };
    match failure.class {
        Class::ImageMissing | Class::RegistryAuth => image(&new.spec) != image(&good.spec),
        Class::RegistryDown => registry_of(image(&new.spec)) != registry_of(image(&good.spec)),
        Class::NoSuitableNode => !same_demand(&new.spec, &good.spec),
        Class::PortConflict => ports(&new.spec) != ports(&good.spec) || blocks_itself(&new.spec),
        _ => differs(new, good) || broken_by_neighbours(input, new),
    }
}

/// The failing service in the new and in the last good version. `None` when the last good one has no such service, or
/// there is no last good version at all: then nothing but the new version asks for it.
fn pair<'a>(input: &AssessInput<'a>, failure: &Failure) -> Option<(&'a DesiredService, &'a DesiredService)> {
    let key = failure.service.as_deref()?;
    let find = |desired: &'a Desired| desired.services.values().find(|service| service.key == key);
    Some((find(input.target)?, find(input.last_good?)?))
}

fn image(spec: &ServiceSpec) -> &str {
    &spec.task_template.container_spec.image
}

fn ports(spec: &ServiceSpec) -> Vec<&PortConfig> {
    spec.endpoint_spec.iter().flat_map(|endpoint| &endpoint.ports).collect()
}

/// The new task is to start before the old one ends, on a port of the node that only one of them can have.
fn blocks_itself(spec: &ServiceSpec) -> bool {
    let start_first = spec.update_config.as_ref().is_some_and(|update| update.order == "start-first");
    start_first && ports(spec).iter().any(|port| port.publish_mode == "host")
}

/// Whether two specs demand the same of a node.
fn same_demand(a: &ServiceSpec, b: &ServiceSpec) -> bool {
    let placement = |spec: &ServiceSpec| {
        let placement = spec.task_template.placement.clone().unwrap_or_default();
        (placement.constraints, placement.max_replicas, placement.platforms)
    };
    let reservations =
        |spec: &ServiceSpec| spec.task_template.resources.clone().and_then(|resources| resources.reservations);
    let replicas = |spec: &ServiceSpec| spec.mode.replicated.as_ref().and_then(|replicated| replicated.replicas);
    placement(a) == placement(b)
        && reservations(a) == reservations(b)
        && ports(a) == ports(b)
        && a.task_template.container_spec.mounts == b.task_template.container_spec.mounts
        && replicas(a) == replicas(b)
}

/// Whether a service's tasks differ in two versions.
fn differs(new: &DesiredService, good: &DesiredService) -> bool {
    !same_task(&good.spec.task_template, &new.spec.task_template) || ports(&new.spec) != ports(&good.spec)
}

/// An unchanged service that ran when the deployment began and fails now, while others of the stack changed: the last
/// good version as a whole would not meet that. One that was broken before is not the version's fault.
fn broken_by_neighbours(input: &AssessInput<'_>, service: &DesiredService) -> bool {
    let Some(last_good) = input.last_good else { return false };
    let Some(live) = input.live.services.get(&service.spec.name) else { return false };
    let start = input.progress.started_at;
    let ran = input.tasks.of(&live.id).iter().any(|task| {
        let ended = task.state.is_over() && task.state_since.is_none_or(|since| since <= start);
        task.created_at.is_some_and(|created| created < start) && task.state >= TaskState::Running && !ended
    });
    ran && input
        .target
        .services
        .iter()
        .filter(|(_, other)| other.key != service.key)
        .any(|(name, other)| last_good.services.get(name).is_none_or(|good| differs(other, good)))
}
