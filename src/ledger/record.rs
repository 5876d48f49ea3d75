//! Keys of records, and the envelope each record's bytes are in: one byte of schema version, then JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Actor, CredentialName, DeploymentId, EnvironmentName, Kept, NotifierName, Repository, Sealed, StackKey, StackName,
    TokenName,
};

/// The newest schema this version writes. A reader takes every older one.
const SCHEMA: u8 = 1;

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![SCHEMA];
    // Writing our own types as JSON into memory cannot fail: no map has a key that is not text.
    if serde_json::to_writer(&mut bytes, value).is_err() {
        bytes.truncate(1);
    }
    bytes
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&schema, json)) if schema <= SCHEMA => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Some((schema, _)) => Err(format!("it has schema {schema}, this version reads up to {SCHEMA}")),
        None => Err("it is empty".to_owned()),
    }
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "see the table of the module `ledger`")]
pub enum RecordKey {
    Stack(StackKey),
    Status(StackKey),
    Deployment(DeploymentId),
    History(StackKey, DeploymentId),
    Environment(EnvironmentName),
    EnvironmentStatus(EnvironmentName),
    ClaimOrder(EnvironmentName),
    Relay(EnvironmentName),
    Hook(String),
    Catalog(String),
    CatalogStatus(String),
    Delivery(String, String),
    DeliveryBody(String, String),
    Notifier(NotifierName),
    RepositoryStatus(Repository),
    NotifierStatus(NotifierName),
    Credential(CredentialName),
    Token(TokenName),
    TokenDigest(String),
    TokenUsed(TokenName),
    Once(String),
    Event(u64),
    Kept(Kept),
    Output(StackKey, DeploymentId),
    Instance,
    Restored,
    /// A key this version does not know.
    Other(String),
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(key) => write!(f, "stack/{key}"),
            Self::Status(key) => write!(f, "status/{key}"),
            Self::Deployment(id) => write!(f, "deployment/{id}"),
            Self::History(key, id) => write!(f, "history/{key}/{id}"),
            Self::Environment(name) => write!(f, "environment/{name}"),
            Self::EnvironmentStatus(name) => write!(f, "environment-status/{name}"),
            Self::ClaimOrder(name) => write!(f, "claim-order/{name}"),
            Self::Relay(name) => write!(f, "relay/{name}"),
            Self::Hook(name) => write!(f, "hook/{name}"),
            Self::Catalog(name) => write!(f, "catalog/{name}"),
            Self::CatalogStatus(name) => write!(f, "catalog-status/{name}"),
            Self::Delivery(hook, id) => write!(f, "delivery/{hook}/{id}"),
            Self::DeliveryBody(hook, id) => write!(f, "delivery-body/{hook}/{id}"),
            Self::RepositoryStatus(repository) => write!(f, "repository-status/{repository}"),
            Self::Notifier(name) => write!(f, "notifier/{name}"),
            Self::NotifierStatus(name) => write!(f, "notifier-status/{name}"),
            Self::Credential(name) => write!(f, "credential/{name}"),
            Self::Token(name) => write!(f, "token/{name}"),
            Self::TokenDigest(digest) => write!(f, "token-digest/{digest}"),
            Self::TokenUsed(name) => write!(f, "token-used/{name}"),
            Self::Once(key) => write!(f, "once/{key}"),
            Self::Event(sequence) => write!(f, "event/{sequence:016x}"),
            Self::Kept(Kept(name)) => write!(f, "kept/{name}"),
            Self::Output(key, id) => write!(f, "output/{key}/{id}"),
            Self::Instance => f.write_str("meta/instance"),
            Self::Restored => f.write_str("meta/restored"),
            Self::Other(key) => f.write_str(key),
        }
    }
}

impl RecordKey {
    /// Reads a key. One that makes no sense becomes [`RecordKey::Other`].
    #[must_use]
    pub fn parse(key: &str) -> Self {
        Self::known(key).unwrap_or_else(|| Self::Other(key.to_owned()))
    }

    fn known(key: &str) -> Option<Self> {
        let stack = |rest: &str| {
            let (environment, name) = rest.split_once('/')?;
            Some(StackKey {
                environment: EnvironmentName::parse(environment).ok()?,
                name: StackName::parse(name).ok()?,
            })
        };
        let of_hook = |rest: &str| rest.split_once('/').map(|(hook, id)| (hook.to_owned(), id.to_owned()));
        let (kind, rest) = key.split_once('/')?;
        match kind {
            "stack" => stack(rest).map(Self::Stack),
            "status" => stack(rest).map(Self::Status),
            "deployment" => Some(Self::Deployment(DeploymentId(rest.to_owned()))),
            "history" => {
                let (of, id) = rest.rsplit_once('/')?;
                Some(Self::History(stack(of)?, DeploymentId(id.to_owned())))
            }
            "output" => {
                let (of, id) = rest.rsplit_once('/')?;
                Some(Self::Output(stack(of)?, DeploymentId(id.to_owned())))
            }
            "environment" => EnvironmentName::parse(rest).ok().map(Self::Environment),
            "environment-status" => EnvironmentName::parse(rest).ok().map(Self::EnvironmentStatus),
            "claim-order" => EnvironmentName::parse(rest).ok().map(Self::ClaimOrder),
            "relay" => EnvironmentName::parse(rest).ok().map(Self::Relay),
            "hook" => Some(Self::Hook(rest.to_owned())),
            "catalog" => Some(Self::Catalog(rest.to_owned())),
            "catalog-status" => Some(Self::CatalogStatus(rest.to_owned())),
            "delivery" => of_hook(rest).map(|(hook, id)| Self::Delivery(hook, id)),
            "delivery-body" => of_hook(rest).map(|(hook, id)| Self::DeliveryBody(hook, id)),
            "repository-status" => Repository::try_from(rest.to_owned()).ok().map(Self::RepositoryStatus),
            "notifier" => NotifierName::parse(rest).ok().map(Self::Notifier),
            "notifier-status" => NotifierName::parse(rest).ok().map(Self::NotifierStatus),
            "credential" => CredentialName::parse(rest).ok().map(Self::Credential),
            "token" => TokenName::parse(rest).ok().map(Self::Token),
            "token-digest" => Some(Self::TokenDigest(rest.to_owned())),
            "token-used" => TokenName::parse(rest).ok().map(Self::TokenUsed),
            "once" => Some(Self::Once(rest.to_owned())),
            "event" => u64::from_str_radix(rest, 16).ok().map(Self::Event),
            "kept" => Some(Self::Kept(Kept(rest.to_owned()))),
            "meta" if rest == "instance" => Some(Self::Instance),
            "meta" if rest == "restored" => Some(Self::Restored),
            _ => None,
        }
    }
}

/// An inbound webhook with its mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name: the last part of its address.
    pub name: String,
    /// Who sends.
    pub provider: HookProvider,
    /// The shared secret deliveries are signed with.
    pub secret: HookSecret,
    /// What a delivery does.
    pub rules: Vec<HookRule>,
}

/// Where the secret of a hook is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HookSecret {
    /// Here.
    Value(Sealed),
    /// In a credential of type Opaque: its value `secret`, or its only one.
    Credential {
        /// The credential.
        credential: CredentialName,
    },
    /// There is none: whoever knows the hook's address may send.
    Unsigned {
        /// Said on purpose.
        unsigned: bool,
    },
}

/// Who sends to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookProvider {
    /// GitHub.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea and Forgejo.
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
    /// A registry that sends the notifications of the Distribution project.
    Registry,
    /// Docker Hub, which signs nothing.
    DockerHub,
    /// A CloudEvent over HTTP, binary or structured, signed like [`Generic`](Self::Generic).
    CloudEvents,
    /// Anyone who can compute an HMAC.
    Generic,
}

/// One rule of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRule {
    /// A condition over the payload, in CEL; none: always.
    pub when: Option<String>,
    /// Names of stacks, `*` for any run of characters.
    pub stacks: Vec<String>,
    /// Names of catalogs that are looked at, in the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogs: Vec<String>,
    /// The environment they are in.
    pub environment: EnvironmentName,
    /// What is set from the payload: `ref` to an expression in CEL.
    pub set: std::collections::BTreeMap<String, String>,
}

/// What a key that works only once led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Once {
    /// Digest of the request it came with: the same key with another request is refused.
    pub request: String,
    /// The deployments it made.
    pub deployments: Vec<DeploymentId>,
    /// Who sent it.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_as_itself() {
        let stack = StackKey {
            environment: EnvironmentName::default(),
            name: StackName::parse("shop").unwrap_or_else(|error| panic!("{error}")),
        };
        let id = DeploymentId("01abc".into());
        for key in [
            RecordKey::Stack(stack.clone()),
            RecordKey::Status(stack.clone()),
            RecordKey::Deployment(id.clone()),
            RecordKey::History(stack.clone(), id.clone()),
            RecordKey::Output(stack, id),
            RecordKey::Environment(EnvironmentName::default()),
            RecordKey::EnvironmentStatus(EnvironmentName::default()),
            RecordKey::ClaimOrder(EnvironmentName::default()),
            RecordKey::Relay(EnvironmentName::default()),
            RecordKey::Hook("a".into()),
            RecordKey::Catalog("a".into()),
            RecordKey::CatalogStatus("a".into()),
            RecordKey::Delivery("a".into(), "01".into()),
            RecordKey::DeliveryBody("a".into(), "01".into()),
            RecordKey::RepositoryStatus(Repository::of_image("127.0.0.1:5000/team/web:1")),
            RecordKey::Notifier(NotifierName::parse("a").unwrap_or_else(|error| panic!("{error}"))),
            RecordKey::NotifierStatus(NotifierName::parse("a").unwrap_or_else(|error| panic!("{error}"))),
            RecordKey::Credential(CredentialName::parse("a").unwrap_or_else(|error| panic!("{error}"))),
            RecordKey::Token(TokenName::parse("a").unwrap_or_else(|error| panic!("{error}"))),
            RecordKey::TokenDigest("0a".into()),
            RecordKey::TokenUsed(TokenName::parse("a").unwrap_or_else(|error| panic!("{error}"))),
            RecordKey::Once("a/b".into()),
            RecordKey::Event(77),
            RecordKey::Kept(Kept("0a".into())),
            RecordKey::Instance,
            RecordKey::Restored,
            RecordKey::Other("x/y".into()),
        ] {
            assert_eq!(RecordKey::parse(&key.to_string()), key);
        }
    }

    #[test]
    fn a_record_of_a_newer_schema_is_refused() {
        assert!(decode::<u8>(&[SCHEMA + 1, b'1']).is_err());
        assert_eq!(decode::<u8>(&encode(&7_u8)), Ok(7));
    }
}
