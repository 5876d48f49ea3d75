//! What is known of the link, and of stacks because of it: written where people look.

use jiff::Timestamp;

use super::Link;
use crate::domain::{
    Claim, Condition, ConditionStatus as Is, ConditionType as Kind, EnvironmentStatus, Event, EventType, Reason,
    StackKey, StackStatus, set_condition,
};
use crate::ledger::{Batch, LedgerError, RecordKey};
use crate::ports::{FarError, StoreError};

/// How often a write is tried against others that are faster.
pub(super) const ATTEMPTS: u32 = 16;
/// Stacks that are written in one transaction.
const AT_ONCE: usize = 100;

fn say(
    status: &mut StackStatus,
    kind: Kind,
    is: Is,
    reason: Reason,
    message: &str,
    (generation, now): (u64, Timestamp),
) {
    let message = message.to_owned();
    let condition = Condition { kind, status: is, reason, message, observed_generation: generation, since: now };
    set_condition(&mut status.conditions, condition);
}

/// Marks a status as one that could not be brought up to date.
fn mark_stale(status: &mut StackStatus, message: &str, at: (u64, Timestamp)) {
    say(status, Kind::Ready, Is::Unknown, Reason::RelayUnreachable, message, at);
}

/// Marks a status as that of a stack that the far Skep does not take.
fn mark_refused(status: &mut StackStatus, message: &str, at: (u64, Timestamp)) {
    say(status, Kind::Ready, Is::False, Reason::Conflict, message, at);
    say(status, Kind::Stalled, Is::True, Reason::Conflict, message, at);
}

/// Whether a status says that the far Skep could not be reached.
pub(super) fn is_stale(status: &StackStatus) -> bool {
    status.condition(Kind::Ready).is_some_and(|ready| ready.reason == Reason::RelayUnreachable)
}

impl Link {
    fn event(&self, now: Timestamp, kind: EventType, reason: &str, message: String) -> Event {
        Event {
            time: now,
            kind,
            environment: self.name.clone(),
            stack: None,
            deployment: None,
            reason: reason.to_owned(),
            message,
            actor: "controller".into(),
            via: None,
        }
    }

    /// What is to be written of the connection, and the lines about it.
    pub(super) fn connection(
        &self,
        batch: Batch,
        told: Option<&EnvironmentStatus>,
        lost: Option<&FarError>,
    ) -> Result<Batch, LedgerError> {
        let now = self.parts.ambient.now();
        let before = self.parts.ledger.environment_status(&self.name)?.map(|found| found.value);
        let told = told.or(before.as_ref().filter(|_| lost.is_some()));
        let (connected, message) = match (lost, told) {
            (Some(error), _) => (false, Some(error.to_string())),
            (None, Some(told)) => (told.connected, told.message.clone()),
            (None, None) => (false, Some("the Skep there has not looked at its engine yet".to_owned())),
        };
        let since = before.as_ref().filter(|before| before.connected == connected).map_or(now, |before| before.since);
        let status = EnvironmentStatus {
            connected,
            since,
            message: message.clone(),
            engine: told.and_then(|told| told.engine.clone()),
            api: told.and_then(|told| told.api.clone()),
            nodes: told.map_or(0, |told| told.nodes),
            claim: told.map_or(Claim::Unknown, |told| told.claim.clone()),
            handled_claim: before.as_ref().and_then(|before| before.handled_claim.clone()),
        };
        if before.as_ref() == Some(&status) {
            return Ok(batch);
        }
        let batch = batch.put_environment_status(&self.name, &status);
        if before.is_some_and(|before| before.connected == connected) {
            return Ok(batch);
        }
        Ok(batch.event(&match (connected, lost) {
            (true, _) => {
                let text = format!("the Skep at {} answers, and its engine", self.relay.url);
                self.event(now, EventType::EnvironmentConnected, "Connected", text)
            }
            (false, Some(_)) => {
                let text = message.unwrap_or_default();
                self.event(now, EventType::EnvironmentDisconnected, "RelayUnreachable", text)
            }
            (false, None) => {
                let text = message.unwrap_or_default();
                self.event(now, EventType::EnvironmentDisconnected, "EngineUnreachable", text)
            }
        }))
    }

    /// The far Skep is gone: everything that is shown of its stacks is what was last known.
    pub(super) async fn report_lost(&self, error: &FarError) -> Result<(), LedgerError> {
        let batch = self.connection(Batch::new(), None, Some(error))?;
        if !batch.is_empty() {
            self.parts.ledger.commit(batch).await?;
        }
        let text = format!("{error}; what is shown was known before {:.0}", self.parts.ambient.now());
        let keys = self.parts.ledger.stack_keys(&self.name)?;
        for keys in keys.chunks(AT_ONCE) {
            self.amend(keys, |_, status, at| {
                if !is_stale(status) {
                    mark_stale(status, &text, at);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// A stack is not taken: that is shown on it, and told once.
    pub(super) async fn report_refused(&self, key: &StackKey, message: &str) -> Result<(), LedgerError> {
        let known = self.parts.ledger.status(key)?.map(|found| found.value).unwrap_or_default();
        let told = known.condition(Kind::Stalled).is_some_and(|it| it.status == Is::True && it.message == message);
        self.amend(std::slice::from_ref(key), |_, status, at| mark_refused(status, message, at)).await?;
        if !told {
            let now = self.parts.ambient.now();
            let event = self.event(now, EventType::Refused, "Conflict", message.to_owned());
            let event = Event { stack: Some(key.name.clone()), ..event };
            self.parts.ledger.commit(Batch::new().event(&event)).await?;
        }
        Ok(())
    }

    /// An order to claim was passed on, or refused.
    pub(super) async fn report_claimed(&self, token: &str, refused: Option<&FarError>) -> Result<(), LedgerError> {
        let key = RecordKey::EnvironmentStatus(self.name.clone());
        for _ in 0..ATTEMPTS {
            let Some(found) = self.parts.ledger.environment_status(&self.name)? else { return Ok(()) };
            let status = EnvironmentStatus { handled_claim: Some(token.to_owned()), ..found.value };
            let mut batch = Batch::new().expect(&key, Some(found.revision)).put_environment_status(&self.name, &status);
            let now = self.parts.ambient.now();
            batch = batch.event(&match refused {
                Some(error) => self.event(now, EventType::EnvironmentForeign, "Refused", error.to_string()),
                None => {
                    let text = format!("the claim was passed on to the Skep at {}", self.relay.url);
                    self.event(now, EventType::EnvironmentClaimed, "Claimed", text)
                }
            });
            match self.parts.ledger.commit(batch).await {
                Err(LedgerError::Store(StoreError::Conflict { .. })) => {}
                written => return written.map(drop),
            }
        }
        Ok(())
    }

    /// What the link has to say of a stack, put over what the far Skep said.
    pub(super) fn overlay(&self, key: &StackKey, status: &mut StackStatus, generation: u64) {
        let shown = self.known().refused.get(key).filter(|it| it.shown).map(|it| it.message.clone());
        if let Some(message) = shown {
            mark_refused(status, &message, (generation, self.parts.ambient.now()));
        }
    }

    /// Nothing is there of these stacks yet: what was said of them while the far Skep was gone holds no more.
    pub(super) async fn fresh(&self, keys: &[StackKey]) -> Result<(), LedgerError> {
        for keys in keys.chunks(AT_ONCE) {
            self.amend(keys, |_, status, _| {
                if is_stale(status) {
                    status.conditions.retain(|condition| condition.kind != Kind::Ready);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Changes statuses, as long as their stacks are there.
    async fn amend(
        &self,
        keys: &[StackKey],
        change: impl Fn(&StackKey, &mut StackStatus, (u64, Timestamp)),
    ) -> Result<(), LedgerError> {
        for _ in 0..ATTEMPTS {
            let (now, mut batch) = (self.parts.ambient.now(), Batch::new());
            for key in keys {
                let Some(stack) = self.parts.ledger.stack(key)? else { continue };
                let found = self.parts.ledger.status(key)?;
                let revision = found.as_ref().map(|found| found.revision);
                let before = found.map(|found| found.value).unwrap_or_default();
                let mut status = before.clone();
                change(key, &mut status, (stack.value.generation, now));
                if status != before {
                    batch = batch
                        .expect(&RecordKey::Stack(key.clone()), Some(stack.revision))
                        .expect(&RecordKey::Status(key.clone()), revision)
                        .put_status(key, &status);
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            match self.parts.ledger.commit(batch).await {
                Err(LedgerError::Store(StoreError::Conflict { .. })) => {}
                written => return written.map(drop),
            }
        }
        Ok(())
    }
}
