//! `deploy`: a desired version, written into the spec.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::catalog_care::not_catalogs_fields;
use super::three_way::{differences, leaves, shown};
use super::write::{Decision, Found, not_deleting};
use super::{Ask, Code, Declare, DeclareError, Declared, Refusal, check};
use crate::domain::{
    Access, EventType, ImageWish, SecretBytes, Source, Stack, StackKey, StackSpec, Trigger, Variable, Wanted,
};

/// The value of a variable as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableValue {
    /// The text.
    pub value: SecretBytes,
    /// Seal it. A variable that is secret already stays so in any case.
    pub secret: bool,
}

/// The version to be deployed. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeployRequest {
    /// A branch, a tag, a commit, or a range over tags.
    pub wanted: Option<String>,
    /// A tag, a digest or a whole image by service.
    pub images: BTreeMap<String, String>,
    /// Values of variables by name.
    pub variables: BTreeMap<String, VariableValue>,
}

impl DeployRequest {
    /// Whether it names a version: that ends a pin.
    fn is_explicit(&self) -> bool {
        self.wanted.is_some() || !self.images.is_empty()
    }

    /// Whether it is about what a ref stands at now: it names one, or nothing at all, which is the declared one.
    fn is_about_the_ref(&self) -> bool {
        self.wanted.is_some() || *self == Self::default()
    }

    fn to_json(&self, value: impl Fn(&VariableValue) -> Value) -> Value {
        let variables: serde_json::Map<String, Value> =
            self.variables.iter().map(|(name, it)| (name.clone(), value(it))).collect();
        json!({ "ref": self.wanted, "images": self.images, "variables": variables })
    }
}

impl Declare {
    /// Writes the desired version into the spec and records its deployment.
    ///
    /// - An explicit version (ref or images) ends a pin.
    /// - A ref that may have moved gets a new deployment also when it is the declared one, by its name or because nothing
    ///   else is named: what it stands at now is that deployment's, so that whoever waits for it waits for that version. One
    ///   that is held is tried again; one that is under way makes room for it, as for any newer one.
    /// - Where else nothing changes there is no new generation and no new deployment: the answer is the stack's current one,
    ///   and the source is looked at again, so that a branch that moved is followed at once. A version that is held stays
    ///   held: [`Declare::release_hold`] tries it again. The same is done for a hook.
    /// - Where nothing changes but a pin ends, the current spec gets a new deployment, so that it flows.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack, another generation, an idempotency key used for another request, a ref
    /// for an inline stack, a value that makes no sense.
    pub async fn deploy(&self, key: &StackKey, request: &DeployRequest, ask: &Ask) -> Result<Declared, DeclareError> {
        let wanted = self.check_deploy(request)?;
        let clear = request.to_json(|it| json!([it.value.expose_text(), it.secret]));
        let whole = json!({ "deploy": clear, "stack": key });
        self.change(key, (ask, Access::Deploy), &whole, |found| {
            self.decide_deploy(found, request, wanted.as_deref(), ask)
        })
        .await
    }

    pub(super) fn check_deploy(&self, request: &DeployRequest) -> Result<Option<String>, DeclareError> {
        let mut refusals = Vec::new();
        let mut refuse = |field: String, message: String| {
            refusals.push(Refusal::new(Code::Invalid, message).field(field));
        };
        let wanted = request
            .wanted
            .as_deref()
            .and_then(|wanted| check::wanted(wanted).map_err(|message| refuse("ref".to_owned(), message)).ok());
        for (service, version) in &request.images {
            if let Err(message) = check::service(service).and_then(|()| check::image(version)) {
                refuse(format!("images.{service}"), message);
            }
        }
        for (name, value) in &request.variables {
            if let Err(message) = check::variable(name) {
                refuse(format!("variables.{name}"), message);
            } else if value.value.expose_text().is_none() {
                refuse(format!("variables.{name}"), format!("the value of `{name}` is not text"));
            } else if value.value.expose().len() > self.limits.value_bytes {
                let most = self.limits.value_bytes;
                refuse(format!("variables.{name}"), format!("the value of `{name}` is larger than {most} bytes"));
            }
        }
        if refusals.is_empty() { Ok(wanted) } else { Err(DeclareError::Refused(refusals)) }
    }

    pub(super) fn decide_deploy(
        &self,
        found: Found,
        request: &DeployRequest,
        wanted: Option<&str>,
        ask: &Ask,
    ) -> Result<Decision, DeclareError> {
        let mut stack = found.stack;
        not_deleting(&stack)?;
        let digester = self.sealer.digester();
        let before = leaves(&stack.spec, &digester);
        self.set_version(&mut stack.spec, request, wanted, &stack.key)?;
        let changes = differences(&before, &leaves(&stack.spec, &digester));
        not_catalogs_fields(&stack, &changes)?;
        let unpins = request.is_explicit() && stack.control.pin.is_some();
        let moves = matches!(&stack.spec.source, Source::Git(git) if !git.wanted.is_commit());
        // Behind a pin there is nothing to wait for.
        let flows = request.is_explicit() || stack.control.pin.is_none();
        let afresh = moves && flows && request.is_about_the_ref() && ask.trigger != Trigger::Hook;
        if changes.is_empty() && !unpins && !afresh {
            return Ok(self.look_again(stack));
        }
        let mut events = Vec::new();
        if unpins {
            stack.control.pin = None;
            events.push((EventType::Unpinned, "an explicit version ends the pin".to_owned()));
        }
        if !changes.is_empty() {
            stack.generation += if planted!("a change is no new generation") { 0 } else { 1 };
            stack.updated_at = self.now();
            let message = format!("generation {} changes {}", stack.generation, changes.join(", "));
            events.push((EventType::StackChanged, message));
        }
        let masked = request.to_json(|_| "***".into());
        let original = original(request, &stack, masked);
        let mut mapped = json!({
            "deploy": {
                "stack": stack.key.name,
                "environment": stack.key.environment,
                "changes": changes,
                "spec": shown(&stack.spec),
            }
        });
        if afresh {
            mapped["deploy"]["afresh"] = true.into();
        }
        let deployment = self.deployment_of(&stack, ask, original, mapped);
        stack.deployment = deployment.id.clone();
        events.push((EventType::DeploymentCreated, format!("deployment {} was recorded", deployment.id)));
        Ok(Decision::write(stack, Some(deployment), events))
    }

    fn set_version(
        &self,
        spec: &mut StackSpec,
        request: &DeployRequest,
        wanted: Option<&str>,
        key: &StackKey,
    ) -> Result<(), DeclareError> {
        if let Some(wanted) = wanted {
            let Source::Git(git) = &mut spec.source else {
                let message = format!("stack `{}` is declared inline: there is no ref to deploy", key.name);
                let hint = "set images, or apply its manifest with the new text";
                return Err(Refusal::new(Code::Invalid, message).field("ref").hint(hint).into());
            };
            git.wanted = Wanted(wanted.to_owned());
        }
        for (service, version) in &request.images {
            spec.images.insert(service.clone(), ImageWish::Named(version.clone()));
        }
        for (name, given) in &request.variables {
            let secret = given.secret || matches!(spec.variables.get(name), Some(Variable::Secret(_)));
            let value = match given.value.expose_text() {
                Some(text) if !secret => Variable::Plain(text.to_owned()),
                _ => Variable::Secret(self.sealer.seal(given.value.expose())?),
            };
            spec.variables.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Nothing changes in the spec; a branch may have moved, though, or an image that is followed.
    fn look_again(&self, stack: Stack) -> Decision {
        if !matches!(stack.spec.source, Source::Git(_)) && stack.spec.followed_images().next().is_none() {
            return Decision::Nothing(None);
        }
        self.look(stack, "the version is what is declared already; the source is looked at again".to_owned())
    }
}

/// The request as it came in; values of variables that are secret as `***`.
fn original(request: &DeployRequest, stack: &Stack, masked: Value) -> Value {
    let mut value = masked;
    for (name, it) in &request.variables {
        let secret = matches!(stack.spec.variables.get(name), Some(Variable::Secret(_)));
        if let (false, Some(text), Some(slot)) = (secret, it.value.expose_text(), value["variables"].get_mut(name)) {
            *slot = text.into();
        }
    }
    value
}
