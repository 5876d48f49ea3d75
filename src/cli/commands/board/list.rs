//! All stacks, drawn.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ratatui::text::Line;

use super::fleet::{Fleet, rank};
use super::ink::{ends, gap, ink, lost, next, phase};
use crate::cli::console::{Paint, Tone, clean, cut, width};
use crate::cli::follow::bar;
use crate::cli::model::Stack;
use crate::cli::show;
use crate::cli::text::{NONE, age};

/// Lines of the screen that no stack is on: the counts, what is looked for, the head of the table, and the keys.
const AROUND: usize = 4;
/// Columns that a version takes at most: on a wide screen, and on one that is not.
const VERSION: (usize, usize) = (32, 16);
/// From so many columns on a screen is wide.
const WIDE: usize = 120;
/// Columns of a bar.
const BAR: usize = 6;
/// Columns that a name keeps in any case.
const NAME: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Environment,
    Phase,
    Wanted,
    Live,
    Bar,
    Tasks,
    Since,
}

use Column::{Bar, Environment, Live, Name, Phase, Since, Tasks, Wanted};

const COLUMNS: [Column; 8] = [Name, Environment, Phase, Wanted, Live, Bar, Tasks, Since];

impl Column {
    fn head(self) -> &'static str {
        match self {
            Name => "STACK",
            Environment => "ENVIRONMENT",
            Phase => "PHASE",
            Wanted => "WANTED",
            Live => "LIVE",
            Bar => "",
            Tasks => "TASKS",
            Since => "SINCE",
        }
    }

    fn text(self, stack: &Stack, now: Timestamp) -> String {
        match self {
            Name => clean(&stack.name),
            Environment => clean(&stack.environment),
            Phase => phase(&stack.phase),
            Wanted => show::versions(stack).0,
            Live => show::versions(stack).1,
            Bar => tasks(stack).map(|(healthy, wanted)| bar(healthy, wanted, BAR)).unwrap_or_default(),
            Tasks => tasks(stack).map_or_else(|| NONE.to_owned(), |(healthy, wanted)| format!("{healthy}/{wanted}")),
            Since => age(since(stack), now),
        }
    }

    fn tone(self, stack: &Stack) -> Tone {
        match self {
            Name => Tone::Strong,
            Phase => Tone::of_phase(&stack.phase),
            Bar | Tasks => match tasks(stack) {
                Some((healthy, wanted)) if healthy < wanted => Tone::Warn,
                Some(_) => Tone::Good,
                None => Tone::Faint,
            },
            Environment | Since => Tone::Faint,
            Wanted | Live => Tone::Plain,
        }
    }
}

/// Healthy tasks and wanted ones, of all services; none before that is known.
fn tasks(stack: &Stack) -> Option<(u64, u64)> {
    let services = &stack.attempt.as_ref()?.services;
    let sum = |of: fn(&crate::cli::model::Service) -> u64| services.iter().map(of).sum();
    (!services.is_empty()).then(|| (sum(|it| it.healthy.min(it.wanted)), sum(|it| it.wanted)))
}

/// Since when it stands as it does.
fn since(stack: &Stack) -> Timestamp {
    let ready = stack.conditions.iter().find(|it| it.kind == "Ready").map(|it| it.since);
    ready.or_else(|| stack.attempt.as_ref().map(|it| it.created_at)).unwrap_or(stack.updated_at)
}

/// Why it is as it is, and what happens next, of one that is not just well.
fn notes(stack: &Stack, now: Timestamp) -> Vec<(Tone, String)> {
    if show::is_quiet(stack) {
        return Vec::new();
    }
    let why = stack.message.as_deref().map(clean).filter(|text| !text.is_empty());
    let then = stack.next.as_ref().map(|it| format!("next: {}", next(it, now)));
    why.map(|text| (Tone::Plain, text)).into_iter().chain(then.map(|text| (Tone::Faint, text))).collect()
}

/// The columns that there is room for, and how wide each is.
fn layout(found: &[(&String, &Stack)], environments: usize, columns: usize, now: Timestamp) -> Vec<(Column, usize)> {
    let version = if columns >= WIDE { VERSION.0 } else { VERSION.1 };
    let wide = |column: Column| {
        let texts = found.iter().map(|(_, stack)| width(&column.text(stack, now)));
        let widest = texts.max().unwrap_or(0).max(width(column.head()));
        (column, if matches!(column, Wanted | Live) { widest.min(version) } else { widest })
    };
    let mut all: Vec<(Column, usize)> = COLUMNS.into_iter().map(wide).collect();
    // One environment needs no column before anything else does.
    let gives_way: &[Column] = match environments {
        0 | 1 => &[Environment, Bar, Live, Wanted, Since, Tasks],
        _ => &[Bar, Live, Wanted, Since, Environment, Tasks],
    };
    let room = columns.saturating_sub(2);
    let taken = |all: &[(Column, usize)]| all.iter().map(|(_, width)| width + 2).sum::<usize>().saturating_sub(2);
    // A long name is cut before anything is left out.
    let excess = |all: &[(Column, usize)]| taken(all).saturating_sub(room);
    let longest = all.first().map_or(0, |(_, width)| *width);
    let spare = longest.saturating_sub(longest.min(NAME * 2));
    for column in gives_way {
        if excess(&all) > spare {
            all.retain(|(it, _)| it != column);
        }
    }
    let excess = excess(&all);
    if let Some((_, name)) = all.first_mut() {
        *name = name.saturating_sub(excess).max(NAME.min(*name));
    }
    all
}

fn row(cells: impl Iterator<Item = (Tone, String, usize)>, mark: &str, paint: Paint) -> Line<'static> {
    let mut spans = vec![ink(paint, Tone::Strong, mark)];
    for (tone, text, most) in cells {
        let shown = cut(&text, most);
        let pad = most.saturating_sub(width(&shown));
        spans.extend([ink(paint, tone, &shown), gap(pad + 2)]);
    }
    Line::from(spans)
}

/// The first stack that is shown, so that the one that is pointed at is, and how many are. Each takes some lines.
fn window(heights: &[usize], top: usize, at: usize, room: usize) -> (usize, usize) {
    let takes = |from: usize, to: usize| heights.get(from..to).map_or(0, |some| some.iter().sum::<usize>());
    let mut top = top.min(at);
    while top < at && takes(top, at + 1) > room {
        top += 1;
    }
    while top > 0 && takes(top - 1, heights.len()) <= room {
        top -= 1;
    }
    let shown = (top..heights.len()).take_while(|last| takes(top, last + 1) <= room).count();
    (top, shown.max(1))
}

/// The whole screen.
pub(super) fn lines(
    fleet: &mut Fleet,
    (columns, rows): (usize, usize),
    now: Timestamp,
    paint: Paint,
) -> Vec<Line<'static>> {
    let found = fleet.found();
    let room = rows.saturating_sub(AROUND).max(1);
    let at = fleet.index(&found);
    let heights: Vec<usize> = found.iter().map(|(_, stack)| (1 + notes(stack, now).len()).min(room)).collect();
    let (top, page) = window(&heights, fleet.top, at, room);
    let environments: BTreeSet<&str> = fleet.all().map(|it| it.environment.as_str()).collect();
    let layout = layout(&found, environments.len(), columns, now);
    let mut lines =
        vec![Line::from(ink(paint, Tone::Strong, &cut(&counts(fleet), columns))), notice(fleet, columns, now, paint)];
    let head = layout.iter().map(|(column, most)| (Tone::Faint, column.head().to_owned(), *most));
    lines.push(if found.is_empty() { Line::default() } else { row(head, "  ", paint) });
    for (index, (_, stack)) in found.iter().enumerate().skip(top).take(page) {
        let cells = layout.iter().map(|(column, most)| (column.tone(stack), column.text(stack, now), *most));
        lines.push(row(cells, if index == at { "> " } else { "  " }, paint));
        let notes =
            notes(stack, now).into_iter().map(|(tone, text)| ink(paint, tone, &cut(&format!("    {text}"), columns)));
        lines.extend(notes.map(Line::from));
    }
    if found.is_empty() {
        lines.push(Line::from(cut(nothing(fleet), columns)));
    }
    lines.truncate(rows.saturating_sub(1));
    lines.resize_with(rows.saturating_sub(1), Line::default);
    let place = match found.len() {
        0 => String::new(),
        many => format!("{} to {} of {many}", top + 1, (top + page).min(many)),
    };
    lines.push(ends(paint, (Tone::Faint, keys(fleet.typing, columns)), (Tone::Plain, &place), columns));
    (fleet.top, fleet.page) = (top, page);
    lines
}

/// What can be pressed.
fn keys(typing: bool, columns: usize) -> &'static str {
    match (typing, columns >= 72) {
        (true, _) => "Enter keeps it, Esc leaves it",
        (false, true) => "j k move  Enter opens  / finds  q ends",
        (false, false) => "Enter / q",
    }
}

/// That nothing is heard, or what is looked for.
fn notice(fleet: &Fleet, columns: usize, now: Timestamp, paint: Paint) -> Line<'static> {
    let (tone, text) = match &fleet.lost {
        Some((since, why)) => (Tone::Warn, lost(*since, why, now)),
        None if fleet.typing => (Tone::Plain, format!("/{}_", fleet.words)),
        None if fleet.words.is_empty() => (Tone::Plain, String::new()),
        None => (Tone::Plain, format!("/{}  (Esc: all)", fleet.words)),
    };
    Line::from(ink(paint, tone, &cut(&clean(&text), columns)))
}

/// Why no stack is shown.
fn nothing(fleet: &Fleet) -> &'static str {
    match fleet.all().next() {
        _ if !fleet.heard => "waiting for the server",
        None => "in another terminal: `skep apply -f FILE`",
        Some(_) => "no stack is like that; Esc: all",
    }
}

/// How many there are, in all and of each phase.
fn counts(fleet: &Fleet) -> String {
    let mut of: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for stack in fleet.all() {
        *of.entry((rank(&stack.phase), stack.phase.as_str())).or_default() += 1;
    }
    let each: Vec<String> = of.iter().map(|((_, phase), count)| format!("{count} {}", clean(phase))).collect();
    match of.values().sum::<usize>() {
        0 if fleet.heard => "no stack is declared".to_owned(),
        0 => "skep watch".to_owned(),
        1 => format!("1 stack: {}", each.join(", ")),
        many => format!("{many} stacks: {}", each.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::screen::Key;
    use super::super::screen::tests::drawn;
    use super::*;
    use crate::cli::tests::sample::stack_json;

    fn now() -> Timestamp {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    fn stack(name: &str, phase: &str, healthy: u64) -> Value {
        let mut it = stack_json(name, phase);
        it["attempt"] = json!({
            "deploymentId": "01dep", "phase": "Converged", "createdAt": "2026-01-31T11:00:00Z",
            "services": [{ "service": "web", "wanted": 3, "healthy": healthy }],
        });
        if phase == "Converged" {
            it["desired"]["revision"] = it["live"]["revision"].clone();
            it["desired"]["images"] = it["live"]["images"].clone();
        }
        it
    }

    fn fleet(all: &[Value]) -> Fleet {
        let mut fleet = Fleet::default();
        fleet.take(json!({ "sequence": 5, "snapshot": all, "stack": null, "deleted": null })).unwrap();
        fleet
    }

    fn some() -> Fleet {
        let mut shop = stack("shop", "RolledBack", 3);
        shop["message"] = json!("web: unhealthy container on node-3; the last good version runs again");
        shop["next"] = json!({ "text": "nothing until a new version comes", "at": null });
        let mut api = stack("api", "Progressing", 1);
        api["environment"] = json!("prod");
        api["message"] = json!("1 of 3 tasks is healthy");
        api["next"] =
            json!({ "text": "it fails then, unless one more task gets healthy", "at": "2026-01-31T12:04:30Z" });
        let mut new = stack("brand-new", "Pending", 0);
        (new["attempt"], new["live"], new["message"]) = (Value::Null, Value::Null, Value::Null);
        fleet(&[stack("blog", "Converged", 3), shop, api, new])
    }

    fn shown(fleet: &mut Fleet, size: (u16, u16)) -> String {
        drawn(size, |size| lines(fleet, size, now(), Paint(false)))
    }

    #[test]
    fn a_fleet_on_a_usual_screen() {
        insta::assert_snapshot!(shown(&mut some(), (80, 14)));
    }

    #[test]
    fn a_fleet_on_a_wide_screen() {
        insta::assert_snapshot!(shown(&mut some(), (130, 14)));
    }

    #[test]
    fn a_fleet_on_a_narrow_screen() {
        insta::assert_snapshot!(shown(&mut some(), (40, 14)));
    }

    #[test]
    fn no_stack_and_no_answer_yet() {
        insta::assert_snapshot!(shown(&mut fleet(&[]), (60, 6)));
        assert!(shown(&mut Fleet::default(), (60, 6)).contains("waiting for the server"));
    }

    #[test]
    fn a_lost_connection_is_said_over_what_was_known() {
        let mut it = some();
        it.lost = Some(("2026-01-31T11:59:48Z".parse().unwrap(), "the server closed the connection".to_owned()));
        insta::assert_snapshot!(shown(&mut it, (80, 8)));
    }

    #[test]
    fn what_is_looked_for_stands_above() {
        let mut it = some();
        for letter in "/pro".chars() {
            it.press(Key::Char(letter));
        }
        insta::assert_snapshot!(shown(&mut it, (80, 8)));
        it.press(Key::Enter);
        assert!(shown(&mut it, (80, 8)).contains("/pro  (Esc: all)"));
        press(&mut it, "/x");
        assert!(shown(&mut it, (80, 8)).contains("no stack is like that"));
    }

    fn press(fleet: &mut Fleet, keys: &str) {
        keys.chars().for_each(|letter| drop(fleet.press(Key::Char(letter))));
    }

    #[test]
    fn all_can_be_reached_and_none_is_half_on_the_screen() {
        let mut all: Vec<Value> = (1..=20).map(|n| stack(&format!("s{n:02}"), "Converged", 3)).collect();
        all.push(stack("shop", "Failed", 0));
        let mut it = fleet(&all);
        // Four lines: one stack takes two, as it says why.
        assert!(shown(&mut it, (80, 8)).contains("1 to 3 of 21"));
        press(&mut it, "G");
        let text = shown(&mut it, (80, 8));
        assert!(text.contains("18 to 21 of 21") && text.contains("> s20"), "{text}");
        it.press(Key::PageUp);
        let text = shown(&mut it, (80, 8));
        assert!(text.contains("> s16") && text.contains("17 to 20 of 21"), "{text}");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        let mut it = some();
        it.take(json!({ "sequence": 6, "stack": stack("a-stack-with-quite-a-long-name-for-a-terminal", "Failed", 0) }))
            .unwrap();
        for columns in 30..140 {
            for rows in [6, 7, 24] {
                let drawn = lines(&mut it, (columns, rows), now(), Paint(true));
                assert_eq!(drawn.len(), rows);
                for line in drawn {
                    let text: String = line.spans.iter().map(|it| it.content.as_ref()).collect();
                    assert!(width(text.trim_end()) <= columns, "{columns}: {text:?}");
                }
            }
        }
    }

    #[test]
    fn the_window_keeps_what_is_pointed_at() {
        assert_eq!(window(&[1; 10], 0, 0, 4), (0, 4));
        assert_eq!(window(&[1; 10], 0, 5, 4), (2, 4));
        assert_eq!(window(&[1; 10], 8, 3, 4), (3, 4));
        assert_eq!(window(&[1; 10], 9, 9, 4), (6, 4), "no room is left over");
        assert_eq!(window(&[3, 3, 1, 1], 0, 1, 4), (1, 2));
        assert_eq!(window(&[], 0, 0, 4), (0, 1));
    }
}
