//! The one place that prints. Results go to stdout, everything else to stderr; each has its own colour.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use terminal_size::{Height, Width};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::exit::CliError;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// Where a terminal shows it, unless `NO_COLOR` or `CLICOLOR=0` says not to.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether a stream gets colour.
    fn on(self, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") => true,
            Self::Auto if variable("CLICOLOR").as_deref() == Some("0") => false,
            Self::Auto => terminal && variable("TERM").as_deref() != Some("dumb"),
        }
    }
}

/// What a piece of text says by its colour. Never by colour alone: the word is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    Faint,
    Strong,
}

impl Tone {
    /// For the phase of a stack or a deployment.
    pub(super) fn of_phase(phase: &str) -> Self {
        match phase {
            "Converged" => Self::Good,
            "Failed" | "RolledBack" => Self::Bad,
            "RollingBack" | "Degraded" | "Unknown" | "AwaitingApproval" => Self::Warn,
            "Suspended" | "Superseded" | "Cancelled" => Self::Faint,
            _ => Self::Plain,
        }
    }
}

/// Puts colour on text, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A colour that is always the same for the same key.
    pub(super) fn hue(self, key: &str, text: &str) -> String {
        const CODES: [&str; 10] = ["36", "35", "34", "33", "32", "96", "95", "94", "93", "92"];
        let sum = key.bytes().fold(5_381_usize, |sum, byte| sum.wrapping_mul(33) ^ usize::from(byte));
        let code = CODES[sum % CODES.len()];
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from elsewhere, fit to be shown in one line: what could steer a terminal is replaced.
pub(super) fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cleaned = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' | '\t' => cleaned.push(' '),
            c if hidden(c) => cleaned.push('\u{b7}'),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// A line that a program wrote, fit for a terminal: its colours and movements are left out, the rest is as in [`clean`].
pub(super) fn plain(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\x1b') {
        kept.push_str(before);
        let end = match after.chars().next() {
            // Parameters, and one letter at the end.
            Some('[') => after[1..].trim_start_matches(|c: char| (' '..'@').contains(&c)),
            // A title or a link, up to its end, which may be another of these.
            Some(']') => after.find(['\x07', '\x1b']).map_or("", |end| &after[end..]),
            _ => after,
        };
        rest = end.strip_prefix(|c: char| c.is_ascii() && c != '\x1b').unwrap_or(end);
    }
    kept.push_str(rest);
    clean(&kept)
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Cuts a text to so many columns, with a mark where it was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = UnicodeWidthChar::width(c).unwrap_or(0);
        if used + wide + 1 > most {
            break;
        }
        used += wide;
        kept.push(c);
    }
    if most > 0 {
        kept.push('\u{2026}');
    }
    kept
}

type Sink = Mutex<Box<dyn Write + Send>>;

/// Where a command prints.
pub(super) struct Console {
    out: Sink,
    err: Sink,
    /// Colour of results.
    pub(super) paint: Paint,
    /// Colour of marks and progress.
    pub(super) err_paint: Paint,
    /// Whether stderr can be drawn over.
    pub(super) live: bool,
    /// Whether a person can be asked.
    pub(super) asks: bool,
    out_terminal: bool,
    input: Mutex<Box<dyn BufRead + Send>>,
}

impl Console {
    /// The process's own streams.
    pub(super) fn real(color: Color) -> Self {
        let variable = |name: &str| env::var(name).ok();
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let dumb = variable("TERM").as_deref() == Some("dumb");
        let ci = variable("CI").is_some_and(|value| !value.is_empty() && value != "false");
        Self {
            out: Mutex::new(Box::new(io::stdout())),
            err: Mutex::new(Box::new(io::stderr())),
            paint: Paint(color.on(out, variable)),
            err_paint: Paint(color.on(err, variable)),
            live: err && !dumb && !ci,
            asks: io::stdin().is_terminal() && err,
            out_terminal: out,
            input: Mutex::new(Box::new(BufReader::new(io::stdin()))),
        }
    }

    /// Streams of a test.
    #[cfg(test)]
    pub(super) fn captured(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out: Mutex::new(out),
            err: Mutex::new(err),
            paint: Paint(false),
            err_paint: Paint(false),
            live: false,
            asks: false,
            out_terminal: false,
            input: Mutex::new(Box::new(io::empty())),
        }
    }

    /// The same, with a person who answers.
    #[cfg(test)]
    pub(super) fn answered(self, with: &'static str) -> Self {
        Self { asks: true, input: Mutex::new(Box::new(with.as_bytes())), ..self }
    }

    /// A result, with a line's end.
    pub(super) fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            // A pipe that is closed, most of all: nobody reads any more.
            Err(_) => Err(CliError::reader_gone()),
        }
    }

    /// A result that is one line, also when there is nothing in it.
    pub(super) fn print_line(&self, text: &str) -> Result<(), CliError> {
        self.print(&format!("{text}\n"))
    }

    /// Whether results go to a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.out_terminal
    }

    /// Whether results can be drawn over.
    pub(super) fn draws(&self) -> bool {
        self.out_terminal && self.live
    }

    /// A mark or a message, with a line's end. Whether anyone reads it changes nothing.
    pub(super) fn note(&self, text: &str) {
        self.draw(&format!("{text}\n"));
    }

    /// What to type next.
    pub(super) fn next(&self, text: &str) {
        self.note(&format!("{} {text}", self.err_paint.tone(Tone::Strong, "next:")));
    }

    /// As it is, to stderr.
    pub(super) fn draw(&self, text: &str) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let _unread = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// An error, and what to type next.
    pub(super) fn complain(&self, error: &CliError) {
        if error.message.is_empty() {
            return;
        }
        let mut lines = error.message.lines();
        let first = lines.next().unwrap_or_default();
        let mut text = format!("{} {first}", self.err_paint.tone(Tone::Bad, "skep:"));
        for line in lines {
            text.push_str(&format!("\n      {line}"));
        }
        if let Some(next) = &error.next {
            text.push_str(&format!("\n{} {next}", self.err_paint.tone(Tone::Strong, "next:")));
        }
        self.note(&text);
    }

    /// Columns of the terminal that results go to, if they go to one.
    pub(super) fn columns(&self) -> Option<usize> {
        let size = self.out_terminal.then(|| terminal_size::terminal_size_of(io::stdout())).flatten();
        size.map(|(Width(columns), _)| usize::from(columns).max(20))
    }

    /// Columns and lines of the terminal that progress goes to.
    pub(super) fn screen(&self) -> (usize, usize) {
        match terminal_size::terminal_size_of(io::stderr()) {
            Some((Width(columns), Height(lines))) => (usize::from(columns).max(20), usize::from(lines).max(4)),
            None => (80, 24),
        }
    }

    /// Asks a person. Anything but a yes is a no.
    pub(super) fn ask(&self, question: &str) -> bool {
        matches!(self.ask_for(&format!("{question} [y/N] ")).to_ascii_lowercase().as_str(), "y" | "yes")
    }

    /// What a person answers, in one line; nothing when there is no answer.
    pub(super) fn ask_for(&self, question: &str) -> String {
        self.draw(question);
        let mut answer = String::new();
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        match input.read_line(&mut answer) {
            Ok(_) => answer.trim().to_owned(),
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_flag_then_the_environment_then_the_terminal() {
        let with = |pairs: &'static [(&'static str, &'static str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(Color::Auto.on(true, with(&[])));
        assert!(!Color::Auto.on(false, with(&[])));
        assert!(!Color::Auto.on(true, with(&[("NO_COLOR", "1")])));
        assert!(Color::Auto.on(true, with(&[("NO_COLOR", "")])));
        assert!(!Color::Auto.on(true, with(&[("CLICOLOR", "0")])));
        assert!(!Color::Auto.on(true, with(&[("TERM", "dumb")])));
        assert!(Color::Auto.on(false, with(&[("CLICOLOR_FORCE", "1")])));
        assert!(Color::Always.on(false, with(&[("NO_COLOR", "1")])));
        assert!(!Color::Never.on(true, with(&[("CLICOLOR_FORCE", "1")])));
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc\td\u{202e}e\r\n"), "a\u{b7}[2Jb c d\u{b7}e");
    }

    #[test]
    fn what_programs_write_loses_its_colours() {
        assert_eq!(plain("\x1b[1;32mok\x1b[0m done\x1b[2K\r"), "ok done");
        assert_eq!(plain("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link"), "text link");
        assert_eq!(plain("broken \x1b["), "broken");
        assert_eq!(plain("\x1bé"), "é");
    }

    #[test]
    fn a_hue_belongs_to_its_key() {
        let paint = Paint(true);
        assert_eq!(paint.hue("web.1", "a")[..5], paint.hue("web.1", "b")[..5]);
        assert_ne!(paint.hue("web.1", "a")[..5], paint.hue("web.2", "a")[..5]);
        assert_eq!(Paint(false).hue("web.1", "a"), "a");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long\u{2026}");
        assert_eq!(cut("日本語", 4), "日\u{2026}");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn paint_can_be_off() {
        assert_eq!(Paint(false).tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
