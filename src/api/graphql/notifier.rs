//! Notifiers: what is declared, how far each has come, and what came of trying one out.

use async_graphql::{Enum, InputObject, SimpleObject};

use super::payload::{UserError, user_errors};
use super::time::Time;
use crate::declare::DeclareError;
use crate::domain::{self, Notifier, NotifierName, NotifierStatus};
use crate::ports::NotifierAnswer;

/// Whom a notifier tells, and so in which form.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::NotifierType", rename_items = "PascalCase")]
pub(super) enum NotifierType {
    /// An incoming webhook of Slack.
    Slack,
    /// JSON, signed.
    Webhook,
    /// CloudEvents 1.0, structured.
    CloudEvents,
    /// The commit's status on GitHub.
    #[graphql(name = "GitHubStatus")]
    GitHubStatus,
    /// A deployment of the commit on GitHub, with its statuses.
    #[graphql(name = "GitHubDeployment")]
    GitHubDeployment,
    /// The commit's status on GitLab.
    #[graphql(name = "GitLabStatus")]
    GitLabStatus,
    /// A deployment of the commit on GitLab.
    #[graphql(name = "GitLabDeployment")]
    GitLabDeployment,
    /// The commit's status on Gitea or Forgejo.
    GiteaStatus,
}

/// A real change of a deployment or a stack: what one message is sent for.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "domain::Transition", rename_items = "PascalCase")]
pub(super) enum Transition {
    /// A deployment's plan has begun to be carried out.
    Started,
    /// A deployment waits for a person's word.
    AwaitingApproval,
    /// A deployment has converged.
    Converged,
    /// A deployment has converged without anything to do.
    Unchanged,
    /// A deployment has failed. The last good version may be on its way back.
    Failed,
    /// The last good version is back after a failure.
    RolledBack,
    /// A deployment has failed, and the last good version did not come back.
    RollbackFailed,
    /// A newer version came before a deployment was done.
    Superseded,
    /// A person stopped a deployment.
    Cancelled,
    /// What somebody else changed on the Swarm was undone.
    DriftCorrected,
    /// Something keeps a stack from being kept; a person has to look.
    Stalled,
    /// That is over.
    Recovered,
}

/// An outbound message. Its address is shown without what may be a secret.
#[derive(SimpleObject)]
#[graphql(name = "Notifier")]
pub(super) struct NotifierView {
    /// Its name.
    name: String,
    /// Whom it tells.
    #[graphql(name = "type")]
    kind: NotifierType,
    /// Scheme, host and port of its address; null when that is in the credential, or of each repository.
    place: Option<String>,
    /// The credential it needs.
    credential: Option<String>,
    /// Patterns of environments.
    environments: Vec<String>,
    /// Patterns of stacks' names there.
    stacks: Vec<String>,
    /// What it tells of.
    events: Vec<Transition>,
    /// When it was declared.
    created_at: Time,
    /// When it last changed.
    updated_at: Time,
    /// How far it has come.
    status: NotifierStatusView,
}

/// How far a notifier has come.
#[derive(SimpleObject)]
#[graphql(name = "NotifierStatus")]
pub(super) struct NotifierStatusView {
    /// Messages that are still to be sent, as far as the next ten thousand events tell.
    pending: usize,
    /// Messages that were taken.
    delivered: u64,
    /// Messages that were given up.
    given_up: u64,
    /// When the last one was taken.
    last_success_at: Option<Time>,
    /// Why one was not taken, the last time that happened.
    last_error: Option<String>,
    /// When that was.
    last_error_at: Option<Time>,
    /// How often the next message was tried in vain.
    attempts: u32,
    /// When it is tried again.
    next_attempt_at: Option<Time>,
}

impl From<(Notifier, NotifierStatus, usize)> for NotifierView {
    fn from((it, status, pending): (Notifier, NotifierStatus, usize)) -> Self {
        Self {
            name: it.name.to_string(),
            kind: it.kind.into(),
            place: it.place,
            credential: it.credential.map(|name| name.to_string()),
            environments: it.environments,
            stacks: it.stacks,
            events: it.events.into_iter().map(Into::into).collect(),
            created_at: it.created_at.into(),
            updated_at: it.updated_at.into(),
            status: NotifierStatusView {
                pending,
                delivered: status.delivered,
                given_up: status.given_up,
                last_success_at: status.last_success.map(Into::into),
                last_error: status.last_error,
                last_error_at: status.last_error_at.map(Into::into),
                attempts: status.attempts,
                next_attempt_at: status.next_attempt_at.map(Into::into),
            },
        }
    }
}

/// What `deleteNotifier` takes.
#[derive(Debug, InputObject)]
pub(super) struct DeleteNotifierInput {
    /// The notifier.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `testNotifier` takes.
#[derive(Debug, InputObject)]
pub(super) struct TestNotifierInput {
    /// The notifier.
    pub(super) name: String,
}

/// What `deleteNotifier` answers.
#[derive(SimpleObject)]
pub(super) struct DeleteNotifierPayload {
    /// The name of the notifier; null when the request was refused.
    name: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl DeleteNotifierPayload {
    pub(super) fn new(outcome: Result<NotifierName, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(name) => Ok(Self { name: Some(name.to_string()), user_errors: Vec::new() }),
            Err(cause) => Ok(Self { name: None, user_errors: user_errors(cause)? }),
        }
    }
}

/// What came of a test message.
#[derive(SimpleObject)]
#[graphql(name = "NotifierTest")]
pub(super) struct NotifierTestView {
    /// The notifier.
    name: String,
    /// Whether it was taken.
    delivered: bool,
    /// The status that was answered with; null when there was no answer.
    status: Option<u16>,
    /// What came back, or why nothing did.
    message: String,
}

/// What `testNotifier` answers.
#[derive(SimpleObject)]
pub(super) struct TestNotifierPayload {
    /// What came of it; null when the request was refused.
    test: Option<NotifierTestView>,
    /// Why nothing was sent; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl TestNotifierPayload {
    pub(super) fn answered(name: &NotifierName, it: NotifierAnswer) -> Self {
        let test = NotifierTestView {
            name: name.to_string(),
            delivered: it.delivered,
            status: it.status,
            message: it.message,
        };
        Self { test: Some(test), user_errors: Vec::new() }
    }

    pub(super) fn refused(cause: DeclareError) -> async_graphql::Result<Self> {
        Ok(Self { test: None, user_errors: user_errors(cause)? })
    }
}
