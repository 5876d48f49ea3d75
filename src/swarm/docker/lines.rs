//! The lines in what an engine sends as a log: values in, values out.
//!
//! A log is a row of frames (a head of eight bytes: stream and length), or plain lines where a container has a terminal;
//! the engine's own words come in a frame in either case. Each carries its time and, of a service, who wrote it:
//! `TIME KEY=VALUE,… TEXT`. A line that is longer than [`PIECE`] comes in several, each with all of that in front, and is
//! put together again here: a secret in it must not be cut in two before it is masked.
//!
//! bollard's decoder is not used: it keeps a plain line of any length in memory, and cannot ask for who wrote it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::classify::trim;
use crate::ports::EngineLog;

/// The engine cuts a line into pieces of so many bytes (or a multiple: some drivers have larger ones). Only such a piece
/// may lack the line's end and yet not be its last.
const PIECE: usize = 16 * 1024;
/// The most of one line that is kept; what is over is dropped, and said to be.
const LONGEST: usize = 256 * 1024;
/// The most of one frame that is kept: a line's piece with its time and writer in front.
const LONGEST_FRAME: usize = 2 * LONGEST;
/// Lines that are put together at a time, one for each task and stream.
const MOST_OPEN: usize = 64;
/// The head of a frame, in bytes.
const HEAD: usize = 8;
/// The kinds of frames: up to this one, the first byte cannot be text.
const ENGINES_OWN: u8 = 3;
/// In front of each line of a service's log stands, among other things, which task wrote it.
const TASK: &str = "com.docker.swarm.task.id";
const NODE: &str = "com.docker.swarm.node.id";
/// A time as the engine writes it, in bytes: `2026-01-31T12:00:00.123456789Z`.
const TIME: usize = 30;

/// What is being read.
#[derive(Debug)]
enum Part {
    /// Nothing yet, or the head of a frame as far as it has come.
    Head(Vec<u8>),
    /// A frame of this kind, of which so much is still to come.
    Frame { kind: u8, left: usize, text: Vec<u8>, over: bool },
    /// A plain line.
    Plain { text: Vec<u8>, over: bool },
}

/// A line that is not whole yet.
#[derive(Debug)]
struct Open {
    time: Option<Timestamp>,
    node: Option<String>,
    text: Vec<u8>,
    cut: bool,
}

/// Takes bytes as they come, and gives lines.
#[derive(Debug)]
pub(super) struct Lines {
    part: Part,
    open: BTreeMap<(Option<String>, bool), Open>,
    ready: VecDeque<EngineLog>,
    /// What the engine itself said of why there is no more.
    pub(super) trouble: Option<String>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { part: Part::Head(Vec::new()), open: BTreeMap::new(), ready: VecDeque::new(), trouble: None }
    }

    /// The next line that is whole.
    pub(super) fn next(&mut self) -> Option<EngineLog> {
        self.ready.pop_front()
    }

    /// Whether no line is whole.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Takes what has come.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
    }

    /// Takes a part of it; gives the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match &mut self.part {
            Part::Head(head) => {
                if head.is_empty() && bytes.first().is_some_and(|first| *first > ENGINES_OWN) {
                    self.part = Part::Plain { text: Vec::new(), over: false };
                    return bytes;
                }
                let (taken, rest) = bytes.split_at(bytes.len().min(HEAD - head.len()));
                head.extend_from_slice(taken);
                if let &[kind, _, _, _, a, b, c, d] = head.as_slice() {
                    let left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                    self.part = Part::Frame { kind, left, text: Vec::new(), over: false };
                    if left == 0 {
                        self.part_is_whole();
                    }
                }
                rest
            }
            Part::Frame { left, text, over, .. } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*left));
                *over |= append(text, taken, LONGEST_FRAME);
                *left -= taken.len();
                if *left == 0 {
                    self.part_is_whole();
                }
                rest
            }
            Part::Plain { text, over } => {
                let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                let (taken, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                // Some of it is not text of the line, but stands in front of its pieces: room for that, too.
                *over |= append(text, taken, LONGEST_FRAME);
                if end.is_some() {
                    self.part_is_whole();
                }
                rest
            }
        }
    }

    fn part_is_whole(&mut self) {
        match std::mem::replace(&mut self.part, Part::Head(Vec::new())) {
            Part::Head(_) => {}
            Part::Frame { kind: ENGINES_OWN, text, .. } => {
                self.trouble = Some(trim(&String::from_utf8_lossy(&text)));
            }
            Part::Frame { kind, text, over, .. } => self.take(kind == 2, false, &text, over),
            Part::Plain { text, over } => self.take(false, true, &text, over),
        }
    }

    /// There is no more to come.
    pub(super) fn finish(&mut self) {
        if matches!(self.part, Part::Plain { .. }) {
            self.part_is_whole();
        }
        for ((task, stderr), open) in std::mem::take(&mut self.open) {
            self.ready.push_back(line(task, stderr, open));
        }
    }

    /// One line or, in a frame, one piece of one.
    fn take(&mut self, stderr: bool, plain: bool, bytes: &[u8], over: bool) {
        let (time, rest) = match split(bytes) {
            Some((time, rest)) if time.parse::<Timestamp>().is_ok() => (time.parse().ok(), rest),
            _ => (None, bytes),
        };
        let (details, text) = match split(rest) {
            Some((details, text)) if time.is_some() && details.contains(TASK) => (Some(details), text),
            _ => (None, rest),
        };
        let detail = |key: &str| {
            let mut pairs = details?.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
        };
        let joined = details.filter(|_| plain).map(|details| without_fronts(text, details));
        let text = joined.as_deref().unwrap_or(text);
        let key = (detail(TASK), stderr);
        let open = || Open { time, node: detail(NODE), text: Vec::new(), cut: false };
        let line_so_far = self.open.entry(key.clone()).or_insert_with(open);
        line_so_far.cut |= over | append(&mut line_so_far.text, text, LONGEST);
        let goes_on = !plain && !over && !text.is_empty() && text.len() % PIECE == 0 && !text.ends_with(b"\n");
        if !goes_on && let Some(open) = self.open.remove(&key) {
            self.ready.push_back(line(key.0, stderr, open));
        } else if self.open.len() > MOST_OPEN
            && let Some(((task, stderr), open)) = self.open.pop_first()
        {
            self.ready.push_back(line(task, stderr, open));
        }
    }
}

/// Adds as much as there is room for; whether some was left out.
fn append(to: &mut Vec<u8>, bytes: &[u8], most: usize) -> bool {
    let room = most.saturating_sub(to.len());
    to.extend_from_slice(&bytes[..bytes.len().min(room)]);
    bytes.len() > room
}

/// The text up to a blank, and what comes behind it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == b' ')?;
    Some((std::str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]))
}

/// Plain text of several pieces without what stands in front of each but the first.
fn without_fronts(text: &[u8], details: &str) -> Vec<u8> {
    let details = details.as_bytes();
    let (mut kept, mut from) = (Vec::with_capacity(text.len()), 0);
    while let Some(at) = text[from..].windows(details.len()).position(|window| window == details) {
        let (begin, end) = ((from + at).saturating_sub(TIME + 1), from + at + details.len() + 1);
        let is_front =
            begin >= from && split(&text[begin..]).is_some_and(|(time, _)| time.parse::<Timestamp>().is_ok());
        kept.extend_from_slice(&text[from..if is_front { begin } else { end.min(text.len()) }]);
        from = end.min(text.len());
    }
    kept.extend_from_slice(&text[from..]);
    kept
}

fn line(task: Option<String>, stderr: bool, open: Open) -> EngineLog {
    let text = String::from_utf8_lossy(&open.text);
    let line = text.trim_end_matches(['\r', '\n']).to_owned();
    EngineLog { time: open.time, stderr, line, cut: open.cut, task, node: open.node }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    fn front(task: &str) -> String {
        format!(
            "2026-11-24T10:50:37.447408233Z com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id={task} "
        )
    }

    fn read(bytes: &[u8], at_once: usize) -> (Vec<EngineLog>, Option<String>) {
        let mut lines = Lines::new();
        bytes.chunks(at_once).for_each(|chunk| lines.push(chunk));
        lines.finish();
        (std::iter::from_fn(|| lines.next()).collect(), lines.trouble)
    }

    #[test]
    fn frames_become_lines_however_they_come() {
        let bytes = [
            frame(2, &format!("{}first: out of order\n", front("t1"))),
            frame(1, &format!("{}two words\r\n", front("t2"))),
            frame(1, "2026-11-24T10:50:38Z without a writer\n"),
            frame(1, &format!("{}\n", front("t1"))),
            frame(3, "Error grabbing logs\n"),
            frame(1, &format!("{}no end", front("t1"))),
        ]
        .concat();
        for at_once in [1, 3, 7, 100, bytes.len()] {
            let (lines, trouble) = read(&bytes, at_once);
            let shown: Vec<_> = lines.iter().map(|it| (it.task.as_deref(), it.stderr, it.line.as_str())).collect();
            assert_eq!(
                shown,
                [
                    (Some("t1"), true, "first: out of order"),
                    (Some("t2"), false, "two words"),
                    (None, false, "without a writer"),
                    (Some("t1"), false, ""),
                    (Some("t1"), false, "no end"),
                ]
            );
            assert!(lines.iter().all(|line| line.time.is_some() && !line.cut));
            assert_eq!(lines[0].node.as_deref(), Some("n1"));
            assert_eq!(trouble.as_deref(), Some("Error grabbing logs"));
        }
    }

    #[test]
    fn a_long_line_is_put_together_among_others() {
        let (piece, end) = ("x".repeat(PIECE), "the end\n");
        let bytes = [
            frame(1, &format!("{}{piece}", front("t1"))),
            frame(1, &format!("{}between\n", front("t2"))),
            frame(1, &format!("{}{piece}", front("t1"))),
            frame(1, &format!("{}{end}", front("t1"))),
        ]
        .concat();
        let (lines, _) = read(&bytes, 1000);
        let shown: Vec<_> = lines.iter().map(|it| (it.task.as_deref().unwrap(), it.line.len())).collect();
        assert_eq!(shown, [("t2", 7), ("t1", 2 * PIECE + 7)]);
    }

    #[test]
    fn plain_lines_lose_what_stands_in_front_of_each_piece() {
        let bytes = format!("{0}one\r\n{0}{1}{0}{1}{0}end\r\n{0}last", front("t1"), "y".repeat(PIECE));
        for at_once in [11, 4096, bytes.len()] {
            let (lines, _) = read(bytes.as_bytes(), at_once);
            let lengths: Vec<_> = lines.iter().map(|it| it.line.len()).collect();
            assert_eq!(lengths, [3, 2 * PIECE + 3, 4]);
            assert!(lines.iter().all(|line| line.task.as_deref() == Some("t1") && !line.stderr));
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_than_its_share() {
        let piece = frame(1, &format!("{}{}", front("t1"), "z".repeat(PIECE)));
        let mut lines = Lines::new();
        (0..100).for_each(|_| lines.push(&piece));
        lines.finish();
        let line = lines.next().unwrap();
        assert_eq!((line.line.len(), line.cut, lines.next()), (LONGEST, true, None));

        let (plain, _) = read(format!("{}{}\nnext\n", front("t1"), "z".repeat(3 * LONGEST)).as_bytes(), 5000);
        assert_eq!((plain[0].line.len(), plain[0].cut, plain[1].line.as_str()), (LONGEST, true, "next"));
    }
}
