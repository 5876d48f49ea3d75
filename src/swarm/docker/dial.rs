//! Connections to an engine, for the hyper client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tower_service::Service;

use super::endpoint::Endpoint;
use crate::ports::BoxFuture;

/// Opens connections to one endpoint, whatever the URI says.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    endpoint: Endpoint,
    tcp: HttpConnector,
    timeout: Duration,
    limit: usize,
}

impl Dial {
    /// Connections to `endpoint`, opened within `timeout`, that take at most `limit` bytes for one request.
    pub(super) fn new(endpoint: Endpoint, timeout: Duration, limit: usize) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        // A peer that is gone without a word is found out within half a minute, also below a silent event stream.
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
        tcp.set_keepalive_retries(Some(3));
        Self { endpoint, tcp, timeout, limit }
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
        let Self { endpoint, mut tcp, timeout, limit } = self.clone();
        Box::pin(async move {
            let socket: Box<dyn Socket> = match endpoint {
                Endpoint::Unix(path) => Box::new(
                    tokio::time::timeout(timeout, UnixStream::connect(path))
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
                ),
                Endpoint::Tcp(_) => Box::new(tcp.call(uri).await.map_err(io::Error::other)?.into_inner()),
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
