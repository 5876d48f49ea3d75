//! A socket between Skep and the engine that notes each call: what, when it was asked, and when its answer began.
//!
//! Two threads a connection pump bytes; only the first line of what begins like a request or an answer is looked at. On one
//! connection calls go one after the other, so that the next answer is the last question's.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    pub(crate) status: u16,
}

impl Call {
    /// Whether it changes something.
    pub(crate) fn writes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// `/v1.41/services/create` as `services/create`.
    pub(crate) fn place(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        path.split_once('/').filter(|(version, _)| version.starts_with("v1.")).map_or(path, |(_, rest)| rest)
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;
type Question = Arc<Mutex<Option<(String, String, Instant)>>>;
type Streams = Arc<Mutex<Vec<(Question, UnixStream)>>>;

/// The proxy. It ends with the process.
pub(crate) struct Proxy {
    pub(crate) socket: PathBuf,
    calls: Calls,
    streams: Streams,
}

impl Proxy {
    /// Listens at `socket` for an engine.
    pub(crate) fn start(socket: &Path, engine: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (calls, streams) = (Calls::default(), Streams::default());
        std::thread::spawn({
            let (calls, streams, engine) = (Arc::clone(&calls), Arc::clone(&streams), engine.to_owned());
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let Ok(engine) = UnixStream::connect(&engine) else { continue };
                    join(client, engine, &calls, &streams);
                }
            }
        });
        Self { socket: socket.to_owned(), calls, streams }
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Where the notes end now.
    pub(crate) fn mark(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The calls since a mark, in the order of their answers.
    pub(crate) fn since(&self, mark: usize) -> Vec<Call> {
        self.calls.lock().unwrap()[mark..].to_vec()
    }

    /// Waits for an answered call after a mark.
    pub(crate) async fn until(&self, mark: usize, wanted: impl Fn(&Call) -> bool) -> Call {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(call) = self.calls.lock().unwrap()[mark..].iter().find(|call| wanted(call)) {
                return call.clone();
            }
            assert!(Instant::now() < end, "a call that was waited for did not come within a minute");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until nothing has been asked for so long; gives the calls since a mark.
    pub(crate) async fn quiet(&self, mark: usize, time: Duration) -> Vec<Call> {
        loop {
            let before = self.mark();
            tokio::time::sleep(time).await;
            if self.mark() == before {
                return self.since(mark);
            }
        }
    }

    /// Breaks the stream of events: Skep connects anew and lists everything.
    pub(crate) fn cut_events(&self) {
        self.streams.lock().unwrap().retain(|(question, stream)| {
            let events = question.lock().unwrap().as_ref().is_some_and(|(_, path, _)| path.contains("/events?"));
            if events {
                // It is gone, or goes now.
                let _ = stream.shutdown(Shutdown::Both);
            }
            !events
        });
    }
}

fn join(client: UnixStream, engine: UnixStream, calls: &Calls, streams: &Streams) {
    let question = Question::default();
    streams.lock().unwrap().push((Arc::clone(&question), client.try_clone().unwrap()));
    let (from, to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn({
        let question = Arc::clone(&question);
        move || pump(from, to, |bytes| note_question(&question, bytes))
    });
    let calls = Arc::clone(calls);
    std::thread::spawn(move || pump(engine, client, |bytes| note_answer(&question, &calls, bytes)));
}

fn pump(mut from: UnixStream, mut to: UnixStream, look: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        look(bytes);
        if length == 0 || to.write_all(bytes).is_err() {
            break;
        }
    }
    // The other side may have gone first.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn note_question(question: &Question, bytes: &[u8]) {
    let Some(line) = first_line(bytes, &[b"GET /", b"POST /", b"DELETE /", b"HEAD /"]) else { return };
    let mut words = line.split(' ');
    if let (Some(method), Some(path)) = (words.next(), words.next()) {
        *question.lock().unwrap() = Some((method.to_owned(), path.to_owned(), Instant::now()));
    }
}

fn note_answer(question: &Question, calls: &Calls, bytes: &[u8]) {
    let answered = Instant::now();
    let Some(line) = first_line(bytes, &[b"HTTP/1.1 "]) else { return };
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // The question stays: it tells what a connection is for.
    if let Some((method, path, asked)) = question.lock().unwrap().clone() {
        calls.lock().unwrap().push(Call { method, path, asked, answered, status });
    }
}

fn first_line(bytes: &[u8], beginnings: &[&[u8]]) -> Option<String> {
    if !beginnings.iter().any(|beginning| bytes.starts_with(beginning)) {
        return None;
    }
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}
