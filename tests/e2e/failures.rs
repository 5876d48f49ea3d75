//! The table of docs/explanation/failures.md on the real engine, as far as it can be provoked there: what the CLI ends with, what is
//! recorded, and what runs. By default some of the rows; `SKEP_ROWS=all` for all of them, or a piece of a row's text.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OwnedRwLockWriteGuard;

use crate::docker_registry::{Options, Registry};
use crate::engine_proxy::{Manner as Way, Proxy};
use crate::failure_table::{Row, rows};
use crate::git_http::{Manner, Repo};
use crate::support::docker::{self, docker};
use crate::support::graphql::Client;
use crate::support::hive::{Hive, Settings, Stay};
use crate::support::stack::unique;

/// Rows that are tried by default: quick ones of each kind.
const USUAL: [&str; 6] = [
    "the image both versions use is gone",
    "the registry refuses the login for its image",
    "the port it wants is taken",
    "it needs more memory than its limit",
    "the engine does not answer",
    "its compose file is wrong",
];

struct Field {
    client: Client,
    proxy: Proxy,
    folder: TempDir,
    hive: Hive,
    /// What the newest command said on the way.
    said: Mutex<String>,
    _nobody: OwnedRwLockWriteGuard<()>,
}

/// What takes the obstacle away, when it is dropped.
struct Mend(Option<Box<dyn FnOnce() + Send>>);

impl Mend {
    fn by(mend: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(mend)))
    }
}

impl Drop for Mend {
    fn drop(&mut self) {
        if let Some(mend) = self.0.take() {
            mend();
        }
    }
}

const GOOD: &str = "skep-example:1";

/// A web and a worker, quick to come and to go.
fn compose(image: &str, release: &str, more: &str, deploy: &str) -> String {
    let command = if more.contains("command:") { "" } else { "    command: [serve]\n" };
    let of = |name: &str, image: &str, more: &str, deploy: &str| {
        format!(
            "  {name}:\n    image: {image}\n    environment: {{ RELEASE: \"{release}\" }}\n    stop_signal: SIGKILL\n{more}    deploy: {{ \
             update_config: {{ monitor: 500ms, order: start-first }}, restart_policy: {{ delay: 500ms }}{deploy} }}\n"
        )
    };
    let web = of("web", image, &format!("{command}{more}"), deploy);
    format!("services:\n{web}{}", of("worker", GOOD, "    command: [serve]\n", ""))
}

fn manifest(stack: &str, source: &str) -> String {
    format!(
        "kind: Stack\nname: {stack}\npolicy: {{ monitor: 2s, progressDeadline: 20s, totalDeadline: 45s }}\n{source}"
    )
}

fn inline(stack: &str, text: &str) -> String {
    let text: String = text.lines().map(|line| format!("  {line}\n")).collect();
    manifest(stack, &format!("inline: |\n{text}"))
}

impl Field {
    async fn new() -> Self {
        let nobody = Stay::nobody().await;
        let folder = TempDir::with_prefix("skep-e2e-fail-").unwrap();
        let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = engine.strip_prefix("unix://").expect("an engine at a socket").to_owned();
        let proxy = Proxy::start(&folder.path().join("engine.sock"), engine.as_ref());
        let hive = Hive::with(Settings { docker: Some(proxy.url()), ..Settings::default() });
        Self { client: hive.client(), proxy, folder, hive, said: Mutex::default(), _nobody: nobody }
    }

    /// Applies and waits; gives the exit code.
    async fn apply(&self, text: &str) -> Option<i32> {
        let file = self.folder.path().join("skep.yml");
        fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let wait = || self.hive.cli(&["apply", "-f", &file, "--wait", "--timeout", "3m"]);
        let output = tokio::task::block_in_place(wait);
        *self.said.lock().unwrap() = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.code()
    }

    async fn good(&self, stack: &str, text: &str) {
        assert_eq!(self.apply(&inline(stack, text)).await, Some(0), "{stack} on its good version");
    }

    /// Runs a story: the good version, the obstacle, and what the CLI ends with. Gives it with what mends the obstacle.
    async fn provoke(&self, obstacle: &str, stack: &str) -> (Option<i32>, Mend) {
        let plain = || compose(GOOD, "1", "", "");
        let new = |image: &str, more: &str, deploy: &str| inline(stack, &compose(image, "2", more, deploy));
        let bad = match obstacle {
            "its image is not there" => new("skep-example:absent", "", ""),
            "the registry of its image does not answer" => new("127.0.0.1:9/private:2", "", ""),
            "no node meets its constraint" => {
                new(GOOD, "", ", placement: { constraints: [node.labels.absent == yes] }")
            }
            "no node has what it reserves" => new(GOOD, "", ", resources: { reservations: { memory: 90000G } }"),
            "it needs more memory than its limit" => new(
                GOOD,
                "    command: [sh, -c, 'exec tail -c 200000000 /dev/zero']\n",
                ", resources: { limits: { memory: 16M } }",
            ),
            "it exits" => new(GOOD, "    command: [sh, -c, 'exit 3']\n", ""),
            "its health check fails" => {
                let check = "    healthcheck: { test: [CMD, \"false\"], interval: 300ms, retries: 2, timeout: 5s }\n";
                new(GOOD, check, "")
            }
            "its compose file is wrong" => inline(stack, "services: { web: { imagee: x } }\n"),
            "the image of a first version is not there" => {
                let first = inline(stack, &compose("skep-example:absent", "1", "", ""));
                return (self.apply(&first).await, Mend(None));
            }
            other => return self.provoke_around(other, stack).await,
        };
        self.good(stack, &plain()).await;
        (self.apply(&bad).await, Mend(None))
    }

    /// The same for obstacles outside of the version.
    async fn provoke_around(&self, obstacle: &str, stack: &str) -> (Option<i32>, Mend) {
        let new = |image: &str, more: &str| inline(stack, &compose(image, "2", more, ""));
        match obstacle {
            "the image both versions use is gone" => {
                let image = format!("{stack}-image:1");
                docker(&["tag", GOOD, &image]);
                self.good(stack, &compose(&image, "1", "", "")).await;
                docker(&["rmi", "-f", &image]);
                let exit = self.apply(&new(&image, "")).await;
                (exit, Mend::by(move || drop(docker(&["tag", GOOD, &image]))))
            }
            "the registry refuses the login for its image" => {
                let registry = Registry::start(&Options { private: true, ..Options::default() });
                let image = registry.push("skep-example:2", "private", "2");
                self.good(stack, &compose(GOOD, "1", "", "")).await;
                let exit = self.apply(&new(&image, "")).await;
                (exit, Mend::by(move || drop(registry)))
            }
            "no node takes tasks" => {
                self.good(stack, &compose(GOOD, "1", "", "")).await;
                let node = docker(&["info", "--format", "{{.Swarm.NodeID}}"]);
                docker(&["node", "update", "--availability", "drain", &node]);
                let active = move || drop(docker(&["node", "update", "--availability", "active", &node]));
                let mend = Mend::by(active);
                (self.apply(&new(GOOD, "")).await, mend)
            }
            "the port it wants is taken" => {
                self.good(stack, &compose(GOOD, "1", "", "")).await;
                let other = unique("taker");
                let publish = "mode=host,target=8080,published=18099";
                docker(&["service", "create", "--quiet", "--name", &other, "--publish", publish, GOOD, "serve"]);
                let mend = Mend::by(move || drop(docker(&["service", "rm", &other])));
                let port = "    ports: [{ target: 8080, published: 18099, mode: host }]\n";
                (self.apply(&new(GOOD, port)).await, mend)
            }
            "the engine does not answer" => {
                self.good(stack, &compose(GOOD, "1", "", "")).await;
                self.proxy.behave(Way::Refuse);
                (self.apply(&new(GOOD, "")).await, Mend(None))
            }
            "the git host does not answer" => {
                let repo = Repo::create(self.hive.repositories(), stack);
                repo.commit("main", &[("docker-stack.yml", &compose(GOOD, "1", "", ""))]);
                let source = |wanted: &str| {
                    let url = self.hive.git.url(stack);
                    manifest(
                        stack,
                        &format!("source: {{ git: {url:?}, ref: {wanted}, poll: 1h }}\ncompose: [docker-stack.yml]\n"),
                    )
                };
                assert_eq!(self.apply(&source("main")).await, Some(0));
                self.hive.git.behave(Manner::Status(503));
                (self.apply(&source("other")).await, Mend(None))
            }
            "a service of its name is someone else's" => {
                self.good(stack, &compose(GOOD, "1", "", "")).await;
                let other = format!("{stack}_other");
                docker(&["service", "create", "--quiet", "--name", &other, GOOD, "serve"]);
                let mend = Mend::by(move || drop(docker(&["service", "rm", &other])));
                let text = format!("{}  other:\n    image: {GOOD}\n", compose(GOOD, "2", "", ""));
                (self.apply(&inline(stack, &text)).await, mend)
            }
            other => panic!("no scene for `{other}`"),
        }
    }

    async fn plays(&self, row: &Row) {
        let stack = unique("row");
        let (exit, mend) = self.provoke(row.obstacle, &stack).await;
        let found = self.client.stack(&stack).await;
        let said = self.said.lock().unwrap().clone();
        let told = || format!("{row:?}\n{said}\n{found:#}");
        assert_eq!(exit, Some(row.exit.into()), "{}", told());
        let all = self.client.deployments(&stack).await;
        let ended = all.iter().find(|it| !it["failure"].is_null()).unwrap_or(&Value::Null);
        assert_eq!(ended["phase"], row.phase, "{all:#?}");
        assert_eq!(ended["failure"]["class"], json!(row.class), "{all:#?}");
        let held = found["held"].as_array().unwrap().len();
        let back = all.iter().filter(|it| it["trigger"] == "Rollback").count();
        let runs = |service: &str| docker::running_releases(&format!("{stack}_{service}"));
        match row.then {
            "goes back" => {
                assert_eq!((held, back, found["phase"].clone()), (1, 1, json!("RolledBack")), "{}", told());
                assert_eq!((runs("web"), runs("worker")), (vec!["1".into()], vec!["1".into()]), "{}", told());
            }
            "changes nothing" => {
                assert_eq!((held, back), (0, 0), "{}", told());
                assert_eq!((runs("web"), runs("worker")), (vec!["1".into()], vec!["1".into()]), "{}", told());
            }
            "stays" => assert_eq!(back, 0, "{}", told()),
            _ => {
                assert_eq!((held, back), (0, 0), "{}", told());
                self.proxy.behave(Way::Pass);
                self.hive.git.behave(Manner::Serve);
                drop(mend);
                if row.class != Some("SourceUnreachable") {
                    self.until_it_goes_on(&stack).await;
                }
            }
        }
        self.hive.git.behave(Manner::Serve);
        self.hive.cli(&["delete", &stack, "--yes"]);
        docker::remove_stack(&stack);
    }

    /// What waited for the world is tried again as a new attempt, within minutes; a person may ask for it at once.
    async fn until_it_goes_on(&self, stack: &str) {
        let mut watch = crate::support::watch::Watch::stack(&self.client, stack);
        self.client.act("reconcileStack", stack, json!({})).await;
        watch.until_phase("Converged", 240).await;
        let releases = docker::running_releases(&format!("{stack}_web"));
        assert_eq!(releases, ["2"], "the version that was asked for runs when it can");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn obstacles_end_as_the_table_says() {
    let asked = std::env::var("SKEP_ROWS").unwrap_or_default();
    let all = rows();
    let picked: Vec<&Row> = all
        .iter()
        .filter(|row| row.engine)
        .filter(|row| match asked.as_str() {
            "" => USUAL.contains(&row.obstacle),
            "all" => true,
            piece => row.obstacle.contains(piece),
        })
        .collect();
    assert!(picked.len() >= USUAL.len() || !asked.is_empty(), "rows of the table have other names now");
    let field = Field::new().await;
    for row in picked {
        let begun = std::time::Instant::now();
        field.plays(row).await;
        println!("{}: {} s", row.obstacle, Duration::as_secs(&begun.elapsed()));
    }
}
