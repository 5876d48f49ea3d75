//! From one format to the next, so that a new version that does not come up costs nothing.
//!
//! A new version opens a folder of the format before its own, and works in that one. Only when it has worked well for a round
//! does [`SledStore::advance`] go on: a backup first, then record by record, and at last the file `format`. Each record is
//! replaced in a transaction of its own that expects what it read, while everybody goes on writing. A step makes only what the
//! version before can read; so at any moment of all this, and after it, the version before can be put back. When that one
//! opens the folder it says so in `format`, and the next version goes the way again.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::SledStore;
use super::folder::sync_dir;
use crate::ports::{Scan, Store, StoreError, Transaction, Write};

/// Records that are looked at in one go.
const PAGE: usize = 256;

/// What becomes of one record, by its key and value: a new value, or `None` when it stays as it is. It is asked again after a
/// crash, and says `None` to what it made itself.
pub type Step = Arc<dyn Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The backup is taken; nothing is changed yet.
    Before,
    /// A record has been changed.
    During,
    /// The format is marked.
    After,
}

/// The way from the format before to the next one.
#[derive(Clone)]
pub struct Migration {
    /// The format that it leads to.
    pub to: u32,
    /// The oldest format whose readers can read what it makes.
    pub readable_from: u32,
    /// What becomes of each record.
    pub step: Step,
    /// Called at each point. Tests let it fail there.
    pub at: Arc<dyn Fn(Point) -> Result<(), StoreError> + Send + Sync>,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration").field("to", &self.to).finish_non_exhaustive()
    }
}

impl SledStore {
    /// The format that [`SledStore::advance`] would lead to; `None` when the folder has it.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Closed`].
    pub fn pending_format(&self) -> Result<Option<u32>, StoreError> {
        let Some(migration) = &self.migration else { return Ok(None) };
        let format = self.shared()?.folder.format()?;
        Ok(format.is_some_and(|format| format < migration.to).then_some(migration.to))
    }

    /// Leads the folder to this version's own format: backup, records, mark. Gives the backup; `None` when there is nothing to
    /// do. What fails or breaks off is begun anew by the next call, also of another process.
    ///
    /// # Errors
    /// [`StoreError`]. The version before can open the folder all the same.
    pub async fn advance(&self) -> Result<Option<PathBuf>, StoreError> {
        let (Some(to), Some(migration)) = (self.pending_format()?, &self.migration) else { return Ok(None) };
        let backup = self.back_up_before(to)?;
        (migration.at)(Point::Before)?;
        let mut scan = Scan { limit: PAGE, ..Scan::all("") };
        loop {
            let page = self.scan(&scan)?;
            let Some(last) = page.last() else { break };
            scan.after = Some(last.key.clone());
            for entry in page {
                self.step(migration, entry).await?;
            }
        }
        self.shared()?.folder.mark_format(migration.to, migration.readable_from)?;
        (migration.at)(Point::After)?;
        Ok(Some(backup))
    }

    async fn step(&self, migration: &Migration, mut entry: crate::ports::Entry) -> Result<(), StoreError> {
        while let Some(value) = (migration.step)(&entry.key, &entry.value) {
            let key = entry.key.clone();
            let transaction = Transaction {
                expects: vec![(key.clone(), Some(entry.revision))],
                writes: vec![Write::Put { key: key.clone(), value }],
            };
            match self.commit(transaction).await {
                Ok(_) => return (migration.at)(Point::During),
                // Somebody else was faster: his is looked at.
                Err(StoreError::Conflict { .. }) => match self.get(&key)? {
                    Some(found) => entry = found,
                    None => return Ok(()),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A backup beside the store, whole or not there.
    fn back_up_before(&self, format: u32) -> Result<PathBuf, StoreError> {
        let shared = self.shared()?;
        let path = shared.folder.path().join(format!("before-format-{format}.tar"));
        let new = path.with_extension("tar.new");
        let mut archive = shared.export()?;
        let mut write = || -> io::Result<()> {
            let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            io::copy(&mut archive, &mut file)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            sync_dir(shared.folder.path())
        };
        write().map_err(|error| shared.folder.io("no backup can be taken before the format changes", &error))?;
        Ok(path)
    }
}
