//! What mutations take.

use async_graphql::{Context, Enum, ID, InputObject};

use super::time::Time;
use crate::declare::{self, Ask, Code, Reference, References, Refusal};
use crate::domain::{EnvironmentName, SecretBytes, StackKey, StackName, Trigger};

/// Names a stack.
#[derive(Debug, Clone, InputObject)]
pub(super) struct StackRefInput {
    /// Its name.
    pub(super) name: String,
    /// The environment it lives in.
    #[graphql(default = "default")]
    pub(super) environment: String,
}

impl StackRefInput {
    /// The key it names.
    pub(super) fn key(&self) -> Result<StackKey, Box<Refusal>> {
        stack_key(&self.name, &self.environment)
    }
}

/// Checks a stack's name and environment.
pub(super) fn stack_key(name: &str, environment: &str) -> Result<StackKey, Box<Refusal>> {
    let refuse = |field: &str, cause: crate::domain::NameError| {
        Box::new(Refusal::new(Code::Invalid, cause.to_string()).field(field))
    };
    Ok(StackKey {
        environment: EnvironmentName::parse(environment).map_err(|cause| refuse("stack.environment", cause))?,
        name: StackName::parse(name).map_err(|cause| refuse("stack.name", cause))?,
    })
}

/// Where a value stands, as seen by whoever sends the manifest.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "declare::ReferenceKind", rename_items = "PascalCase")]
pub(super) enum ReferenceKind {
    /// A variable of the environment.
    FromEnv,
    /// A file.
    FromFile,
}

/// A value that a manifest refers to.
#[derive(Clone, InputObject)]
pub(super) struct ReferenceInput {
    /// Where it stands.
    kind: ReferenceKind,
    /// The variable's name or the file's path, as the manifest has it.
    name: String,
    /// The value.
    value: String,
}

impl std::fmt::Debug for ReferenceInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceInput").field("kind", &self.kind).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The values beside a manifest.
pub(super) fn references(input: Vec<ReferenceInput>) -> References {
    let one = |it: ReferenceInput| {
        (Reference { kind: it.kind.into(), name: it.name }, SecretBytes::new(it.value.into_bytes()))
    };
    input.into_iter().map(one).collect()
}

/// What `applyStack` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct ApplyStackInput {
    /// YAML documents of the kinds Stack, Environment, Credential and Hook.
    pub(super) manifest: String,
    /// The name of the file they come from, for messages.
    pub(super) file: Option<String>,
    /// The values that the manifest refers to with `fromEnv` and `fromFile`, as the sender has read them.
    #[graphql(default)]
    pub(super) references: Vec<ReferenceInput>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// A key under which the same request works only once.
    pub(super) idempotency_key: Option<String>,
    /// The generation the asker saw; 0: there must be no such stack. Only with one stack in the manifest.
    pub(super) expected_generation: Option<u64>,
    /// Say what would change, and write nothing.
    #[graphql(default)]
    pub(super) dry_run: bool,
}

/// What `deployStack` takes. What is left out stays as it is.
#[derive(Debug, Clone, InputObject)]
pub(super) struct DeployStackInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// A branch, a tag, a commit, or a range over tags.
    #[graphql(name = "ref")]
    pub(super) wanted: Option<String>,
    /// Desired versions of single services.
    #[graphql(default)]
    pub(super) images: Vec<ImageInput>,
    /// Values for interpolation.
    #[graphql(default)]
    pub(super) variables: Vec<VariableInput>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// The generation the asker saw; another one is a conflict.
    pub(super) expected_generation: Option<u64>,
    /// A key under which the same request works only once.
    pub(super) idempotency_key: Option<String>,
}

/// The desired version of a service.
#[derive(Debug, Clone, InputObject)]
pub(super) struct ImageInput {
    /// The service's name in the compose file.
    pub(super) service: String,
    /// A tag, a digest, or a whole image.
    pub(super) version: String,
}

/// The value of a variable.
#[derive(Clone, InputObject)]
pub(super) struct VariableInput {
    /// Its name.
    pub(super) name: String,
    /// Its value.
    pub(super) value: String,
    /// Seal it, and show it nowhere. A variable that is secret already stays so.
    #[graphql(default)]
    pub(super) secret: bool,
}

impl std::fmt::Debug for VariableInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VariableInput").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What `rollbackStack` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct RollbackStackInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// The deployment whose version is to come back; the one that converged before the running one, when left out.
    pub(super) deployment: Option<ID>,
    /// When the pin ends by itself.
    pub(super) until: Option<Time>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// The generation the asker saw; another one is a conflict.
    pub(super) expected_generation: Option<u64>,
    /// A key under which the same request works only once.
    pub(super) idempotency_key: Option<String>,
}

/// What `cancelDeployment` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct CancelDeploymentInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// The deployment; the one under way, when left out.
    pub(super) deployment: Option<ID>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `approveDeployment` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct ApproveDeploymentInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// The deployment that waits.
    pub(super) deployment: ID,
    /// The digest of the plan that was looked at. With another plan by now, nothing is approved.
    pub(super) plan: Option<String>,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `suspendStack` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct SuspendStackInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// Why: whoever finds the stack suspended reads it.
    pub(super) reason: String,
    /// When the suspension ends by itself.
    pub(super) until: Option<Time>,
}

/// What `claimEnvironment` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct ClaimEnvironmentInput {
    /// The environment's name.
    #[graphql(default_with = "String::from(\"default\")")]
    pub(super) environment: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `deleteStack` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct DeleteStackInput {
    /// The stack.
    pub(super) stack: StackRefInput,
    /// The stack's name once more.
    pub(super) confirm_name: String,
    /// Forget the stack, and leave its objects on the Swarm.
    #[graphql(default)]
    pub(super) keep_running: bool,
    /// Why, for the record.
    pub(super) reason: Option<String>,
    /// The generation the asker saw; another one is a conflict.
    pub(super) expected_generation: Option<u64>,
}

macro_rules! plain_input {
    ($($name:ident, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, InputObject)]
        pub(super) struct $name {
            /// The stack.
            pub(super) stack: StackRefInput,
            /// Why, for the record.
            pub(super) reason: Option<String>,
        }
    )*};
}

/// What `deleteEnvironment` takes.
#[derive(Debug, Clone, InputObject)]
pub(super) struct DeleteEnvironmentInput {
    /// Its name.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

plain_input! {
    UnpinStackInput, "What `unpinStack` takes.";
    ReleaseHoldInput, "What `releaseHold` takes.";
    ResumeStackInput, "What `resumeStack` takes.";
    ReconcileStackInput, "What `reconcileStack` takes.";
}

/// A request through GraphQL.
pub(super) fn ask(ctx: &Context<'_>, reason: Option<String>) -> async_graphql::Result<Ask> {
    Ok(Ask { reason, ..super::caller(ctx)?.ask(Trigger::Api) })
}
