//! A bare HTTP client over one connection: what the floors are measured with, and how Skep is spoken to.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// One connection.
pub(crate) struct Http {
    send: SendRequest<Full<Bytes>>,
    token: Option<String>,
}

impl Http {
    /// To an engine.
    pub(crate) async fn unix(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await;
        Self::over(stream.unwrap_or_else(|error| panic!("{}: {error}", socket.display())), None).await
    }

    /// To a Skep.
    pub(crate) async fn tcp(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, Some(token.to_owned())).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, token: Option<String>) -> Self {
        let (send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { send, token }
    }

    /// One call.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Bytes) -> (u16, Bytes) {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "skep");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send.ready().await.unwrap();
        let answer = self.send.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// A signed delivery: without the token, with headers of its own.
    pub(crate) async fn post(&mut self, path: &str, headers: &[(&'static str, String)], body: Bytes) -> (u16, Bytes) {
        let request = Request::builder().method(Method::POST).uri(path).header(HOST, "skep");
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.send.ready().await.unwrap();
        let answer = self.send.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// A call that must succeed; what it answers.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let bytes = if body.is_null() { Bytes::new() } else { serde_json::to_vec(body).unwrap().into() };
        let (status, answer) = self.call(method.clone(), path, bytes).await;
        assert!(status < 300, "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// A GraphQL request that must succeed; its data.
    pub(crate) async fn graphql(&mut self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(Method::POST, "/graphql", &json!({ "query": query, "variables": variables })).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].take()
    }
}
