//! Whether the store takes writes.

use super::{Batch, Ledger, LedgerError, RecordKey};
use crate::ports::StoreError;

impl Ledger {
    /// Whether writes are taken: asks for one that has to be refused, and so changes nothing.
    ///
    /// # Errors
    /// [`LedgerError`] when the store refuses for a reason of its own.
    pub async fn takes_writes(&self) -> Result<(), LedgerError> {
        let never = Batch::new().expect(&RecordKey::Instance, Some(u64::MAX));
        match self.commit(never).await {
            Ok(_) | Err(LedgerError::Store(StoreError::Conflict { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
