//! Carrying a plan out. Doubt is written before the first call, certainty after the last.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::environment::Connection;
use super::pass::{Next, Pass, PassError};
use super::rendition::Rendition;
use super::snapshot::Wrote;
use crate::domain::{
    Action, Applied, Claim, ConditionStatus as Is, ConditionType as Kind, Course, Deployment, DeploymentPhase as Phase,
    Effect, EnvironmentName, EventType, Failure, FailureClass, InventoryEntry, Mode, ObjectKind, ObjectRef, Progress,
    Reason, Step, Trigger, VersionSource, Written,
};
use crate::plan::{Pace, Plan, PlanInput, Prune, Ready, plan, resume};
use crate::ports::{SwarmError, WatchedKind};

/// So often a plan is made anew within one pass when the Swarm changed under it.
const ROUNDS: u32 = 5;

/// What carrying out came to.
pub(super) enum Carried {
    /// Everything is accepted.
    All,
    /// Not now.
    Wait(Next),
    /// The deployment has ended.
    Ended,
}

/// Why a Skep that was restored, or one whose restored copy has taken over, only looks on.
fn restored(name: &EnvironmentName) -> String {
    format!(
        "environment `{name}` is not claimed by this Skep, or is kept by another copy of it (one of them was restored from a backup); this one only observes. When no other runs, compare with `skep diff`, and run `skep environment claim {name}`"
    )
}

impl Pass<'_> {
    /// Whether the engine may be written to now; if not, why is said.
    pub(super) fn may_write(&mut self) -> bool {
        let name = self.environment.name.clone();
        let refused = match self.environment.connection() {
            Connection::Unknown => {
                Some((Reason::EngineUnreachable, format!("environment `{name}` is being connected")))
            }
            Connection::Lost(error @ SwarmError::NotAManager { .. }) => Some((Reason::NotAManager, error.to_string())),
            Connection::Lost(error) => Some((Reason::EngineUnreachable, error.to_string())),
            Connection::Connected(_) => match self.environment.claim() {
                Claim::Ours(_) => None,
                Claim::Foreign { .. } if planted!("the claim is not checked") => None,
                Claim::Unknown if self.shared.restored.is_some() => Some((Reason::Foreign, restored(&name))),
                Claim::Unknown => Some((Reason::Foreign, format!("environment `{name}` has not been claimed yet"))),
                Claim::Foreign { instance, .. } if instance == self.shared.instance => {
                    Some((Reason::Foreign, restored(&name)))
                }
                Claim::Foreign { instance, .. } => Some((
                    Reason::Foreign,
                    format!(
                        "environment `{name}` is kept by another Skep (instance {instance}); this one only observes. To take it over, run `skep environment claim {name}`"
                    ),
                )),
            },
        };
        let refused = refused.or_else(|| {
            (self.stack.spec.policy.mode == Mode::Observe)
                .then(|| (Reason::Observing, "the policy is to observe: nothing is written".to_owned()))
        });
        let may = refused.is_none();
        self.waiting = refused.or(self.waiting.take());
        may
    }

    /// The plan towards `rendition` from what is live now.
    pub(super) fn plan(
        &mut self,
        deployment: &Deployment,
        rendition: &Rendition,
        prune: Prune,
    ) -> Result<Plan, PassError> {
        let course = if deployment.phase.is_terminal() { Course::Repair } else { Self::course(deployment) };
        self.plan_on(course, deployment, rendition, prune)
    }

    /// The plan on a course.
    pub(super) fn plan_on(
        &mut self,
        course: Course,
        deployment: &Deployment,
        rendition: &Rendition,
        prune: Prune,
    ) -> Result<Plan, PassError> {
        let previous = self.previous(deployment)?;
        // What it would take to go back is not known: then nothing is removed.
        let (needed, known) = match self.needed(rendition) {
            Ok(needed) => (needed, true),
            Err(PassError::Rendition(_)) => (super::way_back::objects(rendition), false),
            Err(error) => return Err(error),
        };
        let prune = if self.stack.spec.policy.prune && known { prune } else { Prune::Never };
        let back = deployment.origin.trigger == Trigger::Rollback && !deployment.phase.is_terminal();
        let live = self.environment.snapshot();
        let input = PlanInput {
            stack: self.key(),
            instance: &self.shared.instance,
            desired: &rendition.desired,
            revision: deployment.version.revision.as_ref(),
            deployment: &deployment.id,
            live: &live,
            inventory: &self.status.inventory,
            needed: &needed,
            prune,
            pace: if back { Pace::WayBack } else { Pace::Declared },
            allow_recreate: self.stack.spec.policy.allow_recreate,
            adopt: self.is_adopting(),
            course,
            previous: previous.as_ref(),
            digester: &self.shared.renderer.digester(),
        };
        let mut plan = plan(&input);
        resume(&input, &mut plan, Self::stopped(deployment, rendition).into_iter());
        Ok(plan)
    }

    /// Begins or goes on to carry out the plan of the attempt.
    pub(super) async fn apply(&mut self, deployment: Deployment, rendition: &Rendition) -> Result<Carried, PassError> {
        let ended = Self::ended_jobs(&deployment);
        self.apply_after(deployment, rendition, &ended).await
    }

    /// Carries out what of the plan waits for nothing but for what has come about.
    pub(super) async fn apply_after(
        &mut self,
        mut deployment: Deployment,
        rendition: &Rendition,
        settled: &BTreeSet<String>,
    ) -> Result<Carried, PassError> {
        if !self.may_write() {
            return self.wait_to_write(deployment);
        }
        if deployment.progress.is_some() && self.now >= self.deadline(&deployment) {
            let text = "the engine had not accepted every step when the total deadline passed";
            self.fail(deployment, Failure::new(self.outage_class(), text))?;
            return Ok(Carried::Ended);
        }
        if let Some(waits) = self.clear_runs(Some(&deployment)).await? {
            return Ok(waits);
        }
        // What was written as a whole once is put right as a whole.
        let whole = deployment.progress.as_ref().is_some_and(|progress| progress.applied);
        let course = if whole { Course::Repair } else { Self::course(&deployment) };
        let mut asked = false;
        for _ in 0..ROUNDS {
            let when = if planted!("pruned before it has converged") { Prune::Asked } else { Prune::Later };
            let plan = self.plan_on(course, &deployment, rendition, when)?;
            if !plan.refused.is_empty() && !asked && deployment.progress.is_none() {
                // What is missing may have been made, or what is in the way removed, just now: the engine is asked once more.
                asked = true;
                for kind in [WatchedKind::Network, WatchedKind::Config, WatchedKind::Secret, WatchedKind::Service] {
                    self.environment.list(kind).await?;
                }
                continue;
            }
            if !plan.refused.is_empty() {
                // What is missing may be for one of those to make that it depends on: a network, say.
                if let Some(waits) = self.wait_for_others(&mut deployment)? {
                    return Ok(waits);
                }
                let text = plan.refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                self.say(Kind::Applied, Is::False, Reason::PreflightFailed, &text);
                self.fail(deployment, Failure::new(FailureClass::Preflight, text))?;
                return Ok(Carried::Ended);
            }
            let same = plan.steps.is_empty() || planted!("what was applied once counts as live");
            if deployment.progress.is_none() && same && self.is_live(&deployment) {
                return self.nothing_to_do(deployment, rendition).map(|()| Carried::Ended);
            }
            if let Some(waits) = self.wait_at_gate(&mut deployment, &plan)? {
                return Ok(waits);
            }
            if self.cannot_come_about(&mut deployment, rendition, &plan)? {
                return Ok(Carried::Ended);
            }
            let ready = plan.ready(settled);
            self.begin(&mut deployment, rendition, &plan, &ready).await?;
            if ready.steps.is_empty() {
                return self.accepted_so_far(deployment, rendition, &plan, &ready).await;
            }
            if !planted!("nothing is noted before the call") {
                self.checkpoint().await?;
            }
            match self.carry_out(&mut deployment, &ready.steps, rendition).await {
                Ok(true) => {
                    self.put(deployment.clone());
                    return self.accepted_so_far(deployment, rendition, &plan, &ready).await;
                }
                Ok(false) => self.put(deployment.clone()),
                Err(error @ SwarmError::Refused { .. }) => {
                    self.put(deployment.clone());
                    // The engine quotes what it was sent.
                    let text = rendition.masker().mask(&error.to_string());
                    self.say(Kind::Applied, Is::False, Reason::PreflightFailed, &text);
                    self.fail(deployment, Failure::new(FailureClass::Preflight, text))?;
                    return Ok(Carried::Ended);
                }
                Err(error) => {
                    self.put(deployment);
                    return Err(error.into());
                }
            }
        }
        let again = self.shared.ambient.now().checked_add(SignedDuration::from_secs(1)).unwrap_or(self.now);
        self.waiting = Some((Reason::Conflict, "the Swarm changes under the plan; it is made anew in a moment".into()));
        Ok(Carried::Wait(Next::At(again)))
    }

    /// The engine cannot or may not be written to: the deployment waits, its total clock running unless it is a person's
    /// choice that stops it.
    pub(super) fn wait_to_write(&mut self, mut deployment: Deployment) -> Result<Carried, PassError> {
        let (reason, text) = self.waiting.clone().unwrap_or((Reason::EngineUnreachable, String::new()));
        let class = self.outage_class();
        let outage = matches!(reason, Reason::EngineUnreachable | Reason::NotAManager);
        let deadline = self.not_before_a_look(self.deadline(&deployment));
        if outage && self.now >= deadline {
            self.fail(deployment, Failure::new(class, text))?;
            return Ok(Carried::Ended);
        }
        deployment.message = Some(text);
        self.put(deployment);
        Ok(Carried::Wait(if outage { Next::At(deadline) } else { Next::Idle }))
    }

    /// Whether the version of this deployment is the one that runs, proven.
    fn is_live(&self, deployment: &Deployment) -> bool {
        let digest = deployment.version.digest.as_ref();
        let is = |version: Option<&crate::domain::Pointer>| {
            digest.is_some() && version.and_then(|version| version.digest.as_ref()) == digest
        };
        is(self.status.last_good.as_ref().map(|good| &good.version)) && is(self.status.live.as_ref())
    }

    fn nothing_to_do(&mut self, mut deployment: Deployment, rendition: &Rendition) -> Result<(), PassError> {
        self.own_what_is_wanted(rendition);
        self.leave_the_point_of_no_return(&deployment);
        self.converged_pointers(&deployment);
        deployment.kept = self.status.last_good.as_ref().map(|good| good.kept.clone());
        self.enter(&mut deployment, Phase::Converged, "this version runs already: nothing to do");
        let answers = deployment.rollback_of.clone();
        self.put(deployment);
        answers.map_or(Ok(()), |failed| self.rolled_back(&failed))
    }

    /// Before the first call of a round: clocks, the tasks that existed before, and doubt about all that will be written.
    async fn begin(
        &mut self,
        deployment: &mut Deployment,
        rendition: &Rendition,
        plan: &Plan,
        ready: &Ready,
    ) -> Result<(), PassError> {
        if deployment.progress.is_none() {
            let policy = &self.stack.spec.policy;
            let at = |span| self.now.checked_add(span).unwrap_or(self.now);
            // It counts from when the attempt was taken up, unless a person's choice has kept it waiting for longer.
            let deadline = self.deadline(deployment);
            let total_deadline = if deadline > self.now { deadline } else { at(policy.total_deadline) };
            deployment.progress = Some(Progress {
                started_at: self.now,
                progress_deadline: at(policy.progress_deadline),
                total_deadline,
                waiting_since: None,
                applied: false,
                applied_at: None,
                healthy_most: 0,
                healthy_since: None,
                baking_since: None,
                newest_task: None,
                held_back: Default::default(),
                services: self.baselines(rendition.desired.services.keys()).await?,
            });
        }
        if let VersionSource::Spec(spec) = &deployment.version.source
            && spec.policy.irreversible
        {
            self.status.point_of_no_return = Some(deployment.id.clone());
        }
        if Self::is_between_waves(deployment) {
            self.look_again_at_baselines(deployment, ready).await?;
        }
        if let Some(progress) = &mut deployment.progress {
            progress.applied = false;
            progress.held_back.clone_from(&ready.held_back);
            for step in ready.steps.iter().filter(|step| step.object.kind == ObjectKind::Service) {
                if step.action != Action::Remove && !matches!(step.effect, Effect::Own { .. }) {
                    let service = progress.services.entry(step.object.name.clone()).or_default();
                    service.written = match planted!("a write is not doubted") {
                        true => Written::Unchanged,
                        false => Written::Unknown,
                    };
                    service.cut_short = step.action == Action::Update && step.changes.is_empty();
                }
            }
        }
        if !plan.steps.is_empty() || !plan.jobs.is_empty() {
            deployment.kept = Some(self.kept(deployment, rendition)?);
        }
        if ready.steps.iter().any(|step| step.object.kind == ObjectKind::Service) {
            self.status.live = self.status.live.take().filter(|_| planted!("the live version outlives a change"));
        }
        self.doubt(&ready.steps);
        self.enter(deployment, Phase::Applying, format!("{} steps to carry out", ready.steps.len()));
        self.say(Kind::Applied, Is::False, Reason::Progressing, "the plan is being carried out");
        self.put(deployment.clone());
        Ok(())
    }

    /// Objects about to be made are noted without an id: whatever happens to the answer, they are ours by their labels.
    fn doubt(&mut self, steps: &[Step]) {
        let digester = self.shared.renderer.digester();
        for step in steps.iter().filter(|step| matches!(step.action, Action::Create | Action::Recreate)) {
            let digest = match &step.effect {
                Effect::CreateNetwork(spec) => digester.digest_of(spec),
                Effect::CreateConfig(spec) => digester.digest_of(spec),
                Effect::CreateSecret(spec) => digester.digest_of(spec),
                Effect::CreateService(spec) => digester.digest_of(spec),
                Effect::UpdateService { .. } | Effect::Relabel { .. } | Effect::Own { .. } | Effect::Remove { .. } => {
                    continue;
                }
            };
            let entry = InventoryEntry { id: None, digest, since: self.now };
            self.status.inventory.0.insert(step.object.clone(), entry);
        }
    }

    /// Carries steps out, one after the other. `Ok(false)`: the Swarm is not as it was planned against; plan anew.
    pub(super) async fn carry_out(
        &mut self,
        deployment: &mut Deployment,
        steps: &[Step],
        rendition: &Rendition,
    ) -> Result<bool, SwarmError> {
        for step in steps {
            let done = match &step.effect {
                Effect::Own { id, .. } => Ok(Applied { id: id.clone(), warnings: Vec::new() }),
                effect => self.environment.swarm.apply(effect, &rendition.material).await,
            };
            match done {
                Ok(applied) => self.accepted(deployment, step, applied.id),
                Err(SwarmError::Conflict { object }) if planted!("a conflict fails the version") => {
                    return Err(SwarmError::Refused { object, reason: "update out of sequence".to_owned() });
                }
                Err(SwarmError::Unreachable { .. }) if planted!("an answer that is lost counts as accepted") => {
                    self.accepted(deployment, step, String::new());
                }
                Err(SwarmError::InUse { .. }) if matches!(step.effect, Effect::Remove { .. }) => return Ok(false),
                Err(SwarmError::Conflict { .. } | SwarmError::Exists { .. } | SwarmError::NotFound { .. }) => {
                    for kind in [WatchedKind::Network, WatchedKind::Config, WatchedKind::Secret, WatchedKind::Service] {
                        self.environment.list(kind).await?;
                    }
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn accepted(&mut self, deployment: &mut Deployment, step: &Step, id: String) {
        let object = step.object.clone();
        let now = self.now;
        let mut own = |digest, id: &str| {
            let entry = InventoryEntry { id: Some(id.to_owned()), digest, since: now };
            self.status.inventory.0.insert(object.clone(), entry);
        };
        let digester = self.shared.renderer.digester();
        let wrote = match &step.effect {
            Effect::CreateNetwork(spec) => {
                own(digester.digest_of(spec), &id);
                Wrote::Network(spec.clone(), id)
            }
            Effect::CreateConfig(spec) => {
                own(digester.digest_of(spec), &id);
                Wrote::Config(spec.clone(), id)
            }
            Effect::CreateSecret(spec) => {
                own(digester.digest_of(spec), &id);
                Wrote::Secret(spec.clone(), id)
            }
            Effect::CreateService(spec) => {
                own(digester.digest_of(spec), &id);
                Wrote::Service(Box::new(spec.clone()), id)
            }
            Effect::UpdateService { id, spec, .. } => {
                own(digester.digest_of(spec), id);
                Wrote::Service(Box::new(spec.clone()), id.clone())
            }
            // Nothing was written: that it is this stack's is all there is to it.
            Effect::Own { id, .. } => {
                own(digester.digest_of(&object), id);
                return self.tell_applied(deployment, step);
            }
            Effect::Relabel { object, id, labels, .. } => {
                own(digester.digest_of(labels), id);
                Wrote::Labels(object.clone(), id.clone(), labels.clone())
            }
            Effect::Remove { object, .. } => {
                self.status.inventory.0.remove(object);
                Wrote::Removed(object.clone())
            }
        };
        if let Some(progress) = &mut deployment.progress
            && let Some(service) = progress.services.get_mut(&object.name)
            && object.kind == ObjectKind::Service
        {
            service.written = Written::Accepted;
        }
        self.environment.wrote(wrote);
        self.tell_applied(deployment, step);
    }

    fn tell_applied(&mut self, deployment: &Deployment, step: &Step) {
        let (action, text) = (format!("{:?}", step.action), format!("{}: {}", step.object, step.reason));
        self.event(EventType::StepApplied, Some(&deployment.id), &action, text);
    }

    /// Every step is accepted: from now on the tasks are judged.
    pub(super) fn all_applied(&mut self, mut deployment: Deployment, rendition: &Rendition) -> Result<(), PassError> {
        if !planted!("what a lost answer made is not adopted") {
            self.adopt_ids();
        }
        self.own_what_is_wanted(rendition);
        let now = self.shared.ambient.now();
        if let Some(progress) = &mut deployment.progress {
            progress.applied = true;
            progress.applied_at = Some(now);
        }
        self.say(Kind::Applied, Is::True, Reason::Succeeded, "the engine has accepted every step");
        self.enter(&mut deployment, Phase::Verifying, "waiting for the tasks to run");
        self.status.live = Some(Self::pointer(&deployment));
        if planted!("good as soon as it is applied")
            && let Some(kept) = deployment.kept.clone()
        {
            let version = Self::pointer(&deployment);
            self.status.last_good = Some(crate::domain::LastGood { version, kept, since: now });
        }
        self.put(deployment);
        Ok(())
    }

    /// What is wanted, is there, and needed no step is owned as well, though nothing was remembered of it: a stack of this
    /// name was deleted before, and what it had was left running. The plan has seen that it is ours.
    fn own_what_is_wanted(&mut self, rendition: &Rendition) {
        let (live, wanted) = (self.environment.snapshot(), &rendition.desired);
        let (digester, since) = (self.shared.renderer.digester(), self.now);
        let inventory = &mut self.status.inventory.0;
        let mut own = |kind, name: &str, id: Option<&String>, digest: &dyn Fn() -> crate::domain::Digest| {
            let object = ObjectRef::new(kind, name);
            if let Some(id) = id.filter(|_| !inventory.contains_key(&object)) {
                inventory.insert(object, InventoryEntry { id: Some(id.clone()), digest: digest(), since });
            }
        };
        for (name, spec) in &wanted.networks {
            own(ObjectKind::Network, name, live.networks.get(name).map(|it| &it.id), &|| digester.digest_of(spec));
        }
        for (name, spec) in &wanted.configs {
            own(ObjectKind::Config, name, live.configs.get(name).map(|it| &it.id), &|| digester.digest_of(spec));
        }
        for (name, spec) in &wanted.secrets {
            own(ObjectKind::Secret, name, live.secrets.get(name).map(|it| &it.id), &|| digester.digest_of(spec));
        }
        for (name, service) in &wanted.services {
            let id = live.services.get(name).map(|it| &it.id);
            own(ObjectKind::Service, name, id, &|| digester.digest_of(&service.spec));
        }
    }

    /// How much a deployment's owner has agreed may be removed.
    pub(super) fn prune_of(deployment: &Deployment) -> Prune {
        match deployment.origin.trigger {
            Trigger::Api | Trigger::Rest | Trigger::Adopt | Trigger::Rollback => Prune::Asked,
            _ if planted!("every version may remove all") => Prune::Asked,
            _ => Prune::Guarded,
        }
    }
}
