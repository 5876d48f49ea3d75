//! Stacks.

use jiff::Timestamp;

use super::Facts;
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::model::{FollowedImage, Image, Stack, Version};
use crate::cli::session::command;
use crate::cli::table::{Cell, Table};
use crate::cli::text::{NONE, age, images, known, or_none, version};

/// A line for each stack.
pub(in crate::cli) fn stacks(stacks: &[Stack], wide: bool, now: Timestamp) -> Table {
    let mut head = vec!["STACK", "ENVIRONMENT", "PHASE", "DESIRED", "LIVE", "CHANGED"];
    if wide {
        head.extend(["GENERATION", "DEPLOYMENT", "IMAGES"]);
    }
    head.push("MESSAGE");
    let mut table = Table::new(&head);
    for stack in stacks {
        let mut row: Vec<Cell> = vec![
            stack.name.as_str().into(),
            stack.environment.as_str().into(),
            Cell::phase(&stack.phase),
            desired(stack).into(),
            known(stack.live.as_ref()).into(),
            age(stack.updated_at, now).into(),
        ];
        if wide {
            let live = stack.live.as_ref().map(|live| images(&live.images)).filter(|text| !text.is_empty());
            row.extend([
                format!("{}/{}", stack.observed_generation, stack.generation).into(),
                stack.deployment_id.as_str().into(),
                live.unwrap_or_else(|| NONE.to_owned()).into(),
            ]);
        }
        row.push(stack.message.as_deref().filter(|_| !is_quiet(stack)).unwrap_or_default().into());
        table.row(row);
    }
    table
}

/// Whether a stack is just well: that needs no words.
pub(in crate::cli) fn is_quiet(stack: &Stack) -> bool {
    stack.phase == "Converged" && stack.pin.is_none() && stack.drift.found.is_empty()
}

/// The version that is wanted and the one that runs: what tells them apart is in both.
pub(in crate::cli) fn versions(stack: &Stack) -> (String, String) {
    let (wanted, runs) = (desired(stack), known(stack.live.as_ref()));
    let Some(live) = &stack.live else { return (wanted, runs) };
    if live.revision != stack.desired.revision {
        return (wanted, runs);
    }
    let same = |image: &&Image, others: &[Image]| others.iter().any(|other| other == *image);
    let only = |of: &[Image], others: &[Image]| -> Vec<Image> {
        of.iter().filter(|image| !same(image, others)).cloned().collect()
    };
    let (asked, there) = (only(&stack.desired.images, &live.images), only(&live.images, &stack.desired.images));
    match (asked.is_empty(), there.is_empty()) {
        (true, true) => (wanted, "same".to_owned()),
        // The commit is the same: a service has another image.
        (false, false) => (images(&asked), images(&there)),
        _ => (wanted, runs),
    }
}

/// The ref and the commit it stands at.
fn desired(stack: &Stack) -> String {
    let known = version(stack.desired.revision.as_deref(), &stack.desired.images);
    match stack.desired.wanted.as_deref().map(clean) {
        Some(wanted) if known == NONE || known == wanted => wanted,
        Some(wanted) if stack.desired.revision.is_some() => format!("{wanted}@{known}"),
        Some(wanted) => wanted,
        None => known,
    }
}

/// One stack, in full.
pub(in crate::cli) fn stack(stack: &Stack, now: Timestamp, paint: Paint) -> String {
    let name = paint.tone(Tone::Strong, &clean(&stack.name));
    let phase = paint.tone(Tone::of_phase(&stack.phase), &stack.phase);
    let mut text = format!("{name} ({})  {phase}", clean(&stack.environment));
    if let Some(message) = stack.message.as_deref().map(clean).filter(|text| !text.is_empty()) {
        text.push_str(&format!(": {message}"));
    }
    text.push('\n');
    text.push_str(&facts(stack, now).render(paint));
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for it in &stack.conditions {
        table.row([
            it.kind.as_str().into(),
            it.status.as_str().into(),
            it.reason.as_str().into(),
            age(it.since, now).into(),
            it.message.as_str().into(),
        ]);
    }
    if !stack.conditions.is_empty() {
        text.push('\n');
        text.push_str(&table.render(paint, None));
    }
    text
}

/// What is known of a stack, but for its conditions: a name and a text each.
pub(in crate::cli) fn facts(stack: &Stack, now: Timestamp) -> Facts {
    let mut facts = Facts::default();
    if let Some(next) = &stack.next {
        let at = next.at.map(|at| format!("{}: ", at.strftime("%Y-%m-%dT%H:%M:%SZ"))).unwrap_or_default();
        facts.say("next", format!("{at}{}", clean(&next.text)));
    }
    facts.say("generation", generation(stack));
    facts.say("desired", with_images(desired(stack), &stack.desired));
    for (name, version) in [("target", &stack.target), ("live", &stack.live), ("last good", &stack.last_good)] {
        let kind = version.as_ref().and_then(|it| it.kind.as_deref()).filter(|kind| *kind != "Desired");
        let kind = kind.map(|kind| format!("  ({})", clean(kind))).unwrap_or_default();
        let shown = version.as_ref().map_or_else(|| NONE.to_owned(), |it| with_images(known(Some(it)), it));
        facts.say(name, format!("{shown}{kind}"));
    }
    for held in &stack.held {
        let since = held.since.map(|since| format!(" (since {} ago)", age(since, now))).unwrap_or_default();
        facts.say("held", format!("{}: {}{since}", known(Some(held)), or_none(held.reason.as_deref())));
    }
    stack.followed_images.iter().for_each(|it| facts.say("follows", followed(it, now)));
    standing_orders(stack, now, &mut facts);
    for found in &stack.drift.found {
        facts.say("drift", clean(found));
    }
    facts.say("deployment", clean(&stack.deployment_id));
    facts
}

/// An image that is followed: by which rule, what it is, and when that was looked at.
fn followed(it: &FollowedImage, now: Timestamp) -> String {
    let rule = format!("{} {}", clean(&it.rule), clean(&it.wanted));
    let place = it.repository.as_deref().map(|place| format!(" of {}", clean(place))).unwrap_or_default();
    let version = match (&it.tag, &it.digest) {
        (Some(tag), Some(digest)) => clean(&format!("{tag}@{}", digest.get(..19).unwrap_or(digest))),
        (Some(tag), None) => clean(tag),
        (None, _) => NONE.to_owned(),
    };
    let mut text = format!("{}: {version}  ({rule}{place}", clean(&it.service));
    if let Some(at) = it.checked_at {
        text.push_str(&format!("; looked {} ago", age(at, now)));
    }
    if let Some(next) = it.next_look {
        text.push_str(&format!("; next at {next}"));
    }
    text.push(')');
    if !it.skipped.is_empty() {
        let skipped: Vec<String> = it.skipped.iter().map(|tag| clean(tag)).collect();
        text.push_str(&format!("; passed over, because it failed here: {}", skipped.join(", ")));
    }
    if let Some(error) = &it.error {
        text.push_str(&format!("; {}", clean(error)));
    }
    text
}

fn generation(stack: &Stack) -> String {
    match stack.observed_generation {
        observed if observed == stack.generation => observed.to_string(),
        observed => format!("{} (settled: {observed})", stack.generation),
    }
}

fn with_images(shown: String, version: &Version) -> String {
    let images = images(&version.images);
    if images.is_empty() || shown.contains(&images) { shown } else { format!("{shown}  {images}") }
}

/// Pin, suspension and deletion.
fn standing_orders(stack: &Stack, now: Timestamp, facts: &mut Facts) {
    let until = |until: Option<Timestamp>| until.map(|until| format!(", until {until}")).unwrap_or_default();
    let by = |actor: &str, since: Timestamp| format!("by {}, {} ago", clean(actor), age(since, now));
    let type_in = |what: &str| command(&format!("{what} {}", clean(&stack.name)), &stack.environment);
    if let Some(pin) = &stack.pin {
        let reason = pin.reason.as_deref().map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
        let who = by(&pin.actor, pin.since);
        let version = clean(&pin.version_of);
        facts.say(
            "pin",
            format!("the version of {version}{}, {who}{reason}; {} ends it", until(pin.until), type_in("unpin")),
        );
    }
    if let Some(it) = &stack.suspension {
        let who = by(&it.actor, it.since);
        facts.say(
            "suspended",
            format!("{}{}, {who}; {} ends it", clean(&it.reason), until(it.until), type_in("resume")),
        );
    }
    if let Some(it) = &stack.catalog {
        facts.say("catalog", format!("{}, in {}", clean(&it.name), clean(&it.file)));
    }
    if let Some(it) = &stack.deletion {
        facts.say("deleting", by(&it.actor, it.since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::model::read;
    use crate::cli::tests::sample::stack_json;

    fn now() -> Timestamp {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    fn read_stack(name: &str, phase: &str) -> Stack {
        read(&stack_json(name, phase)).unwrap()
    }

    #[test]
    fn a_list_says_what_is_not_well() {
        let list = [read_stack("blog", "Converged"), read_stack("shop", "RolledBack")];
        insta::assert_snapshot!(stacks(&list, false, now()).render(Paint(false), None), @r"
        STACK  ENVIRONMENT  PHASE       DESIRED        LIVE      CHANGED  MESSAGE
        blog   default      Converged   main@11111111  22222222  60m
        shop   default      RolledBack  main@11111111  22222222  60m      what is wanted runs
        ");
        insta::assert_snapshot!(stacks(&list[..1], true, now()).render(Paint(false), None), @r"
        STACK  ENVIRONMENT  PHASE      DESIRED        LIVE      CHANGED  GENERATION  DEPLOYMENT  IMAGES     MESSAGE
        blog   default      Converged  main@11111111  22222222  60m      4/4         01dep       web=app:1
        ");
    }

    #[test]
    fn versions_say_what_tells_them_apart() {
        let mut it = read_stack("shop", "Progressing");
        assert_eq!(versions(&it), ("main@11111111".to_owned(), "22222222".to_owned()));
        // The commit is the same: an image differs.
        it.desired.revision = it.live.as_ref().and_then(|live| live.revision.clone());
        assert_eq!(versions(&it), ("web=app:2".to_owned(), "web=app:1".to_owned()));
        it.desired.images = it.live.as_ref().map(|live| live.images.clone()).unwrap_or_default();
        assert_eq!(versions(&it), ("main@22222222".to_owned(), "same".to_owned()));
        it.live = None;
        assert_eq!(versions(&it), ("main@22222222".to_owned(), "-".to_owned()));
    }

    #[test]
    fn one_stack_says_everything() {
        let mut it = stack_json("shop", "RolledBack");
        it["pin"] = serde_json::json!({
            "deploymentId": "01pin", "versionOf": "01old", "actor": "ada", "reason": "fair", "until": null,
            "since": "2026-01-31T11:59:00Z",
        });
        it["next"] = serde_json::json!({
            "text": "the pin ends then, and what is declared flows again", "at": "2026-02-01T08:00:00Z",
        });
        let it: Stack = read(&it).unwrap();
        insta::assert_snapshot!(stack(&it, now(), Paint(false)), @r"
        shop (default)  RolledBack: what is wanted runs
          next        2026-02-01T08:00:00Z: the pin ends then, and what is declared flows again
          generation  4
          desired     main@11111111  web=app:2
          target      22222222  web=app:1
          live        22222222  web=app:1
          last good   22222222  web=app:1
          held        11111111: web: unhealthy (since 30m ago)
          pin         the version of 01old, by ada, 60s ago: fair; `skep unpin shop` ends it
          deployment  01dep

        CONDITION  STATUS  REASON     SINCE  MESSAGE
        Ready      True    Succeeded  60m    what is wanted runs
        ");
    }
}
