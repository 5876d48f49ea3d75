//! What ids stand for: the engine speaks of networks, configs and secrets by id, the model by name.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::{LiveNetwork, TaskSpec};

/// The most ids kept that are in no listing.
const MOST_OTHERS: usize = 4096;

/// Names by id and ids by name, as last heard. Ids are never used again, so an entry can be out of date but not wrong.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<Maps>);

#[derive(Debug, Default)]
struct Maps {
    networks: HashMap<String, String>,
    /// Networks that no listing holds: the predefined ones (`host`, `bridge`), and those that are gone.
    others: HashMap<String, String>,
    configs: HashMap<String, String>,
    secrets: HashMap<String, String>,
    /// Services that are jobs, by id; whether their tasks have slots.
    jobs: HashMap<String, bool>,
}

/// Configs and secrets are alike here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Config,
    Secret,
}

impl Names {
    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All networks, as just listed.
    pub(super) fn set_networks<'a>(&self, networks: impl IntoIterator<Item = &'a LiveNetwork>) {
        let map = networks.into_iter().map(|network| (network.id.clone(), network.name.clone())).collect();
        self.write().networks = map;
    }

    /// A network that was just made.
    pub(super) fn add_network(&self, id: &str, name: &str) {
        self.write().networks.insert(id.to_owned(), name.to_owned());
    }

    /// A network that no listing holds.
    pub(super) fn add_other(&self, id: &str, name: &str) {
        let mut maps = self.write();
        if maps.others.len() >= MOST_OTHERS {
            maps.others.clear();
        }
        maps.others.insert(id.to_owned(), name.to_owned());
    }

    /// The ids of these tasks' networks that stand for nothing known.
    pub(super) fn unknown<'a>(&self, specs: impl IntoIterator<Item = &'a TaskSpec>) -> BTreeSet<String> {
        let maps = self.read();
        let targets = specs.into_iter().flat_map(|spec| &spec.networks).map(|network| &network.target);
        targets.filter(|id| !maps.networks.contains_key(*id) && !maps.others.contains_key(*id)).cloned().collect()
    }

    /// Puts names where the engine has ids, and takes the ids of configs and secrets out.
    pub(super) fn put_into(&self, spec: &mut TaskSpec) {
        let maps = self.read();
        for network in &mut spec.networks {
            if let Some(name) = maps.networks.get(&network.target).or_else(|| maps.others.get(&network.target)) {
                network.target.clone_from(name);
            }
        }
        let container = &mut spec.container_spec;
        if let Some(slot) = credential_config(&mut container.privileges) {
            let used = container.configs.iter().find(|config| slot.as_str() == Some(config.config_id.as_str()));
            if let Some(config) = used {
                *slot = config.config_name.clone().into();
            }
        }
        for config in &mut container.configs {
            config.config_id.clear();
        }
        for secret in &mut container.secrets {
            secret.secret_id.clear();
        }
    }

    /// The id of a network: of several with one name, the first by id, as snapshots have it.
    pub(super) fn network_id(&self, name: &str) -> Option<String> {
        self.read().networks.iter().filter(|(_, known)| *known == name).map(|(id, _)| id.clone()).min()
    }

    /// All configs or secrets (name, id), as just listed.
    pub(super) fn set_stored<'a>(&self, kind: Stored, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let map = pairs.into_iter().map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        match kind {
            Stored::Config => self.write().configs = map,
            Stored::Secret => self.write().secrets = map,
        }
    }

    /// A config or secret that was just made or looked up.
    pub(super) fn add_stored(&self, kind: Stored, name: &str, id: &str) {
        let mut maps = self.write();
        let map = match kind {
            Stored::Config => &mut maps.configs,
            Stored::Secret => &mut maps.secrets,
        };
        map.insert(name.to_owned(), id.to_owned());
    }

    /// The id of a config or secret.
    pub(super) fn stored_id(&self, kind: Stored, name: &str) -> Option<String> {
        let maps = self.read();
        match kind {
            Stored::Config => maps.configs.get(name).cloned(),
            Stored::Secret => maps.secrets.get(name).cloned(),
        }
    }

    /// An object that is gone.
    pub(super) fn forget(&self, id: &str) {
        let mut maps = self.write();
        maps.networks.remove(id);
        maps.configs.retain(|_, known| known != id);
        maps.secrets.retain(|_, known| known != id);
        maps.jobs.remove(id);
    }

    /// All services that are jobs, as just listed, and whether their tasks have slots.
    pub(super) fn set_jobs(&self, jobs: impl IntoIterator<Item = (String, bool)>) {
        self.write().jobs = jobs.into_iter().collect();
    }

    /// A service that is a job, or is gone, and whether its tasks have slots.
    pub(super) fn add_job(&self, id: &str, slots: bool) {
        self.write().jobs.insert(id.to_owned(), slots);
    }

    /// Whether the tasks of this job have slots, if that is known.
    pub(super) fn job_has_slots(&self, id: &str) -> Option<bool> {
        self.read().jobs.get(id).copied()
    }
}

/// Where the privileges of a container say which config holds its Windows account: a name in the model, an id to the
/// engine. That config is among the container's too.
pub(super) fn credential_config(privileges: &mut Option<serde_json::Value>) -> Option<&mut serde_json::Value> {
    let slot = privileges.as_mut()?.pointer_mut("/CredentialSpec/Config")?;
    slot.as_str().is_some_and(|text| !text.is_empty()).then_some(slot)
}
