//! The Skep that is measured: a process of its own, with its own data.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use skep::app::{LogFormat, ServeOptions, init_logging, serve};
use skep::seal::KeySource;
use tempfile::TempDir;

use super::Options;
use super::http::Http;

/// The first argument of a bench that is to be the server instead.
const SERVE: &str = "--serve-for-a-bench";

/// When this program was started as the server, serves until it is told to end.
pub(crate) fn serve_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, data, docker] = arguments.as_slice() else { return false };
    if first != SERVE {
        return false;
    }
    let logging = init_logging(LogFormat::Text, "warn");
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: data.into(),
        key: KeySource::of(data.as_ref(), None, None).unwrap(),
        docker: Some(docker.clone()),
        allow_private_addresses: true,
        allow_file_sources: true,
        public_url: None,
        tls: None,
        insecure: false,
        metrics_public: true,
        graphiql: false,
        hook_rate: 1_000_000,
        logging,
        instance: None,
        otlp_endpoint: None,
    };
    serve(options).unwrap();
    true
}

/// A running Skep. It is ended when dropped.
pub(crate) struct Skep {
    child: Child,
    pub(crate) data: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Skep {
    /// A new installation that keeps the engine at `docker`; ready to work.
    pub(crate) async fn start(options: &Options, docker: &str) -> Self {
        let data = TempDir::with_prefix("skep-bench-").unwrap();
        let (child, address) = spawn(options, data.path(), docker);
        let token = std::fs::read_to_string(data.path().join("admin.token")).unwrap().trim().to_owned();
        let skep = Self { child, data, address, token };
        let mut client = skep.client().await;
        let end = Instant::now() + Duration::from_secs(30);
        while !metrics(&mut client).await.contains("skep_environment_connected{environment=\"default\"} 1") {
            assert!(Instant::now() < end, "Skep does not reach the engine");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        skep
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn client(&self) -> Http {
        Http::tcp(self.address, &self.token).await
    }

    /// Applies manifests, a hundred documents a mutation.
    pub(crate) async fn apply(&self, manifests: &[String]) {
        let mut client = self.client().await;
        for some in manifests.chunks(100) {
            let query = "mutation($input: ApplyStackInput!) { applyStack(input: $input) { userErrors { message } } }";
            let input = json!({ "input": { "manifest": some.join("---\n") } });
            let answer = client.graphql(query, input).await;
            assert_eq!(answer["applyStack"]["userErrors"], json!([]));
        }
    }

    /// Waits until so many stacks are converged.
    pub(crate) async fn converged(&self, stacks: usize, patience: Duration) {
        let mut client = self.client().await;
        let end = Instant::now() + patience;
        loop {
            let text = metrics(&mut client).await;
            if in_phase(&text, "Converged") == stacks {
                return;
            }
            let stacks: Vec<&str> = text.lines().filter(|line| line.starts_with("skep_stacks{")).collect();
            assert!(Instant::now() < end, "not all converged: {stacks:?}\n{:#}", reasons(&mut client).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Skep {
    /// Ends it; gives the folder of its data.
    pub(crate) fn end(mut self) -> TempDir {
        self.stop();
        std::mem::replace(&mut self.data, TempDir::with_prefix("skep-bench-").unwrap())
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Skep {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn metrics(client: &mut Http) -> String {
    let (_, text) = client.call(Method::GET, "/metrics", Bytes::new()).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// How many stacks are in a phase, of all environments; whatever other labels their lines have.
fn in_phase(metrics: &str, phase: &str) -> usize {
    let label = format!("phase=\"{phase}\"");
    let counts = metrics.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("skep_stacks{")?.split_once("} ")?;
        labels.split(',').any(|found| found == label).then(|| count.parse::<usize>().ok())?
    });
    counts.sum()
}

/// The first stacks that are not converged, and why.
async fn reasons(client: &mut Http) -> Value {
    let query = "{ stacks(first: 3, phases: [Pending, Progressing, RollingBack, Degraded, Failed, RolledBack]) { edges { node { name conditions { type status reason message } } } } }";
    let body = serde_json::to_vec(&json!({ "query": query })).unwrap();
    let (_, answer) = client.call(Method::POST, "/graphql", body.into()).await;
    serde_json::from_slice(&answer).unwrap_or_default()
}

fn spawn(options: &Options, data: &Path, docker: &str) -> (Child, SocketAddr) {
    let mut command = match &options.skep {
        Some(path) => {
            let mut command = Command::new(path);
            command.args(["serve", "--listen", "127.0.0.1:0", "--docker", docker, "--data"]).arg(data);
            command.args(["--allow-private-addresses", "--allow-file-sources", "--hook-rate", "0"]);
            command
        }
        None => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(SERVE).arg(data).arg(docker);
            command
        }
    };
    // As the image and the unit for systemd have it.
    command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_TRIM_THRESHOLD_", "131072");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let address = lines.by_ref().find_map(|line| {
        let address = line.split("listening on http://").nth(1).and_then(|address| address.trim().parse().ok());
        said.push(line);
        address
    });
    let address = address.unwrap_or_else(|| panic!("Skep did not start: {said:#?}"));
    std::thread::spawn(move || lines.for_each(|line| eprintln!("skep: {line}")));
    (child, address)
}
