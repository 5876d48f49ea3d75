//! Skep on a Swarm, as `examples/install` has it: made by the very commands of its README, taken over by the Skep that runs in it,
//! which then replaces itself, and is brought back by Swarm when a new one does not come up. With the engine's socket, and with
//! haproxy in between.

use std::env;
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
use crate::support::image::{Image, SOCKET, socket, user};
use crate::support::stack::unique;

/// The blocks of commands in the README, in their order.
struct Readme {
    deploy: String,
    sign_in: String,
    adopt: String,
    update: String,
    deploy_with_proxy: String,
}

impl Readme {
    fn read() -> Self {
        let text = example("README.md");
        let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
        let blocks: Vec<String> = blocks.collect();
        let [deploy, sign_in, adopt, update, deploy_with_proxy] = blocks.try_into().expect("each block is run here");
        Self { deploy, sign_in, adopt, update, deploy_with_proxy }
    }

    /// Commands in a shell that knows the server.
    fn signed_in(&self, commands: &str) -> String {
        format!("{}\n{commands}", self.sign_in.lines().next().unwrap())
    }
}

/// The stack under a name of its own, with secrets of its own; removed when dropped.
struct Installed {
    name: String,
    /// What the commands run in: the example's files under this stack's names.
    folder: TempDir,
    /// The one that is used of the example's two.
    file: &'static str,
    compose: String,
    /// Between it and the engine.
    proxy: Option<Image>,
    /// Of the node, where it listens.
    port: u16,
}

impl Installed {
    /// Made by the docker CLI as the README says, and healthy.
    fn by_the_readme(image: &Image, proxy: Option<Image>) -> Self {
        let file = if proxy.is_some() { "compose.proxy.yaml" } else { "compose.yaml" };
        let folder = TempDir::with_prefix("skep-e2e-install-").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut installed = Self { name: unique("install"), folder, file, compose: String::new(), proxy, port };
        let source = |socket: &str| format!("source: {socket}, target: {SOCKET}");
        installed.compose = installed
            .named(&example(file))
            .replace(&source(SOCKET), &source(&socket()))
            // Judged sooner than people need it.
            .replace("monitor: 30s", "monitor: 5s")
            .replace("monitor: 10s", "monitor: 3s")
            .replace("interval: 5s", "interval: 1s");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let compose = installed.compose.clone();
        let files = [
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
            ("haproxy.cfg", example("haproxy.cfg")),
            ("skep.yml", installed.head(image)),
            (file, compose),
        ];
        for (name, text) in files {
            installed.write(name, &text);
        }
        let readme = Readme::read();
        installed.runs(image, if installed.proxy.is_some() { &readme.deploy_with_proxy } else { &readme.deploy });
        installed.until_healthy(image);
        installed
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A text of the example with this stack's names.
    fn named(&self, text: &str) -> String {
        ["tls-cert", "tls-key", "haproxy"]
            .iter()
            .fold(text.to_owned(), |text, what| text.replace(&format!("skep-{what}"), &format!("{}-{what}", self.name)))
    }

    /// Runs commands of the README, where the example's files are, with this stack's names; they must succeed.
    fn runs(&self, image: &Image, commands: &str) -> String {
        let mut text = self
            .named(commands)
            .replace("skep:0.1.0", &image.0)
            .replace("skep:0.2.0", &image.0)
            .replace("https://skep.example.org:7717", &format!("https://127.0.0.1:{}", self.port))
            .replace(SOCKET, &socket())
            .replace(" compose.yaml", &format!(" {}", self.file))
            // No registry has these images.
            .replace("docker stack deploy", "docker stack deploy --resolve-image never");
        if let Some(proxy) = &self.proxy {
            text = text.replace("haproxy:3.0-alpine", &proxy.0);
        }
        for before in [".yaml", "adopt", "deploy", "wait"] {
            text = text.replace(&format!("{before} skep"), &format!("{before} {}", self.name));
        }
        let here = Path::new(env!("CARGO_BIN_EXE_skep")).parent().unwrap();
        let path = format!("{}:{}", here.display(), env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-euc", &text])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("SKEP_PORT", self.port.to_string())
            .env("SSL_CERT_FILE", "cert.pem")
            .env_remove("SKEP_SERVER")
            .env_remove("SKEP_TOKEN")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{text}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the README has one do to be let in, from outside.
    fn sign_in(&self, readme: &Readme) -> String {
        let container = self.containers(&["health=healthy"]).pop().expect("one is healthy");
        let command = "docker cp CONTAINER:/var/lib/skep/admin.token .";
        assert!(example("README.md").contains(command));
        format!("{}\n{}", command.replace("CONTAINER", &container), readme.sign_in)
    }

    fn variables(&self, image: &Image) -> Vec<(&'static str, String)> {
        let group = user().split(':').nth(1).unwrap().to_owned();
        let mut all =
            vec![("SKEP_IMAGE", image.0.clone()), ("DOCKER_GROUP", group), ("SKEP_PORT", self.port.to_string())];
        all.extend(self.proxy.iter().map(|proxy| ("HAPROXY_IMAGE", proxy.0.clone())));
        all
    }

    /// The manifest of the example with its values, but for the compose file.
    fn head(&self, image: &Image) -> String {
        let variables =
            self.variables(image).iter().map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>();
        let variables = variables.join(", ");
        let lines = example("skep.yml");
        let lines = lines.lines().map(|line| match line {
            "name: skep" => format!("name: {}\n", self.name),
            line if line.starts_with("variables:") => format!("variables: {{ {variables} }}\n"),
            line => format!("{line}\n"),
        });
        lines.collect()
    }

    /// The same with a compose file.
    fn manifest(&self, image: &Image, compose: &str) -> String {
        let indented: String = compose.lines().map(|line| format!("  {line}\n")).collect();
        self.head(image) + &indented
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

    /// Follows the newest deployment to its end, which must be this one.
    fn ends_with(&self, exit: i32, why: &str) {
        let output = self.skep(&["wait", &self.name, "--timeout", "3m"], "");
        let tasks = || docker(&["service", "ps", "--no-trunc", &self.service()]);
        assert_eq!(output.status.code(), Some(exit), "{why}\n{output:?}\n{}", tasks());
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
        self.ends_with(11, "the version failed, and the last good one is back");
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
        for (kind, what) in [("secret", "tls-cert"), ("secret", "tls-key"), ("config", "haproxy"), ("config", "bad")] {
            let _ = try_docker(&[kind, "rm", &format!("{}-{what}", self.name)]);
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
    let (readme, installed) = (Readme::read(), Installed::by_the_readme(&first, None));
    let (name, before) = (&installed.name, installed.containers(&[]));
    let sign_in = installed.sign_in(&readme);

    installed.runs(&first, &format!("{sign_in}{}", readme.adopt));
    assert_eq!(installed.containers(&[]), before, "no task is restarted");
    assert!(installed.must(&["diff", name], "").contains("no difference"));

    // Another version: the one who was told is not the one who sees it through.
    let told = installed.runs(&second, &readme.signed_in(&readme.update));
    assert!(told.contains("converged"), "{told}");
    installed.until_healthy(&second);
    assert_eq!(installed.stack()["phase"], "Converged");

    let with_port = installed.containers(&[]);
    installed.must(&["apply", "-f", "-"], &installed.manifest(&second, &without_port(&installed.compose)));
    installed.until("a container without the port is healthy", "type=container", || {
        installed.containers(&["health=healthy"]).into_iter().find(|it| !with_port.contains(it))
    });
    assert!(docker::service(&installed.service()).unwrap()["Endpoint"]["Ports"].is_null());
    installed.ends_with(0, "it goes on without the port");

    installed.fails_with(&crashes, &second);
    installed.fails_with(&crashes_late, &second);
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", first.0)], "");
    installed.until_healthy(&first);
    installed.ends_with(0, "the next good version flows");
}

#[tokio::test]
async fn a_new_version_that_dies_on_the_way_to_its_format_is_taken_back_and_the_old_one_opens_the_store() {
    let _nobody = Stay::nobody().await;
    let first = Image::build();
    let dies = |point: &str| first.changed(point, &format!("ENV SKEP_TRIAL_FORMAT={point}"));
    let (before, during, after, nowhere) = (dies("before"), dies("during"), dies("after"), dies("nowhere"));
    let installed = Installed::by_the_readme(&first, None);
    let name = &installed.name;
    let compose = without_port(&installed.compose);
    installed.must(&["adopt", name, "-f", "-", "--wait"], &installed.manifest(&first, &installed.compose));
    let with_port = installed.containers(&[]);
    installed.must(&["apply", "-f", "-"], &installed.manifest(&first, &compose));
    installed.until("a container without the port is healthy", "type=container", || {
        installed.containers(&["health=healthy"]).into_iter().find(|it| !with_port.contains(it))
    });
    installed.ends_with(0, "it goes on without the port");

    for bad in [&before, &during, &after] {
        installed.fails_with(bad, &first);
        assert_eq!(installed.format(), "skep data format 1\n", "{}", bad.0);
    }
    // One that gets there; and the version before can be put in its place all the same.
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", nowhere.0)], "");
    installed.until_healthy(&nowhere);
    installed.ends_with(0, "it gets there");
    installed.until("the new format", "type=container", || {
        (installed.format() == "skep data format 2 readable from 1\n").then_some(())
    });
    installed.must(&["deploy", name, "--set", &format!("SKEP_IMAGE={}", first.0)], "");
    installed.until_healthy(&first);
    installed.ends_with(0, "the version before runs again");
    assert_eq!(installed.format(), "skep data format 1\n");
}

#[tokio::test]
async fn skep_without_the_socket_keeps_itself_and_the_proxy_that_it_reaches_the_engine_by() {
    let _nobody = Stay::nobody().await;
    let first = Image::build();
    let second = first.changed("2", "LABEL second=yes");
    let haproxy = Image::haproxy();
    let other = haproxy.changed("2", "LABEL second=yes");
    let (readme, installed) = (Readme::read(), Installed::by_the_readme(&first, Some(haproxy)));
    let name = &installed.name;
    let proxy = format!("{name}_socket-proxy");
    let proxies =
        || docker(&["ps", "-q", "--no-trunc", "--filter", &format!("label=com.docker.swarm.service.name={proxy}")]);

    // The way to the engine is the proxy alone.
    let container = installed.until_healthy(&first);
    let mounts = docker(&["inspect", "-f", "{{json .Mounts}} {{json .HostConfig.Binds}}", &container]);
    assert!(mounts.contains("/var/lib/skep") && !mounts.contains(".sock"), "{mounts}");
    let spec = docker::service(&installed.service()).unwrap()["Spec"].to_string();
    assert!(spec.contains("tcp://socket-proxy:2375") && !spec.contains(".sock"), "{spec}");

    let before = (installed.containers(&[]), proxies());
    let sign_in = installed.sign_in(&readme);
    installed.runs(&first, &format!("{sign_in}{}", readme.adopt));
    assert_eq!((installed.containers(&[]), proxies()), before, "no task is restarted");
    assert!(installed.must(&["diff", name], "").contains("no difference"));

    // It replaces itself, and then what it reaches the engine by.
    installed.runs(&second, &readme.signed_in(&readme.update));
    installed.until_healthy(&second);
    let running = installed.containers(&[]);
    installed.must(&["deploy", name, "--set", &format!("HAPROXY_IMAGE={}", other.0), "--wait", "--timeout", "2m"], "");
    assert_ne!(proxies(), before.1);
    assert_eq!(docker(&["inspect", "-f", "{{.Config.Image}}", proxies().lines().next().unwrap()]), other.0);
    assert_eq!(installed.stack()["phase"], "Converged");

    // A proxy that does not come up is no way out: the one before is there all the time.
    let bad = installed.write("bad.cfg", "no such section\n");
    docker(&["config", "create", &format!("{name}-bad"), &bad]);
    installed.must(&["deploy", name, "--set", &format!("HAPROXY_CONFIG={name}-bad")], "");
    installed.ends_with(11, "the version failed");
    let stack = installed.stack();
    assert_eq!(stack["phase"], "RolledBack", "{stack:#}");
    assert_eq!(installed.containers(&[]), running, "Skep itself is not touched");
    let target = &docker::service(&proxy).unwrap()["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"];
    assert_eq!(target[0]["ConfigName"], format!("{name}-haproxy"), "{target}");
    // Each call is in the proxy's log.
    let log = docker(&["service", "logs", "--raw", "--no-trunc", &proxy]);
    assert!(log.lines().any(|line| line.contains("\"POST /v") && line.contains("/update?")), "{log}");
}
