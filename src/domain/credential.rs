//! Key material by name: what it is for, and where it may go. Values are sealed; nothing here can show one.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CredentialName, Sealed, StackKey, fits};

/// What a credential is for, which says what its data hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CredentialType {
    /// A token for git over https.
    GitToken,
    /// A name and a password for git over https.
    GitBasic,
    /// A GitHub App: installation tokens are made with its key.
    GitHubApp,
    /// A private key for ssh: git repositories, engines.
    SshKey,
    /// A login at an image registry.
    Registry,
    /// Certificates for an engine over TLS.
    Tls,
    /// An age identity.
    Age,
    /// The token of another Skep, for a relay.
    SkepToken,
    /// Anything: the secret of a hook, for example.
    Opaque,
}

/// How one value of a credential has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One line; the newline at the end of a file is dropped.
    Line,
    /// Any text.
    Text,
}

/// One value that a type of credential knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKey {
    /// Its name.
    pub name: &'static str,
    /// Whether there is no such credential without it.
    pub required: bool,
    /// How it has to look.
    pub form: Form,
}

const fn key(name: &'static str, required: bool, form: Form) -> DataKey {
    DataKey { name, required, form }
}

impl CredentialType {
    /// All of them, with the names they have in manifests.
    pub const ALL: [(&'static str, Self); 9] = [
        ("GitToken", Self::GitToken),
        ("GitBasic", Self::GitBasic),
        ("GitHubApp", Self::GitHubApp),
        ("SshKey", Self::SshKey),
        ("Registry", Self::Registry),
        ("Tls", Self::Tls),
        ("Age", Self::Age),
        ("SkepToken", Self::SkepToken),
        ("Opaque", Self::Opaque),
    ];

    /// The name in manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("Opaque", |(name, _)| name)
    }

    /// The values it knows; empty for [`CredentialType::Opaque`], which takes any.
    #[must_use]
    pub fn keys(self) -> &'static [DataKey] {
        use Form::{Line, Text};
        match self {
            Self::GitToken => {
                const { &[key("token", true, Line), key("username", false, Line), key("ca", false, Text)] }
            }
            Self::GitBasic => {
                const { &[key("username", true, Line), key("password", true, Line), key("ca", false, Text)] }
            }
            Self::GitHubApp => {
                const {
                    &[
                        key("appId", true, Line),
                        key("installationId", true, Line),
                        key("privateKey", true, Text),
                        key("apiUrl", false, Line),
                        key("ca", false, Text),
                    ]
                }
            }
            Self::SshKey => {
                const { &[key("privateKey", true, Text), key("passphrase", false, Line), key("knownHosts", false, Text)] }
            }
            Self::Registry => {
                const {
                    &[
                        key("username", false, Line),
                        key("password", false, Line),
                        key("token", false, Line),
                        key("config", false, Text),
                        key("ca", false, Text),
                    ]
                }
            }
            Self::Tls => const { &[key("ca", true, Text), key("cert", false, Text), key("key", false, Text)] },
            Self::Age => const { &[key("identity", true, Text)] },
            Self::SkepToken => const { &[key("token", true, Line), key("ca", false, Text)] },
            Self::Opaque => &[],
        }
    }

    /// Whether its values go into stacks, which it then has to name.
    #[must_use]
    pub fn is_for_stacks(self) -> bool {
        matches!(self, Self::Age | Self::Opaque)
    }

    /// Whether it has to name the hosts it may go to: what is sent to whoever asks has to.
    #[must_use]
    pub fn needs_hosts(self) -> bool {
        matches!(self, Self::GitToken | Self::GitBasic | Self::GitHubApp | Self::SshKey | Self::SkepToken)
    }
}

impl fmt::Display for CredentialType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host a credential may go to: `host` for all its ports, `host:port` for that one alone. Lower case; an IPv6 address is
/// in brackets when a port follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialHost(String);

impl CredentialHost {
    /// Checks a host.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let host = Self(lower);
        let (name, port) = host.parts();
        let inside = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
        let six = name.contains(':');
        let shape = text.contains(['/', '@']) || name.is_empty() || !inside;
        if shape || name.starts_with('-') || (six && name.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err(format!("`{text}` is not a host, such as `git.example.org` or `git.example.org:8443`"));
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(format!("`{text}` names no port from 1 to 65535 after its host"));
        }
        Ok(host)
    }

    fn parts(&self) -> (&str, Option<&str>) {
        let text = self.0.as_str();
        if let Some(rest) = text.strip_prefix('[') {
            return match rest.split_once(']') {
                Some((name, "")) => (name, None),
                Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or("none"))),
                None => ("", None),
            };
        }
        match text.rsplit_once(':') {
            // More than one colon: an IPv6 address without a port.
            Some((name, _)) if name.contains(':') => (text, None),
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        }
    }

    /// Whether it stands for this host and port.
    #[must_use]
    pub fn is(&self, host: &str, port: u16) -> bool {
        let (name, own) = self.parts();
        name.eq_ignore_ascii_case(host.trim_end_matches('.')) && own.is_none_or(|own| own.parse() == Ok(port))
    }

    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CredentialHost {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<CredentialHost> for String {
    fn from(host: CredentialHost) -> String {
        host.0
    }
}

/// Whether one of these patterns stands for a stack: `NAME` in every environment, or `ENVIRONMENT/NAME`; `*` in either is
/// any text. No pattern stands for none.
#[must_use]
pub fn names_stack(patterns: &[String], key: &StackKey) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('/') {
        Some((environment, name)) => fits(environment, key.environment.as_str()) && fits(name, key.name.as_str()),
        None => fits(pattern, key.name.as_str()),
    })
}

/// A credential as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// Its name.
    pub name: CredentialName,
    /// What tells it from another one that had the same name before.
    pub id: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: CredentialType,
    /// Where it may go.
    pub hosts: Vec<CredentialHost>,
    /// Stacks that it may go into: see [`names_stack`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<String>,
    /// Its values, sealed, by key.
    pub data: BTreeMap<String, Sealed>,
    /// What the last manifest said, values as digests.
    pub last_applied: Option<serde_json::Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_for_itself_alone() {
        let host = |text: &str| CredentialHost::parse(text).unwrap();
        assert!(host("Git.example.org").is("git.example.org", 443));
        assert!(host("git.example.org").is("GIT.example.org.", 8443));
        assert!(host("git.example.org:8443").is("git.example.org", 8443));
        assert!(!host("git.example.org:8443").is("git.example.org", 443));
        assert!(!host("git.example.org").is("evil.example.org", 443));
        assert!(!host("example.org").is("git.example.org", 443));
        assert!(!host("git.example.org").is("git.example.org.evil.org", 443));
        assert!(host("[::1]:22").is("::1", 22) && host("::1").is("::1", 22) && !host("[::1]:22").is("::1", 23));
        for bad in ["", "https://h", "h/x", "h:0", "h:x", "h:99999", "-o", "*.h", "a b", "[::1]x", "u@h"] {
            assert!(CredentialHost::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stacks_are_named_by_environment_or_in_all_of_them() {
        let named = |patterns: &[&str], environment: &str, name: &str| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let environment = crate::domain::EnvironmentName::parse(environment).unwrap();
            names_stack(&patterns, &StackKey { environment, name: crate::domain::StackName::parse(name).unwrap() })
        };
        assert!(named(&["shop"], "prod", "shop") && named(&["shop*"], "test", "shop-a") && named(&["*"], "a", "b"));
        assert!(named(&["x", "prod/*"], "prod", "shop") && !named(&["prod/*"], "test", "shop"));
        assert!(!named(&["shop"], "prod", "shop2") && !named(&[], "prod", "shop") && !named(&["prod"], "prod", "shop"));
    }

    #[test]
    fn every_type_has_its_name() {
        for (name, kind) in CredentialType::ALL {
            assert_eq!(kind.as_str(), name);
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
    }
}
