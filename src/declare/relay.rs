//! A stack that another Skep hands over, taken as it is declared there; and whose it is from then on.
//!
//! It is the near Skep's alone: what people here ask for is refused, until somebody takes it over with a claim, here or
//! there. Of two claims the newer one counts.
//!
//! Handing over is level-triggered: what comes is the stack as it stands now, with the revision of its record. A later one
//! replaces an earlier one, the same one changes nothing, so that a lost answer or a crash does no harm.

use std::collections::BTreeMap;

use super::write::{ATTEMPTS, Decision, busy, not_deleting};
use super::{Ask, Code, Declare, DeclareError, Refusal, check};
use crate::domain::{
    Access, Deployment, DeploymentId, DeploymentPhase, Event, EventType, Handed, Installation, Place, RelayMark,
    SecretBytes, Source, Stack, StackControl, StackKey, StackSpec, Variable, VersionSource, Way,
};
use crate::ledger::{Batch, RecordKey, Versioned, seal_request};
use crate::ports::{Clear, HandOver, HandedOver};

/// What is said of a deployment that never had its turn.
const OVERTAKEN: &str = "a newer one was declared before it was handed over";

/// Refuses a write here on a stack that is declared by another Skep.
pub(super) fn not_handed(stack: &Stack) -> Result<(), DeclareError> {
    let Some(near) = stack.control.relay.as_ref().and_then(|mark| mark.near.as_ref()) else { return Ok(()) };
    let message = format!("stack `{}` is declared by another Skep, {}", stack.key.name, near.instance);
    let hint = format!("ask there; to take it over here: `skep environment claim {}`", stack.key.environment);
    Err(Refusal::new(Code::Conflict, message).field("stack").hint(hint).into())
}

/// Puts secret values in the place of those that were left out.
fn secrets_back(
    spec: &mut StackSpec,
    secrets: &BTreeMap<String, Clear>,
    seal: &dyn Fn(&SecretBytes) -> Result<crate::domain::Sealed, DeclareError>,
) -> Result<(), DeclareError> {
    for (name, variable) in &mut spec.variables {
        let Variable::Secret(sealed) = variable else { continue };
        let Some(clear) = secrets.get(sealed.digest.as_str()) else {
            let message = format!("the secret value of `{name}` was not handed over");
            return Err(Refusal::new(Code::Invalid, message).field(format!("variables.{name}")).into());
        };
        *sealed = seal(&clear.0)?;
    }
    Ok(())
}

impl Declare {
    /// The spec of a stack that was sent with its secret values beside it, as it would be kept here.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] when a value is missing.
    pub fn with_secrets(&self, stack: &mut Stack, secrets: &BTreeMap<String, Clear>) -> Result<(), DeclareError> {
        let seal = |clear: &SecretBytes| Ok(self.sealer.seal(clear.expose())?);
        secrets_back(&mut stack.spec, secrets, &seal)
    }

    /// Takes what another Skep hands over.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: the asker may not, it makes no sense, or the stack is somebody else's.
    pub async fn take_handed(&self, handed: &HandOver, ask: &Ask) -> Result<HandedOver, DeclareError> {
        let key = &handed.stack.key;
        let access = if handed.stack.control.deletion.is_some() { Access::Delete } else { Access::Declare };
        self.permit(ask, access, Place::Stack(key))?;
        if self.ledger.environment(&key.environment)?.is_none() {
            return Err(super::permit::no_such_environment(&key.environment));
        }
        self.check_handed(handed)?;
        let (stack, deployments) = self.opened(handed)?;
        for _ in 0..ATTEMPTS {
            let found = self.ledger.stack(key)?;
            if let Some(answer) = whose(found.as_ref().map(|found| &found.value), handed)? {
                return Ok(answer);
            }
            let batch = self.written(found, handed, &stack, &deployments, ask)?;
            if batch.is_empty() || self.committed(batch).await? {
                return Ok(HandedOver::Taken);
            }
        }
        Err(busy(key))
    }

    /// The records with their secret values, sealed here.
    fn opened(&self, handed: &HandOver) -> Result<(Stack, Vec<Deployment>), DeclareError> {
        let mut known: BTreeMap<Vec<u8>, crate::domain::Sealed> = BTreeMap::new();
        for clear in handed.secrets.values() {
            known.insert(clear.0.expose().to_vec(), self.sealer.seal(clear.0.expose())?);
        }
        let seal = |clear: &SecretBytes| match known.get(clear.expose()) {
            Some(sealed) => Ok(sealed.clone()),
            None => Ok(self.sealer.seal(clear.expose())?),
        };
        let mut stack = handed.stack.clone();
        secrets_back(&mut stack.spec, &handed.secrets, &seal)?;
        let mut deployments = handed.deployments.clone();
        for deployment in &mut deployments {
            if let VersionSource::Spec(spec) = &mut deployment.version.source {
                secrets_back(spec, &handed.secrets, &seal)?;
            }
            seal_request(&mut deployment.origin, self.sealer.as_ref())?;
        }
        Ok((stack, deployments))
    }

    /// What is to be written, with the expectation that nobody else writes meanwhile.
    fn written(
        &self,
        found: Option<Versioned<Stack>>,
        handed: &HandOver,
        stack: &Stack,
        deployments: &[Deployment],
        ask: &Ask,
    ) -> Result<Batch, DeclareError> {
        let (key, now) = (&stack.key, self.now());
        let mut batch = Batch::new();
        let current = [Some(&stack.deployment), stack.control.pin.as_ref().map(|pin| &pin.deployment)];
        let event = |kind, id: Option<&DeploymentId>, message: String| Event {
            deployment: id.cloned(),
            via: Some(Way::Relay),
            ..self.event(key, ask, kind, message)
        };
        for deployment in deployments {
            if let Some(known) = self.ledger.deployment(&deployment.id)? {
                if known.value.stack != *key {
                    return Err(of_another(&deployment.id));
                }
                continue;
            }
            let handed_by = Handed { near: handed.near.clone(), at: now };
            let mut deployment = Deployment { handed: Some(handed_by), ..deployment.clone() };
            let text = format!("deployment {} was handed over", deployment.id);
            let mut events = vec![event(EventType::DeploymentCreated, Some(&deployment.id), text)];
            if handed.more || !current.contains(&Some(&deployment.id)) {
                (deployment.phase, deployment.finished_at) = (DeploymentPhase::Superseded, Some(now));
                deployment.message = Some(OVERTAKEN.to_owned());
                // News for the near Skep, too: nothing else tells it.
                events.push(Event {
                    via: None,
                    actor: "controller".to_owned(),
                    reason: "Superseded".to_owned(),
                    ..event(EventType::Superseded, Some(&deployment.id), OVERTAKEN.to_owned())
                });
            }
            self.fits(stack, Some(&deployment))?;
            batch = batch.expect(&RecordKey::Deployment(deployment.id.clone()), None).put_deployment(&deployment);
            batch = events.iter().fold(batch, Batch::event);
        }
        let revision = found.as_ref().map(|found| found.revision);
        if handed.more {
            let expected = !batch.is_empty();
            return Ok(if expected { batch.expect(&RecordKey::Stack(key.clone()), revision) } else { batch });
        }
        let before = found.map(|found| found.value);
        let mark = RelayMark {
            near: Some(handed.near.clone()),
            revision: handed.revision,
            claim: handed.claim.clone().max(before.as_ref().and_then(|it| it.control.relay.as_ref()?.claim.clone())),
        };
        let control = StackControl { relay: Some(mark), catalog: None, ..stack.control.clone() };
        let created_at = before.as_ref().map_or(stack.created_at, |before| before.created_at);
        let stack = Stack { control, last_applied: None, created_at, ..stack.clone() };
        self.fits(&stack, None)?;
        let (kind, text) = match &before {
            None => (EventType::StackDeclared, "the stack was handed over as"),
            Some(_) => (EventType::StackChanged, "the stack was handed over again as"),
        };
        let text = format!("{text} generation {} by Skep {}", stack.generation, handed.near.instance);
        Ok(batch.expect(&RecordKey::Stack(key.clone()), revision).put_stack(&stack).event(&event(
            kind,
            Some(&stack.deployment),
            text,
        )))
    }

    /// What a manifest would have been checked for: it comes from a token, not from a person's own Skep alone.
    fn check_handed(&self, handed: &HandOver) -> Result<(), DeclareError> {
        let mut refusals = Vec::new();
        self.check_spec("stack", &handed.stack.spec, &mut refusals);
        let mut id = |id: &DeploymentId| {
            let good = (1..=64).contains(&id.as_str().len()) && id.as_str().bytes().all(|c| c.is_ascii_alphanumeric());
            if !good {
                refusals.push(Refusal::new(Code::Invalid, "that is no deployment's id").field("deployments"));
            }
        };
        id(&handed.stack.deployment);
        handed.stack.control.pin.iter().for_each(|pin| id(&pin.deployment));
        handed.deployments.iter().for_each(|deployment| id(&deployment.id));
        for deployment in &handed.deployments {
            if deployment.stack != handed.stack.key || deployment.phase != DeploymentPhase::Pending {
                let message = format!("deployment {} is of another stack, or has begun already", deployment.id);
                refusals.push(Refusal::new(Code::Invalid, message).field("deployments"));
            }
            if let VersionSource::Spec(spec) = &deployment.version.source {
                self.check_spec("deployments", spec, &mut refusals);
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(DeclareError::Refused(refusals)) }
    }

    fn check_spec(&self, field: &str, spec: &StackSpec, refusals: &mut Vec<Refusal>) {
        let mut say = |checked: Result<(), String>| {
            refusals.extend(checked.err().map(|message| Refusal::new(Code::Invalid, message).field(field)));
        };
        match &spec.source {
            Source::Git(git) => {
                say(check::wanted(&git.wanted.0).map(drop));
                say(check::folder(&git.path).map(drop));
                spec.compose.iter().for_each(|file| say(check::file(file).map(drop)));
            }
            Source::Inline(text) if text.len() > self.limits.inline_bytes => {
                say(Err(format!("`inline` is larger than {} bytes", self.limits.inline_bytes)));
            }
            Source::Inline(_) => {}
        }
        spec.variables.keys().for_each(|name| say(check::variable(name)));
        for (service, image) in &spec.images {
            say(check::service(service).and_then(|()| image.named().map_or(Ok(()), check::image)));
        }
        say(check::deadlines(&spec.policy));
    }

    /// Takes the stacks of an environment that other Skeps handed over into one's own hands, for a claim made here.
    pub(super) fn taken_over(
        &self,
        environment: &crate::domain::EnvironmentName,
        token: &str,
        mut batch: Batch,
    ) -> Result<Batch, DeclareError> {
        for found in self.ledger.stacks(Some(environment))? {
            let mut stack = found.value;
            if stack.control.relay.as_ref().is_some_and(RelayMark::is_handed) {
                stack.control.relay = Some(RelayMark { near: None, revision: 0, claim: Some(token.to_owned()) });
                batch = batch.expect(&RecordKey::Stack(stack.key.clone()), Some(found.revision)).put_stack(&stack);
            }
        }
        Ok(batch)
    }
}

/// Whether the stack is to be written (none), or what there is to be answered.
fn whose(found: Option<&Stack>, handed: &HandOver) -> Result<Option<HandedOver>, DeclareError> {
    let asked = &handed.stack;
    let Some(found) = found else {
        return Ok(asked.control.deletion.as_ref().map(|_| HandedOver::Gone));
    };
    let mark = found.control.relay.as_ref();
    let owner: Option<&Installation> = mark.and_then(|mark| mark.near.as_ref());
    let claims = handed.claim.is_some() && handed.claim.as_ref() > mark.and_then(|mark| mark.claim.as_ref());
    let same = found.generation == asked.generation && found.deployment == asked.deployment;
    match (owner, mark) {
        (Some(owner), Some(mark)) if *owner == handed.near && !claims => {
            if handed.revision == mark.revision && same {
                return Ok(Some(HandedOver::Known));
            }
            if handed.revision <= mark.revision || asked.generation < found.generation {
                return Err(older(found));
            }
            Ok(None)
        }
        _ if !claims => Err(not_yours(found, owner)),
        _ if asked.generation <= found.generation && !same => {
            Ok(Some(HandedOver::Behind { generation: found.generation }))
        }
        (Some(owner), _) if *owner == handed.near => Ok(None),
        _ => not_deleting(found).map(|()| None),
    }
}

fn not_yours(stack: &Stack, owner: Option<&Installation>) -> DeclareError {
    let key: &StackKey = &stack.key;
    let message = match owner {
        Some(owner) => format!("stack `{key}` is there already, and declared by Skep {}", owner.instance),
        None => format!("stack `{key}` is there already, and declared there itself"),
    };
    let hint = "claim the environment with the Skep that is to declare it: `skep environment claim`";
    Refusal::new(Code::Conflict, message).field("stack").hint(hint).into()
}

fn older(stack: &Stack) -> DeclareError {
    let message = format!("stack `{}` is there already in a newer form, generation {}", stack.key, stack.generation);
    let hint = "was the Skep that hands it over restored from a backup? `skep environment claim` makes its word count";
    Refusal::new(Code::Conflict, message).field("stack").hint(hint).into()
}

fn of_another(id: &DeploymentId) -> DeclareError {
    let message = format!("deployment {id} is known as one of another stack");
    Refusal::new(Code::Conflict, message).field("deployments").into()
}

impl Declare {
    /// Raises a stack's generation above one that the Skep it is handed over to has seen, with a deployment of what is
    /// declared: for a claim that takes it over there.
    ///
    /// # Errors
    /// [`DeclareError::Refused`]: no such stack.
    pub async fn come_after(&self, key: &StackKey, generation: u64) -> Result<(), DeclareError> {
        let ask = Ask {
            reason: Some("the environment was claimed".to_owned()),
            ..Ask::new(crate::domain::Actor::controller(), crate::domain::Trigger::Api)
        };
        self.change(key, (&ask, Access::Declare), &serde_json::Value::Null, |found| {
            let mut stack = found.stack;
            not_deleting(&stack)?;
            if stack.generation > generation {
                return Ok(Decision::Nothing(None));
            }
            stack.generation = generation.saturating_add(1);
            stack.updated_at = self.now();
            let text = format!("generation {} comes after what is declared there", stack.generation);
            Ok(self.flow(stack, &ask, "claim", vec![(EventType::StackChanged, text)]))
        })
        .await
        .map(drop)
    }
}
