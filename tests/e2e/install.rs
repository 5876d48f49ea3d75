//! Skep on a Swarm, as `examples/install` has it: made by the docker CLI, taken over by the Skep that runs in it, which then
//! replaces itself, and is brought back by Swarm when a new one does not come up.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker::{self, docker, try_docker};
use crate::support::hive::Stay;
use crate::support::image::{Image, user};
use crate::support::stack::unique;

/// The stack under a name of its own, with secrets of its own; removed when dropped.
struct Installed {
    name: String,
    folder: TempDir,
    compose: String,
}

impl Installed {
    /// Made by the docker CLI, and healthy.
    fn by_the_docker_cli(image: &Image) -> Self {
        let name = unique("install");
        let folder = TempDir::with_prefix("skep-e2e-install-").unwrap();
        let compose = example("compose.yaml")
            // Judged sooner than people need it.
            .replace("monitor: 30s", "monitor: 5s")
            .replace("monitor: 10s", "monitor: 3s")
            .replace("interval: 5s", "interval: 1s")
            .replace("name: skep-tls-", &format!("name: {name}-"));
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let installed = Self { name, folder, compose };
        for (what, text) in [("cert", made.cert.pem()), ("key", made.signing_key.serialize_pem())] {
            let file = installed.write(what, &text);
            docker(&["secret", "create", &format!("{}-{what}", installed.name), &file]);
        }
        let file = installed.write("compose.yaml", &installed.compose);
        let deployed = Command::new("docker")
            .args(["stack", "deploy", "--resolve-image", "never", "-c", &file, &installed.name])
            .envs(installed.variables(image))
            .output()
            .unwrap();
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        installed.until_healthy(image);
        installed
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn variables(&self, image: &Image) -> [(&'static str, String); 3] {
        let group = user().split(':').nth(1).unwrap().to_owned();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The one that is published already stays.
        let published =
            docker::service(&self.service()).and_then(|it| it["Endpoint"]["Ports"][0]["PublishedPort"].as_u64());
        let port = published.unwrap_or_else(|| port.into());
        [("SKEP_IMAGE", image.0.clone()), ("DOCKER_GROUP", group), ("SKEP_PORT", port.to_string())]
    }

    /// The manifest of the example, with this compose file, as its README puts them together.
    fn manifest(&self, image: &Image, compose: &str) -> String {
        let variables = self.variables(image).map(|(name, value)| format!("{name}: {value:?}")).join(", ");
        let indented: String = compose.lines().map(|line| format!("  {line}\n")).collect();
        let head: String = example("skep.yml")
            .lines()
            .map(|line| match line {
                "name: skep" => format!("name: {}\n", self.name),
                line if line.starts_with("variables:") => format!("variables: {{ {variables} }}\n"),
                line => format!("{line}\n"),
            })
            .collect();
        head + &indented
    }

    fn service(&self) -> String {
        format!("{}_skep", self.name)
    }

    fn containers(&self, filters: &[&str]) -> Vec<String> {
        let label = format!("label=com.docker.swarm.service.name={}", self.service());
        let mut arguments = vec!["ps", "-q", "--no-trunc", "--filter", &label];
        arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        docker(&arguments).lines().map(str::to_owned).collect()
    }

    /// Waits on the engine's events until a container of this image is healthy; gives it.
    fn until_healthy(&self, image: &Image) -> String {
        // Not by `ancestor`: one of these images is made of another.
        let of = |it: &String| try_docker(&["inspect", "-f", "{{.Config.Image}}", it]);
        let runs = |it: &String| of(it).is_ok_and(|found| found == image.0);
        self.until(&format!("{} is healthy", image.0), "type=container", || {
            self.containers(&["health=healthy"]).into_iter().find(runs)
        })
    }

    fn until<T>(&self, what: &str, events_of: &str, found: impl Fn() -> Option<T>) -> T {
        let mut events = Command::new("docker")
            .args(["events", "--since", "1s", "--filter", events_of, "--format", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let end = Instant::now() + Duration::from_secs(180);
        let found = loop {
            if let Some(found) = found() {
                break Some(found);
            }
            if told.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
                break None;
            }
        };
        let _ = events.kill();
        let _ = events.wait();
        found.unwrap_or_else(|| {
            let logs =
                Command::new("docker").args(["service", "logs", "--tail", "20", &self.service()]).output().unwrap();
            let tasks = docker(&["service", "ps", "--no-trunc", &self.service()]);
            panic!("not so: {what}\n{tasks}\n{}", String::from_utf8_lossy(&logs.stderr))
        })
    }

    /// The command line in the container that is healthy now.
    fn skep(&self, arguments: &[&str], input: &str) -> Output {
        let container = self.containers(&["health=healthy"]).pop().expect("one is healthy");
        let mut child = Command::new("docker")
            .args(["exec", "-i", "-e", "SKEP_SERVER=https://127.0.0.1:7717"])
            .args(["-e", "SSL_CERT_FILE=/run/secrets/skep-tls.crt", &container, "skep"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.skep(arguments, input);
        assert!(output.status.success(), "skep {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Follows the newest deployment to its end; gives the exit code.
    fn wait(&self) -> Option<i32> {
        self.skep(&["wait", &self.name, "--timeout", "3m"], "").status.code()
    }

    /// What the data folder says of its format.
    fn format(&self) -> String {
        let container = self.containers(&["health=healthy"]).pop().expect("one is healthy");
        let to = self.folder.path().join("format");
        docker(&["cp", &format!("{container}:/var/lib/skep/format"), &to.display().to_string()]);
        fs::read_to_string(to).unwrap()
    }

    fn stack(&self) -> Value {
        serde_json::from_str(&self.must(&["get", "stack", &self.name, "-o", "json"], "")).unwrap()
    }

    /// Asks for a version that does not come up, and waits until Swarm has brought the good one back.
    fn fails_with(&self, bad: &Image, good: &Image) {
        let update = || docker::service(&self.service()).map(|service| service["UpdateStatus"].clone());
        let before = update().map(|update| update["StartedAt"].clone());
        self.must(&["deploy", &self.name, "--set", &format!("SKEP_IMAGE={}", bad.0)], "");
        self.until("Swarm goes back", "type=service", || {
            let update = update().filter(|update| Some(&update["StartedAt"]) != before.as_ref())?;
            update["State"].as_str()?.starts_with("rollback_").then_some(())
        });
        self.until_healthy(good);
        let tasks = || docker(&["service", "ps", "--no-trunc", &self.service()]);
        assert_eq!(self.wait(), Some(11), "the version failed, and the last good one is back\n{}", tasks());
        let stack = self.stack();
        assert_eq!(stack["phase"], "RolledBack", "{stack:#}");
        assert!(stack["held"].to_string().contains(&bad.0), "{stack:#}");
        assert!(stack["live"].to_string().contains(&good.0), "{stack:#}");
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // Nobody is left to ask: what keeps the stack is the stack.
        let _ = try_docker(&["service", "rm", &self.service()]);
        docker::remove_stack(&self.name);
        for what in ["cert", "key"] {
            let _ = try_docker(&["secret", "rm", &format!("{}-{what}", self.name)]);
        }
        let label = "label=dev.skep.claim";
        for claim in docker(&["config", "ls", "-q", "--filter", label]).lines() {
            let _ = try_docker(&["config", "rm", claim]);
        }
    }
}

fn example(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/install").join(file)).unwrap()
}

/// Without the port of the host, for which a task of a bad version would wait a minute.
fn without_port(compose: &str) -> String {
    let port = |line: &&str| line.contains("target: 7717") || line.trim() == "ports:";
    compose.lines().filter(|line| !port(line)).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn skep_keeps_its_own_stack_replaces_itself_and_comes_back_when_a_new_one_does_not_come_up() {
    let _nobody = Stay::nobody().await;
    let first = Image::build();
    let second = first.changed("2", "LABEL second=yes");
    let crashes = first.changed("crashes", r#"ENTRYPOINT ["/usr/bin/skep", "no-such-command"]"#);
    // This one has opened the store, and read it, by the time it finds that there is no such certificate.
    let crashes_late = first.changed("late", r#"CMD ["serve", "--tls-cert", "/nothing", "--tls-key", "/nothing"]"#);
    let installed = Installed::by_the_docker_cli(&first);
    let (name, before) = (&installed.name, installed.containers(&[]));

    installed.must(&["adopt", name, "-f", "-", "--wait"], &installed.manifest(&first, &installed.compose));
    assert_eq!(installed.containers(&[]), before, "no task is restarted");
    assert!(installed.must(&["diff", name], "").contains("no difference"));

    // Another version: the one who was told is not the one who sees it through.
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", second.0)], "");
    installed.until_healthy(&second);
    assert_eq!(installed.wait(), Some(0));
    assert_eq!(installed.stack()["phase"], "Converged");

    let with_port = installed.containers(&[]);
    installed.must(&["apply", "-f", "-"], &installed.manifest(&second, &without_port(&installed.compose)));
    installed.until("a container without the port is healthy", "type=container", || {
        installed.containers(&["health=healthy"]).into_iter().find(|it| !with_port.contains(it))
    });
    assert!(docker::service(&installed.service()).unwrap()["Endpoint"]["Ports"].is_null());
    assert_eq!(installed.wait(), Some(0));

    installed.fails_with(&crashes, &second);
    installed.fails_with(&crashes_late, &second);
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", first.0)], "");
    installed.until_healthy(&first);
    assert_eq!(installed.wait(), Some(0), "the next good version flows");
}

#[tokio::test]
async fn a_new_version_that_dies_on_the_way_to_its_format_is_taken_back_and_the_old_one_opens_the_store() {
    let _nobody = Stay::nobody().await;
    let first = Image::build();
    let dies = |point: &str| first.changed(point, &format!("ENV SKEP_TRIAL_FORMAT={point}"));
    let (before, during, after, nowhere) = (dies("before"), dies("during"), dies("after"), dies("nowhere"));
    let installed = Installed::by_the_docker_cli(&first);
    let name = &installed.name;
    let compose = without_port(&installed.compose);
    installed.must(&["adopt", name, "-f", "-", "--wait"], &installed.manifest(&first, &installed.compose));
    let with_port = installed.containers(&[]);
    installed.must(&["apply", "-f", "-"], &installed.manifest(&first, &compose));
    installed.until("a container without the port is healthy", "type=container", || {
        installed.containers(&["health=healthy"]).into_iter().find(|it| !with_port.contains(it))
    });
    assert_eq!(installed.wait(), Some(0));

    for bad in [&before, &during, &after] {
        installed.fails_with(bad, &first);
        assert_eq!(installed.format(), "skep data format 1\n", "{}", bad.0);
    }
    // One that gets there; and the version before can be put in its place all the same.
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", nowhere.0)], "");
    installed.until_healthy(&nowhere);
    assert_eq!(installed.wait(), Some(0));
    installed.until("the new format", "type=container", || {
        (installed.format() == "skep data format 2 readable from 1\n").then_some(())
    });
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", first.0)], "");
    installed.until_healthy(&first);
    assert_eq!(installed.wait(), Some(0));
    assert_eq!(installed.format(), "skep data format 1\n");
}
