//! How many tasks there are: the orchestrators, the restart supervisor, and the reaper.

use std::collections::BTreeMap;

use super::clock::{Millis, from_nanos};
use super::world::{Service, SimTask, SlotKey, Tick, Waits, World};
use crate::domain::{Node, NodeAvailability, NodeState, TaskSpec, TaskState, UpdateState};

/// Tasks kept of one slot.
const RETENTION: usize = 5;
/// The delay of a restart when the policy names none.
const USUAL_DELAY: Millis = 5_000;
/// How long a new task waits for the one before it to stop.
const OLD_TASK_TIMEOUT: Millis = 60_000;

/// Slots with the ids of their tasks, in the order of creation.
pub(super) type Slots = BTreeMap<SlotKey, Vec<String>>;

impl World {
    /// Brings the number and the kind of a service's tasks to what its spec says.
    pub(super) fn reconcile(&mut self, id: &str) {
        let Some(service) = self.services.get(id) else { return };
        let spec = service.live.spec.clone();
        match spec.mode.kind() {
            "Global" => {
                let nodes = self.global_nodes(&spec);
                self.reconcile_slots(id, nodes);
            }
            "GlobalJob" => {
                let nodes = self.global_nodes(&spec);
                let all = nodes.len();
                self.reconcile_job(id, nodes, all);
            }
            "ReplicatedJob" => {
                let job = spec.mode.replicated_job.unwrap_or_default();
                let total = job.total_completions.unwrap_or(1);
                let at_once = usize::try_from(job.max_concurrent.unwrap_or(1)).unwrap_or(usize::MAX);
                let at_once = if at_once == 0 { usize::MAX } else { at_once };
                self.reconcile_job(id, (0..total).map(SlotKey::Slot).collect(), at_once);
            }
            _ => {
                let wanted = spec.mode.replicated.and_then(|mode| mode.replicas).unwrap_or(1);
                let slots = self.replicated_slots(id, usize::try_from(wanted).unwrap_or(usize::MAX));
                self.reconcile_slots(id, slots);
            }
        }
    }

    /// Which slots a replicated service is to have: running ones first, then the lowest that are free.
    fn replicated_slots(&self, id: &str, wanted: usize) -> Vec<SlotKey> {
        let (alive, _) = self.split_slots(id);
        let runs = |ids: &[String]| ids.iter().any(|id| self.state_of(id) == Some(TaskState::Running));
        let mut keep: Vec<(bool, SlotKey)> = alive.iter().map(|(key, ids)| (!runs(ids), key.clone())).collect();
        keep.sort();
        keep.truncate(wanted);
        let mut keep: Vec<SlotKey> = keep.into_iter().map(|(_, key)| key).collect();
        let mut free = (1..).map(SlotKey::Slot).filter(|key| !alive.contains_key(key));
        while keep.len() < wanted {
            keep.extend(free.next());
        }
        keep.sort();
        keep
    }

    fn reconcile_slots(&mut self, id: &str, wanted: Vec<SlotKey>) {
        let (mut alive, mut dead) = self.split_slots(id);
        let missing: Vec<SlotKey> = wanted.iter().filter(|key| !alive.contains_key(key)).cloned().collect();
        let excess: Slots = alive.extract_if(.., |key, _| !wanted.contains(key)).collect();
        self.start_update(id, alive);
        for key in missing {
            dead.remove(&key);
            self.new_task(id, &key, TaskState::Running);
        }
        for task in dead.into_values().chain(excess.into_values()).flatten() {
            self.set_desired(&task, TaskState::Remove);
        }
    }

    fn reconcile_job(&mut self, id: &str, slots: Vec<SlotKey>, at_once: usize) {
        let Some(iteration) = self.services.get(id).map(|service| service.live.job_iteration) else { return };
        let old = self.in_order(|task| task.live.service_id == id && task.live.job_iteration != iteration);
        for task in old {
            self.set_desired(&task, TaskState::Remove);
        }
        let now = |task: &&SimTask| task.live.service_id == id && task.live.job_iteration == iteration;
        let active = self.tasks.values().filter(now).filter(|task| !task.live.state.is_over()).count();
        let taken: Vec<SlotKey> = self.tasks.values().filter(now).map(|task| task.key.clone()).collect();
        let free = slots.into_iter().filter(|key| !taken.contains(key));
        for key in free.take(at_once.saturating_sub(active)).collect::<Vec<_>>() {
            self.new_task(id, &key, TaskState::Complete);
        }
    }

    /// The slots of a service that the updater may work on, and those with nothing left to work on.
    fn split_slots(&self, id: &str) -> (Slots, Slots) {
        let mut all = Slots::new();
        for task in self.in_order(|task| task.live.service_id == id) {
            if let Some(found) = self.tasks.get(&task) {
                all.entry(found.key.clone()).or_default().push(task);
            }
        }
        let Some(service) = self.services.get(id) else { return (Slots::new(), all) };
        let mut alive = Slots::new();
        let mut dead = Slots::new();
        for (key, tasks) in all {
            match self.updatable(service, &tasks) {
                found if found.is_empty() => dead.insert(key, tasks),
                found => alive.insert(key, found),
            };
        }
        (alive, dead)
    }

    /// The tasks of a slot that an update replaces: those wanted, or the newest one if it ended and is not to be
    /// started again. A rollback does not look at the latter, and makes a new task instead.
    fn updatable(&self, service: &Service, tasks: &[String]) -> Vec<String> {
        let wanted: Vec<String> =
            tasks.iter().filter(|id| self.tasks.get(*id).is_some_and(SimTask::wanted)).cloned().collect();
        let rolling = service.live.update.as_ref().is_some_and(|status| status.state == UpdateState::RollbackStarted);
        if !wanted.is_empty() || rolling {
            return wanted;
        }
        // One that is to be removed is no slot any more, though it may run for a while.
        let stays = |task: &SimTask| task.live.desired != TaskState::Remove && !self.restarts(service, task);
        let newest = tasks.last().filter(|id| self.tasks.get(*id).is_some_and(stays));
        newest.cloned().into_iter().collect()
    }

    /// Whether the restart policy wants a new task after this one.
    fn restarts(&self, service: &Service, task: &SimTask) -> bool {
        let policy = task.live.spec.restart_policy.clone().unwrap_or_default();
        let ended_well = task.live.state == TaskState::Complete;
        let is_job = service.live.spec.mode.is_job();
        let condition = match policy.condition.as_str() {
            "none" => false,
            "on-failure" => !ended_well,
            _ => !(is_job && ended_well),
        };
        let most = policy.max_attempts.unwrap_or(0);
        if !condition || most == 0 {
            return condition;
        }
        let Some(history) = service.restarts.get(&task.key).filter(|h| h.spec_version == task.spec_version) else {
            return true;
        };
        let window = policy.window.map_or(0, from_nanos);
        let recent = history.at.iter().filter(|at| window == 0 || **at + window >= self.now).count();
        u64::try_from(recent).is_ok_and(|recent| recent < most)
    }

    /// A task moved on: everybody who waits for that is told.
    pub(super) fn task_changed(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let (live, over) = (task.live.clone(), task.live.state.is_over());
        if over {
            self.kick_scheduler();
            for waiting in self.in_order(|task| task.waits.as_ref().is_some_and(|w| w.stopped.as_deref() == Some(id))) {
                self.try_start(&waiting, false);
            }
        }
        self.update_sees(&live);
        if over && live.desired <= TaskState::Complete && self.services.contains_key(&live.service_id) {
            self.after(10, Tick::Restart { task: id.to_owned() });
        }
        if over {
            self.kick_reaper();
        }
    }

    /// The restart supervisor: shuts a task's record, and makes the next one if the policy says so.
    pub(super) fn restart(&mut self, id: &str) {
        // A task that failed before its own delay was over is looked at again when it is (see `try_start`).
        let Some(task) = self.tasks.get(id).filter(|task| task.wanted() && task.waits.is_none()) else { return };
        let (live, key) = (task.live.clone(), task.key.clone());
        let Some(service) = self.services.get(&live.service_id) else { return };
        let (again, is_job) = (self.restarts(service, task), service.live.spec.mode.is_job());
        let ended_well = live.state == TaskState::Complete && is_job;
        if !ended_well {
            self.set_desired(id, TaskState::Shutdown);
        }
        if !again {
            if is_job {
                self.after(5, Tick::Reconcile { service: live.service_id.clone() });
            }
            return;
        }
        let node = self.nodes.get(&live.node_id).cloned();
        let drained = node.as_ref().is_some_and(|node| node.availability == NodeAvailability::Drain);
        let down = node.is_some_and(|node| node.state == NodeState::Down);
        let delay = if drained { 0 } else { restart_delay(&live.spec) };
        let Some(next) = self.new_task(&live.service_id, &key, TaskState::Ready) else { return };
        let at = self.now;
        if let Some(service) = self.services.get_mut(&live.service_id) {
            let current = service.spec_version;
            let history = service.restarts.entry(key).or_default();
            if history.spec_version != current {
                history.at.clear();
                history.spec_version = current;
            }
            history.at.push(at);
        }
        let wait = (!down && !live.state.is_over()).then(|| id.to_owned());
        self.delay_start(&next, delay, wait);
    }

    /// Lets a task that was made `ready` run after a delay, and after another one has stopped.
    pub(super) fn delay_start(&mut self, id: &str, delay: Millis, stopped: Option<String>) {
        let until = self.now + delay;
        let stopped = stopped.filter(|old| self.state_of(old).is_some_and(|state| !state.is_over()));
        let waits_for_one = stopped.is_some();
        if let Some(task) = self.tasks.get_mut(id) {
            task.waits = Some(Waits { until, stopped });
        }
        if waits_for_one {
            self.after(delay + OLD_TASK_TIMEOUT, Tick::Start { task: id.to_owned(), force: true });
        }
        if delay == 0 {
            self.try_start(id, false);
        } else {
            self.after(delay, Tick::Start { task: id.to_owned(), force: false });
        }
    }

    /// Lets a task run if nothing it waits for is left.
    pub(super) fn try_start(&mut self, id: &str, force: bool) {
        let Some(task) = self.tasks.get(id) else { return };
        let Some(waits) = &task.waits else { return };
        let stopped = waits.stopped.as_ref().is_none_or(|old| self.state_of(old).is_none_or(TaskState::is_over));
        if waits.until > self.now || !(stopped || force) {
            return;
        }
        let service = self.services.get(&task.live.service_id);
        let is_job = service.is_some_and(|service| service.live.spec.mode.is_job());
        let lost = self.nodes.get(&task.live.node_id).is_some_and(|node| is_lost(node));
        if task.wanted() && (task.live.state.is_over() || lost) {
            self.after(1, Tick::Restart { task: id.to_owned() });
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.waits = None;
        }
        self.set_desired(id, if is_job { TaskState::Complete } else { TaskState::Running });
    }

    /// Tasks on a node that is gone or drained go elsewhere.
    pub(super) fn evacuate(&mut self, node_id: &str) {
        for id in self.in_order(|task| task.live.node_id == node_id && task.wanted()) {
            let Some(task) = self.tasks.get(&id) else { continue };
            if matches!(task.key, SlotKey::Node(_)) {
                self.set_desired(&id, TaskState::Shutdown);
            } else {
                self.restart(&id);
            }
        }
        for waiting in self.in_order(|task| task.waits.is_some()) {
            let old = self.tasks.get(&waiting).and_then(|task| task.waits.as_ref()?.stopped.clone());
            if old.is_some_and(|old| self.tasks.get(&old).is_some_and(|task| task.live.node_id == node_id)) {
                self.try_start(&waiting, true);
            }
        }
        self.kick_reaper();
    }

    pub(super) fn state_of(&self, id: &str) -> Option<TaskState> {
        self.tasks.get(id).map(|task| task.live.state)
    }

    /// Deletes tasks that are to be removed and are over, and those beyond what is kept of a slot.
    pub(super) fn reap(&mut self) {
        let over = |task: &SimTask| task.live.state.is_over() || task.live.state < TaskState::Assigned;
        let gone = self.in_order(|task| task.live.desired == TaskState::Remove && over(task));
        let mut slots: BTreeMap<(String, SlotKey), Vec<String>> = BTreeMap::new();
        for id in self.in_order(|task| task.live.desired != TaskState::Remove) {
            if let Some(task) = self.tasks.get(&id) {
                slots.entry((task.live.service_id.clone(), task.key.clone())).or_default().push(id);
            }
        }
        let mut doomed = gone;
        for tasks in slots.into_values() {
            let kept =
                tasks.last().and_then(|id| self.tasks.get(id)).map_or(RETENTION, |task| retention(&task.live.spec));
            let spare = tasks.len().saturating_sub(kept);
            let dead = tasks.into_iter().filter(|id| self.tasks.get(id).is_some_and(|t| over(t) && !t.wanted()));
            doomed.extend(dead.take(spare));
        }
        for id in doomed {
            if let Some(task) = self.tasks.remove(&id) {
                self.bump();
                self.note(&format!("task {} deleted", task.label));
            }
        }
    }
}

/// Whether tasks on a node have to go elsewhere.
fn is_lost(node: &Node) -> bool {
    node.state == NodeState::Down || node.availability == NodeAvailability::Drain
}

fn restart_delay(spec: &TaskSpec) -> Millis {
    spec.restart_policy.as_ref().and_then(|policy| policy.delay).map_or(USUAL_DELAY, from_nanos)
}

/// With `max_attempts`, the history is that long.
fn retention(spec: &TaskSpec) -> usize {
    let most = spec.restart_policy.as_ref().and_then(|policy| policy.max_attempts).unwrap_or(0);
    if most == 0 { RETENTION } else { usize::try_from(most).map_or(RETENTION, |most| most + 1) }
}
