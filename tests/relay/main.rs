//! A relay by two real `skep serve` processes, with a way between them that is cut and healed, and either of them killed.
//! No engine is needed: what is looked at is that both say the same afterwards, with nothing lost and nothing doubled. What
//! becomes of it on Swarms is shown by the end-to-end tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test: what is not there fails it, with what the processes said"
)]

#[path = "../support/fake_engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake_engine;
#[path = "../support/git_http.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests of the source use the rest of it")]
mod git_http;
#[path = "../e2e/support/graphql.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod graphql;
mod logs;
mod pair;
mod skew;
#[path = "../e2e/support/watch.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod watch;
#[path = "../support/way.rs"]
mod way;
mod ways;

use std::collections::BTreeSet;

use fake_engine::{FakeEngine, Say};
use serde_json::{Value, json};

use pair::{NO_ENGINE, Pair, Skep, holds, manifest};
use watch::Watch;

/// It waits for the engine that is not there: nothing more comes of it.
fn waits(stack: &Value) -> bool {
    let ready = |it: &Value| it["type"] == "Ready" && it["reason"] == "EngineUnreachable";
    stack["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
}

fn stale(stack: &Value) -> bool {
    let ready = |it: &Value| it["type"] == "Ready" && it["reason"] == "RelayUnreachable";
    stack["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
}

fn waits_at(generation: u64) -> impl Fn(&Value) -> bool {
    move |it| waits(it) && it["generation"] == generation
}

fn ids(deployments: &[Value]) -> Vec<String> {
    deployments.iter().map(|it| it["deploymentId"].as_str().unwrap().to_owned()).collect()
}

/// Nothing happened twice: each line of the log that a deployment has once stands there once.
fn assert_told_once(events: &[(String, Value, String, Value)]) {
    let mut seen = BTreeSet::new();
    for (kind, deployment, message, _) in events {
        if matches!(kind.as_str(), "DeploymentCreated" | "Superseded" | "Cancelled" | "StackDeclared" | "StackDeleted")
        {
            assert!(
                seen.insert((kind, deployment.to_string())),
                "told twice: {kind} {deployment} {message}\n{events:#?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_declared_near_stands_far_and_what_becomes_of_it_comes_back() {
    let pair = Pair::linked(NO_ENGINE).await;
    let payload = pair.near.apply(&manifest("shop", 1)).await;
    let stack = pair.agree("shop", waits_at(1)).await;
    assert_eq!(stack["deploymentId"], payload["deployment"]["deploymentId"], "the id is the same on both");
    assert_eq!(pair.far.stack("default", "shop").await["deploymentId"], stack["deploymentId"]);

    // All of a person's words go over, in order.
    let key = ("prod", "shop");
    pair.near
        .act("deployStack", key, json!({ "images": [{ "service": "web", "version": "skep-example:2" }] }))
        .await
        .unwrap();
    pair.agree("shop", waits_at(2)).await;
    pair.near.act("suspendStack", key, json!({ "reason": "lunch" })).await.unwrap();
    pair.agree("shop", |it| it["phase"] == "Suspended").await;
    pair.near.act("resumeStack", key, json!({})).await.unwrap();
    pair.agree("shop", waits_at(2)).await;
    pair.near.act("cancelDeployment", key, json!({})).await.unwrap();
    let newest = pair.near.deployments("prod", "shop").await[0]["deploymentId"].clone();
    Watch::deployment(&pair.near.client(), newest.as_str().unwrap()).until_phase("Cancelled", 60).await;
    pair.agree("shop", |_| true).await;

    // Only the near one declares.
    for (mutation, more) in [
        ("deployStack", json!({ "images": [{ "service": "web", "version": "1" }] })),
        ("suspendStack", json!({ "reason": "x" })),
        ("reconcileStack", json!({})),
        ("deleteStack", json!({ "confirmName": "shop" })),
    ] {
        let refused = pair.far.act(mutation, ("default", "shop"), more).await.unwrap_err();
        assert_eq!(refused[0]["code"], "CONFLICT", "{mutation}: {refused:#?}");
    }
    let own = manifest("shop", 7).replace("environment: prod\n", "");
    let refused = pair.far.client().mutate("applyStack", &json!({ "manifest": own })).await.unwrap_err();
    assert!(refused[0]["message"].as_str().unwrap().contains("another Skep"), "{refused:#?}");

    // The secret shows nowhere.
    for skep in [&pair.near, &pair.far] {
        assert!(!holds(skep.data.path(), "hunter2-shop"), "in the clear on disk");
    }

    pair.near.act("deleteStack", key, json!({ "confirmName": "shop" })).await.unwrap();
    let mut gone = pair.near.watch("prod", "shop");
    gone.until("gone", 60, Value::is_null).await;
    assert!(pair.far.stack("default", "shop").await.is_null());
    for events in [pair.near.events("prod", "shop").await, pair.far.events("default", "shop").await] {
        assert_told_once(&events);
        assert!(events.iter().any(|it| it.0 == "StackDeleted"), "{events:#?}");
    }
    assert_eq!(pair.near.deployments("prod", "shop").await, pair.far.deployments("default", "shop").await);
}

#[tokio::test]
async fn a_cut_way_loses_nothing_and_doubles_nothing() {
    let pair = Pair::linked(NO_ENGINE).await;
    pair.near.apply(&manifest("shop", 1)).await;
    pair.agree("shop", waits_at(1)).await;
    pair.way.cut();
    let mut watch = pair.near.watch("prod", "shop");
    let stack = watch.until("stale", 60, stale).await;
    assert_eq!(stack["phase"], "Unknown", "{stack:#}");
    assert!(stack["message"].as_str().unwrap().contains("was known before"), "{stack:#}");
    let environment = pair.near.environment("prod").await;
    assert_eq!(environment["connected"], false, "{environment:#}");
    let doctor = pair.near.cli(&["doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("does not answer"), "{doctor:?}");

    // Everything is taken meanwhile, here and in other environments.
    for release in 2..=30 {
        pair.near.apply(&manifest("shop", release)).await;
    }
    pair.near.apply(&manifest("late", 1)).await;
    pair.near.apply(&manifest("here", 1).replace("environment: prod\n", "")).await;
    let mut here = pair.near.watch("default", "here");
    here.until("looked at", 60, waits).await;
    assert_eq!(pair.far.deployments("default", "shop").await.len(), 1, "nothing came through");

    pair.way.heal();
    pair.agree("shop", waits_at(30)).await;
    pair.agree("late", waits_at(1)).await;
    assert_eq!(pair.near.environment("prod").await["connected"], pair.far.environment("default").await["connected"]);
    let deployments = pair.near.deployments("prod", "shop").await;
    assert_eq!(deployments.len(), 30, "each request is there once");
    assert_eq!(deployments.iter().filter(|it| it["phase"] == "Superseded").count(), 29, "{deployments:#?}");
    for events in [pair.near.events("prod", "shop").await, pair.far.events("default", "shop").await] {
        assert_told_once(&events);
        assert_eq!(events.iter().filter(|it| it.0 == "Superseded").count(), 29, "{events:#?}");
    }
    // One list of all environments.
    let data = pair.near.client().query("{ deployments(first: 100) { edges { node { environment } } } }").await;
    let all = data["deployments"]["edges"].as_array().unwrap();
    let of = |name: &str| all.iter().filter(|it| it["node"]["environment"] == name).count();
    assert_eq!((of("prod"), of("default")), (31, 1));
}

/// Every deployment but the newest is told as overtaken, once, on both.
async fn assert_overtaken(pair: &Pair, name: &str, wanted: &[String]) {
    let near = pair.near.deployments("prod", name).await;
    let (newest, older) = wanted.split_last().unwrap();
    for (id, deployment) in near.iter().map(|it| (it["deploymentId"].as_str().unwrap(), it)) {
        assert!(newest == id || deployment["phase"] == "Superseded", "{deployment:#}");
    }
    for events in [pair.near.events("prod", name).await, pair.far.events("default", name).await] {
        assert_told_once(&events);
        for id in older {
            let told = events.iter().filter(|it| it.0 == "Superseded" && it.1 == id.as_str()).count();
            assert_eq!(told, 1, "{id}: {events:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_overtaken_before_a_stack_is_handed_over_for_the_first_time_has_an_end_on_both() {
    let pair = Pair::linked(NO_ENGINE).await;
    pair.near.apply(&manifest("other", 1)).await;
    pair.agree("other", waits_at(1)).await;
    // Once while nothing was known of it there, and once more while it is somebody else's there.
    pair.way.cut();
    pair.near.watch("prod", "other").until("stale", 60, stale).await;
    let mut wanted = Vec::new();
    for release in 1..=4 {
        let payload = pair.near.apply(&manifest("shop", release)).await;
        wanted.push(payload["deployment"]["deploymentId"].as_str().unwrap().to_owned());
    }
    pair.way.heal();
    pair.agree("shop", waits_at(4)).await;
    let mut found = ids(&pair.near.deployments("prod", "shop").await);
    found.reverse();
    assert_eq!(found, wanted);
    assert_overtaken(&pair, "shop", &wanted).await;

    pair.far.claim("default").await;
    pair.far.act("suspendStack", ("default", "shop"), json!({ "reason": "ours" })).await.unwrap();
    for release in 5..=7 {
        let payload = pair.near.apply(&manifest("shop", release)).await;
        wanted.push(payload["deployment"]["deploymentId"].as_str().unwrap().to_owned());
    }
    let stalled = |it: &Value| it["type"] == "Stalled" && it["status"] == "True";
    let refused = |it: &Value| it["conditions"].as_array().is_some_and(|all| all.iter().any(stalled));
    pair.near.watch("prod", "shop").until("refused", 60, refused).await;
    pair.near.claim("prod").await;
    pair.agree("shop", waits_at(7)).await;
    assert_overtaken(&pair, "shop", &wanted).await;
}

#[tokio::test]
async fn a_kill_of_either_in_the_middle_loses_nothing_and_doubles_nothing() {
    let mut pair = Pair::linked(NO_ENGINE).await;
    let mut wanted = Vec::new();
    for release in 1..=24 {
        let payload = pair.near.apply(&manifest("shop", release)).await;
        wanted.push(payload["deployment"]["deploymentId"].as_str().unwrap().to_owned());
        match release {
            5 | 15 => {
                pair.far.kill().await;
                pair.far.restart().await;
            }
            10 | 20 => {
                pair.near.kill().await;
                pair.near.restart().await;
            }
            12 => pair.way.cut(),
            14 => pair.way.heal(),
            _ => {}
        }
    }
    pair.agree("shop", waits_at(24)).await;
    let mut found = ids(&pair.near.deployments("prod", "shop").await);
    found.reverse();
    assert_eq!(found, wanted, "every acknowledged request is there, once");
    assert_told_once(&pair.near.events("prod", "shop").await);
    assert_told_once(&pair.far.events("default", "shop").await);
}

#[tokio::test]
async fn whose_a_stack_is_is_decided_by_the_newest_claim() {
    let pair = Pair::linked(NO_ENGINE).await;
    pair.near.apply(&manifest("shop", 1)).await;
    pair.agree("shop", waits_at(1)).await;
    let own = |release| manifest("other", release).replace("environment: prod\n", "");
    // The far one's people take over.
    pair.far.claim("default").await;
    pair.far.act("suspendStack", ("default", "shop"), json!({ "reason": "ours" })).await.unwrap();
    pair.near.apply(&manifest("shop", 2)).await;
    let refused = |it: &Value| {
        let stalled = |it: &Value| it["type"] == "Stalled" && it["reason"] == "Conflict" && it["status"] == "True";
        it["conditions"].as_array().is_some_and(|all| all.iter().any(stalled))
    };
    let mut watch = pair.near.watch("prod", "shop");
    let shown = watch.until("refused", 60, refused).await;
    assert!(shown["message"].as_str().unwrap().contains("declared there itself"), "{shown:#}");
    // A stack that is theirs is not taken either.
    pair.far.apply(&own(1)).await;
    pair.near.apply(&manifest("other", 1)).await;
    pair.near.watch("prod", "other").until("refused", 60, refused).await;
    assert_eq!(pair.far.stack("default", "shop").await["generation"], 1);

    // The near one's word counts again: what it declares comes after what stands there.
    pair.near.claim("prod").await;
    let shop = pair.agree("shop", |it| waits(it) && it["generation"].as_u64() > Some(1)).await;
    assert_eq!(shop["generation"], 2);
    let other = pair.agree("other", waits).await;
    assert_eq!(other["generation"], 2, "it comes after the first one there");
    let refused = pair.far.act("resumeStack", ("default", "shop"), json!({})).await.unwrap_err();
    assert_eq!(refused[0]["code"], "CONFLICT");
}

#[tokio::test]
async fn a_token_that_does_not_reach_or_is_revoked_is_told() {
    let far = Skep::start(NO_ENGINE).await;
    let near = Skep::start(NO_ENGINE).await;
    let url = format!("http://{}", far.address);
    let token = far.run(&["token", "create", "narrow", "--role", "viewer", "--environments", "default"]);
    near.relay_to("prod", &url, token.lines().last().unwrap());
    near.apply(&manifest("shop", 1)).await;
    let stalled = |it: &Value| {
        let stalled = |it: &Value| it["type"] == "Stalled" && it["status"] == "True";
        it["conditions"].as_array().is_some_and(|all| all.iter().any(stalled))
    };
    let shown = near.watch("prod", "shop").until("refused", 60, stalled).await;
    assert!(shown["message"].as_str().unwrap().contains("may not"), "{shown:#}");
    far.run(&["token", "revoke", "narrow"]);
    let shown = near.watch("prod", "shop").until("cut off", 60, stale).await;
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("a valid token is needed") || message.contains("revoked"), "{message}");
    assert!(far.stack("default", "shop").await.is_null());
    // A new one mends it.
    let token = far.run(&["token", "create", "wide", "--role", "operator"]);
    near.relay_to("prod", &url, token.lines().last().unwrap());
    near.watch("prod", "shop").until("taken", 60, waits).await;
}

/// A Skep of another version: it greets with these protocols, and tells one stack in words of its own.
async fn stranger(protocol: u32, oldest: u32, revision: &'static str) -> FakeEngine {
    let greeting = json!({
        "protocol": protocol, "oldest": oldest, "version": "9.9.9", "far": { "instance": "far", "restored": null },
        "now": "2026-01-01T00:00:00Z", "revision": 7, "sequence": 7,
    });
    let status = json!({
        "observed_generation": 1, "source": null, "desired": null, "target": { "kind": "Somewhere", "version": null },
        "live": null, "last_good": null, "held": [], "attempt": null, "inventory": [],
        "conditions": [
            { "type": "Ready", "status": "False", "reason": "Moonlit", "message": "m", "observed_generation": 1,
              "since": "2026-01-01T00:00:00Z" },
            { "type": "Healthy", "status": "True", "reason": "Succeeded", "message": "all is well",
              "observed_generation": 1, "since": "2026-01-01T00:00:00Z" },
        ],
        "drift": { "found": [], "corrections": 0, "corrected_at": null }, "handled_reconcile": null,
        "handled_release": null, "seen": null, "suspended_since": null, "moon": "full",
    });
    let lines = [
        json!({ "kind": "Stack", "name": "shop", "revision": 0, "status": status }),
        json!({ "kind": "Weather", "sky": "blue" }),
        json!({ "kind": "Event", "sequence": 8, "event": {
            "time": "2026-01-01T00:00:01Z", "type": "MoonRose", "environment": "default", "stack": "shop",
            "deployment": null, "reason": "Moon", "message": "the moon rose", "actor": "controller", "via": null } }),
        json!({ "kind": "Mark", "revision": 8, "sequence": 8, "whole": true }),
    ];
    let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    );
    let chunked: &'static str = Box::leak(chunked.into_boxed_str());
    FakeEngine::start(move |asked| match asked {
        asked if asked.contains("/changes?") && asked.contains("protocol=1") => Say::Raw(chunked),
        asked if asked.starts_with("PUT ") && asked.ends_with("/odd") => {
            Say::Answer(200, r#"{"outcome":"Postponed","until":"tonight"}"#.to_owned())
        }
        asked if asked.starts_with("PUT ") => Say::Answer(200, r#"{"outcome":"Taken"}"#.to_owned()),
        _ if revision.is_empty() => Say::Answer(404, "{}".to_owned()),
        _ => Say::Answer(200, greeting.to_string()),
    })
    .await
}

#[tokio::test]
async fn a_deployment_is_in_the_trace_of_its_request_on_both() {
    let pair = Pair::linked(NO_ENGINE).await;
    let near = pair.near.client().in_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let applied = near.mutate("applyStack", &json!({ "manifest": manifest("shop", 1) })).await.unwrap();
    assert_eq!(applied["deployment"]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    pair.agree("shop", waits_at(1)).await;
    let far = pair.far.deployments("default", "shop").await;
    assert_eq!(far.len(), 1, "{far:#?}");
    assert_eq!(far[0]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn a_newer_skep_is_understood_as_far_as_it_can_be_and_one_too_new_is_named() {
    let near = Skep::start(NO_ENGINE).await;
    let newer = stranger(2, 1, "x").await;
    near.relay_to("prod", &newer.endpoint.replace("tcp://", "http://"), "token-of-the-far-one");
    near.apply(&manifest("shop", 1)).await;
    let healthy =
        |it: &Value| it["conditions"].as_array().is_some_and(|all| all.iter().any(|it| it["type"] == "Healthy"));
    let shown = near.watch("prod", "shop").until("told", 60, healthy).await;
    assert!(!shown.to_string().contains("Moonlit"), "{shown:#}");
    assert_eq!(shown["observedGeneration"], 1);
    let events = near.events("prod", "shop").await;
    assert!(events.iter().any(|it| it.2 == "the moon rose"), "{events:#?}");

    let later = stranger(9, 8, "x").await;
    near.relay_to("prod", &later.endpoint.replace("tcp://", "http://"), "token-of-the-far-one");
    let shown = near.watch("prod", "shop").until("too new", 60, stale).await;
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("9.9.9") && message.contains("update this Skep"), "{message}");
}
