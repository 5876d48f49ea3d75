//! A person's other words about a stack: release of a hold, cancel, suspend, resume, reconcile, delete, hand back.

use jiff::Timestamp;
use serde_json::json;

use super::catalog_care::not_of_catalog;
use super::write::{Decision, Found, not_deleting};
use super::{Ask, Code, Declare, DeclareError, Declared, Refusal};
use crate::domain::{
    Access, Approval, Deletion, Deployment, DeploymentId, DeploymentPhase, Digest, EventType, Stack, StackKey,
    Suspension,
};

/// What to do instead.
const GONE_THERE: &str = "take its manifest out of the repository, or delete the catalog first";

impl Declare {
    /// Forgets which versions failed here, and records a new deployment of what is declared (none while a pin stands).
    /// Without a held version nothing happens.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn release_hold(&self, key: &StackKey, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "releaseHold": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| {
            let mut stack = found.stack;
            not_deleting(&stack)?;
            if found.status.held.is_empty() {
                return Ok(Decision::Nothing(None));
            }
            stack.control.release_token = Some(self.ambient.new_id());
            let message = format!("{} held versions may be tried again", found.status.held.len());
            let events = vec![(EventType::HoldReleased, message)];
            if stack.control.pin.is_some() {
                return Ok(Decision::write(stack, None, events));
            }
            Ok(self.flow(stack, ask, "releaseHold", events))
        })
        .await
    }

    /// Orders a deployment to be stopped: the one named, or the one under way.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack or deployment, or none is under way.
    pub async fn cancel(
        &self,
        key: &StackKey,
        deployment: Option<&DeploymentId>,
        ask: &Ask,
    ) -> Result<Declared, DeclareError> {
        let whole = json!({ "cancel": deployment, "stack": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| {
            let active = self.under_way(&found, deployment)?;
            let mut stack = found.stack;
            if stack.control.cancel.as_ref() == Some(&active.id) {
                return Ok(Decision::Nothing(Some(Box::new(active))));
            }
            stack.control.cancel = Some(active.id.clone());
            let message = format!("deployment {} is to be cancelled", active.id);
            Ok(Decision::write(stack, None, vec![(EventType::ReconcileRequested, message)]))
        })
        .await
        .and_then(|declared| match declared.stack.control.cancel.clone() {
            Some(id) => Ok(Declared { deployment: self.ledger.deployment(&id)?.map(|found| found.value), ..declared }),
            None => Ok(declared),
        })
    }

    /// Lets a deployment that waits for approval go on: with the plan it waits with, which is `plan` if that is given.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack or deployment, it does not wait, or its plan is another one by now.
    pub async fn approve(
        &self,
        key: &StackKey,
        id: &DeploymentId,
        plan: Option<&str>,
        ask: &Ask,
    ) -> Result<Declared, DeclareError> {
        let whole = json!({ "approve": id, "plan": plan, "stack": key });
        let declared = self
            .change(key, (ask, Access::Declare), &whole, |found| {
                let waiting = self.waiting(&found.stack, id, plan)?;
                let mut stack = found.stack;
                not_deleting(&stack)?;
                let same = |it: &Approval| it.deployment == *id && it.plan == waiting;
                if stack.control.approval.as_ref().is_some_and(same) {
                    return Ok(Decision::Nothing(None));
                }
                let message = format!("deployment {id} is approved with the plan {}", waiting.as_str());
                stack.control.approval = Some(Approval {
                    deployment: id.clone(),
                    plan: waiting,
                    actor: ask.actor.clone(),
                    reason: ask.reason.clone(),
                    since: self.now(),
                });
                Ok(Decision::write(stack, None, vec![(EventType::Approved, message)]))
            })
            .await?;
        Ok(Declared { deployment: self.ledger.deployment(id)?.map(|found| found.value), ..declared })
    }

    /// The digest of the plan that a deployment waits with.
    fn waiting(&self, stack: &Stack, id: &DeploymentId, seen: Option<&str>) -> Result<Digest, DeclareError> {
        let known = self.ledger.deployment(id)?.map(|found| found.value).filter(|it| it.stack == stack.key);
        let refusal = |code, message: String| Refusal::new(code, message).field("deployment");
        let Some(deployment) = known else {
            let message = format!("stack `{}` has no deployment `{id}`", stack.key.name);
            return Err(refusal(Code::NotFound, message).into());
        };
        let plan = deployment.plan.filter(|_| deployment.phase == DeploymentPhase::AwaitingApproval);
        let Some(plan) = plan else {
            let message = format!("deployment {id} is {:?}: it does not wait for approval", deployment.phase);
            return Err(refusal(Code::Conflict, message).into());
        };
        if seen.is_some_and(|seen| seen != plan.as_str()) {
            let message = format!("the plan of deployment {id} is another one by now: {}", plan.as_str());
            return Err(refusal(Code::Conflict, message).hint("look at it again before you approve it").into());
        }
        Ok(plan)
    }

    /// The deployment to cancel: the one named, or the newest that has not ended.
    fn under_way(&self, found: &Found, named: Option<&DeploymentId>) -> Result<Deployment, DeclareError> {
        let stack = &found.stack;
        let candidates: Vec<DeploymentId> = match named {
            Some(id) => vec![id.clone()],
            None => {
                let attempt = found.status.attempt.as_ref().map(|attempt| attempt.id.clone());
                let pin = stack.control.pin.as_ref().map(|pin| pin.deployment.clone());
                attempt.into_iter().chain(pin).chain([stack.deployment.clone()]).collect()
            }
        };
        let mut ended = None;
        for id in candidates {
            let known = self.ledger.deployment(&id)?.map(|found| found.value).filter(|it| it.stack == stack.key);
            match known {
                Some(deployment) if !deployment.phase.is_terminal() => return Ok(deployment),
                Some(deployment) => ended = Some(deployment),
                None => {}
            }
        }
        let refusal = match (named, ended) {
            (Some(id), None) => {
                Refusal::new(Code::NotFound, format!("stack `{}` has no deployment `{id}`", stack.key.name))
            }
            (_, Some(ended)) => Refusal::new(
                Code::Conflict,
                format!("deployment {} has ended as {:?}: there is nothing to cancel", ended.id, ended.phase),
            ),
            (None, None) => Refusal::new(Code::Conflict, "no deployment is under way".to_owned()),
        };
        Err(refusal.field("deployment").into())
    }

    /// Orders that nothing is written, until `until` or [`Declare::resume`]. The reason is the one of `ask`.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack, no reason, an end that has passed.
    pub async fn suspend(&self, key: &StackKey, until: Option<Timestamp>, ask: &Ask) -> Result<Declared, DeclareError> {
        let Some(reason) = ask.reason.clone().filter(|reason| !reason.trim().is_empty()) else {
            let message = "a suspension needs a reason, for whoever finds the stack suspended";
            return Err(Refusal::new(Code::Invalid, message).field("reason").into());
        };
        self.check_until(until)?;
        let whole = json!({ "suspend": until, "stack": key });
        self.change(key, (ask, Access::Declare), &whole, |found| {
            let mut stack = found.stack;
            let same = |it: &Suspension| it.reason == reason && it.until == until && it.actor == ask.actor;
            if stack.control.suspension.as_ref().is_some_and(same) {
                return Ok(Decision::Nothing(None));
            }
            let since = stack.control.suspension.as_ref().map_or_else(|| self.now(), |known| known.since);
            let message = match until {
                Some(until) => format!("suspended until {until}: {reason}"),
                None => format!("suspended: {reason}"),
            };
            let suspension = Suspension { reason: reason.clone(), actor: ask.actor.clone(), until, since };
            stack.control.suspension = Some(suspension);
            Ok(Decision::write(stack, None, vec![(EventType::Suspended, message)]))
        })
        .await
    }

    /// Ends a suspension. Without one nothing happens.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn resume(&self, key: &StackKey, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "resume": key });
        self.change(key, (ask, Access::Declare), &whole, |found| {
            let mut stack = found.stack;
            if stack.control.suspension.take().is_none() {
                return Ok(Decision::Nothing(None));
            }
            Ok(Decision::write(stack, None, vec![(EventType::Resumed, "the suspension ended".to_owned())]))
        })
        .await
    }

    /// Asks for a look now. The token is echoed in the status when it was honoured.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn reconcile(&self, key: &StackKey, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "reconcile": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| {
            Ok(self.look(found.stack, "a look was asked for".to_owned()))
        })
        .await
    }

    /// Orders a look, and says why.
    pub(super) fn look(&self, mut stack: Stack, message: String) -> Decision {
        stack.control.reconcile_token = Some(self.ambient.new_id());
        Decision::write(stack, None, vec![(EventType::ReconcileRequested, message)])
    }

    /// Orders the stack to be deleted; the controller removes what it owns, then the record. Volumes are kept always,
    /// everything else too with `keep_running`.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn delete(&self, key: &StackKey, keep_running: bool, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "delete": key, "keepRunning": keep_running });
        self.change(key, (ask, Access::Delete), &whole, |found| {
            let mut stack = found.stack;
            if stack.control.deletion.as_ref().is_some_and(|deletion| deletion.keep_running == keep_running) {
                return Ok(Decision::Nothing(None));
            }
            not_of_catalog(&stack, GONE_THERE)?;
            stack.control.deletion =
                Some(Deletion { keep_running, release: false, actor: ask.actor.clone(), since: self.now() });
            let message = match keep_running {
                true => "the stack is to be forgotten; what runs stays".to_owned(),
                false => "the stack is to be deleted".to_owned(),
            };
            Ok(Decision::write(stack, None, vec![(EventType::StackChanged, message)]))
        })
        .await
    }

    /// Orders the stack to be handed back: the controller takes Skep's labels from what it owns, then the record goes.
    /// Everything runs on.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack, or it is being deleted.
    pub async fn release(&self, key: &StackKey, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "release": key });
        self.change(key, (ask, Access::Delete), &whole, |found| {
            let mut stack = found.stack;
            if stack.control.deletion.as_ref().is_some_and(|deletion| deletion.release) {
                return Ok(Decision::Nothing(None));
            }
            not_deleting(&stack)?;
            not_of_catalog(&stack, GONE_THERE)?;
            let (actor, since) = (ask.actor.clone(), self.now());
            stack.control.deletion = Some(Deletion { keep_running: true, release: true, actor, since });
            let message = "the stack is to be handed back; what runs stays".to_owned();
            Ok(Decision::write(stack, None, vec![(EventType::StackChanged, message)]))
        })
        .await
    }
}
