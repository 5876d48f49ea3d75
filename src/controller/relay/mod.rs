//! Environments that another Skep keeps: the link to it, for as long as the environment is declared.
//!
//! ```text
//! near records ── what is declared ──► outbox ─► the far Skep        as it stands now, again until it is taken
//! near records ◄── what was found ─── mirror ◄─ the far Skep         from a cursor, in one transaction with it
//! ```
//!
//! The near records are the outbox: what was acknowledged here is durable, and is handed over when the far Skep can be
//! reached. It alone resolves, renders, plans, applies and judges. While it is gone everything else goes on; what was last
//! known of its stacks stays, and is marked as that.

mod log;
mod mirror;
mod outbox;
mod questions;
mod report;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::questions::Routed;
use super::backoff::backoff;
use crate::declare::Declare;
use crate::domain::{EnvironmentName, Installation, Node, Relay, StackKey, StackName};
use crate::ledger::{Ledger, LedgerError};
use crate::ports::{Ambient, FarError, FarSkep, Follow, Greeting, PROTOCOL, Sealer};

/// A link that was there for so long is renewed at once when it breaks, before anybody is told.
const HELD: Duration = Duration::from_secs(10);

/// What links work with.
pub(super) struct LinkParts {
    pub(super) ledger: Ledger,
    pub(super) declare: Declare,
    pub(super) ambient: Arc<dyn Ambient>,
    pub(super) sealer: Arc<dyn Sealer>,
    /// This installation.
    pub(super) near: Installation,
}

/// Why a session with the far Skep ended.
#[derive(Debug)]
enum Ended {
    /// It is gone, or cannot be spoken to.
    Lost(FarError),
    /// Everything is to be read again.
    Again,
    /// The records here.
    Records(LedgerError),
}

impl From<FarError> for Ended {
    fn from(error: FarError) -> Self {
        Self::Lost(error)
    }
}

impl From<LedgerError> for Ended {
    fn from(error: LedgerError) -> Self {
        Self::Records(error)
    }
}

/// Why a stack was not taken.
#[derive(Debug, Clone)]
struct Refused {
    message: String,
    /// It was said on the stack.
    shown: bool,
    errors: u32,
    again: Instant,
}

/// What a link knows beyond the records.
#[derive(Default)]
struct Known {
    /// Stacks that are to be handed over.
    due: BTreeSet<StackKey>,
    /// The near revision that the far Skep has of each stack.
    handed: BTreeMap<StackName, u64>,
    /// Stacks that it does not take.
    refused: BTreeMap<StackKey, Refused>,
    nodes: Vec<Arc<Node>>,
    greeting: Option<Greeting>,
}

/// The link of one environment.
pub(super) struct Link {
    pub(super) name: EnvironmentName,
    pub(super) relay: Relay,
    pub(super) far: Arc<dyn FarSkep>,
    parts: LinkParts,
    known: Mutex<Known>,
    /// There is something to hand over, or to pass on.
    changed: Notify,
    /// Everything that stands there has been read in this session.
    whole: watch::Sender<bool>,
}

impl Link {
    /// Nothing is asked until [`Link::run`].
    pub(super) fn new(name: EnvironmentName, relay: Relay, far: Arc<dyn FarSkep>, parts: LinkParts) -> Self {
        let (known, changed, whole) = (Mutex::default(), Notify::new(), watch::Sender::new(false));
        Self { name, relay, far, parts, known, changed, whole }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stack was declared, or a person said something about it.
    pub(super) fn wake(&self, key: &StackKey) {
        self.known().due.insert(key.clone());
        self.changed.notify_one();
    }

    /// A person ordered a claim.
    pub(super) fn order_claim(&self) {
        self.changed.notify_one();
    }

    /// The nodes of the Swarm, as they were last seen.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.known().nodes.clone()
    }

    /// Runs until cancelled: reads what stands there, hands over what is declared here, begins again when the link is lost.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut errors: u32 = 0;
        let mut renewing = false;
        loop {
            let mut since = None;
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                ended = self.session(&mut since) => ended,
            };
            self.whole.send_replace(false);
            let held = since.is_some_and(|since: Instant| since.elapsed() >= HELD);
            match ended {
                Ended::Again => continue,
                Ended::Lost(error) if held && !renewing => {
                    tracing::info!(environment = %self.name, %error, "the link to the far Skep is renewed");
                    renewing = true;
                    continue;
                }
                Ended::Lost(error) => {
                    tracing::warn!(environment = %self.name, %error, "the far Skep cannot be worked with");
                    self.known().greeting = None;
                    if let Err(error) = self.report_lost(&error).await {
                        tracing::warn!(environment = %self.name, %error, "that the far Skep is gone was not written down");
                    }
                }
                Ended::Records(error) => {
                    tracing::warn!(environment = %self.name, %error, "what a far Skep told was not written down");
                }
            }
            renewing = false;
            errors = if since.is_some() { 1 } else { errors + 1 };
            let wait = backoff(errors.min(5), self.parts.ambient.random());
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One session. `since` is when everything had been read.
    async fn session(&self, since: &mut Option<Instant>) -> Ended {
        let begun = async {
            let greeting = self.far.greet().await?;
            let cursor = self.cursor(&greeting)?;
            {
                let mut known = self.known();
                known.handed.clear();
                known.greeting = Some(greeting);
            }
            let from = Follow {
                near: self.parts.near.clone(),
                after: cursor.as_ref().map(|cursor| cursor.value.revision),
                sequence: cursor.as_ref().map(|cursor| cursor.value.sequence),
                beat: u64::try_from(self.relay.beat.as_secs()).unwrap_or(1).max(1),
                protocol: PROTOCOL,
            };
            let told = self.far.follow(&from).await?;
            Ok::<_, Ended>((told, cursor))
        };
        let (told, cursor) = match begun.await {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        tokio::select! {
            ended = self.read(told, cursor, since) => ended,
            ended = self.deliver() => ended,
        }
    }
}

/// The links of all relayed environments, by name.
#[derive(Default)]
pub(super) struct Relays(Mutex<BTreeMap<EnvironmentName, Arc<Link>>>);

impl Relays {
    fn all(&self) -> MutexGuard<'_, BTreeMap<EnvironmentName, Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link of an environment, if it is relayed.
    pub(super) fn get(&self, name: &EnvironmentName) -> Option<Arc<Link>> {
        self.all().get(name).cloned()
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Arc<Link>> {
        self.all().values().cloned().collect()
    }

    /// Adds or replaces one.
    pub(super) fn put(&self, link: Arc<Link>) {
        self.all().insert(link.name.clone(), link);
    }

    /// Forgets one.
    pub(super) fn remove(&self, name: &EnvironmentName) {
        self.all().remove(name);
    }

    /// A stack was declared.
    pub(super) fn wake(&self, key: &StackKey) {
        if let Some(link) = self.get(&key.environment) {
            link.wake(key);
        }
    }
}
