//! Who is let in, and how much is taken.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use skep::api::ApiOptions;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::world::{TOKEN, World};

fn refused(result: Result<crate::world::Socket, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn without_the_token_only_health_is_answered() {
    let world = World::new().await;
    let query = json!({ "query": "{ environments { name } }" });
    for request in [
        world.post(&query),
        world.post(&query).bearer_auth("another"),
        world.post(&query).header("authorization", "Basic eDp5"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }
    assert_eq!(world.post(&query).bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    for (path, status) in
        [("/healthz", 200), ("/readyz", 503), ("/metrics", 401), ("/graphql", 401), ("/graphiql", 404)]
    {
        let answer = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(answer.headers().contains_key("x-request-id"), "{path}");
    }
    let said = world.http.get(world.url("/readyz")).send().await.unwrap().text().await.unwrap();
    assert_eq!(said, "starting, or ending\n");
    world.ready.store(true, Ordering::Release);
    assert_eq!(world.http.get(world.url("/readyz")).send().await.unwrap().status(), 200);
    let metrics = world.http.get(world.url("/metrics")).bearer_auth(TOKEN);
    let metrics = metrics.header("accept", "application/openmetrics-text").send().await.unwrap();
    assert_eq!(metrics.text().await.unwrap(), "# EOF\n");
}

#[tokio::test]
async fn what_is_off_can_be_turned_on() {
    let options = ApiOptions { graphiql: true, metrics_public: true, ..ApiOptions::default() };
    let world = World::with(options).await;
    for path in ["/graphiql", "/metrics"] {
        assert_eq!(world.http.get(world.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_senders_request_id_comes_back_when_it_is_plain() {
    let world = World::new().await;
    let id = |sent: &str| {
        let request = world.http.get(world.url("/nowhere")).header("x-request-id", sent);
        async move { request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned() }
    };
    assert_eq!(id("ci-42.a_b").await, "ci-42.a_b");
    assert_ne!(id("a b").await, "a b");
    assert_ne!(id(&"x".repeat(65)).await, "x".repeat(65));
}

#[tokio::test]
async fn other_pages_are_refused() {
    let options = ApiOptions { origins: vec!["https://panel.example.org".into()], ..ApiOptions::default() };
    let world = World::with(options).await;
    let own = format!("http://{}", world.address);
    let query = json!({ "query": "{ environments { name } }" });
    for (origin, status) in [(own.as_str(), 200), ("https://panel.example.org", 200), ("https://evil.org", 403)] {
        let answer = world.post(&query).bearer_auth(TOKEN).header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), status, "{origin}");
    }
    assert_eq!(refused(world.bare_socket(&[("origin", "https://evil.org")]).await), 403);
    assert!(world.bare_socket(&[("origin", &own)]).await.is_ok());
}

#[tokio::test]
async fn a_websocket_needs_the_token() {
    let world = World::new().await;
    for payload in [json!({}), json!({ "Authorization": "Bearer another" }), json!({ "Authorization": 7 })] {
        let mut socket = world.bare_socket(&[]).await.unwrap();
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        match socket.any().await {
            Some(Message::Close(Some(close))) => assert!(close.reason.contains("UNAUTHENTICATED"), "{close}"),
            other => panic!("{other:?}"),
        }
    }
    let mut early = world.bare_socket(&[]).await.unwrap();
    early.subscribe("1", "subscription { eventAdded { sequence } }").await;
    assert!(matches!(early.any().await, Some(Message::Close(_)) | None));
    let mut by_header = world.bare_socket(&[("authorization", &format!("Bearer {TOKEN}"))]).await.unwrap();
    by_header.send(json!({ "type": "connection_init" })).await;
    assert_eq!(by_header.next().await["type"], "connection_ack");
}

#[tokio::test]
async fn a_stranger_on_a_websocket_may_not_say_much() {
    let world = World::new().await;
    let mut socket = world.bare_socket(&[]).await.unwrap();
    for _ in 0..40 {
        if socket.send_raw(Message::Ping(vec![0; 100].into())).await.is_err() {
            return;
        }
        if socket.send_raw(Message::text(" ".repeat(4096))).await.is_err() {
            return;
        }
    }
    while let Some(message) = socket.any().await {
        if matches!(message, Message::Close(_)) {
            break;
        }
    }
}

#[tokio::test]
async fn only_json_of_a_bounded_size_is_taken() {
    let world = World::new().await;
    let form =
        world.http.post(world.url("/graphql")).bearer_auth(TOKEN).header("content-type", "text/plain").body("{}");
    assert_eq!(form.send().await.unwrap().status(), 415);
    let broken =
        world.http.post(world.url("/graphql")).bearer_auth(TOKEN).header("content-type", "application/json").body("{");
    let answer = broken.send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let large = json!({ "query": "{ __typename }", "variables": { "x": "y".repeat(3 << 20) } });
    let answer = world.post(&large).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "TOO_LARGE");
    assert_eq!(world.http.put(world.url("/graphql")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn queries_are_bounded() {
    let world = World::with_shop().await;
    let code = |query: String| {
        let world = &world;
        async move { world.ask(&query, json!({})).await["errors"][0]["extensions"]["code"].clone() }
    };
    let costly = "{ stacks(first: 200) { edges { node { deployments(first: 200) { edges { node { id images { image } } } } } } } }";
    assert_eq!(code(costly.into()).await, "LIMIT_EXCEEDED");
    let deep = format!("{{ __schema {{ types {{ {}name{} }} }} }}", "fields { type { ".repeat(12), " } }".repeat(12));
    assert_eq!(code(deep).await, "LIMIT_EXCEEDED");
    let deeper = format!("{}x{}", "{ a ".repeat(200), " }".repeat(200));
    assert_eq!(code(deeper).await, "LIMIT_EXCEEDED");
    let doubling: String =
        (0..25).map(|n| format!("fragment f{n} on Query {{ ...f{m} ...f{m} }} ", m = n + 1)).collect();
    let doubling = format!("{{ ...f0 }} {doubling} fragment f25 on Query {{ environments {{ name }} }}");
    assert_eq!(code(doubling).await, "LIMIT_EXCEEDED");
    let aliases: String = (0..60).map(|n| format!("a{n}: environments {{ name }} ")).collect();
    assert_eq!(code(format!("{{ {aliases} }}")).await, "LIMIT_EXCEEDED");
    assert_eq!(code("{ stacks(first: 1000) { pageInfo { endCursor } } }".into()).await, "INVALID");
    assert_eq!(code("{ nothing }".into()).await, "INVALID");
    // What tools ask first is taken.
    let reference = "ofType { kind name ".repeat(9);
    let ends = "} ".repeat(9);
    let introspection = format!(
        "{{ __schema {{ types {{ name fields(includeDeprecated: true) {{ name args {{ name type {{ kind name {reference}{ends} }} }} }} }} }} }}"
    );
    assert_eq!(world.ask(&introspection, json!({})).await.get("errors"), None);
}
