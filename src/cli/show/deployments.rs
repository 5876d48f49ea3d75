//! Deployments.

use jiff::Timestamp;

use super::{Facts, lines};
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::model::{Deployment, Stack, Version};
use crate::cli::table::{Cell, Table};
use crate::cli::text::{NONE, age, between, images, version};

/// A line for each deployment. `of_many` stacks, or all of one.
pub(in crate::cli) fn deployments(deployments: &[Deployment], of_many: bool, wide: bool, now: Timestamp) -> Table {
    let mut head = vec!["DEPLOYMENT"];
    if of_many {
        head.extend(["STACK", "ENVIRONMENT"]);
    }
    head.extend(["PHASE", "VERSION", "TRIGGER", "ACTOR", "AGE", "TOOK"]);
    if wide {
        head.extend(["GENERATION", "IMAGES"]);
    }
    head.push("MESSAGE");
    let mut table = Table::new(&head);
    for it in deployments {
        let mut row: Vec<Cell> = vec![it.id.as_str().into()];
        if of_many {
            row.extend([it.stack.as_str().into(), it.environment.as_str().into()]);
        }
        let took = it.finished_at.map_or_else(|| NONE.to_owned(), |finished| between(it.created_at, finished));
        row.extend([
            Cell::phase(&it.phase),
            version(it.revision.as_deref(), &it.images).into(),
            it.trigger.as_str().into(),
            it.actor.as_str().into(),
            age(it.created_at, now).into(),
            took.into(),
        ]);
        if wide {
            row.extend([it.generation.to_string().into(), images(&it.images).into()]);
        }
        row.push(remark(it).into());
        table.row(row);
    }
    table
}

/// A line for each deployment of one stack, the newest first, with what it is to the stack now, and how long its version
/// ran.
pub(in crate::cli) fn history(all: &[Deployment], stack: &Stack, wide: bool, now: Timestamp) -> Table {
    let mut head = vec!["DEPLOYMENT", "MARKS", "PHASE", "VERSION", "TRIGGER", "ACTOR", "AGE", "TOOK", "ACTIVE"];
    if wide {
        head.extend(["GENERATION", "IMAGES"]);
    }
    head.push("MESSAGE");
    let mut table = Table::new(&head);
    // When the next newer version had converged: until then this one was the stack's.
    let mut until = now;
    for it in all {
        let took = it.finished_at.map_or_else(|| NONE.to_owned(), |finished| between(it.created_at, finished));
        let converged = it.finished_at.filter(|_| it.phase == "Converged");
        let active = converged.map_or_else(|| NONE.to_owned(), |from| age(from, until));
        let marks = marks(it, stack);
        let mut row: Vec<Cell> = vec![
            it.id.as_str().into(),
            Cell::toned(&marks, if marks.contains("held") { Tone::Warn } else { Tone::Strong }),
            Cell::phase(&it.phase),
            version(it.revision.as_deref(), &it.images).into(),
            it.trigger.as_str().into(),
            it.actor.as_str().into(),
            age(it.created_at, now).into(),
            took.into(),
            active.into(),
        ];
        if wide {
            row.extend([it.generation.to_string().into(), images(&it.images).into()]);
        }
        row.push(remark(it).into());
        table.row(row);
        until = converged.unwrap_or(until);
    }
    table
}

/// What a deployment is to its stack now.
fn marks(it: &Deployment, stack: &Stack) -> String {
    let is = |version: Option<&Version>| version.and_then(|version| version.deployment_id.as_ref()) == Some(&it.id);
    let marks = [
        ("live", is(stack.live.as_ref())),
        ("last good", is(stack.last_good.as_ref())),
        ("held", stack.held.iter().any(|held| is(Some(held)))),
        ("pinned", stack.pin.as_ref().is_some_and(|pin| pin.version_of == it.id)),
    ];
    let marks: Vec<&str> = marks.into_iter().filter(|(_, is)| *is).map(|(mark, _)| mark).collect();
    if marks.is_empty() { NONE.to_owned() } else { marks.join(", ") }
}

/// What tells most about it, in a line.
fn remark(it: &Deployment) -> String {
    let well = it.phase == "Converged";
    let message = it.message.as_deref().filter(|_| !well).map(clean).filter(|text| !text.is_empty());
    let failure = it.failure.as_ref().map(|it| format!("{}: {}", it.class, it.error));
    let stated = it.stated_reason.as_deref().map(clean).filter(|text| !text.is_empty());
    let answers = it.rollback_of.as_deref().map(|of| format!("brings back what ran before {}", clean(of)));
    let found = if well { stated.or(answers) } else { message.or(failure).or(answers).or(stated) };
    found.unwrap_or_default()
}

/// One deployment, in full.
pub(in crate::cli) fn deployment(it: &Deployment, now: Timestamp, paint: Paint) -> String {
    let id = paint.tone(Tone::Strong, &clean(&it.id));
    let phase = paint.tone(Tone::of_phase(&it.phase), &it.phase);
    let mut text = format!("{id}  {} ({})  {phase}\n", clean(&it.stack), clean(&it.environment));
    let mut facts = Facts::default();
    for (index, line) in lines(it.message.as_deref().unwrap_or_default()).into_iter().enumerate() {
        facts.say(if index == 0 { "message" } else { "" }, line);
    }
    facts.say("version", version(it.revision.as_deref(), &it.images));
    if let Some(commit) = &it.commit {
        let made = format!("{}, by {}, {} ago", clean(&commit.title), clean(&commit.author), age(commit.time, now));
        facts.say("commit", made);
    }
    if it.revision.is_some() && !it.images.is_empty() {
        facts.say("images", images(&it.images));
    }
    facts.say("generation", it.generation.to_string());
    let reason = it.stated_reason.as_deref().map(|text| format!(": {}", clean(text))).unwrap_or_default();
    facts.say("asked", format!("{} by {}, {} ago{reason}", it.trigger, clean(&it.actor), age(it.created_at, now)));
    if let Some(finished) = it.finished_at {
        facts.say("took", between(it.created_at, finished));
    }
    if let Some(of) = &it.rollback_of {
        facts.say("answers", format!("the failure of {}", clean(of)));
    }
    if let Some(by) = &it.rolled_back_by {
        facts.say("answered", format!("by {}", clean(by)));
    }
    if let Some(page) = &it.url {
        facts.say("page", clean(page));
    }
    if let Some(trace) = &it.trace_id {
        facts.say("trace", clean(trace));
    }
    for service in &it.services {
        let obstacle = service.obstacle.as_deref().map(|text| format!("  {}", clean(text))).unwrap_or_default();
        let waits = waits(&service.waits_for);
        let name = clean(&service.service);
        facts.say("service", format!("{name} {}/{}{obstacle}{waits}", service.healthy, service.wanted));
    }
    for job in &it.jobs {
        let code = job.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        let (name, when, way) = (clean(&job.service), job.when.to_lowercase(), job.direction.to_lowercase());
        facts.say("job", format!("{name} ({when}, {way}) {}{code}", job.phase));
        for line in &job.log_tail {
            facts.say("", format!("| {}", clean(line)));
        }
    }
    if let Some(failure) = &it.failure {
        let node = failure.node.as_deref().map(|node| format!(" on node {}", clean(node))).unwrap_or_default();
        let slot = failure.slot.map(|slot| format!(" slot {slot}")).unwrap_or_default();
        let service = failure.service.as_deref().map(|it| format!(" service {}{slot}{node}:", clean(it)));
        let code = failure.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        let mut error = lines(&failure.error).into_iter();
        let first = error.next().unwrap_or_default();
        facts.say("failure", format!("{}:{} {first}{code}", failure.class, service.unwrap_or_default()));
        error.for_each(|line| facts.say("", line));
        for (what, all) in [("log", &failure.log_tail), ("health", &failure.health_log)] {
            for (index, line) in all.iter().enumerate() {
                facts.say(if index == 0 { what } else { "" }, format!("| {}", clean(line)));
            }
        }
    }
    for warning in &it.warnings {
        facts.say("warning", clean(warning));
    }
    text.push_str(&facts.render(paint));
    text
}

/// What a service waits for that is not written yet.
fn waits(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
    if names.is_empty() { String::new() } else { format!("  waits for {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::sample;

    fn now() -> Timestamp {
        "2026-01-31T12:10:00Z".parse().unwrap()
    }

    #[test]
    fn a_list_tells_of_each_what_tells_most() {
        let mut good = sample::deployment("Converged");
        good.finished_at = Some("2026-01-31T12:01:00Z".parse().unwrap());
        good.stated_reason = Some("hotfix".into());
        let list = [sample::deployment("RolledBack"), good];
        insta::assert_snapshot!(deployments(&list, true, false, now()).render(Paint(false), None), @r"
        DEPLOYMENT  STACK  ENVIRONMENT  PHASE       VERSION   TRIGGER  ACTOR  AGE  TOOK   MESSAGE
        01dep       shop   default      RolledBack  01234567  Api      admin  10m  -      3 of 4 tasks are healthy
        01dep       shop   default      Converged   01234567  Api      admin  10m  1m00s  hotfix
        ");
    }

    #[test]
    fn history_says_what_each_is_to_the_stack_and_how_long_it_ran() {
        let ended = |id: &str, phase: &str, at: &str| {
            let mut it = sample::deployment(phase);
            (it.id, it.message, it.failure) = (id.into(), None, None);
            it.created_at = at.parse().unwrap();
            it.finished_at = it.created_at.checked_add(jiff::SignedDuration::from_secs(30)).ok();
            it
        };
        let mut stack: Stack = crate::cli::model::read(&sample::stack_json("shop", "RolledBack")).unwrap();
        stack.pin = Some(crate::cli::model::Pin {
            version_of: "01old".into(),
            actor: "ada".into(),
            reason: None,
            until: None,
            since: now(),
        });
        let list = [
            ended("01bad", "RolledBack", "2026-01-31T12:05:00Z"),
            ended("01dep", "Converged", "2026-01-31T12:00:00Z"),
            ended("01lost", "Failed", "2026-01-31T11:30:00Z"),
            ended("01old", "Converged", "2026-01-31T11:00:00Z"),
        ];
        insta::assert_snapshot!(history(&list, &stack, false, now()).render(Paint(false), None), @r"
        DEPLOYMENT  MARKS            PHASE       VERSION   TRIGGER  ACTOR  AGE  TOOK  ACTIVE  MESSAGE
        01bad       held             RolledBack  01234567  Api      admin  5m   30s   -
        01dep       live, last good  Converged   01234567  Api      admin  10m  30s   9m
        01lost      -                Failed      01234567  Api      admin  40m  30s   -
        01old       pinned           Converged   01234567  Api      admin  70m  30s   60m
        ");
    }

    #[test]
    fn one_deployment_says_everything() {
        let mut it = sample::deployment("RolledBack");
        it.rolled_back_by = Some("01back".into());
        it.warnings.push("`version` is ignored".into());
        it.commit = Some(crate::cli::model::Commit {
            author: "Ada".into(),
            title: "Mend the pool".into(),
            time: "2026-01-31T11:00:00Z".parse().unwrap(),
        });
        it.url = Some("https://skep.example.org/deployments/01dep".into());
        insta::assert_snapshot!(deployment(&it, now(), Paint(false)), @r"
        01dep  shop (default)  RolledBack
          message     3 of 4 tasks are healthy
          version     01234567
          commit      Mend the pool, by Ada, 70m ago
          images      web=app:2
          generation  4
          asked       Api by admin, 10m ago
          answered    by 01back
          page        https://skep.example.org/deployments/01dep
          service     web 2/3  starting on node-3
          service     worker 1/1
          failure     HealthCheck: service web slot 2 on node node-3: unhealthy container (exit code 137)
          log         | listening on :8080
                      | cannot reach the database
          health      | exit code 1: no answer on port 8080
          warning     `version` is ignored
        ");
    }
}
