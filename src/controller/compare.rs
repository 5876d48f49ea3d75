//! Where two versions differ, as they were rendered then: neither git nor the engine is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::inquiries::{Answers, failed};
use super::rendition::Rendition;
use crate::domain::{Action, Change, DeploymentId, Masker, ObjectKind, ServiceSpec, Source as Where, VersionSource};
use crate::plan::{changes, differences};
use crate::ports::{CommitInfo, CompareAnswer, InquiryError, StepAnswer};

/// A rollback brings back what another deployment kept, which may have been a rollback itself: so many are followed.
const KEPT_OF_KEPT: usize = 8;
/// A commit's author is worth no more time than this.
const PATIENCE: Duration = Duration::from_secs(3);

impl Answers {
    /// What became different from one deployment's version to another's.
    pub(super) fn compare_now(&self, from: &DeploymentId, to: &DeploymentId) -> Result<CompareAnswer, InquiryError> {
        Ok(compare(&self.kept_with(from)?, &self.kept_with(to)?))
    }

    /// What was kept with a deployment.
    fn kept_with(&self, id: &DeploymentId) -> Result<Rendition, InquiryError> {
        let mut at = id.clone();
        for _ in 0..KEPT_OF_KEPT {
            let found = self.shared.ledger.deployment(&at).map_err(failed)?;
            let deployment = found.ok_or_else(|| InquiryError::NotFound(format!("deployment `{at}`")))?.value;
            match (deployment.kept, deployment.version.source) {
                (Some(kept), _) => return self.shared.renderer.kept(&kept).map_err(failed),
                (None, VersionSource::Kept(earlier)) => at = earlier,
                (None, VersionSource::Spec(_)) => break,
            }
        }
        Err(failed(format!("deployment `{id}` was left before its files were rendered: there is nothing to compare")))
    }

    /// The commit of a deployment, if the local copy of its repository has it.
    pub(super) async fn commit_now(&self, id: &DeploymentId) -> Result<Option<CommitInfo>, InquiryError> {
        let mut at = id.clone();
        for _ in 0..KEPT_OF_KEPT {
            let Some(deployment) = self.shared.ledger.deployment(&at).map_err(failed)? else { return Ok(None) };
            match deployment.value.version.source {
                VersionSource::Kept(earlier) => at = earlier,
                VersionSource::Spec(spec) => {
                    let (Where::Git(git), Some(revision)) = (&spec.source, &deployment.value.version.revision) else {
                        return Ok(None);
                    };
                    let commit = self.shared.renderer.commit(git, revision);
                    return Ok(tokio::time::timeout(PATIENCE, commit).await.ok().flatten());
                }
            }
        }
        Ok(None)
    }
}

/// An object of a version, as it is compared.
struct Thing<'v> {
    /// Its real name.
    name: &'v str,
    form: Form<'v>,
}

enum Form<'v> {
    Service(&'v ServiceSpec),
    Other(Value),
}

impl Form<'_> {
    fn changes_to(&self, other: &Self) -> Vec<Change> {
        match (self, other) {
            (Self::Service(from), Self::Service(to)) => changes(from, to),
            (Self::Other(from), Self::Other(to)) => differences(from, to),
            _ => Vec::new(),
        }
    }
}

/// The objects by kind and by what they are called in the file: new content gives configs and secrets new real names.
fn things(of: &Rendition) -> BTreeMap<(ObjectKind, &str), Thing<'_>> {
    let it = &of.desired;
    let mut things = BTreeMap::new();
    for (name, network) in &it.networks {
        let form = Form::Other(serde_json::to_value(network).unwrap_or_default());
        things.insert((ObjectKind::Network, name.as_str()), Thing { name, form });
    }
    for (name, config) in &it.configs {
        let text = String::from_utf8_lossy(&config.data);
        let form = Form::Other(json!({ "Data": text, "Labels": config.labels, "Templating": config.templating }));
        things.insert((ObjectKind::Config, config.key.as_str()), Thing { name, form });
    }
    for (name, secret) in &it.secrets {
        // Its real name holds a keyed digest of what is in it: all that may be told.
        let form = Form::Other(json!({ "Name": name, "Labels": secret.labels, "Templating": secret.templating }));
        things.insert((ObjectKind::Secret, secret.key.as_str()), Thing { name, form });
    }
    for service in it.all_services() {
        let (name, form) = (service.spec.name.as_str(), Form::Service(&service.spec));
        things.insert((ObjectKind::Service, service.key.as_str()), Thing { name, form });
    }
    things
}

fn compare(from: &Rendition, to: &Rendition) -> CompareAnswer {
    // What is secret in one of them is shown of neither.
    let secrets = |of: &'_ Rendition| of.secrets.iter().chain(of.material.0.values()).cloned().collect::<Vec<_>>();
    let masker = Masker::new(&[secrets(from), secrets(to)].concat());
    let (before, after) = (things(from), things(to));
    let mut answer = CompareAnswer::default();
    let mut step = |kind, name: &str, action, reason: &str, changes: Vec<Change>| {
        let mask = |value: Option<Value>| value.map(|value| masker.mask_json(&value));
        let changes = changes.into_iter().map(|it| Change { path: it.path, from: mask(it.from), to: mask(it.to) });
        let (name, reason) = (name.to_owned(), reason.to_owned());
        answer.steps.push(StepAnswer {
            kind,
            name,
            action,
            reason,
            changes: changes.collect(),
            wave: None,
            waits_for: Vec::new(),
        });
    };
    let mut unchanged = 0;
    for (key, thing) in &after {
        match before.get(key) {
            None => step(key.0, thing.name, Action::Create, "only the second version has it", Vec::new()),
            Some(old) => match old.form.changes_to(&thing.form) {
                changes if changes.is_empty() => unchanged += 1,
                changes => step(key.0, thing.name, Action::Update, "it differs", changes),
            },
        }
    }
    for (key, thing) in before.iter().filter(|(key, _)| !after.contains_key(key)) {
        step(key.0, thing.name, Action::Remove, "only the first version has it", Vec::new());
    }
    answer.unchanged = unchanged;
    answer
}
