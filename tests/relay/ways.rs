//! What comes in from outside, and what goes out, is the same for an environment behind a relay: hooks, REST, catalogs, logs
//! and notifiers are the near Skep's, and nobody who uses them sees where the Swarm is.

use serde_json::{Value, json};

use crate::git_http::{Entry, Repo};
use crate::pair::{NO_ENGINE, Pair, manifest};
use crate::{ids, waits_at};

/// The origin of the newest deployment of a stack.
async fn origin(skep: &crate::pair::Skep, environment: &str, stack: &str) -> Value {
    let document = format!(
        "{{ deployments(stack: {stack:?}, environment: {environment:?}, first: 1) {{ edges {{ node {{ deploymentId \
         trigger originalRequest mappedRequest }} }} }} }}"
    );
    skep.client().query(&document).await["deployments"]["edges"][0]["node"].take()
}

/// Many stacks of one delivery are spread there as they are here: each is handed over a quarter of a second after the one
/// before it.
#[tokio::test]
async fn many_stacks_of_one_delivery_are_handed_over_one_after_the_other() {
    let pair = Pair::linked(NO_ENGINE).await;
    let names: Vec<String> = (0..8).map(|n| format!("shop-{n}")).collect();
    for name in &names {
        pair.near.apply(&manifest(name, 1)).await;
        pair.agree(name, waits_at(1)).await;
    }
    pair.near
        .apply(
            "kind: Hook\nname: ci\nprovider: Generic\nunsigned: true\n\
             rules: [{ stacks: ['shop-*'], environment: prod, set: { images.web: tag } }]\n",
        )
        .await;
    let url = format!("http://{}/hooks/ci", pair.near.address);
    let sent = reqwest::Client::new().post(url).header("X-Skep-Delivery", "1").json(&json!({ "tag": "2" }));
    assert_eq!(sent.send().await.unwrap().status().as_u16(), 202);
    let mut times = Vec::new();
    for name in &names {
        pair.agree(name, waits_at(2)).await;
        let document =
            format!("{{ events(stack: {name:?}, first: 50) {{ edges {{ node {{ type time deploymentId }} }} }} }}");
        let data = pair.far.client().query(&document).await;
        let newest = origin(&pair.far, "default", name).await["deploymentId"].clone();
        let made = data["events"]["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["node"])
            .find(|it| it["type"] == "DeploymentCreated" && it["deploymentId"] == newest);
        times.push(made.unwrap()["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    }
    times.sort();
    // Each may come late on a busy machine; together they have taken seven times a quarter of a second, or no time at all.
    let spread = times[7].duration_since(times[0]);
    assert!(spread.as_millis() >= 900, "{times:?}");
}

#[tokio::test]
async fn what_comes_from_outside_and_goes_outside_passes_through_a_relay() {
    let pair = Pair::linked(NO_ENGINE).await;
    let http = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", pair.near.address);
    // A notifier whose receiver is a hook that leads to nothing: it tells what came.
    pair.near
        .apply(
            "kind: Credential\nname: out\ntype: Opaque\ndata: { secret: what-both-of-them-know }\n---\n\
             kind: Hook\nname: told\nprovider: Generic\nsecret: { credential: out }\nrules: [{ when: 'false', stacks: [none] }]\n---\n\
             kind: Hook\nname: ci\nprovider: Generic\nunsigned: true\n\
             rules: [{ stacks: [shop], environment: prod, set: { images.web: tag } }]\n",
        )
        .await;
    let notifier = json!({
        "kind": "Notifier", "name": "out", "type": "Webhook", "credential": "out", "url": at("/hooks/told"), "environments": ["prod"],
        "events": ["Superseded"],
    });
    pair.near.apply(&notifier.to_string()).await;
    pair.near.apply(&manifest("shop", 1)).await;
    pair.agree("shop", waits_at(1)).await;

    // A hook.
    let sent =
        http.post(at("/hooks/ci")).header("X-Skep-Delivery", "1").json(&json!({ "tag": "2" })).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 202, "{}", sent.text().await.unwrap());
    pair.agree("shop", waits_at(2)).await;
    let (near, far) = (origin(&pair.near, "prod", "shop").await, origin(&pair.far, "default", "shop").await);
    assert_eq!(
        (near["trigger"].as_str(), &near["originalRequest"]["payload"]["tag"]),
        (Some("Hook"), &json!("2")),
        "{near:#}"
    );
    assert_eq!(near, far, "who sent what is known on both");

    // REST: a version, the list, and the log of what comes of it.
    let put = http
        .put(at("/api/v1/stacks/shop/deploy?environment=prod"))
        .bearer_auth(pair.near.token())
        .json(&json!({ "images": { "web": "3" } }))
        .send()
        .await
        .unwrap();
    assert_eq!(put.status().as_u16(), 201);
    let id = put.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    pair.agree("shop", waits_at(3)).await;
    assert_eq!(ids(&pair.far.deployments("default", "shop").await)[0], id);
    let get = async |path: &str| {
        let answer = http.get(at(path)).bearer_auth(pair.near.token()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, list) = get("/api/v1/deployments?environment=prod&stack=shop").await;
    assert!(status == 200 && list.contains(&id), "{status} {list}");
    let (status, log) = get(&format!("/api/v1/deployments/{id}/logs")).await;
    assert!(status == 200 && log.contains("skep: DeploymentCreated"), "{status} {log}");

    // A catalog: a stack comes, changes and goes by push alone.
    let repos = tempfile::tempdir().unwrap();
    let repo = Repo::create(repos.path(), "platform");
    repo.commit("main", &[("stacks/web.yml", &manifest("web", 1))]);
    let catalog = format!(
        "kind: Catalog\nname: platform\nsource: {{ git: {:?}, ref: main, path: stacks/*.yml, poll: 1s }}\n\
         allow: {{ environments: [prod] }}\n",
        repo.file_url()
    );
    pair.near.apply(&catalog).await;
    pair.agree("web", waits_at(1)).await;
    assert_eq!(origin(&pair.far, "default", "web").await["trigger"], "Catalog");
    repo.commit("main", &[("stacks/web.yml", &manifest("web", 2))]);
    pair.agree("web", waits_at(2)).await;
    repo.commit_entries(
        "main",
        &[("stacks/web.yml", Entry::Gone), ("stacks/other.yml", Entry::Text(&manifest("other", 1)))],
    );
    pair.near.watch("prod", "web").until("gone", 60, Value::is_null).await;
    pair.agree("other", waits_at(1)).await;
    assert!(pair.far.stack("default", "web").await.is_null());

    // Each version that another one overtook was told of once: the far Skep's transitions are the near one's.
    let mut told: Vec<Value> = Vec::new();
    for _ in 0..600 {
        let out = pair.near.run(&["hook", "deliveries", "told", "-o", "json"]);
        told = serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().clone();
        if told.len() >= 3 {
            break;
        }
        // The couriers are on their way; nobody but the list tells.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let events: Vec<_> = told.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["Superseded"; 3], "two of `shop`, one of `web`: {told:#?}");
}
