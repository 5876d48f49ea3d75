//! One service of a deployment: how many of its wanted tasks run, and what stands in the way.
//!
//! Which tasks count: those made from the wanted spec. Of these, a task recorded in the baseline (it was there before the
//! service was written) counts as good while it runs, unless Swarm is just replacing it; its end is no failure of this
//! deployment. A task that Swarm has told to stop counts for nothing, and is not waited for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::report::{LateTask, ServiceReport};
use super::{AssessInput, classify};
use crate::domain::{
    DesiredService, Failure, FailureClass, LiveService, NodeAvailability, NodeState, ServiceMode, ServiceProgress,
    Task, TaskSpec, TaskState, UpdateState, UpdateStatus, Written,
};
use crate::plan::{effective, task_form};

/// A demand that no node meets is given this long before it counts as certain: Swarm schedules again when a node's
/// labels change, and a person may be doing just that.
const UNSCHEDULABLE_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// So many refusals of an image in one place mean that waiting does not help.
const HOPELESS_PULLS: usize = 3;

/// What stands in the way of a service.
struct Obstacle {
    failure: Failure,
    sure: Sure,
}

/// Whether an obstacle will go away by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sure {
    /// It may.
    No,
    /// It will not, once this time has come, unless the service settles all the same.
    From(Timestamp),
    /// It is a failure even if the service has recovered since.
    Already,
}

/// One place of a service: a slot, or, for a global service, a node.
type Place<'a> = (Option<u64>, Option<&'a str>);

fn place(task: &Task) -> Place<'_> {
    (task.slot, task.slot.is_none().then_some(task.node_id.as_str()))
}

/// The tasks that run as asked (of a job: that have completed).
struct Healthy {
    /// In how many places there is one.
    places: u64,
    /// Some place has more than one. Swarm starts a second where its updater and its restarts meet, and ends it soon after.
    surplus: bool,
    /// Since when the newest of them runs.
    newest: Option<Timestamp>,
}

struct View<'a> {
    input: &'a AssessInput<'a>,
    wanted: &'a DesiredService,
    /// What is wanted of its mode, with the number that somebody else owns as it is.
    mode: ServiceMode,
    live: &'a LiveService,
    known: Option<&'a ServiceProgress>,
    /// Tasks made from the wanted spec, without those of the baseline that are over.
    own: Vec<&'a Task>,
    /// A task of another spec runs, or is about to, and Swarm has not told it to stop.
    old_runs: bool,
}

pub(super) fn report(input: &AssessInput<'_>, wanted: &DesiredService) -> ServiceReport {
    let Some(live) = input.live.services.get(&wanted.spec.name) else { return ServiceReport::not_there(input, wanted) };
    let view = View::new(input, wanted, live);
    let expected = view.expected();
    let Healthy { places: healthy, surplus, newest: newest_task } = view.healthy();
    let enough = healthy == expected && !surplus || (planted!("one task is enough") && healthy > 0);
    let settled = enough && !view.old_runs && (expected > 0 || view.may_be_empty());
    let stands = |obstacle: &Obstacle| !settled || obstacle.sure == Sure::Already;
    let (obstacle, overcome) = match view.obstacle(expected) {
        Some(obstacle) if !stands(&obstacle) => (None, Some(obstacle.failure)),
        obstacle => (obstacle, None),
    };
    let (doomed, doomed_at) = match obstacle.as_ref().map(|obstacle| obstacle.sure) {
        Some(Sure::Already) => (true, None),
        Some(Sure::From(at)) => (at <= input.now, Some(at).filter(|at| *at > input.now)),
        Some(Sure::No) | None => (false, None),
    };
    ServiceReport {
        key: wanted.key.clone(),
        name: wanted.spec.name.clone(),
        wanted: expected,
        healthy: healthy.min(expected),
        settled,
        awaits_health: view.own.iter().any(|task| task.state == TaskState::Starting),
        obstacle: obstacle.map(|obstacle| obstacle.failure),
        overcome,
        doomed,
        doomed_at,
        newest_task,
        waits_for: waits_for(input, &wanted.spec.name),
        cut_short: !settled && view.cut_short().is_some() && view.is_left_alone(),
        late: view.late().filter(|_| !settled),
    }
}

/// What a service waits for that is not written yet, by the names of the compose file.
pub(super) fn waits_for(input: &AssessInput<'_>, name: &str) -> Vec<String> {
    let held = input.progress.held_back.get(name).into_iter().flatten();
    let key = |name: &String| {
        let service = input.target.services.get(name).or_else(|| Some(&input.target.jobs.get(name)?.service));
        service.map_or_else(|| name.clone(), |service| service.key.clone())
    };
    held.map(key).collect()
}

/// The number of tasks, where the mode names one.
pub(super) fn fixed_number(mode: &ServiceMode) -> Option<u64> {
    if let Some(job) = &mode.replicated_job {
        return Some(job.total_completions.or(job.max_concurrent).unwrap_or(1));
    }
    if mode.global.is_some() || mode.global_job.is_some() {
        return None;
    }
    Some(mode.replicated.as_ref().and_then(|replicated| replicated.replicas).unwrap_or(1))
}

impl<'a> View<'a> {
    fn new(input: &'a AssessInput<'a>, wanted: &'a DesiredService, live: &'a LiveService) -> Self {
        let known = input.progress.services.get(&wanted.spec.name);
        let effective = effective(input.target, &wanted.spec, live);
        let form = task_form(&effective.task_template);
        let mut view = Self { input, wanted, mode: effective.mode, live, known, own: Vec::new(), old_runs: false };
        // Most tasks of a service were made from one spec: it is brought into form once.
        let mut last: Option<(&TaskSpec, bool)> = None;
        for task in input.tasks.of(&live.id) {
            let current = match last {
                Some((spec, current)) if *spec == task.spec => current,
                _ => task_form(&task.spec) == form || planted!("an old task is judged"),
            };
            last = Some((&task.spec, current));
            if current && (!task.state.is_over() || !view.is_baseline(task) || view.is_job() && !view.wrote()) {
                view.own.push(task);
            }
            view.old_runs |= !current && view.stays(task) && !view.is_job();
        }
        view
    }

    fn is_job(&self) -> bool {
        self.mode.is_job()
    }

    fn is_baseline(&self, task: &Task) -> bool {
        self.known.is_some_and(|known| known.baseline.contains(&task.id))
    }

    /// Whether this deployment changed the service, or tried to.
    fn wrote(&self) -> bool {
        self.known.is_some_and(|known| known.written != Written::Unchanged)
    }

    /// Whether this deployment changed a service that was there: Swarm's updater replaces its tasks.
    fn updated(&self) -> bool {
        self.wrote() && self.known.is_some_and(|known| known.existed)
    }

    /// What Swarm's updater says of this deployment's own write.
    fn news(&self) -> Option<&UpdateStatus> {
        let update = self.live.update.as_ref().filter(|_| self.wrote())?;
        let before = self.known.and_then(|known| known.updated_before);
        (before.is_none() || update.started_at != before).then_some(update)
    }

    fn node_is_down(&self, task: &Task) -> bool {
        self.input.live.nodes.get(&task.node_id).is_some_and(|node| node.state == NodeState::Down)
    }

    /// Tasks end on a node that is lost or being emptied; that says nothing of them.
    fn node_is_leaving(&self, task: &Task) -> bool {
        self.input.live.nodes.get(&task.node_id).is_some_and(|node| {
            matches!(node.state, NodeState::Down | NodeState::Disconnected)
                || node.availability == NodeAvailability::Drain
        })
    }

    /// Swarm wants it to run, and it can.
    fn stays(&self, task: &Task) -> bool {
        self.is_wanted(task) && !task.state.is_over() && !self.node_is_down(task)
    }

    /// Swarm wants it to run, or to run to its end.
    fn is_wanted(&self, task: &Task) -> bool {
        task.desired <= if self.is_job() { TaskState::Complete } else { TaskState::Running }
    }

    fn of_this_iteration(&self, task: &Task) -> bool {
        self.live.job_iteration.unwrap_or(0) == task.job_iteration.unwrap_or(0)
    }

    /// How many tasks should run. For a global service: one for each node that has one, is getting one, or on which one
    /// has failed.
    fn expected(&self) -> u64 {
        fixed_number(&self.mode).unwrap_or_else(|| {
            let all = self.input.tasks.of(&self.live.id).iter().map(AsRef::as_ref);
            let nodes: BTreeSet<_> = match self.is_job() {
                true => {
                    all.filter(|task| self.of_this_iteration(task) && !self.node_is_down(task)).map(place).collect()
                }
                false => all.filter(|task| self.stays(task)).chain(self.failures()).map(place).collect(),
            };
            nodes.iter().filter(|(_, node)| node.is_some_and(|node| !node.is_empty())).count() as u64
        })
    }

    /// Zero tasks are as asked only for a service scaled to zero.
    fn may_be_empty(&self) -> bool {
        self.mode.global.is_none() && self.mode.global_job.is_none()
    }

    /// The tasks that run as asked.
    fn healthy(&self) -> Healthy {
        // Swarm also replaces tasks whose spec stays the same, when published ports change.
        let replacing = self.updated() && self.news().is_some_and(|update| update.state == UpdateState::Updating);
        let good = self.own.iter().filter(|task| match self.is_job() {
            true => task.state == TaskState::Complete && self.of_this_iteration(task),
            false if planted!("a task that ended counts as running") => task.state >= TaskState::Running,
            false if planted!("a task that starts counts as running") => task.state >= TaskState::Assigned,
            false => task.state == TaskState::Running && self.stays(task) && !(replacing && self.is_baseline(task)),
        });
        let mut places = BTreeSet::new();
        let (mut surplus, mut newest) = (false, None);
        for task in good {
            surplus |= !places.insert(place(task)) && !self.is_job();
            newest = newest.max(task.state_since);
        }
        Healthy { places: places.len() as u64, surplus, newest }
    }

    /// Tasks of this deployment that ended or were refused.
    fn failures(&self) -> impl Iterator<Item = &'a Task> {
        self.own.iter().copied().filter(|task| {
            let over = match task.state {
                TaskState::Failed | TaskState::Rejected => true,
                TaskState::Complete => !self.is_job(),
                _ => false,
            };
            over && !self.is_baseline(task)
                && !self.node_is_leaving(task)
                && (!self.is_job() || self.of_this_iteration(task))
        })
    }

    /// What stands in the way, and how sure that is.
    fn obstacle(&self, expected: u64) -> Option<Obstacle> {
        let mut failed: BTreeMap<Place<'_>, Vec<&Task>> = BTreeMap::new();
        let mut last: Option<&Task> = None;
        for task in self.failures() {
            failed.entry(place(task)).or_default().push(task);
            last = last.filter(|last| last.state_since > task.state_since).or(Some(task));
        }
        if let Some(last) = last {
            return Some(Obstacle { failure: self.evidence(last)?, sure: self.how_sure(&failed, expected) });
        }
        let cut_short = self.cut_short();
        if let Some(text) = self.swarm_gave_up().filter(|_| cut_short.is_none()) {
            // The task that made Swarm stop says more than Swarm does: the next listing of tasks has it.
            let listed_since = self.live.updated_at.is_none_or(|stopped| self.input.tasks.listed_at > stopped);
            let sure = if listed_since { Sure::From(self.input.now) } else { Sure::No };
            return Some(Obstacle { failure: self.failure(FailureClass::ExitCode, text), sure });
        }
        let seen = self.waiting().or_else(|| self.lost()).or_else(|| self.stuck()).or_else(|| self.nowhere(expected));
        seen.or_else(|| Some(self.interruption(cut_short?)))
    }

    /// The task whose end made Swarm stop the update, where that end says nothing of the version: its node was lost,
    /// emptied or removed, or it was Swarm that ended it. A task that fails by itself is `failed` or `complete`.
    fn cut_short(&self) -> Option<&'a Task> {
        let update = self.news().filter(|update| update.state == UpdateState::Paused)?;
        self.own.iter().copied().filter(|_| !self.is_job()).find(|task| {
            let removed = !task.node_id.is_empty() && !self.input.live.nodes.contains_key(&task.node_id);
            let ended = matches!(task.state, TaskState::Shutdown | TaskState::Orphaned | TaskState::Remove);
            update.message.contains(&task.id) && (ended || removed || self.node_is_leaving(task))
        })
    }

    /// Old tasks run, and nothing is on its way to take their place. Until then Swarm's updater is still at work on the
    /// place it was at, and takes no notice of the same spec sent again.
    fn is_left_alone(&self) -> bool {
        self.old_runs && !self.own.iter().any(|task| self.stays(task) && task.state < TaskState::Running)
    }

    fn interruption(&self, task: &Task) -> Obstacle {
        let node = self.hostname(&task.node_id).unwrap_or_else(|| task.node_id.clone());
        let text = format!("Swarm stopped the update when a task on node `{node}` was ended; Skep has it go on");
        let mut failure = self.failure(FailureClass::NodeLost, text);
        failure.slot = task.slot;
        failure.task = Some(task.id.clone());
        failure.node = Some(node);
        Obstacle { failure, sure: Sure::No }
    }

    fn failure(&self, class: FailureClass, text: String) -> Failure {
        let mut failure = Failure::new(class, text);
        failure.service = Some(self.wanted.key.clone());
        failure
    }

    fn evidence(&self, task: &Task) -> Option<Failure> {
        let mut failure = classify(task)?;
        failure.service = Some(self.wanted.key.clone());
        failure.node = failure.node.map(|id| self.hostname(&id).unwrap_or(id));
        if failure.class == FailureClass::NoSuitableNode && self.all_nodes_are_lost() {
            failure.class = FailureClass::NodeLost;
            failure.error = format!("every node of the Swarm is down ({})", failure.error);
        }
        Some(failure)
    }

    fn all_nodes_are_lost(&self) -> bool {
        let mut nodes = self.input.live.nodes.values().peekable();
        nodes.peek().is_some() && nodes.all(|node| matches!(node.state, NodeState::Down | NodeState::Disconnected))
    }

    fn hostname(&self, node: &str) -> Option<String> {
        self.input.live.nodes.get(node).map(|node| node.hostname.clone())
    }

    /// The task that has been on its way for longest.
    fn late(&self) -> Option<LateTask> {
        let end = if self.is_job() { TaskState::Complete } else { TaskState::Running };
        let on_its_way = self.own.iter().filter(|task| self.stays(task) && task.state < end);
        let task = on_its_way.min_by_key(|task| (task.created_at, task.slot))?;
        let node = (!task.node_id.is_empty()).then(|| self.hostname(&task.node_id).unwrap_or(task.node_id.clone()));
        Some(LateTask { id: task.id.clone(), slot: task.slot, node, state: task.state })
    }

    /// A task that is held up with an error.
    fn waiting(&self) -> Option<Obstacle> {
        let held_up = |task: &&&Task| self.stays(task) && task.state < TaskState::Starting && !task.error.is_empty();
        let task = self.own.iter().find(held_up)?;
        let since = task.state_since.unwrap_or(self.input.now);
        let sure = match since.checked_add(UNSCHEDULABLE_GRACE) {
            Ok(at) if super::classify::is_unmeetable(task) => Sure::From(at),
            _ => Sure::No,
        };
        Some(Obstacle { failure: self.evidence(task)?, sure })
    }

    /// A task that should run is on a node that is gone, and Swarm has not put it elsewhere yet.
    fn lost(&self) -> Option<Obstacle> {
        let gone = |task: &&&Task| self.is_wanted(task) && !task.state.is_over() && self.node_is_down(task);
        let task = self.own.iter().filter(|_| self.may_be_empty()).find(gone)?;
        let mut failure = self.failure(FailureClass::NodeLost, "its node is down".to_owned());
        failure.slot = task.slot;
        failure.task = Some(task.id.clone());
        failure.node = Some(self.hostname(&task.node_id).unwrap_or_else(|| task.node_id.clone()));
        Some(Obstacle { failure, sure: Sure::No })
    }

    /// Swarm's updater waits for a task that it has put on a node that is gone since. It does so until the node is back or
    /// taken out of the Swarm, though another task has taken the place and the old one runs on beside it.
    fn stuck(&self) -> Option<Obstacle> {
        let updating = self.updated() && self.news().is_some_and(|update| update.state == UpdateState::Updating);
        let waits_for =
            |task: &&&Task| task.state < TaskState::Running && !self.is_baseline(task) && self.node_is_down(task);
        let task = self.own.iter().filter(|_| updating && self.may_be_empty()).find(waits_for)?;
        let node = self.hostname(&task.node_id).unwrap_or_else(|| task.node_id.clone());
        let text = format!(
            "Swarm's update waits for a task on node `{node}`, which is down; it goes on when the node is back, or is removed from the Swarm (`docker node rm --force`)"
        );
        let mut failure = self.failure(FailureClass::NodeLost, text);
        failure.slot = task.slot;
        failure.task = Some(task.id.clone());
        failure.node = Some(node);
        Some(Obstacle { failure, sure: Sure::No })
    }

    /// A global service has no task anywhere, some time after everything was written.
    fn nowhere(&self, expected: u64) -> Option<Obstacle> {
        let progress = self.input.progress;
        let late = self.input.now.duration_since(progress.started_at) >= UNSCHEDULABLE_GRACE;
        (expected == 0 && !self.may_be_empty() && progress.applied && late).then(|| {
            let text = "no node takes a task of this global service".to_owned();
            Obstacle { failure: self.failure(FailureClass::NoSuitableNode, text), sure: Sure::No }
        })
    }

    /// Swarm's own updater stopped or went back.
    fn swarm_gave_up(&self) -> Option<String> {
        let update = self.news()?;
        let gave_up = matches!(
            update.state,
            UpdateState::Paused
                | UpdateState::RollbackStarted
                | UpdateState::RollbackPaused
                | UpdateState::RollbackCompleted
        );
        gave_up.then(|| format!("Swarm stopped the update: {}", update.message))
    }

    /// Whether the failed tasks mean that the service will not come up by itself.
    fn how_sure(&self, failed: &BTreeMap<Place<'_>, Vec<&Task>>, expected: u64) -> Sure {
        let update = self.wanted.spec.update_config.as_ref();
        if let Some(since) = self.input.progress.baking_since
            && failed.values().flatten().any(|task| task.state_since.is_some_and(|at| at > since))
            && !planted!("a late regression is forgiven")
        {
            return Sure::Already;
        }
        let goes_on = update.is_some_and(|update| update.failure_action == "continue");
        if self.updated() && !goes_on && !self.is_job() {
            let ratio = update.map_or(0.0, |update| update.max_failure_ratio);
            if failed.len() as f64 > ratio * expected as f64 {
                return Sure::Already;
            }
        }
        if self.swarm_gave_up().is_some() || self.gave_up_restarting(failed) || is_hopeless(failed) {
            return Sure::From(self.input.now);
        }
        Sure::No
    }

    /// Some place has failed and Swarm will not start another task in it.
    fn gave_up_restarting(&self, failed: &BTreeMap<Place<'_>, Vec<&Task>>) -> bool {
        let policy = self.wanted.spec.task_template.restart_policy.as_ref();
        let condition = policy.map_or("", |policy| policy.condition.as_str());
        let attempts = policy.and_then(|policy| policy.max_attempts).filter(|attempts| *attempts > 0);
        let going_on: BTreeSet<_> = self.own.iter().filter(|task| self.stays(task)).map(|task| place(task)).collect();
        failed.iter().filter(|(place, _)| !going_on.contains(place)).any(|(_, tasks)| {
            condition == "none"
                || (condition == "on-failure" && tasks.iter().any(|task| task.state == TaskState::Complete))
                || attempts.is_some_and(|attempts| tasks.len() as u64 > attempts)
        })
    }
}

/// Some place has been refused its image so often that waiting does not help.
fn is_hopeless(failed: &BTreeMap<Place<'_>, Vec<&Task>>) -> bool {
    let refused = |task: &&&Task| {
        classify(task)
            .is_some_and(|failure| matches!(failure.class, FailureClass::ImageMissing | FailureClass::RegistryAuth))
    };
    failed.values().any(|tasks| tasks.iter().filter(refused).count() >= HOPELESS_PULLS)
}
