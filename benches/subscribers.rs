//! How long until the last of many subscribers of one stack knows of a change of its status, and what does each cost?
//!
//! `cargo bench --bench subscribers --features sim -- [--subscribers 1000] [--writes 50]`
//!
//! The server is a process of its own: this program again, with the API, a store on disk and no controller. It writes a status
//! when it is told to on stdin, and says when the write was acknowledged. The clock is the machine's: both processes read it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench: what is not there ends it, and it says what it finds"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep::api::{ApiOptions, ApiParts, ApiState, Auth, Listen, bind};
use skep::app::SystemAmbient;
use skep::declare::{ApplyOptions, Ask, Declare, Limits};
use skep::domain::{Actor, EnvironmentName, StackKey, StackName, StackStatus, Trigger};
use skep::ledger::{Batch, Ledger};
use skep::ports::{
    BoxFuture, BoxStream, Inquiries, InquiryError, LogLine, LogOf, LogQuery, NoLog, NoNotifiers, PlanAnswer,
};
use skep::seal::KeyFile;
use skep::store::sled::SledStore;
use skep::telemetry::{Meters, Tracer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const TOKEN: &str = "the-token-of-this-bench";
const SERVE: &str = "--serve-for-a-bench";
const STACK: &str = "kind: Stack\nname: shop\ninline: |\n  services:\n    web: { image: \"app:1\" }\n";
/// What a page asks of a stack it shows: names the fields that change.
const QUERY: &str = "subscription { stackChanged(name: \"shop\") { sequence stack { name phase message observedGeneration \
    conditions { type status reason message since } desired { ref revision images { service image } } \
    live { revision images { service image } } } } }";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if arguments.first().is_some_and(|first| first == SERVE) {
        runtime.block_on(serve());
        return;
    }
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap())
    };
    runtime.block_on(measure(number("--subscribers", 1000), number("--writes", 50)));
    runtime.shutdown_background();
}

/// Microseconds by the machine's clock.
fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Asks nothing of the world: there is none here.
struct Nobody;

impl Inquiries for Nobody {
    fn plan<'a>(
        &'a self,
        _: &'a StackKey,
        _: Option<&'a skep::domain::Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Busy) })
    }

    fn logs<'a>(
        &'a self,
        _: &'a LogOf,
        _: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>> {
        Box::pin(async { Err(InquiryError::Busy) })
    }
}

async fn serve() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(Arc::new(SledStore::open(folder.path()).unwrap()));
    let ambient = Arc::new(SystemAmbient::default());
    let sealer = Arc::new(KeyFile::from_bytes([7; 32]));
    let environment = skep::domain::Environment { endpoints: vec!["unix:///none".into()], ..Default::default() };
    ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
    let declare = Declare::new(ledger.clone(), sealer, ambient.clone(), Limits::default());
    let ask = Ask::new(Actor::new("bench"), Trigger::Api);
    declare.apply(STACK, &ApplyOptions::default(), &ask).await.unwrap();
    let state = ApiState::new(ApiParts {
        declare,
        ledger: ledger.clone(),
        inquiries: Arc::new(Nobody),
        notifiers: Arc::new(NoNotifiers),
        log: Arc::new(NoLog),
        auth: Arc::new(Auth::with_token(TOKEN)),
        ambient,
        ready: Arc::new(AtomicBool::new(true)),
        metrics: Arc::new(String::new),
        meters: Meters::new(),
        tracer: Tracer::default(),
        options: ApiOptions::default(),
    });
    let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), tls: None, workers: 2 };
    let bound = bind(listen, state, Arc::new(skep::api::rest::routes)).unwrap();
    tokio::spawn(bound.server);
    say(&bound.address.to_string());
    let key = StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() };
    let (tell, mut told) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut number = 0;
    while told.recv().await.is_some() {
        number += 1;
        let status =
            StackStatus { observed_generation: number, suspended_since: Some(Timestamp::now()), ..Default::default() };
        let began = now();
        ledger.commit(Batch::new().put_status(&key, &status)).await.unwrap();
        say(&format!("{began} {}", now()));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

struct Server {
    child: Child,
    stdin: ChildStdin,
    lines: Box<dyn Iterator<Item = String>>,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = Box::new(BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok));
        let address = lines.next().expect("the server did not start");
        Self { child, stdin, lines, address }
    }

    /// Has a status written; when that began, and when it was acknowledged.
    fn write(&mut self) -> (u64, u64) {
        writeln!(self.stdin, "write").and_then(|()| self.stdin.flush()).unwrap();
        let line = self.lines.next().expect("the server is gone");
        let (began, done) = line.split_once(' ').unwrap();
        (began.parse().unwrap(), done.parse().unwrap())
    }

    /// Resident memory, in KiB.
    fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn subscribe(address: &str) -> Socket {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {TOKEN}") } });
    socket.send(Message::text(init.to_string())).await.unwrap();
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": QUERY } });
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    socket
}

/// The number of the status in the next message about the stack; 0 for the snapshot.
async fn heard(socket: &mut Socket) -> u64 {
    loop {
        let message = socket.next().await.expect("the socket is gone").unwrap();
        let Ok(text) = message.to_text() else { continue };
        let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
        if value["type"] == "next" {
            return value
                .pointer("/payload/data/stackChanged/stack/observedGeneration")
                .and_then(Value::as_u64)
                .unwrap();
        }
    }
}

async fn measure(subscribers: usize, writes: usize) {
    let mut server = Server::start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = server.memory();
    let (tell, mut told) = mpsc::unbounded_channel();
    let open = Arc::new(AtomicU64::new(0));
    for _ in 0..subscribers {
        let mut socket = subscribe(&server.address).await;
        let (tell, open) = (tell.clone(), Arc::clone(&open));
        tokio::spawn(async move {
            heard(&mut socket).await;
            open.fetch_add(1, Ordering::Relaxed);
            loop {
                let number = heard(&mut socket).await;
                if tell.send((number, now())).is_err() {
                    return;
                }
            }
        });
    }
    while open.load(Ordering::Relaxed) < u64::try_from(subscribers).unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let each = server.memory().saturating_sub(before) as f64 / subscribers as f64;
    let (mut commits, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=u64::try_from(writes).unwrap() {
        let (began, done) = server.write();
        let mut heard_at = Vec::with_capacity(subscribers);
        while heard_at.len() < subscribers {
            let (of, at) = told.recv().await.unwrap();
            assert!(of <= number, "what was not written yet is told");
            if of == number {
                heard_at.push(at);
            }
        }
        heard_at.sort_unstable();
        commits.push(done - began);
        first.push(heard_at[0].saturating_sub(done));
        last.push(heard_at[subscribers - 1].saturating_sub(done));
    }
    println!("{subscribers} subscribers of one stack, {writes} writes of its status");
    for (what, mut times) in [
        ("the write itself, to its acknowledgement", commits),
        ("from there to the first subscriber", first),
        ("from there to the last subscriber", last),
    ] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        println!("{what}: {:.1} ms at the median, {:.1} ms at 90 %, {:.1} ms at most", at(0.5), at(0.9), at(1.0));
    }
    println!("memory of the server: {each:.1} KiB for each subscriber, {} KiB with none", before);
    println!("memory after all writes: {} KiB", server.memory());
}
