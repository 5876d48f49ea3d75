//! What the benches have in common. Each figure is told beside its floor, measured in the same run on the same engine:
//! on a busy machine the ratios say more than the times.
//!
//! Skep runs as a process of its own and reaches the engine through a [`proxy`] that notes when each call was asked and
//! answered. Everything made on the engine is named `skb-…`, and removed at the end, also of a run before this one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench: what is not there ends it, and it says what it finds"
)]

mod change;
mod engine;
mod fleet;
mod hooks;
mod http;
mod idle;
mod load;
mod peers;
mod process;
#[expect(dead_code, reason = "tests have the engine misbehave; here it does not")]
#[path = "../../tests/support/engine_proxy.rs"]
mod proxy;
mod reactions;
#[expect(unreachable_pub, reason = "shared with tests")]
#[path = "../../tests/support/registry.rs"]
mod registry;
mod skep;
mod stats;

#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
#[path = "../../tests/support/git_http.rs"]
mod git_http;
#[expect(dead_code, reason = "the scenarios use the rest of it")]
#[path = "../../tests/e2e/support/graphql.rs"]
mod graphql;
#[expect(dead_code, reason = "the scenarios use the rest of it")]
#[path = "../../tests/e2e/support/watch.rs"]
mod watch;

use std::collections::HashMap;
use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, Clone)]
struct Options {
    /// The engine's socket.
    socket: PathBuf,
    /// The binary to measure; none: this very program serves, built as the bench is.
    skep: Option<PathBuf>,
    named: HashMap<String, String>,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut named = HashMap::new();
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").unwrap_or_else(|| panic!("`{argument}`: write `--name value`"));
            named.insert(name.to_owned(), arguments.next().unwrap_or_else(|| panic!("`{argument}` has no value")));
        }
        let docker = named.remove("docker").or_else(|| std::env::var("DOCKER_HOST").ok()).unwrap_or_default();
        let docker = if docker.is_empty() { "unix:///var/run/docker.sock".to_owned() } else { docker };
        let socket = docker.strip_prefix("unix://").expect("these benches reach an engine by `unix:///path`").into();
        Self { socket, skep: named.remove("skep").map(PathBuf::from), named }
    }

    fn number(&self, name: &str, otherwise: usize) -> usize {
        self.named.get(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number")))
    }

    fn numbers(&self, name: &str, otherwise: &[usize]) -> Vec<usize> {
        let one = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"));
        self.named.get(name).map_or(otherwise.to_vec(), |list| list.split(',').map(one).collect())
    }

    fn docker_url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// Runs one bench, whatever happens cleans the engine, and ends the program.
pub(crate) fn run(figure: &'static str) {
    if skep::serve_if_asked() {
        return;
    }
    let options = Options::read(std::env::args().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        engine::clean(&options.socket).await;
        engine::refuse_a_kept_swarm(&options.socket).await;
        println!("{}\n", process::machine(&options.socket).await);
        let measured = tokio::spawn({
            let options = options.clone();
            async move {
                match figure {
                    "change" => change::measure(&options).await,
                    "fleet" => fleet::measure(&options).await,
                    "hooks" => hooks::measure(&options).await,
                    "reactions" => reactions::measure(&options).await,
                    "load" => load::measure(&options).await,
                    "peers" => peers::measure(&options).await,
                    _ => idle::measure(&options).await,
                }
            }
        });
        let stop = measured.abort_handle();
        let ended = tokio::select! {
            ended = measured => ended.is_ok(),
            _ = tokio::signal::ctrl_c() => {
                stop.abort();
                false
            }
        };
        engine::clean(&options.socket).await;
        engine::remove_claims(&options.socket).await;
        ended
    });
    // What still blocks in a thread of the runtime is not waited for.
    runtime.shutdown_background();
    assert!(ended, "the bench did not come to its end");
}
