//! SIGKILL before and after each write, call and sync of a deployment and of a rollback. After a restart it ends where it
//! should, nothing is done twice, and nothing is left over.
//!
//! A clean run tells which places there are (see `src/killed.rs`) and what is written to the engine; every other run is
//! killed at one of them, and has to come to the same. By default only some are tried: `SKEP_KILLS=all` tries each, and
//! with `SKEP_KILLS_DONE=FILE` goes on where an earlier run was broken off.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OwnedRwLockWriteGuard;

use crate::engine_proxy::Proxy;
use crate::support::docker;
use crate::support::graphql::Client;
use crate::support::hive::{Hive, Settings, Stay};
use crate::support::stack::unique;
use crate::support::watch::Watch;

/// So many places are tried when not all are.
const SLICE: usize = 5;
/// Of places that are passed again and again while tasks are watched, the first ones.
const CALLS: u64 = 2;

/// A place, by its name and how often it has been passed.
type Place = (u64, String);
/// What came of a run: the writes that the engine accepted, the objects there are, and how deployments ended.
type End = (BTreeMap<String, u32>, Vec<String>, Vec<Value>);

/// A Skep that can be killed at a place, with the way to its engine.
struct Field {
    client: Client,
    proxy: Proxy,
    folder: TempDir,
    // The last to go, in this order.
    hive: Hive,
    _nobody: OwnedRwLockWriteGuard<()>,
}

impl Field {
    async fn new() -> Self {
        let nobody = Stay::nobody().await;
        let folder = TempDir::with_prefix("skep-e2e-kill-").unwrap();
        let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = engine.strip_prefix("unix://").expect("an engine at a socket").to_owned();
        let proxy = Proxy::start(&folder.path().join("engine.sock"), engine.as_ref());
        let file = folder.path().join("kill").display().to_string();
        let hive = Hive::with(Settings {
            docker: Some(proxy.url()),
            variables: vec![("SKEP_KILL".to_owned(), file)],
            below: None,
        });
        Self { client: hive.client(), proxy, folder, hive, _nobody: nobody }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("kill")
    }

    fn arm(&self, place: Option<&Place>) {
        let text = place.map_or("never".to_owned(), |(count, name)| format!("{count} {name}"));
        // It must not be read half written.
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn disarm(&self) -> Vec<Place> {
        let _ = fs::remove_file(self.file());
        let passed = fs::read_to_string(self.file().with_extension("passed")).unwrap_or_default();
        let _ = fs::remove_file(self.file().with_extension("passed"));
        let place = |line: &str| line.split_once(' ').map(|(count, name)| (count.parse().unwrap(), name.to_owned()));
        passed.lines().filter_map(place).collect()
    }

    /// Starts it again whenever it has died; counts how often.
    async fn revive(&self, deaths: &mut u32) {
        loop {
            if self.hive.has_ended() {
                *deaths += 1;
                self.disarm();
                self.hive.restart();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Applies a manifest with the process to be killed at a place, and waits for the stack's phase. Gives what it came
    /// to, the places passed, and whether it died.
    async fn run(
        &self,
        stack: &str,
        manifest: &str,
        wanted: &Wanted,
        place: Option<&Place>,
    ) -> (End, Vec<Place>, bool) {
        // Places are counted from the start of the process on.
        self.hive.terminate();
        self.hive.restart();
        let mut watch = Watch::stack(&self.client, stack);
        watch.until("connected", 20, |_| true).await;
        let before = self.client.deployments(stack).await.len();
        let mark = self.proxy.mark();
        self.arm(place);
        let story = async {
            let key = format!("{stack}-{}", fastrand::u64(..));
            self.client.insist("applyStack", &json!({ "manifest": manifest, "idempotencyKey": key })).await;
            let is_there = |it: &Value| it["phase"] == wanted.phase && it["generation"] == it["observedGeneration"];
            watch.until(wanted.phase, 120, |it| is_there(it) && it["generation"] == wanted.generation).await;
            // Also what it does once it is there.
            self.proxy.quiet(mark, Duration::from_millis(1200)).await;
        };
        let mut deaths = 0;
        tokio::select! {
            () = story => {}
            () = self.revive(&mut deaths) => {}
        }
        if self.hive.has_ended() {
            // At a place behind the last that the story waited for.
            deaths += 1;
            self.disarm();
            self.hive.restart();
        }
        let passed = self.disarm();
        assert!(deaths <= 1, "it died {deaths} times, but was killed once");
        let mut writes = BTreeMap::new();
        for call in self.proxy.since(mark).iter().filter(|call| call.writes() && call.status / 100 == 2) {
            let kind = call.place().split('/').next().unwrap_or_default();
            let name = call.name.as_deref().unwrap_or_default().replace(stack, "STACK");
            // The claim is made once, before the story begins or after.
            if name.starts_with("skep-claim") {
                continue;
            }
            *writes.entry(format!("{} {kind} {name}", call.method)).or_default() += 1;
        }
        let kinds = ["service", "network", "config", "secret"];
        let objects = kinds.iter().flat_map(|kind| docker::of_stack(kind, stack)).map(|it| it.replace(stack, "STACK"));
        let deployments = self.client.deployments(stack).await;
        let new = deployments.iter().take(deployments.len() - before);
        let ends = new.map(|it| json!({ "phase": it["phase"], "trigger": it["trigger"] })).collect();
        ((writes, objects.collect(), ends), passed, deaths == 1)
    }
}

struct Wanted {
    phase: &'static str,
    generation: u64,
}

/// Two services with all that a stack can have, quick to come and to go.
fn manifest(stack: &str, release: &str, command: &str) -> String {
    format!(
        r#"kind: Stack
name: {stack}
policy: {{ monitor: 200ms, progressDeadline: 60s, totalDeadline: 3m }}
variables: {{ KEY: {{ value: "a key of {release}", secret: true }} }}
inline: |
  services:
    web:
      image: skep-example:1
      command: {command}
      environment: {{ RELEASE: "{release}" }}
      configs: [settings]
      secrets: [key]
      stop_signal: SIGKILL
      deploy: &deploy
        update_config: {{ monitor: 200ms, order: start-first }}
        restart_policy: {{ delay: 500ms }}
    worker:
      image: skep-example:1
      command: [sleep, "86400"]
      environment: {{ RELEASE: "{release}" }}
      stop_signal: SIGKILL
      deploy: *deploy
  configs: {{ settings: {{ content: "of {release}" }} }}
  secrets: {{ key: {{ environment: KEY }} }}
"#
    )
}

/// The places to be tried: all, or some of each kind. What an earlier run has done is left out.
fn picked(matrix: &str, mut places: Vec<Place>) -> Vec<Place> {
    places.retain(|(count, name)| *count <= CALLS || !name.starts_with("call:"));
    let all = std::env::var("SKEP_KILLS").is_ok_and(|which| which == "all");
    if !all {
        // How often a place is passed differs from run to run; that it is passed does not.
        places.retain(|(count, _)| *count == 1);
        let every = places.len().div_ceil(SLICE).max(1);
        return places.into_iter().skip(every / 2).step_by(every).collect();
    }
    let done = std::env::var("SKEP_KILLS_DONE").ok().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    places.retain(|(count, name)| !done.lines().any(|line| line == format!("{matrix} {count} {name}")));
    places
}

fn note_done(matrix: &str, (count, name): &Place) {
    if let Ok(file) = std::env::var("SKEP_KILLS_DONE") {
        let mut file = File::options().create(true).append(true).open(file).unwrap();
        writeln!(file, "{matrix} {count} {name}").unwrap();
    }
}

/// Not each place is passed in each run (a listing more or less), but nearly all must be.
#[expect(clippy::print_stderr, reason = "a figure of the run")]
fn tell(matrix: &str, tried: usize, killed: usize) {
    eprintln!("{matrix}: killed at {killed} of {tried} places");
    assert!(killed * 10 >= tried * 8, "{matrix}: only {killed} of {tried} places were come to");
}

#[tokio::test]
async fn a_deployment_survives_a_kill_at_any_place() {
    let field = Field::new().await;
    let wanted = Wanted { phase: "Converged", generation: 1 };
    let mut clean: Option<End> = None;
    let mut places = vec![None];
    let (mut tried, mut killed) = (0, 0);
    while let Some(place) = places.pop() {
        let stack = unique("kp");
        let text = manifest(&stack, "1", r#"[sleep, "86400"]"#);
        let (end, passed, died) = field.run(&stack, &text, &wanted, place.as_ref()).await;
        for service in ["web", "worker"] {
            let name = format!("{stack}_{service}");
            assert_eq!(docker::running_releases(&name), ["1"], "{place:?}: tasks of {name}");
        }
        match (&clean, &place) {
            (Some(clean), Some(place)) => {
                assert_eq!(&end, clean, "killed at {place:?} ({died}) it does not come to the same");
                note_done("deployment", place);
                (tried, killed) = (tried + 1, killed + usize::from(died));
            }
            _ => {
                assert!(passed.len() > 30 && end.0.len() >= 5 && end.1.len() == 5, "{end:#?} {passed:#?}");
                places.extend(picked("deployment", passed).into_iter().map(Some));
                clean = Some(end);
            }
        }
        assert!(field.hive.cli(&["delete", &stack, "--yes"]).status.success());
        for kind in ["service", "network", "config", "secret"] {
            assert_eq!(docker::of_stack(kind, &stack), [""; 0], "{place:?}: left over");
        }
    }
    tell("deployment", tried, killed);
}

#[tokio::test]
async fn a_rollback_survives_a_kill_at_any_place() {
    let field = Field::new().await;
    let stack = unique("kpback");
    let good = manifest(&stack, "good", r#"[sleep, "86400"]"#);
    field.run(&stack, &good, &Wanted { phase: "Converged", generation: 1 }, None).await;
    let mut clean: Option<End> = None;
    let mut places = vec![None];
    let (mut tried, mut killed, mut generation) = (0, 0, 1);
    while let Some(place) = places.pop() {
        generation += 1;
        // A version of its own each time, or it would be held; one that never runs, however busy the machine is.
        let text = manifest(&stack, &format!("bad {generation}"), "[/no/such/program]");
        let wanted = Wanted { phase: "RolledBack", generation };
        let (end, passed, died) = field.run(&stack, &text, &wanted, place.as_ref()).await;
        // The names of configs and secrets tell their content.
        let (writes, objects, ends) = end;
        let end = (without_digests(writes), objects, ends);
        for service in ["web", "worker"] {
            let name = format!("{stack}_{service}");
            assert_eq!(docker::running_releases(&name), ["good"], "{place:?}: tasks of {name}");
        }
        match (&clean, &place) {
            (Some(clean), Some(place)) => {
                assert_eq!(&end, clean, "killed at {place:?} ({died}) it does not come to the same");
                note_done("rollback", place);
                (tried, killed) = (tried + 1, killed + usize::from(died));
            }
            _ => {
                assert!(passed.len() > 60 && end.2.len() == 2, "{end:#?} {passed:#?}");
                places.extend(picked("rollback", passed).into_iter().map(Some));
                clean = Some(end);
            }
        }
    }
    assert!(field.hive.cli(&["delete", &stack, "--yes"]).status.success());
    for kind in ["service", "network", "config", "secret"] {
        assert_eq!(docker::of_stack(kind, &stack), [""; 0], "left over");
    }
    tell("rollback", tried, killed);
}

fn without_digests(writes: BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for (write, count) in writes {
        let is_digest = |part: &str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let cut = write.rsplit_once('_').filter(|(_, end)| is_digest(end)).map_or(write.as_str(), |(begin, _)| begin);
        *found.entry(cut.to_owned()).or_default() += count;
    }
    found
}
