//! What is needed to find and delete what is old.

use std::collections::BTreeMap;

use super::{Batch, Ledger, LedgerError, Once, RecordKey, decode};
use crate::domain::{Deployment, DeploymentId, Kept, StackKey};
use crate::ports::Scan;

impl Ledger {
    /// The deployments of every stack there is or was, the newest first: only which they are.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn histories(&self) -> Result<BTreeMap<StackKey, Vec<DeploymentId>>, LedgerError> {
        let mut found: BTreeMap<StackKey, Vec<DeploymentId>> = BTreeMap::new();
        for entry in self.store.scan(&Scan { backwards: true, ..Scan::all("history/") })? {
            if let RecordKey::History(key, id) = RecordKey::parse(&entry.key) {
                found.entry(key).or_default().push(id);
            }
        }
        Ok(found)
    }

    /// Every idempotency key and delivery that is remembered, by its key.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn all_once(&self) -> Result<Vec<(String, Once)>, LedgerError> {
        let mut found = Vec::new();
        for entry in self.store.scan(&Scan::all("once/"))? {
            if let RecordKey::Once(key) = RecordKey::parse(&entry.key) {
                found.push((key, decode::<Once>(&entry)?.value));
            }
        }
        Ok(found)
    }
}

impl Batch {
    /// Deletes a deployment, its place in the stack's history, and what was kept of its output.
    pub fn delete_deployment(self, deployment: &Deployment) -> Self {
        self.delete(&RecordKey::Deployment(deployment.id.clone()))
            .delete(&RecordKey::History(deployment.stack.clone(), deployment.id.clone()))
            .put_output(&deployment.stack, &deployment.id, None)
    }

    /// Deletes a document that nothing refers to any more.
    pub fn delete_kept(self, name: &Kept) -> Self {
        self.delete(&RecordKey::Kept(name.clone()))
    }

    /// Forgets an idempotency key or a delivery.
    pub fn delete_once(self, key: &str) -> Self {
        self.delete(&RecordKey::Once(key.to_owned()))
    }
}
