//! What Swarm cannot change in place, and what goes with it: a network with other options, and every service on it; a
//! service with another mode. Where that is allowed, it is removed and made again; in between it does not run.

use std::collections::{BTreeMap, BTreeSet};

use super::ownership::{is_protected, owner};
use super::{Owner, Plan, PlanInput, is_job_run, objects};
use crate::domain::{Action, DesiredService, Effect, LiveNetwork, LiveService, ObjectKind, ObjectRef, Step};

/// What is made again, with the reason.
#[derive(Default)]
pub(super) struct Again<'a> {
    /// Networks by name.
    pub(super) networks: BTreeMap<&'a str, (&'a LiveNetwork, String)>,
    /// Services by name.
    pub(super) services: BTreeMap<&'a str, (&'a LiveService, String)>,
}

impl<'a> Again<'a> {
    /// Nothing, unless it is allowed.
    pub(super) fn of(input: &PlanInput<'a>) -> Self {
        let mut again = Self::default();
        if !input.allow_recreate {
            return again;
        }
        for wanted in input.desired.networks.values() {
            let Some(live) = input.live.networks.get(&wanted.name) else { continue };
            let object = ObjectRef::new(ObjectKind::Network, &wanted.name);
            let own = owner(input, &object, &live.id, &live.labels) == Owner::ThisStack;
            let may_go = own && !is_protected(&wanted.labels);
            if let Some(what) = objects::network_difference(input, wanted, live).filter(|_| may_go) {
                again.networks.insert(&wanted.name, (live, what));
            }
        }
        again.keep_what_others_use(input);
        for (name, live) in &input.live.services {
            let object = ObjectRef::new(ObjectKind::Service, name);
            if is_job_run(live) || owner(input, &object, &live.id, &live.spec.labels) != Owner::ThisStack {
                continue;
            }
            let wanted = input.desired.services.get(name);
            if wanted.is_some_and(|wanted| is_protected(&wanted.spec.labels)) {
                continue;
            }
            let wanted = wanted.map(|wanted| wanted.spec.mode.kind());
            let mode = live.spec.mode.kind();
            let mut networks = live.spec.task_template.networks.iter().map(|used| used.target.as_str());
            let moved = networks.find(|used| again.networks.contains_key(used));
            let what = match (wanted.filter(|wanted| *wanted != mode), moved) {
                (Some(wanted), _) => format!("mode {mode} → {wanted}"),
                (None, Some(network)) => format!("network `{network}` is made again"),
                (None, None) => continue,
            };
            let reason = format!("{what}: it is removed and made again, and does not run in between");
            again.services.insert(name, (live, reason));
        }
        again
    }

    /// A network that somebody else's service is on, or one of the stack's own that is protected, or not wanted, and must
    /// stay, cannot go: the difference is then refused.
    fn keep_what_others_use(&mut self, input: &PlanInput<'a>) {
        if self.networks.is_empty() {
            return;
        }
        let mut theirs = BTreeSet::new();
        for (name, live) in input.live.services.iter().filter(|(_, live)| !is_job_run(live)) {
            let object = ObjectRef::new(ObjectKind::Service, name);
            let own = owner(input, &object, &live.id, &live.spec.labels) == Owner::ThisStack;
            let goes = |wanted: &DesiredService| !is_protected(&wanted.spec.labels);
            if !own || !input.desired.services.get(name).is_some_and(goes) {
                theirs.extend(live.spec.task_template.networks.iter().map(|used| used.target.as_str()));
            }
        }
        self.networks.retain(|name, _| !theirs.contains(name));
    }

    /// First of all the services go, so that nothing is on the networks any more.
    pub(super) fn remove_services(&self, plan: &mut Plan) {
        for (name, (live, reason)) in &self.services {
            let object = ObjectRef::new(ObjectKind::Service, *name);
            let effect = Effect::Remove { object: object.clone(), id: live.id.clone() };
            let (action, reason) = (Action::Recreate, reason.clone());
            plan.steps.push(Step { object, action, reason, changes: Vec::new(), effect });
        }
    }
}
