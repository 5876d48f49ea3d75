//! The store on disk, over sled: how is an acknowledged write made to survive anything?
//!
//! ```text
//! commit ──► committer: decide → one batch → sled flush → one fdatasync → readers see it → watchers → answers
//!    └─ a large value ──► files thread: write, sync, rename, sync ──► committer
//! ```
//!
//! sled keeps the order of keys, its own log and its pages; every promise (durable before acknowledged, nothing half
//! applied, damage found and never "repaired" away) is kept by what is around it. See [`engine`] for what is known of
//! sled, and [`folder`] for what lies where.

mod archive;
mod committer;
mod engine;
mod export;
mod files;
mod folder;
mod look;
mod migrate;
mod record;
mod restore;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use sled::{Db, IVec};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::committer::{Committer, Job};
use self::engine::{record_key, store_key};
use self::files::Files;
pub use self::folder::FORMAT;
use self::folder::{Folder, Found};
pub use self::migrate::{Migration, Point, Step};
use self::record::{Body, Record};
pub use self::restore::{RestoreError, Reviewed, restore, review, undo};
use super::{WATCH_CAPACITY, fit, range, watched};
use crate::domain::Kept;
use crate::ports::{
    BoxFuture, BoxStream, Committed, Entry, Scan, Store, StoreChange, StoreError, Transaction, Watched, Write,
};

/// A value longer than this, in bytes, goes to a file of its own.
pub const LONGEST_INLINE: usize = 10 * 1024;

/// How many transactions may wait for the committer before writers wait to be let in.
const WAITING: usize = 1024;

/// How many large values may wait to be written to files.
const WAITING_FILES: usize = 16;

/// Makes sled's data file durable: called with a handle of it after each group, before any answer.
pub type DataSync = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct SledOptions {
    /// sled's cache, in bytes. 8 MiB by default.
    pub cache: u64,
    /// How the data file is synced: `fdatasync` by default. Tests look on here, and let it fail.
    pub sync: DataSync,
    /// The way to this version's own format, when that is another than [`FORMAT`] before it: see [`SledStore::advance`].
    pub migration: Option<Migration>,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache: 8 * 1024 * 1024, sync: Arc::new(File::sync_data), migration: None }
    }
}

impl std::fmt::Debug for SledOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledOptions").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// The store in a data folder. One process at a time has it open. Dropping it waits for the writes under way, closes sled
/// and notes that it was closed properly.
#[derive(Debug)]
pub struct SledStore {
    /// There until it is dropped.
    shared: Option<Arc<Shared>>,
    migration: Option<Migration>,
    commits: Option<mpsc::Sender<Job>>,
    files: Option<mpsc::Sender<FileJob>>,
    threads: Vec<JoinHandle<()>>,
}

/// What readers and the threads have in common.
#[derive(Debug)]
struct Shared {
    folder: Folder,
    db: Db,
    files: Files,
    /// What was at the keys of the group under way, before it: what readers see until it is durable.
    pending: RwLock<BTreeMap<Vec<u8>, Option<IVec>>>,
    revision: AtomicU64,
    changes: broadcast::Sender<Arc<StoreChange>>,
    broken: OnceLock<StoreError>,
}

/// Work for the thread that writes files.
enum FileJob {
    Keep { bytes: Vec<u8>, answer: oneshot::Sender<Result<Kept, StoreError>> },
    Spill { transaction: Transaction, answer: oneshot::Sender<Result<Committed, StoreError>> },
}

impl SledStore {
    /// Opens the store in this data folder, or begins one in an empty or missing folder. Reads and checks every record.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Damaged`], [`StoreError::Io`]. None of them has
    /// changed a byte of the store.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_with(data, &SledOptions::default())
    }

    /// [`SledStore::open`], with options.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn open_with(data: &Path, options: &SledOptions) -> Result<Self, StoreError> {
        let folder = Folder::lock(data)?;
        let files = Files::new(data, folder.files());
        let newest = options.migration.as_ref().map_or(FORMAT, |migration| migration.to);
        let least = match folder.look(newest)? {
            Found::Nothing => {
                folder.begin()?;
                engine::create(&folder, options.cache)?;
                0
            }
            Found::Store(tip) => {
                let now = folder::fingerprint(&folder.store())
                    .map_err(|error| folder.io("`store` cannot be read", &error))?;
                if tip.closed != Some(now) {
                    engine::rehearse(&folder, &files, options.cache, tip.revision)?;
                }
                folder.mark_open(tip.revision)?;
                tip.revision
            }
        };
        let db = engine::open_store(&folder, options.cache)?;
        let checked = engine::check(&folder, &files, &db, least)?;
        if folder.format()?.is_some_and(|format| format > newest) {
            // A newer version wrote it, so that this one can read it. What is written from here on is this one's format.
            folder.mark_format(newest, newest)?;
        }
        files.prepare()?;
        checked.spilled.iter().for_each(|name| files.hold(&name.0));
        let data = File::open(folder.store().join("db"))
            .and_then(|data| {
                // What recovery wrote must last before anything is built on it.
                (options.sync)(&data)?;
                folder::sync_dir(&folder.store())?;
                Ok(data)
            })
            .map_err(|error| folder.io("the log cannot be synced", &error))?;
        folder.mark_open(checked.totals.revision)?;

        let shared = Arc::new(Shared {
            folder,
            db,
            files,
            pending: RwLock::default(),
            revision: AtomicU64::new(checked.totals.revision),
            changes: broadcast::Sender::new(WATCH_CAPACITY),
            broken: OnceLock::new(),
        });
        let mut store = Self {
            shared: Some(Arc::clone(&shared)),
            migration: options.migration.clone(),
            commits: None,
            files: None,
            threads: Vec::with_capacity(2),
        };
        let (commits, mut jobs) = mpsc::channel(WAITING);
        let committer =
            Committer { shared: Arc::clone(&shared), totals: checked.totals, data, sync: Arc::clone(&options.sync) };
        store.start("skep-commit", move || committer.run(&mut jobs))?;
        let (file_jobs, mut jobs) = mpsc::channel(WAITING_FILES);
        let onward = commits.clone();
        store.commits = Some(commits);
        store.start("skep-files", move || write_files(&shared, &mut jobs, &onward))?;
        store.files = Some(file_jobs);
        Ok(store)
    }

    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let shared = self.shared()?;
        self.threads.push(thread.map_err(|error| shared.folder.io("no thread can be started", &error))?);
        Ok(())
    }

    fn shared(&self) -> Result<Arc<Shared>, StoreError> {
        self.shared.clone().ok_or(StoreError::Closed)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // The files thread passes transactions on to the committer, so it ends first.
        self.files = None;
        self.commits = None;
        for thread in self.threads.drain(..).rev() {
            // One that panicked has nothing to say any more; what it did not write was not acknowledged.
            let _ = thread.join();
        }
        if let Some(shared) = self.shared.take().and_then(Arc::into_inner)
            && let Err(error) = shared.close()
        {
            tracing::warn!(%error, "the store could not be closed properly; it is checked at the next start");
        }
    }
}

impl Shared {
    fn close(self) -> Result<(), StoreError> {
        let Self { folder, db, revision, broken, .. } = self;
        let store = folder.store();
        engine::close(&folder, &store, db)?;
        if folder.is_only_read() {
            return look::tidy(&folder);
        }
        if broken.get().is_some() {
            return Ok(());
        }
        File::open(store.join("db"))
            .and_then(|data| data.sync_data())
            .and_then(|()| folder::fingerprint(&store))
            .map_err(|error| folder.io("`store` cannot be read", &error))
            .and_then(|closed| folder.mark_closed(revision.into_inner(), closed))
    }

    /// The error that ended all writing, when one did.
    fn broken(&self) -> Option<StoreError> {
        self.broken.get().cloned()
    }

    fn break_with(&self, error: StoreError) {
        // The first one stays.
        let _ = self.broken.set(error);
    }

    fn entry(&self, key: &[u8], bytes: &[u8]) -> Result<Entry, StoreError> {
        let record = Record::decode(key, bytes).map_err(|reason| self.folder.damaged(reason))?;
        let value = match record.body {
            Body::Inline(value) => value.into(),
            Body::Spilled(name) => self.files.read(name)?.into(),
        };
        Ok(Entry { key: store_key(key), value, revision: record.revision })
    }
}

impl Store for SledStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let shared = self.shared.as_ref().ok_or(StoreError::Closed)?;
        let key = record_key(key);
        let pending = shared.pending.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = match pending.get(&key) {
            Some(before) => before.clone(),
            None => engine::fetch(&shared.folder, &shared.db, &key)?,
        };
        bytes.map(|bytes| shared.entry(&key, &bytes)).transpose()
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let shared = self.shared.as_ref().ok_or(StoreError::Closed)?;
        let Some(bounds) = range::bounds(scan, engine::RECORDS) else { return Ok(Vec::new()) };
        // Held throughout: no group begins or ends meanwhile, so a transaction is seen whole or not at all.
        let pending = shared.pending.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(IVec, IVec)> = Vec::new();
        let mut iter = shared.db.range(bounds.clone());
        while found.len() < scan.limit {
            let next = if scan.backwards { iter.next_back() } else { iter.next() };
            let Some(next) = next else { break };
            let (key, bytes) = next.map_err(|error| engine::refusal(&shared.folder, &error))?;
            if !pending.contains_key(key.as_ref()) {
                found.push((key, bytes));
            }
        }
        let sled_found = found.len();
        found.extend(
            pending
                .range(bounds)
                .filter_map(|(key, before)| before.as_ref().map(|bytes| (key.as_slice().into(), bytes.clone()))),
        );
        if found.len() > sled_found {
            found.sort_by(|a, b| if scan.backwards { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
            found.truncate(scan.limit);
        }
        found.iter().map(|(key, bytes)| shared.entry(key, bytes)).collect()
    }

    fn revision(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.revision.load(Ordering::Acquire))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            fit(&transaction)?;
            let (answer, outcome) = oneshot::channel();
            if transaction.writes.iter().any(is_large) {
                let files = self.files.as_ref().ok_or(StoreError::Closed)?;
                files.send(FileJob::Spill { transaction, answer }).await.map_err(|_| StoreError::Closed)?;
            } else {
                let commits = self.commits.as_ref().ok_or(StoreError::Closed)?;
                let job = Job { transaction, spilled: BTreeMap::new(), answer };
                commits.send(job).await.map_err(|_| StoreError::Closed)?;
            }
            outcome.await.unwrap_or(Err(StoreError::Closed))
        }
        .boxed()
    }

    fn watch(&self) -> BoxStream<'static, Watched> {
        match &self.shared {
            Some(shared) => watched(shared.changes.subscribe()),
            None => Box::pin(futures_util::stream::empty()),
        }
    }

    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        async move {
            let (answer, outcome) = oneshot::channel();
            let files = self.files.as_ref().ok_or(StoreError::Closed)?;
            files.send(FileJob::Keep { bytes, answer }).await.map_err(|_| StoreError::Closed)?;
            outcome.await.unwrap_or(Err(StoreError::Closed))
        }
        .boxed()
    }

    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.shared.as_ref().ok_or(StoreError::Closed)?.files.read(&name.0)
    }

    fn collect(&self, wanted: &BTreeSet<Kept>, min_age_seconds: u64) -> Result<u64, StoreError> {
        let shared = self.shared.as_ref().ok_or(StoreError::Closed)?;
        shared.files.collect(wanted, Duration::from_secs(min_age_seconds))
    }

    fn room(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let shared = self.shared.as_ref().ok_or(StoreError::Closed)?;
        folder::room(shared.folder.path()).map(Some)
    }

    fn broken(&self) -> Option<StoreError> {
        self.shared.as_ref()?.broken()
    }

    fn export(&self) -> Result<Box<dyn std::io::Read + Send>, StoreError> {
        self.shared.as_ref().ok_or(StoreError::Closed)?.export()
    }
}

fn large_value(write: &Write) -> Option<&[u8]> {
    match write {
        Write::Put { value, .. } | Write::Append { value, .. } if value.len() > LONGEST_INLINE => Some(value),
        _ => None,
    }
}

fn is_large(write: &Write) -> bool {
    large_value(write).is_some()
}

/// The files thread: works until all senders are gone.
fn write_files(shared: &Shared, jobs: &mut mpsc::Receiver<FileJob>, commits: &mpsc::Sender<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        // One who does not wait any more for an answer does not mind; so for each `send` here.
        match job {
            FileJob::Keep { bytes, answer } => {
                let kept = shared.broken().map_or_else(|| shared.files.keep(&bytes, false), Err);
                let _ = answer.send(kept);
            }
            FileJob::Spill { transaction, answer } => match spill(shared, &transaction) {
                Ok(spilled) => {
                    let _ = commits.blocking_send(Job { transaction, spilled, answer });
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            },
        }
    }
}

/// Writes the large values of a transaction to files and holds them for it.
fn spill(shared: &Shared, transaction: &Transaction) -> Result<BTreeMap<usize, Kept>, StoreError> {
    if let Some(error) = shared.broken() {
        return Err(error);
    }
    let mut spilled = BTreeMap::new();
    for (place, write) in transaction.writes.iter().enumerate() {
        let Some(value) = large_value(write) else { continue };
        match shared.files.keep(value, true) {
            Ok(name) => {
                spilled.insert(place, name);
            }
            Err(error) => {
                spilled.values().for_each(|name| shared.files.release(name));
                return Err(error);
            }
        }
    }
    Ok(spilled)
}
