//! Catalogs: repositories of manifests that are followed.

use async_graphql::{InputObject, SimpleObject};

use super::payload::{UserError, user_errors};
use super::time::Time;
use crate::declare::{DeclareError, format_duration};
use crate::domain::{BrokenManifest, Catalog, CatalogEntry, CatalogStatus, Stack};

/// A repository of manifests that is followed.
#[derive(SimpleObject)]
#[graphql(name = "Catalog")]
pub(super) struct CatalogView {
    /// Its name.
    name: String,
    /// The repository.
    git: String,
    /// The ref that is followed.
    #[graphql(name = "ref")]
    wanted: String,
    /// Which files.
    path: String,
    /// The credential the repository is read with.
    credential: Option<String>,
    /// How often it is looked at.
    poll: String,
    /// Whether a stack whose manifest is gone is deleted.
    prune: bool,
    /// How many stacks one commit may delete.
    prune_limit: u32,
    /// Patterns of the environments its stacks may be in.
    environments: Vec<String>,
    /// Patterns of the names its stacks may have.
    names: Vec<String>,
    /// Whether what is declared is what stands there: the newest commit that is known, all of it.
    in_sync: bool,
    /// The commit that its stacks are declared from.
    revision: Option<String>,
    /// Who made that commit.
    author: Option<String>,
    /// The first line of its message.
    title: Option<String>,
    /// When it was declared.
    applied_at: Option<Time>,
    /// How many files there were.
    files: u64,
    /// The stacks that it declares.
    stacks: Vec<CatalogStack>,
    /// Files that nothing was taken from; the stacks they declared before stay as they are.
    broken: Vec<BrokenManifestView>,
    /// Stacks whose manifests are gone, and that are kept for now: as ENVIRONMENT/NAME.
    kept: Vec<String>,
    /// Why they are kept.
    kept_because: Option<String>,
    /// Why the repository cannot be read.
    error: Option<String>,
}

/// To which catalog a stack belongs.
#[derive(SimpleObject)]
pub(super) struct StackCatalog {
    /// The catalog.
    name: String,
    /// The file that declares the stack.
    file: String,
}

impl From<CatalogEntry> for StackCatalog {
    fn from(it: CatalogEntry) -> Self {
        Self { name: it.catalog, file: it.file }
    }
}

/// A stack of a catalog.
#[derive(SimpleObject)]
struct CatalogStack {
    /// Its name.
    name: String,
    /// Its environment.
    environment: String,
    /// The file that declares it.
    file: String,
}

/// A file that nothing was taken from.
#[derive(SimpleObject)]
#[graphql(name = "BrokenManifest")]
struct BrokenManifestView {
    /// The file.
    file: String,
    /// The line, from 1.
    line: Option<u64>,
    /// What is wrong, and the mend.
    message: String,
}

impl From<BrokenManifest> for BrokenManifestView {
    fn from(it: BrokenManifest) -> Self {
        Self { file: it.file, line: it.line, message: it.message }
    }
}

/// A catalog, what is known of it, and the stacks that are declared.
impl From<(Catalog, CatalogStatus, &[Stack])> for CatalogView {
    fn from((it, status, stacks): (Catalog, CatalogStatus, &[Stack])) -> Self {
        let own = stacks.iter().filter_map(|stack| {
            let entry = stack.control.catalog.as_ref().filter(|entry| entry.catalog == it.name)?;
            Some(CatalogStack {
                name: stack.key.name.to_string(),
                environment: stack.key.environment.to_string(),
                file: entry.file.clone(),
            })
        });
        let own: Vec<CatalogStack> = own.collect();
        let in_sync = status.commit.as_ref().is_some_and(|commit| status.is_settled(&it, &commit.revision));
        let commit = status.commit;
        Self {
            git: it.source.url.as_str().to_owned(),
            wanted: it.source.wanted.0,
            path: it.source.path,
            credential: it.source.credential.map(|name| name.to_string()),
            poll: format_duration(it.source.poll),
            name: it.name,
            prune: it.prune,
            prune_limit: it.prune_limit,
            environments: it.environments,
            names: it.names,
            in_sync,
            revision: commit.as_ref().map(|commit| commit.revision.0.clone()),
            author: commit.as_ref().map(|commit| commit.author.clone()),
            title: commit.map(|commit| commit.title),
            applied_at: status.applied_at.map(Into::into),
            files: status.files,
            stacks: own,
            broken: status.broken.into_iter().map(Into::into).collect(),
            kept: status.kept.into_iter().map(|key| key.to_string()).collect(),
            kept_because: status.kept_because,
            error: status.error,
        }
    }
}

/// What `syncCatalog` and `deleteCatalog` take.
#[derive(Debug, InputObject)]
pub(super) struct CatalogInput {
    /// Its name.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `syncCatalog` and `deleteCatalog` answer.
#[derive(SimpleObject)]
pub(super) struct CatalogPayload {
    /// The name of the catalog; null when the request was refused.
    name: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl CatalogPayload {
    pub(super) fn new(outcome: Result<Catalog, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(catalog) => Ok(Self { name: Some(catalog.name), user_errors: Vec::new() }),
            Err(cause) => Ok(Self { name: None, user_errors: user_errors(cause)? }),
        }
    }
}
