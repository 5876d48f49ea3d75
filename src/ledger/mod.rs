//! Typed records over the store: what do we keep, under which key, and what is rebuilt?
//!
//! | key | record | written by |
//! | --- | --- | --- |
//! | `stack/ENV/NAME` | [`Stack`]: what was declared | the API |
//! | `status/ENV/NAME` | [`StackStatus`]: what was found, the inventory, the last good version | the controller |
//! | `deployment/ID` | [`Deployment`]: one attempt | the API or the controller makes it, the controller moves it on |
//! | `history/ENV/NAME/ID` | nothing: the index of a stack's deployments | with the deployment |
//! | `environment/NAME`, `environment-status/NAME` | [`Environment`], [`EnvironmentStatus`] | the API, the controller |
//! | `claim-order/NAME` | [`ClaimOrder`]: a person's word to take an environment over | the API |
//! | `relay/NAME` | [`RelayCursor`](crate::domain::RelayCursor): how far the records of a far Skep were read | the controller |
//! | `hook/NAME` | [`Hook`] | the API |
//! | `delivery/HOOK/ID`, `delivery-body/HOOK/ID` | [`HookDelivery`]: what came to a hook; what it held, sealed | the API |
//! | `catalog/NAME`, `catalog-status/NAME` | [`Catalog`](crate::domain::Catalog), [`CatalogStatus`](crate::domain::CatalogStatus) | the API, the controller |
//! | `notifier/NAME`, `notifier-status/NAME` | [`Notifier`](crate::domain::Notifier), how far it has come | the API, its courier |
//! | `repository-status/HOST/NAME` | [`RepositoryStatus`](crate::domain::RepositoryStatus): what is known of images that are followed | the controller |
//! | `credential/NAME` | [`Credential`], its values sealed | the API |
//! | `token/NAME`, `token-digest/HEX`, `token-used/NAME` | [`ApiToken`], the way to it from its digest, when it was last used | the API |
//! | `once/KEY` | [`Once`]: an idempotency key or a hook's delivery, and what it led to | the API |
//! | `event/SEQUENCE` | [`Event`]: the append-only log | both |
//! | `kept/DIGEST` | [`Sealed`]: the desired objects of a deployment | with the first record that refers to it |
//! | `output/ENV/NAME/ID` | [`Sealed`]: what the services of a failed deployment wrote last | the controller, with the failure |
//! | `meta/instance` | the installation's id | the first start |
//! | `meta/restored` | the mark of the newest restore | `skep restore` |
//!
//! Everything else (snapshots of engines, rendered plans, the queue) is rebuilt from these and from the world.

mod batch;
mod catalog;
mod delivery;
mod keyring;
mod notifier;
mod old;
mod output;
mod record;
mod relay;
mod repository;
mod request;
mod reseal;
mod verify;
mod writes;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::ready;
use jiff::Timestamp;
use thiserror::Error;

pub use batch::Batch;
pub use delivery::{DeliveryOutcome, HookDelivery, Idle, RefusedStack};
pub use keyring::{LedgerKeyring, open_values};
pub use notifier::{Owed, OwedPage};
pub use record::{Hook, HookProvider, HookRule, HookSecret, Once, RecordKey};
pub use request::{open_request, seal_request, sealed_request};
pub use reseal::ResealError;

use crate::domain::{
    ApiToken, ClaimOrder, Credential, CredentialName, Deployment, DeploymentId, Environment, EnvironmentName,
    EnvironmentStatus, Event, Kept, Sealed, Stack, StackKey, StackStatus, TokenName,
};
use crate::ports::{BoxStream, Committed, Entry, Scan, Store, StoreError, Watched};

/// Why a record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes are there but make no sense to this version.
    #[error("the record `{key}` cannot be read by this version of Skep: {reason}")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// A record with the revision it was written at, for compare-and-set.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// The store's revision of its last write.
    pub revision: u64,
}

/// One committed transaction, as watchers see it.
#[derive(Debug, Clone)]
pub struct Note {
    /// The store's revision.
    pub revision: u64,
    /// The records that changed, in order, with their new bytes (`None`: deleted).
    pub records: Vec<(RecordKey, Option<Arc<[u8]>>)>,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Noted {
    /// A transaction became durable.
    Note(Arc<Note>),
    /// The watcher was too slow: read afresh.
    Missed,
}

/// Typed access to the store. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
}

impl Ledger {
    /// A ledger over this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The revision of the newest committed transaction.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    fn one<T: serde::de::DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<Versioned<T>>, LedgerError> {
        self.store.get(&key.to_string())?.map(|entry| decode(&entry)).transpose()
    }

    fn many<T: serde::de::DeserializeOwned>(&self, scan: &Scan) -> Result<Vec<Versioned<T>>, LedgerError> {
        self.store.scan(scan)?.iter().map(decode).collect()
    }

    /// One declared stack.
    ///
    /// # Errors
    /// [`LedgerError`]; so for every read here.
    pub fn stack(&self, key: &StackKey) -> Result<Option<Versioned<Stack>>, LedgerError> {
        self.one(&RecordKey::Stack(key.clone()))
    }

    /// Declared stacks of one environment, or of all, by environment and name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn stacks(&self, environment: Option<&EnvironmentName>) -> Result<Vec<Versioned<Stack>>, LedgerError> {
        self.many(&Scan::all(environment.map_or("stack/".to_owned(), |name| format!("stack/{name}/"))))
    }

    /// The names of an environment's declared stacks.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn stack_keys(&self, environment: &EnvironmentName) -> Result<Vec<StackKey>, LedgerError> {
        let found = self.store.scan(&Scan::all(format!("stack/{environment}/")))?;
        Ok(found
            .iter()
            .filter_map(|entry| match RecordKey::parse(&entry.key) {
                RecordKey::Stack(key) => Some(key),
                _ => None,
            })
            .collect())
    }

    /// The revision of a record, without reading it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn revision_of(&self, key: &RecordKey) -> Result<Option<u64>, LedgerError> {
        Ok(self.store.get(&key.to_string())?.map(|entry| entry.revision))
    }

    /// A stack's status; the empty one when nothing has been found yet.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn status(&self, key: &StackKey) -> Result<Option<Versioned<StackStatus>>, LedgerError> {
        self.one(&RecordKey::Status(key.clone()))
    }

    /// Every status, with the stack it belongs to (the stack itself may be gone already).
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn statuses(&self) -> Result<Vec<(StackKey, StackStatus)>, LedgerError> {
        let mut found = Vec::new();
        for entry in self.store.scan(&Scan::all("status/"))? {
            if let RecordKey::Status(key) = RecordKey::parse(&entry.key) {
                found.push((key, decode::<StackStatus>(&entry)?.value));
            }
        }
        Ok(found)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn deployment(&self, id: &DeploymentId) -> Result<Option<Versioned<Deployment>>, LedgerError> {
        self.one(&RecordKey::Deployment(id.clone()))
    }

    /// Deployments of one stack, newest first, from before `before` on.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn history(
        &self,
        key: &StackKey,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Versioned<Deployment>>, LedgerError> {
        let ids = self.history_ids(key, before, limit)?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.deployment(&id)?);
        }
        Ok(found)
    }

    /// As [`Ledger::history`], but only which they are.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn history_ids(
        &self,
        key: &StackKey,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, LedgerError> {
        let prefix = format!("history/{}/{}/", key.environment, key.name);
        let after = before.map(|id| format!("{prefix}{id}"));
        let index = self.store.scan(&Scan { prefix, after, backwards: true, limit })?;
        let ids = index.into_iter().filter_map(|entry| match RecordKey::parse(&entry.key) {
            RecordKey::History(_, id) => Some(id),
            _ => None,
        });
        Ok(ids.collect())
    }

    /// Those that came after one, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn history_after(
        &self,
        key: &StackKey,
        after: &DeploymentId,
        limit: usize,
    ) -> Result<Vec<Versioned<Deployment>>, LedgerError> {
        let prefix = format!("history/{}/{}/", key.environment, key.name);
        let after = Some(format!("{prefix}{after}"));
        let mut found = Vec::new();
        for entry in self.store.scan(&Scan { prefix, after, backwards: false, limit })? {
            if let RecordKey::History(_, id) = RecordKey::parse(&entry.key) {
                found.extend(self.deployment(&id)?);
            }
        }
        Ok(found)
    }

    /// Deployments of all stacks, newest first, from before `before` on.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn deployments(
        &self,
        before: Option<&DeploymentId>,
        limit: usize,
    ) -> Result<Vec<Versioned<Deployment>>, LedgerError> {
        let after = before.map(|id| format!("deployment/{id}"));
        self.many(&Scan { prefix: "deployment/".into(), after, backwards: true, limit })
    }

    /// One environment.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn environment(&self, name: &EnvironmentName) -> Result<Option<Versioned<Environment>>, LedgerError> {
        self.one(&RecordKey::Environment(name.clone()))
    }

    /// All environments, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn environments(&self) -> Result<Vec<Versioned<Environment>>, LedgerError> {
        self.many(&Scan::all("environment/"))
    }

    /// The newest order to claim an environment.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn claim_order(&self, name: &EnvironmentName) -> Result<Option<ClaimOrder>, LedgerError> {
        Ok(self.one(&RecordKey::ClaimOrder(name.clone()))?.map(|found| found.value))
    }

    /// What is known of an environment's connection.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn environment_status(
        &self,
        name: &EnvironmentName,
    ) -> Result<Option<Versioned<EnvironmentStatus>>, LedgerError> {
        self.one(&RecordKey::EnvironmentStatus(name.clone()))
    }

    /// One hook.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn hook(&self, name: &str) -> Result<Option<Versioned<Hook>>, LedgerError> {
        self.one(&RecordKey::Hook(name.to_owned()))
    }

    /// All hooks, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn hooks(&self) -> Result<Vec<Versioned<Hook>>, LedgerError> {
        self.many(&Scan::all("hook/"))
    }

    /// One credential, its values sealed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn credential(&self, name: &CredentialName) -> Result<Option<Versioned<Credential>>, LedgerError> {
        self.one(&RecordKey::Credential(name.clone()))
    }

    /// All credentials, by name, their values sealed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn credentials(&self) -> Result<Vec<Versioned<Credential>>, LedgerError> {
        self.many(&Scan::all("credential/"))
    }

    /// One token.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn token(&self, name: &TokenName) -> Result<Option<Versioned<ApiToken>>, LedgerError> {
        self.one(&RecordKey::Token(name.clone()))
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn tokens(&self) -> Result<Vec<Versioned<ApiToken>>, LedgerError> {
        self.many(&Scan::all("token/"))
    }

    /// The token of this digest.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn token_of(&self, digest: &str) -> Result<Option<ApiToken>, LedgerError> {
        let Some(name) = self.one::<TokenName>(&RecordKey::TokenDigest(digest.to_owned()))? else { return Ok(None) };
        Ok(self.token(&name.value)?.map(|found| found.value).filter(|token| token.digest == digest))
    }

    /// When a token was last used, as far as it was written down.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn token_used(&self, name: &TokenName) -> Result<Option<Timestamp>, LedgerError> {
        Ok(self.one(&RecordKey::TokenUsed(name.clone()))?.map(|found| found.value))
    }

    /// What an idempotency key or a delivery led to.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn once(&self, key: &str) -> Result<Option<Versioned<Once>>, LedgerError> {
        self.one(&RecordKey::Once(key.to_owned()))
    }

    /// Events after (or, backwards, before) a sequence, with their sequences.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn events(&self, from: Option<u64>, backwards: bool, limit: usize) -> Result<Vec<(u64, Event)>, LedgerError> {
        let after = from.map(|sequence| RecordKey::Event(sequence).to_string());
        let mut found = Vec::new();
        for entry in self.store.scan(&Scan { prefix: "event/".into(), after, backwards, limit })? {
            if let RecordKey::Event(sequence) = RecordKey::parse(&entry.key) {
                found.push((sequence, decode::<Event>(&entry)?.value));
            }
        }
        Ok(found)
    }

    /// The installation's id, once it has been written.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn instance(&self) -> Result<Option<String>, LedgerError> {
        Ok(self.one::<String>(&RecordKey::Instance)?.map(|found| found.value))
    }

    /// The mark of the restore that this installation came from, if it did.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn restored(&self) -> Result<Option<String>, LedgerError> {
        Ok(self.one::<String>(&RecordKey::Restored)?.map(|found| found.value))
    }

    /// Why nothing can be recorded until the server is started again, if so: see [`Store::broken`].
    #[must_use]
    pub fn broken(&self) -> Option<StoreError> {
        self.store.broken()
    }

    /// The disk the records are on: see [`Store::room`].
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn room(&self) -> Result<Option<(u64, u64)>, LedgerError> {
        Ok(self.store.room()?)
    }

    /// A copy of everything, as an archive: see [`Store::export`]. Blocks.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn export(&self) -> Result<Box<dyn std::io::Read + Send>, LedgerError> {
        Ok(self.store.export()?)
    }

    /// Writes a batch; the answer comes when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a record is not at the revision the batch expects.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, LedgerError> {
        Ok(self.store.commit(batch.into_transaction()).await?)
    }

    /// Every change from now on.
    #[must_use]
    pub fn watch(&self) -> BoxStream<'static, Noted> {
        self.store
            .watch()
            .filter_map(|watched| {
                ready(Some(match watched {
                    Watched::Missed => Noted::Missed,
                    Watched::Change(change) => Noted::Note(Arc::new(Note {
                        revision: change.revision,
                        records: change
                            .changed
                            .iter()
                            .map(|changed| (RecordKey::parse(&changed.key), changed.value.clone()))
                            .collect(),
                    })),
                }))
            })
            .boxed()
    }

    /// Reads what [`Batch::put_kept`] wrote.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not there.
    pub fn kept(&self, name: &Kept) -> Result<Sealed, LedgerError> {
        let found = self.one::<Sealed>(&RecordKey::Kept(name.clone()))?;
        Ok(found.ok_or_else(|| StoreError::Missing(name.0.clone()))?.value)
    }

    /// Deletes kept files that no record names any more and that are older than an hour.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn collect(&self, wanted: &BTreeSet<Kept>) -> Result<u64, LedgerError> {
        Ok(self.store.collect(wanted, 3600)?)
    }
}

/// Reads the bytes of a record out of a [`Note`].
///
/// # Errors
/// [`LedgerError::Unreadable`].
pub fn read<T: serde::de::DeserializeOwned>(key: &RecordKey, bytes: &[u8]) -> Result<T, LedgerError> {
    record::decode(bytes).map_err(|reason| LedgerError::Unreadable { key: key.to_string(), reason })
}

fn decode<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<Versioned<T>, LedgerError> {
    let value =
        record::decode(&entry.value).map_err(|reason| LedgerError::Unreadable { key: entry.key.clone(), reason })?;
    Ok(Versioned { value, revision: entry.revision })
}
