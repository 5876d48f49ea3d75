//! One stack, drawn: how it stands and what happens next, the steps of its deployment, its services with their new and old
//! tasks, and its conditions.

use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::ink::{ends, icon, ink, lost, next, phase, wrapped};
use super::one::Seen;
use super::steps::{Pace, steps};
use crate::cli::console::{Paint, Tone, clean, cut, width};
use crate::cli::follow::bar;
use crate::cli::model::{Condition, Deployment, Failure, Service, Stack, Task};
use crate::cli::show;
use crate::cli::text::{NONE, age, between, or_none, version};

/// Lines of the screen that are no part of the text: the name, whether the connection is lost, and the keys.
pub(super) const AROUND: usize = 3;
/// Columns of a bar.
const BAR: usize = 12;
/// Columns that the name of a service takes at most.
const NAME: usize = 24;

/// The whole screen. `top` is moved to where it can be.
pub(super) fn lines(
    seen: &Seen,
    top: &mut usize,
    (columns, rows): (usize, usize),
    now: Timestamp,
    paint: Paint,
) -> Vec<Line<'static>> {
    let mut sheet = Sheet { columns, now, paint, lines: Vec::new() };
    match &seen.stack {
        Some(stack) => sheet.stack(stack, seen),
        None => sheet.line([(Tone::Plain, "waiting for the server")]),
    }
    let text = sheet.lines;
    let room = rows.saturating_sub(AROUND).max(1);
    *top = (*top).min(text.len().saturating_sub(room));
    let place = match text.len() {
        all if all <= room => String::new(),
        all => format!("lines {} to {} of {all}", *top + 1, *top + room),
    };
    let notice = seen.lost.as_ref().map(|(since, why)| cut(&lost(*since, why, now), columns)).unwrap_or_default();
    let mut lines = vec![head(seen.stack.as_ref(), columns, now, paint), Line::from(ink(paint, Tone::Warn, &notice))];
    lines.extend(text.into_iter().skip(*top).take(room));
    lines.resize_with(rows.saturating_sub(1), Line::default);
    lines.push(ends(paint, (Tone::Faint, "j k move  q back"), (Tone::Plain, &place), columns));
    lines
}

/// Its name and how it stands: always on the screen.
fn head(stack: Option<&Stack>, columns: usize, now: Timestamp, paint: Paint) -> Line<'static> {
    let Some(stack) = stack else { return Line::from(ink(paint, Tone::Strong, "skep watch")) };
    let ready = stack.conditions.iter().find(|it| it.kind == "Ready");
    let since = age(ready.map_or(stack.updated_at, |it| it.since), now);
    let right = cut(&format!("{} {since}", phase(&stack.phase)), columns);
    let name = format!("{} ({})", clean(&stack.name), clean(&stack.environment));
    ends(paint, (Tone::Strong, &name), (Tone::of_phase(&stack.phase), &right), columns)
}

/// The text, line by line.
struct Sheet {
    columns: usize,
    now: Timestamp,
    paint: Paint,
    lines: Vec<Line<'static>>,
}

impl Sheet {
    /// A line of pieces, cut where the screen ends.
    fn line<'t>(&mut self, pieces: impl IntoIterator<Item = (Tone, &'t str)>) {
        let (mut room, mut spans) = (self.columns, Vec::<Span<'static>>::new());
        for (tone, text) in pieces {
            let shown = cut(text, room);
            room -= width(&shown).min(room);
            spans.push(ink(self.paint, tone, &shown));
        }
        self.lines.push(Line::from(spans));
    }

    /// The name of a part, below an empty line.
    fn part(&mut self, pieces: &[(Tone, &str)]) {
        self.lines.push(Line::default());
        self.line(pieces.iter().copied());
    }

    /// A name and a text that goes on below itself.
    fn say(&mut self, indent: usize, name: (Tone, &str), most: usize, (tone, text): (Tone, &str)) {
        let start = indent + most + if most > 0 { 2 } else { 0 };
        for (index, piece) in wrapped(text, self.columns.saturating_sub(start)).iter().enumerate() {
            let shown = if index == 0 { cut(name.1, most) } else { String::new() };
            let pad = " ".repeat(start - indent - width(&shown));
            self.line([
                (Tone::Plain, " ".repeat(indent).as_str()),
                (name.0, shown.as_str()),
                (Tone::Plain, pad.as_str()),
                (tone, piece.as_str()),
            ]);
        }
    }

    fn stack(&mut self, stack: &Stack, seen: &Seen) {
        let message = stack.message.as_deref().map(clean).filter(|text| !text.is_empty());
        if let Some(message) = message {
            self.say(0, (Tone::Plain, ""), 0, (Tone::Plain, &message));
        }
        if let Some(then) = &stack.next {
            let then = next(then, self.now);
            self.say(0, (Tone::Strong, "next"), 4, (Tone::Plain, &then));
        }
        self.lines.push(Line::default());
        let facts = show::facts(stack, self.now).0;
        let facts: Vec<_> = facts.iter().filter(|(name, _)| !matches!(name.as_str(), "next" | "deployment")).collect();
        let most = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, text) in facts {
            self.say(2, (Tone::Faint, name), most, (Tone::Plain, text));
        }
        match &seen.deployment {
            Some(deployment) => self.deployment("DEPLOYMENT", deployment, seen),
            None => self.part(&[(Tone::Faint, "no deployment was taken up yet")]),
        }
        let answered = seen.deployment.as_ref().and_then(|it| it.rollback_of.as_ref());
        if let Some(failed) = seen.failed.as_ref().filter(|it| Some(&it.id) == answered) {
            self.deployment("IT ANSWERS", failed, seen);
        }
        self.services(stack, seen);
        self.conditions(&stack.conditions);
    }

    fn deployment(&mut self, title: &str, it: &Deployment, seen: &Seen) {
        let title = format!("{title}  ");
        let took = between(it.created_at, it.finished_at.unwrap_or(self.now));
        let what = version(it.revision.as_deref(), &it.images);
        let asked = format!("  {took}  {what}  {} by {}  {}", it.trigger, clean(&it.actor), clean(&it.id));
        self.part(&[(Tone::Strong, &title), (Tone::of_phase(&it.phase), &phase(&it.phase)), (Tone::Plain, &asked)]);
        for step in steps(it, &seen.events) {
            let (mark, tone) = match step.pace {
                Pace::Done => (icon("Converged"), Tone::Good),
                Pace::Now => (icon("Progressing"), Tone::Strong),
                Pace::Ahead => (icon("Pending"), Tone::Faint),
                Pace::Failed => (icon("Failed"), Tone::Bad),
            };
            let end = step.to.or((step.pace == Pace::Now).then_some(self.now));
            let took = step.from.zip(end).map(|(from, to)| between(from, to)).unwrap_or_default();
            let at = step.from.map(|from| from.strftime("%H:%M:%SZ").to_string()).unwrap_or_default();
            let text = format!(" {:17}  {at:9}  {took}", step.word);
            self.line([(Tone::Plain, "  "), (tone, mark), (tone, text.trim_end())]);
        }
        if let Some(message) = it.message.as_deref().filter(|_| it.phase != "Converged") {
            self.say(2, (Tone::Faint, "says"), 4, (Tone::Plain, &clean(message)));
        }
        if let Some(failure) = &it.failure {
            self.failure(failure);
        }
    }

    /// Why it failed, with the last lines.
    fn failure(&mut self, it: &Failure) {
        let node = it.node.as_deref().map(|node| format!(" on {}", clean(node))).unwrap_or_default();
        let slot = it.slot.map(|slot| format!(".{slot}")).unwrap_or_default();
        let place =
            it.service.as_deref().map(|service| format!(" {}{slot}{node}:", clean(service))).unwrap_or_default();
        let code = it.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        let text = format!("{}:{place} {}{code}", clean(&it.class), clean(&it.error));
        self.say(2, (Tone::Bad, "why"), 4, (Tone::Plain, &text));
        for (name, all) in [("log", &it.log_tail), ("health", &it.health_log)] {
            for (index, line) in all.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                self.say(2, (Tone::Faint, name), 6, (Tone::Faint, &format!("| {}", clean(line))));
            }
        }
    }

    /// Each service with its tasks: first the new ones, then the old ones.
    fn services(&mut self, stack: &Stack, seen: &Seen) {
        let known = seen.deployment.as_ref().map(|it| it.services.as_slice()).unwrap_or_default();
        let prefix = format!("{}_", stack.name);
        let short = |task: &Task| task.service.strip_prefix(&prefix).unwrap_or(&task.service).to_owned();
        let mut names: Vec<String> = known.iter().map(|it| it.service.clone()).collect();
        names.extend(seen.tasks.iter().map(short));
        names.sort();
        names.dedup();
        if names.is_empty() {
            return;
        }
        self.part(&[(Tone::Strong, "SERVICES")]);
        let most = names.iter().map(|name| width(&clean(name))).max().unwrap_or_default().min(NAME);
        let node = seen.tasks.iter().filter_map(|it| it.node.as_deref()).map(|it| width(&clean(it))).max();
        let node = node.unwrap_or(1).min(NAME);
        for name in &names {
            self.service(name, known.iter().find(|it| it.service == *name), most);
            let mut tasks: Vec<&Task> = seen.tasks.iter().filter(|task| short(task) == *name).collect();
            tasks.sort_by_key(|task| (!task.current, task.slot, task.node.clone()));
            tasks.into_iter().for_each(|task| self.task(task, node));
        }
    }

    fn service(&mut self, name: &str, known: Option<&Service>, most: usize) {
        let shown = cut(&clean(name), most);
        let name = format!("  {shown}{}  ", " ".repeat(most - width(&shown)));
        let Some(it) = known else { return self.line([(Tone::Plain, name.as_str())]) };
        let tone = if it.healthy >= it.wanted { Tone::Good } else { Tone::Warn };
        let waits: Vec<String> = it.waits_for.iter().map(|name| clean(name)).collect();
        let waits = (!waits.is_empty()).then(|| format!("waits for {}", waits.join(", ")));
        let obstacle = it.obstacle.as_deref().map(clean).filter(|text| !text.is_empty()).or(waits).unwrap_or_default();
        let count = format!("  {}/{}  ", it.healthy, it.wanted);
        let bar = bar(it.healthy, it.wanted, BAR);
        self.line([
            (Tone::Strong, name.as_str()),
            (tone, bar.as_str()),
            (tone, count.as_str()),
            (Tone::Warn, obstacle.as_str()),
        ]);
    }

    fn task(&mut self, it: &Task, node: usize) {
        let kind = if it.current { "new" } else { "old" };
        let slot = it.slot.map_or_else(|| NONE.to_owned(), |slot| slot.to_string());
        let place = cut(&or_none(it.node.as_deref()), node);
        let pad = " ".repeat(node - width(&place).min(node));
        let since = it.since.map_or_else(|| NONE.to_owned(), |since| age(since, self.now));
        let code = it.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
        // What runs as it should needs no words.
        let quiet = it.state == "Running" && it.desired == "Running";
        let message = if quiet { String::new() } else { format!("  {}{code}", clean(&it.message)) };
        let start = format!("    {kind} {slot:>2}  {place}{pad}  ");
        let faint = if it.current { Tone::Plain } else { Tone::Faint };
        let (state, since) = (format!("{:9}", clean(&it.state)), format!(" {since:>4}"));
        self.line([
            (faint, start.as_str()),
            (show::task_tone(&it.state), state.as_str()),
            (faint, since.as_str()),
            (faint, message.as_str()),
        ]);
    }

    fn conditions(&mut self, all: &[Condition]) {
        if all.is_empty() {
            return;
        }
        self.part(&[(Tone::Strong, "CONDITIONS")]);
        let most = all.iter().map(|it| width(&clean(&it.kind))).max().unwrap_or_default();
        for it in all {
            let (status, reason, since) = (clean(&it.status), clean(&it.reason), age(it.since, self.now));
            let text = format!("{status:7} {since:>4}  {reason}: {}", clean(&it.message));
            self.say(2, (Tone::Plain, &clean(&it.kind)), most, (Tone::Plain, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::screen::tests::drawn;
    use super::*;
    use crate::cli::model::read;
    use crate::cli::tests::sample;

    fn now() -> Timestamp {
        "2026-01-31T12:00:14Z".parse().unwrap()
    }

    fn event(kind: &str, reason: &str, time: &str) -> serde_json::Value {
        json!({
            "time": format!("2026-01-31T12:00:{time}Z"), "environment": "default", "stack": "shop",
            "deploymentId": "01dep", "type": kind, "reason": reason, "message": "", "actor": "skep",
        })
    }

    fn task(service: &str, slot: u64, state: &str, current: bool) -> serde_json::Value {
        json!({
            "taskId": "t", "service": format!("shop_{service}"), "slot": slot, "node": "node-3", "state": state,
            "desired": if state == "Failed" || state == "Shutdown" { "Shutdown" } else { "Running" },
            "current": current, "message": if state == "Failed" { "task: non-zero exit (137)" } else { "starting" },
            "exitCode": if state == "Failed" { json!(137) } else { json!(null) }, "createdAt": null,
            "since": "2026-01-31T12:00:10Z",
        })
    }

    /// A stack on its way to a new version.
    fn moving() -> Seen {
        let mut stack = sample::stack_json("shop", "Progressing");
        stack["message"] = json!("3 of 4 tasks are healthy");
        stack["next"] =
            json!({ "text": "it fails then, unless one more task gets healthy", "at": "2026-01-31T12:05:00Z" });
        let events = [("Fetching", "01"), ("Rendering", "02"), ("Applying", "03"), ("Verifying", "05")];
        let events = events.iter().map(|(phase, time)| read(&event("PhaseChanged", phase, time)).unwrap());
        let tasks = [
            task("web", 1, "Running", true),
            task("web", 2, "Shutdown", false),
            task("web", 2, "Starting", true),
            task("worker", 1, "Running", true),
        ];
        Seen {
            stack: Some(read(&stack).unwrap()),
            deployment: Some(sample::deployment("Verifying")),
            events: events.collect(),
            tasks: tasks.iter().map(|it| read(it).unwrap()).collect(),
            ..Seen::default()
        }
    }

    fn failed() -> Seen {
        let mut seen = moving();
        let mut stack = sample::stack_json("shop", "RolledBack");
        stack["message"] = json!("web.2 on node-3: unhealthy container; the last good version runs again");
        seen.stack = Some(read(&stack).unwrap());
        let mut deployment = sample::deployment("RolledBack");
        deployment.finished_at = Some("2026-01-31T12:00:12Z".parse().unwrap());
        let mut back = sample::deployment("Converged");
        (back.id, back.trigger, back.actor) = ("01back".into(), "Rollback".into(), "skep".into());
        (back.created_at, back.finished_at) = ("2026-01-31T12:00:09Z".parse().unwrap(), deployment.finished_at);
        (back.rollback_of, back.revision) = (Some("01dep".into()), Some("2".repeat(40)));
        back.services.iter_mut().for_each(|it| (it.healthy, it.obstacle) = (it.wanted, None));
        (seen.deployment, seen.failed) = (Some(back), Some(deployment));
        seen.events.push(read(&event("Failed", "HealthCheck", "09")).unwrap());
        seen.tasks.push(read(&task("web", 2, "Failed", false)).unwrap());
        seen
    }

    fn shown(seen: &Seen, top: usize, size: (u16, u16)) -> String {
        let mut top = top;
        drawn(size, |size| lines(seen, &mut top, size, now(), Paint(false)))
    }

    #[test]
    fn a_stack_on_its_way() {
        insta::assert_snapshot!(shown(&moving(), 0, (80, 36)));
    }

    #[test]
    fn a_stack_that_was_rolled_back() {
        insta::assert_snapshot!(shown(&failed(), 0, (80, 54)));
    }

    #[test]
    fn a_stack_on_a_narrow_screen() {
        insta::assert_snapshot!(shown(&failed(), 0, (40, 72)));
    }

    #[test]
    fn a_stack_of_which_little_is_known() {
        assert!(shown(&Seen::default(), 0, (60, 6)).contains("waiting for the server"));
        let stack = read(&sample::stack_json("shop", "Pending")).unwrap();
        let mut seen = Seen { stack: Some(stack), ..Seen::default() };
        seen.lost = Some(("2026-01-31T11:58:00Z".parse().unwrap(), "connection refused".to_owned()));
        insta::assert_snapshot!(shown(&seen, 0, (72, 16)));
    }

    #[test]
    fn a_long_text_is_read_page_by_page_and_never_beyond_its_end() {
        let seen = moving();
        let mut top = usize::MAX;
        let text = drawn((80, 10), |size| lines(&seen, &mut top, size, now(), Paint(false)));
        assert!(text.starts_with("shop (default)") && text.contains("  Ready"), "{text}");
        assert!(text.ends_with(&format!("lines {} to {} of {}", top + 1, top + 7, top + 7)), "{text}");
        // A higher screen shows all of it again.
        let text = drawn((80, 60), |size| lines(&seen, &mut top, size, now(), Paint(false)));
        assert!(top == 0 && !text.contains("lines "), "{text}");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        for columns in 20..140 {
            for rows in [6, 24] {
                let drawn = lines(&failed(), &mut 3, (columns, rows), now(), Paint(true));
                assert_eq!(drawn.len(), rows);
                for line in drawn {
                    let text: String = line.spans.iter().map(|it| it.content.as_ref()).collect();
                    assert!(width(text.trim_end()) <= columns, "{columns}: {text:?}");
                }
            }
        }
    }
}
