//! The jobs before and after a deployment. Each run is a service of its own: made once for a deployment, judged by its
//! tasks, removed when it is over, its last lines kept in the record. That a run is about to be made is written down before
//! it is; after a crash it is found by its labels, and made again only if the engine does not have it.
//!
//! Nothing here waits for a job: it is looked after in each look at the stack, like the tasks of services.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::apply::Carried;
use super::logs::shown;
use super::pass::{Next, Pass, PassError};
use super::rendition::Rendition;
use super::snapshot::Wrote;
use super::stages::sooner;
use super::steady::SEEN;
use crate::assess::{AssessInput, JobVerdict, Verdict, assess_job, of_job};
use crate::domain::{
    Course, DEPLOYMENT_LABEL, Deployment, DeploymentPhase as Phase, Effect, EventType, Failure, FailureClass,
    HOOK_LABEL, InventoryEntry, JobRun, JobState, LiveService, Material, NodeState, ObjectKind, ObjectRef, Reason,
    Revision, ServiceSpec, Trigger, When,
};
use crate::plan::{Plan, PlannedJob, is_job_run};
use crate::ports::{SwarmError, TaskFilter, WatchedKind};

/// Its last lines are not worth more time than this.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many of a run's last lines are kept.
const LINES: u32 = 50;
/// The most of one line that is kept, in bytes.
const LONGEST: usize = 2048;
/// Tasks that are being ended are looked at again after this time.
const AGAIN: SignedDuration = SignedDuration::from_millis(300);

/// How the runs of a deployment stand.
#[derive(Default)]
pub(super) struct Runs {
    /// The first that failed.
    pub(super) failed: Option<Failure>,
    /// What keeps one waiting that is no fault of its own.
    pub(super) waiting: Option<Failure>,
    /// Real names of those that have ended well.
    pub(super) ended: BTreeSet<String>,
    /// When one may be over by time alone.
    pub(super) next: Option<Timestamp>,
}

impl Runs {
    /// A job that failed, or that the infrastructure keeps waiting, outweighs what the services say.
    pub(super) fn take_part(&self, verdict: &mut Verdict, at_the_end: bool) {
        match (&self.failed, &self.waiting, &*verdict) {
            (Some(failure), _, _) => *verdict = Verdict::Failed(failure.clone()),
            (None, Some(failure), Verdict::Failed(_)) => *verdict = Verdict::Failed(failure.clone()),
            (None, Some(failure), _) if at_the_end => *verdict = Verdict::Failed(failure.clone()),
            (None, Some(failure), Verdict::Progressing) => *verdict = Verdict::Waiting(failure.clone()),
            _ => {}
        }
    }

    /// The sooner of when a run may be over and of another time.
    pub(super) fn sooner(&self, next: Next) -> Next {
        self.next.map_or(next, |at| sooner(next, at))
    }
}

/// What was made is not called removed before this time: a manager that lags may not know of it yet.
fn seen_by(run: &JobRun) -> Timestamp {
    run.started_at.checked_add(SEEN).unwrap_or(Timestamp::MAX)
}

impl Pass<'_> {
    /// How a deployment is gone about.
    pub(super) fn course(deployment: &Deployment) -> Course {
        match deployment.origin.trigger {
            Trigger::Drift => Course::Repair,
            Trigger::Adopt => Course::Adopt,
            Trigger::Rollback => Course::Rollback,
            _ => Course::Deploy,
        }
    }

    /// The commit of the version that a deployment leads away from.
    pub(super) fn previous(&mut self, deployment: &Deployment) -> Result<Option<Revision>, PassError> {
        match &deployment.rollback_of {
            Some(failed) => Ok(self.deployment(failed)?.and_then(|failed| failed.version.revision.clone())),
            None => Ok(self.status.last_good.as_ref().and_then(|good| good.version.revision.clone())),
        }
    }

    /// The engine's ids of the runs that are under way.
    pub(super) fn ids_of_runs(&self, deployment: &Deployment) -> BTreeSet<String> {
        let under_way = deployment.jobs.values().filter(|run| run.state.is_under_way());
        under_way.filter_map(|run| run.id.clone()).collect()
    }

    /// Runs that were begun and of which no answer is known: they are there, or are made now.
    pub(super) async fn find_runs(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        plan: &Plan,
    ) -> Result<(), PassError> {
        let open = |run: &&JobRun| run.state == JobState::Starting;
        let open: Vec<String> =
            deployment.jobs.iter().filter(|(_, run)| open(run)).map(|(name, _)| name.clone()).collect();
        for name in open {
            let id = deployment.id.as_str();
            let ours = |live: &&std::sync::Arc<LiveService>| {
                is_job_run(live) && live.spec.labels.get(DEPLOYMENT_LABEL).is_some_and(|of| of == id)
            };
            let found = self.environment.snapshot().services.get(&name).filter(ours).map(|live| live.id.clone());
            match found {
                Some(found) => self.has_begun(deployment, &name, found),
                None => self.make_run(deployment, rendition, plan, &name).await?,
            }
        }
        Ok(())
    }

    /// Judges the runs that are under way, and takes down how those ended that are over.
    pub(super) async fn look_at_runs(
        &mut self,
        deployment: &mut Deployment,
        input: &AssessInput<'_>,
        rendition: &Rendition,
    ) -> Runs {
        let mut runs = Runs::default();
        let names: Vec<String> = deployment.jobs.keys().cloned().collect();
        for name in names {
            let Some(run) = deployment.jobs.get(&name).cloned() else { continue };
            let verdict = match (run.state, &run.id) {
                (JobState::Succeeded, _) => JobVerdict::Succeeded,
                (JobState::Running, Some(id)) => match input.live.services.get(&name).filter(|live| live.id == *id) {
                    Some(live) => assess_job(input, &run, live),
                    None if self.now < seen_by(&run) || self.is_there(id).await => {
                        JobVerdict::Running(self.soon_after())
                    }
                    None => {
                        let text = "its service was removed from the Swarm by somebody else";
                        JobVerdict::Failed(of_job(&run, Failure::new(FailureClass::Hook, text)))
                    }
                },
                // It was found to have failed, and a pass broke off before its deployment was ended.
                (JobState::Failed, _) => {
                    let text = run.error.clone().unwrap_or_else(|| "it has failed".to_owned());
                    let failure = Failure::new(FailureClass::Hook, text);
                    let failure = Failure { exit_code: run.exit_code, ..failure };
                    runs.failed = runs.failed.or(Some(failure_of_run(&run, failure)));
                    continue;
                }
                _ => continue,
            };
            match verdict {
                JobVerdict::Running(at) => runs.next = runs.next.into_iter().chain([at]).min(),
                JobVerdict::Waiting(failure) => runs.waiting = runs.waiting.or(Some(failure)),
                JobVerdict::Succeeded => {
                    if run.state != JobState::Succeeded {
                        let task = run.id.iter().flat_map(|id| input.tasks.of(id)).last();
                        let (task, code) = (task.map(|task| task.id.clone()), task.and_then(|task| task.exit_code));
                        self.has_ended(deployment, &name, JobState::Succeeded, (task, code), rendition).await;
                    }
                    runs.ended.insert(name);
                }
                JobVerdict::Failed(failure) => {
                    if let Some(run) = deployment.jobs.get_mut(&name) {
                        run.error = Some(rendition.masker().mask(&failure.error));
                    }
                    let told = (failure.task.clone(), failure.exit_code);
                    self.has_ended(deployment, &name, JobState::Failed, told, rendition).await;
                    runs.failed = runs.failed.or(Some(failure));
                }
            }
        }
        runs
    }

    /// Whether a service that is missing from what is known is there all the same; then all of them are listed anew. Where
    /// nothing can be said, it is.
    async fn is_there(&self, id: &str) -> bool {
        match self.environment.swarm.inspect(WatchedKind::Service, id).await {
            Ok(None) => false,
            Ok(Some(_)) => {
                // A listing that fails now is made up for by the next.
                let _listed = self.environment.list(WatchedKind::Service).await;
                true
            }
            Err(_) => true,
        }
    }

    fn soon_after(&self) -> Timestamp {
        self.now.checked_add(SignedDuration::from_secs(1)).unwrap_or(self.now)
    }

    /// Takes down how a run ended, with its last lines, before its service is removed.
    async fn has_ended(
        &mut self,
        deployment: &mut Deployment,
        name: &str,
        state: JobState,
        (task, exit_code): (Option<String>, Option<i64>),
        rendition: &Rendition,
    ) {
        let mut log_tail = Vec::new();
        if let Some(task) = &task
            && let Ok(Ok(lines)) = tokio::time::timeout(PATIENCE, self.environment.swarm.task_logs(task, LINES)).await
        {
            let masker = rendition.masker();
            log_tail = lines.into_iter().map(|line| cut(shown(&masker, &line.line, line.cut))).collect();
        }
        let now = self.shared.ambient.now();
        let span = self.stack.spec.policy.progress_deadline;
        if let Some(progress) = &mut deployment.progress {
            progress.progress_deadline = now.checked_add(span).unwrap_or(now);
        }
        let Some(run) = deployment.jobs.get_mut(name) else { return };
        (run.state, run.exit_code, run.log_tail, run.finished_at) = (state, exit_code, log_tail, Some(now));
        let took = now.duration_since(run.started_at);
        let (word, told) = match state {
            JobState::Succeeded => ("JobSucceeded", "has ended well"),
            _ => ("JobFailed", "has failed"),
        };
        let text = format!("the job `{}` ({}) {told}, {took:#} after it began", run.service, run.when);
        let id = deployment.id.clone();
        self.event(EventType::StepApplied, Some(&id), word, text);
    }

    /// Begins a job. That it is about to be made is written down before it is.
    pub(super) async fn begin_job(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        plan: &Plan,
        job: &PlannedJob,
    ) -> Result<(), PassError> {
        let name = job.service.spec.name.clone();
        let Some(direction) = Self::course(deployment).direction() else { return Ok(()) };
        let now = self.shared.ambient.now();
        let deadline = rendition.desired.jobs.get(&name).and_then(|job| job.deadline);
        let span = deadline.map_or(self.stack.spec.policy.progress_deadline, SignedDuration::from_nanos);
        let mut deadline = now.checked_add(span).unwrap_or(now);
        if let Some(progress) = &mut deployment.progress {
            deadline = deadline.min(progress.total_deadline);
            // The clock of the services stands still while a job runs: it has a deadline of its own.
            progress.progress_deadline = progress.progress_deadline.max(deadline);
        }
        let run = JobRun {
            service: job.service.key.clone(),
            when: job.when,
            direction,
            state: JobState::Starting,
            id: None,
            started_at: now,
            deadline,
            finished_at: None,
            error: None,
            exit_code: None,
            log_tail: Vec::new(),
        };
        let text = format!("the job `{}` ({}) begins, told `{direction}`", run.service, run.when);
        self.event(EventType::StepApplied, Some(&deployment.id), "JobBegun", text);
        deployment.jobs.insert(name.clone(), run);
        self.note_run(deployment, &job.service.spec).await?;
        self.make_run(deployment, rendition, plan, &name).await
    }

    /// Notes that the service of a run is about to be made.
    async fn note_run(&mut self, deployment: &Deployment, spec: &ServiceSpec) -> Result<(), PassError> {
        let digest = self.shared.renderer.digester().digest_of(spec);
        let entry = InventoryEntry { id: None, digest, since: self.shared.ambient.now() };
        self.status.inventory.0.insert(ObjectRef::new(ObjectKind::Service, &spec.name), entry);
        self.put(deployment.clone());
        self.checkpoint().await
    }

    /// Makes the service of a run. It is noted anew when an old one of its name has gone meanwhile, and the note with it.
    async fn make_run(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        plan: &Plan,
        name: &str,
    ) -> Result<(), PassError> {
        let Some(job) = plan.jobs.iter().find(|job| job.service.spec.name == name) else { return Ok(()) };
        let spec = ServiceSpec::clone(&job.service.spec);
        if !self.status.inventory.0.contains_key(&ObjectRef::new(ObjectKind::Service, name)) {
            self.note_run(deployment, &spec).await?;
        }
        let made = self.environment.swarm.apply(&Effect::CreateService(spec.clone()), &Material::default()).await;
        match made {
            Ok(applied) => {
                self.environment.wrote(Wrote::Service(Box::new(spec), applied.id.clone()));
                self.has_begun(deployment, name, applied.id);
                Ok(())
            }
            // It is there all the same, or something else is: the next look finds out.
            Err(SwarmError::Exists { .. } | SwarmError::Conflict { .. } | SwarmError::NotFound { .. }) => {
                for kind in [WatchedKind::Network, WatchedKind::Config, WatchedKind::Secret, WatchedKind::Service] {
                    self.environment.list(kind).await?;
                }
                Ok(())
            }
            // The engine quotes what it was sent. The next look ends the deployment.
            Err(error @ SwarmError::Refused { .. }) => {
                let told = rendition.masker().mask(&error.to_string());
                if let Some(run) = deployment.jobs.get_mut(name) {
                    let told = of_job(run, Failure::new(FailureClass::Hook, told)).error;
                    (run.state, run.error, run.finished_at) = (JobState::Failed, Some(told), Some(self.now));
                }
                self.put(deployment.clone());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn has_begun(&mut self, deployment: &mut Deployment, name: &str, id: String) {
        let object = ObjectRef::new(ObjectKind::Service, name);
        if let Some(entry) = self.status.inventory.0.get_mut(&object) {
            entry.id = Some(id.clone());
        }
        if let Some(run) = deployment.jobs.get_mut(name) {
            (run.state, run.id) = (JobState::Running, Some(id));
        }
        self.put(deployment.clone());
    }

    /// Begins the jobs after the deployment whose turn it is. `None`: all of them have ended well.
    pub(super) async fn jobs_after(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        ended: &BTreeSet<String>,
    ) -> Result<Option<Carried>, PassError> {
        let course = Self::course(deployment);
        let open: Vec<&String> = rendition
            .desired
            .jobs_on(course, When::Post)
            .map(|(name, _)| name)
            .filter(|name| !ended.contains(*name) && !planted!("the jobs after a deployment are left out"))
            .collect();
        if open.is_empty() {
            return Ok(None);
        }
        if !self.may_write() {
            return self.wait_to_write(deployment.clone()).map(Some);
        }
        if let Some(waits) = self.clear_runs(Some(deployment)).await? {
            return Ok(Some(waits));
        }
        let plan = self.plan(deployment, rendition, crate::plan::Prune::Later)?;
        if let Some(refused) = plan.refused.first() {
            let text = refused.to_string();
            self.fail(deployment.clone(), Failure::new(FailureClass::Preflight, text))?;
            return Ok(Some(Carried::Ended));
        }
        let known: BTreeSet<String> = deployment.jobs.keys().cloned().collect();
        self.find_runs(deployment, rendition, &plan).await?;
        for name in &open {
            let awaits = plan.gates.get(*name).map(|gate| &gate.awaits);
            let waits = awaits.into_iter().flatten().any(|name| open.contains(&name));
            let Some(job) = plan.jobs.iter().find(|job| job.service.spec.name == **name) else { continue };
            if !waits && !deployment.jobs.contains_key(*name) {
                let job = job.clone();
                self.make_room(name).await?;
                if let Some(waits) = self.clear_runs(Some(deployment)).await? {
                    return Ok(Some(waits));
                }
                self.begin_job(deployment, rendition, &plan, &job).await?;
            }
        }
        deployment.message = Some(self.told_of_runs(deployment));
        self.put(deployment.clone());
        let begun = !deployment.jobs.keys().all(|name| known.contains(name));
        self.follow_tasks(deployment, rendition, begun.then(|| self.shared.ambient.now()), false);
        let next = deployment.jobs.values().filter(|run| run.state.is_under_way()).map(|run| run.deadline).min();
        Ok(Some(Carried::Wait(Next::At(next.unwrap_or_else(|| self.deadline(deployment))))))
    }

    /// One sentence on the runs that are under way.
    pub(super) fn told_of_runs(&self, deployment: &Deployment) -> String {
        let under_way = deployment.jobs.values().filter(|run| run.state.is_under_way());
        let told = under_way.map(|run| {
            format!("the job `{}` ({}) is to end, at the latest at {}", run.service, run.when, short(run.deadline))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Removes the services of runs that are over, or whose deployment is not the one at work, and waits until their tasks
    /// have ended: two runs never go on side by side. `None`: nothing is left of them.
    pub(super) async fn clear_runs(&mut self, at_work: Option<&Deployment>) -> Result<Option<Carried>, PassError> {
        let stale = self.stale_runs(at_work);
        if !stale.is_empty() {
            let over = |name: &str| {
                at_work.and_then(|it| it.jobs.get(name)).is_some_and(|run| run.state == JobState::Succeeded)
            };
            let unsure = stale.iter().filter(|(name, _)| !over(name)).map(|(_, id)| id.clone());
            self.status.ending.extend(unsure.collect::<Vec<_>>());
            // How they ended is written down before the engine forgets it.
            self.checkpoint().await?;
            for (name, id) in stale {
                let object = ObjectRef::new(ObjectKind::Service, &name);
                let effect = Effect::Remove { object: object.clone(), id };
                match self.environment.swarm.apply(&effect, &Material::default()).await {
                    Ok(_) | Err(SwarmError::NotFound { .. }) => {
                        self.status.inventory.0.remove(&object);
                        self.environment.wrote(Wrote::Removed(object));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if self.status.ending.is_empty() {
            return Ok(None);
        }
        let tasks = self.environment.swarm.tasks(&TaskFilter::All).await?;
        let snapshot = self.environment.snapshot();
        let down = |node: &str| snapshot.nodes.get(node).is_some_and(|node| node.state == NodeState::Down);
        self.status.ending.retain(|id| {
            tasks.iter().any(|task| task.service_id == *id && !task.state.is_over() && !down(&task.node_id))
        });
        if self.status.ending.is_empty() {
            return Ok(None);
        }
        let text = "a job of an earlier deployment is being ended".to_owned();
        self.waiting = Some((Reason::Progressing, text));
        let now = self.shared.ambient.now();
        Ok(Some(Carried::Wait(Next::At(now.checked_add(AGAIN).unwrap_or(now)))))
    }

    /// Whether anything is left of runs that are over.
    pub(super) fn has_stale_runs(&self, at_work: &Deployment) -> bool {
        !self.status.ending.is_empty() || !self.stale_runs(Some(at_work)).is_empty()
    }

    /// Services of runs that are not to go on, by name, with their ids; and what stands where a job is to run.
    fn stale_runs(&self, at_work: Option<&Deployment>) -> Vec<(String, String)> {
        let services = &self.environment.snapshot().services;
        let owned = self.status.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service);
        let goes_on = |live: &LiveService| {
            at_work.filter(|it| !it.phase.is_terminal() && it.phase != Phase::RollingBack).is_some_and(|it| {
                let run = it.jobs.get(&live.spec.name).filter(|run| run.state.is_under_way());
                run.is_some() && live.spec.labels.get(DEPLOYMENT_LABEL).is_some_and(|of| of == it.id.as_str())
            })
        };
        let stale = |live: &&std::sync::Arc<LiveService>| {
            let ours = live.spec.labels.get(crate::domain::INSTANCE_LABEL) == Some(&self.shared.instance)
                && live.spec.labels.get(crate::domain::STACK_LABEL) == Some(&self.key().to_string());
            ours && live.spec.labels.contains_key(HOOK_LABEL) && !goes_on(live)
        };
        let found = owned.filter_map(|object| services.get(&object.name)).filter(stale);
        found.map(|live| (live.spec.name.clone(), live.id.clone())).collect()
    }

    /// Removes what stands where a job is to run for the first time: a service of the stack that was none of these before.
    pub(super) async fn make_room(&mut self, name: &str) -> Result<(), PassError> {
        let object = ObjectRef::new(ObjectKind::Service, name);
        let snapshot = self.environment.snapshot();
        let Some(live) = snapshot.services.get(name).filter(|live| !is_job_run(live)) else { return Ok(()) };
        self.status.ending.insert(live.id.clone());
        self.checkpoint().await?;
        let effect = Effect::Remove { object: object.clone(), id: live.id.clone() };
        match self.environment.swarm.apply(&effect, &Material::default()).await {
            Ok(_) | Err(SwarmError::NotFound { .. }) => {
                self.status.inventory.0.remove(&object);
                self.environment.wrote(Wrote::Removed(object));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a run failed with, as it was recorded.
fn failure_of_run(run: &JobRun, failure: Failure) -> Failure {
    Failure { service: Some(run.service.clone()), log_tail: run.log_tail.clone(), ..failure }
}

fn cut(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(LONGEST));
    line
}

/// A time without parts of a second.
fn short(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
