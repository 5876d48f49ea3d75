//! One environment: its connection, the snapshot that all its stacks share, and its claim.
//!
//! The snapshot is listed once (one call a kind) and then kept by events. An event says only which object to read again;
//! reads of several objects of one kind within a few milliseconds become one listing. What Skep itself writes is put into
//! the snapshot at once, as *provisional*: it is read back shortly after, and no listing that was asked for before the
//! write may overwrite it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{backoff, jittered};
use super::claim::{self, Claimer};
use super::glance::AtRest;
use super::queue::{Priority, Queue};
use super::round::Rounds;
use super::snapshot::{Wrote, replace, take_one};
use super::tasks::TaskWatch;
use crate::domain::{Claim, EnvironmentName, ObjectRef, Snapshot, StackKey};
use crate::ports::{Ambient, EngineInfo, Listing, Swarm, SwarmError, SwarmEvent, WatchedKind};

/// Events within this time become one round of reading.
const GATHER: Duration = Duration::from_millis(20);
/// After a round of reading follows a rest so many times as long, at most [`LONGEST_REST`]: while much changes, the engine
/// has better things to do than to list it all again and again.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(1);
/// More dirty objects of one kind than this are read by one listing instead of one by one.
const LIST_FROM: usize = 4;
/// Everything is listed afresh after this time, ± a tenth.
const RESYNC: Duration = Duration::from_secs(300);
/// A connection that was there for so long is renewed at once when it breaks, before anybody is told.
const HELD: Duration = Duration::from_secs(10);
/// For as long as this the engine counts as reachable while its connection is renewed.
const RENEW: Duration = Duration::from_secs(2);
/// Stacks of one environment that are worked on at a time.
const WORKERS: usize = 32;

/// What is known of the connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Connection {
    /// Not tried yet.
    Unknown,
    /// The engine answers, and the snapshot is whole.
    Connected(EngineInfo),
    /// It does not, or cannot be worked with.
    Lost(SwarmError),
}

struct Known {
    snapshot: Arc<Snapshot>,
    /// Objects Skep wrote itself, and when: listings asked for before then do not overwrite them.
    touched: BTreeMap<ObjectRef, Instant>,
    /// Objects to be read again.
    dirty: BTreeSet<(WatchedKind, String)>,
    ordered_claim: Option<String>,
    handled_claim: Option<String>,
    /// Whether a claim may be made without a word, where nobody holds one.
    may_claim: bool,
}

/// One environment under watch.
pub(super) struct Observed {
    /// Its name.
    pub name: EnvironmentName,
    /// Its engine.
    pub swarm: Arc<dyn Swarm>,
    /// Its stacks that wait for a look; shared with the watch that takes this one's place.
    pub queue: Arc<Queue>,
    /// Its tasks, while anything is under way.
    pub tasks: TaskWatch,
    /// How long its rounds take.
    pub rounds: Rounds,
    /// Its stacks that need no whole look for now.
    pub at_rest: AtRest,
    /// How many of its stacks are worked on at a time.
    pub workers: Arc<Semaphore>,
    /// Since when it has been watched.
    pub begun_at: Timestamp,
    claimer: Claimer,
    known: Mutex<Known>,
    changed: Notify,
    connection: watch::Sender<Connection>,
    ambient: Arc<dyn Ambient>,
}

impl Observed {
    /// Nothing is asked until [`Observed::run`].
    pub(super) fn new(
        name: EnvironmentName,
        swarm: Arc<dyn Swarm>,
        queue: Arc<Queue>,
        claimer: Claimer,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        Self {
            name,
            swarm,
            queue,
            tasks: TaskWatch::default(),
            rounds: Rounds::default(),
            at_rest: AtRest::default(),
            workers: Arc::new(Semaphore::new(WORKERS)),
            begun_at: ambient.now(),
            known: Mutex::new(Known {
                snapshot: Arc::new(Snapshot::default()),
                touched: BTreeMap::new(),
                dirty: BTreeSet::new(),
                ordered_claim: None,
                handled_claim: None,
                may_claim: claimer.restored.is_none(),
            }),
            claimer,
            changed: Notify::new(),
            connection: watch::Sender::new(Connection::Unknown),
            ambient,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot. Worth something only while connected.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.known().snapshot.clone()
    }

    /// The connection as it stands.
    pub(super) fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    /// Whether the engine answers, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.connection.borrow(), Connection::Connected(_))
    }

    /// Follows the connection.
    pub(super) fn connections(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Whether this installation may write here, by the claims in the snapshot.
    pub(super) fn claim(&self) -> Claim {
        claim::holder(&self.snapshot(), &self.claimer)
    }

    /// Runs until cancelled: connects, lists, follows events; begins again when the connection is lost.
    ///
    /// A connection that had held is renewed at once: only if that fails is the engine called unreachable. Whoever closes
    /// a long stream of events (a proxy, a restart) does not make every stack look ill.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut errors = 0;
        let mut renewing = false;
        loop {
            let mut connected = None;
            let lost = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                lost = self.follow(&mut connected, renewing) => lost,
            };
            renewing = connected.is_some_and(|since: Instant| since.elapsed() >= HELD);
            if renewing {
                tracing::info!(environment = %self.name, error = %lost, "the connection is renewed");
                continue;
            }
            errors = if connected.is_some() { 1 } else { errors + 1 };
            tracing::warn!(environment = %self.name, error = %lost, "the engine cannot be worked with");
            self.connection.send_replace(Connection::Lost(lost));
            let wait = backoff(errors.min(5), self.ambient.random());
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn follow(&self, connected: &mut Option<Instant>, renewing: bool) -> SwarmError {
        let limit = if renewing { RENEW } else { Duration::MAX };
        let slow = || SwarmError::Unreachable {
            endpoint: self.name.to_string(),
            reason: "the connection was lost, and could not be renewed in time".into(),
        };
        match tokio::time::timeout(limit, self.connect()).await.unwrap_or_else(|_| Err(slow())) {
            Err(error) => error,
            Ok((info, events)) => {
                *connected = Some(Instant::now());
                self.connection.send_replace(Connection::Connected(info));
                self.keep_up(events).await
            }
        }
    }

    async fn connect(
        &self,
    ) -> Result<(EngineInfo, crate::ports::BoxStream<'static, Result<SwarmEvent, SwarmError>>), SwarmError> {
        let info = self.swarm.info().await?;
        // Events first, so that nothing is missed between the listing and the following.
        let events = self.swarm.events().await?;
        self.list_all().await?;
        self.make_claim().await?;
        Ok((info, events))
    }

    /// Claims the environment if nobody holds it, or if a person has ordered it.
    async fn make_claim(&self) -> Result<(), SwarmError> {
        let (ordered, may_claim) = {
            let known = self.known();
            (known.ordered_claim.clone(), known.may_claim)
        };
        let epoch = match self.claim() {
            Claim::Unknown if !may_claim => None,
            Claim::Unknown => Some(1),
            Claim::Foreign { epoch, .. } if ordered.is_some() => epoch.checked_add(1),
            Claim::Foreign { .. } | Claim::Ours(_) => None,
        };
        if let Some(epoch) = epoch {
            claim::make(self.swarm.as_ref(), &self.claimer, epoch).await?;
            self.list(WatchedKind::Config).await?;
        }
        if ordered.is_some() && matches!(self.claim(), Claim::Ours(_)) {
            let mut known = self.known();
            known.ordered_claim = None;
            known.handled_claim = ordered;
        }
        Ok(())
    }

    /// A person has once ordered that this Skep, restored from a backup, claims the environment: from then on it is like
    /// any other.
    pub(super) fn was_ordered(&self) {
        self.known().may_claim = true;
    }

    /// A person orders that the environment be claimed, whoever holds it.
    pub(super) fn order_claim(&self, token: String) {
        self.known().ordered_claim = Some(token);
        self.changed.notify_one();
    }

    /// The last order to claim it that was carried out since the start.
    pub(super) fn handled_claim(&self) -> Option<String> {
        self.known().handled_claim.clone()
    }

    async fn resync(&self) -> Result<(), SwarmError> {
        if planted!("nothing is listed again") {
            return Ok(());
        }
        self.at_rest.clear();
        self.list_all().await?;
        self.make_claim().await?;
        // When they are listed, all stacks are looked at.
        self.tasks.ask();
        Ok(())
    }

    /// Has all stacks looked at, and the environment's status written if it changed.
    pub(super) fn announce(&self) {
        self.connection.send_modify(|_| ());
    }

    async fn keep_up(
        &self,
        mut events: crate::ports::BoxStream<'static, Result<SwarmEvent, SwarmError>>,
    ) -> SwarmError {
        let resync = tokio::time::sleep(jittered(RESYNC, self.ambient.random()));
        tokio::pin!(resync);
        let mut due: Option<Instant> = None;
        let mut rested = Instant::now();
        loop {
            // What is due goes before what comes in, and in one order: a flood of events holds nothing up, and the same seed
            // gives the same simulation.
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.unwrap_or(rested)), if due.is_some() => {
                    due = None;
                    let (claim, begun) = (self.claim(), Instant::now());
                    if let Err(error) = self.read_dirty().await {
                        return error;
                    }
                    rested = Instant::now() + (begun.elapsed() * REST).min(LONGEST_REST);
                    if let Err(error) = self.make_claim().await {
                        return error;
                    }
                    if self.claim() != claim {
                        self.announce();
                    }
                }
                () = &mut resync => {
                    if let Err(error) = self.resync().await {
                        return error;
                    }
                    resync.as_mut().reset(Instant::now() + jittered(RESYNC, self.ambient.random()));
                }
                () = self.changed.notified(), if due.is_none() => due = Some(rested.max(Instant::now() + GATHER)),
                event = events.next() => match event {
                    Some(Ok(event)) => self.note(event),
                    Some(Err(error)) => return error,
                    None => return SwarmError::Unreachable {
                        endpoint: self.name.to_string(),
                        reason: "the stream of events ended".into(),
                    },
                },
            }
        }
    }

    fn note(&self, event: SwarmEvent) {
        let mut known = self.known();
        let own_and_fixed = !event.removed
            && event.kind == WatchedKind::Network
            && known.snapshot.networks.values().any(|live| live.id == event.id);
        if !own_and_fixed {
            known.dirty.insert((event.kind, event.id));
            drop(known);
            self.changed.notify_one();
        }
    }

    async fn read_dirty(&self) -> Result<(), SwarmError> {
        let dirty = std::mem::take(&mut self.known().dirty);
        for kind in WatchedKind::ALL {
            let ids: Vec<&String> = dirty.iter().filter(|(of, _)| *of == kind).map(|(_, id)| id).collect();
            if ids.len() >= LIST_FROM {
                self.list(kind).await?;
                continue;
            }
            for id in ids {
                let asked = Instant::now();
                let found = self.swarm.inspect(kind, id).await?;
                self.take_one(kind, id, found, asked);
            }
        }
        Ok(())
    }

    async fn list_all(&self) -> Result<(), SwarmError> {
        self.rounds.begin();
        for kind in WatchedKind::ALL {
            self.list(kind).await?;
        }
        self.rounds.listed();
        Ok(())
    }

    /// Lists one kind, and wakes the stacks of what changed.
    ///
    /// # Errors
    /// [`SwarmError`].
    pub(super) async fn list(&self, kind: WatchedKind) -> Result<(), SwarmError> {
        let asked = Instant::now();
        let listing = self.swarm.list(kind).await?;
        let now = self.ambient.now();
        let mut guard = self.known();
        let Known { snapshot, touched, .. } = &mut *guard;
        let snapshot = Arc::make_mut(snapshot);
        snapshot.taken_at = now;
        let woken = replace(snapshot, listing, |object| touched.get(object).is_some_and(|touched| *touched >= asked));
        touched.retain(|object, touched| WatchedKind::from(object.kind) != kind || *touched >= asked);
        drop(guard);
        self.wake(woken, kind);
        Ok(())
    }

    fn take_one(&self, kind: WatchedKind, id: &str, found: Option<Listing>, asked: Instant) {
        let mut guard = self.known();
        let Known { snapshot, touched, .. } = &mut *guard;
        let protected = |object: &ObjectRef| touched.get(object).is_some_and(|touched| *touched >= asked);
        let woken = take_one(Arc::make_mut(snapshot), kind, id, found, protected);
        drop(guard);
        self.wake(woken, kind);
    }

    /// Puts what Skep itself just wrote into the snapshot; it is read back shortly after.
    pub(super) fn wrote(&self, written: Wrote) {
        let object = written.object();
        let mut known = self.known();
        let dirty = written.put(Arc::make_mut(&mut known.snapshot));
        known.touched.insert(object, Instant::now());
        if let Some(dirty) = dirty {
            known.dirty.insert(dirty);
        }
        drop(known);
        self.changed.notify_one();
    }

    fn wake(&self, stacks: BTreeSet<String>, kind: WatchedKind) {
        if kind == WatchedKind::Node && !stacks.is_empty() {
            return self.tasks.wake_followers(&self.queue);
        }
        for text in stacks {
            if let Some(key) = parse_key(&text).filter(|key| key.environment == self.name) {
                self.queue.add(&key, Instant::now(), Priority::Event);
            }
        }
    }
}

fn parse_key(text: &str) -> Option<StackKey> {
    let (environment, name) = text.split_once('/')?;
    Some(StackKey {
        environment: EnvironmentName::parse(environment).ok()?,
        name: crate::domain::StackName::parse(name).ok()?,
    })
}
