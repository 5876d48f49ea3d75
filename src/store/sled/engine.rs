//! sled itself: opened without trust, checked whole, closed for certain.
//!
//! What was found in sled 0.34.7 and is dealt with here:
//! - `flush` syncs no file (`sync_file_range` only): the committer syncs the data file itself.
//! - A message of more than a quarter of a segment goes to a file of its own that is never synced. A message can be a whole
//!   leaf: up to 20 or so records. With segments of [`SEGMENT`] and values of at most [`super::LONGEST_INLINE`] none
//!   comes near it.
//! - Opening *changes* the files: what looks like the torn end of the log is zeroed, also when it is damage. So a store that
//!   was not closed properly, or was altered since, is opened as a copy first ([`rehearse`]); the original is touched only
//!   when the copy turned out whole.
//! - It may panic on damaged files: caught, and taken for damage.
//! - The handle is closed some time after the last `Db` is dropped: waited for by its own lock on the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sled::{Db, Error, IVec};

use super::files::Files;
use super::folder::{Folder, files_of, sync_dir};
use super::record::{Body, Record, encode};
use crate::domain::Kept;
use crate::ports::StoreError;

/// What every record's key begins with.
pub(super) const RECORDS: &[u8] = b"k";
/// Empty keys between the records and the totals. The totals are written with every batch, and now and then with all else
/// that is on their leaf: these keep large records off it.
const FENCE: &[u8] = b"l";
/// Twice what fits on a leaf.
const FENCES: u8 = 32;
/// The key of [`Totals`].
const TOTALS: &[u8] = b"m";
/// The size of sled's segments, in bytes; it cannot be changed for a store that exists.
const SEGMENT: usize = 1024 * 1024;
/// How often sled's own thread tidies up, in milliseconds. Nothing waits for it, but only it rewrites thinly used segments,
/// about one in each round: more rarely and the file outgrows a busy hour, more often and idling costs more syncs.
const TIDY_EVERY: u64 = 1_000;
/// How long to wait for sled to let go of a file.
const LET_GO: Duration = Duration::from_secs(5);

/// What is true of all records together; written in the batch that makes it true, so that a store that lost or kept a
/// record wrongly does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    /// The newest revision.
    pub(super) revision: u64,
    /// How many records there are.
    pub(super) count: u64,
    /// The sum of all records' marks, wrapping.
    pub(super) sum: u64,
    /// The last number given in each log.
    pub(super) logs: BTreeMap<String, u64>,
}

impl Totals {
    /// As a record: key and bytes.
    pub(super) fn record(&self) -> (&'static [u8], Vec<u8>) {
        // Numbers and text only: writing them cannot fail, and bytes that say nothing would be refused at the next open.
        let json = serde_json::to_vec(self).unwrap_or_default();
        (TOTALS, encode(TOTALS, self.revision, Body::Inline(&json)).0)
    }
}

/// What a check of the whole store found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) totals: Totals,
    /// The files that records point to, once for each record.
    pub(super) spilled: Vec<Kept>,
}

/// Makes an empty sled store; it appears under its name only when it is whole.
pub(super) fn create(folder: &Folder, cache: u64) -> Result<(), StoreError> {
    create_with(folder, cache, |_| Ok(Totals::default()))
}

/// Makes a sled store that holds what `fill` puts into it, and the totals it gives.
pub(super) fn create_with<E: From<StoreError>>(
    folder: &Folder,
    cache: u64,
    fill: impl FnOnce(&Db) -> Result<Totals, E>,
) -> Result<(), E> {
    let new = folder.path().join("store.new");
    remove(folder, &new)?;
    let db = open(folder, &new, cache, None)?;
    let fences = || (0..FENCES).try_for_each(|fence| db.insert([FENCE, &[fence]].concat(), &[]).map(drop));
    let settled = |totals: Totals| {
        let (key, bytes) = totals.record();
        db.insert(key, bytes)?;
        db.flush()
    };
    fences().map_err(|error| refusal(folder, &error))?;
    let filled = fill(&db).and_then(|totals| Ok(settled(totals).map_err(|error| refusal(folder, &error))?));
    close(folder, &new, db)?;
    filled?;
    let settle = || {
        for path in files_of(&new)? {
            File::open(path)?.sync_all()?;
        }
        sync_dir(&new)?;
        let store = folder.store();
        // An empty folder may be there from a start that did not get far; one with something in it is never replaced.
        match std::fs::remove_dir(&store) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::rename(&new, &store)?;
        sync_dir(folder.path())
    };
    Ok(settle().map_err(|error| folder.io("`store` cannot be made", &error))?)
}

/// Opens a copy of the store and checks it whole. The original is only read.
pub(super) fn rehearse(folder: &Folder, files: &Files, cache: u64, least: u64) -> Result<(), StoreError> {
    let copy = folder.path().join("store.check");
    remove(folder, &copy)?;
    let rehearsed = copy_store(folder, &folder.store(), &copy).and_then(|()| {
        let db = open(folder, &copy, cache, None)?;
        let checked = check(folder, files, &db, least);
        close(folder, &copy, db)?;
        checked.map(drop)
    });
    remove(folder, &copy)?;
    rehearsed
}

/// Copies the files of a store.
pub(super) fn copy_store(folder: &Folder, store: &Path, copy: &Path) -> Result<(), StoreError> {
    let make = || {
        std::fs::create_dir(copy)?;
        std::fs::create_dir(copy.join("blobs"))?;
        for path in files_of(store)? {
            std::fs::copy(&path, copy.join(path.file_name().unwrap_or_default()))?;
        }
        // Empty, but for a sled that does what it never should.
        for path in files_of(&store.join("blobs"))? {
            std::fs::copy(&path, copy.join("blobs").join(path.file_name().unwrap_or_default()))?;
        }
        Ok(())
    };
    make().map_err(|error| folder.io("no copy of the store can be made to check it (is there space?)", &error))
}

/// Opens the store itself.
pub(super) fn open_store(folder: &Folder, cache: u64) -> Result<Db, StoreError> {
    open(folder, &folder.store(), cache, Some(TIDY_EVERY))
}

fn open(folder: &Folder, path: &Path, cache: u64, tidy: Option<u64>) -> Result<Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(cache).segment_size(SEGMENT).flush_every_ms(tidy);
    let deadline = Instant::now() + LET_GO;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(Error::Io(error))) if is_lock(&error) => {
                // Ours is held already, so this is an older handle of this process on its way out, or a stranger.
                if Instant::now() > deadline {
                    return Err(StoreError::Locked(folder.path().display().to_string()));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Err(error)) => return Err(refusal(folder, &error)),
            Err(_) => return Err(folder.damaged("sled gave up on it while opening")),
        }
    }
}

fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}

/// What an error of sled's means to ours.
pub(super) fn refusal(folder: &Folder, error: &Error) -> StoreError {
    match error {
        Error::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            folder.damaged(format!("sled cannot read it: {error}"))
        }
        Error::Io(error) => folder.io("sled", error),
        other => folder.damaged(format!("sled says: {other}")),
    }
}

/// Closes sled and waits until nothing of it can write any more.
pub(super) fn close(folder: &Folder, path: &Path, db: Db) -> Result<(), StoreError> {
    // It syncs when it is dropped, and panics when that fails.
    catch_unwind(AssertUnwindSafe(|| drop(db)))
        .map_err(|_| folder.io("sled", &io::Error::other("the last sync failed")))?;
    let deadline = Instant::now() + LET_GO;
    let file = File::open(path.join("db")).map_err(|error| folder.io("`db` cannot be opened", &error))?;
    while file.try_lock().is_err() {
        if Instant::now() > deadline {
            return Err(folder.io("sled", &io::Error::other("it does not let go of its file")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Reads every record and compares with the totals, and those with the witness beside sled.
pub(super) fn check(folder: &Folder, files: &Files, db: &Db, least: u64) -> Result<Checked, StoreError> {
    catch_unwind(AssertUnwindSafe(|| read_all(folder, files, db, least)))
        .unwrap_or_else(|_| Err(folder.damaged("sled gave up on it while reading")))
}

fn read_all(folder: &Folder, files: &Files, db: &Db, least: u64) -> Result<Checked, StoreError> {
    let (mut found, mut totals, mut spilled) = (Totals::default(), None, Vec::new());
    for entry in db.iter() {
        let (key, bytes) = entry.map_err(|error| refusal(folder, &error))?;
        if key.starts_with(FENCE) {
            continue;
        }
        let record = Record::decode(&key, &bytes).map_err(|reason| folder.damaged(reason))?;
        if key.as_ref() == TOTALS {
            let Body::Inline(json) = record.body else { return Err(folder.damaged("the totals make no sense")) };
            let read: Totals = serde_json::from_slice(json)
                .map_err(|error| folder.damaged(format!("the totals make no sense: {error}")))?;
            totals = Some(read);
            continue;
        }
        if !key.starts_with(RECORDS) {
            return Err(folder.damaged("there is a key that this version did not write"));
        }
        found.count += 1;
        // sled's cache lets go of pages only after so many lookups (16,384 of them, spread well), and walking through is
        // none: without these the whole store would be in memory in the end. Measured with 48,000 records: 159 MB after
        // opening without, 47 MB with one for each record, 30 MB with four; two are a guess between time and memory.
        for _ in 0..2 {
            fetch(folder, db, &key)?;
        }
        found.sum = found.sum.wrapping_add(record.mark());
        if let Body::Spilled(name) = record.body {
            files.read(name).map_err(|error| match error {
                StoreError::Missing(name) => folder.damaged(format!("the file `{name}` of a large value is missing")),
                other => other,
            })?;
            spilled.push(Kept(name.to_owned()));
        }
    }
    let Some(totals) = totals else { return Err(folder.damaged("it has no totals")) };
    if totals.revision < least {
        return Err(
            folder.damaged(format!("its log ends at revision {}, but {least} was acknowledged", totals.revision))
        );
    }
    if (totals.count, totals.sum) != (found.count, found.sum) {
        return Err(folder.damaged(format!(
            "its records do not add up: there are {} of {}, or some are not the newest",
            found.count, totals.count
        )));
    }
    Ok(Checked { totals, spilled })
}

fn remove(folder: &Folder, path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(folder.io(&format!("`{}` cannot be removed", path.display()), &error))
        }
        _ => Ok(()),
    }
}

/// The totals as they stand.
pub(super) fn totals(folder: &Folder, db: &Db) -> Result<Totals, StoreError> {
    let wrong = || folder.damaged("the totals make no sense");
    let bytes = fetch(folder, db, TOTALS)?.ok_or_else(wrong)?;
    match Record::decode(TOTALS, &bytes).map_err(|reason| folder.damaged(reason))?.body {
        Body::Inline(json) => serde_json::from_slice(json).map_err(|_| wrong()),
        Body::Spilled(_) => Err(wrong()),
    }
}

/// The key of a record in sled.
pub(super) fn record_key(key: &str) -> Vec<u8> {
    [RECORDS, key.as_bytes()].concat()
}

/// The store's key of a record in sled.
pub(super) fn store_key(key: &[u8]) -> String {
    String::from_utf8_lossy(key.get(RECORDS.len()..).unwrap_or_default()).into_owned()
}

/// One value out of sled.
pub(super) fn fetch(folder: &Folder, db: &Db, key: &[u8]) -> Result<Option<IVec>, StoreError> {
    db.get(key).map_err(|error| refusal(folder, &error))
}
