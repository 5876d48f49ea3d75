//! A simulated world with a controller in it, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use skep::controller::{Controller, Parts};
use skep::declare::{ApplyOptions, Ask, Declare, DeployRequest, Limits};
use skep::domain::*;
use skep::ledger::{Batch, Ledger, RecordKey};
use skep::ports::{Inquiries, Sealer, Source, Store, StoreError, Transaction, Write};
use skep::registry::memory::MemoryRegistry;
use skep::seal::KeyFile;
use skep::sim::gate::{At, Gate, GatedConnector, GatedStore, Writer};
use skep::sim::invariants::Laws;
use skep::source::memory::MemorySource;
use skep::source::sops::SopsFiles;
use skep::store::memory::MemoryStore;
use skep::swarm::sim::{CallKind, SimAmbient, SimOptions, SimSwarm, WriteCall};
use skep::telemetry::{Meters, Tracer, WatchedConnector, WatchedRegistry};
use tokio_util::sync::CancellationToken;

pub const URL: &str = "https://git.example/shop.git";
pub const INSTANCE: &str = "skep-a";

/// No wait takes longer than this in real time, however long it is in virtual time.
const PATIENCE: Duration = Duration::from_secs(300);

struct Life {
    cancel: CancellationToken,
    gate: Arc<Gate>,
    inquiries: Arc<dyn Inquiries>,
}

pub struct World {
    pub swarm: SimSwarm,
    pub source: MemorySource,
    pub registry: MemoryRegistry,
    pub ledger: Ledger,
    pub declare: Declare,
    pub ambient: Arc<SimAmbient>,
    /// Those of all lives.
    meters: Meters,
    store: Arc<MemoryStore>,
    laws: Arc<Laws>,
    sealer: Arc<KeyFile>,
    lives: Vec<Life>,
    /// Environments beside `default`.
    others: BTreeMap<EnvironmentName, SimSwarm>,
    key: StackKey,
}

pub fn key(name: &str) -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse(name).unwrap() }
}

pub fn ask() -> Ask {
    Ask::new(Actor::new("ada"), Trigger::Api)
}

/// A manifest with its compose text inline.
pub fn inline(name: &str, policy: &str, compose: &str) -> String {
    let indented: String = compose.trim().lines().map(|line| format!("  {line}\n")).collect();
    format!("kind: Stack\nname: {name}\npolicy: {{{policy}}}\ninline: |\n{indented}")
}

/// A manifest with its files in the repository.
pub fn from_git(wanted: &str, policy: &str) -> String {
    format!(
        "kind: Stack\nname: shop\npolicy: {{{policy}}}\ncompose: [stack.yml]\n\
         source: {{ git: {URL}, ref: {wanted}, poll: 1m }}\n"
    )
}

/// A web and a worker of these images.
pub fn two(web: &str, worker: &str) -> String {
    format!("services:\n  web:\n    image: {web}\n    deploy: {{ replicas: 2 }}\n  worker:\n    image: {worker}\n")
}

impl World {
    pub async fn new() -> Self {
        Self::with(SimOptions::default()).await
    }

    pub async fn with(options: SimOptions) -> Self {
        let seed = options.seed;
        let swarm = SimSwarm::new(options);
        let ambient = Arc::new(swarm.ambient(seed));
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(store.clone());
        let sealer = Arc::new(KeyFile::from_bytes([7; 32]));
        let laws = Laws::new(INSTANCE, swarm.clock());
        laws.watch_swarm(&EnvironmentName::default(), &swarm);
        let gate = Gate::new(None, laws.clone());
        let gated = GatedStore { store: store.clone(), gate, writer: Writer::Api };
        let declare = Declare::new(Ledger::new(Arc::new(gated)), sealer.clone(), ambient.clone(), Limits::default());
        let environment = Environment {
            name: EnvironmentName::default(),
            endpoints: vec!["unix:///sim".into()],
            ..Environment::default()
        };
        ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        let source = MemorySource::new();
        let registry = MemoryRegistry::new();
        Self {
            swarm,
            source,
            registry,
            ledger,
            declare,
            ambient,
            meters: Meters::new(),
            store,
            laws,
            sealer,
            lives: Vec::new(),
            others: BTreeMap::new(),
            key: key("shop"),
        }
    }

    /// Another environment, for the controllers that are started from now on.
    pub async fn second(&mut self, name: &str) -> SimSwarm {
        let name = EnvironmentName::parse(name).unwrap();
        let swarm = SimSwarm::new(SimOptions { clock: self.swarm.clock(), ..SimOptions::default() });
        self.laws.watch_swarm(&name, &swarm);
        let endpoints = vec!["unix:///other".into()];
        let environment = Environment { name: name.clone(), endpoints, ..Environment::default() };
        self.ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        self.others.insert(name, swarm.clone());
        swarm
    }

    /// A world whose controller runs.
    pub async fn running() -> Self {
        let mut world = Self::new().await;
        world.start(None);
        world
    }

    pub fn start(&mut self, crash: Option<At>) {
        self.start_as(INSTANCE, crash);
    }

    pub fn start_as(&mut self, instance: &str, crash: Option<At>) {
        self.start_restored(instance, None, crash);
    }

    pub fn start_restored(&mut self, instance: &str, restored: Option<&str>, crash: Option<At>) {
        let gate = Gate::new(crash, self.laws.clone());
        let cancel = CancellationToken::new();
        let gated = GatedStore { store: self.store.clone(), gate: gate.clone(), writer: Writer::Controller };
        let store: Arc<dyn Store> = Arc::new(gated);
        let mut swarms = self.others.clone();
        swarms.insert(EnvironmentName::default(), self.swarm.clone());
        let connector = GatedConnector { swarms, gate: gate.clone() };
        let parts = Parts {
            ledger: Ledger::new(store),
            ambient: self.ambient.clone(),
            sealer: self.sealer.clone() as Arc<dyn Sealer>,
            source: Arc::new(self.source.clone()) as Arc<dyn Source>,
            decrypter: Arc::new(SopsFiles),
            registry: Arc::new(WatchedRegistry::new(Arc::new(self.registry.clone()), self.meters.clone())),
            connector: Arc::new(WatchedConnector::new(Arc::new(connector), self.meters.clone())),
            far: Arc::new(skep::ports::NoFar),
            instance: instance.to_owned(),
            restored: restored.map(str::to_owned),
            meters: self.meters.clone(),
            tracer: Tracer::default(),
        };
        let controller = Controller::new(parts, cancel.clone());
        let inquiries = controller.inquiries();
        tokio::spawn(async move { controller.run().await });
        self.lives.push(Life { cancel, gate, inquiries });
    }

    /// The sum of the samples of this name whose labels hold all of these (`outcome="Ok"`).
    pub fn counted(&self, name: &str, labels: &[&str]) -> f64 {
        let mut text = String::new();
        self.meters.write(&mut text).unwrap();
        let of = |line: &&str| {
            line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
        };
        text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// What looks on.
    pub fn laws_of(&self) -> &Laws {
        &self.laws
    }

    pub fn gate(&self) -> Arc<Gate> {
        self.lives.last().unwrap().gate.clone()
    }

    /// The controller dies where it stands.
    pub fn kill(&self) {
        let life = self.lives.last().unwrap();
        life.gate.shut();
        life.cancel.cancel();
    }

    /// The controller dies and another one begins where it stood.
    pub fn restart(&mut self) {
        self.kill();
        self.start(None);
    }

    /// The store takes no writes, or takes them again.
    pub fn disk_is_full(&self, full: bool) {
        let error = || StoreError::Io { path: "data".into(), reason: "no space left on device".into() };
        self.store.refuse(full.then(error));
    }

    /// What was kept of a deployment is lost, as by a disk.
    pub async fn lose_kept(&self, id: &DeploymentId) {
        let kept = self.deployment(id).kept.expect("kept");
        let key = RecordKey::Kept(kept).to_string();
        let writes = vec![Write::Delete { key }];
        self.store.commit(Transaction { expects: Vec::new(), writes }).await.unwrap();
    }

    pub async fn apply(&self, manifest: &str) -> DeploymentId {
        let options = ApplyOptions::default();
        let applied = self.declare.apply(manifest, &options, &ask()).await.unwrap_or_else(|error| panic!("{error}"));
        applied.documents[0].deployment.clone().expect("a deployment").id
    }

    /// Sets an image of the stack `shop`.
    pub async fn image(&self, service: &str, image: &str) -> DeploymentId {
        let images = BTreeMap::from([(service.to_owned(), image.to_owned())]);
        let request = DeployRequest { images, ..DeployRequest::default() };
        let declared = self.declare.deploy(&self.key, &request, &ask()).await.unwrap();
        declared.deployment.expect("a deployment").id
    }

    pub fn push(&self, compose: &str) -> Revision {
        self.source.commit(URL, "main", &[("stack.yml", compose)])
    }

    pub fn stack(&self) -> Option<Stack> {
        self.ledger.stack(&self.key).unwrap().map(|found| found.value)
    }

    pub fn status(&self) -> StackStatus {
        self.ledger.status(&self.key).unwrap().map(|found| found.value).unwrap_or_default()
    }

    pub fn phase(&self) -> StackPhase {
        self.stack().map_or(StackPhase::Unknown, |stack| phase(&stack, &self.status()))
    }

    pub fn deployment(&self, id: &DeploymentId) -> Deployment {
        self.ledger.deployment(id).unwrap().expect("the deployment").value
    }

    /// What answers the questions of readers.
    pub fn inquiries(&self) -> Arc<dyn Inquiries> {
        self.lives.last().unwrap().inquiries.clone()
    }

    /// What is said to happen next with the stack `shop`.
    pub fn next(&self) -> Option<Outlook> {
        let (stack, status) = (self.stack()?, self.status());
        let attempt = status.attempt.as_ref().map(|attempt| self.deployment(&attempt.id));
        outlook(&stack, &status, attempt.as_ref(), self.ambient_now())
    }

    /// All deployments of the stack `shop`, oldest first.
    pub fn history(&self) -> Vec<Deployment> {
        let mut all: Vec<Deployment> =
            self.ledger.history(&self.key, None, 10_000).unwrap().into_iter().map(|found| found.value).collect();
        all.reverse();
        all
    }

    pub fn newest(&self) -> Deployment {
        self.history().pop().expect("a deployment")
    }

    pub fn last_trigger(&self) -> (Trigger, DeploymentPhase) {
        let newest = self.newest();
        (newest.origin.trigger, newest.phase)
    }

    pub fn spec(&self, service: &str) -> ServiceSpec {
        self.swarm.service(service).unwrap_or_else(|| panic!("service {service} is there")).spec.clone()
    }

    pub fn image_of(&self, service: &str) -> String {
        self.spec(service).task_template.container_spec.image
    }

    pub fn condition(&self, kind: ConditionType) -> Option<ConditionStatus> {
        self.status().condition(kind).map(|condition| condition.status)
    }

    pub async fn sleep(&self, seconds: u64) {
        let begun = std::time::Instant::now();
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(begun.elapsed() < PATIENCE, "virtual time stands still\n{}", self.report());
        }
    }

    /// Waits until something holds, for so many seconds at most.
    pub async fn until(&self, seconds: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let begun = std::time::Instant::now();
        let mut notes = self.ledger.watch();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "virtual time stands still\n{}", self.report());
            if tokio::time::Instant::now() >= end {
                panic!("not within {seconds} s: {what}\n{}", self.report());
            }
            // What is waited for is written, or happens in the Swarm, which writes nothing.
            let _ = tokio::time::timeout(Duration::from_secs(1), notes.next()).await;
            self.always();
        }
    }

    pub async fn until_phase(&self, seconds: u64, wanted: StackPhase) {
        self.until(seconds, &format!("the stack is {wanted:?}"), |world| world.phase() == wanted).await;
    }

    pub async fn ended(&self, seconds: u64, id: &DeploymentId) -> Deployment {
        self.until(seconds, &format!("{id} has ended"), |world| world.deployment(id).phase.is_terminal()).await;
        self.deployment(id)
    }

    pub async fn ends_as(&self, seconds: u64, id: &DeploymentId, phase: DeploymentPhase) {
        let found = self.ended(seconds, id).await;
        assert_eq!(found.phase, phase, "{:?}\n{}", found.message, self.report());
    }

    /// From now on nothing is written anywhere and nothing is asked but in the rounds of looking, for an hour.
    pub async fn silence(&self) {
        let gate = self.gate();
        // What was found last is tidied up first.
        self.sleep(20).await;
        let (revision, reads) = (self.ledger.revision(), gate.reads());
        self.swarm.forget_calls();
        self.sleep(3600).await;
        assert_eq!(self.ledger.revision(), revision, "something was written to the store\n{}", self.report());
        let calls = self.swarm.calls();
        let rounds = 3600 / 270 + 1;
        for (kind, count) in &calls {
            match kind {
                CallKind::List => assert!(*count <= 5 * rounds, "{calls:?}"),
                CallKind::Tasks => assert!(*count <= rounds, "{calls:?}"),
                other => panic!("{other:?} was called {count} times in an hour of silence\n{}", self.report()),
            }
        }
        let passes = gate.reads() - reads;
        assert!(passes < 60 * rounds, "{passes} records were read in an hour of silence");
        self.laws();
    }

    /// What holds at every moment.
    pub fn always(&self) {
        let broken = self.laws.breaches();
        assert!(broken.is_empty(), "{broken:?}\n{}", self.report());
    }

    /// What holds whenever nothing is under way.
    pub fn laws(&self) {
        self.laws.settled(&self.key);
        self.always();
    }

    /// Effects that took place, as text.
    pub fn effects(&self) -> Vec<String> {
        self.swarm.writes().iter().filter(|call| call.took_effect).map(effect).collect()
    }

    pub fn events(&self) -> Vec<Event> {
        self.ledger.events(None, false, 100_000).unwrap().into_iter().map(|(_, event)| event).collect()
    }

    /// The whole state, for a failed assertion.
    pub fn report(&self) -> String {
        let mut text = format!("at {}: stack {:?}\n", self.ambient_now(), self.phase());
        for deployment in self.history() {
            text.push_str(&format!(
                "  {} {:?} {:?} {:?} failure={:?}\n",
                deployment.id,
                deployment.origin.trigger,
                deployment.phase,
                deployment.message,
                deployment.failure.as_ref().map(|failure| failure.class)
            ));
        }
        let status = self.status();
        for condition in &status.conditions {
            text.push_str(&format!(
                "  {:?}={:?} {:?} {:?}\n",
                condition.kind, condition.status, condition.reason, condition.message
            ));
        }
        text.push_str(&format!(
            "  held {} drift {:?} target {:?}\n",
            status.held.len(),
            status.drift,
            status.target.map(|t| t.kind)
        ));
        let events = self.events();
        for event in events.iter().skip(events.len().saturating_sub(30)) {
            text.push_str(&format!("  {} {:?} {} {}\n", event.time, event.kind, event.reason, event.message));
        }
        // SKEP_TRACE=shop_web shows all that the engine did with it.
        let (trace, only) = (self.swarm.trace(), std::env::var("SKEP_TRACE").ok());
        let from = if only.is_some() { 0 } else { trace.len().saturating_sub(30) };
        for line in trace.iter().skip(from).filter(|line| only.as_ref().is_none_or(|only| line.contains(only))) {
            text.push_str(&format!("    {line}\n"));
        }
        for call in self.swarm.writes().iter().rev().take(12) {
            text.push_str(&format!("    write {} {}\n", effect(call), call.answer.is_ok()));
        }
        text
    }

    fn ambient_now(&self) -> jiff::Timestamp {
        self.swarm.clock().now()
    }
}

fn effect(call: &WriteCall) -> String {
    match &call.effect {
        Effect::CreateNetwork(spec) => format!("create network {}", spec.name),
        Effect::CreateConfig(spec) => format!("create config {}", spec.name),
        Effect::CreateSecret(spec) => format!("create secret {}", spec.name),
        Effect::CreateService(spec) => format!("create service {}", spec.name),
        Effect::UpdateService { spec, .. } => format!("update service {}", spec.name),
        Effect::Relabel { object, .. } => format!("relabel {} {}", object.kind, object.name),
        Effect::Own { object, .. } => format!("own {} {}", object.kind, object.name),
        Effect::Remove { object, .. } => format!("remove {} {}", object.kind, object.name),
    }
}
