//! Which service goes first: one that gives a published port up goes before the one that takes it. Swarm refuses to
//! publish a port twice, unless both ask for it on the node alone (mode `host`), where the scheduler keeps them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Plan, PlanInput, Refusal, waves};
use crate::domain::{Effect, PortConfig, ServiceSpec, Step};

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

/// What a step makes of a service.
pub(super) fn new_spec(step: &Step) -> Option<&ServiceSpec> {
    match &step.effect {
        Effect::CreateService(spec) | Effect::UpdateService { spec, .. } => Some(spec),
        _ => None,
    }
}

/// Appends the steps of services to the plan: by name, but a service after those it depends on, and one that takes a port
/// after the one that gives it up. Where both cannot be had, the ports count: nothing waits for what a service depends on
/// anyway. Where a port is not given up, or two services would have to swap theirs, nothing can be carried out.
pub(super) fn in_order(input: &PlanInput<'_>, steps: Vec<Step>, plan: &mut Plan) {
    let needs = needs(input, &steps, plan);
    let mut steps: BTreeMap<String, Step> = steps.into_iter().map(|step| (step.object.name.clone(), step)).collect();
    let ports: Vec<(&str, &str)> = needs.iter().map(|need| (need.giver.as_str(), need.taker.as_str())).collect();
    let mut edges = ports.clone();
    for (name, after) in &input.desired.depends_on {
        edges.extend(after.iter().map(|first| (first.as_str(), name.as_str())));
    }
    // Also what is not written counts: a service may wait for another one by way of it.
    let unwritten = input.desired.depends_on.iter().flat_map(|(name, after)| after.iter().chain([name]));
    let names: BTreeSet<&str> = steps.keys().chain(unwritten).map(String::as_str).collect();
    let all = sorted(&names, &edges);
    let circle = all.len() != names.len();
    plan.gates = waves::gates(input, &ports, circle);
    let order = if circle { sorted(&names, &ports) } else { all };
    let order: Vec<String> = order.into_iter().map(str::to_owned).collect();
    for name in order {
        plan.steps.extend(steps.remove(&name));
    }
    for need in needs.iter().filter(|need| steps.contains_key(&need.taker) && steps.contains_key(&need.giver)) {
        let Some(step) = steps.get(&need.taker) else { continue };
        let (object, port, by) = (step.object.clone(), need.port.clone(), need.giver.clone());
        plan.refused.push(Refusal::PortTaken { object, port, by });
    }
    plan.steps.extend(steps.into_values());
}

/// The names by themselves, but of each edge the first before the second; without those that stand in a circle.
fn sorted<'a>(names: &BTreeSet<&'a str>, edges: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waiting: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (first, second) in edges.iter().filter(|(first, second)| names.contains(first) && names.contains(second)) {
        *open.entry(second).or_default() += 1;
        waiting.entry(first).or_default().push(second);
    }
    let mut ready: BTreeSet<&'a str> = names.iter().filter(|name| !open.contains_key(**name)).copied().collect();
    let mut order = Vec::new();
    while let Some(name) = ready.pop_first() {
        order.push(name);
        for second in waiting.remove(name).into_iter().flatten() {
            let left = open.entry(second).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.insert(second);
            }
        }
    }
    order
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
    let wanted = publishers(input.desired.services.values().map(|service| &*service.spec));
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
    let leaving: BTreeSet<&str> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.effect, Effect::Remove { .. }))
        .map(|step| step.object.name.as_str())
        .collect();
    let staying = input.live.services.values().filter(|live| !leaving.contains(live.spec.name.as_str()));
    publishers(staying.map(|live| &live.spec))
}
