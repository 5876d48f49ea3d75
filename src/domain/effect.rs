//! Every effect Skep can have on a Swarm, as data. A step leaves the one who carries it out no choice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConfigSpec, NetworkSpec, ObjectKind, ObjectRef, SecretSpec, ServiceSpec, VersionIndex};

/// What happens to an object, for people and for `diff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and made again.
    Recreate,
    /// It is removed.
    Remove,
    /// It is taken over.
    Adopt,
}

/// One difference inside an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// JSON pointer into the engine's spec, such as `/TaskTemplate/ContainerSpec/Image`.
    pub path: String,
    /// What is there now; `None` when nothing is.
    pub from: Option<serde_json::Value>,
    /// What will be there; `None` when nothing will.
    pub to: Option<serde_json::Value>,
}

/// A call to the engine that changes something.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make a network.
    CreateNetwork(NetworkSpec),
    /// Make a config.
    CreateConfig(ConfigSpec),
    /// Make a secret; its content comes with the call.
    CreateSecret(SecretSpec),
    /// Make a service.
    CreateService(ServiceSpec),
    /// Change a service that is at this version.
    UpdateService {
        /// Engine id.
        id: String,
        /// The version this was planned against; another one is a conflict.
        version: VersionIndex,
        /// The whole new spec.
        spec: ServiceSpec,
    },
    /// Change the labels of a config or secret that is at this version.
    Relabel {
        /// What it is.
        object: ObjectRef,
        /// Engine id.
        id: String,
        /// The version this was planned against; another one is a conflict.
        version: VersionIndex,
        /// All its labels from now on.
        labels: BTreeMap<String, String>,
    },
    /// No call at all: an object that is there is owned from now on.
    Own {
        /// What it is.
        object: ObjectRef,
        /// Engine id.
        id: String,
    },
    /// Remove an object by its engine id.
    Remove {
        /// What it is, for people.
        object: ObjectRef,
        /// Engine id.
        id: String,
    },
}

impl Effect {
    /// The object this is about.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::CreateNetwork(spec) => ObjectRef::new(ObjectKind::Network, &spec.name),
            Self::CreateConfig(spec) => ObjectRef::new(ObjectKind::Config, &spec.name),
            Self::CreateSecret(spec) => ObjectRef::new(ObjectKind::Secret, &spec.name),
            Self::CreateService(spec) | Self::UpdateService { spec, .. } => {
                ObjectRef::new(ObjectKind::Service, &spec.name)
            }
            Self::Remove { object, .. } | Self::Relabel { object, .. } | Self::Own { object, .. } => object.clone(),
        }
    }
}

/// What the engine said to an accepted effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The object's engine id (empty after a removal).
    pub id: String,
    /// Warnings the engine gave.
    pub warnings: Vec<String>,
}

/// One effect of a plan, with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is touched.
    pub object: ObjectRef,
    /// How.
    pub action: Action,
    /// Why, in one phrase.
    pub reason: String,
    /// The differences, for an update.
    pub changes: Vec<Change>,
    /// The call.
    pub effect: Effect,
}
