//! The way between a controller and its world. It counts what goes through, and shuts for good when the controller is to
//! crash: at the n-th write to the engine or to the store, before it arrives or after it took effect. Behind a shut gate
//! every call waits for ever, so that what was under way ends just where it was.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use skep::domain::*;
use skep::plan::canonical;
use skep::ports::*;
use skep::swarm::sim::{SimConnector, SimSwarm};
use tokio::sync::Notify;

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

#[derive(Default)]
pub struct Gate {
    shut: AtomicBool,
    crash: Mutex<Option<At>>,
    writes: AtomicU64,
    commits: AtomicU64,
    reads: AtomicU64,
    pub crashed: Notify,
    /// What must never happen, if it did.
    pub broken: Mutex<Vec<String>>,
    /// Services that belong to others: nobody may write them.
    pub foreign: Mutex<BTreeSet<String>>,
}

impl Gate {
    pub fn new(crash: Option<At>) -> Arc<Self> {
        let gate = Self::default();
        *gate.crash.lock().unwrap() = crash;
        Arc::new(gate)
    }

    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
        self.crashed.notify_one();
    }

    /// How often the controller has read a record: what a busy loop would drive up.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    fn is(&self, at: At) -> bool {
        *self.crash.lock().unwrap() == Some(at)
    }

    async fn pass(&self, crash: bool) {
        if crash {
            self.shut();
        }
        if self.is_shut() {
            pending::<()>().await;
        }
    }

    fn breach(&self, text: String) {
        self.broken.lock().unwrap().push(text);
    }
}

/// A Swarm behind a gate.
pub struct GatedSwarm {
    pub swarm: SimSwarm,
    pub gate: Arc<Gate>,
}

impl GatedSwarm {
    /// No update may change nothing, and nothing of others may be written.
    fn watch_over(&self, effect: &Effect) {
        match effect {
            Effect::UpdateService { version, spec, .. } => {
                let live = self.swarm.service(&spec.name);
                let live = live.filter(|live| live.version == *version);
                if live.is_some_and(|live| canonical(&live.spec) == canonical(spec)) {
                    self.gate.breach(format!("an update of {} that changes nothing", spec.name));
                }
                self.not_foreign(&spec.name);
            }
            Effect::Remove { object, .. } if object.kind == ObjectKind::Service => self.not_foreign(&object.name),
            _ => {}
        }
    }

    fn not_foreign(&self, name: &str) {
        if self.gate.foreign.lock().unwrap().contains(name) {
            self.gate.breach(format!("a write to the foreign service {name}"));
        }
    }
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
            self.swarm.list(kind).await
        })
    }

    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.inspect(kind, id).await
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
            self.watch_over(effect);
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

    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.task_logs(task_id, tail).await
        })
    }

    fn service_logs<'a>(&'a self, service_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        Box::pin(async move {
            self.gate.pass(false).await;
            self.swarm.service_logs(service_id, tail).await
        })
    }
}

/// A connector behind a gate.
pub struct GatedConnector {
    pub swarms: SimConnector,
    pub swarm: SimSwarm,
    pub gate: Arc<Gate>,
}

impl SwarmConnector for GatedConnector {
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError> {
        self.swarms.connect(environment)?;
        Ok(Arc::new(GatedSwarm { swarm: self.swarm.clone(), gate: self.gate.clone() }))
    }
}

/// A store behind a gate.
pub struct GatedStore {
    pub store: Arc<dyn Store>,
    pub gate: Arc<Gate>,
}

impl Store for GatedStore {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        if self.gate.is_shut() {
            return Err(StoreError::Closed);
        }
        self.gate.reads.fetch_add(1, Ordering::SeqCst);
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
            let answer = self.store.commit(transaction).await;
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
