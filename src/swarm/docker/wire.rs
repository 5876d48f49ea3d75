//! The engine's JSON, and how it becomes the model. Reading never fails because of a word or a field that is not known;
//! an object whose shape makes no sense is left out of its list, with a warning, and hides no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::{
    LiveConfig, LiveNetwork, LiveSecret, LiveService, Node, NodeAvailability, NodeState, Platform, ServiceSpec, Task,
    TaskSpec, TaskState, UpdateState, UpdateStatus, VersionIndex,
};

/// A kind of object of the engine's.
pub(super) trait Wire: DeserializeOwned + Send + 'static {
    /// What it becomes.
    type Live: Send + 'static;

    /// What it is called in a warning.
    const KIND: &'static str;

    /// The object of the model; an error when its shape makes no sense.
    fn into_live(self) -> Result<Self::Live, String>;
}

/// Reads a list. What makes no sense is left out; an error when it is no list at all.
pub(super) fn list<W: Wire>(body: &[u8]) -> Result<Vec<W::Live>, String> {
    // Go writes an empty list as `null`.
    let wires: Vec<W> = match serde_json::from_slice::<Option<Vec<W>>>(body) {
        Ok(wires) => wires.unwrap_or_default(),
        Err(_) => serde_json::from_slice::<Vec<Value>>(body)
            .map_err(|error| format!("its list of {}s makes no sense: {error}", W::KIND))?
            .into_iter()
            .filter_map(sensible)
            .collect(),
    };
    let live = wires.into_iter().filter_map(|wire| match wire.into_live() {
        Ok(live) => Some(live),
        Err(reason) => {
            tracing::warn!(kind = W::KIND, reason, "the engine lists an object that makes no sense; it is left out");
            None
        }
    });
    Ok(live.collect())
}

fn sensible<W: Wire>(value: Value) -> Option<W> {
    let id = value.get("ID").or_else(|| value.get("Id")).and_then(Value::as_str).unwrap_or("?").to_owned();
    serde_json::from_value(value)
        .inspect_err(|error| {
            tracing::warn!(kind = W::KIND, id, %error, "the engine lists an object that makes no sense; it is left out");
        })
        .ok()
}

/// Reads one object.
pub(super) fn one<W: Wire>(body: &[u8]) -> Result<W::Live, String> {
    serde_json::from_slice::<W>(body).map_err(|error| error.to_string()).and_then(Wire::into_live)
}

fn known(id: String) -> Result<String, String> {
    if id.is_empty() { Err("it has no id".to_owned()) } else { Ok(id) }
}

/// Go writes what is empty as `null`.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time; `None` for Go's year 1, which means never, and for anything that is no time.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.parse().ok().filter(|time| *time > Timestamp::UNIX_EPOCH))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Version {
    index: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireService {
    #[serde(rename = "ID")]
    id: String,
    version: Version,
    #[serde(deserialize_with = "time")]
    created_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    updated_at: Option<Timestamp>,
    spec: ServiceSpec,
    update_status: Option<WireUpdate>,
    job_status: Option<WireJob>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireUpdate {
    #[serde(deserialize_with = "nullable")]
    state: String,
    #[serde(deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(deserialize_with = "nullable")]
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireJob {
    #[serde(deserialize_with = "nullable")]
    job_iteration: Version,
}

impl Wire for WireService {
    type Live = LiveService;

    const KIND: &'static str = "service";

    fn into_live(self) -> Result<LiveService, String> {
        Ok(LiveService {
            id: known(self.id)?,
            version: VersionIndex(self.version.index),
            spec: self.spec,
            created_at: self.created_at,
            updated_at: self.updated_at,
            update: self.update_status.filter(|update| !update.state.is_empty()).map(|update| UpdateStatus {
                state: update_state(update.state),
                started_at: update.started_at,
                message: update.message,
            }),
            job_iteration: self.job_status.map(|job| job.job_iteration.index),
        })
    }
}

fn update_state(word: String) -> UpdateState {
    match word.as_str() {
        "updating" => UpdateState::Updating,
        "paused" => UpdateState::Paused,
        "completed" => UpdateState::Completed,
        "rollback_started" => UpdateState::RollbackStarted,
        "rollback_paused" => UpdateState::RollbackPaused,
        "rollback_completed" => UpdateState::RollbackCompleted,
        _ => UpdateState::Other(word),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireTask {
    #[serde(rename = "ID")]
    id: String,
    #[serde(deserialize_with = "time")]
    created_at: Option<Timestamp>,
    spec: TaskSpec,
    #[serde(rename = "ServiceID")]
    service_id: String,
    slot: Option<u64>,
    #[serde(rename = "NodeID")]
    node_id: String,
    status: WireTaskStatus,
    desired_state: String,
    job_iteration: Option<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireTaskStatus {
    #[serde(deserialize_with = "time")]
    timestamp: Option<Timestamp>,
    state: String,
    message: String,
    err: String,
    container_status: Option<WireContainer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireContainer {
    exit_code: i64,
}

impl Wire for WireTask {
    type Live = Task;

    const KIND: &'static str = "task";

    fn into_live(self) -> Result<Task, String> {
        let state = TaskState::parse(&self.status.state);
        // While it runs, the engine says 0.
        let ended = matches!(state, TaskState::Complete | TaskState::Shutdown | TaskState::Failed);
        Ok(Task {
            id: known(self.id)?,
            service_id: self.service_id,
            slot: self.slot,
            node_id: self.node_id,
            spec: self.spec,
            state,
            desired: TaskState::parse(&self.desired_state),
            message: self.status.message,
            error: self.status.err,
            exit_code: self.status.container_status.filter(|_| ended).map(|container| container.exit_code),
            job_iteration: self.job_iteration.map(|iteration| iteration.index),
            created_at: self.created_at,
            state_since: self.status.timestamp,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireNetwork {
    id: String,
    name: String,
    scope: String,
    driver: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
    internal: bool,
    attachable: bool,
    ingress: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Option<Value>,
}

impl Wire for WireNetwork {
    /// `None` for a network of one node.
    type Live = Option<Arc<LiveNetwork>>;

    const KIND: &'static str = "network";

    fn into_live(self) -> Result<Option<Arc<LiveNetwork>>, String> {
        let id = known(self.id)?;
        if self.scope != "swarm" {
            return Ok(None);
        }
        Ok(Some(Arc::new(LiveNetwork {
            id,
            name: self.name,
            driver: self.driver,
            labels: self.labels,
            options: self.options,
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            enable_ipv6: self.enable_ipv6,
            ipam: self.ipam,
        })))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireConfig {
    #[serde(rename = "ID")]
    id: String,
    version: Version,
    spec: WireStored,
}

/// The spec of a config or secret.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireStored {
    name: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    data: String,
}

impl Wire for WireConfig {
    type Live = Arc<LiveConfig>;

    const KIND: &'static str = "config";

    fn into_live(self) -> Result<Arc<LiveConfig>, String> {
        let data = BASE64_STANDARD.decode(&self.spec.data);
        let data = data.map_err(|error| format!("the data of config `{}`: {error}", self.spec.name))?;
        let version = VersionIndex(self.version.index);
        let WireStored { name, labels, .. } = self.spec;
        Ok(Arc::new(LiveConfig { id: known(self.id)?, version, name, labels, data }))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireSecret {
    #[serde(rename = "ID")]
    id: String,
    version: Version,
    spec: WireSecretSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireSecretSpec {
    name: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    driver: Option<WireDriver>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireDriver {
    name: String,
    #[serde(deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
}

impl Wire for WireSecret {
    type Live = Arc<LiveSecret>;

    const KIND: &'static str = "secret";

    fn into_live(self) -> Result<Arc<LiveSecret>, String> {
        let version = VersionIndex(self.version.index);
        let WireSecretSpec { name, labels, driver } = self.spec;
        let driver = driver.filter(|driver| !driver.name.is_empty()).map(|driver| (driver.name, driver.options));
        Ok(Arc::new(LiveSecret { id: known(self.id)?, version, name, labels, driver }))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireNode {
    #[serde(rename = "ID")]
    id: String,
    spec: WireNodeSpec,
    description: WireDescription,
    status: WireNodeStatus,
    manager_status: Option<WireManager>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireNodeSpec {
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    role: String,
    availability: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireDescription {
    hostname: String,
    platform: Platform,
    resources: WireResources,
    engine: WireEngine,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireResources {
    #[serde(rename = "NanoCPUs")]
    nano_cpus: i64,
    memory_bytes: i64,
    #[serde(deserialize_with = "nullable")]
    generic_resources: Vec<WireGeneric>,
}

/// So many of a kind, or one of it by name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireGeneric {
    discrete_resource_spec: Option<WireDiscrete>,
    named_resource_spec: Option<WireNamed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireDiscrete {
    kind: String,
    value: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireNamed {
    kind: String,
}

/// How many of each kind.
fn counted(resources: Vec<WireGeneric>) -> BTreeMap<String, i64> {
    let mut counted = BTreeMap::new();
    for resource in resources {
        let discrete = resource.discrete_resource_spec.map(|it| (it.kind, it.value));
        let named = resource.named_resource_spec.map(|it| (it.kind, 1));
        for (kind, count) in discrete.into_iter().chain(named) {
            *counted.entry(kind).or_insert(0_i64) += count;
        }
    }
    counted
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireEngine {
    engine_version: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireNodeStatus {
    state: String,
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireManager {
    leader: bool,
}

impl Wire for WireNode {
    type Live = Arc<Node>;

    const KIND: &'static str = "node";

    fn into_live(self) -> Result<Arc<Node>, String> {
        Ok(Arc::new(Node {
            id: known(self.id)?,
            hostname: self.description.hostname,
            addr: self.status.addr,
            state: match self.status.state.as_str() {
                "ready" => NodeState::Ready,
                "down" => NodeState::Down,
                "disconnected" => NodeState::Disconnected,
                _ => NodeState::Unknown,
            },
            // A word that is not known promises no room for tasks.
            availability: match self.spec.availability.as_str() {
                "active" => NodeAvailability::Active,
                "drain" => NodeAvailability::Drain,
                _ => NodeAvailability::Pause,
            },
            manager: self.spec.role == "manager" || self.manager_status.is_some(),
            leader: self.manager_status.is_some_and(|manager| manager.leader),
            engine: self.description.engine.engine_version,
            platform: self.description.platform,
            labels: self.spec.labels,
            engine_labels: self.description.engine.labels,
            nano_cpus: self.description.resources.nano_cpus,
            memory_bytes: self.description.resources.memory_bytes,
            generic: counted(self.description.resources.generic_resources),
        }))
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
