//! What mutations answer.

use async_graphql::SimpleObject;

use super::deployment::DeploymentView;
use super::enums::{DocumentKind, UserErrorCode};
use super::event::EnvironmentView;
use super::stack::StackView;
use super::{error, unavailable, with_status};
use crate::api::guard::Guard;
use crate::declare::{Applied, AppliedDocument, DeclareError, Declared, Refusal};
use crate::domain::Environment;

/// What a mutation answers: what stands written now, or why nothing was.
#[derive(SimpleObject)]
pub(super) struct StackPayload {
    /// The stack; null when the request was refused.
    stack: Option<StackView>,
    /// The deployment the request made; when it made none, the one it is about.
    deployment: Option<DeploymentView>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

/// What a mutation of an environment answers.
#[derive(SimpleObject)]
pub(super) struct EnvironmentPayload {
    /// The environment; null when the request was refused.
    environment: Option<EnvironmentView>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

/// What `applyStack` answers.
#[derive(SimpleObject)]
pub(super) struct ApplyStackPayload {
    /// The first stack of the manifest; null when the request was refused, or the manifest holds none.
    stack: Option<StackView>,
    /// Its deployment: the one that was made or, when nothing changed, the newest; null in a dry run that would make one.
    deployment: Option<DeploymentView>,
    /// What became of each document, in order.
    documents: Vec<AppliedDocumentView>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

/// What became of one document.
#[derive(SimpleObject)]
#[graphql(name = "AppliedDocument")]
pub(super) struct AppliedDocumentView {
    /// Its kind.
    kind: DocumentKind,
    /// The name of what it declares.
    name: String,
    /// The environment, for a stack.
    environment: Option<String>,
    /// Whether it was not there before.
    created: bool,
    /// The fields that change, as dotted paths; empty when nothing does.
    changes: Vec<String>,
    /// The stack as it stands now; in a dry run, as it would stand.
    stack: Option<StackView>,
    /// Its deployment: the one that was made or, when nothing changed, the newest.
    deployment: Option<DeploymentView>,
}

/// One thing that is wrong with a request.
#[derive(SimpleObject)]
pub(super) struct UserError {
    /// The stable word.
    code: UserErrorCode,
    /// What is wrong.
    message: String,
    /// The field, as a dotted path.
    field: Option<String>,
    /// The file, when the sender named it.
    file: Option<String>,
    /// The line in the manifest, from 1.
    line: Option<u64>,
    /// The column, from 1.
    column: Option<u64>,
    /// How to mend it.
    hint: Option<String>,
}

impl From<Refusal> for UserError {
    fn from(it: Refusal) -> Self {
        Self {
            code: it.code.into(),
            message: it.message,
            field: it.field,
            file: it.file,
            line: it.line,
            column: it.column,
            hint: it.hint,
        }
    }
}

/// The refusals of a request, or a fault that is not the asker's.
pub(super) fn user_errors(cause: DeclareError) -> async_graphql::Result<Vec<UserError>> {
    match cause {
        DeclareError::Refused(refusals) => Ok(refusals.into_iter().map(Into::into).collect()),
        DeclareError::Ledger(cause) => Err(unavailable(cause)),
        DeclareError::Seal(cause) => Err(error("UNAVAILABLE", cause.to_string())),
    }
}

impl StackPayload {
    /// The answer to a request about one stack.
    pub(super) fn new(guard: &Guard, outcome: Result<Declared, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(declared) => Ok(Self {
                stack: Some(with_status(guard, declared.stack)?),
                deployment: declared.deployment.map(Into::into),
                user_errors: Vec::new(),
            }),
            Err(cause) => Ok(Self { stack: None, deployment: None, user_errors: user_errors(cause)? }),
        }
    }
}

impl EnvironmentPayload {
    /// The answer to a request about an environment.
    pub(super) fn new(guard: &Guard, outcome: Result<Environment, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(environment) => {
                let view = guard.with_connection(environment).map_err(unavailable)?.into();
                Ok(Self { environment: Some(view), user_errors: Vec::new() })
            }
            Err(cause) => Ok(Self { environment: None, user_errors: user_errors(cause)? }),
        }
    }
}

impl ApplyStackPayload {
    /// The answer to `applyStack`.
    pub(super) fn new(guard: &Guard, outcome: Result<Applied, DeclareError>) -> async_graphql::Result<Self> {
        let applied = match outcome {
            Ok(applied) => applied,
            Err(cause) => {
                let user_errors = user_errors(cause)?;
                return Ok(Self { stack: None, deployment: None, documents: Vec::new(), user_errors });
            }
        };
        let first = applied.documents.iter().find(|document| document.stack.is_some()).cloned();
        let (stack, deployment) = first.map_or((None, None), |first| (first.stack, first.deployment));
        let documents = applied.documents.into_iter().map(|document| applied_document(guard, document));
        Ok(Self {
            stack: stack.map(|stack| with_status(guard, stack)).transpose()?,
            deployment: deployment.map(Into::into),
            documents: documents.collect::<async_graphql::Result<_>>()?,
            user_errors: Vec::new(),
        })
    }
}

fn applied_document(guard: &Guard, it: AppliedDocument) -> async_graphql::Result<AppliedDocumentView> {
    Ok(AppliedDocumentView {
        kind: it.kind.into(),
        name: it.name,
        environment: it.environment.map(|name| name.to_string()),
        created: it.created,
        changes: it.changes,
        stack: it.stack.map(|stack| with_status(guard, stack)).transpose()?,
        deployment: it.deployment.map(Into::into),
    })
}
