//! What a new version waits for before its first write: the stacks it depends on, and the next opening of its schedule.
//! Waiting is no error and no attempt: it uses up no deadline. Going back, and putting right what runs, waits for neither.

use jiff::Timestamp;

use super::apply::Carried;
use super::pass::{Next, Pass, PassError};
use super::steady::Kept;
use crate::domain::{Deployment, DeploymentPhase as Phase, EventType, Mode, Opening, Reason, Schedule};
use crate::plan::{Plan, Prune};

/// Why a new version waits, and when to look again by the clock.
struct Wait {
    reason: Reason,
    text: String,
    until: Option<Timestamp>,
}

impl Pass<'_> {
    /// Whether there is anything that new versions of this stack may have to wait for.
    pub(super) fn has_gates(&self) -> bool {
        let spec = &self.stack.spec;
        !spec.depends_on.is_empty() || spec.policy.mode == Mode::Approve || spec.policy.schedule != Schedule::default()
    }

    /// Lets a new version wait for a person's approval of its plan, for what it depends on, and for its schedule. `None`:
    /// nothing keeps it back.
    pub(super) fn wait_at_gate(
        &mut self,
        deployment: &mut Deployment,
        plan: &Plan,
    ) -> Result<Option<Carried>, PassError> {
        if !deployment.is_new() || (plan.steps.is_empty() && plan.jobs.is_empty()) || planted!("nothing is waited for")
        {
            return Ok(None);
        }
        let Some(wait) = self.wait_for(deployment, plan)? else {
            if deployment.is_at_gate() && self.has_gates() {
                self.status.attempt_since = Some(self.now);
            }
            return Ok(None);
        };
        self.wait(deployment, wait)
    }

    /// Lets a new version whose plan is refused wait for the stacks it depends on. `None`: they are ready.
    pub(super) fn wait_for_others(&mut self, deployment: &mut Deployment) -> Result<Option<Carried>, PassError> {
        if !deployment.is_new() {
            return Ok(None);
        }
        match self.wait_for_stacks()? {
            Some(text) => self.wait(deployment, Wait { reason: Reason::DependencyNotReady, text, until: None }),
            None => Ok(None),
        }
    }

    fn wait(&mut self, deployment: &mut Deployment, wait: Wait) -> Result<Option<Carried>, PassError> {
        self.waiting = Some((wait.reason, wait.text.clone()));
        let phase = if wait.reason == Reason::AwaitingApproval { Phase::AwaitingApproval } else { Phase::Pending };
        if phase == Phase::Pending && deployment.message.as_ref() != Some(&wait.text) {
            self.event(EventType::Waiting, Some(&deployment.id), &format!("{:?}", wait.reason), wait.text.clone());
        }
        self.enter(deployment, phase, wait.text);
        self.put(deployment.clone());
        let correction = match self.keep_meanwhile(deployment)? {
            Some(Kept::Again) => return Ok(Some(Carried::Ended)),
            Some(Kept::Rest(Next::At(at))) => Some(at),
            Some(Kept::Rest(Next::Idle)) | None => None,
        };
        let next = wait.until.into_iter().chain(correction).min();
        Ok(Some(Carried::Wait(next.map_or(Next::Idle, Next::At))))
    }

    fn wait_for(&mut self, deployment: &mut Deployment, plan: &Plan) -> Result<Option<Wait>, PassError> {
        if let Some(text) = self.wants_approval(deployment, plan) {
            return Ok(Some(Wait { reason: Reason::AwaitingApproval, text, until: None }));
        }
        if let Some(text) = self.wait_for_stacks()? {
            return Ok(Some(Wait { reason: Reason::DependencyNotReady, text, until: None }));
        }
        Ok(self.wait_for_opening())
    }

    /// A new version may wait for days: what runs is kept as it was applied all the while. `None`: there is nothing to be
    /// put right. A correction is a deployment of its own; once it has ended, the one that waits goes on.
    fn keep_meanwhile(&mut self, waiting: &Deployment) -> Result<Option<Kept>, PassError> {
        let good = match self.last_good_rendition() {
            Ok(Some(good)) => good,
            Ok(None) | Err(PassError::Rendition(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let live = self.status.live.as_ref().and_then(|live| live.digest.as_ref());
        if live != Some(&good.digest) {
            return Ok(None);
        }
        let plan = self.plan(waiting, &good, Prune::Never)?;
        if plan.steps.is_empty() || !plan.refused.is_empty() {
            self.no_drift();
            return Ok(None);
        }
        let kept = self.correct(waiting, &good, &plan.steps)?;
        if matches!(kept, Kept::Again) {
            self.status.resume = Some(waiting.id.clone());
        }
        Ok(Some(kept))
    }

    /// Goes on with the deployment that waited while what runs was put right.
    pub(super) fn resume_waiting(&mut self) -> Result<bool, PassError> {
        let Some(id) = self.status.resume.take() else { return Ok(false) };
        let newest = self.status.desired.as_ref().is_some_and(|desired| desired.deployment == id);
        let Some(waiting) = self.deployment(&id)?.cloned().filter(|it| newest && !it.phase.is_terminal()) else {
            return Ok(false);
        };
        self.attempt_now(&waiting);
        Ok(true)
    }

    /// The first dependency that is not met. The stack is woken when one of them changes.
    fn wait_for_stacks(&mut self) -> Result<Option<String>, PassError> {
        let wanted = self.stack.spec.depends_on.clone();
        if wanted.is_empty() {
            return Ok(None);
        }
        // Noted before they are read: what changes meanwhile wakes the stack.
        self.shared.waiting.wait(self.key(), wanted.iter().map(|dependency| dependency.stack.clone()));
        for dependency in &wanted {
            let stack = self.shared.ledger.stack(&dependency.stack)?;
            let status = self.shared.ledger.status(&dependency.stack)?.map(|found| found.value).unwrap_or_default();
            if let Some(unmet) = dependency.unmet(stack.as_ref().map(|found| (&found.value, &status))) {
                return Ok(Some(format!("waits: {unmet}")));
            }
        }
        self.shared.waiting.done(self.key());
        Ok(None)
    }

    fn wait_for_opening(&self) -> Option<Wait> {
        let Opening::Closed { opens, why } = self.stack.spec.policy.schedule.at(self.now) else { return None };
        let next =
            opens.map_or_else(|| "there is no opening in sight".to_owned(), |at| format!("the next opening is {at}"));
        Some(Wait { reason: Reason::ScheduleClosed, text: format!("waits: {why}; {next}"), until: opens })
    }
}
