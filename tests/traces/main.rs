//! The simulated Swarm is held true by the real engine: one contract for both; what was recorded there is played against the simulator and must
//! come to the same, and so must generated sequences of operations that run on both.
//!
//! `SKEP_RECORD=1` records all scripted scenarios anew, on the engine of `DOCKER_HOST` or the local socket.
//! `SKEP_SEQUENCES=300` compares so many generated sequences.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod contract;
#[path = "../support/engine.rs"]
mod engine;
mod scenarios;
mod script;

use std::path::PathBuf;

use engine::Scratch;
use futures_util::StreamExt;
use script::{Op, Trace, play};
use serde::{Deserialize, Serialize};
use skep::swarm::sim::{Behaviour, SimSwarm};

/// Sequences that are compared by default.
const SEQUENCES: u64 = 20;
/// Scripts that run on the engine at a time.
const AT_ONCE: usize = 8;

/// A scenario with what the engine did.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    ops: Vec<Op>,
    trace: Trace,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn on_the_simulator(ops: &[Op]) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let swarm = SimSwarm::default();
        swarm.image("nosuch:1", Behaviour::Missing);
        play(&swarm, "", ops).await
    })
}

async fn on_the_engine(ops: &[Op]) -> Trace {
    let scratch = Scratch::new("trace").await;
    play(scratch.swarm.as_ref(), &format!("{}-", scratch.prefix), ops).await
}

fn differences(name: &str, engine: &Trace, simulator: &Trace) -> Option<String> {
    (engine.clone().settled() != simulator.clone().settled())
        .then(|| format!("{name}\n  engine:    {engine:#?}\n  simulator: {simulator:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenarios_are_recorded_anew_when_asked() {
    if number("SKEP_RECORD").is_none() {
        return;
    }
    let recorded = futures_util::stream::iter(scenarios::all())
        .map(|(name, ops)| async move {
            let trace = on_the_engine(&ops).await;
            (name, Recorded { ops, trace })
        })
        .buffer_unordered(AT_ONCE);
    let recorded: Vec<(&str, Recorded)> = recorded.collect().await;
    for (name, recorded) in recorded {
        let text = serde_json::to_string_pretty(&recorded).unwrap();
        std::fs::write(folder().join(format!("{name}.json")), text + "\n").unwrap();
    }
}

#[test]
fn the_simulator_agrees_with_every_recorded_trace() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "json") {
            let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).expect("a trace");
            count += 1;
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            wrong.extend(differences(&name, &recorded.trace, &on_the_simulator(&recorded.ops)));
        }
    }
    assert!(count >= 30, "only {count} traces were found");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} traces agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_sequences_come_to_the_same_on_both() {
    let first = number("SKEP_SEED").unwrap_or(0);
    let count = number("SKEP_SEQUENCES").unwrap_or(SEQUENCES);
    let compare = |seed: u64| async move {
        let ops = scenarios::generated(seed);
        let engine = on_the_engine(&ops).await;
        let simulator = {
            let ops = ops.clone();
            tokio::task::spawn_blocking(move || on_the_simulator(&ops)).await.unwrap()
        };
        differences(&format!("seed {seed}: {ops:?}"), &engine, &simulator).map(|text| (seed, text))
    };
    let compared = futures_util::stream::iter(first..first + count).map(compare).buffer_unordered(AT_ONCE);
    let differ: Vec<(u64, String)> = compared.filter_map(std::future::ready).collect().await;
    // On a machine that is busy the engine's updater and its agent may come in another order: what differs is run once more, by
    // itself, and has to be as simulated then.
    let mut wrong = Vec::new();
    for (seed, text) in &differ {
        println!("differs beside others: {text}");
        wrong.extend(compare(*seed).await.map(|(_, text)| text));
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} sequences agree");
}
