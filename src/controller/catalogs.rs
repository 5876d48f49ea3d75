//! Catalogs: a task for each follows its repository, and has what stands there declared. It only records; the stacks are brought
//! about by their own passes, like all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::{backoff, jittered};
use crate::declare::{CatalogFiles, Code, Declare, DeclareError};
use crate::domain::{Catalog, CatalogCommit, CredentialName, Revision, is_manifest};
use crate::ledger::{Ledger, LedgerError};
use crate::ports::{Ambient, Source, SourceError};

/// Files of one catalog.
const MOST_FILES: usize = 1000;

/// Why a catalog was not declared this time.
#[derive(Debug, thiserror::Error)]
enum CatalogError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("no file of the repository fits the catalog's path `{0}`; nothing is changed, and nothing is deleted")]
    NoFiles(String),
    #[error("{0} files fit the catalog's path; {MOST_FILES} is the most: make it several catalogs")]
    TooMany(usize),
    #[error(transparent)]
    Declare(#[from] DeclareError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl CatalogError {
    /// Whether it is to be said of the catalog: what is wrong with the store is not, nor that it was changed while it was
    /// looked at.
    fn is_told(&self) -> bool {
        match self {
            Self::Ledger(_) | Self::Declare(DeclareError::Ledger(_)) => false,
            Self::Declare(error) => !error.refusals().iter().any(|refusal| refusal.code == Code::Conflict),
            Self::Source(_) | Self::NoFiles(_) | Self::TooMany(_) => true,
        }
    }
}

struct Followed {
    again: Arc<Notify>,
    stop: CancellationToken,
}

/// All catalogs that are followed.
pub(super) struct Catalogs {
    source: Arc<dyn Source>,
    ledger: Ledger,
    declare: Declare,
    ambient: Arc<dyn Ambient>,
    followed: Mutex<BTreeMap<String, Followed>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Catalogs {
    /// Follows nothing yet.
    pub(super) fn new(
        source: Arc<dyn Source>,
        (ledger, declare): (Ledger, Declare),
        ambient: Arc<dyn Ambient>,
        cancel: CancellationToken,
    ) -> Self {
        Self { source, ledger, declare, ambient, followed: Mutex::default(), tasks: TaskTracker::new(), cancel }
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a catalog; one that is followed already is looked at now.
    pub(super) fn look(self: &Arc<Self>, name: &str) {
        let mut all = self.followed();
        if let Some(followed) = all.get(name) {
            followed.again.notify_one();
            return;
        }
        let (again, stop) = (Arc::new(Notify::new()), self.cancel.child_token());
        all.insert(name.to_owned(), Followed { again: again.clone(), stop: stop.clone() });
        let (catalogs, name) = (self.clone(), name.to_owned());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = catalogs.follow(&name, &again) => {}
            }
        });
    }

    /// Follows a catalog no more.
    pub(super) fn leave(&self, name: &str) {
        if let Some(followed) = self.followed().remove(name) {
            followed.stop.cancel();
        }
    }

    /// An environment was declared, say: whatever could not be taken before is tried again.
    pub(super) fn look_at_all(&self) {
        self.followed().values().for_each(|followed| followed.again.notify_one());
    }

    /// A credential changed: what is read with it is looked at now.
    pub(super) fn look_with(&self, credential: &CredentialName) {
        for (name, followed) in self.followed().iter() {
            let catalog = self.ledger.catalog(name).ok().flatten();
            if catalog.is_some_and(|found| found.value.source.credential.as_ref() == Some(credential)) {
                followed.again.notify_one();
            }
        }
    }

    async fn follow(&self, name: &str, again: &Notify) {
        let mut errors = 0;
        loop {
            let catalog = match self.ledger.catalog(name) {
                Ok(Some(found)) => found.value,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(catalog = name, %error, "the catalog cannot be read from the store");
                    errors += 1;
                    tokio::time::sleep(backoff(errors, self.ambient.random())).await;
                    continue;
                }
            };
            errors = match self.look_once(&catalog).await {
                Ok(()) => 0,
                Err(error) => {
                    tracing::warn!(catalog = name, %error, "the catalog was not declared");
                    errors + 1
                }
            };
            let period = Duration::try_from(catalog.source.poll).unwrap_or(Duration::from_secs(60));
            let wait = match errors {
                0 => jittered(period, self.ambient.random()),
                _ => backoff(errors, self.ambient.random()).min(period.max(Duration::from_secs(1))),
            };
            tokio::select! {
                biased;
                () = again.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn look_once(&self, catalog: &Catalog) -> Result<(), CatalogError> {
        let looked = self.declared(catalog).await;
        if let Err(error) = &looked
            && error.is_told()
        {
            self.declare.catalog_failed(catalog, &error.to_string()).await?;
        }
        looked
    }

    async fn declared(&self, catalog: &Catalog) -> Result<(), CatalogError> {
        let revision = self.source.resolve(&catalog.source).await?;
        let status = self.ledger.catalog_status(&catalog.name)?.map(|found| found.value).unwrap_or_default();
        if status.is_settled(catalog, &revision) {
            return Ok(());
        }
        let files = self.files(catalog, &revision).await?;
        let info = self.source.commit_info(&catalog.source, &revision).await?;
        let commit = CatalogCommit { revision, author: info.author, title: info.title };
        self.declare.apply_catalog(catalog, &commit, &files).await?;
        Ok(())
    }

    async fn files(&self, catalog: &Catalog, revision: &Revision) -> Result<CatalogFiles, CatalogError> {
        let path = &catalog.source.path;
        let all = self.source.files(&catalog.source, revision, catalog.folder()).await?;
        let wanted: BTreeSet<String> = all.into_iter().filter(|file| is_manifest(path, file)).collect();
        if wanted.is_empty() {
            return Err(CatalogError::NoFiles(path.clone()));
        }
        if wanted.len() > MOST_FILES {
            return Err(CatalogError::TooMany(wanted.len()));
        }
        let read = self.source.read(&catalog.source, revision, &wanted).await?;
        let text = |bytes: Arc<[u8]>| match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err("it is not text in UTF-8".to_owned()),
        };
        let files = read.into_iter().map(|(file, bytes)| (file, bytes.map_err(|why| why.to_string()).and_then(text)));
        Ok(files.collect())
    }
}
