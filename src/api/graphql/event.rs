//! The views of events, environments and plans.

use async_graphql::{ComplexObject, Context, Enum, ID, Json, SimpleObject};

use super::enums::{Action, ClaimState, JobTime, ObjectKind};
use super::event_type::EventType;
use super::ids::GlobalId;
use super::node::NodeView;
use super::time::Time;
use crate::domain::{self, Claim, Environment, EnvironmentName, EnvironmentStatus, Event, Relay, Round};
use crate::ports::{CompareAnswer, JobAnswer, PlanAnswer, RenderAnswer, StepAnswer};

/// One line of the append-only log.
#[derive(SimpleObject)]
#[graphql(name = "Event", complex)]
pub(super) struct EventView {
    /// Its number in the log, from 1.
    pub(super) sequence: u64,
    /// When it happened.
    time: Time,
    /// The environment it is about.
    environment: String,
    /// The stack it is about, if any.
    stack: Option<String>,
    /// The deployment it is about, if any.
    deployment_id: Option<String>,
    /// What kind of thing happened.
    #[graphql(name = "type")]
    kind: EventType,
    /// A stable word for why.
    reason: String,
    /// One sentence.
    message: String,
    /// Who caused it: `admin`, a token's name, a hook, or Skep itself.
    actor: String,
    /// By which way in; none when Skep itself did it.
    via: Option<Way>,
}

/// A way in.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Way", rename_items = "PascalCase")]
pub(super) enum Way {
    /// A mutation.
    #[graphql(name = "GraphQL")]
    GraphQL,
    /// A call of the REST API.
    Rest,
    /// A delivery to a hook.
    Hook,
    /// The command line.
    Cli,
    /// Another Skep, which hands over what it was asked.
    Relay,
}

#[ComplexObject]
impl EventView {
    /// The global id.
    pub(super) async fn id(&self) -> ID {
        GlobalId::Event(self.sequence).encode()
    }
}

impl From<(u64, Event)> for EventView {
    fn from((sequence, it): (u64, Event)) -> Self {
        Self {
            sequence,
            time: it.time.into(),
            environment: it.environment.to_string(),
            stack: it.stack.map(|name| name.to_string()),
            deployment_id: it.deployment.map(|id| id.0),
            kind: it.kind.into(),
            reason: it.reason,
            message: it.message,
            actor: it.actor,
            via: it.via.map(Into::into),
        }
    }
}

/// A named Swarm.
#[derive(SimpleObject)]
#[graphql(name = "Environment", complex)]
pub(super) struct EnvironmentView {
    #[graphql(skip)]
    key: EnvironmentName,
    /// Its name.
    name: String,
    /// Manager endpoints; the first that is a reachable manager is used.
    endpoints: Vec<String>,
    /// The credential with the certificates for `tcp://` endpoints.
    tls: Option<String>,
    /// The credential with the key for `ssh://` endpoints.
    ssh: Option<String>,
    /// In place of endpoints: the Skep, nearer to the Swarm, that keeps it.
    relay: Option<RelayView>,
    /// Whether its engine answers and is a manager; none before the first look.
    connected: Option<bool>,
    /// Since when `connected` has been as it is.
    since: Option<Time>,
    /// Why it is not connected, or what else there is to say.
    message: Option<String>,
    /// The engine's version.
    engine: Option<String>,
    /// The version of the Engine API in use.
    api: Option<String>,
    /// How many nodes the Swarm has; none before the first look.
    node_count: Option<u64>,
    /// Who may write to it.
    claim: ClaimView,
}

#[ComplexObject]
impl EnvironmentView {
    /// The global id.
    pub(super) async fn id(&self) -> ID {
        GlobalId::Environment(self.key.clone()).encode()
    }

    /// The nodes of its Swarm, by name, as they were last seen; none before the first look.
    pub(super) async fn nodes(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<NodeView>> {
        let nodes = super::guard(ctx)?.nodes(&self.key);
        Ok(nodes.iter().map(|node| node.as_ref().into()).collect())
    }

    /// How long the newest round took; none before the first one is over, or when another Skep keeps the environment.
    async fn round(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<RoundView>> {
        Ok(super::guard(ctx)?.round(&self.key).map(Into::into))
    }
}

/// A round over an environment: everything is listed afresh, and then each of its stacks is looked at.
#[derive(SimpleObject)]
#[graphql(name = "Round")]
pub(super) struct RoundView {
    /// How long it took, in seconds, from the first question to the engine to the last look.
    seconds: f64,
    /// How long the listing took, of that, in seconds.
    listing_seconds: f64,
    /// When it was over.
    at: Time,
    /// How many stacks were looked at.
    stacks: u64,
}

impl From<Round> for RoundView {
    fn from(it: Round) -> Self {
        let (seconds, listing_seconds) = (it.took.as_secs_f64(), it.listing.as_secs_f64());
        Self { seconds, listing_seconds, at: it.at.into(), stacks: it.stacks }
    }
}

/// Another Skep that keeps an environment.
#[derive(SimpleObject)]
#[graphql(name = "Relay")]
pub(super) struct RelayView {
    /// Its address.
    url: String,
    /// The credential with its token.
    credential: String,
    /// The environment's name there.
    environment: String,
}

impl From<Relay> for RelayView {
    fn from(it: Relay) -> Self {
        Self { url: it.url, credential: it.credential.to_string(), environment: it.environment.to_string() }
    }
}

/// Who may write to an environment.
#[derive(SimpleObject)]
#[graphql(name = "Claim")]
pub(super) struct ClaimView {
    /// Whether it is this Skep.
    state: ClaimState,
    /// The installation id of another Skep that has it.
    instance: Option<String>,
    /// The claim's epoch.
    epoch: Option<u64>,
}

impl From<(Environment, Option<EnvironmentStatus>)> for EnvironmentView {
    fn from((environment, status): (Environment, Option<EnvironmentStatus>)) -> Self {
        let claim = match status.as_ref().map_or(&Claim::Unknown, |status| &status.claim) {
            Claim::Unknown => ClaimView { state: ClaimState::Unknown, instance: None, epoch: None },
            Claim::Ours(epoch) => ClaimView { state: ClaimState::Ours, instance: None, epoch: Some(*epoch) },
            Claim::Foreign { instance, epoch } => {
                ClaimView { state: ClaimState::Foreign, instance: Some(instance.clone()), epoch: Some(*epoch) }
            }
        };
        Self {
            name: environment.name.to_string(),
            key: environment.name,
            endpoints: environment.endpoints,
            tls: environment.tls.map(|name| name.to_string()),
            ssh: environment.ssh.map(|name| name.to_string()),
            relay: environment.relay.map(Into::into),
            connected: status.as_ref().map(|status| status.connected),
            since: status.as_ref().map(|status| status.since.into()),
            message: status.as_ref().and_then(|status| status.message.clone()),
            engine: status.as_ref().and_then(|status| status.engine.clone()),
            api: status.as_ref().and_then(|status| status.api.clone()),
            node_count: status.as_ref().map(|status| status.nodes),
            claim,
        }
    }
}

/// What deploying a version would do now. Known secret values are masked.
#[derive(SimpleObject)]
#[graphql(name = "Plan")]
pub(super) struct PlanView {
    /// Keyed digest of the whole plan.
    digest: String,
    /// The steps, in order; none when nothing differs.
    steps: Vec<StepView>,
    /// Why something is held back or refused.
    waiting: Vec<String>,
    /// Remarks of the renderer.
    warnings: Vec<String>,
    /// How many objects need nothing.
    unchanged: u64,
    /// Jobs that would run before and after it.
    jobs: Vec<PlannedJobView>,
}

/// A job that a plan would run before or after the deployment.
#[derive(SimpleObject)]
#[graphql(name = "PlannedJob")]
pub(super) struct PlannedJobView {
    /// Its real name.
    name: String,
    /// When it runs.
    when: JobTime,
    /// The wave in which it runs, from 1.
    wave: u32,
    /// What it waits for, by real name.
    waits_for: Vec<String>,
}

/// One step of a plan.
#[derive(SimpleObject)]
#[graphql(name = "Step")]
pub(super) struct StepView {
    /// The kind of the object.
    kind: ObjectKind,
    /// Its real name.
    name: String,
    /// What happens to it.
    action: Action,
    /// Why.
    reason: String,
    /// The differences.
    changes: Vec<ChangeView>,
    /// The wave in which it is carried out, from 1; none when there is one only.
    wave: Option<u32>,
    /// What it waits for, by real name: services that are to run, jobs that are to have ended.
    waits_for: Vec<String>,
}

/// One difference inside an object.
#[derive(SimpleObject)]
#[graphql(name = "Change")]
pub(super) struct ChangeView {
    /// JSON pointer into the engine's spec.
    path: String,
    /// What is there now; null when nothing is.
    from: Option<Json<serde_json::Value>>,
    /// What will be there; null when nothing will.
    to: Option<Json<serde_json::Value>>,
}

impl From<PlanAnswer> for PlanView {
    fn from(it: PlanAnswer) -> Self {
        Self {
            digest: it.digest,
            steps: it.steps.into_iter().map(Into::into).collect(),
            waiting: it.waiting,
            warnings: it.warnings,
            unchanged: it.unchanged,
            jobs: it.jobs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<JobAnswer> for PlannedJobView {
    fn from(it: JobAnswer) -> Self {
        Self { name: it.name, when: it.when.into(), wave: it.wave, waits_for: it.waits_for }
    }
}

impl From<StepAnswer> for StepView {
    fn from(it: StepAnswer) -> Self {
        let changes = it.changes.into_iter().map(|change| ChangeView {
            path: change.path,
            from: change.from.map(Json),
            to: change.to.map(Json),
        });
        Self {
            kind: it.kind.into(),
            name: it.name,
            action: it.action.into(),
            reason: it.reason,
            changes: changes.collect(),
            wave: it.wave,
            waits_for: it.waits_for,
        }
    }
}

/// Where two versions differ.
#[derive(SimpleObject)]
#[graphql(name = "Comparison")]
pub(super) struct ComparisonView {
    /// The objects that differ, by kind and name: those of the second version alone as `Create`, those of the first alone
    /// as `Remove`.
    steps: Vec<StepView>,
    /// How many objects are the same in both.
    unchanged: u64,
}

impl From<CompareAnswer> for ComparisonView {
    fn from(it: CompareAnswer) -> Self {
        Self { steps: it.steps.into_iter().map(Into::into).collect(), unchanged: it.unchanged }
    }
}

/// What a version's files come to.
#[derive(SimpleObject)]
#[graphql(name = "Rendering")]
pub(super) struct RenderingView {
    /// The commit; none for an inline source.
    revision: Option<String>,
    /// The digest of the objects: two versions with equal digests are the same version.
    digest: String,
    /// The objects, by kind and name, in the engine's own shape; secret values as `***`.
    objects: Json<serde_json::Value>,
    /// Remarks of the renderer.
    warnings: Vec<String>,
}

impl From<RenderAnswer> for RenderingView {
    fn from(it: RenderAnswer) -> Self {
        Self { revision: it.revision, digest: it.digest, objects: Json(it.objects), warnings: it.warnings }
    }
}
