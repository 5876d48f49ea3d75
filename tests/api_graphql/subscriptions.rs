//! Subscriptions: the snapshot first, then every change, resumable.

use std::time::Duration;

use serde_json::{Value, json};
use skep::api::ApiOptions;
use skep::domain::DeploymentPhase;
use skep::ledger::Batch;

use crate::world::{SHOP, World, shop};

fn sequence(value: &Value) -> u64 {
    value["sequence"].as_u64().unwrap_or_else(|| panic!("{value}"))
}

#[tokio::test]
async fn a_stack_is_followed_from_its_snapshot_on() {
    let world = World::with_shop().await;
    let mut socket = world.socket().await;
    socket.subscribe("1", "subscription { stackChanged(name: \"shop\") { sequence stack { generation } } }").await;
    let first = socket.data().await;
    assert_eq!(first["stack"]["generation"], 1);
    world.deploy("v2").await;
    let second = socket.data().await;
    assert_eq!(second["stack"]["generation"], 2);
    assert!(sequence(&second) > sequence(&first));
    // What happens to others is not told.
    world.apply(&SHOP.replace("name: shop", "name: other")).await;
    assert!(socket.is_quiet().await);
    world.ledger.commit(Batch::new().delete_stack(&shop())).await.unwrap();
    assert_eq!(socket.data().await["stack"], Value::Null);
}

#[tokio::test]
async fn subscribers_are_counted_while_they_follow() {
    let world = World::with_shop().await;
    world.until_subscribers(0).await;
    let mut socket = world.socket().await;
    socket.subscribe("1", "subscription { stackChanged(name: \"shop\") { sequence } }").await;
    socket.data().await;
    world.until_subscribers(1).await;
    socket.subscribe("2", "subscription { stacksChanged { sequence } }").await;
    let mut other = world.socket().await;
    other.subscribe("1", "subscription { eventAdded(last: 1) { sequence } }").await;
    world.until_subscribers(3).await;
    // One by its own word, and all of a connection that is gone.
    socket.send(json!({ "id": "2", "type": "complete" })).await;
    world.until_subscribers(2).await;
    drop(socket);
    world.until_subscribers(1).await;
    drop(other);
    world.until_subscribers(0).await;
}

#[tokio::test]
async fn who_comes_back_is_told_only_what_was_missed() {
    let world = World::with_shop().await;
    let query = |after: u64| {
        format!("subscription {{ stackChanged(name: \"shop\", after: {after}) {{ sequence stack {{ generation }} }} }}")
    };
    let mut socket = world.socket().await;
    socket.subscribe("1", &query(world.ledger.revision())).await;
    assert!(socket.is_quiet().await, "nothing changed since");
    let before = world.ledger.revision();
    world.deploy("v2").await;
    world.deploy("v3").await;
    assert_eq!(socket.data().await["stack"]["generation"].as_u64().map(|it| it >= 2), Some(true));
    let mut back = world.socket().await;
    back.subscribe("1", &query(before)).await;
    let missed = back.data().await;
    assert_eq!((missed["stack"]["generation"].clone(), sequence(&missed)), (json!(3), world.ledger.revision()));
    // A sequence nobody knows gives a fresh snapshot.
    for unknown in [0, 999_999] {
        let mut lost = world.socket().await;
        lost.subscribe("1", &query(unknown)).await;
        assert_eq!(lost.data().await["stack"]["generation"], 3);
    }
}

#[tokio::test]
async fn all_stacks_are_followed() {
    let world = World::with_shop().await;
    let query = "subscription { stacksChanged { sequence snapshot { name } stack { name generation } deleted { name environment } } }";
    let mut socket = world.socket().await;
    socket.subscribe("1", query).await;
    let first = socket.data().await;
    assert_eq!(first["snapshot"], json!([{ "name": "shop" }]));
    world.apply(&SHOP.replace("name: shop", "name: other")).await;
    let added = socket.data().await;
    assert_eq!(
        (added["snapshot"].clone(), added["stack"].clone()),
        (Value::Null, json!({ "name": "other", "generation": 1 }))
    );
    world.ledger.commit(Batch::new().delete_stack(&shop())).await.unwrap();
    assert_eq!(socket.data().await["deleted"], json!({ "name": "shop", "environment": "default" }));
    let mut back = world.socket().await;
    let resumed = query.replace("stacksChanged", &format!("stacksChanged(after: {})", sequence(&added)));
    back.subscribe("1", &resumed).await;
    assert_eq!(back.data().await["deleted"]["name"], "shop");
    let mut elsewhere = world.socket().await;
    elsewhere.subscribe("1", &query.replace("stacksChanged", "stacksChanged(environment: \"prod\")")).await;
    assert_eq!(elsewhere.data().await["snapshot"], json!([]));
}

#[tokio::test]
async fn a_deployment_is_followed_until_it_ends() {
    let world = World::with_shop().await;
    let answer = world.deploy("v2").await;
    let id = answer["deployment"]["deploymentId"].as_str().unwrap().to_owned();
    let query =
        format!("subscription {{ deploymentChanged(id: \"{id}\") {{ sequence deployment {{ phase verdict }} }} }}");
    let mut socket = world.socket().await;
    socket.subscribe("1", &query).await;
    assert_eq!(socket.data().await["deployment"]["phase"], "Pending");
    world.move_on(&id, DeploymentPhase::Verifying).await;
    assert_eq!(socket.data().await["deployment"], json!({ "phase": "Verifying", "verdict": "Progressing" }));
    world.move_on(&id, DeploymentPhase::Converged).await;
    let last = socket.data().await;
    assert_eq!(last["deployment"], json!({ "phase": "Converged", "verdict": "Converged" }));
    assert_eq!(socket.next().await, json!({ "type": "complete", "id": "1" }));
    // One that has ended is told once, whatever was seen before.
    let late = query.replace("(id:", &format!("(after: {}, id:", sequence(&last)));
    socket.subscribe("2", &late).await;
    assert_eq!(socket.data().await["deployment"]["phase"], "Converged");
    assert_eq!(socket.next().await["type"], "complete");
    socket.subscribe("3", "subscription { deploymentChanged(id: \"no\") { sequence } }").await;
    let refused = socket.next().await;
    assert_eq!(refused["payload"]["errors"][0]["extensions"]["code"], "NOT_FOUND", "{refused}");
}

#[tokio::test]
async fn events_are_followed_without_a_gap() {
    let world = World::with_shop().await;
    let mut socket = world.socket().await;
    socket.subscribe("1", "subscription { eventAdded(last: 1) { sequence event { type stack } } }").await;
    let first = socket.data().await;
    assert_eq!((sequence(&first), first["event"]["type"].clone()), (2, json!("DeploymentCreated")));
    world.deploy("v2").await;
    for expected in [3, 4] {
        assert_eq!(sequence(&socket.data().await), expected);
    }
    let mut back = world.socket().await;
    back.subscribe("1", "subscription { eventAdded(after: 1) { sequence } }").await;
    for expected in [2, 3, 4] {
        assert_eq!(sequence(&back.data().await), expected);
    }
    assert!(back.is_quiet().await);
    let mut filtered = world.socket().await;
    filtered.subscribe("1", "subscription { eventAdded(stack: \"other\") { sequence event { stack } } }").await;
    world.apply(&SHOP.replace("name: shop", "name: other")).await;
    assert_eq!(filtered.data().await["event"]["stack"], "other");
}

#[tokio::test]
async fn a_follower_that_is_too_slow_gets_a_fresh_snapshot() {
    let world = World::with_shop().await;
    let mut socket = world.socket().await;
    socket
        .subscribe("1", "subscription { stacksChanged { sequence snapshot { name generation } stack { generation } } }")
        .await;
    socket.data().await;
    // More than is remembered, faster than one who reads nothing can be told.
    for _ in 0..4_500 {
        let stack = world.ledger.stack(&shop()).unwrap().unwrap().value;
        world.ledger.commit(Batch::new().put_stack(&stack)).await.unwrap();
    }
    world.deploy("v2").await;
    loop {
        let change = socket.data().await;
        let seen = [&change["stack"]["generation"], &change["snapshot"][0]["generation"]];
        if seen.contains(&&json!(2)) {
            assert!(sequence(&change) > 4_500);
            break;
        }
    }
}

/// Its machine keeps the connection, and nobody reads there: others do not wait for it, and it is let go of.
#[tokio::test]
async fn a_follower_that_never_reads_is_let_go_of() {
    let world = World::with(ApiOptions { stalled: Duration::from_secs(1), ..ApiOptions::default() }).await;
    world.apply(SHOP).await;
    let names = (0..20).map(|it| format!("a{it}: name")).collect::<Vec<_>>().join(" ");
    let query = format!("subscription {{ stacksChanged {{ sequence stack {{ generation {names} }} }} }}");
    let (mut deaf, mut other) = (world.narrow_socket().await, world.socket().await);
    for id in 0..8 {
        deaf.subscribe(&id.to_string(), &query).await;
    }
    other.subscribe("1", &query).await;
    world.until_subscribers(9).await;
    let until_2 = tokio::spawn(async move {
        while other.data().await["stack"]["generation"] != json!(2) {}
        other
    });
    // More than the buffers between the two take.
    for _ in 0..1_500 {
        let stack = world.ledger.stack(&shop()).unwrap().unwrap().value;
        world.ledger.commit(Batch::new().put_stack(&stack)).await.unwrap();
    }
    world.deploy("v2").await;
    let mut other = until_2.await.unwrap();
    world.until_subscribers(1).await;
    // One that is told nothing for longer is no such follower.
    world.deploy("v3").await;
    while other.data().await["stack"]["generation"] != json!(3) {}
}

#[tokio::test]
async fn a_log_is_followed_and_resumed() {
    let world = World::with_shop().await;
    let id = world.data("{ stack(name: \"shop\") { deploymentId } }", json!({})).await["stack"]["deploymentId"].clone();
    let fields = "sequence ended lines { time service task slot node stream text }";
    let mut socket = world.socket().await;
    let query = format!("subscription {{ logLines(deployment: {id}, tail: 7, follow: false) {{ {fields} }} }}");
    socket.subscribe("1", &query).await;
    assert_eq!(socket.data().await, json!({ "sequence": 0, "ended": false, "lines": [] }));
    let found = socket.data().await;
    let time = "2026-01-31T12:00:00Z";
    assert_eq!(
        found["lines"],
        json!([
            { "time": time, "service": null, "task": null, "slot": null, "node": null, "stream": "Stdout", "text": "a step" },
            { "time": time, "service": "web", "task": "t1", "slot": 2, "node": "node-1", "stream": "Stderr",
              "text": format!("deployment {}: 7", id.as_str().unwrap()) },
        ])
    );
    let after = sequence(&found);
    assert_eq!(socket.data().await, json!({ "sequence": after, "ended": true, "lines": [] }));
    assert_eq!(socket.next().await["type"], "complete");

    // Who comes back misses nothing, and sees nothing twice.
    let query =
        format!("subscription {{ logLines(stack: \"shop\", service: \"api\", after: {after}) {{ {fields} }} }}");
    socket.subscribe("2", &query).await;
    assert_eq!(sequence(&socket.data().await), after);
    let found = socket.data().await;
    assert_eq!(found["lines"][1]["time"], "2026-01-31T12:00:00.000001Z");
    assert_eq!(found["lines"][1]["service"], "api");
    assert!(found["lines"][1]["text"].as_str().unwrap().ends_with(": 10000"), "{found}");
    assert!(socket.is_quiet().await);

    for (wrong, code) in [("", "INVALID"), ("(stack: \"no\")", "NOT_FOUND"), ("(deployment: \"no\")", "NOT_FOUND")] {
        let mut socket = world.socket().await;
        socket.subscribe("3", &format!("subscription {{ logLines{wrong} {{ sequence }} }}")).await;
        let said = socket.next().await;
        let error = said.pointer("/payload/errors/0").or(said.pointer("/payload/0"));
        assert_eq!(error.and_then(|it| it.pointer("/extensions/code")), Some(&json!(code)), "{said}");
    }
}

#[tokio::test]
async fn a_page_of_stacks_is_followed_by_what_becomes_different() {
    let world = World::with_shop().await;
    for name in ["blog", "wiki"] {
        world.apply(&SHOP.replace("name: shop", &format!("name: {name}"))).await;
    }
    let query = |arguments: &str| {
        format!(
            "subscription {{ stackPageChanged({arguments}) {{ sequence total offset phases {{ phase count }} environments \
             order {{ name }} stacks {{ name generation }} pageInfo {{ hasNextPage }} }} }}"
        )
    };
    let mut socket = world.socket().await;
    socket.subscribe("1", &query("first: 2, order: Newest")).await;
    let first = socket.data().await;
    assert_eq!(first["order"], json!([{ "name": "wiki" }, { "name": "blog" }]));
    assert_eq!((first["total"].clone(), first["pageInfo"]["hasNextPage"].clone()), (json!(3), json!(true)));
    assert_eq!(first["stacks"].as_array().unwrap().len(), 2);
    assert_eq!(
        (first["phases"].clone(), first["environments"].clone()),
        (json!([{ "phase": "Pending", "count": 3 }]), json!(["default"]))
    );
    // A row of the page changes: only that row is told.
    let reconcile = async |name: &str| {
        world.mutate("reconcileStack", "ReconcileStackInput", json!({ "stack": { "name": name } })).await
    };
    reconcile("wiki").await;
    let second = socket.data().await;
    assert_eq!(
        (second["order"].clone(), second["stacks"].clone()),
        (Value::Null, json!([{ "name": "wiki", "generation": 1 }]))
    );
    assert!(sequence(&second) > sequence(&first));
    // Another stack comes onto the page: the order is told, and the one row that is new.
    world.deploy("v2").await;
    let third = socket.data().await;
    assert_eq!(third["order"], json!([{ "name": "shop" }, { "name": "wiki" }]));
    assert_eq!(third["stacks"], json!([{ "name": "shop", "generation": 2 }]));
    // What happens elsewhere says nothing to it.
    reconcile("blog").await;
    assert!(socket.is_quiet().await);
    // One that is gone leaves it.
    world.ledger.commit(Batch::new().delete_stack(&shop())).await.unwrap();
    let fourth = socket.data().await;
    assert_eq!(
        (fourth["order"].clone(), fourth["total"].clone()),
        (json!([{ "name": "wiki" }, { "name": "blog" }]), json!(2))
    );
    // A filter is the server's.
    let mut narrow = world.socket().await;
    narrow.subscribe("1", &query("text: \"WIK\"")).await;
    assert_eq!(narrow.data().await["order"], json!([{ "name": "wiki" }]));
    let mut none = world.socket().await;
    none.subscribe("1", &query("phases: [Failed]")).await;
    let none = none.data().await;
    assert_eq!((none["order"].clone(), none["total"].clone()), (json!([]), json!(0)));
}
