//! Pieces of the screen: text with a tone, put where it fits.

use jiff::Timestamp;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::cli::console::{Paint, Tone, clean, cut, width};
use crate::cli::model::Next;
use crate::cli::text::between;

/// What a tone looks like.
fn style(paint: Paint, tone: Tone) -> Style {
    let plain = Style::default();
    match tone {
        _ if !paint.0 => plain,
        Tone::Plain => plain,
        Tone::Good => plain.fg(Color::Green),
        Tone::Bad => plain.fg(Color::Red),
        Tone::Warn => plain.fg(Color::Yellow),
        Tone::Faint => plain.add_modifier(Modifier::DIM),
        Tone::Strong => plain.add_modifier(Modifier::BOLD),
    }
}

/// Text with a tone. What could steer the terminal is replaced.
pub(super) fn ink(paint: Paint, tone: Tone, text: &str) -> Span<'static> {
    let kept = text.trim_end_matches(' ');
    Span::styled(format!("{}{}", clean(kept), &text[kept.len()..]), style(paint, tone))
}

/// So many blanks.
pub(super) fn gap(columns: usize) -> Span<'static> {
    Span::raw(" ".repeat(columns))
}

/// Two texts at the ends of a line. The left one gives way.
pub(super) fn ends(paint: Paint, left: (Tone, &str), right: (Tone, &str), columns: usize) -> Line<'static> {
    let second = cut(right.1, columns);
    let room = columns.saturating_sub(width(&second) + if second.is_empty() { 0 } else { 2 });
    let first = cut(&clean(left.1), room);
    let between = columns.saturating_sub(width(&first) + width(&second));
    Line::from(vec![ink(paint, left.0, &first), gap(between), ink(paint, right.0, &second)])
}

/// What stands for a phase beside its word.
pub(super) fn icon(phase: &str) -> &'static str {
    match phase {
        "Converged" => "\u{2713}",
        "Failed" => "\u{2717}",
        "RollingBack" | "RolledBack" => "\u{21ba}",
        "Degraded" => "!",
        "Suspended" | "AwaitingApproval" | "Cancelled" => "\u{2016}",
        "Pending" | "Superseded" => "\u{b7}",
        "Progressing" | "Fetching" | "Rendering" | "Applying" | "Verifying" => "\u{2026}",
        _ => "?",
    }
}

/// An icon and a phase.
pub(super) fn phase(phase: &str) -> String {
    format!("{} {}", icon(phase), clean(phase))
}

/// What happens next, and in how long.
pub(super) fn next(next: &Next, now: Timestamp) -> String {
    let text = clean(&next.text);
    match next.at {
        Some(at) if at > now => format!("in {}: {text}", between(now, at)),
        Some(_) => format!("now: {text}"),
        None => text,
    }
}

/// A text in lines of at most so many columns, broken between words where that can be.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for letter in word.chars() {
            if width(&line) + width(letter.encode_utf8(&mut [0; 4])) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

/// The connection is lost: since when, why, and what that means for what is shown.
pub(super) fn lost(since: Timestamp, why: &str, now: Timestamp) -> String {
    format!("! connection lost {} ago, what stands here is older; trying again ({})", between(since, now), clean(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line<'_>) -> String {
        line.spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn the_left_gives_way_to_the_right() {
        let line = |left, right, columns| {
            text(&ends(Paint(false), (Tone::Plain, left), (Tone::Plain, right), columns)).trim_end().to_owned()
        };
        assert_eq!(line("left", "right", 20), "left           right");
        assert_eq!(line("a longer left", "right", 14), "a long\u{2026}  right");
        assert_eq!(line("left", "", 20), "left");
    }

    #[test]
    fn texts_are_broken_between_words_and_inside_of_long_ones() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghijkl", 8), ["abcdefgh", "ijkl"]);
        assert_eq!(wrapped("", 8), [""]);
        for columns in 8..40 {
            let lines = wrapped("health check of 店舗 failed: `/usr/bin/check --all` answered 503", columns);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
        }
    }

    #[test]
    fn the_next_step_says_in_how_long() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |at: Option<&str>| Next { text: "it is tried again".into(), at: at.map(|at| at.parse().unwrap()) };
        assert_eq!(next(&at(None), now), "it is tried again");
        assert_eq!(next(&at(Some("2026-01-31T12:03:05Z")), now), "in 3m05s: it is tried again");
        assert_eq!(next(&at(Some("2026-01-31T11:00:00Z")), now), "now: it is tried again");
    }

    #[test]
    fn colour_is_there_only_where_it_is_wanted() {
        assert_eq!(ink(Paint(true), Tone::Bad, "Failed").style.fg, Some(Color::Red));
        assert_eq!(ink(Paint(false), Tone::Bad, "Failed").style, Style::default());
        assert_eq!(ink(Paint(false), Tone::Plain, "a\x1b[2Jb").content, "a\u{b7}[2Jb");
    }
}
