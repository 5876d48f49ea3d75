//! Stacks made by the docker CLI are taken over, and handed back to it. Not one of their containers is replaced.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::git_http::Repo;
use crate::support::docker::{self, docker};
use crate::support::hive::{Hive, Stay};
use crate::support::stack::unique;

const STACKS: usize = 20;
const COMPOSE: &str = r#"services:
  web:
    image: skep-example:1
    command: [serve]
    environment: { GREETING: hello }
    networks: [front]
    configs: [{ source: site, target: /etc/site }]
    secrets: [key]
    stop_grace_period: 1s
    deploy: { replicas: 1, labels: { team: hive } }
  idle:
    image: skep-example:1
    command: [serve]
    configs: [site]
    deploy: { replicas: 0 }
networks:
  front: {}
configs:
  site: { file: ./site.conf }
secrets:
  key: { file: ./key.txt }
"#;

/// Stacks that the CLI made. Removed when dropped, whoever keeps them then.
struct Made {
    names: Vec<String>,
    hive: Stay,
    files: TempDir,
    repo: Repo,
}

impl Made {
    fn new(hive: Stay) -> Self {
        let names: Vec<String> = (0..STACKS).map(|_| unique("adopt")).collect();
        let files = TempDir::with_prefix("skep-e2e-adopt-").unwrap();
        let content = [("stack.yml", COMPOSE), ("site.conf", "a setting\n"), ("key.txt", "a key that nobody reads\n")];
        for (name, text) in content {
            fs::write(files.path().join(name), text).unwrap();
        }
        let repo = Repo::create(hive.repositories(), &names[0]);
        repo.commit("main", &content);
        Self { names, hive, files, repo }
    }

    /// As a user of the CLI does it.
    fn deploy_by_cli(&self) {
        let file = path(&self.files.path().join("stack.yml"));
        for name in &self.names {
            docker(&["stack", "deploy", "--resolve-image", "never", "-c", &file, name]);
        }
    }

    /// One manifest for each, in a folder of their own.
    fn manifests(&self) -> TempDir {
        let folder = TempDir::with_prefix("skep-e2e-manifests-").unwrap();
        for name in &self.names {
            let text = format!(
                "kind: Stack\nname: {name}\nsource: {{ git: {:?}, ref: main, poll: 1h }}\ncompose: [stack.yml]\n\
                 policy: {{ monitor: 1s }}\n",
                self.repo.file_url()
            );
            fs::write(folder.path().join(format!("{name}.yml")), text).unwrap();
        }
        folder
    }

    fn containers(&self) -> BTreeSet<String> {
        let of = |name: &String| {
            let label = format!("label=com.docker.stack.namespace={name}");
            docker(&["ps", "-q", "--no-trunc", "--filter", &label]).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        self.names.iter().flat_map(of).collect()
    }

    /// Everything of the stacks as the engine has it, without what changes with every write.
    fn specs(&self, kinds: &[&str]) -> Vec<Value> {
        let all = self.names.iter().flat_map(|name| kinds.iter().map(move |kind| (kind, docker::of_stack(kind, name))));
        let mut specs = Vec::new();
        for (kind, names) in all {
            for name in names {
                let text = docker(&[kind, "inspect", &name]);
                let mut object = serde_json::from_str::<Vec<Value>>(&text).unwrap().pop().unwrap();
                if **kind == *"service" {
                    object = object["Spec"].take();
                }
                specs.push(object);
            }
        }
        specs
    }

    /// Waits on the engine's events until every stack has its container.
    fn until_running(&self, since: &str) {
        let mut events = Command::new("docker")
            .args([
                "events",
                "--since",
                since,
                "--filter",
                "type=container",
                "--filter",
                "event=start",
                "--format",
                ".",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let end = Instant::now() + Duration::from_secs(180);
        while self.containers().len() < self.names.len() {
            let left = end.saturating_duration_since(Instant::now());
            if told.recv_timeout(left).is_err() {
                break;
            }
        }
        let _ = events.kill();
        let _ = events.wait();
        assert_eq!(self.containers().len(), self.names.len(), "one container runs of each stack");
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for name in &self.names {
            self.hive.cli(&["delete", name, "--yes"]);
            docker::remove_stack(name);
        }
    }
}

fn run(hive: &Hive, arguments: &[&str]) -> String {
    let output = hive.cli(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "skep {arguments:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn path(folder: &Path) -> String {
    folder.display().to_string()
}

/// Labels of Skep's own on services, configs and secrets.
fn marks(objects: &[Value]) -> usize {
    let labels = |object: &Value| object.get("Spec").unwrap_or(object)["Labels"].as_object().cloned();
    objects.iter().filter_map(labels).flatten().filter(|(label, _)| label.starts_with("dev.skep.")).count()
}

/// Without Skep's labels.
fn unmarked(mut specs: Vec<Value>) -> Vec<Value> {
    for labels in specs.iter_mut().filter_map(|spec| spec["Labels"].as_object_mut()) {
        labels.retain(|label, _| !label.starts_with("dev.skep."));
    }
    specs
}

#[tokio::test]
async fn twenty_stacks_of_the_docker_cli_are_taken_over_and_handed_back_without_a_restart() {
    let made = Made::new(Stay::together().await);
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    made.deploy_by_cli();
    made.until_running(&since);
    let (containers, services) = (made.containers(), made.specs(&["service"]));
    let rest = made.specs(&["config", "secret", "network"]);
    let (folder, hive) = (made.manifests(), &*made.hive);
    let files = path(folder.path());

    let plans = run(hive, &["adopt", "--all", "-f", &files, "--dry-run"]);
    assert_eq!(plans.matches("6 to adopt; 0 unchanged").count(), STACKS, "{plans}");
    assert_eq!(plans.matches("cannot be read back and is taken to be unchanged").count(), STACKS, "{plans}");
    assert_eq!(made.specs(&["service"]), services, "a dry run writes nothing");

    run(hive, &["adopt", "--all", "-f", &files, "--wait", "--timeout", "5m"]);
    assert_eq!(made.containers(), containers);
    let adopted = made.specs(&["service"]);
    assert!(marks(&adopted) >= 4 * 2 * STACKS, "{adopted:#?}");
    assert_eq!(unmarked(adopted), services);
    assert_eq!(made.specs(&["config", "secret", "network"]), rest, "nothing else is touched");
    for name in &made.names {
        let plan = run(hive, &["diff", name]);
        assert!(plan.contains("no difference; 6 unchanged"), "{plan}");
    }

    for name in &made.names {
        run(hive, &["release", name]);
    }
    assert_eq!(made.specs(&["service"]), services);
    made.deploy_by_cli();
    assert_eq!(made.specs(&["service"]), services);
    assert_eq!(made.containers(), containers);
}

#[tokio::test]
async fn a_changed_file_is_planned_and_then_applied_with_the_adoption() {
    let mut made = Made::new(Stay::together().await);
    made.names.truncate(1);
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    made.deploy_by_cli();
    made.until_running(&since);
    let changed = COMPOSE.replace("hello", "good day");
    made.repo.commit(
        "main",
        &[("stack.yml", &changed), ("site.conf", "another setting\n"), ("key.txt", "a key that nobody reads\n")],
    );
    let (folder, name) = (made.manifests(), made.names[0].clone());
    let files = path(folder.path());

    let refused = made.hive.cli(&["adopt", "other", "-f", &files]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let plan = run(&made.hive, &["adopt", &name, "-f", &files, "--dry-run"]);
    assert!(plan.contains(&format!("Create Config {name}_site_")), "{plan}");
    assert!(plan.contains("its tasks are replaced"), "{plan}");
    run(&made.hive, &["adopt", &name, "-f", &files, "--wait"]);
    let web = docker::service(&format!("{name}_web")).unwrap();
    assert_eq!(docker::variable(&web, "GREETING").as_deref(), Some("good day"));
    let container = &web["Spec"]["TaskTemplate"]["ContainerSpec"];
    assert!(container["Configs"][0]["ConfigName"].as_str().unwrap().starts_with(&format!("{name}_site_")));
    assert_eq!(container["Secrets"][0]["SecretName"], format!("{name}_key"));
    assert!(docker::of_stack("config", &name).contains(&format!("{name}_site")), "what was not taken over stays");

    // What Skep has made itself loses its labels as well when it is handed back.
    let (containers, kinds) = (made.containers(), ["service", "config", "secret"]);
    assert!(marks(&made.specs(&kinds[1..])) > 0);
    run(&made.hive, &["release", &name]);
    assert_eq!(marks(&made.specs(&kinds)), 0);
    assert_eq!(made.containers(), containers);
}

#[tokio::test]
async fn what_runs_is_taken_over_without_its_files() {
    let mut made = Made::new(Stay::together().await);
    made.names.truncate(2);
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    made.deploy_by_cli();
    made.until_running(&since);
    let (containers, services) = (made.containers(), made.specs(&["service"]));
    let rest = made.specs(&["config", "secret", "network"]);
    let hive = &*made.hive;

    // As files, to be looked at first.
    let folder = TempDir::with_prefix("skep-e2e-written-").unwrap();
    let written = run(hive, &["adopt", "--from-swarm", &made.names[0], "--write", &path(folder.path())]);
    let file = folder.path().join(format!("{}.yml", made.names[0]));
    assert_eq!(written.trim(), path(&file));
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("GREETING: hello") && text.contains("a setting") && text.contains("external: true"),
        "{text}"
    );
    let again = hive.cli(&["adopt", "--from-swarm", &made.names[0], "--write", &path(folder.path())]);
    assert_eq!(again.status.code(), Some(5), "no file is written over: {again:?}");
    run(hive, &["adopt", &made.names[0], "-f", &path(&file), "--wait"]);

    // Without a name it is whatever runs and is not declared.
    let all = folder.path().join("all");
    run(hive, &["adopt", "--from-swarm", "--write", &path(&all)]);
    assert!(
        !all.join(format!("{}.yml", made.names[0])).exists() && all.join(format!("{}.yml", made.names[1])).exists()
    );

    // And at once.
    let plan = run(hive, &["adopt", "--from-swarm", &made.names[1], "--dry-run"]);
    assert!(plan.contains("5 to adopt; 0 unchanged") && !plan.contains("left alone"), "{plan}");
    run(hive, &["adopt", "--from-swarm", &made.names[1], "--wait"]);
    assert_eq!(made.containers(), containers);
    assert_eq!(unmarked(made.specs(&["service"])), services);
    assert_eq!(made.specs(&["config", "secret", "network"]), rest, "nothing else is touched");
    for name in &made.names {
        let plan = run(hive, &["diff", name]);
        assert!(plan.contains("no difference"), "{plan}");
        let declared = hive.cli(&["adopt", "--from-swarm", name]);
        assert!(String::from_utf8_lossy(&declared.stderr).contains("is declared"), "{declared:?}");
    }
    let none = hive.cli(&["adopt", "--from-swarm", "no-such-stack"]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
}

#[tokio::test]
async fn a_file_that_depends_on_the_rules_of_the_cli_is_taken_over_with_them() {
    let mut made = Made::new(Stay::together().await);
    made.names.truncate(1);
    let text =
        COMPOSE.replace("command: [serve]\n    environment", "command: [serve]\n    privileged: true\n    environment");
    fs::write(made.files.path().join("stack.yml"), &text).unwrap();
    made.repo.commit("main", &[("stack.yml", &text)]);
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    made.deploy_by_cli();
    made.until_running(&since);
    let (containers, name) = (made.containers(), made.names[0].clone());
    let folder = made.manifests();
    let file = folder.path().join(format!("{name}.yml"));
    let before = fs::read_to_string(&file).unwrap();
    let dry = made.hive.cli(&["adopt", &name, "-f", &path(&file), "--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    assert!(String::from_utf8_lossy(&dry.stderr).contains("compat: cli"), "{dry:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "a dry run writes nothing");
    run(&made.hive, &["adopt", &name, "-f", &path(&file), "--wait"]);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        before.replace(&format!("name: {name}\n"), &format!("name: {name}\ncompat: cli\n"))
    );
    assert_eq!(made.containers(), containers);
    // The manifest as it stands now changes nothing.
    run(&made.hive, &["apply", "-f", &path(&file), "--wait"]);
    assert_eq!(made.containers(), containers);
}

#[tokio::test]
async fn values_that_were_in_the_environment_of_whoever_deployed_it_do_not_become_empty() {
    let mut made = Made::new(Stay::together().await);
    made.names.truncate(1);
    let (name, text) = (made.names[0].clone(), COMPOSE.replace("GREETING: hello", "GREETING: \"${WHOM}\""));
    let file = made.files.path().join("stack.yml");
    fs::write(&file, &text).unwrap();
    made.repo.commit("main", &[("stack.yml", &text), (".env", "WHOM=everybody\n")]);
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    let deploy = ["stack", "deploy", "--resolve-image", "never", "-c", &path(&file), &name];
    let done = Command::new("docker").env("WHOM", "everybody").args(deploy).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    made.until_running(&since);
    let (containers, folder) = (made.containers(), made.manifests());
    let manifest = folder.path().join(format!("{name}.yml"));
    let before = fs::read_to_string(&manifest).unwrap();
    run(&made.hive, &["adopt", &name, "-f", &path(&manifest), "--wait"]);
    assert_eq!(fs::read_to_string(&manifest).unwrap(), before, "read by the specification, the file means what runs");
    assert_eq!(made.containers(), containers);
}
