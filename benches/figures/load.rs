//! Mutations, subscriptions, hooks and faults together, for minutes or hours. Memory, threads and open files are looked at
//! each minute: after the first fifth they may not grow by more than a tenth and a little.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::graphql::Client;
use super::process::memory;
use super::proxy::{Manner, Proxy};
use super::skep::Skep;
use super::stats::{row, table, verdict};
use super::watch::Watch;

/// Memory may grow by so many MB beyond a tenth: caches fill as they please.
const SLACK: f64 = 12.0;
const SECRET: &str = "a secret for load alone";

fn manifest(number: usize) -> String {
    format!(
        "kind: Stack\nname: skb-load{number}\npolicy: {{ monitor: 0s, totalDeadline: 5m }}\ninline: |\n  services:\n    web:\n      image: skep-bench:0\n      command: [serve]\n      deploy: {{ replicas: 0 }}\n"
    )
}

/// What one minute found.
#[derive(Debug, Clone, Copy)]
struct Sample {
    megabytes: f64,
    threads: u32,
    files: u32,
}

fn sample(pid: u32) -> Sample {
    let count = |what: &str| {
        let entries = fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        u32::try_from(entries).unwrap()
    };
    Sample { megabytes: memory(pid).0, threads: count("task"), files: count("fd") }
}

/// One change after the other, of stacks at random; gives how many were acknowledged.
async fn change(client: Client, stacks: usize, over: CancellationToken) -> u64 {
    let mut done = 0;
    while !over.is_cancelled() {
        let stack = format!("skb-load{}", fastrand::usize(..stacks));
        let image = format!("skep-bench:{}", fastrand::u32(..));
        let input = json!({ "stack": { "name": stack }, "images": [{ "service": "web", "version": image }] });
        client.insist("deployStack", &input).await;
        done += 1;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..250))).await;
    }
    done
}

/// One delivery after the other; gives how many were taken.
async fn deliver(address: String, stacks: usize, over: CancellationToken) -> u64 {
    let http = reqwest::Client::new();
    let mut taken = 0;
    while !over.is_cancelled() {
        let body = json!({ "object_kind": "push", "ref": format!("refs/heads/b{}", fastrand::usize(..stacks)), "checkout_sha": fastrand::u64(..).to_string() });
        let sent = http
            .post(format!("http://{address}/hooks/skb-load"))
            .header("X-Gitlab-Token", SECRET)
            .header("X-Gitlab-Event", "Push Hook")
            .header("Idempotency-Key", fastrand::u128(..).to_string())
            .json(&body)
            .send()
            .await;
        taken += u64::from(sent.is_ok_and(|answer| answer.status() == 202));
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))).await;
    }
    taken
}

/// One who comes, looks for a while, and goes.
async fn look_on(client: Client, stacks: usize, over: CancellationToken) {
    while !over.is_cancelled() {
        let mut watch = Watch::stack(&client, &format!("skb-load{}", fastrand::usize(..stacks)));
        let time = Duration::from_millis(fastrand::u64(200..20_000));
        let _ = tokio::time::timeout(time, watch.until("the end", 3600, |_| false)).await;
    }
}

/// The way to the engine fails in one way after the other.
async fn trouble(proxy: &Proxy, over: &CancellationToken) -> u64 {
    let ways = [
        Manner::Refuse,
        Manner::Status(500),
        Manner::Half,
        Manner::Noise,
        Manner::Slow(Duration::from_millis(200)),
        Manner::Silent,
    ];
    let mut faults = 0;
    while !over.is_cancelled() {
        proxy.behave(ways[fastrand::usize(..ways.len())]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy.behave(Manner::Pass);
        faults += 1;
        over.run_until_cancelled(tokio::time::sleep(Duration::from_secs(20))).await;
    }
    faults
}

pub(crate) async fn measure(options: &Options) {
    let minutes = std::env::var("SKEP_LOAD_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let stacks = options.number("stacks", 40);
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), &options.socket);
    let skep = Skep::start(options, &proxy.url()).await;
    skep.apply(&(0..stacks).map(manifest).collect::<Vec<_>>()).await;
    skep.converged(stacks, Duration::from_secs(120)).await;
    let hook = format!(
        "kind: Hook\nname: skb-load\nprovider: GitLab\nsecret: {{ value: {SECRET:?} }}\nrules: [{{ when: 'object_kind == \"push\"', stacks: [\"skb-load1*\"], environment: default, set: {{ images.web: '\"skep-bench:\" + checkout_sha' }} }}]\n"
    );
    skep.apply(&[hook]).await;

    let (client, over) = (Client::new(&skep.address.to_string(), &skep.token), CancellationToken::new());
    let changing: Vec<_> = (0..3).map(|_| tokio::spawn(change(client.clone(), stacks, over.clone()))).collect();
    let delivering = tokio::spawn(deliver(skep.address.to_string(), stacks, over.clone()));
    let looking: Vec<_> = (0..20).map(|_| tokio::spawn(look_on(client.clone(), stacks, over.clone()))).collect();
    let sampling = async {
        let mut samples = Vec::new();
        let end = Instant::now() + Duration::from_secs(60 * minutes);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(if minutes > 10 { 60 } else { 10 })).await;
            samples.push(sample(skep.pid()));
        }
        over.cancel();
        samples
    };
    let (samples, faults) = tokio::join!(sampling, trouble(&proxy, &over));
    let mut changes = 0;
    for task in changing {
        changes += task.await.unwrap();
    }
    let taken = delivering.await.unwrap();
    looking.iter().for_each(tokio::task::JoinHandle::abort);

    // When it is quiet again, everything has come about.
    skep.converged(stacks, Duration::from_secs(600)).await;
    let of = |value: fn(&Sample) -> f64| {
        let settled = &samples[samples.len() / 5..];
        let third = settled.len().div_ceil(3);
        let most = |some: &[Sample]| some.iter().map(value).fold(0.0, f64::max);
        (most(&settled[..third]), most(&settled[settled.len() - third..]))
    };
    let mut rows = vec![row(["at most", "at the beginning", "at the end", ""])];
    let mut flat = true;
    type Value = fn(&Sample) -> f64;
    let values: [(&str, Value, f64); 3] = [
        ("memory, MB", |it| it.megabytes, SLACK),
        ("threads", |it| f64::from(it.threads), 4.0),
        ("open files", |it| f64::from(it.files), 40.0),
    ];
    for (what, value, slack) in values {
        let (first, last) = of(value);
        let met = last <= first * 1.1 + slack;
        flat &= met;
        rows.push(row([what, &format!("{first:.1}"), &format!("{last:.1}"), verdict(met)]));
    }
    let title = format!(
        "{minutes} minutes: {changes} changes, {taken} deliveries, {faults} faults, 20 subscribers; all {stacks} stacks converged"
    );
    table(&title, &rows);
    assert!(flat, "something grows: {samples:#?}");
}
