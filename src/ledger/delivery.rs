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
    /// Why nothing was done at all, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
}

/// Why nothing was done about a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Idle {
    /// Its hook does not ask for it, or everything stands as it wants already.
    Ignored(String),
    /// It is not what its sender should send.
    Refused(String),
}

/// What became of a delivery, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It made deployments.
    Deployed,
    /// Stacks or catalogs were looked at again.
    LookedAgain,
    /// Nothing was done, rightly.
    Ignored,
    /// Nothing was done, because no stack took it, or because it is not what its sender should send.
    Refused,
}

impl HookDelivery {
    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> DeliveryOutcome {
        match &self.idle {
            _ if !self.deployments.is_empty() => DeliveryOutcome::Deployed,
            _ if !self.reconciled.is_empty() || !self.synced.is_empty() => DeliveryOutcome::LookedAgain,
            Some(Idle::Refused(_)) => DeliveryOutcome::Refused,
            _ if !self.refused.is_empty() => DeliveryOutcome::Refused,
            Some(Idle::Ignored(_)) | None => DeliveryOutcome::Ignored,
        }
    }
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
