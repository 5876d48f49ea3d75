//! Hooks over real HTTP, on a store in memory.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "../support/http.rs"]
pub mod http;

mod document;
mod kept;
mod limits;
mod providers;
mod taking;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{Answer, World, key};
use serde_json::{Value, json};
use sha2::Sha256;
use skep::api::ApiOptions;
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

fn hex(body: &str) -> String {
    sign(body)["sha256=".len()..].to_owned()
}

/// A question or an order of GraphQL; gives its answer, without errors.
async fn graph(world: &World, query: &str, variables: Value) -> Value {
    let answer = world.call("POST", "/graphql", &json!({ "query": query, "variables": variables })).await.json();
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"]["it"].clone()
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
