//! What goes on for long or comes in frames: events and logs, read by bollard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::stream::{self, StreamExt};
use hyper::Method;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::classify::{Call, trim};
use super::session::{Session, Sessions};
use super::transport::{Accepted, Failure};
use crate::ports::{BoxStream, EngineLog, SwarmError, SwarmEvent, WatchedKind};

type Messages = BoxStream<'static, Result<EventMessage, BollardError>>;

/// Events from now on. Ends with an error, and tells the sessions of it.
pub(super) async fn events(
    sessions: Arc<Sessions>,
    session: Arc<Session>,
) -> Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError> {
    // An engine accepts the request a moment before it listens to itself; so it is asked to begin with the second in
    // which we asked, by its own clock. An event told twice is a second look, no more.
    let since = session.clock().await?;
    let messages = open(&session, since).await?;
    let watch = Watch { sessions, session, messages, over: false };
    Ok(stream::unfold(watch, Watch::next).boxed())
}

async fn open(session: &Session, since: Option<Timestamp>) -> Result<Messages, SwarmError> {
    let accepted = Arc::new(Notify::new());
    let note = Accepted(Arc::clone(&accepted));
    let docker = session.docker.clone().with_request_modifier(move |mut request| {
        request.extensions_mut().insert(note.clone());
        request
    });
    let types = ["service", "network", "config", "secret", "node"].map(str::to_owned).to_vec();
    let filters = HashMap::from([("scope".to_owned(), vec!["swarm".to_owned()]), ("type".to_owned(), types)]);
    let since = since.map(|time| time.as_second().to_string());
    let mut messages = docker.events(Some(EventsOptions { since, until: None, filters: Some(filters) })).boxed();

    let call = session.call_about(&Method::GET, "the event stream");
    let timeout = session.transport.options.call_timeout;
    let begun = async {
        tokio::select! {
            biased;
            first = messages.next() => Some(first),
            () = accepted.notified() => None,
        }
    };
    match tokio::time::timeout(timeout, begun).await {
        Ok(None) => Ok(messages),
        Ok(Some(Some(Ok(first)))) => Ok(stream::iter([Ok(first)]).chain(messages).boxed()),
        Ok(Some(Some(Err(error)))) => Err(call.bollard(&error)),
        Ok(Some(None)) => Err(ended(&call)),
        Err(_) => Err(Failure::Silent("no event stream in time".to_owned()).at(session.endpoint())),
    }
}

fn ended(call: &Call<'_>) -> SwarmError {
    Failure::Silent("the event stream has ended".to_owned()).at(call.endpoint)
}

struct Watch {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    messages: Messages,
    over: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<SwarmEvent, SwarmError>, Self)> {
        if self.over {
            return None;
        }
        let idle = self.session.transport.options.idle_check;
        let error = loop {
            let call = self.session.call_about(&Method::GET, "the event stream");
            match tokio::time::timeout(idle, self.messages.next()).await {
                Ok(Some(Ok(message))) => {
                    if let Some(event) = event(message) {
                        return Some((Ok(event), self));
                    }
                }
                Ok(Some(Err(error))) => break call.bollard(&error),
                Ok(None) => break ended(&call),
                // Silence may be peace, a dead connection, or an engine that is no manager any more and hears nothing.
                Err(_) => {
                    if let Err(error) = self.session.info().await {
                        break error;
                    }
                }
            }
        };
        self.over = true;
        self.sessions.note(&self.session, &error).await;
        Some((Err(error), self))
    }
}

fn event(message: EventMessage) -> Option<SwarmEvent> {
    let kind = match message.typ? {
        EventMessageTypeEnum::SERVICE => WatchedKind::Service,
        EventMessageTypeEnum::NETWORK => WatchedKind::Network,
        EventMessageTypeEnum::CONFIG => WatchedKind::Config,
        EventMessageTypeEnum::SECRET => WatchedKind::Secret,
        EventMessageTypeEnum::NODE => WatchedKind::Node,
        _ => return None,
    };
    let actor = message.actor?;
    let removed = matches!(message.action.as_deref(), Some("remove" | "destroy" | "delete"));
    let name = actor.attributes.unwrap_or_default().remove("name").filter(|name| !name.is_empty());
    Some(SwarmEvent { kind, id: actor.id?, name, removed })
}

impl Session {
    /// The last lines of a task.
    pub(super) async fn task_logs(&self, id: &str, tail: u32) -> Result<Vec<EngineLog>, SwarmError> {
        let object = format!("the logs of task `{id}`");
        self.logs(self.docker.task_logs(id, Some(wanted(tail))).boxed(), tail, &object).await
    }

    /// The last lines of all tasks of a service.
    pub(super) async fn service_logs(&self, id: &str, tail: u32) -> Result<Vec<EngineLog>, SwarmError> {
        let object = format!("the logs of service `{id}`");
        self.logs(self.docker.service_logs(id, Some(wanted(tail))).boxed(), tail, &object).await
    }

    /// Reads to the end, or as far as it goes in time; what has come by then is better than nothing.
    async fn logs(
        &self,
        mut frames: BoxStream<'_, Result<LogOutput, BollardError>>,
        tail: u32,
        object: &str,
    ) -> Result<Vec<EngineLog>, SwarmError> {
        let options = &self.transport.options;
        let mut kept = Kept::new(tail, options.log_limit);
        let read = async {
            while let Some(frame) = frames.next().await {
                kept.push(&frame?);
            }
            Ok::<(), BollardError>(())
        };
        match tokio::time::timeout(options.log_timeout, read).await {
            Ok(Err(error)) => Err(self.call_about(&Method::GET, object).bollard(&error)),
            Err(_) if kept.lines.is_empty() => {
                let reason = format!("{object} do not come within {} s", options.log_timeout.as_secs_f32());
                Err(Failure::Silent(reason).at(self.endpoint()))
            }
            Ok(Ok(())) | Err(_) => match kept.trouble.take() {
                Some(reason) if kept.lines.is_empty() => {
                    Err(SwarmError::NotFound { object: object.to_owned(), reason })
                }
                _ => Ok(kept.finish()),
            },
        }
    }
}

/// With timestamps: they tell the order among tasks, and without them bollard could not tell raw text (of a terminal)
/// from frames.
fn wanted(tail: u32) -> LogsOptions {
    LogsOptions { stdout: true, stderr: true, timestamps: true, tail: tail.to_string(), ..LogsOptions::default() }
}

/// The newest lines, within bounds.
struct Kept {
    lines: VecDeque<EngineLog>,
    bytes: usize,
    limit: usize,
    tail: usize,
    /// What the engine itself said of why there is no more.
    trouble: Option<String>,
}

/// A frame of the engine's own words begins so. bollard does not know its kind, and gives it as raw text with its head.
const ENGINES_OWN: &[u8] = &[3, 0, 0, 0];
/// The head of a frame, in bytes.
const HEAD: usize = 8;

impl Kept {
    fn new(tail: u32, limit: usize) -> Self {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX);
        Self { lines: VecDeque::new(), bytes: 0, limit, tail, trouble: None }
    }

    fn push(&mut self, frame: &LogOutput) {
        if let LogOutput::Console { message } = frame
            && message.starts_with(ENGINES_OWN)
        {
            let text = message.get(HEAD..).unwrap_or_default();
            self.trouble = Some(trim(&String::from_utf8_lossy(text)));
            return;
        }
        let stderr = matches!(frame, LogOutput::StdErr { .. });
        for line in String::from_utf8_lossy(frame.as_ref()).lines() {
            let (time, line) = match line.split_once(' ') {
                Some((time, rest)) if time.parse::<Timestamp>().is_ok() => (time.parse().ok(), rest),
                _ => (None, line),
            };
            let mut line = line.trim_end_matches('\r').to_owned();
            if line.len() > self.limit {
                let end = (0..=self.limit).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
                line.truncate(end);
            }
            self.bytes += line.len();
            self.lines.push_back(EngineLog { time, stderr, line });
        }
        while self.bytes > self.limit {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |oldest| oldest.line.len());
        }
    }

    /// In the order of time; the engine gives the tail of each task.
    fn finish(self) -> Vec<EngineLog> {
        let mut lines = Vec::from(self.lines);
        lines.sort_by_key(|line| line.time);
        lines.split_off(lines.len().saturating_sub(self.tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into() }
    }

    #[test]
    fn lines_lose_their_timestamp_and_their_end() {
        let mut kept = Kept::new(10, 1024);
        kept.push(&out("2026-11-23T18:57:06.1Z two words\r\n"));
        kept.push(&LogOutput::StdErr { message: "2026-11-23T18:57:05Z first\n".into() });
        kept.push(&out("2026-11-23T18:57:07Z \n"));
        let lines = kept.finish();
        let texts: Vec<_> = lines.iter().map(|line| (line.line.as_str(), line.stderr)).collect();
        assert_eq!(texts, [("first", true), ("two words", false), ("", false)]);
        assert!(lines.iter().all(|line| line.time.is_some()));
    }

    #[test]
    fn the_newest_lines_are_kept_within_the_limit() {
        let mut kept = Kept::new(2, 10);
        for text in ["aaaa", "bbbb", "cccc", "dd", "üüüüüüüüüü"] {
            kept.push(&out(text));
        }
        let lines = kept.finish();
        assert_eq!(lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>(), ["üüüüü"]);
    }

    #[test]
    fn the_engines_own_words_are_no_line_of_the_log() {
        let mut kept = Kept::new(2, 100);
        kept.push(&LogOutput::Console { message: "\u{3}\0\0\0\0\0\0\u{10}Error grabbing\n".into() });
        assert!(kept.lines.is_empty());
        assert_eq!(kept.trouble.as_deref(), Some("Error grabbing"));
    }

    #[test]
    fn an_event_without_an_object_is_none() {
        assert_eq!(event(EventMessage::default()), None);
    }
}
