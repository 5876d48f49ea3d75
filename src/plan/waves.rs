//! What of a plan may be carried out now, and what waits for something to run or to end first. The waves come about by
//! themselves: whoever carries a plan out asks again when more has settled.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, PlanInput};
use crate::domain::{Action, DesiredService, Effect, ObjectKind, Step, When};

/// What a service or a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gate {
    /// Services that are to run, and jobs that are to have ended well.
    pub awaits: BTreeSet<String>,
    /// Services that are to be written before, if they are written at all.
    pub follows: BTreeSet<String>,
}

/// A job that runs for the plan's deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    /// When.
    pub when: When,
    /// The service of this run.
    pub service: DesiredService,
}

/// What may be carried out now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ready {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// Jobs before the deployment whose turn it is, by real name.
    pub jobs: BTreeSet<String>,
    /// What waits, with what it waits for: services that are to be written, and jobs that have not ended well.
    pub held_back: BTreeMap<String, BTreeSet<String>>,
}

/// The gates of all services and jobs. `givers`: who gives a port up, and who takes it. Where these and what is to be
/// awaited stand in a circle, only jobs are awaited.
pub(super) fn gates(input: &PlanInput<'_>, givers: &[(&str, &str)], circle: bool) -> BTreeMap<String, Gate> {
    let waits = input.desired.waits(input.course);
    if waits.is_empty() {
        return BTreeMap::new();
    }
    let mut gates: BTreeMap<String, Gate> = BTreeMap::new();
    for (name, awaited) in waits {
        let kept = awaited.into_iter().filter(|name| !circle || input.desired.jobs.contains_key(*name));
        gates.entry(name.to_owned()).or_default().awaits.extend(kept.map(str::to_owned));
    }
    for (name, after) in input.desired.depends_on.iter().filter(|_| !circle) {
        gates.entry(name.clone()).or_default().follows.extend(after.iter().cloned());
    }
    for (giver, taker) in givers {
        gates.entry((*taker).to_owned()).or_default().follows.insert((*giver).to_owned());
    }
    gates
}

/// The service that a step makes or changes.
fn written(step: &Step) -> Option<&str> {
    let is_service = step.object.kind == ObjectKind::Service;
    (is_service && !matches!(step.effect, Effect::Remove { .. })).then_some(step.object.name.as_str())
}

/// A step that takes something away, or makes a network anew that was taken away: it belongs to the first change of a
/// service.
fn takes_away(step: &Step) -> bool {
    let network = step.object.kind == ObjectKind::Network && step.action == Action::Recreate;
    network || matches!(step.effect, Effect::Remove { .. })
}

impl Plan {
    /// What may be carried out when these services have settled (they run as asked) and these jobs have ended well. A
    /// service that the plan has yet to write has not settled, whatever is said.
    #[must_use]
    pub fn ready(&self, settled: &BTreeSet<String>) -> Ready {
        let mut ready = Ready::default();
        let to_write: BTreeSet<&str> = self.steps.iter().filter_map(written).collect();
        let lacks = |name: &str, held: &BTreeMap<String, BTreeSet<String>>| -> BTreeSet<String> {
            let Some(gate) = self.gates.get(name) else { return BTreeSet::new() };
            let open = |name: &&String| !settled.contains(*name) || to_write.contains(name.as_str());
            let awaited = gate.awaits.iter().filter(open);
            awaited.chain(gate.follows.iter().filter(|name| held.contains_key(*name))).cloned().collect()
        };
        for name in self.steps.iter().filter_map(written) {
            let lacking = lacks(name, &ready.held_back);
            if !lacking.is_empty() {
                ready.held_back.insert(name.to_owned(), lacking);
            }
        }
        for job in self.jobs.iter().filter(|job| job.when == When::Pre) {
            let name = &job.service.spec.name;
            if !settled.contains(name) {
                let lacking = lacks(name, &ready.held_back);
                let written = self
                    .gates
                    .get(name)
                    .is_none_or(|gate| gate.follows.iter().all(|name| !to_write.contains(name.as_str())));
                if lacking.is_empty() && written {
                    ready.jobs.insert(name.clone());
                }
                ready.held_back.insert(name.clone(), lacking);
            }
        }
        let changes = to_write.is_empty() && ready.held_back.is_empty()
            || to_write.iter().any(|name| !ready.held_back.contains_key(*name));
        let may = |step: &&Step| match written(step) {
            Some(name) => !ready.held_back.contains_key(name),
            None => changes || !takes_away(step),
        };
        ready.steps = self.steps.iter().filter(may).cloned().collect();
        ready
    }
}
