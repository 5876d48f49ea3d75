//! Where images are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use thiserror::Error;

use super::BoxFuture;
use crate::domain::Repository;

/// Why a registry did not give what was asked. Texts hold no credential.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// No connection, timed out, or an answer that makes no sense. Tried again.
    #[error("the registry `{host}` does not answer: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What happened.
        reason: String,
    },
    /// It is asked too much. It is left alone for a while.
    #[error("the registry `{host}` is asked too much: {reason}")]
    Busy {
        /// The registry.
        host: String,
        /// What it said.
        reason: String,
        /// How long it asks to be left alone, if it says so.
        retry_after: Option<SignedDuration>,
    },
    /// It does not let us see the repository: no login, or a wrong one.
    #[error("the registry `{host}` refuses: {reason}; declare a credential of type Registry for it, or mend that")]
    Denied {
        /// The registry.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The login cannot be used, or is not for where it would have to go. Nothing was sent.
    #[error("the registry `{host}` cannot be asked: {reason}")]
    Credential {
        /// The registry.
        host: String,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// It has no such repository.
    #[error(
        "the registry `{host}` has no repository `{path}`; check the name, or declare a credential if it is private"
    )]
    NotFound {
        /// The registry.
        host: String,
        /// The repository.
        path: String,
    },
    /// This installation does not allow it.
    #[error("the registry `{host}` may not be asked: {reason}")]
    Forbidden {
        /// The registry.
        host: String,
        /// Why, and the flag that allows it.
        reason: String,
    },
    /// Over a limit of size.
    #[error("the registry `{host}` says too much: {reason}")]
    TooLarge {
        /// The registry.
        host: String,
        /// Which limit.
        reason: String,
    },
}

impl RegistryError {
    /// Whether trying again may help without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. } | Self::TooLarge { .. })
    }

    /// Whether it is about who asks.
    #[must_use]
    pub fn is_about_trust(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Credential { .. })
    }
}

/// The tags of a repository, as they were listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// All of them.
    pub names: Arc<BTreeSet<String>>,
    /// The registry's mark of this list, if it gives one: with it, it is asked for a newer one only.
    pub mark: Option<String>,
}

/// Asks registries.
pub trait Registry: Send + Sync + 'static {
    /// All tags of a repository. `known` is what was listed before: it may be given back when nothing changed.
    fn tags<'a>(
        &'a self,
        repository: &'a Repository,
        known: Option<&'a Tags>,
    ) -> BoxFuture<'a, Result<Tags, RegistryError>>;

    /// What a tag points at now: `sha256:…`; `None` when there is no such tag. `known` is what it was before: a registry that
    /// can is asked only whether that has changed.
    fn digest<'a>(
        &'a self,
        repository: &'a Repository,
        tag: &'a str,
        known: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<String>, RegistryError>>;
}
