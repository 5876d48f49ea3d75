//! Networks, configs and secrets as Skep makes them, their labels and names, and the inventory of what a stack owns.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, StackName};

/// Docker's own label that makes objects a stack.
pub const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// Docker's own label with the image as it was written.
pub const IMAGE_LABEL: &str = "com.docker.stack.image";
/// The prefix of every label of Skep's own. They stand on the object alone, never in a container spec.
pub const LABEL_PREFIX: &str = "dev.skep.";
/// The installation that made the object.
pub const INSTANCE_LABEL: &str = "dev.skep.instance";
/// The stack, as `environment/name`.
pub const STACK_LABEL: &str = "dev.skep.stack";
/// Keyed digest of the desired object.
pub const SPEC_LABEL: &str = "dev.skep.spec";
/// The commit that last changed this object.
pub const REVISION_LABEL: &str = "dev.skep.revision";
/// The deployment that last changed this object.
pub const DEPLOYMENT_LABEL: &str = "dev.skep.deployment";

/// On the service of one run of a job before or after a deployment: `pre` or `post`.
pub const HOOK_LABEL: &str = "dev.skep.hook";

/// Says `true` on an object that is never to be removed by Skep.
pub const PROTECT_LABEL: &str = "dev.skep.protect";

/// The kinds of objects a stack owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as Docker has them")]
pub enum ObjectKind {
    Network,
    Config,
    Secret,
    Service,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Config => "config",
            Self::Secret => "secret",
            Self::Service => "service",
        })
    }
}

/// An object by kind and real name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its real name on the Swarm.
    pub name: String,
}

impl ObjectRef {
    /// A reference to `name` of this kind.
    pub fn new(kind: ObjectKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// What is known of an object a stack owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// Its engine id; `None` while a create was sent and its answer is not known.
    pub id: Option<String>,
    /// Digest of the desired object as last applied.
    pub digest: Digest,
    /// When this entry last changed.
    pub since: Timestamp,
}

/// Everything a stack owns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inventory(#[serde(with = "entries")] pub BTreeMap<ObjectRef, InventoryEntry>);

/// JSON has no maps with structured keys: the inventory is written as a list of pairs.
mod entries {
    use super::{BTreeMap, InventoryEntry, ObjectRef};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<ObjectRef, InventoryEntry>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ObjectRef, InventoryEntry>, D::Error> {
        Ok(Vec::<(ObjectRef, InventoryEntry)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The option of a network in which the overlay driver itself notes its tunnels.
pub const TUNNELS_OPTION: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// A network to be made. `driver` is what the compose file says, or `overlay`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the Engine API documents them under the same names")]
pub struct NetworkSpec {
    pub name: String,
    pub driver: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    #[serde(default)]
    pub internal: bool,
    #[serde(default)]
    pub attachable: bool,
    #[serde(rename = "EnableIPv6", default)]
    pub enable_ipv6: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `{Driver, Config: [{Subnet, …}], Options}` as the API takes it, if the file has one.
    #[serde(rename = "IPAM", default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<serde_json::Value>,
}

/// A config to be made. `name` holds the digest of the content (see [`content_name`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigSpec {
    /// Real name.
    pub name: String,
    /// The key in the compose file.
    pub key: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The content, base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
    /// `golang`, when the engine is to expand the content as a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templating: Option<String>,
}

/// A secret to be made. The content is never here: it travels as [`super::Material`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecretSpec {
    /// Real name, with the keyed digest of the content.
    pub name: String,
    /// The key in the compose file.
    pub key: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `golang`, when the engine is to expand the content as a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templating: Option<String>,
    /// An external secret driver: `(name, options)`. Such a secret has no content of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<(String, BTreeMap<String, String>)>,
}

/// The longest name Swarm takes for a config or secret.
const LONGEST_NAME: usize = 64;

/// `<stack>_<key>_<first 12 hex of the digest>`, the key cut so that the whole has at most 64 characters.
#[must_use]
pub fn content_name(stack: &StackName, key: &str, digest: &Digest) -> String {
    let room = LONGEST_NAME.saturating_sub(stack.as_str().len() + 2 + digest.short().len());
    let mut end = key.len().min(room);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    format!("{stack}_{}_{}", &key[..end], digest.short())
}

mod base64_bytes {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_name_fits_into_64_characters_and_keeps_its_digest() {
        let stack = StackName::parse(&"s".repeat(40)).unwrap_or_else(|error| panic!("{error}"));
        let digest = Digest::of(b"x");
        let name = content_name(&stack, &"k".repeat(40), &digest);
        assert_eq!(name.len(), 64);
        assert!(name.ends_with(digest.short()));
    }

    #[test]
    fn an_inventory_survives_being_written() {
        let mut inventory = Inventory::default();
        let entry = InventoryEntry { id: None, digest: Digest::of(b""), since: Timestamp::UNIX_EPOCH };
        inventory.0.insert(ObjectRef::new(ObjectKind::Service, "a_b"), entry);
        let text = serde_json::to_string(&inventory).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Inventory>(&text).ok(), Some(inventory));
    }
}
