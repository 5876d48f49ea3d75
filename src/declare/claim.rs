//! A person's word that this Skep is to take an environment over.

use super::permit::no_such_environment;
use super::{Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{Access, Claim, ClaimOrder, Environment, EnvironmentName, Event, EventType, Place, Way};
use crate::ledger::Batch;

impl Declare {
    /// Orders the controller to claim an environment that another Skep holds; the other one observes from then on. Stacks
    /// that others handed over are declared here from then on. When this Skep holds it all already, nothing happens.
    ///
    /// Of an environment behind a relay the order is passed on, and its stacks are this Skep's, whoever has them there.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such environment.
    pub async fn claim_environment(&self, name: &EnvironmentName, ask: &Ask) -> Result<Environment, DeclareError> {
        self.permit(ask, Access::Claim, Place::Environment(name))?;
        self.check_ask(ask)?;
        let Some(environment) = self.ledger.environment(name)?.map(|found| found.value) else {
            return Err(no_such_environment(name));
        };
        // Another Skep's word reaches the Swarm alone: whose the stacks are is said when they are handed over.
        let by_relay = ask.via == Some(Way::Relay);
        let status = self.ledger.environment_status(name)?.map(|found| found.value);
        let ours = status.is_some_and(|status| matches!(status.claim, Claim::Ours(_)));
        let token = self.ambient.new_id();
        let taken = if by_relay { Batch::new() } else { self.taken_over(name, &token, Batch::new())? };
        if ours && environment.relay.is_none() && taken.is_empty() {
            return Ok(environment);
        }
        let order = ClaimOrder { token, actor: ask.actor.clone(), reason: ask.reason.clone(), since: self.now() };
        let why = ask.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let event = Event {
            time: order.since,
            kind: EventType::EnvironmentClaimOrdered,
            environment: name.clone(),
            stack: None,
            deployment: None,
            reason: format!("{:?}", ask.trigger),
            message: format!("environment `{name}` is to be claimed{why}"),
            actor: ask.actor.name.clone(),
            via: ask.via,
        };
        if self.committed(taken.put_claim_order(name, &order).event(&event)).await? {
            return Ok(environment);
        }
        let message = format!("the stacks of environment `{name}` are being changed by others");
        Err(Refusal::new(Code::Conflict, message).hint("try again in a moment").into())
    }
}
