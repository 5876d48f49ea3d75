//! Every call that changes something.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::names::Stored;
use super::read::escape;
use super::session::Session;
use super::spec::Lookup;
use crate::domain::{
    Applied, ConfigSpec, Effect, Material, NAMESPACE_LABEL, NetworkSpec, ObjectKind, ObjectRef, STACK_LABEL,
    SecretSpec, ServiceSpec, VersionIndex,
};
use crate::ports::SwarmError;

/// What the engine says to a write.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireWritten {
    #[serde(alias = "ID", alias = "Id")]
    id: String,
    #[serde(rename = "Warning")]
    warning: Option<String>,
    #[serde(rename = "Warnings")]
    warnings: Option<Vec<String>>,
}

impl WireWritten {
    fn applied(self) -> Applied {
        let warnings = self.warnings.unwrap_or_default().into_iter().chain(self.warning);
        Applied { id: self.id, warnings: warnings.filter(|warning| !warning.is_empty()).collect() }
    }
}

/// A config or secret as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireNew<'a> {
    name: &'a str,
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<WireDriver<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templating: Option<WireDriver<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireDriver<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a BTreeMap<String, String>>,
}

/// A network as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireNewNetwork<'a> {
    #[serde(flatten)]
    spec: &'a NetworkSpec,
    /// Engines before API 1.44 make a second network of the same name without it; later ones do not look at it.
    check_duplicate: bool,
}

impl Session {
    /// Carries one effect out.
    pub(super) async fn apply(&self, effect: &Effect, material: &Material) -> Result<Applied, SwarmError> {
        let object = effect.object().to_string();
        match effect {
            Effect::CreateNetwork(spec) => self.create_network(spec, &object).await,
            Effect::CreateConfig(spec) => self.create_config(spec, &object).await,
            Effect::CreateSecret(spec) => self.create_secret(spec, material, &object).await,
            Effect::CreateService(spec) => self.write_service("/services/create", spec, &object).await,
            Effect::UpdateService { id, version: VersionIndex(version), spec } => {
                let path = format!("/services/{}/update?version={version}", escape(id));
                let applied = self.write_service(&path, spec, &object).await?;
                Ok(Applied { id: id.clone(), ..applied })
            }
            Effect::Remove { object: removed, id } => self.remove(removed, id, &object).await,
        }
    }

    async fn write(&self, path: &str, body: Bytes, object: &str) -> Result<Applied, SwarmError> {
        Ok(self.ask::<WireWritten>(Method::POST, path, Some(body), object).await?.applied())
    }

    fn encode(&self, value: &impl Serialize, object: &str) -> Result<Bytes, SwarmError> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| SwarmError::Refused { object: object.to_owned(), reason: error.to_string() })
    }

    async fn create_network(&self, spec: &NetworkSpec, object: &str) -> Result<Applied, SwarmError> {
        let body = self.encode(&WireNewNetwork { spec, check_duplicate: true }, object)?;
        match self.write("/networks/create", body, object).await {
            Ok(applied) => {
                self.names.add_network(&applied.id, &spec.name);
                Ok(applied)
            }
            Err(SwarmError::Exists { object, reason }) => Err(self.taken(spec, object, reason).await?),
            Err(error) => Err(error),
        }
    }

    /// What it means that a network's name is taken. Networks are removed with delay: a name may be taken by one that is
    /// on its way out, and this is no more than a reason to look again.
    async fn taken(&self, spec: &NetworkSpec, object: String, reason: String) -> Result<SwarmError, SwarmError> {
        let networks = self.networks().await?;
        let Some(holder) = networks.iter().find(|network| network.name == spec.name) else {
            return Ok(SwarmError::Conflict { object });
        };
        let ours = [STACK_LABEL, NAMESPACE_LABEL]
            .iter()
            .any(|label| spec.labels.get(*label).is_some_and(|stack| holder.labels.get(*label) == Some(stack)));
        let whose = if ours { "it carries this stack's label" } else { "it carries no label of this stack" };
        Ok(SwarmError::Exists { object, reason: format!("{reason}; {whose}") })
    }

    async fn create_config(&self, spec: &ConfigSpec, object: &str) -> Result<Applied, SwarmError> {
        let data = BASE64_STANDARD.encode(&spec.data);
        let new = WireNew {
            name: &spec.name,
            labels: &spec.labels,
            driver: None,
            templating: spec.templating.as_deref().map(|name| WireDriver { name, options: None }),
            data: Some(&data),
        };
        let applied = self.write("/configs/create", self.encode(&new, object)?, object).await?;
        self.names.add_stored(Stored::Config, &spec.name, &applied.id);
        Ok(applied)
    }

    async fn create_secret(&self, spec: &SecretSpec, material: &Material, object: &str) -> Result<Applied, SwarmError> {
        let refused = |reason: String| SwarmError::Refused { object: object.to_owned(), reason };
        let data = match (&spec.driver, material.0.get(&spec.name)) {
            (Some(_), _) => None,
            (None, Some(content)) => Some(Zeroizing::new(BASE64_STANDARD.encode(content.expose()))),
            (None, None) => return Err(refused("its content is not at hand, so there is nothing to send".to_owned())),
        };
        let data = data.as_ref().map(|data| data.as_str());
        let new = WireNew {
            name: &spec.name,
            labels: &spec.labels,
            driver: spec.driver.as_ref().map(|(name, options)| WireDriver { name, options: Some(options) }),
            templating: spec.templating.as_deref().map(|name| WireDriver { name, options: None }),
            data,
        };
        // Large enough from the start, so that no copy of the content is left behind by growing.
        let labels: usize = spec.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let mut body = Zeroizing::new(Vec::with_capacity(4096 + 2 * labels + data.map_or(0, str::len)));
        serde_json::to_writer(&mut *body, &new).map_err(|error| refused(error.to_string()))?;
        let applied = self.write("/secrets/create", Bytes::from_owner(body), object).await?;
        self.names.add_stored(Stored::Secret, &spec.name, &applied.id);
        Ok(applied)
    }

    /// Makes or changes a service. When the engine misses something it uses, an id we remembered may be out of date: then
    /// all ids are asked for anew, and if that changes anything, the call is made once more.
    async fn write_service(&self, path: &str, spec: &ServiceSpec, object: &str) -> Result<Applied, SwarmError> {
        if spec.name.is_empty() {
            let reason = "it has no name; the engine would make one up".to_owned();
            return Err(SwarmError::Refused { object: "a service".to_owned(), reason });
        }
        // Sent with each write, so that an update or a way back has it too. Without it the image may still be had.
        let (login, warning) = match self.login(&spec.task_template.container_spec.image) {
            Ok(login) => (login, None),
            Err(error) => (None, Some(format!("{object}: its image is pulled without a login: {error}"))),
        };
        let write = async |spec: &ServiceSpec| {
            let body = self.encode(spec, object)?;
            let mut applied = self.write_with_login::<WireWritten>(path, body, login.clone(), object).await?.applied();
            applied.warnings.extend(warning.clone());
            Ok(applied)
        };
        let remembered = self.with_ids(spec, Lookup::Remembered).await?;
        let refused = match write(&remembered).await {
            Err(error @ SwarmError::NotFound { .. }) => error,
            Err(SwarmError::Refused { object, reason }) if reason.contains("not found") => {
                SwarmError::Refused { object, reason }
            }
            result => return result,
        };
        let fresh = self.with_ids(spec, Lookup::Fresh).await?;
        if fresh == remembered {
            return Err(refused);
        }
        write(&fresh).await
    }

    async fn remove(&self, removed: &ObjectRef, id: &str, object: &str) -> Result<Applied, SwarmError> {
        let kind = match removed.kind {
            ObjectKind::Network => "networks",
            ObjectKind::Config => "configs",
            ObjectKind::Secret => "secrets",
            ObjectKind::Service => "services",
        };
        match self.request(Method::DELETE, &format!("/{kind}/{}", escape(id)), None, object).await {
            // What is gone is removed, whoever did it.
            Ok(_) | Err(SwarmError::NotFound { .. }) => {
                self.names.forget(id);
                Ok(Applied { id: String::new(), warnings: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }
}
