//! Logs of tasks and services, as the engine sends them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::classify::Call;
use super::lines::Lines;
use super::session::{Session, Sessions};
use super::transport::Failure;
use crate::ports::{BoxStream, EngineLog, LogRange, SwarmError};

/// The most of a refusal that is read, in bytes.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// The log of a service, with who wrote each line. A log that does not come says nothing about the engine: the sessions
/// are not told.
pub(super) fn of_service(
    sessions: Arc<Sessions>,
    id: String,
    range: LogRange,
) -> BoxStream<'static, Result<EngineLog, SwarmError>> {
    let begun = async move {
        let session = sessions.current().await?;
        let object = format!("the log of service `{id}`");
        Reading::open(session, &format!("/services/{id}/logs"), object, &range).await
    };
    stream::once(begun)
        .flat_map(|begun| match begun {
            Ok(reading) => stream::unfold(reading, Reading::next).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

/// The last lines of a task, within bounds; in the order of time.
pub(super) async fn of_task(session: Arc<Session>, id: &str, tail: u32) -> Result<Vec<EngineLog>, SwarmError> {
    let limit = session.transport.options.log_limit;
    let object = format!("the log of task `{id}`");
    let range = LogRange { tail: Some(tail), ..LogRange::default() };
    let reading = Reading::open(session, &format!("/tasks/{id}/logs"), object, &range).await?;
    let mut lines = stream::unfold(reading, Reading::next).boxed();
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    while let Some(line) = lines.next().await {
        let line = within(line?, limit);
        bytes += line.line.len();
        kept.push_back(line);
        while bytes > limit {
            bytes -= kept.pop_front().map_or(bytes, |oldest| oldest.line.len());
        }
    }
    let mut kept = Vec::from(kept);
    kept.sort_by_key(|line| line.time);
    Ok(kept.split_off(kept.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX))))
}

/// The line with no more bytes than these.
fn within(mut line: EngineLog, limit: usize) -> EngineLog {
    if line.line.len() > limit {
        line.line.truncate(line.line.floor_char_boundary(limit));
        line.cut = true;
    }
    line
}

/// A log that is being read. The connection is closed when it is dropped.
struct Reading {
    session: Arc<Session>,
    body: Incoming,
    lines: Lines,
    object: String,
    /// When it has to have ended; none while it is followed.
    end: Option<Instant>,
    /// Whether any line has come.
    any: bool,
    over: bool,
}

impl Reading {
    async fn open(session: Arc<Session>, path: &str, object: String, range: &LogRange) -> Result<Self, SwarmError> {
        // With times: they tell the order among tasks, and without them plain text could not be told from frames.
        let mut path = format!("{path}?stdout=1&stderr=1&timestamps=1&details=1&follow={}", u8::from(range.follow));
        if let Some(since) = range.since {
            path.push_str(&format!("&since={}", since.as_second().max(0)));
        }
        match range.tail {
            Some(tail) => path.push_str(&format!("&tail={tail}")),
            None => path.push_str("&tail=all"),
        }
        let options = &session.transport.options;
        let (log_timeout, call_timeout) = (options.log_timeout, options.call_timeout);
        let answered = Instant::now() + if range.follow { call_timeout } else { log_timeout };
        let end = (!range.follow).then_some(answered);
        let body = {
            let call = session.call_about(&Method::GET, &object);
            match timeout_at(answered, session.stream(&path)).await {
                Ok(Ok(answer)) if answer.status().is_success() => answer.into_body(),
                Ok(Ok(answer)) => return Err(refusal(&call, answer).await),
                Ok(Err(failure)) => return Err(failure.at(call.endpoint)),
                Err(_) => return Err(late(&call, log_timeout)),
            }
        };
        Ok(Self { session, body, lines: Lines::new(), object, end, any: false, over: false })
    }

    async fn next(mut self) -> Option<(Result<EngineLog, SwarmError>, Self)> {
        loop {
            if let Some(line) = self.lines.next() {
                self.any = true;
                return Some((Ok(line), self));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.read().await {
                self.over = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Reads on, or finds out why that cannot be.
    async fn read(&mut self) -> Result<(), SwarmError> {
        let options = &self.session.transport.options;
        let call = self.session.call_about(&Method::GET, &self.object);
        let due = self.end.unwrap_or_else(|| Instant::now() + options.idle_check);
        match timeout_at(due, self.body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let bytes: Bytes = frame.into_data().unwrap_or_default();
                self.lines.push(&bytes);
                Ok(())
            }
            Ok(Some(Err(error))) => Err(Failure::of(&error).at(call.endpoint)),
            Ok(None) => {
                self.lines.finish();
                self.over = true;
                match self.lines.trouble.take() {
                    Some(reason) if !self.any && self.lines.is_empty() => {
                        Err(SwarmError::NotFound { object: self.object.clone(), reason })
                    }
                    _ => Ok(()),
                }
            }
            Err(_) if self.end.is_none() => self.session.info().await.map(|_| ()),
            // What has come by then is better than nothing.
            Err(_) => {
                self.lines.finish();
                self.over = true;
                if self.any || !self.lines.is_empty() { Ok(()) } else { Err(late(&call, options.log_timeout)) }
            }
        }
    }
}

fn late(call: &Call<'_>, limit: std::time::Duration) -> SwarmError {
    let reason = format!("{} does not come within {} s", call.object, limit.as_secs_f32());
    Failure::Silent(reason).at(call.endpoint)
}

async fn refusal(call: &Call<'_>, answer: hyper::Response<Incoming>) -> SwarmError {
    let status = answer.status();
    match Limited::new(answer.into_body(), LONGEST_REFUSAL).collect().await {
        Ok(body) => call.refusal(status, &body.to_bytes()),
        Err(error) => Failure::of(error.as_ref()).at(call.endpoint),
    }
}
