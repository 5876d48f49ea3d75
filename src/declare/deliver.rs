//! A hook's delivery: what another system sent, taken to mean deployments by the hook's rules.
//!
//! All that one delivery leads to (stacks, deployments, events) and the mark that it was seen are one transaction. So a
//! crash leaves either all of it or nothing: a delivery that was not answered may be sent again, and is then either carried
//! out for the first time or refused as a replay, never done twice or by half.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::pushed;
use super::received;
use super::rule::{Exceeded, Expression, Facts};
use super::write::{ATTEMPTS, Decision, Found, not_deleting};
use super::{Ask, Code, Declare, DeclareError, DeployRequest, Refusal};
use crate::domain::{
    Actor, Catalog, CredentialName, CredentialType, DeploymentId, Event, EventType, Sealed, SecretBytes, Stack,
    StackKey, TraceContext, Trigger, Way, fits,
};
use crate::ledger::{Batch, Hook, HookProvider, HookRule, HookSecret, Once, RecordKey, Versioned, sealed_request};

/// What a `set` of a rule may begin with to name a service.
const IMAGES: &str = "images.";
/// How many refused stacks the log names.
const NAMED: usize = 5;

/// A delivery whose signature was found to be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The sender's id of it: works once for each hook.
    pub id: String,
    /// What happened there: `push`. Only a word for the log.
    pub event: String,
    /// What the rules are asked about.
    pub payload: Value,
    /// The request as it is kept with each deployment, secrets replaced.
    pub original: Value,
    /// Who has it done again; none for one that came from outside.
    pub again_by: Option<Actor>,
    /// The request's place in a trace, if it has one.
    pub trace: Option<TraceContext>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivered {
    /// The same delivery came before; `deployments` are those it made then, and nothing was done now.
    pub replayed: bool,
    /// The deployments it made.
    pub deployments: Vec<DeploymentId>,
    /// Stacks that were looked at again without a new version.
    pub reconciled: Vec<StackKey>,
    /// Catalogs that are looked at now.
    pub synced: Vec<String>,
    /// Stacks a rule names for which nothing was done, and why.
    pub refused: Vec<(StackKey, Refusal)>,
    /// Why nothing was to be done at all.
    pub ignored: Option<String>,
}

impl Delivered {
    /// Whether it led to nothing, and nothing was refused.
    fn is_nothing(&self) -> bool {
        self.deployments.is_empty() && self.reconciled.is_empty() && self.synced.is_empty() && self.refused.is_empty()
    }
}

/// What one rule asks for one stack.
pub(super) struct Wish<'r> {
    pub(super) number: usize,
    pub(super) rule: &'r HookRule,
    pub(super) stack: Versioned<Stack>,
}

/// What is gathered for one transaction.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    delivered: Delivered,
    /// Stacks that stand at the version already.
    standing: Vec<StackKey>,
}

impl Declare {
    /// A hook with its secret. For a name that nobody declared the secret is one that nobody knows, so that a caller can go
    /// on in the same way, and as long, for both.
    ///
    /// # Errors
    /// The store or the seal failed.
    pub fn hook(&self, name: &str) -> Result<(Option<Hook>, SecretBytes), DeclareError> {
        let hook = self.ledger.hook(name)?.map(|found| found.value);
        let sealed = match hook.as_ref().map(|hook| &hook.secret) {
            Some(HookSecret::Value(sealed)) => Some(sealed.clone()),
            Some(HookSecret::Credential { credential }) => self.secret_of(name, credential)?,
            Some(HookSecret::Unsigned { .. }) | None => None,
        };
        let unsigned = hook.as_ref().is_some_and(|hook| matches!(hook.secret, HookSecret::Unsigned { unsigned: true }));
        let known = sealed.is_some() || unsigned;
        let sealed = sealed.map_or_else(|| self.sealer.seal(self.ambient.new_id().as_bytes()), Ok)?;
        let secret = self.sealer.open(&sealed)?;
        Ok((hook.filter(|_| known), secret))
    }

    /// The secret in a credential: its value `secret`, or its only one. A hook without it takes no delivery.
    fn secret_of(&self, hook: &str, name: &CredentialName) -> Result<Option<Sealed>, DeclareError> {
        let found = self.ledger.credential(name)?.map(|found| found.value);
        let opaque = found.filter(|found| found.kind == CredentialType::Opaque);
        let secret = opaque.and_then(|found| match found.data.get("secret") {
            Some(sealed) => Some(sealed.clone()),
            None if found.data.len() == 1 => found.data.into_values().next(),
            None => None,
        });
        if secret.is_none() {
            tracing::warn!(
                hook,
                credential = %name,
                "the hook takes no delivery: there is no such credential of type Opaque with a value `secret`"
            );
        }
        Ok(secret)
    }

    /// Carries out what the rules of a hook make of a delivery. The first rule that holds and names a stack decides for it:
    /// with `set` it is a deploy of that version, without it a request to look again. A stack that cannot take it does not
    /// keep the others from theirs.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] for an id that cannot be kept, and when others change the same stacks all the time.
    pub async fn deliver(&self, hook: &Hook, delivery: &Delivery) -> Result<Delivered, DeclareError> {
        check_id(&delivery.id)?;
        let key = format!("delivery/{}/{}", hook.name, delivery.id);
        let (id, body) = (self.ambient.new_id(), self.body_of(delivery)?);
        for _ in 0..ATTEMPTS {
            if let Some(once) = self.ledger.once(&key)? {
                let deployments = once.value.deployments;
                return Ok(Delivered { replayed: true, deployments, ..Delivered::default() });
            }
            let Gathered { batch, delivered, .. } = self.gather_delivery(hook, delivery)?;
            let once = Once {
                request: self.sealer.digester().digest_of(&delivery.payload).as_str().to_owned(),
                deployments: delivered.deployments.clone(),
                actor: actor(hook),
                at: self.now(),
            };
            let batch = batch.event(&self.received(hook, delivery, &delivered)).put_once(&key, &once);
            let record = received::recorded(&id, hook, delivery, (&delivered, once.at), body.is_some());
            let batch = batch.put_delivery(&record, body.as_ref());
            let old = self.too_many_deliveries(&hook.name)?;
            let batch = old.iter().fold(batch, |batch, delivery| batch.delete_delivery(delivery));
            if self.committed(batch).await? {
                return Ok(delivered);
            }
        }
        let message = format!("the stacks of hook `{}` are being changed by others all the time", hook.name);
        Err(Refusal::new(Code::Conflict, message).hint("send the delivery again").into())
    }

    fn gather_delivery(&self, hook: &Hook, delivery: &Delivery) -> Result<Gathered, DeclareError> {
        let mut gathered = Gathered::default();
        let facts = Facts::new(&delivery.payload, &delivery.event)
            .map_err(|message| Refusal::new(Code::Invalid, message).field("payload"))?;
        let asked = self.asked_by(hook, delivery)?;
        for wish in self.wishes(hook, delivery, &facts)? {
            let key = wish.stack.value.key.clone();
            match self.wished(hook, delivery, &wish, &facts, &asked) {
                Ok(decision) => self.add(&mut gathered, wish, decision, &asked)?,
                Err(DeclareError::Refused(refusals)) => {
                    gathered.delivered.refused.extend(refusals.into_iter().map(|refusal| (key.clone(), refusal)));
                }
                Err(error) => return Err(error),
            }
        }
        for found in self.catalogs_of(hook, delivery, &facts)? {
            let catalog = Catalog { sync_token: Some(self.ambient.new_id()), ..found.value };
            let key = RecordKey::Catalog(catalog.name.clone());
            let batch = std::mem::take(&mut gathered.batch).expect(&key, Some(found.revision));
            gathered.batch = batch.put_catalog(&catalog);
            gathered.delivered.synced.push(catalog.name);
        }
        if gathered.delivered.is_nothing() {
            gathered.delivered.ignored = Some(received::why_nothing(hook, delivery, &facts, &gathered.standing)?);
        }
        Ok(gathered)
    }

    /// The catalogs that rules name.
    pub(super) fn catalogs_of(
        &self,
        hook: &Hook,
        delivery: &Delivery,
        facts: &Facts,
    ) -> Result<Vec<Versioned<Catalog>>, DeclareError> {
        let mut named: Vec<&HookRule> = Vec::new();
        for rule in hook.rules.iter().filter(|rule| !rule.catalogs.is_empty()) {
            if objection(hook, rule, delivery, facts)?.is_none() {
                named.push(rule);
            }
        }
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.ledger.catalogs()?;
        found.retain(|catalog| {
            named.iter().any(|rule| rule.catalogs.iter().any(|pattern| fits(pattern, &catalog.value.name)))
        });
        Ok(found)
    }

    /// The stacks that rules name, each with the first rule that does.
    pub(super) fn wishes<'r>(
        &self,
        hook: &'r Hook,
        delivery: &Delivery,
        facts: &Facts,
    ) -> Result<Vec<Wish<'r>>, DeclareError> {
        let (mut taken, mut wishes) = (BTreeSet::new(), Vec::new());
        let pushed = pushed::repository(hook.provider, &delivery.event, &delivery.payload);
        for (at, rule) in hook.rules.iter().enumerate() {
            if objection(hook, rule, delivery, facts)?.is_some() {
                continue;
            }
            for stack in self.ledger.stacks(Some(&rule.environment))? {
                let name = stack.value.key.name.as_str();
                let named = rule.stacks.iter().any(|pattern| fits(pattern, name));
                if named
                    && self.concerns(rule, pushed.as_deref(), &stack.value)?
                    && taken.insert(stack.value.key.clone())
                {
                    wishes.push(Wish { number: at + 1, rule, stack });
                }
            }
        }
        Ok(wishes)
    }

    /// Whether a stack that a rule names is one that the delivery is about: of a push of an image a look alone is of use only
    /// to those that follow it.
    fn concerns(&self, rule: &HookRule, pushed: Option<&str>, stack: &Stack) -> Result<bool, DeclareError> {
        let Some(pushed) = pushed.filter(|_| rule.set.is_empty()) else { return Ok(true) };
        let status = self.ledger.status(&stack.key)?.map(|status| status.value).unwrap_or_default();
        Ok(pushed::concerns(pushed, stack, &status))
    }

    /// What a hook asks, its payload sealed.
    pub(super) fn asked_by(&self, hook: &Hook, delivery: &Delivery) -> Result<Ask, DeclareError> {
        let sealed = Some(sealed_request(&delivery.original, self.sealer.as_ref())?);
        Ok(Ask { sealed, trace: delivery.trace, ..Ask::new(actor(hook), Trigger::Hook) })
    }

    /// What is to be written for one stack.
    pub(super) fn wished(
        &self,
        hook: &Hook,
        delivery: &Delivery,
        wish: &Wish<'_>,
        facts: &Facts,
        asked: &Ask,
    ) -> Result<Decision, DeclareError> {
        let stack = wish.stack.value.clone();
        super::relay::not_handed(&stack)?;
        if wish.rule.set.is_empty() {
            not_deleting(&stack)?;
            return Ok(self.look(stack, format!("hook `{}` asked for a look", hook.name)));
        }
        let set = values(wish.rule, facts)?;
        let request = DeployRequest {
            wanted: set.get("ref").cloned(),
            images: set
                .iter()
                .filter_map(|(field, value)| Some((field.strip_prefix(IMAGES)?.to_owned(), value.clone())))
                .collect(),
            variables: BTreeMap::new(),
        };
        let wanted = self.check_deploy(&request)?;
        let status = self.ledger.status(&stack.key)?.map(|status| status.value).unwrap_or_default();
        let found = Found { stack, status };
        let mut decision = self.decide_deploy(found, &request, wanted.as_deref(), asked)?;
        if let Decision::Write(writing) = &mut decision
            && let Some(deployment) = &mut writing.deployment
        {
            let by = json!({ "name": hook.name, "delivery": delivery.id, "rule": wish.number, "set": set });
            deployment.origin.mapped_request["hook"] = by;
        }
        Ok(decision)
    }

    /// Adds one stack's part to the transaction; what would be too large for its record is refused for this stack alone.
    fn add(&self, to: &mut Gathered, wish: Wish<'_>, decision: Decision, ask: &Ask) -> Result<(), DeclareError> {
        let key = wish.stack.value.key;
        let Decision::Write(writing) = decision else {
            to.standing.push(key);
            return Ok(());
        };
        match self.fits(&writing.stack, writing.deployment.as_ref()) {
            Ok(()) => {}
            Err(DeclareError::Refused(refusals)) => {
                to.delivered.refused.extend(refusals.into_iter().map(|refusal| (key.clone(), refusal)));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        match &writing.deployment {
            Some(deployment) => to.delivered.deployments.push(deployment.id.clone()),
            None => to.delivered.reconciled.push(key.clone()),
        }
        let batch = std::mem::take(&mut to.batch).expect(&RecordKey::Stack(key), Some(wish.stack.revision));
        to.batch = self.batch(batch, *writing, ask)?.0;
        Ok(())
    }

    /// The line of the log about a delivery.
    fn received(&self, hook: &Hook, delivery: &Delivery, delivered: &Delivered) -> Event {
        let mut message = format!(
            "hook `{}` received `{}` ({}): {} deployments, {} stacks looked at again",
            hook.name,
            delivery.event,
            delivery.id,
            delivered.deployments.len(),
            delivered.reconciled.len()
        );
        if !delivered.synced.is_empty() {
            message.push_str(&format!("; catalogs: {}", delivered.synced.join(", ")));
        }
        if let Some(actor) = &delivery.again_by {
            message.push_str(&format!("; done again for {}", actor.name));
        }
        for (key, refusal) in delivered.refused.iter().take(NAMED) {
            message.push_str(&format!("; not stack `{}`: {}", key.name, refusal.message));
        }
        if let Some(more @ 1..) = delivered.refused.len().checked_sub(NAMED) {
            message.push_str(&format!("; nor {more} more"));
        }
        let refused = delivered.deployments.is_empty() && !delivered.refused.is_empty();
        self.line(hook, if refused { EventType::HookRefused } else { EventType::HookReceived }, message)
    }

    /// A line of the log about a hook's delivery.
    pub(super) fn line(&self, hook: &Hook, kind: EventType, message: String) -> Event {
        Event {
            time: self.now(),
            kind,
            environment: hook.rules.first().map(|rule| rule.environment.clone()).unwrap_or_default(),
            stack: None,
            deployment: None,
            reason: format!("{:?}", Trigger::Hook),
            message,
            actor: actor(hook).name,
            via: Some(Way::Hook),
        }
    }
}

pub(super) fn actor(hook: &Hook) -> Actor {
    Actor::new(format!("hook/{}", hook.name))
}

/// An id becomes part of a key of the store, and of lines for people.
fn check_id(id: &str) -> Result<(), DeclareError> {
    if (1..=128).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    let message = "the delivery's id has 1 to 128 characters, letters, digits and marks without spaces";
    Err(Refusal::new(Code::Invalid, message).field("deliveryId").into())
}

/// Why a rule is not about this delivery; none when it is. One that cannot be read is about none: it was checked when it was
/// declared. Of what a git host sends, a rule that does not ask for the `event` is about pushes alone.
///
/// # Errors
/// Its condition costs too much to answer: the delivery is refused as a whole, for nobody knows what it means.
pub(super) fn objection(
    hook: &Hook,
    rule: &HookRule,
    delivery: &Delivery,
    facts: &Facts,
) -> Result<Option<String>, DeclareError> {
    let when = match rule.when.as_deref().map(Expression::parse) {
        None => None,
        Some(Ok(when)) => Some(when),
        Some(Err(message)) => return Ok(Some(message)),
    };
    let any_event = when.as_ref().is_some_and(Expression::asks_for_the_event);
    if !any_event && !is_push(hook.provider, &delivery.event) {
        let why = format!("it does not ask for `event`, so it is about pushes alone; this is `{}`", delivery.event);
        return Ok(Some(why));
    }
    let objection = when.map_or(Ok(None), |when| when.objection(facts));
    objection.map_err(|exceeded| too_costly("when", exceeded).into())
}

/// What to do about a rule that costs too much.
const CHEAPER: &str = "mend the hook's rule: ask about fewer elements, without a loop within a loop over the same list";

fn too_costly(field: &str, exceeded: Exceeded) -> Refusal {
    let message = format!("`{field}` of a rule of the hook {exceeded}");
    Refusal::new(Code::Invalid, message).field(field).hint(CHEAPER)
}

/// Whether any rule of a hook can be about an event. One that cannot be read may be about any.
#[must_use]
pub fn asks_for(hook: &Hook, event: &str) -> bool {
    let asks = |rule: &HookRule| {
        let when = rule.when.as_deref().map(Expression::parse);
        when.is_some_and(|when| when.as_ref().map_or(true, Expression::asks_for_the_event))
    };
    is_push(hook.provider, event) || hook.rules.iter().any(asks)
}

/// Whether an event is a push of commits or tags; where there is only one kind of event, it counts as one.
fn is_push(provider: HookProvider, event: &str) -> bool {
    match provider {
        HookProvider::GitHub | HookProvider::Gitea => event == "push",
        HookProvider::GitLab => matches!(event, "push" | "tag_push"),
        HookProvider::Bitbucket => event == "repo:push",
        HookProvider::Registry => event == "push",
        HookProvider::DockerHub | HookProvider::CloudEvents | HookProvider::Generic => true,
    }
}

/// What a rule sets, out of the payload.
pub(super) fn values(rule: &HookRule, facts: &Facts) -> Result<BTreeMap<String, String>, DeclareError> {
    let mut set = BTreeMap::new();
    for (field, path) in &rule.set {
        let found = Expression::parse(path).ok().map_or(Ok(None), |expression| expression.value(facts));
        let Some(value) = found.map_err(|exceeded| too_costly(field, exceeded))? else {
            let message = format!("`{path}`, which `{field}` is to be set from, gives no single value here");
            let hint = "look at the payload on the sender's side, and mend `set` of the hook's rule";
            return Err(Refusal::new(Code::Invalid, message).field(field.clone()).hint(hint).into());
        };
        // What a push says for a branch that was deleted.
        if value.len() >= 40 && value.bytes().all(|c| c == b'0') {
            let message = format!("`{path}` is the null commit: the ref was deleted, there is nothing to deploy");
            return Err(Refusal::new(Code::Invalid, message).field(field.clone()).into());
        }
        set.insert(field.clone(), value);
    }
    Ok(set)
}
