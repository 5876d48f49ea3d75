//! The REST calls over real HTTP, on a store in memory. Each answer is held against `swagger/swagger.yaml` as it comes in.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/http.rs"]
pub mod http;

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Document, World, key, line, stack};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep::api::{hooks, rest};
use skep::domain::{Claim, DeploymentPhase, EnvironmentName, EnvironmentStatus, Revision, VersionSource};
use skep::ledger::Batch;
use skep::ports::{InquiryError, LogQuery, StoreError};

#[tokio::test]
async fn every_route_is_documented_and_every_documented_call_is_routed() {
    let mut routed: BTreeSet<(String, String)> =
        rest::ENDPOINTS.iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    routed.insert(("POST".into(), hooks::PATH.into()));
    // The server's own routes have no table: their addresses are read from its source.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/server.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let own: BTreeSet<&str> = ["resource(\"", "route(\""]
        .iter()
        .flat_map(|mark| source.split(mark).skip(1).filter_map(|rest| rest.split('"').next()))
        .collect();
    assert!(own.len() >= 4, "{own:?}");
    let world = World::new().await;
    let documented = world.document.calls();
    for path in own.iter().filter(|path| **path != "/graphiql") {
        assert!(documented.iter().any(|(_, known)| known == path), "{path} is not documented");
    }
    for call in &routed {
        assert!(documented.contains(call), "{call:?} is not documented");
    }
    for (method, path) in &documented {
        let known = routed.contains(&(method.clone(), path.clone())) || own.contains(path.as_str());
        assert!(known, "{method} {path} is documented, and not in a table");
        let there = path.replace("{name}", "nothing").replace("{id}", "nothing").replace("{code}", "INVALID");
        let answer = world.request(method, &there).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_ne!(status, 405, "{method} {path}");
        assert!(!text.contains("there is nothing at"), "{method} {path} is not routed: {text}");
    }
}

#[tokio::test]
async fn the_document_is_served_and_every_code_has_a_page() {
    let world = World::new().await;
    let plain = |path: &str| world.http.get(format!("http://{}{path}", world.address));
    let page = world.send(plain("/api/docs")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert!(page.text.contains("/api/docs/swagger.yaml"), "{}", page.text);
    let answer = world.send(plain("/api/docs/swagger.yaml")).await;
    assert!(answer.text.starts_with("openapi: 3.1.0\n"));
    for code in world.document.codes() {
        let answer = world.send(plain(&format!("/api/docs/errors/{code}"))).await;
        assert!(answer.status == 200 && answer.text.starts_with(&format!("{code}: ")), "{code}");
    }
    assert_eq!(world.send(plain("/api/docs/errors/NOTHING")).await.status, 404);
}

#[test]
fn the_check_of_answers_can_fail() {
    let document = Document::read();
    let schema = json!({ "$ref": "#/components/schemas/Images" });
    let image = json!([{ "service": "web", "image": "nginx", "digest": null }]);
    assert!(document.fits(&schema, &image, "$").is_ok());
    for bad in [
        json!({}),
        json!([{ "service": "web", "image": "nginx" }]),
        json!([{ "service": "web", "image": "nginx", "digest": 1 }]),
        json!([{ "service": "web", "image": "nginx", "digest": null, "more": 1 }]),
    ] {
        assert!(document.fits(&schema, &bad, "$").is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_stack_is_declared_read_changed_and_deleted() {
    let world = World::new().await;
    let mut document = stack("shop");
    document["variables"] = json!({ "DOMAIN": "\u{1f600}.example.org", "KEY": { "value": "hunter2", "secret": true } });
    let made = world.call("POST", "/api/v1/stacks", &document).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/stacks/shop"));
    let made = made.json();
    assert_eq!(
        (&made["phase"], &made["generation"], &made["desired"]["ref"]),
        (&json!("Pending"), &json!(1), &json!("main"))
    );
    let deployment = world.get(&format!("/api/v1/deployments/{}", made["deploymentId"].as_str().unwrap())).await;
    assert_eq!(deployment.json()["trigger"], "Rest");
    assert!(!deployment.text.contains("hunter2"), "{}", deployment.text);

    let again = world.call("POST", "/api/v1/stacks", &document).await;
    assert_eq!((again.status, again.json()), (200, made.clone()));
    assert_eq!(world.get("/api/v1/stacks/shop").await.json(), made);

    document["images"] = json!({ "web": "2" });
    document.as_object_mut().unwrap().shift_remove("kind");
    document.as_object_mut().unwrap().shift_remove("variables");
    let changed = world.call("PUT", "/api/v1/stacks/shop?reason=because", &document).await;
    assert_eq!((changed.status, changed.json()["generation"].clone()), (200, json!(2)));
    let spec = world.ledger.stack(&key("shop")).unwrap().unwrap().value.spec;
    assert!(spec.variables.is_empty() && spec.images["web"].named() == Some("2"));
    let id = changed.json()["deploymentId"].clone();
    assert_eq!(world.deployment(&id).origin.reason.as_deref(), Some("because"));

    for (query, field) in
        [("", "confirm"), ("?confirm=other", "confirm"), ("?confirm=shop&keepRunning=yes", "keepRunning")]
    {
        let answer = world.send(world.request("DELETE", &format!("/api/v1/stacks/shop{query}"))).await;
        assert_eq!((answer.status, answer.json()["field"].clone()), (422, json!(field)));
    }
    let deleted = world.send(world.request("DELETE", "/api/v1/stacks/shop?confirm=shop&keepRunning=true")).await;
    assert_eq!((deleted.status, deleted.json()["deletion"]["keepRunning"].clone()), (202, json!(true)));
    let late = world.call("PUT", "/api/v1/stacks/shop", &document).await;
    assert_eq!((late.status, late.json()["code"].clone()), (409, json!("CONFLICT")));
    let nowhere = world.send(world.request("DELETE", "/api/v1/stacks/nowhere?confirm=nowhere")).await;
    assert_eq!(nowhere.status, 404);
}

#[tokio::test]
async fn the_address_may_say_what_the_body_leaves_out_and_not_the_contrary() {
    let world = World::new().await;
    let body = json!({ "inline": "services: { web: { image: 'nginx:1' } }" });
    let made = world.send(
        world
            .request("PUT", "/api/v1/stacks/shop?environment=prod")
            .header("content-type", "application/json")
            .body(body.to_string()),
    );
    let made = made_of(made.await);
    assert_eq!((made["name"].clone(), made["environment"].clone()), (json!("shop"), json!("prod")));
    assert_eq!(world.get("/api/v1/stacks/shop").await.status, 404);
    assert_eq!(world.get("/api/v1/stacks/shop?environment=prod").await.status, 200);
    for (path, body, field) in [
        ("/api/v1/stacks/shop", json!({ "name": "other" }), "name"),
        ("/api/v1/stacks/shop?environment=prod", json!({ "environment": "default" }), "environment"),
        ("/api/v1/stacks/shop", json!({ "kind": "Hook" }), "kind"),
        ("/api/v1/stacks/sh.op", json!({}), "name"),
    ] {
        let answer = world.call("PUT", path, &body).await;
        assert_eq!((answer.status, answer.json()["field"].clone()), (422, json!(field)), "{path}");
    }
}

fn made_of(answer: http::Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_list_goes_by_pages() {
    let world = World::new().await;
    for name in ["c", "a", "b"] {
        world.declare(name).await;
    }
    let there = json!({ "name": "z", "environment": "prod", "inline": "services: {}" });
    made_of(world.call("POST", "/api/v1/stacks", &there).await);
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.get("/api/v1/stacks?limit=2").await.json();
    assert_eq!(names(&first), ["a", "b"]);
    let next =
        world.get(&format!("/api/v1/stacks?limit=2&cursor={}", first["nextCursor"].as_str().unwrap())).await.json();
    assert_eq!((names(&next), &next["nextCursor"]), (vec!["c".to_owned(), "z".to_owned()], &Value::Null));
    assert_eq!(names(&world.get("/api/v1/stacks?environment=prod").await.json()), ["z"]);
    assert_eq!(names(&world.get("/api/v1/stacks?environment=nowhere").await.json()), Vec::<String>::new());
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "nothing=1", "limit=1&limit=2", "environment=a.b"] {
        let answer = world.get(&format!("/api/v1/stacks?{query}")).await;
        let field = query.split('=').next().unwrap();
        assert_eq!((answer.status, answer.json()["field"].clone()), (422, json!(field)), "{query}");
    }
}

#[tokio::test]
async fn a_deploy_makes_a_deployment_or_says_that_nothing_is_new() {
    let world = World::new().await;
    world.declare("shop").await;
    let path = "/api/v1/stacks/shop/deploy";
    let body = json!({ "ref": "v2", "images": { "web": "2" }, "variables": { "A": "1", "B": { "value": "hunter2", "secret": true } },
        "reason": "the release", "expectedGeneration": 1 });
    let made = world.call("PUT", path, &body).await;
    let location = made.header("location").to_owned();
    let made = made_of(made);
    assert_eq!(location, format!("/api/v1/deployments/{}", made["id"].as_str().unwrap()));
    assert_eq!(
        (&made["generation"], &made["statedReason"], &made["verdict"]),
        (&json!(2), &json!("the release"), &json!("Progressing"))
    );
    assert!(!made.to_string().contains("hunter2"));
    assert_eq!(world.get(&location).await.json(), made);
    let stale = world.call("PUT", path, &body).await;
    assert_eq!((stale.status, stale.json()["field"].clone()), (409, json!("expectedGeneration")));
    let same = world.call("PUT", path, &json!({ "images": { "web": "2" } })).await;
    assert_eq!((same.status, same.json()["id"].clone()), (200, made["id"].clone()));
    // What the ref stands at may be another commit by now.
    let afresh = world.call("PUT", path, &json!({ "ref": "v2" })).await;
    assert_eq!((afresh.status, afresh.json()["generation"].clone()), (201, json!(2)));
    let commit = world.call("PUT", path, &json!({ "commit": "0123abc", "ref": null })).await;
    assert_eq!(commit.status, 201);
    assert_eq!(world.get("/api/v1/stacks/shop").await.json()["desired"]["ref"], "0123abc");
    assert_eq!(world.call("PUT", "/api/v1/stacks/nowhere/deploy", &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_deploy_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let world = World::new().await;
    world.declare("shop").await;
    let before = world.ledger.revision();
    let body = json!({ "ref": 7, "commit": "main", "image": {}, "images": { "web": 1 }, "variables": { "A": 1, "B": { "secret": true } } });
    let answer = world.call("PUT", "/api/v1/stacks/shop/deploy", &body).await;
    assert_eq!(answer.status, 422);
    let answer = answer.json();
    let fields: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["ref", "commit", "images.web", "variables.A", "variables.B", "image"]);
    for (body, field) in [
        (json!({ "commit": "0123abc", "ref": "main" }), "commit"),
        (json!({ "ref": "a..b" }), "ref"),
        (json!({ "images": { "web": "a b" } }), "images.web"),
        (json!({ "images": [] }), "images"),
        (json!({ "expectedGeneration": -1 }), "expectedGeneration"),
    ] {
        let answer = world.call("PUT", "/api/v1/stacks/shop/deploy", &body).await;
        assert_eq!((answer.status, answer.json()["field"].clone()), (422, json!(field)), "{body}");
    }
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn the_same_request_under_one_key_works_once() {
    let world = World::new().await;
    world.declare("shop").await;
    let send = |key: &'static str, body: Value| {
        let request = world.request("PUT", "/api/v1/stacks/shop/deploy").header("idempotency-key", key);
        world.send(request.header("content-type", "application/json").body(body.to_string()))
    };
    let first = made_of(send("k1", json!({ "ref": "v2" })).await);
    made_of(send("k2", json!({ "ref": "v3" })).await);
    let again = send("k1", json!({ "ref": "v2" })).await;
    assert_eq!((again.status, again.json()["id"].clone()), (200, first["id"].clone()));
    assert_eq!(world.get("/api/v1/stacks/shop").await.json()["desired"]["ref"], "v3");
    let other = send("k1", json!({ "ref": "v4" })).await;
    assert_eq!((other.status, other.json()["field"].clone()), (409, json!("idempotencyKey")));
    let post = || {
        let request = world.request("POST", "/api/v1/stacks?expectedGeneration=0").header("idempotency-key", "k3");
        world.send(request.header("content-type", "application/json").body(stack("new").to_string()))
    };
    let made = made_of(post().await);
    let again = post().await;
    assert_eq!((again.status, again.json()["deploymentId"].clone()), (200, made["deploymentId"].clone()));
    assert_eq!(again.header("location"), "/api/v1/stacks/new");
    let taken = world.call("POST", "/api/v1/stacks?expectedGeneration=0", &stack("new")).await;
    assert_eq!(taken.status, 409);
}

#[tokio::test]
async fn a_broken_document_is_refused_with_its_places_in_the_body() {
    let world = World::new().await;
    let before = world.ledger.revision();
    let send = |body: &'static str| world.send(world.request("POST", "/api/v1/stacks").body(body));
    // Without `kind`: what is put in for it moves no place.
    let answer = send(
        "{ \"name\": \"shop\", \"sauce\": {},\n  \"source\": { \"git\": \"https://h/x.git\",\n \"ref\": \"a..b\" } }",
    )
    .await;
    assert_eq!(answer.status, 422);
    let answer = answer.json();
    let places: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|it| (&it["field"], &it["line"], &it["column"])).collect();
    assert_eq!(
        places,
        [(&json!("source.ref"), &json!(3), &json!(9)), (&json!("sauce"), &json!(1), &json!(19))],
        "{answer}"
    );
    assert_eq!(answer["errors"][1]["hint"], "did you mean `source`?");
    assert_eq!((&answer["field"], &answer["line"]), (&json!("source.ref"), &json!(3)));
    let broken = send("{ \"name\": \"shop\",\n  \"source\" }").await;
    assert_eq!(
        (broken.status, broken.json()["line"].clone(), broken.json()["column"].clone()),
        (400, json!(2), json!(12))
    );
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        ("{}", 422),
        ("{\"name\": \"x\", \"inline\": \"a: 1\", \"environment\": \"nowhere\"}", 404),
        ("{\"name\": \"x\", \"inline\": \"a: 1\", \"dependsOn\": [{\"stack\": \"x\"}]}", 422),
        ("{\"name\": \"x\", \"name\": \"y\", \"inline\": \"a: 1\"}", 422),
    ] {
        assert_eq!(send(body).await.status, status, "{body}");
    }
    let form = world.request("POST", "/api/v1/stacks").header("content-type", "text/plain").body("{}");
    assert_eq!(world.send(form).await.status, 415);
    let large = json!({ "name": "x", "inline": "y".repeat(3 << 20) });
    assert_eq!(world.call("POST", "/api/v1/stacks", &large).await.status, 413);
    assert_eq!(world.ledger.revision(), before);
}

#[tokio::test]
async fn without_the_token_nothing_is_said() {
    let world = World::new().await;
    for (method, path) in world.document.calls() {
        if !path.starts_with("/api/v1/") {
            continue;
        }
        let path = path.replace("{name}", "shop").replace("{id}", "x");
        let request = || world.http.request(method.parse().unwrap(), format!("http://{}{path}", world.address));
        for request in [request(), request().bearer_auth("another")] {
            let answer = world.send(request.header("x-request-id", "mine")).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{method} {path}");
            let answer = answer.json();
            assert_eq!((&answer["code"], &answer["requestId"]), (&json!("UNAUTHENTICATED"), &json!("mine")));
        }
    }
}

#[tokio::test]
async fn an_address_or_method_that_is_not_there_is_a_problem_too() {
    let world = World::new().await;
    let answer = world.get("/api/v1/nothing").await;
    assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
    let answer = world.send(world.request("PATCH", "/api/v1/stacks")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST"));
    assert_eq!(answer.json()["code"], "METHOD_NOT_ALLOWED");
    world.declare("shop").await;
    let answer = world.get("/api/v1/stacks/shpo").await;
    assert_eq!((answer.status, answer.json()["hint"].clone()), (404, json!("did you mean `shop`?")));
    assert_eq!(world.get("/api/v1/deployments/nothing").await.status, 404);
}

#[tokio::test]
async fn deployments_are_found_by_what_they_are_about() {
    let world = World::new().await;
    let mut made = Vec::new();
    for (name, environment) in [("shop", "default"), ("blog", "default"), ("shop", "prod")] {
        let mut document = stack(name);
        document["environment"] = json!(environment);
        document["source"]["git"] = json!(format!("https://git.example.com/{name}.git"));
        made.push(world.call("POST", "/api/v1/stacks", &document).await.json()["deploymentId"].clone());
    }
    let second = world.call("PUT", "/api/v1/stacks/shop/deploy", &json!({ "ref": "v2" })).await.json();
    made.push(second["id"].clone());
    let mut done = world.deployment(&made[0]);
    done.phase = DeploymentPhase::Converged;
    done.version.revision = Some(Revision("0123abcdef0123abcdef0123abcdef0123abcdef".into()));
    let mut back = world.deployment(&made[1]);
    back.phase = DeploymentPhase::RolledBack;
    let mut kept = world.deployment(&made[3]);
    kept.version.source = VersionSource::Kept(done.id.clone());
    for deployment in [&done, &back, &kept] {
        world.ledger.commit(Batch::new().put_deployment(deployment)).await.unwrap();
    }
    let (first, last) = (done.created_at, kept.created_at);
    assert!(first < last);
    let encoded = |time: Timestamp| time.to_string().replace('+', "%2B");
    for (query, expected) in [
        (String::new(), vec![3, 2, 1, 0]),
        ("stack=shop".into(), vec![3, 2, 0]),
        ("stack=shop&environment=default".into(), vec![3, 0]),
        ("environment=prod".into(), vec![2]),
        ("repository=https://git.example.com/shop".into(), vec![3, 2, 0]),
        ("repository=https://git.example.com/blog.git/".into(), vec![1]),
        ("repository=https://git.example.com/sho".into(), vec![]),
        ("commit=0123ABC".into(), vec![0]),
        ("status=Converged".into(), vec![0]),
        ("status=RolledBack&stack=shop".into(), vec![]),
        (format!("since={}", encoded(last)), vec![3]),
        (format!("until={}", encoded(last)), vec![2, 1, 0]),
        (format!("since={}&until={}&stack=blog", encoded(first), encoded(last)), vec![1]),
    ] {
        let expected: Vec<&Value> = expected.iter().map(|at: &usize| &made[*at]).collect();
        for limit in [1, 3, 200] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = world.get(&format!("/api/v1/deployments?limit={limit}&{query}{cursor}")).await.json();
                assert!(page["items"].as_array().unwrap().len() <= limit);
                found.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query} by {limit}");
        }
    }
    for query in [
        "status=Gone",
        "commit=xyz",
        "commit=012",
        "since=yesterday",
        "until=1",
        "repository=shop",
        "stack=a%20b",
        "cursor=x",
        "limit=0",
        "phase=Failed",
    ] {
        let answer = world.get(&format!("/api/v1/deployments?{query}")).await;
        let field = query.split('=').next().unwrap();
        assert_eq!((answer.status, answer.json()["field"].clone()), (422, json!(field)), "{query}");
    }
    assert!(world.get("/api/v1/deployments?status=Gone").await.text.contains("`Converged`"));
}

#[tokio::test]
async fn environments_are_listed_with_what_is_known_of_them() {
    let world = World::new().await;
    let all = world.get("/api/v1/environments").await.json();
    let names: Vec<&str> = all["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "prod"]);
    let one = world.get("/api/v1/environments/prod").await.json();
    assert_eq!((&one, &one["connected"]), (&all["items"][1], &Value::Null));
    let status = EnvironmentStatus {
        connected: true,
        since: Timestamp::UNIX_EPOCH,
        message: None,
        engine: Some("20.10".into()),
        api: Some("1.41".into()),
        nodes: 3,
        claim: Claim::Foreign { instance: "another".into(), epoch: 7 },
        handled_claim: None,
    };
    let prod = EnvironmentName::parse("prod").unwrap();
    world.ledger.commit(Batch::new().put_environment_status(&prod, &status)).await.unwrap();
    let one = world.get("/api/v1/environments/prod").await.json();
    assert_eq!((&one["connected"], &one["nodeCount"]), (&json!(true), &json!(3)));
    assert_eq!(one["claim"], json!({ "state": "Foreign", "instance": "another", "epoch": 7 }));
    assert_eq!(world.get("/api/v1/environments/nowhere").await.status, 404);
    assert_eq!(world.get("/api/v1/environments/a%20b").await.status, 422);
}

#[tokio::test]
async fn logs_are_raw_text() {
    let world = World::new().await;
    let id = world.declare("shop").await["deploymentId"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/deployments/{id}/logs");
    let answer = world.get(&format!("{path}?tail=5&service=web&since=2026-01-31T12:00:00Z")).await;
    let who = "1970-01-01T00:00:00.000000000Z web.1@node-1";
    assert_eq!(answer.text, format!("{who}: {id} says hello\n{who}: 5 lines\n"));
    let since = "2026-01-31T12:00:00Z".parse().ok();
    let asked = LogQuery { follow: false, tail: 5, since, service: Some("web".into()) };
    assert_eq!(*world.logs.asked.lock().unwrap(), [asked]);
    world.get(&format!("{path}?since=1h")).await;
    let ago = world.logs.asked.lock().unwrap()[1].since.unwrap().duration_until(Timestamp::now());
    assert!((3600..3700).contains(&ago.as_secs()), "{ago}");
    for wrong in ["tail=10001", "tail=-1", "since=soon", "follow=perhaps", "lines=3"] {
        assert_eq!(world.get(&format!("{path}?{wrong}")).await.status, 422, "{wrong}");
    }
    assert_eq!(world.get("/api/v1/deployments/nothing/logs").await.status, 404);
    for (error, status) in [
        (InquiryError::Busy, 429),
        (InquiryError::Failed("the engine is gone".into()), 502),
        (InquiryError::TimedOut, 504),
        (InquiryError::NotFound("it".into()), 404),
    ] {
        *world.logs.error.lock().unwrap() = Some(error);
        assert_eq!(world.get(&path).await.status, status);
    }
}

#[tokio::test]
async fn a_stacks_logs_are_raw_text_too() {
    let world = World::new().await;
    world.declare("shop").await;
    let answer = world.get("/api/v1/stacks/shop/logs?tail=5&service=web").await;
    let who = "1970-01-01T00:00:00.000000000Z web.1@node-1";
    assert_eq!(answer.text, format!("{who}: default/shop says hello\n{who}: 5 lines\n"));
    let asked = LogQuery { follow: false, tail: 5, since: None, service: Some("web".into()) };
    assert_eq!(*world.logs.asked.lock().unwrap(), [asked]);
    assert_eq!(world.get("/api/v1/stacks/shop/logs?environment=prod").await.status, 404);
    assert_eq!(world.get("/api/v1/stacks/none/logs").await.status, 404);
    assert_eq!(world.get("/api/v1/stacks/shop/logs?tail=10001").await.status, 422);
}

#[tokio::test]
async fn logs_are_followed_until_they_end_or_nobody_reads() {
    let world = World::new().await;
    let id = world.declare("shop").await["deploymentId"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/deployments/{id}/logs?follow=true&tail=0");
    let patience = Duration::from_secs(20);
    let mut first = world.request("GET", &path).send().await.unwrap();
    assert_eq!(first.headers()["content-type"], "text/plain; charset=utf-8");
    let mut text = String::new();
    let mut read_to = async |response: &mut reqwest::Response, what: &str| {
        while !text.ends_with(what) {
            let chunk = tokio::time::timeout(patience, response.chunk()).await.expect("a line comes");
            text.push_str(std::str::from_utf8(&chunk.unwrap().expect("it goes on")).unwrap());
        }
    };
    read_to(&mut first, ": 0 lines\n").await;
    let sender = world.logs.followed.lock().unwrap().pop().unwrap();
    sender.send(line("live".into())).unwrap();
    read_to(&mut first, "web.1@node-1: live\n").await;
    drop(sender);
    assert_eq!(tokio::time::timeout(patience, first.chunk()).await.expect("it ends").unwrap(), None);

    // Nothing is written: that nobody reads is found out all the same.
    let second = world.request("GET", &path).send().await.unwrap();
    let sender = world.logs.followed.lock().unwrap().pop().unwrap();
    drop(second);
    tokio::time::timeout(patience * 3, sender.closed()).await.expect("what is behind it ends");
}

#[tokio::test]
async fn a_store_that_cannot_write_is_said() {
    let world = World::new().await;
    world.store.refuse(Some(StoreError::Io { path: "/data".into(), reason: "the disk is full".into() }));
    let answer = world.call("POST", "/api/v1/stacks", &stack("shop")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["cause"].as_str().unwrap().contains("the disk is full"));
}
