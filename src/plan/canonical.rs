//! One form for specs that mean the same to Swarm.
//!
//! The engine fills in fields it was not sent, swaps names for ids, and sorts. What it fills in was measured by sending
//! specs and reading them back raw (API 1.41): the runtime, the endpoint's mode, a port's protocol and mode, the number
//! of replicas, the failure action and order of updates, the isolation, the restart condition. Both sides go through
//! this before they are compared. Fields that are not modelled are left out of the comparison: a newer engine may fill in what this version
//! has never heard of, and an update for that would be sent for ever.

use serde_json::Value;

use crate::domain::{
    Change, ContainerSpec, DEPLOYMENT_LABEL, EndpointSpec, FileTarget, Placement, REVISION_LABEL, Resources,
    SPEC_LABEL, ServiceMode, ServiceSpec, TaskSpec, UpdateConfig,
};

/// The canonical form of a service's spec, without the labels that only say which deployment last touched it.
#[must_use]
pub fn canonical(spec: &ServiceSpec) -> ServiceSpec {
    let mut spec = spec.clone();
    spec.extra.clear();
    for label in [SPEC_LABEL, REVISION_LABEL, DEPLOYMENT_LABEL] {
        spec.labels.remove(label);
    }
    task(&mut spec.task_template);
    mode(&mut spec.mode);
    for config in [&mut spec.update_config, &mut spec.rollback_config].into_iter().flatten() {
        update(config);
    }
    endpoint(spec.endpoint_spec.get_or_insert_default());
    spec
}

/// Whether Swarm would let a task made from `running` go on under `wanted`. Placement is left out, because swarmkit does
/// not restart a task for it while its node still fits, and so are the remarks of the registry. The published ports are
/// no part of a task's spec: Swarm replaces tasks for them too, and what is said here does not show it.
#[must_use]
pub fn same_task(running: &TaskSpec, wanted: &TaskSpec) -> bool {
    task_form(running) == task_form(wanted)
}

/// The form of a task's spec in which equal ones are the same task to Swarm: see [`same_task`].
pub(crate) fn task_form(spec: &TaskSpec) -> TaskSpec {
    let mut form = spec.clone();
    form.placement = None;
    forget_what_engines_drop(&mut form.container_spec);
    task(&mut form);
    form
}

/// What older engines drop from a spec without a word: the start interval of a health check, `no-new-privileges` and the
/// profiles (before API 1.44), the subpath of a volume (1.45), the OOM score (1.46).
fn forget_what_engines_drop(container: &mut ContainerSpec) {
    container.oom_score_adj = 0;
    if let Some(check) = &mut container.healthcheck {
        check.start_interval = 0;
    }
    let privileges = container.privileges.as_mut();
    let options = container.mounts.iter_mut().filter_map(|mount| mount.volume_options.as_mut());
    for map in privileges.into_iter().chain(options).filter_map(Value::as_object_mut) {
        map.retain(|key, _| !DROPPED.contains(&key.as_str()));
    }
}

/// Fields of which [`is_dropped`] knows.
const DROPPED: [&str; 6] = ["OomScoreAdj", "StartInterval", "Subpath", "NoNewPrivileges", "Seccomp", "AppArmor"];

/// Whether a difference is no more than what an older engine has dropped.
pub(super) fn is_dropped(change: &Change) -> bool {
    let within = |value: &Value| {
        let map = value.as_object();
        map.is_some_and(|map| !map.is_empty() && map.keys().all(|key| DROPPED.contains(&key.as_str())))
    };
    let last = change.path.rsplit('/').next().unwrap_or_default();
    change.from.is_none() && (DROPPED.contains(&last) || change.to.as_ref().is_some_and(within))
}

fn task(task: &mut TaskSpec) {
    task.extra.clear();
    container(&mut task.container_spec);
    if task.runtime.as_deref().unwrap_or_default().is_empty() {
        task.runtime = Some("container".into());
    }
    for network in &mut task.networks {
        network.aliases.sort();
    }
    task.networks.sort_by(|a, b| a.target.cmp(&b.target));
    task.resources = task.resources.take().and_then(resources);
    task.placement = task.placement.take().and_then(placement);
    if let Some(policy) = &mut task.restart_policy {
        policy.extra.clear();
        if policy.condition.is_empty() {
            policy.condition = "any".into();
        }
        policy.max_attempts = policy.max_attempts.filter(|attempts| *attempts != 0);
        policy.window = policy.window.filter(|window| *window != 0);
    }
}

fn container(container: &mut ContainerSpec) {
    container.extra.clear();
    // Of two values for one name the later counts: their order stays.
    container.env.sort_by(|a, b| variable(a).cmp(variable(b)));
    container.capability_add.sort();
    container.capability_drop.sort();
    container.ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    container.privileges = container.privileges.take().and_then(without_empty);
    if container.isolation.as_deref().unwrap_or_default().is_empty() {
        container.isolation = Some("default".into());
    }
    container.dns_config = container
        .dns_config
        .take()
        .filter(|dns| !(dns.nameservers.is_empty() && dns.search.is_empty() && dns.options.is_empty()));
    for mount in &mut container.mounts {
        mount.extra.clear();
        // The engine takes it and does not give it back.
        mount.consistency.clear();
        if let Some(options) = mount.bind_options.as_mut().and_then(Value::as_object_mut) {
            // What the engine makes of none.
            options.retain(|key, value| key != "Propagation" || value != "rprivate");
        }
        mount.bind_options = mount.bind_options.take().and_then(without_empty);
        mount.volume_options = mount.volume_options.take().and_then(without_empty);
        mount.tmpfs_options = mount.tmpfs_options.take().and_then(without_empty);
    }
    for secret in &mut container.secrets {
        secret.extra.clear();
        secret.secret_id.clear();
    }
    for config in &mut container.configs {
        config.extra.clear();
        config.config_id.clear();
    }
    let target = |file: &Option<FileTarget>| file.as_ref().map(|file| file.name.clone());
    container.secrets.sort_by_cached_key(|used| (used.secret_name.clone(), target(&used.file)));
    container.configs.sort_by_cached_key(|used| (used.config_name.clone(), target(&used.file)));
    if let Some(check) = &mut container.healthcheck {
        check.extra.clear();
    }
}

/// The name of a variable of the environment.
fn variable(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

fn mode(mode: &mut ServiceMode) {
    mode.extra.clear();
    mode_kind(mode);
    if let Some(replicated) = &mut mode.replicated {
        replicated.replicas.get_or_insert(1);
    }
    if let Some(job) = &mut mode.replicated_job {
        let concurrent = *job.max_concurrent.get_or_insert(1);
        job.total_completions.get_or_insert(concurrent);
    }
}

/// A spec that names no mode is a replicated one.
pub(super) fn mode_kind(mode: &mut ServiceMode) {
    if mode.kind() == "Replicated" {
        mode.replicated.get_or_insert_default();
    }
}

fn update(config: &mut UpdateConfig) {
    config.extra.clear();
    if config.failure_action.is_empty() {
        config.failure_action = "pause".into();
    }
    if config.order.is_empty() {
        config.order = "stop-first".into();
    }
}

fn endpoint(endpoint: &mut EndpointSpec) {
    endpoint.extra.clear();
    if endpoint.mode.is_empty() {
        endpoint.mode = "vip".into();
    }
    for port in &mut endpoint.ports {
        if port.protocol.is_empty() {
            port.protocol = "tcp".into();
        }
        if port.publish_mode.is_empty() {
            port.publish_mode = "ingress".into();
        }
    }
    endpoint.ports.sort_by(|a, b| {
        (a.published_port, a.target_port, &a.protocol).cmp(&(b.published_port, b.target_port, &b.protocol))
    });
}

fn resources(mut resources: Resources) -> Option<Resources> {
    resources.extra.clear();
    for set in [&mut resources.limits, &mut resources.reservations] {
        if let Some(amount) = set {
            amount.extra.clear();
        }
        *set = set.take().filter(|amount| *amount != Default::default());
    }
    (resources != Resources::default()).then_some(resources)
}

fn placement(mut placement: Placement) -> Option<Placement> {
    placement.extra.clear();
    (placement != Placement::default()).then_some(placement)
}

/// A JSON value without what says nothing: null, false, 0, empty text, lists and objects.
fn without_empty(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Number(number) => (number.as_f64() != Some(0.0)).then_some(Value::Number(number)),
        Value::Array(items) => (!items.is_empty()).then_some(Value::Array(items)),
        Value::Object(map) => {
            let map: serde_json::Map<_, _> =
                map.into_iter().filter_map(|(key, value)| Some((key, without_empty(value)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        other @ Value::Bool(true) => Some(other),
    }
}
