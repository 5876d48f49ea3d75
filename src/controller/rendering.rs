//! What a version's files come to: the objects that would be asked of the engine, for people to read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::inquiries::{Answers, failed};
use super::pass::Pass;
use super::rendition::Rendition;
use crate::domain::{ConfigSpec, DeployJob, Masker, StackKey, Wanted};
use crate::ports::{InquiryError, RenderAnswer};

impl Answers {
    /// Renders a version, and shows what came out with secret values masked.
    pub(super) async fn render_now(
        &self,
        key: &StackKey,
        wanted: Option<&Wanted>,
        images: &BTreeMap<String, String>,
    ) -> Result<RenderAnswer, InquiryError> {
        let environment = self.environment(&key.environment)?;
        let mut pass = Pass::load(&self.shared, environment, key)
            .map_err(failed)?
            .ok_or_else(|| InquiryError::NotFound(format!("stack `{key}`")))?;
        let (deployment, rendition) = self.version(&mut pass, wanted, images).await?;
        let rendition = pass.named(&rendition).map_or(rendition, |named| Rendition::clone(&named));
        Ok(RenderAnswer {
            revision: deployment.version.revision.map(|revision| revision.0),
            digest: rendition.digest.to_string(),
            objects: objects(&rendition),
            warnings: rendition.warnings.clone(),
        })
    }
}

/// The objects by kind and name, in the engine's own shape. Of secrets only that they are there.
fn objects(rendition: &Rendition) -> Value {
    let (desired, masker) = (&rendition.desired, rendition.masker());
    let shown = |value: Result<Value, _>| masker.mask_json(&value.unwrap_or_default());
    let services: Map<String, Value> =
        desired.services.iter().map(|(name, it)| (name.clone(), shown(serde_json::to_value(&it.spec)))).collect();
    let jobs: Map<String, Value> = desired.jobs.iter().map(|(name, it)| (name.clone(), job(it, &masker))).collect();
    let networks: Map<String, Value> =
        desired.networks.iter().map(|(name, it)| (name.clone(), shown(serde_json::to_value(it)))).collect();
    let configs: Map<String, Value> =
        desired.configs.iter().map(|(name, it)| (name.clone(), config(it, &masker))).collect();
    let secrets: Map<String, Value> =
        desired.secrets.iter().map(|(name, it)| (name.clone(), json!({ "key": it.key }))).collect();
    json!({
        "services": services, "jobs": jobs, "networks": networks, "configs": configs, "secrets": secrets,
        "external": {
            "networks": desired.external_networks, "configs": desired.external_configs,
            "secrets": desired.external_secrets,
        },
    })
}

/// A job: when it runs, and its service.
fn job(it: &DeployJob, masker: &Masker) -> Value {
    let spec = masker.mask_json(&serde_json::to_value(&it.service.spec).unwrap_or_default());
    json!({ "when": it.when, "only": it.only, "deadline": it.deadline, "service": spec })
}

/// A config's content as text, where it is.
fn config(it: &ConfigSpec, masker: &Masker) -> Value {
    let text = std::str::from_utf8(&it.data).ok().map(|text| masker.mask(text));
    json!({ "key": it.key, "bytes": it.data.len(), "text": text })
}
