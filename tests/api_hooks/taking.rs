//! What is taken, once, and what is not.

use super::*;

#[tokio::test]
async fn a_push_deploys_the_stacks_a_rule_names_and_keeps_both_requests() {
    let world = world().await;
    let answer = deliver(&world, "one", &push("main")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["deliveryId"], &answer["refused"]), (&json!("one"), &json!([])));
    let made: Vec<_> = answer["deployments"].as_array().unwrap().iter().map(|id| world.deployment(id)).collect();
    assert_eq!(made.iter().map(|it| it.stack.name.as_str()).collect::<Vec<_>>(), ["shop", "shop-eu"]);
    for deployment in &made {
        let origin = &deployment.origin;
        assert_eq!((origin.trigger, origin.actor.name.as_str()), (Trigger::Hook, "hook/shop-push"));
        assert_eq!(origin.original_request["headers"]["x-github-delivery"], "one");
        assert_eq!(origin.original_request["payload"]["after"], COMMIT);
        assert_eq!(origin.original_request["payload"]["pusher"], json!({ "name": "octocat", "note": "***" }));
        let kept = origin.original_request.to_string();
        assert!(!kept.contains("sha256=") && !kept.contains("hunter2"), "{kept}");
        assert_eq!(
            origin.mapped_request["hook"],
            json!({ "name": "shop-push", "delivery": "one", "rule": 1, "set": { "ref": COMMIT } })
        );
        assert_eq!(origin.mapped_request["deploy"]["changes"], json!(["source.ref"]));
        let stack = world.ledger.stack(&deployment.stack).unwrap().unwrap().value;
        assert_eq!((stack.spec.source.wanted(), stack.generation), (COMMIT, 2));
        assert_eq!(stack.deployment, deployment.id);
    }
    assert_eq!(world.ledger.stack(&key("other")).unwrap().unwrap().value.generation, 1);
    let events = world.ledger.events(None, true, 1).unwrap();
    assert_eq!(events[0].1.kind, EventType::HookReceived);
    let shown = world.get(&format!("/api/v1/deployments/{}", made[0].id)).await.json();
    assert_eq!(shown["originalRequest"], made[0].origin.original_request);
    assert_eq!(shown["trigger"], "Hook");
}

#[tokio::test]
async fn a_delivery_works_once() {
    let world = world().await;
    let first = deliver(&world, "one", &push("main")).await.json();
    let before = world.ledger.revision();
    let answer = deliver(&world, "one", &push("main")).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (409, json!("REPLAYED")));
    for id in first["deployments"].as_array().unwrap() {
        assert!(answer.json()["message"].as_str().unwrap().contains(id.as_str().unwrap()));
    }
    // Whatever it holds now.
    assert_eq!(deliver(&world, "one", &push("docs")).await.status, 409);
    assert_eq!(world.ledger.revision(), before);
    // Another one of the same commit changes nothing: the source is looked at again.
    let again = deliver(&world, "two", &push("main")).await;
    assert_eq!((again.status, again.json()["deployments"].clone()), (202, json!([])));
}

#[tokio::test]
async fn many_at_once_work_once() {
    let world = world().await;
    let body = push("main");
    let answers = futures_util::future::join_all((0..8).map(|_| deliver(&world, "one", &body))).await;
    let mut codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    codes.sort_unstable();
    assert_eq!(codes, [202, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(world.ledger.deployments(None, 100).unwrap().len(), 3 + 2);
}

/// Sixty-four senders at a time, several of them about the same stacks, each delivery sent twice at once: what is answered with
/// 202 is recorded once, and nothing else is.
#[tokio::test]
async fn under_load_what_is_taken_is_recorded_and_nothing_is_twice() {
    const SENDERS: usize = 64;
    const EACH: usize = 3;
    let world = World::new().await;
    world.apply(HOOKS).await;
    for stack in 0..8 {
        world.declare(&format!("shop{stack}")).await;
        world
            .apply(&format!(
                "kind: Hook\nname: h{stack}\nprovider: GitHub\nsecret: {{ value: \"{SECRET}\" }}\n\
            rules: [{{ stacks: [shop{stack}], set: {{ ref: after }} }}]\n"
            ))
            .await;
    }
    let before = world.ledger.deployments(None, 10_000).unwrap().len();
    let send = async |sender: usize| {
        let mut made = Vec::new();
        for number in 0..EACH {
            let (hook, id) = (format!("h{}", sender % 8), format!("{sender}-{number}"));
            let commit = format!("{:040x}", 1 + sender * EACH + number);
            let body = json!({ "ref": "refs/heads/main", "after": commit }).to_string();
            let once = || world.send(github(&world, &hook, &id, &body).header("x-hub-signature-256", sign(&body)));
            loop {
                let (one, other) = tokio::join!(once(), once());
                let taken: Vec<&Answer> = [&one, &other].into_iter().filter(|answer| answer.status == 202).collect();
                assert!(taken.len() <= 1, "{} {}", one.text, other.text);
                let replayed = [&one, &other].into_iter().any(|answer| answer.json()["code"] == "REPLAYED");
                if let [taken] = taken.as_slice() {
                    made.extend(taken.json()["deployments"].as_array().unwrap().clone());
                    break;
                }
                // Others change the same stack all the time: it is sent again, as a sender does. A replay means that the first
                // of the two was taken.
                assert!(!replayed, "{} {}", one.text, other.text);
            }
        }
        made
    };
    let made: Vec<Value> = futures_util::future::join_all((0..SENDERS).map(send)).await.into_iter().flatten().collect();
    let mut ids: Vec<&str> = made.iter().map(|id| id.as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), SENDERS * EACH, "each delivery was taken, and has a deployment of its own");
    let recorded = world.ledger.deployments(None, 10_000).unwrap();
    assert_eq!(recorded.len() - before, SENDERS * EACH, "count in = count recorded");
    for stack in 0..8 {
        let found = world.ledger.stack(&key(&format!("shop{stack}"))).unwrap().unwrap().value;
        assert_eq!(found.generation, 1 + (SENDERS * EACH / 8) as u64);
    }
}

#[tokio::test]
async fn what_could_not_be_recorded_can_be_sent_again() {
    let world = world().await;
    let full = StoreError::Io { path: "/data".into(), reason: "the disk is full".into() };
    world.store.refuse(Some(full));
    let before = world.ledger.revision();
    let answer = deliver(&world, "one", &push("main")).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (503, json!("UNAVAILABLE")));
    assert!(!answer.text.contains("/data"), "{}", answer.text);
    assert_eq!(world.ledger.revision(), before);
    world.store.refuse(None);
    let answer = deliver(&world, "one", &push("main")).await;
    assert_eq!(answer.json()["deployments"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn without_the_right_signature_nothing_is_told_apart() {
    let world = world().await;
    let (body, before) = (push("main"), world.ledger.revision());
    let good = sign(&body);
    let mut seen = Vec::new();
    for (hook, signature) in [
        ("shop-push", None),
        ("shop-push", Some(sign("something else"))),
        ("shop-push", Some(good.replace("sha256", "sha1"))),
        ("shop-push", Some(String::new())),
        ("nowhere", Some(good.clone())),
        ("nowhere", None),
        // Another provider's header.
        ("ci", Some(good.clone())),
    ] {
        let mut request = github(&world, hook, "one", &body).header("x-request-id", "same");
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let answer = world.send(request).await;
        assert_eq!(answer.status, 401, "{hook}");
        seen.push(answer.text);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(!seen[0].contains(SECRET));
    let tampered = body.replace("main", "Main");
    let answer = world.send(github(&world, "shop-push", "one", &tampered).header("x-hub-signature-256", &good)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(world.ledger.revision(), before);
    assert_eq!(deliver(&world, "one", &body).await.status, 202, "a refused one does not use the id up");
}

#[tokio::test]
async fn what_is_too_large_or_no_json_is_refused() {
    let world = world().await;
    let large = json!({ "x": "y".repeat(1 << 20) }).to_string();
    assert_eq!(deliver(&world, "one", &large).await.status, 413);
    assert_eq!(world.send(github(&world, "nowhere", "one", &large)).await.status, 413);
    assert_eq!(deliver(&world, "one", "{").await.status, 400);
    let form = world
        .http
        .post(format!("http://{}/hooks/shop-push", world.address))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-github-event", "push")
        .header("x-github-delivery", "one")
        .header("x-hub-signature-256", sign("payload=x"))
        .body("payload=x");
    assert_eq!(world.send(form).await.status, 415);
    let odd = deliver(&world, &"x".repeat(129), &push("main")).await;
    assert_eq!((odd.status, odd.json()["field"].clone()), (422, json!("deliveryId")));
    // Large, and taken: what is kept of it is not.
    let payload =
        json!({ "ref": "refs/heads/main", "after": COMMIT, "commits": vec!["x".repeat(99); 9000] }).to_string();
    let answer = deliver(&world, "large", &payload).await;
    assert_eq!(answer.status, 202);
    let kept = world.deployment(&answer.json()["deployments"][0]).origin.original_request;
    assert_eq!(kept["payload"]["after"], COMMIT);
    assert!(kept.to_string().len() < 70_000);
    assert_eq!(world.send(world.request("GET", "/hooks/shop-push")).await.status, 405);
}

#[tokio::test]
async fn a_rule_without_a_version_asks_for_a_look() {
    let world = world().await;
    let answer = deliver(&world, "one", &push("docs")).await;
    assert_eq!((answer.status, answer.json()["deployments"].clone()), (202, json!([])));
    let stack = world.ledger.stack(&key("shop")).unwrap().unwrap().value;
    assert!(stack.control.reconcile_token.is_some());
    assert!(world.ledger.stack(&key("shop-eu")).unwrap().unwrap().value.control.reconcile_token.is_none());
    let elsewhere = deliver(&world, "two", &push("feature")).await;
    assert_eq!(elsewhere.json()["deployments"], json!([]));
    assert_eq!(deliver(&world, "two", &push("feature")).await.status, 409);
}

#[tokio::test]
async fn anyone_who_can_sign_may_set_an_image() {
    let world = world().await;
    let inline = json!({ "name": "text", "inline": "services: { web: { image: 'nginx:1' } }" });
    assert_eq!(world.call("POST", "/api/v1/stacks", &inline).await.status, 201);
    let body = json!({ "image": { "tag": "1.4.2" } }).to_string();
    assert_eq!(world.send(generic(&world, None, &body)).await.status, 422);
    let answer = world.send(generic(&world, Some("a"), &body)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["deployments"].as_array().unwrap().len(), 2);
    for name in ["shop", "text"] {
        assert_eq!(world.ledger.stack(&key(name)).unwrap().unwrap().value.spec.named_images()["web"], "1.4.2");
    }
    assert_eq!(world.send(generic(&world, Some("a"), &body)).await.status, 409);
}

#[tokio::test]
async fn a_stack_that_cannot_take_it_does_not_keep_the_others() {
    let world = world().await;
    let deleted = world.send(world.request("DELETE", "/api/v1/stacks/shop?confirm=shop")).await;
    assert_eq!(deleted.status, 202);
    let inline = json!({ "name": "shop-text", "inline": "services: { web: { image: 'nginx:1' } }" });
    assert_eq!(world.call("POST", "/api/v1/stacks", &inline).await.status, 201);
    let answer = deliver(&world, "one", &push("main")).await.json();
    assert_eq!(answer["deployments"].as_array().unwrap().len(), 1);
    let refused: Vec<_> = answer["refused"].as_array().unwrap().iter().map(|it| (&it["stack"], &it["code"])).collect();
    assert_eq!(refused, [(&json!("shop"), &json!("CONFLICT")), (&json!("shop-text"), &json!("INVALID"))]);
    // A branch that was deleted, a field that is not there: nothing to deploy.
    for body in [json!({ "ref": "refs/heads/main", "after": "0".repeat(40) }), json!({ "ref": "refs/heads/main" })] {
        let answer = deliver(&world, &body.to_string(), &body.to_string()).await;
        assert_eq!((answer.status, answer.json()["deployments"].clone()), (202, json!([])));
        assert_ne!(answer.json()["refused"], Value::Array(Vec::new()));
    }
    assert_eq!(world.ledger.events(None, true, 1).unwrap()[0].1.kind, EventType::HookRefused);
}
