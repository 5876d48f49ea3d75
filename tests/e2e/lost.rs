//! All is lost but the manifests and the key: a new Skep takes the place of the lost one, and nothing is restarted. And where
//! there is a backup: what is restored from it only looks on, until it is told to claim.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker::{self, docker};
use crate::support::hive::Stay;
use crate::support::stack::unique;

/// A Skep with a data folder; killed when dropped.
struct Skep {
    child: Child,
    address: String,
}

impl Skep {
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("skep: listening on ").map(str::to_owned)).unwrap();
        thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn cli(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.env_remove("SKEP_TOKEN").args(["--server", &self.address, "--data"]).arg(data);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn must(&self, data: &Path, arguments: &[&str]) -> String {
        let output = self.cli(data, arguments);
        assert!(output.status.success(), "skep {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Follows a stack until it is as wanted; fails the test after half a minute.
    fn until(&self, data: &Path, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.env_remove("SKEP_TOKEN").args(["--server", &self.address, "--data"]).arg(data);
        command.args(["get", "stack", name, "-o", "json", "-w"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut watch = command.spawn().unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let end = Instant::now() + Duration::from_secs(30);
        let mut last = Value::Null;
        while !wanted(&last) {
            let Ok(line) = told.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
            last = serde_json::from_str(&line).unwrap();
        }
        let _ = watch.kill();
        let _ = watch.wait();
        assert!(wanted(&last), "{name} is not {what}: {last:#}");
    }
}

impl Drop for Skep {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stack with one of each kind of object.
fn declared(name: &str) -> String {
    format!(
        "kind: Stack\nname: {name}\npolicy: {{ images: never, monitor: 1s }}\nvariables: {{ KEY: {{ value: hush, secret: true }} \
         }}\ninline: |\n  services:\n    web: {{ image: 'skep-example:1', networks: [inner], secrets: [key], configs: [greeting], \
         stop_grace_period: 1s, environment: {{ PRICE: 5$$ }} }}\n  networks: {{ inner: {{}} }}\n  configs: {{ greeting: {{ content: \
         hello }} }}\n  secrets: {{ key: {{ environment: KEY }} }}\n"
    )
}

#[tokio::test]
async fn a_new_skep_takes_the_place_of_one_whose_data_is_lost_and_restarts_nothing() {
    let _nobody = Stay::nobody().await;
    let folder = TempDir::with_prefix("skep-e2e-lost-").unwrap();
    let (lost, new) = (folder.path().join("lost"), folder.path().join("new"));
    let name = unique("lost");
    let manifest = folder.path().join("stack.yml");
    fs::write(&manifest, declared(&name)).unwrap();
    let manifest = manifest.to_str().unwrap();
    let before = Skep::start(&lost, &[]);
    before.must(&lost, &["apply", "-f", manifest, "--wait"]);
    drop(before);
    let service = format!("{name}_web");
    let written = docker::version_of(&service);
    let containers =
        || docker(&["ps", "-q", "--no-trunc", "--filter", &format!("label=com.docker.swarm.service.name={service}")]);
    let running = containers();
    assert!(!running.is_empty());
    // All that is left: the key, the manifest, and what the labels say.
    fs::create_dir(&new).unwrap();
    fs::rename(lost.join("seal.key"), new.join("seal.key")).unwrap();
    fs::remove_dir_all(&lost).unwrap();
    let labels = docker::service(&service).unwrap()["Spec"]["Labels"].clone();
    let instance = labels["dev.skep.instance"].as_str().unwrap();

    let skep = Skep::start(&new, &["--instance", instance]);
    skep.must(&new, &["apply", "-f", manifest]);
    let stack = || -> Value { serde_json::from_str(&skep.must(&new, &["get", "stack", &name, "-o", "json"])).unwrap() };
    // Not before a person's word.
    let waiting = skep.cli(&new, &["wait", &name, "--timeout", "3s"]);
    assert_eq!(waiting.status.code(), Some(12), "{waiting:?}");
    assert_eq!(skep.cli(&new, &["diff", &name]).status.code(), Some(0), "nothing would change");
    skep.must(&new, &["environment", "claim", "default"]);
    skep.must(&new, &["wait", &name, "--timeout", "1m"]);
    assert_eq!(stack()["phase"], "Converged");
    assert_eq!(docker::version_of(&service), written, "the service was not written to");
    assert_eq!(containers(), running, "no task was restarted");

    // It is kept from now on, and goes with all that belongs to it.
    let text = fs::read_to_string(manifest).unwrap().replace("skep-example:1", "skep-example:2");
    fs::write(manifest, text).unwrap();
    skep.must(&new, &["apply", "-f", manifest, "--wait"]);
    skep.must(&new, &["delete", &name, "--yes"]);
    for kind in ["service", "network", "config", "secret"] {
        assert_eq!(docker::of_stack(kind, &name), Vec::<String>::new(), "{kind}");
    }
    drop(skep);
    // Another id is not for a folder that has one.
    let other = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["serve", "--listen", "127.0.0.1:0", "--instance", "01kbvqjz9ex7h2e3s1q8f5a6b7", "--data"])
        .arg(&new)
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");
}

#[tokio::test]
async fn a_stack_whose_manifest_is_lost_too_is_made_again_of_what_runs() {
    let _nobody = Stay::nobody().await;
    let folder = TempDir::with_prefix("skep-e2e-lost-").unwrap();
    let (lost, new) = (folder.path().join("lost"), folder.path().join("new"));
    let name = unique("lost");
    let manifest = folder.path().join("stack.yml");
    fs::write(&manifest, declared(&name)).unwrap();
    let before = Skep::start(&lost, &[]);
    before.must(&lost, &["apply", "-f", manifest.to_str().unwrap(), "--wait"]);
    drop(before);
    let service = format!("{name}_web");
    let written = docker::version_of(&service);
    let labels = docker::service(&service).unwrap()["Spec"]["Labels"].clone();
    let instance = labels["dev.skep.instance"].as_str().unwrap();
    // Nothing is left but what runs.
    fs::remove_dir_all(&lost).unwrap();
    let skep = Skep::start(&new, &["--instance", instance]);
    skep.must(&new, &["environment", "claim", "default"]);
    skep.must(&new, &["adopt", "--from-swarm", &name, "--wait"]);
    assert_eq!(docker::version_of(&service), written, "the service was not written to");
    assert!(skep.must(&new, &["diff", &name]).contains("no difference"));
    // It is kept from now on: what is changed by hand is put back.
    docker(&["service", "update", "--detach", "--env-add", "PRICE=6", &service]);
    docker::until_service(&service, "the price is what it was", 30, |it| {
        it.and_then(|it| docker::variable(it, "PRICE")).as_deref() == Some("5$")
    });
    skep.must(&new, &["delete", &name, "--yes"]);
    assert_eq!(docker::of_stack("service", &name), Vec::<String>::new());
    drop(skep);
    docker::remove_stack(&name);
}

/// A condition of a stack, as `-o json` has it.
fn condition<'v>(stack: &'v Value, kind: &str) -> &'v Value {
    let all = stack["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|it| it["type"] == kind).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_restored_skep_writes_nothing_to_a_real_swarm_before_its_claim_and_the_old_one_nothing_after_it() {
    let _nobody = Stay::nobody().await;
    let folder = TempDir::with_prefix("skep-e2e-restored-").unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let name = unique("restored");
    let (manifest, backup) = (folder.path().join("stack.yml"), folder.path().join("skep.tar"));
    let (manifest, backup) = (manifest.to_str().unwrap(), backup.to_str().unwrap());
    let declare = |image: &str| {
        fs::write(manifest, declared(&name).replace("skep-example:1", &format!("skep-example:{image}"))).unwrap();
    };
    let service = format!("{name}_web");
    let image = || docker::service(&service).unwrap()["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();

    // The backup knows the first version; the second one runs when the Skep is lost.
    let before = Skep::start(&old, &[]);
    declare("1");
    before.must(&old, &["apply", "-f", manifest, "--wait"]);
    before.must(&old, &["backup", backup]);
    declare("2");
    before.must(&old, &["apply", "-f", manifest, "--wait"]);
    assert_eq!(image(), "skep-example:2");
    drop(before);
    let key = old.join("seal.key");
    let restored = Command::new(env!("CARGO_BIN_EXE_skep"))
        .arg("--data")
        .arg(&new)
        .args(["restore", backup, "--key", key.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");

    // It sees what is other than it knows, by the lost one and by hand, and leaves it.
    let skep = Skep::start(&new, &[]);
    docker(&["service", "update", "--detach", "--label-add", "hand=1", &service]);
    skep.until(&new, &name, "looked at", |it| it["drift"].to_string().contains("/Labels/hand"));
    let written = docker::version_of(&service);
    let hand = || docker::service(&service).unwrap()["Spec"]["Labels"]["hand"].clone();
    assert_eq!(hand(), "1");
    let stack: Value = serde_json::from_str(&skep.must(&new, &["get", "stack", &name, "-o", "json"])).unwrap();
    for (kind, status, reason) in [("Ready", "False", "Foreign"), ("Drifted", "True", "DriftDetected")] {
        let found = condition(&stack, kind);
        assert_eq!((&found["status"], &found["reason"]), (&status.into(), &reason.into()), "{stack:#}");
    }
    assert!(stack["message"].to_string().contains("skep environment claim default"), "{stack:#}");
    let differs = skep.cli(&new, &["diff", &name]);
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    assert!(String::from_utf8_lossy(&differs.stdout).contains("skep-example:2"), "{differs:?}");
    // What is asked of it waits, and it says for what.
    declare("3");
    let waiting = skep.cli(&new, &["apply", "-f", manifest, "--wait", "--timeout", "3s"]);
    assert_eq!(waiting.status.code(), Some(12), "{waiting:?}");
    assert!(String::from_utf8_lossy(&waiting.stderr).contains("skep environment claim default"), "{waiting:?}");
    assert_eq!(docker::version_of(&service), written, "the service was written to");

    skep.must(&new, &["environment", "claim", "default"]);
    skep.must(&new, &["wait", &name, "--timeout", "1m"]);
    assert_eq!(image(), "skep-example:3");
    assert_eq!(hand(), Value::Null);
    assert_eq!(skep.cli(&new, &["diff", &name]).status.code(), Some(0));
    drop(skep);

    // The one it is a copy of comes back, with the same id, and is not the one any more.
    docker(&["service", "update", "--detach", "--label-add", "hand=2", &service]);
    let written = docker::version_of(&service);
    let back = Skep::start(&old, &[]);
    declare("4");
    let waiting = back.cli(&old, &["apply", "-f", manifest, "--wait", "--timeout", "3s"]);
    assert_eq!(waiting.status.code(), Some(12), "{waiting:?}");
    back.until(&old, &name, "told whose it is", |it| condition(it, "Ready")["reason"] == "Foreign");
    let environments: Value = serde_json::from_str(&back.must(&old, &["get", "environments", "-o", "json"])).unwrap();
    assert_eq!(environments[0]["claim"]["state"], "Foreign", "{environments:#}");
    assert_eq!((docker::version_of(&service), hand()), (written, "2".into()), "the service was written to");
    drop(back);

    // The restored one is at home, also after a restart.
    let skep = Skep::start(&new, &[]);
    docker::until_service(&service, "put right", 30, |it| {
        it.is_some_and(|it| it["Spec"]["Labels"].get("hand").is_none())
    });
    skep.must(&new, &["delete", &name, "--yes"]);
    drop(skep);
    docker::remove_stack(&name);
}
