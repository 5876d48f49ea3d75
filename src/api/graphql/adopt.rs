//! `adoptStack`: a manifest is recorded, and what `docker stack deploy` made is taken over.

use async_graphql::{InputObject, SimpleObject};

use super::deployment::DeploymentView;
use super::event::PlanView;
use super::input::{ReferenceInput, StackRefInput, references, stack_key};
use super::payload::{AppliedDocumentView, UserError, applied_document, user_errors};
use super::stack::StackView;
use super::with_status;
use crate::api::guard::Guard;
use crate::declare::{Adopt, Applied, ApplyOptions, Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{EnvironmentName, Stack};
use crate::ports::RunningStack;

/// What `adoptStack` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct AdoptStackInput {
    /// The one stack to be taken over; all of the manifest, when left out.
    stack: Option<StackRefInput>,
    /// The environment the stacks of the manifest must be in, when `stack` is left out; any, when that is too.
    environment: Option<String>,
    /// YAML documents, as `applyStack` takes them.
    manifest: String,
    /// The name of the file they come from, for messages.
    file: Option<String>,
    /// The values that the manifest refers to with `fromEnv` and `fromFile`, as the sender has read them.
    #[graphql(default)]
    references: Vec<ReferenceInput>,
    /// Make secrets anew. Otherwise those that are there are taken to hold what the files say: it cannot be read back.
    #[graphql(default)]
    rotate_secrets: bool,
    /// Say what would change, and write nothing.
    #[graphql(default)]
    dry_run: bool,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// A key under which the same request works only once.
    idempotency_key: Option<String>,
    /// The generation the asker saw; 0: there must be no such stack. Only with one stack in the manifest.
    expected_generation: Option<u64>,
}

/// What `adoptStack` answers.
#[derive(SimpleObject)]
pub(super) struct AdoptStackPayload {
    /// The first stack of the manifest; null when the request was refused.
    stack: Option<StackView>,
    /// The deployment that takes it over; null in a dry run.
    deployment: Option<DeploymentView>,
    /// What became of each document, in order.
    documents: Vec<AppliedDocumentView>,
    /// In a dry run, what taking each stack over would do now.
    plans: Vec<AdoptionPlan>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

/// What taking a stack over would do.
#[derive(SimpleObject)]
pub(super) struct AdoptionPlan {
    /// The stack.
    stack: String,
    /// Its environment.
    environment: String,
    /// The plan; null when there is none.
    plan: Option<PlanView>,
    /// Why there is none.
    error: Option<String>,
    /// With `compat: strict`, which the manifest says or leaves unsaid, the files change what runs, or are refused; with
    /// `compat: cli` all stays as it is.
    needs_cli: bool,
}

/// A stack that runs and that nobody has declared.
#[derive(SimpleObject)]
#[graphql(name = "RunningStack")]
pub(super) struct RunningStackView {
    /// Its name.
    name: String,
    /// A manifest that means what runs, for `adoptStack`.
    manifest: String,
    /// What it does not say, a sentence each.
    remarks: Vec<String>,
}

impl From<RunningStack> for RunningStackView {
    fn from(it: RunningStack) -> Self {
        Self { name: it.name.to_string(), manifest: it.manifest, remarks: it.remarks }
    }
}

/// Carries it out, or says what it would do.
pub(super) async fn adopt(
    declare: &Declare,
    guard: &Guard,
    input: AdoptStackInput,
    ask: Ask,
) -> async_graphql::Result<AdoptStackPayload> {
    let ask =
        Ask { expected_generation: input.expected_generation, idempotency_key: input.idempotency_key.clone(), ..ask };
    let dry_run = input.dry_run;
    let outcome = match order(&input) {
        Ok(adopt) => {
            let references = references(input.references);
            let options = ApplyOptions { file: input.file, references, dry_run, adopt: Some(adopt), catalog: None };
            declare.apply(&input.manifest, &options, &ask).await
        }
        Err(refusal) => Err(DeclareError::from(*refusal)),
    };
    let applied = match outcome {
        Ok(applied) => applied,
        Err(cause) => {
            let (documents, plans, user_errors) = (Vec::new(), Vec::new(), user_errors(cause)?);
            return Ok(AdoptStackPayload { stack: None, deployment: None, documents, plans, user_errors });
        }
    };
    let plans = if dry_run { plans(guard, &applied).await } else { Vec::new() };
    let first = applied.documents.iter().find(|document| document.stack.is_some()).cloned();
    let (stack, deployment) = first.map_or((None, None), |first| (first.stack, first.deployment));
    let documents = applied.documents.into_iter().map(|document| applied_document(guard, document));
    Ok(AdoptStackPayload {
        stack: stack.map(|stack| with_status(guard, stack)).transpose()?,
        deployment: deployment.map(Into::into),
        documents: documents.collect::<async_graphql::Result<_>>()?,
        plans,
        user_errors: Vec::new(),
    })
}

/// What is to be taken over.
fn order(input: &AdoptStackInput) -> Result<Adopt, Box<Refusal>> {
    let rotate_secrets = input.rotate_secrets;
    if let Some(stack) = &input.stack {
        let key = stack_key(&stack.name, &stack.environment)?;
        return Ok(Adopt { stack: Some(key.name), environment: Some(key.environment), rotate_secrets });
    }
    let environment = input.environment.as_deref().map(EnvironmentName::parse).transpose();
    let refuse =
        |cause: crate::domain::NameError| Box::new(Refusal::new(Code::Invalid, cause.to_string()).field("environment"));
    Ok(Adopt { stack: None, environment: environment.map_err(refuse)?, rotate_secrets })
}

/// What taking over the stacks of a manifest would do, one after the other: each question has a deadline of its own.
async fn plans(guard: &Guard, applied: &Applied) -> Vec<AdoptionPlan> {
    let stacks: Vec<&Stack> = applied.documents.iter().filter_map(|document| document.stack.as_ref()).collect();
    let mut plans = Vec::new();
    for stack in stacks {
        let (plan, error) = match guard.adoption(stack).await {
            Ok(plan) => (Some(plan.into()), None),
            Err(cause) => (None, Some(cause.to_string())),
        };
        let needs_cli = guard.needs_cli(stack).await.unwrap_or(false);
        let (name, environment) = (stack.key.name.to_string(), stack.key.environment.to_string());
        plans.push(AdoptionPlan { stack: name, environment, plan, error, needs_cli });
    }
    plans
}
