//! A Swarm of three managers, each an engine of its own: what of it goes and comes back while Skep keeps a stack on it. The
//! version never has to pay for it, and no deployment is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::OwnedRwLockWriteGuard;

use crate::support::fleet::Fleet;
use crate::support::graphql::Client;
use crate::support::hive::{Hive, Settings, Stay};
use crate::support::stack::unique;
use crate::support::watch::Watch;

/// A stack on a fleet of three. Fields go in this order.
struct Ship {
    stack: String,
    client: Client,
    watch: Watch,
    #[expect(dead_code, reason = "held")]
    hive: Hive,
    fleet: Fleet,
    _nobody: OwnedRwLockWriteGuard<()>,
}

impl Ship {
    /// Converged on release `1`, with an environment that names all three managers, in their order.
    async fn afloat() -> Self {
        let nobody = Stay::nobody().await;
        let fleet = Fleet::start(3);
        let hive = Hive::with(Settings { docker: Some(fleet.engines[0].url()), ..Settings::default() });
        let client = hive.client();
        let endpoints: Vec<String> = fleet.engines.iter().map(|engine| engine.url()).collect();
        let manifest = format!("kind: Environment\nname: default\nendpoints: {}\n", json!(endpoints));
        client.insist("applyStack", &json!({ "manifest": manifest })).await;
        let stack = unique("ship");
        let watch = Watch::stack(&client, &stack);
        let mut ship = Self { stack, client, watch, hive, fleet, _nobody: nobody };
        ship.ask_for("1", "").await;
        ship.until_runs("1", 90).await;
        ship
    }

    /// Asks for a release whose web is ready after so many seconds.
    async fn ask_for(&self, release: &str, seconds: &str) {
        let command = match seconds {
            "" => "[serve]".to_owned(),
            seconds => format!("[sh, -c, 'sleep {seconds}; exec serve']"),
        };
        let manifest = format!(
            r#"kind: Stack
name: {}
policy: {{ monitor: 1s, progressDeadline: 20s, totalDeadline: 20m }}
inline: |
  services:
    web:
      image: skep-example:1
      command: {command}
      environment: {{ RELEASE: "{release}" }}
      stop_signal: SIGKILL
      healthcheck: {{ test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1:8080/healthz"], interval: 500ms, timeout: 10s, retries: 120 }}
      deploy:
        replicas: 3
        update_config: {{ parallelism: 3, order: start-first, monitor: 1s }}
        restart_policy: {{ delay: 500ms }}
"#,
            self.stack
        );
        self.client.insist("applyStack", &json!({ "manifest": manifest })).await;
    }

    /// Waits until the stack has converged, and really runs this release, three times; asked from an engine that is there.
    async fn until_runs(&mut self, release: &str, seconds: u64) {
        let spec = |it: &Value| it["phase"] == "Converged" && it["generation"] == it["observedGeneration"];
        self.watch.until(&format!("converged on {release}"), seconds, spec).await;
        let releases = self.releases();
        assert_eq!(releases, [release; 3], "what runs when it is called converged");
    }

    fn asked(&self, arguments: &[&str]) -> String {
        let one = |engine: &crate::support::fleet::Engine| engine.try_docker(arguments).ok();
        self.fleet.engines.iter().rev().find_map(one).expect("a manager answers")
    }

    fn tasks(&self) -> Vec<Value> {
        let service = format!("{}_web", self.stack);
        let ids = self.asked(&["service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", &service]);
        let all: Vec<&str> = ["inspect"].into_iter().chain(ids.lines()).collect();
        let tasks: Vec<Value> = serde_json::from_str(&self.asked(&all)).unwrap();
        tasks.into_iter().filter(|task| task["Status"]["State"] == "running").collect()
    }

    fn releases(&self) -> Vec<String> {
        let of = |task: &Value| {
            let all = task["Spec"]["ContainerSpec"]["Env"].as_array().cloned().unwrap_or_default();
            all.iter().find_map(|it| it.as_str()?.strip_prefix("RELEASE=").map(str::to_owned)).unwrap_or_default()
        };
        self.tasks().iter().map(of).collect()
    }

    /// Waits until Swarm runs a task in each of three slots, and none on this node; tasks have no events. (Where its updater waits
    /// for the node, an old task still runs beside the new one.)
    async fn until_moved_from(&self, node: &str) {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let tasks = self.tasks();
            let slots: BTreeSet<u64> = tasks.iter().filter_map(|task| task["Slot"].as_u64()).collect();
            if slots.len() == 3 && tasks.iter().all(|task| task["NodeID"] != node) {
                return;
            }
            assert!(Instant::now() < end, "the tasks stay on {node}: {tasks:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the stack, in this generation, says this.
    async fn until_said(&mut self, generation: u64, what: &str, seconds: u64) {
        let says = |it: &Value| it["generation"] == generation && it.to_string().contains(what);
        self.watch.until(&format!("told `{what}`"), seconds, says).await;
    }

    /// Nothing has failed, gone back or been held, and there were so many deployments.
    async fn unblamed(&self, deployments: usize) {
        let all = self.client.deployments(&self.stack).await;
        let phases: Vec<&Value> = all.iter().map(|it| &it["phase"]).collect();
        assert_eq!(phases, vec!["Converged"; deployments], "{all:#?}");
        assert_eq!(self.client.stack(&self.stack).await["held"], json!([]));
    }
}

#[tokio::test]
#[ignore = "minutes, on three engines: `make soak` runs it"]
async fn managers_are_drained_demoted_killed_and_frozen_and_the_next_endpoint_is_used() {
    let mut ship = Ship::afloat().await;
    let nodes: Vec<String> = ship.fleet.engines.iter().map(|engine| engine.node()).collect();

    // Drained: Swarm moves the tasks, Skep has nothing to do. A deployment goes where it can.
    ship.fleet.engines[0].docker(&["node", "update", "--availability", "drain", &nodes[1]]);
    ship.until_moved_from(&nodes[1]).await;
    ship.ask_for("drained", "").await;
    ship.until_runs("drained", 90).await;
    ship.unblamed(2).await;
    ship.fleet.engines[0].docker(&["node", "update", "--availability", "active", &nodes[1]]);

    // The manager that is used becomes a worker: the next one is used, until it is a manager again.
    ship.fleet.engines[2].docker(&["node", "demote", &nodes[0]]);
    ship.ask_for("demoted", "").await;
    ship.until_runs("demoted", 90).await;
    ship.fleet.engines[2].docker(&["node", "promote", &nodes[0]]);
    ship.fleet.until_ready(2, 3);

    // The one that is used is killed.
    ship.fleet.engines[1].kill();
    ship.ask_for("killed", "").await;
    ship.until_runs("killed", 120).await;
    ship.fleet.engines[1].start();
    ship.fleet.until_ready(2, 3);

    // And one that takes questions and does not answer them.
    ship.fleet.engines[2].freeze(true);
    ship.ask_for("frozen", "").await;
    ship.until_runs("frozen", 180).await;
    ship.fleet.engines[2].freeze(false);
    ship.unblamed(5).await;
}

#[tokio::test]
#[ignore = "minutes, on three engines: `make soak` runs it"]
async fn a_node_that_is_lost_in_the_middle_and_a_lost_quorum_are_waited_for() {
    let mut ship = Ship::afloat().await;
    let lost = ship.fleet.engines[2].node();

    // Cut off in the middle of a deployment. Swarm's updater may wait for the task it had put there, for as long as the node
    // is away; the version is not blamed for that, and converges when the node is back, if not before.
    ship.ask_for("cut", "4").await;
    ship.until_said(2, "waiting for web", 30).await;
    ship.fleet.engines[2].cut_off(true);
    ship.until_moved_from(&lost).await;
    let decided = |it: &Value| it["phase"] == "Converged" || it.to_string().contains("which is down");
    ship.watch.until("told of the node, or converged", 120, decided).await;
    ship.fleet.engines[2].cut_off(false);
    ship.fleet.until_ready(0, 3);
    ship.until_runs("cut", 180).await;
    ship.unblamed(2).await;

    // Two of three go in the middle of a deployment: there is no leader, and nothing can be said, for longer than the
    // progress deadline is. With the leader everything comes back, and nobody was at fault.
    ship.ask_for("quorum", "8").await;
    ship.until_said(3, "waiting for web", 30).await;
    ship.fleet.engines[1].kill();
    ship.fleet.engines[2].kill();
    ship.until_said(3, "has no leader", 60).await;
    let waits = ship.client.deployments(&ship.stack).await;
    assert!(!["Failed", "RollingBack"].contains(&waits[0]["phase"].as_str().unwrap()), "{waits:#?}");
    tokio::time::sleep(Duration::from_secs(25)).await;
    ship.fleet.engines[1].start();
    ship.fleet.engines[2].start();
    ship.fleet.until_ready(0, 3);
    ship.until_runs("quorum", 240).await;
    ship.unblamed(3).await;
}
