//! Notifiers of a running server, without an engine: a receiver on loopback records, refuses, asks for time and hangs; the
//! server is killed between, and started again.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/git_http.rs"]
pub mod git_http;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use git_http::{GitServer, Repo};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
const SECRET: &str = "marked-secret-of-a-webhook-7d10";
const TOKEN: &str = "marked-token-of-a-git-host-2b61";
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that came in.
#[derive(Debug, Clone)]
struct Got {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Instant,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What is done with the next request to an address.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer(&'static str, &'static str),
    Hang,
}

#[derive(Default)]
struct Book {
    got: Vec<Got>,
    acts: Vec<(&'static str, VecDeque<Act>)>,
}

/// Takes what it is sent, unless there is a script.
#[derive(Clone)]
struct Receiver {
    address: String,
    book: Arc<(Mutex<Book>, Condvar)>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

    fn talk(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
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
                script.and_then(|(_, acts)| acts.pop_front()).unwrap_or(Act::Answer("200 OK", ""))
            };
            match act {
                Act::Answer(status, headers) => {
                    write!(stream, "HTTP/1.1 {status}\r\n{headers}content-length: 2\r\n\r\nok")?;
                }
                Act::Hang => {
                    std::io::copy(&mut reader, &mut std::io::sink())?;
                    return Ok(());
                }
            }
        }
    }

    fn script(&self, address: &'static str, acts: &[Act]) {
        self.book.0.lock().unwrap().acts.push((address, acts.iter().copied().collect()));
    }

    /// What came to an address, once there is so much.
    fn wait(&self, address: &str, count: usize) -> Vec<Got> {
        let of = |book: &Book| -> Vec<Got> {
            book.got.iter().filter(|got| got.path.starts_with(address)).cloned().collect()
        };
        let book = self.book.0.lock().unwrap();
        let (book, waited) = self.book.1.wait_timeout_while(book, PATIENCE, |book| of(book).len() < count).unwrap();
        assert!(!waited.timed_out(), "only {} came to {address}", of(&book).len());
        of(&book)
    }
}

/// A server; killed when dropped.
struct Server {
    child: Child,
    data: PathBuf,
    address: String,
}

impl Server {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(SKEP)
            .args(["serve", "--listen", "127.0.0.1:0", "--public-url", "https://skep.example.org/", "--docker"])
            .arg(format!("unix://{}", data.with_extension("nothing").display()))
            .args(flags)
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some(address) = line.trim().strip_prefix("skep: listening on ") {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()).ok());
        Self { child, data: data.to_owned(), address }
    }

    /// Runs a command of the client.
    fn run(&self, line: &[&str]) -> (i32, String) {
        let output = Command::new(SKEP)
            .args(line)
            .args(["--server", &self.address, "--data"])
            .arg(&self.data)
            .env("SECRET", SECRET)
            .env("TOKEN", TOKEN)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    fn done(&self, line: &[&str]) -> String {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line:?}: {said}");
        said
    }

    fn apply(&self, text: &str) -> String {
        let file = self.data.with_extension("yml");
        fs::write(&file, text).unwrap();
        self.done(&["apply", "-f", &file.display().to_string()])
    }

    /// A notifier, once it is so.
    fn notifier(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let list: Value = serde_json::from_str(&self.done(&["get", "notifiers", "-o", "json"])).unwrap();
            let found = list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
            if is(&found) {
                return found;
            }
            assert!(Instant::now() < end, "{found}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const BAD: &str = "services: { web: { imagee: 'x:1' } }\n";

fn manifest(receiver: &str) -> String {
    format!(
        "kind: Credential\nname: key\ntype: Opaque\ndata: {{ secret: {{ fromEnv: SECRET }} }}\n---\n\
         kind: Credential\nname: git\ntype: GitToken\nhosts: [127.0.0.1]\ndata: {{ token: {{ fromEnv: TOKEN }} }}\n---\n\
         kind: Notifier\nname: hook\ntype: Webhook\nurl: http://{receiver}/hook\ncredential: key\n---\n\
         kind: Notifier\nname: team\ntype: Slack\nurl: http://{receiver}/slack/marked-part\n---\n\
         kind: Notifier\nname: events\ntype: CloudEvents\nurl: http://{receiver}/events\n---\n\
         kind: Notifier\nname: dead\ntype: CloudEvents\nurl: http://{receiver}/dead\n---\n\
         kind: Notifier\nname: other\ntype: CloudEvents\nurl: http://{receiver}/other\nstacks: [blog]\n---\n\
         kind: Notifier\nname: commits\ntype: GiteaStatus\nurl: http://{receiver}/api/v1\ncredential: git\n"
    )
}

fn stack(git: &str) -> String {
    format!("kind: Stack\nname: shop\nsource: {{ git: '{git}/team/shop.git', ref: main, poll: 1h }}\n")
}

#[test]
fn a_server_tells_of_a_failure_in_every_form_and_after_a_kill_under_the_same_id() {
    let folder = TempDir::new().unwrap();
    let repo = Repo::create(folder.path(), "team/shop");
    let commit = repo.commit("main", &[("docker-stack.yml", BAD)]);
    let git = GitServer::start(folder.path());
    let receiver = Receiver::start();
    let data = folder.path().join("skep-data");
    let server = Server::start(&data, &["--allow-private-addresses"]);
    // Two answers that are no yes, then one that does not come: the server is killed while it waits for it.
    let wait = Act::Answer("429 Too Many Requests", "retry-after: 2\r\n");
    receiver.script("/hook", &[Act::Answer("500 Internal Server Error", ""), wait, Act::Hang]);
    receiver.script("/dead", &[Act::Hang; 50]);
    server.apply(&manifest(&receiver.address));
    server.apply(&stack(&git.base()));

    let hook = receiver.wait("/hook", 3);
    assert!(hook[2].at - hook[1].at >= Duration::from_secs(2), "it waits as it was asked to");
    let slack = receiver.wait("/slack", 1).remove(0);
    assert_eq!(slack.path, "/slack/marked-part");
    let blocks = slack.json()["blocks"].to_string();
    assert!(blocks.contains("has failed") && blocks.contains("<https://skep.example.org/deployments/"), "{blocks}");
    let event = receiver.wait("/events", 1).remove(0);
    assert_eq!(event.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let event = event.json();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("dev.skep.Failed")));
    assert_eq!((&event["subject"], &event["data"]["failure"]), (&json!("default/shop"), &json!("Render")));
    let status = receiver.wait("/api/v1", 1).remove(0);
    assert_eq!(status.path, format!("/api/v1/repos/team/shop/statuses/{commit}"));
    assert_eq!(status.header("authorization"), format!("token {TOKEN}"));
    assert_eq!((&status.json()["state"], &status.json()["context"]), (&json!("failure"), &json!("skep/default/shop")));
    let waiting = server.notifier("hook", |it| it["status"]["attempts"] == 2);
    assert_eq!(waiting["status"]["pending"], 1);
    assert!(waiting["status"]["lastError"].as_str().unwrap().contains("it answered 429"), "{waiting}");

    drop(server);
    let server = Server::start(&data, &["--allow-private-addresses"]);
    let hook = receiver.wait("/hook", 4);
    let ids: Vec<&str> = hook.iter().map(|got| got.header("x-skep-delivery")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 32), "{ids:?}");
    for got in &hook {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(&got.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(got.header("x-skep-signature-256"), format!("sha256={hex}"));
        assert_eq!(got.json()["event"], "Failed");
    }
    let told = server.notifier("hook", |it| it["status"]["pending"] == 0);
    assert_eq!((&told["status"]["delivered"], &told["status"]["givenUp"]), (&json!(1), &json!(0)));
    // What was taken before is not told again, and the dead one has kept nobody back.
    for (address, count) in [("/slack", 1), ("/events", 1), ("/api/v1", 1), ("/other", 0)] {
        assert_eq!(receiver.wait(address, count).len(), count, "{address}");
    }
    assert_eq!(server.notifier("dead", |_| true)["status"]["pending"], 1);

    // Another commit, another story: by then everything before it has been told.
    repo.commit("main", &[("docker-stack.yml", &BAD.replace("imagee", "imagge"))]);
    server.done(&["reconcile", "shop"]);
    assert_ne!(receiver.wait("/hook", 5)[4].header("x-skep-delivery"), ids[0]);
    let all = receiver.book.0.lock().unwrap().got.clone();
    for got in &all {
        let text = String::from_utf8_lossy(&got.body);
        assert!(!text.contains("marked-"), "{text}");
    }
}

#[test]
fn a_notifier_is_tried_out_and_says_what_came_back() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let data = folder.path().join("skep-data");
    let server = Server::start(&data, &["--allow-private-addresses"]);
    server.apply(&manifest(&receiver.address));
    assert!(server.done(&["notifier", "test", "team"]).contains("team took it: it answered 200"));
    let test = receiver.wait("/slack", 1).remove(0).json();
    assert!(test["text"].as_str().unwrap().contains("This is a test of the notifier `team`"), "{test}");
    server.done(&["notifier", "test", "hook"]);
    let test = receiver.wait("/hook", 1).remove(0);
    assert!(test.header("x-skep-signature-256").starts_with("sha256="));
    assert_eq!((test.header("x-skep-event"), &test.json()["event"]), ("Test", &json!("Test")));
    receiver.script("/slack", &[Act::Answer("404 Not Found", "")]);
    let (code, said) = server.run(&["notifier", "test", "team"]);
    assert_eq!((code, said.contains("team did not take it: it answered 404: ok")), (1, true), "{said}");
    let (code, said) = server.run(&["notifier", "test", "commits"]);
    assert_eq!((code, said.contains("no stack with a commit was deployed yet")), (1, true), "{said}");
    let (code, said) = server.run(&["notifier", "test", "tema"]);
    assert_eq!((code, said.contains("did you mean `team`?")), (3, true), "{said}");

    // The commit of a deployment is there: then the repository is asked for, and nothing is set.
    let repo = Repo::create(folder.path(), "team/shop");
    repo.commit("main", &[("docker-stack.yml", BAD)]);
    let git = GitServer::start(folder.path());
    server.apply(&stack(&git.base()));
    receiver.wait("/api/v1/repos/team/shop/statuses/", 1);
    assert!(server.done(&["notifier", "test", "commits"]).contains("commits took it"));
    let look = receiver.wait("/api/v1", 2).remove(1);
    assert_eq!((look.method.as_str(), look.path.as_str()), ("GET", "/api/v1/repos/team/shop"));

    let listed = server.done(&["notifier", "list"]);
    assert!(listed.contains("Slack") && listed.contains(&format!("http://{}", receiver.address)), "{listed}");
    assert!(!listed.contains("marked-part"), "{listed}");
    server.done(&["notifier", "delete", "team"]);
    assert!(!server.done(&["get", "notifiers", "-o", "name"]).contains("team"));
    let (code, said) = server.run(&["credential", "delete", "key"]);
    assert_eq!((code, said.contains("in use by notifier `hook`")), (5, true), "{said}");

    // Without leave, addresses of this machine are not connected to.
    drop(server);
    let server = Server::start(&data, &[]);
    let (code, said) = server.run(&["notifier", "test", "events"]);
    assert_eq!((code, said.contains("127.0.0.1 is a private address")), (1, true), "{said}");
}
