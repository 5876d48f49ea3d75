//! The port: calls with their faults, events, logs, and the connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream;

use super::SimSwarm;
use super::clock::Millis;
use super::fault::{CallKind, Passage, Stale, WriteCall, unreachable};
use super::world::{Subscriber, World};
use crate::domain::{Applied, Effect, Environment, Material, Task, TaskState};
use crate::ports::{
    BoxFuture, BoxStream, EngineCheck, EngineInfo, EngineLog, ImageError, Listing, LogRange, ResolvedImage, Swarm,
    SwarmConnector, SwarmError, SwarmEvent, TaskFilter, WatchedKind,
};

/// How long a call waits for an engine that hangs: as long as the real adapter does.
const NO_ANSWER: std::time::Duration = std::time::Duration::from_secs(20);

impl SimSwarm {
    /// One call: counted when it is made, carried out when it arrives.
    pub(super) async fn call<T>(
        &self,
        kind: CallKind,
        act: impl FnOnce(&mut World) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let latency = {
            let mut world = self.now();
            *world.journal.calls.entry(kind).or_default() += 1;
            world.latency
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let answer = self.with(|world| {
            let endpoint = world.endpoint.clone();
            match world.faults.passage(kind, &endpoint) {
                Passage::Free => Some(act(world)),
                Passage::LoseAnswer => {
                    drop(act(world));
                    Some(Err(unreachable(&endpoint, "the answer was lost")))
                }
                Passage::Fail(error) => Some(Err(error)),
                Passage::Hang => None,
            }
        });
        match answer {
            Some(answer) => answer,
            // The adapter waits no longer than this for an answer.
            None => {
                tokio::time::sleep(NO_ANSWER).await;
                Err(unreachable(&self.now().endpoint, "no answer within 20 s"))
            }
        }
    }

    async fn write(&self, effect: &Effect, material: &Material) -> Result<Applied, SwarmError> {
        let mut took_effect = false;
        let answer = self
            .call(CallKind::of(effect), |world| {
                let done = world.carry_out(effect, material);
                took_effect = done.is_ok();
                done
            })
            .await;
        let mut world = self.now();
        let call = WriteCall { at: world.date(), effect: effect.clone(), answer: answer.clone(), took_effect };
        world.journal.writes.push(call);
        answer
    }

    async fn subscribe(&self) -> Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError> {
        let number = self
            .call(CallKind::Events, |world| {
                let number = world.next_order();
                world.subscribers.insert(number, Subscriber::default());
                Ok(number)
            })
            .await?;
        let listener = Listener { swarm: self.clone(), number };
        Ok(Box::pin(stream::unfold(Some(listener), |listener| async move {
            let listener = listener?;
            let item = listener.next().await;
            let over = item.is_err();
            Some((item, (!over).then_some(listener)))
        })))
    }
}

/// One stream of events. It drives the Swarm while it waits, and is forgotten when it is dropped.
struct Listener {
    swarm: SimSwarm,
    number: u64,
}

impl Listener {
    async fn next(&self) -> Result<SwarmEvent, SwarmError> {
        loop {
            let changed = self.swarm.changed.notified();
            let due = {
                let mut world = self.swarm.now();
                let hang = world.faults.switches.hang;
                let next = world.next_due().map(|due| world.clock.instant(due));
                match world.subscribers.get_mut(&self.number) {
                    Some(_) if hang => {}
                    Some(subscriber) => {
                        if let Some(event) = subscriber.queue.pop_front() {
                            return Ok(event);
                        }
                        if let Some(error) = subscriber.broken.take() {
                            return Err(error);
                        }
                    }
                    None => return Err(unreachable(&world.endpoint, "unexpected EOF")),
                }
                next
            };
            match due {
                Some(due) => drop(tokio::time::timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.swarm.now().subscribers.remove(&self.number);
    }
}

impl Swarm for SimSwarm {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo, SwarmError>> {
        Box::pin(self.call(CallKind::Info, |world| {
            Ok(EngineInfo {
                endpoint: world.endpoint.clone(),
                engine: "20.10.24".to_owned(),
                api: "1.41".to_owned(),
                swarm_id: world.swarm_id.clone(),
                node_id: world.nodes.values().find(|node| node.leader).map(|node| node.id.clone()).unwrap_or_default(),
            })
        }))
    }

    fn list(&self, kind: WatchedKind) -> BoxFuture<'_, Result<Listing, SwarmError>> {
        Box::pin(self.call(CallKind::List, move |world| Ok(world.seen(kind, |_| true))))
    }

    fn inspect<'a>(&'a self, kind: WatchedKind, id: &'a str) -> BoxFuture<'a, Result<Option<Listing>, SwarmError>> {
        Box::pin(self.call(CallKind::Inspect, move |world| {
            let found = world.seen(kind, |known| known == id);
            Ok((!is_empty(&found)).then_some(found))
        }))
    }

    fn tasks<'a>(&'a self, filter: &'a TaskFilter) -> BoxFuture<'a, Result<Vec<Arc<Task>>, SwarmError>> {
        Box::pin(self.call(CallKind::Tasks, move |world| {
            let wanted = |task: &Task| match filter {
                TaskFilter::All => true,
                TaskFilter::Services(ids) => ids.contains(&task.service_id),
            };
            if let Some(stale) = world.stale() {
                return Ok(stale.tasks.iter().filter(|task| wanted(task)).cloned().collect());
            }
            Ok(world.tasks.values().filter(|task| wanted(&task.live)).map(|task| task.live.clone()).collect())
        }))
    }

    fn apply<'a>(&'a self, effect: &'a Effect, material: &'a Material) -> BoxFuture<'a, Result<Applied, SwarmError>> {
        Box::pin(self.write(effect, material))
    }

    fn events(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError>> {
        Box::pin(self.subscribe())
    }

    fn resolve<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<ResolvedImage, ImageError>> {
        Box::pin(async move {
            let asked = self.call(CallKind::Resolve, |world| Ok(world.script.registry.get(image).cloned())).await;
            match asked {
                Ok(Some(answer)) => answer,
                Ok(None) => Err(ImageError::Unreachable("there is no registry in this world".to_owned())),
                Err(error) => Err(ImageError::Engine(error)),
            }
        })
    }

    fn task_logs<'a>(&'a self, task_id: &'a str, tail: u32) -> BoxFuture<'a, Result<Vec<EngineLog>, SwarmError>> {
        Box::pin(self.call(CallKind::TaskLogs, move |world| {
            let Some(task) = world.tasks.get(task_id) else {
                let reason = format!("task {task_id} not found");
                return Err(SwarmError::NotFound { object: format!("task `{task_id}`"), reason });
            };
            Ok(last(world.lines_of(&task.live), tail))
        }))
    }

    fn task_health<'a>(
        &'a self,
        task_id: &'a str,
        last: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<EngineCheck>>, SwarmError>> {
        Box::pin(self.call(CallKind::TaskHealth, move |world| {
            let Some(task) = world.tasks.get(task_id) else {
                let reason = format!("task {task_id} not found");
                return Err(SwarmError::NotFound { object: format!("task `{task_id}`"), reason });
            };
            // A node knows its own containers alone, and the leader is the one that answers.
            let here = world.nodes.get(&task.live.node_id).is_some_and(|node| node.leader);
            let begun = task.live.state >= TaskState::Starting && task.live.state != TaskState::Rejected;
            Ok((here && begun).then(|| {
                let mut checks = world.script.checks(&task.live.spec.container_spec);
                checks.drain(..checks.len().saturating_sub(last));
                checks
            }))
        }))
    }

    fn service_log(&self, service_id: &str, range: &LogRange) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
        super::log::of_service(self.clone(), service_id.to_owned(), range.clone())
    }
}

pub(super) fn last(mut lines: Vec<EngineLog>, tail: u32) -> Vec<EngineLog> {
    let spare = lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
    lines.drain(..spare);
    lines
}

fn is_empty(listing: &Listing) -> bool {
    match listing {
        Listing::Services(all) => all.is_empty(),
        Listing::Networks(all) => all.is_empty(),
        Listing::Configs(all) => all.is_empty(),
        Listing::Secrets(all) => all.is_empty(),
        Listing::Nodes(all) => all.is_empty(),
    }
}

impl World {
    /// What reads show now, if that is not how things are.
    fn stale(&self) -> Option<&Stale> {
        self.faults.stale.as_ref().filter(|stale| stale.until > self.now)
    }

    /// From now on, and for so long, reads show how things are now.
    pub(super) fn freeze(&mut self, span: Millis) {
        let listings = WatchedKind::ALL.map(|kind| (kind, self.listing(kind, |_| true))).to_vec();
        let tasks = self.tasks.values().map(|task| task.live.clone()).collect();
        self.faults.stale = Some(Stale { until: self.now + span, listings, tasks });
    }

    /// Objects of a kind, as a read shows them.
    fn seen(&self, kind: WatchedKind, which: impl Fn(&str) -> bool) -> Listing {
        let Some(stale) = self.stale() else { return self.listing(kind, which) };
        let known = stale.listings.iter().find(|(of, _)| *of == kind).map(|(_, listing)| listing.clone());
        match known.unwrap_or_else(|| self.listing(kind, |_| true)) {
            Listing::Services(all) => Listing::Services(all.into_iter().filter(|live| which(&live.id)).collect()),
            Listing::Networks(all) => Listing::Networks(all.into_iter().filter(|live| which(&live.id)).collect()),
            Listing::Configs(all) => Listing::Configs(all.into_iter().filter(|live| which(&live.id)).collect()),
            Listing::Secrets(all) => Listing::Secrets(all.into_iter().filter(|live| which(&live.id)).collect()),
            Listing::Nodes(all) => Listing::Nodes(all.into_iter().filter(|live| which(&live.id)).collect()),
        }
    }

    fn listing(&self, kind: WatchedKind, which: impl Fn(&str) -> bool) -> Listing {
        fn pick<T, O: Clone>(
            all: &BTreeMap<String, T>,
            which: impl Fn(&str) -> bool,
            live: impl Fn(&T) -> &O,
        ) -> Vec<O> {
            all.iter().filter(|(id, _)| which(id)).map(|(_, object)| live(object).clone()).collect()
        }
        match kind {
            WatchedKind::Service => Listing::Services(pick(&self.services, which, |service| &service.live)),
            WatchedKind::Network => Listing::Networks(pick(&self.networks, which, |network| network)),
            WatchedKind::Config => Listing::Configs(pick(&self.configs, which, |config| config)),
            WatchedKind::Secret => Listing::Secrets(pick(&self.secrets, which, |secret| &secret.live)),
            WatchedKind::Node => Listing::Nodes(pick(&self.nodes, which, |node| node)),
        }
    }

    /// What the container of a task wrote, if it came to have one.
    pub(super) fn lines_of(&self, task: &Task) -> Vec<EngineLog> {
        if task.state < TaskState::Starting || task.state == TaskState::Rejected || task.node_id.is_empty() {
            return Vec::new();
        }
        let lines = self.script.lines(&task.spec.container_spec);
        let (id, node) = (Some(task.id.clone()), Some(task.node_id.clone()));
        let line = |line| EngineLog {
            time: task.created_at,
            stderr: false,
            line,
            cut: false,
            task: id.clone(),
            node: node.clone(),
        };
        lines.into_iter().map(line).collect()
    }
}

/// Connects environments to simulated Swarms, by the environment's name.
#[derive(Debug, Clone, Default)]
pub struct SimConnector {
    swarms: BTreeMap<String, SimSwarm>,
}

impl SimConnector {
    /// A connector that knows no environment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same connector with one environment more.
    #[must_use]
    pub fn with(mut self, environment: &str, swarm: SimSwarm) -> Self {
        self.swarms.insert(environment.to_owned(), swarm);
        self
    }
}

impl SwarmConnector for SimConnector {
    fn connect(&self, environment: &Environment) -> Result<Arc<dyn Swarm>, SwarmError> {
        let name = environment.name.as_str();
        match self.swarms.get(name) {
            Some(swarm) => Ok(Arc::new(swarm.clone())),
            None => Err(SwarmError::Refused {
                object: format!("environment `{name}`"),
                reason: "no such Swarm is simulated".to_owned(),
            }),
        }
    }
}
