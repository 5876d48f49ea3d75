//! The enums of the schema: each mirrors one of the domain, value by value, so that the compiler sees a new one.

use async_graphql::Enum;

use crate::declare;
use crate::domain;

/// The one word for a stack: a function of what was declared and what was found.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::StackPhase", rename_items = "PascalCase")]
pub(super) enum StackPhase {
    /// Declared; nothing has been done about it yet.
    Pending,
    /// A deployment is under way.
    Progressing,
    /// What is wanted runs.
    Converged,
    /// The desired version failed; the last good one is being brought back.
    RollingBack,
    /// The last good version runs, while the desired one is held.
    RolledBack,
    /// What is wanted was brought about, and not all of it runs now.
    Degraded,
    /// The desired version failed and nothing was or could be brought back; a person has to look.
    Failed,
    /// A person ordered that nothing is written.
    Suspended,
    /// The engine does not answer.
    Unknown,
}

/// Where a deployment stands.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::DeploymentPhase", rename_items = "PascalCase")]
pub(super) enum DeploymentPhase {
    /// Recorded, not begun.
    Pending,
    /// The source is being resolved and fetched.
    Fetching,
    /// The compose files are being rendered.
    Rendering,
    /// A person has to say yes.
    AwaitingApproval,
    /// The plan is being carried out.
    Applying,
    /// All is written; the tasks are being judged.
    Verifying,
    /// Its own tasks ran through the monitor period. Terminal.
    Converged,
    /// It failed; another deployment is bringing the last good version back.
    RollingBack,
    /// It failed, and the last good version is back. Terminal.
    RolledBack,
    /// It failed, and nothing was or could be brought back. Terminal.
    Failed,
    /// A newer version came. Terminal, without blame.
    Superseded,
    /// A person stopped it. Terminal.
    Cancelled,
}

/// What set a deployment off.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Trigger", rename_items = "PascalCase")]
pub(super) enum Trigger {
    /// A GraphQL mutation.
    Api,
    /// A REST call.
    Rest,
    /// An inbound webhook.
    Hook,
    /// A ref that moved in the repository.
    Git,
    /// A catalog of stacks in git.
    Catalog,
    /// A tag that moved in a registry.
    Image,
    /// A foreign change that was corrected.
    Drift,
    /// A person's rollback, or the answer to a failure.
    Rollback,
    /// Objects of someone else's that were taken over.
    Adopt,
}

/// The kind of obstacle a deployment met.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::FailureClass", rename_items = "PascalCase")]
pub(super) enum FailureClass {
    /// The image or tag is not there.
    ImageMissing,
    /// The registry refused the sign-in.
    RegistryAuth,
    /// The registry did not answer.
    RegistryDown,
    /// No node meets what the service demands.
    NoSuitableNode,
    /// A published port is taken.
    PortConflict,
    /// The task was killed for its memory.
    OutOfMemory,
    /// The task ended.
    ExitCode,
    /// The health check failed.
    HealthCheck,
    /// The node went away.
    NodeLost,
    /// The managers have lost their quorum.
    QuorumLost,
    /// The engine did not answer.
    EngineUnreachable,
    /// The repository did not answer, or has no such ref.
    SourceUnreachable,
    /// The compose files could not be rendered.
    Render,
    /// Something that can be known beforehand is in the way.
    Preflight,
    /// A job before or after the deployment failed, or did not end in time.
    Hook,
    /// A deadline passed.
    Deadline,
}

/// When a job runs.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::When", rename_items = "PascalCase")]
pub(super) enum JobTime {
    /// Before the services of the stack are written, but for those that it depends on itself.
    Pre,
    /// Once all of them have run through the monitor period.
    Post,
}

/// Which way a deployment leads.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Direction", rename_items = "PascalCase")]
pub(super) enum JobDirection {
    /// To a version that was asked for.
    Deploy,
    /// Back to one that ran before.
    Rollback,
}

/// Where the run of a job stands.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::JobState", rename_items = "PascalCase")]
pub(super) enum JobPhase {
    /// It is about to be made, or has been: the engine's answer is not known.
    Starting,
    /// The engine has it.
    Running,
    /// All of its tasks have ended well.
    Succeeded,
    /// It failed, or did not end in time.
    Failed,
    /// It was ended before it was over, because its deployment was.
    Stopped,
}

/// What a condition is about.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::ConditionType", rename_items = "PascalCase")]
pub(super) enum ConditionType {
    /// The summary: what is wanted runs.
    Ready,
    /// Work is under way.
    Reconciling,
    /// Nothing will change by itself; a person has to look.
    Stalled,
    /// The ref could be resolved and fetched.
    SourceReady,
    /// The images that are followed are found. Only of a stack that follows some.
    ImagesReady,
    /// The compose files could be rendered.
    Rendered,
    /// The engine has accepted every step.
    Applied,
    /// Every wanted task runs.
    Healthy,
    /// The desired version failed; the last good one runs.
    RolledBack,
    /// Live differs from what was applied.
    Drifted,
    /// There is a last good version, and what it needs is still there.
    RollbackReady,
    /// Nothing is written for now.
    Suspended,
}

/// Whether a condition holds.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::ConditionStatus", rename_items = "PascalCase")]
pub(super) enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// Why a condition is as it is: a stable word.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Reason", rename_items = "PascalCase")]
pub(super) enum Reason {
    /// Work goes on.
    Progressing,
    /// It was done.
    Succeeded,
    /// A person ordered that nothing is written.
    Suspended,
    /// The repository does not answer.
    SourceUnreachable,
    /// The repository has no such ref.
    RefNotFound,
    /// A sign-in was refused.
    AuthenticationFailed,
    /// The compose files cannot be rendered.
    RenderFailed,
    /// Something that can be known beforehand is in the way.
    PreflightFailed,
    /// An image is not there.
    ImageMissing,
    /// No node meets what is demanded.
    NoSuitableNode,
    /// A task ended.
    TaskFailed,
    /// A health check failed.
    HealthCheckFailed,
    /// A deadline passed.
    DeadlineExceeded,
    /// Something that every version needs is not there.
    InfrastructureUnavailable,
    /// The engine does not answer.
    EngineUnreachable,
    /// The Skep that keeps the environment does not answer: what is shown is what was last heard.
    RelayUnreachable,
    /// The engine is not a manager of a Swarm.
    NotAManager,
    /// The environment or an object belongs to someone else.
    Foreign,
    /// Someone else changes the same thing.
    Conflict,
    /// The last good version is being brought back.
    RollingBack,
    /// The last good version is back.
    RolledBack,
    /// The last good version could not be brought back.
    RollbackFailed,
    /// There is no version to go back to.
    NoLastGood,
    /// What was kept of the last good version cannot be read back.
    LastGoodUnreadable,
    /// The version failed here and is not tried again by itself.
    Held,
    /// A person chose an older version.
    Pinned,
    /// A person stopped it.
    Cancelled,
    /// Nothing is written here, by policy.
    Observing,
    /// Live differs from what was applied.
    DriftDetected,
    /// A foreign change was undone.
    DriftCorrected,
    /// Not every wanted task runs.
    TasksMissing,
    /// The stack is being deleted.
    Deleting,
    /// A newer version waits behind a pin.
    WaitingForPin,
    /// A person has to approve its plan.
    AwaitingApproval,
    /// A stack it depends on is not ready.
    DependencyNotReady,
    /// No window of its schedule is open.
    ScheduleClosed,
    /// A registry does not answer.
    RegistryUnreachable,
    /// No version of an image fits what is followed.
    NothingFits,
}

/// Why the target is what it is.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::TargetKind", rename_items = "PascalCase")]
pub(super) enum TargetKind {
    /// It is the desired version.
    Desired,
    /// It is the last good version, because the desired one is held.
    LastGood,
    /// It is a person's choice.
    Pinned,
    /// There is none: the desired version is held, and there is nothing to go back to, or the policy holds.
    Nothing,
}

/// Whose meaning a compose file has.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Compat", rename_items = "PascalCase")]
pub(super) enum Compat {
    /// The specification's; what would be dropped is refused.
    Strict,
    /// That of `docker stack deploy`, quirks included.
    Cli,
}

/// Whether Skep acts.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Mode", rename_items = "PascalCase")]
pub(super) enum Mode {
    /// It acts by itself.
    Auto,
    /// It writes nothing, and says what it would do.
    Observe,
    /// Waits for a person before a new version is applied.
    Approve,
}

/// What a failed version leads to.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::OnFailure", rename_items = "PascalCase")]
pub(super) enum OnFailure {
    /// The whole stack goes back to the last good version.
    Rollback,
    /// It stays as it is, and a person looks.
    Hold,
}

/// What a foreign change leads to.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::DriftPolicy", rename_items = "PascalCase")]
pub(super) enum DriftPolicy {
    /// It is undone.
    Correct,
    /// It is shown.
    Report,
}

/// When the registry is asked for a tag's digest.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::ImagesPolicy", rename_items = "PascalCase")]
pub(super) enum ImagesPolicy {
    /// When the image's text changed.
    Changed,
    /// With every deployment.
    Always,
    /// Never; the tag is sent as it is.
    Never,
}

/// What an unset variable means.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::UnsetVariables", rename_items = "PascalCase")]
pub(super) enum UnsetVariables {
    /// An error that names it.
    Error,
    /// Empty text, with a warning.
    Empty,
}

/// What happens to an object.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Action", rename_items = "PascalCase")]
pub(super) enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and made again.
    Recreate,
    /// It is removed.
    Remove,
    /// It is taken over.
    Adopt,
}

/// The kind of an object on the Swarm.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::ObjectKind", rename_items = "PascalCase")]
pub(super) enum ObjectKind {
    /// A network.
    Network,
    /// A config.
    Config,
    /// A secret.
    Secret,
    /// A service.
    Service,
}

/// What is known of a write to the engine.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Written", rename_items = "PascalCase")]
pub(super) enum Written {
    /// No write was needed.
    Unchanged,
    /// A call was made or is about to be; its answer is not known.
    Unknown,
    /// The engine accepted it.
    Accepted,
}

/// The kind of a manifest's document.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "declare::DocumentKind", rename_items = "PascalCase")]
pub(super) enum DocumentKind {
    /// A stack.
    Stack,
    /// An environment.
    Environment,
    /// A credential.
    Credential,
    /// A hook.
    Hook,
    /// A catalog.
    Catalog,
    /// A notifier.
    Notifier,
}

/// What is to be thought of a deployment, in one word.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(rename_items = "PascalCase")]
pub(super) enum Verdict {
    /// It is not decided yet.
    Progressing,
    /// This version's own tasks run, and ran through the monitor period.
    Converged,
    /// It failed; the last good version may be back, or on its way.
    Failed,
}

/// Who may write to an environment.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(rename_items = "PascalCase")]
pub(super) enum ClaimState {
    /// Not looked at yet.
    Unknown,
    /// This Skep.
    Ours,
    /// Another Skep: this one only observes.
    Foreign,
}

/// The stable word of a user error.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "declare::Code", rename_items = "SCREAMING_SNAKE_CASE")]
pub(super) enum UserErrorCode {
    /// What was sent makes no sense.
    Invalid,
    /// A stack, deployment or environment is not there.
    NotFound,
    /// Someone else was faster, a key was used twice, or the thing is not in a state for it.
    Conflict,
    /// The caller may not.
    Forbidden,
    /// It is in the contract, and this version cannot do it yet.
    Unsupported,
    /// Larger than is taken.
    TooLarge,
}
