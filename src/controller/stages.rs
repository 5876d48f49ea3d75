//! A deployment that goes on in waves: what may be written now is, and the rest is held back until what it waits for runs,
//! or has ended. Nothing is waited for here: the next look, which comes when a task moves, writes what may be written then.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::apply::Carried;
use super::pass::{Next, Pass, PassError};
use super::rendition::Rendition;
use crate::assess::Assessment;
use crate::domain::{Deployment, DeploymentPhase as Phase, JobState, ObjectKind, ServiceProgress, Written};
use crate::plan::{Plan, Ready};
use crate::ports::TaskFilter;

impl Pass<'_> {
    /// Whether a deployment has written a part of its plan, and holds the rest back.
    pub(super) fn is_between_waves(deployment: &Deployment) -> bool {
        let held = deployment.progress.as_ref().is_some_and(|progress| !progress.held_back.is_empty());
        deployment.phase == Phase::Applying && held
    }

    /// What has come about: services that run as asked, and jobs that have ended well.
    pub(super) fn settled(assessment: &Assessment, ended: &BTreeSet<String>) -> BTreeSet<String> {
        let services = assessment.services.iter().filter(|service| service.settled).map(|service| service.name.clone());
        services.chain(ended.iter().cloned()).collect()
    }

    /// The jobs of a deployment that have ended well.
    pub(super) fn ended_jobs(deployment: &Deployment) -> BTreeSet<String> {
        let ended = deployment.jobs.iter().filter(|(_, run)| run.state == JobState::Succeeded);
        ended.map(|(name, _)| name.clone()).collect()
    }

    /// All that may be written is accepted: either that is all, or the rest is held back.
    pub(super) async fn accepted_so_far(
        &mut self,
        deployment: Deployment,
        rendition: &Rendition,
        plan: &Plan,
        ready: &Ready,
    ) -> Result<Carried, PassError> {
        if ready.held_back.is_empty() {
            return self.all_applied(deployment, rendition).map(|()| Carried::All);
        }
        self.hold_back(deployment, rendition, plan, ready).await
    }

    /// Services whose update goes on if Swarm has stopped it: at the beginning all, for it was in an earlier attempt; later
    /// those it stopped through no fault of this version.
    pub(super) fn stopped<'a>(deployment: &'a Deployment, rendition: &'a Rendition) -> Vec<&'a str> {
        match &deployment.progress {
            Some(progress) => {
                let cut_short = progress.services.iter().filter(|(_, service)| service.cut_short);
                cut_short.map(|(name, _)| name.as_str()).collect()
            }
            None if deployment.phase.is_terminal() => Vec::new(),
            None => rendition.desired.services.keys().map(String::as_str).collect(),
        }
    }

    /// The tasks that each service has now: their failures are not this deployment's.
    pub(super) async fn baselines(
        &self,
        names: impl Iterator<Item = &String> + Clone,
    ) -> Result<BTreeMap<String, ServiceProgress>, PassError> {
        let snapshot = self.environment.snapshot();
        let live: Vec<_> = names.clone().filter_map(|name| snapshot.services.get(name)).collect();
        let mut known: BTreeMap<String, ServiceProgress> =
            names.map(|name| (name.clone(), ServiceProgress::default())).collect();
        if live.is_empty() {
            return Ok(known);
        }
        let filter = TaskFilter::Services(live.iter().map(|live| live.id.clone()).collect());
        let tasks = self.environment.swarm.tasks(&filter).await?;
        for live in live {
            if let Some(service) = known.get_mut(&live.spec.name) {
                service.existed = true;
                service.updated_before = live.update.as_ref().and_then(|update| update.started_at);
                service.baseline = if planted!("old tasks are not remembered") { &[][..] } else { &tasks[..] }
                    .iter()
                    .filter(|task| task.service_id == live.id)
                    .map(|task| task.id.clone())
                    .collect();
            }
        }
        Ok(known)
    }

    /// Services that are only written now may have other tasks than when the deployment began.
    pub(super) async fn look_again_at_baselines(
        &mut self,
        deployment: &mut Deployment,
        ready: &Ready,
    ) -> Result<(), PassError> {
        let Some(progress) = &deployment.progress else { return Ok(()) };
        let unwritten =
            |name: &&String| progress.services.get(*name).is_some_and(|service| service.written == Written::Unchanged);
        let written = ready.steps.iter().filter(|step| step.object.kind == ObjectKind::Service);
        let names: BTreeSet<String> = written.map(|step| &step.object.name).filter(unwritten).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let now = self.baselines(names.iter()).await?;
        if let Some(progress) = &mut deployment.progress {
            progress.services.extend(now);
        }
        Ok(())
    }

    /// What is written is accepted; the rest is held back. Jobs begin whose turn it is, and what runs is watched.
    async fn hold_back(
        &mut self,
        mut deployment: Deployment,
        rendition: &Rendition,
        plan: &Plan,
        ready: &Ready,
    ) -> Result<Carried, PassError> {
        // What is judged by has to have been listed after the newest of it.
        let mut new = !ready.steps.is_empty()
            || deployment.progress.as_ref().is_none_or(|progress| progress.applied_at.is_none());
        let wrote = new;
        self.find_runs(&mut deployment, rendition, plan).await?;
        for job in plan.jobs.iter().filter(|job| ready.jobs.contains(&job.service.spec.name)) {
            let name = &job.service.spec.name;
            if deployment.jobs.contains_key(name) {
                continue;
            }
            self.make_room(name).await?;
            if let Some(waits) = self.clear_runs(Some(&deployment)).await? {
                self.put(deployment);
                return Ok(waits);
            }
            self.begin_job(&mut deployment, rendition, plan, job).await?;
            new = true;
        }
        let now = self.shared.ambient.now();
        let later = now.checked_add(self.stack.spec.policy.progress_deadline).unwrap_or(now);
        if let Some(progress) = deployment.progress.as_mut().filter(|_| wrote) {
            progress.applied_at = Some(now);
            progress.progress_deadline = progress.progress_deadline.max(later);
        }
        let told = self.told_of_wave(&deployment, rendition, ready);
        self.enter(&mut deployment, Phase::Applying, told);
        let newer_than = new.then_some(now);
        self.follow_tasks(&deployment, rendition, newer_than, false);
        let deadline = self.deadline(&deployment);
        self.put(deployment);
        Ok(Carried::Wait(Next::At(deadline)))
    }

    /// One sentence: which wave it is, and what waits for what.
    fn told_of_wave(&self, deployment: &Deployment, rendition: &Rendition, ready: &Ready) -> String {
        let desired = &rendition.desired;
        let waves = desired.waves(Self::course(deployment));
        let last = waves.values().max().copied().unwrap_or(1);
        let held = ready.held_back.keys().filter(|name| !ready.jobs.contains(*name));
        let next = held.filter_map(|name| waves.get(name.as_str())).min().copied().unwrap_or(last + 1);
        let key = |name: &String| {
            let service = desired.services.get(name).or_else(|| Some(&desired.jobs.get(name)?.service));
            service.map_or_else(|| name.clone(), |service| service.key.clone())
        };
        let mut parts: Vec<String> = Vec::new();
        let runs = self.told_of_runs(deployment);
        if !runs.is_empty() {
            parts.push(runs);
        }
        for (name, awaited) in ready.held_back.iter().filter(|(_, awaited)| !awaited.is_empty()) {
            let awaited: Vec<String> = awaited.iter().map(key).collect();
            parts.push(format!("`{}` waits for {}", key(name), awaited.join(", ")));
        }
        format!("wave {} of {last}: {}", next.saturating_sub(1).max(1), parts.join("; "))
    }
}

/// The sooner of two times to look again.
pub(super) fn sooner(next: Next, at: Timestamp) -> Next {
    match next {
        Next::At(other) => Next::At(other.min(at)),
        Next::Idle => Next::At(at),
    }
}
