//! Readers' questions that need git or an engine: bounded in time and number, changing nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::environment::{Connection, Observed};
use super::logs::Logs;
use super::pass::Pass;
use super::rendition::Rendition;
use super::shared::Shared;
use crate::domain::{
    Action, Course, CredentialName, Deployment, DeploymentId, Desired, Effect, EnvironmentName, GitSource, GitUrl,
    ImageWish, Node, ObjectKind, Revision, Round, Snapshot, Source, Stack, StackKey, StackName, StackSpec, Step, Task,
    Trigger, Version, VersionSource, Wanted,
};
use crate::plan::{Prune, task_form};
use crate::ports::{
    BoxFuture, BoxStream, CommitInfo, CompareAnswer, CredentialAnswer, Finding, Inquiries, InquiryError, JobAnswer,
    LogLine, LogOf, LogQuery, MOST_REFS, MOST_TASKS, PlanAnswer, RenderAnswer, RunningStack, StepAnswer, TaskAnswer,
    TaskFilter,
};

/// A question has to be answered within this time.
const DEADLINE: Duration = Duration::from_secs(30);
/// So many questions are worked on at a time; more are turned away.
const AT_ONCE: usize = 16;

/// Answers questions from what all passes share.
pub(super) struct Answers {
    pub(super) shared: Arc<Shared>,
    places: Semaphore,
    logs: Logs,
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, places: Semaphore::new(AT_ONCE), logs: Logs::new() }
    }

    async fn bounded<T>(&self, question: impl Future<Output = Result<T, InquiryError>>) -> Result<T, InquiryError> {
        let _place = self.places.try_acquire().map_err(|_| InquiryError::Busy)?;
        tokio::time::timeout(DEADLINE, question).await.map_err(|_| InquiryError::TimedOut)?
    }

    async fn plan_now(
        &self,
        key: &StackKey,
        wanted: Option<&Wanted>,
        images: &BTreeMap<String, String>,
    ) -> Result<PlanAnswer, InquiryError> {
        let environment = self.environment(&key.environment)?;
        let mut pass = Pass::load(&self.shared, environment, key)
            .map_err(failed)?
            .ok_or_else(|| InquiryError::NotFound(format!("stack `{key}`")))?;
        if wanted.is_none()
            && images.is_empty()
            && let Some(waiting) = pass.attempt().map_err(failed)?.filter(Deployment::is_at_gate)
            && let Some(rendition) = self.shared.renditions.get_of(key, &waiting.id)
        {
            // What waits, for a word or for an opening, is planned already: with the digests that it would bring.
            return self.answer(&mut pass, &waiting, &rendition);
        }
        let (deployment, rendition) = self.version(&mut pass, wanted, images).await?;
        let rendition = pass.named(&rendition).map_or(rendition, |named| Rendition::clone(&named));
        self.answer(&mut pass, &deployment, &rendition)
    }

    /// What taking a stack over would do, as it would be declared.
    pub(super) async fn adoption_now(&self, stack: &Stack) -> Result<PlanAnswer, InquiryError> {
        let environment = self.environment(&stack.key.environment)?;
        let mut pass = Pass::of(&self.shared, environment, stack.clone(), 0).map_err(failed)?;
        let rendition = self.rendered(&stack.key, &stack.spec).await?.1;
        let live = pass.environment.snapshot();
        pass.find_adopted_names(&rendition.desired, &live);
        let rendition = pass.named(&rendition).map_or(rendition, |named| Rendition::clone(&named));
        let version = Version {
            source: VersionSource::Spec(Box::new(stack.spec.clone())),
            revision: None,
            images: Vec::new(),
            followed: Default::default(),
            digest: None,
        };
        // It is thought of only, and written nowhere.
        let deployment = pass.new_deployment(Trigger::Adopt, version, "it is asked what this would do".to_owned());
        self.answer(&mut pass, &deployment, &rendition)
    }

    /// The plan towards a version, masked.
    fn answer(
        &self,
        pass: &mut Pass<'_>,
        deployment: &Deployment,
        rendition: &Rendition,
    ) -> Result<PlanAnswer, InquiryError> {
        let course = if deployment.origin.trigger == Trigger::Adopt { Course::Adopt } else { Course::Deploy };
        let plan = pass.plan_on(course, deployment, rendition, Prune::Asked).map_err(failed)?;
        let waves = rendition.desired.waves(course);
        let waits_for = |name: &str| -> Vec<String> {
            plan.gates.get(name).map(|gate| gate.awaits.iter().cloned().collect()).unwrap_or_default()
        };
        let good = pass.last_good_rendition().ok().flatten();
        let runs = !plan.steps.is_empty() || good.is_none_or(|good| differ_in_jobs(&good.desired, &rendition.desired));
        let found = pass.found_before(rendition, &plan).map_err(failed)?;
        let masker = rendition.masker();
        let mask = |value: &Option<serde_json::Value>| value.as_ref().map(|value| masker.mask_json(value));
        Ok(PlanAnswer {
            digest: plan.digest(&self.shared.renderer.digester()).to_string(),
            steps: plan
                .steps
                .iter()
                // What is removed to be made again is shown once.
                .filter(|step| step.action != Action::Recreate || !matches!(step.effect, Effect::Remove { .. }))
                .map(|step| StepAnswer {
                    kind: step.object.kind,
                    name: step.object.name.clone(),
                    action: step.action,
                    reason: masker.mask(&step.reason),
                    changes: step
                        .changes
                        .iter()
                        .map(|change| crate::domain::Change {
                            path: change.path.clone(),
                            from: mask(&change.from),
                            to: mask(&change.to),
                        })
                        .collect(),
                    wave: waves.get(step.object.name.as_str()).copied().filter(|_| is_service(step)),
                    waits_for: if is_service(step) { waits_for(&step.object.name) } else { Vec::new() },
                })
                .collect(),
            jobs: plan
                .jobs
                .iter()
                .filter(|_| runs)
                .map(|job| JobAnswer {
                    name: job.service.spec.name.clone(),
                    when: job.when,
                    wave: waves.get(job.service.spec.name.as_str()).copied().unwrap_or(1),
                    waits_for: waits_for(&job.service.spec.name),
                })
                .collect(),
            waiting: plan
                .refused
                .iter()
                .map(ToString::to_string)
                .chain(found.refused.iter().map(|failure| masker.mask(&failure.sentence())))
                .chain(plan.waiting.iter().map(ToString::to_string))
                .collect(),
            warnings: rendition.warnings.iter().chain(&found.warnings).cloned().collect(),
            unchanged: plan.unchanged,
        })
    }

    /// The version asked about, rendered for this question alone.
    pub(super) async fn version(
        &self,
        pass: &mut Pass<'_>,
        wanted: Option<&Wanted>,
        images: &BTreeMap<String, String>,
    ) -> Result<(Deployment, Rendition), InquiryError> {
        let mut spec = pass.stack.spec.clone();
        spec.images
            .extend(images.iter().map(|(service, version)| (service.clone(), ImageWish::Named(version.clone()))));
        if let (Some(wanted), Source::Git(git)) = (wanted, &mut spec.source) {
            git.wanted = wanted.clone();
        }
        let (revision, mut rendition) = self.rendered(&pass.stack.key.clone(), &spec).await?;
        pass.followed_now(&spec, &mut rendition);
        let declared = pass.stack.deployment.clone();
        let mut deployment = pass
            .deployment(&declared)
            .map_err(failed)?
            .cloned()
            .ok_or_else(|| InquiryError::NotFound(format!("deployment `{declared}`")))?;
        deployment.version.revision = revision;
        Ok((deployment, rendition))
    }

    /// A spec, looked up and rendered for a question alone.
    pub(super) async fn rendered(
        &self,
        key: &StackKey,
        spec: &StackSpec,
    ) -> Result<(Option<Revision>, Rendition), InquiryError> {
        let revision = match &spec.source {
            Source::Inline(_) => None,
            Source::Git(git) => Some(self.shared.renderer.resolve(git).await.map_err(failed)?),
        };
        let rendition = self.shared.renderer.render(key, spec, revision.as_ref()).await.map_err(failed)?;
        Ok((revision, rendition))
    }

    async fn tasks_now(&self, key: &StackKey) -> Result<Vec<TaskAnswer>, InquiryError> {
        let stack = self.shared.ledger.stack(key).map_err(failed)?;
        let stack = stack.ok_or_else(|| InquiryError::NotFound(format!("stack `{key}`")))?.value;
        let status = self.shared.ledger.status(key).map_err(failed)?.map(|status| status.value).unwrap_or_default();
        let environment = self.environment(&key.environment)?;
        let snapshot = environment.snapshot();
        let owned = status.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service);
        let services: Vec<_> = owned.filter_map(|object| snapshot.services.get(&object.name)).collect();
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let ids = services.iter().map(|service| service.id.clone()).collect();
        let found = environment.swarm.tasks(&TaskFilter::Services(ids)).await.map_err(failed)?;
        let masker = match self.shared.ledger.deployment(&stack.deployment).map_err(failed)? {
            Some(deployment) => self.masker(&deployment.value).await,
            None => crate::domain::Masker::default(),
        };
        let mut tasks = Vec::new();
        for service in services {
            let form = task_form(&service.spec.task_template);
            for task in found.iter().filter(|task| task.service_id == service.id) {
                let mut answer = answer(task, &snapshot, &service.spec.name, task_form(&task.spec) == form);
                answer.message = masker.mask(&answer.message);
                tasks.push(answer);
            }
        }
        // What runs, or is about to, comes first: it is not what gets cut off.
        tasks.sort_by(|a, b| {
            let rank = |task: &TaskAnswer| (task.service.clone(), task.state.is_over(), task.slot, task.node.clone());
            rank(a).cmp(&rank(b)).then(b.created_at.cmp(&a.created_at))
        });
        tasks.truncate(MOST_TASKS);
        Ok(tasks)
    }

    /// An environment whose engine answers.
    pub(super) fn environment(&self, name: &EnvironmentName) -> Result<Arc<Observed>, InquiryError> {
        let found = self.shared.environments.get(name);
        let environment = found.ok_or_else(|| InquiryError::NotFound(format!("environment `{name}`")))?;
        match environment.connection() {
            Connection::Lost(error) => Err(failed(error)),
            _ => Ok(environment),
        }
    }

    async fn test_now(&self, name: &CredentialName, url: &GitUrl) -> Result<CredentialAnswer, InquiryError> {
        let source = GitSource {
            url: url.clone(),
            wanted: Wanted("HEAD".to_owned()),
            path: String::new(),
            credential: Some(name.clone()),
            poll: jiff::SignedDuration::ZERO,
        };
        let refs = self.shared.renderer.refs(&source).await.map_err(failed)?;
        let below = |prefix: &str| {
            refs.keys().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).take(MOST_REFS).collect()
        };
        let (branches, tags) = (below("refs/heads/"), below("refs/tags/"));
        Ok(CredentialAnswer { url: url.to_string(), head: refs.get("HEAD").cloned(), branches, tags })
    }

    /// What must not be shown of a deployment's version.
    async fn masker(&self, deployment: &Deployment) -> crate::domain::Masker {
        let known = self.shared.renditions.get_of(&deployment.stack, &deployment.id);
        let kept = || deployment.kept.as_ref().and_then(|kept| self.shared.renderer.kept(kept).ok());
        match known {
            Some(rendition) => rendition.masker(),
            None => kept().map(|rendition| rendition.masker()).unwrap_or_default(),
        }
    }
}

fn is_service(step: &Step) -> bool {
    step.object.kind == ObjectKind::Service && !matches!(step.effect, Effect::Remove { .. })
}

/// Whether two versions have other jobs. What their tags stand for is not looked up for a question.
fn differ_in_jobs(good: &Desired, wanted: &Desired) -> bool {
    let plain = |desired: &Desired| {
        let mut jobs = desired.jobs.clone();
        for job in jobs.values_mut() {
            let task = &mut job.service.spec.task_template;
            let image = &mut task.container_spec.image;
            image.truncate(image.find('@').unwrap_or(image.len()));
            if let Some(placement) = &mut task.placement {
                placement.platforms.clear();
            }
        }
        jobs
    };
    plain(good) != plain(wanted)
}

/// A task, told to people.
fn answer(task: &Task, snapshot: &Snapshot, service: &str, current: bool) -> TaskAnswer {
    let node = snapshot.nodes.get(&task.node_id).map(|node| node.hostname.clone());
    TaskAnswer {
        id: task.id.clone(),
        service: service.to_owned(),
        slot: task.slot,
        node: node.or_else(|| (!task.node_id.is_empty()).then(|| task.node_id.clone())),
        state: task.state,
        desired: task.desired,
        current,
        message: if task.error.is_empty() { task.message.clone() } else { task.error.clone() },
        exit_code: task.exit_code,
        created_at: task.created_at,
        since: task.state_since,
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> InquiryError {
    InquiryError::Failed(error.to_string())
}

impl Inquiries for Answers {
    fn plan<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        Box::pin(self.bounded(self.plan_now(stack, wanted, NONE)))
    }

    fn plan_images<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(self.bounded(self.plan_now(stack, wanted, images)))
    }

    fn render<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<RenderAnswer, InquiryError>> {
        Box::pin(self.bounded(self.render_now(stack, wanted, images)))
    }

    fn adoption<'a>(&'a self, stack: &'a Stack) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(self.bounded(self.adoption_now(stack)))
    }

    fn needs_cli<'a>(&'a self, stack: &'a Stack) -> BoxFuture<'a, Result<bool, InquiryError>> {
        Box::pin(self.bounded(self.needs_cli_now(stack)))
    }

    fn running<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        stack: Option<&'a StackName>,
    ) -> BoxFuture<'a, Result<Vec<RunningStack>, InquiryError>> {
        Box::pin(self.bounded(async move { self.running_now(environment, stack) }))
    }

    fn compare<'a>(
        &'a self,
        from: &'a DeploymentId,
        to: &'a DeploymentId,
    ) -> BoxFuture<'a, Result<CompareAnswer, InquiryError>> {
        Box::pin(self.bounded(async { self.compare_now(from, to) }))
    }

    fn commit<'a>(&'a self, deployment: &'a DeploymentId) -> BoxFuture<'a, Result<Option<CommitInfo>, InquiryError>> {
        Box::pin(self.bounded(self.commit_now(deployment)))
    }

    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>> {
        Box::pin(self.logs.open(&self.shared, of, query))
    }

    fn test_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        url: &'a GitUrl,
    ) -> BoxFuture<'a, Result<CredentialAnswer, InquiryError>> {
        Box::pin(self.bounded(self.test_now(name, url)))
    }

    fn tasks<'a>(&'a self, stack: &'a StackKey) -> BoxFuture<'a, Result<Vec<TaskAnswer>, InquiryError>> {
        Box::pin(self.bounded(self.tasks_now(stack)))
    }

    fn doctor(&self) -> BoxFuture<'_, Result<Vec<Finding>, InquiryError>> {
        Box::pin(self.bounded(self.look_at_all()))
    }

    fn doctor_of<'a>(&'a self, name: &'a EnvironmentName) -> BoxFuture<'a, Result<Vec<Finding>, InquiryError>> {
        Box::pin(self.bounded(self.look_at_one(name)))
    }

    fn round(&self, environment: &EnvironmentName) -> Option<Round> {
        self.shared.environments.get(environment)?.rounds.newest()
    }

    fn nodes(&self, environment: &EnvironmentName) -> Vec<Arc<Node>> {
        let Some(environment) = self.shared.environments.get(environment) else { return Vec::new() };
        let mut nodes: Vec<Arc<Node>> = environment.snapshot().nodes.values().cloned().collect();
        nodes.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
        nodes
    }
}
