//! One look at one stack: what is known, what is changed, and the one place where it is written.
//!
//! A pass reads the records, decides with the pure rooms, acts, and ends in [`Pass::conclude`], whatever happened. It
//! waits for nothing but short calls to the engine: rendering, following refs and the health of tasks go on beside it and
//! wake the stack when there is something new.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use super::environment::Observed;
use super::rendition::RenditionError;
use super::shared::Shared;
use super::worker::About;
use crate::domain::{
    Attempt, Condition, ConditionStatus, ConditionType, Deployment, DeploymentId, DeploymentPhase, DriftPolicy, Event,
    EventType, Held, JobState, Pointer, Reason, Sealed, Stack, StackKey, StackStatus, VersionSource, set_condition,
};
use crate::ledger::{Batch, LedgerError, RecordKey};
use crate::ports::{StoreError, SwarmError};
use crate::telemetry::swarm_error;

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// When something changes.
    Idle,
    /// At this time, or when something changes.
    At(Timestamp),
}

/// Why a pass broke off. It is tried again with backoff.
#[derive(Debug, Error)]
pub(super) enum PassError {
    /// The engine.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A version that should be there cannot be had.
    #[error(transparent)]
    Rendition(#[from] RenditionError),
}

impl PassError {
    /// Its kind, as a stable word.
    #[must_use]
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Swarm(error) => swarm_error(error),
            Self::Ledger(_) => "Store",
            Self::Rendition(_) => "Rendition",
        }
    }

    /// Somebody else wrote a record meanwhile: look again at once, that is no error.
    #[must_use]
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Store(StoreError::Conflict { .. })))
    }
}

/// One look at one stack.
pub(super) struct Pass<'a> {
    pub(super) shared: &'a Shared,
    pub(super) environment: Arc<Observed>,
    pub(super) stack: Stack,
    stack_revision: u64,
    pub(super) status: StackStatus,
    before: StackStatus,
    status_revision: Option<u64>,
    deployments: BTreeMap<DeploymentId, Loaded>,
    events: Vec<Event>,
    /// The output of deployments, to be kept or to be forgotten.
    pub(super) outputs: Vec<(DeploymentId, Option<Sealed>)>,
    /// Versions to be kept, with the records that refer to them.
    pub(super) to_keep: Vec<Sealed>,
    pub(super) now: Timestamp,
    /// Why nothing will change by itself, if so.
    pub(super) stalled: Option<(Reason, String)>,
    /// What is being waited for, if anything.
    pub(super) waiting: Option<(Reason, String)>,
    /// Told of each attempt that is worked on.
    pub(super) about: About,
}

struct Loaded {
    deployment: Deployment,
    stored: Option<Deployment>,
    revision: Option<u64>,
}

impl<'a> Pass<'a> {
    /// Reads what is known of a stack. `None` when it is not declared (any more).
    pub(super) fn load(
        shared: &'a Shared,
        environment: Arc<Observed>,
        key: &StackKey,
    ) -> Result<Option<Self>, PassError> {
        let Some(stack) = shared.ledger.stack(key)? else { return Ok(None) };
        Self::of(shared, environment, stack.value, stack.revision).map(Some)
    }

    /// A look at a stack as it is declared at this revision.
    pub(super) fn of(
        shared: &'a Shared,
        environment: Arc<Observed>,
        stack: Stack,
        stack_revision: u64,
    ) -> Result<Self, PassError> {
        let status = shared.ledger.status(&stack.key)?;
        let status_revision = status.as_ref().map(|status| status.revision);
        let status = status.map(|status| status.value).unwrap_or_default();
        Ok(Self {
            shared,
            environment,
            stack_revision,
            stack,
            before: status.clone(),
            status,
            status_revision,
            deployments: BTreeMap::new(),
            events: Vec::new(),
            outputs: Vec::new(),
            to_keep: Vec::new(),
            now: shared.ambient.now(),
            stalled: None,
            waiting: None,
            about: About::default(),
        })
    }

    pub(super) fn key(&self) -> &StackKey {
        &self.stack.key
    }

    /// The revisions of the stack's record and of its status, as they are now.
    pub(super) fn revisions(&self) -> (u64, Option<u64>) {
        (self.stack_revision, self.status_revision)
    }

    /// Whether this look found all as it should be: nothing under way, nothing waited for, nobody needed.
    pub(super) fn is_at_rest(&self) -> bool {
        let ended = self.status.attempt.as_ref().is_some_and(|attempt| attempt.phase.is_terminal());
        ended && self.stalled.is_none() && self.waiting.is_none()
    }

    /// A deployment, read once in a pass.
    pub(super) fn deployment(&mut self, id: &DeploymentId) -> Result<Option<&mut Deployment>, PassError> {
        if !self.deployments.contains_key(id) {
            let Some(found) = self.shared.ledger.deployment(id)? else { return Ok(None) };
            self.deployments.insert(
                id.clone(),
                Loaded { stored: Some(found.value.clone()), deployment: found.value, revision: Some(found.revision) },
            );
        }
        Ok(self.deployments.get_mut(id).map(|loaded| &mut loaded.deployment))
    }

    /// The newest attempt's deployment.
    pub(super) fn attempt(&mut self) -> Result<Option<Deployment>, PassError> {
        match self.status.attempt.clone() {
            Some(attempt) => Ok(self.deployment(&attempt.id)?.cloned()),
            None => Ok(None),
        }
    }

    /// Puts a changed deployment back, to be written; the attempt's phase follows.
    pub(super) fn put(&mut self, deployment: Deployment) {
        if let Some(attempt) = self.status.attempt.as_mut().filter(|attempt| attempt.id == deployment.id) {
            attempt.phase = deployment.phase;
        }
        match self.deployments.get_mut(&deployment.id) {
            Some(loaded) => loaded.deployment = deployment,
            None => {
                let loaded = Loaded { stored: None, deployment: deployment.clone(), revision: None };
                self.deployments.insert(deployment.id, loaded);
            }
        }
    }

    /// Makes this deployment the one that is worked on.
    pub(super) fn attempt_now(&mut self, deployment: &Deployment) {
        self.status.attempt_since = Some(self.now);
        if matches!(deployment.version.source, VersionSource::Spec(_)) {
            self.status.desired = Some(Self::pointer(deployment));
        }
        self.status.attempt = Some(Attempt {
            id: deployment.id.clone(),
            phase: deployment.phase,
            trigger: deployment.origin.trigger,
            automatic_rollback: deployment.rollback_of.is_some(),
        });
    }

    /// Moves a deployment to a phase, with the event that says so.
    pub(super) fn enter(&mut self, deployment: &mut Deployment, phase: DeploymentPhase, message: impl Into<String>) {
        let message = message.into();
        if deployment.phase != phase {
            let kind = match phase {
                DeploymentPhase::Converged => EventType::Converged,
                DeploymentPhase::RolledBack => EventType::RolledBack,
                DeploymentPhase::Failed => EventType::Failed,
                DeploymentPhase::Superseded => EventType::Superseded,
                DeploymentPhase::Cancelled => EventType::Cancelled,
                _ => EventType::PhaseChanged,
            };
            let class = deployment.failure.as_ref().filter(|_| kind == EventType::Failed);
            let reason = class.map_or_else(|| format!("{phase:?}"), |failure| failure.class.to_string());
            self.event(kind, Some(&deployment.id), &reason, message.clone());
            deployment.phase = phase;
        }
        deployment.message = Some(message);
        if phase.is_terminal() || phase == DeploymentPhase::RollingBack {
            for run in deployment.jobs.values_mut().filter(|run| run.state.is_under_way()) {
                (run.state, run.finished_at) = (JobState::Stopped, Some(self.now));
            }
        }
        if phase.is_terminal() && deployment.finished_at.is_none() {
            deployment.finished_at = Some(self.now);
            self.shared.renditions.forget_job(&deployment.id);
        }
    }

    /// Adds an event.
    pub(super) fn event(
        &mut self,
        kind: EventType,
        deployment: Option<&DeploymentId>,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.events.push(Event {
            time: self.now,
            kind,
            environment: self.key().environment.clone(),
            stack: Some(self.key().name.clone()),
            deployment: deployment.cloned(),
            reason: reason.to_owned(),
            message: message.into(),
            actor: "controller".to_owned(),
            via: None,
        });
    }

    /// Sets a condition.
    pub(super) fn say(
        &mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let condition = Condition {
            kind,
            status,
            reason,
            message: message.into(),
            observed_generation: self.stack.generation,
            since: self.now,
        };
        set_condition(&mut self.status.conditions, condition);
    }

    /// The version of a deployment, as pointers to it say it.
    pub(super) fn pointer(deployment: &Deployment) -> Pointer {
        Pointer {
            revision: deployment.version.revision.clone(),
            images: deployment.version.images.clone(),
            followed: deployment.version.followed.clone(),
            digest: deployment.version.digest.clone(),
            deployment: deployment.id.clone(),
            generation: deployment.generation,
        }
    }

    /// Holds a version: it is not tried again by itself.
    pub(super) fn hold(&mut self, deployment: &Deployment, reason: &str) {
        let Some(digest) = &deployment.version.digest else { return };
        if self.status.is_held(digest) || planted!("a hold is lost") {
            return;
        }
        let held = Held { version: Self::pointer(deployment), reason: reason.to_owned(), since: self.now };
        self.status.held.push(held);
        // The newest hundred are enough: an older one would have to be pushed again, and would fail again.
        let surplus = self.status.held.len().saturating_sub(100);
        self.status.held.drain(..surplus);
        self.event(EventType::Held, Some(&deployment.id), "Held", format!("the version is held: {reason}"));
    }

    /// Whether there is anything to write.
    fn batch(&mut self) -> Option<Batch> {
        let changed = self.status != self.before;
        let mut batch = Batch::new();
        for loaded in self.deployments.values().filter(|loaded| loaded.stored.as_ref() != Some(&loaded.deployment)) {
            let key = RecordKey::Deployment(loaded.deployment.id.clone());
            batch = batch.expect(&key, loaded.revision).put_deployment(&loaded.deployment);
        }
        for sealed in std::mem::take(&mut self.to_keep) {
            batch = batch.put_kept(&sealed);
        }
        for (id, output) in std::mem::take(&mut self.outputs) {
            batch = batch.put_output(&self.stack.key, &id, output.as_ref());
        }
        for event in std::mem::take(&mut self.events) {
            batch = batch.event(&event);
        }
        if changed {
            batch = batch.put_status(&self.stack.key, &self.status);
        }
        if batch.is_empty() {
            return None;
        }
        // A change of what was declared meanwhile makes this pass's decisions void.
        Some(
            batch
                .expect(&RecordKey::Stack(self.stack.key.clone()), Some(self.stack_revision))
                .expect(&RecordKey::Status(self.stack.key.clone()), self.status_revision),
        )
    }

    /// Writes all that has changed so far; the pass goes on.
    pub(super) async fn checkpoint(&mut self) -> Result<(), PassError> {
        let drifted = self.events.iter().any(|event| event.kind == EventType::DriftDetected);
        let Some(batch) = self.batch() else { return Ok(()) };
        let committed = self.shared.ledger.commit(batch).await?;
        self.measure(drifted);
        if self.status != self.before {
            self.before = self.status.clone();
            self.status_revision = Some(committed.revision);
        }
        for loaded in self.deployments.values_mut() {
            if loaded.stored.as_ref() != Some(&loaded.deployment) {
                loaded.stored = Some(loaded.deployment.clone());
                loaded.revision = Some(committed.revision);
            }
        }
        Ok(())
    }

    /// Counts what has just been written.
    fn measure(&self, drifted: bool) {
        let meters = &self.shared.meters;
        for Loaded { stored, deployment, .. } in self.deployments.values() {
            if stored.as_ref().is_some_and(|stored| stored.phase == deployment.phase) {
                continue;
            }
            if deployment.phase == DeploymentPhase::RollingBack {
                meters.rolls_back(deployment);
            } else if deployment.phase.is_terminal() {
                meters.ended(deployment);
                let failed = deployment.rollback_of.as_ref().and_then(|id| self.deployments.get(id));
                self.shared.tracer.deployed(deployment, failed.map(|loaded| &loaded.deployment));
            }
            tracing::info!(
                stack = %deployment.stack,
                deployment = %deployment.id,
                trace_id = deployment.trace().trace_id(),
                phase = ?deployment.phase,
                "{}",
                deployment.message.as_deref().unwrap_or("recorded")
            );
        }
        if drifted {
            let policy = if self.status.drift.stays { DriftPolicy::Report } else { DriftPolicy::Correct };
            meters.drifted(&self.key().environment, policy);
        }
    }

    /// Writes a changed declared record (a suspension or pin that ended), and reads on with it.
    pub(super) async fn put_stack(&mut self) -> Result<(), PassError> {
        let mut batch = Batch::new()
            .expect(&RecordKey::Stack(self.stack.key.clone()), Some(self.stack_revision))
            .put_stack(&self.stack);
        for event in std::mem::take(&mut self.events) {
            batch = batch.event(&event);
        }
        self.stack_revision = self.shared.ledger.commit(batch).await?.revision;
        Ok(())
    }

    /// Deletes the stack's records: the end of a deletion.
    pub(super) async fn forget(&mut self) -> Result<(), PassError> {
        let mut batch = self.batch().unwrap_or_default();
        batch = batch.delete_stack(&self.stack.key);
        self.shared.ledger.commit(batch).await?;
        self.measure(false);
        Ok(())
    }

    /// The one exit: summary conditions, then one write of everything that changed.
    pub(super) async fn conclude(&mut self, next: Next) -> Result<Next, PassError> {
        super::outcome::summarise(self);
        self.checkpoint().await?;
        Ok(match (next, self.stack.control.pin.as_ref().and_then(|pin| pin.until)) {
            (Next::At(at), Some(end)) => Next::At(at.min(end)),
            (Next::Idle, Some(end)) => Next::At(end),
            (next, None) => next,
        })
    }
}
