//! Desired × live × memory → plan. Pure: the same values in, the same plan out.
//!
//! Order of a plan: networks, configs, secrets; services; then what is no longer wanted, in reverse. Unchanged objects
//! cost no step, and no step is ever planned that would change nothing: an update that changes nothing overwrites Swarm's
//! `PreviousSpec`, clears `UpdateStatus` and re-runs jobs. What Skep does not own it does not touch: an object of a wanted
//! name that someone else owns refuses the whole plan.
//!
//! Removal waits until the version has converged, so that a deployment that fails has pruned nothing. Only a service that
//! holds a port which a wanted service needs is removed before.

mod canonical;
mod diff;
mod ownership;
mod prune;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::domain::{
    Action, ConfigSpec, DEPLOYMENT_LABEL, DeploymentId, Desired, DesiredService, Digest, Digester, Effect,
    INSTANCE_LABEL, Inventory, LiveNetwork, LiveService, NetworkSpec, ObjectKind, ObjectRef, REVISION_LABEL, Revision,
    SPEC_LABEL, STACK_LABEL, SecretSpec, ServiceSpec, Snapshot, StackKey, Step, canonical_json,
};

pub use canonical::{canonical, same_task};
pub use diff::{changes, differences};
pub use ownership::Owner;

/// Everything a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The stack.
    pub stack: &'a StackKey,
    /// This installation's id.
    pub instance: &'a str,
    /// What is worked towards.
    pub desired: &'a Desired,
    /// The commit it came from, for labels.
    pub revision: Option<&'a Revision>,
    /// The deployment it is planned for, for labels.
    pub deployment: &'a DeploymentId,
    /// What the engine says.
    pub live: &'a Snapshot,
    /// What the stack owns, as remembered.
    pub inventory: &'a Inventory,
    /// Configs and secrets that a last good or pinned version needs: never removed.
    pub needed: &'a BTreeSet<ObjectRef>,
    /// Whether and how much may be removed.
    pub prune: Prune,
    /// Makes the digests of the objects.
    pub digester: &'a Digester,
}

/// Whether and how much a plan may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Nothing is removed (the version has not converged yet, or the policy says so); what stands in the way of a wanted
    /// port still is, if the policy allows pruning at all.
    Later,
    /// Nothing at all.
    Never,
    /// What is owned and no longer wanted, within the guard.
    Guarded,
    /// What is owned and no longer wanted: a person asked for this version.
    Asked,
}

/// What is to be done, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Reasons why nothing of this plan may be carried out.
    pub refused: Vec<Refusal>,
    /// Reasons why something is left for later.
    pub waiting: Vec<Waiting>,
    /// Wanted objects that are as they should be.
    pub unchanged: u64,
}

/// Why a plan must not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// An object of that name belongs to someone else.
    Foreign {
        /// The object.
        object: ObjectRef,
        /// Whose it is.
        owner: Owner,
    },
    /// An object declared as external is not there.
    MissingExternal(ObjectRef),
    /// Swarm cannot make this change in place.
    Immutable {
        /// The object.
        object: ObjectRef,
        /// What would have to change.
        what: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { object, owner } => write!(
                f,
                "{object} exists already and belongs to {owner}; rename it in the compose file, or remove the other one"
            ),
            Self::MissingExternal(object) => {
                write!(f, "{object} is declared as external and is not on the Swarm; create it, or remove `external`")
            }
            Self::Immutable { object, what } => write!(
                f,
                "{object} cannot be changed in place ({what}); give it another name, or delete the stack and apply it again"
            ),
        }
    }
}

/// Why something is left for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Removal waits until the version has converged.
    PruneAfterConvergence(Vec<ObjectRef>),
    /// So much would go that a person has to ask for it.
    PruneGuard {
        /// What would be removed.
        objects: Vec<ObjectRef>,
        /// How many services the stack owns.
        of: usize,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PruneAfterConvergence(objects) => {
                write!(f, "{} to be removed once the version has converged", list(objects))
            }
            Self::PruneGuard { objects, of } => write!(
                f,
                "{} would be removed of {of} services, more than half: `skep deploy` this version by hand to agree",
                list(objects)
            ),
        }
    }
}

fn list(objects: &[ObjectRef]) -> String {
    objects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Plan {
    /// Nothing to do, and nothing in the way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.refused.is_empty()
    }

    /// Whether any step is more than a removal.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        self.steps.iter().any(|step| step.action != Action::Remove)
    }

    /// The keyed digest of what the plan would do: an approval holds for this and for no other.
    #[must_use]
    pub fn digest(&self, digester: &Digester) -> Digest {
        let parts: Vec<_> = self
            .steps
            .iter()
            .map(|step| (step.object.to_string(), step.action, &step.changes, canonical_json(&step.reason)))
            .collect();
        digester.digest_of(&parts)
    }
}

/// Decides what to do next.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut plan = Plan::default();
    externals(input, &mut plan);
    for network in input.desired.networks.values() {
        plan_network(input, network, &mut plan);
    }
    for config in input.desired.configs.values() {
        plan_config(input, config, &mut plan);
    }
    for secret in input.desired.secrets.values() {
        plan_secret(input, secret, &mut plan);
    }
    prune::in_the_way(input, &mut plan);
    for service in input.desired.services.values() {
        plan_service(input, service, &mut plan);
    }
    prune::no_longer_wanted(input, &mut plan);
    plan
}

fn externals(input: &PlanInput<'_>, plan: &mut Plan) {
    let desired = input.desired;
    let live = input.live;
    let mut missing = |kind, names: &BTreeSet<String>, there: &dyn Fn(&str) -> bool| {
        for name in names.iter().filter(|name| !there(name)) {
            plan.refused.push(Refusal::MissingExternal(ObjectRef::new(kind, name)));
        }
    };
    let predefined = |name: &str| matches!(name, "host" | "bridge" | "none");
    missing(ObjectKind::Network, &desired.external_networks, &|name| {
        predefined(name) || live.networks.contains_key(name)
    });
    missing(ObjectKind::Config, &desired.external_configs, &|name| live.configs.contains_key(name));
    missing(ObjectKind::Secret, &desired.external_secrets, &|name| live.secrets.contains_key(name));
}

/// Skep's own labels for an object whose desired form has this digest.
fn stamp(input: &PlanInput<'_>, labels: &mut std::collections::BTreeMap<String, String>, digest: &Digest) {
    labels.insert(INSTANCE_LABEL.into(), input.instance.into());
    labels.insert(STACK_LABEL.into(), input.stack.to_string());
    labels.insert(SPEC_LABEL.into(), digest.to_string());
    labels.insert(DEPLOYMENT_LABEL.into(), input.deployment.to_string());
    if let Some(revision) = input.revision {
        labels.insert(REVISION_LABEL.into(), revision.to_string());
    }
}

fn create(plan: &mut Plan, object: ObjectRef, reason: &str, effect: Effect) {
    let reason = reason.to_owned();
    plan.steps.push(Step { object, action: Action::Create, reason, changes: Vec::new(), effect });
}

/// The reason for making an object: was it remembered, then someone removed it.
fn why_missing(input: &PlanInput<'_>, object: &ObjectRef) -> &'static str {
    if input.inventory.0.get(object).is_some_and(|entry| entry.id.is_some()) {
        "it was removed from the Swarm"
    } else {
        "it is not on the Swarm yet"
    }
}

fn plan_network(input: &PlanInput<'_>, wanted: &NetworkSpec, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Network, &wanted.name);
    let Some(live) = input.live.networks.get(&wanted.name) else {
        let mut spec = wanted.clone();
        stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
        let reason = why_missing(input, &object);
        return create(plan, object, reason, Effect::CreateNetwork(spec));
    };
    match ownership::owner(input, &object, &live.id, &live.labels) {
        Owner::ThisStack => match network_difference(wanted, live) {
            Some(what) => plan.refused.push(Refusal::Immutable { object, what }),
            None => plan.unchanged += 1,
        },
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
}

/// What of a network Swarm would have to change. Only what the file states is compared: the engine adds options and
/// addresses of its own.
fn network_difference(wanted: &NetworkSpec, live: &LiveNetwork) -> Option<String> {
    if wanted.driver != live.driver {
        return Some(format!("driver {} → {}", live.driver, wanted.driver));
    }
    if wanted.attachable != live.attachable {
        return Some(format!("attachable {} → {}", live.attachable, wanted.attachable));
    }
    if wanted.internal != live.internal {
        return Some(format!("internal {} → {}", live.internal, wanted.internal));
    }
    if let Some((key, value)) = wanted.options.iter().find(|(key, value)| live.options.get(*key) != Some(*value)) {
        return Some(format!("option {key} → {value}"));
    }
    let subnets = |ipam: Option<&serde_json::Value>| -> BTreeSet<String> {
        ipam.and_then(|ipam| ipam.get("Config"))
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|config| config.get("Subnet").and_then(serde_json::Value::as_str).map(str::to_owned))
            .collect()
    };
    let asked = subnets(wanted.ipam.as_ref());
    (!asked.is_subset(&subnets(live.ipam.as_ref()))).then(|| "subnets".to_owned())
}

fn plan_config(input: &PlanInput<'_>, wanted: &ConfigSpec, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Config, &wanted.name);
    let Some(live) = input.live.configs.get(&wanted.name) else {
        let mut spec = wanted.clone();
        stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
        let reason = why_missing(input, &object);
        return create(plan, object, reason, Effect::CreateConfig(spec));
    };
    match ownership::owner(input, &object, &live.id, &live.labels) {
        Owner::ThisStack if live.data == wanted.data => plan.unchanged += 1,
        Owner::ThisStack => {
            plan.refused.push(Refusal::Immutable { object, what: "its content is not what its name says".into() });
        }
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
}

fn plan_secret(input: &PlanInput<'_>, wanted: &SecretSpec, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Secret, &wanted.name);
    let Some(live) = input.live.secrets.get(&wanted.name) else {
        let mut spec = wanted.clone();
        stamp(input, &mut spec.labels, &input.digester.digest_of(wanted));
        let reason = why_missing(input, &object);
        return create(plan, object, reason, Effect::CreateSecret(spec));
    };
    match ownership::owner(input, &object, &live.id, &live.labels) {
        Owner::ThisStack => plan.unchanged += 1,
        owner => plan.refused.push(Refusal::Foreign { object, owner }),
    }
}

fn plan_service(input: &PlanInput<'_>, wanted: &DesiredService, plan: &mut Plan) {
    let object = ObjectRef::new(ObjectKind::Service, &wanted.spec.name);
    let Some(live) = input.live.services.get(&wanted.spec.name) else {
        let spec = stamped(input, &wanted.spec);
        let reason = why_missing(input, &object);
        return create(plan, object, reason, Effect::CreateService(spec));
    };
    match ownership::owner(input, &object, &live.id, &live.spec.labels) {
        Owner::ThisStack => {}
        owner => return plan.refused.push(Refusal::Foreign { object, owner }),
    }
    let (from, to) = (live.spec.mode.kind(), wanted.spec.mode.kind());
    if from != to {
        return plan.refused.push(Refusal::Immutable { object, what: format!("mode {from} → {to}") });
    }
    let spec = stamped(input, &keep_live(&wanted.spec, live));
    let changes = changes(&live.spec, &spec);
    if changes.is_empty() {
        plan.unchanged += 1;
        return;
    }
    let effect = Effect::UpdateService { id: live.id.clone(), version: live.version, spec };
    let reason = diff::reason(&changes);
    plan.steps.push(Step { object, action: Action::Update, reason, changes, effect });
}

fn stamped(input: &PlanInput<'_>, spec: &ServiceSpec) -> ServiceSpec {
    let mut stamped = spec.clone();
    stamp(input, &mut stamped.labels, &input.digester.digest_of(spec));
    stamped
}

/// What an update keeps from the live service: the force counter, the platforms filled in at create, and, where the file
/// names no number of replicas, the number that runs (an autoscaler's, or a person's).
#[must_use]
pub fn keep_live(wanted: &ServiceSpec, live: &LiveService) -> ServiceSpec {
    let mut spec = wanted.clone();
    let task = &live.spec.task_template;
    spec.task_template.force_update = task.force_update;
    if let Some(platforms) = task.placement.as_ref().map(|placement| &placement.platforms)
        && !platforms.is_empty()
        && spec.task_template.placement.as_ref().is_none_or(|placement| placement.platforms.is_empty())
        && task.container_spec.image == spec.task_template.container_spec.image
    {
        spec.task_template.placement.get_or_insert_default().platforms.clone_from(platforms);
    }
    if let (Some(wanted), Some(live)) = (&mut spec.mode.replicated, &live.spec.mode.replicated)
        && wanted.replicas.is_none()
    {
        wanted.replicas = live.replicas;
    }
    spec
}

/// The steps that remove everything the stack owns, in reverse order: for the deletion of a stack, at a person's word.
#[must_use]
pub fn removal(input: &PlanInput<'_>) -> Vec<Step> {
    prune::everything(input)
}
