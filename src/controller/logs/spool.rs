//! What waits for a reader, within bounds. Who writes never waits; what does not fit is counted, and said in its place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::left_out;
use crate::ports::LogLine;

/// Lines that wait at most.
pub(super) const LINES: usize = 4096;
/// Bytes of text that wait at most.
pub(super) const BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines left out behind the last one that waits, and when the newest of them was written.
    missing: Option<(u64, Timestamp)>,
    closed: bool,
}

impl State {
    fn is_over(&self, share: usize) -> bool {
        self.lines.len() >= LINES / share || self.bytes >= BYTES / share
    }

    fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
    }
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts lines in.
pub(super) struct Filler(Arc<Inner>);

/// Takes them out.
pub(super) struct Taker(Arc<Inner>);

/// An empty spool.
pub(super) fn spool() -> (Filler, Taker) {
    let inner = Arc::new(Inner::default());
    (Filler(Arc::clone(&inner)), Taker(inner))
}

impl Filler {
    /// Puts a line in, or counts it.
    pub(super) fn put(&self, line: LogLine) {
        let mut state = self.0.state();
        // Once something was left out, half of the room has to be free again: better one gap than a hundred.
        let share = if state.missing.is_some() { 2 } else { 1 };
        if state.is_over(share) {
            let (count, _) = state.missing.unwrap_or((0, line.time));
            state.missing = Some((count + 1, line.time));
            return;
        }
        if let Some((count, time)) = state.missing.take() {
            state.push(left_out(time, count));
        }
        state.push(line);
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_one();
    }
}

impl Taker {
    /// The next line; none when no more will come.
    pub(super) async fn next(&self) -> Option<LogLine> {
        loop {
            {
                let mut state = self.0.state();
                if let Some(line) = state.lines.pop_front() {
                    state.bytes -= line.text.len();
                    return Some(line);
                }
                if let Some((count, time)) = state.missing.take() {
                    return Some(left_out(time, count));
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::word;
    use super::*;

    fn line(text: &str) -> LogLine {
        word(Timestamp::UNIX_EPOCH, text)
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_in_its_place() {
        let (filler, taker) = spool();
        (0..LINES + 10).for_each(|n| filler.put(line(&n.to_string())));
        for n in 0..LINES / 2 {
            assert_eq!(taker.next().await.unwrap().text, n.to_string());
        }
        // Not yet half empty, then half empty.
        filler.put(line("also lost"));
        assert_eq!(taker.next().await.unwrap().text, (LINES / 2).to_string());
        filler.put(line("there again"));
        drop(filler);
        let mut rest = Vec::new();
        while let Some(line) = taker.next().await {
            rest.push(line.text);
        }
        assert_eq!(rest.len(), LINES / 2 - 1 + 2);
        assert_eq!(rest[rest.len() - 2..], ["\u{2026} 11 lines left out", "there again"]);
    }

    #[tokio::test]
    async fn long_lines_fill_it_too_and_the_last_gap_is_said() {
        let (filler, taker) = spool();
        (0..3).for_each(|_| filler.put(line(&"x".repeat(BYTES / 2))));
        drop(filler);
        assert_eq!(taker.next().await.unwrap().text.len(), BYTES / 2);
        assert_eq!(taker.next().await.unwrap().text.len(), BYTES / 2);
        assert_eq!(taker.next().await.unwrap().text, "\u{2026} 1 line left out");
        assert_eq!(taker.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_comes() {
        let (filler, taker) = spool();
        let waiting = tokio::spawn(async move { taker.next().await });
        tokio::task::yield_now().await;
        filler.put(line("at last"));
        assert_eq!(waiting.await.unwrap().unwrap().text, "at last");
    }
}
