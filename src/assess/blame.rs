//! Whose fault? Decided by counterfactual: would the last good version meet the same obstacle now?
//!
//! | class | the version's fault when | otherwise |
//! | --- | --- | --- |
//! | `ImageMissing`, `RegistryAuth` | the last good version runs another image in that service | infrastructure |
//! | `RegistryDown`, `NodeLost`, `QuorumLost`, `EngineUnreachable`, `SourceUnreachable` | never | infrastructure |
//! | `NoSuitableNode` | some node takes tasks, and the last good version demands something else (placement, reservations, host ports, mounts) | infrastructure |
//! | `PortConflict` | the last good version publishes other ports | infrastructure |
//! | `OutOfMemory`, `ExitCode`, `HealthCheck`, `Deadline` | the last good version's task differs | infrastructure |
//! | `Render`, `Preflight`, `Hook` | always | |
//!
//! Without a last good version everything that is not plainly the infrastructure's is the version's. Infrastructure
//! means: wait with the progress clock stopped, then fail at the total deadline without a rollback.

use super::AssessInput;
use crate::domain::{DesiredService, Failure, FailureClass, PortConfig};
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
    use FailureClass as Class;
    let node_there = input.live.nodes.values().any(|node| node.takes_tasks());
    match failure.class {
        Class::RegistryDown
        | Class::NodeLost
        | Class::QuorumLost
        | Class::EngineUnreachable
        | Class::SourceUnreachable => return Fault::Infrastructure,
        Class::Render | Class::Preflight | Class::Hook => return Fault::Version,
        _ if !node_there => return Fault::Infrastructure,
        _ => {}
    }
    let Some((new, good)) = pair(input, failure) else { return Fault::Version };
    let differs = match failure.class {
        Class::ImageMissing | Class::RegistryAuth => image(new) != image(good),
        Class::NoSuitableNode => demand(new) != demand(good),
        Class::PortConflict => ports(new) != ports(good),
        _ => !same_task(&good.spec.task_template, &new.spec.task_template),
    };
    if differs { Fault::Version } else { Fault::Infrastructure }
}

/// The failing service in the new and in the last good version. `None` when the last good one has no such service, or
/// there is no last good version at all: then nothing but the new version asks for it.
fn pair<'a>(input: &AssessInput<'a>, failure: &Failure) -> Option<(&'a DesiredService, &'a DesiredService)> {
    let key = failure.service.as_deref()?;
    let find = |services: &'a std::collections::BTreeMap<String, DesiredService>| {
        services.values().find(|service| service.key == key)
    };
    Some((find(&input.target.services)?, find(&input.last_good?.services)?))
}

fn image(service: &DesiredService) -> &str {
    &service.spec.task_template.container_spec.image
}

fn ports(service: &DesiredService) -> Vec<&PortConfig> {
    service.spec.endpoint_spec.iter().flat_map(|endpoint| &endpoint.ports).collect()
}

/// What a service demands of a node.
fn demand(service: &DesiredService) -> String {
    let task = &service.spec.task_template;
    let reservations = task.resources.as_ref().and_then(|resources| resources.reservations.as_ref());
    let replicas = service.spec.mode.replicated.as_ref().and_then(|replicated| replicated.replicas);
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        task.placement.as_ref().map(|placement| (&placement.constraints, placement.max_replicas)),
        reservations,
        ports(service),
        task.container_spec.mounts,
        replicas,
    )
}
