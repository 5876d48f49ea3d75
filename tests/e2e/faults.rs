//! What is between Skep and the world goes wrong in every way there is: the way to the engine is cut, silent, slow, answers
//! with errors and with garbage; the engine is stopped and killed; the git host sends garbage, half a pack and nothing; the
//! disk is full. Skep waits, says so, and goes on; no version is blamed, nothing is done twice.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine_proxy::{Manner as Way, Proxy};
use crate::git_http::Manner;
use crate::support::docker;
use crate::support::fleet::Fleet;
use crate::support::graphql::Client;
use crate::support::hive::{Hive, Settings, Stay};
use crate::support::stack::{Subject, unique};
use crate::support::watch::Watch;

fn manifest(stack: &str, release: &str) -> String {
    format!(
        r#"kind: Stack
name: {stack}
policy: {{ monitor: 500ms, progressDeadline: 20s, totalDeadline: 10m }}
inline: |
  services:
    web:
      image: skep-example:1
      command: [serve]
      environment: {{ RELEASE: "{release}" }}
      stop_signal: SIGKILL
      deploy:
        update_config: {{ monitor: 500ms, order: start-first }}
        restart_policy: {{ delay: 500ms }}
"#
    )
}

async fn ask_for(client: &Client, stack: &str, release: &str) {
    client.insist("applyStack", &json!({ "manifest": manifest(stack, release) })).await;
}

async fn until_runs(watch: &mut Watch, generation: u64) {
    let there = |it: &Value| it["phase"] == "Converged" && it["observedGeneration"] == generation;
    watch.until(&format!("converged in generation {generation}"), 150, there).await;
}

/// Every deployment of a stack has converged, and nothing is held.
async fn unblamed(client: &Client, stack: &str, deployments: usize) {
    let all = client.deployments(stack).await;
    let phases: Vec<&Value> = all.iter().map(|it| &it["phase"]).collect();
    assert_eq!(phases, vec!["Converged"; deployments], "{all:#?}");
    assert_eq!(client.stack(stack).await["held"], json!([]));
}

#[tokio::test]
#[ignore = "minutes, one fault after another: `make soak` runs it"]
async fn whatever_the_way_to_the_engine_does_a_deployment_goes_on_when_it_is_well_again() {
    let _nobody = Stay::nobody().await;
    let folder = TempDir::with_prefix("skep-e2e-way-").unwrap();
    let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let engine = engine.strip_prefix("unix://").expect("an engine at a socket").to_owned();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), engine.as_ref());
    let hive = Hive::with(Settings { docker: Some(proxy.url()), ..Settings::default() });
    let (client, stack) = (hive.client(), unique("way"));
    let mut watch = Watch::stack(&client, &stack);
    ask_for(&client, &stack, "1").await;
    until_runs(&mut watch, 1).await;

    let slow = Duration::from_millis(300);
    let all = [Way::Refuse, Way::Status(500), Way::Half, Way::Noise, Way::Nonsense, Way::Slow(slow), Way::Silent];
    let few = std::env::var("SKEP_FAULTS").is_err();
    let mut generation = 1;
    for way in all.into_iter().take(if few { 4 } else { all.len() }) {
        generation += 1;
        let mark = proxy.mark();
        proxy.behave(way);
        ask_for(&client, &stack, &generation.to_string()).await;
        if !matches!(way, Way::Slow(_)) {
            // What is in the way is said, and nothing else becomes of it.
            let said = |it: &Value| {
                let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
                it["generation"] == generation
                    && conditions.iter().any(|it| it["type"] == "Ready" && it["reason"] == "EngineUnreachable")
            };
            watch.until(&format!("told of {way:?}"), 60, said).await;
            proxy.behave(Way::Pass);
        }
        until_runs(&mut watch, generation).await;
        proxy.behave(Way::Pass);
        assert_eq!(docker::running_releases(&format!("{stack}_web")), [generation.to_string()], "{way:?}");
        unblamed(&client, &stack, usize::try_from(generation).unwrap()).await;
        let calls = proxy.since(mark);
        let writes =
            calls.iter().filter(|it| it.writes() && it.status / 100 == 2 && it.place().starts_with("services/"));
        assert_eq!(writes.count(), 1, "{way:?}: written once, {calls:#?}");
    }
    assert!(hive.cli(&["delete", &stack, "--yes"]).status.success());
}

#[tokio::test]
#[ignore = "an engine of its own, twice ended: `make soak` runs it"]
async fn an_engine_that_is_stopped_and_killed_in_the_middle_of_deployments_is_waited_for() {
    let _nobody = Stay::nobody().await;
    let fleet = Fleet::start(1);
    let engine = &fleet.engines[0];
    let hive = Hive::with(Settings { docker: Some(engine.url()), ..Settings::default() });
    let (client, stack) = (hive.client(), unique("stop"));
    let mut watch = Watch::stack(&client, &stack);
    ask_for(&client, &stack, "1").await;
    until_runs(&mut watch, 1).await;
    for generation in [2, 3] {
        ask_for(&client, &stack, &generation.to_string()).await;
        watch.until("taken up", 20, |it| it["generation"] == generation).await;
        if generation == 2 {
            engine.stop()
        } else {
            engine.kill()
        }
        watch.until("told", 60, |it| it["phase"] == "Unknown" || it.to_string().contains("does not answer")).await;
        engine.start();
        until_runs(&mut watch, generation).await;
    }
    // An engine that comes back begins all tasks anew; that is not the version's fault either.
    unblamed(&client, &stack, 3).await;
}

#[tokio::test]
async fn a_git_host_that_sends_garbage_half_a_pack_or_nothing_changes_nothing_and_is_asked_again() {
    let mut subject = Subject::running(Stay::alone().await, "git").await;
    let versions = subject.versions();
    let garbage = vec![Manner::Garbage(b"\0\x01 no packet at all".to_vec()), Manner::HalfPacks, Manner::SpoiltPacks];
    let silent = vec![Manner::Status(500), Manner::Hang];
    let few = std::env::var("SKEP_FAULTS").is_err();
    for (number, manner) in garbage.into_iter().chain(silent).take(if few { 2 } else { 5 }).enumerate() {
        subject.hive.git.behave(manner.clone());
        let release = (number + 2).to_string();
        let commit = subject.push(&release, crate::support::compose::Web::Good);
        let told = |it: &Value| {
            let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
            let of = |kind: &str| conditions.iter().any(|it| it["type"] == kind && it["status"] == "False");
            of("SourceReady") || it.to_string().contains("SourceUnreachable")
        };
        subject.watch.until(&format!("told of {manner:?}"), 90, told).await;
        if number == 0 {
            assert_eq!(subject.versions(), versions, "{manner:?}: nothing was written");
        }
        subject.hive.git.behave(Manner::Serve);
        subject.until_converged_on(&commit).await;
        subject.assert_runs(&release);
    }
    assert_eq!(subject.client.stack(&subject.name).await["held"], json!([]));
}

/// A small disk, gone when dropped.
struct Disk(PathBuf);

impl Disk {
    fn of(megabytes: u32) -> Self {
        let folder = TempDir::with_prefix("skep-e2e-disk-").unwrap().keep();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).status().unwrap();
        assert!(mounted.success(), "a small disk can only be mounted by root");
        Self(folder)
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_leaves_what_runs_and_is_over_when_there_is_room() {
    let _nobody = Stay::nobody().await;
    let disk = Disk::of(48);
    let hive = Hive::with(Settings { below: Some(disk.0.clone()), ..Settings::default() });
    let (client, stack) = (hive.client(), unique("disk"));
    let mut watch = Watch::stack(&client, &stack);
    ask_for(&client, &stack, "1").await;
    until_runs(&mut watch, 1).await;
    let name = format!("{stack}_web");
    let version = docker::version_of(&name);

    disk.fill();
    // It may take some writes before the room that the store has of its own is used up; then one is refused.
    let mut acknowledged = Vec::new();
    let refused = loop {
        let (wide, name) = ("x".repeat(3000), unique("wide"));
        let text = manifest(&name, &wide).replace("policy: {", "policy: { mode: observe,");
        let document = format!(
            "mutation {{ applyStack(input: {}) {{ userErrors {{ code message }} }} }}",
            crate::support::graphql::literal(&json!({ "manifest": text }))
        );
        let (status, answer) = client.ask(&document).await;
        if status != 200 || answer.get("errors").is_some() || answer["data"]["applyStack"]["userErrors"] != json!([]) {
            break format!("{status} {answer}");
        }
        acknowledged.push(name);
        assert!(acknowledged.len() < 20_000, "a full disk takes everything");
    };
    assert!(refused.contains("disk") || refused.contains("store") || refused.contains("space"), "{refused}");
    assert_eq!(docker::version_of(&name), version, "what runs is left as it is");

    let ready = reqwest::get(format!("http://{}/readyz", hive.address)).await.unwrap();
    assert_eq!(ready.status().as_u16(), 503, "who watches over it is told");
    let said = ready.text().await.unwrap();
    assert!(said.starts_with("the store takes no writes") && said.contains("skep doctor"), "{said}");

    disk.free();
    // It ends, so that whoever keeps it starts it again: here the test does.
    let end = Instant::now() + Duration::from_secs(30);
    while !hive.has_ended() {
        assert!(Instant::now() < end, "it goes on though nothing can be recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hive.restart();
    for name in acknowledged.iter().rev().take(50) {
        assert_eq!(client.stack(name).await["name"], json!(name), "it was acknowledged");
    }
    ask_for(&client, &stack, "2").await;
    until_runs(&mut watch, 2).await;
    assert_eq!(docker::running_releases(&name), ["2"]);
    assert!(hive.cli(&["delete", &stack, "--yes"]).status.success());
}
