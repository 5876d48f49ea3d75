//! What a person, a hook or a catalog asked for, checked and written down. Every way in (GraphQL, REST, hooks) comes
//! through here.
//!
//! Each use-case reads, decides, and writes stack, deployment and events in one transaction that expects what it read;
//! when someone else was faster it reads again. Nothing here can name an engine or a repository: to declare is to record.
//!
//! `apply` is [three-way](three_way), [`Declare::deploy`] sets a version, [`Declare::rollback`] pins an older one, and
//! `control` holds a person's other words: unpin, release, cancel, suspend, resume, reconcile, delete. What another system
//! sends to a hook becomes the same through [`Declare::deliver`].

mod adopt;
mod apply;
mod catalog;
mod catalog_care;
mod check;
mod claim;
mod control;
mod credential;
mod deliver;
mod depend;
mod deploy;
mod duration;
mod environment;
mod error;
mod fields;
mod hook;
mod manifest;
mod notifier;
mod permit;
mod pushed;
mod received;
mod reference;
mod relay;
mod rollback;
pub mod rule;
mod three_way;
mod token;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

pub use adopt::Adopt;
pub use apply::{Applied, AppliedDocument, ApplyOptions, DocumentKind};
pub use catalog::CatalogFiles;
pub use credential::{CredentialUser, Keyed, SetCredential};
pub use deliver::{Delivered, Delivery, asks_for};
pub use deploy::{DeployRequest, VariableValue};
pub use duration::{format_duration, parse_duration};
pub use error::{Code, DeclareError, Refusal};
pub use hook::{DELIVERIES, StackTrial, Trial, TrialOutcome};
pub use manifest::{AskedCredential, AskedNotifier, Body, Document, Manifest};
pub use received::Aside;
pub use reference::{Reference, ReferenceKind, References, references};
pub use token::{CreateToken, NewToken, TOKEN_PREFIX, token_digest};

use crate::domain::{
    Access, Actor, Deployment, DeploymentId, Grant, Place, Sealed, Stack, StackKey, TraceContext, Trigger, Way,
};
use crate::ledger::Ledger;
use crate::ports::{Ambient, Sealer};

/// How much is taken. Records stay well under what a store takes as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a manifest.
    pub manifest_bytes: usize,
    /// Documents in a manifest.
    pub documents: usize,
    /// Bytes of inline compose text.
    pub inline_bytes: usize,
    /// Bytes of a variable's value.
    pub value_bytes: usize,
    /// Bytes of one record, as JSON.
    pub record_bytes: usize,
    /// Characters of a reason.
    pub reason: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 1 << 20,
            documents: 100,
            inline_bytes: 128 << 10,
            value_bytes: 64 << 10,
            record_bytes: 400 << 10,
            reason: 1000,
        }
    }
}

/// Who asks, by which way in, and under which conditions. The same for every use-case.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Who.
    pub actor: Actor,
    /// What sets it off.
    pub trigger: Trigger,
    /// What the asker may do. Every use-case asks it before it reads or writes.
    pub grant: Grant,
    /// The way in, for the log.
    pub via: Option<Way>,
    /// Why, if said.
    pub reason: Option<String>,
    /// The generation the asker saw; another one is a conflict. 0 means that there must be no such stack.
    pub expected_generation: Option<u64>,
    /// A key under which the same request works only once.
    pub idempotency_key: Option<String>,
    /// The request in the asker's own form, secrets replaced; the use-case's own form when left out.
    pub original: Option<Value>,
    /// The same, sealed, in place of it.
    pub sealed: Option<Sealed>,
    /// The request's place in a trace, if it has one.
    pub trace: Option<TraceContext>,
}

impl Ask {
    /// An unconditional request of someone who may do everything.
    #[must_use]
    pub fn new(actor: Actor, trigger: Trigger) -> Self {
        let via = match trigger {
            Trigger::Api => Some(Way::GraphQL),
            Trigger::Rest => Some(Way::Rest),
            Trigger::Hook => Some(Way::Hook),
            _ => None,
        };
        Self {
            actor,
            trigger,
            grant: Grant::everything(),
            via,
            reason: None,
            expected_generation: None,
            idempotency_key: None,
            original: None,
            sealed: None,
            trace: None,
        }
    }
}

/// What stands written after a use-case.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The stack.
    pub stack: Stack,
    /// The deployment the request made or led to before; otherwise the stack's newest one.
    pub deployment: Option<Deployment>,
    /// Whether anything was written.
    pub changed: bool,
}

/// The use-cases. Cheap to clone.
#[derive(Clone)]
pub struct Declare {
    ledger: Ledger,
    sealer: Arc<dyn Sealer>,
    ambient: Arc<dyn Ambient>,
    limits: Limits,
}

impl Declare {
    /// The use-cases over this ledger.
    #[must_use]
    pub fn new(ledger: Ledger, sealer: Arc<dyn Sealer>, ambient: Arc<dyn Ambient>, limits: Limits) -> Self {
        Self { ledger, sealer, ambient, limits }
    }

    /// What seals the records, for who reads them.
    pub(crate) fn sealer(&self) -> Arc<dyn Sealer> {
        Arc::clone(&self.sealer)
    }

    /// How much is taken.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    fn new_deployment_id(&self) -> DeploymentId {
        DeploymentId(self.ambient.new_id())
    }

    /// The refusal for a stack that is not there, naming those that are and that the asker may see.
    #[must_use]
    pub fn no_such_stack(&self, key: &StackKey, grant: &Grant) -> DeclareError {
        let known: Vec<String> = match self.ledger.stacks(Some(&key.environment)) {
            Ok(stacks) => stacks
                .into_iter()
                .filter(|stack| grant.may(Access::See, Place::Stack(&stack.value.key)))
                .map(|stack| stack.value.key.name.to_string())
                .collect(),
            Err(error) => return error.into(),
        };
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match (fields::closest(key.name.as_str(), &names), names.len()) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, 0) => "no stack is declared there; apply a manifest first".to_owned(),
            (None, 1..=10) => format!("declared there: {}", names.join(", ")),
            (None, count) => format!("{count} stacks are declared there; list them"),
        };
        let message = format!("there is no stack `{}` in environment `{}`", key.name, key.environment);
        Refusal::new(Code::NotFound, message).field("stack").hint(hint).into()
    }
}
