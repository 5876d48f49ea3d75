//! What the managers refuse, and how they write down what they accept.

use crate::domain::{ObjectRef, Replicated, ReplicatedJob, ServiceSpec, UpdateConfig};
use crate::ports::SwarmError;

use super::schedule::is_constraint;

/// The least memory a container may be limited to or reserve.
const LEAST_MEMORY: i64 = 4 * 1024 * 1024;

/// A spec as it reads back: the fields the engine fills in are filled in, everything else is as it was sent.
pub(super) fn normalised(spec: &ServiceSpec) -> ServiceSpec {
    let mut spec = spec.clone();
    let template = &mut spec.task_template;
    template.runtime.get_or_insert_with(|| "container".to_owned());
    let container = &mut template.container_spec;
    container.isolation.get_or_insert_with(|| "default".to_owned());
    container.mounts.iter_mut().for_each(|mount| mount.consistency.clear());
    container.secrets.iter_mut().for_each(|secret| secret.secret_id.clear());
    container.configs.iter_mut().for_each(|config| config.config_id.clear());
    if let Some(serde_json::Value::Object(privileges)) = &mut container.privileges {
        privileges.retain(|key, value| key != "NoNewPrivileges" || *value != serde_json::Value::Bool(false));
    }
    if let Some(endpoint) = &mut spec.endpoint_spec {
        fill(&mut endpoint.mode, "vip");
        for port in &mut endpoint.ports {
            fill(&mut port.protocol, "tcp");
            fill(&mut port.publish_mode, "ingress");
        }
    }
    let mode = &mut spec.mode;
    if mode.global.is_none() && !mode.is_job() {
        mode.replicated.get_or_insert_with(Replicated::default).replicas.get_or_insert(1);
    }
    if let Some(ReplicatedJob { max_concurrent, total_completions }) = &mut mode.replicated_job {
        max_concurrent.get_or_insert(1);
        total_completions.get_or_insert(1);
    }
    for UpdateConfig { failure_action, order, .. } in spec.update_config.iter_mut().chain(&mut spec.rollback_config) {
        fill(failure_action, "pause");
        fill(order, "stop-first");
    }
    spec
}

fn fill(text: &mut String, usual: &str) {
    if text.is_empty() {
        usual.clone_into(text);
    }
}

/// Whether the managers take such a spec at all.
pub(super) fn valid(object: &ObjectRef, spec: &ServiceSpec) -> Result<(), SwarmError> {
    let refused = |reason: String| Err(SwarmError::Refused { object: object.to_string(), reason });
    let template = &spec.task_template;
    if spec.name.is_empty() {
        return refused("rpc error: code = InvalidArgument desc = meta: name must be provided".into());
    }
    if template.container_spec.image.is_empty() {
        return refused(
            "rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided".into(),
        );
    }
    if spec.mode.is_job() && spec.update_config.is_some() {
        return refused("rpc error: code = InvalidArgument desc = Jobs may not have an update config".into());
    }
    for config in spec.update_config.iter().chain(&spec.rollback_config) {
        if !matches!(config.failure_action.as_str(), "pause" | "continue" | "rollback") {
            return refused(format!("unrecognized update failure action {}", config.failure_action));
        }
    }
    let dnsrr = spec.endpoint_spec.as_ref().is_some_and(|endpoint| endpoint.mode == "dnsrr");
    if dnsrr && !ingress_ports(spec).is_empty() {
        return refused(
            "rpc error: code = InvalidArgument desc = EndpointSpec: port published with ingress mode can't be used with \
             dnsrr mode"
                .into(),
        );
    }
    let resources = template.resources.iter().flat_map(|all| all.limits.iter().chain(&all.reservations));
    for memory in resources.map(|set| set.memory_bytes).filter(|memory| *memory != 0) {
        if memory < LEAST_MEMORY {
            return refused(format!(
                "rpc error: code = InvalidArgument desc = invalid memory value {memory}: Must be at least 4MiB"
            ));
        }
    }
    let constraints = template.placement.iter().flat_map(|placement| &placement.constraints);
    for constraint in constraints {
        if !is_constraint(constraint) {
            return refused("rpc error: code = Unknown desc = constraint expected one operator from ==, !=".into());
        }
    }
    Ok(())
}

/// Whether a service may go from one spec to another.
pub(super) fn may_become(object: &ObjectRef, old: &ServiceSpec, new: &ServiceSpec) -> Result<(), SwarmError> {
    let reason = if old.name != new.name {
        "rpc error: code = Unimplemented desc = renaming services is not supported"
    } else if old.mode.kind() != new.mode.kind() {
        "rpc error: code = Unimplemented desc = service mode change is not allowed"
    } else {
        return Ok(());
    };
    Err(SwarmError::Refused { object: object.to_string(), reason: reason.to_owned() })
}

/// The ports a service publishes on all nodes, with their protocols.
pub(super) fn ingress_ports(spec: &ServiceSpec) -> Vec<(u32, String)> {
    let ports = spec.endpoint_spec.as_ref().map_or(&[][..], |endpoint| &endpoint.ports);
    let ingress = ports.iter().filter(|port| port.publish_mode != "host" && port.published_port != 0);
    ingress.map(|port| (port.published_port, port.protocol.clone())).collect()
}
