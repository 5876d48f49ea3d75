//! What happens next with a stack, and when: a pure function of what was declared, what was found, and how far the newest
//! deployment is. Nothing is said that is not known: where the time is not known, only what is waited for is.

use jiff::{SignedDuration, Timestamp};

use super::{
    Condition, ConditionStatus, ConditionType as Kind, Deployment, DeploymentPhase as Phase, DriftPolicy, FailureClass,
    Mode, Opening, Pin, Progress, Reason, Stack, StackStatus, TargetKind, Trigger, VersionSource, target,
};

#[cfg(test)]
mod tests;

/// A deployment that failed by the infrastructure's fault is tried again after this time.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What happens next, in one phrase, and when as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The phrase. Where there is a time it speaks of it as `then`.
    pub text: String,
    /// The time.
    pub at: Option<Timestamp>,
}

impl Outlook {
    fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), at: None }
    }

    fn at(text: impl Into<String>, at: Timestamp) -> Self {
        Self { text: text.into(), at: Some(at) }
    }
}

impl Deployment {
    /// Whether it brings a new version, is rendered, and has written nothing yet: it may have to wait before its first
    /// write. That time is not counted by any deadline.
    #[must_use]
    pub fn is_at_gate(&self) -> bool {
        let waits = matches!(self.phase, Phase::Pending | Phase::AwaitingApproval);
        waits && self.is_new() && self.version.digest.is_some()
    }

    /// Whether it brings a new version and has written nothing yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        matches!(self.version.source, VersionSource::Spec(_)) && self.progress.is_none()
    }

    /// When what failed by the infrastructure's fault alone is tried again, as a new attempt; `None`: it is not. A version
    /// that is `held` never is. The correction of drift may come later: it slows down against a tireless writer.
    #[must_use]
    pub fn tried_again(&self, held: bool, now: Timestamp) -> Option<Timestamp> {
        let failure = self.failure.as_ref().filter(|_| self.phase == Phase::Failed && !held)?;
        let started = self.progress.is_some() && self.rollback_of.is_none();
        let outage = match failure.class {
            FailureClass::EngineUnreachable | FailureClass::QuorumLost => true,
            // A ref that could not be looked up flows by itself as soon as it can be.
            FailureClass::SourceUnreachable => self.version.revision.is_some(),
            _ => false,
        };
        (started || outage).then(|| self.finished_at.unwrap_or(now).checked_add(TRY_AGAIN).unwrap_or(now))
    }
}

/// What happens next with a stack whose newest deployment is `attempt`. `None`: nothing has to, or it is not known.
#[must_use]
pub fn outlook(stack: &Stack, status: &StackStatus, attempt: Option<&Deployment>, now: Timestamp) -> Option<Outlook> {
    if let Some(deletion) = &stack.control.deletion {
        return Some(Outlook::of(match deletion.keep_running {
            true => "Skep forgets it, and what runs stays",
            false => "it is gone once its tasks have ended and its objects are removed",
        }));
    }
    if let Some(suspension) = &stack.control.suspension {
        return Some(match suspension.until {
            Some(until) => Outlook::at("the suspension ends then, and Skep goes on with it", until),
            None => Outlook::of("nothing is written until somebody resumes it"),
        });
    }
    let ready = status.condition(Kind::Ready);
    let stalled = status.condition(Kind::Stalled).filter(|it| it.status == ConditionStatus::True);
    if stalled.is_none()
        && let Some(found) = ready.and_then(|ready| elsewhere(stack, status, ready, attempt))
    {
        return Some(found);
    }
    let asked = stack.control.pin.as_ref().map_or(&stack.deployment, |pin| &pin.deployment);
    let taken_up = status.seen.as_ref() == Some(asked) || status.observed_generation >= stack.generation;
    let Some(attempt) = attempt.filter(|_| taken_up) else {
        return Some(Outlook::of("what is asked for is taken up"));
    };
    if !attempt.phase.is_terminal() {
        return Some(under_way(stack, status, attempt, ready, now));
    }
    at_rest(stack, status, attempt, stalled.map(|it| it.reason), now)
}

/// What keeps Skep from working on it is not the stack's own.
fn elsewhere(stack: &Stack, status: &StackStatus, ready: &Condition, attempt: Option<&Deployment>) -> Option<Outlook> {
    let under_way = attempt.filter(|attempt| !attempt.phase.is_terminal());
    Some(match ready.reason {
        Reason::RelayUnreachable => Outlook::of("the Skep that keeps it is tried again by itself"),
        Reason::EngineUnreachable | Reason::NotAManager => match under_way {
            Some(attempt) => Outlook::at(
                "the engine is tried again by itself; the deployment fails if that takes until then",
                deadline(stack, status, attempt),
            ),
            None => Outlook::of("the engine is tried again by itself"),
        },
        Reason::Foreign => Outlook::of("nothing is written here until this Skep holds the environment"),
        Reason::Observing => Outlook::of("nothing is written: the policy is to observe"),
        _ => return None,
    })
}

/// When a deployment ends at the latest: from the first write on, or before it from when it was taken up.
fn deadline(stack: &Stack, status: &StackStatus, attempt: &Deployment) -> Timestamp {
    if let Some(progress) = &attempt.progress {
        return progress.total_deadline;
    }
    let since = status.attempt_since.unwrap_or(attempt.known_since());
    since.checked_add(stack.spec.policy.total_deadline).unwrap_or(since)
}

fn under_way(
    stack: &Stack,
    status: &StackStatus,
    attempt: &Deployment,
    ready: Option<&Condition>,
    now: Timestamp,
) -> Outlook {
    if let Some(run) = attempt.jobs.values().find(|run| run.state.is_under_way()) {
        return Outlook::at(format!("the job `{}` has to end well until then", run.service), run.deadline);
    }
    let reason = ready.map(|ready| ready.reason);
    match (attempt.phase, &attempt.progress) {
        (Phase::AwaitingApproval, _) => Outlook::of("it waits until somebody approves its plan"),
        (Phase::Pending, None) if attempt.is_at_gate() => at_gate(stack, ready, now),
        (Phase::Pending | Phase::Fetching | Phase::Rendering, None) => {
            let waits = matches!(reason, Some(Reason::SourceUnreachable | Reason::InfrastructureUnavailable));
            let text = match attempt.phase {
                _ if waits => "what does not answer is asked again by itself",
                Phase::Pending => "it is begun",
                Phase::Fetching => "the ref is looked up, and the files are fetched",
                _ => "the files are rendered, and what they change is planned",
            };
            let text = format!("{text}; the deployment fails if that takes until then");
            Outlook::at(text, deadline(stack, status, attempt))
        }
        (Phase::Applying | Phase::Verifying, Some(progress)) => judged(stack, status, attempt, progress),
        (Phase::RollingBack, _) => Outlook::of("the last good version is brought back"),
        _ => Outlook::of("the plan is carried out, and then its tasks are judged"),
    }
}

/// It waits before its first write.
fn at_gate(stack: &Stack, ready: Option<&Condition>, now: Timestamp) -> Outlook {
    match ready.map(|ready| (ready.reason, ready.message.as_str())) {
        Some((Reason::ScheduleClosed, _)) => match stack.spec.policy.schedule.at(now) {
            Opening::Closed { opens: Some(at), .. } => Outlook::at("its schedule opens then, and it is begun", at),
            Opening::Closed { opens: None, .. } => Outlook::of("it waits, and no opening of its schedule is in sight"),
            Opening::Open => Outlook::of("its schedule has opened: it is begun"),
        },
        Some((Reason::DependencyNotReady, message)) => {
            let what = message.strip_prefix("waits: ").unwrap_or(message);
            Outlook::of(format!("it is begun once that has changed: {what}"))
        }
        _ => Outlook::of("it is planned, and begun"),
    }
}

/// It has begun to write.
fn judged(stack: &Stack, status: &StackStatus, attempt: &Deployment, progress: &Progress) -> Outlook {
    let policy = &stack.spec.policy;
    if progress.waiting_since.is_some() {
        let text = "it goes on by itself once the infrastructure is there; it fails if that takes until then";
        return Outlook::at(text, progress.total_deadline);
    }
    if attempt.phase == Phase::Applying {
        return Outlook::of("the rest of the plan is carried out, and then its tasks are judged");
    }
    if let Some(until) = progress.baking_since.and_then(|since| since.checked_add(policy.bake).ok()) {
        return Outlook::at("it is watched until then, and has converged if nothing of it fails", until);
    }
    if progress.healthy_since.is_some() {
        return Outlook::of("it has converged once its tasks have run through the monitor period");
    }
    let then = match () {
        () if attempt.rollback_of.is_some() => "a person has to look",
        () if attempt.origin.trigger == Trigger::Drift => "the stack stays as it is",
        () if status.may_go_back(policy) && status.last_good.is_some() => "the last good version comes back",
        () => "the stack stays as it is, and a person has to look",
    };
    let text = format!("one more task has to get healthy until then; else it fails, and {then}");
    Outlook::at(text, progress.progress_deadline.min(progress.total_deadline))
}

/// Nothing is under way.
fn at_rest(
    stack: &Stack,
    status: &StackStatus,
    attempt: &Deployment,
    stalled: Option<Reason>,
    now: Timestamp,
) -> Option<Outlook> {
    let held = attempt.version.digest.as_ref().is_some_and(|digest| status.is_held(digest));
    if let Some(at) = attempt.tried_again(held, now) {
        return Some(match attempt.origin.trigger {
            // Against a tireless writer that is later.
            Trigger::Drift => Outlook::of("it is tried again by itself"),
            _ => Outlook::at("it failed by no fault of its own, and is tried again then", at),
        });
    }
    match stalled {
        Some(Reason::RollbackFailed) => {
            return Some(Outlook::of("nothing happens by itself: a person has to look, and deploy a version"));
        }
        Some(Reason::LastGoodUnreadable) => {
            return Some(Outlook::of("nothing happens by itself until a version is deployed anew"));
        }
        Some(Reason::Foreign) => {
            return Some(Outlook::of("it goes on by itself once what belongs to somebody else is out of the way"));
        }
        Some(Reason::SourceUnreachable) if attempt.version.revision.is_none() => {
            return Some(Outlook::of("the repository is asked again by itself, and what is found there is deployed"));
        }
        // It is handed over again, and what the other Skep then says is not known.
        Some(Reason::Conflict) => return None,
        _ => {}
    }
    if let Some(pin) = &stack.control.pin {
        return Some(pinned(pin));
    }
    match target(stack, status) {
        TargetKind::LastGood | TargetKind::Nothing => {
            return Some(Outlook::of("nothing happens by itself until a newer version comes, or the hold is released"));
        }
        _ if stalled.is_some() || attempt.phase == Phase::Failed => {
            return Some(Outlook::of("nothing happens by itself until a newer version comes"));
        }
        _ => {}
    }
    let policy = &stack.spec.policy;
    let drift = status.condition(Kind::Drifted).filter(|it| it.status == ConditionStatus::True);
    if let Some(drift) = drift {
        return Some(Outlook::of(match drift.reason {
            _ if status.drift.stays || policy.drift == DriftPolicy::Report || policy.mode == Mode::Observe => {
                "what differs stays as it is: the policy is to report it"
            }
            Reason::Conflict => "it is put right again, the more slowly the more often somebody changes it",
            _ => "what differs is put right",
        }));
    }
    let healthy = status.condition(Kind::Healthy);
    healthy
        .filter(|it| it.status == ConditionStatus::False && attempt.phase == Phase::Converged)
        .map(|_| Outlook::of("what is missing is Swarm's to start again; nothing is written"))
}

/// A person's choice stands.
fn pinned(pin: &Pin) -> Outlook {
    match pin.until {
        Some(until) => Outlook::at("the pin ends then, and what is declared flows again", until),
        None => Outlook::of("newer versions wait until somebody ends the pin"),
    }
}
