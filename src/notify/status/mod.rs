//! What git hosts are told of a commit: its status on GitHub, GitLab, Gitea and Forgejo, and its deployments on GitHub and
//! GitLab. Values in, values out.
//!
//! GitHub: docs.github.com/en/rest/commits/statuses, …/rest/deployments/deployments, …/rest/deployments/statuses.
//! GitLab: docs.gitlab.com/api/commits, "Set commit pipeline status", docs.gitlab.com/api/deployments.
//! Gitea: docs.gitea.com/api, `POST /repos/{owner}/{repo}/statuses/{sha}`.

mod github;
mod gitlab;
mod repository;

use serde_json::json;

pub use self::repository::Repository;
use super::form::{Request, cut};
use super::message::Message;
use crate::domain::{NotifierType, Transition};

/// Characters of a description: GitHub takes so many; GitLab and Gitea take more.
const DESCRIPTION: usize = 140;

/// Who has the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    GitHub,
    GitLab,
    Gitea,
}

impl Host {
    fn of(kind: NotifierType) -> Self {
        match kind {
            NotifierType::GitLabStatus | NotifierType::GitLabDeployment => Self::GitLab,
            NotifierType::GiteaStatus => Self::Gitea,
            _ => Self::GitHub,
        }
    }

    /// A request, with what signs in.
    fn signed_in(self, token: &str, mut request: Request) -> Request {
        match self {
            Self::GitLab => request.headers.push(("private-token", token.to_owned())),
            Self::Gitea => request.headers.push(("authorization", format!("token {token}"))),
            Self::GitHub => request.headers.extend([
                ("authorization", format!("Bearer {token}")),
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ]),
        }
        request
    }
}

/// A transition that a git host is told of, in as many requests as that takes.
#[derive(Debug, Clone, Copy)]
pub struct Telling<'a> {
    /// What is told: a commit's status, or a deployment.
    pub kind: NotifierType,
    /// The repository.
    pub repository: &'a Repository,
    /// What happened.
    pub transition: Transition,
    /// The message about it.
    pub message: &'a Message,
    /// What signs in.
    pub token: &'a str,
    /// Authorities that alone are trusted.
    pub ca: Option<&'a str>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This is to be sent, and its answer looked at.
    Send(Request),
    /// The host knows all of it.
    Done,
    /// The host has no word for it.
    Nothing(&'static str),
    /// The last answer makes no sense.
    Senseless,
}

/// What of a message says which deployment it is about.
struct Place<'a> {
    commit: &'a str,
    /// The environment on the host: that of the stack, and the stack.
    environment: String,
}

impl Telling<'_> {
    /// What comes after these answers to what was sent before, each of which said that it was taken.
    #[must_use]
    pub fn next(&self, answers: &[Vec<u8>]) -> Next {
        let Some(state) = state(self.kind, self.transition) else {
            return Next::Nothing("it is nothing to tell there");
        };
        let Some(place) = self.place() else { return Next::Nothing("the deployment has no commit") };
        match self.kind {
            NotifierType::GitHubDeployment => github::next(self, &place, state, answers),
            NotifierType::GitLabDeployment => gitlab::next(self, &place, state, answers),
            _ => match answers {
                [] => Next::Send(self.commit_status(&place, state)),
                _ => Next::Done,
            },
        }
    }

    fn place(&self) -> Option<Place<'_>> {
        let (commit, stack) = (self.message.revision.as_deref()?, self.message.stack.as_ref()?);
        Some(Place { commit, environment: format!("{}/{stack}", self.message.environment) })
    }

    fn commit_status(&self, place: &Place<'_>, state: &str) -> Request {
        let context = format!("skep/{}", place.environment);
        let mut body = json!({ "state": state, "description": self.description(), "context": context });
        if let Some(url) = &self.message.url {
            body["target_url"] = url.as_str().into();
        }
        self.send(&format!("{}/statuses/{}", self.address(), place.commit), &body)
    }

    /// What happened and why, and the trace's id where there is room for all of it.
    fn description(&self) -> String {
        let said = format!("{}: {}", words(self.transition), self.message.why);
        let whole = self.message.trace_id.as_ref().map(|id| format!("{said} · trace {id}"));
        let whole = whole.filter(|whole| whole.chars().count() <= DESCRIPTION);
        whole.unwrap_or_else(|| cut(&said, DESCRIPTION))
    }

    fn address(&self) -> String {
        self.repository.address(Host::of(self.kind))
    }

    fn ask(&self, url: String) -> Request {
        Host::of(self.kind).signed_in(self.token, Request::get(url, self.ca))
    }

    fn send(&self, url: &str, body: &serde_json::Value) -> Request {
        Host::of(self.kind).signed_in(self.token, Request::post(url, "application/json", body, self.ca))
    }
}

/// The state of a commit or a deployment after a transition, in the host's word. None when it has none for it.
fn state(kind: NotifierType, transition: Transition) -> Option<&'static str> {
    let lab = Host::of(kind) == Host::GitLab;
    Some(match transition {
        // GitLab makes none that has not begun.
        Transition::AwaitingApproval if kind == NotifierType::GitLabDeployment => return None,
        Transition::Started if lab => "running",
        Transition::Started if kind == NotifierType::GitHubDeployment => "in_progress",
        Transition::Started | Transition::AwaitingApproval => "pending",
        Transition::Converged | Transition::Unchanged => "success",
        Transition::Failed | Transition::RolledBack | Transition::RollbackFailed if lab => "failed",
        Transition::Failed | Transition::RolledBack | Transition::RollbackFailed => "failure",
        Transition::Superseded | Transition::Cancelled if lab => "canceled",
        Transition::Superseded if kind == NotifierType::GitHubDeployment => "inactive",
        Transition::Superseded | Transition::Cancelled => "error",
        Transition::DriftCorrected | Transition::Stalled | Transition::Recovered => return None,
    })
}

fn words(transition: Transition) -> &'static str {
    match transition {
        Transition::Started => "started",
        Transition::AwaitingApproval => "waits for approval",
        Transition::Converged => "converged",
        Transition::Unchanged => "unchanged",
        Transition::Failed => "failed",
        Transition::RolledBack => "rolled back",
        Transition::RollbackFailed => "failed, not rolled back",
        Transition::Superseded => "superseded",
        Transition::Cancelled => "cancelled",
        Transition::DriftCorrected => "drift corrected",
        Transition::Stalled => "stalled",
        Transition::Recovered => "recovered",
    }
}

/// Asks for the repository itself: whether the token is taken there. Changes nothing.
#[must_use]
pub fn look(kind: NotifierType, repository: &Repository, token: &str, ca: Option<&str>) -> Request {
    let host = Host::of(kind);
    host.signed_in(token, Request::get(repository.address(host), ca))
}
