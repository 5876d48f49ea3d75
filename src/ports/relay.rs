//! What two Skeps say to each other: the near one hands stacks over and asks, the far one tells what becomes of them.
//!
//! Stacks, deployments, statuses and events go over in the form they are kept in: there is one model, and a Skep reads what
//! an older one wrote anyway. Names of environments in them are the far one's. A far Skep that is newer than the near one
//! speaks the near one's protocol, and may still use words that the near one does not know: those are kept away from the
//! typed records when they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use super::{BoxFuture, BoxStream, LogLine, LogOf, LogQuery};
use crate::domain::{Deployment, DeploymentId, Installation, Relay, SecretBytes, Stack, StackKey, StackName, Wanted};

/// The newest protocol this version speaks. It grows by one with a change that the version before does not understand.
pub const PROTOCOL: u32 = 1;
/// The oldest one it still speaks: that of the version before.
pub const OLDEST_PROTOCOL: u32 = 1;

/// Why a far Skep did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FarError {
    /// No answer: no connection, none in time, or one that broke off. What was asked may have been done.
    #[error("the Skep at {url} does not answer: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        reason: String,
    },
    /// It cannot be spoken to at all: the credential, or its version.
    #[error("{0}")]
    Unfit(String),
    /// It answered, and said no.
    #[error("the Skep at {url} says no: {message}")]
    Refused {
        /// Its address.
        url: String,
        /// The stable word: `CONFLICT`, `FORBIDDEN`, ….
        code: String,
        /// What it said.
        message: String,
    },
}

impl FarError {
    /// Whether it may be otherwise in a moment, whatever was asked.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "BUSY" | "UNAVAILABLE" | "TIMED_OUT"),
            Self::Unfit(_) => false,
        }
    }
}

/// A secret value on its way over TLS. Prints as `***`.
#[derive(Clone)]
pub struct Clear(pub SecretBytes);

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Clear {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_text().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Clear {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretBytes::new(text.into_bytes())))
    }
}

/// Who the far Skep is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The newest protocol it speaks.
    pub protocol: u32,
    /// The oldest one.
    pub oldest: u32,
    /// Its version, for people.
    pub version: String,
    /// The installation.
    pub far: Installation,
    /// Its clock.
    pub now: Timestamp,
    /// Its store's revision.
    pub revision: u64,
    /// The number of the newest line of its log.
    pub sequence: u64,
}

/// A stack, handed over as it is declared now. A far Skep refuses it when it holds a member that is not known there and that
/// says something: a new one is to be left out, null, false or empty where it asks for nothing that was not done before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HandOver {
    /// Who hands it over.
    pub near: Installation,
    /// The revision of its record there: a later one counts.
    pub revision: u64,
    /// The newest claim that was ordered there: it takes the stack over, whoever had it, unless it was heeded already.
    pub claim: Option<String>,
    /// The stack. Secret values are left out.
    pub stack: Stack,
    /// Deployments that were recorded there and that the far Skep may not know, the oldest first.
    pub deployments: Vec<Deployment>,
    /// There are more of them to come: the stack itself is not to be written yet.
    pub more: bool,
    /// The secret values, by the digest that stands in their place.
    pub secrets: BTreeMap<String, Clear>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome")]
pub enum HandedOver {
    /// It stands written now.
    Taken,
    /// It stood written already.
    Known,
    /// It was to be deleted, and is not there (any more).
    Gone,
    /// The claim takes it over, and the far record is at a generation that the near one has to come after.
    Behind {
        /// That generation.
        generation: u64,
    },
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// From where on the far records are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Who reads: only stacks that it handed over are told of.
    pub near: Installation,
    /// Deployments that changed after this revision; none at all of those before, when left out.
    pub after: Option<u64>,
    /// Lines of the log after this one; from now on, when left out.
    pub sequence: Option<u64>,
    /// How often to say that one is there, in seconds.
    pub beat: u64,
    /// The protocol the near Skep speaks.
    pub protocol: u32,
}

/// What the far Skep tells. First every stack as it stands, then changes, each after it became durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Told {
    /// A stack that was handed over, up to which revision of the near record, and its status.
    Stack {
        /// Its name.
        name: StackName,
        /// The near revision that was taken last.
        revision: u64,
        /// Its status; none before the first look.
        status: Option<Value>,
    },
    /// A stack is not there any more, or not this reader's.
    Left {
        /// Its name.
        name: StackName,
    },
    /// A deployment, without secret values.
    Deployment {
        /// The record.
        deployment: Value,
    },
    /// A line of the log.
    Event {
        /// Its number.
        sequence: u64,
        /// The record.
        event: Value,
    },
    /// The environment itself.
    Environment {
        /// What is known of its connection; none before the first look.
        status: Option<Value>,
        /// Its nodes.
        nodes: Vec<Value>,
    },
    /// Everything up to here has been told: reading may go on from there.
    Mark {
        /// The store's revision.
        revision: u64,
        /// The number of the last line of the log.
        sequence: u64,
        /// The first reading is over: every stack there is was told of.
        whole: bool,
    },
    /// The far Skep is there.
    Beat,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A question that the far Skep answers as if it had been asked there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Question {
    /// What deploying a version would do.
    Plan {
        /// The stack.
        stack: StackKey,
        /// The ref; what is declared, when left out.
        wanted: Option<Wanted>,
        /// Versions of single services.
        images: BTreeMap<String, String>,
    },
    /// What a version's files come to.
    Render {
        /// The stack.
        stack: StackKey,
        /// The ref; what is declared, when left out.
        wanted: Option<Wanted>,
        /// Versions of single services.
        images: BTreeMap<String, String>,
    },
    /// The tasks of a stack's services.
    Tasks {
        /// The stack.
        stack: StackKey,
    },
    /// What taking a stack over would do, as it would be declared.
    Adoption {
        /// The stack, secret values left out.
        stack: Box<Stack>,
        /// The secret values, by the digest that stands in their place.
        secrets: BTreeMap<String, Clear>,
    },
    /// Where the objects of two deployments' versions differ.
    Compare {
        /// The one.
        from: DeploymentId,
        /// The other.
        to: DeploymentId,
    },
    /// The commit of a deployment's version.
    Commit {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// Whether all that is needed is there and answers.
    Doctor,
}

/// A far Skep. Each call has its own deadline; none follows a redirect, and the token goes to no other host.
pub trait FarSkep: Send + Sync + 'static {
    /// Asks who it is, and whether this one can speak to it.
    ///
    /// # Errors
    /// [`FarError::Unfit`] when the versions are too far apart.
    fn greet(&self) -> BoxFuture<'_, Result<Greeting, FarError>>;

    /// Hands a stack over. Doing it again changes nothing.
    fn hand_over<'a>(&'a self, stack: &'a HandOver) -> BoxFuture<'a, Result<HandedOver, FarError>>;

    /// Reads its records from here on. Ends with an error when the connection is lost.
    fn follow<'a>(
        &'a self,
        from: &'a Follow,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Told, FarError>>, FarError>>;

    /// Orders it to claim its Swarm.
    fn claim<'a>(&'a self, reason: Option<&'a str>) -> BoxFuture<'a, Result<(), FarError>>;

    /// Asks something; the answer is that of the same question here, as JSON.
    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Value, FarError>>;

    /// What it did, and what services wrote there. Breaks off with an error when the connection is lost.
    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<LogLine, FarError>>, FarError>>;
}

/// Makes the connection of a relay.
pub trait FarConnector: Send + Sync + 'static {
    /// A far Skep. Connects lazily.
    fn connect(&self, relay: &Relay) -> Arc<dyn FarSkep>;
}

/// Reaches no other Skep.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFar;

impl FarConnector for NoFar {
    fn connect(&self, _: &Relay) -> Arc<dyn FarSkep> {
        Arc::new(Self)
    }
}

impl NoFar {
    fn no<T>() -> BoxFuture<'static, Result<T, FarError>> {
        Box::pin(async { Err(FarError::Unfit("this server reaches no other Skep".to_owned())) })
    }
}

impl FarSkep for NoFar {
    fn greet(&self) -> BoxFuture<'_, Result<Greeting, FarError>> {
        Self::no()
    }

    fn hand_over<'a>(&'a self, _: &'a HandOver) -> BoxFuture<'a, Result<HandedOver, FarError>> {
        Self::no()
    }

    fn follow<'a>(
        &'a self,
        _: &'a Follow,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Told, FarError>>, FarError>> {
        Self::no()
    }

    fn claim<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<(), FarError>> {
        Self::no()
    }

    fn ask<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, Result<Value, FarError>> {
        Self::no()
    }

    fn logs<'a>(
        &'a self,
        _: &'a LogOf,
        _: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<LogLine, FarError>>, FarError>> {
        Self::no()
    }
}
