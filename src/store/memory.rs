//! A store in memory: the same promises as the one on disk, but for the disk. For tests and for the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::broadcast;

use super::{WATCH_CAPACITY, fit, log_key, range, watched};
use crate::domain::{Digest, Kept};
use crate::ports::{
    BoxFuture, BoxStream, Changed, Committed, Entry, Scan, Store, StoreChange, StoreError, Transaction, Watched, Write,
};

/// Commits at once and in the order of the calls; has no thread, no clock and no disk, so that the same calls always
/// give the same answers. The age of kept files is counted in the seconds of [`MemoryStore::advance`].
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<Arc<StoreChange>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Vec<u8>, Entry>,
    logs: BTreeMap<String, u64>,
    revision: u64,
    files: BTreeMap<Kept, File>,
    now: u64,
    refused: Option<StoreError>,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    kept_at: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::default(), changes: broadcast::Sender::new(WATCH_CAPACITY) }
    }

    /// Makes the kept files older by so many seconds.
    pub fn advance(&self, seconds: u64) {
        let mut inner = self.lock();
        inner.now = inner.now.saturating_add(seconds);
    }

    /// From now on every `commit` and `keep` gives this error and writes nothing (a full disk, say); `None` ends it.
    pub fn refuse(&self, error: Option<StoreError>) {
        self.lock().refused = error;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        fit(&transaction)?;
        // Held until the watchers are told, so that they are told in order.
        let mut inner = self.lock();
        if let Some(error) = &inner.refused {
            return Err(error.clone());
        }
        for (key, revision) in &transaction.expects {
            if inner.entries.get(key.as_bytes()).map(|entry| entry.revision) != *revision {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        inner.revision += 1;
        let revision = inner.revision;
        let (mut appended, mut changed) = (Vec::new(), Vec::new());
        for write in transaction.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Arc::from(value)),
                Write::Append { log, value } => {
                    let number = inner.logs.entry(log.clone()).and_modify(|number| *number += 1).or_insert(1);
                    appended.push(*number);
                    (log_key(&log, *number), Arc::from(value))
                }
                Write::Delete { key } => {
                    if inner.entries.remove(key.as_bytes()).is_some() {
                        changed.push(Changed { key, value: None });
                    }
                    continue;
                }
            };
            let value: Arc<[u8]> = value;
            let entry = Entry { key: key.clone(), value: Arc::clone(&value), revision };
            inner.entries.insert(key.clone().into_bytes(), entry);
            changed.push(Changed { key, value: Some(value) });
        }
        // No receiver is no error: nobody watches.
        let _ = self.changes.send(Arc::new(StoreChange { revision, changed }));
        Ok(Committed { revision, appended })
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().entries.get(key.as_bytes()).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let Some(bounds) = range::bounds(scan, b"") else { return Ok(Vec::new()) };
        let inner = self.lock();
        let found = inner.entries.range(bounds).map(|(_, entry)| entry.clone());
        Ok(if scan.backwards { found.rev().take(scan.limit).collect() } else { found.take(scan.limit).collect() })
    }

    fn revision(&self) -> u64 {
        self.lock().revision
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move { self.write(transaction) }.boxed()
    }

    fn watch(&self) -> BoxStream<'static, Watched> {
        watched(self.changes.subscribe())
    }

    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        async move {
            let mut inner = self.lock();
            if let Some(error) = &inner.refused {
                return Err(error.clone());
            }
            let name = Kept(Digest::of(&bytes).as_str().to_owned());
            let kept_at = inner.now;
            inner.files.insert(name.clone(), File { bytes, kept_at });
            Ok(name)
        }
        .boxed()
    }

    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.lock().files.get(name).map(|file| file.bytes.clone()).ok_or_else(|| StoreError::Missing(name.0.clone()))
    }

    fn collect(&self, wanted: &BTreeSet<Kept>, min_age_seconds: u64) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        let (before, now) = (inner.files.len(), inner.now);
        inner.files.retain(|name, file| wanted.contains(name) || now.saturating_sub(file.kept_at) < min_age_seconds);
        Ok(u64::try_from(before - inner.files.len()).unwrap_or(u64::MAX))
    }
}
