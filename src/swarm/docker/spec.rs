//! The way of a service's spec to the engine: ids where the model has names.

use std::collections::BTreeSet;

use super::names::{Stored, credential_config};
use super::read::filters;
use super::session::Session;
use super::wire::{WireConfig, WireSecret};
use crate::domain::ServiceSpec;
use crate::ports::SwarmError;

/// Where ids come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// From what was heard before; what is missing is asked for.
    Remembered,
    /// All are asked for anew, and networks are left for the engine to find.
    Fresh,
}

impl Session {
    /// The spec as the engine takes it.
    ///
    /// Networks keep their name when their id is not known: the engine takes both, but of two networks with one name it
    /// wants the id. Configs and secrets must have their id.
    pub(super) async fn with_ids(&self, spec: &ServiceSpec, lookup: Lookup) -> Result<ServiceSpec, SwarmError> {
        let mut spec = spec.clone();
        let container = &mut spec.task_template.container_spec;
        let configs = container.configs.iter().filter(|config| config.config_id.is_empty());
        self.learn(Stored::Config, configs.map(|config| config.config_name.as_str()), lookup).await?;
        let secrets = container.secrets.iter().filter(|secret| secret.secret_id.is_empty());
        self.learn(Stored::Secret, secrets.map(|secret| secret.secret_name.as_str()), lookup).await?;

        for config in container.configs.iter_mut().filter(|config| config.config_id.is_empty()) {
            config.config_id = self.id_of(Stored::Config, &config.config_name)?;
        }
        if let Some(slot) = credential_config(&mut container.privileges) {
            let used = container.configs.iter().find(|config| slot.as_str() == Some(config.config_name.as_str()));
            if let Some(config) = used {
                *slot = config.config_id.clone().into();
            }
        }
        for secret in container.secrets.iter_mut().filter(|secret| secret.secret_id.is_empty()) {
            secret.secret_id = self.id_of(Stored::Secret, &secret.secret_name)?;
        }
        if lookup == Lookup::Remembered {
            for network in &mut spec.task_template.networks {
                if let Some(id) = self.names.network_id(&network.target) {
                    network.target = id;
                }
            }
        }
        Ok(spec)
    }

    fn id_of(&self, kind: Stored, name: &str) -> Result<String, SwarmError> {
        self.names.stored_id(kind, name).ok_or_else(|| {
            let object = match kind {
                Stored::Config => format!("config `{name}`"),
                Stored::Secret => format!("secret `{name}`"),
            };
            SwarmError::NotFound { object, reason: "the service uses it, and the Swarm does not have it".to_owned() }
        })
    }

    /// Asks for the ids of these, as far as they are not known: one call.
    async fn learn(&self, kind: Stored, names: impl Iterator<Item = &str>, lookup: Lookup) -> Result<(), SwarmError> {
        let unknown: BTreeSet<&str> =
            names.filter(|name| lookup == Lookup::Fresh || self.names.stored_id(kind, name).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<&str> = unknown.into_iter().collect();
        // Engines match the beginning of a name: what comes too much is remembered as well.
        let query = filters(&[("name", &unknown)]);
        match kind {
            Stored::Config => {
                for config in self.read_list::<WireConfig>(&format!("/configs?filters={query}")).await? {
                    self.names.add_stored(kind, &config.name, &config.id);
                }
            }
            Stored::Secret => {
                for secret in self.read_list::<WireSecret>(&format!("/secrets?filters={query}")).await? {
                    self.names.add_stored(kind, &secret.name, &secret.id);
                }
            }
        }
        Ok(())
    }
}
