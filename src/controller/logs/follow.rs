//! What comes, as it comes: events of the ledger, and one stream of the engine for each service.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, SelectAll};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::past::{Rest, Seen};
use super::scene::{Scene, Writer};
use super::spool::{Filler, spool};
use super::{failed, shown, story, word};
use crate::ledger::{LedgerError, Noted, RecordKey};
use crate::ports::{BoxStream, EngineLog, LogLine, LogRange, LogStream, SwarmError};

/// How often it is looked for services that came or came back.
const LOOK: Duration = Duration::from_secs(1);
/// The longest rest before a stream that ended is begun anew; the first is [`LOOK`], and each is twice as long.
const LONGEST_REST: Duration = Duration::from_secs(15);
/// The clocks of the nodes of a Swarm differ by less than this: a stream begins so much before the newest line that was
/// seen, and what was seen is dropped.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);
/// At the end, what is still on its way is waited for: until nothing has come for the first, and at most for the second.
const QUIET: Duration = Duration::from_millis(500);
const DRAIN: Duration = Duration::from_secs(3);

/// What a stream of the engine brings.
enum Piece {
    Line(Arc<Writer>, EngineLog),
    End(Arc<Writer>, Option<SwarmError>),
}

/// A service whose stream is or was open.
#[derive(Default)]
struct Tap {
    open: bool,
    /// What had been seen when it was opened.
    before: Seen,
    /// When it may be opened again, and how often it has ended since a line came.
    due: Option<Instant>,
    ended: u32,
    /// Whether it was said that it cannot be read.
    told: bool,
}

/// One log that is followed.
pub(super) struct Follow {
    scene: Scene,
    rest: Rest,
    filler: Filler,
    streams: SelectAll<BoxStream<'static, Piece>>,
    /// By engine id of the service.
    taps: HashMap<String, Tap>,
    /// It was said that nothing can be shown.
    told: bool,
}

impl Follow {
    /// Begins; all of it ends when the stream is dropped.
    pub(super) fn start(scene: Scene, watch: BoxStream<'static, Noted>, rest: Rest) -> BoxStream<'static, LogLine> {
        let (filler, taker) = spool();
        let told = rest.masks.unreadable.is_some();
        let follow = Self { scene, rest, filler, streams: SelectAll::new(), taps: HashMap::new(), told };
        let task = AbortOnDropHandle::new(tokio::spawn(follow.run(watch)));
        stream::unfold((taker, task), |(taker, task)| async move { Some((taker.next().await?, (taker, task))) }).boxed()
    }

    async fn run(mut self, mut watch: BoxStream<'static, Noted>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                noted = watch.next() => match noted.map(|noted| self.noted(&noted)) {
                    None | Some(Ok(true)) => break Ok(()),
                    Some(Ok(false)) => {}
                    Some(Err(error)) => break Err(error),
                },
                _ = look.tick() => if let Err(error) = self.look() {
                    break Err(error);
                },
                Some(piece) = self.streams.next() => self.take(piece).await,
            }
        };
        if let Err(error) = ended {
            return self.say(format!("the log ends here: {}", failed(error)));
        }
        let end = Instant::now() + DRAIN;
        while let Ok(Some(piece)) = timeout_at(end.min(Instant::now() + QUIET), self.streams.next()).await {
            self.take(piece).await;
        }
    }

    fn say(&self, text: String) {
        self.filler.put(word(self.scene.shared.ambient.now(), text));
    }

    /// Something was committed. Whether the log ends with it.
    fn noted(&mut self, noted: &Noted) -> Result<bool, LedgerError> {
        let (events, records) = match noted {
            Noted::Missed => (true, true),
            Noted::Note(note) => {
                let key = &self.scene.key;
                let mine = |record: &RecordKey| match record {
                    RecordKey::Stack(of) | RecordKey::Status(of) => of == key,
                    RecordKey::Deployment(of) => self.scene.deployment.as_ref().is_some_and(|it| it.id == *of),
                    _ => false,
                };
                let is_event = |record: &RecordKey| matches!(record, RecordKey::Event(_));
                (note.records.iter().any(|(it, _)| is_event(it)), note.records.iter().any(|(it, _)| mine(it)))
            }
        };
        if events {
            let (lines, newest) = story::after(&self.scene, self.rest.story_from)?;
            self.rest.story_from = newest;
            lines.into_iter().for_each(|line| self.filler.put(line));
        }
        if !records {
            return Ok(false);
        }
        self.rest.masks.look_again(&self.scene)?;
        self.scene.ends()
    }

    /// Opens the logs of services that are not open.
    fn look(&mut self) -> Result<(), LedgerError> {
        let Some(environment) = self.scene.environment() else { return Ok(()) };
        let (writers, _) = self.scene.writers()?;
        let there: BTreeSet<&str> = writers.iter().map(|writer| writer.id.as_str()).collect();
        self.taps.retain(|id, tap| tap.open || there.contains(id.as_str()));
        for writer in writers {
            let tap = self.taps.entry(writer.id.clone()).or_default();
            if tap.open || tap.due.is_some_and(|due| due > Instant::now()) {
                continue;
            }
            let seen = self.rest.seen.entry(writer.id.clone()).or_default();
            let newest = seen.values().max().and_then(|newest| newest.checked_sub(OVERLAP).ok());
            let since = newest.map_or(self.scene.since, |newest| newest.max(self.scene.since));
            (tap.open, tap.before) = (true, seen.clone());
            let range = LogRange { since: Some(since), tail: None, follow: true };
            let lines = environment.swarm.service_log(&writer.id, &range);
            self.streams.push(pieces(writer, lines));
        }
        Ok(())
    }

    async fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Line(writer, line) => self.line(&writer, &line).await,
            Piece::End(writer, error) => self.ended(&writer, error),
        }
    }

    async fn line(&mut self, writer: &Writer, line: &EngineLog) {
        let Some(tap) = self.taps.get_mut(&writer.id) else { return };
        (tap.ended, tap.told) = (0, false);
        let known = |time: &Timestamp| tap.before.get(&line.task).is_some_and(|before| time <= before);
        if line.time.as_ref().is_some_and(known) || !self.scene.takes(line.time) {
            return;
        }
        let time = line.time.unwrap_or_else(|| self.scene.shared.ambient.now());
        let last = self.rest.seen.entry(writer.id.clone()).or_default().entry(line.task.clone()).or_insert(time);
        *last = time.max(*last);
        let Some(environment) = self.scene.observed() else { return };
        let source = self.rest.names.source(&environment, writer, line).await;
        let text = shown(self.rest.masks.masker(&self.scene), &line.line, line.cut);
        match self.rest.masks.unreadable.clone() {
            None => {
                let stream = if line.stderr { LogStream::Stderr } else { LogStream::Stdout };
                self.told = false;
                self.filler.put(LogLine { time, source, stream, text });
            }
            Some(why) if !self.told => {
                self.told = true;
                self.say(format!("what the services write is not shown: {why}"));
            }
            Some(_) => {}
        }
    }

    fn ended(&mut self, writer: &Writer, error: Option<SwarmError>) {
        let Some(tap) = self.taps.get_mut(&writer.id) else { return };
        tap.open = false;
        tap.due = Some(Instant::now() + LOOK.saturating_mul(2_u32.saturating_pow(tap.ended.min(8))).min(LONGEST_REST));
        tap.ended = tap.ended.saturating_add(1);
        // Nothing has run yet, or the service is gone: neither is worth a word.
        if let Some(error) = error.filter(|error| !matches!(error, SwarmError::NotFound { .. }))
            && !std::mem::replace(&mut tap.told, true)
        {
            self.say(format!("what `{}` writes cannot be read for now: {error}", writer.name));
        }
    }
}

/// The log of a service, with its end.
fn pieces(writer: Writer, lines: BoxStream<'static, Result<EngineLog, SwarmError>>) -> BoxStream<'static, Piece> {
    let writer = Arc::new(writer);
    let state = (Some(lines), writer);
    stream::unfold(state, |(lines, writer)| async move {
        let mut lines = lines?;
        Some(match lines.next().await {
            Some(Ok(line)) => (Piece::Line(Arc::clone(&writer), line), (Some(lines), writer)),
            Some(Err(error)) => (Piece::End(Arc::clone(&writer), Some(error)), (None, writer)),
            None => (Piece::End(Arc::clone(&writer), None), (None, writer)),
        })
    })
    .boxed()
}
