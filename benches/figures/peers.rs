//! The same upgrade and the same bad image by several tools: how long, with what exit code, what runs then, and what a
//! second pass does.
//!
//! Images come from a registry on loopback, under one tag that moves. The compose file is the same for all; each tool is
//! run as its own docs say, with what it needs to work without the internet.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::Options;
use super::engine::{API, filters, remove};
use super::http::Http;
use super::registry::{Options as RegistryOptions, Registry, run};
use super::skep::Skep;
use super::stats::{row, seconds, table};

const SERVICES: usize = 5;
/// The longest that a tool may take.
const PATIENCE: &str = "300";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Skep,
    Cli,
    Shepherd,
    Gantry,
}

impl Peer {
    const ALL: [Self; 4] = [Self::Skep, Self::Cli, Self::Shepherd, Self::Gantry];

    fn name(self) -> &'static str {
        match self {
            Self::Skep => "Skep",
            Self::Cli => "docker stack deploy --detach=false",
            Self::Shepherd => "Shepherd",
            Self::Gantry => "Gantry",
        }
    }

    /// Where it is: the environment says so.
    fn variable(self) -> &'static str {
        match self {
            Self::Skep => "",
            Self::Cli => "SKEP_PEER_DOCKER",
            Self::Shepherd => "SKEP_PEER_SHEPHERD",
            Self::Gantry => "SKEP_PEER_GANTRY",
        }
    }

    fn path(self) -> Option<PathBuf> {
        std::env::var_os(self.variable()).map(PathBuf::from).filter(|path| path.exists())
    }
}

struct Stage {
    socket: PathBuf,
    folder: TempDir,
    registry: Registry,
    skep: Option<Skep>,
    binary: PathBuf,
}

/// What one pass came to.
struct Pass {
    took: Duration,
    exit: Option<i32>,
    left: String,
}

impl Stage {
    fn image(&self) -> String {
        format!("{}/private:current", self.registry.address)
    }

    fn compose(&self, peer: Peer) -> PathBuf {
        let mut text = "services:\n".to_owned();
        for number in 1..=SERVICES {
            text.push_str(&format!(
                "  s{number}:\n    image: {}\n    command: [serve]\n    stop_signal: SIGKILL\n    deploy:\n      labels: {{ skb.peer: \"{peer:?}\" }}\n      \
                 update_config: {{ monitor: 2s, order: start-first, failure_action: rollback }}\n      restart_policy: {{ delay: 1s }}\n",
                self.image()
            ));
        }
        let file = self.folder.path().join(format!("{peer:?}.yml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    fn stack(peer: Peer) -> String {
        format!("skb-{}", format!("{peer:?}").to_lowercase())
    }

    /// Runs a program as a peer would be run; gives its exit code.
    fn run(&self, program: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Option<i32> {
        let said = std::fs::File::options().create(true).append(true).open(self.folder.path().join("said")).unwrap();
        Command::new("timeout")
            .arg(PATIENCE)
            .arg(program)
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .status()
            .unwrap()
            .code()
    }

    /// One pass of a tool over its stack: what is in the registry is to run.
    async fn pass(&self, peer: Peer, again: bool) -> Pass {
        let (stack, begun) = (Self::stack(peer), Instant::now());
        let exit = match peer {
            Peer::Skep => self.skep(&stack, again),
            Peer::Cli => {
                let file = self.compose(peer).display().to_string();
                let deploy = ["stack", "deploy", "--detach=false", "--resolve-image", "always", "-c", &file, &stack];
                self.run(&peer.path().unwrap(), &deploy, &[])
            }
            Peer::Shepherd => {
                let only = format!("label=com.docker.stack.namespace={stack}");
                let variables = [
                    ("FILTER_SERVICES", only),
                    ("RUN_ONCE_AND_EXIT", "true".to_owned()),
                    ("WITH_INSECURE_REGISTRY", "true".to_owned()),
                    ("UPDATE_OPTIONS", String::new()),
                    ("ROLLBACK_OPTIONS", String::new()),
                    ("ROLLBACK_ON_FAILURE", "true".to_owned()),
                    ("VERBOSE", "true".to_owned()),
                ];
                self.run(&peer.path().unwrap(), &[], &variables)
            }
            Peer::Gantry => {
                let only = format!("label=com.docker.stack.namespace={stack}");
                let variables = [
                    ("GANTRY_SERVICES_FILTERS", only),
                    ("GANTRY_MANIFEST_CMD", "manifest".to_owned()),
                    ("GANTRY_MANIFEST_OPTIONS", "--insecure".to_owned()),
                    ("GANTRY_CLEANUP_IMAGES", "false".to_owned()),
                ];
                self.run(Path::new("bash"), &[&peer.path().unwrap().display().to_string()], &variables)
            }
        };
        let took = begun.elapsed();
        Pass { took, exit, left: self.left(&stack).await }
    }

    fn skep(&self, stack: &str, again: bool) -> Option<i32> {
        let skep = self.skep.as_ref().expect("it runs");
        let variables = [("SKEP_SERVER", format!("http://{}", skep.address)), ("SKEP_TOKEN", skep.token.clone())];
        if again {
            // Nobody asks for the version anew: it looks again by itself.
            self.run(&self.binary, &["reconcile", stack], &variables);
            return self.run(&self.binary, &["wait", stack], &variables);
        }
        self.run(&self.binary, &["deploy", stack, "--reason", "the tag has moved", "--wait"], &variables)
    }

    /// What runs, and what the services ask for: in a word.
    async fn left(&self, stack: &str) -> String {
        let mut engine = Http::unix(&self.socket).await;
        let label = filters(&serde_json::json!({ "label": [format!("com.docker.stack.namespace={stack}")] }));
        let services = engine.ask(Method::GET, &format!("{API}/services?filters={label}"), &Value::Null).await;
        let tasks = engine.ask(Method::GET, &format!("{API}/tasks?filters={label}"), &Value::Null).await;
        let (services, tasks) =
            (services.as_array().cloned().unwrap_or_default(), tasks.as_array().cloned().unwrap_or_default());
        let digest =
            |image: &Value| image.as_str().and_then(|it| it.split_once('@')).map(|(_, it)| it[7..13].to_owned());
        let mut asked: Vec<String> =
            services.iter().filter_map(|it| digest(&it["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])).collect();
        let mut runs: Vec<String> = tasks
            .iter()
            .filter(|it| it["Status"]["State"] == "running" && it["DesiredState"] == "running")
            .filter_map(|it| digest(&it["Spec"]["ContainerSpec"]["Image"]))
            .collect();
        let index: u64 = services.iter().filter_map(|it| it["Version"]["Index"].as_u64()).max().unwrap_or(0);
        let count = runs.len();
        asked.sort();
        asked.dedup();
        runs.sort();
        runs.dedup();
        format!("asks for {}, {count} run {}, index {index}", asked.join("+"), runs.join("+"))
    }

    /// The stack as all begin.
    async fn begin(&self, peer: Peer) {
        let (stack, file) = (Self::stack(peer), self.compose(peer));
        if peer == Peer::Skep {
            let indented: String =
                std::fs::read_to_string(&file).unwrap().lines().map(|line| format!("  {line}\n")).collect();
            let text =
                format!("kind: Stack\nname: {stack}\npolicy: {{ monitor: 2s, images: always }}\ninline: |\n{indented}");
            let skep = self.skep.as_ref().expect("it runs");
            skep.apply(&[text]).await;
            skep.converged(1, Duration::from_secs(120)).await;
            return;
        }
        let docker = Peer::Cli.path().unwrap_or_else(|| PathBuf::from("docker"));
        let file = file.display().to_string();
        let deploy = ["stack", "deploy", "--resolve-image", "always", "-c", &file, &stack];
        assert_eq!(self.run(&docker, &deploy, &[]), Some(0), "{stack} is not made");
        let end = Instant::now() + Duration::from_secs(120);
        while !self.left(&stack).await.contains(&format!(", {SERVICES} run ")) {
            assert!(Instant::now() < end, "{stack} does not run: {}", self.left(&stack).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// `skep-bench:bad`, which cannot run what the compose file has it run.
fn make_bad_image() {
    let name = "skb-bad-image";
    run("docker", &["create", "--name", name, "skep-example:1", "rm", "/bin/serve"]);
    run("docker", &["start", "-a", name]);
    run("docker", &["commit", name, "skep-bench:bad"]);
    run("docker", &["rm", name]);
}

pub(crate) async fn measure(options: &Options) {
    let binary = options.skep.clone().expect("name the binary that is measured: --skep PATH");
    let present: Vec<Peer> =
        Peer::ALL.into_iter().filter(|peer| *peer == Peer::Skep || peer.path().is_some()).collect();
    for peer in Peer::ALL.into_iter().filter(|peer| !present.contains(peer)) {
        println!("MISSING: {} is not measured; {} does not name it\n", peer.name(), peer.variable());
    }
    let registry = Registry::start(&RegistryOptions::default());
    make_bad_image();
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let mut stage = Stage { socket: options.socket.clone(), folder, registry, skep: None, binary };
    let mut rows = vec![row(["", "pass", "time", "exit", "what is left"])];
    for peer in present {
        stage.registry.push("skep-example:1", "private", "current");
        if peer == Peer::Skep {
            stage.skep = Some(Skep::start(options, &options.docker_url()).await);
        }
        stage.begin(peer).await;
        let began = stage.left(&Stage::stack(peer)).await;
        rows.push(row([peer.name(), "before", "", "", &began]));
        for (what, image, again) in [
            ("new image", Some("skep-example:2"), false),
            ("nothing new", None, true),
            ("bad image", Some("skep-bench:bad"), false),
            ("bad image, second pass", None, true),
        ] {
            if let Some(image) = image {
                stage.registry.push(image, "private", "current");
            }
            let Pass { took, exit, left } = stage.pass(peer, again).await;
            let exit = exit.map_or_else(|| "killed".to_owned(), |code| code.to_string());
            rows.push(row([peer.name(), what, &seconds(took), &exit, &left]));
        }
        // A Skep on the Swarm would look at the others' stacks, and they at its own.
        stage.skep = None;
        remove(&options.socket, &Stage::stack(peer)).await;
        super::engine::remove_claims(&options.socket).await;
    }
    table(&format!("{SERVICES} services, one tag that moves; the version index grows with each write"), &rows);
    let said = std::fs::read_to_string(stage.folder.path().join("said")).unwrap_or_default();
    if options.named.contains_key("said") {
        println!("{said}");
    }
}
