//! Notifiers.

use jiff::Timestamp;

use crate::cli::console::{Tone, clean};
use crate::cli::model::Notifier;
use crate::cli::table::{Cell, Table};
use crate::cli::text::{age, or_none};

/// A line for each notifier.
pub(in crate::cli) fn notifiers(notifiers: &[Notifier], wide: bool, now: Timestamp) -> Table {
    let mut columns = vec!["NOTIFIER", "TYPE", "TO", "STACKS", "PENDING", "LAST SENT", "LAST ERROR"];
    if wide {
        columns.push("EVENTS");
    }
    let mut table = Table::new(&columns);
    for it in notifiers {
        let place = it.place.as_deref().map(clean);
        let to = place.or_else(|| it.credential.as_deref().map(|name| format!("credential/{}", clean(name))));
        let status = &it.status;
        // An error that a message got past is history.
        let stands = status.last_error_at.is_some_and(|at| status.last_success_at.is_none_or(|last| last < at));
        let error = status.last_error.as_deref().filter(|_| stands).map(clean);
        let mut row: Vec<Cell> = vec![
            it.name.as_str().into(),
            it.kind.as_str().into(),
            or_none(to.as_deref()).into(),
            places(it).into(),
            status.pending.to_string().into(),
            status.last_success_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(at, now))).into(),
            error.map_or_else(|| Cell::from(or_none(None)), |text| Cell::toned(&text, Tone::Bad)),
        ];
        if wide {
            row.push(it.events.join(" ").into());
        }
        table.row(row);
    }
    table
}

/// Patterns of stacks, with those of environments where they are not all.
fn places(it: &Notifier) -> String {
    match it.environments.iter().any(|pattern| pattern == "*") {
        true => it.stacks.join(" "),
        false => format!("{}/{}", it.environments.join(" "), it.stacks.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::console::Paint;
    use crate::cli::model::read;

    #[test]
    fn notifiers_are_lines_with_what_stands_in_the_way() {
        let status = |pending: u64, error: Option<&str>| {
            json!({ "pending": pending, "delivered": 3, "givenUp": 0, "lastSuccessAt": "2026-01-31T11:59:00Z",
                    "lastError": error, "lastErrorAt": error.map(|_| "2026-01-31T11:59:30Z"), "attempts": 1,
                    "nextAttemptAt": null })
        };
        let list: Vec<Notifier> = read(&json!([
            { "name": "team", "type": "Slack", "place": "https://hooks.slack.com", "credential": null,
              "environments": ["*"], "stacks": ["shop*"], "events": ["Failed"], "status": status(2, Some("it answered 500")) },
            { "name": "commits", "type": "GitHubStatus", "place": null, "credential": "git", "environments": ["prod"],
              "stacks": ["*"], "events": ["Failed"], "status": status(0, None) },
        ]))
        .unwrap();
        let table = notifiers(&list, false, "2026-01-31T12:00:00Z".parse().unwrap());
        insta::assert_snapshot!(table.render(Paint(false), None), @r"
        NOTIFIER  TYPE          TO                       STACKS  PENDING  LAST SENT  LAST ERROR
        team      Slack         https://hooks.slack.com  shop*   2        60s ago    it answered 500
        commits   GitHubStatus  credential/git           prod/*  0        60s ago    -
        ");
    }
}
