//! What a running server tells of its work: traces, by a collector that reads what arrives; logs, and what is logged changed
//! while it runs; what is ready and what is not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here fails the test")]

#[path = "support/collector.rs"]
#[expect(unreachable_pub, reason = "the end-to-end tests use it too")]
mod collector;
#[path = "support/fake_engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake_engine;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use collector::{Collector, attribute, hex};
use fake_engine::{FakeEngine, Say};
use serde_json::{Value, json};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The example of the W3C's recommendation.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "marked-secret-of-a-variable-5d1c";

/// The trace of [`PARENT`].
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const NO_ENGINE: &str = "unix:///nothing/docker.sock";

/// A server; killed when dropped.
struct Server {
    child: Child,
    address: String,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// One without an engine.
    fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::on(NO_ENGINE, data, arguments, &[])
    }

    fn on(engine: &str, data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(SKEP)
            .args(["serve", "--listen", "127.0.0.1:0", "--docker", engine])
            .args(arguments)
            .envs(variables.iter().copied())
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

    /// What `/metrics` says.
    fn metrics(&self, data: &Path) -> String {
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
        let asked = reqwest::blocking::Client::new().get(format!("{}/metrics", self.address)).bearer_auth(token.trim());
        asked.send().unwrap().text().unwrap()
    }

    /// The value of a sample of `/metrics`, labels and all; none while it is not there.
    fn sample(&self, data: &Path, name: &str) -> Option<f64> {
        let text = self.metrics(data);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a sample is what it should be.
    fn until_sample(&self, data: &Path, name: &str, wanted: impl Fn(f64) -> bool) {
        let end = Instant::now() + PATIENCE;
        // Nothing tells that a figure has changed.
        while !self.sample(data, name).is_some_and(&wanted) {
            assert!(Instant::now() < end, "{name}\n{}", self.metrics(data));
            std::thread::sleep(Duration::from_millis(20));
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
        self.apply_all(
            data,
            &format!(
                "kind: Stack\nname: shop\nvariables: {{ KEY: {{ value: {SECRET}, secret: true }} }}\ninline: |\n  services: \
                 {{ web: {{ image: 'skep-example:1', environment: [KEY] }} }}\n"
            ),
        )
    }

    /// Applies a manifest, as part of a trace; gives the deployment of its only stack.
    fn apply_all(&self, data: &Path, manifest: &str) -> Value {
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
    assert_eq!(deployment["traceId"], TRACE, "the sender's trace goes on");

    let request = collector.until("request", |span| span.name == "POST /graphql");
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7", "below the span that the sender named");
    server.child.kill().unwrap();
    server.child.wait().unwrap();

    let server = Server::start(data, &arguments);
    let document =
        "mutation($input: CancelDeploymentInput!) { cancelDeployment(input: $input) { userErrors { message } } }";
    server.mutate(data, "cancelDeployment", document, json!({ "stack": { "name": "shop" } }));
    let ended = collector.until("deployment", |span| span.name == "deployment");
    assert_eq!(hex(&ended.trace_id), TRACE);
    assert_eq!(ended.parent_span_id, request.span_id, "below its request, though that was another process");
    assert_eq!(attribute(&ended.attributes, "skep.deployment.id").as_deref(), Some(id));
    assert_eq!(attribute(&ended.attributes, "skep.phase").as_deref(), Some("Cancelled"));
    assert!(collector.services().iter().all(|name| name == "skep"));

    let line = server.until("\"Cancelled\"");
    let line: Value = serde_json::from_str(&line).expect("a line of the log is one object");
    assert_eq!(line["fields"]["trace_id"], TRACE, "{line:#}");
    let shown: Value = serde_json::from_str(&server.must(data, &["get", "deployment", id, "-o", "json"])).unwrap();
    assert_eq!(shown["traceId"], TRACE);
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

/// A stack whose image needs no looking up.
fn pinned(name: &str) -> String {
    let image = format!("skep-example:1@sha256:{}", "0".repeat(64));
    format!("kind: Stack\nname: {name}\ninline: |\n  services: {{ web: {{ image: '{image}' }} }}\n")
}

/// What a line of the log says of a deployment: itself, or by the work it is part of.
fn names(line: &str, format: &str, deployment: &str, by_the_work: bool) -> bool {
    match format {
        "text" if by_the_work => {
            line.contains(&format!("work{{stage=\"prepare\" deployment={deployment} trace_id=\"{TRACE}\"}}"))
        }
        "text" => line.contains(&format!("deployment=\"{deployment}\" trace_id=\"{TRACE}\"")),
        _ => {
            let line: Value = serde_json::from_str(line).expect("a line of the log is one object");
            let said = &line[if by_the_work { "span" } else { "fields" }];
            said["deployment"] == deployment && said["trace_id"] == TRACE
        }
    }
}

#[test]
fn what_the_log_says_of_work_under_way_names_the_deployment_and_its_trace_and_broken_looks_are_counted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refusing = |asked: &str| match asked {
        asked if asked.contains("/distribution/") => {
            Some(Say::Answer(200, format!(r#"{{"Descriptor":{{"digest":"sha256:{}"}}}}"#, "0".repeat(64))))
        }
        asked if asked.starts_with("POST /v1.41/networks/create") => {
            Some(Say::Answer(500, r#"{"message":"the disk is on fire"}"#.to_owned()))
        }
        _ => None,
    };
    for format in ["text", "json"] {
        // Each Skep claims one of its own.
        let engine = runtime.block_on(FakeEngine::claimable(refusing));
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let arguments = ["--log-format", format, "--log", "warn,skep::swarm=trace"];
        let server = Server::on(&engine.endpoint, data, &arguments, &[]);
        let deployment = server.apply(data);
        let id = deployment["deploymentId"].as_str().unwrap();
        // A call in a stage, made by a task of its own; and how the look ended, which is told outside of any.
        let call = server.until("/distribution/skep-example:1/json");
        assert!(call.contains("engine call") && names(&call, format, id, true), "{call}");
        let line = server.until("a pass broke off");
        assert!(line.contains("the disk is on fire") && names(&line, format, id, false), "{line}");

        let grown = |it: f64| it >= 1.0;
        server.until_sample(data, "skep_reconcile_errors_total{environment=\"default\",class=\"Engine\"}", grown);
        server.until_sample(data, "skep_reconciles_total{environment=\"default\",outcome=\"Failed\"}", grown);
        let calls = "skep_engine_calls_total{environment=\"default\",call=\"CreateNetwork\",outcome=\"Engine\"}";
        server.until_sample(data, calls, grown);
        // It is looked at again, later.
        server.until_sample(data, "skep_queue_later{environment=\"default\"}", |it| it == 1.0);
        server.terminate();
    }
}

#[test]
fn what_waits_for_a_look_and_what_is_looked_at_is_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Each look at a stack that is to be made waits for an answer that never comes.
    let engine = runtime.block_on(FakeEngine::claimable(|asked| {
        asked.starts_with("POST /v1.41/networks/create").then_some(Say::Nothing)
    }));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::on(&engine.endpoint, data, &["--log", "error"], &[]);
    let stacks = 40;
    let manifest: Vec<String> = (0..stacks).map(|number| pinned(&format!("shop-{number}"))).collect();
    server.apply_all(data, &manifest.join("---\n"));
    let of = |what: &str| format!("skep_queue_{what}{{environment=\"default\"}}");
    server.until_sample(data, &of("at_work"), |it| it > 1.0);
    server.until_sample(data, &of("depth"), |it| it > 1.0);
    let text = server.metrics(data);
    let told = |what: &str| {
        let value = |line: &str| line.strip_prefix(&of(what))?.trim().parse::<f64>().ok();
        text.lines().find_map(value).unwrap_or_else(|| panic!("{what}: {text}"))
    };
    assert!(told("at_work") + told("depth") <= f64::from(stacks), "{text}");
}

#[test]
fn a_message_that_is_not_taken_is_told_with_the_trace_of_its_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &["--log-format", "json", "--allow-private-addresses"]);
    // Nobody listens there.
    let notifier = "kind: Notifier\nname: team\ntype: Slack\nurl: { value: 'http://127.0.0.1:1/in' }\n";
    server.apply_all(data, &format!("{notifier}events: [Cancelled]\n---\n{}", pinned("shop")));
    let document =
        "mutation($input: CancelDeploymentInput!) { cancelDeployment(input: $input) { userErrors { message } } }";
    server.mutate(data, "cancelDeployment", document, json!({ "stack": { "name": "shop" } }));
    let line = server.until("a message was not taken");
    let line: Value = serde_json::from_str(&line).unwrap();
    let said = (&line["fields"]["notifier"], &line["fields"]["trace_id"]);
    assert_eq!(said, (&json!("team"), &json!(TRACE)), "{line:#}");
}

#[test]
fn a_deployment_by_a_hook_goes_on_in_the_trace_of_the_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let collector = Collector::start();
    let server = Server::start(data, &["--otlp-endpoint", &collector.endpoint]);
    let hook = "kind: Hook\nname: ci\nprovider: DockerHub\nunsigned: true\n\
                rules: [{ stacks: [shop], set: { images.web: push_data.tag } }]\n";
    server.apply_all(data, &format!("{hook}---\n{}", pinned("shop")));
    let body = json!({ "push_data": { "tag": "2" }, "repository": { "repo_name": "team/shop" } });
    let delivery = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = reqwest::blocking::Client::new()
        .post(format!("{}/hooks/ci", server.address))
        .header("traceparent", delivery)
        .json(&body)
        .send()
        .unwrap();
    let (status, said) = (sent.status(), sent.text().unwrap());
    assert!(status.is_success(), "{status} {said}");
    let request = collector.until("delivery", |span| span.name.starts_with("POST /hooks/"));
    assert_eq!(hex(&request.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331", "below the span that the sender named");
    let document =
        "mutation($input: CancelDeploymentInput!) { cancelDeployment(input: $input) { userErrors { message } } }";
    server.mutate(data, "cancelDeployment", document, json!({ "stack": { "name": "shop" } }));
    let of_hook = |key: &str, value: &str, span: &opentelemetry_proto::tonic::trace::v1::Span| {
        span.name == "deployment" && attribute(&span.attributes, key).as_deref() == Some(value)
    };
    let ended = collector.until("deployment", |span| of_hook("skep.trigger", "Hook", span));
    assert_eq!((&ended.trace_id, &ended.parent_span_id), (&request.trace_id, &request.span_id));
}

/// The bytes of all files below a folder.
fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let of = |entry: std::fs::DirEntry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => bytes_of(&entry.path()),
        _ => entry.metadata().unwrap().len(),
    };
    entries.map(of).sum()
}

#[test]
fn the_size_of_the_store_grows_by_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::start(data, &[]);
    let size = || server.sample(data, "skep_store_size_bytes").unwrap();
    let before = size();
    // Too large for a record: it goes to a file.
    let labels = format!("labels: {{ x: '{}' }}", "y".repeat(40_000));
    server.apply_all(data, &pinned("shop").replace("web: {", &format!("web: {{ {labels},")));
    let (kept, records) = (bytes_of(&data.join("files")), bytes_of(&data.join("store")));
    assert!(kept >= 40_000, "{kept}");
    let after = size();
    assert!(after >= before + 40_000.0, "{before} {after}");
    // The records grow in large steps: what is kept is counted beside them.
    let all = u32::try_from(kept + records).unwrap();
    assert!(after >= f64::from(all), "{after}: {kept} and {records}");
}

/// The way to the next format, as tests may ask for it.
#[cfg(feature = "sim")]
mod format {
    use super::*;

    const TRIAL: [(&str, &str); 1] = [("SKEP_TRIAL_FORMAT", "nowhere")];
    const LOG: [&str; 2] = ["--log", "info,skep::app::advance=debug"];

    fn format(data: &Path) -> String {
        std::fs::read_to_string(data.join("format")).unwrap()
    }

    #[test]
    fn a_version_that_reaches_no_engine_writes_nothing_in_its_own_format() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let server = Server::on(NO_ENGINE, data, &LOG, &TRIAL);
        server.until("it is kept so until a round went well");
        server.apply(data);
        // It has looked more often than a healthy round takes.
        for _ in 0..8 {
            let line = server.until("the data folder");
            assert!(line.contains("still of the older format"), "{line}");
        }
        server.terminate();
        assert_eq!(format(data), "skep data format 1\n");
        assert!(!data.join("before-format-2.tar").exists());
    }

    #[test]
    fn a_version_that_works_leads_the_folder_on_after_a_backup() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let engine = runtime.block_on(FakeEngine::claimable(|_| None));
        let folder = tempfile::tempdir().unwrap();
        let data = &folder.path().join("data");
        let server = Server::on(&engine.endpoint, data, &LOG, &TRIAL);
        // Only looked at: nothing is asked of the engine for it.
        server.apply_all(data, &pinned("shop").replace("inline:", "policy: { mode: observe }\ninline:"));
        server.until("the data folder has the newest format now");
        assert_eq!(format(data), "skep data format 2 readable from 1\n");
        let backup = data.join("before-format-2.tar");
        server.must(data, &["check", backup.to_str().unwrap()]);
        server.terminate();
        // The version before reads it, and says so.
        let before = Server::start(data, &[]);
        let stacks = before.must(data, &["get", "stacks", "-o", "name"]);
        assert!(stacks.contains("shop"), "{stacks}");
        before.terminate();
    }
}
