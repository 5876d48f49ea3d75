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
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{backoff, jittered};
use super::claim;
use super::queue::{Priority, Queue};
use super::tasks::TaskWatch;
use crate::domain::{
    Claim, ConfigSpec, EnvironmentName, LiveConfig, LiveNetwork, LiveSecret, LiveService, NetworkSpec, ObjectKind,
    ObjectRef, STACK_LABEL, SecretSpec, ServiceSpec, Snapshot, StackKey, VersionIndex,
};
use crate::ports::{Ambient, EngineInfo, Listing, Swarm, SwarmError, SwarmEvent, WatchedKind};

/// Events within this time become one round of reading.
const GATHER: Duration = Duration::from_millis(20);
/// More dirty objects of one kind than this are read by one listing instead of one by one.
const LIST_FROM: usize = 4;
/// Everything is listed afresh after this time, ± a tenth.
const RESYNC: Duration = Duration::from_secs(300);
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
}

/// One environment under watch.
pub(super) struct Observed {
    /// Its name.
    pub name: EnvironmentName,
    /// Its engine.
    pub swarm: Arc<dyn Swarm>,
    /// Its stacks that wait for a look.
    pub queue: Queue,
    /// Its tasks, while anything is under way.
    pub tasks: TaskWatch,
    /// How many of its stacks are worked on at a time.
    pub workers: Arc<Semaphore>,
    instance: String,
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
        instance: String,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        Self {
            name,
            swarm,
            queue: Queue::default(),
            tasks: TaskWatch::default(),
            workers: Arc::new(Semaphore::new(WORKERS)),
            instance,
            known: Mutex::new(Known {
                snapshot: Arc::new(Snapshot::default()),
                touched: BTreeMap::new(),
                dirty: BTreeSet::new(),
            }),
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

    /// Follows the connection.
    pub(super) fn connections(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Whether this installation may write here, by the claims in the snapshot.
    pub(super) fn claim(&self) -> Claim {
        claim::holder(&self.snapshot(), &self.instance)
    }

    /// Runs until cancelled: connects, lists, follows events; begins again when the connection is lost.
    pub(super) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut errors = 0;
        loop {
            let lost = tokio::select! {
                () = cancel.cancelled() => return,
                lost = self.follow(&mut errors) => lost,
            };
            errors += 1;
            tracing::warn!(environment = %self.name, error = %lost, "the engine cannot be worked with");
            self.connection.send_replace(Connection::Lost(lost));
            let wait = backoff(errors.min(5), self.ambient.random());
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn follow(&self, errors: &mut u32) -> SwarmError {
        match self.connect().await {
            Err(error) => error,
            Ok((info, events)) => {
                *errors = 0;
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
        if self.claim() == Claim::Unknown {
            claim::make(self.swarm.as_ref(), &self.instance).await?;
            self.list(WatchedKind::Config).await?;
        }
        Ok((info, events))
    }

    async fn keep_up(
        &self,
        mut events: crate::ports::BoxStream<'static, Result<SwarmEvent, SwarmError>>,
    ) -> SwarmError {
        let resync = tokio::time::sleep(jittered(RESYNC, self.ambient.random()));
        tokio::pin!(resync);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => self.note(event),
                    Some(Err(error)) => return error,
                    None => return SwarmError::Unreachable {
                        endpoint: self.name.to_string(),
                        reason: "the stream of events ended".into(),
                    },
                },
                () = self.changed.notified() => {
                    tokio::time::sleep(GATHER).await;
                    if let Err(error) = self.read_dirty().await {
                        return error;
                    }
                }
                () = &mut resync => {
                    if let Err(error) = self.list_all().await {
                        return error;
                    }
                    self.tasks.ask();
                    self.wake_all(Priority::Resync);
                    resync.as_mut().reset(Instant::now() + jittered(RESYNC, self.ambient.random()));
                }
            }
        }
    }

    fn note(&self, event: SwarmEvent) {
        let mut known = self.known();
        let own_and_fixed = !event.removed
            && match event.kind {
                WatchedKind::Network => known.snapshot.networks.values().any(|live| live.id == event.id),
                WatchedKind::Secret => known.snapshot.secrets.values().any(|live| live.id == event.id),
                _ => false,
            };
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
        for kind in WatchedKind::ALL {
            self.list(kind).await?;
        }
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
        let mut known = self.known();
        let mut snapshot = (*known.snapshot).clone();
        snapshot.taken_at = now;
        let woken = replace(&mut snapshot, listing, |object| {
            known.touched.get(object).is_some_and(|touched| *touched >= asked)
        });
        known.touched.retain(|object, touched| WatchedKind::from(object.kind) != kind || *touched >= asked);
        known.snapshot = Arc::new(snapshot);
        drop(known);
        self.wake(woken, kind);
        Ok(())
    }

    fn take_one(&self, kind: WatchedKind, id: &str, found: Option<Listing>, asked: Instant) {
        let mut known = self.known();
        let mut snapshot = (*known.snapshot).clone();
        let touched = &known.touched;
        let protected = |object: &ObjectRef| touched.get(object).is_some_and(|touched| *touched >= asked);
        let woken = take_one(&mut snapshot, kind, id, found, protected);
        known.snapshot = Arc::new(snapshot);
        drop(known);
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

    /// Asks for a look at every stack that has an object here.
    pub(super) fn wake_all(&self, priority: Priority) {
        let snapshot = self.snapshot();
        let labels = snapshot.services.values().filter_map(|live| live.spec.labels.get(STACK_LABEL));
        for key in labels.filter_map(|text| parse_key(text)) {
            self.queue.add(&key, Instant::now(), priority);
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

impl From<ObjectKind> for WatchedKind {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Network => Self::Network,
            ObjectKind::Config => Self::Config,
            ObjectKind::Secret => Self::Secret,
            ObjectKind::Service => Self::Service,
        }
    }
}

/// An object Skep itself just wrote.
pub(super) enum Wrote {
    /// A network, with the id the engine gave.
    Network(NetworkSpec, String),
    /// A config.
    Config(ConfigSpec, String),
    /// A secret.
    Secret(SecretSpec, String),
    /// A new or changed service.
    Service(Box<ServiceSpec>, String),
    /// Something was removed.
    Removed(ObjectRef),
}

impl Wrote {
    fn object(&self) -> ObjectRef {
        match self {
            Self::Network(spec, _) => ObjectRef::new(ObjectKind::Network, &spec.name),
            Self::Config(spec, _) => ObjectRef::new(ObjectKind::Config, &spec.name),
            Self::Secret(spec, _) => ObjectRef::new(ObjectKind::Secret, &spec.name),
            Self::Service(spec, _) => ObjectRef::new(ObjectKind::Service, &spec.name),
            Self::Removed(object) => object.clone(),
        }
    }

    /// Puts it in; gives what has to be read back.
    fn put(self, snapshot: &mut Snapshot) -> Option<(WatchedKind, String)> {
        match self {
            Self::Network(spec, id) => {
                let live = LiveNetwork {
                    id,
                    name: spec.name.clone(),
                    driver: spec.driver,
                    labels: spec.labels,
                    options: spec.options,
                    internal: spec.internal,
                    attachable: spec.attachable,
                    ingress: false,
                    enable_ipv6: spec.enable_ipv6,
                    ipam: spec.ipam,
                };
                snapshot.networks.insert(spec.name, Arc::new(live));
                None
            }
            Self::Config(spec, id) => {
                let live = LiveConfig {
                    id,
                    version: VersionIndex::default(),
                    name: spec.name.clone(),
                    labels: spec.labels,
                    data: spec.data,
                };
                snapshot.configs.insert(spec.name, Arc::new(live));
                None
            }
            Self::Secret(spec, id) => {
                let live =
                    LiveSecret { id, version: VersionIndex::default(), name: spec.name.clone(), labels: spec.labels };
                snapshot.secrets.insert(spec.name, Arc::new(live));
                None
            }
            Self::Service(spec, id) => {
                let before = snapshot.services.get(&spec.name);
                let live = LiveService {
                    id: id.clone(),
                    version: VersionIndex::default(),
                    created_at: before.and_then(|live| live.created_at),
                    updated_at: None,
                    update: None,
                    job_iteration: before.and_then(|live| live.job_iteration),
                    spec: *spec,
                };
                snapshot.services.insert(live.spec.name.clone(), Arc::new(live));
                Some((WatchedKind::Service, id))
            }
            Self::Removed(object) => {
                match object.kind {
                    ObjectKind::Network => drop(snapshot.networks.remove(&object.name)),
                    ObjectKind::Config => drop(snapshot.configs.remove(&object.name)),
                    ObjectKind::Secret => drop(snapshot.secrets.remove(&object.name)),
                    ObjectKind::Service => drop(snapshot.services.remove(&object.name)),
                }
                None
            }
        }
    }
}

/// What the snapshot holds of one kind, seen alike for all kinds.
trait Held: PartialEq {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    /// The stack whose look it is worth when this object changes.
    fn stack(&self) -> Option<&String>;
}

macro_rules! held {
    ($type:ty, $name:expr, $labels:expr) => {
        impl Held for $type {
            fn id(&self) -> &str {
                &self.id
            }
            fn name(&self) -> &str {
                let name: fn(&$type) -> &str = $name;
                name(self)
            }
            fn stack(&self) -> Option<&String> {
                let labels: fn(&$type) -> Option<&String> = $labels;
                labels(self)
            }
        }
    };
}
held!(LiveService, |live| &live.spec.name, |live| live.spec.labels.get(STACK_LABEL));
held!(LiveNetwork, |live| &live.name, |live| live.labels.get(STACK_LABEL));
held!(LiveConfig, |live| &live.name, |live| live.labels.get(STACK_LABEL));
held!(LiveSecret, |live| &live.name, |live| live.labels.get(STACK_LABEL));
// Every change of a node is worth a look at all that is under way: the key stands for that.
held!(crate::domain::Node, |live| &live.id, |live| Some(&live.id));

/// Replaces all of one kind, but for what is protected. Gives the stacks of what changed.
fn replace(snapshot: &mut Snapshot, listing: Listing, protected: impl Fn(&ObjectRef) -> bool) -> BTreeSet<String> {
    match listing {
        Listing::Services(all) => swap(&mut snapshot.services, all, Some(ObjectKind::Service), protected),
        Listing::Networks(all) => swap(&mut snapshot.networks, all, Some(ObjectKind::Network), protected),
        Listing::Configs(all) => swap(&mut snapshot.configs, all, Some(ObjectKind::Config), protected),
        Listing::Secrets(all) => swap(&mut snapshot.secrets, all, Some(ObjectKind::Secret), protected),
        Listing::Nodes(all) => swap(&mut snapshot.nodes, all, None, protected),
    }
}

fn swap<T: Held>(
    map: &mut BTreeMap<String, Arc<T>>,
    all: Vec<Arc<T>>,
    kind: Option<ObjectKind>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    let before = std::mem::take(map);
    let kept = |name: &str| kind.is_some_and(|kind| protected(&ObjectRef::new(kind, name)));
    for live in all {
        if !kept(live.name()) {
            map.entry(live.name().to_owned()).or_insert(live);
        }
    }
    for (name, live) in &before {
        if kept(name) {
            map.insert(name.clone(), live.clone());
        }
    }
    let mut woken = BTreeSet::new();
    for (name, live) in &*map {
        if before.get(name) != Some(live) {
            woken.extend(live.stack().cloned());
        }
    }
    for (name, live) in &before {
        if !map.contains_key(name) {
            woken.extend(live.stack().cloned());
        }
    }
    woken
}

fn take_one(
    snapshot: &mut Snapshot,
    kind: WatchedKind,
    id: &str,
    found: Option<Listing>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    match (kind, found) {
        (_, Some(Listing::Services(one))) => put(&mut snapshot.services, one, Some(ObjectKind::Service), protected),
        (_, Some(Listing::Networks(one))) => put(&mut snapshot.networks, one, Some(ObjectKind::Network), protected),
        (_, Some(Listing::Configs(one))) => put(&mut snapshot.configs, one, Some(ObjectKind::Config), protected),
        (_, Some(Listing::Secrets(one))) => put(&mut snapshot.secrets, one, Some(ObjectKind::Secret), protected),
        (_, Some(Listing::Nodes(one))) => put(&mut snapshot.nodes, one, None, protected),
        (WatchedKind::Service, None) => forget(&mut snapshot.services, id),
        (WatchedKind::Network, None) => forget(&mut snapshot.networks, id),
        (WatchedKind::Config, None) => forget(&mut snapshot.configs, id),
        (WatchedKind::Secret, None) => forget(&mut snapshot.secrets, id),
        (WatchedKind::Node, None) => forget(&mut snapshot.nodes, id),
    }
}

fn put<T: Held>(
    map: &mut BTreeMap<String, Arc<T>>,
    one: Vec<Arc<T>>,
    kind: Option<ObjectKind>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    let mut woken = BTreeSet::new();
    for live in one {
        let kept = kind.is_some_and(|kind| protected(&ObjectRef::new(kind, live.name())));
        if kept || map.get(live.name()) == Some(&live) {
            continue;
        }
        woken.extend(live.stack().cloned());
        if let Some(before) = map.insert(live.name().to_owned(), live) {
            woken.extend(before.stack().cloned());
        }
    }
    woken
}

fn forget<T: Held>(map: &mut BTreeMap<String, Arc<T>>, id: &str) -> BTreeSet<String> {
    let gone: Vec<String> = map.values().filter(|live| live.id() == id).map(|live| live.name().to_owned()).collect();
    gone.iter().filter_map(|name| map.remove(name)).filter_map(|live| live.stack().cloned()).collect()
}
