//! A Swarm in memory behind the port [`Swarm`](crate::ports::Swarm): seeded, in virtual time, with scripted containers and
//! scripted faults. For tests, benches and `skep simulate`.
//!
//! ```text
//! port (calls, faults) ─► objects (the managers' API) ─► orchestrate ─► update (Swarm's updater)
//! control (the test)  ─►                                     │  restarts, jobs, scale
//!                         world (time, what is due) ◄────────┴─► schedule (placement) ─► agent (states of a task)
//! ```
//!
//! Time is tokio's: a test under `start_paused` runs in virtual time. Nothing runs in the background. Each call first lets
//! everything happen that is due until now, and whoever listens to events drives the Swarm on while he waits.

mod agent;
mod behaviour;
mod check;
mod clock;
mod control;
mod fault;
mod log;
mod objects;
mod orchestrate;
mod port;
mod schedule;
mod update;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

pub use behaviour::Behaviour;
pub use clock::{SimAmbient, SimClock};
pub use fault::{CallKind, WriteCall};
pub use port::SimConnector;
use world::World;

use crate::domain::Platform;

/// A node to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct SimNode {
    /// Its host name: what constraints and scripts call it.
    pub hostname: String,
    /// It is a manager.
    pub manager: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// CPUs in billionths.
    pub nano_cpus: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Operating system and architecture.
    pub platform: Platform,
}

impl SimNode {
    /// A manager with 4 CPUs and 8 GiB.
    pub fn manager(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            manager: true,
            labels: BTreeMap::new(),
            nano_cpus: 4_000_000_000,
            memory_bytes: 8 << 30,
            platform: Platform { architecture: "x86_64".to_owned(), os: "linux".to_owned() },
        }
    }

    /// A worker with 4 CPUs and 8 GiB.
    pub fn worker(hostname: impl Into<String>) -> Self {
        Self { manager: false, ..Self::manager(hostname) }
    }

    /// The same node with a label more.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// How a simulation begins.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// The same seed and the same calls at the same times give the same trace.
    pub seed: u64,
    /// The nodes; usually one manager, `node-1`.
    pub nodes: Vec<SimNode>,
    /// The clock; share one between all simulators and ambients of a test.
    pub clock: SimClock,
    /// What errors and `info` call this Swarm.
    pub endpoint: String,
    /// How long a call takes to get there.
    pub latency: Duration,
    /// How long a container takes to stop once it is told to.
    pub stop_time: Duration,
    /// What containers do that no script speaks of.
    pub usual: Behaviour,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: vec![SimNode::manager("node-1")],
            clock: SimClock::start(),
            endpoint: "sim://swarm".to_owned(),
            latency: Duration::from_millis(2),
            stop_time: Duration::from_millis(1_000),
            usual: Behaviour::Run,
        }
    }
}

impl SimOptions {
    /// These options with another seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// These options with other nodes.
    #[must_use]
    pub fn nodes(self, nodes: impl IntoIterator<Item = SimNode>) -> Self {
        Self { nodes: nodes.into_iter().collect(), ..self }
    }
}

/// A simulated Swarm. A clone is the same Swarm.
#[derive(Clone)]
pub struct SimSwarm {
    world: Arc<Mutex<World>>,
    /// Tells those who listen to events that something may be due earlier than they thought.
    changed: Arc<Notify>,
}

impl fmt::Debug for SimSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSwarm").finish_non_exhaustive()
    }
}

impl SimSwarm {
    /// A new Swarm.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(&options))), changed: Arc::new(Notify::new()) }
    }

    /// The world as it is now. Never held over an await.
    fn now(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance();
        world
    }

    /// Does something to the world, and lets those who wait look again.
    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let done = act(&mut self.now());
        self.changed.notify_waiters();
        done
    }
}

impl Default for SimSwarm {
    fn default() -> Self {
        Self::new(SimOptions::default())
    }
}
