//! What git hosts are told of a commit: its status on GitHub, GitLab, Gitea and Forgejo, and its deployments on GitHub. Values
//! in, values out.
//!
//! GitHub: docs.github.com/en/rest/commits/statuses, …/rest/deployments/deployments, …/rest/deployments/statuses. GitLab: docs.gitlab.com/api/commits, "Set commit pipeline status".
//! Gitea: docs.gitea.com/api, `POST /repos/{owner}/{repo}/statuses/{sha}`.

use serde_json::json;

use super::form::{Request, cut};
use super::message::Message;
use crate::domain::{GitUrl, NotifierType, Transition};
use crate::keys::github;

/// Characters of a description: GitHub takes so many.
const DESCRIPTION: usize = 140;

/// A repository, as a git host's API names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The beginning of the API's address, without a slash at its end.
    api: String,
    /// `owner/name`, or more parts on GitLab.
    path: String,
}

impl Repository {
    /// The repository at this address, if such a host can have one there. `api` is the API's address; that of the
    /// repository's own host when left out.
    #[must_use]
    pub fn of(kind: NotifierType, url: &GitUrl, api: Option<&str>) -> Option<Self> {
        let rest = url.as_str().split_once("://")?.1;
        let path = rest.split_once('/')?.1.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        let plain = |part: &&str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
            !part.is_empty() && !part.chars().all(|c| c == '.') && part.chars().all(known)
        };
        let fits = if kind == NotifierType::GitLabStatus { parts.len() >= 2 } else { parts.len() == 2 };
        if url.scheme() == "file" || !fits || !parts.iter().all(plain) {
            return None;
        }
        let api = match api {
            Some(api) => api.trim_end_matches('/').to_owned(),
            None => Self::api_of(kind, url),
        };
        Some(Self { api, path: path.to_owned() })
    }

    fn api_of(kind: NotifierType, url: &GitUrl) -> String {
        let host = match url.host() {
            six if six.contains(':') => format!("[{six}]"),
            host => host.to_owned(),
        };
        // The port of ssh says nothing of where the API is.
        let place = match (url.scheme(), url.port()) {
            ("https", port) if port != 443 => format!("{host}:{port}"),
            _ => host,
        };
        match kind {
            NotifierType::GitLabStatus => format!("https://{place}/api/v4"),
            NotifierType::GiteaStatus => format!("https://{place}/api/v1"),
            _ => github::api_of(&place),
        }
    }

    /// The address of the API.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.api
    }

    fn project(&self) -> String {
        // The parts hold nothing that would have to be coded but the slashes between them.
        self.path.replace('/', "%2F")
    }
}

/// What is asked of a host, with what signs in.
fn signed_in(kind: NotifierType, token: &str, mut request: Request) -> Request {
    match kind {
        NotifierType::GitLabStatus => request.headers.push(("private-token", token.to_owned())),
        NotifierType::GiteaStatus => request.headers.push(("authorization", format!("token {token}"))),
        _ => request.headers.extend([
            ("authorization", format!("Bearer {token}")),
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", "2022-11-28".to_owned()),
        ]),
    }
    request
}

/// The state of a commit after a transition, in the host's word. None when it says nothing of a commit.
fn state(kind: NotifierType, transition: Transition) -> Option<&'static str> {
    let lab = kind == NotifierType::GitLabStatus;
    Some(match transition {
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

/// Sets the status of the message's commit. None when it has none to set.
#[must_use]
pub fn set(
    kind: NotifierType,
    repository: &Repository,
    transition: Transition,
    message: &Message,
    token: &str,
    ca: Option<&str>,
) -> Option<Request> {
    let (commit, state, stack) = (message.revision.as_ref()?, state(kind, transition)?, message.stack.as_ref()?);
    let context = format!("skep/{}/{stack}", message.environment);
    let description = described(transition, message);
    let mut body = json!({ "state": state, "description": description, "context": context });
    if let Some(url) = &message.url {
        body["target_url"] = url.as_str().into();
    }
    let api = &repository.api;
    let url = match kind {
        NotifierType::GitLabStatus => format!("{api}/projects/{}/statuses/{commit}", repository.project()),
        _ => format!("{api}/repos/{}/statuses/{commit}", repository.path),
    };
    Some(signed_in(kind, token, Request::post(&url, "application/json", &body, ca)))
}

fn described(transition: Transition, message: &Message) -> String {
    cut(&format!("{}: {}", words(transition), message.why), DESCRIPTION)
}

/// What tells GitHub of a deployment, in up to three requests: is it there, make it, set its status.
#[derive(Debug, Clone, Copy)]
pub struct OnGitHub<'a> {
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

impl OnGitHub<'_> {
    const KIND: NotifierType = NotifierType::GitHubDeployment;

    /// Commit, environment there and task: the task names the deployment here, so that it is made only once.
    fn place(&self) -> Option<(&str, String, String)> {
        let (commit, stack) = (self.message.revision.as_deref()?, self.message.stack.as_ref()?);
        let task = format!("skep:{}", self.message.deployment_id.as_ref()?);
        Some((commit, format!("{}/{stack}", self.message.environment), task))
    }

    fn deployments(&self) -> String {
        format!("{}/repos/{}/deployments", self.repository.api, self.repository.path)
    }

    /// Asks whether the deployment is there. None when there is nothing to tell of it.
    #[must_use]
    pub fn find(&self) -> Option<Request> {
        state(Self::KIND, self.transition)?;
        let (commit, environment, task) = self.place()?;
        // Nothing in them would have to be coded but these.
        let (environment, task) = (environment.replace('/', "%2F"), task.replace(':', "%3A"));
        let url = format!("{}?sha={commit}&environment={environment}&task={task}&per_page=1", self.deployments());
        let ca = self.ca.map(str::to_owned);
        let request = Request { posts: false, url, headers: Vec::new(), body: Vec::new(), ca };
        Some(signed_in(Self::KIND, self.token, request))
    }

    /// Makes the deployment. GitHub is to merge nothing, and to wait for no check: what it is told of goes on anyway.
    #[must_use]
    pub fn make(&self) -> Option<Request> {
        let (commit, environment, task) = self.place()?;
        let body = json!({
            "ref": commit,
            "task": task,
            "environment": environment,
            "auto_merge": false,
            "required_contexts": [],
            "description": cut(&self.message.what, DESCRIPTION),
        });
        let request = Request::post(&self.deployments(), "application/json", &body, self.ca);
        Some(signed_in(Self::KIND, self.token, request))
    }

    /// Sets the status of the deployment with this number there.
    #[must_use]
    pub fn tell(&self, number: u64) -> Option<Request> {
        let mut body = json!({
            "state": state(Self::KIND, self.transition)?,
            "description": described(self.transition, self.message),
        });
        if let Some(url) = &self.message.url {
            body["log_url"] = url.as_str().into();
        }
        let url = format!("{}/{number}/statuses", self.deployments());
        Some(signed_in(Self::KIND, self.token, Request::post(&url, "application/json", &body, self.ca)))
    }

    /// The number of the deployment in an answer: that of the one, or of the first in a list.
    #[must_use]
    pub fn number(answer: &[u8]) -> Option<u64> {
        let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
        answer.get(0).unwrap_or(&answer).get("id")?.as_u64()
    }
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
    let url = match kind {
        NotifierType::GitLabStatus => format!("{}/projects/{}", repository.api, repository.project()),
        _ => format!("{}/repos/{}", repository.api, repository.path),
    };
    let request = Request { posts: false, url, headers: Vec::new(), body: Vec::new(), ca: ca.map(str::to_owned) };
    signed_in(kind, token, request)
}
