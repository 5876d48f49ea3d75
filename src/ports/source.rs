//! Where files come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::BoxFuture;
use crate::domain::{GitSource, Revision};

/// Why a repository did not give what was asked. Texts hold no credential.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// No connection, no such host, no such repository, timed out, or an answer that makes no sense. Tried again.
    #[error("`{url}` cannot be reached: {reason}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The host said no.
    #[error("`{url}` refused the sign-in: {reason}; check the credential it is given")]
    Unauthorized {
        /// The repository.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The credential is not there, is for something else, or is not for this host. Nothing was sent.
    #[error("`{url}` cannot be asked: {reason}")]
    Credential {
        /// The repository.
        url: String,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// The host's key is not known, or is another than the known one. Nothing was sent.
    #[error("`{url}` is not trusted: {reason}")]
    HostKey {
        /// The repository.
        url: String,
        /// The key's fingerprint, and how a person accepts it.
        reason: String,
    },
    /// The host says there is no such repository.
    #[error("`{url}` is not there: {reason}; check the address, or name a credential if it is private")]
    NotFound {
        /// The repository.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The repository is there, the ref is not.
    #[error("`{url}` has no branch, tag, commit or matching version `{wanted}`; {hint}")]
    NoSuchRef {
        /// The repository.
        url: String,
        /// The ref.
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// This installation does not allow it.
    #[error("`{url}` is not allowed here: {reason}")]
    Forbidden {
        /// The repository.
        url: String,
        /// Why, and the flag that allows it.
        reason: String,
    },
    /// Over a limit of size or time.
    #[error("`{url}` is over the limit: {reason}")]
    TooLarge {
        /// The repository.
        url: String,
        /// Which limit.
        reason: String,
    },
    /// The local copy is damaged or cannot be written.
    #[error("the local copy of `{url}` cannot be used: {reason}")]
    Local {
        /// The repository.
        url: String,
        /// What happened.
        reason: String,
    },
}

impl SourceError {
    /// Whether it is waited for: trying again may help without anybody changing the stack.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Local { .. } | Self::Credential { .. } | Self::HostKey { .. })
    }

    /// Whether it is about who asks or who answers, not about the way there.
    #[must_use]
    pub fn is_about_trust(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Credential { .. } | Self::HostKey { .. })
    }
}

/// Why one file could not be read at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// Not in the tree.
    #[error("`{0}` is not in the repository at this commit")]
    NotFound(String),
    /// A folder.
    #[error("`{0}` is a folder, not a file")]
    Folder(String),
    /// It, or a symlink on the way, leads out of the tree.
    #[error("`{0}` leads out of the repository")]
    Escapes(String),
    /// In a submodule.
    #[error("`{0}` is in a submodule, and those are not fetched; name that repository as a source of its own")]
    Submodule(String),
    /// Over the limit.
    #[error("`{path}` has {size} bytes; {limit} is the most")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// Files read at one commit, by the path they were asked for with.
pub type FileSet = BTreeMap<String, Result<Arc<[u8]>, FileError>>;

/// A commit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// Author's name.
    pub author: String,
    /// First line of the message.
    pub title: String,
    /// When it was committed.
    pub time: Timestamp,
}

/// Reads repositories. One local copy for each URL, shared by all stacks.
pub trait Source: Send + Sync + 'static {
    /// The commit the wanted ref stands at now. Lists refs; fetches only what a short commit needs.
    fn resolve<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<Revision, SourceError>>;

    /// All branches and tags, and `HEAD`: full name to commit.
    fn refs<'a>(&'a self, source: &'a GitSource) -> BoxFuture<'a, Result<BTreeMap<String, String>, SourceError>>;

    /// Reads these paths (relative to the repository's root, `/` between parts) at a commit; fetches it when it is not
    /// here yet. A file that cannot be read is an entry of the set, not an error of the call.
    fn read<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        paths: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<FileSet, SourceError>>;

    /// The paths of all files below a folder at a commit (relative to the repository's root; the folder empty for the root),
    /// links and submodules left out; fetches the commit when it is not here yet. A folder that is not there holds none.
    fn files<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
        folder: &'a str,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SourceError>>;

    /// Author, title and time of a commit that has been fetched.
    fn commit_info<'a>(
        &'a self,
        source: &'a GitSource,
        revision: &'a Revision,
    ) -> BoxFuture<'a, Result<CommitInfo, SourceError>>;
}
