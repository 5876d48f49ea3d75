//! Git repositories, over gix: one bare local copy for each address and credential, shared by all stacks that name both.
//!
//! ```text
//! Git ──► access     with which credential, and may it go there?
//!     ──► address    may it be talked to?
//!     ──► flight     callers who ask the same at the same time share the answer
//!     ──► operation  a thread, a deadline, places for each host and in all
//!           ├─ http, program   the transports: counted, stoppable, noting why they fail
//!           ├─ listing         refs, and which commit a wanted ref means
//!           ├─ copy            the local copy: fetch, look up, check
//!           └─ tree            files of a commit
//! ```
//!
//! Listing refs touches no disk. A fetch brings all branches and tags with their history, so that the next one is small
//! and short commits can be looked up; a commit that is on none of them is asked for by its id. Reading a commit that is
//! here asks nobody.
//!
//! A damaged copy is moved aside to `….damaged` and fetched afresh, once for each call. After many fetches a fresh copy
//! takes the place of one with many small packs.

mod access;
mod address;
mod conversation;
mod copy;
mod failure;
mod flight;
mod http;
pub(in crate::source) mod listing;
mod operation;
mod options;
mod program;
pub(in crate::source) mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gix::{ObjectId, Repository};
use tokio::sync::{RwLock, Semaphore};

use self::access::{Access, InstallationToken};
use self::copy::{Copy, Fetched, Opened};
use self::failure::{Failure, local, no_such_ref, says_no_such_commit, unreachable};
use self::flight::Flights;
use self::listing::{Found, Listing, full_commit};
use self::operation::{Operation, Places, locked};
pub use self::options::GitOptions;
use crate::domain::{GitSource, GitUrl, Revision};
use crate::ports::{BoxFuture, CommitInfo, FileSet, Keyring, NoKeys, Source, SourceError};

/// Threads that read local copies at the same time. They have places of their own: no host makes them wait.
const READERS: usize = 4;

/// Reads git repositories. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Git {
    shared: Arc<Shared>,
}

struct Shared {
    options: GitOptions,
    keyring: Arc<dyn Keyring>,
    places: Places,
    readers: Semaphore,
    clients: Mutex<HashMap<Option<String>, reqwest::Client>>,
    tokens: Mutex<HashMap<String, InstallationToken>>,
    token_flights: Flights<String, Result<InstallationToken, SourceError>>,
    listings: Flights<(String, Option<String>), Result<Arc<Listing>, Failure>>,
    fetches: Flights<(String, Option<ObjectId>), Result<Fetched, Failure>>,
    copies: Mutex<HashMap<String, Arc<Slot>>>,
    opened: Opened,
}

/// The place of one local copy.
struct Slot {
    copy: Copy,
    /// Held by who fetches: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// Read by who uses the copy, written by who puts another in its place.
    place: Arc<RwLock<()>>,
    /// Counts the copies that were in this place.
    generation: AtomicU64,
}

impl Git {
    /// An adapter with these options, and without credentials. Nothing is opened or asked yet.
    #[must_use]
    pub fn new(options: GitOptions) -> Self {
        Self::with_keyring(options, Arc::new(NoKeys))
    }

    /// An adapter that takes credentials from this keyring.
    #[must_use]
    pub fn with_keyring(options: GitOptions, keyring: Arc<dyn Keyring>) -> Self {
        Self {
            shared: Arc::new(Shared {
                places: Places::new(options.conversations, options.conversations_per_host),
                readers: Semaphore::new(READERS),
                keyring,
                clients: Mutex::default(),
                tokens: Mutex::default(),
                token_flights: Flights::new(std::time::Duration::ZERO),
                listings: Flights::new(options.reuse_listing),
                fetches: Flights::new(std::time::Duration::ZERO),
                copies: Mutex::new(HashMap::new()),
                opened: Opened::default(),
                options,
            }),
        }
    }

    /// Where the local copy of an address that is read without a credential is kept.
    #[must_use]
    pub fn copy_of(&self, url: &GitUrl) -> PathBuf {
        self.path(&Access { url: url.clone(), credential: None })
    }

    fn path(&self, access: &Access) -> PathBuf {
        self.shared.options.root.join(access.folder())
    }

    fn access(&self, source: &GitSource) -> Result<Access, SourceError> {
        Access::of(source, &self.shared.options, self.shared.keyring.as_ref())
    }

    fn slot(&self, access: &Access) -> Arc<Slot> {
        let mut copies = locked(&self.shared.copies);
        let slot = copies.entry(access.place()).or_insert_with(|| {
            let copy = Copy { path: self.path(access), url: access.url.clone() };
            let place = Arc::new(RwLock::new(()));
            // Nobody has the lock yet; whoever comes waits until the place is tidy. A failure shows when it is used.
            if let Ok(alone) = Arc::clone(&place).try_write_owned() {
                let copy = copy.clone();
                tokio::task::spawn_blocking(move || {
                    copy.tidy();
                    drop(alone);
                });
            }
            Arc::new(Slot { copy, turn: tokio::sync::Mutex::new(()), place, generation: AtomicU64::new(0) })
        });
        Arc::clone(slot)
    }

    /// The refs of a repository, asked for together with everybody who asks now.
    async fn list(&self, access: &Access, more: Option<&str>) -> Result<Arc<Listing>, SourceError> {
        let url = &access.url;
        let key = (access.print(), more.map(str::to_owned));
        let listing = self.shared.listings.join(key, || {
            let (shared, access, more) = (Arc::clone(&self.shared), access.clone(), more.map(str::to_owned));
            async move {
                let open = shared.opener(&access).await?;
                let options = &shared.options;
                let ask = move |operation: &Arc<Operation>| {
                    let mut transport = open(operation)?;
                    listing::ask(&mut *transport, more.as_deref()).map(Arc::new).map_err(|error| {
                        drop(transport);
                        operation.explain(&error).error.into()
                    })
                };
                let listed = shared.places.run(&access.url, options.list_timeout, options.max_listing, ask).await;
                shared.mend(&access, listed).await
            }
        });
        match listing.await {
            Some(result) => result.map_err(|failure| failure.into_source(url)),
            None => Err(unreachable(url, "its answer could not be read to the end")),
        }
    }

    /// Brings the local copy up to date, together with everybody who wants the same now.
    async fn fetch(&self, access: &Access, commit: Option<ObjectId>) -> Result<Fetched, Failure> {
        let url = &access.url;
        let slot = self.slot(access);
        let key = (access.print(), commit);
        let fetched = self.shared.fetches.join(key, || {
            let (shared, access) = (Arc::clone(&self.shared), access.clone());
            async move {
                let _turn = slot.turn.lock().await;
                let fetched = {
                    let _here = slot.place.read().await;
                    shared.fetch_into(&access, &slot.copy, commit).await?
                };
                if fetched.pack && fetched.packs > shared.options.max_packs {
                    shared.renew(&access, &slot).await;
                }
                Ok(fetched)
            }
        });
        fetched.await.unwrap_or_else(|| Err(unreachable(url, "its answer could not be read to the end").into()))
    }

    /// Runs `work` on the local copy, off the async threads. Nothing when there is no copy yet.
    async fn on_copy<T, W>(&self, access: &Access, work: W) -> (u64, Result<Option<T>, Failure>)
    where
        T: Send + 'static,
        W: FnOnce(&Copy, &Repository) -> Result<Option<T>, Failure> + Send + 'static,
    {
        let slot = self.slot(access);
        let _here = slot.place.read().await;
        let generation = slot.generation.load(Ordering::Relaxed);
        let _place = self.shared.readers.acquire().await;
        let (copy, shared) = (slot.copy.clone(), Arc::clone(&self.shared));
        let result = tokio::task::spawn_blocking(move || match shared.opened.get(&copy)? {
            Some(repository) => work(&copy, &repository),
            None => Ok(None),
        });
        let result = result.await.unwrap_or_else(|_| Err(Failure::Damaged("reading it broke down".to_owned())));
        (generation, result)
    }

    /// Moves a damaged copy aside, unless that has been done since it was read.
    async fn heal(&self, access: &Access, generation: u64) -> Result<(), SourceError> {
        let url = &access.url;
        let slot = self.slot(access);
        let _alone = slot.place.write().await;
        if slot.generation.load(Ordering::Relaxed) != generation {
            return Ok(());
        }
        let path = slot.copy.path.clone();
        let moved = tokio::task::spawn_blocking(move || {
            let aside = path.with_extension("damaged");
            remove(&aside)?;
            fs::rename(&path, &aside)
        });
        match moved.await {
            Ok(Ok(())) => {
                slot.generation.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(error)) => Err(local(url, format!("it is damaged and cannot be moved aside: {error}"))),
            Err(_) => Err(local(url, "it is damaged and could not be moved aside")),
        }
    }

    /// Runs `work` on a commit; fetches what is missing, and heals what is damaged once.
    async fn at_commit<T, W>(&self, access: &Access, wanted: &str, work: W) -> Result<T, SourceError>
    where
        T: Send + 'static,
        W: Fn(&Repository, ObjectId) -> Result<T, Failure> + Clone + Send + 'static,
    {
        let url = &access.url;
        let id = full_commit(wanted).and_then(|id| ObjectId::from_hex(id.as_bytes()).ok());
        let Some(id) = id else { return Err(no_such_ref(url, wanted, "a revision has 40 hex digits")) };
        let mut healed = false;
        let mut to_try = vec![Some(id), None];
        loop {
            let work = work.clone();
            let (generation, found) = self
                .on_copy(access, move |copy, repository| match copy.commit(repository, id)? {
                    Some(commit) => work(repository, commit).map(Some),
                    None => Ok(None),
                })
                .await;
            let failure = match found {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => match to_try.pop() {
                    None => {
                        return Err(no_such_ref(
                            url,
                            wanted,
                            "no branch or tag leads to it, and it is not to be had by its id",
                        ));
                    }
                    Some(next) => match self.fetch(access, next).await {
                        Ok(_) => continue,
                        Err(Failure::Source(error)) if next.is_some() && says_no_such_commit(&error) => {
                            return Err(no_such_ref(
                                url,
                                wanted,
                                "no branch or tag leads to it, and the host does not give it",
                            ));
                        }
                        Err(failure) => failure,
                    },
                },
                Err(failure) => failure,
            };
            match failure {
                Failure::Damaged(_) if !healed => {
                    self.heal(access, generation).await?;
                    healed = true;
                    to_try = vec![Some(id), None];
                }
                failure => return Err(failure.into_source(url)),
            }
        }
    }

    /// The commit a short id stands for.
    async fn short(&self, access: &Access, short: &str, listing: &Listing) -> Result<Revision, SourceError> {
        let url = &access.url;
        let mut healed = false;
        let mut fetched = false;
        let tips: Vec<ObjectId> = listing.tips().filter_map(|tip| ObjectId::from_hex(tip.as_bytes()).ok()).collect();
        loop {
            let (prefix, tips) = (short.to_owned(), tips.clone());
            let (generation, found) = self
                .on_copy(access, move |copy, repository| {
                    let current = tips.iter().all(|tip| repository.has_object(tip));
                    Ok(Some((current, copy.beginning_with(repository, &prefix)?)))
                })
                .await;
            let (current, commits) = match found {
                Ok(found) => found.unwrap_or_default(),
                Err(Failure::Damaged(_)) if !healed => {
                    self.heal(access, generation).await?;
                    healed = true;
                    continue;
                }
                Err(failure) => return Err(failure.into_source(url)),
            };
            match commits.as_slice() {
                [one] => return Ok(Revision(one.to_string())),
                [] if current || fetched => return Err(no_such_ref(url, short, listing.hint(short))),
                [] => match self.fetch(access, None).await {
                    Ok(_) => fetched = true,
                    Err(Failure::Damaged(_)) if !healed => {
                        self.heal(access, generation).await?;
                        healed = true;
                    }
                    Err(failure) => return Err(failure.into_source(url)),
                },
                several => {
                    let all = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    return Err(no_such_ref(url, short, format!("several commits begin so: {all}")));
                }
            }
        }
    }

    async fn resolve_(&self, source: &GitSource) -> Result<Revision, SourceError> {
        let access = &self.access(source)?;
        let url = &access.url;
        let wanted = source.wanted.0.trim();
        if full_commit(wanted).is_some() {
            return self.at_commit(access, wanted, |_, commit| Ok(Revision(commit.to_string()))).await;
        }
        if wanted.is_empty() || wanted.chars().any(char::is_control) {
            return Err(no_such_ref(url, wanted, "name a branch, a tag, a range of versions or a commit"));
        }
        let listed = ["refs/heads/", "refs/tags/"].iter().any(|folder| wanted.starts_with(folder));
        let more = (wanted.starts_with("refs/") && !listed).then_some(wanted);
        let listing = self.list(access, more).await?;
        match listing.find(wanted) {
            Found::Commit(commit) => Ok(Revision(commit)),
            Found::Short(short) => self.short(access, &short, &listing).await,
            Found::Nothing(hint) => Err(no_such_ref(url, wanted, hint)),
        }
    }
}

impl Shared {
    async fn fetch_into(
        self: &Arc<Self>,
        access: &Access,
        copy: &Copy,
        commit: Option<ObjectId>,
    ) -> Result<Fetched, Failure> {
        let open = self.opener(access).await?;
        let most = self.options.max_repository;
        let into = copy.clone();
        let work = move |operation: &Arc<Operation>| into.fetch(operation, || open(operation), commit, most);
        let fetched = self.places.run(&copy.url, self.options.fetch_timeout, most, work).await;
        self.mend(access, fetched).await
    }

    /// Puts a fresh copy in the place of one with many packs. When it does not work out, the old one goes on.
    async fn renew(self: &Arc<Self>, access: &Access, slot: &Slot) {
        let fresh = Copy { path: slot.copy.path.with_extension("fresh"), url: slot.copy.url.clone() };
        let path = fresh.path.clone();
        let cleared = tokio::task::spawn_blocking(move || remove(&path)).await;
        if !matches!(cleared, Ok(Ok(()))) || self.fetch_into(access, &fresh, None).await.is_err() {
            return;
        }
        let _alone = slot.place.write().await;
        let (old, fresh) = (slot.copy.path.clone(), fresh.path);
        let swapped = tokio::task::spawn_blocking(move || {
            let aside = old.with_extension("old");
            remove(&aside)?;
            fs::rename(&old, &aside)?;
            fs::rename(&fresh, &old)?;
            remove(&aside)
        });
        // Half done, there is no copy in the place, and the next call fetches one.
        if swapped.await.is_ok() {
            slot.generation.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Source for Git {
    fn resolve<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<Revision, SourceError>> {
        Box::pin(self.resolve_(source))
    }

    fn refs<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<BTreeMap<String, String>, SourceError>> {
        Box::pin(async move { Ok(self.list(&self.access(source)?, None).await?.0.clone()) })
    }

    fn read<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        paths: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<FileSet, SourceError>> {
        Box::pin(async move {
            let access = self.access(source)?;
            let most = self.shared.options.max_file;
            let paths = Arc::new(paths.clone());
            let work = move |repository: &Repository, commit| tree::read(repository, commit, &paths, most);
            self.at_commit(&access, &revision.0, work).await
        })
    }

    fn files<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        folder: &'a str,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SourceError>> {
        Box::pin(async move {
            let (folder, url): (Arc<str>, Arc<str>) = (Arc::from(folder), Arc::from(source.url.as_str()));
            let work = move |repository: &Repository, commit| tree::files(repository, commit, &folder, &url);
            self.at_commit(&self.access(source)?, &revision.0, work).await
        })
    }

    fn commit_info<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
    ) -> BoxFuture<'a, Result<CommitInfo, SourceError>> {
        Box::pin(async move { self.at_commit(&self.access(source)?, &revision.0, tree::describe).await })
    }
}
