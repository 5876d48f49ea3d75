//! The first part of a pass: what has been asked since the last one? New declarations, cancellations, released holds,
//! ended suspensions, moved refs. Each leads at most to another deployment being the attempt; what it does is decided
//! afterwards, afresh.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::pass::{Pass, PassError};
use super::sources::Resolution;
use crate::domain::{
    Actor, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentId, DeploymentPhase as Phase, EventType,
    GitSource, Origin, Pointer, Progress, Reason, Revision, Source, SourceStatus, Trigger, Version, VersionSource,
};

/// So many of the newest deployments are looked through for ones that were left unfinished.
const RECENT: usize = 20;

impl Pass<'_> {
    /// Takes up everything that was asked. Gives `false` when the stack is suspended: then nothing more is to be done.
    pub(super) async fn take_up(&mut self) -> Result<bool, PassError> {
        self.end_what_has_ended().await?;
        let under_way = self.under_way()?;
        if self.stack.control.suspension.is_some() && !planted!("a suspension is not heeded") {
            self.status.suspended_since.get_or_insert(self.now);
            self.environment.tasks.leave(&self.stack.key);
            return Ok(false);
        }
        self.go_on_after_suspension()?;
        self.release_holds();
        self.take_up_declared()?;
        self.honour_cancel()?;
        let asked = self.follow_source()?;
        self.follow_images()?;
        match asked {
            Some(token) if self.shared.repositories.looked(self.key(), &token) => self.honour_reconcile(token)?,
            _ => {}
        }
        self.keep_output_of_left(under_way).await?;
        Ok(true)
    }

    /// The deployment that is being worked on.
    pub(super) fn under_way(&mut self) -> Result<Option<DeploymentId>, PassError> {
        Ok(self.attempt()?.filter(|attempt| !attempt.phase.is_terminal()).map(|attempt| attempt.id))
    }

    /// A suspension or pin whose end has come is taken away.
    async fn end_what_has_ended(&mut self) -> Result<(), PassError> {
        let control = &self.stack.control;
        let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= self.now);
        let resume = control.suspension.as_ref().is_some_and(|suspension| over(suspension.until));
        let unpin = control.pin.as_ref().is_some_and(|pin| over(pin.until)) && !planted!("a pin never ends");
        if resume {
            self.stack.control.suspension = None;
            self.event(EventType::Resumed, None, "Expired", "the suspension has ended");
        }
        if unpin {
            self.stack.control.pin = None;
            self.event(EventType::Unpinned, None, "Expired", "the pin has ended");
        }
        if resume || unpin { self.put_stack().await } else { Ok(()) }
    }

    /// Suspended time is not counted: the clocks of what was under way move on by it.
    fn go_on_after_suspension(&mut self) -> Result<(), PassError> {
        let Some(since) = self.status.suspended_since.take() else { return Ok(()) };
        let pause = self.now.duration_since(since);
        if let Some(taken_up) = &mut self.status.attempt_since {
            shift(taken_up, pause);
        }
        let Some(mut deployment) = self.attempt()?.filter(|attempt| !attempt.phase.is_terminal()) else {
            return Ok(());
        };
        if let Some(progress) = &mut deployment.progress {
            shift(&mut progress.progress_deadline, pause);
            shift(&mut progress.total_deadline, pause);
            if let Some(waiting) = &mut progress.waiting_since {
                shift(waiting, pause);
            }
            if let Some(baking) = &mut progress.baking_since {
                shift(baking, pause);
            }
            progress.healthy_since = None;
        }
        for run in deployment.jobs.values_mut().filter(|run| run.state.is_under_way()) {
            shift(&mut run.deadline, pause);
        }
        self.put(deployment);
        Ok(())
    }

    fn release_holds(&mut self) {
        let asked = self.stack.control.release_token.clone();
        if asked.is_some() && asked != self.status.handled_release {
            self.status.handled_release = asked;
            if !self.status.held.is_empty() {
                self.status.held.clear();
                self.event(EventType::HoldReleased, None, "Released", "held versions may be tried again");
            }
        }
    }

    /// A newly declared deployment pre-empts what is under way, also in the middle of a rollback.
    fn take_up_declared(&mut self) -> Result<(), PassError> {
        let declared = match &self.stack.control.pin {
            Some(pin) => pin.deployment.clone(),
            None => self.stack.deployment.clone(),
        };
        if self.status.seen.as_ref() == Some(&declared) {
            return Ok(());
        }
        let Some(deployment) = self.deployment(&declared)?.cloned() else { return Ok(()) };
        let seen = self.status.seen.replace(declared.clone());
        self.supersede_others(&declared, seen)?;
        if !deployment.phase.is_terminal() {
            self.attempt_now(&deployment);
        } else if self.stack.control.pin.is_none() {
            // What is declared had its turn before the pin that has ended now.
            self.deploy_declared(deployment.origin.trigger, "what is declared flows again".to_owned())?;
        }
        Ok(())
    }

    /// A deployment of what is declared, at whatever commit its ref stands at, becomes the attempt.
    fn deploy_declared(&mut self, trigger: Trigger, reason: String) -> Result<(), PassError> {
        let source = VersionSource::Spec(Box::new(self.stack.spec.clone()));
        let version = Version { source, revision: None, images: Vec::new(), followed: BTreeMap::new(), digest: None };
        let deployment = self.new_deployment(trigger, version, reason);
        self.supersede_others(&deployment.id, self.status.seen.clone())?;
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(())
    }

    /// Everything unfinished before `newest` ends as superseded. A deployment that had failed and was being rolled back has
    /// failed. What came before `seen` was ended when that was taken up.
    fn supersede_others(&mut self, newest: &DeploymentId, seen: Option<DeploymentId>) -> Result<(), PassError> {
        self.end_all(Some(newest), seen.as_ref(), Phase::Superseded, &format!("deployment {newest} came after it"))
    }

    /// Everything unfinished (before a deployment and from one on, if they are named) ends in this phase.
    pub(super) fn end_all(
        &mut self,
        before: Option<&DeploymentId>,
        from: Option<&DeploymentId>,
        phase: Phase,
        text: &str,
    ) -> Result<(), PassError> {
        if planted!("what came before is not ended") {
            return Ok(());
        }
        let mut ids = self.shared.ledger.history_ids(self.key(), before, RECENT)?;
        ids.retain(|id| from.is_none_or(|from| id >= from));
        // Ids begin with the clock of the Skep that recorded them: what is worked on may stand anywhere among them.
        let attempt = self.status.attempt.as_ref().map(|attempt| attempt.id.clone());
        ids.extend(attempt.filter(|id| !ids.contains(id) && before != Some(id)));
        for id in ids {
            let Some(mut deployment) = self.deployment(&id)?.cloned().filter(|found| !found.phase.is_terminal()) else {
                continue;
            };
            if deployment.phase == Phase::RollingBack {
                let why = deployment.failure.as_ref().map(|failure| failure.sentence()).unwrap_or_default();
                self.enter(
                    &mut deployment,
                    Phase::Failed,
                    format!("{why} (left before the rollback was done: {text})"),
                );
            } else {
                self.enter(&mut deployment, phase, text);
            }
            self.put(deployment);
        }
        Ok(())
    }

    fn honour_cancel(&mut self) -> Result<(), PassError> {
        let asked = self.stack.control.cancel.clone().filter(|_| !planted!("a cancellation is not heeded"));
        let Some(asked) = asked else { return Ok(()) };
        let Some(deployment) = self.deployment(&asked)?.cloned().filter(|found| !found.phase.is_terminal()) else {
            return Ok(());
        };
        match (deployment.phase, deployment.rolled_back_by.clone()) {
            // It has failed already: what goes on in its name is its rollback.
            (Phase::RollingBack, Some(back)) => match self.deployment(&back)?.cloned() {
                Some(back) if !back.phase.is_terminal() => self.cancel(back),
                _ => self.rollback_did_not_come_about(&asked, "it was cancelled"),
            },
            _ => self.cancel(deployment),
        }
    }

    /// Before the first service is written nothing is to be undone. Afterwards the version is held and the last good one is
    /// brought back, as if it had failed.
    fn cancel(&mut self, mut deployment: Deployment) -> Result<(), PassError> {
        self.enter(&mut deployment, Phase::Cancelled, "it was cancelled");
        self.put(deployment.clone());
        if let Some(failed) = deployment.rollback_of.clone() {
            return self.rollback_did_not_come_about(&failed, "the rollback was cancelled");
        }
        let written = deployment.progress.as_ref().is_some_and(Progress::has_written);
        if written && matches!(deployment.version.source, VersionSource::Spec(_)) {
            self.hold(&deployment, "it was cancelled while it was being applied");
            self.go_back(&mut deployment, "it was cancelled")?;
            self.put(deployment);
        }
        Ok(())
    }

    /// Looks up what the followed ref stands at, and makes a deployment of a commit that is new. Gives the token of a look
    /// that was asked for, once the source was looked at for it.
    fn follow_source(&mut self) -> Result<Option<String>, PassError> {
        let token = self.stack.control.reconcile_token.clone();
        let asked = token.clone().filter(|_| token != self.status.handled_reconcile);
        let Source::Git(git) = self.stack.spec.source.clone() else {
            self.status.source = None;
            self.shared.sources.leave(self.key());
            return Ok(asked);
        };
        let attempt = self.attempt()?;
        let waiting = attempt.filter(needs_revision);
        let newer_than = waiting.as_ref().filter(|attempt| names_a_ref(attempt)).map(Deployment::known_since);
        let found = self.shared.sources.follow(self.key(), &git, newer_than);
        if let Some(found) = found {
            self.note_source(&git, &found);
            if let (Some(revision), None) = (found.revision, &waiting) {
                self.follow_revision(revision)?;
            }
        }
        Ok(asked.filter(|token| self.shared.sources.looked(self.key(), &git, token)))
    }

    /// A look that was asked for has been taken: what failed without being held is tried again.
    fn honour_reconcile(&mut self, token: String) -> Result<(), PassError> {
        self.status.handled_reconcile = Some(token);
        let Some(attempt) = self.attempt()? else { return Ok(()) };
        let asked = self.newest_asked(&attempt)?.filter(|asked| asked.phase == Phase::Failed);
        let Some(attempt) = asked else { return Ok(()) };
        let held = attempt.version.digest.as_ref().is_some_and(|digest| self.status.is_held(digest));
        if held || self.stack.control.pin.is_some() || !matches!(attempt.version.source, VersionSource::Spec(_)) {
            return Ok(());
        }
        let reason = format!("deployment {} failed, and another look was asked for", attempt.id);
        self.deploy_declared(attempt.origin.trigger, reason)
    }

    fn note_source(&mut self, git: &GitSource, found: &Resolution) {
        let error = found.error.as_ref().map(|(error, _)| error.to_string());
        let changed =
            self.status.source.as_ref().is_none_or(|known| {
                known.wanted != git.wanted || known.revision != found.revision || known.error != error
            });
        if changed {
            let trust = found.error.as_ref().is_some_and(|(error, _)| error.is_about_trust());
            self.source_changed(error.as_deref(), trust);
            let (wanted, revision, checked_at) = (git.wanted.clone(), found.revision.clone(), found.checked_at);
            self.status.source = Some(SourceStatus { wanted, revision, checked_at, error });
        }
    }

    fn source_changed(&mut self, error: Option<&str>, trust: bool) {
        match error {
            Some(error) => {
                let reason = if trust { Reason::AuthenticationFailed } else { Reason::SourceUnreachable };
                self.say(Kind::SourceReady, Is::False, reason, error);
                self.event(EventType::SourceFailed, None, &format!("{reason:?}"), error);
            }
            None => {
                if self.status.condition(Kind::SourceReady).is_some_and(|known| known.status == Is::False) {
                    self.event(EventType::SourceRecovered, None, "Succeeded", "the repository answers again");
                }
                self.say(Kind::SourceReady, Is::True, Reason::Succeeded, "the ref is resolved");
            }
        }
    }

    /// A commit that is not the newest one asked for becomes a deployment, or is shown as waiting behind a pin.
    fn follow_revision(&mut self, revision: Revision) -> Result<(), PassError> {
        let Some(desired) = self.status.desired.clone() else { return Ok(()) };
        if desired.revision.as_ref() == Some(&revision) || desired.generation != self.stack.generation {
            return Ok(());
        }
        let cancelled = desired.revision.is_none()
            && self.deployment(&desired.deployment)?.is_some_and(|known| known.phase == Phase::Cancelled);
        let pinned = self.stack.control.pin.is_some() && !planted!("a push does not wait behind a pin");
        if cancelled || pinned {
            let text = format!("commit {} waits behind the pin", revision.short());
            self.status.desired = Some(Pointer { revision: Some(revision), digest: None, ..desired });
            if !cancelled {
                self.event(EventType::Waiting, None, "WaitingForPin", text);
            }
            return Ok(());
        }
        let reason = format!("`{}` moved to {}", self.stack.spec.source.wanted(), revision.short());
        let version = Version {
            source: VersionSource::Spec(Box::new(self.stack.spec.clone())),
            revision: Some(revision),
            images: Vec::new(),
            followed: BTreeMap::new(),
            digest: None,
        };
        let deployment = self.new_deployment(Trigger::Git, version, reason);
        self.supersede_others(&deployment.id, self.status.seen.clone())?;
        self.attempt_now(&deployment);
        self.put(deployment);
        Ok(())
    }

    /// A deployment that Skep itself sets off.
    pub(super) fn new_deployment(&mut self, trigger: Trigger, version: Version, reason: String) -> Deployment {
        let id = DeploymentId(self.shared.ambient.new_id());
        let mapped = serde_json::json!({ "trigger": trigger, "revision": version.revision });
        self.event(EventType::DeploymentCreated, Some(&id), &format!("{trigger:?}"), reason.clone());
        Deployment {
            id,
            stack: self.key().clone(),
            generation: self.stack.generation,
            origin: Origin {
                trigger,
                actor: Actor::controller(),
                reason: Some(reason),
                original_request: serde_json::Value::Null,
                sealed_request: None,
                mapped_request: mapped,
                trace: None,
            },
            version,
            phase: Phase::Pending,
            message: None,
            failure: None,
            rollback_of: None,
            rolled_back_by: None,
            kept: None,
            plan: None,
            jobs: Default::default(),
            progress: None,
            services: Vec::new(),
            warnings: Vec::new(),
            created_at: self.now,
            handed: None,
            finished_at: None,
        }
    }
}

fn shift(time: &mut Timestamp, by: SignedDuration) {
    *time = time.checked_add(by).unwrap_or(*time);
}

/// It has to be looked up which commit the attempt is about.
fn needs_revision(attempt: &Deployment) -> bool {
    !attempt.phase.is_terminal()
        && matches!(&attempt.version.source, VersionSource::Spec(spec) if matches!(spec.source, Source::Git(_)))
        && attempt.version.revision.is_none()
}

/// The request changed where the files come from: what is known of the ref must be as new as the request.
pub(super) fn names_a_ref(deployment: &Deployment) -> bool {
    let mut requests = deployment.origin.mapped_request.as_object().into_iter().flat_map(|request| request.values());
    let names = |request: &serde_json::Value| {
        let mut changes = request.get("changes").and_then(|it| it.as_array()).into_iter().flatten();
        request.get("afresh").and_then(|it| it.as_bool()) == Some(true)
            || changes.any(|change| change.as_str().is_some_and(|field| field.starts_with("source")))
    };
    deployment.generation == 1 || requests.any(names)
}
