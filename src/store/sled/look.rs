//! Looks at a store without writing to it: also a folder on a read-only disk can be checked and backed up.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use tokio::sync::broadcast;

use super::files::Files;
use super::folder::{FORMAT, Folder, Found, files_of};
use super::{Shared, SledOptions, SledStore, engine};
use crate::ports::StoreError;

/// Folders that this process has made: two looks at a time do not meet.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl SledStore {
    /// Opens a copy of the store in this data folder, and reads and checks every record, and every kept file. Nothing in the
    /// folder is written; what is written to this store is refused. The copy is among the system's temporary files.
    ///
    /// # Errors
    /// As [`SledStore::open`]; [`StoreError::Missing`] when there is no store.
    pub fn look(data: &Path) -> Result<Self, StoreError> {
        let scratch = scratch().map_err(|error| super::folder::io_error(data, "no temporary folder", &error))?;
        look_in(data, &scratch).inspect_err(|_| drop(std::fs::remove_dir_all(&scratch)))
    }

    /// How many records there are, and how many files are kept.
    ///
    /// # Errors
    /// [`StoreError::Closed`], [`StoreError::Io`].
    pub fn size(&self) -> Result<(u64, u64), StoreError> {
        let shared = self.shared()?;
        let files = shared.all_files(&[])?.len();
        Ok((engine::totals(&shared.folder, &shared.db)?.count, u64::try_from(files).unwrap_or(u64::MAX)))
    }
}

fn look_in(data: &Path, scratch: &Path) -> Result<SledStore, StoreError> {
    let folder = Folder::only_read(data, scratch)?;
    let Found::Store(tip) = folder.look(FORMAT)? else { return Err(StoreError::Missing("store".to_owned())) };
    engine::copy_store(&folder, &folder.own_store(), &folder.store())?;
    let files = Files::new(data, folder.files());
    let db = engine::open_store(&folder, SledOptions::default().cache)?;
    let checked = engine::check(&folder, &files, &db, tip.revision)?;
    checked.spilled.iter().for_each(|name| files.hold(&name.0));
    let shared = Shared {
        folder,
        db,
        files,
        pending: RwLock::default(),
        revision: AtomicU64::new(checked.totals.revision),
        changes: broadcast::Sender::new(1),
        broken: OnceLock::new(),
    };
    for name in shared.all_files(&checked.spilled)? {
        shared.files.read(&name.0)?;
    }
    Ok(SledStore { shared: Some(Arc::new(shared)), migration: None, commits: None, files: None, threads: Vec::new() })
}

/// A new folder that only we can read.
fn scratch() -> io::Result<PathBuf> {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("skep-look-{}-{serial}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Removes the copy.
pub(super) fn tidy(folder: &Folder) -> Result<(), StoreError> {
    // Only what is known to be ours: the folder's files one by one would be no safer.
    debug_assert!(files_of(&folder.spool()).is_ok_and(|files| files.is_empty()));
    std::fs::remove_dir_all(folder.spool()).map_err(|error| folder.io("the copy cannot be removed", &error))
}
