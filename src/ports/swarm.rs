//! The engine of one environment.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::{BoxFuture, BoxStream};
use crate::domain::{
    Applied, Effect, Environment, LiveConfig, LiveNetwork, LiveSecret, LiveService, Material, Node, Platform, Task,
};

/// Why the engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SwarmError {
    /// No connection, or no answer in time. For a write it is not known whether it took effect.
    #[error("the engine at `{endpoint}` does not answer: {reason}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// The engine answers, but is no manager of a Swarm.
    #[error(
        "the engine at `{endpoint}` is not a manager of a Swarm ({reason}); run `docker swarm init` there, or name a manager"
    )]
    NotAManager {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The Swarm has no leader: its managers have no majority.
    #[error("the Swarm at `{endpoint}` has no leader: {reason}")]
    NoQuorum {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The object changed since it was read: look and plan again.
    #[error("{object} was changed by someone else meanwhile")]
    Conflict {
        /// The object.
        object: String,
    },
    /// An object of that name is there already.
    #[error("{object} exists already: {reason}")]
    Exists {
        /// The object.
        object: String,
        /// What the engine said.
        reason: String,
    },
    /// It is not there.
    #[error("{object} is not there: {reason}")]
    NotFound {
        /// The object.
        object: String,
        /// What the engine said.
        reason: String,
    },
    /// Something uses it (removal).
    #[error("{object} is still in use: {reason}")]
    InUse {
        /// The object.
        object: String,
        /// What the engine said.
        reason: String,
    },
    /// The engine understood and said no; the same call will be refused again.
    #[error("the engine refused {object}: {reason}")]
    Refused {
        /// The object.
        object: String,
        /// What the engine said.
        reason: String,
    },
    /// The engine failed in itself, or its answer makes no sense. Tried again.
    #[error("the engine at `{endpoint}` failed: {reason}")]
    Engine {
        /// The endpoint.
        endpoint: String,
        /// What it said.
        reason: String,
    },
}

impl SwarmError {
    /// Whether a write that ended so may have taken effect all the same.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Engine { .. })
    }

    /// Whether trying again may help without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Exists { .. })
    }
}

/// What kinds of objects the engine tells events of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum WatchedKind {
    Service,
    Network,
    Config,
    Secret,
    Node,
}

impl WatchedKind {
    /// All of them, in the order they are listed: what a service refers to comes before services.
    pub const ALL: [Self; 5] = [Self::Node, Self::Network, Self::Config, Self::Secret, Self::Service];
}

/// All objects of one kind, or (from [`Swarm::inspect`]) one of them.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum Listing {
    Services(Vec<Arc<LiveService>>),
    /// Swarm-scoped networks only.
    Networks(Vec<Arc<LiveNetwork>>),
    Configs(Vec<Arc<LiveConfig>>),
    Secrets(Vec<Arc<LiveSecret>>),
    Nodes(Vec<Arc<Node>>),
}

/// A hint to look again; never data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmEvent {
    /// What kind of object.
    pub kind: WatchedKind,
    /// Its engine id.
    pub id: String,
    /// Its name, if the engine said it.
    pub name: Option<String>,
    /// It was removed.
    pub removed: bool,
}

/// Which tasks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskFilter {
    /// All of the Swarm's.
    All,
    /// Those of these services, by id.
    Services(Vec<String>),
}

/// The engine, for people and for decisions of format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The endpoint in use.
    pub endpoint: String,
    /// Engine version.
    pub engine: String,
    /// API version in use.
    pub api: String,
    /// Id of the Swarm.
    pub swarm_id: String,
    /// Id of the node that answers.
    pub node_id: String,
}

/// One line a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLog {
    /// When, if the engine said so.
    pub time: Option<Timestamp>,
    /// It was written to stderr.
    pub stderr: bool,
    /// The line, without its end.
    pub line: String,
    /// The line was longer, and what is missing is its end.
    pub cut: bool,
    /// The task that wrote it, by engine id, if the engine said so.
    pub task: Option<String>,
    /// The node it was written on, by engine id, if the engine said so.
    pub node: Option<String>,
}

/// What one health check of a container came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCheck {
    /// When it was over, if the engine said so.
    pub time: Option<Timestamp>,
    /// What it ended with: 0 is healthy.
    pub exit_code: i64,
    /// What it wrote, as far as the engine kept it.
    pub output: String,
}

/// Which lines of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRange {
    /// Not much from before this time: an engine takes whole seconds, and the clocks are those of the nodes.
    pub since: Option<Timestamp>,
    /// At most so many of the past, of each task, the newest; all, when left out.
    pub tail: Option<u32>,
    /// Go on with what is written from now on, also by tasks that are yet to come.
    pub follow: bool,
}

/// An image in its registry, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// What the tag stands for now: `sha256:…`.
    pub digest: String,
    /// The platforms it is there for.
    pub platforms: Vec<Platform>,
}

/// Why an image was not found in its registry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The registry answers, and does not have it.
    #[error("the registry does not have it: {0}")]
    Missing(String),
    /// The registry does not let the engine see it: no login, or a wrong one.
    #[error("the registry does not let the engine see it: {0}; declare a credential of type Registry for its host")]
    Denied(String),
    /// The registry is asked too much.
    #[error("the registry is asked too much: {reason}")]
    Busy {
        /// What it said.
        reason: String,
        /// How long it asks to be left alone, if it says so.
        retry_after: Option<SignedDuration>,
    },
    /// The engine did not ask: it does not answer, or it failed.
    #[error("{0}")]
    Engine(SwarmError),
    /// The registry does not answer the engine.
    #[error("the registry does not answer: {0}")]
    Unreachable(String),
}

/// One Swarm. Reads never change anything; every write is one [`Effect`].
pub trait Swarm: Send + Sync + 'static {
    /// Asks the engine who it is. Fails with [`SwarmError::NotAManager`] when it cannot be worked with.
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, SwarmError>>;

    /// Lists all objects of one kind: one call.
    fn list(&self, kind: WatchedKind) -> BoxFuture<'_, Result<Listing, SwarmError>>;

    /// Reads one object by engine id; `None` when it is gone.
    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>>;

    /// Lists tasks: one call.
    fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> BoxFuture<'a, Result<Vec<Arc<Task>>, SwarmError>>;

    /// Carries one effect out: one call (a look-up of ids apart). `material` holds the contents of secrets.
    fn apply<'a>(&'a self, effect: &'a Effect, material: &'a Material) -> BoxFuture<'a, Result<Applied, SwarmError>>;

    /// Events from now on. The stream ends with an error when the connection is lost; it begins when the engine has
    /// accepted the request, so that a listing made after this call misses nothing.
    fn events(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError>>;

    /// What an image's tag stands for in its registry, asked by the engine with that registry's login.
    fn resolve<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<ResolvedImage, ImageError>>;

    /// The last `tail` lines a task wrote.
    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>>;

    /// What the last health checks of a task's container came to, the oldest first, at most `last`; empty when it has none.
    /// `None` when nobody here knows: the container is on another node than the one that answers, or is gone.
    fn task_health<'a>(
        &'a self,
        task_id: &'a str,
        last: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<EngineCheck>>, SwarmError>>;

    /// What the tasks of a service wrote, in the order of each task. Without `follow` it ends where the log does, or when
    /// no more comes in time. With it, it ends when the connection is lost or the engine has no more to say; the engine is
    /// let go of when the stream is dropped. An error is the last item.
    fn service_log(&self, service_id: &str, range: &LogRange) -> BoxStream<'static, Result<EngineLog, SwarmError>>;

    /// The engine's clock, to the second, if it tells it.
    fn clock(&self) -> BoxFuture<'_, Result<Option<Timestamp>, SwarmError>> {
        Box::pin(async { Ok(None) })
    }
}

/// Makes the connection of a declared environment.
pub trait SwarmConnector: Send + Sync + 'static {
    /// A Swarm for this environment. Connects lazily; calls fail until the engine answers.
    ///
    /// # Errors
    /// [`SwarmError::Refused`] when an endpoint's address makes no sense.
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError>;
}
