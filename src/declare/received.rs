//! What is kept of what came to a hook: what it led to, or why it led to nothing.

use jiff::Timestamp;

use super::deliver::{Delivered, Delivery, objection};
use super::hook::DELIVERIES;
use super::rule::Facts;
use super::{Declare, DeclareError, Refusal};
use crate::domain::{EventType, StackKey};
use crate::ledger::{Batch, Hook, HookDelivery, Idle, RefusedStack};

/// How many rules or stacks are named.
const NAMED: usize = 5;
/// Characters that are kept of an id or a word of a sender's.
const LONGEST: usize = 128;

/// Something that came from who he said he is, and that goes no further.
#[derive(Debug, Clone, PartialEq)]
pub struct Aside {
    /// The sender's id of it, as far as it has one.
    pub id: String,
    /// What happened there, in one word, as far as it says.
    pub event: String,
    /// Why it goes no further.
    pub why: Idle,
}

impl Declare {
    /// Lists something that goes no further. Nothing else is written, and its id stays good. What the hook's sender sends and no
    /// rule can be about may come often: the newest of each event is listed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list_aside(&self, hook: &Hook, aside: Aside) -> Result<(), DeclareError> {
        let record = HookDelivery {
            id: self.ambient.new_id(),
            hook: hook.name.clone(),
            delivery: shortened(&aside.id),
            event: shortened(&aside.event),
            at: self.now(),
            again_by: None,
            deployments: Vec::new(),
            reconciled: Vec::new(),
            synced: Vec::new(),
            refused: Vec::new(),
            kept: false,
            idle: Some(aside.why),
        };
        let known = self.ledger.deliveries(&hook.name, DELIVERIES - 1)?;
        let same = known.into_iter().filter(|it| is_another(it, &record));
        let old = self.too_many_deliveries(&hook.name)?.into_iter().chain(same);
        let batch = Batch::new().put_delivery(&record, None);
        let batch = match &record.idle {
            Some(Idle::Refused(why)) => {
                let message = format!("hook `{}` refused a delivery: {why}", hook.name);
                batch.event(&self.line(hook, EventType::HookRefused, message))
            }
            _ => batch,
        };
        self.committed(old.fold(batch, |batch, old| batch.delete_delivery(&old))).await?;
        Ok(())
    }
}

/// Whether a delivery is another one of an event that no rule can be about.
fn is_another(known: &HookDelivery, new: &HookDelivery) -> bool {
    let ignored = |it: &HookDelivery| matches!(it.idle, Some(Idle::Ignored(_))) && !it.kept;
    ignored(new) && ignored(known) && known.event == new.event
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// What is kept of a delivery.
pub(super) fn recorded(
    id: &str,
    hook: &Hook,
    delivery: &Delivery,
    (delivered, at): (&Delivered, Timestamp),
    kept: bool,
) -> HookDelivery {
    let refused = |(key, refusal): &(StackKey, Refusal)| RefusedStack {
        stack: key.clone(),
        code: refusal.code.as_str().to_owned(),
        message: refusal.message.clone(),
    };
    HookDelivery {
        id: id.to_owned(),
        hook: hook.name.clone(),
        delivery: delivery.id.clone(),
        event: delivery.event.clone(),
        at,
        again_by: delivery.again_by.clone(),
        deployments: delivered.deployments.clone(),
        reconciled: delivered.reconciled.clone(),
        synced: delivered.synced.clone(),
        refused: delivered.refused.iter().map(refused).collect(),
        kept,
        idle: delivered.ignored.clone().map(Idle::Ignored),
    }
}

/// Why nothing is to be done about a delivery: where the stacks stand that rules name, or why each rule is not about it. It
/// stands in the clear, so that it holds nothing of the payload.
///
/// # Errors
/// A rule costs too much to answer.
pub(super) fn why_nothing(
    hook: &Hook,
    delivery: &Delivery,
    facts: &Facts,
    standing: &[StackKey],
) -> Result<String, DeclareError> {
    if !standing.is_empty() {
        let names = standing.iter().map(|key| key.name.to_string());
        return Ok(format!("at that version already: {}", listed(names, ", ")));
    }
    let objections: Vec<Option<String>> =
        hook.rules.iter().map(|rule| objection(hook, rule, delivery, facts)).collect::<Result<_, _>>()?;
    if objections.iter().any(Option::is_none) {
        return Ok("no stack or catalog that its rules name is there and is concerned".to_owned());
    }
    let said = objections.into_iter().flatten().enumerate();
    // What the language has to say of a condition may hold values of the payload.
    let said = said.map(|(at, why)| format!("rule {}: {}", at + 1, why.split(": ").next().unwrap_or_default()));
    Ok(format!("no rule is about it ({})", listed(said, "; ")))
}

/// The first few of them.
fn listed(all: impl Iterator<Item = String>, between: &str) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join(between)
}
