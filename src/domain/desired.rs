//! What the Swarm should hold for one version of a stack: fully rendered, nothing left to choose.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    ConfigSpec, DeployJob, Digest, Digester, ImageChoice, NetworkSpec, SecretBytes, SecretSpec, ServiceField,
    ServiceSpec, StackName,
};

/// The desired objects of one version, by real name. May hold secret values in service environments, so it is only ever
/// kept sealed, and only digested with the installation's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The stack's name.
    pub stack: StackName,
    /// Networks to be there.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Configs to be there.
    pub configs: BTreeMap<String, ConfigSpec>,
    /// Secrets to be there; their content is [`Material`].
    pub secrets: BTreeMap<String, SecretSpec>,
    /// Services to be there.
    pub services: BTreeMap<String, DesiredService>,
    /// Networks that must exist already, by real name.
    pub external_networks: BTreeSet<String>,
    /// Configs that must exist already.
    pub external_configs: BTreeSet<String>,
    /// Secrets that must exist already.
    pub external_secrets: BTreeSet<String>,
    /// Services that are written after others, by real name, with the names of those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<String, BTreeSet<String>>,
    /// Of those, the ones that have to run, or to have ended well, before the service is written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub awaits: BTreeMap<String, BTreeSet<String>>,
    /// Jobs that run before and after a deployment, by real name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<String, DeployJob>,
    /// Fields that somebody else owns, by the real name of the service, as pointers into its spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ignored: BTreeMap<String, BTreeSet<String>>,
}

/// A service to be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredService {
    /// The key in the compose file.
    pub key: String,
    /// The whole spec, without Skep's own labels. Boxed: a map keeps room for eleven values where it has one.
    pub spec: Box<ServiceSpec>,
}

impl Desired {
    /// A desired state that holds nothing.
    #[must_use]
    pub fn empty(stack: StackName) -> Self {
        Self {
            stack,
            networks: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            services: BTreeMap::new(),
            external_networks: BTreeSet::new(),
            external_configs: BTreeSet::new(),
            external_secrets: BTreeSet::new(),
            depends_on: BTreeMap::new(),
            awaits: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ignored: BTreeMap::new(),
        }
    }

    /// Takes up which more fields keep the values that others give them.
    pub fn ignore(&mut self, fields: &[ServiceField]) {
        for service in self.services.values() {
            let own = fields.iter().filter(|field| field.service == "*" || field.service == service.key);
            let paths: BTreeSet<String> = own.map(|field| field.path.clone()).collect();
            if !paths.is_empty() {
                self.ignored.entry(service.spec.name.clone()).or_default().extend(paths);
            }
        }
    }

    /// The keyed digest: two versions with equal digests are the same version.
    #[must_use]
    pub fn digest(&self, digester: &Digester) -> Digest {
        digester.digest_of(self)
    }

    /// Its services and its jobs.
    pub fn all_services(&self) -> impl Iterator<Item = &DesiredService> {
        self.services.values().chain(self.jobs.values().map(|job| &job.service))
    }

    /// Its services and its jobs, to be changed.
    pub fn all_services_mut(&mut self) -> impl Iterator<Item = &mut DesiredService> {
        self.services.values_mut().chain(self.jobs.values_mut().map(|job| &mut job.service))
    }

    /// The image of each service and job, by compose key.
    #[must_use]
    pub fn images(&self) -> Vec<ImageChoice> {
        self.all_services()
            .map(|service| {
                let image = &service.spec.task_template.container_spec.image;
                let (image, digest) = match image.split_once('@') {
                    Some((name, digest)) => (name.to_owned(), Some(digest.to_owned())),
                    None => (image.clone(), None),
                };
                ImageChoice { service: service.key.clone(), image, digest }
            })
            .collect()
    }
}

/// The content of secrets, by real name. Lives in memory, and sealed on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Material(pub BTreeMap<String, SecretBytes>);

/// What rendering gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The desired objects.
    pub desired: Desired,
    /// Contents of its secrets.
    pub material: Material,
    /// Remarks, with positions.
    pub warnings: Vec<Warning>,
}

/// A remark of the renderer: nothing is wrong enough to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// Line, from 1; 0 when not known.
    pub line: u64,
    /// Column, from 1; 0 when not known.
    pub column: u64,
    /// What it says, and the mend.
    pub message: String,
}
