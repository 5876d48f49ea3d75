//! A service, but for its container: `deploy`, ports, networks.

use serde_json::{Map, Value, json};

use super::objects::Objects;
use super::{container, labels, put, put_text, span, text, texts};
use crate::compose::image::familiar;
use crate::domain::{
    EndpointSpec, IMAGE_LABEL, PROTECT_LABEL, Placement, PortConfig, ResourceSet, Resources, RestartPolicy,
    ServiceSpec, UpdateConfig,
};

/// What is a node's own network, which a service is on alone.
const NODES_OWN: [&str; 2] = ["host", "bridge"];

/// The entry of a service under `services`.
pub(super) fn service(key: &str, spec: &ServiceSpec, objects: &mut Objects<'_>) -> Value {
    let mut service = Map::new();
    service.insert("image".to_owned(), text(&image(spec)));
    container::container(key, &spec.task_template.container_spec, objects, &mut service);
    networks(key, spec, objects, &mut service);
    let endpoint = spec.endpoint_spec.clone().unwrap_or_default();
    put(&mut service, "ports", ports(&endpoint));
    if let Some(driver) = &spec.task_template.log_driver {
        let mut logging = Map::new();
        put_text(&mut logging, "driver", &driver.name);
        put(&mut logging, "options", super::pairs(&driver.options));
        service.insert("logging".to_owned(), Value::Object(logging));
    }
    let mut deploy = Map::new();
    mode(key, spec, objects, &mut deploy);
    put_text(&mut deploy, "endpoint_mode", if endpoint.mode == "vip" { "" } else { &endpoint.mode });
    put(&mut deploy, "labels", labels(&spec.labels, &[IMAGE_LABEL]));
    put(&mut deploy, "placement", spec.task_template.placement.as_ref().and_then(placement));
    put(&mut deploy, "resources", spec.task_template.resources.as_ref().and_then(|it| resources(key, it, objects)));
    put(&mut deploy, "restart_policy", spec.task_template.restart_policy.as_ref().map(restart_policy));
    put(&mut deploy, "update_config", spec.update_config.as_ref().map(update_config));
    put(&mut deploy, "rollback_config", spec.rollback_config.as_ref().map(update_config));
    service.insert("deploy".to_owned(), Value::Object(deploy));
    if spec.labels.get(PROTECT_LABEL).is_some_and(|value| value == "true") {
        service.insert("x-skep".to_owned(), json!({"protect": true}));
    }
    Value::Object(service)
}

/// The image as its file named it, where that is the one that runs: a tag that was looked up keeps its digest then.
fn image(spec: &ServiceSpec) -> String {
    let image = &spec.task_template.container_spec.image;
    let bare = image.split_once('@').map_or(image.as_str(), |(bare, _)| bare);
    let written = spec
        .labels
        .get(IMAGE_LABEL)
        .filter(|written| familiar(written).is_ok_and(|familiar| familiar == bare || familiar == *image));
    written.unwrap_or(image).clone()
}

fn networks(key: &str, spec: &ServiceSpec, objects: &mut Objects<'_>, service: &mut Map<String, Value>) {
    let attachments = &spec.task_template.networks;
    if let [only] = attachments.as_slice()
        && NODES_OWN.contains(&only.target.as_str())
    {
        service.insert("network_mode".to_owned(), text(&only.target));
        return;
    }
    if attachments.is_empty() {
        let name = &spec.name;
        objects.remarks.push(format!("service `{name}` is on no network; a file puts it on the stack's default one"));
    }
    let mut networks = Map::new();
    for attachment in attachments {
        let network = objects.network(&attachment.target);
        let mut entry = Map::new();
        let others = attachment.aliases.iter().filter(|alias| *alias != key);
        put(&mut entry, "aliases", texts(others));
        put(&mut entry, "driver_opts", super::pairs(&attachment.driver_opts));
        networks.insert(network, if entry.is_empty() { Value::Null } else { Value::Object(entry) });
    }
    if networks.len() == 1 && networks.get("default") == Some(&Value::Null) {
        return;
    }
    put(service, "networks", (!networks.is_empty()).then_some(Value::Object(networks)));
}

fn ports(endpoint: &EndpointSpec) -> Option<Value> {
    let port = |port: &PortConfig| {
        let mut entry = Map::new();
        entry.insert("target".to_owned(), port.target_port.into());
        put(&mut entry, "published", (port.published_port > 0).then(|| port.published_port.into()));
        put_text(&mut entry, "protocol", &port.protocol);
        put_text(&mut entry, "mode", &port.publish_mode);
        Value::Object(entry)
    };
    let ports: Vec<Value> = endpoint.ports.iter().map(port).collect();
    (!ports.is_empty()).then_some(Value::Array(ports))
}

fn mode(key: &str, spec: &ServiceSpec, objects: &mut Objects<'_>, deploy: &mut Map<String, Value>) {
    let mode = &spec.mode;
    if let Some(job) = &mode.replicated_job {
        deploy.insert("mode".to_owned(), "replicated-job".into());
        put(deploy, "replicas", job.max_concurrent.map(Value::from));
        if job.total_completions.is_some_and(|total| Some(total) != job.max_concurrent) {
            objects
                .remarks
                .push(format!("service `{key}`: how many of the job's tasks run at a time is not said apart"));
        }
    } else if mode.global_job.is_some() {
        deploy.insert("mode".to_owned(), "global-job".into());
    } else if mode.global.is_some() {
        deploy.insert("mode".to_owned(), "global".into());
    } else {
        put(deploy, "replicas", mode.replicated.as_ref().and_then(|it| it.replicas).map(Value::from));
    }
}

fn placement(placement: &Placement) -> Option<Value> {
    let mut found = Map::new();
    put(&mut found, "constraints", texts(&placement.constraints));
    let spread = |it: &Value| Some(json!({"spread": text(it.pointer("/Spread/SpreadDescriptor")?.as_str()?)}));
    let preferences: Vec<Value> = placement.preferences.iter().filter_map(spread).collect();
    put(&mut found, "preferences", (!preferences.is_empty()).then_some(Value::Array(preferences)));
    put(&mut found, "max_replicas_per_node", (placement.max_replicas > 0).then(|| placement.max_replicas.into()));
    (!found.is_empty()).then_some(Value::Object(found))
}

fn resources(key: &str, resources: &Resources, objects: &mut Objects<'_>) -> Option<Value> {
    let mut found = Map::new();
    put(&mut found, "limits", resources.limits.as_ref().and_then(|set| amount(key, set, objects)));
    put(&mut found, "reservations", resources.reservations.as_ref().and_then(|set| amount(key, set, objects)));
    (!found.is_empty()).then_some(Value::Object(found))
}

fn amount(key: &str, set: &ResourceSet, objects: &mut Objects<'_>) -> Option<Value> {
    let mut found = Map::new();
    put(&mut found, "cpus", (set.nano_cpus != 0).then(|| cpus(set.nano_cpus).into()));
    put(&mut found, "memory", (set.memory_bytes != 0).then(|| memory(set.memory_bytes).into()));
    put(&mut found, "pids", (set.pids != 0).then(|| set.pids.into()));
    let mut discrete = Vec::new();
    for resource in &set.generic_resources {
        match resource.get("DiscreteResourceSpec").filter(|it| it.is_object()) {
            Some(it) => discrete.push(json!({"discrete_resource_spec": {
                "kind": it.get("Kind").and_then(Value::as_str).map(text), "value": it.get("Value"),
            }})),
            None => objects.remarks.push(format!("service `{key}`: a generic resource by name cannot be said")),
        }
    }
    put(&mut found, "generic_resources", (!discrete.is_empty()).then_some(Value::Array(discrete)));
    (!found.is_empty()).then_some(Value::Object(found))
}

/// A number of CPUs from billionths.
fn cpus(nano: i64) -> String {
    let (whole, part) = (nano / 1_000_000_000, nano % 1_000_000_000);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes, in the largest unit that they are a whole number of.
fn memory(bytes: i64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let (size, unit) = units.into_iter().find(|(size, _)| bytes % size == 0).unwrap_or((1, "b"));
    format!("{}{unit}", bytes / size)
}

fn restart_policy(policy: &RestartPolicy) -> Value {
    let mut found = Map::new();
    put_text(&mut found, "condition", &policy.condition);
    put(&mut found, "delay", policy.delay.map(span));
    put(&mut found, "max_attempts", policy.max_attempts.map(Value::from));
    put(&mut found, "window", policy.window.map(span));
    Value::Object(found)
}

fn update_config(config: &UpdateConfig) -> Value {
    let mut found = Map::new();
    found.insert("parallelism".to_owned(), config.parallelism.into());
    put(&mut found, "delay", (config.delay != 0).then(|| span(config.delay)));
    put_text(&mut found, "failure_action", &config.failure_action);
    put(&mut found, "monitor", (config.monitor != 0).then(|| span(config.monitor)));
    put(&mut found, "max_failure_ratio", (config.max_failure_ratio != 0.0).then(|| config.max_failure_ratio.into()));
    put_text(&mut found, "order", &config.order);
    Value::Object(found)
}
