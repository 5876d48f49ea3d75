//! Deployments.

use jiff::Timestamp;

use super::{Facts, lines};
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::model::Deployment;
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
        for (index, line) in failure.log_tail.iter().enumerate() {
            facts.say(if index == 0 { "log" } else { "" }, format!("| {}", clean(line)));
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
    fn one_deployment_says_everything() {
        let mut it = sample::deployment("RolledBack");
        it.rolled_back_by = Some("01back".into());
        it.warnings.push("`version` is ignored".into());
        insta::assert_snapshot!(deployment(&it, now(), Paint(false)), @r"
        01dep  shop (default)  RolledBack
          message     3 of 4 tasks are healthy
          version     01234567
          images      web=app:2
          generation  4
          asked       Api by admin, 10m ago
          answered    by 01back
          service     web 2/3  starting on node-3
          service     worker 1/1
          failure     HealthCheck: service web slot 2 on node node-3: unhealthy container (exit code 137)
          log         | listening on :8080
                      | cannot reach the database
          warning     `version` is ignored
        ");
    }
}
