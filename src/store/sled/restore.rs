//! Makes a store from an archive, or only looks whether one could.
//!
//! Nothing of the archive becomes a path: names of entries are compared, and files are named by what they hold. While it is
//! written the folder has a file `restoring`, with which no store opens; what breaks off is taken away again.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use sled::{Batch, Db};
use thiserror::Error;

use super::archive::{self, END, End, FILES, FORM, HEAD, Head, RECORDS};
use super::engine::{self, RECORDS as RECORD, Totals, record_key};
use super::files::Files;
use super::folder::{Folder, RESTORING, sync_dir, write_whole};
use super::record::{Body, Record, encode};
use super::{LONGEST_INLINE, SledOptions};
use crate::domain::{Digest, Kept};
use crate::ports::{StoreError, Write};

/// So many records are written at a time.
const AT_ONCE: usize = 500;
/// More than any kept file has, in bytes.
const LONGEST_FILE: u64 = 1 << 30;

/// Why a backup was not restored, or cannot be.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is there already.
    #[error(
        "the folder `{0}` is not empty, and nothing in it was changed; name another one, or move what is there away"
    )]
    NotEmpty(String),
    /// A newer Skep has made it.
    #[error("the backup has the form {0}, this Skep reads up to {FORM}; use the Skep that made it, or a newer one")]
    Newer(u32),
    /// It cannot be trusted.
    #[error("this is no backup that can be restored: {0}")]
    Refused(String),
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reviewed {
    /// The store's revision it was taken at.
    pub revision: u64,
    /// How many records.
    pub records: u64,
    /// How many kept files.
    pub files: u64,
}

/// Where the parts of an archive go.
trait Target {
    fn record(&mut self, key: Vec<u8>, bytes: Vec<u8>) -> Result<(), RestoreError>;
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), RestoreError>;
}

/// Reads a backup to its end and checks every record and file of it. Writes nothing.
///
/// # Errors
/// [`RestoreError::Newer`], [`RestoreError::Refused`].
pub fn review(archive: &mut dyn Read) -> Result<Reviewed, RestoreError> {
    struct Nowhere;
    impl Target for Nowhere {
        fn record(&mut self, _: Vec<u8>, _: Vec<u8>) -> Result<(), RestoreError> {
            Ok(())
        }
        fn file(&mut self, _: &str, _: &[u8]) -> Result<(), RestoreError> {
            Ok(())
        }
    }
    read(archive, &mut Nowhere).map(|(reviewed, _)| reviewed)
}

/// Makes a store in an empty or missing folder from a backup, without the records whose keys begin with one of `forget`, and
/// with those that `then` puts. All or nothing.
///
/// # Errors
/// [`RestoreError`]; the folder is then as empty as before.
pub fn restore(archive: &mut dyn Read, data: &Path, forget: &[&str], then: &[Write]) -> Result<Reviewed, RestoreError> {
    match std::fs::read_dir(data) {
        Ok(entries) => {
            // The root of a disk of its own has this.
            if entries.filter_map(Result::ok).any(|entry| entry.file_name() != "lost+found") {
                return Err(RestoreError::NotEmpty(data.display().to_string()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(super::folder::io_error(data, "it cannot be read", &error).into()),
    }
    let folder = Folder::lock(data)?;
    let restored = write(archive, &folder, forget, then);
    if restored.is_err() {
        clear(&folder);
    }
    restored
}

fn write(archive: &mut dyn Read, folder: &Folder, forget: &[&str], then: &[Write]) -> Result<Reviewed, RestoreError> {
    let mark = folder.path().join(RESTORING);
    let begun = write_whole(&mark, b"").and_then(|()| sync_dir(folder.path()));
    begun.map_err(|error| folder.io("nothing can be written", &error))?;
    let files = Files::new(folder.path(), folder.files());
    files.prepare()?;
    let (mut reviewed, mut revision) = (None, 0);
    engine::create_with(folder, SledOptions::default().cache, |db| {
        let (mut target, forget) = (Filling::new(folder, db, &files), forget);
        target.forget = forget.iter().map(|prefix| record_key(prefix)).collect();
        let (found, end) = read(archive, &mut target)?;
        target.totals.revision = found.revision.saturating_add(1);
        target.totals.logs = end.logs;
        for write in then {
            target.put(write)?;
        }
        target.settle()?;
        (reviewed, revision) = (Some(found), target.totals.revision);
        Ok::<_, RestoreError>(target.totals)
    })?;
    folder.begin()?;
    folder.mark_open(revision)?;
    std::fs::remove_file(&mark)
        .and_then(|()| sync_dir(folder.path()))
        .map_err(|error| folder.io("`restoring` cannot be removed", &error))?;
    reviewed.ok_or_else(|| RestoreError::Refused("it is empty".to_owned()))
}

/// Takes a store that was just restored away again, with all that is left of it: what it holds is of no use.
pub fn undo(data: &Path) {
    if let Ok(folder) = Folder::lock(data) {
        clear(&folder);
    }
}

/// Takes away what a restore that broke off has written.
fn clear(folder: &Folder) {
    let path = folder.path();
    for name in ["store.new", "store", "files"] {
        // What cannot be taken away stays beside `restoring`, and is refused.
        drop(std::fs::remove_dir_all(path.join(name)));
    }
    for name in ["format", "format.new", "tip", "tip.new", "lock", RESTORING] {
        drop(std::fs::remove_file(path.join(name)));
    }
}

/// A store that is being filled.
struct Filling<'a> {
    folder: &'a Folder,
    db: &'a Db,
    files: &'a Files,
    forget: Vec<Vec<u8>>,
    totals: Totals,
    batch: Batch,
    waiting: usize,
}

impl<'a> Filling<'a> {
    fn new(folder: &'a Folder, db: &'a Db, files: &'a Files) -> Self {
        let (forget, totals, batch) = (Vec::new(), Totals::default(), Batch::default());
        Self { folder, db, files, forget, totals, batch, waiting: 0 }
    }

    fn add(&mut self, key: Vec<u8>, bytes: Vec<u8>, mark: u64) -> Result<(), StoreError> {
        self.totals.count += 1;
        self.totals.sum = self.totals.sum.wrapping_add(mark);
        self.batch.insert(key, bytes);
        self.waiting += 1;
        if self.waiting >= AT_ONCE { self.settle() } else { Ok(()) }
    }

    /// Writes a record of this restore's own, in place of one that the backup has.
    fn put(&mut self, write: &Write) -> Result<(), RestoreError> {
        let Write::Put { key, value } = write else {
            return Err(StoreError::Unfit("a restore only puts records".to_owned()).into());
        };
        if value.len() > LONGEST_INLINE {
            return Err(StoreError::Unfit("a restore puts small records only".to_owned()).into());
        }
        self.settle()?;
        let key = record_key(key);
        if let Some(old) = engine::fetch(self.folder, self.db, &key)? {
            let old = Record::decode(&key, &old).map_err(|reason| self.folder.damaged(reason))?.mark();
            self.totals.count -= 1;
            self.totals.sum = self.totals.sum.wrapping_sub(old);
        }
        let (bytes, mark) = encode(&key, self.totals.revision, Body::Inline(value));
        Ok(self.add(key, bytes, mark)?)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.waiting = 0;
        self.db.apply_batch(std::mem::take(&mut self.batch)).map_err(|error| engine::refusal(self.folder, &error))
    }
}

impl Target for Filling<'_> {
    fn record(&mut self, key: Vec<u8>, bytes: Vec<u8>) -> Result<(), RestoreError> {
        if self.forget.iter().any(|prefix| key.starts_with(prefix)) {
            return Ok(());
        }
        let mark = Record::decode(&key, &bytes).map_err(RestoreError::Refused)?.mark();
        Ok(self.add(key, bytes, mark)?)
    }

    fn file(&mut self, _: &str, bytes: &[u8]) -> Result<(), RestoreError> {
        self.files.keep(bytes, false)?;
        Ok(())
    }
}

/// Reads an archive to its end, and checks everything that can be checked.
fn read(archive: &mut dyn Read, target: &mut dyn Target) -> Result<(Reviewed, End), RestoreError> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().map_err(|error| unreadable(&error))?;
    let mut next = |wanted: &str| match entries.next() {
        None => Err(RestoreError::Refused(format!("it is cut short: `{wanted}` is missing"))),
        Some(entry) => {
            let entry = entry.map_err(|error| unreadable(&error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            Ok((name, entry))
        }
    };
    let (name, entry) = next(HEAD)?;
    if name != HEAD {
        return Err(RestoreError::Refused(format!("it begins with `{name}`, not with `{HEAD}`")));
    }
    let head: Head = json(HEAD, entry)?;
    if head.form > FORM {
        return Err(RestoreError::Newer(head.form));
    }
    let (name, mut entry) = next(RECORDS)?;
    if name != RECORDS {
        return Err(RestoreError::Refused(format!("`{name}` comes in place of `{RECORDS}`")));
    }
    let (mut count, mut sum, mut spilled) = (0_u64, 0_u64, BTreeSet::new());
    while let Some((key, bytes)) = archive::read_record(&mut entry).map_err(|error| unreadable(&error))? {
        if !key.starts_with(RECORD) {
            return Err(RestoreError::Refused("it has a key that no Skep writes".to_owned()));
        }
        let record = Record::decode(&key, &bytes).map_err(RestoreError::Refused)?;
        (count, sum) = (count + 1, sum.wrapping_add(record.mark()));
        if let Body::Spilled(name) = record.body {
            spilled.insert(Kept(name.to_owned()));
        }
        target.record(key, bytes)?;
    }
    let mut files = 0;
    let end = loop {
        let (name, entry) = next(END)?;
        if name == END {
            break json::<End>(END, entry)?;
        }
        let Some(file) = name.strip_prefix(FILES) else {
            return Err(RestoreError::Refused(format!("it has an entry `{name}`, which no Skep writes")));
        };
        let mut bytes = Vec::new();
        entry.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if Digest::of(&bytes).as_str() != file {
            return Err(RestoreError::Refused(format!("the file `{file}` is not what its name says")));
        }
        files += 1;
        spilled.remove(&Kept(file.to_owned()));
        target.file(file, &bytes)?;
    };
    if let Some(missing) = spilled.first() {
        return Err(RestoreError::Refused(format!("the file `{}` of a large value is missing", missing.0)));
    }
    if (end.count, end.sum, end.files) != (count, sum, files) {
        return Err(RestoreError::Refused(format!(
            "its records do not add up: {count} of {}, with {files} of {} files",
            end.count, end.files
        )));
    }
    Ok((Reviewed { revision: head.revision, records: count, files }, end))
}

fn json<T: DeserializeOwned>(name: &str, entry: impl Read) -> Result<T, RestoreError> {
    serde_json::from_reader(entry.take(1 << 20))
        .map_err(|error| RestoreError::Refused(format!("its entry `{name}` makes no sense: {error}")))
}

fn unreadable(error: &io::Error) -> RestoreError {
    RestoreError::Refused(format!("it cannot be read: {error}"))
}
