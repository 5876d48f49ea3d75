//! One transaction of typed records.

use jiff::Timestamp;
use serde::Serialize;

use super::record::{Hook, Once, RecordKey, encode};
use crate::domain::{
    ApiToken, ClaimOrder, Credential, CredentialName, Deployment, Environment, EnvironmentName, EnvironmentStatus,
    Event, Sealed, Stack, StackKey, StackStatus, TokenName,
};
use crate::ports::{Transaction, Write};

/// Collects what is to be written in one transaction. Nothing is written until [`super::Ledger::commit`].
#[derive(Debug, Default)]
#[must_use]
pub struct Batch {
    transaction: Transaction,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it would write nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.transaction.writes.is_empty()
    }

    /// With all that another batch expects and writes.
    pub fn and(mut self, other: Self) -> Self {
        self.transaction.expects.extend(other.transaction.expects);
        self.transaction.writes.extend(other.transaction.writes);
        self
    }

    pub(super) fn into_transaction(self) -> Transaction {
        self.transaction
    }

    /// The record must be at this revision (`None`: must not exist), or nothing is written.
    pub fn expect(mut self, key: &RecordKey, revision: Option<u64>) -> Self {
        self.transaction.expects.push((key.to_string(), revision));
        self
    }

    pub(super) fn put<T: Serialize>(mut self, key: &RecordKey, value: &T) -> Self {
        self.transaction.writes.push(Write::Put { key: key.to_string(), value: encode(value) });
        self
    }

    pub(super) fn delete(mut self, key: &RecordKey) -> Self {
        self.transaction.writes.push(Write::Delete { key: key.to_string() });
        self
    }

    /// Writes a declared stack.
    pub fn put_stack(self, stack: &Stack) -> Self {
        self.put(&RecordKey::Stack(stack.key.clone()), stack)
    }

    /// Deletes a declared stack and its status. Its deployments and events stay.
    pub fn delete_stack(self, key: &StackKey) -> Self {
        self.delete(&RecordKey::Stack(key.clone())).delete(&RecordKey::Status(key.clone()))
    }

    /// Writes a status.
    pub fn put_status(self, key: &StackKey, status: &StackStatus) -> Self {
        self.put(&RecordKey::Status(key.clone()), status)
    }

    /// Writes a deployment, and its place in the stack's history.
    pub fn put_deployment(self, deployment: &Deployment) -> Self {
        let batch = self.put(&RecordKey::Deployment(deployment.id.clone()), deployment);
        if planted!("a deployment is not in its stack's history") {
            return batch;
        }
        batch.put(&RecordKey::History(deployment.stack.clone(), deployment.id.clone()), &())
    }

    /// Keeps a sealed document under its own digest, together with what refers to it.
    pub fn put_kept(self, sealed: &Sealed) -> Self {
        self.put(&RecordKey::Kept(sealed.kept_as()), sealed)
    }

    /// Writes an environment.
    pub fn put_environment(self, environment: &Environment) -> Self {
        self.put(&RecordKey::Environment(environment.name.clone()), environment)
    }

    /// Writes what is known of an environment's connection.
    pub fn put_environment_status(self, name: &EnvironmentName, status: &EnvironmentStatus) -> Self {
        self.put(&RecordKey::EnvironmentStatus(name.clone()), status)
    }

    /// Writes an order to claim an environment.
    pub fn put_claim_order(self, name: &EnvironmentName, order: &ClaimOrder) -> Self {
        self.put(&RecordKey::ClaimOrder(name.clone()), order)
    }

    /// Writes a hook.
    pub fn put_hook(self, hook: &Hook) -> Self {
        self.put(&RecordKey::Hook(hook.name.clone()), hook)
    }

    /// Writes a credential.
    pub fn put_credential(self, credential: &Credential) -> Self {
        self.put(&RecordKey::Credential(credential.name.clone()), credential)
    }

    /// Deletes a credential.
    pub fn delete_credential(self, name: &CredentialName) -> Self {
        self.delete(&RecordKey::Credential(name.clone()))
    }

    /// Writes a token, and the way to it from its digest; there must be none of its name.
    pub fn put_token(self, token: &ApiToken) -> Self {
        let (key, by_digest) = (RecordKey::Token(token.name.clone()), RecordKey::TokenDigest(token.digest.clone()));
        self.expect(&key, None).expect(&by_digest, None).put(&key, token).put(&by_digest, &token.name)
    }

    /// Writes when a token was last used.
    pub fn put_token_used(self, name: &TokenName, at: Timestamp) -> Self {
        self.put(&RecordKey::TokenUsed(name.clone()), &at)
    }

    /// Deletes a token with all that is known of it.
    pub fn delete_token(self, token: &ApiToken) -> Self {
        self.delete(&RecordKey::Token(token.name.clone()))
            .delete(&RecordKey::TokenDigest(token.digest.clone()))
            .delete(&RecordKey::TokenUsed(token.name.clone()))
    }

    /// Deletes an environment, what is known of its connection, and an order to claim it.
    pub fn delete_environment(self, name: &EnvironmentName) -> Self {
        self.delete(&RecordKey::Environment(name.clone()))
            .delete(&RecordKey::EnvironmentStatus(name.clone()))
            .delete(&RecordKey::ClaimOrder(name.clone()))
            .delete(&RecordKey::Relay(name.clone()))
    }

    /// Puts the bytes of a record back, changed.
    pub(super) fn put_bytes(mut self, key: &str, revision: u64, value: Vec<u8>) -> Self {
        self.transaction.expects.push((key.to_owned(), Some(revision)));
        self.transaction.writes.push(Write::Put { key: key.to_owned(), value });
        self
    }

    /// Writes what an idempotency key or a delivery led to, and expects that it has not been seen before.
    pub fn put_once(self, key: &str, once: &Once) -> Self {
        let key = RecordKey::Once(key.to_owned());
        let batch = if planted!("a request under a known key is taken again") { self } else { self.expect(&key, None) };
        batch.put(&key, once)
    }

    /// Writes the installation's id.
    pub fn put_instance(self, instance: &str) -> Self {
        self.expect(&RecordKey::Instance, None).put(&RecordKey::Instance, &instance)
    }

    /// What it writes, for a store that is being made.
    #[must_use]
    pub fn into_writes(self) -> Vec<Write> {
        self.transaction.writes
    }

    /// Writes the mark of a restore.
    pub fn put_restored(self, mark: &str) -> Self {
        self.put(&RecordKey::Restored, &mark)
    }

    /// Appends an event to the log.
    pub fn event(mut self, event: &Event) -> Self {
        self.transaction.writes.push(Write::Append { log: "event".into(), value: encode(event) });
        self
    }
}
