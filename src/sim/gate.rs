//! The way between one life of Skep and its world. It counts what goes through, shows it to the laws, and shuts for good
//! when Skep is to crash: at the n-th write to the engine or to the store, before it arrives or after it took effect.
//! Behind a shut gate every call waits for ever, so that what was under way ends just where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::sync::Notify;

use super::invariants::Laws;
use crate::domain::{Applied, Effect, Environment, EnvironmentName, Kept, Material, Task};
use crate::ports::{
    BoxFuture, BoxStream, Committed, EngineCheck, EngineInfo, EngineLog, Entry, ImageError, Listing, LogRange,
    ResolvedImage, Scan, Store, StoreError, Swarm, SwarmConnector, SwarmError, SwarmEvent, TaskFilter, Transaction,
    Watched, WatchedKind,
};
use crate::swarm::sim::SimSwarm;

/// Where a crash is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before the n-th write to the engine.
    BeforeWrite(u64),
    /// After the n-th write to the engine, before its answer.
    AfterWrite(u64),
    /// Before the n-th transaction.
    BeforeCommit(u64),
    /// After the n-th transaction, before its answer.
    AfterCommit(u64),
}

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The use-cases.
    Api,
    /// The controller.
    Controller,
}

/// One life of Skep: open until it dies.
#[derive(Debug)]
pub struct Gate {
    shut: AtomicBool,
    crash: Mutex<Option<At>>,
    writes: AtomicU64,
    commits: AtomicU64,
    reads: AtomicU64,
    /// Told when it shuts.
    pub crashed: Notify,
    /// What looks on.
    pub laws: Arc<Laws>,
}

impl Gate {
    /// An open gate that shuts there.
    #[must_use]
    pub fn new(crash: Option<At>, laws: Arc<Laws>) -> Arc<Self> {
        let count = || AtomicU64::new(0);
        let gate = Self {
            shut: AtomicBool::new(false),
            crash: Mutex::new(crash),
            writes: count(),
            commits: count(),
            reads: count(),
            crashed: Notify::new(),
            laws,
        };
        Arc::new(gate)
    }

    /// Whether this life is over.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// Ends this life.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
        self.crashed.notify_one();
    }

    /// How often the controller has read a record: what a busy loop would drive up.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn is(&self, at: At) -> bool {
        *self.crash.lock().unwrap_or_else(PoisonError::into_inner) == Some(at)
    }

    async fn pass(&self, crash: bool) {
        if crash {
            self.shut();
        }
        if self.is_shut() {
            pending::<()>().await;
        }
    }
}

/// A Swarm behind a gate.
#[derive(Debug)]
pub struct GatedSwarm {
    /// Its name, for the laws.
    pub environment: EnvironmentName,
    /// The Swarm.
    pub swarm: SimSwarm,
    /// The gate.
    pub gate: Arc<Gate>,
}

impl Swarm for GatedSwarm {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, SwarmError>> {
        Box::pin(async {
            self.gate.pass(false).await;
            self.swarm.info().await
        })
    }

    fn list(&self, kind: WatchedKind) -> BoxFuture<'_, Result<Listing, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            let answer = self.swarm.list(kind).await;
            if let Ok(listing) = &answer {
                self.gate.laws.has_read(&self.environment, listing);
            }
            answer
        })
    }

    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            let answer = self.swarm.inspect(kind, id).await;
            if let Ok(Some(listing)) = &answer {
                self.gate.laws.has_read(&self.environment, listing);
            }
            answer
        })
    }

    fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> BoxFuture<'a, Result<Vec<Arc<Task>>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.tasks(filter).await
        })
    }

    fn apply<'a>(&'a self, effect: &'a Effect, material: &'a Material) -> BoxFuture<'a, Result<Applied, SwarmError>> {
        Box::pin(async move {
            let number = self.gate.writes.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.pass(self.gate.is(At::BeforeWrite(number))).await;
            self.gate.laws.writes(&self.environment, effect);
            let answer = self.swarm.apply(effect, material).await;
            self.gate.pass(self.gate.is(At::AfterWrite(number))).await;
            answer
        })
    }

    fn events(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError>> {
        Box::pin(async {
            self.gate.pass(false).await;
            self.swarm.events().await
        })
    }

    fn resolve<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<ResolvedImage, ImageError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.resolve(image).await
        })
    }

    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.task_logs(task_id, tail).await
        })
    }

    fn task_health<'a>(
        &'a self,
        task_id: &'a str,
        last: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<EngineCheck>>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.task_health(task_id, last).await
        })
    }

    fn service_log(&self, service_id: &str, range: &LogRange) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
        let gate = self.gate.clone();
        let passed = futures_util::stream::once(async move { gate.pass(false).await });
        let lines = self.swarm.service_log(service_id, range);
        passed.map(|()| None).chain(lines.map(Some)).filter_map(std::future::ready).boxed()
    }
}

/// A connector behind a gate, by the environment's name.
#[derive(Debug)]
pub struct GatedConnector {
    /// The Swarms.
    pub swarms: BTreeMap<EnvironmentName, SimSwarm>,
    /// The gate.
    pub gate: Arc<Gate>,
}

impl SwarmConnector for GatedConnector {
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError> {
        let name = environment.name.clone();
        let Some(swarm) = self.swarms.get(&name).cloned() else {
            let (object, reason) = (format!("environment `{name}`"), "no such Swarm is simulated".to_owned());
            return Err(SwarmError::Refused { object, reason });
        };
        Ok(Arc::new(GatedSwarm { environment: name, swarm, gate: self.gate.clone() }))
    }
}

/// A store behind a gate.
pub struct GatedStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The gate.
    pub gate: Arc<Gate>,
    /// Who it is for.
    pub writer: Writer,
}

impl Store for GatedStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        if self.gate.is_shut() {
            return Err(StoreError::Closed);
        }
        self.gate.reads.fetch_add(1, Ordering::SeqCst);
        if self.gate.laws.is_busy() {
            // Virtual time stands still: this life would never end by itself.
            self.gate.shut();
        }
        self.store.get(key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        if self.gate.is_shut() {
            return Err(StoreError::Closed);
        }
        self.store.scan(scan)
    }

    fn revision(&self) -> u64 {
        self.store.revision()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            let number = self.gate.commits.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.pass(self.gate.is(At::BeforeCommit(number))).await;
            let written = transaction.clone();
            let answer = self.store.commit(transaction).await;
            if answer.is_ok() {
                self.gate.laws.committed(self.writer, &written);
            }
            self.gate.pass(self.gate.is(At::AfterCommit(number))).await;
            answer
        })
    }

    fn watch(&self) -> BoxStream<'static, Watched> {
        self.store.watch()
    }

    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.store.keep(bytes).await
        })
    }

    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.store.kept(name)
    }

    fn collect(&self, wanted: &BTreeSet<Kept>, min_age_seconds: u64) -> Result<u64, StoreError> {
        self.store.collect(wanted, min_age_seconds)
    }
}
