//! Care of hooks: what a delivery would do, having one done again, and deleting a hook.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::deliver::{Delivered, Delivery, objection, values};
use super::rule::Facts;
use super::write::{ATTEMPTS, Decision};
use super::{Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{Access, EventType, Place, Sealed, StackKey};
use crate::ledger::{Batch, Hook, HookDelivery, RecordKey};

/// Deliveries that are kept of each hook; older ones make way.
pub const DELIVERIES: usize = 100;
/// Bytes of what came with a delivery that are kept, so that it can be done again.
const LARGEST_KEPT: usize = 256 << 10;

/// What a delivery would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What happened at the sender's, in one word.
    pub event: String,
    /// The rules of the hook, in their order: why each is not about this delivery; none for one that is.
    pub rules: Vec<Option<String>>,
    /// What would become of each stack that a rule names.
    pub stacks: Vec<StackTrial>,
    /// The catalogs that would be looked at.
    pub catalogs: Vec<String>,
}

/// What a delivery would do to one stack.
#[derive(Debug, Clone, PartialEq)]
pub struct StackTrial {
    /// The stack.
    pub stack: StackKey,
    /// The number of the rule that decides, from 1.
    pub rule: usize,
    /// What the rule sets: the field, and its value from the payload.
    pub set: BTreeMap<String, String>,
    /// What would be done.
    pub outcome: TrialOutcome,
}

/// What would be done to a stack.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialOutcome {
    /// A deployment would be made.
    Deploys,
    /// Its source would be looked at again.
    LooksAgain,
    /// It stands at that version already.
    Nothing,
    /// It would not take it.
    Refuses(Refusal),
}

impl Declare {
    /// What a delivery would do. Nothing is written.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, no such hook, or a rule costs too much to answer.
    pub fn try_delivery(&self, hook: &Hook, delivery: &Delivery, ask: &Ask) -> Result<Trial, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        let facts = Facts::new(&delivery.payload, &delivery.event)
            .map_err(|message| Refusal::new(Code::Invalid, message).field("payload"))?;
        let rules = hook.rules.iter().map(|rule| objection(hook, rule, delivery, &facts)).collect::<Result<_, _>>()?;
        let (mut stacks, asked) = (Vec::new(), self.asked_by(hook, delivery)?);
        for wish in self.wishes(hook, delivery, &facts)? {
            let outcome = match self.wished(hook, delivery, &wish, &facts, &asked) {
                Ok(Decision::Nothing(_)) => TrialOutcome::Nothing,
                Ok(Decision::Write(writing)) if writing.deployment.is_some() => TrialOutcome::Deploys,
                Ok(Decision::Write(_)) => TrialOutcome::LooksAgain,
                Err(DeclareError::Refused(mut refusals)) if !refusals.is_empty() => {
                    TrialOutcome::Refuses(refusals.swap_remove(0))
                }
                Err(error) => return Err(error),
            };
            let set = values(wish.rule, &facts).unwrap_or_default();
            stacks.push(StackTrial { stack: wish.stack.value.key.clone(), rule: wish.number, set, outcome });
        }
        let catalogs = self.catalogs_of(hook, delivery, &facts)?.into_iter().map(|found| found.value.name).collect();
        Ok(Trial { event: delivery.event.clone(), rules, stacks, catalogs })
    }

    /// Has a delivery done again, by the rules as they are now: what came is taken from where it was kept.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, no such hook or delivery, or what came was not kept.
    pub async fn redeliver(&self, hook: &str, id: &str, ask: &Ask) -> Result<(String, Delivered), DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        let hook = self.declared_hook(hook)?;
        let missing = || {
            let message = format!("there is no delivery `{id}` of hook `{}`", hook.name);
            let hint = format!("the newest {DELIVERIES} are kept: `skep hook deliveries {}`", hook.name);
            Refusal::new(Code::NotFound, message).field("delivery").hint(hint)
        };
        let before = self.ledger.delivery(&hook.name, id)?.ok_or_else(missing)?;
        let Some(body) = self.ledger.delivery_body(&hook.name, id)? else {
            let message = format!(
                "what came with `{id}` was not kept: it was larger than {LARGEST_KEPT} bytes, could not be read, or is nothing \
                 that a rule can be about"
            );
            let hint = "have the sender send it again";
            return Err(Refusal::new(Code::Conflict, message).field("delivery").hint(hint).into());
        };
        let (payload, mut original) = self.open_body(&body)?;
        original["again"] = json!({ "by": ask.actor.name, "of": before.id, "reason": ask.reason });
        let id = format!("again-{}", self.ambient.new_id());
        let again_by = Some(ask.actor.clone());
        let delivery = Delivery { id, event: before.event, payload, original, again_by, trace: ask.trace };
        let delivered = self.deliver(&hook, &delivery).await?;
        Ok((delivery.id, delivered))
    }

    /// Deletes a hook with what is kept of its deliveries: from now on nobody can send to it. That an id works once stays, for
    /// a hook of the same name.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: not an admin of everything, or no such hook.
    pub async fn delete_hook(&self, name: &str, ask: &Ask) -> Result<Hook, DeclareError> {
        self.permit(ask, Access::Administer, Place::Installation)?;
        self.check_ask(ask)?;
        for _ in 0..ATTEMPTS {
            let hook = self.declared_hook(name)?;
            let key = RecordKey::Hook(name.to_owned());
            let revision = self.ledger.hook(name)?.map(|found| found.revision);
            let why = ask.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let event = self.event_in(
                hook.rules.first().map(|rule| rule.environment.clone()).unwrap_or_default(),
                EventType::HookDeleted,
                format!("hook `{name}` is gone{why}"),
                ask,
            );
            let batch = Batch::new().expect(&key, revision).delete_hook(name).event(&event);
            let kept = self.ledger.deliveries(name, 2 * DELIVERIES)?;
            let batch = kept.iter().fold(batch, |batch, delivery| batch.delete_delivery(delivery));
            if self.committed(batch).await? {
                return Ok(hook);
            }
        }
        let message = format!("the hook `{name}` is being changed by others all the time");
        Err(Refusal::new(Code::Conflict, message).hint("try again").into())
    }

    /// A hook that has to be there.
    ///
    /// # Errors
    /// [`DeclareError::Refused`], naming the nearest.
    pub fn declared_hook(&self, name: &str) -> Result<Hook, DeclareError> {
        if let Some(found) = self.ledger.hook(name)? {
            return Ok(found.value);
        }
        let known: Vec<String> = self.ledger.hooks()?.into_iter().map(|found| found.value.name).collect();
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match super::fields::closest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "see what there is: `skep hook list`".to_owned(),
        };
        Err(Refusal::new(Code::NotFound, format!("there is no hook `{name}`")).field("hook").hint(hint).into())
    }

    /// What came with a delivery, sealed; none when it is too large to be kept.
    pub(super) fn body_of(&self, delivery: &Delivery) -> Result<Option<Sealed>, DeclareError> {
        let body = json!({ "payload": delivery.payload, "original": delivery.original }).to_string();
        Ok(if body.len() <= LARGEST_KEPT { Some(self.sealer.seal(body.as_bytes())?) } else { None })
    }

    fn open_body(&self, body: &Sealed) -> Result<(Value, Value), DeclareError> {
        let clear = self.sealer.open(body)?;
        let mut read: Value =
            serde_json::from_slice(clear.expose()).map_err(|_| crate::ports::SealError::Unreadable)?;
        Ok((read["payload"].take(), read["original"].take()))
    }

    /// The deliveries of a hook that make way for one more.
    pub(super) fn too_many_deliveries(&self, hook: &str) -> Result<Vec<HookDelivery>, DeclareError> {
        Ok(self.ledger.deliveries(hook, DELIVERIES + 20)?.into_iter().skip(DELIVERIES - 1).collect())
    }
}
