//! One line of the append-only log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DeploymentId, EnvironmentName, StackName, Way};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EventType {
    StackDeclared,
    StackChanged,
    StackDeleted,
    DeploymentCreated,
    PhaseChanged,
    StepApplied,
    Converged,
    Failed,
    RolledBack,
    Superseded,
    Cancelled,
    Approved,
    Held,
    HoldReleased,
    Pinned,
    Unpinned,
    Suspended,
    Resumed,
    ReconcileRequested,
    DriftDetected,
    DriftCorrected,
    SourceFailed,
    SourceRecovered,
    ImagesFailed,
    ImagesRecovered,
    Waiting,
    Refused,
    Stalled,
    Recovered,
    EnvironmentDeclared,
    EnvironmentConnected,
    EnvironmentDisconnected,
    EnvironmentClaimOrdered,
    EnvironmentClaimed,
    EnvironmentForeign,
    EnvironmentDeleted,
    CredentialDeclared,
    CredentialChanged,
    CredentialDeleted,
    HookDeclared,
    HookDeleted,
    HookReceived,
    HookRefused,
    CatalogDeclared,
    CatalogApplied,
    CatalogRefused,
    CatalogDeleted,
    NotifierDeclared,
    NotifierDeleted,
    TokenCreated,
    TokenRevoked,
}

impl EventType {
    /// Whether it is about an environment, when no stack is named.
    #[must_use]
    pub fn is_about_environment(self) -> bool {
        matches!(
            self,
            Self::EnvironmentDeclared
                | Self::EnvironmentConnected
                | Self::EnvironmentDisconnected
                | Self::EnvironmentClaimOrdered
                | Self::EnvironmentClaimed
                | Self::EnvironmentForeign
                | Self::EnvironmentDeleted
        )
    }
}

/// One thing that happened. Its sequence is given by the log when it is appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What kind.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The environment.
    pub environment: EnvironmentName,
    /// The stack, if it is about one.
    pub stack: Option<StackName>,
    /// The deployment, if it is about one.
    pub deployment: Option<DeploymentId>,
    /// A stable word: a condition's reason, a failure's class, a phase.
    pub reason: String,
    /// One sentence for people; holds no secret.
    pub message: String,
    /// Who caused it.
    pub actor: String,
    /// By which way in; none when Skep itself did it, or an older version did not write it down.
    #[serde(default)]
    pub via: Option<Way>,
}
