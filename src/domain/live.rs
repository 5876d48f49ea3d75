//! What the engine says: a snapshot of one environment, shared by all its stacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ServiceSpec, Task};

/// The version of an object in Swarm's store. Every accepted write needs the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionIndex(pub u64);

/// All swarm-scoped objects of one environment but tasks, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// When the oldest part of it was read.
    pub taken_at: Timestamp,
    /// Services by name.
    pub services: BTreeMap<String, Arc<LiveService>>,
    /// Swarm-scoped networks by name; of several with one name the first by id.
    pub networks: BTreeMap<String, Arc<LiveNetwork>>,
    /// Configs by name.
    pub configs: BTreeMap<String, Arc<LiveConfig>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Arc<LiveSecret>>,
    /// Nodes by id.
    pub nodes: BTreeMap<String, Arc<Node>>,
}

/// A service as the engine has it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveService {
    /// Engine id.
    pub id: String,
    /// Current version.
    pub version: VersionIndex,
    /// Its spec, with names where the engine has ids.
    pub spec: ServiceSpec,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its record last changed, by whatever hand.
    pub updated_at: Option<Timestamp>,
    /// What Swarm's own updater says. Evidence, never the verdict.
    pub update: Option<UpdateStatus>,
    /// Iteration of a job; grows with every accepted update.
    pub job_iteration: Option<u64>,
}

/// What Swarm's own updater says of the last update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateStatus {
    /// Where it stands.
    pub state: UpdateState,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Its message.
    pub message: String,
}

/// Where Swarm's updater stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum UpdateState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
    /// A word this version does not know.
    Other(String),
}

/// A network as the engine has it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as Docker has them")]
pub struct LiveNetwork {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub enable_ipv6: bool,
    pub ipam: Option<serde_json::Value>,
}

/// A config as the engine has it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as Docker has them")]
pub struct LiveConfig {
    pub id: String,
    pub version: VersionIndex,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub data: Vec<u8>,
}

/// A secret as the engine has it. Its content cannot be read back.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as Docker has them")]
pub struct LiveSecret {
    pub id: String,
    pub version: VersionIndex,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Its external driver, with the driver's options.
    pub driver: Option<(String, BTreeMap<String, String>)>,
}

/// A node as the engine has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Engine id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Its address in the Swarm; empty when the managers do not know it.
    pub addr: String,
    /// Whether the managers hear from it.
    pub state: NodeState,
    /// Whether it takes tasks.
    pub availability: NodeAvailability,
    /// It is a manager.
    pub manager: bool,
    /// It leads the managers.
    pub leader: bool,
    /// Engine version.
    pub engine: String,
    /// Operating system and architecture.
    pub platform: super::Platform,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Labels of its engine: `engine.labels.…` in constraints.
    pub engine_labels: BTreeMap<String, String>,
    /// CPUs in billionths.
    pub nano_cpus: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// What else it has to give, by kind: how many of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, i64>,
}

impl Node {
    /// Whether new tasks can be put on it.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.state == NodeState::Ready && self.availability == NodeAvailability::Active
    }
}

/// Whether the managers hear from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum NodeState {
    Unknown,
    Down,
    Ready,
    Disconnected,
}

/// Whether a node takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum NodeAvailability {
    Active,
    Pause,
    Drain,
}

/// One listing of tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    /// When it was asked for.
    pub listed_at: Timestamp,
    /// By service id.
    pub by_service: BTreeMap<String, Vec<Arc<Task>>>,
}

impl Tasks {
    /// The tasks of one service; empty when it has none.
    #[must_use]
    pub fn of(&self, service_id: &str) -> &[Arc<Task>] {
        self.by_service.get(service_id).map_or(&[], Vec::as_slice)
    }
}
