//! The data folder: is it ours, is it free, which format has it, and how far had it come?
//!
//! ```text
//! DATA/lock      held (flock) by the process that has the store open
//! DATA/format    one line: the format of everything here, and the oldest one whose readers can read it
//! DATA/tip       the newest acknowledged revision, and a fingerprint of `store/` when it was closed properly
//! DATA/store/    sled
//! DATA/files/    kept files and spilled values, named by their SHA-256
//! DATA/restoring there while a backup is restored into the folder: what is beside it is not whole
//! ```
//!
//! The tip is a witness beside sled. sled takes a damaged end of its log for a write that a crash cut short, drops it
//! and zeroes it; only a second memory of how far the log went can tell the two apart. It is written after each sync of
//! the log and so is never ahead of it; it is not synced itself, for after a power cut an older witness still holds.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::ports::StoreError;

/// The newest format this version reads, and the one it writes.
pub const FORMAT: u32 = 1;
const FORMAT_LINE: &str = "skep data format ";
/// Behind the format, when readers of an older one can read it too.
const READABLE_FROM: &str = " readable from ";
/// There while a backup is being restored.
pub(super) const RESTORING: &str = "restoring";
const TIP_MAGIC: &[u8; 8] = b"skep-tip";
const TIP_LENGTH: usize = 33;

/// How `store/` looked when it was closed properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) length: u64,
    pub(super) crc: u32,
}

/// How far the store had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    /// The newest acknowledged revision.
    pub(super) revision: u64,
    /// There when the store was closed properly.
    pub(super) closed: Option<Fingerprint>,
}

/// What the folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet: a first start, or one that did not get far.
    Nothing,
    /// A store that had come this far.
    Store(Tip),
}

/// A data folder that this process has to itself.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Where sled is: in the folder, or a copy elsewhere when the folder is only looked at.
    store: PathBuf,
    /// Held, never read: the lock goes with it.
    _lock: File,
    tip: OnceLock<File>,
}

impl Folder {
    /// Makes the folder when it is not there, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let io = |what: &str, error: &io::Error| io_error(path, what, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| io("the folder cannot be made", &error))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| io("`lock` cannot be opened", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), store: path.join("store"), _lock: lock, tip: OnceLock::new() }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.display().to_string())),
            Err(TryLockError::Error(error)) => Err(io("`lock` cannot be locked", &error)),
        }
    }

    /// Locks a folder that is there, to look at it: nothing in it is written. sled, which cannot open anything without
    /// writing to it, is to work in `scratch`.
    pub(super) fn only_read(path: &Path, scratch: &Path) -> Result<Self, StoreError> {
        let lock = File::open(path.join("lock")).map_err(|error| io_error(path, "`lock` cannot be opened", &error))?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Self { path: path.to_owned(), store: scratch.join("store"), _lock: lock, tip: OnceLock::new() })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.display().to_string())),
            Err(TryLockError::Error(error)) => Err(io_error(path, "`lock` cannot be locked", &error)),
        }
    }

    /// Whether it is only looked at.
    pub(super) fn is_only_read(&self) -> bool {
        self.store != self.own_store()
    }

    /// Where sled is when the folder is in use.
    pub(super) fn own_store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where files may be put that are of use to nobody later.
    pub(super) fn spool(&self) -> PathBuf {
        self.store.parent().unwrap_or(&self.path).to_owned()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled is.
    pub(super) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// Where the kept files are.
    pub(super) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.display().to_string(), reason: reason.into() }
    }

    pub(super) fn io(&self, what: &str, error: &io::Error) -> StoreError {
        io_error(&self.path, what, error)
    }

    /// Looks at what is there, for a version that knows formats up to `newest`. Writes nothing.
    pub(super) fn look(&self, newest: u32) -> Result<Found, StoreError> {
        if self.read(RESTORING)?.is_some() {
            return Err(self.damaged("a restore into it broke off; empty the folder, and restore again"));
        }
        let has_store = self.has(&self.own_store())?;
        let Some(format) = self.read("format")? else {
            if has_store || self.has(&self.files())? {
                return Err(self.damaged("the file `format` is missing beside a store"));
            }
            return Ok(Found::Nothing);
        };
        let (format, readable_from) =
            formats(&format).ok_or_else(|| self.damaged("the file `format` makes no sense"))?;
        if readable_from > newest {
            return Err(StoreError::Newer { path: self.path.display().to_string(), found: format, known: newest });
        }
        let Some(tip) = self.read("tip")? else {
            return if has_store { Err(self.damaged("the file `tip` is missing")) } else { Ok(Found::Nothing) };
        };
        let tip = Tip::decode(&tip).ok_or_else(|| self.damaged("the file `tip` makes no sense"))?;
        match (has_store, tip.revision) {
            (false, 0) => Ok(Found::Nothing),
            (false, _) => Err(self.damaged("the folder `store` is missing")),
            (true, _) => Ok(Found::Store(tip)),
        }
    }

    /// The format that stands written; none before there is one.
    pub(super) fn format(&self) -> Result<Option<u32>, StoreError> {
        Ok(self.read("format")?.as_deref().and_then(formats).map(|(format, _)| format))
    }

    /// Says durably which format everything here has from now on.
    pub(super) fn mark_format(&self, format: u32, readable_from: u32) -> Result<(), StoreError> {
        let line = match readable_from < format {
            true => format!("{FORMAT_LINE}{format}{READABLE_FROM}{readable_from}\n"),
            false => format!("{FORMAT_LINE}{format}\n"),
        };
        self.replace("format", line.as_bytes())
    }

    /// Puts a file of the folder in place, whole and durably.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let new = self.path.join(format!("{name}.new"));
        write_whole(&new, bytes)
            .and_then(|()| std::fs::rename(&new, self.path.join(name)))
            .and_then(|()| sync_dir(&self.path))
            .map_err(|error| self.io(&format!("`{name}` cannot be written"), &error))
    }

    /// Writes `format` and a first tip, for a folder that holds nothing yet.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.replace("tip", &Tip { revision: 0, closed: None }.encode())?;
        self.mark_format(FORMAT, FORMAT)?;
        // The folder's own name must last too.
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent).map_err(|error| self.io("the folder above cannot be synced", &error))?;
        }
        Ok(())
    }

    /// Says durably that the store is open: what follows may change `store/`.
    pub(super) fn mark_open(&self, revision: u64) -> Result<(), StoreError> {
        self.mark(Tip { revision, closed: None }, true)
    }

    /// Notes how far the store has come. Not synced.
    pub(super) fn mark_revision(&self, revision: u64) -> Result<(), StoreError> {
        self.mark(Tip { revision, closed: None }, false)
    }

    /// Says durably that the store was closed properly.
    pub(super) fn mark_closed(&self, revision: u64, closed: Fingerprint) -> Result<(), StoreError> {
        self.mark(Tip { revision, closed: Some(closed) }, true)
    }

    fn mark(&self, tip: Tip, durably: bool) -> Result<(), StoreError> {
        let write = || {
            let file = match self.tip.get() {
                Some(file) => file,
                None => {
                    let file = OpenOptions::new().write(true).open(self.path.join("tip"))?;
                    self.tip.get_or_init(|| file)
                }
            };
            file.write_all_at(&tip.encode(), 0)?;
            if durably { file.sync_all() } else { Ok(()) }
        };
        write().map_err(|error: io::Error| self.io("`tip` cannot be written", &error))
    }

    /// Whether there is a folder with something in it.
    fn has(&self, folder: &Path) -> Result<bool, StoreError> {
        match std::fs::read_dir(folder) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.io(&format!("`{}` cannot be read", folder.display()), &error)),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match std::fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(&format!("`{name}` cannot be read"), &error)),
        }
    }
}

impl Tip {
    fn encode(self) -> [u8; TIP_LENGTH] {
        let mut bytes = [0; TIP_LENGTH];
        bytes[..8].copy_from_slice(TIP_MAGIC);
        bytes[8..16].copy_from_slice(&self.revision.to_le_bytes());
        if let Some(closed) = self.closed {
            bytes[16] = 1;
            bytes[17..25].copy_from_slice(&closed.length.to_le_bytes());
            bytes[25..29].copy_from_slice(&closed.crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..29]);
        bytes[29..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TIP_LENGTH] = bytes.try_into().ok()?;
        let number = |at: usize| bytes.get(at..)?.first_chunk::<8>().map(|part| u64::from_le_bytes(*part));
        let check = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|part| u32::from_le_bytes(*part));
        if !bytes.starts_with(TIP_MAGIC) || check(29)? != crc32c::crc32c(&bytes[..29]) {
            return None;
        }
        let closed = match bytes[16] {
            0 => None,
            _ => Some(Fingerprint { length: number(17)?, crc: check(25)? }),
        };
        Some(Self { revision: number(8)?, closed })
    }
}

/// What `format` says: the format, and the oldest one whose readers can read it.
fn formats(bytes: &[u8]) -> Option<(u32, u32)> {
    let line = std::str::from_utf8(bytes).ok()?.strip_prefix(FORMAT_LINE)?.strip_suffix('\n')?;
    let (format, from) = line.split_once(READABLE_FROM).unwrap_or((line, line));
    Some((format.parse().ok()?, from.parse().ok()?))
}

/// The fingerprint of all files of a folder of sled's.
pub(super) fn fingerprint(folder: &Path) -> io::Result<Fingerprint> {
    let (mut crc, mut length) = (0, 0);
    let mut buffer = vec![0; 256 * 1024];
    for path in files_of(folder)? {
        crc = crc32c::crc32c_append(crc, path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut file = File::open(&path)?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, buffer.get(..read).unwrap_or_default());
            length += u64::try_from(read).unwrap_or_default();
        }
    }
    Ok(Fingerprint { length, crc })
}

/// The plain files right in a folder, by name.
pub(super) fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a new file and syncs it. Others cannot read it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The disk a folder is on: bytes that are free to us, and all there are.
pub(super) fn room(path: &Path) -> Result<(u64, u64), StoreError> {
    let found = rustix::fs::statvfs(path).map_err(|error| io_error(path, "its disk cannot be asked", &error.into()))?;
    Ok((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

/// Makes the names in a folder last.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn io_error(path: &Path, what: &str, error: &io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), reason: format!("{what}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_its_format_and_who_can_read_it() {
        assert_eq!(formats(b"skep data format 1\n"), Some((1, 1)));
        assert_eq!(formats(b"skep data format 3 readable from 2\n"), Some((3, 2)));
        for bad in ["", "skep data format 1", "skep data format x\n", "skep data format 2 readable from \n"] {
            assert_eq!(formats(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_tip_reads_back_and_a_torn_one_does_not() {
        for closed in [None, Some(Fingerprint { length: 5, crc: 9 })] {
            let tip = Tip { revision: 77, closed };
            let bytes = tip.encode();
            assert_eq!(Tip::decode(&bytes), Some(tip));
            for at in 0..bytes.len() {
                let mut torn = bytes;
                torn[at] ^= 1;
                assert_eq!(Tip::decode(&torn), None);
            }
        }
    }
}
