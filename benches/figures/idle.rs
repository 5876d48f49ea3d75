//! Many converged stacks: a round in which nothing has changed, and minutes in which nothing happens.

use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::Options;
use super::engine::{API, filters};
use super::fleet::{COMPOSE, CONFIG, deploy_by_cli, manifest, repository};
use super::git_http::GitServer;
use super::http::Http;
use super::process::{cpu, cpu_in_all, cpu_of_children, cpu_of_this_thread, memory};
use super::proxy::{Call, Proxy};
use super::skep::Skep;
use super::stats::{Samples, ms, ratio, row, table, verdict};

/// Rounds that are measured.
const ROUNDS: usize = 9;
/// A connection that broke sooner counts as one that comes and goes, and everybody is told.
const HELD: Duration = Duration::from_secs(11);
/// `docker stack deploy` is measured over so many stacks.
const BY_CLI: usize = 50;
/// The aims.
const LISTS: usize = 6;
const TIMES_LISTS: f64 = 3.0;
const IDLE: f64 = 0.5;

const LISTED: [&str; 6] = ["nodes", "networks", "configs", "secrets", "services", "tasks"];

pub(crate) async fn measure(options: &Options) {
    let (stacks, repositories) = (options.number("stacks", 500), options.number("repositories", 20));
    let minutes = options.number("minutes", 2);
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), &options.socket);
    let git = GitServer::start(folder.path());
    let each = stacks.div_ceil(repositories);
    for place in 0..repositories {
        repository(folder.path(), &format!("repo{place}"), each);
    }
    let skep = Skep::start(options, &proxy.url()).await;
    let manifests: Vec<String> = (0..stacks)
        .map(|it| {
            manifest(&format!("skb-i{it}"), &git.url(&format!("repo{}", it % repositories)), it / repositories, "1m")
        })
        .collect();
    skep.apply(&manifests).await;
    skep.converged(stacks, Duration::from_secs(300)).await;
    proxy.quiet(proxy.mark(), Duration::from_secs(2)).await;

    let (round, calls) = rounds(&skep, &proxy).await;
    let lists = calls.iter().filter(|call| is_list(call)).count();
    let writes = calls.iter().filter(|call| call.writes()).count();
    let socket = options.socket.clone();
    let bare = std::thread::spawn(move || bare_lists(&socket)).join().unwrap();
    let (rss, most) = memory(skep.pid());
    let idle = idle(&skep, &proxy, &git, minutes).await;
    drop(skep);
    let cli = by_cli(options, folder.path(), stacks.min(BY_CLI));
    let all = cli * u32::try_from(stacks).unwrap();

    let (met_lists, times) = (lists <= LISTS && writes == 0, ratio(round.median(), bare.parsed.median()));
    let of = |time: Duration| format!("{:.2}", ratio(time, bare.parsed.median()));
    table(
        &format!("A round over {stacks} converged stacks in which nothing has changed (median of {ROUNDS})"),
        &[
            row(["", "CPU", "of the lists"]),
            row(["the same lists alone, bare client, bytes only", &ms(bare.read.median()), &of(bare.read.median())]),
            row(["the same lists alone, bare client, read as JSON", &ms(bare.parsed.median()), "1.00"]),
            row(["Skep: lists, every stack looked at, nothing to do", &ms(round.median()), &of(round.median())]),
            row([&format!("docker stack deploy, from {} stacks", stacks.min(BY_CLI)), &ms(all), &of(all)]),
        ],
    );
    println!("  list calls: {lists}, writes: {writes}; aim {LISTS} and none: {}", verdict(met_lists));
    println!("  CPU: {times:.2} times the lists alone, aim {TIMES_LISTS}: {}", verdict(times <= TIMES_LISTS));
    println!("  memory: {rss:.0} MB, at most {most:.0} MB so far\n");
    let share = 100.0 * idle.cpu.as_secs_f64() / idle.time.as_secs_f64();
    table(
        &format!("{minutes} minutes idle, {stacks} stacks of {repositories} repositories polled each minute"),
        &[
            row(["CPU", &format!("{share:.2} % of a core, aim {IDLE} %: {}", verdict(share <= IDLE))]),
            row(["requests to the git host", &idle.requests.to_string()]),
            row(["calls to the engine", &idle.calls.len().to_string()]),
            row(["  of them lists", &idle.calls.iter().filter(|call| is_list(call)).count().to_string()]),
        ],
    );
}

fn is_list(call: &Call) -> bool {
    LISTED.contains(&call.place())
}

/// A round is asked for by breaking a stream of events that has held for a while, as a proxy does that closes long ones: Skep
/// connects anew, lists everything and looks at every stack. (What it does by itself every five minutes, with a list of tasks
/// and a whole look at each, is part of idling.)
async fn rounds(skep: &Skep, proxy: &Proxy) -> (Samples, Vec<Call>) {
    let (mut samples, mut calls) = (Samples::default(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(HELD).await;
        let (mark, before) = (proxy.mark(), cpu(skep.pid()));
        proxy.cut_events();
        proxy.until(mark, |call| call.place() == "services").await;
        calls = proxy.quiet(mark, Duration::from_millis(1500)).await;
        // A thread that ends meanwhile takes its time with it.
        samples.add(cpu(skep.pid()).saturating_sub(before));
    }
    (samples, calls)
}

struct Bare {
    read: Samples,
    parsed: Samples,
}

fn bare_lists(socket: &Path) -> Bare {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scope = filters(&serde_json::json!({ "scope": ["swarm"] }));
    let paths = ["nodes", &format!("networks?filters={scope}"), "configs", "secrets", "services"];
    let mut bare = Bare { read: Samples::default(), parsed: Samples::default() };
    runtime.block_on(async {
        let mut http = Http::unix(socket).await;
        for _ in 0..ROUNDS {
            for parse in [false, true] {
                let before = cpu_of_this_thread();
                for path in paths {
                    let (status, body) = http.call(Method::GET, &format!("{API}/{path}"), bytes::Bytes::new()).await;
                    assert_eq!(status, 200);
                    if parse {
                        std::hint::black_box(serde_json::from_slice::<Value>(&body).unwrap());
                    }
                }
                let samples = if parse { &mut bare.parsed } else { &mut bare.read };
                samples.add(cpu_of_this_thread() - before);
            }
        }
    });
    bare
}

struct Idle {
    time: Duration,
    cpu: Duration,
    calls: Vec<Call>,
    requests: usize,
}

async fn idle(skep: &Skep, proxy: &Proxy, git: &GitServer, minutes: usize) -> Idle {
    git.take_requests();
    let (mark, before, begun) = (proxy.mark(), cpu_in_all(skep.pid()), std::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(60 * minutes as u64)).await;
    let cpu = cpu_in_all(skep.pid()) - before;
    Idle { time: begun.elapsed(), cpu, calls: proxy.since(mark), requests: git.take_requests().len() }
}

/// CPU of one `docker stack deploy` that changes nothing, on average over so many stacks.
fn by_cli(options: &Options, folder: &Path, stacks: usize) -> Duration {
    std::fs::write(folder.join("docker-stack.yml"), COMPOSE).unwrap();
    std::fs::write(folder.join("app.conf"), CONFIG).unwrap();
    let round = || (0..stacks).for_each(|place| deploy_by_cli(options, folder, &format!("skb-i{place}")));
    round();
    let before = cpu_of_children();
    round();
    (cpu_of_children() - before) / u32::try_from(stacks).unwrap()
}
