//! Who may do what: roles, where they hold, and the one decision made of both.
//!
//! [`Grant::may`] is asked by the API before anything is shown, and by `declare` before anything is written. There is no
//! other decision about access. `docs/guides/access.md` holds the same table for people; a test holds the two together.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EnvironmentName, EventType, StackKey, TokenName};

/// What a caller is for. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Brings versions about, and takes them back.
    Deployer,
    /// Declares stacks and deletes them.
    Operator,
    /// Keeps the installation: environments, credentials, hooks, notifiers, tokens.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Deployer, Self::Operator, Self::Admin];

    /// Reads a role's name, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| format!("{role:?}").eq_ignore_ascii_case(text))
    }
}

/// What is to be done, as far as access is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Read a stack, its deployments and its events; or an environment, its nodes and its events.
    See,
    /// Ask what deploying a version would do.
    Diff,
    /// Read what a deployment's services have written.
    Logs,
    /// Deploy, roll back, unpin, release a hold, cancel, look again.
    Deploy,
    /// Declare or change a stack, approve a plan, suspend and resume it.
    Declare,
    /// Delete a stack, or hand it back.
    Delete,
    /// Take an environment over from another Skep.
    Claim,
    /// Read the figures of the whole installation.
    Metrics,
    /// See, declare and delete environments, credentials, hooks, notifiers and tokens; see the events about keys.
    Administer,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::See,
        Self::Diff,
        Self::Logs,
        Self::Deploy,
        Self::Declare,
        Self::Delete,
        Self::Claim,
        Self::Metrics,
        Self::Administer,
    ];

    /// The least role it takes.
    #[must_use]
    pub fn least(self) -> Role {
        match self {
            Self::See | Self::Diff | Self::Logs | Self::Metrics => Role::Viewer,
            Self::Deploy => Role::Deployer,
            Self::Declare | Self::Delete | Self::Claim => Role::Operator,
            Self::Administer => Role::Admin,
        }
    }

    /// How wide the scope has to be.
    #[must_use]
    pub fn reach(self) -> Reach {
        match self {
            Self::See | Self::Diff | Self::Logs | Self::Deploy | Self::Declare | Self::Delete => Reach::Place,
            Self::Claim => Reach::Environment,
            Self::Metrics | Self::Administer => Reach::Installation,
        }
    }
}

/// How wide a scope has to be for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// It covers the stack, or the environment's name.
    Place,
    /// It covers the environment with every stack there.
    Environment,
    /// It covers everything.
    Installation,
}

/// What something is to be done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A stack, there or not.
    Stack(&'a StackKey),
    /// An environment, there or not.
    Environment(&'a EnvironmentName),
    /// The installation itself.
    Installation,
}

/// Where a role holds: environments and names of stacks, `*` for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Patterns of environments. None at all covers nothing.
    pub environments: Vec<String>,
    /// Patterns of stacks' names in them. None at all covers nothing.
    pub stacks: Vec<String>,
}

impl Scope {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { environments: vec!["*".into()], stacks: vec!["*".into()] }
    }

    fn environment(&self, name: &EnvironmentName) -> bool {
        self.environments.iter().any(|pattern| fits(pattern, name.as_str()))
    }

    fn stack(&self, key: &StackKey) -> bool {
        self.environment(&key.environment) && self.stacks.iter().any(|pattern| fits(pattern, key.name.as_str()))
    }

    /// Whether it covers every name there can be, now and later.
    fn all(patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| !pattern.is_empty() && pattern.bytes().all(|c| c == b'*'))
    }

    fn covers(&self, reach: Reach, place: Place<'_>) -> bool {
        let everything = || Self::all(&self.environments) && Self::all(&self.stacks);
        match (reach, place) {
            (Reach::Place, Place::Stack(key)) => self.stack(key),
            (Reach::Place, Place::Environment(name)) => {
                self.environment(name) && self.stacks.iter().any(|it| !it.is_empty())
            }
            (Reach::Environment, Place::Stack(StackKey { environment: name, .. }) | Place::Environment(name)) => {
                self.environment(name) && Self::all(&self.stacks)
            }
            (Reach::Installation, _) | (_, Place::Installation) => everything(),
        }
    }
}

/// A role, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What its holder may do.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl Grant {
    /// Everything, everywhere: the holder of `admin.token`, and Skep itself.
    #[must_use]
    pub fn everything() -> Self {
        Self { role: Role::Admin, scope: Scope::everything() }
    }

    /// The decision.
    #[must_use]
    pub fn may(&self, access: Access, place: Place<'_>) -> bool {
        self.role >= access.least() && self.scope.covers(access.reach(), place)
    }

    /// Whether a line of the log is there for its holder: one about a stack with the stack, one about an environment with
    /// the environment, any other with the whole installation.
    #[must_use]
    pub fn sees_event(&self, kind: EventType, environment: &EnvironmentName, stack: Option<&StackKey>) -> bool {
        match stack {
            Some(key) => self.may(Access::See, Place::Stack(key)),
            None if kind.is_about_environment() => self.may(Access::See, Place::Environment(environment)),
            None => self.may(Access::Administer, Place::Installation),
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').map_or(("", rest), |(middle, end)| (middle, end));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

/// By which way a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Way {
    /// A mutation.
    GraphQL,
    /// A call of the REST API.
    Rest,
    /// A delivery to a hook.
    Hook,
    /// The command line, which says so of itself.
    Cli,
    /// Another Skep, which hands over what it was asked.
    Relay,
}

/// A token that lets a caller in. What it is is known only by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its name: the actor of what is done with it.
    pub name: TokenName,
    /// Tells it from earlier tokens of the same name.
    pub id: String,
    /// SHA-256 of the token, as hex digits. The token has 256 random bits, so that a plain digest is enough.
    pub digest: String,
    /// What its holder may do, and where.
    pub grant: Grant,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ends by itself, if ever.
    pub expires_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether it has ended by itself.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StackName;

    fn key(environment: &str, name: &str) -> StackKey {
        StackKey { environment: EnvironmentName::parse(environment).unwrap(), name: StackName::parse(name).unwrap() }
    }

    fn grant(role: Role, environments: &[&str], stacks: &[&str]) -> Grant {
        let own = |patterns: &[&str]| patterns.iter().map(|it| (*it).to_owned()).collect();
        Grant { role, scope: Scope { environments: own(environments), stacks: own(stacks) } }
    }

    #[test]
    fn a_role_holds_where_its_scope_is() {
        let deployer = grant(Role::Deployer, &["prod", "test-*"], &["shop", "web-*"]);
        for (environment, name, covered) in [
            ("prod", "shop", true),
            ("test-1", "web-a", true),
            ("prod", "web", false),
            ("test", "shop", false),
            ("default", "shop", false),
        ] {
            let key = key(environment, name);
            for access in [Access::See, Access::Diff, Access::Logs, Access::Deploy] {
                assert_eq!(deployer.may(access, Place::Stack(&key)), covered, "{access:?} {key}");
            }
            for access in [Access::Declare, Access::Delete, Access::Claim, Access::Metrics, Access::Administer] {
                assert!(!deployer.may(access, Place::Stack(&key)), "{access:?} {key}");
            }
        }
    }

    #[test]
    fn what_is_wider_than_a_stack_takes_a_wider_scope() {
        let prod = EnvironmentName::parse("prod").unwrap();
        let narrow = grant(Role::Admin, &["prod"], &["shop"]);
        assert!(narrow.may(Access::See, Place::Environment(&prod)));
        assert!(!narrow.may(Access::Claim, Place::Environment(&prod)));
        let whole = grant(Role::Admin, &["prod"], &["*"]);
        assert!(whole.may(Access::Claim, Place::Environment(&prod)));
        assert!(!whole.may(Access::Claim, Place::Environment(&EnvironmentName::default())));
        assert!(!whole.may(Access::Administer, Place::Installation));
        assert!(!whole.may(Access::See, Place::Installation));
        assert!(grant(Role::Admin, &["*"], &["**"]).may(Access::Administer, Place::Installation));
        assert!(!grant(Role::Operator, &["*"], &["*"]).may(Access::Administer, Place::Installation));
    }

    #[test]
    fn an_empty_scope_covers_nothing() {
        let key = key("default", "shop");
        for nothing in
            [grant(Role::Admin, &[], &["*"]), grant(Role::Admin, &["*"], &[]), grant(Role::Admin, &[""], &[""])]
        {
            for access in Access::ALL {
                for place in [Place::Stack(&key), Place::Environment(&key.environment), Place::Installation] {
                    assert!(!nothing.may(access, place), "{access:?} {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_greater_role_may_all_that_a_lesser_one_may() {
        let key = key("default", "shop");
        for access in Access::ALL {
            for pair in Role::ALL.windows(2) {
                let may = |role| grant(role, &["*"], &["*"]).may(access, Place::Stack(&key));
                assert!(!may(pair[0]) || may(pair[1]), "{access:?} {pair:?}");
            }
        }
    }

    #[test]
    fn lines_about_keys_are_for_admins() {
        let name = EnvironmentName::default();
        let viewer = grant(Role::Viewer, &["*"], &["*"]);
        assert!(viewer.sees_event(EventType::EnvironmentConnected, &name, None));
        for kind in [EventType::CredentialChanged, EventType::HookReceived, EventType::TokenCreated] {
            assert!(!viewer.sees_event(kind, &name, None), "{kind:?}");
            assert!(Grant::everything().sees_event(kind, &name, None), "{kind:?}");
        }
    }

    #[test]
    fn roles_are_read_in_any_case() {
        assert_eq!(Role::parse("operator"), Some(Role::Operator));
        assert_eq!(Role::parse("Viewer"), Some(Role::Viewer));
        assert_eq!(Role::parse("root"), None);
    }

    /// The table that people read is the one that is decided by.
    #[test]
    fn the_table_of_the_docs_is_this_one() {
        let text = include_str!("../../docs/guides/access.md");
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), Access::ALL.len(), "one row for each");
        for (row, access) in rows.iter().zip(Access::ALL) {
            assert_eq!(row[0], format!("`{access:?}`"));
            for (cell, role) in row[2..6].iter().zip(Role::ALL) {
                assert_eq!(*cell == "yes", role >= access.least(), "{access:?} {role:?}: {cell}");
            }
            let reach = match access.reach() {
                Reach::Place => "what it is done to",
                Reach::Environment => "the whole environment",
                Reach::Installation => "everything",
            };
            assert_eq!(row[6], reach, "{access:?}");
        }
    }
}
