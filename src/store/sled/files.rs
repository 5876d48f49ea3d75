//! Files named by the SHA-256 of what they hold: kept ones, and values too large for a record.

use std::collections::{BTreeSet, HashMap};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::folder::{io_error, sync_dir, write_whole};
use crate::domain::{Digest, Kept};
use crate::ports::StoreError;

const TEMPORARY: &str = "new-";

/// The folder `files/`: `files/ab/abcdef…`, one folder for each first byte.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    data: PathBuf,
    /// How many records, or commits under way, need each file. Looked at and changed only together with what it guards:
    /// a file is found again or deleted while this is held.
    held: Mutex<HashMap<String, u64>>,
    serial: AtomicU64,
}

impl Files {
    pub(super) fn new(data: &Path, root: PathBuf) -> Self {
        Self { root, data: data.to_owned(), held: Mutex::default(), serial: AtomicU64::new(0) }
    }

    /// Makes the folder, and removes what a crash left half written.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let prepare = || {
            make_dir(&self.root)?;
            for path in super::folder::files_of(&self.root)? {
                if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())) {
                    std::fs::remove_file(path)?;
                }
            }
            // A crash may have come between the making of a folder in here and its sync.
            sync_dir(&self.root)
        };
        prepare().map_err(|error| self.io("`files` cannot be prepared", &error))
    }

    /// Keeps bytes durably. With `hold`, the file stays until [`Files::release`].
    pub(super) fn keep(&self, bytes: &[u8], hold: bool) -> Result<Kept, StoreError> {
        let name = Digest::of(bytes).as_str().to_owned();
        // Held from before it is looked for, so that it is not collected under our hands.
        self.hold(&name);
        let kept = self.write(&name, bytes).map_err(|error| self.io("a file cannot be kept", &error));
        let kept = kept.map(|()| Kept(name));
        match &kept {
            Ok(_) if hold => {}
            Ok(name) => self.release(name),
            Err(_) => self.release(&Kept(Digest::of(bytes).as_str().to_owned())),
        }
        kept
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folder(name);
        let path = folder.join(name);
        // One that is there already is taken only when it still holds these bytes, and is young again from now on.
        if std::fs::read(&path).is_ok_and(|found| found == bytes) {
            std::fs::File::options().write(true).open(&path)?.set_modified(SystemTime::now())?;
            // The one who wrote it may not have come to this yet.
            return sync_dir(&folder);
        }
        if make_dir(&folder)? {
            sync_dir(&self.root)?;
        }
        let new = self.root.join(format!("{TEMPORARY}{}", self.serial.fetch_add(1, Ordering::Relaxed)));
        kill_point!("file: before the write");
        let written = write_whole(&new, bytes).and_then(|()| {
            kill_point!("file: before the rename");
            std::fs::rename(&new, &path)
        });
        kill_point!("file: before the sync of the folder");
        if written.is_err() {
            // Best effort: the next start removes it.
            let _ = std::fs::remove_file(&new);
        }
        written.and_then(|()| sync_dir(&folder))?;
        kill_point!("file: after the sync of the folder");
        Ok(())
    }

    /// Reads a file and checks that it holds what its name says.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        // A name is hex and nothing else: it cannot lead out of the folder.
        if name.len() != 64 || !name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(StoreError::Missing(name.to_owned()));
        }
        let bytes = std::fs::read(self.folder(name).join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(name.to_owned()),
            _ => self.io(&format!("the kept file `{name}` cannot be read"), &error),
        })?;
        if Digest::of(&bytes).as_str() == name {
            Ok(bytes)
        } else {
            Err(StoreError::Damaged {
                path: self.data.display().to_string(),
                reason: format!("the kept file `{name}` is not what its name says"),
            })
        }
    }

    /// One more needs this file.
    pub(super) fn hold(&self, name: &str) {
        *self.held().entry(name.to_owned()).or_insert(0) += 1;
    }

    /// One less needs this file.
    pub(super) fn release(&self, name: &Kept) {
        let mut held = self.held();
        if let Some(count) = held.get_mut(&name.0) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&name.0);
            }
        }
    }

    /// Deletes files that nobody needs and that are old enough; gives how many.
    pub(super) fn collect(&self, wanted: &BTreeSet<Kept>, min_age: Duration) -> Result<u64, StoreError> {
        let io = |error: io::Error| self.io("kept files cannot be collected", &error);
        let mut collected = 0;
        for folder in std::fs::read_dir(&self.root).map_err(io)? {
            let folder = folder.map_err(io)?;
            if !folder.file_type().map_err(io)?.is_dir() {
                continue;
            }
            for path in super::folder::files_of(&folder.path()).map_err(io)? {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                if wanted.contains(&Kept(name.to_owned())) {
                    continue;
                }
                let held = self.held();
                let modified = std::fs::metadata(&path).and_then(|found| found.modified()).map_err(io)?;
                // One from the future, after the clock was set back, has no age.
                let age = SystemTime::now().duration_since(modified).unwrap_or_default();
                if !held.contains_key(name) && age >= min_age {
                    std::fs::remove_file(&path).map_err(io)?;
                    collected += 1;
                }
                drop(held);
            }
        }
        Ok(collected)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name.get(..2).unwrap_or("00"))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self, what: &str, error: &io::Error) -> StoreError {
        io_error(&self.data, what, error)
    }
}

/// Makes a folder that others cannot read; says whether it was not there.
fn make_dir(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
