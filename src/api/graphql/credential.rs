//! Credentials: what is known of them, and never what they hold.

use async_graphql::{Enum, InputObject, SimpleObject};

use super::payload::{UserError, user_errors};
use super::time::Time;
use crate::declare::{self, CredentialUser, DeclareError, Keyed, SetCredential};
use crate::domain::{self, Credential, SecretBytes};
use crate::ports::CredentialAnswer;

/// What a credential is for.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::CredentialType", rename_items = "PascalCase")]
pub(super) enum CredentialType {
    /// A token for git over https.
    GitToken,
    /// A name and a password for git over https.
    GitBasic,
    /// A GitHub App: installation tokens are made with its key.
    GitHubApp,
    /// A private key for ssh: git repositories, engines.
    SshKey,
    /// A login at an image registry.
    Registry,
    /// Certificates for an engine over TLS.
    Tls,
    /// An age identity.
    Age,
    /// The token of another Skep, for a relay.
    SkepToken,
    /// Anything: the secret of a hook, for example.
    Opaque,
}

/// Key material by name. Its values are never shown.
#[derive(SimpleObject)]
#[graphql(name = "Credential")]
pub(super) struct CredentialView {
    /// Its name.
    name: String,
    /// What it is for.
    #[graphql(name = "type")]
    kind: CredentialType,
    /// Where it may go.
    hosts: Vec<String>,
    /// Stacks that it may go into: names, or `ENVIRONMENT/NAME`, with `*` for any text.
    stacks: Vec<String>,
    /// The keys of the values it holds.
    keys: Vec<String>,
    /// When it was made.
    created_at: Time,
    /// When it last changed.
    updated_at: Time,
    /// What names it.
    used_by: Vec<CredentialUseView>,
}

/// What names a credential.
#[derive(SimpleObject)]
#[graphql(name = "CredentialUse")]
pub(super) struct CredentialUseView {
    /// Stack, Environment, Hook or Notifier.
    kind: &'static str,
    /// Its name.
    name: String,
    /// The environment, of a stack.
    environment: Option<String>,
}

impl From<CredentialUser> for CredentialUseView {
    fn from(it: CredentialUser) -> Self {
        match it {
            CredentialUser::Stack(key) => {
                Self { kind: "Stack", name: key.name.to_string(), environment: Some(key.environment.to_string()) }
            }
            CredentialUser::Environment(name) => {
                Self { kind: "Environment", name: name.to_string(), environment: None }
            }
            CredentialUser::Hook(name) => Self { kind: "Hook", name, environment: None },
            CredentialUser::Catalog(name) => Self { kind: "Catalog", name, environment: None },
            CredentialUser::Notifier(name) => Self { kind: "Notifier", name: name.to_string(), environment: None },
        }
    }
}

impl From<(Credential, Vec<CredentialUser>)> for CredentialView {
    fn from((it, users): (Credential, Vec<CredentialUser>)) -> Self {
        Self {
            name: it.name.to_string(),
            kind: it.kind.into(),
            hosts: it.hosts.iter().map(ToString::to_string).collect(),
            stacks: it.stacks,
            keys: it.data.into_keys().collect(),
            created_at: it.created_at.into(),
            updated_at: it.updated_at.into(),
            used_by: users.into_iter().map(Into::into).collect(),
        }
    }
}

/// What a credential leads to at an address.
#[derive(SimpleObject)]
#[graphql(name = "CredentialTest")]
pub(super) struct CredentialTestView {
    /// The address.
    url: String,
    /// The commit its HEAD stands at.
    head: Option<String>,
    /// Its branches, at most a hundred.
    branches: Vec<String>,
    /// Its tags, at most a hundred.
    tags: Vec<String>,
}

impl From<CredentialAnswer> for CredentialTestView {
    fn from(it: CredentialAnswer) -> Self {
        Self { url: it.url, head: it.head, branches: it.branches, tags: it.tags }
    }
}

/// What `setCredential` takes. What is left out stays as it is.
#[derive(Debug, InputObject)]
pub(super) struct SetCredentialInput {
    /// Its name.
    name: String,
    /// What it is for; needed for a new one.
    #[graphql(name = "type")]
    kind: Option<CredentialType>,
    /// Where it may go, all of it: hosts, or hosts with a port.
    hosts: Option<Vec<String>>,
    /// Stacks that it may go into, all of them: names, or `ENVIRONMENT/NAME`, with `*` for any text.
    stacks: Option<Vec<String>>,
    /// Values to be set.
    #[graphql(default)]
    data: Vec<CredentialValueInput>,
    /// Keys whose values are to be forgotten.
    #[graphql(default)]
    remove: Vec<String>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// One value of a credential.
#[derive(InputObject)]
pub(super) struct CredentialValueInput {
    /// Its key.
    name: String,
    /// The value. It is sealed, and shown nowhere.
    value: String,
}

impl std::fmt::Debug for CredentialValueInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialValueInput").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<SetCredentialInput> for SetCredential {
    fn from(it: SetCredentialInput) -> Self {
        let data = it.data.into_iter().map(|value| (value.name, SecretBytes::new(value.value.into_bytes())));
        Self {
            name: it.name,
            kind: it.kind.map(Into::into),
            hosts: it.hosts,
            stacks: it.stacks,
            data: data.collect(),
            remove: it.remove,
        }
    }
}

/// What `trustHost` takes.
#[derive(Debug, InputObject)]
pub(super) struct TrustHostInput {
    /// The credential the key is pinned in, of type SshKey.
    pub(super) credential: String,
    /// The host and its key, as a line of a known_hosts file.
    pub(super) line: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `deleteCredential` takes.
#[derive(Debug, InputObject)]
pub(super) struct DeleteCredentialInput {
    /// The credential.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What a mutation of a credential answers.
#[derive(SimpleObject)]
pub(super) struct CredentialPayload {
    /// The credential; of a deleted one, as it was. Null when the request was refused.
    credential: Option<CredentialView>,
    /// The fields that changed, as dotted paths.
    changes: Vec<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl CredentialPayload {
    /// The answer to a request about one credential.
    pub(super) fn new(declare: &declare::Declare, outcome: Result<Keyed, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(keyed) => {
                let users = declare.credential_users().map_err(super::fault)?;
                let users = users.get(&keyed.credential.name).cloned().unwrap_or_default();
                let credential = Some((keyed.credential, users).into());
                Ok(Self { credential, changes: keyed.changes, user_errors: Vec::new() })
            }
            Err(cause) => Ok(Self { credential: None, changes: Vec::new(), user_errors: user_errors(cause)? }),
        }
    }
}
