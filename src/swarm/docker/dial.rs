//! Connections to an engine, for the hyper client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Authority;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::endpoint::Endpoint;
use super::tunnel::{AT_ONCE, Tunnel};
use super::way::{CheckedNames, Way};
use crate::ports::BoxFuture;

/// Opens connections to one endpoint, whatever the URI says.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    endpoint: Endpoint,
    way: Way,
    tcp: HttpConnector<CheckedNames>,
    /// Turns for connections over ssh.
    turns: Arc<Semaphore>,
    timeout: Duration,
    limit: usize,
}

impl Dial {
    /// Connections to `endpoint`, opened within `timeout`, that take at most `limit` bytes for one request.
    pub(super) fn new(endpoint: Endpoint, way: Way, timeout: Duration, limit: usize) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(CheckedNames(way.access.outbound.clone()));
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        // A peer that is gone without a word is found out within half a minute, also below a silent event stream.
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
        tcp.set_keepalive_retries(Some(3));
        Self { endpoint, way, tcp, turns: Arc::new(Semaphore::new(AT_ONCE)), timeout, limit }
    }

    async fn tcp(&mut self, uri: Uri, authority: &Authority) -> io::Result<Box<dyn Socket>> {
        let (host, port) = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or_default());
        self.way.check_literal(host)?;
        let tls = self.way.tls(host, port)?;
        let socket = self.tcp.call(uri).await.map_err(io::Error::other)?.into_inner();
        let Some(tls) = tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let shaken = tokio::time::timeout(self.timeout, tls.connect(name, socket)).await;
        match shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(io::Error::other(format!("TLS: {error}"))),
        }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Pipe>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Pipe>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut dial = self.clone();
        Box::pin(async move {
            let (timeout, limit) = (dial.timeout, dial.limit);
            let socket: Box<dyn Socket> = match dial.endpoint.clone() {
                Endpoint::Unix(path) => Box::new(
                    tokio::time::timeout(timeout, UnixStream::connect(path))
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
                ),
                Endpoint::Tcp(authority) => dial.tcp(uri, &authority).await?,
                Endpoint::Ssh(place) => Box::new(Tunnel::dial(&dial.way, &place, &dial.turns, timeout).await?),
            };
            Ok(TokioIo::new(Pipe { socket, taken: 0, limit }))
        })
    }
}

/// An answer has more bytes than this.
#[derive(Debug, Error)]
#[error("the answer has more than {0} bytes")]
pub(super) struct TooLarge(usize);

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection that counts what comes in. Answers are bounded here once more, because not everyone who reads them
/// bounds them himself; an event stream that has brought this much is simply opened again.
pub(super) struct Pipe {
    socket: Box<dyn Socket>,
    taken: usize,
    limit: usize,
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.taken = self.taken.saturating_add(buffer.filled().len() - before);
        if self.taken > self.limit {
            return Poll::Ready(Err(io::Error::other(TooLarge(self.limit))));
        }
        polled
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A request goes out only when the answer before it was read to its end.
        self.taken = 0;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
