//! A new key for a data folder: `skep credential rotate-key`.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::ledger::{Ledger, ResealError};
use crate::ports::StoreError;
use crate::seal::{KeyFileError, KeySource};
use crate::store::sled::SledStore;

/// Why the key was not changed, or not to the end.
#[derive(Debug, Error)]
pub(super) enum RotateError {
    /// There is nothing sealed there.
    #[error("there is no data folder of Skep at `{0}`")]
    Nothing(String),
    /// The store: a server has it open, for example.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Sealing anew broke off.
    #[error(transparent)]
    Reseal(#[from] ResealError),
    /// No runtime.
    #[error("no runtime can be started: {0}")]
    Runtime(std::io::Error),
}

/// Seals everything anew; gives how many records. May break off anywhere: the file names both keys until all is done.
pub(super) fn rotate_key(data: &Path, key: &KeySource) -> Result<u64, RotateError> {
    if !data.join("format").exists() {
        return Err(RotateError::Nothing(data.display().to_string()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RotateError::Runtime)?;
    runtime.block_on(async {
        // First the lock: nobody else may seal with the old key meanwhile.
        let ledger = Ledger::new(Arc::new(SledStore::open(data)?));
        let sealer = key.begin_rotation()?;
        let count = ledger.reseal(&sealer).await?;
        key.end_rotation()?;
        Ok(count)
    })
}
