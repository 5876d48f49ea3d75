//! The view of a deployment.

use async_graphql::{ComplexObject, Context, ID, Json, SimpleObject};

use super::enums::{DeploymentPhase, FailureClass, JobDirection, JobPhase, JobTime, Trigger, Verdict, Written};
use super::ids::GlobalId;
use super::time::Time;
use crate::domain::{self, Deployment, DeploymentId, ImageChoice, Progress};
use crate::ports::CommitInfo;

/// One attempt to bring one version of a stack about. What was asked never changes; the phase moves on.
#[derive(SimpleObject)]
#[graphql(name = "Deployment", complex)]
pub(super) struct DeploymentView {
    /// The id that REST, the command line, labels and logs know it by.
    pub(super) deployment_id: String,
    /// The name of the stack.
    stack: String,
    /// The environment the stack lives in.
    environment: String,
    /// The generation of the spec it belongs to.
    generation: u64,
    /// What set it off.
    trigger: Trigger,
    /// Where it stands.
    phase: DeploymentPhase,
    /// What is to be thought of it; none when it was left before it was decided.
    verdict: Option<Verdict>,
    /// A stable word for why it stands there: the failure's class, or else the phase.
    reason: String,
    /// One sentence.
    message: Option<String>,
    /// Why it failed, with the evidence.
    failure: Option<FailureView>,
    /// The commit; none for inline text, or before it is known.
    revision: Option<String>,
    /// The images; empty before they are known.
    images: Vec<ImageView>,
    /// Who asked.
    actor: String,
    /// Why, as far as the asker said.
    stated_reason: Option<String>,
    /// The request as it came in, secrets as `***`.
    original_request: Json<serde_json::Value>,
    /// What the request was taken to mean, secrets as `***`.
    mapped_request: Json<serde_json::Value>,
    /// The deployment whose failure this one answers.
    rollback_of: Option<String>,
    /// The rollback that answers this one's failure.
    rolled_back_by: Option<String>,
    /// The deployment whose kept objects this one brings back, when it renders nothing itself.
    version_of: Option<String>,
    /// The trace that leads from the request to the engine: 32 hex digits.
    trace_id: String,
    /// The digest of the plan that waits for approval, or was approved: only in the mode `Approve`.
    plan: Option<String>,
    /// Clocks, and what is known of each service, once applying has begun.
    progress: Option<ProgressView>,
    /// Its services as last looked at, by name.
    services: Vec<ServiceStateView>,
    /// The jobs that have run for it, or run now, in the order in which they began.
    jobs: Vec<JobView>,
    /// Remarks of the renderer.
    warnings: Vec<String>,
    /// When it was recorded.
    created_at: Time,
    /// When it ended, if it has.
    finished_at: Option<Time>,
}

impl DeploymentView {
    /// Whether its phase moves no more.
    pub(super) fn has_ended(&self) -> bool {
        domain::DeploymentPhase::from(self.phase).is_terminal()
    }
}

#[ComplexObject]
impl DeploymentView {
    /// The global id. It wraps `deploymentId`; arguments take either.
    pub(super) async fn id(&self) -> ID {
        GlobalId::Deployment(DeploymentId(self.deployment_id.clone())).encode()
    }

    /// The address of its page; none when the server has not been told the address that people reach it at.
    async fn url(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        let base = super::context(ctx)?.public_url.as_deref();
        Ok(base.map(|base| format!("{}/deployments/{}", base.trim_end_matches('/'), self.deployment_id)))
    }

    /// Who made its commit, and what for; none for inline text, and when the local copy of the repository does not have it.
    #[graphql(complexity = "20 + child_complexity")]
    async fn commit(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<CommitView>> {
        if self.revision.is_none() {
            return Ok(None);
        }
        let found = super::guard(ctx)?.commit(&DeploymentId(self.deployment_id.clone())).await;
        Ok(found.map_err(super::refused)?.map(Into::into))
    }
}

impl From<Deployment> for DeploymentView {
    fn from(it: Deployment) -> Self {
        let phase = DeploymentPhase::from(it.phase);
        let trace_id = it.trace().trace_id();
        let reason = match &it.failure {
            Some(failure) => failure.class.to_string(),
            None => format!("{phase:?}"),
        };
        let message = it.message.or_else(|| it.failure.as_ref().map(domain::Failure::sentence));
        let version_of = match it.version.source {
            domain::VersionSource::Kept(id) => Some(id.0),
            domain::VersionSource::Spec(_) => None,
        };
        Self {
            deployment_id: it.id.0,
            stack: it.stack.name.to_string(),
            environment: it.stack.environment.to_string(),
            generation: it.generation,
            trigger: it.origin.trigger.into(),
            phase,
            verdict: verdict(it.phase),
            reason,
            message,
            failure: it.failure.map(Into::into),
            revision: it.version.revision.map(|revision| revision.0),
            images: it.version.images.into_iter().map(Into::into).collect(),
            actor: it.origin.actor.name,
            stated_reason: it.origin.reason,
            original_request: Json(it.origin.original_request),
            mapped_request: Json(it.origin.mapped_request),
            rollback_of: it.rollback_of.map(|id| id.0),
            rolled_back_by: it.rolled_back_by.map(|id| id.0),
            version_of,
            trace_id,
            plan: it.plan.map(|plan| plan.as_str().to_owned()),
            progress: it.progress.map(Into::into),
            services: it.services.into_iter().map(Into::into).collect(),
            jobs: jobs(it.jobs),
            warnings: it.warnings,
            created_at: it.created_at.into(),
            finished_at: it.finished_at.map(Into::into),
        }
    }
}

fn verdict(phase: domain::DeploymentPhase) -> Option<Verdict> {
    use domain::DeploymentPhase as Phase;
    match phase {
        Phase::Converged => Some(Verdict::Converged),
        Phase::RollingBack | Phase::RolledBack | Phase::Failed => Some(Verdict::Failed),
        Phase::Superseded | Phase::Cancelled => None,
        _ => Some(Verdict::Progressing),
    }
}

/// A commit, for people.
#[derive(SimpleObject)]
#[graphql(name = "Commit")]
pub(super) struct CommitView {
    /// Its author's name.
    author: String,
    /// The first line of its message.
    title: String,
    /// When it was made.
    time: Time,
}

impl From<CommitInfo> for CommitView {
    fn from(it: CommitInfo) -> Self {
        Self { author: it.author, title: it.title, time: it.time.into() }
    }
}

/// The image a service runs in a version.
#[derive(SimpleObject)]
#[graphql(name = "Image")]
pub(super) struct ImageView {
    /// The service's name in the compose file.
    service: String,
    /// The image, as written after interpolation and override.
    image: String,
    /// `sha256:…`, when it was resolved.
    digest: Option<String>,
}

impl From<ImageChoice> for ImageView {
    fn from(it: ImageChoice) -> Self {
        Self { service: it.service, image: it.image, digest: it.digest }
    }
}

/// Why a deployment failed, with the evidence that was taken before Swarm forgot it.
#[derive(SimpleObject)]
#[graphql(name = "Failure")]
pub(super) struct FailureView {
    /// The kind of obstacle.
    class: FailureClass,
    /// The service's name in the compose file.
    service: Option<String>,
    /// The slot, of a replicated service.
    slot: Option<u64>,
    /// The node's host name.
    node: Option<String>,
    /// The task that shows it.
    task: Option<String>,
    /// What the engine, git or the renderer said.
    error: String,
    /// The container's exit code.
    exit_code: Option<i64>,
    /// The task's last log lines.
    log_tail: Vec<String>,
    /// What its last health checks came to, as lines; empty where that is not known: of a container on another node than
    /// the manager that answers, or without a check.
    health_log: Vec<String>,
}

impl From<domain::Failure> for FailureView {
    fn from(it: domain::Failure) -> Self {
        Self {
            class: it.class.into(),
            service: it.service,
            slot: it.slot,
            node: it.node,
            task: it.task,
            error: it.error,
            exit_code: it.exit_code,
            log_tail: it.log_tail,
            health_log: it.health_log,
        }
    }
}

/// The clocks of a deployment, and how far it is.
#[derive(SimpleObject)]
#[graphql(name = "Progress")]
pub(super) struct ProgressView {
    /// When work on the engine began.
    started_at: Time,
    /// When the deployment fails unless one more task gets healthy.
    progress_deadline: Time,
    /// When the deployment fails in any case.
    total_deadline: Time,
    /// Since when the progress clock stands still because the infrastructure is at fault.
    waiting_since: Option<Time>,
    /// Whether the engine has accepted every step.
    applied: bool,
    /// When it accepted the last of them.
    applied_at: Option<Time>,
    /// How many wanted tasks were healthy at most.
    healthy_most: u64,
    /// Since when every wanted task has been healthy without a break.
    healthy_since: Option<Time>,
    /// What is known of each service.
    services: Vec<ServiceProgressView>,
}

impl From<Progress> for ProgressView {
    fn from(it: Progress) -> Self {
        let services = it.services.into_iter().map(|(name, service)| ServiceProgressView {
            name,
            existed: service.existed,
            written: service.written.into(),
        });
        Self {
            started_at: it.started_at.into(),
            progress_deadline: it.progress_deadline.into(),
            total_deadline: it.total_deadline.into(),
            waiting_since: it.waiting_since.map(Into::into),
            applied: it.applied,
            applied_at: it.applied_at.map(Into::into),
            healthy_most: it.healthy_most,
            healthy_since: it.healthy_since.map(Into::into),
            services: services.collect(),
        }
    }
}

/// What is known of one service in a deployment.
#[derive(SimpleObject)]
#[graphql(name = "ServiceProgress")]
pub(super) struct ServiceProgressView {
    /// Its full name on the Swarm.
    name: String,
    /// Whether it was there before.
    existed: bool,
    /// What is known of the write to it.
    written: Written,
}

/// How one service of a deployment stands, for people.
#[derive(SimpleObject)]
#[graphql(name = "ServiceState")]
pub(super) struct ServiceStateView {
    /// Its name in the compose file.
    service: String,
    /// How many tasks are wanted.
    wanted: u64,
    /// How many of them run what was asked.
    healthy: u64,
    /// What stands in the way, if anything says so.
    obstacle: Option<String>,
    /// What has to run, or to have ended well, before it is written.
    waits_for: Vec<String>,
}

impl From<domain::ServiceState> for ServiceStateView {
    fn from(it: domain::ServiceState) -> Self {
        Self {
            service: it.service,
            wanted: it.wanted,
            healthy: it.healthy,
            obstacle: it.obstacle,
            waits_for: it.waits_for,
        }
    }
}

/// The one run of a job before or after a deployment.
#[derive(SimpleObject)]
#[graphql(name = "JobRun")]
pub(super) struct JobView {
    /// The job's name in the compose file.
    service: String,
    /// When it runs.
    when: JobTime,
    /// What it was told of the way.
    direction: JobDirection,
    /// Where it stands.
    phase: JobPhase,
    /// When it was begun.
    started_at: Time,
    /// When it has to have ended.
    deadline: Time,
    /// When it was found to be over.
    finished_at: Option<Time>,
    /// Why it failed.
    error: Option<String>,
    /// Exit code of its container, if that ended.
    exit_code: Option<i64>,
    /// What it wrote last.
    log_tail: Vec<String>,
}

fn jobs(all: std::collections::BTreeMap<String, domain::JobRun>) -> Vec<JobView> {
    let mut all: Vec<domain::JobRun> = all.into_values().collect();
    all.sort_by_key(|run| run.started_at);
    all.into_iter().map(Into::into).collect()
}

impl From<domain::JobRun> for JobView {
    fn from(it: domain::JobRun) -> Self {
        Self {
            service: it.service,
            when: it.when.into(),
            direction: it.direction.into(),
            phase: it.state.into(),
            started_at: it.started_at.into(),
            deadline: it.deadline.into(),
            finished_at: it.finished_at.map(Into::into),
            error: it.error,
            exit_code: it.exit_code,
            log_tail: it.log_tail,
        }
    }
}
