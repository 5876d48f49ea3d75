//! Global ids and cursors: opaque text, base64 of a type's name and what identifies it.

use async_graphql::ID;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::{DeploymentId, EnvironmentName, StackKey, StackName};

/// What a global id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobalId {
    /// A stack.
    Stack(StackKey),
    /// A deployment.
    Deployment(DeploymentId),
    /// An environment.
    Environment(EnvironmentName),
    /// An event.
    Event(u64),
}

impl GlobalId {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> ID {
        let text = match self {
            Self::Stack(key) => format!("Stack:{key}"),
            Self::Deployment(id) => format!("Deployment:{id}"),
            Self::Environment(name) => format!("Environment:{name}"),
            Self::Event(sequence) => format!("Event:{sequence}"),
        };
        ID(URL_SAFE_NO_PAD.encode(text))
    }

    /// Reads a global id; `None` when it is none.
    #[must_use]
    pub fn decode(id: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "Stack" => {
                let (environment, name) = rest.split_once('/')?;
                let environment = EnvironmentName::parse(environment).ok()?;
                Some(Self::Stack(StackKey { environment, name: StackName::parse(name).ok()? }))
            }
            "Deployment" => Some(Self::Deployment(DeploymentId(rest.to_owned()))),
            "Environment" => EnvironmentName::parse(rest).ok().map(Self::Environment),
            "Event" => rest.parse().ok().map(Self::Event),
            _ => None,
        }
    }
}

/// Reads a deployment's id, wrapped as a global one or bare.
#[must_use]
pub fn deployment_id(id: &str) -> DeploymentId {
    match GlobalId::decode(id) {
        Some(GlobalId::Deployment(id)) => id,
        _ => DeploymentId(id.to_owned()),
    }
}

/// A cursor as it is sent.
pub(super) fn cursor(text: impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("at:{text}"))
}

/// Reads a cursor.
pub(super) fn read_cursor(cursor: &str) -> async_graphql::Result<String> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let bad = || super::error("INVALID", "`after` is not a cursor of this list; take `endCursor` of the page before");
    text.and_then(|text| text.strip_prefix("at:").map(str::to_owned)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let key = StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() };
        for id in [
            GlobalId::Stack(key),
            GlobalId::Deployment(DeploymentId("01abc".into())),
            GlobalId::Environment(EnvironmentName::default()),
            GlobalId::Event(7),
        ] {
            assert_eq!(GlobalId::decode(&id.encode()), Some(id));
        }
        for bad in ["", "x", "01arz3ndektsv4rrffq69g5fav", "U3RhY2s6"] {
            assert_eq!(GlobalId::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_deployment_is_found_by_either_id() {
        let id = DeploymentId("01arz3ndektsv4rrffq69g5fav".into());
        assert_eq!(deployment_id(&GlobalId::Deployment(id.clone()).encode()), id);
        assert_eq!(deployment_id(id.as_str()), id);
    }
}
