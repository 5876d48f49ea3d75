//! A connection to an engine over ssh: `docker system dial-stdio` on the other side, its input and output here. The
//! connection owns the program: when it goes, the program is ended.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::way::Way;
use crate::domain::CredentialName;
use crate::outbound::ssh::{Identity, Place, about_untrusted, arguments, says_untrusted};
use crate::ports::KEY_VARIABLE;

/// Connections to one endpoint that are being made at a time: a server of ssh turns many at once away.
pub(super) const AT_ONCE: usize = 4;
/// What is run on the other side.
const DIAL: &str = "docker system dial-stdio";
/// Bytes kept of what ssh says.
const KEPT: u64 = 4096;

/// The connection.
#[derive(Debug)]
pub(super) struct Tunnel {
    input: ChildStdin,
    output: ChildStdout,
    /// What ssh says on its error output, once it has ended; asked for only when nothing else came.
    said: Option<JoinHandle<String>>,
    /// Held until the first answer.
    turn: Option<OwnedSemaphorePermit>,
    _child: Child,
}

impl Tunnel {
    /// Starts ssh. Whether it gets through is seen when something is read.
    pub(super) async fn dial(
        way: &Way,
        place: &Place,
        turns: &Arc<Semaphore>,
        connect_timeout: Duration,
    ) -> io::Result<Self> {
        let turn = Arc::clone(turns).acquire_owned().await.map_err(io::Error::other)?;
        let mut place = place.clone();
        let (preparing, at) = (way.clone(), place.clone());
        let known = tokio::task::spawn_blocking(move || preparing.identity(&at)).await.map_err(io::Error::other)??;
        let (name, identity) = known.unzip();
        if identity.is_some() && !way.access.outbound.is_free() {
            // Without a credential ssh goes by the operator's own configuration, aliases and jumps included.
            place.pinned = way.access.outbound.addresses(&place.host).await?.first().copied();
        }
        let program = &way.access.ssh_program;
        let mut child = Command::new(program)
            .args(arguments(identity.as_ref(), &[], &place, connect_timeout, DIAL))
            .env("LC_ALL", "C")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env_remove(KEY_VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::other(format!("`{}` cannot be started: {error}", program.display())))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("ssh has no pipes"));
        };
        let words = listen(errors, way.clone(), place, name, identity, connect_timeout);
        Ok(Self { input, output, said: Some(tokio::spawn(words)), turn: Some(turn), _child: child })
    }
}

/// Gathers what ssh says until it ends, and keeps its key's files until then.
async fn listen(
    errors: ChildStderr,
    way: Way,
    place: Place,
    name: Option<CredentialName>,
    identity: Option<Identity>,
    connect_timeout: Duration,
) -> String {
    let mut said = Vec::new();
    let mut errors = errors;
    // What does not fit is read all the same, so that ssh does not wait for it to be.
    (&mut errors).take(KEPT).read_to_end(&mut said).await.ok();
    tokio::io::copy(&mut errors, &mut tokio::io::sink()).await.ok();
    drop(identity);
    let text = String::from_utf8_lossy(&said).into_owned();
    if let Some(name) = name.filter(|_| says_untrusted(&text)) {
        let program = way.access.ssh_program.clone();
        let about = tokio::task::spawn_blocking(move || {
            about_untrusted(&program, name.as_str(), &place, connect_timeout, &text)
        });
        return about.await.unwrap_or_default();
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(400).collect()
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.turn = None;
            return Poll::Ready(Ok(()));
        }
        // It ended. When nothing has come before, ssh says why.
        if self.turn.is_some()
            && let Some(said) = &mut self.said
        {
            let text = ready!(Pin::new(said).poll(cx)).unwrap_or_default();
            (self.said, self.turn) = (None, None);
            let text = if text.is_empty() { "ssh ended without a word".to_owned() } else { text };
            return Poll::Ready(Err(io::Error::other(text)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.input).poll_write(cx, bytes) {
            // The reading side knows why.
            Poll::Ready(Err(_)) if self.turn.is_some() => Poll::Ready(Ok(bytes.len())),
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.input).poll_flush(cx) {
            Poll::Ready(Err(_)) if self.turn.is_some() => Poll::Ready(Ok(())),
            polled => polled,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}
