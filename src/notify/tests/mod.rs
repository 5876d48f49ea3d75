//! Couriers over a store in memory, a clock that stands still, and a receiver that does as it is told.

mod answer;
mod commit;
mod telling;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::form::{Method, Request};
use super::http::{Answer, Post};
use super::message::{self, Facts, Message};
use super::status::{Next, Repository, Telling};
use super::verdict::Verdict;
use super::*;
use crate::declare::{ApplyOptions, Ask, Declare, Limits};
use crate::domain::{
    Actor, Deployment, DeploymentId, DeploymentPhase, Environment, EnvironmentName, Event, EventType, Failure,
    FailureClass, GitUrl, Kept, NotifierStatus, NotifierType, Progress, Revision, Stack, StackKey, StackName,
    StackStatus, Transition, Trigger,
};
use crate::ledger::{Batch, LedgerKeyring};
use crate::ports::{Committed, Entry, Scan, Store, StoreError, Transaction, Watched};
use crate::seal::KeyFile;
use crate::store::memory::MemoryStore;

const COMMIT: &str = "1481a2de7b2a7d02428ad93446ab166be7793fbb";
const MARKED: &str = "marked-secret-of-a-variable-77ab";

fn start() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// The clock of tokio, which tests move.
struct Clock(Instant, AtomicU64);

impl Ambient for Clock {
    fn now(&self) -> Timestamp {
        start() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn new_id(&self) -> String {
        format!("{:026}", self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn random(&self) -> u64 {
        500
    }
}

/// What the receiver does next.
#[derive(Clone)]
enum Act {
    Answer(u16),
    Body(u16, &'static str),
    Wait(u16, &'static str),
    Break,
    Hang,
}

/// Takes everything, unless there is a script for the address.
#[derive(Default)]
struct Receiver {
    scripts: Mutex<Vec<(&'static str, VecDeque<Act>)>>,
    got: Mutex<Vec<(Duration, Request)>>,
    since: Mutex<Option<Instant>>,
    arrived: tokio::sync::Notify,
}

impl Receiver {
    fn script(&self, address: &'static str, acts: &[Act]) {
        self.scripts.lock().unwrap().push((address, acts.iter().cloned().collect()));
    }

    fn at(&self, address: &str) -> Vec<(Duration, Request)> {
        self.got.lock().unwrap().iter().filter(|(_, request)| request.url.starts_with(address)).cloned().collect()
    }

    /// The bodies that came there, once there are so many.
    async fn bodies(&self, address: &str, count: usize) -> Vec<Value> {
        let all = || self.at(address).iter().map(|(_, it)| serde_json::from_slice(&it.body).unwrap()).collect();
        let waited = tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), async {
            loop {
                let arrived = self.arrived.notified();
                if self.at(address).len() >= count {
                    return;
                }
                arrived.await;
            }
        });
        assert!(waited.await.is_ok(), "only {:?}", self.at(address).len());
        all()
    }
}

impl Post for Receiver {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let since = *self.since.lock().unwrap().get_or_insert_with(Instant::now);
            self.got.lock().unwrap().push((since.elapsed(), request.clone()));
            self.arrived.notify_waiters();
            let next = {
                let mut scripts = self.scripts.lock().unwrap();
                let script = scripts.iter_mut().find(|(address, _)| request.url.starts_with(address));
                // The last act goes on.
                script.and_then(|(_, acts)| if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() })
            };
            let answer = |status| Answer { status, said: "so it is".into(), ..Answer::default() };
            match next.unwrap_or(Act::Answer(200)) {
                Act::Answer(status) => Ok(answer(status)),
                Act::Body(status, body) => Ok(Answer { body: body.into(), ..answer(status) }),
                Act::Wait(status, after) => Ok(Answer { retry_after: Some(after.into()), ..answer(status) }),
                Act::Break => Err("no connection".to_owned()),
                Act::Hang => std::future::pending().await,
            }
        })
    }
}

/// A store that loses its disk for a moment, just when the cursor is to be written.
struct Losing(MemoryStore, AtomicBool);

impl Store for Losing {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.get(key)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(scan)
    }
    fn revision(&self) -> u64 {
        self.0.revision()
    }
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let cursor = transaction.expects.iter().any(|(key, _)| key.starts_with("notifier-status/"));
        if cursor && self.1.swap(false, Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Io { path: "x".into(), reason: "gone".into() }) });
        }
        self.0.commit(transaction)
    }
    fn watch(&self) -> crate::ports::BoxStream<'static, Watched> {
        self.0.watch()
    }
    fn keep(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Kept, StoreError>> {
        self.0.keep(bytes)
    }
    fn kept(&self, name: &Kept) -> Result<Vec<u8>, StoreError> {
        self.0.kept(name)
    }
    fn collect(&self, wanted: &BTreeSet<Kept>, age: u64) -> Result<u64, StoreError> {
        self.0.collect(wanted, age)
    }
}

struct World {
    store: Arc<Losing>,
    ledger: Ledger,
    declare: Declare,
    ambient: Arc<dyn Ambient>,
    sealer: Arc<dyn Sealer>,
    receiver: Arc<Receiver>,
    working: Option<CancellationToken>,
}

const STACK: &str = "\
kind: Stack
name: shop
source: { git: https://git.example.org/team/shop.git, ref: main }
variables: { KEY: { value: marked-secret-of-a-variable-77ab, secret: true } }
";

const HOOK: &str = "\
kind: Credential
name: key
type: Opaque
data: { secret: its-a-secret-to-everybody }
---
kind: Notifier
name: team
type: Webhook
url: https://team.example.org/in
credential: key
";

impl World {
    async fn new(manifest: &str) -> Self {
        let store = Arc::new(Losing(MemoryStore::new(), AtomicBool::new(false)));
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn Store>);
        let ambient: Arc<dyn Ambient> = Arc::new(Clock(Instant::now(), AtomicU64::new(0)));
        let sealer: Arc<dyn Sealer> = Arc::new(KeyFile::from_bytes([7; 32]));
        let declare = Declare::new(ledger.clone(), Arc::clone(&sealer), Arc::clone(&ambient), Limits::default());
        let environment = Environment { endpoints: vec!["unix:///x".into()], ..Environment::default() };
        ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        let receiver = Arc::new(Receiver::default());
        let mut world = Self { store, ledger, declare, ambient, sealer, receiver, working: None };
        world.apply(STACK).await;
        world.apply(manifest).await;
        world.work();
        world
    }

    /// Begins to work, as after a start; whoever worked before has crashed.
    fn work(&mut self) {
        self.crash();
        let keyring = LedgerKeyring::new(self.ledger.clone(), Arc::clone(&self.sealer));
        let couriers = Couriers::new(NotifyParts {
            ledger: self.ledger.clone(),
            ambient: Arc::clone(&self.ambient),
            sealer: Arc::clone(&self.sealer),
            keyring: Arc::new(keyring),
            post: Arc::clone(&self.receiver) as Arc<dyn Post>,
            instance: "01instance".into(),
            options: NotifyOptions { public_url: Some("https://skep.example.org".into()), ..NotifyOptions::default() },
        });
        let cancel = CancellationToken::new();
        tokio::spawn(couriers.run(cancel.clone()));
        self.working = Some(cancel);
    }

    fn crash(&mut self) {
        if let Some(working) = self.working.take() {
            working.cancel();
        }
    }

    async fn apply(&self, manifest: &str) {
        let ask = Ask::new(Actor::new("ada"), Trigger::Api);
        self.declare.apply(manifest, &ApplyOptions::default(), &ask).await.unwrap();
    }

    fn deployment(&self) -> Deployment {
        let stack = self.ledger.stack(&shop()).unwrap().unwrap().value;
        let mut deployment = self.ledger.deployment(&stack.deployment).unwrap().unwrap().value;
        deployment.version.revision = Some(Revision(COMMIT.into()));
        deployment
    }

    /// Moves the deployment on as the controller does: the record and its event in one transaction.
    async fn enter(&self, deployment: &mut Deployment, phase: DeploymentPhase, text: &str) {
        let event = entered(deployment, phase, self.ambient.now(), text);
        self.ledger.commit(Batch::new().put_deployment(deployment).event(&event)).await.unwrap();
    }

    async fn start_and_converge(&self) {
        let mut deployment = self.deployment();
        for phase in [DeploymentPhase::Fetching, DeploymentPhase::Applying, DeploymentPhase::Verifying] {
            self.enter(&mut deployment, phase, "goes on").await;
        }
        // The Swarm changed under the plan: the same phase once more is no news.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
        self.enter(&mut deployment, DeploymentPhase::Converged, "all 2 tasks run").await;
    }

    fn status(&self, name: &str) -> NotifierStatus {
        let name = NotifierName::parse(name).unwrap();
        let notifier = self.ledger.notifier(&name).unwrap().unwrap().value;
        self.ledger.notifier_status(&notifier).unwrap().0
    }

    /// The status once it is so.
    async fn until(&self, name: &str, is: impl Fn(&NotifierStatus) -> bool) -> NotifierStatus {
        let mut changes = self.ledger.watch();
        loop {
            let status = self.status(name);
            if is(&status) {
                return status;
            }
            let next = tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), changes.next()).await;
            assert!(next.is_ok(), "{status:?}");
        }
    }
}

fn shop() -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() }
}

fn event(kind: EventType, deployment: Option<&Deployment>, time: Timestamp, reason: &str, text: &str) -> Event {
    Event {
        time,
        kind,
        environment: EnvironmentName::default(),
        stack: Some(shop().name),
        deployment: deployment.map(|it| it.id.clone()),
        reason: reason.into(),
        message: text.into(),
        actor: "controller".into(),
        via: None,
    }
}

fn entered(deployment: &mut Deployment, phase: DeploymentPhase, now: Timestamp, text: &str) -> Event {
    let kind = match phase {
        DeploymentPhase::Converged => EventType::Converged,
        DeploymentPhase::RolledBack => EventType::RolledBack,
        DeploymentPhase::Failed => EventType::Failed,
        DeploymentPhase::Superseded => EventType::Superseded,
        DeploymentPhase::Cancelled => EventType::Cancelled,
        _ => EventType::PhaseChanged,
    };
    deployment.phase = phase;
    if phase == DeploymentPhase::Applying && deployment.progress.is_none() {
        deployment.progress = Some(Progress {
            started_at: now,
            progress_deadline: now,
            total_deadline: now,
            waiting_since: None,
            applied: false,
            applied_at: None,
            healthy_most: 0,
            healthy_since: None,
            baking_since: None,
            newest_task: None,
            held_back: Default::default(),
            services: BTreeMap::new(),
        });
    }
    if phase.is_terminal() {
        deployment.finished_at = Some(now);
    }
    event(kind, Some(deployment), now, &format!("{phase:?}"), text)
}

fn words(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["event"].as_str().unwrap()).collect()
}

const TEAM: &str = "https://team.example.org";

struct Pieces {
    stack: Stack,
    deployment: Deployment,
}

impl Pieces {
    async fn new() -> Self {
        let world = World::new(STACK).await;
        let stack = world.ledger.stack(&shop()).unwrap().unwrap().value;
        Self { deployment: world.deployment(), stack }
    }

    fn told(&self, event: &Event, held: bool) -> Option<Message> {
        let deployment = event.deployment.as_ref().map(|_| &self.deployment);
        let transition = Transition::of(event, deployment)?;
        let facts = Facts {
            instance: "01instance",
            sequence: 7,
            event,
            transition,
            deployment,
            stack: Some(&self.stack),
            held,
            returns: StackStatus::default().may_go_back(&self.stack.spec.policy),
            public_url: None,
        };
        Some(message::message(&facts))
    }

    fn line(&self, event: &Event, held: bool) -> String {
        let told = self.told(event, held).unwrap();
        format!("{}: {} / {} / {}", told.event, told.what, told.why, told.next)
    }
}
