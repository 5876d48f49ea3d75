//! What came to hooks: the newest deliveries of each, with what became of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Batch, Ledger, LedgerError, RecordKey};
use crate::domain::{Actor, DeploymentId, Sealed, StackKey};
use crate::ports::Scan;

/// One delivery whose sender was who he said he is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookDelivery {
    /// Skep's own id of it; later ones are greater.
    pub id: String,
    /// The hook.
    pub hook: String,
    /// The sender's id of it.
    pub delivery: String,
    /// What happened there, in one word.
    pub event: String,
    /// When it came.
    pub at: Timestamp,
    /// Who had it done again; none for one that came from outside.
    pub again_by: Option<Actor>,
    /// The deployments it made.
    pub deployments: Vec<DeploymentId>,
    /// Stacks that were looked at again without a new version.
    pub reconciled: Vec<StackKey>,
    /// Catalogs that were looked at.
    #[serde(default)]
    pub synced: Vec<String>,
    /// Stacks that did not take it.
    pub refused: Vec<RefusedStack>,
    /// Whether what came is kept, so that it can be done again.
    pub kept: bool,
}

/// A stack that did not take what a rule wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStack {
    /// The stack.
    pub stack: StackKey,
    /// The code of the refusal.
    pub code: String,
    /// Why.
    pub message: String,
}

impl Ledger {
    /// The newest deliveries of a hook, the newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn deliveries(&self, hook: &str, limit: usize) -> Result<Vec<HookDelivery>, LedgerError> {
        let scan = Scan { prefix: format!("delivery/{hook}/"), after: None, backwards: true, limit };
        Ok(self.many(&scan)?.into_iter().map(|found| found.value).collect())
    }

    /// One delivery of a hook.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn delivery(&self, hook: &str, id: &str) -> Result<Option<HookDelivery>, LedgerError> {
        Ok(self.one(&RecordKey::Delivery(hook.to_owned(), id.to_owned()))?.map(|found| found.value))
    }

    /// What came with a delivery, sealed; none when it was not kept.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn delivery_body(&self, hook: &str, id: &str) -> Result<Option<Sealed>, LedgerError> {
        Ok(self.one(&RecordKey::DeliveryBody(hook.to_owned(), id.to_owned()))?.map(|found| found.value))
    }
}

impl Batch {
    /// Writes what became of a delivery, and what came with it.
    pub fn put_delivery(self, delivery: &HookDelivery, body: Option<&Sealed>) -> Self {
        let (hook, id) = (delivery.hook.clone(), delivery.id.clone());
        let batch = self.put(&RecordKey::Delivery(hook.clone(), id.clone()), delivery);
        match body {
            Some(body) => batch.put(&RecordKey::DeliveryBody(hook, id), body),
            None => batch,
        }
    }

    /// Deletes a delivery with what came with it. That its id works once stays.
    pub fn delete_delivery(self, delivery: &HookDelivery) -> Self {
        let (hook, id) = (delivery.hook.clone(), delivery.id.clone());
        let batch = self.delete(&RecordKey::Delivery(hook.clone(), id.clone()));
        if delivery.kept { batch.delete(&RecordKey::DeliveryBody(hook, id)) } else { batch }
    }

    /// Deletes a hook.
    pub fn delete_hook(self, name: &str) -> Self {
        self.delete(&RecordKey::Hook(name.to_owned()))
    }
}
