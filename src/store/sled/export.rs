//! Takes a copy of the store while it runs: no record is half there, and every file a record needs is with it.
//!
//! The records are copied to a file without a name while readers' own lock is held, which keeps the committer from beginning
//! or ending a group: that is as long as writers may have to wait. The files they need are held meanwhile, and copied after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;
use super::archive::{self, END, End, FILES, FORM, HEAD, Head, RECORDS};
use super::engine;
use super::folder::files_of;
use super::record::{Body, Record};
use crate::domain::Kept;
use crate::ports::StoreError;

/// Files without a name that this process has made: two at a time do not meet.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// The records as they were at one moment.
struct Copied {
    spool: File,
    head: Head,
    end: End,
    spilled: Vec<Kept>,
}

impl Shared {
    /// The whole store as an archive.
    pub(super) fn export(&self) -> Result<Box<dyn Read + Send>, StoreError> {
        let copied = self.copy_records()?;
        let archived = self.archive(&copied);
        copied.spilled.iter().for_each(|name| self.files.release(name));
        Ok(Box::new(BufReader::new(archived?)))
    }

    fn copy_records(&self) -> Result<Copied, StoreError> {
        let failed = |error: &io::Error| self.folder.io("no copy of the records can be made (is there space?)", error);
        let spool = nameless(&self.folder.spool()).map_err(|error| failed(&error))?;
        let mut to = BufWriter::new(spool);
        let mut end = End { count: 0, sum: 0, logs: BTreeMap::new(), files: 0 };
        let mut spilled = Vec::new();
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        let revision = self.revision.load(Ordering::Acquire);
        // Those of a group under way may be counted here: that leaves a gap in the numbers, and no more.
        end.logs = engine::totals(&self.folder, &self.db)?.logs;
        let mut copy = |key: &[u8], bytes: &[u8]| {
            let record = Record::decode(key, bytes).map_err(|reason| self.folder.damaged(reason))?;
            if let Body::Spilled(name) = record.body {
                self.files.hold(name);
                spilled.push(Kept(name.to_owned()));
            }
            end.count += 1;
            end.sum = end.sum.wrapping_add(record.mark());
            archive::write_record(&mut to, key, bytes).map_err(|error| failed(&error))
        };
        let copied = (|| {
            for entry in self.db.scan_prefix(engine::RECORDS) {
                let (key, bytes) = entry.map_err(|error| engine::refusal(&self.folder, &error))?;
                if !pending.contains_key(key.as_ref()) {
                    copy(&key, &bytes)?;
                }
            }
            // What a group under way touches is copied as it was before.
            for (key, before) in pending.iter() {
                if let Some(before) = before {
                    copy(key, before)?;
                }
            }
            Ok(())
        })();
        drop(pending);
        let spool = to.into_inner().map_err(|error| failed(error.error()));
        match copied.and(spool) {
            Ok(spool) => Ok(Copied { spool, head: Head { form: FORM, revision }, end, spilled }),
            Err(error) => {
                spilled.iter().for_each(|name| self.files.release(name));
                Err(error)
            }
        }
    }

    fn archive(&self, copied: &Copied) -> Result<File, StoreError> {
        let io = |error: io::Error| self.folder.io("the archive cannot be written (is there space?)", &error);
        let mut to = tar::Builder::new(BufWriter::new(nameless(&self.folder.spool()).map_err(io)?));
        archive::put(&mut to, HEAD, &json(&copied.head)).map_err(io)?;
        let mut spool = &copied.spool;
        spool.rewind().map_err(io)?;
        let length = spool.metadata().map_err(io)?.len();
        to.append_data(&mut archive::header(length), RECORDS, BufReader::new(spool)).map_err(io)?;
        let mut end = copied.end.clone();
        for name in self.all_files(&copied.spilled)? {
            let bytes = match self.files.read(&name.0) {
                Ok(bytes) => bytes,
                // Nobody needed it, and it was collected meanwhile.
                Err(StoreError::Missing(_)) if !copied.spilled.contains(&name) => continue,
                Err(error) => return Err(error),
            };
            archive::put(&mut to, &format!("{FILES}{}", name.0), &bytes).map_err(io)?;
            end.files += 1;
        }
        archive::put(&mut to, END, &json(&end)).map_err(io)?;
        let mut file =
            to.into_inner().and_then(|to| to.into_inner().map_err(io::IntoInnerError::into_error)).map_err(io)?;
        file.rewind().map_err(io)?;
        Ok(file)
    }

    /// The files that records need, and all others that are kept.
    pub(super) fn all_files(&self, spilled: &[Kept]) -> Result<BTreeSet<Kept>, StoreError> {
        let mut names: BTreeSet<Kept> = spilled.iter().cloned().collect();
        let io = |error: io::Error| self.folder.io("`files` cannot be read", &error);
        for folder in std::fs::read_dir(self.folder.files()).map_err(io)? {
            let folder = folder.map_err(io)?;
            if folder.file_type().map_err(io)?.is_dir() {
                for path in files_of(&folder.path()).map_err(io)? {
                    names.extend(path.file_name().and_then(|name| name.to_str()).map(|name| Kept(name.to_owned())));
                }
            }
        }
        Ok(names)
    }
}

/// Numbers and text only: this cannot fail, and an empty entry would be refused when it is read.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A new file in this folder whose name is gone already: whatever happens, nothing is left behind.
fn nameless(folder: &Path) -> io::Result<File> {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("backup.new-{}-{serial}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
