//! The one way a use-case writes: read, decide, one transaction that expects what was read, and again on a conflict.

use serde_json::{Value, json};

use super::{Ask, Code, Declare, DeclareError, Declared, Refusal};
use crate::domain::{
    Access, Deployment, DeploymentPhase, EnvironmentName, Event, EventType, Origin, Place, Stack, StackKey,
    StackStatus, Version, VersionSource,
};
use crate::ledger::{Batch, LedgerError, Once, RecordKey};
use crate::ports::StoreError;

/// How often a transaction is tried against others that are faster.
pub(super) const ATTEMPTS: u32 = 16;

/// What a use-case sees when it decides.
pub(super) struct Found {
    pub(super) stack: Stack,
    pub(super) status: StackStatus,
}

/// What a use-case decides.
pub(super) enum Decision {
    /// It is as it should be; `None` means the stack's own deployment.
    Nothing(Option<Box<Deployment>>),
    /// This is to be written.
    Write(Box<Writing>),
}

/// What is to be written.
pub(super) struct Writing {
    pub(super) stack: Stack,
    pub(super) deployment: Option<Deployment>,
    pub(super) events: Vec<(EventType, String)>,
}

impl Decision {
    pub(super) fn write(stack: Stack, deployment: Option<Deployment>, events: Vec<(EventType, String)>) -> Self {
        Self::Write(Box::new(Writing { stack, deployment, events }))
    }
}

/// The mark an idempotency key leaves: its record's key, and the digest of the request.
pub(super) struct Mark {
    pub(super) key: String,
    pub(super) request: String,
}

impl Declare {
    /// Carries a decision about one stack out. `request` is what tells two requests under the same idempotency key apart;
    /// it is only digested, with the installation's key.
    pub(super) async fn change<F>(
        &self,
        key: &StackKey,
        (ask, access): (&Ask, Access),
        request: &Value,
        decide: F,
    ) -> Result<Declared, DeclareError>
    where
        F: Fn(Found) -> Result<Decision, DeclareError> + Send + Sync,
    {
        self.permit(ask, access, Place::Stack(key))?;
        self.check_ask(ask)?;
        let mark = self.mark(ask, request);
        for _ in 0..ATTEMPTS {
            if let Some(once) = self.seen(mark.as_ref())? {
                return self.again(key, ask, &once);
            }
            let Some(found) = self.ledger.stack(key)? else { return Err(self.no_such_stack(key, &ask.grant)) };
            super::relay::not_handed(&found.value)?;
            expected(ask, key, found.value.generation)?;
            let status = self.ledger.status(key)?.map(|status| status.value).unwrap_or_default();
            let current = found.value.clone();
            let batch = Batch::new().expect(&RecordKey::Stack(key.clone()), Some(found.revision));
            let (batch, declared) = match decide(Found { stack: found.value, status })? {
                Decision::Nothing(deployment) => (batch, self.unchanged(current, deployment.map(|it| *it))?),
                Decision::Write(writing) => self.batch(batch, *writing, ask)?,
            };
            let batch = match &mark {
                Some(mark) => batch.put_once(&mark.key, &self.once(mark, ask, declared.deployment.iter())),
                None => batch,
            };
            if batch.is_empty() || self.committed(batch).await? {
                return Ok(declared);
            }
        }
        Err(busy(key))
    }

    /// Commits; `false` when someone else was faster.
    pub(super) async fn committed(&self, batch: Batch) -> Result<bool, DeclareError> {
        match self.ledger.commit(batch).await {
            Ok(_) => Ok(true),
            Err(LedgerError::Store(StoreError::Conflict { .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts what was decided about one stack into a batch.
    pub(super) fn batch(&self, batch: Batch, writing: Writing, ask: &Ask) -> Result<(Batch, Declared), DeclareError> {
        let Writing { stack, deployment, events } = writing;
        let batch = self.put(batch, &stack, deployment.as_ref())?;
        let id = deployment.as_ref().map(|deployment| deployment.id.clone());
        let batch = events.into_iter().fold(batch, |batch, (kind, message)| {
            batch.event(&Event { deployment: id.clone(), ..self.event(&stack.key, ask, kind, message) })
        });
        let deployment = match deployment {
            Some(deployment) => Some(deployment),
            None => self.ledger.deployment(&stack.deployment)?.map(|found| found.value),
        };
        Ok((batch, Declared { stack, deployment, changed: true }))
    }

    /// Puts stack and deployment into a batch, unless they are too large to be kept.
    pub(super) fn put(
        &self,
        batch: Batch,
        stack: &Stack,
        deployment: Option<&Deployment>,
    ) -> Result<Batch, DeclareError> {
        self.fits(stack, deployment)?;
        let batch = batch.put_stack(stack);
        Ok(match deployment {
            _ if planted!("a deployment is answered and not recorded") => batch,
            Some(deployment) => batch.put_deployment(deployment),
            None => batch,
        })
    }

    /// Refuses what is too large for a record.
    pub(super) fn fits(&self, stack: &Stack, deployment: Option<&Deployment>) -> Result<(), DeclareError> {
        let size = |bytes: Result<Vec<u8>, _>| bytes.map_or(usize::MAX, |bytes: Vec<u8>| bytes.len());
        let largest = size(serde_json::to_vec(stack)).max(deployment.map_or(0, |it| size(serde_json::to_vec(it))));
        if largest > self.limits.record_bytes {
            let message =
                format!("the record of stack `{}` would be larger than {}", stack.key, self.limits.record_bytes);
            let refusal = Refusal::new(Code::TooLarge, format!("{message} bytes"));
            return Err(refusal.hint("move inline text and long variables into the repository").into());
        }
        Ok(())
    }

    pub(super) fn unchanged(&self, stack: Stack, deployment: Option<Deployment>) -> Result<Declared, DeclareError> {
        let deployment = match deployment {
            Some(deployment) => Some(deployment),
            None => self.ledger.deployment(&stack.deployment)?.map(|found| found.value),
        };
        Ok(Declared { stack, deployment, changed: false })
    }

    /// An event about a stack.
    pub(super) fn event(&self, key: &StackKey, ask: &Ask, kind: EventType, message: String) -> Event {
        Event { stack: Some(key.name.clone()), ..self.event_in(key.environment.clone(), kind, message, ask) }
    }

    /// An event about something that the whole installation has.
    pub(super) fn own_event(&self, kind: EventType, message: String, ask: &Ask) -> Event {
        self.event_in(EnvironmentName::default(), kind, message, ask)
    }

    /// An event about an environment, or what belongs to it.
    pub(super) fn event_in(&self, environment: EnvironmentName, kind: EventType, message: String, ask: &Ask) -> Event {
        Event {
            time: self.now(),
            kind,
            environment,
            stack: None,
            deployment: None,
            reason: format!("{:?}", ask.trigger),
            message,
            actor: ask.actor.name.clone(),
            via: ask.via,
        }
    }

    /// A deployment of what the stack's spec asks for.
    pub(super) fn deployment_of(&self, stack: &Stack, ask: &Ask, original: Value, mapped: Value) -> Deployment {
        let version = Version {
            source: VersionSource::Spec(Box::new(stack.spec.clone())),
            revision: None,
            images: Vec::new(),
            followed: Default::default(),
            digest: None,
        };
        self.deployment(stack, ask, original, mapped, version)
    }

    /// A deployment that was just recorded.
    pub(super) fn deployment(
        &self,
        stack: &Stack,
        ask: &Ask,
        original: Value,
        mapped: Value,
        version: Version,
    ) -> Deployment {
        Deployment {
            id: self.new_deployment_id(),
            stack: stack.key.clone(),
            generation: stack.generation,
            origin: Origin {
                trigger: ask.trigger,
                actor: ask.actor.clone(),
                reason: ask.reason.clone(),
                original_request: match ask.sealed {
                    Some(_) => Value::Null,
                    None => ask.original.clone().unwrap_or(original),
                },
                sealed_request: ask.sealed.clone(),
                mapped_request: mapped,
                trace: ask.trace,
            },
            version,
            phase: DeploymentPhase::Pending,
            message: None,
            failure: None,
            rollback_of: None,
            rolled_back_by: None,
            kept: None,
            plan: None,
            jobs: Default::default(),
            progress: None,
            services: Vec::new(),
            warnings: Vec::new(),
            created_at: self.now(),
            handed: None,
            finished_at: None,
        }
    }

    /// Checks what every request has in common.
    pub(super) fn check_ask(&self, ask: &Ask) -> Result<(), DeclareError> {
        if ask.reason.as_ref().is_some_and(|reason| reason.chars().count() > self.limits.reason) {
            let message = format!("the reason is longer than {} characters", self.limits.reason);
            return Err(Refusal::new(Code::TooLarge, message).field("reason").into());
        }
        let bad = |key: &String| key.is_empty() || key.len() > 200 || key.chars().any(char::is_control);
        if ask.idempotency_key.as_ref().is_some_and(bad) {
            let message = "an idempotency key has 1 to 200 characters, and no control characters";
            return Err(Refusal::new(Code::Invalid, message).field("idempotencyKey").into());
        }
        Ok(())
    }

    /// The mark of this request's idempotency key.
    pub(super) fn mark(&self, ask: &Ask, request: &Value) -> Option<Mark> {
        let key = ask.idempotency_key.as_ref().filter(|_| !planted!("a request's key is not written"))?;
        let digester = self.sealer.digester();
        let whole = json!({ "request": request, "reason": ask.reason, "generation": ask.expected_generation });
        Some(Mark {
            key: format!("request/{}/{key}", ask.actor.name),
            request: digester.digest_of(&whole).as_str().to_owned(),
        })
    }

    /// What the same request led to before; a conflict when it was another request.
    pub(super) fn seen(&self, mark: Option<&Mark>) -> Result<Option<Once>, DeclareError> {
        let Some(mark) = mark else { return Ok(None) };
        if planted!("a request under a known key is taken again") {
            return Ok(None);
        }
        match self.ledger.once(&mark.key)? {
            Some(once) if once.value.request == mark.request => Ok(Some(once.value)),
            Some(_) => {
                let message = "this idempotency key was used before, with another request";
                let hint = "take a fresh key for a new request";
                Err(Refusal::new(Code::Conflict, message).field("idempotencyKey").hint(hint).into())
            }
            None => Ok(None),
        }
    }

    pub(super) fn once<'a>(&self, mark: &Mark, ask: &Ask, made: impl Iterator<Item = &'a Deployment>) -> Once {
        Once {
            request: mark.request.clone(),
            deployments: made.map(|deployment| deployment.id.clone()).collect(),
            actor: ask.actor.clone(),
            at: self.now(),
        }
    }

    /// The answer to a request that was carried out before.
    fn again(&self, key: &StackKey, ask: &Ask, once: &Once) -> Result<Declared, DeclareError> {
        let Some(stack) = self.ledger.stack(key)? else { return Err(self.no_such_stack(key, &ask.grant)) };
        let deployment = match once.deployments.first() {
            Some(id) => self.ledger.deployment(id)?.map(|found| found.value),
            None => None,
        };
        self.unchanged(stack.value, deployment)
    }
}

/// Refuses another generation than the expected one.
pub(super) fn expected(ask: &Ask, key: &StackKey, generation: u64) -> Result<(), DeclareError> {
    match ask.expected_generation {
        Some(expected) if expected != generation => {
            let message = format!("stack `{}` is at generation {generation}, not {expected}", key.name);
            let hint = "someone changed it meanwhile: look at what changed, then ask again with that generation";
            Err(Refusal::new(Code::Conflict, message).field("expectedGeneration").hint(hint).into())
        }
        _ => Ok(()),
    }
}

/// Refuses to change a stack that is being deleted.
pub(super) fn not_deleting(stack: &Stack) -> Result<(), DeclareError> {
    if stack.control.deletion.is_none() {
        return Ok(());
    }
    let message = format!("stack `{}` is being deleted", stack.key.name);
    Err(Refusal::new(Code::Conflict, message).field("stack").hint("wait until it is gone, then declare it anew").into())
}

pub(super) fn busy(key: &StackKey) -> DeclareError {
    let message = format!("stack `{}` is being changed by others all the time", key.name);
    Refusal::new(Code::Conflict, message).hint("try again in a moment").into()
}
