//! The simulated Swarm itself: its objects, its time, and what is due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::SimOptions;
use super::behaviour::Script;
use super::clock::{Millis, SimClock, millis};
use super::fault::{Faults, Journal, unreachable};
use super::update::Update;
use crate::domain::{
    EndpointSpec, LiveConfig, LiveNetwork, LiveSecret, LiveService, Node, SecretBytes, ServiceSpec, Task, TaskState,
    VersionIndex,
};
use crate::ports::{SwarmError, SwarmEvent, WatchedKind};

/// Something the Swarm does by itself at a time of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tick {
    /// The allocator writes a new service's addresses into it.
    Allocate { service: String },
    /// The orchestrator looks at a service.
    Reconcile { service: String },
    /// The allocator hands a new task to the scheduler.
    Pend { task: String },
    /// The scheduler looks at what is pending.
    Schedule,
    /// The node takes a task its next step.
    Agent { task: String, epoch: u64 },
    /// The restart supervisor looks at a task that is over.
    Restart { task: String },
    /// The delay before a task's start is over; `force` when it need not wait for its predecessor any longer.
    Start { task: String, force: bool },
    /// A worker of the updater has slept its delay.
    Awake { service: String, epoch: u64 },
    /// The updater's last monitor period is over.
    Monitored { service: String, epoch: u64 },
    /// The reaper deletes tasks nobody needs.
    Reap,
}

/// What tasks of one service are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SlotKey {
    /// Replicated services.
    Slot(u64),
    /// Global services: the node's id.
    Node(String),
}

/// Restarts of one slot, for `max_attempts`.
#[derive(Debug, Clone, Default)]
pub(super) struct Restarts {
    pub(super) spec_version: u64,
    pub(super) at: Vec<Millis>,
}

/// A service with what the API does not show.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) live: Arc<LiveService>,
    pub(super) spec_version: u64,
    pub(super) previous: Option<(ServiceSpec, u64)>,
    pub(super) update: Option<Update>,
    pub(super) restarts: BTreeMap<SlotKey, Restarts>,
    /// Tasks made so far: their numbers in the trace.
    pub(super) made: u64,
}

/// What a task waits for before it is to run.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    pub(super) until: Millis,
    pub(super) stopped: Option<String>,
}

/// A task with what the API does not show.
#[derive(Debug)]
pub(super) struct SimTask {
    pub(super) live: Arc<Task>,
    /// Its place in the order of creation.
    pub(super) order: u64,
    pub(super) key: SlotKey,
    /// Its name in the trace.
    pub(super) label: String,
    pub(super) spec_version: u64,
    pub(super) endpoint: Option<EndpointSpec>,
    pub(super) waits: Option<Waits>,
    /// What its node does with it next.
    pub(super) planned: Option<(Millis, Planned)>,
    pub(super) epoch: u64,
    pub(super) stopping: bool,
}

impl SimTask {
    /// Whether Swarm wants it to run, now or soon.
    pub(super) fn wanted(&self) -> bool {
        self.live.desired <= TaskState::Complete
    }
}

/// A step a node is about to take.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) state: TaskState,
    pub(super) error: String,
    pub(super) exit_code: Option<i64>,
}

/// A secret and the content that cannot be read back.
#[derive(Debug)]
pub(super) struct Secret {
    pub(super) live: Arc<LiveSecret>,
    pub(super) data: Option<SecretBytes>,
}

/// One who listens to events.
#[derive(Debug, Default)]
pub(super) struct Subscriber {
    pub(super) queue: VecDeque<SwarmEvent>,
    pub(super) broken: Option<SwarmError>,
}

/// The Swarm.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: SimClock,
    pub(super) endpoint: String,
    pub(super) swarm_id: String,
    pub(super) latency: std::time::Duration,
    pub(super) stop_time: Millis,
    pub(super) now: Millis,
    pub(super) rng: fastrand::Rng,
    /// The raft index: the version of whatever was written last.
    pub(super) index: u64,
    order: u64,
    ticks: BTreeMap<(Millis, u64), Tick>,
    scheduler_called: bool,
    reaper_called: bool,
    /// Nothing of the managers' own happened before this time, because they had no quorum.
    thawed: Millis,
    pub(super) nodes: BTreeMap<String, Arc<Node>>,
    pub(super) networks: BTreeMap<String, Arc<LiveNetwork>>,
    pub(super) configs: BTreeMap<String, Arc<LiveConfig>>,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) tasks: BTreeMap<String, SimTask>,
    pub(super) script: Script,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) subscribers: BTreeMap<u64, Subscriber>,
}

impl World {
    pub(super) fn new(options: &SimOptions) -> Self {
        let mut world = Self {
            clock: options.clock,
            endpoint: options.endpoint.clone(),
            swarm_id: String::new(),
            latency: options.latency,
            stop_time: millis(options.stop_time),
            now: options.clock.millis(),
            rng: fastrand::Rng::with_seed(options.seed),
            index: 10,
            order: 0,
            ticks: BTreeMap::new(),
            scheduler_called: false,
            reaper_called: false,
            thawed: 0,
            nodes: BTreeMap::new(),
            networks: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            script: Script {
                usual: options.usual.clone(),
                images: BTreeMap::new(),
                lines: BTreeMap::new(),
                checks: BTreeMap::new(),
                registry: BTreeMap::new(),
            },
            faults: Faults::default(),
            journal: Journal::default(),
            subscribers: BTreeMap::new(),
        };
        world.swarm_id = world.fresh_id();
        for node in &options.nodes {
            world.add_node(node);
        }
        world.add_ingress();
        world
    }

    /// An engine id: 25 characters, in no order.
    pub(super) fn fresh_id(&mut self) -> String {
        const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        (0..25).map(|_| char::from(LETTERS[self.rng.usize(..LETTERS.len())])).collect()
    }

    /// The next number in the order of creation.
    pub(super) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Counts a write to the managers' store.
    pub(super) fn bump(&mut self) -> VersionIndex {
        self.index += 1;
        VersionIndex(self.index)
    }

    pub(super) fn date(&self) -> Timestamp {
        self.clock.date(self.now)
    }

    pub(super) fn note(&mut self, text: &str) {
        self.journal.trace.push(format!("{:>7} {text}", self.now));
    }

    /// A time between `low` and `high` milliseconds.
    pub(super) fn about(&mut self, low: Millis, high: Millis) -> Millis {
        self.rng.u64(low..=high)
    }

    /// Puts something on the agenda.
    pub(super) fn after(&mut self, delay: Millis, tick: Tick) {
        let order = self.next_order();
        self.ticks.insert((self.now.saturating_add(delay), order), tick);
    }

    /// When the next thing happens by itself.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.faults.switches.no_quorum {
            return None;
        }
        self.ticks.keys().next().map(|(due, _)| *due)
    }

    /// Lets everything happen that is due until now, in order.
    pub(super) fn advance(&mut self) {
        let until = self.clock.millis();
        while let Some(due) = self.next_due()
            && due <= until
        {
            let Some((_, tick)) = self.ticks.pop_first() else { break };
            self.now = self.now.max(due).max(self.thawed);
            self.happen(tick);
        }
        self.now = self.now.max(until);
    }

    /// Takes the managers' quorum away, or gives it back. What was due meanwhile happens afterwards.
    pub(super) fn set_quorum(&mut self, lost: bool) {
        self.faults.switches.no_quorum = lost;
        self.thawed = self.now;
    }

    fn happen(&mut self, tick: Tick) {
        match tick {
            Tick::Allocate { service } => self.write_service(&service, |_| ()),
            Tick::Reconcile { service } => self.reconcile(&service),
            Tick::Pend { task } => self.pend(&task),
            Tick::Schedule => {
                self.scheduler_called = false;
                self.schedule();
            }
            Tick::Agent { task, epoch } => self.agent_step(&task, epoch),
            Tick::Restart { task } => self.restart(&task),
            Tick::Start { task, force } => self.try_start(&task, force),
            Tick::Awake { service, epoch } => self.worker_awake(&service, epoch),
            Tick::Monitored { service, epoch } => self.monitored(&service, epoch),
            Tick::Reap => {
                self.reaper_called = false;
                self.reap();
            }
        }
    }

    /// Asks the scheduler to look soon, once.
    pub(super) fn kick_scheduler(&mut self) {
        if !std::mem::replace(&mut self.scheduler_called, true) {
            self.after(50, Tick::Schedule);
        }
    }

    /// Asks the reaper to look soon, once.
    pub(super) fn kick_reaper(&mut self) {
        if !std::mem::replace(&mut self.reaper_called, true) {
            self.after(250, Tick::Reap);
        }
    }

    /// Changes a service's record: a new version, and an event.
    pub(super) fn write_service(&mut self, id: &str, change: impl FnOnce(&mut LiveService)) {
        let (version, date) = (VersionIndex(self.index + 1), self.date());
        let Some(service) = self.services.get_mut(id) else { return };
        let live = Arc::make_mut(&mut service.live);
        let before = live.update.as_ref().map(|status| status.state.clone());
        change(live);
        live.version = version;
        live.updated_at = Some(date);
        let (name, after) = (live.spec.name.clone(), live.update.as_ref().map(|status| status.state.clone()));
        self.bump();
        if before != after {
            let state = after.map_or_else(|| "null".to_owned(), |state| format!("{state:?}"));
            self.note(&format!("service {name} update={state}"));
        }
        self.tell(WatchedKind::Service, id, &name, false);
    }

    /// Sends an event to all who listen.
    pub(super) fn tell(&mut self, kind: WatchedKind, id: &str, name: &str, removed: bool) {
        if self.faults.switches.down {
            return;
        }
        if self.faults.drop_events > 0 {
            self.faults.drop_events -= 1;
            return;
        }
        let event = SwarmEvent { kind, id: id.to_owned(), name: Some(name.to_owned()), removed };
        let twice = self.faults.duplicate_events > 0;
        self.faults.duplicate_events = self.faults.duplicate_events.saturating_sub(1);
        for subscriber in self.subscribers.values_mut().filter(|subscriber| subscriber.broken.is_none()) {
            subscriber.queue.push_back(event.clone());
            if twice {
                subscriber.queue.push_back(event.clone());
            }
        }
    }

    /// Breaks every connection events come through.
    pub(super) fn break_streams(&mut self, reason: &str) {
        let error = unreachable(&self.endpoint, reason);
        for subscriber in self.subscribers.values_mut() {
            subscriber.broken.get_or_insert_with(|| error.clone());
        }
    }
}
