//! What can be known to fail before anything is changed: services that no node can take, or not enough nodes; a port of
//! the nodes that others hold. Objects that are missing, foreign or cannot be changed, and ports that Swarm publishes for
//! another service, are refused by the plan itself.
//!
//! Only the new version's own fault is found. What the last good version would meet too, now, is the infrastructure's: the
//! deployment goes on and waits for it. While no node takes tasks at all nothing can be said.
//!
//! What is found is certain as far as the managers know their nodes; what is not found may fail all the same: what tasks of
//! other services have reserved is not looked at, for they may go.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::places::{self, obstacle, room};
use super::ports::{new_spec, published};
use super::services::effective;
use super::{Plan, Refusal, objects, ports};
use crate::domain::{Desired, DesiredService, Effect, Failure, FailureClass, Node, ServiceSpec, Snapshot};

/// So many nodes are named with what they lack.
const NODES_TOLD: usize = 6;

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preflight {
    /// Why this version cannot come about, service by service. Nothing is to be changed for it.
    pub refused: Vec<Failure>,
    /// What is odd, and may run all the same.
    pub warnings: Vec<String>,
}

/// Looks at what a plan makes and changes, and at the jobs that run for it. `last_good`: the version that would be gone back to.
#[must_use]
pub fn preflight(plan: &Plan, desired: &Desired, last_good: Option<&Desired>, live: &Snapshot) -> Preflight {
    let mut found = Preflight::default();
    if !live.nodes.values().any(|node| node.takes_tasks()) {
        return found;
    }
    let wanted = Version::of(plan, desired, live);
    let good = last_good.map(|good| Version::of(plan, good, live));
    let jobs = plan.jobs.iter().map(|job| &job.service);
    let services = plan.steps.iter().filter_map(new_spec).filter_map(|spec| desired.services.get(&spec.name));
    for service in services.chain(jobs) {
        let spec = &service.spec;
        let meets_it_too = || good.as_ref().is_some_and(|good| good.obstacle_of(&spec.name).is_some());
        if let Some((class, error)) = wanted.obstacle_of(&spec.name).filter(|_| !meets_it_too()) {
            let mut failure = Failure::new(class, error);
            failure.service = Some(service.key.clone());
            found.refused.push(failure);
        } else {
            found.warnings.extend(more_than_any_node(&service.key, spec, live));
        }
    }
    found
}

/// Why a version that has run before could not run now: something from outside of the stack is gone, or a service has no place
/// for all of its tasks. While no node takes tasks at all nothing can be said.
///
/// What others hold and reserve is not looked at, nor what runs of it: it may run this very moment.
#[must_use]
pub fn could_not_come_back(desired: &Desired, live: &Snapshot) -> Option<String> {
    if !live.nodes.values().any(|node| node.takes_tasks()) {
        return None;
    }
    if let Some(missing) = objects::missing_externals(desired, live).into_iter().next() {
        return Some(Refusal::MissingExternal(missing).to_string());
    }
    let nodes = Nodes::of(live);
    let no_place = |service: &DesiredService| {
        let error = nodes.no_place(&service.spec, wanted(&service.spec))?;
        Some(format!("service `{}`: {error}", service.key))
    };
    desired.services.values().find_map(no_place)
}

/// A limit of memory is no reservation: the task runs, and the limit never bites.
fn more_than_any_node(key: &str, spec: &ServiceSpec, live: &Snapshot) -> Option<String> {
    let limit = places::sets(spec).0.memory_bytes;
    let most = live.nodes.values().filter(|node| node.takes_tasks()).map(|node| node.memory_bytes).max()?;
    (most > 0 && limit > most).then(|| {
        format!(
            "service `{key}`: its limit of {} of memory is more than any node has ({})",
            places::memory(limit),
            places::memory(most)
        )
    })
}

/// The nodes of the Swarm, by name.
struct Nodes<'a>(Vec<&'a Arc<Node>>);

impl<'a> Nodes<'a> {
    fn of(live: &'a Snapshot) -> Self {
        let mut nodes: Vec<&Arc<Node>> = live.nodes.values().collect();
        nodes.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
        Self(nodes)
    }

    /// Those that can take a task of it.
    fn fit(&self, spec: &ServiceSpec) -> BTreeMap<&'a str, &'a Node> {
        self.0.iter().filter(|node| obstacle(spec, node).is_none()).map(|node| (node.id.as_str(), &***node)).collect()
    }

    /// Why so many tasks of it (or one, where each node is to have one) have no place.
    fn no_place(&self, spec: &ServiceSpec, wanted: Option<u64>) -> Option<String> {
        if wanted == Some(0) {
            return None;
        }
        let fit = self.fit(spec);
        if fit.is_empty() {
            return Some(format!("no node can take it: {}", self.told(spec)));
        }
        let rooms = fit.values().map(|node| room(spec, node)).fold(0_u64, u64::saturating_add);
        let wanted = wanted.filter(|wanted| *wanted > rooms)?;
        Some(format!("of {wanted} tasks only {rooms} would have a place: {}", self.rooms_told(spec)))
    }

    /// Each node with what it lacks.
    fn told(&self, spec: &ServiceSpec) -> String {
        self.list(|node| obstacle(spec, node).unwrap_or_default())
    }

    /// Each node with how many tasks it has room for.
    fn rooms_told(&self, spec: &ServiceSpec) -> String {
        self.list(|node| obstacle(spec, node).unwrap_or_else(|| format!("has room for {}", room(spec, node))))
    }

    fn list(&self, say: impl Fn(&Node) -> String) -> String {
        let told = self.0.iter().take(NODES_TOLD).map(|node| format!("node `{}` {}", node.hostname, say(node)));
        let told = told.collect::<Vec<_>>().join("; ");
        match self.0.len().saturating_sub(NODES_TOLD) {
            0 => told,
            more => format!("{told}; and {more} nodes more"),
        }
    }
}

/// A version, as its services would stand beside those that stay.
struct Version<'a> {
    nodes: Nodes<'a>,
    /// The services that matter, by name: the version's own, its jobs, and those of others that hold a port of their nodes.
    services: BTreeMap<&'a str, Cow<'a, ServiceSpec>>,
    /// Names of the services that hold a port of their nodes, by port.
    holders: BTreeMap<ports::Port<'a>, BTreeSet<&'a str>>,
}

impl<'a> Version<'a> {
    fn of(plan: &Plan, desired: &'a Desired, live: &'a Snapshot) -> Self {
        let leaving: BTreeSet<&str> = plan
            .steps
            .iter()
            .filter(|step| matches!(step.effect, Effect::Remove { .. }))
            .map(|step| step.object.name.as_str())
            .collect();
        let mut services = BTreeMap::new();
        let mut holders: BTreeMap<ports::Port<'a>, BTreeSet<&'a str>> = BTreeMap::new();
        let mut hold = |spec: &'a ServiceSpec| {
            let mut holds = false;
            for (port, _) in published(spec).filter(|(_, on_node)| *on_node) {
                holders.entry(port).or_default().insert(&spec.name);
                holds = true;
            }
            holds
        };
        for (name, other) in &live.services {
            if !desired.services.contains_key(name) && !leaving.contains(name.as_str()) && hold(&other.spec) {
                services.insert(name.as_str(), Cow::Borrowed(&other.spec));
            }
        }
        for (name, service) in &desired.services {
            hold(&service.spec);
            let spec = match live.services.get(name) {
                Some(live) => Cow::Owned(effective(desired, &service.spec, live)),
                None => Cow::Borrowed(&*service.spec),
            };
            services.insert(name.as_str(), spec);
        }
        for (name, job) in &desired.jobs {
            services.entry(name.as_str()).or_insert(Cow::Borrowed(&*job.service.spec));
        }
        Self { nodes: Nodes::of(live), services, holders }
    }

    /// What keeps a service of this version from running as it is asked for.
    fn obstacle_of(&self, name: &str) -> Option<(FailureClass, String)> {
        let spec = self.services.get(name)?;
        let wanted = wanted(spec);
        if wanted == Some(0) {
            return None;
        }
        match self.nodes.no_place(spec, wanted) {
            Some(error) => Some((FailureClass::NoSuitableNode, error)),
            None => self.port_held(spec, &self.nodes.fit(spec), wanted),
        }
    }

    /// A port that only one task of a node can have, and others hold on so many of the nodes that too few are left.
    fn port_held(
        &self,
        spec: &ServiceSpec,
        fit: &BTreeMap<&'a str, &'a Node>,
        wanted: Option<u64>,
    ) -> Option<(FailureClass, String)> {
        let all = u64::try_from(fit.len()).unwrap_or(u64::MAX);
        let wanted = wanted.unwrap_or(all);
        for (port, _) in published(spec).filter(|(_, on_node)| *on_node) {
            let others = self.holders.get(&port).into_iter().flatten();
            let mut held = 0_u64;
            let mut by = Vec::new();
            for other in others.filter(|other| **other != spec.name) {
                let taken = self.services.get(other).map_or(0, |theirs| self.surely_on(theirs, fit));
                if taken > 0 {
                    held = held.saturating_add(taken);
                    by.push(format!("`{other}`"));
                }
            }
            if wanted > all.saturating_sub(held) {
                let why = match by.as_slice() {
                    [] => "one task of a node can have it".to_owned(),
                    by => format!("service {} holds it on {held} of them", by.join(", ")),
                };
                let error = format!(
                    "port {port} of the nodes is wanted by {wanted} tasks, {all} nodes can take one, and {why}; \
                     publish another port, or let Swarm publish it (mode `ingress`)"
                );
                return Some((FailureClass::PortConflict, error));
            }
        }
        None
    }

    /// On how many of these nodes a service has a task at least, however Swarm places them.
    fn surely_on(&self, theirs: &ServiceSpec, fit: &BTreeMap<&'a str, &'a Node>) -> u64 {
        let own = self.nodes.fit(theirs);
        let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        let there = if theirs.mode.is_job() { 0 } else { wanted(theirs).unwrap_or(u64::MAX).min(count(own.len())) };
        let elsewhere = own.keys().filter(|node| !fit.contains_key(*node)).count();
        there.saturating_sub(count(elsewhere))
    }
}

/// How many tasks are to run at a time; `None`: one on each node that fits. Those of a job may follow one another.
fn wanted(spec: &ServiceSpec) -> Option<u64> {
    let mode = &spec.mode;
    if mode.global.is_some() || mode.global_job.is_some() {
        return None;
    }
    match &mode.replicated_job {
        Some(job) => Some(job.total_completions.or(job.max_concurrent).unwrap_or(1).min(1)),
        None => Some(mode.replicated.as_ref().and_then(|replicated| replicated.replicas).unwrap_or(1)),
    }
}
