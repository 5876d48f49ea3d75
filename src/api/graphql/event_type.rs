//! What an event of the log is about.

use async_graphql::Enum;

use crate::domain;

/// What an event is about.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::EventType", rename_items = "PascalCase")]
pub(super) enum EventType {
    /// A stack was declared.
    StackDeclared,
    /// A stack's spec, or a standing order about it, changed.
    StackChanged,
    /// A stack is gone.
    StackDeleted,
    /// A deployment was recorded.
    DeploymentCreated,
    /// A deployment's phase moved on.
    PhaseChanged,
    /// The engine accepted a step.
    StepApplied,
    /// A deployment converged.
    Converged,
    /// A deployment failed.
    Failed,
    /// The last good version is back.
    RolledBack,
    /// A newer version came.
    Superseded,
    /// A deployment was stopped.
    Cancelled,
    /// A person approved a deployment's plan.
    Approved,
    /// A version is not tried again by itself.
    Held,
    /// Held versions may be tried again.
    HoldReleased,
    /// A person chose an older version.
    Pinned,
    /// A pin ended.
    Unpinned,
    /// A stack was suspended.
    Suspended,
    /// A suspension ended.
    Resumed,
    /// A look was asked for.
    ReconcileRequested,
    /// Live differs from what was applied.
    DriftDetected,
    /// A foreign change was undone.
    DriftCorrected,
    /// The source could not be read.
    SourceFailed,
    /// The source can be read again.
    SourceRecovered,
    /// An image that is followed could not be found.
    ImagesFailed,
    /// The images that are followed are found again.
    ImagesRecovered,
    /// Something is waited for.
    Waiting,
    /// Something was not done, on purpose.
    Refused,
    /// Something keeps a stack from being kept; a person has to look.
    Stalled,
    /// That is over.
    Recovered,
    /// An environment was declared.
    EnvironmentDeclared,
    /// An environment's engine answers.
    EnvironmentConnected,
    /// An environment's engine does not answer.
    EnvironmentDisconnected,
    /// This Skep is to claim an environment.
    EnvironmentClaimOrdered,
    /// This Skep claimed an environment.
    EnvironmentClaimed,
    /// Another Skep has claimed an environment.
    EnvironmentForeign,
    /// An environment is no longer declared.
    EnvironmentDeleted,
    /// A credential was declared.
    CredentialDeclared,
    /// A credential's values or hosts changed.
    CredentialChanged,
    /// A credential is gone.
    CredentialDeleted,
    /// A hook was declared.
    HookDeclared,
    /// A hook is no longer declared.
    HookDeleted,
    /// A hook's delivery was taken.
    HookReceived,
    /// A hook's delivery was refused.
    HookRefused,
    /// A catalog was declared.
    CatalogDeclared,
    /// What stands in a catalog was declared.
    CatalogApplied,
    /// A catalog cannot be read, or something in it was not taken.
    CatalogRefused,
    /// A catalog is no longer followed.
    CatalogDeleted,
    /// A notifier was declared.
    NotifierDeclared,
    /// A notifier is gone.
    NotifierDeleted,
    /// A token was made.
    TokenCreated,
    /// A token was revoked.
    TokenRevoked,
}
