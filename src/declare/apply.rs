//! `apply`: several documents, recorded all or none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::catalog_care::may_declare;
use super::manifest::{Body, Document, Manifest};
use super::permit::forbidden;
use super::write::{expected, not_deleting};
use super::{Adopt, Ask, Code, Declare, DeclareError, References, Refusal, three_way};
use crate::domain::{
    Access, CatalogEntry, Deployment, DeploymentId, Environment, EnvironmentName, Event, EventType, Place, Stack,
    StackControl, StackKey, StackSpec,
};
use crate::ledger::{Batch, Hook, HookSecret, RecordKey};

/// How a manifest is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyOptions {
    /// The name of the file, for messages.
    pub file: Option<String>,
    /// The values that the manifest refers to with `fromEnv` and `fromFile`.
    pub references: References,
    /// Say what would change; write nothing.
    pub dry_run: bool,
    /// Take over what `docker stack deploy` made under the names of the stacks.
    pub adopt: Option<Adopt>,
    /// The catalog that the documents come from.
    pub catalog: Option<CatalogEntry>,
}

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum DocumentKind {
    Stack,
    Environment,
    Credential,
    Hook,
    Catalog,
    Notifier,
}

/// What became of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedDocument {
    /// Its kind.
    pub kind: DocumentKind,
    /// The name of what it declares.
    pub name: String,
    /// The environment, for a stack.
    pub environment: Option<EnvironmentName>,
    /// It was not there before.
    pub created: bool,
    /// The fields that change, as dotted paths; empty when nothing does.
    pub changes: Vec<String>,
    /// The stack as it stands (in a dry run: would stand) now.
    pub stack: Option<Stack>,
    /// The deployment it made; when nothing changed, the newest one. None in a dry run that would make one.
    pub deployment: Option<Deployment>,
}

/// What became of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// In the order of the text.
    pub documents: Vec<AppliedDocument>,
    /// Nothing was written because it was not to be.
    pub dry_run: bool,
}

/// The writes that are being gathered.
pub(super) struct Gather {
    pub(super) batch: Batch,
    pub(super) documents: Vec<AppliedDocument>,
    /// The specs as they will be.
    pub(super) specs: BTreeMap<StackKey, StackSpec>,
}

impl Declare {
    /// Records the documents of a manifest in one transaction. Each changes only what differs from the last applied one;
    /// where nothing does, there is no new generation and no deployment.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] with everything that is wrong, each with its place; nothing is written then.
    pub async fn apply(&self, manifest: &str, options: &ApplyOptions, ask: &Ask) -> Result<Applied, DeclareError> {
        self.check_ask(ask)?;
        let file = options.file.as_deref();
        let read = Manifest::read(manifest, file, &options.references, self.sealer.as_ref(), &self.limits)?;
        if let Some(adopt) = &options.adopt {
            adopt.fits(&read)?;
        }
        let stacks = read.documents.iter().filter(|document| matches!(document.body, Body::Stack(..))).count();
        if ask.expected_generation.is_some() && stacks != 1 {
            let message = format!("expectedGeneration goes with one stack; the manifest holds {stacks}");
            return Err(Refusal::new(Code::Invalid, message).field("expectedGeneration").into());
        }
        self.permit_documents(&read, ask)?;
        let beside =
            options.references.iter().map(|(of, value)| json!([of.kind.field(), of.name, value.expose_text()]));
        let beside: Vec<Value> = beside.collect();
        let mark = self.mark(
            ask,
            &json!({ "apply": manifest, "beside": beside, "dryRun": options.dry_run, "adopt": options.adopt }),
        );
        for _ in 0..16 {
            let once = self.seen(mark.as_ref())?;
            let Gather { batch, mut documents, .. } = self.gather(&read, ask, options, once.is_some())?;
            if let Some(once) = once {
                self.recall(&mut documents, &once.deployments)?;
                return Ok(Applied { documents, dry_run: options.dry_run });
            }
            if options.dry_run {
                for document in documents.iter_mut().filter(|it| options.adopt.is_some() || !it.changes.is_empty()) {
                    document.deployment = None;
                }
                return Ok(Applied { documents, dry_run: true });
            }
            let batch = match &mark {
                Some(mark) => {
                    let made = documents.iter().filter_map(|document| document.deployment.as_ref());
                    batch.put_once(&mark.key, &self.once(mark, ask, made))
                }
                None => batch,
            };
            if batch.is_empty() || self.committed(batch).await? {
                return Ok(Applied { documents, dry_run: false });
            }
        }
        Err(Refusal::new(Code::Conflict, "others change the same things all the time").hint("try again").into())
    }

    /// Refuses documents that the asker may not apply, before anything is read for them.
    fn permit_documents(&self, manifest: &Manifest, ask: &Ask) -> Result<(), DeclareError> {
        let mut refusals = Vec::new();
        for document in &manifest.documents {
            let (access, place) = match &document.body {
                Body::Stack(key, _) => (Access::Declare, Place::Stack(key)),
                _ => (Access::Administer, Place::Installation),
            };
            if !ask.grant.may(access, place) {
                let Refusal { code, message, hint, .. } = forbidden(ask, access);
                refusals.push(document.refuse(code, "kind", message, hint));
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(DeclareError::Refused(refusals)) }
    }

    fn gather(
        &self,
        manifest: &Manifest,
        ask: &Ask,
        options: &ApplyOptions,
        again: bool,
    ) -> Result<Gather, DeclareError> {
        let known = self.known_environments(manifest, ask)?;
        let mut gather = Gather { batch: Batch::new(), documents: Vec::new(), specs: BTreeMap::new() };
        let mut refusals = Vec::new();
        for document in &manifest.documents {
            let taken = match &document.body {
                Body::Stack(key, spec) if !again => known_environment(document, key, &known)
                    .and_then(|()| self.apply_stack(&mut gather, document, key, spec, ask, options)),
                Body::Stack(key, _) => self.current(&mut gather, key),
                Body::Environment(environment) => self.apply_environment(&mut gather, environment, ask),
                Body::Credential(asked) => self.apply_credential(&mut gather, document, asked, ask),
                Body::Hook(hook) => self.apply_hook(&mut gather, hook, ask),
                Body::Catalog(catalog) => self.apply_catalog_document(&mut gather, catalog, ask),
                Body::Notifier(asked) => self.apply_notifier(&mut gather, asked, ask),
            };
            match taken {
                Ok(()) => {}
                Err(DeclareError::Refused(found)) => refusals.extend(found),
                Err(error) => return Err(error),
            }
        }
        if !refusals.is_empty() {
            return Err(DeclareError::Refused(refusals));
        }
        gather.batch = self.without_circles(manifest, &gather.specs, std::mem::take(&mut gather.batch), &ask.grant)?;
        Ok(gather)
    }

    pub(super) fn apply_stack(
        &self,
        gather: &mut Gather,
        document: &Document,
        key: &StackKey,
        wanted: &StackSpec,
        ask: &Ask,
        options: &ApplyOptions,
    ) -> Result<(), DeclareError> {
        let digester = self.sealer.digester();
        let found = self.ledger.stack(key)?;
        let generation = found.as_ref().map_or(0, |stack| stack.value.generation);
        expected(ask, key, generation)?;
        let asked = three_way::leaves(wanted, &digester);
        let before = found.as_ref().map_or_else(BTreeMap::new, |stack| three_way::leaves(&stack.value.spec, &digester));
        let spec = match &found {
            Some(stack) => {
                super::relay::not_handed(&stack.value)?;
                not_deleting(&stack.value)?;
                may_declare(&stack.value, options.catalog.as_ref())?;
                let base = three_way::base(stack.value.last_applied.as_ref());
                three_way::merge(&base, wanted, &stack.value.spec, &digester)
            }
            None => wanted.clone(),
        };
        if let Err(message) = super::check::deadlines(&spec.policy) {
            return Err(document.refuse(Code::Invalid, "policy", message, None).into());
        }
        gather.specs.insert(key.clone(), spec.clone());
        let changes = three_way::differences(&before, &three_way::leaves(&spec, &digester));
        let asked: Value = asked.into_iter().collect::<serde_json::Map<_, _>>().into();
        let revision = found.as_ref().map(|stack| stack.revision);
        let created = found.is_none();
        let mut stack = match found {
            Some(stack) => stack.value,
            None => self.new_stack(key, spec.clone()),
        };
        let remembered = stack.last_applied.as_ref() == Some(&asked);
        stack.last_applied = Some(asked);
        let adopt = match options.adopt.as_ref() {
            Some(adopt) if self.is_to_be_adopted(&stack, adopt)? => Some(adopt),
            _ => None,
        };
        let moved = options.catalog.is_some() && stack.control.catalog != options.catalog;
        if changes.is_empty() && remembered && adopt.is_none() && !moved {
            return self.current(gather, key);
        }
        stack.control.catalog.clone_from(&options.catalog);
        let batch = std::mem::take(&mut gather.batch).expect(&RecordKey::Stack(key.clone()), revision);
        let mut deployment = None;
        let mut events = Vec::new();
        if !changes.is_empty() {
            stack.spec = spec;
            stack.generation = generation + 1;
            stack.updated_at = self.now();
        }
        if !changes.is_empty() || adopt.is_some() {
            let original = json!({ "manifest": document.original, "file": options.file, "adopt": adopt });
            let made = self.deployment_of(&stack, ask, original, mapped(&stack, &changes, created));
            stack.deployment = made.id.clone();
            events = recorded(&stack, &changes, created);
            if let Some(adopt) = adopt {
                stack.control.adoption = Some(adopt.order(&made, self.now()));
            }
            deployment = Some(made);
        }
        let batch = self.put(batch, &stack, deployment.as_ref())?;
        let id = deployment.as_ref().map(|deployment| deployment.id.clone());
        gather.batch = events.into_iter().fold(batch, |batch, (kind, message)| {
            batch.event(&Event { deployment: id.clone(), ..self.event(key, ask, kind, message) })
        });
        let deployment = match deployment {
            Some(deployment) => Some(deployment),
            None => self.ledger.deployment(&stack.deployment)?.map(|found| found.value),
        };
        gather.documents.push(shown(key, created, changes, Some(stack), deployment));
        Ok(())
    }

    fn new_stack(&self, key: &StackKey, spec: StackSpec) -> Stack {
        Stack {
            key: key.clone(),
            spec,
            generation: 0,
            last_applied: None,
            control: StackControl::default(),
            deployment: DeploymentId(String::new()),
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    /// A stack that stays as it is.
    fn current(&self, gather: &mut Gather, key: &StackKey) -> Result<(), DeclareError> {
        let stack = self.ledger.stack(key)?.map(|stack| stack.value);
        let deployment = match &stack {
            Some(stack) => self.ledger.deployment(&stack.deployment)?.map(|found| found.value),
            None => None,
        };
        gather.documents.push(shown(key, false, Vec::new(), stack, deployment));
        Ok(())
    }

    fn apply_environment(&self, gather: &mut Gather, asked: &Environment, ask: &Ask) -> Result<(), DeclareError> {
        let found = self.ledger.environment(&asked.name)?;
        let (revision, created) = (found.as_ref().map(|it| it.revision), found.is_none());
        let before = found.map(|found| found.value);
        let mut changes = Vec::new();
        for (field, same) in [
            ("endpoints", before.as_ref().map_or(asked.relay.is_some(), |it| it.endpoints == asked.endpoints)),
            ("tls", before.as_ref().map_or(asked.tls.is_none(), |it| it.tls == asked.tls)),
            ("ssh", before.as_ref().map_or(asked.ssh.is_none(), |it| it.ssh == asked.ssh)),
            ("relay", before.as_ref().map_or(asked.relay.is_none(), |it| it.relay == asked.relay)),
        ] {
            if !same {
                changes.push(field.to_owned());
            }
        }
        if !changes.is_empty() {
            let place = asked.relay.as_ref().map_or_else(
                || asked.endpoints.join(", "),
                |relay| format!("`{}` of the Skep at {}", relay.environment, relay.url),
            );
            let message = format!("environment `{}` was declared: {place}", asked.name);
            let event = self.event_in(asked.name.clone(), EventType::EnvironmentDeclared, message, ask);
            let key = RecordKey::Environment(asked.name.clone());
            gather.batch =
                std::mem::take(&mut gather.batch).expect(&key, revision).put_environment(asked).event(&event);
        }
        gather.documents.push(plain(DocumentKind::Environment, asked.name.to_string(), created, changes));
        Ok(())
    }

    fn apply_hook(&self, gather: &mut Gather, asked: &Hook, ask: &Ask) -> Result<(), DeclareError> {
        let found = self.ledger.hook(&asked.name)?;
        let (revision, created) = (found.as_ref().map(|it| it.revision), found.is_none());
        let mut changes = Vec::new();
        let before = found.as_ref().map(|found| &found.value);
        for (field, same) in [
            ("provider", before.is_some_and(|it| it.provider == asked.provider)),
            ("secret", before.is_some_and(|it| it.secret == asked.secret)),
            ("rules", before.is_some_and(|it| it.rules == asked.rules)),
        ] {
            if !same {
                changes.push(field.to_owned());
            }
        }
        if !changes.is_empty() {
            let event = self.event_in(
                asked.rules.first().map(|rule| rule.environment.clone()).unwrap_or_default(),
                EventType::HookDeclared,
                format!("hook `{}` was declared: {}{}", asked.name, changes.join(", "), unsigned(asked)),
                ask,
            );
            let key = RecordKey::Hook(asked.name.clone());
            gather.batch = std::mem::take(&mut gather.batch).expect(&key, revision).put_hook(asked).event(&event);
        }
        gather.documents.push(plain(DocumentKind::Hook, asked.name.clone(), created, changes));
        Ok(())
    }

    /// Environments that are declared, here or before, as far as the asker may see them.
    fn known_environments(&self, manifest: &Manifest, ask: &Ask) -> Result<BTreeSet<EnvironmentName>, DeclareError> {
        let here = manifest.documents.iter().filter_map(|document| match &document.body {
            Body::Environment(environment) => Some(environment.name.clone()),
            _ => None,
        });
        let before = self.ledger.environments()?.into_iter().map(|environment| environment.value.name);
        let seen = |name: &EnvironmentName| ask.grant.may(Access::See, Place::Environment(name));
        Ok(before.filter(seen).chain(here).collect())
    }

    /// The deployments a request made the first time.
    fn recall(&self, documents: &mut [AppliedDocument], made: &[DeploymentId]) -> Result<(), DeclareError> {
        for id in made {
            let Some(deployment) = self.ledger.deployment(id)?.map(|found| found.value) else { continue };
            let of = |document: &&mut AppliedDocument| {
                document.stack.as_ref().is_some_and(|stack| stack.key == deployment.stack)
            };
            if let Some(document) = documents.iter_mut().find(of) {
                document.deployment = Some(deployment);
            }
        }
        Ok(())
    }
}

fn known_environment(
    document: &Document,
    key: &StackKey,
    known: &BTreeSet<EnvironmentName>,
) -> Result<(), DeclareError> {
    if known.contains(&key.environment) {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(EnvironmentName::as_str).collect();
    let hint = match super::fields::closest(key.environment.as_str(), &names) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "declare it with a document of `kind: Environment`".to_owned(),
        None => format!("declared are: {}; or declare it with `kind: Environment`", names.join(", ")),
    };
    let message = format!("there is no environment `{}`", key.environment);
    Err(document.refuse(Code::NotFound, "environment", message, Some(hint)).into())
}

fn mapped(stack: &Stack, changes: &[String], created: bool) -> Value {
    json!({
        "apply": {
            "stack": stack.key.name,
            "environment": stack.key.environment,
            "created": created,
            "changes": changes,
            "spec": three_way::shown(&stack.spec),
        }
    })
}

fn recorded(stack: &Stack, changes: &[String], created: bool) -> Vec<(EventType, String)> {
    let generation = stack.generation;
    let first = if changes.is_empty() {
        (EventType::StackChanged, "the stack is to be taken over".to_owned())
    } else if created {
        (EventType::StackDeclared, format!("the stack was declared as generation {generation}"))
    } else {
        (EventType::StackChanged, format!("generation {generation} changes {}", changes.join(", ")))
    };
    vec![first, (EventType::DeploymentCreated, format!("deployment {} was recorded", stack.deployment))]
}

fn shown(
    key: &StackKey,
    created: bool,
    changes: Vec<String>,
    stack: Option<Stack>,
    deployment: Option<Deployment>,
) -> AppliedDocument {
    AppliedDocument {
        kind: DocumentKind::Stack,
        name: key.name.to_string(),
        environment: Some(key.environment.clone()),
        created,
        changes,
        stack,
        deployment,
    }
}

pub(super) fn plain(kind: DocumentKind, name: String, created: bool, changes: Vec<String>) -> AppliedDocument {
    AppliedDocument { kind, name, environment: None, created, changes, stack: None, deployment: None }
}

/// What is said of a hook that anyone may send to.
fn unsigned(hook: &Hook) -> &'static str {
    match hook.secret {
        HookSecret::Unsigned { unsigned: true } => {
            "; it is unsigned: whoever knows its address deploys what its rules let them"
        }
        _ => "",
    }
}
