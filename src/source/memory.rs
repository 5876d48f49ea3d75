//! Repositories in memory, for tests of what stands behind the port: no network, no disk, no clock, the same ids each time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::git::listing::{Found, Listing, full_commit};
use super::git::tree::parts;
use crate::domain::{GitSource, Revision};
use crate::ports::{BoxFuture, CommitInfo, FileError, FileSet, Source, SourceError};

/// The author of all commits.
pub const AUTHOR: &str = "Ada";

/// How often the source was asked, waiting and failed calls included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls of [`Source::resolve`].
    pub resolve: u64,
    /// Calls of [`Source::read`].
    pub read: u64,
    /// Calls of [`Source::commit_info`].
    pub commit_info: u64,
}

#[derive(Debug, Default)]
struct Repository {
    refs: BTreeMap<String, String>,
    default: Option<String>,
    commits: BTreeMap<String, Commit>,
    down: bool,
    hanging: bool,
    refusal: Option<SourceError>,
}

#[derive(Debug, Clone)]
struct Commit {
    files: BTreeMap<String, Arc<[u8]>>,
    info: CommitInfo,
}

#[derive(Debug, Default)]
struct State {
    repositories: HashMap<String, Repository>,
    calls: Calls,
}

/// Repositories by address. Clones share everything. An address nobody committed to is not found.
#[derive(Debug, Clone)]
pub struct MemorySource {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Default for MemorySource {
    fn default() -> Self {
        Self::new()
    }
}

impl MemorySource {
    /// No repository at all.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), changed: Arc::new(Notify::new()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, url: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        let result = change(self.state().repositories.entry(url.to_owned()).or_default());
        self.changed.notify_waiters();
        result
    }

    /// Writes these files on top of the branch's last commit, and moves the branch; the first branch is `HEAD`. Each commit
    /// is one second later than the one before it in its repository.
    pub fn commit(&self, url: &str, branch: &str, files: &[(&str, &str)]) -> Revision {
        self.change(url, |repository| {
            let name = format!("refs/heads/{branch}");
            let parent = repository.refs.get(&name).cloned();
            let mut all = parent
                .as_ref()
                .and_then(|parent| repository.commits.get(parent))
                .map(|commit| commit.files.clone())
                .unwrap_or_default();
            let mut digest = Sha256::new();
            for part in [url, branch, parent.as_deref().unwrap_or_default()] {
                digest.update(part.as_bytes());
                digest.update([0]);
            }
            digest.update(repository.commits.len().to_le_bytes());
            for (path, text) in files {
                all.insert((*path).to_owned(), text.as_bytes().into());
                digest.update(path.as_bytes());
                digest.update([0]);
                digest.update(text.as_bytes());
                digest.update([0]);
            }
            let id: String = digest.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
            let number = i64::try_from(repository.commits.len()).unwrap_or_default();
            let info = CommitInfo {
                author: AUTHOR.to_owned(),
                title: format!("Commit {} on {branch}", number + 1),
                time: Timestamp::from_second(1_700_000_000 + number).unwrap_or(Timestamp::UNIX_EPOCH),
            };
            repository.commits.insert(id.clone(), Commit { files: all, info });
            let default = repository.default.get_or_insert_with(|| branch.to_owned());
            if default == branch {
                repository.refs.insert("HEAD".to_owned(), id.clone());
            }
            repository.refs.insert(name, id.clone());
            Revision(id)
        })
    }

    /// A file of a commit, as it was written.
    #[must_use]
    pub fn text(&self, url: &str, revision: &Revision, path: &str) -> Option<String> {
        let state = self.state();
        let bytes = state.repositories.get(url)?.commits.get(&revision.0)?.files.get(path)?;
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// Puts a tag on a commit, or moves it there.
    pub fn tag(&self, url: &str, name: &str, revision: &Revision) {
        self.change(url, |repository| {
            repository.refs.insert(format!("refs/tags/{name}"), revision.0.clone());
        });
    }

    /// Moves a branch to a commit that is there, as a forced push does.
    pub fn reset(&self, url: &str, branch: &str, revision: &Revision) {
        self.change(url, |repository| {
            repository.refs.insert(format!("refs/heads/{branch}"), revision.0.clone());
        });
    }

    /// Deletes a branch. Its commits stay.
    pub fn delete_branch(&self, url: &str, branch: &str) {
        self.change(url, |repository| {
            repository.refs.remove(&format!("refs/heads/{branch}"));
        });
    }

    /// Whether the repository cannot be reached: every call then fails with [`SourceError::Unreachable`].
    pub fn set_down(&self, url: &str, down: bool) {
        self.change(url, |repository| repository.down = down);
    }

    /// Whether the repository does not answer. Calls wait until this is taken back.
    pub fn hang(&self, url: &str, hanging: bool) {
        self.change(url, |repository| repository.hanging = hanging);
    }

    /// What every call fails with from now on; none: nothing.
    pub fn refuse(&self, url: &str, refusal: Option<SourceError>) {
        self.change(url, |repository| repository.refusal = refusal);
    }

    /// How often the source was asked since it was made.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// Counts a call, waits while the repository hangs, and then looks at it.
    async fn answer<T>(
        &self,
        source: &GitSource,
        count: impl FnOnce(&mut Calls),
        look: impl FnOnce(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let url = source.url.as_str();
        count(&mut self.state().calls);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                match state.repositories.get(url) {
                    Some(repository) if repository.hanging => {}
                    Some(repository) if repository.down => {
                        let reason = "connection refused".to_owned();
                        return Err(SourceError::Unreachable { url: url.to_owned(), reason });
                    }
                    Some(Repository { refusal: Some(refusal), .. }) => return Err(refusal.clone()),
                    Some(repository) => return look(repository),
                    None => {
                        let reason = "it answered 404".to_owned();
                        return Err(SourceError::NotFound { url: url.to_owned(), reason });
                    }
                }
            }
            changed.await;
        }
    }
}

fn no_such_ref(url: &str, wanted: &str, hint: &str) -> SourceError {
    SourceError::NoSuchRef { url: url.to_owned(), wanted: wanted.to_owned(), hint: hint.to_owned() }
}

fn commit<'a>(repository: &'a Repository, url: &str, revision: &str) -> Result<&'a Commit, SourceError> {
    repository.commits.get(revision).ok_or_else(|| no_such_ref(url, revision, "no branch or tag leads to it"))
}

fn file(commit: &Commit, path: &str) -> Result<Arc<[u8]>, FileError> {
    let plain = Vec::from(parts(path)?).join("/");
    if let Some(bytes) = commit.files.get(&plain) {
        return Ok(Arc::clone(bytes));
    }
    let folder = format!("{plain}/");
    if plain.is_empty() || commit.files.keys().any(|path| path.starts_with(&folder)) {
        return Err(FileError::Folder(path.to_owned()));
    }
    Err(FileError::NotFound(path.to_owned()))
}

impl Source for MemorySource {
    fn resolve<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<Revision, SourceError>> {
        Box::pin(self.answer(
            source,
            |calls| calls.resolve += 1,
            |repository| {
                let url = source.url.as_str();
                let wanted = source.wanted.0.trim();
                if let Some(id) = full_commit(wanted) {
                    return commit(repository, url, &id).map(|_| Revision(id));
                }
                match Listing(repository.refs.clone()).find(wanted) {
                    Found::Commit(id) => Ok(Revision(id)),
                    Found::Nothing(hint) => Err(no_such_ref(url, wanted, &hint)),
                    Found::Short(short) => {
                        let mut ids = repository.commits.keys().filter(|id| id.starts_with(&short));
                        match (ids.next(), ids.next()) {
                            (Some(id), None) => Ok(Revision(id.clone())),
                            (Some(_), Some(_)) => Err(no_such_ref(url, wanted, "several commits begin so")),
                            (None, _) => Err(no_such_ref(url, wanted, "no commit begins so")),
                        }
                    }
                }
            },
        ))
    }

    fn refs<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<BTreeMap<String, String>, SourceError>> {
        Box::pin(self.answer(source, |calls| calls.resolve += 1, |repository| Ok(repository.refs.clone())))
    }

    fn read<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        paths: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<FileSet, SourceError>> {
        Box::pin(self.answer(
            source,
            |calls| calls.read += 1,
            |repository| {
                let commit = commit(repository, source.url.as_str(), &revision.0)?;
                Ok(paths.iter().map(|path| (path.clone(), file(commit, path))).collect())
            },
        ))
    }

    fn files<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        folder: &'a str,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SourceError>> {
        Box::pin(self.answer(
            source,
            |calls| calls.read += 1,
            move |repository| {
                let commit = commit(repository, source.url.as_str(), &revision.0)?;
                let inside = |path: &&String| {
                    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
                };
                Ok(commit.files.keys().filter(inside).cloned().collect())
            },
        ))
    }

    fn commit_info<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
    ) -> BoxFuture<'a, Result<CommitInfo, SourceError>> {
        Box::pin(self.answer(
            source,
            |calls| calls.commit_info += 1,
            |repository| Ok(commit(repository, source.url.as_str(), &revision.0)?.info.clone()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::{GitUrl, Wanted};

    const URL: &str = "https://git.example/shop.git";

    fn source(wanted: &str) -> GitSource {
        GitSource {
            url: GitUrl::parse(URL).unwrap(),
            wanted: Wanted(wanted.to_owned()),
            path: String::new(),
            credential: None,
            poll: SignedDuration::from_mins(1),
        }
    }

    #[tokio::test]
    async fn commits_are_found_and_read() {
        let memory = MemorySource::new();
        assert!(matches!(memory.resolve(&source("main")).await, Err(SourceError::NotFound { .. })));
        let one = memory.commit(URL, "main", &[("a/one.yml", "1")]);
        memory.tag(URL, "v1.0.0", &one);
        let two = memory.commit(URL, "main", &[("two.yml", "2")]);
        assert_eq!(memory.resolve(&source("main")).await, Ok(two.clone()));
        assert_eq!(memory.resolve(&source("~1")).await, Ok(one.clone()));
        assert_eq!(memory.resolve(&source(&two.0[..9])).await, Ok(two.clone()));
        assert!(matches!(memory.resolve(&source("none")).await, Err(SourceError::NoSuchRef { .. })));
        let paths = ["a/one.yml", "two.yml", "a", "../x", "three.yml"].map(str::to_owned).into();
        let files = memory.read(&source("main"), &two, &paths).await.unwrap();
        assert_eq!(files["a/one.yml"].as_deref().unwrap(), b"1");
        assert_eq!(files["two.yml"].as_deref().unwrap(), b"2");
        assert_eq!(files["a"], Err(FileError::Folder("a".to_owned())));
        assert_eq!(files["../x"], Err(FileError::Escapes("../x".to_owned())));
        assert_eq!(files["three.yml"], Err(FileError::NotFound("three.yml".to_owned())));
        assert_eq!(memory.commit_info(&source("main"), &one).await.unwrap().title, "Commit 1 on main");
        assert_eq!(memory.calls(), Calls { resolve: 5, read: 1, commit_info: 1 });
        let again = MemorySource::new();
        assert_eq!(again.commit(URL, "main", &[("a/one.yml", "1")]), one, "the same ids each time");
    }

    #[tokio::test]
    async fn it_goes_down_and_hangs() {
        let memory = MemorySource::new();
        let one = memory.commit(URL, "main", &[("a", "1")]);
        memory.set_down(URL, true);
        assert!(memory.resolve(&source("main")).await.is_err_and(|error| error.is_transient()));
        memory.set_down(URL, false);
        memory.hang(URL, true);
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.resolve(&source("main")).await }
        });
        while memory.calls().resolve < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        memory.hang(URL, false);
        assert_eq!(waiting.await.unwrap(), Ok(one));
    }
}
