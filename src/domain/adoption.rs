//! What an adoption leaves behind: a person's word, and the names that configs and secrets had before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Actor, DeploymentId, Desired, Material};
use jiff::Timestamp;

/// An order to take over what `docker stack deploy` made under the stack's name. It stands until a version has converged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The deployment that was recorded with the order: once it or a later one has converged, the order is spent.
    pub deployment: DeploymentId,
    /// Make the secrets anew, under names of their own, in place of trusting those that are there.
    pub rotate_secrets: bool,
    /// Who asked.
    pub actor: Actor,
    /// When.
    pub since: Timestamp,
}

/// The names that adopted configs and secrets keep: by the name that their content would give them. A changed content has
/// another such name, so it is not found here and becomes an object of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdoptedNames {
    /// Of configs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, String>,
    /// Of secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

impl AdoptedNames {
    /// Whether no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configs.is_empty() && self.secrets.is_empty()
    }

    /// Gives the objects of a version their adopted names, wherever they are named. A second time changes nothing.
    pub fn give(&self, desired: &mut Desired, material: &mut Material) {
        rename(&mut desired.configs, &self.configs, |spec, name| spec.name = name);
        rename(&mut desired.secrets, &self.secrets, |spec, name| spec.name = name);
        rename(&mut material.0, &self.secrets, |_, _| {});
        for service in desired.all_services_mut() {
            let container = &mut service.spec.task_template.container_spec;
            for used in &mut container.configs {
                replace(&mut used.config_name, &self.configs);
            }
            for used in &mut container.secrets {
                replace(&mut used.secret_name, &self.secrets);
            }
            container.configs.sort_by(|a, b| a.config_name.cmp(&b.config_name));
            container.secrets.sort_by(|a, b| a.secret_name.cmp(&b.secret_name));
            let spec = container.privileges.as_mut().and_then(|all| all.pointer_mut("/CredentialSpec/Config"));
            if let Some(slot) = spec
                && let Some(name) = slot.as_str().and_then(|name| self.configs.get(name))
            {
                *slot = name.clone().into();
            }
        }
    }
}

fn replace(name: &mut String, names: &BTreeMap<String, String>) {
    if let Some(adopted) = names.get(name) {
        name.clone_from(adopted);
    }
}

fn rename<T>(objects: &mut BTreeMap<String, T>, names: &BTreeMap<String, String>, set: impl Fn(&mut T, String)) {
    for (content, adopted) in names {
        if let Some(mut object) = objects.remove(content) {
            set(&mut object, adopted.clone());
            objects.insert(adopted.clone(), object);
        }
    }
}
