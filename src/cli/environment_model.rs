//! Environments as the server tells of them.

use jiff::Timestamp;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Environment {
    pub(super) name: String,
    #[serde(default)]
    pub(super) endpoints: Vec<String>,
    pub(super) connected: Option<bool>,
    pub(super) since: Option<Timestamp>,
    pub(super) message: Option<String>,
    pub(super) engine: Option<String>,
    pub(super) api: Option<String>,
    #[serde(default)]
    pub(super) tls: Option<String>,
    #[serde(default)]
    pub(super) ssh: Option<String>,
    #[serde(default)]
    pub(super) relay: Option<Relay>,
    #[serde(default)]
    pub(super) node_count: Option<u64>,
    #[serde(default)]
    pub(super) nodes: Vec<Node>,
    #[serde(default)]
    pub(super) round: Option<Round>,
    pub(super) claim: Claim,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Round {
    pub(super) seconds: f64,
    pub(super) at: Timestamp,
    pub(super) stacks: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Relay {
    pub(super) url: String,
    pub(super) credential: String,
    pub(super) environment: String,
}

impl Environment {
    /// How it is reached.
    pub(super) fn place(&self) -> String {
        match &self.relay {
            Some(relay) => format!("relay {} ({})", relay.url, relay.environment),
            None => self.endpoints.join(" "),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Node {
    pub(super) hostname: String,
    pub(super) role: String,
    #[serde(default)]
    pub(super) leader: bool,
    pub(super) availability: String,
    pub(super) state: String,
    pub(super) addr: String,
    pub(super) engine: String,
    pub(super) cpus: f64,
    pub(super) memory: u64,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Claim {
    pub(super) state: String,
    pub(super) instance: Option<String>,
}
