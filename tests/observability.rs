//! What a running server tells of its work: traces, by a collector that reads what arrives; logs, and what is logged changed
//! while it runs; what is ready and what is not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here fails the test")]

#[path = "support/collector.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests use it too")]
mod collector;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use collector::{Collector, attribute, hex};
use serde_json::{Value, json};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The example of the W3C's recommendation.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "marked-secret-of-a-variable-5d1c";

/// A server without an engine; killed when dropped.
struct Server {
    child: Child,
    address: String,
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(SKEP)
            .args(["serve", "--listen", "127.0.0.1:0", "--docker", "unix:///nothing/docker.sock"])
            .args(arguments)
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut server = Self { child, address: String::new(), lines: told };
        let line = server.until("skep: listening on ");
        server.address = line.rsplit(' ').next().unwrap().to_owned();
        server
    }

    /// The next line of the log that holds this.
    fn until(&self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(what) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with `{what}`: {error}"),
            }
        }
    }

    fn cli(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(SKEP);
        command.env_remove("SKEP_TOKEN").args(["--server", &self.address, "--data"]).arg(data);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn must(&self, data: &Path, arguments: &[&str]) -> String {
        let output = self.cli(data, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A mutation, as part of a trace; its payload.
    fn mutate(&self, data: &Path, name: &str, document: &str, input: Value) -> Value {
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
        let answer = reqwest::blocking::Client::new()
            .post(format!("{}/graphql", self.address))
            .bearer_auth(token.trim())
            .header("traceparent", PARENT)
            .json(&json!({ "query": document, "variables": { "input": input } }))
            .send()
            .unwrap();
        let mut answer: Value = answer.json().unwrap();
        assert!(answer["errors"].is_null(), "{answer:#}");
        let payload = answer["data"][name].take();
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        payload
    }

    fn apply(&self, data: &Path) -> Value {
        let manifest = format!(
            "kind: Stack\nname: shop\nvariables: {{ KEY: {{ value: {SECRET}, secret: true }} }}\ninline: |\n  services: {{ web: \
             {{ image: 'skep-example:1', environment: [KEY] }} }}\n"
        );
        let document = "mutation($input: ApplyStackInput!) { applyStack(input: $input) { \
            deployment { deploymentId traceId } userErrors { message } } }";
        let mut payload = self.mutate(data, "applyStack", document, json!({ "manifest": manifest }));
        payload["deployment"].take()
    }

    /// Asks it to end; it has to, in good order.
    fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_deployment_is_one_trace_from_its_request_on_and_what_comes_after_a_crash_joins_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let collector = Collector::start();
    let arguments = ["--otlp-endpoint", &collector.endpoint, "--log-format", "json"];
    let mut server = Server::start(data, &arguments);
    let deployment = server.apply(data);
    let id = deployment["deploymentId"].as_str().unwrap();
    assert_eq!(deployment["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736", "the sender's trace goes on");

    let request = collector.until("request", |span| span.name == "POST /graphql");
    assert_eq!(hex(&request.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7", "below the span that the sender named");
    server.child.kill().unwrap();
    server.child.wait().unwrap();

    let server = Server::start(data, &arguments);
    let document =
        "mutation($input: CancelDeploymentInput!) { cancelDeployment(input: $input) { userErrors { message } } }";
    server.mutate(data, "cancelDeployment", document, json!({ "stack": { "name": "shop" } }));
    let ended = collector.until("deployment", |span| span.name == "deployment");
    assert_eq!(hex(&ended.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(ended.parent_span_id, request.span_id, "below its request, though that was another process");
    assert_eq!(attribute(&ended.attributes, "skep.deployment.id").as_deref(), Some(id));
    assert_eq!(attribute(&ended.attributes, "skep.phase").as_deref(), Some("Cancelled"));
    assert!(collector.services().iter().all(|name| name == "skep"));

    let line = server.until("\"Cancelled\"");
    let line: Value = serde_json::from_str(&line).expect("a line of the log is one object");
    assert_eq!(line["fields"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{line:#}");
    let shown: Value = serde_json::from_str(&server.must(data, &["get", "deployment", id, "-o", "json"])).unwrap();
    assert_eq!(shown["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    server.terminate();
    let bytes = collector.bytes();
    assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "a secret is in a trace");
    assert!(bytes.windows(4).any(|window| window == b"shop"), "what is looked through is what was sent");
}

#[test]
fn a_collector_that_is_gone_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // One that takes connections and never answers is worse than none.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let server = Server::start(data, &["--otlp-endpoint", &endpoint]);
    let begun = Instant::now();
    assert!(server.apply(data)["traceId"].is_string());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "an answer took {took:?}");
    let (_connection, _) = silent.accept().unwrap();
    let begun = Instant::now();
    server.terminate();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "the end took {took:?}");
}

#[test]
fn without_a_collector_a_deployment_has_a_trace_of_its_own_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let manifest = folder.path().join("shop.yml");
    std::fs::write(&manifest, "kind: Stack\nname: shop\ninline: |\n  services: { web: { image: 'skep-example:1' } }\n")
        .unwrap();
    server.must(folder.path(), &["apply", "-f", manifest.to_str().unwrap()]);
    let all = server.must(folder.path(), &["get", "deployments", "-o", "json"]);
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    let trace = all[0]["traceId"].as_str().unwrap().to_owned();
    assert!(trace.len() == 32 && trace.chars().all(|c| c.is_ascii_hexdigit()), "{trace}");
    assert_ne!(trace, "0".repeat(32));
}

#[test]
fn what_is_logged_is_changed_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &["--log", "error"]);
    assert_eq!(server.must(data, &["log-filter"]), "error");
    assert_eq!(server.must(data, &["log-filter", "info,skep::controller=trace"]), "info,skep::controller=trace");
    server.until("what is logged was changed");
    // Nothing of this kind was written while only errors were.
    server.apply(data);
    server.until("a pass begins");
    let refused = server.cli(data, &["log-filter", "skep=no-such-level"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(server.must(data, &["log-filter"]), "info,skep::controller=trace", "a bad filter changes nothing");
    let token = server.must(data, &["token", "create", "op", "--role", "operator"]);
    let refused = server.cli(data, &["log-filter", "trace", "--token", &token]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

#[test]
fn a_server_that_is_ready_says_which_environments_do_not_answer_by_number_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let said = reqwest::blocking::get(format!("{}/readyz", server.address)).unwrap();
    assert_eq!(said.status(), 200);
    assert_eq!(said.text().unwrap(), "ready\n0 of 1 environments answer\n");
}
