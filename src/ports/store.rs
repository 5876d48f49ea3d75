//! Durable records: an ordered map of keys to bytes, with transactions that compare before they write.
//!
//! The shape is etcd's on purpose (revisions, compare-and-set, prefix scans, a watch), so that a replicated backend can
//! stand here one day. What the keys and bytes mean is known to `ledger` only.

use std::sync::Arc;

use thiserror::Error;

use super::{BoxFuture, BoxStream};
use crate::domain::Kept;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// A key was not at the revision the transaction expected. Nothing was written.
    #[error("`{key}` was changed by someone else meanwhile; read it again and retry")]
    Conflict {
        /// The key.
        key: String,
    },
    /// Another process has the folder open.
    #[error("the data folder `{0}` is in use by another process; stop it, or give this one another --data")]
    Locked(String),
    /// What is on disk cannot be trusted.
    #[error(
        "the store in `{path}` is damaged: {reason}; nothing was changed. Restore it from a backup, or move the folder away to begin anew"
    )]
    Damaged {
        /// The folder.
        path: String,
        /// What was found.
        reason: String,
    },
    /// Written by a newer Skep.
    #[error(
        "the store in `{path}` was written by a newer Skep (format {found}, this one reads up to {known}); nothing was changed. Use the newer Skep, or restore an older backup"
    )]
    Newer {
        /// The folder.
        path: String,
        /// Its format.
        found: u32,
        /// The newest this version reads.
        known: u32,
    },
    /// The disk said no: full, read-only, or broken. The store accepts no more writes until it is opened again.
    #[error("the store in `{path}` cannot be written: {reason}")]
    Io {
        /// The folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The transaction can never be written as it is: an empty or overlong key, a log's name with a slash. Nothing was
    /// written.
    #[error("the store does not take this: {0}")]
    Unfit(String),
    /// A content-addressed file is not there.
    #[error("the kept file `{0}` is missing")]
    Missing(String),
    /// It was closed.
    #[error("the store is closed")]
    Closed,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Arc<[u8]>,
    /// The store's revision at which it was last written.
    pub revision: u64,
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// Delete a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: String,
    },
    /// Append to a log: the store gives the next number of that log, from 1, and puts the value at
    /// `<log>/<number as 16 hex digits>`.
    Append {
        /// The log's name, without a slash.
        log: String,
        /// The value.
        value: Vec<u8>,
    },
}

/// All or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Keys that must be at this revision (`None`: must not exist), or nothing is written.
    pub expects: Vec<(String, Option<u64>)>,
    /// The writes, in order.
    pub writes: Vec<Write>,
}

/// A transaction that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The store's revision it made. Grows with every transaction.
    pub revision: u64,
    /// The numbers given to its appends, in order.
    pub appended: Vec<u64>,
}

/// A committed change, as the watch tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreChange {
    /// The store's revision.
    pub revision: u64,
    /// What was put or deleted, in order.
    pub changed: Vec<Changed>,
}

/// One changed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: String,
    /// The new value; `None` when it was deleted.
    pub value: Option<Arc<[u8]>>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// A transaction became durable.
    Change(Arc<StoreChange>),
    /// The watcher was too slow and missed some: read afresh.
    Missed,
}

/// A range of keys to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Begin after this key (before it, when `backwards`); the key itself is left out.
    pub after: Option<String>,
    /// From the greatest key down.
    pub backwards: bool,
    /// At most so many.
    pub limit: usize,
}

impl Scan {
    /// All keys that begin with `prefix`.
    pub fn all(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: None, backwards: false, limit: usize::MAX }
    }
}

/// The store.
pub trait Store: Send + Sync + 'static {
    /// One key.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when its bytes fail their checksum; [`StoreError::Io`], [`StoreError::Closed`].
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// Some keys, in order.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError>;

    /// The revision of the newest committed transaction.
    fn revision(&self) -> u64;

    /// Writes all or nothing. The answer comes when it would survive a power cut.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Every change from now on, each after it became durable, in order of revision.
    fn watch(&self) -> BoxStream<'static, Watched>;

    /// Keeps bytes in a file named by their digest; the answer comes when they would survive a power cut. For what is too
    /// large for a record. Bytes that are kept already are not written again.
    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>>;

    /// Reads kept bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Damaged`] when they are not what their name says, [`StoreError::Io`].
    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError>;

    /// Deletes kept files that are older than `min_age_seconds` and not in `wanted`; gives how many.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn collect(&self, wanted: &std::collections::BTreeSet<Kept>, min_age_seconds: u64) -> Result<u64, StoreError>;

    /// The disk it is on: bytes that are free, and all there are. `None` of a store that is on no disk.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Closed`].
    fn room(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(None)
    }

    /// Why it takes no more writes until it is opened again, if so: a write failed, and nobody knows what the disk holds.
    fn broken(&self) -> Option<StoreError> {
        None
    }

    /// A copy of everything as it is at one moment, as an archive to be read once; the store goes on meanwhile. Blocks until
    /// the copy is taken. Keys that values are sealed with are none of the store's, and not in it.
    ///
    /// # Errors
    /// [`StoreError::Io`] when there is no room for the copy; [`StoreError::Damaged`], [`StoreError::Closed`];
    /// [`StoreError::Unfit`] of a store that is on no disk.
    fn export(&self) -> Result<Box<dyn std::io::Read + Send>, StoreError> {
        Err(StoreError::Unfit("a store in memory is not backed up".to_owned()))
    }
}
