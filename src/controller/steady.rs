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
    Action, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentPhase as Phase, DriftPolicy, EventType,
    FailureClass, Mode, ObjectKind, Progress, Reason, ServiceProgress, Step, TargetKind, Trigger, Version,
    VersionSource, target,
};
use crate::plan::{Prune, author, restores_pace};

/// Drift that stays away for so long is forgotten: the next one is corrected at once.
const FORGET: SignedDuration = SignedDuration::from_mins(10);

/// What was made is known to every manager after so long.
pub(super) const SEEN: SignedDuration = SignedDuration::from_secs(25);

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
        if self.resume_waiting()? {
            return Ok(Kept::Again);
        }
        if self.has_stale_runs(attempt)
            && self.may_write()
            && let Some(Carried::Wait(next)) = self.clear_runs(Some(attempt)).await?
        {
            return Ok(Kept::Rest(next));
        }
        self.note_failure(attempt)?;
        if let Some(kept) = self.try_again(attempt)? {
            return Ok(kept);
        }
        let stays = self.stalled.as_ref().is_some_and(|(reason, _)| *reason == Reason::RollbackFailed);
        if stays || target(&self.stack, &self.status) == TargetKind::Nothing {
            return Ok(Kept::Rest(Next::Idle));
        }
        let rendition = match self.last_good_rendition() {
            Ok(Some(rendition)) => rendition,
            Ok(None) => return Ok(Kept::Rest(Next::Idle)),
            Err(PassError::Rendition(error)) => {
                let text = format!("what is to be kept running cannot be read back: {error}. Deploy a version anew");
                self.stalled.get_or_insert((Reason::LastGoodUnreadable, text));
                return Ok(Kept::Rest(Next::Idle));
            }
            Err(error) => return Err(error),
        };
        match self.environment.connection() {
            Connection::Connected(_) => {}
            // Just begun: what was known before still stands.
            Connection::Unknown => return Ok(Kept::Rest(Next::Idle)),
            Connection::Lost(_) => {
                self.may_write();
                return Ok(Kept::Rest(Next::Idle));
            }
        }
        let converged = matches!(attempt.phase, Phase::Converged);
        let prune = if converged { Self::prune_of(attempt) } else { Prune::Later };
        let prune = if planted!("the guard over pruning is off") { Prune::Everything } else { prune };
        let plan = self.plan(attempt, &rendition, prune)?;
        let refusal = plan.refused.first().map(ToString::to_string);
        let (removals, writes): (Vec<Step>, Vec<Step>) =
            plan.steps.into_iter().partition(|step| step.action == Action::Remove);
        if let Some(text) = refusal {
            self.say(Kind::Drifted, Is::True, Reason::Foreign, &text);
            self.stalled.get_or_insert((Reason::Foreign, text));
            return Ok(Kept::Rest(Next::Idle));
        }
        let back = converged && attempt.origin.trigger == Trigger::Rollback;
        if back && !writes.is_empty() && self.may_write() {
            let live = self.environment.snapshot();
            if writes.iter().all(|step| restores_pace(step, &live)) {
                return self.finish(attempt, &writes, &rendition).await;
            }
        }
        if !writes.is_empty() {
            let live = self.status.live.as_ref().and_then(|live| live.digest.clone());
            return if live.is_some_and(|live| live == rendition.digest) {
                self.correct(attempt, &rendition, &writes)
            } else {
                self.take_back()
            };
        }
        self.no_drift();
        let doubted_until = self.forget_removed(&rendition);
        self.count_tasks(&rendition);
        if converged && !removals.is_empty() && self.may_write() {
            return self.finish(attempt, &removals, &rendition).await;
        }
        Ok(Kept::Rest(doubted_until.map_or(Next::Idle, Next::At)))
    }

    /// The deployment of what was asked last: the attempt, unless that only put the last good version right.
    pub(super) fn newest_asked(&mut self, attempt: &Deployment) -> Result<Option<Deployment>, PassError> {
        let put_right = attempt.phase == Phase::Converged && matches!(attempt.version.source, VersionSource::Kept(_));
        if !put_right || self.stack.control.pin.is_some() {
            return Ok(Some(attempt.clone()));
        }
        match self.status.desired.as_ref().map(|desired| desired.deployment.clone()) {
            Some(id) => Ok(self.deployment(&id)?.cloned()),
            None => Ok(None),
        }
    }

    /// What was asked and did not come about leaves the stack stalled until something changes. That the last good version
    /// was put right meanwhile changes nothing of that.
    fn note_failure(&mut self, attempt: &Deployment) -> Result<(), PassError> {
        let Some(asked) = self.newest_asked(attempt)? else { return Ok(()) };
        let back = target(&self.stack, &self.status) == TargetKind::LastGood;
        let message = || asked.message.clone().unwrap_or_default();
        let class = asked.failure.as_ref().map(|failure| failure.class);
        self.stalled = match (asked.phase, class) {
            (Phase::Failed, _) if asked.rollback_of.is_some() => Some((Reason::RollbackFailed, message())),
            (Phase::Cancelled, _) if asked.rollback_of.is_some() => Some((Reason::RollbackFailed, message())),
            // The job before it stopped it: the last good version runs, untouched.
            (Phase::Failed, Some(FailureClass::Hook)) if back => None,
            (Phase::Failed, Some(class)) => Some((reason_of(class), message())),
            // It was refused because it is held: the last good version runs.
            (Phase::Failed, None) if !back => Some((Reason::Held, message())),
            (Phase::Cancelled, _) if !back => Some((Reason::Cancelled, message())),
            _ => None,
        };
        Ok(())
    }

    /// What failed by the infrastructure's fault alone is tried again, as a new attempt.
    fn try_again(&mut self, attempt: &Deployment) -> Result<Option<Kept>, PassError> {
        let held = attempt.version.digest.as_ref().is_some_and(|digest| self.status.is_held(digest));
        let held = held && !planted!("a held version is tried again as if an outage had failed it");
        let Some(at) = attempt.tried_again(held, self.now) else { return Ok(None) };
        let drift = (attempt.origin.trigger == Trigger::Drift).then(|| self.next_correction()).flatten();
        let at = drift.map_or(at, |drift| drift.max(at));
        if self.now < at {
            return Ok(Some(Kept::Rest(Next::At(at))));
        }
        if attempt.origin.trigger == Trigger::Drift {
            self.count_correction();
        }
        let version = Version { digest: None, images: Vec::new(), ..attempt.version.clone() };
        let reason = format!("deployment {} failed by no fault of its own: tried again", attempt.id);
        let deployment = self.new_deployment(attempt.origin.trigger, version, reason);
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(Some(Kept::Again))
    }

    /// Somebody else changed what was applied.
    pub(super) fn correct(
        &mut self,
        attempt: &Deployment,
        rendition: &Rendition,
        writes: &[Step],
    ) -> Result<Kept, PassError> {
        self.status.drift.stays = self.only_reports(attempt, rendition)?;
        let text = self.tell_drift(writes);
        self.say(Kind::Drifted, Is::True, Reason::DriftDetected, &text);
        if planted!("drift is only shown") {
            return Ok(Kept::Rest(Next::Idle));
        }
        if self.status.drift.stays || !self.may_write() {
            return Ok(Kept::Rest(Next::Idle));
        }
        if let Some(at) = self.slowed_down(&text) {
            return Ok(Kept::Rest(Next::At(at)));
        }
        self.count_correction();
        self.bring_back(Trigger::Drift, text)
    }

    /// Whether nothing of what differs is to be put right.
    fn only_reports(&mut self, attempt: &Deployment, rendition: &Rendition) -> Result<bool, PassError> {
        let policy = &self.stack.spec.policy;
        if policy.drift == DriftPolicy::Report || policy.mode == Mode::Observe {
            return Ok(true);
        }
        if policy.report.is_empty() {
            return Ok(false);
        }
        let leaving = rendition.leaving(&policy.report.clone());
        Ok(self.plan(attempt, &leaving, Prune::Never)?.steps.is_empty())
    }

    /// Tells a difference once, with who or what made it as it was found; gives what was told.
    fn tell_drift(&mut self, writes: &[Step]) -> String {
        let differs: Vec<_> = writes.iter().map(|step| (&step.object, step.action, &step.changes)).collect();
        let mark = Some(self.shared.renderer.digester().digest_of(&differs));
        if self.status.drift.mark == mark && !self.status.drift.found.is_empty() {
            return self.status.drift.found.join("; ");
        }
        let live = self.environment.snapshot();
        let found: Vec<String> = writes
            .iter()
            .map(|step| match author(step, &live, &self.shared.instance) {
                Some(who) => format!("{}, changed {who}", describe(step)),
                None => describe(step),
            })
            .collect();
        let text = found.join("; ");
        self.event(EventType::DriftDetected, None, "DriftDetected", text.clone());
        self.status.drift.found = found;
        self.status.drift.mark = mark;
        text
    }

    /// A version was left before it had come about, and none came after it that could be applied: what it wrote is taken
    /// back, if the policy lets it.
    fn take_back(&mut self) -> Result<Kept, PassError> {
        if !self.status.may_go_back(&self.stack.spec.policy) || !self.may_write() {
            return Ok(Kept::Rest(Next::Idle));
        }
        self.bring_back(Trigger::Rollback, "the version under way was left: the last good one comes back".to_owned())
    }

    fn bring_back(&mut self, trigger: Trigger, reason: String) -> Result<Kept, PassError> {
        let Some(good) = self.status.last_good.clone() else { return Ok(Kept::Rest(Next::Idle)) };
        let version = Version {
            source: VersionSource::Kept(good.version.deployment.clone()),
            revision: good.version.revision.clone(),
            images: good.version.images.clone(),
            followed: good.version.followed.clone(),
            digest: good.version.digest.clone(),
        };
        let deployment = self.new_deployment(trigger, version, reason);
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(Kept::Again)
    }

    /// When what differs is put right, if that is not now: then it is said that two writers are at it.
    pub(super) fn slowed_down(&mut self, differs: &str) -> Option<Timestamp> {
        let at = self.next_correction().filter(|at| *at > self.now)?;
        let text = format!(
            "another writer changes it again and again: it was put right {} times, and is again at {at:.0}: {differs}. Have the other stop, or name its fields in policy.ignore or policy.report",
            self.status.drift.corrections
        );
        self.say(Kind::Drifted, Is::True, Reason::Conflict, text);
        Some(at)
    }

    /// The first correction is at once; against a writer who keeps changing it back, Skep slows down.
    pub(super) fn next_correction(&self) -> Option<Timestamp> {
        let drift = &self.status.drift;
        let last = drift.corrected_at?;
        let wait = match drift.corrections {
            _ if planted!("a tireless writer is fought") => Duration::ZERO,
            _ if self.now.duration_since(last) > FORGET => Duration::ZERO,
            0 | 1 => Duration::ZERO,
            more => backoff(more.saturating_add(2), 0),
        };
        last.checked_add(SignedDuration::try_from(wait).ok()?).ok()
    }

    pub(super) fn count_correction(&mut self) {
        let drift = &mut self.status.drift;
        if drift.corrected_at.is_some_and(|at| self.now.duration_since(at) > FORGET) {
            drift.corrections = 0;
        }
        drift.corrections = drift.corrections.saturating_add(1);
        drift.corrected_at = Some(self.now);
    }

    pub(super) fn no_drift(&mut self) {
        if !self.status.drift.found.is_empty() {
            let text = self.status.drift.found.join("; ");
            self.event(EventType::DriftCorrected, None, "DriftCorrected", text);
            self.status.drift.found.clear();
            self.status.drift.mark = None;
            self.status.drift.stays = false;
        }
        self.say(Kind::Drifted, Is::False, Reason::DriftCorrected, "");
    }

    /// What is neither wanted nor there any more is owned no longer: a removal whose answer was lost, or somebody else's.
    /// What may still come into being, by a create whose answer was lost, is remembered for a while, and what was made for as long
    /// as a manager that lags may not know of it. Gives when the first of that is due to be forgotten.
    fn forget_removed(&mut self, rendition: &Rendition) -> Option<Timestamp> {
        let live = self.environment.snapshot();
        let wanted = &rendition.desired;
        let now = self.now;
        let mut doubted_until: Option<Timestamp> = None;
        self.status.inventory.0.retain(|object, entry| {
            let name = &object.name;
            let there = match object.kind {
                ObjectKind::Network => live.networks.contains_key(name) || wanted.networks.contains_key(name),
                ObjectKind::Config => live.configs.contains_key(name) || wanted.configs.contains_key(name),
                ObjectKind::Secret => live.secrets.contains_key(name) || wanted.secrets.contains_key(name),
                ObjectKind::Service => live.services.contains_key(name) || wanted.services.contains_key(name),
            };
            if planted!("what is not wanted is forgotten before it is gone") {
                return false;
            }
            if there {
                return true;
            }
            let span = if entry.id.is_some() { SEEN } else { FORGET };
            let until = entry.since.checked_add(span).unwrap_or(Timestamp::MAX);
            if until > now {
                doubted_until = Some(doubted_until.map_or(until, |sooner| sooner.min(until)));
            }
            until > now
        });
        doubted_until
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
            baking_since: None,
            newest_task: None,
            held_back: Default::default(),
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

    /// What is left to do once a version has converged: what is owned and no longer wanted goes; the pace of a rollback
    /// becomes the file's own again.
    async fn finish(&mut self, attempt: &Deployment, steps: &[Step], rendition: &Rendition) -> Result<Kept, PassError> {
        // What has just ended is told as it is, not as it was before.
        super::outcome::summarise(self);
        self.checkpoint().await?;
        let mut deployment = attempt.clone();
        if self.carry_out(&mut deployment, steps, rendition).await? {
            return Ok(Kept::Again);
        }
        // A network stays in use until the last task has gone, and for as long as somebody else's container is on it.
        let now = self.shared.ambient.now();
        let since = attempt.finished_at.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
        let wait = (since / 4).clamp(SignedDuration::from_secs(1), SignedDuration::from_mins(5));
        Ok(Kept::Rest(Next::At(now.checked_add(wait).unwrap_or(now))))
    }

    /// Carries out the attempt as far as it can be now.
    pub(super) async fn advance(&mut self, deployment: Deployment, rendition: &Rendition) -> Result<Kept, PassError> {
        match self.apply(deployment, rendition).await? {
            Carried::Wait(next) => Ok(Kept::Rest(next)),
            Carried::All | Carried::Ended => Ok(Kept::Again),
        }
    }
}

/// What differs, step by step, without a value.
pub(super) fn described(steps: &[Step]) -> String {
    steps.iter().map(describe).collect::<Vec<_>>().join("; ")
}

fn describe(step: &Step) -> String {
    match step.object.kind {
        ObjectKind::Service if step.action == Action::Update && step.changes.is_empty() => {
            format!("{}: {}", step.object, step.reason)
        }
        ObjectKind::Service if step.action == Action::Update => {
            let paths: Vec<&str> = step.changes.iter().map(|change| change.path.as_str()).collect();
            format!("{} differs at {}", step.object, paths.join(", "))
        }
        _ if step.action == Action::Update => format!("{}: {}", step.object, step.reason),
        _ => format!("{} is missing", step.object),
    }
}
