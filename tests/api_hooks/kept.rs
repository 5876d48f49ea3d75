//! What is kept of a delivery, trying one out, and having one done again.

use super::*;

const DELIVERIES: &str = "query Q($hook: String!, $first: Int) { it: hookDeliveries(hook: $hook, first: $first) { id \
    deliveryId event againBy deployments kept outcome message reconciled { name } refused { stack { name } code message } } }";
const REDELIVER: &str = "mutation M($input: RedeliverHookInput!) { it: redeliverHook(input: $input) { deliveryId \
    deployments reconciled { name } refused { code } message userErrors { code field hint } } }";

#[tokio::test]
async fn deliveries_are_kept_with_their_outcome_and_can_be_done_again() {
    let world = world().await;
    let first = deliver(&world, "one", &push("main")).await.json()["deployments"].clone();
    assert_eq!(deliver(&world, "two", &push("docs")).await.status, 202);
    let known = graph(&world, DELIVERIES, json!({ "hook": "shop-push" })).await;
    assert_eq!(known.as_array().unwrap().len(), 2);
    assert_eq!((&known[0]["deliveryId"], &known[0]["reconciled"]), (&json!("two"), &json!([{ "name": "shop" }])));
    assert_eq!((&known[1]["deliveryId"], &known[1]["deployments"]), (&json!("one"), &first));
    assert_eq!(
        (&known[1]["event"], &known[1]["againBy"], &known[1]["kept"]),
        (&json!("push"), &Value::Null, &json!(true))
    );
    // A replay and a forgery are no deliveries.
    assert_eq!(deliver(&world, "one", &push("main")).await.status, 409);
    assert_eq!(world.send(github(&world, "shop-push", "three", &push("main"))).await.status, 401);
    assert_eq!(graph(&world, DELIVERIES, json!({ "hook": "shop-push" })).await, known);

    for stack in ["shop", "shop-eu"] {
        let back = world.call("PUT", &format!("/api/v1/stacks/{stack}/deploy"), &json!({ "ref": "v0" })).await;
        assert_eq!(back.status, 201);
    }
    let input = json!({ "hook": "shop-push", "delivery": known[1]["id"], "reason": "the registry was down" });
    let again = graph(&world, REDELIVER, json!({ "input": input })).await;
    let made: Vec<_> = again["deployments"].as_array().unwrap().iter().map(|id| world.deployment(id)).collect();
    assert_eq!(made.iter().map(|it| it.stack.name.as_str()).collect::<Vec<_>>(), ["shop", "shop-eu"], "{again}");
    for deployment in &made {
        let original = &deployment.origin.original_request;
        assert_eq!(world.ledger.stack(&deployment.stack).unwrap().unwrap().value.spec.source.wanted(), COMMIT);
        assert_eq!(original["payload"]["after"], COMMIT);
        let again = json!({ "by": "admin", "of": known[1]["id"], "reason": "the registry was down" });
        assert_eq!(original["again"], again);
        assert!(!original.to_string().contains(SECRET));
    }
    let after = graph(&world, DELIVERIES, json!({ "hook": "shop-push", "first": 1 })).await;
    assert_eq!((after.as_array().unwrap().len(), &after[0]["againBy"]), (1, &json!("admin")));
    assert_eq!(after[0]["deliveryId"], again["deliveryId"]);
    // The payload on disk is sealed.
    let mut looked_at = 0;
    for kind in ["delivery", "deployment/", "event/", "once/", "stack/", "status/"] {
        for entry in world.store.scan(&Scan::all(kind)).unwrap() {
            looked_at += 1;
            assert!(!String::from_utf8_lossy(&entry.value).contains("octocat"), "{}", entry.key);
        }
    }
    assert!(looked_at > 6, "{looked_at}");
    assert_eq!(world.ledger.verify(Some(&KeyFile::from_bytes([7; 32]))).unwrap(), Vec::<String>::new());
    assert_eq!(
        world.ledger.verify(Some(&KeyFile::from_bytes([8; 32]))).unwrap().len(),
        2 + 3 + 4,
        "hooks, bodies, deployments"
    );

    for (hook, delivery, field) in [("shop-push", "nothing", "delivery"), ("shop-psh", "nothing", "hook")] {
        let input = json!({ "hook": hook, "delivery": delivery });
        let refused = graph(&world, REDELIVER, json!({ "input": input })).await["userErrors"][0].clone();
        assert_eq!((&refused["code"], &refused["field"]), (&json!("NOT_FOUND"), &json!(field)));
    }
}

#[tokio::test]
async fn the_newest_deliveries_are_kept_and_the_largest_not_for_another_time() {
    let world = world().await;
    let large = json!({ "ref": "refs/heads/docs", "x": "y".repeat(300 << 10) }).to_string();
    assert_eq!(deliver(&world, "large", &large).await.status, 202);
    let known = graph(&world, DELIVERIES, json!({ "hook": "shop-push" })).await;
    assert_eq!(known[0]["kept"], false);
    let input = json!({ "hook": "shop-push", "delivery": known[0]["id"] });
    assert_eq!(graph(&world, REDELIVER, json!({ "input": input })).await["userErrors"][0]["code"], "CONFLICT");
    for n in 0..105 {
        assert_eq!(deliver(&world, &format!("n{n}"), &push("none")).await.status, 202);
    }
    let known = graph(&world, DELIVERIES, json!({ "hook": "shop-push", "first": 200 })).await;
    let known: Vec<&str> = known.as_array().unwrap().iter().map(|it| it["deliveryId"].as_str().unwrap()).collect();
    assert_eq!((known.len(), known[0], known[99]), (100, "n104", "n5"));
    let bodies = world.store.scan(&Scan::all("delivery-body/")).unwrap();
    assert_eq!(bodies.len(), 100);
    assert_eq!(deliver(&world, "large", &push("main")).await.status, 409, "its id works once, kept or not");

    let delete = "mutation M($input: DeleteHookInput!) { it: deleteHook(input: $input) { name userErrors { code } } }";
    let gone = graph(&world, delete, json!({ "input": { "name": "shop-push" } })).await;
    assert_eq!(gone, json!({ "name": "shop-push", "userErrors": [] }));
    assert_eq!(world.store.scan(&Scan::all("delivery")).unwrap(), []);
    assert_eq!(deliver(&world, "last", &push("main")).await.status, 401);
    let gone = graph(&world, delete, json!({ "input": { "name": "shop-push" } })).await;
    assert_eq!(gone["userErrors"][0]["code"], "NOT_FOUND");
    let names = graph(&world, "{ it: hooks { name } }", json!({})).await;
    assert_eq!(names, json!([{ "name": "ci" }]));
}

#[tokio::test]
async fn a_trial_says_what_a_payload_would_do_and_writes_nothing() {
    let world = world().await;
    const TRIAL: &str = "query Q($hook: String!, $event: String, $payload: String!) { \
        it: hookTrial(hook: $hook, event: $event, payload: $payload) { event rules { number holds objection } \
        stacks { stack { name environment } rule set { field value } outcome message } } }";
    let revision = world.ledger.revision();
    let ask = async |payload: String, event: Option<&str>| {
        let variables = json!({ "hook": "shop-push", "event": event, "payload": payload });
        graph(&world, TRIAL, variables).await[0].clone()
    };
    let told = ask(push("main"), None).await;
    assert_eq!(told["event"], "push");
    assert_eq!(told["rules"][0], json!({ "number": 1, "holds": true, "objection": null }));
    assert_eq!(told["rules"][1]["objection"], "its condition is false");
    let set = json!([{ "field": "ref", "value": COMMIT }]);
    let deploys = |name: &str| {
        let stack = json!({ "name": name, "environment": "default" });
        json!({ "stack": stack, "rule": 1, "set": set, "outcome": "Deploys", "message": null })
    };
    assert_eq!(told["stacks"], json!([deploys("shop"), deploys("shop-eu")]));
    let told = ask(push("docs"), None).await;
    assert_eq!((&told["stacks"][0]["outcome"], &told["stacks"][0]["rule"]), (&json!("LooksAgain"), &json!(2)));
    let told = ask(json!({ "after": COMMIT }).to_string(), None).await;
    let why = told["rules"][0]["objection"].as_str().unwrap();
    assert!(why.starts_with("its condition cannot be answered") && why.contains("ref"), "{why}");
    assert_eq!(told["stacks"], json!([]));
    let told = ask(push("main"), Some("release")).await;
    assert!(told["rules"][0]["objection"].as_str().unwrap().contains("`event`"), "{told}");
    // A payload without the commit: the rule holds, and the stack cannot take it.
    let told = ask(json!({ "ref": "refs/heads/main" }).to_string(), None).await;
    assert_eq!(told["stacks"][0]["outcome"], "Refuses", "{told}");
    assert_eq!(world.ledger.revision(), revision);

    for (hook, payload, event, code) in [
        ("nowhere", "{}", None, "NOT_FOUND"),
        ("shop-push", "{", None, "INVALID"),
        ("shop-push", "{}", Some("ping"), "INVALID"),
        ("shop-push", "{}", Some("a\nb"), "INVALID"),
    ] {
        let variables = json!({ "hook": hook, "event": event, "payload": payload });
        let answer = world.call("POST", "/graphql", &json!({ "query": TRIAL, "variables": variables })).await.json();
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
    }
}

#[tokio::test]
async fn a_hook_that_anyone_may_send_to_says_so() {
    let world = world().await;
    world.apply("kind: Hook\nname: hub\nprovider: DockerHub\nunsigned: true\nrules: [{ stacks: [shop] }]\n").await;
    let events = world.ledger.events(None, true, 1).unwrap();
    assert!(events[0].1.message.contains("unsigned: whoever knows its address"), "{}", events[0].1.message);
    let hooks = graph(
        &world,
        "{ it: hooks { name path provider unsigned credential rules { stacks set { field } } } }",
        json!({}),
    );
    let hooks = hooks.await;
    let signed: Vec<_> = hooks.as_array().unwrap().iter().map(|it| (&it["name"], &it["unsigned"])).collect();
    assert_eq!(
        signed,
        [(&json!("ci"), &json!(false)), (&json!("hub"), &json!(true)), (&json!("shop-push"), &json!(false))]
    );
    assert_eq!((&hooks[2]["path"], &hooks[2]["provider"]), (&json!("/hooks/shop-push"), &json!("GitHub")));
    assert!(!hooks.to_string().contains(SECRET));
}

#[tokio::test]
async fn a_push_has_a_catalog_looked_at() {
    let world = world().await;
    world
        .apply(
            "kind: Catalog\nname: platform\nsource: { git: https://example.org/platform.git, ref: main }\n---\n\
             kind: Hook\nname: shop-push\nprovider: GitHub\nsecret: { value: \"It's a Secret to Everybody\" }\n\
             rules: [{ when: 'ref == \"refs/heads/main\"', catalogs: [plat*] }]\n",
        )
        .await;
    let token = || world.ledger.catalog("platform").unwrap().unwrap().value.sync_token;
    assert_eq!(token(), None);
    assert_eq!(deliver(&world, "docs", &push("docs")).await.status, 202);
    assert_eq!(token(), None);
    assert_eq!(deliver(&world, "main", &push("main")).await.status, 202);
    let first = token();
    assert!(first.is_some());
    assert_eq!(deliver(&world, "main", &push("main")).await.status, 409);
    assert_eq!(token(), first);
    let query = "query Q { it: hookDeliveries(hook: \"shop-push\") { deliveryId synced } }";
    let known = graph(&world, query, json!({})).await;
    assert_eq!(known[0], json!({ "deliveryId": "main", "synced": ["platform"] }));
    assert!(
        world
            .refused("kind: Hook\nname: x\nprovider: GitHub\nunsigned: true\nrules: [{ set: { ref: after } }]\n")
            .await
            .contains("`rules[0].stacks` is missing")
    );
}

/// A request to `shop-push` as GitHub signs it.
fn of_github(world: &World, kind: &str, (event, id): (&str, &str), body: &str) -> reqwest::RequestBuilder {
    let request = world
        .http
        .post(format!("http://{}/hooks/shop-push", world.address))
        .header("content-type", kind)
        .header("x-github-event", event)
        .header("x-hub-signature-256", sign(body))
        .body(body.to_owned());
    if id.is_empty() { request } else { request.header("x-github-delivery", id) }
}

/// The newest delivery: its sender's id, outcome, and why nothing was done.
async fn newest(world: &World) -> (String, String, String) {
    let known = graph(world, DELIVERIES, json!({ "hook": "shop-push", "first": 1 })).await[0].clone();
    let text = |name: &str| known[name].as_str().unwrap_or_default().to_owned();
    (text("deliveryId"), text("outcome"), text("message"))
}

#[tokio::test]
async fn a_delivery_that_leads_to_nothing_is_listed_with_the_reason() {
    let world = world().await;
    let known = |id: &str, outcome: &str, why: &str| (id.to_owned(), outcome.to_owned(), why.to_owned());
    assert_eq!(deliver(&world, "one", &push("main")).await.status, 202);
    assert_eq!(newest(&world).await, known("one", "Deployed", ""));
    assert_eq!(deliver(&world, "two", &push("docs")).await.status, 202);
    assert_eq!(newest(&world).await, known("two", "LookedAgain", ""));
    assert_eq!(deliver(&world, "three", &push("feature")).await.status, 202);
    let why = "no rule is about it (rule 1: its condition is false; rule 2: its condition is false)";
    assert_eq!(newest(&world).await, known("three", "Ignored", why));
    for name in ["shop", "shop-eu"] {
        let deleted = world.send(world.request("DELETE", &format!("/api/v1/stacks/{name}?confirm={name}"))).await;
        assert_eq!(deleted.status, 202);
    }
    // Nobody took it: each stack says why.
    assert_eq!(deliver(&world, "five", &push("main")).await.status, 202);
    assert_eq!(newest(&world).await, known("five", "Refused", ""));
    let refused = graph(&world, DELIVERIES, json!({ "hook": "shop-push", "first": 1 })).await[0]["refused"].clone();
    let stacks: Vec<_> = refused.as_array().unwrap().iter().map(|it| &it["stack"]["name"]).collect();
    assert_eq!(stacks, ["shop", "shop-eu"]);
    assert!(refused[0]["message"].as_str().unwrap().contains("being deleted"), "{refused}");

    world.apply(&HOOKS.replace("shop*", "blog*")).await;
    assert_eq!(deliver(&world, "six", &push("main")).await.status, 202);
    let why = "no stack or catalog that its rules name is there and is concerned";
    assert_eq!(newest(&world).await, known("six", "Ignored", why));
    // Done again it says the same.
    let id = graph(&world, DELIVERIES, json!({ "hook": "shop-push", "first": 1 })).await[0]["id"].clone();
    let again = graph(&world, REDELIVER, json!({ "input": { "hook": "shop-push", "delivery": id } })).await;
    assert_eq!((&again["message"], &again["userErrors"]), (&json!(why), &json!([])));
}

#[tokio::test]
async fn the_reason_that_is_listed_holds_nothing_of_the_payload() {
    let world = world().await;
    world.apply(&HOOKS.replace("ref == \"refs/heads/main\"", "[1][pusher.number] == 1")).await;
    let body = json!({ "ref": "refs/heads/main", "pusher": { "number": 471_147 } }).to_string();
    const TRIAL: &str = "query Q($payload: String!) { it: hookTrial(hook: \"shop-push\", payload: $payload) { \
        rules { objection } } }";
    let told = graph(&world, TRIAL, json!({ "payload": body })).await.to_string();
    assert!(told.contains("471147"), "a trial has the payload from who asks: {told}");
    assert_eq!(deliver(&world, "one", &body).await.status, 202);
    let (_, outcome, why) = newest(&world).await;
    let wanted = "no rule is about it (rule 1: its condition cannot be answered; rule 2: its condition is false)";
    assert_eq!((outcome.as_str(), why.as_str()), ("Ignored", wanted));
}

#[tokio::test]
async fn an_event_that_no_rule_can_be_about_is_listed_once_and_does_nothing() {
    let world = world().await;
    let (stacks, events) = (world.ledger.stacks(None).unwrap(), world.ledger.events(None, true, 1).unwrap());
    for (event, id) in [("ping", "one"), ("issues", "two"), ("ping", "three"), ("ping", "three")] {
        let answer = world.send(of_github(&world, "application/json", (event, id), &push("main"))).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json(), json!({ "deliveryId": id, "deployments": [], "refused": [] }));
    }
    assert_eq!(world.ledger.stacks(None).unwrap(), stacks);
    assert_eq!(world.ledger.events(None, true, 1).unwrap(), events);
    let known = graph(&world, DELIVERIES, json!({ "hook": "shop-push" })).await;
    let known: Vec<_> =
        known.as_array().unwrap().iter().map(|it| (&it["event"], &it["message"], &it["kept"])).collect();
    let of = |event: &str| (json!(event), json!(format!("no rule can be about `{event}`")), json!(false));
    let wanted = [of("ping"), of("issues")];
    assert_eq!(known, wanted.each_ref().map(|(event, why, kept)| (event, why, kept)), "the newest of each");
    assert_eq!(newest(&world).await.0, "three");
}

#[tokio::test]
async fn a_proven_delivery_that_cannot_be_taken_is_listed_and_what_is_not_proven_is_not() {
    let world = world().await;
    let form = "payload=x";
    let long = "x".repeat(129);
    for (kind, id, body, status, why) in [
        ("application/x-www-form-urlencoded", "form", form, 415, "the delivery is a form; set the content type"),
        ("application/json", "broken", "{", 400, "the delivery is not JSON: line 1, column 1"),
        ("application/json", "", "{}", 422, "the delivery lacks X-GitHub-Delivery"),
        ("application/json", long.as_str(), "{}", 422, "the delivery's id has 1 to 128 characters"),
    ] {
        let answer = world.send(of_github(&world, kind, ("push", id), body)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let (listed, outcome, message) = newest(&world).await;
        assert_eq!((listed.as_str(), outcome.as_str()), (&id[..id.len().min(128)], "Refused"));
        assert!(message.starts_with(why), "{message}");
        let event = &world.ledger.events(None, true, 1).unwrap()[0].1;
        assert!(event.kind == EventType::HookRefused && event.message.contains(why), "{}", event.message);
    }
    // Its id stays good.
    assert_eq!(deliver(&world, "broken", &push("main")).await.status, 202);
    let input = json!({ "hook": "shop-push", "delivery": graph(&world, DELIVERIES, json!({ "hook": "shop-push" })).await[1]["id"] });
    let again = graph(&world, REDELIVER, json!({ "input": input })).await;
    assert_eq!(again["userErrors"][0]["code"], "CONFLICT", "{again}");

    let (known, events) =
        (world.ledger.deliveries("shop-push", 200).unwrap(), world.ledger.events(None, true, 1).unwrap());
    assert_eq!(deliver(&world, "broken", &push("main")).await.status, 409, "a replay is the delivery that was listed");
    let large = json!({ "x": "y".repeat(1 << 20) }).to_string();
    assert_eq!(deliver(&world, "large", &large).await.status, 413);
    for body in ["{", "payload=x", "{}"] {
        let forged = of_github(&world, "application/json", ("push", "forged"), body);
        let mut forged = forged.build().unwrap();
        forged.headers_mut().insert("x-hub-signature-256", sign("else").parse().unwrap());
        assert_eq!(world.http.execute(forged).await.unwrap().status(), 401);
    }
    assert_eq!(world.ledger.deliveries("shop-push", 200).unwrap(), known);
    assert_eq!(world.ledger.events(None, true, 1).unwrap(), events);
    // Who need not prove himself has nothing listed but what is carried out.
    world.apply("kind: Hook\nname: hub\nprovider: DockerHub\nunsigned: true\nrules: [{ stacks: [shop] }]\n").await;
    let post = world.http.post(format!("http://{}/hooks/hub", world.address)).body("{");
    assert_eq!(world.send(post).await.status, 400);
    assert_eq!(world.ledger.deliveries("hub", 200).unwrap(), []);
}
