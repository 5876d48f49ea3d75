//! Registries in memory, for tests of what stands behind the port: no network, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::Repository;
use crate::ports::{BoxFuture, Registry, RegistryError, Tags};

/// How often registries were asked, failed calls included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Lists of tags.
    pub tags: u64,
    /// Those of them that nothing was changed in.
    pub unchanged: u64,
    /// Digests of tags.
    pub digests: u64,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, BTreeMap<String, String>>,
    refusals: BTreeMap<String, RegistryError>,
    hanging: BTreeSet<String>,
    calls: Calls,
}

/// Repositories by name. Clones share everything. A repository that nothing was pushed to is not there.
#[derive(Debug, Clone)]
pub struct MemoryRegistry {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryRegistry {
    /// Nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), changed: Arc::new(Notify::new()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a tag of an image point at a digest.
    pub fn push(&self, image: &str, tag: &str, digest: &str) {
        let name = Repository::of_image(image).to_string();
        self.state().repositories.entry(name).or_default().insert(tag.to_owned(), digest.to_owned());
    }

    /// Takes a tag away.
    pub fn remove(&self, image: &str, tag: &str) {
        let name = Repository::of_image(image).to_string();
        self.state().repositories.entry(name).or_default().remove(tag);
    }

    /// Takes a repository away.
    pub fn drop_repository(&self, image: &str) {
        self.state().repositories.remove(&Repository::of_image(image).to_string());
    }

    /// From now on a registry answers with this, or as usual again.
    pub fn refuse(&self, host: &str, refusal: Option<RegistryError>) {
        match refusal {
            Some(refusal) => self.state().refusals.insert(host.to_owned(), refusal),
            None => self.state().refusals.remove(host),
        };
    }

    /// From now on a registry does not answer at all, or as usual again.
    pub fn hang(&self, host: &str, hangs: bool) {
        match hangs {
            true => self.state().hanging.insert(host.to_owned()),
            false => self.state().hanging.remove(host),
        };
        self.changed.notify_waiters();
    }

    /// How often it was asked.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    async fn answers(&self, host: &str) {
        loop {
            let changed = self.changed.notified();
            if !self.state().hanging.contains(host) {
                return;
            }
            changed.await;
        }
    }

    fn found(&self, repository: &Repository) -> Result<BTreeMap<String, String>, RegistryError> {
        let state = self.state();
        if let Some(refusal) = state.refusals.get(&repository.host) {
            return Err(refusal.clone());
        }
        state
            .repositories
            .get(&repository.to_string())
            .cloned()
            .ok_or_else(|| RegistryError::NotFound { host: repository.host.clone(), path: repository.path.clone() })
    }
}

impl Registry for MemoryRegistry {
    fn tags<'a>(
        &'a self,
        repository: &'a Repository,
        known: Option<&'a Tags>,
    ) -> BoxFuture<'a, Result<Tags, RegistryError>> {
        Box::pin(async move {
            self.state().calls.tags += 1;
            self.answers(&repository.host).await;
            let found = self.found(repository)?;
            let names: BTreeSet<String> = found.into_keys().collect();
            let mark = Some(format!("{names:?}"));
            if known.is_some_and(|known| known.mark == mark) {
                self.state().calls.unchanged += 1;
            }
            Ok(Tags { names: Arc::new(names), mark })
        })
    }

    fn digest<'a>(
        &'a self,
        repository: &'a Repository,
        tag: &'a str,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<String>, RegistryError>> {
        Box::pin(async move {
            self.state().calls.digests += 1;
            self.answers(&repository.host).await;
            Ok(self.found(repository)?.get(tag).cloned())
        })
    }
}
