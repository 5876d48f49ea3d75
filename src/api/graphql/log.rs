//! Logs, line by line.

use async_graphql::{Enum, SimpleObject};
use futures_util::stream::{Stream, StreamExt, once};
use jiff::{SignedDuration, Timestamp};

use super::time::Time;
use crate::ports::{self, BoxStream, LogSource};

/// Lines that are sent in one message at most.
const AT_ONCE: usize = 200;
/// Lines of the past, of each service: the most, and with `after`.
pub(super) const MOST_LINES: u32 = 10_000;

/// What a line was written to.
#[derive(Debug, Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "ports::LogStream", rename_items = "PascalCase")]
pub(super) enum LogStream {
    /// The ordinary output.
    Stdout,
    /// The one for errors.
    Stderr,
}

/// One line of a log. Known secret values in it are masked.
#[derive(SimpleObject)]
#[graphql(name = "LogLine")]
pub(super) struct LogLineView {
    /// When it was written, by the clock of its node.
    time: Time,
    /// The service that wrote it, by its name in the compose file; null for what Skep did.
    service: Option<String>,
    /// The engine's id of the task.
    task: Option<String>,
    /// The task's slot, of a replicated service.
    slot: Option<u64>,
    /// The host name of its node.
    node: Option<String>,
    /// What it was written to.
    stream: LogStream,
    /// The line.
    text: String,
}

/// Lines of a log, in the order of time as far as it is known.
#[derive(SimpleObject)]
pub(super) struct LogLines {
    /// Pass it as `after` to go on from here.
    sequence: u64,
    /// The lines; none in the first message.
    lines: Vec<LogLineView>,
    /// Nothing more will come.
    ended: bool,
}

impl From<ports::LogLine> for LogLineView {
    fn from(line: ports::LogLine) -> Self {
        let (service, task, slot, node) = match line.source {
            LogSource::Skep => (None, None, None, None),
            LogSource::Service { service, task, slot, node } => (Some(service), task, slot, node),
        };
        Self { time: line.time.into(), service, task, slot, node, stream: line.stream.into(), text: line.text }
    }
}

/// The sequence of a line: its time in microseconds, so that it fits into the numbers of JSON.
fn sequence(time: Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or_default()
}

/// Where to begin for who has seen up to `after`.
pub(super) fn since(after: Option<u64>) -> Option<Timestamp> {
    let seen = Timestamp::from_microsecond(i64::try_from(after.filter(|it| *it > 0)?).ok()?).ok()?;
    seen.checked_add(SignedDuration::from_micros(1)).ok()
}

/// The messages of a log: an empty one at once, then what comes, then that it has ended.
pub(super) fn messages(
    lines: BoxStream<'static, ports::LogLine>,
    after: Option<u64>,
) -> impl Stream<Item = async_graphql::Result<LogLines>> + Send + 'static {
    let begun = after.unwrap_or_default();
    let first = once(async move { LogLines { sequence: begun, lines: Vec::new(), ended: false } });
    let rest = lines.ready_chunks(AT_ONCE).map(Some).chain(once(async { None })).scan(begun, |newest, lines| {
        let ended = lines.is_none();
        let lines = lines.unwrap_or_default();
        *newest = lines.iter().map(|line| sequence(line.time)).fold(*newest, u64::max);
        let lines = lines.into_iter().map(Into::into).collect();
        std::future::ready(Some(LogLines { sequence: *newest, lines, ended }))
    });
    first.chain(rest).map(Ok)
}
