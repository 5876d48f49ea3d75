//! An HTTP server that notes every request, and answers as a script says. It listens on 127.0.0.1.
#![expect(clippy::unwrap_used, reason = "test support: what fails here fails the test")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// How long something may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Headers that belong to the connection, not to what is said.
const OF_THE_CONNECTION: [&str; 4] = ["host", "content-length", "accept-encoding", "connection"];

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Got {
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Its headers, their names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// When it came.
    pub at: Instant,
}

impl Got {
    /// The value of a header; nothing when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }

    /// The names of the headers but those that belong to the connection, in order.
    pub fn said(&self) -> Vec<&str> {
        let names = self.headers.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = names.filter(|name| !OF_THE_CONNECTION.contains(name)).collect();
        names.sort_unstable();
        names
    }

    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it is signed with this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.header("x-skep-signature-256") == format!("sha256={hex}")
    }
}

/// What is done with the next request to an address.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Answers with this status and these headers.
    Answer(&'static str, &'static str),
    /// Answers with 200 and this body.
    Body(&'static str),
    /// Never answers.
    Hang,
}

#[derive(Default)]
struct Book {
    got: Vec<Got>,
    acts: Vec<(&'static str, VecDeque<Act>)>,
}

/// Takes what it is sent, unless there is a script.
#[derive(Clone)]
pub struct Receiver {
    /// `127.0.0.1:PORT`.
    pub address: String,
    book: Arc<(Mutex<Book>, Condvar)>,
}

impl Receiver {
    /// On a port of the system's choice.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    /// At this address.
    pub fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let it = Self { address: listener.local_addr().unwrap().to_string(), book: Arc::default() };
        let own = it.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || connection.and_then(|stream| own.talk(stream)).ok());
            }
        });
        it
    }

    /// One request for each connection.
    fn talk(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let act = {
            let mut book = self.book.0.lock().unwrap();
            book.got.push(Got { method, path: path.clone(), headers, body, at: Instant::now() });
            self.book.1.notify_all();
            let script = book.acts.iter_mut().find(|(address, _)| path.starts_with(address));
            script.and_then(|(_, acts)| acts.pop_front()).unwrap_or(Act::Body("ok"))
        };
        let (status, headers, body) = match act {
            Act::Answer(status, headers) => (status, headers, "ok"),
            Act::Body(body) => ("200 OK", "", body),
            Act::Hang => {
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    /// What is done with the requests to an address, one after the other; the others are taken.
    pub fn script(&self, address: &'static str, acts: &[Act]) {
        self.book.0.lock().unwrap().acts.push((address, acts.iter().copied().collect()));
    }

    /// Everything that came.
    pub fn all(&self) -> Vec<Got> {
        self.book.0.lock().unwrap().got.clone()
    }

    /// What came to an address, once there is so much.
    pub fn wait(&self, address: &str, count: usize) -> Vec<Got> {
        let of = |book: &Book| -> Vec<Got> {
            book.got.iter().filter(|got| got.path.starts_with(address)).cloned().collect()
        };
        let book = self.book.0.lock().unwrap();
        let (book, waited) = self.book.1.wait_timeout_while(book, PATIENCE, |book| of(book).len() < count).unwrap();
        assert!(!waited.timed_out(), "only {} came to {address}", of(&book).len());
        of(&book)
    }
}
