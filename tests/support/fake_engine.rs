//! A server that answers as an engine would, or would not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What to answer to a request for a path.
pub(crate) enum Say {
    /// This status and body.
    Answer(u16, String),
    /// These bytes, whatever they are, and the connection stays open.
    Raw(&'static str),
    /// Nothing, ever.
    Nothing,
}

/// The server. Ends when dropped, with all its connections.
pub(crate) struct FakeEngine {
    pub(crate) endpoint: String,
    paths: watch::Sender<Vec<String>>,
    server: JoinHandle<()>,
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeEngine {
    /// Answers each request (`GET /path?query`) as `script` says.
    pub(crate) async fn start(script: impl Fn(&str) -> Say + Send + Sync + 'static) -> Self {
        Self::with_bodies(move |asked, _| script(asked)).await
    }

    /// As [`FakeEngine::start`]; the script sees the body as well.
    async fn with_bodies(script: impl Fn(&str, &str) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("tcp://{}", listener.local_addr().expect("an address"));
        let paths = watch::Sender::default();
        let (script, seen) = (Arc::new(script), paths.clone());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&script), seen.clone()));
            }
        });
        Self { endpoint, paths, server }
    }

    /// A manager that answers `version` and `info`, and leaves the rest to `script`.
    pub(crate) async fn manager(script: impl Fn(&str) -> Say + Send + Sync + 'static) -> Self {
        Self::start(move |asked| match asked {
            "GET /version" => {
                Say::Answer(200, r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#.into())
            }
            "GET /v1.41/info" => Say::Answer(
                200,
                r#"{"Swarm":{"NodeID":"n","LocalNodeState":"active","ControlAvailable":true,"Cluster":{"ID":"c"}}}"#
                    .into(),
            ),
            other => script(other),
        })
        .await
    }

    /// A manager of a Swarm that holds nothing but the configs that are made: it can be claimed. What `script` has no answer
    /// to is an empty list, or a new object.
    pub(crate) async fn claimable(script: impl Fn(&str) -> Option<Say> + Send + Sync + 'static) -> Self {
        let configs = Mutex::new(Vec::new());
        Self::with_bodies(move |asked, body| {
            if let Some(say) = script(asked) {
                return say;
            }
            let mut configs = configs.lock().expect("no test panics here");
            match asked {
                "GET /version" => {
                    Say::Answer(200, r#"{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#.into())
                }
                "GET /v1.41/info" => Say::Answer(
                    200,
                    r#"{"Swarm":{"NodeID":"n","LocalNodeState":"active","ControlAvailable":true,"Cluster":{"ID":"c"}}}"#
                        .into(),
                ),
                "POST /v1.41/configs/create" => {
                    let id = format!("config-{}", configs.len());
                    configs.push(format!(r#"{{"ID":"{id}","Version":{{"Index":1}},"Spec":{body}}}"#));
                    Say::Answer(201, format!(r#"{{"ID":"{id}"}}"#))
                }
                asked if asked.starts_with("GET /v1.41/configs") => {
                    Say::Answer(200, format!("[{}]", configs.join(",")))
                }
                asked if asked.starts_with("GET /v1.41/events") => {
                    Say::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                }
                asked if asked.starts_with("GET ") => Say::Answer(200, "[]".into()),
                _ => Say::Answer(201, r#"{"ID":"new"}"#.into()),
            }
        })
        .await
    }

    /// A way to the real engine that can be cut.
    pub(crate) async fn in_front_of(socket: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("tcp://{}", listener.local_addr().expect("an address"));
        let socket = socket.to_owned();
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let socket = socket.clone();
                connections.spawn(async move {
                    if let Ok(mut engine) = UnixStream::connect(socket).await {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut engine).await;
                    }
                });
            }
        });
        Self { endpoint, paths: watch::Sender::default(), server }
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.paths.borrow().clone()
    }

    /// Waits until something is asked for, be it already.
    pub(crate) async fn until_asked(&self, wanted: impl Fn(&str) -> bool) {
        let mut paths = self.paths.subscribe();
        let found = paths.wait_for(|asked| asked.iter().any(|it| wanted(it)));
        let found = tokio::time::timeout(Duration::from_secs(60), found).await.is_ok();
        assert!(found, "asked for: {:?}", self.asked());
    }
}

async fn serve(mut stream: TcpStream, script: Arc<impl Fn(&str, &str) -> Say>, seen: watch::Sender<Vec<String>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((head, body)) = read_request(&mut stream, &mut buffer).await else { return };
        let asked = head.split(" HTTP/").next().unwrap_or_default().to_owned();
        seen.send_modify(|paths| paths.push(asked.clone()));
        let answer = match script(&asked, &body) {
            Say::Answer(status, body) => format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            Say::Raw(text) => text.to_owned(),
            Say::Nothing => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads a request; gives its head and its body.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0usize);
            if buffer.len() >= whole {
                let body = String::from_utf8_lossy(&buffer[end + 4..whole]).into_owned();
                buffer.drain(..whole);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
