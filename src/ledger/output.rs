//! What the services of a deployment wrote last, sealed: kept for the newest that failed, and that converged.

use super::record::RecordKey;
use super::{Batch, Ledger, LedgerError};
use crate::domain::{DeploymentId, Sealed, StackKey};
use crate::ports::Scan;

impl Ledger {
    /// What was kept of a deployment's output.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn output(&self, key: &StackKey, id: &DeploymentId) -> Result<Option<Sealed>, LedgerError> {
        Ok(self.one(&RecordKey::Output(key.clone(), id.clone()))?.map(|found| found.value))
    }

    /// The deployments of a stack whose output was kept, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn outputs(&self, key: &StackKey) -> Result<Vec<DeploymentId>, LedgerError> {
        let found = self.store.scan(&Scan::all(format!("output/{key}/")))?.into_iter();
        let ids = found.filter_map(|entry| match RecordKey::parse(&entry.key) {
            RecordKey::Output(_, id) => Some(id),
            _ => None,
        });
        Ok(ids.collect())
    }
}

impl Batch {
    /// Keeps a deployment's output, or forgets it.
    pub fn put_output(self, key: &StackKey, id: &DeploymentId, output: Option<&Sealed>) -> Self {
        let record = RecordKey::Output(key.clone(), id.clone());
        match output {
            Some(sealed) => self.put(&record, sealed),
            None => self.delete(&record),
        }
    }
}
