//! Nodes of a Swarm, and what is done to environments.

use async_graphql::{Enum, SimpleObject};

use super::payload::{UserError, user_errors};
use crate::declare::DeclareError;
use crate::domain;

/// Whether a node manages its Swarm.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(rename_items = "PascalCase")]
pub(super) enum NodeRole {
    /// It does.
    Manager,
    /// It runs tasks only.
    Worker,
}

/// Whether a node takes tasks.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::NodeAvailability", rename_items = "PascalCase")]
pub(super) enum NodeAvailability {
    /// New ones too.
    Active,
    /// Only those it has.
    Pause,
    /// None.
    Drain,
}

/// Whether the managers hear from a node.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::NodeState", rename_items = "PascalCase")]
pub(super) enum NodeState {
    /// Not known.
    Unknown,
    /// They do not.
    Down,
    /// They do.
    Ready,
    /// They did, until a moment ago.
    Disconnected,
}

/// A node of a Swarm, as its managers see it.
#[derive(SimpleObject)]
#[graphql(name = "SwarmNode")]
pub(super) struct NodeView {
    /// Its name.
    hostname: String,
    /// Whether it manages the Swarm.
    role: NodeRole,
    /// Whether it leads the managers.
    leader: bool,
    /// Whether it takes tasks.
    availability: NodeAvailability,
    /// Whether the managers hear from it.
    state: NodeState,
    /// Its address in the Swarm.
    addr: String,
    /// Its engine's version.
    engine: String,
    /// Its operating system and architecture.
    platform: String,
    /// Its CPUs.
    cpus: f64,
    /// Its memory in bytes.
    memory: u64,
    /// Its labels, by name.
    labels: Vec<LabelView>,
}

/// A label.
#[derive(SimpleObject)]
#[graphql(name = "Label")]
pub(super) struct LabelView {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

impl From<&domain::Node> for NodeView {
    fn from(it: &domain::Node) -> Self {
        // Billionths fit into a double to the last digit up to nine million CPUs.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let cpus = it.nano_cpus as f64 / 1e9;
        let labels = it.labels.iter().map(|(name, value)| LabelView { name: name.clone(), value: value.clone() });
        Self {
            hostname: it.hostname.clone(),
            role: if it.manager { NodeRole::Manager } else { NodeRole::Worker },
            leader: it.leader,
            availability: it.availability.into(),
            state: it.state.into(),
            addr: it.addr.clone(),
            engine: it.engine.clone(),
            platform: format!("{}/{}", it.platform.os, it.platform.architecture),
            cpus,
            memory: u64::try_from(it.memory_bytes).unwrap_or(0),
            labels: labels.collect(),
        }
    }
}

/// What `deleteEnvironment` answers.
#[derive(SimpleObject)]
pub(super) struct DeleteEnvironmentPayload {
    /// The name of the environment; null when the request was refused.
    name: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl DeleteEnvironmentPayload {
    /// The answer to a request about one environment.
    pub(super) fn new(outcome: Result<domain::EnvironmentName, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(name) => Ok(Self { name: Some(name.to_string()), user_errors: Vec::new() }),
            Err(cause) => Ok(Self { name: None, user_errors: user_errors(cause)? }),
        }
    }
}
