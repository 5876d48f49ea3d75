//! Hooks, what came to them, and what would become of a delivery.

use jiff::Timestamp;

use crate::cli::console::{Tone, clean};
use crate::cli::model::{Hook, HookDelivery, HookSet, HookStack, HookTrial, Redelivered};
use crate::cli::table::{Cell, Table};
use crate::cli::text::{age, or_none};

const NOTHING: &str = "nothing was to be done";

/// A line for each hook.
pub(in crate::cli) fn hooks(hooks: &[Hook]) -> Table {
    let mut table = Table::new(&["HOOK", "PROVIDER", "SECRET", "ADDRESS", "RULES"]);
    for it in hooks {
        let secret = match (&it.credential, it.unsigned) {
            (_, true) => Cell::toned("none: anyone may send", Tone::Bad),
            (Some(name), false) => format!("credential {name}").into(),
            (None, false) => "its own".into(),
        };
        let rules: Vec<String> = it
            .rules
            .iter()
            .map(|rule| {
                let set: Vec<&str> = rule.set.iter().map(|set| set.field.as_str()).collect();
                let does = if set.is_empty() { "look".to_owned() } else { set.join(",") };
                let stacks = format!("{}/{}:{does}", rule.environment, rule.stacks.join(","));
                let catalogs = format!("catalog/{}:look", rule.catalogs.join(","));
                match (rule.stacks.is_empty(), rule.catalogs.is_empty()) {
                    (true, _) => catalogs,
                    (false, true) => stacks,
                    (false, false) => format!("{stacks} {catalogs}"),
                }
            })
            .collect();
        table.row([
            Cell::from(it.name.as_str()),
            it.provider.as_str().into(),
            secret,
            it.path.as_str().into(),
            rules.join(" ").into(),
        ]);
    }
    table
}

/// A line for each delivery.
pub(in crate::cli) fn hook_deliveries(deliveries: &[HookDelivery], now: Timestamp) -> Table {
    let mut table = Table::new(&["DELIVERY", "EVENT", "AGE", "SENDER'S ID", "OUTCOME"]);
    for it in deliveries {
        let refused: Vec<String> =
            it.refused.iter().map(|it| format!("not {}: {}", stack(&it.stack), it.message)).collect();
        let mut outcome: Vec<String> = it.deployments.iter().map(|id| format!("deployed {id}")).collect();
        outcome.extend(it.reconciled.iter().map(|it| format!("looked at {}", stack(it))));
        outcome.extend(it.synced.iter().map(|name| format!("looked at catalog {name}")));
        outcome.extend(refused);
        outcome.extend(it.message.as_ref().map(|why| format!("{}: {why}", it.outcome.to_lowercase())));
        let tone = if it.outcome == "Refused" { Tone::Bad } else { Tone::Plain };
        let outcome = if outcome.is_empty() { NOTHING.to_owned() } else { outcome.join("; ") };
        let sender = match &it.again_by {
            Some(actor) => format!("again, by {actor}"),
            None => or_none(Some(&it.delivery_id)),
        };
        table.row([
            Cell::from(it.id.as_str()),
            it.event.as_str().into(),
            age(it.at, now).into(),
            sender.into(),
            Cell::toned(&outcome, tone),
        ]);
    }
    table
}

/// What a delivery would do, thing by thing.
pub(in crate::cli) fn hook_trials(trials: &[HookTrial]) -> String {
    let mut lines = Vec::new();
    for trial in trials {
        lines.push(format!("event {}", clean(&trial.event)));
        for rule in &trial.rules {
            match &rule.objection {
                Some(why) => lines.push(format!("  rule {}  no: {}", rule.number, clean(why))),
                None => lines.push(format!("  rule {}  yes", rule.number)),
            }
        }
        for it in &trial.stacks {
            let what = match it.outcome.as_str() {
                "Deploys" => format!("is deployed with {}", set(&it.set)),
                "LooksAgain" => "has its source looked at again".to_owned(),
                "Nothing" => format!("is at {} already", set(&it.set)),
                _ => format!("does not take it: {}", or_none(it.message.as_deref())),
            };
            lines.push(format!("  stack {}  {}  (rule {})", clean(&stack(&it.stack)), clean(&what), it.rule));
        }
        lines.extend(trial.catalogs.iter().map(|name| format!("  catalog {}  is looked at", clean(name))));
        if trial.stacks.is_empty() && trial.catalogs.is_empty() {
            lines.push("  no stack: nothing would be done".to_owned());
        }
    }
    if lines.is_empty() {
        lines.push("it tells of nothing that rules can be about".to_owned());
    }
    lines.join("\n")
}

/// What having a delivery done again led to.
pub(in crate::cli) fn redelivered(it: &Redelivered, hook: &str) -> String {
    let mut lines = vec![format!("done again by hook {hook}, as {}", clean(&it.delivery_id))];
    lines.extend(it.deployments.iter().map(|id| format!("  deployment {}", clean(id))));
    lines.extend(it.reconciled.iter().map(|it| format!("  looked at {}", clean(&stack(it)))));
    lines.extend(it.synced.iter().map(|name| format!("  looked at catalog {}", clean(name))));
    lines.extend(it.refused.iter().map(|it| format!("  not {}: {}", clean(&stack(&it.stack)), clean(&it.message))));
    match &it.message {
        Some(why) => lines.push(format!("  {NOTHING}: {}", clean(why))),
        None if lines.len() == 1 => lines.push(format!("  {NOTHING}")),
        None => {}
    }
    lines.join("\n")
}

fn stack(it: &HookStack) -> String {
    match it.environment.as_str() {
        "default" => it.name.clone(),
        environment => format!("{environment}/{}", it.name),
    }
}

fn set(fields: &[HookSet]) -> String {
    let fields: Vec<String> = fields.iter().map(|set| format!("{}={}", set.field, set.value)).collect();
    fields.join(" ")
}
