//! Mutations: each records what was asked, and answers when that is durable.

use std::collections::BTreeMap;

use async_graphql::{Context, Object};

use super::adopt::{self, AdoptStackInput, AdoptStackPayload};
use super::catalog::{CatalogInput, CatalogPayload};
use super::credential::{CredentialPayload, DeleteCredentialInput, SetCredentialInput, TrustHostInput};
use super::hook::{DeleteHookInput, DeleteHookPayload, RedeliverHookInput, RedeliverHookPayload};
use super::ids::deployment_id;
use super::input::{
    ApplyStackInput, ApproveDeploymentInput, CancelDeploymentInput, ClaimEnvironmentInput, DeleteEnvironmentInput,
    DeleteStackInput, DeployStackInput, ReconcileStackInput, ReleaseHoldInput, ReleaseStackInput, ResumeStackInput,
    RollbackStackInput, StackRefInput, SuspendStackInput, UnpinStackInput, ask, references,
};
use super::log_filter::{SetLogFilterInput, SetLogFilterPayload};
use super::node::DeleteEnvironmentPayload;
use super::notifier::{DeleteNotifierInput, DeleteNotifierPayload, TestNotifierInput, TestNotifierPayload};
use super::payload::{ApplyStackPayload, EnvironmentPayload, StackPayload};
use super::token::{CreateTokenInput, CreateTokenPayload, RevokeTokenInput, RevokeTokenPayload};
use super::{caller, context, guard};
use crate::declare::{
    ApplyOptions, Ask, Code, Declare, DeclareError, Declared, DeployRequest, Keyed, Refusal, VariableValue,
};
use crate::domain::{Access, EnvironmentName, SecretBytes, StackKey, Trigger};

/// What can be asked for.
pub(in crate::api) struct Mutation;

/// What can be asked for. Each answer comes when the request would survive a power cut; the Swarm follows by itself.
#[Object]
impl Mutation {
    /// Records the documents of a manifest, all or none. Each changes only what differs from the last applied one.
    async fn apply_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to be recorded.")] input: ApplyStackInput,
    ) -> async_graphql::Result<ApplyStackPayload> {
        let ask = Ask {
            expected_generation: input.expected_generation,
            idempotency_key: input.idempotency_key,
            ..ask(ctx, input.reason)?
        };
        let references = references(input.references);
        let options = ApplyOptions { file: input.file, references, dry_run: input.dry_run, ..ApplyOptions::default() };
        let graph = context(ctx)?;
        let outcome = graph.declare.apply(&input.manifest, &options, &ask).await;
        ApplyStackPayload::new(&guard(ctx)?, outcome)
    }

    /// Records the documents of a manifest, and takes over what `docker stack deploy` made under the names of its stacks. The
    /// plan says what that changes; a dry run writes nothing.
    #[graphql(complexity = "100 + child_complexity")]
    async fn adopt_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The manifest, and what is to be taken over.")] input: AdoptStackInput,
    ) -> async_graphql::Result<AdoptStackPayload> {
        let ask = Ask { trigger: Trigger::Adopt, ..ask(ctx, input.reason.clone())? };
        adopt::adopt(&context(ctx)?.declare, &guard(ctx)?, input, ask).await
    }

    /// Hands the stack back: Skep's labels go from what it owns, and then it is forgotten. Everything runs on.
    async fn release_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack.")] input: ReleaseStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        about(ctx, &input.stack, async |declare, key| declare.release(key, &ask).await).await
    }

    /// Writes the desired version into the spec. A ref that may have moved, or none where nothing else is named, is looked up
    /// afresh, also when it is the declared one: the deployment is that of what it stands at now, and one that is under way
    /// makes room for it. Where else nothing changes the answer is the stack's current deployment.
    async fn deploy_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The version.")] input: DeployStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = Ask {
            expected_generation: input.expected_generation,
            idempotency_key: input.idempotency_key.clone(),
            ..ask(ctx, input.reason.clone())?
        };
        let request = deploy_request(&input);
        about(ctx, &input.stack, async |declare, key| declare.deploy(key, &request?, &ask).await).await
    }

    /// Brings an older version back and pins the stack to it: new versions wait until `unpinStack`, or a `deployStack` with
    /// a ref or images.
    async fn rollback_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The version to go back to.")] input: RollbackStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = Ask {
            expected_generation: input.expected_generation,
            idempotency_key: input.idempotency_key,
            ..ask(ctx, input.reason)?
        };
        let to = input.deployment.as_ref().map(|id| deployment_id(id));
        let until = input.until.map(|until| until.0);
        about(ctx, &input.stack, async |declare, key| declare.rollback(key, to.as_ref(), until, &ask).await).await
    }

    /// Takes the pin away: what is declared flows again.
    async fn unpin_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack.")] input: UnpinStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        about(ctx, &input.stack, async |declare, key| declare.unpin(key, &ask).await).await
    }

    /// Forgets which versions failed here, and tries what is declared again.
    async fn release_hold(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack.")] input: ReleaseHoldInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        about(ctx, &input.stack, async |declare, key| declare.release_hold(key, &ask).await).await
    }

    /// Stops the deployment under way, in a defined phase.
    async fn cancel_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment.")] input: CancelDeploymentInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        let id = input.deployment.as_ref().map(|id| deployment_id(id));
        about(ctx, &input.stack, async |declare, key| declare.cancel(key, id.as_ref(), &ask).await).await
    }

    /// Lets a deployment that waits for approval go on, with the plan it waits with and no other.
    async fn approve_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment, and the plan that was looked at.")] input: ApproveDeploymentInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        let id = deployment_id(&input.deployment);
        about(ctx, &input.stack, async |declare, key| declare.approve(key, &id, input.plan.as_deref(), &ask).await)
            .await
    }

    /// Orders that nothing is written for the stack.
    async fn suspend_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack, and why.")] input: SuspendStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, Some(input.reason))?;
        let until = input.until.map(|until| until.0);
        about(ctx, &input.stack, async |declare, key| declare.suspend(key, until, &ask).await).await
    }

    /// Ends a suspension.
    async fn resume_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack.")] input: ResumeStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        about(ctx, &input.stack, async |declare, key| declare.resume(key, &ask).await).await
    }

    /// Asks for a look now. `handledReconcile` of the stack becomes `requestedReconcile` when it was done.
    async fn reconcile_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack.")] input: ReconcileStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = ask(ctx, input.reason)?;
        about(ctx, &input.stack, async |declare, key| declare.reconcile(key, &ask).await).await
    }

    /// Orders this Skep to take an environment over from the one that holds it. `claim` of the environment says when it has.
    async fn claim_environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The environment.")] input: ClaimEnvironmentInput,
    ) -> async_graphql::Result<EnvironmentPayload> {
        let ask = ask(ctx, input.reason)?;
        let graph = context(ctx)?;
        let outcome = match EnvironmentName::parse(&input.environment) {
            Ok(name) => graph.declare.claim_environment(&name, &ask).await,
            Err(cause) => Err(Refusal::new(Code::Invalid, cause.to_string()).field("environment").into()),
        };
        EnvironmentPayload::new(&guard(ctx)?, outcome)
    }

    /// Deletes the stack: what it owns is removed, volumes are kept, and then it is forgotten.
    async fn delete_stack(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The stack, and its name once more.")] input: DeleteStackInput,
    ) -> async_graphql::Result<StackPayload> {
        let ask = Ask { expected_generation: input.expected_generation, ..ask(ctx, input.reason.clone())? };
        about(ctx, &input.stack, async |declare, key| {
            if input.confirm_name != key.name.as_str() {
                let message = format!("`{}` is not the name of the stack `{}`", input.confirm_name, key.name);
                let hint = "repeat the name of the stack to delete it";
                return Err(Refusal::new(Code::Invalid, message).field("confirmName").hint(hint).into());
            }
            declare.delete(key, input.keep_running, &ask).await
        })
        .await
    }

    /// Forgets an environment in which no stack is declared. Nothing on its Swarm is changed.
    async fn delete_environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The environment.")] input: DeleteEnvironmentInput,
    ) -> async_graphql::Result<DeleteEnvironmentPayload> {
        let ask = ask(ctx, input.reason)?;
        DeleteEnvironmentPayload::new(context(ctx)?.declare.delete_environment(&input.name, &ask).await)
    }

    /// Sets values of a credential, or makes it. Values come in sealed, and are shown nowhere.
    async fn set_credential(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The credential and its values.")] input: SetCredentialInput,
    ) -> async_graphql::Result<CredentialPayload> {
        let ask = ask(ctx, input.reason.clone())?;
        let declare = &context(ctx)?.declare;
        CredentialPayload::new(declare, declare.set_credential(&input.into(), &ask).await)
    }

    /// Accepts the key of a host for a credential of type SshKey: the word of a person who has compared it.
    async fn trust_host(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The credential and the key.")] input: TrustHostInput,
    ) -> async_graphql::Result<CredentialPayload> {
        let ask = ask(ctx, input.reason)?;
        let declare = &context(ctx)?.declare;
        CredentialPayload::new(declare, declare.trust_host(&input.credential, &input.line, &ask).await)
    }

    /// Deletes a credential that nothing names any more.
    async fn delete_credential(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The credential.")] input: DeleteCredentialInput,
    ) -> async_graphql::Result<CredentialPayload> {
        let ask = ask(ctx, input.reason)?;
        let declare = &context(ctx)?.declare;
        let deleted = declare.delete_credential(&input.name, &ask).await;
        CredentialPayload::new(declare, deleted.map(|credential| Keyed { credential, changes: Vec::new() }))
    }

    /// Has a catalog looked at now.
    async fn sync_catalog(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The catalog.")] input: CatalogInput,
    ) -> async_graphql::Result<CatalogPayload> {
        let ask = ask(ctx, input.reason)?;
        CatalogPayload::new(context(ctx)?.declare.sync_catalog(&input.name, &ask).await)
    }

    /// Follows a catalog no more. Its stacks stay as they are declared, and belong to nobody.
    async fn delete_catalog(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The catalog.")] input: CatalogInput,
    ) -> async_graphql::Result<CatalogPayload> {
        let ask = ask(ctx, input.reason)?;
        CatalogPayload::new(context(ctx)?.declare.delete_catalog(&input.name, &ask).await)
    }

    /// Has a delivery of a hook done again, by the rules as they are now.
    async fn redeliver_hook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The delivery.")] input: RedeliverHookInput,
    ) -> async_graphql::Result<RedeliverHookPayload> {
        let ask = ask(ctx, input.reason)?;
        RedeliverHookPayload::new(context(ctx)?.declare.redeliver(&input.hook, &input.delivery, &ask).await)
    }

    /// Deletes a hook with what is kept of its deliveries: nobody can send to it any more.
    async fn delete_hook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The hook.")] input: DeleteHookInput,
    ) -> async_graphql::Result<DeleteHookPayload> {
        let ask = ask(ctx, input.reason)?;
        DeleteHookPayload::new(context(ctx)?.declare.delete_hook(&input.name, &ask).await)
    }

    /// Forgets a notifier, and what it still owes.
    async fn delete_notifier(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The notifier.")] input: DeleteNotifierInput,
    ) -> async_graphql::Result<DeleteNotifierPayload> {
        let ask = ask(ctx, input.reason)?;
        DeleteNotifierPayload::new(context(ctx)?.declare.delete_notifier(&input.name, &ask).await)
    }

    /// Sends a test message now, and says what came back. A notifier of commit statuses sets none: it asks for a repository.
    #[graphql(complexity = "100 + child_complexity")]
    async fn test_notifier(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The notifier.")] input: TestNotifierInput,
    ) -> async_graphql::Result<TestNotifierPayload> {
        let ask = ask(ctx, None)?;
        let graph = context(ctx)?;
        match graph.declare.notifier_to_test(&input.name, &ask) {
            Ok(name) => match graph.notifiers.test(&name).await {
                Ok(answer) => Ok(TestNotifierPayload::answered(&name, answer)),
                Err(cause) => Err(super::query::inquiry(&cause)),
            },
            Err(cause) => TestNotifierPayload::refused(cause),
        }
    }

    /// Makes a token. Its value is in the answer, and nowhere else: only a digest of it is kept.
    async fn create_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the token is to be.")] input: CreateTokenInput,
    ) -> async_graphql::Result<CreateTokenPayload> {
        let ask = ask(ctx, input.reason.clone())?;
        CreateTokenPayload::new(context(ctx)?.declare.create_token(&input.into(), &ask).await)
    }

    /// Changes what the server logs, until it ends. For admins.
    async fn set_log_filter(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The filter.")] input: SetLogFilterInput,
    ) -> async_graphql::Result<SetLogFilterPayload> {
        if let Err(cause) = guard(ctx)?.everywhere(Access::Administer) {
            return SetLogFilterPayload::refused(Refusal::new(Code::Forbidden, cause.to_string()));
        }
        SetLogFilterPayload::set(context(ctx)?.log.as_ref(), &input.filter, &caller(ctx)?.actor.name)
    }

    /// Revokes a token: nobody comes in with it any more, and what is open with it ends.
    async fn revoke_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: RevokeTokenInput,
    ) -> async_graphql::Result<RevokeTokenPayload> {
        let ask = ask(ctx, input.reason)?;
        RevokeTokenPayload::new(context(ctx)?.declare.revoke_token(&input.name, &ask).await)
    }
}

/// Carries a request about one stack out.
async fn about<F>(ctx: &Context<'_>, stack: &StackRefInput, carry_out: F) -> async_graphql::Result<StackPayload>
where
    F: AsyncFnOnce(&Declare, &StackKey) -> Result<Declared, DeclareError>,
{
    let graph = context(ctx)?;
    let outcome = match stack.key() {
        Ok(key) => carry_out(&graph.declare, &key).await,
        Err(refusal) => Err(refusal.into()),
    };
    StackPayload::new(&guard(ctx)?, outcome)
}

/// What is to be deployed; the same service or variable twice is refused.
fn deploy_request(input: &DeployStackInput) -> Result<DeployRequest, DeclareError> {
    let (mut images, mut variables, mut refusals) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for image in &input.images {
        if images.insert(image.service.clone(), image.version.clone()).is_some() {
            let message = format!("service `{}` is given twice", image.service);
            refusals.push(Refusal::new(Code::Invalid, message).field("images"));
        }
    }
    for variable in &input.variables {
        let value = SecretBytes::new(variable.value.clone().into_bytes());
        if variables.insert(variable.name.clone(), VariableValue { value, secret: variable.secret }).is_some() {
            let message = format!("variable `{}` is given twice", variable.name);
            refusals.push(Refusal::new(Code::Invalid, message).field("variables"));
        }
    }
    if refusals.is_empty() {
        Ok(DeployRequest { wanted: input.wanted.clone(), images, variables })
    } else {
        Err(DeclareError::Refused(refusals))
    }
}
