//! A named Swarm.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::EnvironmentName;

/// A named Swarm, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Manager endpoints, `unix://…` or `tcp://…`; the first that is a reachable manager is used.
    pub endpoints: Vec<String>,
}

/// What is known of an environment's connection. Written by the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// The engine answers, and is a manager.
    pub connected: bool,
    /// Since when `connected` has been as it is.
    pub since: Timestamp,
    /// Why not, or what else there is to say.
    pub message: Option<String>,
    /// The engine's version.
    pub engine: Option<String>,
    /// The API version in use.
    pub api: Option<String>,
    /// How many nodes there are.
    pub nodes: u64,
    /// Whether this Skep may write here.
    pub claim: Claim,
}

/// Who may write to an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// Not looked at yet.
    Unknown,
    /// This installation, with this epoch.
    Ours(u64),
    /// Another installation: this one only observes.
    Foreign {
        /// The other's instance id.
        instance: String,
        /// Its epoch.
        epoch: u64,
    },
}
