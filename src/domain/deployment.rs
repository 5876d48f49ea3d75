//! The record of one attempt to bring one version of a stack about. What was asked never changes; the phase moves on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Actor, Digest, Failure, FollowedVersions, Handed, JobRun, Revision, Sealed, StackKey, StackSpec, TraceContext,
};

/// One opaque, sortable string: later ids are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub String);

impl DeploymentId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What set a deployment off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Trigger {
    Api,
    Rest,
    Hook,
    Git,
    Catalog,
    Image,
    Drift,
    Rollback,
    Adopt,
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeploymentPhase {
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

impl DeploymentPhase {
    /// Whether the phase moves no more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Converged | Self::RolledBack | Self::Failed | Self::Superseded | Self::Cancelled)
    }
}

/// The image a service runs in one version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageChoice {
    /// The service's name in the compose file.
    pub service: String,
    /// As written after interpolation and override.
    pub image: String,
    /// `sha256:…`, when it was resolved.
    pub digest: Option<String>,
}

/// The version a deployment is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// How the desired objects are come by.
    pub source: VersionSource,
    /// The commit; known after fetching, `None` for an inline source.
    pub revision: Option<Revision>,
    /// The images; known after rendering.
    pub images: Vec<ImageChoice>,
    /// What the followed images were found to be: found once and then kept.
    #[serde(default, skip_serializing_if = "FollowedVersions::is_empty")]
    pub followed: FollowedVersions,
    /// Keyed digest of the desired objects; known after rendering. Two versions with equal digests are the same version.
    pub digest: Option<Digest>,
}

/// How a version's desired objects are come by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum VersionSource {
    /// By rendering this spec. The revision is resolved once and then kept.
    Spec(Box<StackSpec>),
    /// They were kept with this earlier deployment; nothing is rendered or looked up.
    Kept(DeploymentId),
}

/// What was asked, in the asker's own form and in Skep's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// What set it off.
    pub trigger: Trigger,
    /// Who.
    pub actor: Actor,
    /// Why, if said.
    pub reason: Option<String>,
    /// The request as it came in, secrets replaced; null in the record when it is sealed.
    pub original_request: serde_json::Value,
    /// The request of an outside sender, sealed: what a payload holds is known to nobody here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_request: Option<Sealed>,
    /// What it was taken to mean.
    pub mapped_request: serde_json::Value,
    /// The place of the request in a trace, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl Origin {
    /// Whether a person took a pin away, so that what is declared flows again.
    #[must_use]
    pub fn is_of_unpin(&self) -> bool {
        self.mapped_request.get("unpin").is_some()
    }
}

/// One attempt at one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The stack.
    pub stack: StackKey,
    /// The generation of the spec it belongs to.
    pub generation: u64,
    /// What was asked, by whom.
    pub origin: Origin,
    /// The version.
    pub version: Version,
    /// Where it stands.
    pub phase: DeploymentPhase,
    /// What the last judgement said, in one sentence.
    pub message: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The deployment whose failure this one answers (only on a rollback).
    pub rollback_of: Option<DeploymentId>,
    /// The rollback that answers this one's failure.
    pub rolled_back_by: Option<DeploymentId>,
    /// Where the sealed desired objects are kept, once rendered.
    pub kept: Option<Kept>,
    /// The digest of the plan that waits for a person's approval, or that was approved.
    #[serde(default)]
    pub plan: Option<Digest>,
    /// The jobs that have run for it, by real name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<String, JobRun>,
    /// Clocks and what is known of each service, once applying has begun.
    pub progress: Option<Progress>,
    /// Its services as last looked at, in the order of their names.
    #[serde(default)]
    pub services: Vec<ServiceState>,
    /// Remarks of the renderer.
    pub warnings: Vec<String>,
    /// When it was recorded, by the clock of the Skep that did.
    pub created_at: Timestamp,
    /// By whom it was handed over, and when; none when it was recorded here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<Handed>,
    /// When it reached a terminal phase.
    pub finished_at: Option<Timestamp>,
}

impl Deployment {
    /// Since when it is known here, by the clock here.
    #[must_use]
    pub fn known_since(&self) -> Timestamp {
        self.handed.as_ref().map_or(self.created_at, |handed| handed.at)
    }

    /// Its span in the trace that leads from the request to the engine.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        TraceContext::of_deployment(&self.id, self.origin.trace.as_ref())
    }
}

/// How one service of a deployment stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Its name in the compose file.
    pub service: String,
    /// How many tasks are wanted.
    pub wanted: u64,
    /// How many of them run what was asked.
    pub healthy: u64,
    /// What stands in the way, if anything says so.
    pub obstacle: Option<String>,
    /// What has to run, or to have ended well, before it is written: names in the compose file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
}

/// Name of a sealed document: its keyed digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept(pub String);

/// The clocks of a deployment (absolute times, so that a restart changes none of them), and what is known of each service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// When work on the engine began.
    pub started_at: Timestamp,
    /// Moved on by each newly healthy task.
    pub progress_deadline: Timestamp,
    /// Never moved, but by suspended time, and by the time to bake when that begins.
    pub total_deadline: Timestamp,
    /// Since when the progress clock stands still because the infrastructure is at fault.
    pub waiting_since: Option<Timestamp>,
    /// Every step of the plan has been accepted by the engine.
    pub applied: bool,
    /// When the last of them was accepted: only tasks listed later say anything.
    pub applied_at: Option<Timestamp>,
    /// How many wanted tasks were healthy at most.
    pub healthy_most: u64,
    /// Since when every wanted task has been healthy without a break.
    pub healthy_since: Option<Timestamp>,
    /// Since when the version bakes: all its tasks had run through the monitor period by then.
    #[serde(default)]
    pub baking_since: Option<Timestamp>,
    /// The latest time at which the engine reported one of those tasks to have begun running: when it moves, a task was
    /// replaced unseen, and `healthy_since` begins anew.
    pub newest_task: Option<Timestamp>,
    /// Services that are not written yet because they wait for others, by full name, with the full names of those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_back: BTreeMap<String, BTreeSet<String>>,
    /// By full service name.
    pub services: BTreeMap<String, ServiceProgress>,
}

impl Progress {
    /// Whether any service was written, or may have been.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.services.values().any(|service| service.written != Written::Unchanged)
    }
}

/// What is known of one service in one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceProgress {
    /// Tasks that existed before this deployment wrote the service: their failures are not this deployment's.
    pub baseline: BTreeSet<String>,
    /// The service existed before; Swarm's own updater watches the change.
    pub existed: bool,
    /// Whether the write is known to have been accepted.
    pub written: Written,
    /// When Swarm's updater last began, before this deployment wrote the service ([`super::UpdateStatus::started_at`]):
    /// what it says of that update is no news of this one.
    #[serde(default)]
    pub updated_before: Option<Timestamp>,
    /// Swarm stopped the update of this service through no fault of the version: it is told to go on.
    #[serde(default)]
    pub cut_short: bool,
}

/// What is known of a write. Doubt is recorded before the call, certainty after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Written {
    /// No write was needed.
    #[default]
    Unchanged,
    /// A call was made or is about to be; its answer is not known.
    Unknown,
    /// The engine accepted it.
    Accepted,
}
