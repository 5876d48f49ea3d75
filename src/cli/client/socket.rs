//! One websocket that speaks graphql-transport-ws.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Client, innermost};
use crate::cli::exit::{CliError, Exit};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long connecting may take, and the server's first word after it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a sign of life is asked for.
const BEAT: Duration = Duration::from_secs(10);
/// A connection that has been silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a connection or a subscription is over.
#[derive(Debug)]
pub(super) enum Over {
    /// It broke, or the server let go of it: worth another try.
    Lost(String),
    /// Another try would end the same way.
    Refused(CliError),
}

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        Self::Lost(innermost(&error))
    }
}

/// A subscription over a connection of its own.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: Instant,
    asked: Instant,
}

impl Socket {
    /// Connects, signs in, subscribes.
    pub(super) async fn open(client: &Client, document: &str, variables: &Value) -> Result<Self, Over> {
        let mut request = client.address.socket.as_str().into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        let connected = timeout(PATIENCE, connect_async(request)).await;
        let connected = connected.map_err(|_| Over::Lost("connecting took too long".to_owned()))?;
        let (stream, _) = connected.map_err(|error| match error {
            Error::Http(answer) if matches!(answer.status().as_u16(), 401 | 403) => Over::Refused(client.unauthenticated()),
            error => error.into(),
        })?;
        let now = Instant::now();
        let mut socket = Self { stream, heard: now, asked: now };
        let payload = match &client.token {
            Some(token) => json!({ "Authorization": format!("Bearer {}", token.0) }),
            None => json!({}),
        };
        socket.send(&json!({ "type": "connection_init", "payload": payload })).await?;
        let first = timeout(PATIENCE, socket.message(client)).await;
        let first = first.map_err(|_| Over::Lost("the server does not answer".to_owned()))??;
        if first.get("type").and_then(Value::as_str) != Some("connection_ack") {
            return Err(Over::Lost("the server does not speak as Skep does".to_owned()));
        }
        let payload = json!({ "query": document, "variables": variables });
        socket.send(&json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
        Ok(socket)
    }

    /// The `data` of the next message.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Value, Over> {
        loop {
            let mut message = self.message(client).await?;
            match message.get("type").and_then(Value::as_str) {
                Some("next") => {
                    if let Some(error) = message.pointer("/payload/errors/0") {
                        return Err(over(client, error));
                    }
                    return Ok(message.pointer_mut("/payload/data").map(Value::take).unwrap_or_default());
                }
                Some("error") => {
                    let error = message.pointer("/payload/0").or_else(|| message.get("payload"));
                    return Err(over(client, error.unwrap_or(&Value::Null)));
                }
                Some("complete") => return Err(Over::Lost("the server ended the subscription".to_owned())),
                _ => {}
            }
        }
    }

    /// The next message of the protocol; answers and asks for signs of life meanwhile.
    async fn message(&mut self, client: &Client) -> Result<Value, Over> {
        loop {
            let due = (self.asked + BEAT).min(self.heard + SILENCE);
            let Ok(frame) = timeout_at(due, self.stream.next()).await else {
                if self.heard.elapsed() >= SILENCE {
                    return Err(Over::Lost("the server has fallen silent".to_owned()));
                }
                self.asked = Instant::now();
                self.send(&json!({ "type": "ping" })).await?;
                continue;
            };
            let frame = frame.ok_or_else(|| Over::Lost("the server closed the connection".to_owned()))??;
            self.heard = Instant::now();
            match frame {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(text.as_str())
                        .map_err(|_| Over::Lost("the server sent what is not JSON".to_owned()))?;
                    match message.get("type").and_then(Value::as_str) {
                        Some("ping") => self.send(&json!({ "type": "pong" })).await?,
                        Some("pong") => {}
                        _ => return Ok(message),
                    }
                }
                Message::Close(Some(close))
                    if close.reason.as_str().starts_with("UNAUTHENTICATED")
                        || matches!(u16::from(close.code), 4401 | 4403) =>
                {
                    return Err(Over::Refused(client.unauthenticated()));
                }
                Message::Close(close) => {
                    let why = close.map(|close| close.reason.to_string()).filter(|why| !why.is_empty());
                    return Err(Over::Lost(why.unwrap_or_else(|| "the server closed the connection".to_owned())));
                }
                // Pings of the transport are answered below us.
                _ => {}
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), Over> {
        Ok(self.stream.send(Message::text(message.to_string())).await?)
    }
}

/// What an error of the server means for another try.
fn over(client: &Client, error: &Value) -> Over {
    let refused = client.refused(error);
    match error.pointer("/extensions/code").and_then(Value::as_str) {
        Some("UNAVAILABLE" | "BUSY" | "TIMED_OUT") => Over::Lost(refused.message),
        Some("NOT_FOUND") => Over::Refused(CliError { exit: Exit::NotFound, ..refused }),
        _ => Over::Refused(refused),
    }
}
