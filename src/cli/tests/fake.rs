//! A server that says what it was told to say: one port for HTTP and websockets.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::documents::Schema;
use crate::cli::args::Cli;
use crate::cli::commands::dispatch;
use crate::cli::console::Console;
use crate::cli::session::{Interrupt, Session};
use crate::cli::{Exit, finish};
use clap::Parser;

/// The token that is taken.
pub(super) const TOKEN: &str = "open-sesame-open-sesame";

/// What a subscription does next.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Sends this as the value of the field.
    Item(Value),
    /// Sends an error with this code.
    Error(&'static str, &'static str),
    /// Breaks the connection; the rest is for the next one.
    Break,
    /// Lets the person interrupt.
    Interrupt,
}

#[derive(Default)]
struct Script {
    /// Operation and answer, each used once unless it is the last of its operation.
    answers: Vec<(&'static str, Value)>,
    /// Operation and frames.
    frames: Vec<(&'static str, VecDeque<Frame>)>,
    /// What was asked: operation and variables.
    asked: Vec<(String, Value)>,
}

/// A scripted server.
#[derive(Clone, Default)]
pub(super) struct Fake {
    script: Arc<Mutex<Script>>,
    interrupt: Arc<Notify>,
}

/// What a command came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    /// The result as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Fake {
    /// Answers an operation with this `data`.
    pub(super) fn answer(self, operation: &'static str, data: Value) -> Self {
        self.raw(operation, json!({ "data": data }))
    }

    /// Answers an operation with this whole body.
    pub(super) fn raw(self, operation: &'static str, body: Value) -> Self {
        self.script.lock().unwrap().answers.push((operation, body));
        self
    }

    /// Answers a mutation with these errors.
    pub(super) fn refuse(self, operation: &'static str, field: &str, code: &str) -> Self {
        let error = json!({
            "code": code, "message": "that cannot be", "field": null, "file": null, "line": null, "column": null,
            "hint": null,
        });
        let payload = json!({ "stack": null, "deployment": null, "documents": [], "userErrors": [error] });
        self.answer(operation, json!({ field: payload }))
    }

    /// Feeds a subscription.
    pub(super) fn feed(self, operation: &'static str, frames: impl IntoIterator<Item = Frame>) -> Self {
        self.script.lock().unwrap().frames.push((operation, frames.into_iter().collect()));
        self
    }

    /// What was asked of an operation, in order.
    pub(super) fn asked(&self, operation: &str) -> Vec<Value> {
        let script = self.script.lock().unwrap();
        script.asked.iter().filter(|(name, _)| name == operation).map(|(_, variables)| variables.clone()).collect()
    }

    /// Runs a command against it.
    pub(super) async fn run(&self, line: &str) -> Ran {
        self.run_with(line, Some(TOKEN)).await
    }

    pub(super) async fn run_with(&self, line: &str, token: Option<&str>) -> Ran {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(self.clone().serve(listener));
        let ran = run_at(address, line, token, Interrupt::Word(Arc::clone(&self.interrupt))).await;
        server.abort();
        ran
    }

    /// Runs a command at whose terminal somebody answers.
    pub(super) async fn run_answered(&self, line: &str, with: &'static str) -> Ran {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(self.clone().serve(listener));
        let answers = |console: Console| console.answered(with);
        let ran = run_on(address, line, Some(TOKEN), Interrupt::Word(Arc::clone(&self.interrupt)), answers).await;
        server.abort();
        ran
    }

    async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(self.clone().connection(stream));
        }
    }

    async fn connection(self, mut stream: TcpStream) {
        let mut start = [0_u8; 4];
        while stream.peek(&mut start).await.unwrap() < 4 {
            tokio::task::yield_now().await;
        }
        if &start == b"POST" { self.http(&mut stream).await } else { self.socket(stream).await }
    }

    async fn http(&self, stream: &mut TcpStream) {
        let mut text = Vec::new();
        let (head, length) = loop {
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0, "the request broke off");
            let Some(end) = text.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&text[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim();
            break (head.clone(), end + 4 + length.parse::<usize>().unwrap());
        };
        while text.len() < length {
            stream.read_buf(&mut text).await.unwrap();
        }
        let start = text.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        let request: Value = serde_json::from_slice(&text[start..length]).unwrap();
        let (status, answer) = if head.contains(&format!("authorization: bearer {TOKEN}")) {
            ("200 OK", self.reply(&request))
        } else {
            let code = json!({ "code": "UNAUTHENTICATED" });
            ("401 Unauthorized", json!({ "errors": [{ "message": "a token is needed", "extensions": code }] }))
        };
        let body = answer.to_string();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
        stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
    }

    fn reply(&self, request: &Value) -> Value {
        let operation = operation(request);
        let mut script = self.script.lock().unwrap();
        if let Some(input) = request.pointer("/variables/input") {
            let query = request["query"].as_str().unwrap();
            let field = query.split(['{', '(']).nth(2).unwrap().trim();
            assert_eq!(Schema::read().order_faults(field, input), Vec::<String>::new());
        }
        script.asked.push((operation.clone(), request["variables"].clone()));
        let fitting: Vec<usize> =
            script.answers.iter().enumerate().filter(|(_, (name, _))| *name == operation).map(|(at, _)| at).collect();
        match fitting.as_slice() {
            [] => panic!("nobody said what to answer to {operation}"),
            [last] => script.answers[*last].1.clone(),
            [first, ..] => script.answers.remove(*first).1,
        }
    }

    async fn socket(&self, stream: TcpStream) {
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let speak = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            let name = HeaderValue::from_static("graphql-transport-ws");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, speak).await.unwrap();
        let mut field = String::new();
        let mut operation_name = String::new();
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let message: Value = serde_json::from_str(text.as_str()).unwrap();
            match message["type"].as_str().unwrap() {
                "connection_init" => {
                    if message["payload"]["Authorization"] != json!(format!("Bearer {TOKEN}")) {
                        let reason = "UNAUTHENTICATED: connection_init holds no valid token".into();
                        let _ = socket.close(Some(CloseFrame { code: CloseCode::Protocol, reason })).await;
                        return;
                    }
                    let ack = json!({ "type": "connection_ack" }).to_string();
                    socket.send(Message::text(ack)).await.unwrap();
                }
                "subscribe" => {
                    let payload = &message["payload"];
                    operation_name = operation(payload);
                    field = payload["query"].as_str().unwrap().split(['{', '(']).nth(2).unwrap().trim().to_owned();
                    let asked = (operation_name.clone(), payload["variables"].clone());
                    self.script.lock().unwrap().asked.push(asked);
                    break;
                }
                _ => {}
            }
        }
        loop {
            let next = {
                let mut script = self.script.lock().unwrap();
                let frames = script.frames.iter_mut().find(|(name, left)| *name == operation_name && !left.is_empty());
                frames.and_then(|(_, frames)| frames.pop_front())
            };
            let message = match next {
                Some(Frame::Item(value)) => {
                    json!({ "id": "1", "type": "next", "payload": { "data": { field.as_str(): value } } })
                }
                Some(Frame::Error(code, message)) => {
                    json!({ "id": "1", "type": "error", "payload": [{ "message": message, "extensions": { "code": code } }] })
                }
                Some(Frame::Break) => return,
                Some(Frame::Interrupt) => {
                    // What was sent before is to be seen first.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    self.interrupt.notify_one();
                    continue;
                }
                None => match socket.next().await {
                    Some(Ok(_)) => continue,
                    _ => return,
                },
            };
            if socket.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
        }
    }
}

fn operation(request: &Value) -> String {
    let query = request["query"].as_str().unwrap();
    query.split([' ', '(', '{']).nth(1).unwrap().to_owned()
}

/// Runs a command against whatever is at this address.
pub(super) async fn run_at(address: SocketAddr, line: &str, token: Option<&str>, interrupt: Interrupt) -> Ran {
    run_on(address, line, token, interrupt, |console| console).await
}

async fn run_on(
    address: SocketAddr,
    line: &str,
    token: Option<&str>,
    interrupt: Interrupt,
    terminal: impl FnOnce(Console) -> Console,
) -> Ran {
    let words: Vec<String> = std::iter::once("skep".to_owned())
        .chain(["--server".to_owned(), format!("http://{address}")])
        .chain(["--data".to_owned(), "/nonexistent".to_owned()])
        .chain(["--token".to_owned(), token.unwrap_or_default().to_owned()])
        .chain(line.split_whitespace().map(str::to_owned))
        .collect();
    let Cli { globals, command } = Cli::try_parse_from(words).unwrap();
    let (out, err) = (Tape::default(), Tape::default());
    let console = terminal(Console::captured(Box::new(out.clone()), Box::new(err.clone())));
    let result = match Session::new(&globals, &console) {
        Ok(mut session) => {
            session.interrupt = interrupt;
            dispatch(&session, command).await
        }
        Err(error) => Err(error),
    };
    Ran { exit: finish(&console, result), out: out.text(), err: err.text() }
}

/// A host that is not asked for anything.
pub(super) struct NoHost;

impl crate::cli::Host for NoHost {
    fn backup(&self, _: &std::path::Path, _: &mut dyn std::io::Write) -> Result<(), crate::cli::HostError> {
        Err(crate::cli::HostError::Failed("no host".into()))
    }

    fn examine(&self, _: crate::cli::Folder<'_>) -> Vec<crate::ports::Finding> {
        Vec::new()
    }

    fn check_backup(&self, _: &std::path::Path) -> Result<crate::cli::CheckFound, crate::cli::HostError> {
        Err(crate::cli::HostError::Failed("no host".into()))
    }

    fn check(&self, _: crate::cli::Folder<'_>) -> Result<crate::cli::CheckFound, crate::cli::HostError> {
        Err(crate::cli::HostError::Nothing("no host".into()))
    }

    fn restore(
        &self,
        _: &std::path::Path,
        _: Option<&std::path::Path>,
        _: crate::cli::Folder<'_>,
    ) -> Result<crate::cli::CheckFound, crate::cli::HostError> {
        Err(crate::cli::HostError::Failed("no host".into()))
    }

    fn serve(&self, folder: crate::cli::Folder<'_>, args: &crate::cli::ServeArgs) -> Result<(), crate::cli::HostError> {
        Err(crate::cli::HostError::Failed(format!("asked to serve {} from {}", args.listen, folder.data.display())))
    }

    fn schema(&self) -> String {
        "type Query { it: Int }\n".to_owned()
    }

    fn simulate(
        &self,
        args: &crate::cli::SimulateArgs,
        _: &mut dyn FnMut(&str),
    ) -> Result<bool, crate::cli::HostError> {
        Err(crate::cli::HostError::Failed(format!("asked to simulate seed {}", args.seed)))
    }

    fn rotate_key(&self, folder: crate::cli::Folder<'_>) -> Result<u64, crate::cli::HostError> {
        Err(crate::cli::HostError::Failed(format!("asked to rotate the key of {}", folder.data.display())))
    }
}
