//! Which service goes first: one that gives a published port up goes before the one that takes it. Swarm refuses to
//! publish a port twice, unless both ask for it on the node alone (mode `host`), where the scheduler keeps them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Plan, PlanInput, Refusal};
use crate::domain::{Action, Effect, PortConfig, ServiceSpec, Step};

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port<'a> {
    number: u32,
    protocol: &'a str,
}

impl fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// The ports a spec publishes under a number of its own choice, and whether on the node alone.
pub(super) fn published(spec: &ServiceSpec) -> impl Iterator<Item = (Port<'_>, bool)> {
    let ports = spec.endpoint_spec.iter().flat_map(|endpoint| &endpoint.ports);
    ports.filter(|port| port.published_port != 0).map(|port: &PortConfig| {
        let protocol = if port.protocol.is_empty() { "tcp" } else { port.protocol.as_str() };
        (Port { number: port.published_port, protocol }, port.publish_mode == "host")
    })
}

fn new_spec(step: &Step) -> Option<&ServiceSpec> {
    match &step.effect {
        Effect::CreateService(spec) | Effect::UpdateService { spec, .. } => Some(spec),
        _ => None,
    }
}

/// Appends the steps of services to the plan: by name, but a service that takes a port after the one that gives it up.
/// Where a port is not given up, or two services would have to swap theirs, nothing can be carried out.
pub(super) fn in_order(input: &PlanInput<'_>, steps: Vec<Step>, plan: &mut Plan) {
    let needs = needs(input, &steps, plan);
    let mut steps: BTreeMap<String, Step> = steps.into_iter().map(|step| (step.object.name.clone(), step)).collect();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for need in &needs {
        *open.entry(need.taker.as_str()).or_default() += 1;
        waiting.entry(need.giver.as_str()).or_default().push(&need.taker);
    }
    let mut ready: BTreeSet<String> = steps.keys().filter(|name| !open.contains_key(name.as_str())).cloned().collect();
    while let Some(name) = ready.pop_first() {
        for taker in waiting.remove(name.as_str()).into_iter().flatten() {
            let left = open.entry(taker).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.insert(taker.to_owned());
            }
        }
        plan.steps.extend(steps.remove(&name));
    }
    for need in needs.iter().filter(|need| steps.contains_key(&need.taker) && steps.contains_key(&need.giver)) {
        let Some(step) = steps.get(&need.taker) else { continue };
        let (object, port, by) = (step.object.clone(), need.port.clone(), need.giver.clone());
        plan.refused.push(Refusal::PortTaken { object, port, by });
    }
    plan.steps.extend(steps.into_values());
}

/// A port that goes from one service of the stack to another.
struct Need {
    taker: String,
    giver: String,
    port: String,
}

/// Which steps wait for which others. A port that is wanted twice, or will not be given up, is refused.
fn needs(input: &PlanInput<'_>, steps: &[Step], plan: &mut Plan) -> Vec<Need> {
    let takers: BTreeSet<&str> = steps.iter().map(|step| step.object.name.as_str()).collect();
    if steps.iter().filter_map(new_spec).all(|spec| published(spec).next().is_none()) {
        return Vec::new();
    }
    let wanted = publishers(input.desired.services.values().map(|service| &service.spec));
    let holders = holders(input, plan);
    let mut needs = Vec::new();
    for (step, spec) in steps.iter().filter_map(|step| Some((step, new_spec(step)?))) {
        let taker = step.object.name.as_str();
        for (port, on_node) in published(spec) {
            let clash = |map: &Publishers<'_>| -> BTreeSet<String> {
                let others = map.get(&port).into_iter().flatten();
                let clashing = others.filter(|(name, theirs)| *name != taker && !(on_node && *theirs));
                clashing.map(|(name, _)| (*name).to_owned()).collect()
            };
            let rivals = clash(&wanted);
            for by in clash(&holders).union(&rivals) {
                let (port, by) = (port.to_string(), by.clone());
                if rivals.contains(&by) || !input.desired.services.contains_key(&by) {
                    plan.refused.push(Refusal::PortTaken { object: step.object.clone(), port, by });
                } else if takers.contains(by.as_str()) {
                    needs.push(Need { taker: taker.to_owned(), giver: by, port });
                }
            }
        }
    }
    needs
}

/// By port: who publishes it, and whether on its nodes alone.
type Publishers<'a> = BTreeMap<Port<'a>, Vec<(&'a str, bool)>>;

fn publishers<'a>(specs: impl Iterator<Item = &'a ServiceSpec>) -> Publishers<'a> {
    let mut map = Publishers::new();
    for spec in specs {
        for (port, on_node) in published(spec) {
            map.entry(port).or_default().push((&spec.name, on_node));
        }
    }
    map
}

/// Who holds which port now, without what the plan removes already.
fn holders<'a>(input: &PlanInput<'a>, plan: &Plan) -> Publishers<'a> {
    let leaving: BTreeSet<&str> =
        plan.steps.iter().filter(|step| step.action == Action::Remove).map(|step| step.object.name.as_str()).collect();
    let staying = input.live.services.values().filter(|live| !leaving.contains(live.spec.name.as_str()));
    publishers(staying.map(|live| &live.spec))
}
