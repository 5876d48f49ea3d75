//! How each provider proves itself, and what its events say.

use super::*;

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
pub(super) struct Sent {
    hook: &'static str,
    body: Value,
    /// Headers but the one that proves.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// The header that proves, for a body.
    pub(super) proof: fn(&str) -> (&'static str, String),
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

/// What each provider's documentation shows, shortened to what is asked about.
pub(super) fn sent() -> Vec<(Sent, Value)> {
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

/// Sends an envelope as a registry does.
async fn from_registry(world: &World, events: &Value) -> Answer {
    let request = world
        .http
        .post(format!("http://{}/hooks/registry", world.address))
        .header("content-type", "application/vnd.docker.distribution.events.v1+json")
        .header("authorization", format!("Bearer {SECRET}"))
        .body(json!({ "events": events }).to_string());
    world.send(request).await
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
        let again = sent.send(&world, &body, Some((name, good))).await.status;
        assert_eq!(again, if hook == "registry" { 202 } else { 409 }, "{hook}");
        assert_eq!(world.ledger.deployments(None, 100).unwrap().len(), 2, "{hook}: the stack's own, and one");
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
        let mut request = world
            .http
            .post(format!("http://{}/hooks/gitlab", world.address))
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            // Whatever stands in headers that are not signed.
            .header("idempotency-key", world.ledger.revision().to_string())
            .body(body.clone());
        for (name, value) in standard(id, time, signed) {
            request = request.header(name, value);
        }
        world.send(request).await.status
    };
    assert_eq!(send("one", now, "another body").await, 401);
    assert_eq!(send("one", now - 3600, &body).await, 401, "it is an hour old");
    assert_eq!(send("one", now, &body).await, 202);
    assert_eq!(send("one", now, &body).await, 409);
    assert_eq!(world.ledger.stack(&key("shop")).unwrap().unwrap().value.spec.source.wanted(), COMMIT);
}

/// The headers that sign a body as the Standard Webhooks specification has it.
fn standard(id: &str, time: i64, body: &str) -> [(&'static str, String); 3] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    [("webhook-id", id.to_owned()), ("webhook-timestamp", time.to_string()), ("webhook-signature", signature)]
}

#[tokio::test]
async fn a_cloud_event_is_taken_again_under_no_other_id() {
    let world = with_providers().await;
    let now = world.ledger.stack(&key("shop")).unwrap().unwrap().value.created_at.as_second();
    let send = async |kind: &str, id: &str, body: &str, proof: &[(&'static str, String)]| {
        let mut request = world
            .http
            .post(format!("http://{}/hooks/events", world.address))
            .header("content-type", kind)
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/ci/shop")
            .header("ce-type", "dev.example.built")
            .body(body.to_owned());
        for (name, value) in proof {
            request = request.header(*name, value);
        }
        world.send(request).await
    };
    let (binary, structured) = ("application/json", "application/cloudevents+json");
    let data = json!({ "tag": "1.4.2" }).to_string();

    // The signature of the body says nothing of an id in a header; nor does a signature beside it that is wrong.
    let of_body = ("x-skep-signature-256", sign(&data));
    let mut with_another = vec![of_body.clone()];
    with_another.extend(standard("one", now, "another body"));
    for proof in [std::slice::from_ref(&of_body), &with_another] {
        let answer = send(binary, "one", &data, proof).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains("binary mode") && answer.text.contains("structured mode"), "{}", answer.text);
    }
    let listed = world.ledger.deliveries("events", 1).unwrap().remove(0);
    assert!(format!("{:?}", listed.idle).contains("binary mode"), "{listed:?}");

    // That of id, time and body does: a captured one is a replay, whatever its other headers say, and whatever its form.
    let answer = send(binary, "one", &data, &standard("msg_1", now, &data)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["deliveryId"], "msg_1");
    let set = world.deployment(&answer.json()["deployments"][0]).origin.mapped_request["hook"]["set"].clone();
    assert_eq!(set, json!({ "images.web": "1.4.2" }));
    assert_eq!(send(binary, "two", &data, &standard("msg_1", now, &data)).await.status, 409);
    let [_, time, signature] = standard("msg_1", now, &data);
    assert_eq!(send(binary, "two", &data, &[("webhook-id", "msg_2".to_owned()), time, signature]).await.status, 401);
    assert_eq!(send(binary, "one", &data, &standard("msg_1", now - 3600, &data)).await.status, 401);

    // In structured mode both forms sign the event's own id.
    let event = json!({ "specversion": "1.0", "id": "7", "source": "/ci/shop", "type": "dev.example.built",
        "data": { "tag": "1.4.5" } })
    .to_string();
    let of_body = [("x-skep-signature-256", sign(&event))];
    let answer = send(structured, "one", &event, &of_body).await;
    assert_eq!((answer.status, answer.json()["deliveryId"].clone()), (202, json!("/ci/shop/7")), "{}", answer.text);
    let mut with_another = of_body.to_vec();
    with_another.extend(standard("msg_3", now, "another body"));
    for proof in [of_body.as_slice(), &with_another] {
        assert_eq!(send(structured, "two", &event, proof).await.status, 409);
        assert_eq!(send(binary, "two", &event, proof).await.status, 422);
    }
    let event = event.replace("\"7\"", "\"8\"");
    let proof = standard("msg_4", now, &event);
    assert_eq!(send(structured, "one", &event, &proof).await.json()["deliveryId"], "msg_4");
    for kind in [structured, binary] {
        assert_eq!(send(kind, "two", &event, &proof).await.status, 409, "{kind}");
    }
}

#[tokio::test]
async fn only_a_signature_that_is_right_makes_an_id_a_signed_one() {
    let world = world().await;
    world.apply(&HOOKS.replace("[shop, text]", "[shop]")).await;
    let now = world.ledger.stack(&key("shop")).unwrap().unwrap().value.created_at.as_second();
    let body = json!({ "image": { "tag": "1.4.2" } }).to_string();
    let send = async |id: Option<&str>, proof: [(&'static str, String); 3]| {
        let mut request = generic(&world, id, &body);
        for (name, value) in proof {
            request = request.header(name, value);
        }
        world.send(request).await
    };
    let answer = send(Some("own"), standard("msg_1", now, "another body")).await;
    assert_eq!((answer.status, answer.json()["deliveryId"].clone()), (202, json!("own")), "{}", answer.text);
    assert_eq!(send(Some("own"), standard("msg_2", now, "another body")).await.status, 409);
    assert_eq!(send(None, standard("msg_2", now, "another body")).await.status, 422);
    let answer = send(Some("own"), standard("msg_2", now, &body)).await;
    assert_eq!((answer.status, answer.json()["deliveryId"].clone()), (202, json!("msg_2")), "{}", answer.text);
}

#[tokio::test]
async fn an_event_of_a_registry_without_an_id_of_use_keeps_no_other_back() {
    let world = with_providers().await;
    let event = |id: Value, tag: &str| {
        json!({ "id": id, "action": "push", "target": { "repository": "team/web", "tag": tag,
            "mediaType": "application/vnd.oci.image.index.v1+json" } })
    };
    let send = async |events: Value| from_registry(&world, &events).await;
    let mut without = event(Value::Null, "0.1");
    without.as_object_mut().unwrap().remove("id");
    let odd = [
        without,
        event(json!(""), "0.2"),
        event(json!(7), "0.3"),
        event(json!("with a space"), "0.4"),
        event(json!("x".repeat(129)), "0.5"),
    ];
    // Before the good one, and behind it.
    let events: Vec<Value> =
        odd.iter().cloned().chain([event(json!("good"), "1.4.3")]).chain(odd.iter().cloned()).collect();
    let answer = send(json!(events)).await;
    assert_eq!((answer.status, answer.json()["deliveryId"].clone()), (202, json!("good")), "{}", answer.text);
    assert_eq!(answer.json()["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(world.ledger.stack(&key("shop")).unwrap().unwrap().value.spec.named_images()["web"], "1.4.3");
    // What was left out is listed, with the reason.
    let known = world.ledger.deliveries("registry", 200).unwrap();
    let refused: Vec<_> = known.iter().filter(|it| it.idle.is_some()).collect();
    assert_eq!((known.len(), refused.len()), (11, 10));
    assert!(refused.iter().all(|it| format!("{:?}", it.idle).contains("has 1 to 128 characters")), "{refused:?}");
    // An envelope of nothing else is taken as well, or the registry would send nothing any more.
    let answer = send(json!(odd)).await;
    assert_eq!((answer.status, answer.json()["deployments"].clone()), (202, json!([])), "{}", answer.text);
    // What is no envelope is not one of a registry's.
    assert_eq!(send(json!("none")).await.status, 422);
}

/// An event of a provider, its payload shortened from the provider's own documentation to what is asked about.
pub(super) struct Told {
    provider: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The header that names the delivery.
    pub(super) id: &'static str,
    payload: Value,
    when: &'static str,
    set: (&'static str, &'static str),
    wanted: &'static str,
    pub(super) proof: fn(&str) -> (&'static str, String),
}

pub(super) fn told() -> Vec<Told> {
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
        // A registry sends the same until it is taken, and nothing else before: it is told the same again.
        let made = world.ledger.revision();
        let again = send(&body, Some(proof)).await;
        let registry = told.provider == "Registry";
        assert_eq!(again.status, if registry { 202 } else { 409 }, "{what}");
        assert!(!registry || again.json()["deployments"] == answer.json()["deployments"], "{what}: {}", again.text);
        assert_eq!(world.ledger.revision(), made, "{what}");
    }
}

#[tokio::test]
async fn what_nodes_pull_pushes_no_delivery_out() {
    let world = with_providers().await;
    let event = |id: &str, action: &str| {
        json!({ "id": id, "action": action, "target": { "repository": "team/web", "tag": "1.4.3",
            "mediaType": "application/vnd.oci.image.index.v1+json" } })
    };
    let send = async |events: Value| from_registry(&world, &events).await;
    // In one envelope with a push, before it and behind it; and alone.
    let answer = send(json!([event("one", "pull"), event("two", "push"), event("three", "pull")])).await;
    assert_eq!((answer.status, answer.json()["deployments"].as_array().unwrap().len()), (202, 1), "{}", answer.text);
    for n in 0..150 {
        assert_eq!(send(json!([event(&format!("pull-{n}"), "pull")])).await.status, 202);
    }
    let known: Vec<_> = world.ledger.deliveries("registry", 200).unwrap();
    let events: Vec<(&str, bool)> = known.iter().map(|it| (it.event.as_str(), it.kept)).collect();
    assert_eq!(events, [("pull", false), ("push", true)]);
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
