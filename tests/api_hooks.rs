//! Hooks over real HTTP, on a store in memory.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/http.rs"]
pub mod http;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{Answer, World, key};
use serde_json::{Value, json};
use sha2::Sha256;
use skep::domain::{EventType, Trigger};
use skep::ports::{Scan, Store, StoreError};
use skep::seal::KeyFile;

const SECRET: &str = "It's a Secret to Everybody";
const COMMIT: &str = "1481a2de7b2a7d02428ad93446ab166be7793fbb";

const HOOKS: &str = "\
kind: Hook
name: shop-push
provider: GitHub
secret: { value: \"It's a Secret to Everybody\" }
rules:
  - { when: 'ref == \"refs/heads/main\"', stacks: ['shop*'], set: { ref: after } }
  - { when: 'ref == \"refs/heads/docs\"', stacks: [shop] }
---
kind: Hook
name: ci
provider: Generic
secret: { value: \"It's a Secret to Everybody\" }
rules: [{ stacks: [shop, text], set: { images.web: image.tag } }]
";

async fn world() -> World {
    let world = World::new().await;
    world.apply(HOOKS).await;
    for name in ["shop", "shop-eu", "other"] {
        world.declare(name).await;
    }
    world
}

fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn push(branch: &str) -> String {
    let pusher = json!({ "name": "octocat", "note": SECRET });
    json!({ "ref": format!("refs/heads/{branch}"), "after": COMMIT, "pusher": pusher }).to_string()
}

/// A delivery by GitHub, without the token.
fn github(world: &World, hook: &str, id: &str, body: &str) -> reqwest::RequestBuilder {
    world
        .http
        .post(format!("http://{}/hooks/{hook}", world.address))
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", id)
        .header("x-forwarded-access-token", "hunter2hunter2")
        .body(body.to_owned())
}

async fn deliver(world: &World, id: &str, body: &str) -> Answer {
    world.send(github(world, "shop-push", id, body).header("x-hub-signature-256", sign(body))).await
}

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
async fn a_ping_and_other_events_are_accepted_and_do_nothing() {
    let world = world().await;
    let before = world.ledger.revision();
    for event in ["ping", "issues"] {
        let body = push("main");
        let request = world
            .http
            .post(format!("http://{}/hooks/shop-push", world.address))
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", event)
            .header("x-hub-signature-256", sign(&body))
            .body(body);
        let answer = world.send(request).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json(), json!({ "deliveryId": event, "deployments": [], "refused": [] }));
    }
    assert_eq!(world.ledger.revision(), before);
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

/// A delivery by anyone.
fn generic(world: &World, id: Option<&str>, body: &str) -> reqwest::RequestBuilder {
    let request = world
        .http
        .post(format!("http://{}/hooks/ci", world.address))
        .header("x-skep-signature-256", sign(body))
        .body(body.to_owned());
    match id {
        Some(id) => request.header("x-skep-delivery", id),
        None => request,
    }
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

/// One hook for each provider, all with the same secret; each sets what its payload names.
const PROVIDERS: &str = "\
kind: Hook
name: gitlab
provider: GitLab
secret: { value: \"It's a Secret to Everybody\" }
rules:
  - { when: 'ref == \"refs/heads/main\"', stacks: [shop], set: { ref: checkout_sha } }
  - { when: 'event == \"release\" && action == \"create\"', stacks: [shop], set: { ref: tag } }
---
kind: Hook
name: gitea
provider: Gitea
secret: { value: \"It's a Secret to Everybody\" }
rules: [{ when: 'ref == \"refs/heads/main\"', stacks: [shop], set: { ref: after } }]
---
kind: Hook
name: bitbucket
provider: Bitbucket
secret: { value: \"It's a Secret to Everybody\" }
rules:
  - when: 'push.changes.exists(c, c.new.type == \"branch\" && c.new.name == \"main\")'
    stacks: [shop]
    set: { ref: 'push.changes[0].new.target.hash' }
---
kind: Hook
name: registry
provider: Registry
secret: { value: \"It's a Secret to Everybody\" }
rules: [{ when: 'has(target.tag) && target.repository == \"team/web\"', stacks: [shop], set: { images.web: target.tag } }]
---
kind: Hook
name: hub
provider: DockerHub
unsigned: true
rules: [{ when: 'repository.repo_name == \"team/web\"', stacks: [shop], set: { images.web: push_data.tag } }]
---
kind: Hook
name: events
provider: CloudEvents
secret: { value: \"It's a Secret to Everybody\" }
rules: [{ when: 'event == \"dev.example.built\"', stacks: [shop], set: { images.web: data.tag } }]
";

/// A request as one of them sends it.
struct Sent {
    hook: &'static str,
    body: Value,
    /// Headers but the one that proves.
    headers: Vec<(&'static str, &'static str)>,
    /// The header that proves, for a body.
    proof: fn(&str) -> (&'static str, String),
}

impl Sent {
    async fn send(&self, world: &World, body: &str, proof: Option<(&str, String)>) -> Answer {
        let mut request =
            world.http.post(format!("http://{}/hooks/{}", world.address, self.hook)).body(body.to_owned());
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if let Some((name, value)) = proof {
            request = request.header(name, value);
        }
        world.send(request).await
    }
}

fn hex(body: &str) -> String {
    sign(body)["sha256=".len()..].to_owned()
}

/// What each provider's documentation shows, shortened to what is asked about.
fn sent() -> Vec<(Sent, Value)> {
    vec![
        (
            Sent {
                hook: "gitlab",
                body: json!({ "object_kind": "push", "ref": "refs/heads/main", "after": COMMIT, "checkout_sha": COMMIT }),
                headers: vec![("x-gitlab-event", "Push Hook"), ("idempotency-key", "4a6c8f2e")],
                proof: |_| ("x-gitlab-token", SECRET.to_owned()),
            },
            json!({ "ref": COMMIT }),
        ),
        (
            Sent {
                hook: "gitea",
                body: json!({ "ref": "refs/heads/main", "after": COMMIT }),
                headers: vec![("x-gitea-event", "push"), ("x-gitea-delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473")],
                proof: |body| ("x-gitea-signature", hex(body)),
            },
            json!({ "ref": COMMIT }),
        ),
        (
            Sent {
                hook: "bitbucket",
                body: json!({ "push": { "changes": [
                    { "new": { "type": "branch", "name": "main", "target": { "hash": COMMIT } } },
                ] } }),
                headers: vec![("x-event-key", "repo:push"), ("x-request-uuid", "1b1ea4e3-2f0c-4b9e-8a3c-6c2f4b0c8f11")],
                proof: |body| ("x-hub-signature", sign(body)),
            },
            json!({ "ref": COMMIT }),
        ),
        (
            Sent {
                hook: "registry",
                body: json!({ "events": [
                    { "id": "layer", "action": "push", "target": { "mediaType": "application/octet-stream" } },
                    { "id": "asdf-asdf", "action": "push", "target": {
                        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                        "repository": "team/web", "tag": "1.4.3", "digest": "sha256:fea8895f450959fa676bcc1df0611ea9" } },
                ] }),
                headers: vec![("content-type", "application/vnd.docker.distribution.events.v1+json")],
                proof: |_| ("authorization", format!("Bearer {SECRET}")),
            },
            json!({ "images.web": "1.4.3" }),
        ),
        (
            Sent {
                hook: "events",
                body: json!({ "specversion": "1.0", "id": "7", "source": "/ci/shop", "type": "dev.example.built",
                    "data": { "tag": "1.4.5" } }),
                headers: vec![("content-type", "application/cloudevents+json")],
                proof: |body| ("x-skep-signature-256", sign(body)),
            },
            json!({ "images.web": "1.4.5" }),
        ),
    ]
}

async fn with_providers() -> World {
    let world = World::new().await;
    world.apply(PROVIDERS).await;
    world.declare("shop").await;
    world
}

#[tokio::test]
async fn each_provider_is_verified_its_own_way_mapped_and_taken_once() {
    for (sent, set) in sent() {
        let world = with_providers().await;
        let (hook, body) = (sent.hook, sent.body.to_string());
        let before = world.ledger.revision();
        let wrong = sign("something else");
        for proof in [None, Some(((sent.proof)(&body).0, wrong)), Some(((sent.proof)(&body).0, String::new()))] {
            assert_eq!(sent.send(&world, &body, proof).await.status, 401, "{hook}");
        }
        let (name, good) = (sent.proof)(&body);
        if good.contains(&hex(&body)) {
            let tampered = body.replace(COMMIT, &"b".repeat(40)).replace("1.4.5", "6.6.6");
            assert_ne!(tampered, body);
            assert_eq!(sent.send(&world, &tampered, Some((name, good.clone()))).await.status, 401, "{hook}");
        }
        assert_eq!(world.ledger.revision(), before, "{hook}");
        let answer = sent.send(&world, &body, Some((name, good.clone()))).await;
        assert_eq!(answer.status, 202, "{hook}: {}", answer.text);
        let made = answer.json()["deployments"].as_array().unwrap().clone();
        assert_eq!(made.len(), 1, "{hook}: {}", answer.text);
        let origin = world.deployment(&made[0]).origin;
        assert_eq!(origin.mapped_request["hook"]["set"], set, "{hook}");
        assert!(!origin.original_request.to_string().contains("Everybody"), "{hook}");
        assert_eq!(sent.send(&world, &body, Some((name, good))).await.status, 409, "{hook}");
    }
}

#[tokio::test]
async fn a_delivery_without_an_id_is_refused_and_says_which() {
    let world = with_providers().await;
    for (sent, _) in sent().into_iter().filter(|(sent, _)| !matches!(sent.hook, "registry" | "events")) {
        let body = sent.body.to_string();
        let bare = Sent { headers: Vec::new(), ..sent };
        let answer = bare.send(&world, &body, Some((bare.proof)(&body))).await;
        assert_eq!(answer.status, 422, "{}", bare.hook);
    }
}

#[tokio::test]
async fn a_rule_that_does_not_ask_what_happened_is_about_pushes_alone() {
    let world = with_providers().await;
    let send = async |id: &'static str, body: Value| {
        let headers = vec![("idempotency-key", id)];
        let sent = Sent { hook: "gitlab", body, headers, proof: |_| ("x-gitlab-token", SECRET.to_owned()) };
        let body = sent.body.to_string();
        sent.send(&world, &body, Some((sent.proof)(&body))).await.json()
    };
    let pipeline = json!({ "object_kind": "pipeline", "ref": "refs/heads/main", "checkout_sha": COMMIT });
    let answer = send("one", pipeline).await;
    assert_eq!((&answer["deployments"], &answer["refused"]), (&json!([]), &json!([])));
    let release = send("two", json!({ "object_kind": "release", "action": "create", "tag": "v1.4.2" })).await;
    assert_eq!(world.deployment(&release["deployments"][0]).origin.mapped_request["hook"]["set"]["ref"], "v1.4.2");
}

#[tokio::test]
async fn only_a_hook_that_says_so_takes_what_is_not_signed() {
    let world = with_providers().await;
    let body = json!({ "repository": { "repo_name": "team/web" }, "push_data": { "tag": "1.4.4" } }).to_string();
    let post = || world.http.post(format!("http://{}/hooks/hub", world.address)).body(body.clone());
    let answer = world.send(post()).await;
    assert_eq!(answer.json()["deployments"].as_array().unwrap().len(), 1, "{}", answer.text);
    assert_eq!(world.send(post()).await.status, 409, "the same body is the same delivery");
    for broken in ["", "unsigned: false\n", "unsigned: true\nsecret: { value: \"It's a Secret\" }\n"] {
        let manifest = format!("kind: Hook\nname: x\nprovider: DockerHub\n{broken}rules: [{{ stacks: [shop] }}]\n");
        assert!(world.refused(&manifest).await.contains("secret"), "{broken}");
    }
}

/// A question or an order of GraphQL; gives its answer, without errors.
async fn graph(world: &World, query: &str, variables: Value) -> Value {
    let answer = world.call("POST", "/graphql", &json!({ "query": query, "variables": variables })).await.json();
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"]["it"].clone()
}

const DELIVERIES: &str = "query Q($hook: String!, $first: Int) { it: hookDeliveries(hook: $hook, first: $first) { id \
    deliveryId event againBy deployments kept reconciled { name } refused { stack { name } code message } } }";
const REDELIVER: &str = "mutation M($input: RedeliverHookInput!) { it: redeliverHook(input: $input) { deliveryId \
    deployments reconciled { name } refused { code } userErrors { code field hint } } }";

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
async fn a_sender_of_forgeries_is_turned_away_and_the_right_one_is_not() {
    let world = world().await;
    let mut codes = std::collections::BTreeMap::new();
    for n in 0..80 {
        let answer = world.send(github(&world, "shop-push", &format!("bad{n}"), &push("main"))).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        *codes.entry(answer.status).or_insert(0) += 1;
    }
    assert!(codes[&401] >= 60 && codes[&429] >= 10, "{codes:?}");
    assert_eq!(deliver(&world, "good", &push("main")).await.status, 202);
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

#[tokio::test]
async fn gitlabs_signing_token_signs_id_time_and_body() {
    let world = world().await;
    world
        .apply(
            "kind: Hook\nname: gitlab\nprovider: GitLab\nsecret: { value: \"It's a Secret to Everybody\" }\n\
             rules: [{ stacks: [shop], set: { ref: after } }]\n",
        )
        .await;
    let body = json!({ "object_kind": "push", "ref": "refs/heads/main", "after": COMMIT }).to_string();
    let now = world.ledger.stack(&key("shop")).unwrap().unwrap().value.created_at.as_second();
    let send = async |id: &str, time: i64, signed: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{id}.{time}.{signed}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let request = world
            .http
            .post(format!("http://{}/hooks/gitlab", world.address))
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            .header("webhook-id", id)
            .header("webhook-timestamp", time.to_string())
            .header("webhook-signature", format!("v1,{signature}"))
            .body(body.clone());
        world.send(request).await.status
    };
    assert_eq!(send("one", now, "another body").await, 401);
    assert_eq!(send("one", now - 3600, &body).await, 401, "it is an hour old");
    assert_eq!(send("one", now, &body).await, 202);
    assert_eq!(send("one", now, &body).await, 409);
    assert_eq!(world.ledger.stack(&key("shop")).unwrap().unwrap().value.spec.source.wanted(), COMMIT);
}

/// An event of a provider, its payload shortened from the provider's own documentation to what is asked about.
struct Told {
    provider: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// The header that names the delivery.
    id: &'static str,
    payload: Value,
    when: &'static str,
    set: (&'static str, &'static str),
    wanted: &'static str,
    proof: fn(&str) -> (&'static str, String),
}

fn told() -> Vec<Told> {
    let github = |event: &'static [(&'static str, &'static str)], payload, when, set, wanted| Told {
        provider: "GitHub",
        headers: event,
        id: "x-github-delivery",
        payload,
        when,
        set,
        wanted,
        proof: |body| ("x-hub-signature-256", sign(body)),
    };
    let gitlab = |payload, when, set, wanted| Told {
        provider: "GitLab",
        headers: &[],
        id: "idempotency-key",
        payload,
        when,
        set,
        wanted,
        proof: |_| ("x-gitlab-token", SECRET.to_owned()),
    };
    let gitea = |event: &'static [(&'static str, &'static str)], payload, when, set, wanted| Told {
        provider: "Gitea",
        headers: event,
        id: "x-gitea-delivery",
        payload,
        when,
        set,
        wanted,
        proof: |body| ("x-gitea-signature", hex(body)),
    };
    vec![
        github(
            &[("x-github-event", "push")],
            json!({ "ref": "refs/tags/v1.4.2", "after": COMMIT, "created": true }),
            "ref.startsWith(\"refs/tags/v\")",
            ("ref", "after"),
            COMMIT,
        ),
        github(
            &[("x-github-event", "create")],
            json!({ "ref": "v1.4.2", "ref_type": "tag", "master_branch": "main" }),
            "event == \"create\" && ref_type == \"tag\"",
            ("ref", "payload.ref"),
            "v1.4.2",
        ),
        github(
            &[("x-github-event", "release")],
            json!({ "action": "published", "release": { "tag_name": "v1.4.2", "target_commitish": "main", "draft": false } }),
            "event == \"release\" && action == \"published\"",
            ("ref", "release.tag_name"),
            "v1.4.2",
        ),
        github(
            &[("x-github-event", "deployment")],
            json!({ "action": "created", "deployment": { "sha": COMMIT, "ref": "main", "environment": "production" } }),
            "event == \"deployment\" && deployment.environment == \"production\"",
            ("ref", "deployment.sha"),
            COMMIT,
        ),
        github(
            &[("x-github-event", "registry_package")],
            json!({ "action": "published", "registry_package": { "name": "web", "namespace": "team",
                "package_version": { "container_metadata": { "tag": { "name": "1.4.2" } } } } }),
            "event == \"registry_package\" && registry_package.name == \"web\"",
            ("images.web", "registry_package.package_version.container_metadata.tag.name"),
            "1.4.2",
        ),
        github(
            &[("x-github-event", "workflow_run")],
            json!({ "action": "completed", "workflow_run": { "name": "CI", "head_sha": COMMIT, "conclusion": "success" } }),
            "event == \"workflow_run\" && workflow_run.conclusion == \"success\"",
            ("ref", "workflow_run.head_sha"),
            COMMIT,
        ),
        gitlab(
            json!({ "object_kind": "push", "ref": "refs/heads/main", "checkout_sha": COMMIT }),
            "ref == \"refs/heads/main\"",
            ("ref", "checkout_sha"),
            COMMIT,
        ),
        gitlab(
            json!({ "object_kind": "tag_push", "ref": "refs/tags/v1.4.2", "checkout_sha": COMMIT }),
            "ref.startsWith(\"refs/tags/\")",
            ("ref", "checkout_sha"),
            COMMIT,
        ),
        gitlab(
            json!({ "object_kind": "release", "action": "create", "tag": "v1.4.2", "commit": { "id": COMMIT } }),
            "event == \"release\" && action == \"create\"",
            ("ref", "tag"),
            "v1.4.2",
        ),
        gitlab(
            json!({ "object_kind": "pipeline", "object_attributes": { "ref": "main", "sha": COMMIT, "status": "success" } }),
            "event == \"pipeline\" && object_attributes.status == \"success\"",
            ("ref", "object_attributes.sha"),
            COMMIT,
        ),
        gitea(
            &[("x-gitea-event", "push")],
            json!({ "ref": "refs/heads/main", "after": COMMIT }),
            "ref == \"refs/heads/main\"",
            ("ref", "after"),
            COMMIT,
        ),
        // Forgejo sends Gitea's headers beside its own.
        gitea(
            &[("x-gitea-event", "create"), ("x-forgejo-event", "create")],
            json!({ "ref": "v1.4.2", "ref_type": "tag", "sha": COMMIT }),
            "event == \"create\" && ref_type == \"tag\"",
            ("ref", "sha"),
            COMMIT,
        ),
        gitea(
            &[("x-gitea-event", "release")],
            json!({ "action": "published", "release": { "tag_name": "v1.4.2" } }),
            "event == \"release\" && action == \"published\"",
            ("ref", "release.tag_name"),
            "v1.4.2",
        ),
        Told {
            provider: "Bitbucket",
            headers: &[("x-event-key", "repo:push")],
            id: "x-request-uuid",
            payload: json!({ "push": { "changes": [{ "new": { "type": "tag", "name": "v1.4.2", "target": { "hash": COMMIT } } }] } }),
            when: "push.changes[0].new.type == \"tag\"",
            set: ("ref", "push.changes[0].new.target.hash"),
            wanted: COMMIT,
            proof: |body| ("x-hub-signature", sign(body)),
        },
        // In binary mode what is told of the event is in headers, and the body is its data.
        Told {
            provider: "CloudEvents",
            headers: &[("ce-specversion", "1.0"), ("ce-source", "/ci/shop"), ("ce-type", "dev.example.built")],
            id: "ce-id",
            payload: json!({ "tag": "1.4.2" }),
            when: "event == \"dev.example.built\"",
            set: ("images.web", "data.tag"),
            wanted: "1.4.2",
            proof: |body| ("x-skep-signature-256", sign(body)),
        },
        Told {
            provider: "Generic",
            headers: &[("x-skep-event", "built")],
            id: "x-skep-delivery",
            payload: json!({ "image": { "tag": "1.4.2" } }),
            when: "event == \"built\"",
            set: ("images.web", "image.tag"),
            wanted: "1.4.2",
            proof: |body| ("x-skep-signature-256", sign(body)),
        },
    ]
}

#[tokio::test]
async fn every_event_is_mapped_and_none_that_is_tampered_with_replayed_or_oversized() {
    for told in told() {
        let world = World::new().await;
        world.declare("shop").await;
        let Told { provider, when, set: (field, expression), .. } = told;
        let what = format!("{provider}: {when}");
        world
            .apply(&format!(
                "kind: Hook\nname: x\nprovider: {provider}\nsecret: {{ value: \"{SECRET}\" }}\nrules:\n  \
                 - {{ when: '{when}', stacks: [shop], set: {{ {field}: '{expression}' }} }}\n"
            ))
            .await;
        let send = async |body: &str, proof: Option<(&str, String)>| {
            let mut request = world.http.post(format!("http://{}/hooks/x", world.address)).body(body.to_owned());
            request = request.header("content-type", "application/json").header(told.id, "one");
            for (name, value) in told.headers.iter().copied().map(|(name, value)| (name, value.to_owned())).chain(proof)
            {
                request = request.header(name, value);
            }
            world.send(request).await
        };
        let body = told.payload.to_string();
        let proof = (told.proof)(&body);
        assert_eq!(send(&body, None).await.status, 401, "{what}");
        let forged = (proof.0, format!("{}0", proof.1));
        assert_eq!(send(&body, Some(forged)).await.status, 401, "{what}");
        // A secret that is only shown says nothing of the body.
        if !proof.1.contains(SECRET) {
            let tampered = body.replace(told.wanted, "6.6.6");
            assert_eq!(send(&tampered, Some(proof.clone())).await.status, 401, "{what}");
        }
        let large = json!({ "x": "y".repeat(1 << 20) }).to_string();
        assert_eq!(send(&large, Some((told.proof)(&large))).await.status, 413, "{what}");
        let answer = send(&body, Some(proof.clone())).await;
        assert_eq!(answer.status, 202, "{what}: {}", answer.text);
        let made = answer.json()["deployments"].as_array().unwrap().clone();
        assert_eq!(made.len(), 1, "{what}: {}", answer.text);
        let origin = world.deployment(&made[0]).origin;
        assert_eq!(origin.mapped_request["hook"]["set"], json!({ field: told.wanted }), "{what}");
        assert_eq!(send(&body, Some(proof)).await.status, 409, "{what}");
    }
}

#[tokio::test]
async fn a_push_of_an_image_wakes_the_stacks_that_follow_it() {
    use skep::domain::{FollowRule, FollowedStatus, Repository, StackStatus};
    use skep::ledger::Batch;
    let world = World::new().await;
    world
        .apply(&format!(
            "kind: Hook\nname: images\nprovider: Registry\nsecret: {{ value: \"{SECRET}\" }}\nrules: [{{ stacks: ['*'] }}]\n"
        ))
        .await;
    world.declare("of-git").await;
    for (name, repository) in [("web", "r.example/team/web"), ("api", "r.example/team/api"), ("new", "")] {
        let compose = "services: { web: { image: 'r.example/team/web:0' } }";
        let images = json!({ "web": { "semver": "~1.4" } });
        let body = json!({ "name": name, "inline": compose, "images": images });
        assert_eq!(world.call("POST", "/api/v1/stacks", &body).await.status, 201);
        if !repository.is_empty() {
            let rule = FollowRule::Semver("~1.4".into());
            let repository = Repository::of_image(repository);
            let followed =
                FollowedStatus { rule, repository, version: None, since: None, skipped: Vec::new(), error: None };
            let status = StackStatus { followed: [("web".to_owned(), followed)].into(), ..StackStatus::default() };
            world.ledger.commit(Batch::new().put_status(&key(name), &status)).await.unwrap();
        }
    }
    let event = json!({ "id": "one", "action": "push", "target": { "repository": "team/web", "tag": "1.4.3",
        "mediaType": "application/vnd.oci.image.index.v1+json" } });
    let request = world
        .http
        .post(format!("http://{}/hooks/images", world.address))
        .header("content-type", "application/vnd.docker.distribution.events.v1+json")
        .header("authorization", format!("Bearer {SECRET}"))
        .body(json!({ "events": [event] }).to_string());
    assert_eq!(world.send(request).await.status, 202);
    let woken: Vec<&str> = ["api", "new", "of-git", "web"]
        .into_iter()
        .filter(|name| {
            let stack = world.ledger.stack(&key(name)).unwrap().unwrap().value;
            stack.control.reconcile_token.is_some()
        })
        .collect();
    assert_eq!(woken, ["new", "of-git", "web"], "where its image is is not known of `new` yet");
}
