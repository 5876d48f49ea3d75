//! Desired × live × memory → plan. Pure: the same values in, the same plan out.
//!
//! Order of a plan: networks, configs, secrets; services; then what is no longer wanted, in reverse. Unchanged objects
//! cost no step, and no step is ever planned that would change nothing: an update that changes nothing overwrites Swarm's
//! `PreviousSpec`, clears `UpdateStatus` and re-runs jobs. What Skep does not own it does not touch: an object of a wanted
//! name that someone else owns refuses the whole plan.
//!
//! Removal waits until the version has converged, so that a deployment that fails has pruned nothing. Only a service that
//! holds a port which a wanted service needs is removed before. Among services, one that gives a port up goes before the
//! one that takes it.
//!
//! | file | says |
//! | --- | --- |
//! | `ownership` | whose an object is |
//! | `adopt` | how a stack that `docker stack deploy` made is taken over, and handed back |
//! | `objects` | what networks, configs and secrets need |
//! | `jobs` | the jobs that run for a deployment |
//! | `services` | what services need, and what an update keeps |
//! | `pace` | how fast services are updated on the way back |
//! | `canonical`, `diff` | when two specs mean the same to Swarm, and where they differ |
//! | `ports` | which service goes first |
//! | `waves` | what waits for something to run or to end first |
//! | `preflight`, `places` | what can be known to fail before anything is changed; what a node can take |
//! | `recreate` | what is removed and made again, if that is allowed |
//! | `prune` | what may go, and when |
//! | `resume` | an update that Swarm stopped, told to go on |

mod adopt;
mod author;
mod canonical;
mod diff;
mod jobs;
mod objects;
mod ownership;
mod pace;
mod places;
mod ports;
mod preflight;
mod prune;
mod recreate;
mod resume;
mod services;
mod waves;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::{
    Action, Course, DeploymentId, Desired, Digest, Digester, Effect, Inventory, ObjectKind, ObjectRef, Revision,
    SPEC_LABEL, Snapshot, StackKey, Step,
};

pub use adopt::{adopted_names, release};
pub use author::author;
pub(crate) use canonical::task_form;
pub use canonical::{canonical, same_task};
pub use diff::{changes, differences};
pub use jobs::is_job_run;
pub use ownership::{Owner, is_marked, is_protected};
pub use pace::{Pace, restores_pace};
pub use preflight::{Preflight, could_not_come_back, preflight};
pub use resume::resume;
pub use services::{effective, keep_live};
pub use waves::{Gate, PlannedJob, Ready};

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
    /// The commit of the version that is left, for jobs.
    pub previous: Option<&'a Revision>,
    /// How it is gone about: which jobs run, and what is awaited.
    pub course: Course,
    /// The deployment it is planned for, for labels.
    pub deployment: &'a DeploymentId,
    /// What the engine says.
    pub live: &'a Snapshot,
    /// What the stack owns, as remembered.
    pub inventory: &'a Inventory,
    /// What a last good or pinned version needs, its configs and secrets above all: never removed.
    pub needed: &'a BTreeSet<ObjectRef>,
    /// Whether and how much may be removed.
    pub prune: Prune,
    /// How services are updated.
    pub pace: Pace,
    /// Whether what Swarm cannot change in place may be removed and made again.
    pub allow_recreate: bool,
    /// Whether what `docker stack deploy` made under the stack's name is taken over.
    pub adopt: bool,
    /// Makes the digests of the objects.
    pub digester: &'a Digester,
}

/// Whether and how much a plan may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Nothing is removed yet, because the version has not converged; but what stands in the way of a wanted port is.
    Later,
    /// Nothing at all: the policy says so.
    Never,
    /// What is owned and no longer wanted, unless that is more than one service and more than half of them.
    Guarded,
    /// What is owned and no longer wanted: a person asked for this version.
    Asked,
    /// As asked, and even if nothing at all is wanted: the stack is to be deleted.
    Everything,
}

/// What is to be done, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Reasons why nothing of this plan may be carried out: when there is one, the steps only show what else would be
    /// done.
    pub refused: Vec<Refusal>,
    /// Reasons why something is left for later.
    pub waiting: Vec<Waiting>,
    /// Wanted objects that are as they should be.
    pub unchanged: u64,
    /// Jobs that run for it.
    pub jobs: Vec<PlannedJob>,
    /// What services and jobs wait for, by real name; see [`Plan::ready`].
    pub gates: BTreeMap<String, Gate>,
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
    /// Swarm cannot make this change in place, and the object is protected: it is not removed to be made again.
    Protected {
        /// The object.
        object: ObjectRef,
        /// What would have to change.
        what: String,
    },
    /// Swarm gives a port to one service only, and another one holds it and keeps it.
    PortTaken {
        /// The service that asks for it.
        object: ObjectRef,
        /// The port, as `80/tcp`.
        port: String,
        /// The service that holds it.
        by: String,
    },
}

impl Refusal {
    /// Of a change that Swarm cannot make in place.
    fn immutable(input: &PlanInput<'_>, object: ObjectRef, what: String) -> Self {
        let name = &object.name;
        let labels = match object.kind {
            ObjectKind::Network => input.desired.networks.get(name).map(|wanted| &wanted.labels),
            ObjectKind::Service => input.desired.services.get(name).map(|wanted| &wanted.spec.labels),
            ObjectKind::Config | ObjectKind::Secret => None,
        };
        match labels.is_some_and(is_protected) {
            true => Self::Protected { object, what },
            false => Self::Immutable { object, what },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { object, owner: Owner::DockerStack(name) }
                if object.name.starts_with(&format!("{name}_")) =>
            {
                write!(
                    f,
                    "{object} exists already and belongs to the stack `{name}` that Skep does not manage; take that stack over with `skep adopt`, rename the object in the compose file, or remove the other one"
                )
            }
            Self::Foreign { object, owner } => write!(
                f,
                "{object} exists already and belongs to {owner}; rename it in the compose file, or remove the other one"
            ),
            Self::MissingExternal(object) => {
                write!(f, "{object} is declared as external and is not on the Swarm; create it, or remove `external`")
            }
            Self::Immutable { object, what } if matches!(object.kind, ObjectKind::Config | ObjectKind::Secret) => {
                write!(f, "{object} cannot be changed in place ({what}); give it another name")
            }
            Self::Immutable { object, what } => write!(
                f,
                "{object} cannot be changed in place ({what}); allow an outage with `policy.allowRecreate`, or give it another name"
            ),
            Self::Protected { object, what } => write!(
                f,
                "{object} cannot be changed in place ({what}), and is protected: take `x-skep.protect` from it to have it removed and made again, or give it another name"
            ),
            Self::PortTaken { object, port, by } => write!(
                f,
                "{object} publishes port {port}, which service `{by}` holds; publish another port, or free that one first"
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
    /// The version holds no service at all: that looks like a mistake, so nothing is removed for it.
    NothingWanted(Vec<ObjectRef>),
    /// `docker stack deploy` made them for a stack of this name, and the file does not name them: they stay as they are.
    NotInTheFile(Vec<ObjectRef>),
    /// Networks that services of others are on, each with one of them: they stay until nobody is.
    UsedByOthers(Vec<(ObjectRef, String)>),
    /// They are marked as protected: they stay until a person removes them.
    Protected(Vec<ObjectRef>),
    /// The file states other labels for a network than it has, and Swarm cannot change them.
    NetworkLabels(ObjectRef),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PruneAfterConvergence(objects) => {
                write!(f, "{} to be removed once the version has converged", list(objects))
            }
            Self::NothingWanted(objects) => write!(
                f,
                "{} left alone, because this version holds no service at all: delete the stack to remove them",
                list(objects)
            ),
            Self::NotInTheFile(objects) => write!(
                f,
                "{} left alone and not taken over: the file does not name it; remove it by hand if it is not needed",
                list(objects)
            ),
            Self::UsedByOthers(used) => {
                let told = used.iter().map(|(object, by)| format!("{object} left alone: service `{by}` is on it"));
                write!(
                    f,
                    "{}, which is not of this stack; take it off the network to have that removed",
                    told.collect::<Vec<_>>().join(", ")
                )
            }
            Self::Protected(objects) => {
                write!(f, "{} left alone: it is protected (`x-skep.protect`); remove it by hand", list(objects))
            }
            Self::NetworkLabels(object) => write!(
                f,
                "the labels of {object} stay as they are: Swarm cannot change those of a network, only those of one that is made"
            ),
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

    /// The keyed digest of what the plan would do: an approval holds for this and for no other. It covers the content of
    /// what is made and changed, but not which deployment does it.
    #[must_use]
    pub fn digest(&self, digester: &Digester) -> Digest {
        let parts: Vec<_> = self
            .steps
            .iter()
            .map(|step| (step.object.to_string(), step.action, &step.changes, content(&step.effect)))
            .collect();
        if self.jobs.is_empty() {
            return digester.digest_of(&parts);
        }
        let jobs: Vec<_> = self
            .jobs
            .iter()
            .map(|job| (&job.service.spec.name, job.when, job.service.spec.labels.get(SPEC_LABEL)))
            .collect();
        digester.digest_of(&(parts, jobs))
    }
}

/// What tells the content of an effect apart: the digest of what is made, the id of what is removed.
fn content(effect: &Effect) -> Option<&str> {
    let labels = match effect {
        Effect::CreateNetwork(spec) => &spec.labels,
        Effect::CreateConfig(spec) => &spec.labels,
        Effect::CreateSecret(spec) => &spec.labels,
        Effect::CreateService(spec) => &spec.labels,
        Effect::UpdateService { id, .. }
        | Effect::Relabel { id, .. }
        | Effect::Own { id, .. }
        | Effect::Remove { id, .. } => return Some(id),
    };
    labels.get(SPEC_LABEL).map(String::as_str)
}

/// Decides what to do next.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut plan = Plan::default();
    objects::externals(input, &mut plan);
    let again = recreate::Again::of(input);
    again.remove_services(&mut plan);
    objects::networks(input, &again, &mut plan);
    objects::configs(input, &mut plan);
    objects::secrets(input, &mut plan);
    let surplus = prune::Surplus::of(input);
    prune::in_the_way(input, &surplus, &mut plan);
    services::services(input, &again, &mut plan);
    jobs::jobs(input, &mut plan);
    prune::no_longer_wanted(input, surplus, &mut plan);
    adopt::left_alone(input, &mut plan);
    plan
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
