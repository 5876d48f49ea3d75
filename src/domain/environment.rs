//! A named Swarm.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Actor, CredentialName, EnvironmentName, Relay};

/// A named Swarm, as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Manager endpoints, `unix://…`, `tcp://…` or `ssh://…`; the first that is a reachable manager is used.
    pub endpoints: Vec<String>,
    /// The credential with the certificates for `tcp://` endpoints; none: they are spoken to without TLS.
    #[serde(default)]
    pub tls: Option<CredentialName>,
    /// The credential with the key for `ssh://` endpoints; none: ssh uses what this machine has.
    #[serde(default)]
    pub ssh: Option<CredentialName>,
    /// In place of endpoints: another Skep, nearer to the Swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
}

impl Environment {
    /// The credentials it names.
    pub fn credentials(&self) -> impl Iterator<Item = &CredentialName> {
        self.tls.iter().chain(&self.ssh).chain(self.relay.iter().map(|relay| &relay.credential))
    }
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
    /// The last order to claim it that was carried out.
    #[serde(default)]
    pub handled_claim: Option<String>,
}

/// A round over an environment: everything is listed afresh, and then each of its stacks is looked at. Known to the process
/// alone that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// How long it took, from the first question to the engine to the last look.
    pub took: Duration,
    /// How long the listing took, of that.
    pub listing: Duration,
    /// When it was over.
    pub at: Timestamp,
    /// How many stacks were looked at.
    pub stacks: u64,
}

/// A person's word that this Skep is to take an environment over from the one that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimOrder {
    /// Tells it from the orders before; echoed in the status when it was carried out.
    pub token: String,
    /// Who ordered it.
    pub actor: Actor,
    /// Why, if said.
    pub reason: Option<String>,
    /// When.
    pub since: Timestamp,
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
