//! A simulated world: Swarms, repositories, a store, and one life of Skep after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::draft::{Draft, script};
use super::gate::{At, Gate, GatedConnector, GatedStore, Writer};
use super::invariants::{Law, Laws};
use super::schedule::{Place, Schedule, Word};
use crate::controller::{Controller, Parts};
use crate::declare::{ApplyOptions, Ask, Declare, DeclareError, DeployRequest, Limits};
use crate::domain::{
    Actor, ContainerSpec, DeploymentId, Environment, EnvironmentName, INSTANCE_LABEL, NAMESPACE_LABEL, ObjectKind,
    ObjectRef, STACK_LABEL, ServiceSpec, StackKey, StackName, TaskSpec, Trigger,
};
use crate::ledger::{Batch, Ledger};
use crate::ports::{Sealer, Source};
use crate::registry::memory::MemoryRegistry;
use crate::seal::KeyFile;
use crate::source::memory::MemorySource;
use crate::source::sops::SopsFiles;
use crate::store::memory::MemoryStore;
use crate::swarm::sim::{SimAmbient, SimNode, SimOptions, SimSwarm};
use crate::telemetry::{Meters, Tracer};

/// The id of the Skep under test.
pub(super) const INSTANCE: &str = "skep-a";
const ENVIRONMENTS: [&str; 2] = ["default", "edge"];
const STACKS: [&str; 4] = ["shop", "blog", "till", "docs"];

/// A stack's place, and its files as they were last declared.
pub(super) struct Home {
    pub(super) key: StackKey,
    pub(super) place: Place,
    pub(super) url: String,
    pub(super) draft: Draft,
}

/// A request, as it can be sent more than once.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Apply(String),
    Deploy(StackKey, BTreeMap<String, String>),
    Say(StackKey, Word, Timestamp),
}

/// What a request led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) changed: bool,
    pub(super) deployment: Option<DeploymentId>,
}

struct Life {
    cancel: CancellationToken,
    gate: Arc<Gate>,
}

pub(super) struct World {
    pub(super) swarms: BTreeMap<EnvironmentName, SimSwarm>,
    pub(super) source: MemorySource,
    registry: MemoryRegistry,
    pub(super) store: Arc<MemoryStore>,
    /// Past all gates, for looking.
    pub(super) ledger: Ledger,
    pub(super) laws: Arc<Laws>,
    pub(super) homes: Vec<Home>,
    pub(super) crashes: u64,
    ambient: Arc<SimAmbient>,
    sealer: Arc<KeyFile>,
    declare: Declare,
    life: Option<Life>,
    secret: String,
}

/// A name of a fixed list. An empty one never comes out.
fn environment(number: usize) -> EnvironmentName {
    EnvironmentName::parse(ENVIRONMENTS[number % ENVIRONMENTS.len()]).unwrap_or_default()
}

impl World {
    pub(super) async fn new(schedule: &Schedule) -> Self {
        let mut swarms = BTreeMap::new();
        let mut options = SimOptions::default().seed(schedule.seed);
        for (number, name) in ENVIRONMENTS.iter().enumerate() {
            let nodes = if number == 0 { schedule.nodes } else { 1 };
            let nodes = (1..=nodes).map(|n| match n {
                1 => SimNode::manager("node-1"),
                n => SimNode::worker(format!("node-{n}")),
            });
            options = SimOptions { endpoint: format!("sim://{name}"), ..options }.nodes(nodes);
            swarms.insert(environment(number), SimSwarm::new(options.clone()));
        }
        let clock = options.clock;
        let laws = Laws::new(INSTANCE, clock);
        let source = MemorySource::new();
        let secret = format!("hunter2-{:016x}", schedule.seed);
        laws.watch_source(&source);
        laws.mark_secret(&secret);
        laws.expect_keys();
        for (name, swarm) in &swarms {
            laws.watch_swarm(name, swarm);
            script(swarm, &secret);
        }
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(store.clone());
        let ambient = Arc::new(SimAmbient::new(clock, schedule.seed));
        let sealer = Arc::new(KeyFile::from_bytes([7; 32]));
        let gate = Gate::new(None, laws.clone());
        let declare = declare(&store, &gate, &sealer, &ambient);
        let homes = schedule.stacks.iter().zip(STACKS).filter_map(|(place, name)| {
            let key = StackKey { environment: environment(place.environment), name: StackName::parse(name).ok()? };
            Some(Home { key, place: *place, url: format!("https://git.example/{name}.git"), draft: Draft::good(0) })
        });
        let homes = homes.collect();
        let world = Self {
            swarms,
            source,
            registry: MemoryRegistry::new(),
            store,
            ledger,
            laws,
            homes,
            crashes: 0,
            ambient,
            sealer,
            declare,
            life: None,
            secret,
        };
        for (name, endpoint) in ENVIRONMENTS.iter().enumerate() {
            let endpoints = vec![format!("unix:///{endpoint}")];
            let known = Environment { name: environment(name), endpoints, ..Environment::default() };
            let declared = world.ledger.commit(Batch::new().put_environment(&known)).await;
            world.must(declared.map_err(|error| error.to_string()));
        }
        for name in world.swarms.keys() {
            world.strangers(name);
        }
        world
    }

    /// What belongs to others, from the start.
    fn strangers(&self, environment: &EnvironmentName) {
        let Some(swarm) = self.swarms.get(environment) else { return };
        let theirs = [(NAMESPACE_LABEL, "traefik".to_owned())];
        let other = [(INSTANCE_LABEL, "skep-z".to_owned()), (STACK_LABEL, format!("{environment}/shop"))];
        for (name, labels) in [("traefik_web", &theirs[..]), ("shop_legacy", &other[..]), ("plain", &[])] {
            let mut spec = plain_service(name);
            spec.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            self.foreign(swarm, &spec);
        }
    }

    /// Somebody makes a service.
    pub(super) fn foreign(&self, swarm: &SimSwarm, spec: &ServiceSpec) {
        if let Ok(made) = swarm.foreign_service(spec) {
            self.laws.is_foreign(&made.id);
        }
    }

    /// The simulation itself must not fail.
    pub(super) fn must<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|error| self.laws.breach(Law::Settles, format!("the simulation itself failed: {error}"))).ok()
    }

    pub(super) fn now(&self) -> Timestamp {
        crate::ports::Ambient::now(self.ambient.as_ref())
    }

    pub(super) fn swarm(&self, number: usize) -> (EnvironmentName, SimSwarm) {
        let name = environment(number);
        let swarm = self.swarms.get(&name).cloned().unwrap_or_default();
        (name, swarm)
    }

    /// A new life begins, to end there.
    pub(super) fn start(&mut self, crash: Option<At>) {
        let gate = Gate::new(crash, self.laws.clone());
        let cancel = CancellationToken::new();
        let store = GatedStore { store: self.store.clone(), gate: gate.clone(), writer: Writer::Controller };
        let connector = GatedConnector { swarms: self.swarms.clone(), gate: gate.clone() };
        let parts = Parts {
            ledger: Ledger::new(Arc::new(store)),
            ambient: self.ambient.clone(),
            sealer: self.sealer.clone() as Arc<dyn Sealer>,
            source: Arc::new(self.source.clone()) as Arc<dyn Source>,
            far: Arc::new(crate::ports::NoFar),
            decrypter: Arc::new(SopsFiles),
            registry: Arc::new(self.registry.clone()),
            connector: Arc::new(connector),
            instance: INSTANCE.to_owned(),
            restored: None,
            meters: Meters::new(),
            tracer: Tracer::default(),
        };
        let controller = Controller::new(parts, cancel.clone());
        tokio::spawn(async move { controller.run().await });
        self.life = Some(Life { cancel, gate });
        self.laws.starts();
    }

    /// The life ends where it stands.
    pub(super) fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            life.gate.shut();
            life.cancel.cancel();
            self.crashes += 1;
        }
    }

    /// Whether the life has ended at its own place to die.
    pub(super) fn has_died(&self) -> bool {
        self.life.as_ref().is_none_or(|life| life.gate.is_shut())
    }

    /// Sends a request under an idempotency key. `None`: it was refused, and nothing was written.
    pub(super) async fn send(&self, request: &Request, key: &str) -> Option<Answer> {
        self.answer(send(&self.declare, request, key).await)
    }

    fn answer(&self, answer: Result<Answer, DeclareError>) -> Option<Answer> {
        let answer = answer.ok()?;
        if let Some(id) = &answer.deployment
            && !matches!(self.ledger.deployment(id), Ok(Some(_)))
        {
            self.laws.breach(Law::Acknowledged, format!("deployment {id} was answered and is not written"));
        }
        Some(answer)
    }

    /// Skep dies while it takes this request: before it is written, or after.
    pub(super) async fn send_and_die(&mut self, request: &Request, key: &str, written: bool) {
        let at = if written { At::AfterCommit(1) } else { At::BeforeCommit(1) };
        let gate = Gate::new(Some(at), self.laws.clone());
        let torn = declare(&self.store, &gate, &self.sealer, &self.ambient);
        let unanswered = tokio::time::timeout(Duration::from_millis(100), send(&torn, request, key)).await;
        drop(unanswered);
        self.kill();
        self.start(None);
    }

    pub(super) fn manifest(&self, home: &Home, draft: &Draft) -> String {
        let Home { key, place, url, .. } = home;
        let head = format!(
            "kind: Stack\nname: {}\nenvironment: {}\npolicy: {{ progressDeadline: 90s, totalDeadline: 6m }}\n\
             variables: {{ TOKEN: {{ value: {}, secret: true }} }}\n",
            key.name, key.environment, self.secret
        );
        if place.git {
            return format!("{head}compose: [stack.yml]\nsource: {{ git: {url}, ref: main, poll: 1m }}\n");
        }
        let indented: String = draft.text().lines().map(|line| format!("  {line}\n")).collect();
        format!("{head}inline: |\n{indented}")
    }

    /// When something ends that lasts so many minutes from now on.
    pub(super) fn in_minutes(&self, minutes: u32) -> Timestamp {
        self.now().checked_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(Timestamp::MAX)
    }

    /// Whether an object on a Swarm is somebody else's.
    pub(super) fn is_strange(swarm: &SimSwarm, name: &str) -> bool {
        let labels = swarm.labels_of(&ObjectRef::new(ObjectKind::Service, name));
        labels.is_some_and(|(_, labels, _)| labels.get(INSTANCE_LABEL).is_none_or(|owner| owner != INSTANCE))
    }
}

pub(super) fn plain_service(name: &str) -> ServiceSpec {
    let container_spec = ContainerSpec { image: "theirs:1".to_owned(), ..ContainerSpec::default() };
    let task_template = TaskSpec { container_spec, ..TaskSpec::default() };
    ServiceSpec { name: name.to_owned(), task_template, ..ServiceSpec::default() }
}

fn declare(store: &Arc<MemoryStore>, gate: &Arc<Gate>, sealer: &Arc<KeyFile>, ambient: &Arc<SimAmbient>) -> Declare {
    let gated = GatedStore { store: store.clone(), gate: gate.clone(), writer: Writer::Api };
    Declare::new(Ledger::new(Arc::new(gated)), sealer.clone(), ambient.clone(), Limits::default())
}

async fn send(declare: &Declare, request: &Request, key: &str) -> Result<Answer, DeclareError> {
    let ask = Ask {
        reason: Some("as it came to pass".to_owned()),
        idempotency_key: Some(key.to_owned()),
        ..Ask::new(Actor::new("ada"), Trigger::Api)
    };
    let declared = match request {
        Request::Apply(manifest) => {
            let applied = declare.apply(manifest, &ApplyOptions::default(), &ask).await?;
            let document = applied.documents.into_iter().next();
            let changed = document.as_ref().is_some_and(|document| !document.changes.is_empty());
            return Ok(Answer { changed, deployment: document.and_then(|it| it.deployment).map(|it| it.id) });
        }
        Request::Deploy(stack, images) => {
            let request = DeployRequest { images: images.clone(), ..DeployRequest::default() };
            declare.deploy(stack, &request, &ask).await?
        }
        Request::Say(stack, word, until) => match word {
            Word::Rollback => declare.rollback(stack, None, None, &ask).await?,
            Word::RollbackFor(_) => declare.rollback(stack, None, Some(*until), &ask).await?,
            Word::Unpin => declare.unpin(stack, &ask).await?,
            Word::Release => declare.release_hold(stack, &ask).await?,
            Word::Suspend => declare.suspend(stack, None, &ask).await?,
            Word::SuspendFor(_) => declare.suspend(stack, Some(*until), &ask).await?,
            Word::Resume => declare.resume(stack, &ask).await?,
            Word::Cancel => declare.cancel(stack, None, &ask).await?,
            Word::Reconcile | Word::Declare => declare.reconcile(stack, &ask).await?,
            Word::Delete => declare.delete(stack, false, &ask).await?,
            Word::DeleteKeeping => declare.delete(stack, true, &ask).await?,
        },
    };
    Ok(Answer { changed: declared.changed, deployment: declared.deployment.map(|it| it.id) })
}
