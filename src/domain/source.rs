//! Where a stack's files come from, and what was found there.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::CredentialName;

/// Where a stack's compose text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A git repository.
    Git(GitSource),
    /// The compose text itself, in the manifest.
    Inline(String),
}

impl Source {
    /// The ref that is followed, as written; `inline` for an inline source.
    #[must_use]
    pub fn wanted(&self) -> &str {
        match self {
            Self::Git(git) => &git.wanted.0,
            Self::Inline(_) => "inline",
        }
    }
}

/// A place in a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// The repository.
    pub url: GitUrl,
    /// What is followed: a branch, a tag, a commit (full or short), or a range over tags.
    pub wanted: Wanted,
    /// The folder that compose files and what they name are looked up in; empty for the root. No leading slash, no `..`.
    pub path: String,
    /// Name of the credential to use, if any.
    pub credential: Option<CredentialName>,
    /// How often the refs are listed.
    pub poll: SignedDuration,
}

/// The ref asked for, as written: a branch, a tag, `refs/…`, a commit of 7 to 40 hex digits, or a semver range over
/// tags. Which it is is decided against the repository, in that order of trust: full commit, branch, tag, range, short
/// commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wanted(pub String);

impl Wanted {
    /// Whether it is a full commit, which stays what it is.
    #[must_use]
    pub fn is_commit(&self) -> bool {
        self.0.len() == 40 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full commit id, 40 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

impl Revision {
    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a repository's address was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not one of the four.
    #[error("`{0}` is not an address Skep can clone: use https://, ssh://, http:// or file://")]
    Scheme(String),
    /// A password in an address ends up in logs and files.
    #[error("the address of the repository holds a user name with a password; remove it and name a credential instead")]
    Password,
    /// An http or https address with a user in it would be sent in the clear or stored.
    #[error("the address of the repository holds a user name; remove it and name a credential instead")]
    User,
    /// No host.
    #[error("`{0}` names no host")]
    Host(String),
    /// A character that has no place in an address.
    #[error("the address of the repository holds a space or a control character")]
    Characters,
}

/// The address of a repository: `https://`, `ssh://`, `http://` or `file://`, without a password in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl(String);

impl GitUrl {
    /// Checks and keeps an address.
    ///
    /// # Errors
    /// [`UrlError`] for another scheme, a password or user in it, no host, or odd characters.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Characters);
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(UrlError::Password);
        }
        match scheme {
            "file" if rest.starts_with('/') => {}
            "file" => return Err(UrlError::Host(text.to_owned())),
            "ssh" | "http" | "https" if host.is_empty() || host.starts_with('-') => {
                return Err(UrlError::Host(text.to_owned()));
            }
            "ssh" if user.is_some_and(|user| user.starts_with('-')) => return Err(UrlError::Host(text.to_owned())),
            "ssh" => {}
            "http" | "https" if user.is_some() => return Err(UrlError::User),
            "http" | "https" => {}
            _ => return Err(UrlError::Scheme(text.to_owned())),
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// Whether another address names the same repository in the same way: a `.git` at the end makes no difference.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        let bare = |url: &Self| url.0.strip_suffix(".git").unwrap_or(&url.0).to_owned();
        bare(self) == bare(other)
    }

    /// The address as text. It holds no secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `file`, `http`, `https` or `ssh`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The port; the scheme's own when the address names none, 0 for `file`.
    #[must_use]
    pub fn port(&self) -> u16 {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let after = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
        let named = after.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        named.unwrap_or(match self.scheme() {
            "https" => 443,
            "http" => 80,
            "ssh" => 22,
            _ => 0,
        })
    }

    /// The host without user and port; empty for `file`.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.scheme() == "file" {
            return "";
        }
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        match host.strip_prefix('[') {
            Some(six) => six.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        }
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for GitUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        Self::parse(&text)
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> String {
        url.0
    }
}

/// What the last look at the repository found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The ref that was asked for then.
    pub wanted: Wanted,
    /// The commit it stood at, when it could be resolved.
    pub revision: Option<Revision>,
    /// When it was last resolved.
    pub checked_at: Option<Timestamp>,
    /// Why the last look failed, if it did.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["https://h/x.git", "ssh://git@h:2222/x", "file:///srv/x", "http://127.0.0.1:1/x"] {
            assert!(GitUrl::parse(good).is_ok(), "{good}");
        }
        assert_eq!(GitUrl::parse("https://u:p@h/x"), Err(UrlError::Password));
        assert_eq!(GitUrl::parse("https://u@h/x"), Err(UrlError::User));
        for bad in [
            "git@h:x",
            "ftp://h/x",
            "https:///x",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@h/x",
            "https://h/a b",
            "file://rel",
        ] {
            assert!(GitUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_is_without_user_and_port() {
        let host = |text| GitUrl::parse(text).map(|url| url.host().to_owned());
        assert_eq!(host("ssh://git@h.example:2222/x").as_deref(), Ok("h.example"));
        assert_eq!(host("http://[::1]:80/x").as_deref(), Ok("::1"));
        assert_eq!(host("file:///x").as_deref(), Ok(""));
        let port = |text| GitUrl::parse(text).map(|url| url.port());
        assert_eq!(port("ssh://git@h.example:2222/x"), Ok(2222));
        assert_eq!((port("ssh://git@h/x"), port("https://h/a:1"), port("http://[::1]/x")), (Ok(22), Ok(443), Ok(80)));
    }
}
