//! Queries.

use serde_json::{Value, json};
use skep::api::ApiOptions;
use skep::domain::{DeploymentId, Event, EventType, StackKey, StackStatus};
use skep::ledger::Batch;

use crate::world::{SHOP, World, shop};

async fn many(count: usize) -> World {
    let world = World::new().await;
    let all: Vec<String> = (0..count).map(|n| SHOP.replace("name: shop", &format!("name: s{n:02}"))).collect();
    assert_eq!(world.apply(&all.join("---\n")).await["userErrors"], json!([]));
    world
}

#[tokio::test]
async fn stacks_come_in_pages_and_filtered() {
    let world = many(7).await;
    let query = "query Q($after: String) { stacks(first: 3, after: $after) { \
        edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let (mut names, mut after, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = world.data(query, json!({ "after": after })).await["stacks"].clone();
        names.extend(
            page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["name"].as_str().unwrap().to_owned()),
        );
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
        after = page["pageInfo"]["endCursor"].clone();
        pages += 1;
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!((pages, names.len()), (3, 7));
    assert!(names.is_sorted());
    let count = |filter: &'static str| {
        let world = &world;
        async move {
            let query = format!("{{ stacks({filter}) {{ edges {{ node {{ name }} }} }} }}");
            world.data(&query, json!({})).await["stacks"]["edges"].as_array().unwrap().len()
        }
    };
    assert_eq!(count("nameContains: \"03\"").await, 1);
    assert_eq!(count("phases: [Pending]").await, 7);
    assert_eq!(count("phases: [Converged, Failed]").await, 0);
    assert_eq!(count("environment: \"default\"").await, 7);
    assert_eq!(count("environment: \"other\"").await, 0);
}

#[tokio::test]
async fn anything_is_found_by_its_global_id() {
    let world = World::with_shop().await;
    let query = "{ stack(name: \"shop\") { id deployment { id } } environments { id } events(first: 1) { edges { node { id } } } }";
    let data = world.data(query, json!({})).await;
    for (id, kind) in [
        (&data["stack"]["id"], "Stack"),
        (&data["stack"]["deployment"]["id"], "Deployment"),
        (&data["environments"][0]["id"], "Environment"),
        (&data["events"]["edges"][0]["node"]["id"], "Event"),
    ] {
        let found = world.data("query Q($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await;
        assert_eq!(found["node"], json!({ "__typename": kind, "id": id }));
    }
    for none in ["nothing", "RW52aXJvbm1lbnQ6bm8"] {
        let found = world.data("query Q($id: ID!) { node(id: $id) { id } }", json!({ "id": none })).await;
        assert_eq!(found["node"], Value::Null);
    }
}

#[tokio::test]
async fn deployments_and_events_are_read_in_both_ways() {
    let world = World::with_shop().await;
    for version in ["v1", "v2", "v3"] {
        world.deploy(version).await;
    }
    let query = "{ deployments(stack: \"shop\", first: 2) { edges { node { generation } } pageInfo { hasNextPage } } \
        all: deployments { edges { node { stack generation phase reason message createdAt } } } \
        stack(name: \"shop\") { deployments(first: 1) { edges { node { generation } } } } }";
    let data = world.data(query, json!({})).await;
    assert_eq!(data["deployments"]["edges"], json!([{ "node": { "generation": 4 } }, { "node": { "generation": 3 } }]));
    assert_eq!(data["deployments"]["pageInfo"]["hasNextPage"], true);
    assert_eq!(data["all"]["edges"].as_array().unwrap().len(), 4);
    assert_eq!(data["all"]["edges"][0]["node"]["reason"], "Pending");
    assert_eq!(data["stack"]["deployments"]["edges"][0]["node"]["generation"], 4);
    let events = world
        .data("{ events(backwards: true, first: 1, stack: \"shop\") { edges { cursor node { sequence type actor message } } pageInfo { endCursor } } }", json!({}))
        .await;
    let newest = &events["events"]["edges"][0]["node"];
    assert_eq!((newest["type"].clone(), newest["actor"].clone()), (json!("DeploymentCreated"), json!("admin")));
    let query =
        "query Q($after: String) { events(backwards: true, first: 1, after: $after) { edges { node { sequence } } } }";
    let before = world.data(query, json!({ "after": events["events"]["pageInfo"]["endCursor"] })).await;
    let sequence = |value: &Value| value["sequence"].as_u64().unwrap();
    assert_eq!(sequence(&before["events"]["edges"][0]["node"]) + 1, sequence(newest));
    let none = world.data("{ events(stack: \"other\") { edges { cursor } } }", json!({})).await;
    assert_eq!(none["events"]["edges"], json!([]));
}

#[tokio::test]
async fn what_is_not_there_is_null_and_a_plan_is_asked_for() {
    let world = World::with_shop().await;
    let data = world
        .data(
            "{ stack(name: \"no\") { id } deployment(id: \"no\") { id } environment(name: \"no\") { id } }",
            json!({}),
        )
        .await;
    assert_eq!(data, json!({ "stack": null, "deployment": null, "environment": null }));
    let query = "query Q($stack: String!) { plan(stack: $stack, ref: \"v2\") { digest unchanged steps { kind name action reason changes { path from to } } } }";
    let plan = world.data(query, json!({ "stack": "shop" })).await["plan"].clone();
    assert_eq!(plan["steps"][0]["action"], "Update");
    assert_eq!(plan["steps"][0]["changes"], json!([{ "path": "/x", "from": null, "to": "v2" }]));
    let missing = world.ask(query, json!({ "stack": "no" })).await;
    assert_eq!(missing["errors"][0]["extensions"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn a_plan_takes_versions_of_single_services_and_tasks_are_told_as_the_engine_has_them() {
    let world = World::new().await;
    let query = "{ plan(stack: \"shop\", images: [{service: \"web\", version: \"3\"}]) { warnings } \
                 tasks(stack: \"shop\") { taskId service slot node state desired current message exitCode createdAt since } }";
    let data = world.data(query, json!({})).await;
    assert_eq!(data["plan"]["warnings"], json!(["web=3"]));
    let task = json!({
        "taskId": "t1", "service": "shop_web", "slot": 2, "node": "node-1", "state": "Failed", "desired": "Shutdown",
        "current": true, "message": "no such image", "exitCode": 3, "createdAt": null, "since": "1970-01-01T00:00:00Z",
    });
    assert_eq!(data["tasks"], json!([task]));
}

#[tokio::test]
async fn stacks_are_found_put_in_order_and_counted_by_the_server() {
    let world = many(7).await;
    world.apply(&SHOP.replace("name: shop", "name: blog").replace("ref: main", "ref: release-9")).await;
    world.mutate("deployStack", "DeployStackInput", json!({ "stack": { "name": "s03" }, "ref": "v2" })).await;
    let asked = |filter: &'static str| {
        let world = &world;
        async move {
            let query = format!(
                "{{ stacks({filter}) {{ edges {{ cursor node {{ name }} }} total offset phases {{ phase count }} \
                 pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            world.data(&query, json!({})).await["stacks"].clone()
        }
    };
    let names = |page: &Value| -> Vec<String> {
        let edges = page["edges"].as_array().unwrap().iter();
        edges.map(|edge| edge["node"]["name"].as_str().unwrap().to_owned()).collect()
    };
    // Every word has to be found, in small letters or capitals; the counts are those of all that fit.
    let found = asked("text: \"RELEASE-9 bl\"").await;
    assert_eq!((names(&found), found["total"].clone()), (vec!["blog".to_owned()], json!(1)));
    assert_eq!(asked("text: \"release-9 nothing\"").await["total"], 0);
    let counted = asked("phases: [Failed]").await;
    assert_eq!(
        (counted["total"].clone(), counted["phases"].clone()),
        (json!(0), json!([{ "phase": "Pending", "count": 8 }]))
    );
    // What was written before the question is in the answer.
    assert_eq!(names(&asked("order: Newest, first: 2").await), ["s03", "blog"]);
    assert_eq!(names(&asked("order: Name, first: 2").await), ["blog", "s00"]);
    // Forwards, and back to where one was.
    let first = asked("order: Worst, first: 3").await;
    let next = format!("order: Worst, first: 3, after: {}", first["pageInfo"]["endCursor"]);
    let second = asked(next.leak()).await;
    assert_eq!((second["offset"].clone(), second["total"].clone()), (json!(3), json!(8)));
    assert_eq!(second["pageInfo"]["hasPreviousPage"], true);
    let back = format!("order: Worst, first: 3, before: {}", second["pageInfo"]["startCursor"]);
    assert_eq!(asked(back.leak()).await, first);
    let both = "{ stacks(after: \"YXQ6YQ\", before: \"YXQ6YQ\") { total } }";
    assert_eq!(world.ask(both, json!({})).await["errors"][0]["extensions"]["code"], "INVALID");
}

#[tokio::test]
async fn what_has_nothing_to_compare_says_so() {
    let world = World::with_shop().await;
    let code = |query: &'static str| {
        let world = &world;
        async move { world.ask(query, json!({})).await["errors"][0]["extensions"]["code"].clone() }
    };
    assert_eq!(code("{ comparison(from: \"no\", to: \"no\") { unchanged } }").await, "NOT_FOUND");
    let commit = world.data("{ stack(name: \"shop\") { deployment { commit { author } } } }", json!({})).await;
    assert_eq!(commit["stack"]["deployment"]["commit"], Value::Null);
}

/// A line of the log about a deployment of `shop`.
fn line(id: &str, kind: EventType, actor: &str, message: String) -> Event {
    let StackKey { environment, name } = shop();
    Event {
        time: jiff::Timestamp::now(),
        kind,
        environment,
        stack: Some(name),
        deployment: Some(DeploymentId(id.into())),
        reason: "why".into(),
        message,
        actor: actor.into(),
        via: None,
    }
}

#[tokio::test]
async fn the_lines_of_one_deployment_are_found_however_much_was_written_since() {
    let world = World::with_shop().await;
    let id = world.data("{ stack(name: \"shop\") { deploymentId } }", json!({})).await["stack"]["deploymentId"].clone();
    let id = id.as_str().unwrap();
    let mut batch = Batch::new();
    for (kind, actor) in
        [(EventType::PhaseChanged, "controller"), (EventType::Failed, "controller"), (EventType::Approved, "ada")]
    {
        batch = batch.event(&line(id, kind, actor, format!("{kind:?}")));
    }
    world.ledger.commit(batch).await.unwrap();
    // More than fit in one look at the log, and in a page.
    for part in 0..12 {
        let lines = (0..100).map(|n| line("another", EventType::StepApplied, "controller", format!("{part}.{n}")));
        world.ledger.commit(lines.fold(Batch::new(), |batch, it| batch.event(&it))).await.unwrap();
    }
    let asked = |arguments: String| {
        let world = &world;
        async move {
            let query = format!(
                "{{ events({arguments}) {{ edges {{ cursor node {{ type deploymentId }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            );
            world.data(&query, json!({})).await["events"].clone()
        }
    };
    let kinds = |page: &Value| -> Vec<String> {
        let edges = page["edges"].as_array().unwrap().iter();
        edges.map(|edge| edge["node"]["type"].as_str().unwrap().to_owned()).collect()
    };
    let all = asked(format!("deployment: \"{id}\", first: 200")).await;
    assert_eq!(kinds(&all), ["StackDeclared", "DeploymentCreated", "PhaseChanged", "Failed", "Approved"], "{all}");
    assert_eq!(kinds(&asked(format!("deployment: \"{id}\", types: [Failed, Approved]")).await), ["Failed", "Approved"]);
    assert_eq!(kinds(&asked(format!("deployment: \"{id}\", actor: \"ada\"")).await), ["Approved"]);
    assert_eq!(kinds(&asked("types: [Approved], backwards: true".to_owned()).await), ["Approved"]);
    assert_eq!(kinds(&asked(format!("deployment: \"{id}\", stack: \"other\"")).await), Vec::<String>::new());
    // In pages, and from the end.
    let first = asked(format!("deployment: \"{id}\", backwards: true, first: 2")).await;
    assert_eq!(
        (kinds(&first), &first["pageInfo"]["hasNextPage"]),
        (vec!["Approved".into(), "Failed".into()], &json!(true))
    );
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    let next = asked(format!("deployment: \"{id}\", backwards: true, first: 1, after: \"{after}\"")).await;
    assert_eq!(kinds(&next), ["PhaseChanged"]);
    // Followed, they come first, and then what is added.
    let mut socket = world.socket().await;
    socket
        .subscribe("1", &format!("subscription {{ eventAdded(deployment: \"{id}\", last: 2) {{ event {{ type }} }} }}"))
        .await;
    for kind in ["Failed", "Approved"] {
        assert_eq!(socket.data().await["event"]["type"], kind);
    }
    let more = [
        line("another", EventType::Held, "controller", String::new()),
        line(id, EventType::RolledBack, "controller", String::new()),
    ];
    world.ledger.commit(more.iter().fold(Batch::new(), |batch, it| batch.event(it))).await.unwrap();
    assert_eq!(socket.data().await["event"]["type"], "RolledBack");
}

#[tokio::test]
async fn what_happens_next_is_said_with_the_stack() {
    let world = World::with_shop().await;
    let query = "{ stack(name: \"shop\") { next { text at } } }";
    let next = world.data(query, json!({})).await["stack"]["next"].clone();
    assert_eq!(next, json!({ "text": "what is asked for is taken up", "at": null }));
    let suspend = json!({ "stack": { "name": "shop" }, "reason": "the fair", "until": "2126-12-01T00:00:00Z" });
    world.mutate("suspendStack", "SuspendStackInput", suspend).await;
    let next = world.data(query, json!({})).await["stack"]["next"].clone();
    let text = "the suspension ends then, and Skep goes on with it";
    assert_eq!(next, json!({ "text": text, "at": "2126-12-01T00:00:00Z" }));
    world.mutate("resumeStack", "ResumeStackInput", json!({ "stack": { "name": "shop" } })).await;
    let id = world.data("{ stack(name: \"shop\") { deploymentId } }", json!({})).await["stack"]["deploymentId"].clone();
    world.converge(id.as_str().unwrap(), "v1").await;
    assert_eq!(world.data(query, json!({})).await["stack"]["next"], Value::Null);
    world.ledger.commit(Batch::new().put_status(&shop(), &StackStatus::default())).await.unwrap();
    assert_ne!(world.data(query, json!({})).await["stack"]["next"], Value::Null);
}

#[tokio::test]
async fn a_deployment_has_its_page_where_the_server_knows_its_address() {
    let query = "{ deployments(first: 1) { edges { node { deploymentId url } } } environment { round { seconds listingSeconds at stacks } } }";
    let world = World::with_shop().await;
    let data = world.data(query, json!({})).await;
    assert_eq!(data["deployments"]["edges"][0]["node"]["url"], Value::Null);
    let round = json!({ "seconds": 1.5, "listingSeconds": 0.25, "at": "1970-01-01T00:00:00Z", "stacks": 7 });
    assert_eq!(data["environment"]["round"], round);
    let public_url = Some("https://skep.example.org/base".to_owned());
    let world = World::with(ApiOptions { public_url, ..ApiOptions::default() }).await;
    world.apply(SHOP).await;
    let found = world.data(query, json!({})).await["deployments"]["edges"][0]["node"].clone();
    let id = found["deploymentId"].as_str().unwrap();
    assert_eq!(found["url"], format!("https://skep.example.org/base/deployments/{id}"));
}
