//! What may be removed, and when. Volumes never are.

use std::collections::{BTreeMap, BTreeSet};

use super::ownership::is_protected;
use super::ports::published;
use super::{Owner, Plan, PlanInput, Prune, Waiting, is_job_run, ownership};
use crate::domain::{Action, Desired, Effect, LiveService, ObjectKind, ObjectRef, Step};

fn remove(plan: &mut Plan, object: ObjectRef, id: String, reason: String) {
    let effect = Effect::Remove { object: object.clone(), id };
    plan.steps.push(Step { object, action: Action::Remove, reason, changes: Vec::new(), effect });
}

/// What the stack owns and does not want.
pub(super) struct Surplus<'a> {
    /// Its services, with what they are on the Swarm.
    services: Vec<(&'a ObjectRef, &'a LiveService)>,
    /// How many services the stack owns on the Swarm, wanted ones included.
    owned: usize,
    /// Its services that would go, were they not protected.
    protected: Vec<ObjectRef>,
}

impl<'a> Surplus<'a> {
    pub(super) fn of(input: &PlanInput<'a>) -> Self {
        let mut surplus = Self { services: Vec::new(), owned: 0, protected: Vec::new() };
        for object in input.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service) {
            let Some(live) = input.live.services.get(&object.name) else { continue };
            let owner = ownership::owner(input, object, &live.id, &live.spec.labels);
            if owner != Owner::ThisStack && !planted!("a foreign service of our name is pruned") {
                continue;
            }
            // Runs of jobs go by themselves, and what a job is to take the place of goes when it runs.
            let job = is_job_run(live) || input.desired.jobs.contains_key(&object.name);
            if job && input.prune != Prune::Everything {
                continue;
            }
            surplus.owned += 1;
            if input.desired.services.contains_key(&object.name) || input.needed.contains(object) {
                continue;
            }
            if is_protected(&live.spec.labels) {
                surplus.protected.push(object.clone());
            } else {
                surplus.services.push((object, live));
            }
        }
        surplus
    }

    /// So much would go that a person has to ask for it.
    fn guarded(&self, input: &PlanInput<'_>) -> bool {
        input.prune == Prune::Guarded
            && !planted!("half of a stack may go unasked")
            && self.services.len() > 1
            && self.services.len() * 2 > self.owned
    }
}

/// Owned services that are not wanted and hold a published port that a wanted service asks for: they go first, or the
/// wanted one could never run.
pub(super) fn in_the_way(input: &PlanInput<'_>, surplus: &Surplus<'_>, plan: &mut Plan) {
    if input.prune == Prune::Never || surplus.services.is_empty() || surplus.guarded(input) {
        return;
    }
    let asked: BTreeSet<_> =
        input.desired.services.values().flat_map(|service| published(&service.spec)).map(|(port, _)| port).collect();
    for (object, live) in &surplus.services {
        if let Some((port, _)) = published(&live.spec).find(|(port, _)| asked.contains(port)) {
            let reason = format!("it is no longer wanted and holds port {port}");
            remove(plan, (*object).clone(), live.id.clone(), reason);
        }
    }
}

/// What is owned, not wanted and not needed: services, then secrets and configs, then networks that no service of the
/// Swarm uses any more.
pub(super) fn no_longer_wanted(input: &PlanInput<'_>, surplus: Surplus<'_>, plan: &mut Plan) {
    if input.prune == Prune::Never {
        return;
    }
    let guarded = surplus.guarded(input);
    let owned = surplus.owned;
    let Candidates { unused, mut protected, used } = Candidates::of(input, &surplus);
    protected.extend(surplus.protected.iter().cloned());
    if !protected.is_empty() {
        plan.waiting.push(Waiting::Protected(protected));
    }
    if !used.is_empty() {
        plan.waiting.push(Waiting::UsedByOthers(used));
    }
    let planned: BTreeSet<_> = plan.steps.iter().map(|step| step.object.clone()).collect();
    let services = surplus.services.into_iter().map(|(object, live)| (object.clone(), live.id.clone()));
    let gone: Vec<_> = services.chain(unused).filter(|(object, _)| !planned.contains(object)).collect();
    if gone.is_empty() {
        return;
    }
    let objects = || gone.iter().map(|(object, _)| object.clone()).collect();
    let nothing = input.desired.services.is_empty() && !planted!("an empty version removes everything");
    if nothing && input.prune != Prune::Everything {
        return plan.waiting.push(Waiting::NothingWanted(objects()));
    }
    if input.prune == Prune::Later {
        return plan.waiting.push(Waiting::PruneAfterConvergence(objects()));
    }
    if guarded {
        return plan.waiting.push(Waiting::PruneGuard { objects: objects(), of: owned });
    }
    for (object, id) in gone {
        remove(plan, object, id, "it is no longer wanted".to_owned());
    }
}

fn is_wanted(desired: &Desired, object: &ObjectRef) -> bool {
    let name = &object.name;
    match object.kind {
        ObjectKind::Network => desired.networks.contains_key(name) || desired.external_networks.contains(name),
        ObjectKind::Config => desired.configs.contains_key(name) || desired.external_configs.contains(name),
        ObjectKind::Secret => desired.secrets.contains_key(name) || desired.external_secrets.contains(name),
        ObjectKind::Service => true,
    }
}

/// Secrets, configs and networks that are owned, and neither wanted nor needed.
struct Candidates {
    /// Used by no service that stays, with their ids, in the order in which they go.
    unused: Vec<(ObjectRef, String)>,
    protected: Vec<ObjectRef>,
    /// Networks that a service of somebody else is on, with its name.
    used: Vec<(ObjectRef, String)>,
}

impl Candidates {
    /// The services of the Swarm are looked through once, and only if there is a candidate.
    fn of(input: &PlanInput<'_>, surplus: &Surplus<'_>) -> Self {
        let (mut candidates, protected) = owned_and_not_wanted(input);
        let mut used = Vec::new();
        if !candidates.is_empty() {
            let leaving: BTreeSet<&str> = surplus.services.iter().map(|(object, _)| object.name.as_str()).collect();
            for live in input.live.services.values().filter(|live| !leaving.contains(live.spec.name.as_str())) {
                uses(live, |kind, name| {
                    let object = ObjectRef::new(ObjectKind::Service, &live.spec.name);
                    let there = candidates.remove(&(kind, name)).is_some() && kind == ObjectKind::Network;
                    if there && ownership::owner(input, &object, &live.id, &live.spec.labels) != Owner::ThisStack {
                        used.push((ObjectRef::new(kind, name), live.spec.name.clone()));
                    }
                });
            }
        }
        let mut unused: Vec<_> =
            candidates.into_iter().map(|((kind, name), id)| (ObjectRef::new(kind, name), id)).collect();
        unused.sort_by(|(a, _), (b, _)| b.kind.cmp(&a.kind).then_with(|| a.name.cmp(&b.name)));
        Self { unused, protected, used }
    }
}

/// By kind and name, with their ids; and those that are protected.
fn owned_and_not_wanted<'a>(input: &PlanInput<'a>) -> (BTreeMap<(ObjectKind, &'a str), String>, Vec<ObjectRef>) {
    let (mut candidates, mut protected) = (BTreeMap::new(), Vec::new());
    for object in input.inventory.0.keys() {
        let wanted = is_wanted(input.desired, object) && !planted!("configs in use are candidates");
        if wanted || input.needed.contains(object) {
            continue;
        }
        let live = match object.kind {
            ObjectKind::Network => input.live.networks.get(&object.name).map(|live| (&live.id, &live.labels)),
            ObjectKind::Config => input.live.configs.get(&object.name).map(|live| (&live.id, &live.labels)),
            ObjectKind::Secret => input.live.secrets.get(&object.name).map(|live| (&live.id, &live.labels)),
            ObjectKind::Service => None,
        };
        if let Some((id, labels)) = live
            && ownership::owner(input, object, id, labels) == Owner::ThisStack
        {
            if is_protected(labels) {
                protected.push(object.clone());
                continue;
            }
            candidates.insert((object.kind, object.name.as_str()), id.clone());
        }
    }
    (candidates, protected)
}

/// What a service refers to.
fn uses<'a>(live: &'a LiveService, mut each: impl FnMut(ObjectKind, &'a str)) {
    let task = &live.spec.task_template;
    task.container_spec.secrets.iter().for_each(|used| each(ObjectKind::Secret, &used.secret_name));
    task.container_spec.configs.iter().for_each(|used| each(ObjectKind::Config, &used.config_name));
    task.networks.iter().for_each(|used| each(ObjectKind::Network, &used.target));
}
