//! Many new stacks at once: one service without replicas, a network and a config each, all from one git repository.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;

use super::Options;
use super::engine::{make_stack, remove, remove_claims};
use super::git_http::{Entry, GitServer, Repo};
use super::http::Http;
use super::process::memory;
use super::proxy::{Call, Proxy};
use super::skep::Skep;
use super::stats::{ratio, row, seconds, table, verdict};

/// The concurrencies that the bare loop tries.
const CONCURRENCIES: [usize; 4] = [1, 2, 4, 8];
/// `docker stack deploy` is measured over so many stacks at most.
const BY_CLI: usize = 100;
/// The aims.
const TIMES_BARE: f64 = 2.0;
const MEMORY: f64 = 80.0;

/// The compose file of every stack, and its config.
pub(crate) const COMPOSE: &str = "services:\n  web:\n    image: skep-bench:1\n    command: [serve]\n    environment: { A: \"1\", B: \"2\" }\n    configs: [{ source: app, target: /etc/app.conf }]\n    deploy: { replicas: 0 }\nconfigs:\n  app: { file: ./app.conf }\n";
pub(crate) const CONFIG: &str = "listen = 0.0.0.0:8080\n";

/// A repository with a folder for each stack.
pub(crate) fn repository(root: &Path, name: &str, stacks: usize) -> Repo {
    let repo = Repo::create(root, name);
    let paths: Vec<[String; 2]> =
        (0..stacks).map(|it| [format!("s{it}/docker-stack.yml"), format!("s{it}/app.conf")]).collect();
    let files = paths.iter().flat_map(|[compose, config]| {
        [(compose.as_str(), Entry::Text(COMPOSE)), (config.as_str(), Entry::Text(CONFIG))]
    });
    repo.commit_entries("main", &files.collect::<Vec<_>>());
    repo
}

pub(crate) async fn measure(options: &Options) {
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), &options.socket);
    let git = GitServer::start(folder.path());
    let mut by_cli = None;
    for size in options.numbers("sizes", &[100, 500, 1000]) {
        let repo = format!("fleet{size}");
        repository(folder.path(), &repo, size);
        let bare = bare(&proxy, options, size).await;
        let (best, concurrency) = bare.iter().copied().min().unwrap();
        let found = fleet(options, &proxy, &git.url(&repo), size).await;
        remove(&options.socket, super::engine::PREFIX).await;
        remove_claims(&options.socket).await;
        let cli = match by_cli {
            Some(each) => each,
            None => *by_cli.insert(stack_deploy(options, folder.path(), size.min(BY_CLI)).await),
        };

        let against = |time| format!("{:.2}", ratio(time, best));
        let times_bare = ratio(found.written, best);
        let mut rows = vec![row(["", "time", "a stack", "of bare"])];
        let each = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3 / size as f64);
        for (time, concurrency) in &bare {
            let name = format!("bare loop, the same calls, {concurrency} at a time");
            rows.push(row([&name, &seconds(*time), &each(*time), &against(*time)]));
        }
        for (name, time) in [
            ("Skep: all mutations answered", found.declared),
            ("Skep: last engine write accepted", found.written),
            ("Skep: all converged", found.converged),
        ] {
            rows.push(row([name, &seconds(time), &each(time), &against(time)]));
        }
        let note = if size > BY_CLI { ", extrapolated" } else { "" };
        let name = format!("docker stack deploy, one after another{note}");
        let all = cli * u32::try_from(size).unwrap();
        rows.push(row([&name, &seconds(all), &each(all), &against(all)]));
        table(&format!("{size} new stacks (network, config, service with 0 replicas)"), &rows);
        println!(
            "  last write: {times_bare:.2} times the bare loop at its best ({concurrency} at a time), aim {TIMES_BARE}: {}",
            verdict(times_bare <= TIMES_BARE)
        );
        println!(
            "  memory: {:.0} MB at most, {:.0} MB when converged, aim {MEMORY} MB: {}",
            found.most,
            found.after,
            verdict(found.most <= MEMORY)
        );
        println!("  engine calls: {}\n", found.calls);
    }
}

async fn bare(proxy: &Proxy, options: &Options, size: usize) -> Vec<(Duration, usize)> {
    let mut times = Vec::new();
    for concurrency in CONCURRENCIES {
        let begun = Instant::now();
        let workers = (0..concurrency).map(|worker| {
            let socket = proxy.socket.clone();
            tokio::spawn(async move {
                let mut http = Http::unix(&socket).await;
                for place in (worker..size).step_by(concurrency) {
                    make_stack(&mut http, &format!("skb-bare{place}")).await;
                }
            })
        });
        for worker in futures_util::future::join_all(workers.collect::<Vec<_>>()).await {
            worker.unwrap();
        }
        times.push((begun.elapsed(), concurrency));
        remove(&options.socket, "skb-bare").await;
    }
    times
}

struct Found {
    declared: Duration,
    written: Duration,
    converged: Duration,
    most: f64,
    after: f64,
    calls: String,
}

async fn fleet(options: &Options, proxy: &Proxy, url: &str, size: usize) -> Found {
    let skep = Skep::start(options, &proxy.url()).await;
    let manifests: Vec<String> = (0..size).map(|it| manifest(&format!("skb-f{it}"), url, it, "1h")).collect();
    let mark = proxy.mark();
    let (begun, begun_at) = (Instant::now(), Timestamp::now());
    skep.apply(&manifests).await;
    let declared = begun.elapsed();
    let made = |calls: &[Call]| calls.iter().filter(|call| call.place() == "services/create").count();
    let end = Instant::now() + Duration::from_secs(300);
    while made(&proxy.since(mark)) < size {
        assert!(Instant::now() < end, "{} of {size} services made in time", made(&proxy.since(mark)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    skep.converged(size, Duration::from_secs(300)).await;
    let calls = proxy.quiet(mark, Duration::from_secs(1)).await;
    let last = calls.iter().filter(|call| call.writes()).map(|call| call.answered).max().unwrap();
    let converged = Duration::try_from(last_convergence(&skep).await.duration_since(begun_at)).unwrap();
    let (after, most) = memory(skep.pid());
    let refused = calls.iter().filter(|call| call.writes() && call.status >= 300).count();
    assert_eq!(refused, 0, "the engine refused calls");
    let count = |wanted: &dyn Fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
    let writes = count(&|call| call.writes());
    let tasks = count(&|call| call.place() == "tasks");
    let lists = count(&|call| !call.writes() && !call.place().contains('/') && call.place() != "tasks");
    let others = calls.len() - writes - tasks - lists;
    let calls = format!("{writes} writes, {tasks} listings of tasks, {lists} other listings, {others} others");
    Found { declared, written: last - begun, converged, most, after, calls }
}

/// A manifest.
pub(crate) fn manifest(name: &str, url: &str, folder: usize, poll: &str) -> String {
    format!(
        "kind: Stack\nname: {name}\nsource: {{ git: \"{url}\", ref: main, path: s{folder}, poll: {poll} }}\npolicy: {{ monitor: 0s }}\n"
    )
}

async fn last_convergence(skep: &Skep) -> Timestamp {
    let mut client = skep.client().await;
    let (mut last, mut after) = (Timestamp::MIN, json!(null));
    loop {
        let query = "query($after: String) { deployments(first: 200, after: $after) { edges { node { finishedAt } } pageInfo { hasNextPage endCursor } } }";
        let page = client.graphql(query, json!({ "after": after })).await["deployments"].take();
        for edge in page["edges"].as_array().unwrap() {
            last = last.max(edge["node"]["finishedAt"].as_str().unwrap().parse().unwrap());
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return last;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// The time of one `docker stack deploy`, on average over so many, one after another.
async fn stack_deploy(options: &Options, folder: &Path, size: usize) -> Duration {
    std::fs::write(folder.join("docker-stack.yml"), COMPOSE).unwrap();
    std::fs::write(folder.join("app.conf"), CONFIG).unwrap();
    let begun = Instant::now();
    for place in 0..size {
        deploy_by_cli(options, folder, &format!("skb-cli{place}"));
    }
    let took = begun.elapsed();
    remove(&options.socket, "skb-cli").await;
    took / u32::try_from(size).unwrap()
}

/// One `docker stack deploy --detach`.
pub(crate) fn deploy_by_cli(options: &Options, folder: &Path, stack: &str) {
    let mut command = Command::new("docker");
    command.args(["-H", &options.docker_url(), "stack", "deploy", "--detach=true", "--resolve-image=never", "-c"]);
    command.arg(folder.join("docker-stack.yml")).arg(stack).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
}
