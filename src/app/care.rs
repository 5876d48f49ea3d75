//! Care of a data folder that no server has open: back it up, make one from a backup, check it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::ambient::SystemAmbient;
use crate::ledger::{Batch, Ledger, LedgerError};
use crate::ports::{Ambient, Store, StoreError};
use crate::seal::{KEY_FILE, KeyFile, KeyFileError, KeySource};
use crate::store::sled::{RestoreError, Reviewed, SledStore, restore, review, undo};

/// Why something was not done to a data folder.
#[derive(Debug, Error)]
pub(super) enum CareError {
    /// There is none.
    #[error("there is no data folder of Skep at `{0}`")]
    Nothing(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The backup.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A file beside the store.
    #[error("`{path}`: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// What was restored does not hold together.
    #[error("what the backup holds cannot be used with this key, and nothing was kept of it: {0}")]
    Unusable(String),
}

/// What a check found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) reviewed: Reviewed,
    /// What is wrong, a sentence for each.
    pub(super) faults: Vec<String>,
}

/// Writes a backup of a folder to `to`.
pub(super) fn back_up(data: &Path, to: &mut dyn Write) -> Result<(), CareError> {
    let store = look(data)?;
    let mut archive = store.export()?;
    io::copy(&mut archive, to).map_err(|cause| CareError::Io { path: "the backup".to_owned(), cause })?;
    Ok(())
}

/// Reads a backup to its end.
pub(super) fn check_backup(file: &Path) -> Result<Checked, CareError> {
    Ok(Checked { reviewed: review(&mut open(file)?)?, faults: Vec::new() })
}

/// Reads and checks everything in a folder, and writes nothing there. A key file that is not there is a fault.
pub(super) fn check(data: &Path, key: &KeySource) -> Result<Checked, CareError> {
    let store = look(data)?;
    let (records, files) = store.size()?;
    let reviewed = Reviewed { revision: store.revision(), records, files };
    let ledger = Ledger::new(Arc::new(store));
    let key = key.open();
    let mut faults = ledger.verify(key.as_ref().ok().map(|key| key as _))?;
    faults.extend(key.err().map(|error| error.to_string()));
    Ok(Checked { reviewed, faults })
}

/// Makes a folder from a backup and the key that belongs to it: a file, which is copied there, or the one that is kept outside
/// of it. What was known of the Swarms, and orders to claim them, are left out; the mark of this restore keeps the server from
/// writing to one before it has a new order.
pub(super) fn restore_to(
    file: &Path,
    copied: Option<&Path>,
    key: &KeySource,
    data: &Path,
) -> Result<Reviewed, CareError> {
    let sealer = match copied {
        Some(path) => KeyFile::open(path)?,
        None => key.open()?,
    };
    let mark = SystemAmbient::default().new_id();
    let then = Batch::new().put_restored(&mark).into_writes();
    let reviewed = restore(&mut open(file)?, data, &["environment-status/", "claim-order/"], &then)?;
    let finish = || {
        let faults = {
            let store = SledStore::open(data)?;
            Ledger::new(Arc::new(store)).verify(Some(&sealer))?
        };
        match (faults.first(), copied) {
            (Some(fault), _) => Err(CareError::Unusable(fault.clone())),
            (None, Some(path)) => copy_key(path, &data.join(KEY_FILE)),
            (None, None) => Ok(()),
        }
    };
    finish().inspect_err(|_| undo(data))?;
    Ok(reviewed)
}

fn look(data: &Path) -> Result<SledStore, CareError> {
    match data.join("format").exists() {
        true => Ok(SledStore::look(data)?),
        false => Err(CareError::Nothing(data.display().to_string())),
    }
}

fn open(file: &Path) -> Result<impl Read, CareError> {
    let opened = File::open(file).map_err(|cause| CareError::Io { path: file.display().to_string(), cause })?;
    Ok(BufReader::new(opened))
}

fn copy_key(from: &Path, to: &Path) -> Result<(), CareError> {
    let io = |cause| CareError::Io { path: to.display().to_string(), cause };
    let mut from = File::open(from).map_err(io)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(io)?;
    io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(io)
}
