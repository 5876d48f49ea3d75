//! The ways in over HTTP: what is asked is recorded, what is recorded is read. It cannot name an engine or a repository.
//!
//! [`bind`] serves [`routes`]: GraphQL, health, metrics, and the static files of the page. Other ways in are added to it
//! as more routes; they take the caller with [`Caller`] and the rest from [`ApiState`]. What is read is read through the
//! one guard: see [`guard`].

mod auth;
mod caller;
mod feed;
pub mod graphql;
mod guard;
pub mod hooks;
mod origin;
mod page;
mod request_id;
mod respond;
pub mod rest;
mod roster;
mod server;
mod socket;
mod traced;
pub mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use auth::{Auth, AuthError, TOKEN_FILE};
pub use caller::Caller;
pub use feed::Feed;
pub use request_id::RequestId;
pub use respond::{error_response, read_body};
pub use server::{Bound, Listen, Routes, bind, routes};

use caller::Door;
use guard::{Guard, Readiness, Shelf};

use crate::declare::Declare;
use crate::ledger::Ledger;
use crate::ports::{Ambient, Inquiries, LogFilter, Notifiers};
use crate::telemetry::{Meters, Tracer};

/// Gives the metrics as text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// Serve `/graphiql`.
    pub graphiql: bool,
    /// Serve `/metrics` to anyone.
    pub metrics_public: bool,
    /// Origins of pages that may use the API, beside the server's own: `https://panel.example.org`.
    pub origins: Vec<String>,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// The address that people reach the page at, without a slash at its end; none when nobody has said it.
    pub public_url: Option<String>,
    /// Deliveries of one hook that are taken in a second, in bursts of ten seconds' worth; 0 for as many as come.
    pub hook_rate: u32,
    /// A peer that takes nothing of what it is sent for so long is let go of; one that only follows and is told nothing
    /// meanwhile is not meant.
    pub stalled: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            graphiql: false,
            metrics_public: false,
            origins: Vec::new(),
            body_bytes: 2 << 20,
            public_url: None,
            hook_rate: hooks::DELIVERIES_A_SECOND,
            stalled: Duration::from_secs(60),
        }
    }
}

/// What the API is made of.
pub struct ApiParts {
    /// The use-cases.
    pub declare: Declare,
    /// The records.
    pub ledger: Ledger,
    /// Who answers questions that need the world.
    pub inquiries: Arc<dyn Inquiries>,
    /// Who sends test messages.
    pub notifiers: Arc<dyn Notifiers>,
    /// What is logged.
    pub log: Arc<dyn LogFilter>,
    /// Who may come in.
    pub auth: Arc<Auth>,
    /// Ids of requests.
    pub ambient: Arc<dyn Ambient>,
    /// Whether `/readyz` says so.
    pub ready: Arc<AtomicBool>,
    /// What `/metrics` says, as OpenMetrics.
    pub metrics: Metrics,
    /// What counts.
    pub meters: Meters,
    /// Who gets the spans of requests.
    pub tracer: Tracer,
    /// What may be chosen.
    pub options: ApiOptions,
}

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    parts: Arc<Kept>,
    schema: graphql::SkepSchema,
}

/// What is kept of the parts. The records and the inquiries are on the shelf, behind the guard.
struct Kept {
    declare: Declare,
    door: Door,
    shelf: Shelf,
    ambient: Arc<dyn Ambient>,
    ready: Arc<AtomicBool>,
    metrics: Metrics,
    tracer: Tracer,
    options: ApiOptions,
    hook_rates: hooks::Rates,
}

impl ApiState {
    /// The state of an API made of these parts. Has to be called within a tokio runtime: it begins to watch the ledger.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts {
            declare,
            ledger,
            inquiries,
            notifiers,
            log,
            auth,
            ambient,
            ready,
            metrics,
            meters,
            tracer,
            options,
        } = parts;
        let feed = Feed::start(&ledger);
        let door = Door::new(auth, (ledger.clone(), Arc::clone(&ambient)), feed.clone(), meters);
        let shelf = Shelf::new(ledger, inquiries, declare.sealer(), Arc::clone(&ambient), feed.clone());
        let schema = graphql::schema(graphql::GraphContext {
            declare: declare.clone(),
            shelf: shelf.clone(),
            door: door.clone(),
            feed,
            notifiers,
            log,
            public_url: options.public_url.as_deref().map(Arc::from),
        });
        let hook_rates = hooks::Rates::new(options.hook_rate);
        Self {
            parts: Arc::new(Kept { declare, door, shelf, ambient, ready, metrics, tracer, options, hook_rates }),
            schema,
        }
    }

    /// The use-cases.
    #[must_use]
    pub fn declare(&self) -> &Declare {
        &self.parts.declare
    }

    /// Lets callers in.
    fn door(&self) -> &Door {
        &self.parts.door
    }

    /// What a caller may read.
    fn guard(&self, caller: &Caller) -> Guard {
        self.parts.shelf.guard(caller)
    }

    /// Time and ids.
    #[must_use]
    pub fn ambient(&self) -> &dyn Ambient {
        self.parts.ambient.as_ref()
    }

    /// What was chosen.
    #[must_use]
    pub fn options(&self) -> &ApiOptions {
        &self.parts.options
    }

    fn hook_rates(&self) -> &hooks::Rates {
        &self.parts.hook_rates
    }

    /// What is ready, and what is not.
    async fn readiness(&self) -> Readiness {
        let serves = self.parts.ready.load(Ordering::Acquire);
        match serves {
            true => self.parts.shelf.readiness().await,
            false => Readiness::default(),
        }
    }

    fn tracer(&self) -> &Tracer {
        &self.parts.tracer
    }

    fn metrics(&self) -> String {
        (self.parts.metrics)()
    }
}
