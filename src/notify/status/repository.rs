//! Where a repository is, in the words of its host's API.

use super::Host;
use crate::domain::{GitUrl, NotifierType};
use crate::keys::github;

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
        let host = Host::of(kind);
        let rest = url.as_str().split_once("://")?.1;
        let path = rest.split_once('/')?.1.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        let plain = |part: &&str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
            !part.is_empty() && !part.chars().all(|c| c == '.') && part.chars().all(known)
        };
        let fits = if host == Host::GitLab { parts.len() >= 2 } else { parts.len() == 2 };
        if url.scheme() == "file" || !fits || !parts.iter().all(plain) {
            return None;
        }
        let api = match api {
            Some(api) => api.trim_end_matches('/').to_owned(),
            None => api_of(host, url),
        };
        Some(Self { api, path: path.to_owned() })
    }

    /// The address of the API.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The repository itself, as its host's API has it.
    pub(super) fn address(&self, host: Host) -> String {
        match host {
            // The parts hold nothing that would have to be coded but the slashes between them.
            Host::GitLab => format!("{}/projects/{}", self.api, self.path.replace('/', "%2F")),
            Host::GitHub | Host::Gitea => format!("{}/repos/{}", self.api, self.path),
        }
    }
}

fn api_of(host: Host, url: &GitUrl) -> String {
    let name = match url.host() {
        six if six.contains(':') => format!("[{six}]"),
        name => name.to_owned(),
    };
    // The port of ssh says nothing of where the API is.
    let place = match (url.scheme(), url.port()) {
        ("https", port) if port != 443 => format!("{name}:{port}"),
        _ => name,
    };
    match host {
        Host::GitLab => format!("https://{place}/api/v4"),
        Host::Gitea => format!("https://{place}/api/v1"),
        Host::GitHub => github::api_of(&place),
    }
}
