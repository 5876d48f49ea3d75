//! Logs: what Skep did, from the log of events, and what services wrote, from the engine; line by line, masked.
//!
//! ```text
//! Logs::open ─► Scene (whose, from when, until when)
//!                 ├─► past    story + the engine's last lines, merged by time
//!                 └─► follow  a task of its own: story, engine streams ─► spool ─► the reader
//! ```
//!
//! A follower never waits for its reader: an engine keeps in memory what nobody takes. What does not fit into the spool is
//! left out, counted and said. All that a follower holds ends when its reader goes away.

mod follow;
mod mask;
mod names;
mod past;
mod scene;
mod spool;
mod story;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Semaphore;

use super::shared::Shared;
use crate::domain::Masker;
use crate::ports::{BoxStream, InquiryError, LogLine, LogOf, LogQuery, LogSource, LogStream};
use follow::Follow;
pub(super) use names::Names;
use scene::Scene;
pub(super) use scene::Writer;

/// What was written so far has to be there within this time.
const DEADLINE: Duration = Duration::from_secs(30);
/// So many logs are read at a time; more are turned away.
const READERS: usize = 16;
/// So many are followed at a time; more are turned away.
const FOLLOWERS: usize = 64;
/// The most of one line that is shown, in bytes; it is cut after it was masked.
const LONGEST_LINE: usize = 16 * 1024;
/// Services that one log is read of.
const MOST_SERVICES: usize = 64;

/// Reads logs for those who ask.
pub(super) struct Logs {
    readers: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Logs {
    pub(super) fn new() -> Self {
        Self { readers: Arc::new(Semaphore::new(READERS)), followers: Arc::new(Semaphore::new(FOLLOWERS)) }
    }

    /// The log, from what is there on.
    pub(super) async fn open(
        &self,
        shared: &Arc<Shared>,
        of: &LogOf,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, LogLine>, InquiryError> {
        let places = if query.follow { &self.followers } else { &self.readers };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| InquiryError::Busy)?;
        // Watch first: what is committed while the past is read is told after it.
        let watch = query.follow.then(|| shared.ledger.watch());
        let scene = Scene::of(Arc::clone(shared), of, query)?;
        let past = tokio::time::timeout(DEADLINE, past::read(&scene, query.tail));
        let (lines, rest) = past.await.map_err(|_| InquiryError::TimedOut)??;
        let lines = stream::iter(lines);
        // The place is held for as long as anything of it is.
        let held = move |line| {
            let _held = &place;
            line
        };
        Ok(match watch.filter(|_| !scene.is_over) {
            None => lines.map(held).boxed(),
            Some(watch) => lines.chain(Follow::start(scene, watch, rest)).map(held).boxed(),
        })
    }
}

/// A word about the log itself.
pub(super) fn word(time: jiff::Timestamp, text: impl Into<String>) -> LogLine {
    LogLine { time, source: LogSource::Skep, stream: LogStream::Stdout, text: text.into() }
}

/// How many lines are missing.
fn left_out(time: jiff::Timestamp, count: u64) -> LogLine {
    let noun = if count == 1 { "line" } else { "lines" };
    word(time, format!("\u{2026} {count} {noun} left out"))
}

/// A whole line, masked and then cut. Of one that came without its end, no half of a secret is left at the end.
pub(super) fn shown(masker: &Masker, line: &str, cut: bool) -> String {
    let mut text = if cut { masker.mask_cut(line) } else { masker.mask(line) };
    let cut = cut || text.len() > LONGEST_LINE;
    text.truncate(text.floor_char_boundary(LONGEST_LINE));
    if cut {
        text.push('\u{2026}');
    }
    text
}

fn failed(error: impl std::fmt::Display) -> InquiryError {
    InquiryError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretBytes;

    #[test]
    fn a_line_is_masked_before_it_is_cut() {
        let masker = Masker::new(&[SecretBytes::new(b"hunter2hunter2".to_vec())]);
        let line = format!("{}hunter2hunter2 and more", "x".repeat(LONGEST_LINE - 5));
        let text = shown(&masker, &line, false);
        assert!(
            text.ends_with("x*** a\u{2026}") && text.len() == LONGEST_LINE + '\u{2026}'.len_utf8(),
            "{}",
            text.len()
        );
        assert_eq!(shown(&masker, "a hunter2hunt", true), "a ***\u{2026}");
        assert_eq!(shown(&masker, "a hunter2hunter2", false), "a ***");
    }
}
