//! What tasks go through: the allocator and the node take them from state to state.
//!
//! The times are those measured on an idle node (engine 20.10): a task is pending after 20 ms, assigned after 70 ms,
//! preparing after 0.2 s, starting after 0.5 s, running after about 1 s. Stopping one takes 1.3 s, on a network over 3 s,
//! because the node waits for the load balancers to hear of it first.

use std::sync::Arc;

use super::behaviour::{Pull, Start};
use super::clock::{Millis, millis};
use super::world::{Planned, SimTask, SlotKey, Tick, World};
use crate::domain::{NodeState, Task, TaskState};

/// How long the load balancers are given to forget a task before it is told to stop.
const GOSSIP: Millis = 2_600;

impl World {
    /// Makes a task of a service's present spec.
    pub(super) fn new_task(&mut self, service_id: &str, key: &SlotKey, desired: TaskState) -> Option<String> {
        let (id, order, date) = (self.fresh_id(), self.next_order(), self.date());
        let service = self.services.get_mut(service_id)?;
        service.made += 1;
        let live = &service.live;
        // A task's spec does not name the runtime, though the service's does.
        let spec = crate::domain::TaskSpec { runtime: None, ..live.spec.task_template.clone() };
        let (slot, node_id, place) = match key {
            SlotKey::Slot(slot) => (Some(*slot), String::new(), slot.to_string()),
            SlotKey::Node(node) => (None, node.clone(), self.nodes.get(node).map_or("?", |n| &n.hostname).to_owned()),
        };
        let task = Task {
            id: id.clone(),
            service_id: service_id.to_owned(),
            slot,
            node_id,
            spec,
            state: TaskState::New,
            desired,
            message: "created".to_owned(),
            error: String::new(),
            exit_code: None,
            job_iteration: live.job_iteration,
            created_at: Some(date),
            state_since: Some(date),
        };
        let label = format!("{}.{place}#{}", live.spec.name, service.made);
        let task = SimTask {
            live: Arc::new(task),
            order,
            key: key.clone(),
            spec_version: service.spec_version,
            endpoint: live.spec.endpoint_spec.clone(),
            waits: None,
            planned: None,
            epoch: 0,
            stopping: false,
            label,
        };
        let text = format!("task {} new desired={desired:?}", task.label);
        self.tasks.insert(id.clone(), task);
        self.bump();
        self.note(&text);
        let delay = self.about(10, 20);
        self.after(delay, Tick::Pend { task: id.clone() });
        Some(id)
    }

    /// The allocator is done with a new task.
    pub(super) fn pend(&mut self, id: &str) {
        if self.tasks.get(id).is_some_and(|task| task.live.state == TaskState::New) {
            self.set_state(id, TaskState::Pending, String::new(), None);
            self.kick_scheduler();
        }
    }

    /// Moves a task forward and lets everybody see it.
    pub(super) fn set_state(&mut self, id: &str, state: TaskState, error: String, exit_code: Option<i64>) {
        let date = self.date();
        let Some(task) = self.tasks.get_mut(id) else { return };
        if state <= task.live.state {
            return;
        }
        let live = Arc::make_mut(&mut task.live);
        live.state = state;
        live.state_since = Some(date);
        live.exit_code = exit_code.or(live.exit_code);
        if let Some(message) = message(state) {
            message.clone_into(&mut live.message);
        }
        let text = if error.is_empty() { String::new() } else { format!(": {error}") };
        live.error = error;
        let text = format!("task {} {state:?}{text}", task.label);
        self.bump();
        self.note(&text);
        self.task_changed(id);
    }

    /// Says where Swarm wants a task to go; never back.
    pub(super) fn set_desired(&mut self, id: &str, desired: TaskState) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if desired <= task.live.desired {
            return;
        }
        Arc::make_mut(&mut task.live).desired = desired;
        let text = format!("task {} desired={desired:?}", task.label);
        self.bump();
        self.note(&text);
        self.agent_look(id);
        if desired == TaskState::Remove {
            self.kick_reaper();
        }
    }

    /// The node (or, for a task that has none yet, the scheduler) looks at a task whose orders changed.
    pub(super) fn agent_look(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let (state, stop) = (task.live.state, task.live.desired >= TaskState::Shutdown);
        if state.is_over() {
            return;
        }
        if stop && state < TaskState::Assigned {
            self.kick_scheduler();
        } else if stop && !task.stopping {
            self.plan_stop(id);
        } else if state == TaskState::Ready || task.planned.is_none() {
            self.plan_step(id);
        }
    }

    fn plan(&mut self, id: &str, delay: Millis, planned: Planned) {
        let due = self.now + delay;
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.epoch += 1;
        task.planned = Some((due, planned));
        let tick = Tick::Agent { task: id.to_owned(), epoch: task.epoch };
        self.after(delay, tick);
    }

    /// Plans the end of a task that was told to stop, unless it ends by itself before.
    fn plan_stop(&mut self, id: &str) {
        let heard = self.about(150, 350);
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.stopping = true;
        let started = task.live.state >= TaskState::Starting;
        let gossip = if task.live.spec.networks.is_empty() { 0 } else { GOSSIP };
        let delay = heard + if started { gossip + self.stop_time } else { 0 };
        let ends_before =
            task.planned.as_ref().is_some_and(|(due, step)| step.state.is_over() && *due < self.now + delay);
        if !ends_before {
            let exit_code = started.then_some(0);
            self.plan(id, delay, Planned { state: TaskState::Shutdown, error: String::new(), exit_code });
        }
    }

    /// Plans a task's next step on its way up.
    fn plan_step(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let live = task.live.clone();
        let container = &live.spec.container_spec;
        let behaviour = self.script.behaviour(container);
        let step = |state| Planned { state, error: String::new(), exit_code: None };
        let (delay, planned) = match live.state {
            TaskState::Assigned => (self.about(80, 160), step(TaskState::Preparing)),
            TaskState::Preparing => match behaviour.pull(&container.image) {
                Pull::Done => (self.about(240, 340), step(TaskState::Ready)),
                Pull::Never => return,
                Pull::Rejected(error) => (self.about(40, 100), Planned { error, ..step(TaskState::Rejected) }),
            },
            TaskState::Ready if matches!(live.desired, TaskState::Running | TaskState::Complete) => {
                (self.about(5, 25), step(TaskState::Starting))
            }
            TaskState::Starting => match behaviour.start() {
                Start::Running(None) => (self.about(400, 520), step(TaskState::Running)),
                Start::Running(Some(after)) => (millis(after).max(1), step(TaskState::Running)),
                Start::Failed { after, error, code } => {
                    (millis(after).max(1), Planned { error, exit_code: code, ..step(TaskState::Failed) })
                }
            },
            TaskState::Running => {
                let Some(end) = behaviour.end() else { return };
                let state = if end.code == 0 { TaskState::Complete } else { TaskState::Failed };
                (millis(end.after), Planned { state, error: end.error, exit_code: Some(end.code) })
            }
            _ => return,
        };
        self.plan(id, delay, planned);
    }

    /// The node takes the step it had planned.
    pub(super) fn agent_step(&mut self, id: &str, epoch: u64) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let lost = self.nodes.get(&task.live.node_id).is_none_or(|node| node.state != NodeState::Ready);
        if task.epoch != epoch || lost {
            return;
        }
        let Some((_, step)) = task.planned.take() else { return };
        self.set_state(id, step.state, step.error, step.exit_code);
        if self.tasks.get(id).is_some_and(|task| !task.stopping) {
            self.plan_step(id);
        }
    }

    /// A node is heard of again: it does what it was told meanwhile.
    pub(super) fn agent_returns(&mut self, node_id: &str) {
        let ids: Vec<String> = self.in_order(|task| task.live.node_id == node_id && !task.live.state.is_over());
        for id in ids {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.planned = None;
                task.stopping = false;
            }
            self.agent_look(&id);
        }
    }

    /// The ids of some tasks, in the order of their creation.
    pub(super) fn in_order(&self, which: impl Fn(&SimTask) -> bool) -> Vec<String> {
        let mut found: Vec<(u64, &String)> =
            self.tasks.iter().filter(|(_, task)| which(task)).map(|(id, task)| (task.order, id)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id.clone()).collect()
    }
}

/// The remark the engine makes on entering a state. A failure keeps the remark of the state before.
fn message(state: TaskState) -> Option<&'static str> {
    Some(match state {
        TaskState::Pending => "pending task scheduling",
        TaskState::Assigned => "scheduler assigned task to node",
        TaskState::Preparing => "preparing",
        TaskState::Ready => "prepared",
        TaskState::Starting => "starting",
        TaskState::Running => "started",
        TaskState::Complete => "finished",
        TaskState::Shutdown => "shutdown",
        _ => return None,
    })
}
