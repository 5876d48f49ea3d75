//! Names that were checked once, where they came in.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a name was refused. The text says what is wrong and what a name may look like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name of the {0} is empty; give it at least one letter or digit")]
    Empty(&'static str),
    /// Longer than Swarm or Skep can carry.
    #[error("{kind} name `{name}` has {length} characters; {max} is the most")]
    TooLong {
        /// What the name is for.
        kind: &'static str,
        /// As given.
        name: String,
        /// Its length.
        length: usize,
        /// The most allowed.
        max: usize,
    },
    /// A character that Swarm would refuse in an object's name.
    #[error(
        "{kind} name `{name}` may hold only letters, digits, `-` and `_`, and must begin and end with a letter or digit"
    )]
    Characters {
        /// What the name is for.
        kind: &'static str,
        /// As given.
        name: String,
    },
}

fn check(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if name.chars().count() > max {
        return Err(NameError::TooLong { kind, name: name.into(), length: name.chars().count(), max });
    }
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if !inside || !edge(name.bytes().next()) || !edge(name.bytes().last()) {
        return Err(NameError::Characters { kind, name: name.into() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks `name` and keeps it.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long, or holds a character Swarm refuses.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check($kind, name, $max)?;
                Ok(Self(name.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// The name of a stack: the value of `com.docker.stack.namespace`, and the prefix of what the stack owns. Swarm ends
    /// a service's name at 63 characters, the prefix included, so a stack's is held to 50.
    StackName, "stack", 50
);
name!(
    /// The name of an environment.
    EnvironmentName, "environment", 63
);
name!(
    /// The name of a credential.
    CredentialName, "credential", 63
);
name!(
    /// The name of a notifier.
    NotifierName, "notifier", 63
);
name!(
    /// The name of an API token.
    TokenName, "token", 63
);

impl Default for EnvironmentName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// What identifies a stack everywhere: its environment and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StackKey {
    /// The environment it lives in.
    pub environment: EnvironmentName,
    /// Its name there.
    pub name: StackName,
}

impl fmt::Display for StackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_swarm_refuses_is_refused() {
        for bad in ["", "-a", "a-", "a b", "a.b", "ä", "a/b", &"a".repeat(51)] {
            assert!(StackName::parse(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["a", "shop", "my-shop_2", "A1"] {
            assert_eq!(StackName::parse(good).map(String::from).as_deref(), Ok(good));
        }
    }

    #[test]
    fn a_stored_name_is_checked_again() {
        assert!(serde_json::from_str::<StackName>("\"a b\"").is_err());
    }
}
