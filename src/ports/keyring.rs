//! Credentials, opened where they are used.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::domain::{CredentialHost, CredentialName, CredentialType, Digest, SecretBytes, StackKey, names_stack};

/// Why a credential cannot be used. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// There is none of this name.
    #[error("there is no credential `{name}`; make it: `skep credential set {name} --type {kinds} …`")]
    Missing {
        /// Its name.
        name: CredentialName,
        /// The types that would do.
        kinds: String,
    },
    /// It is for something else.
    #[error("the credential `{name}` is of type {kind}, and here it takes {wanted}")]
    Unfit {
        /// Its name.
        name: CredentialName,
        /// Its type.
        kind: CredentialType,
        /// The types that would do.
        wanted: String,
    },
    /// It does not name the host.
    #[error(
        "the credential `{name}` is not for {place}: it names {hosts}; if it is to go there, add `{place}` to its hosts"
    )]
    Elsewhere {
        /// Its name.
        name: CredentialName,
        /// Where it would have gone.
        place: String,
        /// Where it may go.
        hosts: String,
    },
    /// It does not name the stack.
    #[error(
        "the credential `{name}` is not for the stack `{stack}`: it names {stacks}; if it is to go there, whoever keeps it adds the stack to its `stacks`"
    )]
    NotForStack {
        /// Its name.
        name: CredentialName,
        /// The stack it would have gone into.
        stack: StackKey,
        /// The stacks it may go into.
        stacks: String,
    },
    /// The credentials cannot be read at all.
    #[error("the credentials cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It cannot be opened, or what it holds cannot be used.
    #[error("the credential `{name}` cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: CredentialName,
        /// Why.
        reason: String,
    },
}

/// A credential with its values in the clear. Wiped when dropped; prints no value.
#[derive(Clone)]
pub struct OpenCredential {
    /// Its name.
    pub name: CredentialName,
    /// What tells it from another one that had the same name before.
    pub id: String,
    /// What it is for.
    pub kind: CredentialType,
    /// Where it may go.
    pub hosts: Vec<CredentialHost>,
    /// Stacks that it may go into.
    pub stacks: Vec<String>,
    /// Keyed digest of everything above and of the values: another one after any change.
    pub print: Digest,
    /// Its values by key.
    pub data: BTreeMap<String, SecretBytes>,
}

impl fmt::Debug for OpenCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenCredential({} {})", self.kind, self.name)
    }
}

impl OpenCredential {
    /// A value as text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(SecretBytes::expose_text)
    }

    /// A value that its type cannot be without.
    ///
    /// # Errors
    /// [`KeyringError::Unusable`] when it is not there after all.
    pub fn needed(&self, key: &str) -> Result<&str, KeyringError> {
        self.text(key).ok_or_else(|| self.unusable(format!("it holds no `{key}`")))
    }

    /// An error about this credential.
    #[must_use]
    pub fn unusable(&self, reason: impl Into<String>) -> KeyringError {
        KeyringError::Unusable { name: self.name.clone(), reason: reason.into() }
    }

    /// Makes sure that it may go into this stack.
    ///
    /// # Errors
    /// [`KeyringError::NotForStack`].
    pub fn for_stack(&self, stack: &StackKey) -> Result<(), KeyringError> {
        if names_stack(&self.stacks, stack) {
            return Ok(());
        }
        let stacks = if self.stacks.is_empty() { "no stack".to_owned() } else { self.stacks.join(", ") };
        Err(KeyringError::NotForStack { name: self.name.clone(), stack: stack.clone(), stacks })
    }

    /// Makes sure that it may go to this host.
    ///
    /// # Errors
    /// [`KeyringError::Elsewhere`].
    pub fn for_host(&self, host: &str, port: u16) -> Result<(), KeyringError> {
        if self.hosts.iter().any(|it| it.is(host, port)) || (self.hosts.is_empty() && !self.kind.needs_hosts()) {
            return Ok(());
        }
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let hosts = self.hosts.iter().map(CredentialHost::as_str).collect::<Vec<_>>().join(", ");
        let hosts = if hosts.is_empty() { "no host".to_owned() } else { hosts };
        Err(KeyringError::Elsewhere { name: self.name.clone(), place, hosts })
    }
}

/// Opens credentials by name.
pub trait Keyring: Send + Sync + 'static {
    /// The credential as it stands now; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`KeyringError::Unusable`] when it cannot be opened.
    fn open(&self, name: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError>;

    /// The login for a registry at this host: the first credential of type Registry, by name, that names it; `None` when
    /// none does.
    ///
    /// # Errors
    /// [`KeyringError::Unusable`] when it cannot be opened.
    fn registry(&self, _host: &str, _port: u16) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(None)
    }

    /// The credential of this name, which has to be of one of these types.
    ///
    /// # Errors
    /// [`KeyringError::Missing`], [`KeyringError::Unfit`], [`KeyringError::Unusable`].
    fn open_as(&self, name: &CredentialName, kinds: &[CredentialType]) -> Result<Arc<OpenCredential>, KeyringError> {
        let names = |mark: &str| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(mark);
        match self.open(name)? {
            Some(open) if kinds.contains(&open.kind) => Ok(open),
            Some(open) => Err(KeyringError::Unfit { name: name.clone(), kind: open.kind, wanted: names(", ") }),
            None => Err(KeyringError::Missing { name: name.clone(), kinds: names("|") }),
        }
    }
}

/// A keyring with nothing on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keyring for NoKeys {
    fn open(&self, _: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(None)
    }
}
