//! Waiting, on a subscription: each change is looked at once, and nothing sleeps until it should be there.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::graphql::{Client, DEPLOYMENT, STACK};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One subscription, taken up again when the server goes and comes back: the snapshot comes first, so nothing is missed.
pub(crate) struct Watch {
    client: Client,
    document: String,
    /// The subscription's name, and the field of its payload.
    field: (&'static str, &'static str),
    socket: Option<Socket>,
    pub(crate) last: Value,
}

impl Watch {
    /// The changes of a stack.
    pub(crate) fn stack(client: &Client, name: &str) -> Self {
        let document = format!("subscription {{ stackChanged(name: {name:?}) {{ sequence stack {{ {STACK} }} }} }}");
        Self::new(client, document, ("stackChanged", "stack"))
    }

    /// The changes of a stack in an environment.
    pub(crate) fn stack_in(client: &Client, environment: &str, name: &str) -> Self {
        let document = format!(
            "subscription {{ stackChanged(name: {name:?}, environment: {environment:?}) {{ sequence stack {{ {STACK} }} }} }}"
        );
        Self::new(client, document, ("stackChanged", "stack"))
    }

    /// The changes of a deployment.
    pub(crate) fn deployment(client: &Client, id: &str) -> Self {
        let document =
            format!("subscription {{ deploymentChanged(id: {id:?}) {{ sequence deployment {{ {DEPLOYMENT} }} }} }}");
        Self::new(client, document, ("deploymentChanged", "deployment"))
    }

    fn new(client: &Client, document: String, field: (&'static str, &'static str)) -> Self {
        Self { client: client.clone(), document, field, socket: None, last: Value::Null }
    }

    /// The first snapshot or change for which `wanted` holds; fails the test with what was seen last when there is none in
    /// time.
    pub(crate) async fn until(&mut self, what: &str, seconds: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            match timeout_at(end, self.next()).await {
                Ok(Some(value)) => {
                    self.last = value;
                    if wanted(&self.last) {
                        return self.last.clone();
                    }
                }
                // The server is away: try again, without hurry.
                Ok(None) => sleep(Duration::from_millis(50)).await,
                Err(_) => panic!("not {what} within {seconds} s; the last seen: {:#}", self.last),
            }
        }
    }

    /// As [`Watch::until`], for a phase.
    pub(crate) async fn until_phase(&mut self, phase: &str, seconds: u64) -> Value {
        self.until(phase, seconds, |it| it["phase"] == phase).await
    }

    async fn next(&mut self) -> Option<Value> {
        if self.socket.is_none() {
            self.socket = self.open().await;
        }
        loop {
            let Some(Ok(message)) = self.socket.as_mut()?.next().await else {
                self.socket = None;
                return None;
            };
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            match message["type"].as_str() {
                Some("next") => {
                    let payload = message["payload"].take();
                    assert!(payload.get("errors").is_none(), "{}\n{payload:#}", self.document);
                    return Some(payload["data"][self.field.0][self.field.1].clone());
                }
                Some("ping") => {
                    let _ = self.socket.as_mut()?.send(Message::text(r#"{"type":"pong"}"#)).await;
                }
                Some("error") => panic!("{}\n{message:#}", self.document),
                Some("complete") => {
                    self.socket = None;
                    return None;
                }
                _ => {}
            }
        }
    }

    async fn open(&self) -> Option<Socket> {
        let mut request = format!("ws://{}/graphql", self.client.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "graphql-transport-ws".parse().unwrap());
        let (mut socket, _) = connect_async(request).await.ok()?;
        let token = format!("Bearer {}", self.client.token);
        let init = json!({ "type": "connection_init", "payload": { "Authorization": token } });
        socket.send(Message::text(init.to_string())).await.ok()?;
        let acknowledged = socket.next().await?.ok()?.into_text().ok()?;
        assert!(acknowledged.contains("connection_ack"), "{acknowledged}");
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": self.document } });
        socket.send(Message::text(subscribe.to_string())).await.ok()?;
        Some(socket)
    }
}
