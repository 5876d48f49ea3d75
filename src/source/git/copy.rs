//! The local copy of one repository: a bare repository with all branches, tags and their history, read without a work
//! tree. Branches and tags are kept under `refs/skep/`, single commits that had to be fetched by id under
//! `refs/skep/commits/`, so that they are known to be here at the next fetch.
//!
//! Everything that is read is checked against its id. What does not match, is missing or cannot be decoded is a
//! [`Failure::Damaged`]: the caller moves the copy aside and fetches a fresh one.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gix::bstr::{BString, ByteSlice};
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::Direction;
use gix::remote::fetch::{Status, Tags};
use gix::{ObjectId, Repository, ThreadSafeRepository};

use super::failure::{Cause, Failure, chain, local};
use super::operation::{Operation, locked};
use crate::domain::GitUrl;

const HEADS: &str = "refs/skep/heads/";
const TAGS: &str = "refs/skep/tags/";
const COMMITS: &str = "refs/skep/commits/";

/// Where a local copy is, and whose.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) path: PathBuf,
    pub(super) url: GitUrl,
}

impl Copy {
    fn options() -> gix::open::Options {
        gix::open::Options::isolated().open_path_as_is(true).with(gix::sec::Trust::Full).config_overrides([
            // Ref changes ask for a committer, though no log is kept.
            "user.name=skep",
            "user.email=skep@localhost",
            "core.logAllRefUpdates=false",
            "pack.threads=2",
            // One object of a hostile pack may not take all memory.
            "gitoxide.objects.allocLimit=1g",
        ])
    }

    /// Opens the copy; none when there is none yet.
    pub(super) fn open(&self) -> Result<Option<Repository>, Failure> {
        Ok(self.open_to_share()?.map(|repository| repository.to_thread_local()))
    }

    fn open_to_share(&self) -> Result<Option<ThreadSafeRepository>, Failure> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.disk(&error).into()),
            Ok(_) => {}
        }
        match Self::options().open(&self.path) {
            Ok(repository) => Ok(Some(repository)),
            Err(error) => Err(Failure::Damaged(chain(&error))),
        }
    }

    /// What tells that the files which an open repository has read or mapped are still the ones in the folder.
    fn print(&self) -> Vec<(PathBuf, u64, u64, i64, i64)> {
        let files = entries(&self.path.join("objects/pack")).chain([self.path.join("HEAD"), self.path.join("config")]);
        let mut print: Vec<_> = files
            .filter_map(|path| {
                let found = fs::metadata(&path).ok()?;
                Some((path, found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
            })
            .collect();
        print.sort();
        print
    }

    fn disk(&self, error: &io::Error) -> crate::ports::SourceError {
        local(&self.url, format!("{}: {error}", self.path.display()))
    }

    /// Opens the copy, or makes an empty one: aside, so that nobody meets half of it.
    fn open_or_make(&self) -> Result<Repository, Failure> {
        if let Some(repository) = self.open()? {
            return Ok(repository);
        }
        let aside = self.path.with_extension("new");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.disk(&error).into()),
            _ => fs::create_dir_all(&aside).map_err(|error| self.disk(&error))?,
        }
        let kind = gix::create::Kind::Bare;
        gix::ThreadSafeRepository::init_opts(&aside, kind, gix::create::Options::default(), Self::options())
            .map_err(|error| local(&self.url, format!("{}: {}", self.path.display(), chain(&error))))?;
        fs::rename(&aside, &self.path).map_err(|error| self.disk(&error))?;
        self.open()?.ok_or_else(|| Failure::Damaged("it vanished".to_owned()))
    }

    /// Removes what a killed process left behind: locks nobody holds, and packs that were not finished. To be called once,
    /// before anything else is done with the copy.
    pub(super) fn tidy(&self) {
        let pack = self.path.join("objects/pack");
        remove_if(&pack, |name| name.starts_with("tmp") || name.starts_with(".tmp") || name.ends_with(".keep"));
        let mut folders = vec![self.path.join("refs")];
        remove_if(&self.path, |name| name.ends_with(".lock"));
        while let Some(folder) = folders.pop() {
            remove_if(&folder, |name| name.ends_with(".lock"));
            folders.extend(entries(&folder).filter(|path| path.is_dir()));
        }
    }

    /// Brings branches and tags up to date, and `commit` in addition when it is on none of them.
    pub(super) fn fetch(
        &self,
        operation: &Operation,
        transport: impl FnOnce() -> Result<Box<dyn Transport + Send>, Failure>,
        commit: Option<ObjectId>,
        most: u64,
    ) -> Result<Fetched, Failure> {
        let repository = self.open_or_make()?;
        let here = self.bytes();
        if here >= most {
            operation.blame(Cause::TooLarge(format!("its packs have {here} bytes; {most} is the most")));
        }
        operation.allow(most.saturating_sub(here));
        let transport = transport()?;
        match self.receive(&repository, operation, transport, commit) {
            Ok(fetched) => Ok(fetched),
            Err(error) => {
                let explained = operation.explain(&error);
                match self.damage(&repository) {
                    Some(reason) if !explained.certain => Err(Failure::Damaged(reason)),
                    _ => Err(explained.error.into()),
                }
            }
        }
    }

    fn receive(
        &self,
        repository: &Repository,
        operation: &Operation,
        transport: Box<dyn Transport + Send>,
        commit: Option<ObjectId>,
    ) -> gix::Result<Fetched> {
        let mut specs = vec![format!("+refs/heads/*:{HEADS}*"), format!("+refs/tags/*:{TAGS}*")];
        specs.extend(commit.map(|id| format!("+{id}:{COMMITS}{id}")));
        let remote = repository
            .remote_at_without_url_rewrite(operation.url().as_str())?
            .with_fetch_tags(Tags::None)
            .with_refspecs(specs.iter().map(|spec| spec.as_bytes().as_bstr()), Direction::Fetch)?;
        let connection = remote
            .to_connection_with_transport(transport)
            .with_credentials(|_| Ok(None))
            // Given, so that nothing is looked for in any configuration.
            .with_transport_options(Box::new(()));
        let prepared = connection.prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())?;
        let there: HashSet<BString> =
            prepared.ref_map().mappings.iter().filter_map(|mapping| mapping.local.clone()).collect();
        forget(repository, &there)?;
        let outcome =
            prepared.with_write_packed_refs_only(true).receive(gix::progress::Discard, operation.interrupt())?;
        let pack = matches!(outcome.status, Status::Change { .. });
        Ok(Fetched { pack, packs: self.packs().count() })
    }

    /// Bytes of all packs.
    fn bytes(&self) -> u64 {
        entries(&self.path.join("objects/pack")).filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
    }

    fn packs(&self) -> impl Iterator<Item = PathBuf> + use<> {
        entries(&self.path.join("objects/pack")).filter(|path| path.extension().is_some_and(|ext| ext == "idx"))
    }

    /// A quick look for damage: each index against the end of its pack, each ref against the objects.
    fn damage(&self, repository: &Repository) -> Option<String> {
        for index in self.packs() {
            if !belongs(&index).unwrap_or(false) {
                return Some(format!("{} does not match its pack", index.display()));
            }
        }
        let refs = match repository.references() {
            Ok(refs) => refs,
            Err(error) => return Some(chain(&error)),
        };
        let refs = match refs.prefixed("refs/skep/") {
            Ok(refs) => refs,
            Err(error) => return Some(chain(&error)),
        };
        for one in refs {
            let Ok(one) = one else { return Some("a ref cannot be read".to_owned()) };
            let id = one.id().detach();
            if !matches!(repository.try_find_header(id), Ok(Some(_))) {
                return Some(format!("the object {id} of {} is missing", one.name().as_bstr()));
            }
        }
        None
    }

    /// The commit, when it is here; a tag's id gives the commit it names.
    pub(super) fn commit(&self, repository: &Repository, id: ObjectId) -> Result<Option<ObjectId>, Failure> {
        let Some(kind) = kind(repository, id)? else { return Ok(None) };
        match kind {
            gix::object::Kind::Commit => Ok(Some(id)),
            gix::object::Kind::Tag => {
                let object = repository.find_object(id).map_err(|error| Failure::Damaged(chain(&error)))?;
                match object.peel_to_kind(gix::object::Kind::Commit) {
                    Ok(commit) => Ok(Some(commit.id)),
                    Err(_) => Err(self.not_a_commit(id, kind).into()),
                }
            }
            _ => Err(self.not_a_commit(id, kind).into()),
        }
    }

    fn not_a_commit(&self, id: ObjectId, kind: gix::object::Kind) -> crate::ports::SourceError {
        super::failure::no_such_ref(&self.url, &id.to_string(), format!("it is a {kind}, not a commit"))
    }

    /// The commits whose ids begin with `short`, ten at most.
    pub(super) fn beginning_with(&self, repository: &Repository, short: &str) -> Result<Vec<ObjectId>, Failure> {
        let Ok(prefix) = gix::hash::Prefix::from_hex(short) else { return Ok(Vec::new()) };
        let mut all = HashSet::new();
        repository.objects.lookup_prefix(prefix, Some(&mut all)).map_err(|error| Failure::Damaged(chain(&error)))?;
        let mut commits = Vec::new();
        for id in all {
            if kind(repository, id)? == Some(gix::object::Kind::Commit) {
                commits.push(id);
            }
        }
        commits.sort();
        commits.truncate(10);
        Ok(commits)
    }
}

/// So many copies stay open.
const OPEN: usize = 16;

/// The copies that were read last, open: to open one takes longer than to read a file from it. One whose files are not the
/// ones it was opened with is opened anew; mapped files that somebody cuts short would end the process.
#[derive(Default)]
pub(super) struct Opened(Mutex<Vec<Open>>);

struct Open {
    path: PathBuf,
    print: Vec<(PathBuf, u64, u64, i64, i64)>,
    repository: ThreadSafeRepository,
}

impl Opened {
    /// The copy, opened now or before; none when there is none yet.
    pub(super) fn get(&self, copy: &Copy) -> Result<Option<Repository>, Failure> {
        let print = copy.print();
        let mut all = locked(&self.0);
        let known = all.iter().position(|open| open.path == copy.path).map(|place| all.remove(place));
        let known = known.filter(|open| open.print == print);
        let open = match known {
            Some(open) => open,
            None => {
                drop(all);
                let Some(repository) = copy.open_to_share()? else { return Ok(None) };
                all = locked(&self.0);
                all.retain(|open| open.path != copy.path);
                Open { path: copy.path.clone(), print, repository }
            }
        };
        let repository = open.repository.to_thread_local();
        all.push(open);
        let surplus = all.len().saturating_sub(OPEN);
        all.drain(..surplus);
        Ok(Some(repository))
    }
}

/// What a fetch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Whether objects came.
    pub(super) pack: bool,
    /// How many packs there are now.
    pub(super) packs: usize,
}

fn kind(repository: &Repository, id: ObjectId) -> Result<Option<gix::object::Kind>, Failure> {
    match repository.try_find_header(id) {
        Ok(header) => Ok(header.map(|header| header.kind())),
        Err(error) => Err(Failure::Damaged(chain(&error))),
    }
}

/// An object's bytes, checked against its id.
pub(super) fn object(repository: &Repository, id: ObjectId) -> Result<Vec<u8>, Failure> {
    let found = repository.try_find_object(id).map_err(|error| Failure::Damaged(chain(&error)))?;
    let Some(found) = found else { return Err(Failure::Damaged(format!("the object {id} is missing"))) };
    gix::objs::Data::new(&found.data, found.kind, id.kind())
        .verify_checksum(&id)
        .map_err(|_| Failure::Damaged(format!("the object {id} has other bytes than its id says")))?;
    Ok(found.detach().data)
}

/// Removes the refs the host no longer has. A name could not become a folder of names otherwise.
fn forget(repository: &Repository, there: &HashSet<BString>) -> gix::Result<()> {
    let mut gone = Vec::new();
    for folder in [HEADS, TAGS] {
        for one in repository.references()?.prefixed(folder)? {
            let Ok(one) = one else { continue };
            if !there.contains(one.name().as_bstr()) {
                gone.push(gix::refs::transaction::RefEdit {
                    change: gix::refs::transaction::Change::Delete {
                        expected: gix::refs::transaction::PreviousValue::Any,
                        log: gix::refs::transaction::RefLog::AndReference,
                    },
                    name: one.name().to_owned(),
                    deref: false,
                });
            }
        }
    }
    if !gone.is_empty() {
        repository.edit_references(gone)?;
    }
    Ok(())
}

/// Whether an index and its pack belong together, by the checksum of the pack that ends both.
fn belongs(index: &Path) -> io::Result<bool> {
    let tail = |path: &Path, skip: u64| -> io::Result<[u8; 20]> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = fs::File::open(path)?;
        let size = file.metadata()?.len();
        let start = size.checked_sub(skip).ok_or_else(|| io::Error::other("too short"))?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = [0; 20];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    Ok(tail(index, 40)? == tail(&index.with_extension("pack"), 20)?)
}

/// What is in a folder; nothing when it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn remove_if(folder: &Path, unwanted: impl Fn(&str) -> bool) {
    for path in entries(folder) {
        let is_unwanted = path.file_name().and_then(|name| name.to_str()).is_some_and(&unwanted);
        if is_unwanted && path.is_file() {
            // What stays is only in the way of a later fetch, which then says so.
            fs::remove_file(path).ok();
        }
    }
}
