//! The loop: keeps every environment's stacks as they were declared.
//!
//! ```text
//! store watch ─┐                          ┌─► take up what was asked     (take_up)
//! engine event ├─► queue ─► one pass ─────┼─► its desired objects        (prepare, rendition, sources)
//! tasks, timer ┘   (a key at a time)      ├─► plan, doubt, apply         (apply)
//!                                         ├─► waves and jobs             (stages, jobs)
//!                                         ├─► judge by tasks, roll back  (judge)
//!                                         ├─► keep: drift, prune, health (steady)
//!                                         └─► one exit: conditions, one write (outcome, pass)
//! ```
//!
//! The controller is the only writer of status and the only caller of the engine. No pass waits for health: convergence
//! is a state machine in the records, moved on by events and timers, so that a thousand stuck stacks hold no worker.

mod adopt;
mod apply;
mod approval;
mod backoff;
mod catalogs;
mod claim;
mod compare;
mod confidence;
mod delete;
mod doctor;
mod environment;
mod evidence;
mod following;
mod gate;
mod glance;
mod housekeeping;
mod images;
mod inquiries;
mod jobs;
mod judge;
mod logs;
mod outcome;
mod output;
mod pass;
mod pinning;
mod preflight;
mod prepare;
mod queue;
mod reconcile;
mod relay;
mod rendering;
mod rendition;
mod report;
mod repositories;
mod round;
mod running;
mod second_opinion;
mod shared;
mod snapshot;
mod sources;
mod spread;
mod stages;
mod steady;
mod take_up;
mod tasks;
mod waiting;
mod way_back;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::catalogs::Catalogs;
use self::claim::Claimer;
use self::environment::Observed;
pub use self::queue::Depth;
use self::queue::Priority;
use self::relay::{Link, LinkParts, Relays, Routed};
use self::rendition::Renderer;
use self::report::report;
use self::repositories::Repositories;
use self::shared::{Environments, Renditions, Shared};
use self::sources::Sources;
use self::waiting::Waiting;
use crate::declare::Declare;
use crate::domain::{CredentialName, Environment, EnvironmentName, Installation, StackKey};
use crate::ledger::{Ledger, LedgerError, Noted, RecordKey};
use crate::ports::{Ambient, Decrypter, FarConnector, Inquiries, Registry, Sealer, Source, SwarmConnector};
use crate::telemetry::{Meters, Tracer};

/// What the controller is made of.
pub struct Parts {
    /// The records.
    pub ledger: Ledger,
    /// Time and ids.
    pub ambient: Arc<dyn Ambient>,
    /// Seals what is kept.
    pub sealer: Arc<dyn Sealer>,
    /// Reads repositories.
    pub source: Arc<dyn Source>,
    /// Opens what is encrypted in them.
    pub decrypter: Arc<dyn Decrypter>,
    /// Asks registries about images that are followed.
    pub registry: Arc<dyn Registry>,
    /// Connects environments.
    pub connector: Arc<dyn SwarmConnector>,
    /// Connects those that another Skep keeps.
    pub far: Arc<dyn FarConnector>,
    /// This installation's id.
    pub instance: String,
    /// The mark of the restore that this installation came from, if it did: it writes to no Swarm before a person has it
    /// claimed.
    pub restored: Option<String>,
    /// What counts.
    pub meters: Meters,
    /// Who gets the spans of deployments.
    pub tracer: Tracer,
}

/// How many stacks of each environment wait for a look.
#[derive(Clone)]
pub struct Backlog(Arc<Environments>);

impl Backlog {
    /// The environments under watch, with what waits in each.
    #[must_use]
    pub fn depths(&self) -> Vec<(EnvironmentName, Depth)> {
        self.0.depths()
    }

    /// Whether the engine of this environment answers this process, and none of its stacks waits for a look.
    #[must_use]
    pub fn has_caught_up(&self, environment: &EnvironmentName) -> bool {
        self.0.has_caught_up(environment)
    }
}

/// The controller. [`Controller::run`] does the work; [`Controller::inquiries`] answers readers meanwhile.
pub struct Controller {
    shared: Arc<Shared>,
    connector: Arc<dyn SwarmConnector>,
    far: Arc<dyn FarConnector>,
    sealer: Arc<dyn Sealer>,
    declare: Declare,
    catalogs: Arc<Catalogs>,
    running: Mutex<BTreeMap<EnvironmentName, (Environment, CancellationToken)>>,
    cancel: CancellationToken,
}

impl Controller {
    /// Builds it; nothing happens until [`Controller::run`]. It stops when `cancel` is cancelled.
    #[must_use]
    pub fn new(parts: Parts, cancel: CancellationToken) -> Self {
        let environments = Arc::new(Environments::default());
        let stop = || cancel.child_token();
        let sources = Sources::new(parts.source.clone(), parts.ambient.clone(), stop(), environments.waker());
        let (ledger, ambient) = (parts.ledger.clone(), parts.ambient.clone());
        let repositories = Repositories::new(parts.registry, ledger, ambient, stop(), environments.waker());
        let declare = Declare::new(
            parts.ledger.clone(),
            parts.sealer.clone(),
            parts.ambient.clone(),
            crate::declare::Limits::default(),
        );
        let catalogs = Catalogs::new(
            parts.source.clone(),
            (parts.ledger.clone(), declare.clone()),
            parts.ambient.clone(),
            cancel.child_token(),
        );
        let sealer = parts.sealer.clone();
        let renderer = Renderer::new(parts.source, parts.decrypter, parts.sealer, parts.ledger.clone());
        let shared = Shared {
            ledger: parts.ledger,
            ambient: parts.ambient,
            renderer: Arc::new(renderer),
            sources: Arc::new(sources),
            repositories: Arc::new(repositories),
            instance: parts.instance,
            restored: parts.restored,
            meters: parts.meters,
            tracer: parts.tracer,
            renditions: Arc::new(Renditions::default()),
            environments,
            lookups: Arc::default(),
            waiting: Waiting::default(),
            relays: Relays::default(),
            tasks: TaskTracker::new(),
            errors: Mutex::new(HashMap::new()),
        };
        let (shared, catalogs) = (Arc::new(shared), Arc::new(catalogs));
        let (connector, far) = (parts.connector, parts.far);
        Self { shared, connector, far, sealer, declare, catalogs, running: Mutex::default(), cancel }
    }

    /// Answers readers' questions.
    #[must_use]
    pub fn inquiries(&self) -> Arc<dyn Inquiries> {
        Arc::new(Routed::new(self.shared.clone()))
    }

    /// Tells how much waits, whenever it is asked.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        Backlog(self.shared.environments.clone())
    }

    /// Runs until cancelled. On the way out no new look is begun, and those under way are waited for, for five seconds.
    ///
    /// # Errors
    /// [`LedgerError`] when the records cannot be read at the start.
    pub async fn run(&self) -> Result<(), LedgerError> {
        let mut notes = self.shared.ledger.watch();
        self.read_all()?;
        let (shared, cancel) = (self.shared.clone(), self.cancel.clone());
        self.shared.tasks.spawn(async move {
            cancel.run_until_cancelled(housekeeping::run(&shared)).await;
        });
        loop {
            let note = tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                note = notes.next() => note,
            };
            match note {
                Some(Noted::Note(note)) => {
                    let pushed = spread::of_one_push(&note);
                    for (key, value) in &note.records {
                        match key {
                            RecordKey::Stack(stack) if pushed.contains(stack) => self.wake_waiting(stack),
                            key => self.noted(key, value.is_some()),
                        }
                    }
                    self.shared.environments.wake_spread(&pushed);
                    self.hand_over_spread(&pushed);
                }
                Some(Noted::Missed) => self.read_all()?,
                None => break,
            }
        }
        self.shared.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("some work was still under way when the controller stopped; it goes on from the records");
        }
        Ok(())
    }

    /// Those of other Skeps are handed over one after the other: each is a change of its own there.
    fn hand_over_spread(&self, pushed: &[StackKey]) {
        let link = |key: &StackKey| Some((self.shared.relays.get(&key.environment)?, key.clone()));
        let relayed: Vec<_> = pushed.iter().filter_map(link).collect();
        let (step, cancel) = (spread::step(pushed.len()), self.cancel.clone());
        if relayed.is_empty() {
            return;
        }
        self.shared.tasks.spawn(cancel.run_until_cancelled_owned(async move {
            for (at, (link, key)) in relayed.iter().enumerate() {
                if at > 0 {
                    tokio::time::sleep(step).await;
                }
                link.wake(key);
            }
        }));
    }

    /// Everything is looked at: at the start, and after the watch missed something.
    fn read_all(&self) -> Result<(), LedgerError> {
        for environment in self.shared.ledger.environments()? {
            self.begin(environment.value);
        }
        for stack in self.shared.ledger.stacks(None)? {
            self.shared.environments.wake(&stack.value.key, Priority::Resync);
        }
        for catalog in self.shared.ledger.catalogs()? {
            self.catalogs.look(&catalog.value.name);
        }
        Ok(())
    }

    fn noted(&self, key: &RecordKey, there: bool) {
        match key {
            RecordKey::Stack(key) if there => {
                self.shared.environments.wake(key, Priority::Person);
                self.shared.relays.wake(key);
                self.wake_waiting(key);
            }
            RecordKey::Status(key) | RecordKey::Stack(key) => self.wake_waiting(key),
            RecordKey::Environment(name) if there => {
                if let Ok(Some(environment)) = self.shared.ledger.environment(name) {
                    self.begin(environment.value);
                }
                self.catalogs.look_at_all();
            }
            RecordKey::Environment(name) => self.end(name),
            RecordKey::Catalog(name) if there => self.catalogs.look(name),
            RecordKey::Catalog(name) => self.catalogs.leave(name),
            RecordKey::Credential(name) => self.credential_changed(name),
            RecordKey::ClaimOrder(name) if there => self.order_claim(name),
            _ => {}
        }
    }

    fn wake_waiting(&self, key: &StackKey) {
        for stack in self.shared.waiting.of(key) {
            self.shared.environments.wake(&stack, Priority::Event);
        }
    }

    /// What is read or reached with a credential is tried with its new values at once.
    fn credential_changed(&self, name: &CredentialName) {
        self.shared.sources.look_with(name);
        self.catalogs.look_with(name);
        self.shared.repositories.look_at_failed();
        let using: Vec<Environment> = {
            let mut running = self.running();
            let names: Vec<EnvironmentName> = running
                .iter()
                .filter(|(_, (it, _))| it.credentials().any(|it| it == name))
                .map(|(it, _)| it.clone())
                .collect();
            names
                .iter()
                .filter_map(|name| running.remove(name))
                .map(|(environment, cancel)| {
                    cancel.cancel();
                    environment
                })
                .collect()
        };
        using.into_iter().for_each(|environment| self.begin(environment));
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<EnvironmentName, (Environment, CancellationToken)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An environment that is no longer declared is left alone.
    fn end(&self, name: &EnvironmentName) {
        if let Some((_, cancel)) = self.running().remove(name) {
            cancel.cancel();
            self.shared.environments.remove(name);
            self.shared.relays.remove(name);
        }
    }

    /// Passes a person's order to claim an environment on, unless it was carried out.
    fn order_claim(&self, name: &EnvironmentName) {
        if let Some(link) = self.shared.relays.get(name) {
            return link.order_claim();
        }
        let Some(observed) = self.shared.environments.get(name) else { return };
        let handled = self.shared.ledger.environment_status(name).ok().flatten();
        let handled = handled.and_then(|status| status.value.handled_claim);
        if let Ok(Some(order)) = self.shared.ledger.claim_order(name) {
            // A restore leaves no older order behind.
            observed.was_ordered();
            if handled.as_ref() != Some(&order.token) {
                observed.order_claim(order.token);
            }
        }
    }

    /// Begins to watch an environment; one that changed is begun anew. Its queue is kept, so that no stack is worked on
    /// twice at a time and none that waits is forgotten.
    fn begin(&self, environment: Environment) {
        let mut running = self.running();
        if let Some((known, cancel)) = running.get(&environment.name) {
            if *known == environment {
                return;
            }
            cancel.cancel();
        }
        if environment.relay.is_some() {
            self.shared.environments.remove(&environment.name);
            return self.begin_relay(environment, running);
        }
        self.shared.relays.remove(&environment.name);
        let swarm = match self.connector.connect(&environment) {
            Ok(swarm) => swarm,
            Err(error) => {
                tracing::error!(environment = %environment.name, %error, "the environment cannot be used");
                running.remove(&environment.name);
                return;
            }
        };
        let name = environment.name.clone();
        let claimer = Claimer { instance: self.shared.instance.clone(), restored: self.shared.restored.clone() };
        let queue = self.shared.environments.get(&name).map(|before| before.queue.clone()).unwrap_or_default();
        let observed = Arc::new(Observed::new(name.clone(), swarm, queue, claimer, self.shared.ambient.clone()));
        self.shared.environments.put(observed.clone());
        let cancel = self.cancel.child_token();
        running.insert(name.clone(), (environment, cancel.clone()));
        drop(running);
        self.order_claim(&name);
        let ambient = self.shared.ambient.clone();
        self.shared.tasks.spawn(observed.clone().run(cancel.clone()));
        self.shared.tasks.spawn(tasks::run(observed.clone(), move || ambient.now(), cancel.clone()));
        self.shared.tasks.spawn(report(self.shared.clone(), observed.clone(), cancel.clone()));
        self.shared.tasks.spawn(worker::work(self.shared.clone(), observed, cancel));
    }
}

impl Controller {
    /// Begins to keep up with the Skep that keeps an environment.
    fn begin_relay(
        &self,
        environment: Environment,
        mut running: MutexGuard<'_, BTreeMap<EnvironmentName, (Environment, CancellationToken)>>,
    ) {
        let Some(relay) = environment.relay.clone() else { return };
        let parts = LinkParts {
            ledger: self.shared.ledger.clone(),
            declare: self.declare.clone(),
            ambient: self.shared.ambient.clone(),
            sealer: self.sealer.clone(),
            near: Installation { instance: self.shared.instance.clone(), restored: self.shared.restored.clone() },
        };
        let far = self.far.connect(&relay);
        let link = Arc::new(Link::new(environment.name.clone(), relay, far, parts));
        self.shared.relays.put(link.clone());
        let cancel = self.cancel.child_token();
        running.insert(environment.name.clone(), (environment, cancel.clone()));
        self.shared.tasks.spawn(link.run(cancel));
    }
}
