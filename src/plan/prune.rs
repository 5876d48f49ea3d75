//! What may be removed, and when. Volumes never are.

use std::collections::BTreeSet;

use super::{Owner, Plan, PlanInput, Prune, Waiting, ownership};
use crate::domain::{Action, Effect, LiveService, ObjectKind, ObjectRef, ServiceSpec, Step};

fn remove(plan: &mut Plan, object: ObjectRef, id: String, reason: String) {
    let effect = Effect::Remove { object: object.clone(), id };
    plan.steps.push(Step { object, action: Action::Remove, reason, changes: Vec::new(), effect });
}

/// Owned services that are not wanted and hold a published port that a wanted service asks for: they go first, or the
/// wanted one could never run.
pub(super) fn in_the_way(input: &PlanInput<'_>, plan: &mut Plan) {
    if input.prune == Prune::Never || input.desired.services.is_empty() {
        return;
    }
    let asked: BTreeSet<_> = input.desired.services.values().flat_map(|service| published(&service.spec)).collect();
    for (object, live) in unwanted_services(input) {
        if let Some((port, protocol)) = published(&live.spec).into_iter().find(|port| asked.contains(port)) {
            let reason = format!("it is no longer wanted and holds port {port}/{protocol}");
            remove(plan, object, live.id.clone(), reason);
        }
    }
}

fn published(spec: &ServiceSpec) -> Vec<(u32, String)> {
    spec.endpoint_spec
        .iter()
        .flat_map(|endpoint| &endpoint.ports)
        .filter(|port| port.published_port != 0)
        .map(|port| {
            let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
            (port.published_port, protocol.to_owned())
        })
        .collect()
}

fn unwanted_services<'a>(input: &PlanInput<'a>) -> Vec<(ObjectRef, &'a LiveService)> {
    input
        .inventory
        .0
        .keys()
        .filter(|object| object.kind == ObjectKind::Service && !input.desired.services.contains_key(&object.name))
        .filter_map(|object| {
            let live = input.live.services.get(&object.name)?;
            let owned = ownership::owner(input, object, &live.id, &live.spec.labels) == Owner::ThisStack;
            owned.then(|| (object.clone(), live.as_ref()))
        })
        .collect()
}

/// What is owned, not wanted and not needed: services, then secrets and configs, then networks that no service of the
/// Swarm uses any more.
pub(super) fn no_longer_wanted(input: &PlanInput<'_>, plan: &mut Plan) {
    let planned: BTreeSet<_> = plan.steps.iter().map(|step| step.object.clone()).collect();
    let mut gone = candidates(input);
    gone.retain(|(object, _)| !planned.contains(object));
    if gone.is_empty() || input.prune == Prune::Never {
        return;
    }
    let objects: Vec<ObjectRef> = gone.iter().map(|(object, _)| object.clone()).collect();
    if input.prune == Prune::Later || input.desired.services.is_empty() {
        return plan.waiting.push(Waiting::PruneAfterConvergence(objects));
    }
    let owned = input.inventory.0.keys().filter(|object| object.kind == ObjectKind::Service).count();
    let services = objects.iter().filter(|object| object.kind == ObjectKind::Service).count();
    if input.prune == Prune::Guarded && services > 1 && services * 2 > owned {
        return plan.waiting.push(Waiting::PruneGuard { objects, of: owned });
    }
    for (object, id) in gone {
        remove(plan, object, id, "it is no longer wanted".to_owned());
    }
}

fn candidates(input: &PlanInput<'_>) -> Vec<(ObjectRef, String)> {
    let desired = input.desired;
    let mut gone: Vec<(ObjectRef, String)> =
        unwanted_services(input).into_iter().map(|(object, live)| (object, live.id.clone())).collect();
    let leaving: BTreeSet<String> = gone.iter().map(|(object, _)| object.name.clone()).collect();
    let staying: Vec<&LiveService> =
        input.live.services.values().map(AsRef::as_ref).filter(|live| !leaving.contains(&live.spec.name)).collect();
    let mut consider = |kind: ObjectKind, wanted: &dyn Fn(&str) -> bool, used: &dyn Fn(&str) -> bool| {
        for object in input.inventory.0.keys().filter(|object| object.kind == kind) {
            if wanted(&object.name) || input.needed.contains(object) || used(&object.name) {
                continue;
            }
            let live = match kind {
                ObjectKind::Network => input.live.networks.get(&object.name).map(|live| (&live.id, &live.labels)),
                ObjectKind::Config => input.live.configs.get(&object.name).map(|live| (&live.id, &live.labels)),
                ObjectKind::Secret => input.live.secrets.get(&object.name).map(|live| (&live.id, &live.labels)),
                ObjectKind::Service => None,
            };
            if let Some((id, labels)) = live
                && ownership::owner(input, object, id, labels) == Owner::ThisStack
            {
                gone.push((object.clone(), id.clone()));
            }
        }
    };
    consider(ObjectKind::Secret, &|name| desired.secrets.contains_key(name), &|name| {
        staying
            .iter()
            .any(|live| live.spec.task_template.container_spec.secrets.iter().any(|used| used.secret_name == name))
    });
    consider(ObjectKind::Config, &|name| desired.configs.contains_key(name), &|name| {
        staying
            .iter()
            .any(|live| live.spec.task_template.container_spec.configs.iter().any(|used| used.config_name == name))
    });
    consider(ObjectKind::Network, &|name| desired.networks.contains_key(name), &|name| {
        staying.iter().any(|live| live.spec.task_template.networks.iter().any(|used| used.target == name))
    });
    gone
}

/// Everything that is owned: services, secrets, configs, networks.
pub(super) fn everything(input: &PlanInput<'_>) -> Vec<Step> {
    let mut plan = Plan::default();
    for (object, id) in candidates(input) {
        remove(&mut plan, object, id, "the stack is deleted".to_owned());
    }
    plan.steps
}
