//! Swarm's own updater, with its quirks.
//!
//! It hands slots to workers. Failures are read only while it waits for a worker, and after all workers are done; whether
//! one came within the monitor period is judged by the time it is read. It has no deadline: a task that finds no node
//! holds its worker for ever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clock::{Millis, from_nanos};
use super::orchestrate::Slots;
use super::schedule::constraints_met;
use super::world::{SimTask, SlotKey, Tick, World};
use crate::domain::{ServiceSpec, Task, TaskSpec, TaskState, UpdateConfig, UpdateState, UpdateStatus};

const USUAL_MONITOR: Millis = 5_000;

/// What the updater does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Pause,
    Continue,
    Rollback,
}

/// How an update goes on, from the spec.
#[derive(Debug, Clone)]
struct Rules {
    parallelism: usize,
    delay: Millis,
    monitor: Millis,
    action: Action,
    max_failure_ratio: f64,
    start_first: bool,
}

impl Rules {
    fn of(config: Option<&UpdateConfig>) -> Self {
        let usual = UpdateConfig { parallelism: 1, ..UpdateConfig::default() };
        let config = config.unwrap_or(&usual);
        let delay = from_nanos(config.delay);
        let monitor = if config.monitor == 0 { USUAL_MONITOR } else { from_nanos(config.monitor) };
        Self {
            parallelism: if config.parallelism == 0 {
                usize::MAX
            } else {
                usize::try_from(config.parallelism).unwrap_or(1)
            },
            delay,
            monitor: if delay >= monitor { delay + 1_000 } else { monitor },
            action: match config.failure_action.as_str() {
                "continue" => Action::Continue,
                "rollback" => Action::Rollback,
                _ => Action::Pause,
            },
            max_failure_ratio: config.max_failure_ratio,
            start_first: config.order == "start-first",
        }
    }
}

/// An update under way.
#[derive(Debug)]
pub(super) struct Update {
    epoch: u64,
    goal: ServiceSpec,
    rules: Rules,
    rolling_back: bool,
    queue: VecDeque<Vec<String>>,
    dirty: usize,
    free: usize,
    asleep: usize,
    /// The slots being worked on, by the task that was made for each.
    busy: BTreeMap<String, Vec<String>>,
    /// The tasks made, with the time each was seen to run or to be over.
    made: BTreeMap<String, Option<Millis>>,
    failed: BTreeSet<String>,
    unread: VecDeque<String>,
    monitoring: bool,
    stopped: bool,
}

impl Update {
    /// Whether no worker has a slot, or sleeps after one.
    fn is_idle(&self) -> bool {
        self.busy.is_empty() && self.asleep == 0
    }
}

impl World {
    /// Starts the updater on these slots, unless one works towards the same spec already.
    pub(super) fn start_update(&mut self, id: &str, slots: Slots) {
        let Some(service) = self.services.get(id) else { return };
        let live = service.live.clone();
        if service.update.as_ref().is_some_and(|update| update.goal == live.spec) {
            return;
        }
        if let Some(service) = self.services.get_mut(id) {
            service.update = None;
        }
        let state = live.update.as_ref().map(|status| status.state.clone());
        if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
            return;
        }
        let queue: VecDeque<Vec<String>> = slots.into_values().filter(|tasks| self.is_dirty(id, tasks)).collect();
        if queue.is_empty() {
            if matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted)) {
                self.complete_update(id);
            }
            return;
        }
        if state.is_none() {
            self.set_status(id, UpdateState::Updating, "update in progress".to_owned());
        }
        let rolling_back = state == Some(UpdateState::RollbackStarted);
        let config = if rolling_back { &live.spec.rollback_config } else { &live.spec.update_config };
        let rules = Rules::of(config.as_ref());
        let update = Update {
            epoch: self.next_order(),
            goal: live.spec.clone(),
            dirty: queue.len(),
            free: rules.parallelism.min(queue.len()),
            rules,
            rolling_back,
            queue,
            asleep: 0,
            busy: BTreeMap::new(),
            made: BTreeMap::new(),
            failed: BTreeSet::new(),
            unread: VecDeque::new(),
            monitoring: false,
            stopped: false,
        };
        self.pump(id, update);
    }

    /// Lets an update go as far as it can now, and keeps it if it is not done.
    fn pump(&mut self, id: &str, mut update: Update) {
        if self.reads(id, &mut update) {
            return;
        }
        while !update.stopped && update.free > 0 {
            let Some(slot) = update.queue.pop_front() else { break };
            update.free -= 1;
            self.work_on(id, &mut update, slot);
        }
        if self.reads(id, &mut update) {
            return;
        }
        let idle = update.is_idle();
        if update.stopped && idle {
            return;
        }
        if !update.stopped && update.queue.is_empty() && idle && !update.monitoring {
            update.monitoring = true;
            self.after(update.rules.monitor, Tick::Monitored { service: id.to_owned(), epoch: update.epoch });
        }
        if let Some(service) = self.services.get_mut(id) {
            service.update = Some(update);
        }
    }

    /// Reads what failed, if this is a time to read: while a slot waits for a worker, and when none is at work any more. A
    /// failure that sets a worker free is read before that worker asks for its next slot. Whether a rollback ended the
    /// update; a pause leaves it to its workers.
    fn reads(&mut self, id: &str, update: &mut Update) -> bool {
        if update.stopped || (update.queue.is_empty() && !update.is_idle()) {
            return false;
        }
        while let Some(task) = update.unread.pop_front() {
            if self.failure_ends(id, update, &task) {
                if !update.rolling_back && update.rules.action != Action::Pause {
                    return true;
                }
                update.stopped = true;
                update.queue.clear();
                return false;
            }
        }
        false
    }

    fn take_update(&mut self, id: &str) -> Option<Update> {
        self.services.get_mut(id)?.update.take()
    }

    /// A worker takes a slot.
    fn work_on(&mut self, id: &str, update: &mut Update, slot: Vec<String>) {
        let clean = |wanted: fn(TaskState) -> bool| {
            slot.iter().find(|task| {
                self.tasks.get(*task).is_some_and(|t| wanted(t.live.desired) && !self.is_task_dirty(id, t))
            })
        };
        let existing =
            clean(|desired| desired == TaskState::Running).or_else(|| clean(|desired| desired < TaskState::Running));
        if let Some(existing) = existing.cloned() {
            let others: Vec<String> = slot.into_iter().filter(|task| *task != existing).collect();
            let old = self.stop_old(&others);
            self.delay_start(&existing, 0, old);
            self.worker_done(id, update);
            return;
        }
        // The slots were looked up when the update began. One that the restart supervisor has filled anew since then has a
        // task of the new spec already: the updater finds its old tasks shut down, and leaves it.
        let filled = |key: &SlotKey| {
            let there = |task: &&SimTask| task.live.service_id == id && task.key == *key && task.wanted();
            self.tasks.values().filter(there).any(|task| !slot.contains(&task.live.id))
        };
        let key = slot.first().and_then(|task| self.tasks.get(task)).map(|task| task.key.clone());
        let Some(key) = key.filter(|key| !filled(key)) else {
            self.worker_done(id, update);
            return;
        };
        let Some(new) = self.new_task(id, &key, TaskState::Ready) else { return };
        update.made.insert(new.clone(), None);
        let old = if update.rules.start_first { None } else { self.stop_old(&slot) };
        update.busy.insert(new.clone(), slot);
        self.delay_start(&new, 0, old);
    }

    /// Orders the tasks of a slot to stop; gives the one to wait for.
    fn stop_old(&mut self, slot: &[String]) -> Option<String> {
        let wanted = |task: &&String| self.tasks.get(*task).is_some_and(SimTask::wanted);
        let old: Vec<String> = slot.iter().filter(wanted).cloned().collect();
        for task in &old {
            self.set_desired(task, TaskState::Shutdown);
        }
        old.last().cloned()
    }

    fn worker_done(&mut self, id: &str, update: &mut Update) {
        if update.rules.delay == 0 {
            update.free += 1;
        } else {
            update.asleep += 1;
            self.after(update.rules.delay, Tick::Awake { service: id.to_owned(), epoch: update.epoch });
        }
    }

    /// A task moved on: the updater may have waited for it.
    pub(super) fn update_sees(&mut self, task: &Task) {
        let id = task.service_id.clone();
        if task.state < TaskState::Running {
            return;
        }
        let Some(mut update) = self.take_update(&id) else { return };
        if let Some(seen) = update.made.get_mut(&task.id) {
            seen.get_or_insert(self.now);
        }
        if let Some(slot) = update.busy.remove(&task.id) {
            if update.rules.start_first && task.state == TaskState::Running {
                self.stop_old(&slot);
            }
            self.worker_done(&id, &mut update);
        }
        if task.state > TaskState::Running && update.rules.action != Action::Continue {
            update.unread.push_back(task.id.clone());
        }
        self.pump(&id, update);
    }

    /// A worker has slept its delay.
    pub(super) fn worker_awake(&mut self, id: &str, epoch: u64) {
        let Some(mut update) = self.take_update(id) else { return };
        if update.epoch == epoch {
            update.asleep = update.asleep.saturating_sub(1);
            update.free += 1;
        }
        self.pump(id, update);
    }

    /// The last monitor period is over: whatever runs now, the update is complete.
    pub(super) fn monitored(&mut self, id: &str, epoch: u64) {
        if self.services.get(id).and_then(|service| service.update.as_ref()).is_some_and(|update| update.epoch == epoch)
        {
            self.take_update(id);
            self.complete_update(id);
        }
    }

    /// Judges a task that is over. Whether the update ends with it.
    fn failure_ends(&mut self, id: &str, update: &mut Update, task: &str) -> bool {
        let Some(seen) = update.made.get(task) else { return false };
        let early = seen.is_none_or(|seen| self.now - seen <= update.rules.monitor);
        if !early || !update.failed.insert(task.to_owned()) {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio of two small numbers")]
        let ratio = update.failed.len() as f64 / update.dirty as f64;
        if ratio <= update.rules.max_failure_ratio {
            return false;
        }
        let because = format!("due to failure or early termination of task {task}");
        if update.rolling_back {
            self.change_status(id, UpdateState::RollbackPaused, format!("rollback paused {because}"));
        } else if update.rules.action == Action::Pause {
            self.change_status(id, UpdateState::Paused, format!("update paused {because}"));
        } else {
            self.roll_back(id, format!("update rolled back {because}"));
        }
        true
    }

    /// The old spec becomes the spec, and nothing remembers the new one.
    fn roll_back(&mut self, id: &str, message: String) {
        let Some(service) = self.services.get_mut(id) else { return };
        if service.live.update.is_none() {
            return;
        }
        let Some((spec, version)) = service.previous.take() else { return };
        service.spec_version = version;
        let restart = spec.task_template.restart_policy.as_ref().map_or("", |policy| policy.condition.as_str());
        // A failed task that is not to be restarted is known to the restart supervisor by then: recorded of engine 20.10,
        // where such a rollback is complete at once.
        let pause = if restart == "none" { 15 } else { 2 };
        self.write_service(id, |live| {
            live.spec = spec;
            if let Some(status) = &mut live.update {
                status.state = UpdateState::RollbackStarted;
                status.message = message;
            }
        });
        self.after(pause, Tick::Reconcile { service: id.to_owned() });
    }

    fn complete_update(&mut self, id: &str) {
        let state = self.services.get(id).and_then(|s| s.live.update.as_ref()).map(|status| status.state.clone());
        if state == Some(UpdateState::RollbackStarted) {
            self.change_status(id, UpdateState::RollbackCompleted, "rollback completed".to_owned());
        } else {
            self.change_status(id, UpdateState::Completed, "update completed".to_owned());
        }
    }

    /// Changes an update's status, if it has one: an accepted update takes it away.
    fn change_status(&mut self, id: &str, state: UpdateState, message: String) {
        if self.services.get(id).is_some_and(|service| service.live.update.is_some()) {
            self.set_status(id, state, message);
        }
    }

    fn set_status(&mut self, id: &str, state: UpdateState, message: String) {
        let date = self.date();
        self.write_service(id, |live| {
            let started_at = live.update.as_ref().map_or(Some(date), |status| status.started_at);
            live.update = Some(UpdateStatus { state, started_at, message });
        });
        // The orchestrator looks at a service whenever its record changes: a slot with a task too many is mended so.
        self.after(2, Tick::Reconcile { service: id.to_owned() });
    }

    fn is_dirty(&self, id: &str, slot: &[String]) -> bool {
        slot.len() > 1 || slot.iter().any(|task| self.tasks.get(task).is_some_and(|task| self.is_task_dirty(id, task)))
    }

    /// Whether a task is not what its service asks for. A changed placement that its node still meets does not count.
    fn is_task_dirty(&self, id: &str, task: &SimTask) -> bool {
        let Some(service) = self.services.get(id).filter(|service| service.spec_version != task.spec_version) else {
            return false;
        };
        let spec = &service.live.spec;
        let wanted = TaskSpec { runtime: None, ..spec.task_template.clone() };
        if wanted != task.live.spec && only_placement_differs(&wanted, &task.live.spec) {
            let placement = wanted.placement.unwrap_or_default();
            return !self.nodes.get(&task.live.node_id).is_some_and(|node| constraints_met(&placement, node));
        }
        wanted != task.live.spec || spec.endpoint_spec != task.endpoint
    }
}

fn only_placement_differs(a: &TaskSpec, b: &TaskSpec) -> bool {
    TaskSpec { placement: b.placement.clone(), ..a.clone() } == *b
}
