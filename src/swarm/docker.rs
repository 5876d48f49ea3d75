//! The Docker engine: the ports `Swarm` and `SwarmConnector` over its HTTP API.
//!
//! ```text
//! DockerConnector ─► DockerSwarm ─► Sessions ─► Session (one endpoint, one API version, one cache of names)
//!                                                 │  read · write · stream
//!                                                 ▼
//!                                             Transport: one hyper client for each endpoint, one pool of connections
//!                                                 ▼
//!                                             Dial: a socket, TCP with or without TLS, or a Tunnel through ssh
//! ```
//!
//! Two ways lead over the same pool:
//!
//! - **bollard**, through `Docker::connect_with_custom_transport`: the event stream. The transport puts right what bollard
//!   leaves out: the version prefix in the path, and the URL-safe alphabet in `X-Registry-Auth`.
//! - **our own frames**: the logs of tasks and services, because bollard keeps a line of any length in memory and cannot
//!   ask for who wrote it.
//! - **our own JSON**: everything that is read or written as a document. bollard's models have closed enums and no place
//!   for unknown fields, so that one odd object would hide all others of a list; they lose a service's health check when
//!   reading; and bollard writes request and response bodies to the log, where a secret's content has no business. So
//!   services, tasks, nodes, networks, configs and secrets go straight into the types of [`crate::domain`].
//!
//! The first endpoint that is a reachable manager is used, and kept while it answers. When it does not, the call fails
//! (for a write nobody knows whether it took effect), and the next call begins at the endpoint after it. The API version
//! is agreed upon anew with each new session.

mod classify;
mod dial;
mod endpoint;
mod health;
mod lines;
mod listed;
mod log;
mod names;
mod read;
mod resolve;
mod session;
mod spec;
mod stream;
mod transport;
mod tunnel;
mod way;
mod wire;
mod write;

use std::sync::Arc;
use std::time::Duration;

use endpoint::Endpoint;
use session::{Session, Sessions};
pub use way::EngineAccess;
use way::Way;

use crate::domain::{Applied, Effect, Environment, Material, Task};
use jiff::Timestamp;

use crate::ports::{
    BoxFuture, BoxStream, EngineCheck, EngineInfo, EngineLog, ImageError, Listing, LogRange, ResolvedImage, Swarm,
    SwarmConnector, SwarmError, SwarmEvent, TaskFilter, WatchedKind,
};

/// Limits of the conversation with an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerOptions {
    /// The longest a call may take. An engine that looks for a missing plugin takes 15 s, so this is more than that.
    pub call_timeout: Duration,
    /// The longest that connecting, and the first question to an endpoint, may take.
    pub connect_timeout: Duration,
    /// The longest that reading logs may take: those of a task on a dead node never come.
    pub log_timeout: Duration,
    /// After this long without an event the engine is asked whether it is still there.
    pub idle_check: Duration,
    /// The largest answer taken, in bytes.
    pub response_limit: usize,
    /// The most text of logs kept of one request, in bytes; the newest stays.
    pub log_limit: usize,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            log_timeout: Duration::from_secs(5),
            idle_check: Duration::from_secs(30),
            response_limit: 256 << 20,
            log_limit: 1 << 20,
        }
    }
}

/// Connects to Docker engines.
#[derive(Debug, Clone, Default)]
pub struct DockerConnector {
    options: DockerOptions,
    access: EngineAccess,
}

impl DockerConnector {
    /// A connector with these limits.
    #[must_use]
    pub fn new(options: DockerOptions) -> Self {
        Self { options, access: EngineAccess::default() }
    }

    /// The same, with credentials and a word on addresses.
    #[must_use]
    pub fn with_access(self, access: EngineAccess) -> Self {
        Self { access, ..self }
    }
}

impl SwarmConnector for DockerConnector {
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError> {
        let way = Way::of(environment, &self.access);
        Ok(Arc::new(DockerSwarm::reached(&environment.endpoints, &way, &self.options)?))
    }
}

/// One Swarm, through the first of its managers that answers.
#[derive(Debug)]
pub struct DockerSwarm {
    sessions: Arc<Sessions>,
}

impl DockerSwarm {
    /// A Swarm behind these endpoints (`unix:///path`, `tcp://host:port`, `ssh://user@host:port`), without credentials.
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`SwarmError::Refused`] when there is no endpoint, or an address makes no sense.
    pub fn new(endpoints: &[String], options: DockerOptions) -> Result<Self, SwarmError> {
        Self::reached(endpoints, &Way::default(), &options)
    }

    fn reached(endpoints: &[String], way: &Way, options: &DockerOptions) -> Result<Self, SwarmError> {
        if endpoints.is_empty() {
            let reason = "an environment needs at least one endpoint, such as `unix:///var/run/docker.sock`".to_owned();
            return Err(SwarmError::Refused { object: "the environment".to_owned(), reason });
        }
        let endpoints = endpoints.iter().map(|text| Endpoint::parse(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { sessions: Arc::new(Sessions::new(endpoints, way, options)) })
    }

    /// Does `work` with the session in use, and tells the sessions how it went.
    async fn on<T, F, W>(&self, work: W) -> Result<T, SwarmError>
    where
        W: FnOnce(Arc<Session>) -> F,
        F: Future<Output = Result<T, SwarmError>>,
    {
        let session = self.sessions.current().await?;
        let result = work(Arc::clone(&session)).await;
        if let Err(error) = &result {
            self.sessions.note(&session, error).await;
        }
        result
    }
}

impl Swarm for DockerSwarm {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, SwarmError>> {
        Box::pin(self.on(|session| async move { session.info().await }))
    }

    fn list(&self, kind: WatchedKind) -> BoxFuture<'_, Result<Listing, SwarmError>> {
        Box::pin(self.on(move |session| async move { session.list(kind).await }))
    }

    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>> {
        Box::pin(self.on(move |session| async move { session.inspect(kind, id).await }))
    }

    fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> BoxFuture<'a, Result<Vec<Arc<Task>>, SwarmError>> {
        Box::pin(self.on(move |session| async move { session.tasks(filter).await }))
    }

    fn apply<'a>(&'a self, effect: &'a Effect, material: &'a Material) -> BoxFuture<'a, Result<Applied, SwarmError>> {
        Box::pin(self.on(move |session| async move { session.apply(effect, material).await }))
    }

    fn events(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError>> {
        let sessions = Arc::clone(&self.sessions);
        Box::pin(self.on(move |session| stream::events(sessions, session)))
    }

    // What a registry says, and whether it does, says nothing about the engine either.
    fn resolve<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<ResolvedImage, ImageError>> {
        Box::pin(async move { self.sessions.current().await.map_err(ImageError::Engine)?.resolve_image(image).await })
    }

    // A log that does not come says nothing about the engine: the sessions are not told.
    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        Box::pin(async move { log::of_task(self.sessions.current().await?, task_id, tail).await })
    }

    // Nor does what is not known of a container.
    fn task_health<'a>(
        &'a self,
        task_id: &'a str,
        last: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<EngineCheck>>, SwarmError>> {
        Box::pin(async move { self.sessions.current().await?.health(task_id, last).await })
    }

    fn service_log(&self, service_id: &str, range: &LogRange) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
        log::of_service(Arc::clone(&self.sessions), service_id.to_owned(), range.clone())
    }

    fn clock(&self) -> BoxFuture<'_, Result<Option<Timestamp>, SwarmError>> {
        Box::pin(self.on(|session| async move { session.clock().await }))
    }
}
