//! Why a deployment failed, with the evidence that was taken before Swarm forgot it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of obstacle. Which of them are a version's own fault is decided in `assess::blame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum FailureClass {
    ImageMissing,
    RegistryAuth,
    RegistryDown,
    NoSuitableNode,
    PortConflict,
    OutOfMemory,
    ExitCode,
    HealthCheck,
    NodeLost,
    QuorumLost,
    EngineUnreachable,
    SourceUnreachable,
    Render,
    Preflight,
    Hook,
    Deadline,
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A failure with its evidence. Known secret values are masked in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub class: FailureClass,
    /// The service's name in the compose file.
    pub service: Option<String>,
    /// The slot (replicated services).
    pub slot: Option<u64>,
    /// The node's host name, or its id.
    pub node: Option<String>,
    /// The task that shows it.
    pub task: Option<String>,
    /// What the engine, git or the renderer said.
    pub error: String,
    /// The container's exit code.
    pub exit_code: Option<i64>,
    /// The task's last log lines.
    #[serde(default)]
    pub log_tail: Vec<String>,
    /// What its last health checks came to, as lines; empty where nobody knows, or it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_log: Vec<String>,
}

impl Failure {
    /// A failure of this class with this text and no more evidence.
    pub fn new(class: FailureClass, error: impl Into<String>) -> Self {
        Self {
            class,
            service: None,
            slot: None,
            node: None,
            task: None,
            error: error.into(),
            exit_code: None,
            log_tail: Vec::new(),
            health_log: Vec::new(),
        }
    }

    /// One sentence: which service, where, what.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = String::new();
        if let Some(service) = &self.service {
            text.push_str(&format!("service `{service}`"));
            if let Some(slot) = self.slot {
                text.push_str(&format!(" slot {slot}"));
            }
            if let Some(node) = &self.node {
                text.push_str(&format!(" on node `{node}`"));
            }
            text.push_str(": ");
        }
        text.push_str(&self.error);
        text
    }
}
