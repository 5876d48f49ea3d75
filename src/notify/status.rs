//! The status of a commit, on GitHub, GitLab, Gitea and Forgejo. Values in, values out.
//!
//! GitHub: docs.github.com/en/rest/commits/statuses. GitLab: docs.gitlab.com/api/commits, "Set commit pipeline status".
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
        Transition::Started | Transition::AwaitingApproval => "pending",
        Transition::Converged | Transition::Unchanged => "success",
        Transition::Failed | Transition::RolledBack | Transition::RollbackFailed if lab => "failed",
        Transition::Failed | Transition::RolledBack | Transition::RollbackFailed => "failure",
        Transition::Superseded | Transition::Cancelled if lab => "canceled",
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
    let description = cut(&format!("{}: {}", words(transition), message.why), DESCRIPTION);
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
