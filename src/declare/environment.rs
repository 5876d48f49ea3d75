//! Environments that are no longer declared.

use super::write::ATTEMPTS;
use super::{Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{Access, EnvironmentName, EventType, Place};
use crate::ledger::{Batch, RecordKey};

impl Declare {
    /// Forgets an environment in which no stack is declared. Nothing on its Swarm is changed.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: there is none, or stacks are declared in it.
    pub async fn delete_environment(&self, name: &str, ask: &Ask) -> Result<EnvironmentName, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let name = EnvironmentName::parse(name)
            .map_err(|error| Refusal::new(Code::Invalid, error.to_string()).field("name"))?;
        for _ in 0..ATTEMPTS {
            let Some(found) = self.ledger.environment(&name)? else {
                let message = format!("there is no environment `{name}`");
                return Err(Refusal::new(Code::NotFound, message).field("name").into());
            };
            let stacks = self.ledger.stacks(Some(&name))?;
            if !stacks.is_empty() {
                let named: Vec<&str> = stacks.iter().take(10).map(|stack| stack.value.key.name.as_str()).collect();
                let message = format!("{} stacks are declared in `{name}`: {}", stacks.len(), named.join(", "));
                let hint = "delete them first; `--keep-running` leaves their objects";
                return Err(Refusal::new(Code::Conflict, message).field("name").hint(hint).into());
            }
            let event = self.event_in(
                name.clone(),
                EventType::EnvironmentDeleted,
                format!("environment `{name}` is no longer declared"),
                ask,
            );
            let key = RecordKey::Environment(name.clone());
            let batch = Batch::new().expect(&key, Some(found.revision)).delete_environment(&name).event(&event);
            if self.committed(batch).await? {
                return Ok(name);
            }
        }
        let message = format!("environment `{name}` is being changed by others all the time");
        Err(Refusal::new(Code::Conflict, message).hint("try again in a moment").into())
    }
}
