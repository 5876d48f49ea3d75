//! What is known of the repositories of images that are followed: one record for each, whatever the number of stacks.

use std::collections::BTreeMap;

use super::{Batch, Ledger, LedgerError, RecordKey, decode};
use crate::domain::{Repository, RepositoryStatus};
use crate::ports::Scan;

impl Ledger {
    /// What is known of a repository.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn repository_status(&self, repository: &Repository) -> Result<Option<RepositoryStatus>, LedgerError> {
        Ok(self.one(&RecordKey::RepositoryStatus(repository.clone()))?.map(|found| found.value))
    }

    /// What is known of all of them.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn repository_statuses(&self) -> Result<BTreeMap<Repository, RepositoryStatus>, LedgerError> {
        let mut all = BTreeMap::new();
        for entry in self.store.scan(&Scan::all("repository-status/"))? {
            if let RecordKey::RepositoryStatus(repository) = RecordKey::parse(&entry.key) {
                all.insert(repository, decode(&entry)?.value);
            }
        }
        Ok(all)
    }
}

impl Batch {
    /// Writes what is known of a repository.
    pub fn put_repository_status(self, repository: &Repository, status: &RepositoryStatus) -> Self {
        self.put(&RecordKey::RepositoryStatus(repository.clone()), status)
    }

    /// Forgets a repository that nobody follows.
    pub fn delete_repository_status(self, repository: &Repository) -> Self {
        self.delete(&RecordKey::RepositoryStatus(repository.clone()))
    }
}
