//! Two Swarms and a relay: a near Skep with a Swarm of its own, and a far one that keeps the other. The way between them is cut
//! and healed, and either of them killed, in the middle of deployments.

use std::time::Duration;

use serde_json::{Value, json};

use crate::git_http::Repo;
use crate::support::compose::{Web, compose};
use crate::support::docker;
use crate::support::engine::Engine;
use crate::support::graphql::{Client, DEPLOYMENT, STACK};
use crate::support::hive::{Hive, Settings, Stay};
use crate::support::stack::{of_commit, unique};
use crate::support::watch::Watch;
use crate::way::Way;

/// A stack of the environment `prod`, declared near, kept far.
struct Relayed {
    name: String,
    repo: Repo,
    near: Hive,
    way: Way,
    client: Client,
    watch: Watch,
    // The last to go: what is left of the stack is removed with it.
    far: Stay,
    engine: Engine,
}

impl Relayed {
    async fn new(topic: &str) -> Self {
        let far = Stay::alone().await;
        let engine = Engine::start();
        let near = Hive::with(Settings { docker: Some(engine.endpoint.clone()), ..Settings::default() });
        let way = Way::to(&far.address);
        let made = far.cli(&["token", "create", &unique("near"), "--role", "operator", "--environments", "default"]);
        assert!(made.status.success(), "{made:?}");
        let token = String::from_utf8(made.stdout).unwrap();
        let manifest = format!(
            "kind: Credential\nname: far\ntype: SkepToken\nhosts: [127.0.0.1]\ndata: {{ token: {:?} }}\n---\n\
             kind: Environment\nname: prod\nrelay: {{ url: {:?}, credential: far }}\n",
            token.trim(),
            way.url
        );
        let client = near.client();
        client
            .mutate("applyStack", &json!({ "manifest": manifest }))
            .await
            .unwrap_or_else(|errors| panic!("{errors:#?}"));
        let name = unique(topic);
        let repo = Repo::create(far.repositories(), &name);
        let watch = Watch::stack_in(&client, "prod", &name);
        Self { name, repo, near, way, client, watch, far, engine }
    }

    fn push(&self, release: &str, web: Web) -> String {
        self.repo.commit("main", &[("docker-stack.yml", &compose(release, web))])
    }

    async fn apply(&self, more: &str) -> Value {
        let manifest = format!(
            "kind: Stack\nname: {}\nenvironment: prod\nsource: {{ git: {:?}, ref: main, poll: 1s }}\n\
             compose: [docker-stack.yml]\npolicy: {{ progressDeadline: 60s, totalDeadline: 4m, monitor: 1s }}\n{more}",
            self.name,
            self.far.git.url(&self.name)
        );
        let input = json!({ "manifest": manifest });
        self.client.mutate("applyStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    async fn until_converged_on(&mut self, commit: &str) -> Value {
        let wanted = |it: &Value| it["phase"] == "Converged" && of_commit(&it["live"], commit);
        self.watch.until(&format!("converged on {commit}"), 180, wanted).await
    }

    async fn until_phase(&mut self, phase: &str) -> Value {
        self.watch.until_phase(phase, 180).await
    }

    async fn said(client: &Client, environment: &str, name: &str) -> (Value, Value, Vec<Value>) {
        let document = format!(
            "{{ stack(name: {name:?}, environment: {environment:?}) {{ {STACK} }} \
             deployments(stack: {name:?}, environment: {environment:?}, first: 100) {{ edges {{ node {{ {DEPLOYMENT} }} }} }} \
             events(stack: {name:?}, environment: {environment:?}, first: 200) {{ edges {{ node {{ sequence type deploymentId \
             message via }} }} }} }}"
        );
        let data = client.query(&document).await;
        let mut events: Vec<Value> =
            data["events"]["edges"].as_array().unwrap().iter().map(|it| it["node"].clone()).collect();
        events.sort_by_key(|it| it["sequence"].as_u64());
        events.retain(|it| it["via"].is_null());
        for event in &mut events {
            event["sequence"] = Value::Null;
        }
        (data["stack"].clone(), data["deployments"]["edges"].clone(), events)
    }

    /// Waits until both say the same: stack, deployments, and what Skep itself logged.
    async fn agree(&self) -> (Value, Value, Vec<Value>) {
        let far = self.far.client();
        let (mut here, mut there) = Default::default();
        for _ in 0..600 {
            here = Self::said(&self.client, "prod", &self.name).await;
            there = Self::said(&far, "default", &self.name).await;
            if here == there {
                return here;
            }
            // What is on its way comes within moments; nobody tells when both have said all.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("they do not agree\nnear: {here:#?}\nfar: {there:#?}");
    }

    fn assert_runs(&self, release: &str) {
        for (service, replicas) in [("web", 2), ("worker", 1)] {
            let name = format!("{}_{service}", self.name);
            assert_eq!(docker::running_releases(&name), vec![release; replicas], "tasks of {name}");
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.way.heal();
        self.near.cli(&["delete", &self.name, "-e", "prod", "--yes"]);
        docker::remove_stack(&self.name);
    }
}

#[tokio::test]
async fn a_swarm_behind_a_relay_is_like_any_other() {
    let mut it = Relayed::new("relay").await;
    let keyed = compose("1", Web::Good).replace("RELEASE: \"1\"", "RELEASE: \"1\", KEY: \"${KEY}\"");
    let first = it.repo.commit("main", &[("docker-stack.yml", &keyed)]);
    let applied = it.apply("variables: { KEY: { value: hunter2-relay, secret: true } }\n").await;
    let id = applied["deployment"]["deploymentId"].as_str().unwrap().to_owned();
    let (code, lines) = it.near.follow(&["logs", "--deployment", &id, "-f"]).end();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("Converged: ")), "{lines:#?}");
    it.until_converged_on(&first).await;
    it.assert_runs("1");
    assert_eq!(it.agree().await.0["deploymentId"], id.as_str(), "the id is the same on both");
    // The secret is there, and shows nowhere.
    let web = docker::service(&format!("{}_web", it.name)).unwrap();
    assert_eq!(docker::variable(&web, "KEY").as_deref(), Some("hunter2-relay"));
    let rendered = it.near.cli(&["render", &it.name, "-e", "prod"]);
    let text = String::from_utf8_lossy(&rendered.stdout).into_owned();
    assert!(rendered.status.success() && text.contains("***") && !text.contains("hunter2"), "{rendered:?}");

    // The other Swarm, in the same lists, and each stack on its own.
    let own = unique("own");
    let manifest =
        json!({ "kind": "Stack", "name": own, "inline": compose("1", Web::Good), "policy": { "monitor": "1s" } });
    it.client.mutate("applyStack", &json!({ "manifest": manifest.to_string() })).await.unwrap();
    Watch::stack(&it.client, &own).until_phase("Converged", 180).await;
    assert!(it.engine.docker(&["service", "ls", "--format", "{{.Name}}"]).contains(&own));
    assert_eq!(docker::of_stack("service", &own), Vec::<String>::new());
    let data = it.client.query("{ deployments(first: 50) { edges { node { stack environment } } } environments { name connected nodeCount } }").await;
    let all = data["deployments"]["edges"].to_string();
    assert!(all.contains(&own) && all.contains(&it.name), "{all}");
    for environment in data["environments"].as_array().unwrap() {
        assert_eq!(
            (&environment["connected"], &environment["nodeCount"]),
            (&json!(true), &json!(1)),
            "{environment:#}"
        );
    }

    // A plan, from there.
    let diff = it.near.cli(&["diff", &it.name, "-e", "prod"]);
    assert_eq!(diff.status.code(), Some(0), "nothing differs: {diff:?}");

    // A version that fails goes back there, and here is shown why.
    let bad = it.push("2", Web::Exits);
    let stack = it.until_phase("RolledBack").await;
    assert!(of_commit(&stack["desired"], &bad), "{stack:#}");
    it.assert_runs("1");
    let (_, deployments, _) = it.agree().await;
    let failed = deployments.as_array().unwrap().iter().map(|it| &it["node"]).find(|it| of_commit(it, &bad)).unwrap();
    assert_eq!(failed["failure"]["class"], "ExitCode", "{failed:#}");
    assert_eq!(failed["failure"]["exitCode"], 3);
    assert!(failed["failure"]["logTail"].to_string().contains("giving up on purpose"), "{failed:#}");
    let past = it.near.cli(&["logs", "--deployment", failed["deploymentId"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&past.stdout).contains("giving up on purpose"), "{past:?}");

    // A person's rollback and its end, and the way out.
    let third = it.push("3", Web::Good);
    it.until_converged_on(&third).await;
    let stack = json!({ "name": it.name, "environment": "prod" });
    it.client.mutate("rollbackStack", &json!({ "stack": stack })).await.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let pinned = |it: &Value| it["phase"] == "Converged" && !it["pin"].is_null() && of_commit(&it["live"], &first);
    it.watch.until("back on the first", 120, pinned).await;
    it.assert_runs("1");
    it.client.mutate("unpinStack", &json!({ "stack": stack })).await.unwrap_or_else(|errors| panic!("{errors:#?}"));
    it.until_converged_on(&third).await;
    it.agree().await;
    let deleted = it.near.cli(&["delete", &it.name, "-e", "prod", "--yes"]);
    assert!(deleted.status.success(), "{deleted:?}");
    for kind in ["service", "network", "config", "secret"] {
        assert_eq!(docker::of_stack(kind, &it.name), Vec::<String>::new());
    }
    assert!(it.far.client().stack(&it.name).await.is_null());
    it.near.cli(&["delete", &own, "--yes"]);
}

#[tokio::test]
async fn a_cut_and_a_kill_in_the_middle_of_deployments_lose_nothing_and_double_nothing() {
    let mut it = Relayed::new("relaycut").await;
    let first = it.push("1", Web::Good);
    it.apply("").await;
    it.until_converged_on(&first).await;

    // Cut in the middle: the far one goes on, the near one says what it does not know, and takes what it is asked.
    let second = it.push("2", Web::Slow);
    it.watch.until("on its way", 60, |it| it["phase"] == "Progressing").await;
    it.way.cut();
    it.until_phase("Unknown").await;
    Watch::stack(&it.far.client(), &it.name)
        .until("converged there", 120, |it| it["phase"] == "Converged" && of_commit(&it["live"], &second))
        .await;
    let bad = it.push("3", Web::Exits);
    Watch::stack(&it.far.client(), &it.name).until_phase("RolledBack", 120).await;
    let stack = json!({ "name": it.name, "environment": "prod" });
    for wanted in ["a", "b", "c"] {
        let input = json!({ "stack": stack, "variables": [{ "name": "UNUSED", "value": wanted }] });
        it.client.mutate("deployStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"));
    }
    let fourth = it.push("4", Web::Good);
    it.way.heal();
    it.until_converged_on(&fourth).await;
    let (_, deployments, _) = it.agree().await;
    let all: Vec<&Value> = deployments.as_array().unwrap().iter().map(|it| &it["node"]).collect();
    let asked = all.iter().filter(|it| it["trigger"] == "Api").count();
    assert_eq!(asked, 4, "each request is there once: {all:#?}");
    let failed = all.iter().find(|it| of_commit(it, &bad) && it["phase"] == "RolledBack").expect("it came back");
    assert_eq!(failed["failure"]["class"], "ExitCode", "{failed:#}");
    it.assert_runs("4");

    // Killed in the middle, the far one first, with changes made meanwhile on the near one.
    it.push("5", Web::Slow);
    it.watch.until("on its way", 60, |it| it["phase"] == "Progressing").await;
    it.far.kill();
    let input = json!({ "stack": stack, "variables": [{ "name": "UNUSED", "value": "d" }] });
    it.client.mutate("deployStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"));
    it.far.restart();
    let sixth = it.push("6", Web::Slow);
    it.watch.until("on its way", 90, |it| it["phase"] == "Progressing" && of_commit(&it["desired"], &sixth)).await;
    it.near.kill();
    it.near.restart();
    it.until_converged_on(&sixth).await;
    let (_, deployments, _) = it.agree().await;
    let asked = deployments.as_array().unwrap().iter().filter(|it| it["node"]["trigger"] == "Api").count();
    assert_eq!(asked, 5);
    it.assert_runs("6");
}
