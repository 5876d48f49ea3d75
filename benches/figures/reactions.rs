//! How soon does Skep react? To a foreign change, to a failure, to the last task that became healthy.
//!
//! Times of the engine's own (when a task was seen to fail or to run) and times taken here are of one clock: the engine is on
//! this machine.

use std::time::{Duration, Instant, SystemTime};

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Options;
use super::engine::{API, filters};
use super::graphql::Client;
use super::http::Http;
use super::proxy::{Call, Proxy};
use super::skep::Skep;
use super::stats::{Samples, ms, row, table, verdict};
use super::watch::Watch;

/// How long tasks have to stay healthy here.
const MONITOR: Duration = Duration::from_millis(500);

fn manifest(stack: &str, release: &str, command: &str) -> String {
    format!(
        r#"kind: Stack
name: {stack}
policy: {{ monitor: 500ms }}
inline: |
  services:
    web:
      image: skep-example:1
      command: {command}
      environment: {{ RELEASE: "{release}" }}
      stop_signal: SIGKILL
      deploy:
        update_config: {{ monitor: 500ms, order: start-first }}
        restart_policy: {{ delay: 1s }}
"#
    )
}

const SERVE: &str = "[sleep, \"86400\"]";

/// The wall clock of an instant.
fn wall(instant: Instant) -> SystemTime {
    let (now, wall) = (Instant::now(), SystemTime::now());
    wall - now.saturating_duration_since(instant)
}

fn time(text: &Value) -> SystemTime {
    let at: Timestamp = text.as_str().unwrap_or_default().parse().unwrap_or_else(|_| panic!("{text} is no time"));
    SystemTime::from(at)
}

struct Stage {
    engine: Http,
    proxy: Proxy,
    skep: Skep,
    client: Client,
}

impl Stage {
    async fn service(&mut self, stack: &str) -> Value {
        self.engine.ask(Method::GET, &format!("{API}/services/{stack}_web"), &Value::Null).await
    }

    async fn tasks(&mut self, stack: &str) -> Vec<Value> {
        let path = format!("{API}/tasks?filters={}", filters(&json!({ "service": [format!("{stack}_web")] })));
        self.engine.ask(Method::GET, &path, &Value::Null).await.as_array().cloned().unwrap_or_default()
    }

    async fn apply(&self, stack: &str, release: &str, command: &str) {
        self.client.insist("applyStack", &json!({ "manifest": manifest(stack, release, command) })).await;
    }

    /// Applies, and waits at a subscription until the stack is so in this generation; gives when that came.
    async fn brings(&self, stack: &str, (release, command): (&str, &str), generation: u64, phase: &str) -> Instant {
        let mut watch = Watch::stack(&self.client, stack);
        watch.until("subscribed", 30, |_| true).await;
        self.apply(stack, release, command).await;
        let there = |it: &Value| it["phase"] == phase && it["observedGeneration"] == generation;
        watch.until(phase, 120, there).await;
        Instant::now()
    }
}

fn is_update(call: &Call, id: &str) -> bool {
    call.method == "POST" && call.place() == format!("services/{id}/update")
}

pub(crate) async fn measure(options: &Options) {
    let rounds = options.number("rounds", 60);
    let folder = TempDir::with_prefix("skep-bench-").unwrap();
    let proxy = Proxy::start(&folder.path().join("engine.sock"), &options.socket);
    let skep = Skep::start(options, &proxy.url()).await;
    let client = Client::new(&skep.address.to_string(), &skep.token);
    let engine = Http::unix(&options.socket).await;
    let mut stage = Stage { engine, proxy, skep, client };
    let (mut drift, mut back, mut told) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..rounds {
        let stack = format!("skb-react{round}");
        stage.brings(&stack, ("1", SERVE), 1, "Converged").await;

        // The last task runs, plus the monitor period, until a subscriber hears of it.
        let heard = stage.brings(&stack, ("2", SERVE), 2, "Converged").await;
        let tasks = stage.tasks(&stack).await;
        let running = tasks.iter().filter(|task| task["Status"]["State"] == "running");
        let due = running.map(|task| time(&task["Status"]["Timestamp"])).max().expect("it runs") + MONITOR;
        told.add(wall(heard).duration_since(due).unwrap_or_default());

        // A foreign change is accepted, until the corrective call.
        let live = stage.service(&stack).await;
        let (id, version) = (live["ID"].as_str().unwrap().to_owned(), live["Version"]["Index"].as_u64().unwrap());
        let mut spec = live["Spec"].clone();
        spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["RELEASE=mine"]);
        let mark = stage.proxy.mark();
        stage.engine.ask(Method::POST, &format!("{API}/services/{id}/update?version={version}"), &spec).await;
        let changed = Instant::now();
        let call = stage.proxy.until(mark, |call| is_update(call, &id)).await;
        drift.add(call.asked.saturating_duration_since(changed));
        let mut watch = Watch::stack(&stage.client, &stack);
        watch.until_phase("Converged", 60).await;

        // A task of a bad version is seen to have failed, until the first call of the way back.
        stage.proxy.quiet(mark, Duration::from_millis(300)).await;
        let mark = stage.proxy.mark();
        stage.brings(&stack, ("bad", "[sh, -c, 'exit 3']"), 3, "RolledBack").await;
        let calls = stage.proxy.since(mark);
        let mut updates = calls.iter().filter(|call| is_update(call, &id) && call.status == 200);
        let (_, way_back) = (updates.next(), updates.next().expect("the way back is an update"));
        let tasks = stage.tasks(&stack).await;
        let failed = tasks.iter().filter(|task| task["Status"]["State"] == "failed");
        let failed = failed.map(|task| time(&task["Status"]["Timestamp"])).min().expect("it failed");
        back.add(wall(way_back.asked).duration_since(failed).unwrap_or_default());
        let mut api = stage.skep.client().await;
        let query = "mutation($input: DeleteStackInput!) { deleteStack(input: $input) { userErrors { message } } }";
        api.graphql(query, json!({ "input": { "stack": { "name": stack }, "confirmName": stack } })).await;
    }
    let mut rows = vec![row(["", "median", "p99", "aim at p99", ""])];
    for (what, samples, aim) in [
        ("foreign change → corrective call", &drift, 300),
        ("failure of a task → first call of the way back", &back, 500),
        ("last task runs, plus monitor → Converged at a subscriber", &told, 500),
    ] {
        let aim = Duration::from_millis(aim);
        let met = verdict(samples.p99() <= aim);
        rows.push(row([what, &ms(samples.median()), &ms(samples.p99()), &ms(aim), met]));
    }
    table(&format!("Reactions, {rounds} of each"), &rows);
}
