//! A socket between Skep and the engine. It notes each call (what, when it was asked, when its answer began), and can be told
//! to misbehave as a network or an engine would.
//!
//! Two threads a connection pump bytes; only the beginning of what looks like a request or an answer is looked at. On one
//! connection calls go one after the other, so that the next answer is the last question's.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// The name of what is made or changed, when the request says it.
    pub(crate) name: Option<String>,
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

/// How the way to the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As if it were not there.
    Pass,
    /// Every connection is cut, and no new one comes about.
    Refuse,
    /// Connections come about, questions are taken, and nothing is ever answered.
    Silent,
    /// Each piece of an answer comes so much later.
    Slow(Duration),
    /// Every question is answered with this status.
    Status(u16),
    /// Every question is answered with 200 and what is no JSON.
    Nonsense,
    /// Every question is answered with bytes that are no HTTP.
    Noise,
    /// Every answer ends in its middle.
    Half,
}

#[derive(Debug, Clone)]
struct Question {
    method: String,
    path: String,
    name: Option<String>,
    asked: Instant,
}

type Calls = Arc<Mutex<Vec<Call>>>;
type Asked = Arc<Mutex<Option<Question>>>;
type Streams = Arc<Mutex<Vec<(Asked, UnixStream)>>>;
type Way = Arc<(Mutex<Manner>, Condvar)>;

/// The proxy. It ends with the process.
pub(crate) struct Proxy {
    pub(crate) socket: PathBuf,
    calls: Calls,
    streams: Streams,
    way: Way,
}

impl Proxy {
    /// Listens at `socket` for an engine.
    pub(crate) fn start(socket: &Path, engine: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let way: Way = Arc::new((Mutex::new(Manner::Pass), Condvar::new()));
        let proxy =
            Self { socket: socket.to_owned(), calls: Calls::default(), streams: Streams::default(), way: way.clone() };
        let (calls, streams, engine) = (proxy.calls.clone(), proxy.streams.clone(), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let asked = Asked::default();
                streams.lock().unwrap().push((asked.clone(), client.try_clone().unwrap()));
                let manner = *way.0.lock().unwrap();
                match manner {
                    Manner::Refuse => drop(client.shutdown(Shutdown::Both)),
                    Manner::Status(_) | Manner::Nonsense | Manner::Noise => {
                        drop(std::thread::spawn(move || mock(client, manner)))
                    }
                    Manner::Pass | Manner::Silent | Manner::Slow(_) | Manner::Half => {
                        // An engine that is not there is as one that cannot be reached.
                        match UnixStream::connect(&engine) {
                            Ok(engine) => join(client, engine, asked, &calls, &way),
                            Err(_) => drop(client.shutdown(Shutdown::Both)),
                        }
                    }
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// From now on it is so; what was under way is cut, unless it only becomes slow or silent.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.way.0.lock().unwrap() = manner;
        self.way.1.notify_all();
        if !matches!(manner, Manner::Silent | Manner::Slow(_)) {
            self.cut(|_| true);
        }
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
        self.cut(|question| question.is_some_and(|question| question.path.contains("/events?")));
    }

    fn cut(&self, which: impl Fn(Option<&Question>) -> bool) {
        self.streams.lock().unwrap().retain(|(asked, stream)| {
            let cut = which(asked.lock().unwrap().as_ref());
            if cut {
                // It is gone, or goes now.
                let _ = stream.shutdown(Shutdown::Both);
            }
            !cut
        });
    }
}

fn join(client: UnixStream, engine: UnixStream, asked: Asked, calls: &Calls, way: &Way) {
    let (from, to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn({
        let asked = asked.clone();
        move || {
            pump(from, &to, |bytes| {
                note_question(&asked, bytes);
                bytes.len()
            });
            // What has been asked may still be answered, though nobody hears it.
            let _ = to.shutdown(Shutdown::Write);
        }
    });
    let (calls, way) = (calls.clone(), way.clone());
    std::thread::spawn(move || {
        let over = client.try_clone().unwrap();
        pump(engine, &client, |bytes| {
            note_answer(&asked, &calls, bytes);
            let manner = way.1.wait_while(way.0.lock().unwrap(), |manner| *manner == Manner::Silent).unwrap();
            match *manner {
                Manner::Slow(time) => {
                    drop(manner);
                    std::thread::sleep(time);
                    bytes.len()
                }
                Manner::Half => bytes.len() / 2,
                _ => bytes.len(),
            }
        });
        let _ = over.shutdown(Shutdown::Both);
    });
}

/// Passes bytes on as long as `look` lets all of them through.
fn pump(mut from: UnixStream, mut to: &UnixStream, look: impl Fn(&[u8]) -> usize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        let passed = look(&buffer[..length]);
        if length == 0 || to.write_all(&buffer[..passed]).is_err() || passed < length {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

/// Answers in the engine's place.
fn mock(mut client: UnixStream, manner: Manner) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = client.read(&mut buffer) {
        let Some(_) = first_line(&buffer[..length], &REQUESTS) else {
            if length == 0 {
                return;
            }
            continue;
        };
        let with = |status, body: &str| format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = match manner {
            Manner::Status(status) => with(status, r#"{"message":"it is broken"}"#),
            Manner::Nonsense => with(200, "<html>{\"not\": what you think"),
            _ => "\u{1}\u{2}\u{3} this is no protocol \u{4}\r\n\r\n".to_owned(),
        };
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

const REQUESTS: [&[u8]; 4] = [b"GET /", b"POST /", b"DELETE /", b"HEAD /"];

fn note_question(asked: &Asked, bytes: &[u8]) {
    let mut asked = asked.lock().unwrap();
    if let Some(line) = first_line(bytes, &REQUESTS) {
        let mut words = line.split(' ');
        if let (Some(method), Some(path)) = (words.next(), words.next()) {
            let (method, path) = (method.to_owned(), path.to_owned());
            *asked = Some(Question { method, path, name: name_in(bytes), asked: Instant::now() });
        }
    } else if let Some(question) = asked.as_mut() {
        // The body may come after its head.
        question.name = question.name.take().or_else(|| name_in(bytes));
    }
}

/// The first name that a body says.
fn name_in(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    Some(text.split_once("\"Name\":\"")?.1.split_once('"')?.0.to_owned())
}

fn note_answer(asked: &Asked, calls: &Calls, bytes: &[u8]) {
    let answered = Instant::now();
    let Some(line) = first_line(bytes, &[b"HTTP/1.1 "]) else { return };
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // The question stays: it tells what a connection is for.
    if let Some(Question { method, path, name, asked }) = asked.lock().unwrap().clone() {
        calls.lock().unwrap().push(Call { method, path, name, asked, answered, status });
    }
}

fn first_line(bytes: &[u8], beginnings: &[&[u8]]) -> Option<String> {
    if !beginnings.iter().any(|beginning| bytes.starts_with(beginning)) {
        return None;
    }
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}
