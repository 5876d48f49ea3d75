//! The engine, as others see and change it: by its own command line.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs docker; gives what it prints, or what it says when it fails.
pub(crate) fn try_docker(arguments: &[&str]) -> Result<String, String> {
    answer(Command::new("docker").args(arguments))
}

/// The same, against this engine; one that takes questions and does not answer them is given up.
pub(crate) fn try_docker_at(url: &str, arguments: &[&str]) -> Result<String, String> {
    answer(Command::new("timeout").args(["60", "docker", "-H", url]).args(arguments))
}

fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs docker, which must succeed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Names of the objects of a kind (`service`, `network`, `config`, `secret`) that carry a label.
pub(crate) fn labelled(kind: &str, label: &str) -> Vec<String> {
    let mut names = lines(&docker(&[kind, "ls", "--filter", &format!("label={label}"), "--format", "{{.Name}}"]));
    names.sort();
    names
}

/// Names of a stack's objects of a kind.
pub(crate) fn of_stack(kind: &str, stack: &str) -> Vec<String> {
    labelled(kind, &format!("com.docker.stack.namespace={stack}"))
}

/// A service as the engine has it.
pub(crate) fn service(name: &str) -> Option<Value> {
    let text = try_docker(&["service", "inspect", name]).ok()?;
    serde_json::from_str::<Vec<Value>>(&text).unwrap().pop()
}

/// Grows with every change of a service, the engine's own included; with its spec it tells whether anybody wrote to it.
pub(crate) fn version_of(name: &str) -> u64 {
    service(name).expect(name)["Version"]["Index"].as_u64().unwrap()
}

/// The value of a variable in a service's spec.
pub(crate) fn variable(service_json: &Value, variable: &str) -> Option<String> {
    env(&service_json["Spec"]["TaskTemplate"], variable)
}

fn env(task_template: &Value, variable: &str) -> Option<String> {
    let all = task_template["ContainerSpec"]["Env"].as_array()?;
    all.iter().find_map(|it| it.as_str()?.strip_prefix(variable)?.strip_prefix('=').map(str::to_owned))
}

/// `RELEASE` of every task of a service that runs now, as it was started.
pub(crate) fn running_releases(name: &str) -> Vec<String> {
    let ids = lines(&docker(&["service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", name]));
    if ids.is_empty() {
        return Vec::new();
    }
    let arguments: Vec<&str> = ["inspect"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let tasks: Vec<Value> = serde_json::from_str(&docker(&arguments)).unwrap();
    let running = tasks.iter().filter(|task| task["Status"]["State"] == "running");
    running.map(|task| env(&task["Spec"], "RELEASE").unwrap_or_default()).collect()
}

/// Waits on the engine's events until a service is as wanted (`None`: it is not there); fails the test otherwise.
pub(crate) fn until_service(name: &str, what: &str, seconds: u64, wanted: impl Fn(Option<&Value>) -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut events = Command::new("docker")
        .args(["events", "--since", "1s", "--filter", "type=service", "--format", "{{.Actor.Attributes.name}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let found = loop {
        if wanted(service(name).as_ref()) {
            break true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if told.recv_timeout(left).is_err() {
            break false;
        }
    };
    let _ = events.kill();
    let _ = events.wait();
    assert!(found, "{name} is not {what} within {seconds} s: {:#}", service(name).unwrap_or_default());
}

/// Removes what is left of a stack, its volumes too: they are this test's own. Networks and volumes go when the tasks that
/// use them have gone, and the engine does not say when that is.
pub(crate) fn remove_stack(stack: &str) {
    for _ in 0..100 {
        let mut left = false;
        for kind in ["service", "config", "secret", "network", "volume"] {
            for name in of_stack(kind, stack) {
                left |= try_docker(&[kind, "rm", &name]).is_err();
            }
        }
        if !left {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Removes the claims of Skeps that are gone, so that the next may claim. One that lives on this machine is not robbed.
pub(crate) fn clear_left_claims() {
    let claims = labelled("config", "dev.skep.claim");
    if claims.is_empty() {
        return;
    }
    let here = fs::read_link("/proc/self/ns/net").ok();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        // One in another network namespace is another machine's, as far as engines go.
        let elsewhere = fs::read_link(entry.path().join("ns/net")).is_ok_and(|net| Some(net) != here);
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = command.split('\0');
        let is_skep = words.next().is_some_and(|program| program == "skep" || program.ends_with("/skep"));
        assert!(
            elsewhere || !(is_skep && words.next() == Some("serve")),
            "another Skep keeps this Swarm: process {:?}, {}; stop it first (make demo-stop)",
            entry.file_name(),
            command.replace('\0', " ")
        );
    }
    for claim in claims {
        docker(&["config", "rm", &claim]);
    }
}
