//! Tasks.

use jiff::Timestamp;

use crate::cli::console::{Tone, clean};
use crate::cli::model::Task;
use crate::cli::table::{Cell, Table};
use crate::cli::text::{NONE, age, or_none};

/// A line for each task of a stack.
pub(in crate::cli) fn tasks(stack: &str, tasks: &[Task], now: Timestamp) -> Table {
    let mut table = Table::new(&["SERVICE", "SLOT", "NODE", "STATE", "WANTED", "SPEC", "SINCE", "MESSAGE"]);
    let prefix = format!("{stack}_");
    for it in tasks {
        let code = it.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        // What runs as it should needs no words.
        let quiet = it.state == "Running" && it.desired == "Running";
        let message = if quiet { String::new() } else { format!("{}{code}", clean(&it.message)) };
        table.row([
            Cell::from(it.service.strip_prefix(&prefix).unwrap_or(&it.service)),
            it.slot.map_or_else(|| NONE.to_owned(), |slot| slot.to_string()).into(),
            or_none(it.node.as_deref()).into(),
            Cell::toned(&it.state, tone(&it.state)),
            it.desired.as_str().into(),
            Cell::toned(if it.current { "new" } else { "old" }, if it.current { Tone::Plain } else { Tone::Faint }),
            it.since.map_or_else(|| NONE.to_owned(), |since| age(since, now)).into(),
            message.into(),
        ]);
    }
    table
}

/// What a state is to a person.
pub(in crate::cli) fn tone(state: &str) -> Tone {
    match state {
        "Running" | "Complete" => Tone::Good,
        "Failed" | "Rejected" | "Orphaned" => Tone::Bad,
        "Shutdown" | "Remove" => Tone::Faint,
        _ => Tone::Warn,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::cli::model::read_all;

    #[test]
    fn each_task_says_where_it_is_and_how_it_does() {
        let task = |state: &str, slot: u64, current: bool, message: &str, code: Option<i64>| {
            json!({
                "taskId": "t", "service": "shop_web", "slot": slot, "node": "node-1", "state": state,
                "desired": if state == "Failed" { "Shutdown" } else { "Running" }, "current": current,
                "message": message, "exitCode": code, "createdAt": null, "since": "2026-01-31T11:59:00Z",
            })
        };
        let found = read_all(&[
            task("Running", 1, true, "started", None),
            task("Preparing", 2, true, "preparing", None),
            task("Failed", 2, false, "task: non-zero exit (3)", Some(3)),
        ])
        .unwrap();
        let shown = tasks("shop", &found, "2026-01-31T12:00:00Z".parse().unwrap()).render(Paint(false), None);
        insta::assert_snapshot!(shown, @r"
        SERVICE  SLOT  NODE    STATE      WANTED    SPEC  SINCE  MESSAGE
        web      1     node-1  Running    Running   new   60s
        web      2     node-1  Preparing  Running   new   60s    preparing
        web      2     node-1  Failed     Shutdown  old   60s    task: non-zero exit (3) (exit code 3)
        ");
    }
}
