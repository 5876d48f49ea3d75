//! One service of a deployment: how many of its wanted tasks run, and what stands in the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AssessInput, classify};
use crate::domain::{
    DesiredService, Failure, FailureClass, LiveService, ServiceProgress, Task, TaskState, UpdateState, Written,
};
use crate::plan::{keep_live, same_task};

/// A constraint that no node meets is given this long before it counts as certain: Swarm schedules again when a node's
/// labels change, and a person may be doing just that.
const UNSCHEDULABLE_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// What is to be said of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name in the compose file.
    pub key: String,
    /// How many tasks are wanted.
    pub wanted: u64,
    /// How many of them run what was asked (for a job: have completed).
    pub healthy: u64,
    /// All wanted tasks run, and no task of an older spec does.
    pub settled: bool,
    /// A task has started and waits for its first healthy answer.
    pub awaits_health: bool,
    /// What stands in the way, if anything says so.
    pub obstacle: Option<Failure>,
    /// The obstacle will not go away by itself.
    pub doomed: bool,
    /// When an obstacle that is not certain yet will be.
    pub doomed_at: Option<Timestamp>,
    /// When the newest of the healthy tasks began to run.
    pub newest_task: Option<Timestamp>,
}

struct View<'a> {
    input: &'a AssessInput<'a>,
    wanted: &'a DesiredService,
    live: &'a LiveService,
    progress: ServiceProgress,
    /// Tasks made from the wanted spec that this deployment answers for.
    own: Vec<&'a Arc<Task>>,
    /// Tasks of another spec that Swarm still wants to run.
    old_running: usize,
}

pub(super) fn report(input: &AssessInput<'_>, wanted: &DesiredService) -> ServiceReport {
    let Some(live) = input.live.services.get(&wanted.spec.name) else {
        return ServiceReport {
            key: wanted.key.clone(),
            wanted: wanted_replicas(wanted, None).unwrap_or(1),
            healthy: 0,
            settled: false,
            awaits_health: false,
            obstacle: None,
            doomed: false,
            doomed_at: None,
            newest_task: None,
        };
    };
    let view = View::new(input, wanted, live);
    let expected = view.expected();
    let (healthy, newest_task) = view.healthy();
    let (obstacle, certain) = view.obstacle(expected);
    let settled = healthy == expected && view.old_running == 0 && (expected > 0 || view.may_be_empty());
    let doomed = certain.is_some_and(|at| at <= input.now) && !settled;
    ServiceReport {
        key: wanted.key.clone(),
        wanted: expected,
        healthy,
        settled,
        awaits_health: view.own.iter().any(|task| task.state == TaskState::Starting),
        obstacle: obstacle.filter(|_| !settled || doomed),
        doomed,
        doomed_at: certain.filter(|at| *at > input.now),
        newest_task,
    }
}

fn wanted_replicas(wanted: &DesiredService, live: Option<&LiveService>) -> Option<u64> {
    let mode = &wanted.spec.mode;
    if let Some(job) = &mode.replicated_job {
        return Some(job.total_completions.or(job.max_concurrent).unwrap_or(1));
    }
    if mode.global.is_some() || mode.global_job.is_some() {
        return None;
    }
    let live = live.and_then(|live| live.spec.mode.replicated.as_ref()).and_then(|live| live.replicas);
    Some(mode.replicated.as_ref().and_then(|replicated| replicated.replicas).or(live).unwrap_or(1))
}

impl<'a> View<'a> {
    fn new(input: &'a AssessInput<'a>, wanted: &'a DesiredService, live: &'a LiveService) -> Self {
        let progress = input.progress.services.get(&wanted.spec.name).cloned().unwrap_or_default();
        let spec = keep_live(&wanted.spec, live).task_template;
        let tasks = input.tasks.of(&live.id);
        let mut own = Vec::new();
        let mut old_running = 0;
        for task in tasks {
            let current = same_task(&task.spec, &spec);
            let stays = task.desired <= TaskState::Running && !task.state.is_over();
            if current && (!progress.baseline.contains(&task.id) || task.state == TaskState::Running) {
                own.push(task);
            } else if !current && stays && !wanted.spec.mode.is_job() {
                old_running += 1;
            }
        }
        Self { input, wanted, live, progress, own, old_running }
    }

    fn node_is_down(&self, task: &Task) -> bool {
        self.input.live.nodes.get(&task.node_id).is_some_and(|node| node.state == crate::domain::NodeState::Down)
    }

    fn of_this_iteration(&self, task: &Task) -> bool {
        self.live.job_iteration.unwrap_or(0) == task.job_iteration.unwrap_or(0)
    }

    /// How many tasks should run. For a global service: one for each node that has, or is getting, one.
    fn expected(&self) -> u64 {
        wanted_replicas(self.wanted, Some(self.live)).unwrap_or_else(|| {
            let nodes: BTreeSet<_> = self
                .input
                .tasks
                .of(&self.live.id)
                .iter()
                .filter(|task| !task.node_id.is_empty() && !self.node_is_down(task))
                .filter(|task| match self.wanted.spec.mode.is_job() {
                    true => self.of_this_iteration(task),
                    false => task.desired <= TaskState::Running,
                })
                .map(|task| task.node_id.as_str())
                .collect();
            nodes.len() as u64
        })
    }

    /// Zero tasks are as asked only for a replicated service scaled to zero.
    fn may_be_empty(&self) -> bool {
        self.wanted.spec.mode.global.is_none() && self.wanted.spec.mode.global_job.is_none()
    }

    fn healthy(&self) -> (u64, Option<Timestamp>) {
        let job = self.wanted.spec.mode.is_job();
        let good: Vec<_> = self
            .own
            .iter()
            .filter(|task| match job {
                true => task.state == TaskState::Complete && self.of_this_iteration(task),
                false => {
                    task.state == TaskState::Running && task.desired <= TaskState::Running && !self.node_is_down(task)
                }
            })
            .collect();
        let places: BTreeSet<_> = good.iter().map(|task| (task.slot, place(task))).collect();
        (places.len() as u64, good.iter().filter_map(|task| task.state_since).max())
    }

    /// What stands in the way, and from when on that is certain to stay.
    fn obstacle(&self, expected: u64) -> (Option<Failure>, Option<Timestamp>) {
        let job = self.wanted.spec.mode.is_job();
        let mut failed: Vec<&Arc<Task>> = self
            .own
            .iter()
            .copied()
            .filter(|task| !self.progress.baseline.contains(&task.id))
            .filter(|task| {
                matches!(task.state, TaskState::Failed | TaskState::Rejected)
                    || (task.state == TaskState::Complete && !job)
            })
            .filter(|task| !self.node_is_down(task))
            .collect();
        failed.sort_by_key(|task| task.state_since);
        if let Some(last) = failed.last() {
            let certain = self.is_certain(&failed, expected).then_some(self.input.now);
            return (self.evidence(last), certain);
        }
        if let Some(state) = self.swarm_gave_up() {
            let mut failure = Failure::new(FailureClass::ExitCode, state);
            failure.service = Some(self.wanted.key.clone());
            return (Some(failure), Some(self.input.now));
        }
        let waiting = self.own.iter().find(|task| task.state <= TaskState::Assigned && !task.error.is_empty());
        let Some(task) = waiting else { return (None, None) };
        let constraint = task.error.contains("scheduling constraints not satisfied");
        let at = constraint
            .then(|| task.state_since.unwrap_or(self.input.now))
            .and_then(|since| since.checked_add(UNSCHEDULABLE_GRACE).ok());
        (self.evidence(task), at)
    }

    fn evidence(&self, task: &Task) -> Option<Failure> {
        let mut failure = classify(task)?;
        failure.service = Some(self.wanted.key.clone());
        failure.node = failure.node.map(|id| self.input.live.nodes.get(&id).map_or(id, |node| node.hostname.clone()));
        Some(failure)
    }

    /// Swarm's own updater stopped or went back; only news if this deployment wrote the service.
    fn swarm_gave_up(&self) -> Option<String> {
        if self.progress.written == Written::Unchanged {
            return None;
        }
        let update = self.live.update.as_ref()?;
        matches!(
            update.state,
            UpdateState::Paused
                | UpdateState::RollbackStarted
                | UpdateState::RollbackPaused
                | UpdateState::RollbackCompleted
        )
        .then(|| format!("Swarm stopped the update: {}", update.message))
    }

    /// Whether the failed tasks mean that the service will not come up by itself.
    fn is_certain(&self, failed: &[&Arc<Task>], expected: u64) -> bool {
        let update = self.wanted.spec.update_config.as_ref();
        let goes_on = update.is_some_and(|update| update.failure_action == "continue");
        let updated = self.progress.existed && self.progress.written != Written::Unchanged;
        if updated && !goes_on && !self.wanted.spec.mode.is_job() {
            let slots: BTreeSet<_> = failed.iter().map(|task| (task.slot, place(task))).collect();
            let ratio = update.map_or(0.0, |update| update.max_failure_ratio);
            return self.swarm_gave_up().is_some() || slots.len() as f64 > ratio * expected as f64;
        }
        self.gave_up_restarting(failed)
    }

    /// Some slot has failed and Swarm will not start another task in it.
    fn gave_up_restarting(&self, failed: &[&Arc<Task>]) -> bool {
        let policy = self.wanted.spec.task_template.restart_policy.as_ref();
        let condition = policy.map_or("any", |policy| policy.condition.as_str());
        let attempts = policy.and_then(|policy| policy.max_attempts).filter(|attempts| *attempts > 0);
        failed.iter().any(|task| {
            let goes_on = self.own.iter().any(|other| {
                (other.slot, place(other)) == (task.slot, place(task))
                    && other.desired <= TaskState::Running
                    && !other.state.is_over()
            });
            let tries = failed.iter().filter(|other| (other.slot, place(other)) == (task.slot, place(task))).count();
            !goes_on
                && (condition == "none"
                    || (condition == "on-failure" && task.state == TaskState::Complete)
                    || attempts.is_some_and(|attempts| tries as u64 > attempts))
        })
    }
}

/// What tells the places of a global service apart; a replicated one's are told apart by slot.
fn place(task: &Task) -> Option<&str> {
    task.slot.is_none().then_some(task.node_id.as_str())
}
