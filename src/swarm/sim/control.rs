//! What a test can do to a simulated Swarm, and see of it, besides the port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::behaviour::Behaviour;
use super::clock::{SimAmbient, SimClock, millis};
use super::fault::{CallKind, Fault, Faults, WriteCall};
use super::world::World;
use super::{SimNode, SimSwarm};
use crate::domain::{
    Applied, ConfigSpec, LiveService, Material, NetworkSpec, NodeAvailability, NodeState, ObjectKind, ObjectRef,
    SecretBytes, SecretSpec, ServiceSpec, Task,
};
use crate::ports::{ImageError, ResolvedImage, SwarmError};

/// Scripts.
impl SimSwarm {
    /// Says what containers of an image do from now on, under any digest. `SIM=word` in a spec's environment, arguments or
    /// command goes before it (see [`Behaviour::parse`]).
    pub fn image(&self, image: &str, behaviour: Behaviour) {
        self.with(|world| world.script.images.insert(image.to_owned(), behaviour));
    }

    /// Says what the registry answers about an image.
    pub fn registry(&self, image: &str, answer: Result<ResolvedImage, ImageError>) {
        self.with(|world| world.script.registry.insert(image.to_owned(), answer));
    }

    /// Says what containers of an image write.
    pub fn lines(&self, image: &str, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.with(|world| world.script.lines.insert(image.to_owned(), lines));
    }

    /// Says what the health checks of an image write, where its containers are not healthy.
    pub fn checks(&self, image: &str, output: &str) {
        self.with(|world| world.script.checks.insert(image.to_owned(), output.to_owned()));
    }
}

/// Faults.
impl SimSwarm {
    /// The next call of this kind fails without effect. Faults of one kind queue up.
    pub fn fail_next(&self, kind: CallKind, error: SwarmError) {
        self.with(|world| world.faults.next.entry(kind).or_default().push_back(Fault::Fail(error)));
    }

    /// The next call of this kind has its effect, but its caller gets [`SwarmError::Unreachable`].
    pub fn lose_answer_next(&self, kind: CallKind) {
        self.with(|world| world.faults.next.entry(kind).or_default().push_back(Fault::LoseAnswer));
    }

    /// Nobody can reach the managers: all calls fail and event streams end. The Swarm itself goes on.
    pub fn set_down(&self, down: bool) {
        self.with(|world| {
            world.faults.switches.down = down;
            if down {
                world.break_streams("connection reset by peer");
            }
        });
    }

    /// Calls made while this is on get no answer and end after 20 s, as the real adapter has it; event streams stand still.
    pub fn hang(&self, hang: bool) {
        self.with(|world| world.faults.switches.hang = hang);
    }

    /// The managers have no majority: calls fail, and the Swarm does nothing by itself until they have one again.
    pub fn no_quorum(&self, lost: bool) {
        self.with(|world| world.set_quorum(lost));
    }

    /// The engine answers, but is no manager.
    pub fn not_a_manager(&self, worker: bool) {
        self.with(|world| world.faults.switches.no_manager = worker);
    }

    /// For so long, reads show how things stand now, whatever happens meanwhile: a manager that lags behind.
    pub fn stale_reads(&self, span: Duration) {
        self.with(|world| world.freeze(millis(span)));
    }

    /// Nothing goes wrong any more: what was switched on is off, and no fault waits for its call.
    pub fn mend(&self) {
        self.with(|world| {
            world.set_quorum(false);
            world.faults = Faults::default();
        });
    }

    /// The next events are lost.
    pub fn drop_events(&self, count: u64) {
        self.with(|world| world.faults.drop_events = count);
    }

    /// The next events come twice.
    pub fn duplicate_events(&self, count: u64) {
        self.with(|world| world.faults.duplicate_events = count);
    }

    /// Event streams end as if the connection was lost; a new one can be had at once.
    pub fn break_events(&self) {
        self.with(|world| world.break_streams("unexpected EOF"));
    }
}

/// Nodes, by host name.
impl SimSwarm {
    /// A node joins.
    pub fn add_node(&self, node: &SimNode) {
        self.with(|world| world.add_node(node));
    }

    /// A node is not heard of any more: its tasks are made anew elsewhere, and its own stand still as they are.
    pub fn node_down(&self, hostname: &str) {
        self.with(|world| world.change_node(hostname, |node| node.state = NodeState::Down));
    }

    /// A node is heard of again.
    pub fn node_up(&self, hostname: &str) {
        self.with(|world| world.change_node(hostname, |node| node.state = NodeState::Ready));
    }

    /// A node's tasks go elsewhere, and it takes no new ones.
    pub fn node_drain(&self, hostname: &str) {
        self.with(|world| world.change_node(hostname, |node| node.availability = NodeAvailability::Drain));
    }

    /// A node takes tasks again.
    pub fn node_activate(&self, hostname: &str) {
        self.with(|world| world.change_node(hostname, |node| node.availability = NodeAvailability::Active));
    }

    /// A node gets a label.
    pub fn node_label(&self, hostname: &str, key: &str, value: &str) {
        self.with(|world| {
            world.change_node(hostname, |node| drop(node.labels.insert(key.to_owned(), value.to_owned())))
        });
    }
}

/// Other people's hands. None of this is counted as a call or written down as a write.
impl SimSwarm {
    /// Someone makes a network.
    ///
    /// # Errors
    /// As the engine's.
    pub fn foreign_network(&self, spec: &NetworkSpec) -> Result<Applied, SwarmError> {
        self.with(|world| world.create_network(spec))
    }

    /// Someone makes a config.
    ///
    /// # Errors
    /// As the engine's.
    pub fn foreign_config(&self, spec: &ConfigSpec) -> Result<Applied, SwarmError> {
        self.with(|world| world.create_config(spec))
    }

    /// Someone makes a secret.
    ///
    /// # Errors
    /// As the engine's.
    pub fn foreign_secret(&self, spec: &SecretSpec, data: SecretBytes) -> Result<Applied, SwarmError> {
        let material = Material(BTreeMap::from([(spec.name.clone(), data)]));
        self.with(|world| world.create_secret(spec, &material))
    }

    /// Someone makes a service.
    ///
    /// # Errors
    /// As the engine's.
    pub fn foreign_service(&self, spec: &ServiceSpec) -> Result<Applied, SwarmError> {
        self.with(|world| world.create_service(spec))
    }

    /// Someone changes a service, by name.
    ///
    /// # Errors
    /// As the engine's; [`SwarmError::NotFound`] when there is no such service.
    pub fn foreign_update(&self, name: &str, change: impl FnOnce(&mut ServiceSpec)) -> Result<Applied, SwarmError> {
        self.with(|world| {
            let live = world.named(name)?;
            let mut spec = live.spec.clone();
            change(&mut spec);
            world.update_service(&live.id, live.version, &spec)
        })
    }

    /// Someone rolls a service back by hand, by name.
    ///
    /// # Errors
    /// [`SwarmError::Refused`] when it has no previous spec, [`SwarmError::NotFound`] when it is not there.
    pub fn foreign_rollback(&self, name: &str) -> Result<Applied, SwarmError> {
        self.with(|world| {
            let id = world.named(name)?.id.clone();
            world.manual_rollback(&id)
        })
    }

    /// Someone removes an object, by kind and name.
    ///
    /// # Errors
    /// As the engine's; [`SwarmError::NotFound`] when there is none of that name.
    pub fn foreign_remove(&self, object: &ObjectRef) -> Result<Applied, SwarmError> {
        self.with(|world| {
            let id = world.id_of(object).unwrap_or_default();
            world.remove(object, &id)
        })
    }
}

/// What can be seen without a call.
impl SimSwarm {
    /// The clock.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.now().clock
    }

    /// An ambient on the same clock.
    #[must_use]
    pub fn ambient(&self, seed: u64) -> SimAmbient {
        SimAmbient::new(self.clock(), seed)
    }

    /// All write calls that reached the engine or broke on the way, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<WriteCall> {
        self.now().journal.writes.clone()
    }

    /// How many calls were made, by kind.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<CallKind, u64> {
        self.now().journal.calls.clone()
    }

    /// How many calls were made in all.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.now().journal.calls.values().sum()
    }

    /// Forgets all calls and writes so far, to look at what comes.
    pub fn forget_calls(&self) {
        let mut world = self.now();
        world.journal.calls.clear();
        world.journal.writes.clear();
    }

    /// Everything that happened, one line each: milliseconds, then what.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.now().journal.trace.clone()
    }

    /// A service by name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Arc<LiveService>> {
        self.now().named(name).ok()
    }

    /// What Swarm's own `rollback` would go back to, by service name.
    #[must_use]
    pub fn previous_spec(&self, name: &str) -> Option<ServiceSpec> {
        let world = self.now();
        let id = &world.named(name).ok()?.id;
        world.services.get(id)?.previous.as_ref().map(|(spec, _)| spec.clone())
    }

    /// The tasks of a service by name, in the order of their creation.
    #[must_use]
    pub fn tasks_of(&self, name: &str) -> Vec<Arc<Task>> {
        let world = self.now();
        let Ok(live) = world.named(name) else { return Vec::new() };
        let ids = world.in_order(|task| task.live.service_id == live.id);
        ids.iter().filter_map(|id| world.tasks.get(id)).map(|task| task.live.clone()).collect()
    }

    /// The names of all objects of a kind, sorted. The network `ingress` is always there.
    #[must_use]
    pub fn names(&self, kind: ObjectKind) -> Vec<String> {
        let world = self.now();
        let mut names: Vec<String> = match kind {
            ObjectKind::Network => world.networks.values().map(|network| network.name.clone()).collect(),
            ObjectKind::Config => world.configs.values().map(|config| config.name.clone()).collect(),
            ObjectKind::Secret => world.secrets.values().map(|secret| secret.live.name.clone()).collect(),
            ObjectKind::Service => world.services.values().map(|service| service.live.spec.name.clone()).collect(),
        };
        names.sort_unstable();
        names
    }

    /// An object's engine id and labels, by kind and name, and what a config holds.
    #[must_use]
    pub fn labels_of(&self, object: &ObjectRef) -> Option<(String, BTreeMap<String, String>, Vec<u8>)> {
        let world = self.now();
        let id = world.id_of(object)?;
        let (labels, data) = match object.kind {
            ObjectKind::Network => (world.networks.get(&id)?.labels.clone(), Vec::new()),
            ObjectKind::Config => {
                let config = world.configs.get(&id)?;
                (config.labels.clone(), config.data.clone())
            }
            ObjectKind::Secret => (world.secrets.get(&id)?.live.labels.clone(), Vec::new()),
            ObjectKind::Service => (world.services.get(&id)?.live.spec.labels.clone(), Vec::new()),
        };
        Some((id, labels, data))
    }

    /// The content of a secret, by name, as it was sent.
    #[must_use]
    pub fn secret_data(&self, name: &str) -> Option<SecretBytes> {
        self.now().secrets.values().find(|secret| secret.live.name == name)?.data.clone()
    }
}

impl World {
    /// A service by name.
    fn named(&self, name: &str) -> Result<Arc<LiveService>, SwarmError> {
        let found = self.services.values().find(|service| service.live.spec.name == name);
        found.map(|service| service.live.clone()).ok_or_else(|| SwarmError::NotFound {
            object: ObjectRef::new(ObjectKind::Service, name).to_string(),
            reason: format!("service {name} not found"),
        })
    }

    /// The id of an object of this kind and name.
    fn id_of(&self, object: &ObjectRef) -> Option<String> {
        let name = &object.name;
        match object.kind {
            ObjectKind::Network => self.networks.values().find(|n| n.name == *name).map(|n| n.id.clone()),
            ObjectKind::Config => self.configs.values().find(|c| c.name == *name).map(|c| c.id.clone()),
            ObjectKind::Secret => self.secrets.values().find(|s| s.live.name == *name).map(|s| s.live.id.clone()),
            ObjectKind::Service => self.named(name).ok().map(|service| service.id.clone()),
        }
    }
}
