//! What is known of the far Skep of a relay.

use super::{Batch, Ledger, LedgerError, RecordKey, Versioned};
use crate::domain::{Deployment, EnvironmentName, RelayCursor};
use crate::ports::Scan;

impl Ledger {
    /// How far the records of an environment's far Skep were read.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn relay_cursor(&self, name: &EnvironmentName) -> Result<Option<Versioned<RelayCursor>>, LedgerError> {
        self.one(&RecordKey::Relay(name.clone()))
    }

    /// Deployments of all stacks that changed after a revision, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn deployments_after(&self, revision: u64) -> Result<Vec<Versioned<Deployment>>, LedgerError> {
        let found = self.store.scan(&Scan::all("deployment/"))?;
        found.iter().filter(|entry| entry.revision > revision).map(super::decode).collect()
    }
}

impl Batch {
    /// Writes how far the records of a far Skep were read.
    pub fn put_relay_cursor(self, name: &EnvironmentName, cursor: &RelayCursor) -> Self {
        self.put(&RecordKey::Relay(name.clone()), cursor)
    }
}
