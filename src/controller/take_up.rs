//! The first part of a pass: what has been asked since the last one? New declarations, cancellations, released holds,
//! ended suspensions, moved refs. Each leads at most to another deployment being the attempt; what it does is decided
//! afterwards, afresh.

use jiff::{SignedDuration, Timestamp};

use super::pass::{Pass, PassError};
use crate::domain::{
    Actor, ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentId, DeploymentPhase as Phase, EventType,
    Origin, Reason, Revision, Source, SourceStatus, Trigger, Version, VersionSource,
};

/// So many of the newest deployments are looked through for ones that were left unfinished.
const RECENT: usize = 20;

impl Pass<'_> {
    /// Takes up everything that was asked. Gives `false` when the stack is suspended: then nothing more is to be done.
    pub(super) async fn take_up(&mut self) -> Result<bool, PassError> {
        self.end_what_has_ended().await?;
        if self.stack.control.suspension.is_some() {
            self.status.suspended_since.get_or_insert(self.now);
            return Ok(false);
        }
        self.go_on_after_suspension()?;
        self.release_holds();
        self.take_up_declared()?;
        self.honour_cancel()?;
        self.follow_source()?;
        Ok(true)
    }

    /// A suspension or pin whose end has come is taken away.
    async fn end_what_has_ended(&mut self) -> Result<(), PassError> {
        let control = &self.stack.control;
        let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= self.now);
        let resume = control.suspension.as_ref().is_some_and(|suspension| over(suspension.until));
        let unpin = control.pin.as_ref().is_some_and(|pin| over(pin.until));
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
        let Some(mut deployment) = self.attempt()?.filter(|attempt| !attempt.phase.is_terminal()) else {
            return Ok(());
        };
        let pause = self.now.duration_since(since);
        if let Some(progress) = &mut deployment.progress {
            shift(&mut progress.progress_deadline, pause);
            shift(&mut progress.total_deadline, pause);
            progress.healthy_since = None;
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
        self.status.seen = Some(declared.clone());
        self.supersede_others(&declared)?;
        if !deployment.phase.is_terminal() {
            self.attempt_now(&deployment);
        }
        Ok(())
    }

    /// Everything unfinished but `newest` ends as superseded. A deployment that had failed and was being rolled back has
    /// failed.
    pub(super) fn supersede_others(&mut self, newest: &DeploymentId) -> Result<(), PassError> {
        let key = self.key().clone();
        let open: Vec<Deployment> = self
            .shared
            .ledger
            .history(&key, None, RECENT)?
            .into_iter()
            .map(|found| found.value)
            .filter(|found| found.id != *newest && !found.phase.is_terminal() && found.id < *newest)
            .collect();
        for found in open {
            let Some(mut deployment) = self.deployment(&found.id)?.cloned() else { continue };
            match deployment.phase {
                Phase::RollingBack => {
                    let why = deployment.failure.as_ref().map(|failure| failure.sentence()).unwrap_or_default();
                    self.enter(
                        &mut deployment,
                        Phase::Failed,
                        format!("{why} (a newer version came before the rollback was done)"),
                    );
                }
                _ => self.enter(&mut deployment, Phase::Superseded, format!("deployment {newest} came after it")),
            }
            self.put(deployment);
        }
        Ok(())
    }

    fn honour_cancel(&mut self) -> Result<(), PassError> {
        let Some(asked) = self.stack.control.cancel.clone() else { return Ok(()) };
        let Some(mut deployment) = self.deployment(&asked)?.cloned() else { return Ok(()) };
        if deployment.phase.is_terminal() || self.status.attempt.as_ref().is_none_or(|attempt| attempt.id != asked) {
            return Ok(());
        }
        self.enter(&mut deployment, Phase::Cancelled, "it was cancelled");
        self.put(deployment.clone());
        match deployment.rollback_of.clone() {
            Some(failed) => self.rollback_did_not_come_about(&failed, "the rollback was cancelled"),
            None if deployment.progress.is_some() => {
                self.hold(&deployment, "it was cancelled while it was being applied");
                self.go_back(&mut deployment, "it was cancelled")?;
                self.put(deployment);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Looks up what the followed ref stands at, and makes a deployment of a commit that is new.
    fn follow_source(&mut self) -> Result<(), PassError> {
        let Source::Git(git) = self.stack.spec.source.clone() else {
            self.status.source = None;
            self.shared.sources.leave(self.key());
            return Ok(());
        };
        let attempt = self.attempt()?;
        let waiting = attempt.as_ref().filter(|attempt| self.needs_revision(attempt));
        let reconcile = self.stack.control.reconcile_token.clone();
        let asked = reconcile.is_some() && reconcile != self.status.handled_reconcile;
        let newer_than = match (waiting, asked) {
            (_, true) => Some(self.now),
            (Some(attempt), _) if !self.revision_is_known(&git.wanted) || names_a_ref(attempt) => {
                Some(attempt.created_at)
            }
            _ => None,
        };
        let found = self.shared.sources.follow(self.key(), &git, newer_than);
        self.status.handled_reconcile = reconcile;
        let Some(found) = found else { return Ok(()) };
        let error = found.error.as_ref().map(|(error, _)| error.to_string());
        let changed =
            self.status.source.as_ref().is_none_or(|known| {
                known.wanted != git.wanted || known.revision != found.revision || known.error != error
            });
        if changed {
            self.source_changed(error.as_deref());
            let (wanted, revision, checked_at) = (git.wanted.clone(), found.revision.clone(), found.checked_at);
            self.status.source = Some(SourceStatus { wanted, revision, checked_at, error });
        }
        match found.revision {
            Some(revision) if waiting.is_none() => self.follow_revision(revision),
            _ => Ok(()),
        }
    }

    fn source_changed(&mut self, error: Option<&str>) {
        match error {
            Some(error) => {
                self.say(Kind::SourceReady, Is::False, Reason::SourceUnreachable, error);
                self.event(EventType::SourceFailed, None, "SourceUnreachable", error);
            }
            None => {
                if self.status.condition(Kind::SourceReady).is_some_and(|known| known.status == Is::False) {
                    self.event(EventType::SourceRecovered, None, "Succeeded", "the repository answers again");
                }
                self.say(Kind::SourceReady, Is::True, Reason::Succeeded, "the ref is resolved");
            }
        }
    }

    fn needs_revision(&self, deployment: &Deployment) -> bool {
        !deployment.phase.is_terminal()
            && matches!(&deployment.version.source, VersionSource::Spec(spec) if matches!(spec.source, Source::Git(_)))
            && deployment.version.revision.is_none()
    }

    fn revision_is_known(&self, wanted: &crate::domain::Wanted) -> bool {
        self.status.source.as_ref().is_some_and(|known| known.wanted == *wanted && known.revision.is_some())
    }

    /// A commit that is not the newest one asked for becomes a deployment, or is shown as waiting behind a pin.
    fn follow_revision(&mut self, revision: Revision) -> Result<(), PassError> {
        let Some(desired) = self.status.desired.clone() else { return Ok(()) };
        if desired.revision.as_ref() == Some(&revision) || desired.generation != self.stack.generation {
            return Ok(());
        }
        if self.stack.control.pin.is_some() {
            let desired = crate::domain::Pointer { revision: Some(revision.clone()), digest: None, ..desired };
            self.status.desired = Some(desired);
            let text = format!("commit {} waits behind the pin", revision.short());
            self.event(EventType::Waiting, None, "WaitingForPin", text);
            return Ok(());
        }
        let reason = format!("`{}` moved to {}", self.stack.spec.source.wanted(), revision.short());
        let version = Version {
            source: VersionSource::Spec(Box::new(self.stack.spec.clone())),
            revision: Some(revision),
            images: Vec::new(),
            digest: None,
        };
        let deployment = self.new_deployment(Trigger::Git, version, reason);
        self.supersede_others(&deployment.id)?;
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
                mapped_request: mapped,
            },
            version,
            phase: Phase::Pending,
            message: None,
            failure: None,
            rollback_of: None,
            rolled_back_by: None,
            kept: None,
            progress: None,
            services: Vec::new(),
            warnings: Vec::new(),
            created_at: self.now,
            finished_at: None,
        }
    }
}

fn shift(time: &mut Timestamp, by: SignedDuration) {
    *time = time.checked_add(by).unwrap_or(*time);
}

/// The request named a ref: it is looked up again, even if it is the one that is followed.
fn names_a_ref(deployment: &Deployment) -> bool {
    deployment.origin.mapped_request.get("ref").is_some_and(serde_json::Value::is_string)
}
