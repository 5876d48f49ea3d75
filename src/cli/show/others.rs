//! Environments and events.

use jiff::Timestamp;

use crate::cli::console::{Tone, clean};
use crate::cli::model::{Environment, Event, Round};
use crate::cli::table::{Cell, Table};
use crate::cli::text::{NONE, age, or_none};

/// A line for each environment.
pub(in crate::cli) fn environments(environments: &[Environment], wide: bool, now: Timestamp) -> Table {
    let mut head = vec!["ENVIRONMENT", "CONNECTED", "SINCE", "NODES", "CLAIM"];
    if wide {
        head.extend(["ENGINE", "API", "CAPACITY", "ROUND", "ENDPOINTS"]);
    }
    head.push("MESSAGE");
    let mut table = Table::new(&head);
    for it in environments {
        let (word, tone) = match it.connected {
            Some(true) => ("yes", Tone::Good),
            Some(false) => ("no", Tone::Bad),
            None => ("unknown", Tone::Warn),
        };
        let claim = match (it.claim.state.as_str(), &it.claim.instance) {
            ("Foreign", Some(instance)) => Cell::toned(&format!("Foreign ({})", clean(instance)), Tone::Warn),
            (state, _) => state.into(),
        };
        let mut row: Vec<Cell> = vec![
            it.name.as_str().into(),
            Cell::toned(word, tone),
            it.since.map_or_else(|| NONE.to_owned(), |since| age(since, now)).into(),
            it.node_count.map_or_else(|| NONE.to_owned(), |nodes| nodes.to_string()).into(),
            claim,
        ];
        if wide {
            let endpoints = it.place();
            row.extend([
                or_none(it.engine.as_deref()).into(),
                or_none(it.api.as_deref()).into(),
                if it.nodes.is_empty() { NONE.to_owned() } else { super::keys::capacity(&it.nodes) }.into(),
                round(it.round.as_ref(), now).into(),
                or_none(Some(&endpoints)).into(),
            ]);
        }
        row.push(it.message.as_deref().unwrap_or_default().into());
        table.row(row);
    }
    table
}

/// How long the newest round took, over how many stacks, and how long ago that was.
fn round(round: Option<&Round>, now: Timestamp) -> String {
    match round {
        None => NONE.to_owned(),
        Some(it) => format!("{:.1}s of {} stacks, {} ago", it.seconds, it.stacks, age(it.at, now)),
    }
}

/// A line for each event.
pub(in crate::cli) fn events(events: &[Event], wide: bool) -> Table {
    let mut head = vec!["TIME", "STACK", "TYPE"];
    if wide {
        head.extend(["ENVIRONMENT", "REASON", "ACTOR", "DEPLOYMENT"]);
    }
    head.push("MESSAGE");
    let mut table = Table::new(&head);
    for it in events {
        let mut row: Vec<Cell> = vec![
            it.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
            or_none(it.stack.as_deref()).into(),
            Cell::toned(&it.kind, tone(&it.kind)),
        ];
        if wide {
            row.extend([
                it.environment.as_str().into(),
                it.reason.as_str().into(),
                it.actor.as_str().into(),
                or_none(it.deployment_id.as_deref()).into(),
            ]);
        }
        row.push(it.message.as_str().into());
        table.row(row);
    }
    table
}

fn tone(kind: &str) -> Tone {
    match kind {
        "Converged" | "SourceRecovered" | "EnvironmentConnected" => Tone::Good,
        "Failed" | "RolledBack" | "SourceFailed" | "EnvironmentDisconnected" | "HookRefused" => Tone::Bad,
        "Held" | "Waiting" | "Refused" | "DriftDetected" | "EnvironmentForeign" => Tone::Warn,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::cli::model::read;

    #[test]
    fn environments_say_whether_they_are_there() {
        let list: Vec<Environment> = read(&json!([
            { "name": "default", "endpoints": ["unix:///var/run/docker.sock"], "connected": true,
              "since": "2026-01-31T11:00:00Z", "message": null, "engine": "28.2.2", "api": "1.50", "nodeCount": 3,
              "round": { "seconds": 1.26, "listingSeconds": 0.3, "at": "2026-01-31T11:57:00Z", "stacks": 40 },
              "claim": { "state": "Ours", "instance": null, "epoch": 1 } },
            { "name": "prod", "endpoints": [], "connected": null, "since": null, "message": "not looked at yet",
              "engine": null, "api": null, "nodeCount": null,
              "claim": { "state": "Foreign", "instance": "other", "epoch": 2 } },
        ]))
        .unwrap();
        let table = environments(&list, false, "2026-01-31T12:00:00Z".parse().unwrap());
        insta::assert_snapshot!(table.render(Paint(false), None), @r"
        ENVIRONMENT  CONNECTED  SINCE  NODES  CLAIM            MESSAGE
        default      yes        60m    3      Ours
        prod         unknown    -      -      Foreign (other)  not looked at yet
        ");
    }

    #[test]
    fn a_wide_screen_shows_the_round() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let it = Round { seconds: 1.26, at: "2026-01-31T11:57:00Z".parse().unwrap(), stacks: 40 };
        assert_eq!(round(Some(&it), at), "1.3s of 40 stacks, 3m ago");
        assert_eq!(round(None, at), "-");
    }

    #[test]
    fn events_are_lines() {
        let list: Vec<Event> = read(&json!([
            { "sequence": 1, "time": "2026-01-31T11:00:00.123Z", "environment": "default", "stack": "shop",
              "deploymentId": "01dep", "type": "Converged", "reason": "Succeeded", "message": "it runs", "actor": "skep" },
        ]))
        .unwrap();
        insta::assert_snapshot!(events(&list, false).render(Paint(false), None), @r"
        TIME                  STACK  TYPE       MESSAGE
        2026-01-31T11:00:00Z  shop   Converged  it runs
        ");
        insta::assert_snapshot!(events(&list, true).render(Paint(false), None), @r"
        TIME                  STACK  TYPE       ENVIRONMENT  REASON     ACTOR  DEPLOYMENT  MESSAGE
        2026-01-31T11:00:00Z  shop   Converged  default      Succeeded  skep   01dep       it runs
        ");
    }
}
