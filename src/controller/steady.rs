//! A stack with nothing under way: it is kept as it was applied, cleaned up, and its tasks are counted now and then. A
//! converged stack costs no write and no call of its own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::apply::Carried;
use super::backoff::backoff;
use super::environment::Connection;
use super::judge::reason_of;
use super::pass::{Next, Pass, PassError};
use super::rendition::Rendition;
use crate::assess::{AssessInput, assess};
use crate::domain::{
    Action, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, DriftPolicy,
    DriftStatus, EventType, FailureClass, Mode, ObjectKind, Progress, Reason, ServiceProgress, Step, TargetKind,
    Trigger, Version, VersionSource, target,
};
use crate::plan::Prune;

/// Drift that stays away for so long is forgotten: the next one is corrected at once.
const FORGET: SignedDuration = SignedDuration::from_mins(10);
/// A deployment that failed by the infrastructure's fault is tried again after this time.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What keeping came to.
pub(super) enum Kept {
    /// All is as it should be, or waits.
    Rest(Next),
    /// There is something to do: look afresh.
    Again,
}

impl Pass<'_> {
    /// Keeps the stack as it was applied.
    pub(super) async fn keep(&mut self, attempt: &Deployment) -> Result<Kept, PassError> {
        self.environment.tasks.leave(&self.stack.key);
        self.note_failure(attempt);
        if let Some(kept) = self.try_again(attempt)? {
            return Ok(kept);
        }
        if target(&self.stack, &self.status) == TargetKind::Nothing {
            return Ok(Kept::Rest(Next::Idle));
        }
        let Some(rendition) = self.last_good_rendition()? else { return Ok(Kept::Rest(Next::Idle)) };
        if !matches!(self.environment.connection(), Connection::Connected(_)) {
            self.may_write();
            return Ok(Kept::Rest(Next::Idle));
        }
        let converged = matches!(attempt.phase, Phase::Converged);
        let prune = if converged { Self::prune_of(attempt) } else { Prune::Later };
        let plan = self.plan(attempt, &rendition, prune)?;
        let refusal = plan.refused.first().map(ToString::to_string);
        let (removals, writes): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(|step| step.action == Action::Remove);
        if let Some(text) = refusal {
            self.say(Kind::Drifted, Is::True, Reason::Foreign, &text);
            self.stalled.get_or_insert((Reason::Foreign, text));
            return Ok(Kept::Rest(Next::Idle));
        }
        if !writes.is_empty() {
            return self.correct(&writes);
        }
        self.no_drift();
        self.count_tasks(&rendition);
        if converged && !removals.is_empty() && self.may_write() {
            return self.remove(attempt, &removals, &rendition).await;
        }
        Ok(Kept::Rest(Next::Idle))
    }

    /// A terminal attempt that failed leaves the stack stalled until something changes.
    fn note_failure(&mut self, attempt: &Deployment) {
        if attempt.phase == Phase::Failed {
            let class = attempt.failure.as_ref().map(|failure| failure.class);
            let reason = match (class, attempt.rollback_of.is_some()) {
                (_, true) => Reason::RollbackFailed,
                (Some(class), false) => reason_of(class),
                (None, false) => Reason::Held,
            };
            self.stalled = Some((reason, attempt.message.clone().unwrap_or_default()));
        }
        if attempt.phase == Phase::Cancelled && self.status.last_good.is_none() {
            self.stalled = Some((Reason::Cancelled, "it was cancelled, and there is no last good version".into()));
        }
    }

    /// What failed by the infrastructure's fault alone is tried again, as a new attempt.
    fn try_again(&mut self, attempt: &Deployment) -> Result<Option<Kept>, PassError> {
        let held = attempt.version.digest.as_ref().is_some_and(|digest| self.status.is_held(digest));
        let Some(failure) = attempt.failure.as_ref().filter(|_| attempt.phase == Phase::Failed && !held) else {
            return Ok(None);
        };
        let started = attempt.progress.is_some();
        let outage = matches!(failure.class, FailureClass::SourceUnreachable | FailureClass::EngineUnreachable);
        if !started && !outage {
            return Ok(None);
        }
        let at = attempt.finished_at.unwrap_or(self.now).checked_add(TRY_AGAIN).unwrap_or(self.now);
        if self.now < at {
            return Ok(Some(Kept::Rest(Next::At(at))));
        }
        let version = Version { digest: None, images: Vec::new(), ..attempt.version.clone() };
        let reason = format!("deployment {} failed by no fault of its own: tried again", attempt.id);
        let deployment = self.new_deployment(attempt.origin.trigger, version, reason);
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(Some(Kept::Again))
    }

    /// Somebody else changed what was applied.
    fn correct(&mut self, writes: &[Step]) -> Result<Kept, PassError> {
        let found: Vec<String> = writes.iter().map(describe).collect();
        let text = found.join("; ");
        if self.status.drift.found != found {
            self.event(EventType::DriftDetected, None, "DriftDetected", text.clone());
            self.status.drift.found = found;
        }
        self.say(Kind::Drifted, Is::True, Reason::DriftDetected, &text);
        let policy = &self.stack.spec.policy;
        if policy.drift == DriftPolicy::Report || policy.mode == Mode::Observe || !self.may_write() {
            return Ok(Kept::Rest(Next::Idle));
        }
        if let Some(at) = self.next_correction()
            && at > self.now
        {
            return Ok(Kept::Rest(Next::At(at)));
        }
        let Some(good) = self.status.last_good.clone() else { return Ok(Kept::Rest(Next::Idle)) };
        self.status.drift.corrections += 1;
        self.status.drift.corrected_at = Some(self.now);
        let version = Version {
            source: VersionSource::Kept(good.version.deployment.clone()),
            revision: good.version.revision.clone(),
            images: good.version.images.clone(),
            digest: good.version.digest.clone(),
        };
        let deployment = self.new_deployment(Trigger::Drift, version, text);
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(Kept::Again)
    }

    /// The first correction is at once; against a writer who keeps changing it back, Skep slows down.
    fn next_correction(&self) -> Option<Timestamp> {
        let drift = &self.status.drift;
        let wait = match drift.corrections {
            0 | 1 => Duration::ZERO,
            more => backoff(more + 2, 0),
        };
        drift.corrected_at?.checked_add(SignedDuration::try_from(wait).ok()?).ok()
    }

    fn no_drift(&mut self) {
        if !self.status.drift.found.is_empty() {
            let text = self.status.drift.found.join("; ");
            self.event(EventType::DriftCorrected, None, "DriftCorrected", text);
            self.status.drift.found.clear();
        }
        self.say(Kind::Drifted, Is::False, Reason::DriftCorrected, "");
        let long_ago = |at: Timestamp| self.now.duration_since(at) > FORGET;
        if self.status.drift.corrected_at.is_some_and(long_ago) {
            self.status.drift = DriftStatus::default();
        }
    }

    /// Counts the running tasks, when they have been listed since the stack was applied.
    fn count_tasks(&mut self, rendition: &Rendition) {
        let tasks = self.environment.tasks.newest();
        let live = self.environment.snapshot();
        let ids = rendition.desired.services.keys().filter_map(|name| live.services.get(name));
        if !ids.into_iter().all(|service| tasks.by_service.contains_key(&service.id)) {
            return;
        }
        let progress = Progress {
            started_at: self.now,
            progress_deadline: Timestamp::MAX,
            total_deadline: Timestamp::MAX,
            waiting_since: None,
            applied: true,
            applied_at: None,
            healthy_most: 0,
            healthy_since: None,
            newest_task: None,
            services: rendition
                .desired
                .services
                .keys()
                .map(|name| (name.clone(), ServiceProgress::default()))
                .collect(),
        };
        let policy = self.stack.spec.policy.clone();
        let found = assess(&AssessInput {
            target: &rendition.desired,
            progress: &progress,
            live: &live,
            tasks: &tasks,
            last_good: Some(&rendition.desired),
            policy: &policy,
            now: self.now,
        });
        match found.healthy_since {
            Some(_) => self.say(Kind::Healthy, Is::True, Reason::Succeeded, "every wanted task runs"),
            None => self.say(Kind::Healthy, Is::False, Reason::TasksMissing, found.summary()),
        }
    }

    /// Removes what is owned and no longer wanted.
    async fn remove(
        &mut self,
        attempt: &Deployment,
        removals: &[Step],
        rendition: &Rendition,
    ) -> Result<Kept, PassError> {
        self.checkpoint().await?;
        let mut deployment = attempt.clone();
        if self.carry_out(&mut deployment, removals, rendition).await? {
            return Ok(Kept::Again);
        }
        // A network stays in use until the last task has gone.
        let again = self.shared.ambient.now().checked_add(SignedDuration::from_secs(1)).unwrap_or(self.now);
        Ok(Kept::Rest(Next::At(again)))
    }

    /// Carries out the attempt as far as it can be now.
    pub(super) async fn advance(&mut self, deployment: Deployment, rendition: &Rendition) -> Result<Kept, PassError> {
        match self.apply(deployment, rendition).await? {
            Carried::Wait(next) => Ok(Kept::Rest(next)),
            Carried::All | Carried::Ended => Ok(Kept::Again),
        }
    }
}

fn describe(step: &Step) -> String {
    match step.object.kind {
        ObjectKind::Service if step.action == Action::Update => {
            let paths: Vec<&str> = step.changes.iter().map(|change| change.path.as_str()).collect();
            format!("{} differs at {}", step.object, paths.join(", "))
        }
        _ => format!("{} is missing", step.object),
    }
}
