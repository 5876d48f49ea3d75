//! What a deployment came to: one line, and why.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Outcome;
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::exit::{CliError, Exit};
use crate::cli::model::{Deployment, Failure};
use crate::cli::output::{field, machine};
use crate::cli::session::{Session, command};
use crate::cli::text;

/// Prints what became of a deployment: one line or object on stdout, why on stderr.
pub(in crate::cli) fn conclude(session: &Session<'_>, outcome: &Outcome) -> Result<(), CliError> {
    let console = session.console;
    let printed =
        match (&outcome.deployment, machine(session.output, &last_word(&outcome.value), field("deploymentId"))?) {
            (None, _) => Ok(()),
            (Some(_), Some(text)) => console.print(&text),
            (Some(deployment), None) => console.print(&sentence(deployment, outcome, console.paint)),
        };
    explain(session, outcome);
    // Whether anyone reads the result does not change what came of it.
    printed.or_else(|error| if error.message.is_empty() { Ok(()) } else { Err(error) })
}

/// Says why, and what to type next.
pub(in crate::cli) fn explain(session: &Session<'_>, outcome: &Outcome) {
    let console = session.console;
    match &outcome.deployment {
        Some(deployment) => {
            let page = session.page(deployment);
            why(deployment, outcome, &page, console.err_paint).iter().for_each(|line| console.note(line));
        }
        None => console.note("nothing was heard of the deployment"),
    }
}

/// `{deploymentId, stack, environment, generation, phase, reason, message}`.
pub(in crate::cli) fn last_word(deployment: &Value) -> Value {
    let of = |name: &str| deployment.get(name).cloned().unwrap_or_default();
    json!({
        "deploymentId": of("id"),
        "stack": of("stack"),
        "environment": of("environment"),
        "generation": of("generation"),
        "phase": of("phase"),
        "reason": of("reason"),
        "message": of("message"),
    })
}

fn version(of: &Deployment) -> String {
    text::version(of.revision.as_deref(), &of.images)
}

/// One line: what came of it.
fn sentence(deployment: &Deployment, outcome: &Outcome, paint: Paint) -> String {
    let stack = clean(&deployment.stack);
    let wanted = match version(deployment) {
        unknown if unknown == text::NONE => format!("generation {}", deployment.generation),
        version => version,
    };
    let took = text::between(deployment.created_at, deployment.finished_at.unwrap_or_else(Timestamp::now));
    let id = paint.tone(Tone::Faint, &format!("({})", clean(&deployment.id)));
    let bad = |text: &str| paint.tone(Tone::Bad, text);
    match outcome.exit {
        Exit::Done => format!("{stack} {} on {wanted} in {took} {id}", paint.tone(Tone::Good, "converged")),
        Exit::RolledBack => {
            let back = outcome.back.as_ref().map(|back| format!(" to {}", version(back))).unwrap_or_default();
            let (failed, rolled) = (bad("failed"), bad("was rolled back"));
            format!("{stack} {failed} on {wanted} and {rolled}{back} after {took} {id}")
        }
        Exit::Superseded => {
            format!("{stack}: {wanted} was {} by a newer version {id}", paint.tone(Tone::Warn, "superseded"))
        }
        Exit::TimedOut => {
            let (goes, waited) = (paint.tone(Tone::Warn, "still going on"), text::span(outcome.waited));
            format!("{stack}: {wanted} is {goes} after {waited} of waiting: {} {id}", deployment.phase)
        }
        Exit::Interrupted => {
            format!("{stack}: {wanted} {}: {} {id}", paint.tone(Tone::Warn, "goes on"), deployment.phase)
        }
        _ if deployment.phase == "Cancelled" => format!("{stack}: {wanted} was {} {id}", bad("cancelled")),
        _ => format!("{stack} {} on {wanted} after {took} {id}", bad("failed")),
    }
}

/// The evidence, what runs now, where all of it can be read, and what to type next.
fn why(deployment: &Deployment, outcome: &Outcome, page: &str, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say =
        |what: &str, text: String| lines.push(format!("  {}  {text}", paint.tone(Tone::Strong, &format!("{what:<4}"))));
    let environment = deployment.environment.as_str();
    let stack = clean(&deployment.stack);
    let type_in = |what: String| command(&what, environment);
    if matches!(outcome.exit, Exit::Failed | Exit::RolledBack) {
        match (&deployment.failure, &deployment.message) {
            (Some(failure), _) => evidence(failure, &mut say),
            (None, Some(message)) => say("why", clean(message)),
            (None, None) => {}
        }
    }
    match outcome.exit {
        Exit::RolledBack => {
            if let Some(back) = &outcome.back {
                say("now", format!("{} runs again, the whole stack (deployment {})", version(back), clean(&back.id)));
            }
            say("page", clean(page));
            let release = type_in(format!("release-hold {stack}"));
            say("next", format!("deploy a mended version; this one is held until {release}"));
        }
        Exit::Failed if deployment.phase == "Cancelled" => {
            say("page", clean(page));
            say("next", format!("see what runs: {}", type_in(format!("get stack {stack}"))));
        }
        Exit::Failed => {
            match &outcome.back {
                Some(back) => {
                    let reason = back.message.as_deref().map(clean).unwrap_or_default();
                    say("now", format!("{} could not be brought back: {} {reason}", version(back), back.phase));
                }
                None => say("now", "nothing was brought back".to_owned()),
            }
            say("page", clean(page));
            let see = type_in(format!("get stack {stack}"));
            say("next", format!("see what runs: {see}; then deploy a mended version"));
        }
        Exit::Superseded => say("next", format!("follow the newer one: {}", type_in(format!("wait {stack}")))),
        Exit::TimedOut | Exit::Interrupted => {
            say("page", clean(page));
            say("next", format!("follow on: {}", type_in(format!("wait {stack} {}", clean(&deployment.id)))));
        }
        _ => {}
    }
    lines
}

fn evidence(failure: &Failure, say: &mut impl FnMut(&str, String)) {
    let service = failure.service.as_deref().map(|service| format!("service {}", clean(service)));
    let slot = failure.slot.map(|slot| format!("slot {slot}"));
    let node = failure.node.as_deref().map(|node| format!("on node {}", clean(node)));
    let place = [service, slot, node].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let place = if place.is_empty() { place } else { format!(" {place}:") };
    let code = failure.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    // An error of several lines keeps them: a renderer's names one place in each.
    let mut error = failure.error.lines().map(clean).filter(|line| !line.is_empty());
    let first = error.next().unwrap_or_default();
    say("why", format!("{}:{place} {first}{code}", clean(&failure.class)));
    error.for_each(|line| say("", line));
    for (what, all) in [("log", &failure.log_tail), ("test", &failure.health_log)] {
        for (index, line) in all.iter().enumerate() {
            say(if index == 0 { what } else { "" }, format!("| {}", clean(line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::tests::sample;

    fn shown(exit: Exit, phase: &str) -> String {
        let mut deployment = sample::deployment(phase);
        deployment.finished_at = Some("2026-01-31T12:01:05Z".parse().unwrap());
        let mut back = sample::deployment("Converged");
        back.id = "01back".into();
        back.revision = Some("f".repeat(40));
        let back = (exit == Exit::RolledBack).then_some(back);
        let waited = Duration::from_secs(600);
        let outcome = Outcome { exit, deployment: Some(deployment), value: Value::Null, back, waited };
        let deployment = outcome.deployment.as_ref().unwrap();
        let mut lines = vec![sentence(deployment, &outcome, Paint(false))];
        lines.extend(why(deployment, &outcome, "http://127.0.0.1:7717/deployments/01dep", Paint(false)));
        lines.join("\n")
    }

    #[test]
    fn success_is_one_line() {
        insta::assert_snapshot!(shown(Exit::Done, "Converged"), @"shop converged on 01234567 in 1m05s (01dep)");
    }

    #[test]
    fn a_rollback_is_loud() {
        insta::assert_snapshot!(shown(Exit::RolledBack, "RolledBack"), @r"
        shop failed on 01234567 and was rolled back to ffffffff after 1m05s (01dep)
          why   HealthCheck: service web slot 2 on node node-3: unhealthy container (exit code 137)
          log   | listening on :8080
                | cannot reach the database
          test  | exit code 1: no answer on port 8080
          now   ffffffff runs again, the whole stack (deployment 01back)
          page  http://127.0.0.1:7717/deployments/01dep
          next  deploy a mended version; this one is held until `skep release-hold shop`
        ");
    }

    #[test]
    fn other_ends_say_what_to_type_next() {
        insta::assert_snapshot!(shown(Exit::TimedOut, "Verifying"), @r"
        shop: 01234567 is still going on after 10m00s of waiting: Verifying (01dep)
          page  http://127.0.0.1:7717/deployments/01dep
          next  follow on: `skep wait shop 01dep`
        ");
        insta::assert_snapshot!(shown(Exit::Interrupted, "Applying"), @r"
        shop: 01234567 goes on: Applying (01dep)
          page  http://127.0.0.1:7717/deployments/01dep
          next  follow on: `skep wait shop 01dep`
        ");
        insta::assert_snapshot!(shown(Exit::Superseded, "Superseded"), @r"
        shop: 01234567 was superseded by a newer version (01dep)
          next  follow the newer one: `skep wait shop`
        ");
        insta::assert_snapshot!(shown(Exit::Failed, "Failed"), @r"
        shop failed on 01234567 after 1m05s (01dep)
          why   HealthCheck: service web slot 2 on node node-3: unhealthy container (exit code 137)
          log   | listening on :8080
                | cannot reach the database
          test  | exit code 1: no answer on port 8080
          now   nothing was brought back
          page  http://127.0.0.1:7717/deployments/01dep
          next  see what runs: `skep get stack shop`; then deploy a mended version
        ");
    }
}
