//! `watch`: a screen that is drawn anew as things change. Where stdout is no terminal it is `get -w`.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::get;
use super::watch::{self, next, stack_key};
use crate::cli::args::Output;
use crate::cli::client::documents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::follow::picture;
use crate::cli::model::{Stack, read, read_all};
use crate::cli::session::Session;
use crate::cli::show;

/// How often ages are drawn anew.
const AGES: Duration = Duration::from_secs(5);
/// And changes at most: whatever comes within this time is drawn as one.
const FRAME: Duration = Duration::from_millis(100);
/// How often a deployment under way is asked about.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Lines of the screen that no stack is on: the head and what is around it.
const AROUND: usize = 5;

/// Phases, the worst first.
const WORST_FIRST: [&str; 9] =
    ["Failed", "RollingBack", "RolledBack", "Degraded", "Unknown", "Progressing", "Pending", "Suspended", "Converged"];

fn rank(phase: &str) -> usize {
    WORST_FIRST.iter().position(|known| *known == phase).unwrap_or(0)
}

/// All stacks: the worst first, and as many as the screen has lines for.
pub(super) async fn fleet(session: &Session<'_>) -> Result<Exit, CliError> {
    if !session.console.draws() || !session.output.is_for_people() {
        return watch::stacks(session).await;
    }
    let variables = json!({ "environment": session.environment });
    let mut feed = session.client.follow("stacksChanged", documents::FOLLOW_STACKS, variables);
    let wide = session.output == Output::Wide;
    let mut known: BTreeMap<String, Stack> = BTreeMap::new();
    let (mut due, mut changed) = (Instant::now(), false);
    // Also where whoever started it ignores the signal, which is inherited.
    let mut interrupt = pin!(session.interrupt.wait());
    loop {
        let draw_at = if changed { due } else { Instant::now() + AGES };
        tokio::select! {
            change = next(session, &mut feed) => {
                take(&mut known, change?)?;
                changed = true;
                continue;
            }
            () = tokio::time::sleep_until(draw_at) => {}
            () = &mut interrupt => return Ok(Exit::Interrupted),
        }
        (due, changed) = (Instant::now() + FRAME, false);
        let mut all: Vec<Stack> = known.values().cloned().collect();
        all.sort_by(|a, b| (rank(&a.phase), &a.name, &a.environment).cmp(&(rank(&b.phase), &b.name, &b.environment)));
        session.console.redraw(&screen(&all, wide, session, Timestamp::now()))?;
    }
}

/// Takes a message in.
fn take(known: &mut BTreeMap<String, Stack>, mut change: Value) -> Result<(), CliError> {
    let mut field = |name: &str| change.get_mut(name).map(Value::take).filter(|it| !it.is_null());
    if let Some(snapshot) = field("snapshot") {
        let all: Vec<Value> = read(&snapshot)?;
        let keys = all.iter().map(stack_key);
        *known = keys.zip(read_all(&all)?).collect();
    }
    if let Some(stack) = field("stack") {
        known.insert(stack_key(&stack), read(&stack)?);
    }
    if let Some(deleted) = field("deleted") {
        known.remove(&stack_key(&deleted));
    }
    Ok(())
}

/// The counts, and the stacks that there is room for.
fn screen(all: &[Stack], wide: bool, session: &Session<'_>, now: Timestamp) -> String {
    let console = session.console;
    let room = console.screen().1.saturating_sub(AROUND).max(1);
    let shown = &all[..all.len().min(room)];
    let table = show::stacks(shown, wide, now).render(console.paint, console.columns());
    let mut text = format!("{}; {}; Ctrl-C ends\n\n{table}", counts(all), now.strftime("%H:%M:%SZ"));
    if all.len() > shown.len() {
        text.push_str(&format!("and {} more\n", all.len() - shown.len()));
    }
    text
}

/// How many there are, in all and of each phase.
fn counts(all: &[Stack]) -> String {
    let of = |phase: &&str| {
        let count = all.iter().filter(|stack| stack.phase == **phase).count();
        (count > 0).then(|| format!("{count} {phase}"))
    };
    let each: Vec<String> = WORST_FIRST.iter().filter_map(of).collect();
    match all.len() {
        0 => "no stack is declared".to_owned(),
        1 => format!("1 stack: {}", each.join(", ")),
        many => format!("{many} stacks: {}", each.join(", ")),
    }
}

/// One stack, with the services of its newest deployment.
pub(super) async fn stack(session: &Session<'_>, name: &str) -> Result<Exit, CliError> {
    if !session.console.draws() || !session.output.is_for_people() {
        return watch::stack(session, name).await;
    }
    let variables = json!({ "name": name, "environment": session.environment() });
    let mut feed = session.client.follow("stackChanged", documents::FOLLOW_STACK, variables);
    let mut known: Option<Stack> = None;
    let mut interrupt = pin!(session.interrupt.wait());
    loop {
        let wait = if known.as_ref().is_some_and(|it| it.phase == "Converged") { AGES } else { ATTEMPT };
        tokio::select! {
            change = next(session, &mut feed) => {
                let stack = change?.get_mut("stack").map(Value::take).unwrap_or_default();
                if stack.is_null() {
                    return get::gone(session, name, known.is_some());
                }
                known = Some(read(&stack)?);
            }
            () = tokio::time::sleep(wait) => {}
            () = &mut interrupt => return Ok(Exit::Interrupted),
        }
        let Some(stack) = &known else { continue };
        let now = Timestamp::now();
        let mut text = format!("{}; Ctrl-C ends\n\n", now.strftime("%H:%M:%SZ"));
        text.push_str(&show::stack(stack, now, session.console.paint));
        // What is on its way is the newest deployment that the log of the stack begins with.
        let newest = json!({ "stack": name, "environment": session.environment(), "first": 1 });
        let found = session.ask(documents::DEPLOYMENTS, newest).await?;
        if let Some(deployment) = found.pointer("/deployments/edges/0/node") {
            text.push('\n');
            text.push_str(&picture(read(deployment)?, now, session.console));
        }
        session.console.redraw(&text)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::sample::stack_json;

    fn all(phases: &[&str]) -> Vec<Stack> {
        phases.iter().map(|phase| read(&stack_json("shop", phase)).unwrap()).collect()
    }

    #[test]
    fn counts_have_the_worst_first() {
        assert_eq!(counts(&all(&["Converged", "Failed", "Converged"])), "3 stacks: 1 Failed, 2 Converged");
        assert_eq!(counts(&all(&["Pending"])), "1 stack: 1 Pending");
        assert_eq!(counts(&[]), "no stack is declared");
    }

    #[test]
    fn a_word_of_a_newer_server_is_not_hidden_at_the_end() {
        assert!(rank("SomethingNew") <= rank("Converged"));
    }

    #[test]
    fn messages_become_one_list() {
        let mut known = BTreeMap::new();
        let snapshot = json!([stack_json("shop", "Converged"), stack_json("blog", "Failed")]);
        take(&mut known, json!({ "snapshot": snapshot, "stack": null, "deleted": null })).unwrap();
        take(&mut known, json!({ "snapshot": null, "stack": stack_json("shop", "Degraded"), "deleted": null }))
            .unwrap();
        let gone = json!({ "name": "blog", "environment": "default" });
        take(&mut known, json!({ "snapshot": null, "stack": null, "deleted": gone })).unwrap();
        let left: Vec<_> = known.values().map(|it| (it.name.as_str(), it.phase.as_str())).collect();
        assert_eq!(left, [("shop", "Degraded")]);
    }
}
