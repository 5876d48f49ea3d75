//! Where tasks go: the scheduler, its filters in the engine's order, and the engine's words for why there is no place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::{SlotKey, World};
use crate::domain::{Node, Placement, ServiceSpec, Task, TaskState};

/// What is taken on a node.
#[derive(Debug, Default)]
struct Usage {
    nano_cpus: i64,
    memory_bytes: i64,
    ports: BTreeSet<(String, u32)>,
    tasks: usize,
    by_service: BTreeMap<String, usize>,
    /// Tasks that are meant to go on, by service: what `max_replicas` counts.
    lasting: BTreeMap<String, u64>,
}

/// Why a node will not do, in the order the scheduler asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    NotReady,
    Resources,
    Constraints,
    Platform,
    HostPort,
    MaxReplicas,
}

impl Obstacle {
    fn words(self, nodes: usize) -> String {
        let on = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
        match self {
            Self::NotReady => format!("{on} not available for new tasks"),
            Self::Resources => format!("insufficient resources on {on}"),
            Self::Constraints => format!("scheduling constraints not satisfied on {on}"),
            Self::Platform => format!("unsupported platform on {on}"),
            Self::HostPort => format!("host-mode port already in use on {on}"),
            Self::MaxReplicas => "max replicas per node limit exceed".to_owned(),
        }
    }
}

impl World {
    /// Puts every pending task on a node, or says why it cannot.
    pub(super) fn schedule(&mut self) {
        let pending = self.in_order(|task| task.live.state == TaskState::Pending);
        let mut usage = self.usage();
        for id in pending {
            let Some(task) = self.tasks.get(&id) else { continue };
            let live = task.live.clone();
            if live.desired >= TaskState::Shutdown {
                // The remark stays: nobody but the scheduler ever saw this task.
                self.shut_unassigned(&id);
                continue;
            }
            match self.find_node(&live, &usage) {
                Ok(node) => {
                    if let Some(used) = usage.get_mut(&node) {
                        used.take(&live, &self.host_ports(&live));
                    }
                    self.assign(&id, &node);
                }
                Err(reason) => self.explain(&id, reason),
            }
        }
    }

    fn shut_unassigned(&mut self, id: &str) {
        self.set_state(id, TaskState::Shutdown, String::new(), None);
        if let Some(task) = self.tasks.get_mut(id) {
            "pending task scheduling".clone_into(&mut Arc::make_mut(&mut task.live).message);
        }
    }

    fn assign(&mut self, id: &str, node: &str) {
        if let Some(task) = self.tasks.get_mut(id) {
            node.clone_into(&mut Arc::make_mut(&mut task.live).node_id);
        }
        self.set_state(id, TaskState::Assigned, String::new(), None);
        self.agent_look(id);
    }

    fn explain(&mut self, id: &str, reason: String) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.live.error == reason {
            return;
        }
        let text = format!("task {} waits: {reason}", task.label);
        Arc::make_mut(&mut task.live).error = reason;
        self.bump();
        self.note(&text);
    }

    fn usage(&self) -> BTreeMap<String, Usage> {
        let mut usage: BTreeMap<String, Usage> = self.nodes.keys().map(|id| (id.clone(), Usage::default())).collect();
        let placed = |task: &Task| task.state >= TaskState::Assigned && !task.state.is_over();
        for task in self.tasks.values().filter(|task| placed(&task.live)) {
            if let Some(used) = usage.get_mut(&task.live.node_id) {
                used.take(&task.live, &self.host_ports(&task.live));
            }
        }
        usage
    }

    fn find_node(&self, task: &Task, usage: &BTreeMap<String, Usage>) -> Result<String, String> {
        let preset = !task.node_id.is_empty();
        let mut obstacles: BTreeMap<Obstacle, usize> = BTreeMap::new();
        let mut fit: Vec<(usize, usize, &String)> = Vec::new();
        for (id, node) in self.nodes.iter().filter(|(id, _)| !preset || **id == task.node_id) {
            let Some(used) = usage.get(id) else { continue };
            match self.obstacle(task, node, used) {
                Some(obstacle) => *obstacles.entry(obstacle).or_default() += 1,
                None => fit.push((used.by_service.get(&task.service_id).copied().unwrap_or(0), used.tasks, id)),
            }
        }
        if let Some((_, _, node)) = fit.into_iter().min() {
            return Ok(node.clone());
        }
        let mut told: Vec<(Obstacle, usize)> = obstacles.into_iter().collect();
        told.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let words: Vec<String> = told.into_iter().map(|(obstacle, nodes)| obstacle.words(nodes)).collect();
        let words = words.join("; ");
        Err(if preset {
            words
        } else if words.is_empty() {
            "no suitable node".to_owned()
        } else {
            format!("no suitable node ({words})")
        })
    }

    fn obstacle(&self, task: &Task, node: &Node, used: &Usage) -> Option<Obstacle> {
        let (cpus, memory) = reserved(task);
        let placement = task.spec.placement.as_ref();
        let ports = self.host_ports(task);
        let most = placement.map_or(0, |placement| placement.max_replicas);
        if !node.takes_tasks() {
            Some(Obstacle::NotReady)
        } else if used.nano_cpus + cpus > node.nano_cpus || used.memory_bytes + memory > node.memory_bytes {
            Some(Obstacle::Resources)
        } else if !placement.is_none_or(|placement| constraints_met(placement, node)) {
            Some(Obstacle::Constraints)
        } else if !placement.is_none_or(|placement| platform_fits(placement, node)) {
            Some(Obstacle::Platform)
        } else if ports.iter().any(|port| used.ports.contains(port)) {
            Some(Obstacle::HostPort)
        } else if most > 0 && used.lasting.get(&task.service_id).is_some_and(|count| *count >= most) {
            Some(Obstacle::MaxReplicas)
        } else {
            None
        }
    }

    /// The ports a task takes on its node.
    fn host_ports(&self, task: &Task) -> Vec<(String, u32)> {
        let endpoint = self.tasks.get(&task.id).and_then(|task| task.endpoint.as_ref());
        let ports = endpoint.map_or(&[][..], |endpoint| &endpoint.ports);
        let host = ports.iter().filter(|port| port.publish_mode == "host" && port.published_port != 0);
        host.map(|port| (port.protocol.clone(), port.published_port)).collect()
    }

    /// The nodes a global service runs on.
    pub(super) fn global_nodes(&self, spec: &ServiceSpec) -> Vec<SlotKey> {
        let fits = |node: &Node| {
            let placement = spec.task_template.placement.as_ref();
            node.takes_tasks() && placement.is_none_or(|p| constraints_met(p, node) && platform_fits(p, node))
        };
        self.nodes.values().filter(|node| fits(node)).map(|node| SlotKey::Node(node.id.clone())).collect()
    }
}

impl Usage {
    fn take(&mut self, task: &Task, ports: &[(String, u32)]) {
        let (cpus, memory) = reserved(task);
        self.nano_cpus += cpus;
        self.memory_bytes += memory;
        self.ports.extend(ports.iter().cloned());
        self.tasks += 1;
        *self.by_service.entry(task.service_id.clone()).or_default() += 1;
        if task.desired <= TaskState::Complete {
            *self.lasting.entry(task.service_id.clone()).or_default() += 1;
        }
    }
}

fn reserved(task: &Task) -> (i64, i64) {
    let reservations = task.spec.resources.as_ref().and_then(|resources| resources.reservations.as_ref());
    reservations.map_or((0, 0), |set| (set.nano_cpus, set.memory_bytes))
}

/// Whether a node meets all constraints of a placement.
pub(super) fn constraints_met(placement: &Placement, node: &Node) -> bool {
    placement.constraints.iter().all(|text| {
        let Some((key, wanted, equal)) = split(text) else { return false };
        let found = match key.split_once("labels.") {
            Some((_, label)) => node.labels.get(label).map(String::as_str),
            None => match key {
                "node.id" => Some(node.id.as_str()),
                "node.hostname" => Some(node.hostname.as_str()),
                "node.role" => Some(if node.manager { "manager" } else { "worker" }),
                "node.platform.os" => Some(node.platform.os.as_str()),
                "node.platform.arch" => Some(node.platform.architecture.as_str()),
                _ => return false,
            },
        };
        found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)) == equal
    })
}

/// The key, the value, and whether they are to be equal.
fn split(constraint: &str) -> Option<(&str, &str, bool)> {
    let (key, value, equal) = match constraint.split_once("!=") {
        Some((key, value)) => (key, value, false),
        None => constraint.split_once("==").map(|(key, value)| (key, value, true))?,
    };
    (!key.trim().is_empty() && !value.trim().is_empty()).then(|| (key.trim(), value.trim(), equal))
}

/// Whether the engine can read a constraint at all.
pub(super) fn is_constraint(text: &str) -> bool {
    split(text).is_some()
}

fn platform_fits(placement: &Placement, node: &Node) -> bool {
    let same = |wanted: &str, found: &str| wanted.is_empty() || plain(wanted) == plain(found);
    placement.platforms.is_empty()
        || placement.platforms.iter().any(|platform| {
            same(&platform.os, &node.platform.os) && same(&platform.architecture, &node.platform.architecture)
        })
}

/// One name for each architecture: registries and kernels call them differently.
fn plain(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
