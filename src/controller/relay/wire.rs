//! Records on their way between two Skeps: secret values beside them, names of environments translated, and what a newer
//! Skep says kept away from the typed records.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::domain::{Deployment, EnvironmentName, StackSpec, Variable, VersionSource};
use crate::ports::{Clear, SealError, Sealer};

/// What is shown of a secret whose value is not known here.
const HIDDEN: &str = "***";

/// Takes the secret values out of a spec and puts them beside it.
///
/// # Errors
/// [`SealError`] when one cannot be opened.
pub(super) fn take_secrets(
    spec: &mut StackSpec,
    sealer: &dyn Sealer,
    secrets: &mut BTreeMap<String, Clear>,
) -> Result<(), SealError> {
    for variable in spec.variables.values_mut() {
        if let Variable::Secret(sealed) = variable {
            if !secrets.contains_key(sealed.digest.as_str()) {
                secrets.insert(sealed.digest.as_str().to_owned(), Clear(sealer.open(sealed)?));
            }
            sealed.sealed.clear();
        }
    }
    Ok(())
}

/// Calls an environment by its other name, wherever a spec names it.
pub(super) fn rename(spec: &mut StackSpec, from: &EnvironmentName, to: &EnvironmentName) {
    for dependency in &mut spec.depends_on {
        if dependency.stack.environment == *from {
            dependency.stack.environment = to.clone();
        }
    }
}

/// Puts the values that are known here under the same names in the place of secrets that were not told.
fn known_secrets(spec: &mut StackSpec, known: Option<&StackSpec>) {
    for (name, variable) in &mut spec.variables {
        if matches!(variable, Variable::Secret(_)) {
            *variable = match known.and_then(|known| known.variables.get(name)) {
                Some(secret @ Variable::Secret(_)) => secret.clone(),
                _ => Variable::Plain(HIDDEN.to_owned()),
            };
        }
    }
}

/// A deployment as it is told there, as the record of the same one here: what was asked stays as it was asked.
pub(super) fn merged(
    mut told: Deployment,
    known: Option<&Deployment>,
    declared: Option<&StackSpec>,
    (from, to): (&EnvironmentName, &EnvironmentName),
) -> Deployment {
    told.stack.environment = to.clone();
    told.handed = known.and_then(|known| known.handed.clone());
    if let VersionSource::Spec(spec) = &mut told.version.source {
        rename(spec, from, to);
        known_secrets(spec, declared);
    }
    if let Some(known) = known {
        told.origin = known.origin.clone();
        told.created_at = known.created_at;
        if matches!((&known.version.source, &told.version.source), (VersionSource::Spec(_), VersionSource::Spec(_))) {
            told.version.source = known.version.source.clone();
        }
    }
    told
}

/// A deployment from its JSON; what this version does not understand of it is as it was known, or left out.
pub(super) fn deployment(told: &Value, known: Option<&Deployment>) -> Option<Deployment> {
    if let Ok(read) = serde_json::from_value(told.clone()) {
        return Some(read);
    }
    match known {
        Some(known) => forgiving(known, told),
        None => {
            let bare = json!({
                "id": told.get("id")?, "stack": told.get("stack")?, "generation": told.get("generation")?,
                "created_at": told.get("created_at")?,
                "origin": { "trigger": "Api", "actor": { "name": "unknown" }, "reason": null,
                            "original_request": null, "mapped_request": null },
                "version": told.get("version")?, "phase": "Verifying", "message": null, "failure": null,
                "rollback_of": null, "rolled_back_by": null, "kept": null, "progress": null, "warnings": [],
                "finished_at": null,
            });
            forgiving(&serde_json::from_value::<Deployment>(bare).ok()?, told)
        }
    }
}

/// `told` as far as this version understands it, and for the rest `base`. Of a list, what is understood of it.
pub(super) fn forgiving<T: Serialize + DeserializeOwned>(base: &T, told: &Value) -> Option<T> {
    if let Ok(read) = serde_json::from_value(told.clone()) {
        return Some(read);
    }
    let mut whole = serde_json::to_value(base).ok()?;
    let reads = |value: &Value| serde_json::from_value::<T>(value.clone()).is_ok();
    for (name, value) in told.as_object()? {
        let with = |value: Value| {
            let mut tried = whole.clone();
            if let Some(fields) = tried.as_object_mut() {
                fields.insert(name.clone(), value);
            }
            tried
        };
        let tried = with(value.clone());
        if reads(&tried) {
            whole = tried;
        } else if let Some(items) = value.as_array() {
            let kept = items.iter().filter(|item| reads(&with(Value::Array(vec![(*item).clone()])))).cloned();
            let tried = with(Value::Array(kept.collect()));
            if reads(&tried) {
                whole = tried;
            }
        }
    }
    tracing::debug!("another Skep uses words that this version does not know; they are left out");
    serde_json::from_value(whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConditionType, StackStatus};

    fn condition(kind: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": "True", "reason": reason, "message": "m", "observed_generation": 3,
                "since": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn words_of_a_newer_skep_are_left_out_and_nothing_else_is() {
        let mut told = serde_json::to_value(StackStatus::default()).unwrap();
        told["observed_generation"] = json!(3);
        told["conditions"] = json!([condition("Ready", "Moonlit"), condition("Healthy", "Succeeded")]);
        told["target"] = json!({ "kind": "Somewhere", "version": null });
        told["moon"] = json!("full");
        let read: StackStatus = forgiving(&StackStatus::default(), &told).unwrap();
        assert_eq!(read.observed_generation, 3);
        assert_eq!(read.conditions.iter().map(|it| it.kind).collect::<Vec<_>>(), [ConditionType::Healthy]);
        assert_eq!(read.target, None);
        assert_eq!(forgiving(&StackStatus::default(), &json!("nothing")), None::<StackStatus>);
    }

    #[test]
    fn a_phase_that_is_not_known_leaves_the_one_that_was() {
        let version = json!({ "source": { "Kept": "a" }, "revision": null, "images": [], "digest": null });
        let told = json!({
            "id": "b", "stack": { "environment": "default", "name": "shop" }, "generation": 2, "phase": "Pondering",
            "version": version, "created_at": "2026-01-01T00:00:00Z", "message": "it ponders",
        });
        let read = deployment(&told, None).unwrap();
        assert_eq!((read.id.as_str(), read.message.as_deref()), ("b", Some("it ponders")));
        let known = Deployment { phase: crate::domain::DeploymentPhase::Applying, ..read };
        assert_eq!(deployment(&told, Some(&known)).unwrap().phase, crate::domain::DeploymentPhase::Applying);
        assert_eq!(deployment(&json!({ "id": "c" }), None), None);
    }

    #[test]
    fn what_was_asked_stays_as_it_was_asked() {
        let version = json!({ "source": { "Kept": "a" }, "revision": null, "images": [], "digest": null });
        let told = json!({
            "id": "b", "stack": { "environment": "there", "name": "shop" }, "generation": 2,
            "version": version, "created_at": "2026-01-01T00:00:00Z",
        });
        let told = deployment(&told, None).unwrap();
        let (there, here) = (EnvironmentName::parse("there").unwrap(), EnvironmentName::parse("here").unwrap());
        let mut known = told.clone();
        known.origin.actor.name = "ada".into();
        let merged = merged(told, Some(&known), None, (&there, &here));
        assert_eq!((merged.stack.environment, merged.origin.actor.name.as_str()), (here, "ada"));
    }
}
