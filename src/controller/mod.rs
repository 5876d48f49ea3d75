//! The loop: keeps every environment's stacks as they were declared.
//!
//! ```text
//! store watch ─┐                          ┌─► take up what was asked     (take_up)
//! engine event ├─► queue ─► one pass ─────┼─► its desired objects        (prepare, rendition, sources)
//! tasks, timer ┘   (a key at a time)      ├─► plan, doubt, apply         (apply)
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
mod delete;
mod doctor;
mod environment;
mod gate;
mod glance;
mod housekeeping;
mod images;
mod inquiries;
mod judge;
mod logs;
mod outcome;
mod output;
mod pass;
mod pinning;
mod prepare;
mod queue;
mod reconcile;
mod relay;
mod rendering;
mod rendition;
mod report;
mod shared;
mod snapshot;
mod sources;
mod steady;
mod take_up;
mod tasks;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backoff::backoff;
use self::catalogs::Catalogs;
use self::claim::Claimer;
use self::environment::Observed;
use self::pass::{Next, Pass, PassError};
use self::queue::Priority;
use self::relay::{Link, LinkParts, Relays, Routed};
use self::rendition::Renderer;
use self::report::report;
use self::shared::{Environments, Renditions, Shared};
use self::sources::Sources;
use self::waiting::Waiting;
use crate::declare::Declare;
use crate::domain::{CredentialName, Environment, EnvironmentName, Installation, StackKey};
use crate::ledger::{Ledger, LedgerError, Noted, RecordKey};
use crate::ports::{Ambient, FarConnector, Inquiries, Sealer, Source, SwarmConnector};

/// A pass never asks for another one sooner than this: rules that disagree cost little.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);

/// A pass that takes longer than this is broken off and begun anew: no call it makes should.
const LONGEST_PASS: Duration = Duration::from_secs(300);

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
    /// Connects environments.
    pub connector: Arc<dyn SwarmConnector>,
    /// Connects those that another Skep keeps.
    pub far: Arc<dyn FarConnector>,
    /// This installation's id.
    pub instance: String,
    /// The mark of the restore that this installation came from, if it did: it writes to no Swarm before a person has it
    /// claimed.
    pub restored: Option<String>,
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
        let wake = environments.clone();
        let sources = Sources::new(parts.source.clone(), parts.ambient.clone(), cancel.child_token(), move |key| {
            wake.wake(key, Priority::Event);
        });
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
        let renderer = Renderer::new(parts.source, parts.sealer, parts.ledger.clone());
        let shared = Shared {
            ledger: parts.ledger,
            ambient: parts.ambient,
            renderer: Arc::new(renderer),
            sources: Arc::new(sources),
            instance: parts.instance,
            restored: parts.restored,
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
                    for (key, value) in &note.records {
                        self.noted(key, value.is_some());
                    }
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
        self.shared.tasks.spawn(work(self.shared.clone(), observed, cancel));
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

/// Takes keys from an environment's queue, and looks at each in a task of its own.
async fn work(shared: Arc<Shared>, environment: Arc<Observed>, cancel: CancellationToken) {
    loop {
        let place = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            place = environment.workers.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        let (key, priority) = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            taken = environment.queue.next() => taken,
        };
        let (shared, environment) = (shared.clone(), environment.clone());
        shared.tasks.clone().spawn(async move {
            let look = tokio::spawn(look(shared.clone(), environment.clone(), key.clone(), priority));
            if look.await.is_err() {
                tracing::error!(stack = %key, "a pass panicked; the stack is looked at again in a minute");
                environment.queue.add(&key, Instant::now() + Duration::from_secs(60), Priority::Resync);
            }
            environment.queue.done(&key);
            drop(place);
        });
    }
}

/// One look, and when the next one is due.
async fn look(shared: Arc<Shared>, environment: Arc<Observed>, key: StackKey, priority: Priority) {
    let outcome = tokio::time::timeout(LONGEST_PASS, one_pass(&shared, &environment, &key, priority)).await;
    let mut errors = shared.errors.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(Ok(next)) => {
            errors.remove(&key);
            if let Some(Next::At(at)) = next {
                let wait = at.duration_since(shared.ambient.now());
                let wait = Duration::try_from(wait).unwrap_or(Duration::ZERO).max(SHORTEST_WAIT);
                environment.queue.add(&key, Instant::now() + wait, Priority::Event);
            }
        }
        Ok(Err(error)) if error.is_conflict() => {
            tracing::debug!(stack = %key, %error, "somebody else wrote meanwhile; the stack is looked at again");
            environment.queue.add(&key, Instant::now() + SHORTEST_WAIT, Priority::Event);
        }
        Ok(Err(error)) => {
            let count = errors.entry(key.clone()).or_insert(0);
            *count += 1;
            let wait = backoff(*count, shared.ambient.random());
            let wait = if planted!("an error is answered at once") { SHORTEST_WAIT } else { wait };
            tracing::warn!(stack = %key, %error, errors = *count, ?wait, "a pass broke off");
            environment.queue.add(&key, Instant::now() + wait, Priority::Event);
        }
        Err(_) => {
            tracing::error!(stack = %key, "a pass took too long and was broken off");
            environment.queue.add(&key, Instant::now() + Duration::from_secs(10), Priority::Event);
        }
    }
}

async fn one_pass(
    shared: &Shared,
    environment: &Arc<Observed>,
    key: &StackKey,
    priority: Priority,
) -> Result<Option<Next>, PassError> {
    if priority == Priority::Resync && environment.at_rest.holds(environment, &shared.ledger, key)? {
        return Ok(Some(Next::Idle));
    }
    tracing::trace!(stack = %key, "a pass begins");
    environment.at_rest.forget(key);
    match Pass::load(shared, environment.clone(), key)? {
        Some(mut pass) => {
            let next = reconcile::reconcile(&mut pass).await?;
            if next == Some(Next::Idle) && pass.is_at_rest() {
                environment.at_rest.note(&pass);
            }
            Ok(next)
        }
        None => {
            shared.sources.leave(key);
            environment.tasks.leave(key);
            shared.renditions.forget(key);
            Ok(None)
        }
    }
}
