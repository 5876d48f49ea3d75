//! A schedule as a story: who did what when, what Skep decided, what it did, and how it ended.

use jiff::{SignedDuration, Timestamp};

use super::invariants::Breach;
use super::play::Player;
use super::{Outcome, Schedule};
use crate::domain::Effect;
use crate::domain::StackPhase;
use crate::domain::phase;
use crate::swarm::sim::WriteCall;

/// The command that plays a schedule again.
#[must_use]
pub fn command(schedule: &Schedule) -> String {
    let whole = Schedule::of(schedule.seed).numbers();
    let numbers = schedule.numbers();
    if numbers == whole {
        return format!("skep simulate --seed {}", schedule.seed);
    }
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(",") };
    format!("skep simulate --seed {} --only {list}", schedule.seed)
}

/// One line about an outcome.
#[must_use]
pub fn verdict(outcome: &Outcome) -> String {
    match &outcome.breach {
        None => format!(
            "all laws hold: {} acts, {} faults, {} crashes, {} deployments",
            outcome.steps,
            outcome.faults.values().sum::<u64>(),
            outcome.crashes,
            outcome.deployments
        ),
        Some(breach) => format!("broken: {breach}"),
    }
}

/// Everything that happened, in order.
pub(super) fn tell(player: &mut Player, breach: Option<&Breach>) -> Vec<String> {
    let mut lines: Vec<(Timestamp, u8, String)> = player.lines.drain(..).map(|(at, line)| (at, 0, line)).collect();
    let events = player.world.ledger.events(None, false, usize::MAX).unwrap_or_default();
    for (_, event) in events.into_iter().filter(|(_, event)| event.actor == "controller") {
        let of =
            event.stack.map_or_else(|| event.environment.to_string(), |stack| format!("{}/{stack}", event.environment));
        let deployment = event.deployment.map_or(String::new(), |id| format!(" {}", tail(&id.0)));
        lines.push((event.time, 1, format!("  Skep: {of}{deployment} {}: {}", event.reason, event.message)));
    }
    for (name, swarm) in &player.world.swarms {
        for call in swarm.writes() {
            lines.push((call.at, 2, format!("    engine of {name}: {}", write(&call))));
        }
    }
    if let Some(breach) = breach {
        lines.push((breach.at, 3, format!("!!! {:?}: {}", breach.law, breach.text)));
    }
    lines.sort_by_key(|line| (line.0, line.1));
    let start = lines.first().map_or(Timestamp::UNIX_EPOCH, |line| line.0);
    let mut told: Vec<String> =
        lines.into_iter().map(|(at, _, line)| format!("{}  {line}", clock(at.duration_since(start)))).collect();
    told.push("the end:".to_owned());
    for home in &player.world.homes {
        let stack = player.world.ledger.stack(&home.key).ok().flatten().map(|found| found.value);
        let status = player.world.ledger.status(&home.key).ok().flatten().map(|found| found.value).unwrap_or_default();
        let word = stack.as_ref().map_or(StackPhase::Unknown, |stack| phase(stack, &status));
        let held = status.held.len();
        told.push(match stack {
            Some(stack) => {
                format!("  {} is {word:?} at generation {}, {held} versions held", home.key, stack.generation)
            }
            None => format!("  {} is not declared", home.key),
        });
    }
    told
}

/// The last letters of an id are enough to tell deployments apart.
fn tail(id: &str) -> &str {
    let from = id.char_indices().rev().nth(5).map_or(0, |(at, _)| at);
    &id[from..]
}

fn clock(since: SignedDuration) -> String {
    let millis = since.as_millis();
    format!("{:>3}:{:02}.{:03}", millis / 60_000, millis / 1_000 % 60, millis % 1_000)
}

/// An effect, and what came of it.
#[must_use]
pub fn write(call: &WriteCall) -> String {
    let did = match &call.effect {
        Effect::CreateNetwork(spec) => format!("create network {}", spec.name),
        Effect::CreateConfig(spec) => format!("create config {}", spec.name),
        Effect::CreateSecret(spec) => format!("create secret {}", spec.name),
        Effect::CreateService(spec) => {
            format!("create service {} of {}", spec.name, spec.task_template.container_spec.image)
        }
        Effect::UpdateService { spec, .. } => {
            format!("update service {} to {}", spec.name, spec.task_template.container_spec.image)
        }
        Effect::Relabel { object, .. } => format!("relabel {} {}", object.kind, object.name),
        Effect::Own { object, .. } => format!("own {} {}", object.kind, object.name),
        Effect::Remove { object, .. } => format!("remove {} {}", object.kind, object.name),
    };
    match (&call.answer, call.took_effect) {
        (Ok(_), _) => did,
        (Err(error), true) => format!("{did}: done, but answered: {error}"),
        (Err(error), false) => format!("{did}: {error}"),
    }
}
