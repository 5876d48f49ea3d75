//! Stacks and deployments as JSON, for the ways in that are not GraphQL. Field by field the shapes of the contract: `null`,
//! never a missing key; times RFC 3339 UTC; enums by their PascalCase names.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::domain::{
    self, Condition, ConditionStatus, ConditionType, Deployment, DeploymentId, DeploymentPhase, EnvironmentName,
    Failure, FailureClass, Held, ImageChoice, LastGood, Pin, Pointer, Reason, Revision, Source, Stack, StackName,
    StackPhase, StackStatus, Suspension, TargetKind, Trigger, VersionSource,
};

/// A declared stack: what was asked, and what was found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct StackView {
    pub name: StackName,
    pub environment: EnvironmentName,
    pub generation: u64,
    pub observed_generation: u64,
    pub phase: StackPhase,
    /// The reason of the condition that tells most.
    pub reason: Option<Reason>,
    /// The message of that condition.
    pub message: Option<String>,
    pub conditions: Vec<ConditionView>,
    pub desired: DesiredView,
    pub target: Option<TargetView>,
    pub live: Option<VersionView>,
    pub last_good: Option<LastGoodView>,
    pub held: Vec<HeldView>,
    pub pin: Option<PinView>,
    pub suspension: Option<SuspensionView>,
    /// The order to delete the stack, if it was given.
    pub deletion: Option<DeletionView>,
    /// The deployment that was recorded together with this generation.
    pub deployment_id: DeploymentId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a stack's record and status say together.
impl From<(&Stack, &StackStatus)> for StackView {
    fn from((stack, status): (&Stack, &StackStatus)) -> Self {
        let telling = telling(status);
        let control = &stack.control;
        Self {
            name: stack.key.name.clone(),
            environment: stack.key.environment.clone(),
            generation: stack.generation,
            observed_generation: status.observed_generation,
            phase: domain::phase(stack, status),
            reason: telling.map(|condition| condition.reason),
            message: telling.map(|condition| condition.message.clone()),
            conditions: status.conditions.iter().map(Into::into).collect(),
            desired: DesiredView::of(stack, status),
            target: status.target.as_ref().map(|_| TargetView::of(stack, status)),
            live: status.live.as_ref().map(Into::into),
            last_good: status.last_good.as_ref().map(Into::into),
            held: status.held.iter().map(Into::into).collect(),
            pin: control.pin.as_ref().map(Into::into),
            suspension: control.suspension.as_ref().map(Into::into),
            deletion: control.deletion.as_ref().map(Into::into),
            deployment_id: stack.deployment.clone(),
            created_at: stack.created_at,
            updated_at: stack.updated_at,
        }
    }
}

/// The condition that tells most: that nothing newer is known, what stalls, or else the summary.
fn telling(status: &StackStatus) -> Option<&Condition> {
    let ready = status.condition(ConditionType::Ready);
    if ready.is_some_and(|ready| ready.reason == Reason::RelayUnreachable) {
        return ready;
    }
    let stalled = status.condition(ConditionType::Stalled).filter(|it| it.status == ConditionStatus::True);
    stalled.or(ready)
}

/// A typed statement about a stack.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct ConditionView {
    #[serde(rename = "type")]
    pub kind: ConditionType,
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
    pub observed_generation: u64,
    pub since: Timestamp,
}

impl From<&Condition> for ConditionView {
    fn from(it: &Condition) -> Self {
        Self {
            kind: it.kind,
            status: it.status,
            reason: it.reason,
            message: it.message.clone(),
            observed_generation: it.observed_generation,
            since: it.since,
        }
    }
}

/// The version a spec asks for.
#[derive(Debug, Clone, Serialize)]
pub struct DesiredView {
    /// The ref as it was written; none for inline text.
    #[serde(rename = "ref")]
    pub wanted: Option<String>,
    /// The commit it stands at, once it is known.
    pub revision: Option<Revision>,
    /// The images, once they are known.
    pub images: Vec<ImageChoice>,
}

impl DesiredView {
    fn of(stack: &Stack, status: &StackStatus) -> Self {
        let known = status.desired.as_ref().filter(|pointer| pointer.generation == stack.generation);
        let wanted = match &stack.spec.source {
            Source::Git(git) => Some(git.wanted.0.clone()),
            Source::Inline(_) => None,
        };
        Self {
            wanted,
            revision: known.and_then(|pointer| pointer.revision.clone()),
            images: known.map(|pointer| pointer.images.clone()).unwrap_or_default(),
        }
    }
}

/// The version that is worked towards, and why it is this one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct TargetView {
    pub kind: TargetKind,
    pub revision: Option<Revision>,
    pub images: Vec<ImageChoice>,
    pub deployment_id: Option<DeploymentId>,
}

impl TargetView {
    fn of(stack: &Stack, status: &StackStatus) -> Self {
        let version = status.target.as_ref().and_then(|target| target.version.as_ref());
        Self {
            kind: domain::target(stack, status),
            revision: version.and_then(|version| version.revision.clone()),
            images: version.map(|version| version.images.clone()).unwrap_or_default(),
            deployment_id: version.map(|version| version.deployment.clone()),
        }
    }
}

/// A version by what tells it apart.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct VersionView {
    pub revision: Option<Revision>,
    pub images: Vec<ImageChoice>,
    pub deployment_id: DeploymentId,
}

impl From<&Pointer> for VersionView {
    fn from(it: &Pointer) -> Self {
        Self { revision: it.revision.clone(), images: it.images.clone(), deployment_id: it.deployment.clone() }
    }
}

/// The newest version that converged.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct LastGoodView {
    #[serde(flatten)]
    pub version: VersionView,
    pub since: Timestamp,
}

impl From<&LastGood> for LastGoodView {
    fn from(it: &LastGood) -> Self {
        Self { version: (&it.version).into(), since: it.since }
    }
}

/// A version that failed here and is not tried again by itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct HeldView {
    #[serde(flatten)]
    pub version: VersionView,
    pub reason: String,
    pub since: Timestamp,
}

impl From<&Held> for HeldView {
    fn from(it: &Held) -> Self {
        Self { version: (&it.version).into(), reason: it.reason.clone(), since: it.since }
    }
}

/// A person's choice of an older version.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct PinView {
    pub deployment_id: DeploymentId,
    /// The deployment whose version was chosen.
    pub version_of: DeploymentId,
    pub actor: String,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    pub since: Timestamp,
}

impl From<&Pin> for PinView {
    fn from(it: &Pin) -> Self {
        Self {
            deployment_id: it.deployment.clone(),
            version_of: it.version_of.clone(),
            actor: it.actor.name.clone(),
            reason: it.reason.clone(),
            until: it.until,
            since: it.since,
        }
    }
}

/// A standing order to write nothing.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct SuspensionView {
    pub reason: String,
    pub actor: String,
    pub until: Option<Timestamp>,
    pub since: Timestamp,
}

impl From<&Suspension> for SuspensionView {
    fn from(it: &Suspension) -> Self {
        Self { reason: it.reason.clone(), actor: it.actor.name.clone(), until: it.until, since: it.since }
    }
}

/// An order to delete a stack.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct DeletionView {
    pub keep_running: bool,
    pub actor: String,
    pub since: Timestamp,
}

impl From<&domain::Deletion> for DeletionView {
    fn from(it: &domain::Deletion) -> Self {
        Self { keep_running: it.keep_running, actor: it.actor.name.clone(), since: it.since }
    }
}

/// What is to be thought of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Verdict {
    Progressing,
    Converged,
    Failed,
}

impl Verdict {
    /// None for a deployment that was left before it was decided.
    fn of(phase: DeploymentPhase) -> Option<Self> {
        use DeploymentPhase as Phase;
        match phase {
            Phase::Converged => Some(Self::Converged),
            Phase::RollingBack | Phase::RolledBack | Phase::Failed => Some(Self::Failed),
            Phase::Superseded | Phase::Cancelled => None,
            _ => Some(Self::Progressing),
        }
    }
}

/// One attempt to bring one version of a stack about.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct DeploymentView {
    pub id: DeploymentId,
    pub stack: StackName,
    pub environment: EnvironmentName,
    pub generation: u64,
    pub trigger: Trigger,
    pub phase: DeploymentPhase,
    pub verdict: Option<Verdict>,
    /// The failure's class, or else the phase.
    pub reason: String,
    pub message: Option<String>,
    pub failure: Option<FailureView>,
    pub revision: Option<Revision>,
    pub images: Vec<ImageChoice>,
    pub actor: String,
    /// Why, as far as the asker said.
    pub stated_reason: Option<String>,
    /// The request as it came in, secrets replaced.
    pub original_request: Value,
    /// What it was taken to mean.
    pub mapped_request: Value,
    pub rollback_of: Option<DeploymentId>,
    pub rolled_back_by: Option<DeploymentId>,
    /// The deployment whose kept objects this one brings back, when it renders nothing itself.
    pub version_of: Option<DeploymentId>,
    /// The trace that leads from the request to the engine: 32 hex digits.
    pub trace_id: String,
    /// Remarks of the renderer.
    pub warnings: Vec<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl From<Deployment> for DeploymentView {
    fn from(it: Deployment) -> Self {
        let reason = it.failure.as_ref().map_or_else(|| format!("{:?}", it.phase), |it| it.class.to_string());
        let trace_id = it.trace().trace_id();
        let version_of = match it.version.source {
            VersionSource::Kept(id) => Some(id),
            VersionSource::Spec(_) => None,
        };
        Self {
            id: it.id,
            stack: it.stack.name,
            environment: it.stack.environment,
            generation: it.generation,
            trigger: it.origin.trigger,
            phase: it.phase,
            verdict: Verdict::of(it.phase),
            reason,
            message: it.message.or_else(|| it.failure.as_ref().map(Failure::sentence)),
            failure: it.failure.map(Into::into),
            revision: it.version.revision,
            images: it.version.images,
            actor: it.origin.actor.name,
            stated_reason: it.origin.reason,
            original_request: it.origin.original_request,
            mapped_request: it.origin.mapped_request,
            rollback_of: it.rollback_of,
            rolled_back_by: it.rolled_back_by,
            version_of,
            trace_id,
            warnings: it.warnings,
            created_at: it.created_at,
            finished_at: it.finished_at,
        }
    }
}

/// Why a deployment failed, with the evidence.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct FailureView {
    pub class: FailureClass,
    pub service: Option<String>,
    pub slot: Option<u64>,
    pub node: Option<String>,
    pub task: Option<String>,
    pub error: String,
    pub exit_code: Option<i64>,
    pub log_tail: Vec<String>,
    /// What its last health checks came to, as lines.
    pub health_log: Vec<String>,
}

impl From<Failure> for FailureView {
    fn from(it: Failure) -> Self {
        Self {
            class: it.class,
            service: it.service,
            slot: it.slot,
            node: it.node,
            task: it.task,
            error: it.error,
            exit_code: it.exit_code,
            log_tail: it.log_tail,
            health_log: it.health_log,
        }
    }
}
