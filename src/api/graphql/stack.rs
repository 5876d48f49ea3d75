//! The view of a stack.

use async_graphql::{ComplexObject, Context, ID, SimpleObject};

use super::catalog::StackCatalog;
use super::deployment::{DeploymentView, ImageView};
use super::enums::{Compat, ConditionStatus, ConditionType, Reason, StackPhase, TargetKind};
use super::guard;
use super::ids::{GlobalId, read_cursor};
use super::page::{DeploymentConnection, size};
use super::spec::{
    DependencyView, FollowedView, ImageOverride, OwnedObject, PolicyView, SourceView, VariableView, owned,
};
use super::time::Time;
use crate::domain::{
    self, Deletion, DeploymentId, FollowedImage, FollowedStatus, Pointer, Source, Stack, StackControl, StackKey,
    StackSpec, StackStatus,
};

/// A declared stack: what was asked, and what was found.
#[derive(SimpleObject)]
#[graphql(name = "Stack", complex)]
pub(super) struct StackView {
    #[graphql(skip)]
    key: StackKey,
    /// Its name in the environment.
    name: String,
    /// The environment it lives in.
    environment: String,
    /// Grows by one with every change of the spec.
    generation: u64,
    /// The newest generation that became Ready or Stalled.
    observed_generation: u64,
    /// The one word for people.
    pub(super) phase: StackPhase,
    /// Why it is so: the reason of the condition that tells most.
    reason: Option<Reason>,
    /// One sentence: the message of that condition.
    message: Option<String>,
    /// Typed statements about the stack.
    conditions: Vec<ConditionView>,
    /// The version the spec asks for.
    desired: DesiredView,
    /// The version that is worked towards, once it is known.
    target: Option<TargetView>,
    /// The version that runs, as far as it is known.
    live: Option<VersionView>,
    /// The newest version that converged.
    last_good: Option<LastGoodView>,
    /// Versions that failed here and are not tried again by themselves.
    held: Vec<HeldView>,
    /// A person's choice of an older version, which new ones wait behind.
    pin: Option<PinView>,
    /// A standing order to write nothing.
    suspension: Option<SuspensionView>,
    /// The order to delete the stack, if it was given.
    deletion: Option<DeletionView>,
    /// The catalog that declares it: nobody else changes what its manifest names.
    catalog: Option<StackCatalog>,
    /// Foreign changes to what the stack owns.
    drift: DriftView,
    /// The deployment that was recorded together with this generation.
    deployment_id: String,
    #[graphql(skip)]
    attempt: Option<DeploymentId>,
    /// Where the compose files come from.
    source: SourceView,
    /// The compose files, in order of merging.
    compose: Vec<String>,
    /// Whose rules apply where the CLI has quirks.
    compat: Compat,
    /// Values for interpolation; those of secrets are not shown.
    variables: Vec<VariableView>,
    /// Desired versions of single services, where they are named.
    images: Vec<ImageOverride>,
    #[graphql(skip)]
    followed: Vec<(String, FollowedImage, Option<FollowedStatus>)>,
    /// Stacks that must be ready before a new version is applied.
    depends_on: Vec<DependencyView>,
    /// The rules of change.
    policy: PolicyView,
    /// What the stack owns on the Swarm.
    inventory: Vec<OwnedObject>,
    /// Token of the last request to look again.
    requested_reconcile: Option<String>,
    /// Token of the last such request that was honoured.
    handled_reconcile: Option<String>,
    /// When it was first declared.
    created_at: Time,
    /// When the spec last changed.
    updated_at: Time,
}

/// What a stack's record and status say together.
impl From<(Stack, StackStatus)> for StackView {
    fn from((stack, status): (Stack, StackStatus)) -> Self {
        let phase = domain::phase(&stack, &status).into();
        let telling = telling(&status);
        let (reason, message) = match telling {
            Some(condition) => (Some(condition.reason.into()), Some(condition.message.clone())),
            None => (None, None),
        };
        let target = status.target.as_ref().map(|_| TargetView::of(&stack, &status));
        let desired = DesiredView::of(&stack, &status);
        let source = SourceView::of(&stack.spec, &status);
        let named = stack.spec.named_images();
        let followed = stack.spec.followed_images();
        let followed =
            followed.map(|(service, it)| (service.clone(), it.clone(), status.followed.get(service).cloned()));
        let followed = followed.collect();
        let Stack { key, spec, generation, control, deployment, created_at, updated_at, .. } = stack;
        let StackControl { pin, suspension, deletion, reconcile_token, catalog, .. } = control;
        Self {
            name: key.name.to_string(),
            environment: key.environment.to_string(),
            key,
            generation,
            observed_generation: status.observed_generation,
            phase,
            reason,
            message,
            conditions: status.conditions.into_iter().map(Into::into).collect(),
            desired,
            target,
            live: status.live.map(Into::into),
            last_good: status.last_good.map(Into::into),
            held: status.held.into_iter().map(Into::into).collect(),
            pin: pin.map(Into::into),
            suspension: suspension.map(Into::into),
            deletion: deletion.map(Into::into),
            catalog: catalog.map(Into::into),
            drift: status.drift.into(),
            deployment_id: deployment.0,
            attempt: status.attempt.map(|attempt| attempt.id),
            source,
            compose: spec.compose,
            compat: spec.compat.into(),
            variables: spec.variables.into_iter().map(Into::into).collect(),
            images: named.into_iter().map(|(service, version)| ImageOverride { service, version }).collect(),
            followed,
            depends_on: spec.depends_on.into_iter().map(Into::into).collect(),
            policy: spec.policy.into(),
            inventory: owned(status.inventory),
            requested_reconcile: reconcile_token,
            handled_reconcile: status.handled_reconcile,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}

/// The condition that tells most: that nothing newer is known, what stalls, or else the summary.
fn telling(status: &StackStatus) -> Option<&domain::Condition> {
    let ready = status.condition(domain::ConditionType::Ready);
    if ready.is_some_and(|ready| ready.reason == domain::Reason::RelayUnreachable) {
        return ready;
    }
    let stalled = status
        .condition(domain::ConditionType::Stalled)
        .filter(|condition| condition.status == domain::ConditionStatus::True);
    stalled.or(ready)
}

#[ComplexObject]
impl StackView {
    /// Images that are followed in their registries, and what was found there.
    async fn followed_images(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<FollowedView>> {
        let guard = guard(ctx)?;
        let mut views = Vec::with_capacity(self.followed.len());
        for (service, followed, status) in &self.followed {
            let repository = match status {
                Some(status) => guard.repository(&status.repository).map_err(super::unavailable)?,
                None => None,
            };
            views.push(FollowedView::of(service.clone(), followed, status.clone(), repository));
        }
        Ok(views)
    }

    /// The global id.
    pub(super) async fn id(&self) -> ID {
        GlobalId::Stack(self.key.clone()).encode()
    }

    /// What happens next, and when, as far as that is known; none when nothing has to.
    #[graphql(complexity = "3 + child_complexity")]
    async fn next(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<NextView>> {
        let found = guard(ctx)?.outlook(&self.key).map_err(super::unavailable)?;
        Ok(found.map(Into::into))
    }

    /// The deployment that was recorded together with this generation.
    async fn deployment(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<DeploymentView>> {
        let id = DeploymentId(self.deployment_id.clone());
        super::query::one_deployment(&guard(ctx)?, &id)
    }

    /// The deployment that was worked on last: the declared one, or the rollback that answers its failure. None before
    /// the first was taken up.
    async fn attempt(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<DeploymentView>> {
        let Some(id) = &self.attempt else { return Ok(None) };
        Ok(guard(ctx)?.deployment(id).map_err(super::unavailable)?.map(Into::into))
    }

    /// The stack's deployments, the newest first.
    #[graphql(complexity = "super::page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
    ) -> async_graphql::Result<DeploymentConnection> {
        let size = size(first)?;
        let before = after.as_deref().map(read_cursor).transpose()?.map(DeploymentId);
        let found = guard(ctx)?.history(&self.key, before.as_ref(), size + 1).map_err(super::unavailable)?;
        let nodes = found.into_iter().map(Into::into).collect();
        Ok(DeploymentConnection::new(nodes, size, before.is_some()))
    }
}

/// What happens next.
#[derive(SimpleObject)]
#[graphql(name = "Next")]
pub(super) struct NextView {
    /// One phrase. Where there is a time it speaks of it as `then`.
    text: String,
    /// When; none when that is not known, or up to somebody.
    at: Option<Time>,
}

impl From<domain::Outlook> for NextView {
    fn from(it: domain::Outlook) -> Self {
        Self { text: it.text, at: it.at.map(Into::into) }
    }
}

/// A typed statement about a stack.
#[derive(SimpleObject)]
#[graphql(name = "Condition")]
pub(super) struct ConditionView {
    /// What it is about.
    #[graphql(name = "type")]
    kind: ConditionType,
    /// Yes, no, or unknown.
    status: ConditionStatus,
    /// The stable word for why.
    reason: Reason,
    /// One sentence.
    message: String,
    /// The generation it was found at.
    observed_generation: u64,
    /// When `status` last changed.
    since: Time,
}

impl From<domain::Condition> for ConditionView {
    fn from(it: domain::Condition) -> Self {
        Self {
            kind: it.kind.into(),
            status: it.status.into(),
            reason: it.reason.into(),
            message: it.message,
            observed_generation: it.observed_generation,
            since: it.since.into(),
        }
    }
}

/// The version a spec asks for.
#[derive(SimpleObject)]
#[graphql(name = "DesiredVersion")]
pub(super) struct DesiredView {
    /// The ref as it was written; none for inline text.
    #[graphql(name = "ref")]
    wanted: Option<String>,
    /// The commit it stands at, once it is known.
    revision: Option<String>,
    /// The images, once they are known.
    images: Vec<ImageView>,
}

impl DesiredView {
    fn of(stack: &Stack, status: &StackStatus) -> Self {
        let known = status.desired.as_ref().filter(|pointer| pointer.generation == stack.generation);
        Self {
            wanted: wanted(&stack.spec),
            revision: known.and_then(|pointer| pointer.revision.as_ref()).map(ToString::to_string),
            images: known.map(|pointer| pointer.images.iter().cloned().map(Into::into).collect()).unwrap_or_default(),
        }
    }
}

fn wanted(spec: &StackSpec) -> Option<String> {
    match &spec.source {
        Source::Git(git) => Some(git.wanted.0.clone()),
        Source::Inline(_) => None,
    }
}

/// The version that is worked towards.
#[derive(SimpleObject)]
#[graphql(name = "TargetVersion")]
pub(super) struct TargetView {
    /// Why it is this one.
    kind: TargetKind,
    /// The commit; none for inline text, or when it is not known yet.
    revision: Option<String>,
    /// The images, once they are known.
    images: Vec<ImageView>,
    /// The deployment it came with.
    deployment_id: Option<String>,
}

impl TargetView {
    fn of(stack: &Stack, status: &StackStatus) -> Self {
        let version = status.target.as_ref().and_then(|target| target.version.clone()).map(VersionView::from);
        let kind = domain::target(stack, status).into();
        match version {
            Some(VersionView { revision, images, deployment_id }) => {
                Self { kind, revision, images, deployment_id: Some(deployment_id) }
            }
            None => Self { kind, revision: None, images: Vec::new(), deployment_id: None },
        }
    }
}

/// A version by what tells it apart.
#[derive(SimpleObject)]
#[graphql(name = "Version")]
pub(super) struct VersionView {
    /// The commit; none for inline text.
    revision: Option<String>,
    /// The images.
    images: Vec<ImageView>,
    /// The deployment it came with.
    deployment_id: String,
}

impl From<Pointer> for VersionView {
    fn from(it: Pointer) -> Self {
        Self {
            revision: it.revision.map(|revision| revision.0),
            images: it.images.into_iter().map(Into::into).collect(),
            deployment_id: it.deployment.0,
        }
    }
}

/// The newest version that converged.
#[derive(SimpleObject)]
#[graphql(name = "LastGood")]
pub(super) struct LastGoodView {
    /// The deployment that brought it about.
    deployment_id: String,
    /// The commit; none for inline text.
    revision: Option<String>,
    /// The images.
    images: Vec<ImageView>,
    /// When it converged.
    since: Time,
}

impl From<domain::LastGood> for LastGoodView {
    fn from(it: domain::LastGood) -> Self {
        let VersionView { revision, images, deployment_id } = it.version.into();
        Self { deployment_id, revision, images, since: it.since.into() }
    }
}

/// A version that failed here and is not tried again by itself.
#[derive(SimpleObject)]
#[graphql(name = "HeldVersion")]
pub(super) struct HeldView {
    /// The commit; none for inline text.
    revision: Option<String>,
    /// The images.
    images: Vec<ImageView>,
    /// The deployment that failed.
    deployment_id: String,
    /// Why, in one sentence.
    reason: String,
    /// Since when.
    since: Time,
}

impl From<domain::Held> for HeldView {
    fn from(it: domain::Held) -> Self {
        let VersionView { revision, images, deployment_id } = it.version.into();
        Self { revision, images, deployment_id, reason: it.reason, since: it.since.into() }
    }
}

/// A person's choice of an older version.
#[derive(SimpleObject)]
#[graphql(name = "Pin")]
pub(super) struct PinView {
    /// The deployment that brings the version back.
    deployment_id: String,
    /// The deployment whose version was chosen.
    version_of: String,
    /// Who chose.
    actor: String,
    /// Why, if said.
    reason: Option<String>,
    /// When it ends by itself, if ever.
    until: Option<Time>,
    /// Since when.
    since: Time,
}

impl From<domain::Pin> for PinView {
    fn from(it: domain::Pin) -> Self {
        Self {
            deployment_id: it.deployment.0,
            version_of: it.version_of.0,
            actor: it.actor.name,
            reason: it.reason,
            until: it.until.map(Into::into),
            since: it.since.into(),
        }
    }
}

/// A standing order to write nothing.
#[derive(SimpleObject)]
#[graphql(name = "Suspension")]
pub(super) struct SuspensionView {
    /// Why.
    reason: String,
    /// Who ordered it.
    actor: String,
    /// When it ends by itself, if ever.
    until: Option<Time>,
    /// Since when.
    since: Time,
}

impl From<domain::Suspension> for SuspensionView {
    fn from(it: domain::Suspension) -> Self {
        Self { reason: it.reason, actor: it.actor.name, until: it.until.map(Into::into), since: it.since.into() }
    }
}

/// An order to delete a stack.
#[derive(SimpleObject)]
#[graphql(name = "Deletion")]
pub(super) struct DeletionView {
    /// Whether the objects stay on the Swarm.
    keep_running: bool,
    /// Who ordered it.
    actor: String,
    /// Since when.
    since: Time,
}

impl From<Deletion> for DeletionView {
    fn from(it: Deletion) -> Self {
        Self { keep_running: it.keep_running, actor: it.actor.name, since: it.since.into() }
    }
}

/// Foreign changes.
#[derive(SimpleObject)]
#[graphql(name = "Drift")]
pub(super) struct DriftView {
    /// What differs now, one line for each change.
    found: Vec<String>,
    /// How often in a row drift was corrected.
    corrections: u32,
    /// When it was last corrected.
    corrected_at: Option<Time>,
}

impl From<domain::DriftStatus> for DriftView {
    fn from(it: domain::DriftStatus) -> Self {
        Self { found: it.found, corrections: it.corrections, corrected_at: it.corrected_at.map(Into::into) }
    }
}
