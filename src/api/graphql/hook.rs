//! Hooks: what is known of them, what came, what a delivery would do, and having one done again.

use async_graphql::{Enum, InputObject, SimpleObject};
use serde_json::Value;

use super::error;
use super::payload::{UserError, user_errors};
use super::time::Time;
use crate::api::hooks::imagine;
use crate::declare::{Ask, Declare, DeclareError, Delivered, Delivery, StackTrial, TrialOutcome};
use crate::domain::StackKey;
use crate::ledger::{self, Hook, HookDelivery, HookRule, HookSecret, Idle};

/// Who sends to a hook.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "ledger::HookProvider", rename_items = "PascalCase")]
pub(super) enum HookProvider {
    /// GitHub.
    #[graphql(name = "GitHub")]
    GitHub,
    /// GitLab.
    #[graphql(name = "GitLab")]
    GitLab,
    /// Gitea and Forgejo.
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
    /// A registry that sends the notifications of the Distribution project.
    Registry,
    /// Docker Hub, which signs nothing.
    DockerHub,
    /// A CloudEvent over HTTP.
    CloudEvents,
    /// Anyone who can compute an HMAC.
    Generic,
}

/// An inbound webhook. Its secret is never shown.
#[derive(SimpleObject)]
#[graphql(name = "Hook")]
pub(super) struct HookView {
    /// Its name.
    name: String,
    /// Where deliveries are sent to, on this server.
    path: String,
    /// Who sends.
    provider: HookProvider,
    /// Anyone who knows its address may send: it has no secret.
    unsigned: bool,
    /// The credential that holds its secret; none when the hook holds it itself.
    credential: Option<String>,
    /// What a delivery does.
    rules: Vec<HookRuleView>,
}

/// One rule of a hook.
#[derive(SimpleObject)]
#[graphql(name = "HookRule")]
struct HookRuleView {
    /// The condition over the payload, in CEL; none: always.
    when: Option<String>,
    /// Patterns of stacks' names.
    stacks: Vec<String>,
    /// Patterns of the names of catalogs that are looked at.
    catalogs: Vec<String>,
    /// The environment they are in.
    environment: String,
    /// What is set from the payload; without any the stacks' sources are looked at again.
    set: Vec<HookSet>,
}

/// One thing that a rule sets.
#[derive(SimpleObject)]
struct HookSet {
    /// `ref`, or `images.SERVICE`.
    field: String,
    /// The expression, in CEL; of a trial: its value.
    value: String,
}

impl From<Hook> for HookView {
    fn from(it: Hook) -> Self {
        let credential = match &it.secret {
            HookSecret::Credential { credential } => Some(credential.to_string()),
            HookSecret::Value(_) | HookSecret::Unsigned { .. } => None,
        };
        Self {
            path: format!("/hooks/{}", it.name),
            unsigned: matches!(it.secret, HookSecret::Unsigned { unsigned: true }),
            name: it.name,
            provider: it.provider.into(),
            credential,
            rules: it.rules.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<HookRule> for HookRuleView {
    fn from(it: HookRule) -> Self {
        Self {
            when: it.when,
            stacks: it.stacks,
            catalogs: it.catalogs,
            environment: it.environment.to_string(),
            set: set(it.set),
        }
    }
}

fn set(fields: impl IntoIterator<Item = (String, String)>) -> Vec<HookSet> {
    fields.into_iter().map(|(field, value)| HookSet { field, value }).collect()
}

/// Which stack.
#[derive(SimpleObject)]
struct StackName {
    /// Its name.
    name: String,
    /// Its environment.
    environment: String,
}

impl From<StackKey> for StackName {
    fn from(it: StackKey) -> Self {
        Self { name: it.name.to_string(), environment: it.environment.to_string() }
    }
}

/// A stack that did not, or would not, take what a rule wants of it.
#[derive(SimpleObject)]
struct HookRefusal {
    /// The stack.
    stack: StackName,
    /// The code of the refusal.
    code: String,
    /// Why.
    message: String,
}

/// What came to a hook, from a sender who was who he said he is.
#[derive(SimpleObject)]
#[graphql(name = "HookDelivery")]
pub(super) struct HookDeliveryView {
    /// Skep's own id of it; later ones are greater.
    id: String,
    /// The sender's id of it.
    delivery_id: String,
    /// What happened there, in one word.
    event: String,
    /// When it came.
    at: Time,
    /// Who had it done again; none for one that came from outside.
    again_by: Option<String>,
    /// The ids of the deployments it made.
    deployments: Vec<String>,
    /// Stacks that were looked at again without a new version.
    reconciled: Vec<StackName>,
    /// Catalogs that were looked at.
    synced: Vec<String>,
    /// Stacks that did not take it.
    refused: Vec<HookRefusal>,
    /// Whether what came is kept, so that it can be done again.
    kept: bool,
    /// What became of it, in one word.
    outcome: HookDeliveryOutcome,
    /// Why nothing was done at all, as far as that is known.
    message: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "ledger::DeliveryOutcome", rename_items = "PascalCase")]
pub(super) enum HookDeliveryOutcome {
    /// It made deployments.
    Deployed,
    /// Stacks or catalogs were looked at again.
    LookedAgain,
    /// Nothing was done, rightly.
    Ignored,
    /// Nothing was done, because no stack took it, or because it is not what its sender should send.
    Refused,
}

impl From<HookDelivery> for HookDeliveryView {
    fn from(it: HookDelivery) -> Self {
        let refusal =
            |it: ledger::RefusedStack| HookRefusal { stack: it.stack.into(), code: it.code, message: it.message };
        Self {
            outcome: it.outcome().into(),
            message: it.idle.map(|idle| match idle {
                Idle::Ignored(why) | Idle::Refused(why) => why,
            }),
            id: it.id,
            delivery_id: it.delivery,
            event: it.event,
            at: it.at.into(),
            again_by: it.again_by.map(|actor| actor.name),
            deployments: it.deployments.into_iter().map(|id| id.0).collect(),
            reconciled: it.reconciled.into_iter().map(Into::into).collect(),
            synced: it.synced,
            refused: it.refused.into_iter().map(refusal).collect(),
            kept: it.kept,
        }
    }
}

/// What a delivery would do.
#[derive(SimpleObject)]
pub(super) struct HookTrial {
    /// What happened, in the word the rules are asked about.
    event: String,
    /// The rules, in their order.
    rules: Vec<RuleTrial>,
    /// What would become of each stack that a rule names.
    stacks: Vec<StackTrialView>,
    /// The catalogs that would be looked at.
    catalogs: Vec<String>,
}

/// Whether one rule is about a delivery.
#[derive(SimpleObject)]
struct RuleTrial {
    /// Its number, from 1.
    number: usize,
    /// It is.
    holds: bool,
    /// Why it is not.
    objection: Option<String>,
}

/// What a delivery would do to one stack.
#[derive(SimpleObject)]
#[graphql(name = "HookStackTrial")]
struct StackTrialView {
    /// The stack.
    stack: StackName,
    /// The number of the rule that decides.
    rule: usize,
    /// What it sets, with the values from the payload.
    set: Vec<HookSet>,
    /// What would be done.
    outcome: HookOutcome,
    /// Why it would be refused.
    message: Option<String>,
}

/// What would be done to a stack.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(rename_items = "PascalCase")]
enum HookOutcome {
    /// A deployment would be made.
    Deploys,
    /// Its source would be looked at again.
    LooksAgain,
    /// It stands at that version already.
    Nothing,
    /// It would not take it.
    Refuses,
}

impl From<StackTrial> for StackTrialView {
    fn from(it: StackTrial) -> Self {
        let (outcome, message) = match it.outcome {
            TrialOutcome::Deploys => (HookOutcome::Deploys, None),
            TrialOutcome::LooksAgain => (HookOutcome::LooksAgain, None),
            TrialOutcome::Nothing => (HookOutcome::Nothing, None),
            TrialOutcome::Refuses(refusal) => (HookOutcome::Refuses, Some(refusal.message)),
        };
        Self { stack: it.stack.into(), rule: it.rule, set: set(it.set), outcome, message }
    }
}

/// What a payload would do if its sender sent it now.
pub(super) fn trial(
    declare: &Declare,
    (hook, event, payload): (&str, Option<&str>, &str),
    ask: &Ask,
) -> async_graphql::Result<Vec<HookTrial>> {
    let invalid = |message: String| error("INVALID", message);
    let said = |cause: DeclareError| match cause.refusals().first() {
        Some(refusal) => error(refusal.code.as_str(), refusal.to_string()),
        None => super::fault(cause),
    };
    let hook = declare.declared_hook(hook).map_err(said)?;
    let happened = imagine(hook.provider, event, payload).map_err(invalid)?;
    let mut trials = Vec::new();
    for (event, payload) in happened {
        let delivery =
            Delivery { id: "trial".to_owned(), event, payload, original: Value::Null, again_by: None, trace: None };
        let trial = declare.try_delivery(&hook, &delivery, ask).map_err(said)?;
        let rules = trial.rules.into_iter().enumerate().map(|(at, objection)| RuleTrial {
            number: at + 1,
            holds: objection.is_none(),
            objection,
        });
        trials.push(HookTrial {
            event: trial.event,
            rules: rules.collect(),
            stacks: trial.stacks.into_iter().map(Into::into).collect(),
            catalogs: trial.catalogs,
        });
    }
    Ok(trials)
}

/// What `redeliverHook` takes.
#[derive(Debug, InputObject)]
pub(super) struct RedeliverHookInput {
    /// The name of the hook.
    pub(super) hook: String,
    /// Skep's id of the delivery.
    pub(super) delivery: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `redeliverHook` answers.
#[derive(SimpleObject)]
pub(super) struct RedeliverHookPayload {
    /// The id it was done again under; null when the request was refused.
    delivery_id: Option<String>,
    /// The ids of the deployments it made.
    deployments: Vec<String>,
    /// Stacks that were looked at again without a new version.
    reconciled: Vec<StackName>,
    /// Catalogs that were looked at.
    synced: Vec<String>,
    /// Stacks that did not take it.
    refused: Vec<HookRefusal>,
    /// Why nothing was to be done at all.
    message: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl RedeliverHookPayload {
    pub(super) fn new(outcome: Result<(String, Delivered), DeclareError>) -> async_graphql::Result<Self> {
        let (id, delivered) = match outcome {
            Ok(done) => done,
            Err(cause) => {
                return Ok(Self {
                    delivery_id: None,
                    deployments: Vec::new(),
                    reconciled: Vec::new(),
                    synced: Vec::new(),
                    refused: Vec::new(),
                    message: None,
                    user_errors: user_errors(cause)?,
                });
            }
        };
        let refused = delivered.refused.into_iter().map(|(stack, refusal)| HookRefusal {
            stack: stack.into(),
            code: refusal.code.as_str().to_owned(),
            message: refusal.message,
        });
        Ok(Self {
            delivery_id: Some(id),
            deployments: delivered.deployments.into_iter().map(|id| id.0).collect(),
            reconciled: delivered.reconciled.into_iter().map(Into::into).collect(),
            synced: delivered.synced,
            refused: refused.collect(),
            message: delivered.ignored,
            user_errors: Vec::new(),
        })
    }
}

/// What `deleteHook` takes.
#[derive(Debug, InputObject)]
pub(super) struct DeleteHookInput {
    /// Its name.
    pub(super) name: String,
    /// Why, for the record.
    pub(super) reason: Option<String>,
}

/// What `deleteHook` answers.
#[derive(SimpleObject)]
pub(super) struct DeleteHookPayload {
    /// The name of the hook; null when the request was refused.
    name: Option<String>,
    /// Why nothing was written; empty when the request was carried out.
    user_errors: Vec<UserError>,
}

impl DeleteHookPayload {
    pub(super) fn new(outcome: Result<Hook, DeclareError>) -> async_graphql::Result<Self> {
        match outcome {
            Ok(hook) => Ok(Self { name: Some(hook.name), user_errors: Vec::new() }),
            Err(cause) => Ok(Self { name: None, user_errors: user_errors(cause)? }),
        }
    }
}
