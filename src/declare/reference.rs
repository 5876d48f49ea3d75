//! Values that stand elsewhere: `fromEnv` and `fromFile` in a manifest. Whoever sends the manifest reads them and sends the
//! values beside it, so that the text itself holds no secret and the server reads neither its own files nor environment.

use std::collections::{BTreeMap, BTreeSet};

use super::yaml::{self, Node, Value};
use crate::domain::SecretBytes;

/// Where a value stands, as seen by whoever sends the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// A variable of the environment.
    FromEnv,
    /// A file.
    FromFile,
}

impl ReferenceKind {
    /// The field in a manifest.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::FromEnv => "fromEnv",
            Self::FromFile => "fromFile",
        }
    }
}

/// A value that stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Where.
    pub kind: ReferenceKind,
    /// The variable's name or the file's path, as written.
    pub name: String,
}

/// The values that came beside a manifest.
pub type References = BTreeMap<Reference, SecretBytes>;

/// What a text refers to, where it may. A text that is not YAML refers to nothing; reading it tells why.
#[must_use]
pub fn references(text: &str) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    for piece in yaml::documents(text) {
        let Ok(node) = yaml::parse(&piece) else { continue };
        let kind = entry(&node, "kind").and_then(scalar);
        let (holder, each) = match kind {
            Some("Credential") => (entry(&node, "data"), true),
            Some("Stack") => (entry(&node, "variables"), true),
            Some("Hook") => (entry(&node, "secret"), false),
            Some("Notifier") => (entry(&node, "url"), false),
            _ => continue,
        };
        let Some(holder) = holder else { continue };
        match &holder.value {
            Value::Map(entries) if each => found.extend(entries.iter().filter_map(|(_, node)| reference(node))),
            _ if !each => found.extend(reference(holder)),
            _ => {}
        }
    }
    found
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node),
        _ => None,
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn reference(node: &Node) -> Option<Reference> {
    [ReferenceKind::FromEnv, ReferenceKind::FromFile].into_iter().find_map(|kind| {
        let name = entry(node, kind.field()).and_then(scalar)?;
        Some(Reference { kind, name: name.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_where_values_stand_and_nowhere_else() {
        let text = "kind: Credential\nname: a\ndata: { token: { fromEnv: T }, ca: { fromFile: ca.pem }, x: plain }\n---\n\
                    kind: Stack\nvariables: { A: { fromEnv: A, secret: true }, fromEnv: no }\nimages: { x: { fromEnv: no } }\n\
                    ---\nkind: Hook\nsecret:\n  fromFile: s\n---\nkind: Notifier\nurl: { fromEnv: U }\n---\nkind: Environment\nx: { fromEnv: no }\n---\n{ not yaml\n";
        let names: Vec<String> =
            references(text).into_iter().map(|it| format!("{} {}", it.kind.field(), it.name)).collect();
        assert_eq!(names, ["fromEnv A", "fromEnv T", "fromEnv U", "fromFile ca.pem", "fromFile s"]);
    }
}
