//! The Skep under test: one process for all tests that run at a time, and the git host it reads from.
//!
//! Skep claims a Swarm for itself, so there can be but one that writes. Tests share it; one that kills it has it alone. It
//! ends with the last test that uses it, and its claim goes with it; the next test starts a fresh one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::docker;
use super::graphql::Client;
use crate::collector::Collector;
use crate::git_http::GitServer;

/// How long a Skep may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

static GATE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
static SHARED: Mutex<(usize, Option<Arc<Hive>>)> = Mutex::new((0, None));

fn shared() -> MutexGuard<'static, (usize, Option<Arc<Hive>>)> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is out of the ordinary about an installation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The engine, if it is not the one of this machine.
    pub(crate) docker: Option<String>,
    /// More environment.
    pub(crate) variables: Vec<(String, String)>,
    /// The folder that the data is to be in.
    pub(crate) below: Option<PathBuf>,
}

/// A Skep process with its data, and a git host.
pub(crate) struct Hive {
    process: Mutex<Option<Child>>,
    settings: Settings,
    data: TempDir,
    repositories: TempDir,
    /// `127.0.0.1:PORT`; the same after a restart.
    pub(crate) address: String,
    /// The git host.
    pub(crate) git: GitServer,
    /// Who gets its traces.
    pub(crate) collector: Collector,
}

/// The guards are held, not read.
enum Guard {
    Together(#[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>),
}

/// A test's stay with the Skep under test.
pub(crate) struct Stay {
    hive: Arc<Hive>,
    _guard: Guard,
}

impl Stay {
    /// Beside other tests.
    pub(crate) async fn together() -> Self {
        Self::enter(Guard::Together(GATE.clone().read_owned().await))
    }

    /// With no other test, to do things to the process.
    pub(crate) async fn alone() -> Self {
        Self::enter(Guard::Alone(GATE.clone().write_owned().await))
    }

    /// With no Skep at all, for a test that brings one of its own. Nobody else enters until what is given is dropped.
    pub(crate) async fn nobody() -> OwnedRwLockWriteGuard<()> {
        let guard = GATE.clone().write_owned().await;
        docker::clear_left_claims();
        guard
    }

    fn enter(guard: Guard) -> Self {
        let mut shared = shared();
        let hive = shared
            .1
            .get_or_insert_with(|| {
                docker::clear_left_claims();
                Arc::new(Hive::start())
            })
            .clone();
        shared.0 += 1;
        Self { hive, _guard: guard }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut shared = shared();
        shared.0 -= 1;
        if shared.0 == 0 {
            // Any test that fails has said so; what is left to do is to leave nothing behind.
            self.hive.end();
            docker::clear_left_claims();
            shared.1 = None;
        }
    }
}

impl std::ops::Deref for Stay {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        &self.hive
    }
}

impl Hive {
    /// A new installation with its own data.
    pub(crate) fn start() -> Self {
        Self::with(Settings::default())
    }

    /// As [`Hive::start`], out of the ordinary.
    pub(crate) fn with(settings: Settings) -> Self {
        let below = settings.below.clone().unwrap_or_else(std::env::temp_dir);
        let data = TempDir::with_prefix_in("skep-e2e-", below).unwrap();
        let repositories = TempDir::with_prefix("skep-e2e-git-").unwrap();
        let collector = Collector::start();
        let (process, address) = serve(data.path(), "127.0.0.1:0", &collector, &settings);
        let git = GitServer::start(repositories.path());
        Self { process: Mutex::new(Some(process)), settings, data, repositories, address, git, collector }
    }

    /// Where bare repositories lie.
    pub(crate) fn repositories(&self) -> &Path {
        self.repositories.path()
    }

    /// The token of the first start.
    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.data.path().join("admin.token")).unwrap().trim().to_owned()
    }

    /// A client with the token.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address, &self.token())
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&self) {
        let mut child = self.take();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it has ended, by itself or by being killed; then it can be started again.
    pub(crate) fn has_ended(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        let ended = process.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            *process = None;
        }
        ended
    }

    /// Asks it to end; gives its exit code.
    pub(crate) fn terminate(&self) -> Option<i32> {
        let mut child = self.take();
        let id = child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().unwrap().success());
        let end = Instant::now() + PATIENCE;
        loop {
            // A process can be waited for, or waited for with a deadline by asking: there is no third way without unsafe code.
            match child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    return None;
                }
            }
        }
    }

    /// Starts it again on the same data, at the same address.
    pub(crate) fn restart(&self) {
        let (child, _) = serve(self.data.path(), &self.address, &self.collector, &self.settings);
        *self.process.lock().unwrap() = Some(child);
    }

    /// `/metrics` as Prometheus gets it (`application/openmetrics-text`), or as a person does.
    pub(crate) fn metrics(&self, accept: &str) -> String {
        let asked = Command::new("curl")
            .args([
                "-fsS",
                "-H",
                &format!("Accept: {accept}"),
                "-H",
                &format!("Authorization: Bearer {}", self.token()),
            ])
            .arg(format!("http://{}/metrics", self.address))
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).unwrap()
    }

    /// The sum of the samples of this name whose labels hold all of these (`outcome="Ok"`).
    pub(crate) fn counted(&self, name: &str, labels: &[&str]) -> f64 {
        sum(&self.metrics("*/*"), name, labels)
    }

    /// Runs the command line against it.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(arguments)
            .env("SKEP_SERVER", format!("http://{}", self.address))
            .env("SKEP_TOKEN", self.token())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Begins to run the command line against it, and reads what it prints.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Followed {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(arguments)
            .env("SKEP_SERVER", format!("http://{}", self.address))
            .env("SKEP_TOKEN", self.token())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Followed { child, told, seen: Vec::new() }
    }

    fn take(&self) -> Child {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it runs")
    }

    fn end(&self) {
        if self.process.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            let code = self.terminate();
            if code != Some(0) {
                let _ = writeln!(std::io::stderr(), "skep ended with {code:?} on SIGTERM");
            }
        }
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        self.end();
    }
}

/// The sum of the samples of this name whose labels hold all of these, in what `/metrics` said.
pub(crate) fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |line: &&str| {
        let said = line.split(['{', ' ']).next();
        said == Some(name) && labels.iter().all(|label| line.contains(label))
    };
    text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A command that goes on printing. Killed when dropped.
pub(crate) struct Followed {
    child: Child,
    told: mpsc::Receiver<String>,
    /// What it has printed.
    pub(crate) seen: Vec<String>,
}

impl Followed {
    /// Waits for a line that holds this; gives it.
    pub(crate) fn until(&mut self, what: &str) -> String {
        let end = Instant::now() + 4 * PATIENCE;
        loop {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(what) {
                        return line;
                    }
                }
                Err(error) => panic!("no `{what}` ({error}) in {:#?}", self.seen),
            }
        }
    }

    /// Waits for its end; gives its exit code.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        let end = Instant::now() + 4 * PATIENCE;
        while let Ok(line) = self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        assert!(Instant::now() < end, "it does not end: {:#?}", self.seen);
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the processes write, for a look after a failure.
fn log() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-skep.log")
}

/// Starts `skep serve`; gives the process and its address when it is ready.
fn serve(data: &Path, listen: &str, collector: &Collector, settings: &Settings) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["serve", "--listen", listen, "--otlp-endpoint", &collector.endpoint])
        .args(["--allow-private-addresses", "--allow-file-sources", "--data"])
        .arg(data)
        .args(settings.docker.iter().flat_map(|docker| ["--docker", docker]))
        .envs(settings.variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    let mut log = File::options().create(true).append(true).open(log()).unwrap();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("skep: listening on http://") {
                let _ = tell.send(address.trim().to_owned());
            }
            let _ = writeln!(log, "{line}");
        }
    });
    match told.recv_timeout(PATIENCE) {
        Ok(address) => (child, address),
        Err(error) => {
            let _ = child.kill();
            let said = fs::read_to_string(self::log()).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(10).collect();
            panic!("skep serve is not ready ({error}); the last lines of {}: {tail:#?}", self::log().display());
        }
    }
}
