//! A person's word that this Skep is to take an environment over.

use super::permit::no_such_environment;
use super::{Ask, Declare, DeclareError};
use crate::domain::{Access, Claim, ClaimOrder, Environment, EnvironmentName, Event, EventType, Place};
use crate::ledger::Batch;

impl Declare {
    /// Orders the controller to claim an environment that another Skep holds; the other one observes from then on. When
    /// this Skep holds it already, nothing happens.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such environment.
    pub async fn claim_environment(&self, name: &EnvironmentName, ask: &Ask) -> Result<Environment, DeclareError> {
        self.permit(ask, Access::Claim, Place::Environment(name))?;
        self.check_ask(ask)?;
        let Some(environment) = self.ledger.environment(name)?.map(|found| found.value) else {
            return Err(no_such_environment(name));
        };
        let status = self.ledger.environment_status(name)?.map(|found| found.value);
        if status.is_some_and(|status| matches!(status.claim, Claim::Ours(_))) {
            return Ok(environment);
        }
        let order = ClaimOrder {
            token: self.ambient.new_id(),
            actor: ask.actor.clone(),
            reason: ask.reason.clone(),
            since: self.now(),
        };
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
        self.ledger.commit(Batch::new().put_claim_order(name, &order).event(&event)).await?;
        Ok(environment)
    }
}
