//! `rollback`: a person's choice of an older version, which new ones wait behind; and its end, `unpin`.

use jiff::Timestamp;
use serde_json::json;

use super::write::{Decision, Found, not_deleting};
use super::{Ask, Code, Declare, DeclareError, Declared, Refusal};
use crate::domain::{
    Access, Deployment, DeploymentId, DeploymentPhase, Digest, EventType, Pin, Stack, StackKey, StackStatus, Trigger,
    Version, VersionSource,
};

/// How far back a version to return to is looked for.
const FARTHEST: usize = 2_000;

impl Declare {
    /// Pins the stack to an older version and records the deployment that brings it back: that of `to`, or else the one
    /// that converged before the version that runs now. While another version is on its way, or failed and stayed, that is
    /// the newest version that converged.
    ///
    /// The spec stays as it is. New versions are recorded and wait until [`Declare::unpin`], or a [`Declare::deploy`] with
    /// an explicit version.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack or deployment, one that never converged, or nothing to go back to.
    pub async fn rollback(
        &self,
        key: &StackKey,
        to: Option<&DeploymentId>,
        until: Option<Timestamp>,
        ask: &Ask,
    ) -> Result<Declared, DeclareError> {
        self.check_until(until)?;
        let whole = json!({ "rollback": to, "until": until, "stack": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| self.decide_rollback(found, to, until, ask)).await
    }

    fn decide_rollback(
        &self,
        found: Found,
        to: Option<&DeploymentId>,
        until: Option<Timestamp>,
        ask: &Ask,
    ) -> Result<Decision, DeclareError> {
        let mut stack = found.stack;
        not_deleting(&stack)?;
        let chosen = match to {
            Some(id) => self.chosen(&stack, id)?,
            None => self.version_before(&stack, &found.status)?,
        };
        let ask = Ask { trigger: Trigger::Rollback, ..ask.clone() };
        let original = json!({ "rollback": { "to": to, "until": until, "reason": ask.reason } });
        let mapped = json!({
            "rollback": {
                "stack": stack.key.name,
                "environment": stack.key.environment,
                "versionOf": chosen.id,
                "revision": chosen.version.revision,
            }
        });
        let version = Version { source: VersionSource::Kept(chosen.id.clone()), ..chosen.version.clone() };
        let deployment =
            Deployment { kept: chosen.kept.clone(), ..self.deployment(&stack, &ask, original, mapped, version) };
        stack.control.pin = Some(Pin {
            deployment: deployment.id.clone(),
            version_of: chosen.id.clone(),
            actor: ask.actor.clone(),
            reason: ask.reason.clone(),
            until,
            since: self.now(),
        });
        let message = format!("pinned to the version of deployment {}, by deployment {}", chosen.id, deployment.id);
        let events = vec![
            (EventType::Pinned, message),
            (EventType::DeploymentCreated, format!("deployment {} was recorded", deployment.id)),
        ];
        Ok(Decision::write(stack, Some(deployment), events))
    }

    /// The deployment a person named.
    fn chosen(&self, stack: &Stack, id: &DeploymentId) -> Result<Deployment, DeclareError> {
        let found = self.ledger.deployment(id)?.map(|found| found.value).filter(|found| found.stack == stack.key);
        let Some(deployment) = found else {
            let message = format!("stack `{}` has no deployment `{id}`", stack.key.name);
            let hint = "take an id from its history";
            return Err(Refusal::new(Code::NotFound, message).field("deployment").hint(hint).into());
        };
        if deployment.phase != DeploymentPhase::Converged && !planted!("any version can be pinned") {
            let message =
                format!("deployment {id} is {:?}: only a version that converged can come back", deployment.phase);
            let hint = "choose one that is Converged in the history";
            return Err(Refusal::new(Code::Conflict, message).field("deployment").hint(hint).into());
        }
        if deployment.kept.is_none() {
            let message = format!("what deployment {id} brought about was not kept");
            return Err(Refusal::new(Code::Conflict, message).field("deployment").into());
        }
        Ok(deployment)
    }

    /// The version that converged before the one that runs now.
    fn version_before(&self, stack: &Stack, status: &StackStatus) -> Result<Deployment, DeclareError> {
        let running = self.running(stack, status)?;
        let skip: Option<&Digest> = running.as_ref().and_then(|running| running.version.digest.as_ref());
        let mut before = running.as_ref().map(|running| running.id.clone());
        let mut seen = 0;
        while seen < FARTHEST {
            let page = self.ledger.history(&stack.key, before.as_ref(), 50)?;
            let Some(last) = page.last() else { break };
            before = Some(last.value.id.clone());
            seen += page.len();
            let wanted = page.into_iter().map(|found| found.value).find(|deployment| {
                (deployment.phase == DeploymentPhase::Converged || planted!("any version can be pinned"))
                    && deployment.kept.is_some()
                    && matches!(deployment.version.source, VersionSource::Spec(_))
                    && (skip.is_none() || deployment.version.digest.as_ref() != skip)
            });
            if let Some(deployment) = wanted {
                return Ok(deployment);
            }
        }
        let message = format!("stack `{}` has no earlier version that converged", stack.key.name);
        let hint = "there is nothing to go back to; deploy a version that is known to be good";
        Err(Refusal::new(Code::Conflict, message).field("stack").hint(hint).into())
    }

    /// The deployment that first brought the running version about; `None` while another one is on its way or has failed
    /// and stayed, for then the newest converged one is what to go back to.
    fn running(&self, stack: &Stack, status: &StackStatus) -> Result<Option<Deployment>, DeclareError> {
        let settled = status
            .attempt
            .as_ref()
            .is_some_and(|attempt| matches!(attempt.phase, DeploymentPhase::Converged | DeploymentPhase::RolledBack));
        // A version that was declared after the last look is on its way as well, unless a pin holds it back.
        let newer = stack.control.pin.is_none()
            && self.ledger.deployment(&stack.deployment)?.is_some_and(|found| !found.value.phase.is_terminal());
        let Some(good) = status.last_good.as_ref().filter(|_| settled && !newer) else { return Ok(None) };
        let mut id = good.version.deployment.clone();
        let mut found = None;
        for _ in 0..100 {
            let Some(deployment) = self.ledger.deployment(&id)?.map(|found| found.value) else { break };
            let earlier = match &deployment.version.source {
                VersionSource::Kept(earlier) => Some(earlier.clone()),
                VersionSource::Spec(_) => None,
            };
            found = Some(deployment);
            match earlier {
                Some(earlier) => id = earlier,
                None => break,
            }
        }
        Ok(found)
    }

    /// Takes the pin away and records a deployment of what is declared, so that it flows. Without a pin nothing happens.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn unpin(&self, key: &StackKey, ask: &Ask) -> Result<Declared, DeclareError> {
        let whole = json!({ "unpin": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| {
            let mut stack = found.stack;
            not_deleting(&stack)?;
            let Some(pin) = stack.control.pin.take() else { return Ok(Decision::Nothing(None)) };
            let message = format!("the pin to the version of deployment {} was taken away", pin.version_of);
            Ok(self.flow(stack, ask, "unpin", vec![(EventType::Unpinned, message)]))
        })
        .await
    }

    /// A deployment of the current spec, with the events that led to it.
    pub(super) fn flow(
        &self,
        mut stack: Stack,
        ask: &Ask,
        verb: &str,
        mut events: Vec<(EventType, String)>,
    ) -> Decision {
        let original = json!({ verb: { "reason": ask.reason } });
        let mapped = json!({
            verb: {
                "stack": stack.key.name,
                "environment": stack.key.environment,
                "spec": super::three_way::shown(&stack.spec),
            }
        });
        let deployment = self.deployment_of(&stack, ask, original, mapped);
        stack.deployment = deployment.id.clone();
        events.push((EventType::DeploymentCreated, format!("deployment {} was recorded", deployment.id)));
        Decision::write(stack, Some(deployment), events)
    }

    /// Refuses an end that has passed.
    pub(super) fn check_until(&self, until: Option<Timestamp>) -> Result<(), DeclareError> {
        match until {
            Some(until) if until <= self.now() => {
                let message = format!("{until} has passed already");
                Err(Refusal::new(Code::Invalid, message).field("until").hint("name a time to come").into())
            }
            _ => Ok(()),
        }
    }
}
