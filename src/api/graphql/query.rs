//! Queries: what is recorded, and what would happen.

use async_graphql::{Context, ID, Interface, Object};

use super::adopt::RunningStackView;
use super::catalog::CatalogView;
use super::credential::{CredentialTestView, CredentialView};
use super::deployment::DeploymentView;
use super::enums::StackPhase;
use super::event::{ComparisonView, EnvironmentView, EventView, PlanView, RenderingView};
use super::event_type::EventType;
use super::fleet::{self, ListArgs, StackConnection, StackOrder};
use super::hook::{self, HookDeliveryView, HookTrial, HookView};
use super::ids::{GlobalId, deployment_id, read_cursor};
use super::input::{ImageInput, stack_key};
use super::notifier::NotifierView;
use super::page::{DeploymentConnection, EventConnection, size};
use super::stack::StackView;
use super::task::TaskView;
use super::token::TokenView;
use super::{context, error, fault, guard, refused, unavailable};
use crate::api::guard::{Guard, Look};
use crate::domain::{self, Access, CredentialName, DeploymentId, EnvironmentName, GitUrl, StackKey, StackName, Wanted};
use crate::ports::InquiryError;

/// Anything with a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id."))]
pub(super) enum Node {
    /// A stack.
    Stack(Box<StackView>),
    /// A deployment.
    Deployment(Box<DeploymentView>),
    /// An environment.
    Environment(Box<EnvironmentView>),
    /// An event.
    Event(Box<EventView>),
}

/// What is recorded, and what would happen.
pub(in crate::api) struct Query;

/// What is recorded, and what would happen. Nothing here changes anything.
#[Object]
impl Query {
    /// One stack; null when it is not declared.
    async fn stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name.")] name: String,
        #[graphql(desc = "The environment it lives in.", default = "default")] environment: String,
    ) -> async_graphql::Result<Option<StackView>> {
        one_stack(&guard(ctx)?, &key(&name, &environment)?)
    }

    /// Declared stacks: a page of them, with counts by phase.
    #[graphql(complexity = "super::page::cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn stacks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "Or the page that ends before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those of this environment.")] environment: Option<String>,
        #[graphql(desc = "Only those in one of these phases.")] phases: Option<Vec<StackPhase>>,
        #[graphql(desc = "Only those with this text in their name.")] name_contains: Option<String>,
        #[graphql(
            desc = "Only those with all of these words in their name, environment, ref, commit, images, or in the name of \
                    who deployed them last; in small or capital letters."
        )]
        text: Option<String>,
        #[graphql(desc = "In which order. A cursor belongs to its order.", default_with = "StackOrder::Place")]
        order: StackOrder,
    ) -> async_graphql::Result<StackConnection> {
        let list = ListArgs { first, after, before, environment, phases, name: name_contains, text, order };
        fleet::connection(&guard(ctx)?, &list.try_into()?).await
    }

    /// One deployment; null when there is none of this id.
    async fn deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id, the global one or the bare one.")] id: ID,
    ) -> async_graphql::Result<Option<DeploymentView>> {
        one_deployment(&guard(ctx)?, &deployment_id(&id))
    }

    /// Deployments of one stack, or of all, the newest first.
    #[graphql(complexity = "super::page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of the stack of this name.")] stack: Option<String>,
        #[graphql(desc = "The environment the stack lives in.", default = "default")] environment: String,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
    ) -> async_graphql::Result<DeploymentConnection> {
        let guard = guard(ctx)?;
        let size = size(first)?;
        let before = after.as_deref().map(read_cursor).transpose()?.map(DeploymentId);
        let found = match &stack {
            Some(name) => guard.history(&key(name, &environment)?, before.as_ref(), size + 1),
            None => guard.deployments(before.as_ref(), size + 1),
        };
        let nodes = found.map_err(unavailable)?.into_iter().map(Into::into).collect();
        Ok(DeploymentConnection::new(nodes, size, before.is_some()))
    }

    /// One environment; null when it is not declared.
    async fn environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name.", default = "default")] name: String,
    ) -> async_graphql::Result<Option<EnvironmentView>> {
        one_environment(&guard(ctx)?, &environment_name(&name)?)
    }

    /// All environments, by name.
    async fn environments(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<EnvironmentView>> {
        let guard = guard(ctx)?;
        Ok(guard.environments().map_err(unavailable)?.into_iter().map(Into::into).collect())
    }

    /// All credentials, by name. What they hold is never shown.
    async fn credentials(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<CredentialView>> {
        let found = guard(ctx)?.credentials().map_err(refused)?;
        let mut users = context(ctx)?.declare.credential_users().map_err(fault)?;
        Ok(found
            .into_iter()
            .map(|it| (users.remove(&it.name).unwrap_or_default(), it))
            .map(|(users, it)| (it, users).into())
            .collect())
    }

    /// All notifiers, by name, with how far each has come. Their addresses are shown without what may be a secret.
    #[graphql(complexity = "100 + child_complexity")]
    async fn notifiers(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<NotifierView>> {
        Ok(guard(ctx)?.notifiers().map_err(refused)?.into_iter().map(Into::into).collect())
    }

    /// What the server logs: a level, or a filter. For admins.
    async fn log_filter(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        guard(ctx)?.everywhere(Access::Administer).map_err(|cause| refused(cause.into()))?;
        Ok(context(ctx)?.log.filter())
    }

    /// All tokens, by name. What they are is known by their digests alone.
    async fn tokens(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<TokenView>> {
        Ok(guard(ctx)?.tokens().map_err(refused)?.into_iter().map(Into::into).collect())
    }

    /// All catalogs, by name.
    async fn catalogs(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<CatalogView>> {
        let guard = guard(ctx)?;
        let (found, stacks) = (guard.catalogs().map_err(refused)?, guard.stacks(None).map_err(unavailable)?);
        Ok(found.into_iter().map(|(catalog, status)| (catalog, status, stacks.as_slice()).into()).collect())
    }

    /// All hooks, by name.
    async fn hooks(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<HookView>> {
        Ok(guard(ctx)?.hooks().map_err(refused)?.into_iter().map(Into::into).collect())
    }

    /// The newest deliveries of a hook, the newest first: those whose sender was who he said he is.
    #[graphql(complexity = "super::page::cost(first, child_complexity)")]
    async fn hook_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the hook.")] hook: String,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out. 100 are kept.")] first: Option<i32>,
    ) -> async_graphql::Result<Vec<HookDeliveryView>> {
        let found = guard(ctx)?.deliveries(&hook, size(first)?).map_err(refused)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// What a payload would do if the hook's sender sent it now, for each thing it tells of. Nothing is written.
    #[graphql(complexity = "100 + child_complexity")]
    async fn hook_trial(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the hook.")] hook: String,
        #[graphql(desc = "What the sender says happened, where it says so in a header; a push when left out.")]
        event: Option<String>,
        #[graphql(desc = "The body of the delivery: JSON.")] payload: String,
    ) -> async_graphql::Result<Vec<HookTrial>> {
        let ask = super::input::ask(ctx, None)?;
        guard(ctx)?.everywhere(Access::Administer).map_err(|cause| refused(cause.into()))?;
        hook::trial(&context(ctx)?.declare, (&hook, event.as_deref(), &payload), &ask)
    }

    /// Whether a credential opens a repository: lists its refs. Nothing is changed.
    #[graphql(complexity = "100 + child_complexity")]
    async fn credential_test(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the credential.")] name: String,
        #[graphql(desc = "The address of a repository.")] url: String,
    ) -> async_graphql::Result<CredentialTestView> {
        let invalid = |message: String| error("INVALID", message);
        let name = CredentialName::parse(&name).map_err(|cause| invalid(cause.to_string()))?;
        let url = GitUrl::parse(&url).map_err(|cause| invalid(cause.to_string()))?;
        guard(ctx)?.test_credential(&name, &url).await.map(Into::into).map_err(refused)
    }

    /// The stacks that run in an environment and that nobody has declared: those of `docker stack deploy`, and those of a
    /// Skep whose records are lost. For admins, because the services' variables are told in the clear.
    async fn running_stacks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The environment.", default = "default")] environment: String,
        #[graphql(desc = "Only the one of this name.")] stack: Option<String>,
    ) -> async_graphql::Result<Vec<RunningStackView>> {
        let invalid = |message: String| error("INVALID", message);
        let environment = EnvironmentName::parse(&environment).map_err(|cause| invalid(cause.to_string()))?;
        let stack = stack.as_deref().map(StackName::parse).transpose().map_err(|cause| invalid(cause.to_string()))?;
        let found = guard(ctx)?.running(&environment, stack.as_ref()).await.map_err(refused)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// The log, the oldest first.
    #[graphql(complexity = "super::page::cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the field")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most, 1 to 200; 50 when left out.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest first.", default)] backwards: bool,
        #[graphql(desc = "Only those about this environment.")] environment: Option<String>,
        #[graphql(desc = "Only those about the stack of this name.")] stack: Option<String>,
        #[graphql(desc = "Only those about this deployment, by the global id or the bare one.")] deployment: Option<ID>,
        #[graphql(desc = "Only those of one of these kinds.")] types: Option<Vec<EventType>>,
        #[graphql(desc = "Only those that were caused by the actor of this name.")] actor: Option<String>,
    ) -> async_graphql::Result<EventConnection> {
        let guard = guard(ctx)?;
        let size = size(first)?;
        let from = after.as_deref().map(read_cursor).transpose()?;
        let bad = |_| error("INVALID", "`after` is not a cursor of this list");
        let mut from = from.map(|from| from.parse::<u64>()).transpose().map_err(bad)?;
        let later = from.is_some();
        let wanted = EventFilter::new(environment, stack, deployment, types, actor);
        if wanted.deployment.is_some() {
            let mut nodes: Vec<EventView> = wanted.of_deployment(&guard)?.into_iter().map(Into::into).collect();
            if backwards {
                nodes.reverse();
            }
            nodes.retain(|it| from.is_none_or(|from| if backwards { it.sequence < from } else { it.sequence > from }));
            nodes.truncate(size + 1);
            return Ok(EventConnection::new(nodes, size, later));
        }
        let mut nodes: Vec<EventView> = Vec::new();
        while nodes.len() <= size {
            let Look { events: page, last } = guard.events(from, backwards).map_err(unavailable)?;
            let Some(last) = last else { break };
            from = Some(last);
            nodes.extend(page.into_iter().filter(|(_, event)| wanted.takes(event)).map(Into::into));
        }
        Ok(EventConnection::new(nodes, size, later))
    }

    /// What deploying a version would do now. It may fetch from the repository and look at the engine; nothing is changed.
    #[graphql(complexity = "100 + child_complexity")]
    async fn plan(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the stack.")] stack: String,
        #[graphql(desc = "The environment it lives in.", default = "default")] environment: String,
        #[graphql(name = "ref", desc = "The ref to deploy; what is declared, when left out.")] wanted: Option<String>,
        #[graphql(desc = "Versions of single services, in place of those that are declared.", default)] images: Vec<
            ImageInput,
        >,
    ) -> async_graphql::Result<PlanView> {
        let key = key(&stack, &environment)?;
        let wanted = wanted.map(Wanted);
        let images = images.into_iter().map(|image| (image.service, image.version)).collect();
        guard(ctx)?.plan(&key, wanted.as_ref(), &images).await.map(Into::into).map_err(refused)
    }

    /// What a version's files come to: the objects that would be asked of the engine. Secret values are masked.
    #[graphql(complexity = "100 + child_complexity")]
    async fn rendering(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the stack.")] stack: String,
        #[graphql(desc = "The environment it lives in.", default = "default")] environment: String,
        #[graphql(name = "ref", desc = "The ref to render; what is declared, when left out.")] wanted: Option<String>,
        #[graphql(desc = "Versions of single services, in place of those that are declared.", default)] images: Vec<
            ImageInput,
        >,
    ) -> async_graphql::Result<RenderingView> {
        let key = key(&stack, &environment)?;
        let wanted = wanted.map(Wanted);
        let images = images.into_iter().map(|image| (image.service, image.version)).collect();
        guard(ctx)?.render(&key, wanted.as_ref(), &images).await.map(Into::into).map_err(refused)
    }

    /// Where the objects of two deployments' versions differ, as they were rendered then. Neither git nor the engine is
    /// asked; secret values are masked.
    #[graphql(complexity = "100 + child_complexity")]
    async fn comparison(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A deployment's id, the global one or the bare one.")] from: ID,
        #[graphql(desc = "The other one's.")] to: ID,
    ) -> async_graphql::Result<ComparisonView> {
        guard(ctx)?.compare(&deployment_id(&from), &deployment_id(&to)).await.map(Into::into).map_err(refused)
    }

    /// The tasks of a stack's services as the engine has them now, by service; those that run, or are about to, first.
    #[graphql(complexity = "100 + child_complexity")]
    async fn tasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name of the stack.")] stack: String,
        #[graphql(desc = "The environment it lives in.", default = "default")] environment: String,
    ) -> async_graphql::Result<Vec<TaskView>> {
        let found = guard(ctx)?.tasks(&key(&stack, &environment)?).await.map_err(refused)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// Anything by its global id; null when it is not there.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A global id.")] id: ID,
    ) -> async_graphql::Result<Option<Node>> {
        let guard = guard(ctx)?;
        Ok(match GlobalId::decode(&id) {
            Some(GlobalId::Stack(key)) => one_stack(&guard, &key)?.map(Box::new).map(Node::Stack),
            Some(GlobalId::Deployment(id)) => one_deployment(&guard, &id)?.map(Box::new).map(Node::Deployment),
            Some(GlobalId::Environment(name)) => one_environment(&guard, &name)?.map(Box::new).map(Node::Environment),
            Some(GlobalId::Event(sequence)) => {
                let found = guard.event(sequence).map_err(unavailable)?;
                found.map(|event| Node::Event(Box::new(event.into())))
            }
            None => None,
        })
    }
}

/// Which events are wanted.
pub(super) struct EventFilter {
    environment: Option<String>,
    stack: Option<String>,
    pub(super) deployment: Option<DeploymentId>,
    types: Vec<domain::EventType>,
    actor: Option<String>,
}

impl EventFilter {
    pub(super) fn new(
        environment: Option<String>,
        stack: Option<String>,
        deployment: Option<ID>,
        types: Option<Vec<EventType>>,
        actor: Option<String>,
    ) -> Self {
        let types = types.unwrap_or_default().into_iter().map(Into::into).collect();
        Self { environment, stack, deployment: deployment.map(|id| deployment_id(&id)), types, actor }
    }

    /// Those about the one deployment that are wanted, the oldest first.
    pub(super) fn of_deployment(&self, guard: &Guard) -> async_graphql::Result<Vec<(u64, domain::Event)>> {
        let Some(id) = &self.deployment else { return Ok(Vec::new()) };
        let found = guard.events_of(id).map_err(unavailable)?;
        Ok(found.into_iter().filter(|(_, event)| self.takes(event)).collect())
    }

    /// Whether an event is among them.
    pub(super) fn takes(&self, event: &domain::Event) -> bool {
        let stack = event.stack.as_ref().map(|name| name.as_str());
        self.environment.as_ref().is_none_or(|name| event.environment.as_str() == name)
            && self.stack.as_deref().is_none_or(|name| stack == Some(name))
            && self.deployment.as_ref().is_none_or(|id| event.deployment.as_ref() == Some(id))
            && (self.types.is_empty() || self.types.contains(&event.kind))
            && self.actor.as_ref().is_none_or(|name| event.actor == *name)
    }
}

/// The key of a stack, from arguments.
pub(super) fn key(name: &str, environment: &str) -> async_graphql::Result<StackKey> {
    stack_key(name, environment).map_err(|refusal| error(refusal.code.as_str(), refusal.message))
}

pub(super) fn environment_name(name: &str) -> async_graphql::Result<EnvironmentName> {
    EnvironmentName::parse(name).map_err(|cause| error("INVALID", cause.to_string()))
}

pub(super) fn one_stack(guard: &Guard, key: &StackKey) -> async_graphql::Result<Option<StackView>> {
    Ok(guard.stack(key).map_err(unavailable)?.map(Into::into))
}

pub(super) fn one_deployment(guard: &Guard, id: &DeploymentId) -> async_graphql::Result<Option<DeploymentView>> {
    Ok(guard.deployment(id).map_err(unavailable)?.map(Into::into))
}

fn one_environment(guard: &Guard, name: &EnvironmentName) -> async_graphql::Result<Option<EnvironmentView>> {
    Ok(guard.environment(name).map_err(unavailable)?.map(Into::into))
}

pub(super) fn inquiry(cause: &InquiryError) -> async_graphql::Error {
    let code = match cause {
        InquiryError::NotFound(_) => "NOT_FOUND",
        InquiryError::Failed(_) => "FAILED",
        InquiryError::TimedOut => "TIMED_OUT",
        InquiryError::Busy => "BUSY",
    };
    error(code, cause.to_string())
}
