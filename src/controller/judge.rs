//! What becomes of a deployment whose plan has been carried out, and of one that has failed.

use jiff::{SignedDuration, Timestamp};

use super::apply::Carried;
use super::environment::Connection;
use super::pass::{Next, Pass, PassError};
use super::rendition::Rendition;
use super::stages::sooner;
use crate::assess::{AssessInput, Assessment, Fault, Verdict, assess, blame};
use crate::domain::{
    ConditionStatus as Is, ConditionType as Kind, Deployment, DeploymentId, DeploymentPhase as Phase, EventType,
    Failure, FailureClass, Kept as KeptName, LastGood, Progress, Reason, ServiceState, Trigger, Version, VersionSource,
};
use crate::plan::Prune;
use crate::ports::SwarmError;

/// After a start the engine has this long to say how things stand.
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(1);

/// What judging came to.
pub(super) enum Judged {
    /// Nothing is decided.
    Wait(Next),
    /// It ended; the stack is to be looked at afresh.
    Ended,
}

impl Pass<'_> {
    /// Judges the attempt by its tasks.
    pub(super) async fn judge(
        &mut self,
        mut deployment: Deployment,
        rendition: &Rendition,
    ) -> Result<Judged, PassError> {
        self.allow_for_a_restart(&mut deployment);
        let Some(progress) = deployment.progress.clone() else { return Ok(Judged::Wait(Next::Idle)) };
        if !matches!(self.environment.connection(), Connection::Connected(_)) {
            return self.judge_blind(deployment);
        }
        let tasks = self.environment.tasks.newest();
        let live = self.environment.snapshot();
        let applied_at = progress.applied_at.unwrap_or(progress.started_at);
        let own = || {
            let services = rendition.desired.services.keys().filter_map(|name| live.services.get(name));
            services.map(|live| live.id.clone()).chain(self.ids_of_runs(&deployment))
        };
        let new = tasks.listed_at > applied_at || planted!("a listing from before the write is judged by");
        let listed = new && own().all(|id| tasks.by_service.contains_key(&id));
        let bakes = progress.baking_since.is_some();
        self.follow_tasks(&deployment, rendition, (!listed).then(|| applied_at.max(tasks.listed_at)), bakes);
        if !listed {
            return self.wait_for_tasks(deployment);
        }
        // One that cannot be read back is none: `RollbackReady` says so.
        let last_good = match self.last_good_rendition() {
            Err(PassError::Rendition(_)) => None,
            found => found?,
        };
        let mut policy = self.stack.spec.policy.clone();
        if matches!(deployment.version.source, VersionSource::Kept(_)) {
            // What has been good once needs no proof of it again.
            policy.bake = SignedDuration::ZERO;
        }
        let input = AssessInput {
            target: &rendition.desired,
            progress: &progress,
            live: &live,
            tasks: &tasks,
            last_good: last_good.as_ref().map(|rendition| &rendition.desired),
            policy: &policy,
            now: self.now,
        };
        let runs = self.look_at_runs(&mut deployment, &input, rendition).await;
        // A job that ended has moved the clocks.
        let moved = deployment.progress.clone();
        let progress = moved.as_ref().unwrap_or(&progress);
        let input = AssessInput { progress, ..input };
        self.put(deployment.clone());
        let Some(mut assessment) = self.with_second_opinion(&deployment, &input, assess(&input)) else {
            if progress.waiting_since.is_none() {
                let text = "asking the registry about an image that the engine calls missing";
                deployment.message = Some(text.to_owned());
                self.put(deployment);
            }
            return Ok(Judged::Wait(Next::Idle));
        };
        runs.take_part(&mut assessment.verdict, self.now >= progress.total_deadline);
        let assessment = masked(assessment, rendition);
        self.note_progress(&mut deployment, &assessment);
        if !bakes && deployment.progress.as_ref().is_some_and(|progress| progress.baking_since.is_some()) {
            self.follow_tasks(&deployment, rendition, None, true);
        }
        match &assessment.verdict {
            Verdict::Converged => match self.jobs_after(&mut deployment, rendition, &runs.ended).await? {
                None | Some(Carried::All) => {
                    self.keep_output(&deployment, self.output_so_far(&deployment, rendition).await, true)?;
                    self.converge(deployment, rendition)?;
                    Ok(Judged::Ended)
                }
                Some(Carried::Wait(next)) => Ok(Judged::Wait(runs.sooner(next))),
                Some(Carried::Ended) => Ok(Judged::Ended),
            },
            Verdict::Failed(failure) => {
                let fault = blame(&input, failure);
                let evidence = self.with_evidence(failure.clone(), rendition);
                let (failure, output) = tokio::join!(evidence, self.output_of_failed(&deployment, failure, rendition));
                self.keep_output(&deployment, output, false)?;
                self.end_failed(deployment, failure, fault)?;
                Ok(Judged::Ended)
            }
            Verdict::Progressing | Verdict::Waiting(_) => {
                self.put(deployment.clone());
                if Self::is_between_waves(&deployment) {
                    let settled = Self::settled(&assessment, &runs.ended);
                    return Ok(match self.apply_after(deployment, rendition, &settled).await? {
                        Carried::Wait(next) => Judged::Wait(runs.sooner(sooner(next, assessment.next_look))),
                        Carried::All | Carried::Ended => Judged::Ended,
                    });
                }
                self.keep_to_plan(deployment, rendition, assessment.next_look).await
            }
        }
    }

    /// Clocks that ran out while nobody looked do not count before somebody has looked, through the monitor period.
    fn allow_for_a_restart(&self, deployment: &mut Deployment) {
        let begun = self.environment.begun_at;
        let Some(progress) = deployment.progress.as_mut().filter(|progress| progress.started_at < begun) else {
            return;
        };
        let span = self.stack.spec.policy.monitor.checked_add(FIRST_LOOK).unwrap_or(FIRST_LOOK);
        let span =
            if planted!("a restart begins the deadline anew") { self.stack.spec.policy.total_deadline } else { span };
        let soonest = begun.checked_add(span).unwrap_or(begun);
        progress.total_deadline = progress.total_deadline.max(soonest);
        progress.progress_deadline = progress.progress_deadline.max(soonest);
        for run in deployment.jobs.values_mut().filter(|run| run.state.is_under_way()) {
            run.deadline = run.deadline.max(soonest);
        }
    }

    /// A deadline that passes while the environment is only being connected leaves time for a first look.
    pub(super) fn not_before_a_look(&self, deadline: Timestamp) -> Timestamp {
        let begun = self.environment.begun_at;
        match self.environment.connection() {
            Connection::Unknown => deadline.max(begun.checked_add(FIRST_LOOK).unwrap_or(begun)),
            _ => deadline,
        }
    }

    /// No listing of the tasks is new enough yet; when none comes at all, the engine is at fault.
    fn wait_for_tasks(&mut self, deployment: Deployment) -> Result<Judged, PassError> {
        let deadline = self.deadline(&deployment);
        if self.now < deadline {
            return Ok(Judged::Wait(Next::At(deadline)));
        }
        let text = "the engine did not list the tasks before the total deadline";
        self.end_failed(deployment, Failure::new(FailureClass::EngineUnreachable, text), Fault::Infrastructure)?;
        Ok(Judged::Ended)
    }

    /// What somebody else changed while the tasks are watched is put right, the more slowly the more often it happens.
    async fn keep_to_plan(
        &mut self,
        deployment: Deployment,
        rendition: &Rendition,
        next_look: Timestamp,
    ) -> Result<Judged, PassError> {
        let plan = self.plan(&deployment, rendition, Prune::Later)?;
        if plan.is_empty() {
            return Ok(Judged::Wait(Next::At(next_look)));
        }
        if let Some(at) = self.slowed_down(&super::steady::described(&plan.steps)) {
            return Ok(Judged::Wait(Next::At(at.min(next_look))));
        }
        self.count_correction();
        match self.apply(deployment, rendition).await? {
            Carried::Wait(next) => Ok(Judged::Wait(next)),
            Carried::Ended => Ok(Judged::Ended),
            Carried::All => {
                if let Some(attempt) = self.attempt()? {
                    self.follow_tasks(&attempt, rendition, Some(self.shared.ambient.now()), false);
                }
                Ok(Judged::Wait(Next::At(next_look)))
            }
        }
    }

    /// The engine does not answer: nothing can be said. The progress clock stands still, the total clock runs.
    fn judge_blind(&mut self, mut deployment: Deployment) -> Result<Judged, PassError> {
        self.may_write();
        let Some(progress) = &mut deployment.progress else { return Ok(Judged::Wait(Next::Idle)) };
        progress.waiting_since.get_or_insert(self.now);
        progress.healthy_since = None;
        let deadline = progress.total_deadline;
        let deadline = self.not_before_a_look(deadline);
        if self.now >= deadline && !planted!("an outage has no end") {
            let text = self.waiting.clone().map(|(_, text)| text).unwrap_or_default();
            let failure = Failure::new(self.outage_class(), text);
            self.end_failed(deployment, failure, Fault::Infrastructure)?;
            return Ok(Judged::Ended);
        }
        self.put(deployment);
        Ok(Judged::Wait(Next::At(deadline)))
    }

    /// What keeps the engine from answering: it cannot be reached, or its Swarm has no leader.
    pub(super) fn outage_class(&self) -> FailureClass {
        match self.environment.connection() {
            Connection::Lost(SwarmError::NoQuorum { .. }) => FailureClass::QuorumLost,
            _ => FailureClass::EngineUnreachable,
        }
    }

    /// Has the tasks of this version's services listed for as long as it is under way.
    pub(super) fn follow_tasks(
        &self,
        deployment: &Deployment,
        rendition: &Rendition,
        newer_than: Option<Timestamp>,
        bakes: bool,
    ) {
        let live = self.environment.snapshot();
        let ids = rendition.desired.services.keys().filter_map(|name| live.services.get(name));
        let ids = ids.map(|live| live.id.clone()).chain(self.ids_of_runs(deployment)).collect();
        self.environment.tasks.follow(self.key(), ids, newer_than, bakes);
    }

    /// Moves the clocks on by what was seen.
    fn note_progress(&mut self, deployment: &mut Deployment, assessment: &Assessment) {
        let now = self.now;
        let after = |from: Timestamp, span: SignedDuration| from.checked_add(span).unwrap_or(from);
        let span = self.stack.spec.policy.progress_deadline;
        if let Some(progress) = &mut deployment.progress {
            match (&assessment.verdict, progress.waiting_since) {
                (Verdict::Waiting(_), None) => progress.waiting_since = Some(now),
                (Verdict::Waiting(_), Some(_)) => {}
                (_, Some(since)) => {
                    let stood = now.duration_since(since);
                    progress.progress_deadline = after(progress.progress_deadline, stood);
                    for run in deployment.jobs.values_mut().filter(|run| run.state.is_under_way()) {
                        run.deadline = after(run.deadline, stood);
                    }
                    progress.waiting_since = None;
                }
                (_, None) => {}
            }
            if assessment.healthy > progress.healthy_most {
                progress.healthy_most = assessment.healthy;
                progress.progress_deadline = after(now, span);
            }
            if progress.baking_since.is_none() && assessment.baking_since.is_some() {
                progress.baking_since = assessment.baking_since;
                progress.total_deadline = after(progress.total_deadline, self.stack.spec.policy.bake);
            }
            progress.healthy_since = assessment.healthy_since;
            progress.newest_task = assessment.newest_task;
            for service in &assessment.services {
                if let Some(known) = progress.services.get_mut(&service.name) {
                    known.cut_short = service.cut_short;
                }
            }
        }
        deployment.services = assessment
            .services
            .iter()
            .map(|service| ServiceState {
                service: service.key.clone(),
                wanted: service.wanted,
                healthy: service.healthy,
                obstacle: service.obstacle.as_ref().map(|failure| failure.error.clone()),
                waits_for: service.waits_for.clone(),
            })
            .collect();
        deployment.message = Some(match &assessment.verdict {
            Verdict::Waiting(failure) => {
                self.waiting = Some((Reason::InfrastructureUnavailable, failure.sentence()));
                format!("the infrastructure is in the way: {}", failure.sentence())
            }
            _ => assessment.summary(),
        });
        let healthy = if assessment.healthy_since.is_some() { Is::True } else { Is::Unknown };
        self.say(Kind::Healthy, healthy, Reason::Progressing, assessment.summary());
    }

    /// The new last good: kept whole and sealed before anybody is told.
    fn converge(&mut self, mut deployment: Deployment, rendition: &Rendition) -> Result<(), PassError> {
        self.environment.tasks.leave(&self.stack.key);
        let known = self.kept_as_good(&deployment);
        let is_new = known.is_none();
        let kept = match known {
            Some(kept) => kept,
            None => self.kept(&deployment, rendition)?,
        };
        deployment.kept = Some(kept.clone());
        self.leave_the_point_of_no_return(&deployment);
        if is_new {
            let version = Self::pointer(&deployment);
            self.status.last_good = Some(LastGood { version, kept, since: self.now });
        }
        self.converged_pointers(&deployment);
        let took = self.now.duration_since(deployment.created_at);
        let text = format!("all {} tasks run, {took:#} after it was asked for", wanted(&deployment));
        self.say(Kind::Healthy, Is::True, Reason::Succeeded, "every wanted task runs");
        self.enter(&mut deployment, Phase::Converged, text);
        self.put(deployment.clone());
        if let Some(failed) = deployment.rollback_of.clone() {
            self.rolled_back(&failed)?;
        }
        Ok(())
    }

    /// Where a deployment's version is kept; it is written together with the deployment.
    pub(super) fn kept(&mut self, deployment: &Deployment, rendition: &Rendition) -> Result<KeptName, PassError> {
        match deployment.kept.clone().or_else(|| self.kept_as_good(deployment)) {
            Some(kept) => Ok(kept),
            None => {
                let sealed = self.shared.renderer.seal(rendition)?;
                let name = sealed.kept_as();
                self.to_keep.push(sealed);
                Ok(name)
            }
        }
    }

    /// What is kept already, because the same version was good before.
    fn kept_as_good(&self, deployment: &Deployment) -> Option<KeptName> {
        let good = self.status.last_good.as_ref().filter(|good| good.version.digest == deployment.version.digest);
        good.map(|good| good.kept.clone())
    }

    pub(super) fn converged_pointers(&mut self, deployment: &Deployment) {
        self.status.live = Some(Self::pointer(deployment));
        if matches!(deployment.version.source, VersionSource::Spec(_)) {
            self.status.desired = Some(Self::pointer(deployment));
        }
    }

    /// The failed deployment whose rollback has converged.
    pub(super) fn rolled_back(&mut self, failed: &DeploymentId) -> Result<(), PassError> {
        let Some(mut deployment) = self.deployment(failed)?.cloned() else { return Ok(()) };
        if !deployment.phase.is_terminal() {
            let why = deployment.failure.as_ref().map(Failure::sentence).unwrap_or_default();
            let then = match deployment.progress {
                Some(_) => "the last good version is back",
                None => "nothing was changed for it, and the last good version runs",
            };
            self.enter(&mut deployment, Phase::RolledBack, format!("{why}; {then}"));
            self.put(deployment);
        }
        Ok(())
    }

    pub(super) fn rollback_did_not_come_about(&mut self, failed: &DeploymentId, why: &str) -> Result<(), PassError> {
        let Some(mut deployment) = self.deployment(failed)?.cloned() else { return Ok(()) };
        if !deployment.phase.is_terminal() {
            let first = deployment.failure.as_ref().map(Failure::sentence).unwrap_or_default();
            self.enter(&mut deployment, Phase::Failed, format!("{first}; and {why}"));
            self.put(deployment);
        }
        Ok(())
    }

    /// A deployment that failed before its tasks could be judged: always by its own fault, but for an outage.
    pub(super) fn fail(&mut self, deployment: Deployment, failure: Failure) -> Result<(), PassError> {
        let fault = match failure.class {
            FailureClass::EngineUnreachable | FailureClass::QuorumLost => Fault::Infrastructure,
            _ => Fault::Version,
        };
        self.end_failed(deployment, failure, fault)
    }

    /// Policy decides: the last good version is brought back, or the stack stays as it is and a person looks.
    fn end_failed(&mut self, mut deployment: Deployment, failure: Failure, fault: Fault) -> Result<(), PassError> {
        self.environment.tasks.leave(&self.stack.key);
        let why = failure.sentence();
        deployment.failure = Some(failure.clone());
        let written = deployment.progress.as_ref().is_some_and(Progress::has_written);
        // The job before the deployment stopped it: nothing of the stack was changed.
        let stopped = failure.class == FailureClass::Hook && !written;
        if deployment.progress.is_some() && !stopped {
            self.say(Kind::Healthy, Is::False, reason_of(failure.class), &why);
        }
        if let Some(failed) = deployment.rollback_of.clone().filter(|_| !planted!("a rollback is rolled back")) {
            self.enter(&mut deployment, Phase::Failed, &why);
            self.put(deployment);
            return self.rollback_did_not_come_about(&failed, &format!("the rollback failed: {why}"));
        }
        let outage = fault == Fault::Infrastructure && !planted!("an outage is the version's fault");
        if outage || deployment.progress.is_none() {
            self.enter(&mut deployment, Phase::Failed, &why);
            self.put(deployment);
            return Ok(());
        }
        if !matches!(deployment.origin.trigger, Trigger::Drift) {
            self.hold(&deployment, &why);
        }
        if stopped {
            self.say(Kind::Applied, Is::False, Reason::TaskFailed, "the job before it failed: nothing was written");
            self.enter(&mut deployment, Phase::Failed, &why);
            self.put(deployment);
            return Ok(());
        }
        self.go_back(&mut deployment, &why)?;
        if deployment.phase == Phase::RollingBack {
            self.event(EventType::Failed, Some(&deployment.id), &failure.class.to_string(), why.clone());
        }
        if !deployment.phase.is_terminal() && deployment.phase != Phase::RollingBack {
            self.enter(&mut deployment, Phase::Failed, &why);
        }
        self.put(deployment);
        Ok(())
    }

    /// Sets off the rollback of a deployment, if there is something to go back to and the policy has it so.
    pub(super) fn go_back(&mut self, deployment: &mut Deployment, why: &str) -> Result<(), PassError> {
        let allowed = self.status.may_go_back(&self.stack.spec.policy);
        let Some(good) = self.status.last_good.clone().filter(|_| allowed) else { return Ok(()) };
        let itself = good.version.digest == deployment.version.digest;
        if itself && !planted!("a rollback is rolled back") {
            return Ok(());
        }
        let version = Version {
            source: VersionSource::Kept(good.version.deployment.clone()),
            revision: good.version.revision.clone(),
            images: good.version.images.clone(),
            followed: good.version.followed.clone(),
            digest: good.version.digest.clone(),
        };
        let mut back =
            self.new_deployment(Trigger::Rollback, version, format!("deployment {} failed: {why}", deployment.id));
        back.rollback_of = Some(deployment.id.clone());
        deployment.rolled_back_by = Some(back.id.clone());
        if !deployment.phase.is_terminal() {
            self.enter(deployment, Phase::RollingBack, format!("{why}; bringing the last good version back"));
        }
        self.attempt_now(&back);
        self.put(back);
        if planted!("rolled back before the rollback is done") {
            self.enter(deployment, Phase::RolledBack, why);
        }
        Ok(())
    }
}

/// What the engine said of the tasks, without the secrets this version knows of: it goes into records that people read.
fn masked(mut assessment: Assessment, rendition: &Rendition) -> Assessment {
    let told = match &mut assessment.verdict {
        Verdict::Waiting(failure) | Verdict::Failed(failure) => Some(failure),
        Verdict::Progressing | Verdict::Converged => None,
    };
    let all: Vec<&mut Failure> = told
        .into_iter()
        .chain(assessment.services.iter_mut().filter_map(|service| service.obstacle.as_mut()))
        .collect();
    if !all.is_empty() {
        let masker = rendition.masker();
        all.into_iter().for_each(|failure| failure.error = masker.mask(&failure.error));
    }
    assessment
}

fn wanted(deployment: &Deployment) -> u64 {
    deployment.services.iter().map(|service| service.wanted).sum()
}

pub(super) fn reason_of(class: FailureClass) -> Reason {
    match class {
        FailureClass::ImageMissing | FailureClass::RegistryAuth | FailureClass::RegistryDown => Reason::ImageMissing,
        FailureClass::NoSuitableNode | FailureClass::PortConflict => Reason::NoSuitableNode,
        FailureClass::HealthCheck => Reason::HealthCheckFailed,
        FailureClass::Deadline => Reason::DeadlineExceeded,
        FailureClass::EngineUnreachable | FailureClass::NodeLost | FailureClass::QuorumLost => {
            Reason::EngineUnreachable
        }
        FailureClass::SourceUnreachable => Reason::SourceUnreachable,
        FailureClass::Render => Reason::RenderFailed,
        FailureClass::Preflight => Reason::PreflightFailed,
        FailureClass::OutOfMemory | FailureClass::ExitCode | FailureClass::Hook => Reason::TaskFailed,
    }
}
